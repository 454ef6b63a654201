//! A container by hand: its own mounts and process ids, its root an overlay. fsmon outside of it
//! sees what is done inside by the paths of outside; fsmon inside, by those of inside.

use fsmon_harness::{
    Area, Event, Listing, Verdict, copy_program, is_at_least, is_root_with, listing, parse,
    program, record_and_replay, says_one_by_one, skip, succeed,
};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

const PROGRAMS: [&str; 6] = ["mount", "umount", "unshare", "pivot_root", "cp", "seq"];

/// What is done in a directory inside. A part of it is reached through another mount.
const WORK: &str = "mkdir -p a/b/c; for i in $(seq 200); do echo x > a/b/c/$i; done; mv a z; \
    cp -a /etc copied; mv copied z/b/moved; mv z/b/c z/c; rm -rf z/b; mkdir sub; here=$PWD; \
    mkdir -p /bound; mount --bind sub /bound; cd /bound; mkdir -p d/e; echo x > d/e/f; mv d g; \
    rm g/e/f; cp -a /etc etc; mv etc/. g 2>/dev/null || mv etc g/etc; cd \"$here\"; umount /bound; \
    mv sub other; rm -rf z/c; echo y > other/g/new; ln -s g other/link; rm other/link";

struct Container {
    area: Area,
    root: PathBuf,
}

impl Container {
    /// Its root is an overlay of the root here. Where none can be made, that is said aloud.
    fn new() -> Option<Self> {
        let mut area = Area::new();
        let scratch = area.tmpfs("scratch", "size=1g");
        for dir in ["upper", "work"] {
            fs::create_dir(scratch.join(dir)).expect("made");
        }
        let scratch = scratch.display();
        let options = format!("lowerdir=/,upperdir={scratch}/upper,workdir={scratch}/work");
        let root = area.try_mount("root", &["-t", "overlay", "-o", &options, "overlay"]);
        if root.is_none() {
            skip("no overlay of the root directory");
        }
        let container = Container { root: root?, area };
        for dir in ["inside", "outside", "bound", "old"] {
            fs::create_dir(container.root.join(dir)).expect("made");
        }
        Some(container)
    }

    /// Runs a shell script inside. There `/inside` is in the overlay, `/outside` the watched
    /// directory of outside.
    fn run(&self, script: &str) {
        let enter = "mount --rbind /dev \"$0/dev\"; mount --bind \"$1\" \"$0/outside\"; cd \"$0\"; \
                     pivot_root . old; mount -t proc proc /proc; umount -l /old; exec sh -euc \"$2\"";
        let mut command = Command::new("unshare");
        command.args(["--mount", "--pid", "--fork", "sh", "-euc", enter]);
        command.arg(&self.root).arg(self.area.watched()).arg(script).current_dir("/");
        succeed(&mut command);
    }
}

fn assert_at_work(events: &[Event]) {
    for cmd in ["sh", "cp", "mv", "rm"] {
        assert!(events.iter().any(|event| event.text("cmd") == Some(cmd)), "{cmd} did nothing");
    }
    assert!(events.len() > 600, "only {} lines", events.len());
}

fn watch_from_outside(dir: impl Fn(&Container) -> PathBuf, inside: &str) {
    if !is_root_with(&PROGRAMS) {
        return;
    }
    let Some(container) = Container::new() else { return };
    let events = record_and_replay(&dir(&container), &["-t", "create,delete,rename"], || {
        container.run(&format!("cd {inside}; {WORK}"));
    });
    assert_at_work(&events);
}

#[test]
fn a_bind_mount_in_a_container_watched_from_outside() {
    watch_from_outside(|container| container.area.watched(), "/outside");
}

#[test]
fn the_root_of_a_container_watched_from_outside() {
    // What handles on an overlay need.
    if is_at_least(6, 5) {
        watch_from_outside(|container| container.root.join("inside"), "/inside");
    }
}

/// Names may be in doubt there, paths are not.
fn watch_from_inside(dir: impl Fn(&Container) -> PathBuf, inside: &str) {
    if !is_root_with(&PROGRAMS) {
        return;
    }
    let Some(container) = Container::new() else { return };
    copy_program(&program(), &container.root.join("fsmon"));
    let script = format!(
        "/fsmon doctor --json {inside} >/plan; \
         /fsmon -f json -t create,delete,rename {inside} >/lines 2>/said & \
         while ! grep -q 'fsmon: ready' /said; do sleep 0.01; done; \
         cd {inside}; {WORK}; kill -INT $!; wait $!"
    );
    container.run(&script);
    let read = |name| fs::read(container.root.join(name)).expect("written");
    let said = String::from_utf8(read("said")).expect("UTF-8");
    // That some have no process, or were made before their directory had its mark, is all that may be said.
    let last = said.lines().last().unwrap_or_default();
    let (_, verdict) = last.split_once("; ").expect("the last words");
    let may_be_said = |one: &str| one.ends_with("without process") || one.contains("made before");
    let missing = verdict.strip_prefix("NOT complete: ");
    let is_whole = missing.map_or(verdict == "complete", |all| all.split(", ").all(may_be_said));
    assert!(is_whole, "{said}");
    let dir = dir(&container);
    let as_inside = |path: PathBuf| Path::new(inside).join(path.strip_prefix(&dir).expect("below"));
    let end: Listing =
        listing(&dir).into_iter().map(|(path, is_dir)| (as_inside(path), is_dir)).collect();
    let mut events = parse(&read("lines"));
    if says_one_by_one(&read("plan")) {
        events.retain(|event| event.text("reason") != Some("unmarked"));
    }
    let verdict = Verdict::new(Path::new(inside), Listing::new(), &events, &end);
    assert!(verdict.is_exact(), "{verdict}");
    assert!(events.len() > 600, "only {} lines", events.len());
}

#[test]
fn a_bind_mount_watched_inside_a_container() {
    watch_from_inside(|container| container.area.watched(), "/outside");
}

#[test]
fn its_root_watched_inside_a_container() {
    if is_at_least(6, 5) {
        watch_from_inside(|container| container.root.join("inside"), "/inside");
    }
}

//! Overlays that are heard by their upper layer: what is told is what was asked of the overlay, once, whatever
//! overlayfs does for it in its layers.

use fsmon_harness::{
    Area, Fsmon, archive_of, briefs, fsmon, is_at_least, is_root_with, own_mounts,
    record_and_replay, record_in_steps, sh, skip, succeed,
};
use nix::fcntl::{AT_FDCWD, RenameFlags, renameat2};
use nix::sys::signal::Signal;
use std::path::{Path, PathBuf};
use std::process::{Child, Command};

const TREE: [&str; 4] = ["-f", "json", "-t", "create,delete,rename"];

/// An overlay over a lower layer with something in it; its layers are on a tmpfs.
fn overlay(area: &mut Area, name: &str, scratch: &Path, options: &str) -> Option<PathBuf> {
    let lower = area.dir("lower");
    sh(&lower, "mkdir -p old/sub gone; touch old/a old/b old/sub/c gone/d");
    area.overlay(name, &lower, scratch, options)
}

/// An overlay that is heard by its upper layer, in an area of its own; where overlays can be watched.
fn heard_overlay() -> Option<(Area, PathBuf)> {
    let mut area = area()?;
    let scratch = area.tmpfs("scratch", "size=64m");
    let merged = overlay(&mut area, "merged", &scratch, "redirect_dir=off")?;
    Some((area, merged))
}

/// The area, where overlays can be watched.
fn area() -> Option<Area> {
    if !is_at_least(6, 5) {
        skip("overlayfs cannot be watched before Linux 6.5");
        return None;
    }
    own_mounts()
}

/// How `fsmon doctor` is going to watch a directory, and all that it says.
fn doctor(dir: &Path) -> (String, String) {
    let output = succeed(fsmon(["doctor", "--json"]).arg(dir));
    let text = String::from_utf8(output.stdout).expect("UTF-8");
    let plan: serde_json::Value = serde_json::from_str(&text).expect("JSON");
    (plan["roots"][0]["mark"].as_str().expect("a word").to_owned(), text)
}

/// The steps, one after the other, and the lines that each leads to.
const STEPS: [(&str, &[&str]); 16] = [
    ("mkdir new; echo x > new/f", &["CREATE new/", "CREATE new/f"]),
    (
        "mv new/f new/g; ln new/g new/h; rm new/h",
        &["RENAME new/f -> new/g", "CREATE new/h", "DELETE new/h"],
    ),
    (
        "mkdir -p new/d/e; touch new/d/e/x",
        &["CREATE new/d/", "CREATE new/d/e/", "CREATE new/d/e/x"],
    ),
    // A file of the lower layer comes to where there is none, and goes back.
    ("mv old/a new/a; chmod 600 new/a", &["RENAME old/a -> new/a"]),
    ("mv new/a new/a2; mv new/a2 old/a3", &["RENAME new/a -> new/a2", "RENAME new/a2 -> old/a3"]),
    // It is copied up.
    ("echo y >> old/b; touch old/n", &["CREATE old/n"]),
    ("mv new/g old/g; mv old/g new/g", &["RENAME new/g -> old/g", "RENAME old/g -> new/g"]),
    // A whiteout comes, and is replaced: by a file, by a directory.
    ("rm old/b; mv new/g old/b", &["DELETE old/b", "RENAME new/g -> old/b"]),
    (
        "rm -r gone; mkdir gone; touch gone/z",
        &["DELETE gone/d", "DELETE gone/", "CREATE gone/", "CREATE gone/z"],
    ),
    ("rm -r gone; mv new/d gone", &["DELETE gone/z", "DELETE gone/", "RENAME new/d/ -> gone/"]),
    ("touch gone/e/y; rm gone/e/x", &["CREATE gone/e/y", "DELETE gone/e/x"]),
    ("mv gone new/d; touch new/d/e/w", &["RENAME gone/ -> new/d/", "CREATE new/d/e/w"]),
    (
        "touch old/sub/n; mkdir old/sub/m; touch old/sub/m/k",
        &["CREATE old/sub/n", "CREATE old/sub/m/", "CREATE old/sub/m/k"],
    ),
    ("mv old/sub/m new/m; rm new/m/k", &["RENAME old/sub/m/ -> new/m/", "DELETE new/m/k"]),
    ("rm -r new/d/e", &["DELETE new/d/e/w", "DELETE new/d/e/y", "DELETE new/d/e/"]),
    (
        "rm old/sub/c old/sub/n; rmdir old/sub",
        &["DELETE old/sub/c", "DELETE old/sub/n", "DELETE old/sub/"],
    ),
];

#[test]
fn what_overlayfs_does_in_its_layers_is_not_told() {
    let Some((_area, dir)) = heard_overlay() else { return };
    let events = record_in_steps(&dir, &dir, |step| {
        for (script, lines) in STEPS {
            step(script, lines.last().expect("a line"), 1);
        }
    });
    let mut told = briefs(&events, &dir);
    for (step, lines) in STEPS {
        let mut now: Vec<_> = told.drain(..lines.len().min(told.len())).collect();
        let mut lines: Vec<_> = lines.iter().map(|line| (*line).to_owned()).collect();
        // In what order `rm -r` goes is its own affair.
        now.sort();
        lines.sort();
        assert_eq!(now, lines, "{step}");
    }
    assert!(told.is_empty(), "{told:?}");
}

/// Nothing of what is done while fsmon does not run is missing.
#[test]
fn a_new_directory_is_heard_before_fsmon_knows_of_it() {
    let Some((_area, dir)) = heard_overlay() else { return };
    let running = Fsmon::start(fsmon(["-f", "json", "-t", "close_write"]).arg(&dir));
    running.pause();
    sh(&dir, "mkdir -p new/er; echo x > new/er/f; mkdir old/new; echo y > old/new/f");
    running.signal(Signal::SIGCONT);
    let ended = running.stop();
    ended.assert_complete();
    assert_eq!(briefs(&ended.events(), &dir), ["CLOSE_WRITE new/er/f", "CLOSE_WRITE old/new/f"]);
}

#[test]
fn doctor_says_whether_the_upper_layer_is_heard() {
    let Some(mut area) = area() else { return };
    let scratch = area.tmpfs("scratch", "size=64m");
    let Some(dir) = overlay(&mut area, "heard", &scratch, "redirect_dir=off") else { return };
    let (mark, text) = doctor(&dir);
    assert_eq!(mark, "upper", "{text}");
    assert!(text.contains("heard by its upper layer") && text.contains("scratch/upper"), "{text}");
    let ended = Fsmon::start(fsmon(TREE).arg(&dir)).stop();
    let is_said = |line: &String| line.contains("heard by its upper layer");
    assert!(ended.stderr.iter().any(is_said), "{ended:?}");

    let other = area.tmpfs("other", "size=64m");
    let Some(dir) = overlay(&mut area, "moving", &other, "redirect_dir=on") else { return };
    let (mark, text) = doctor(&dir);
    assert_eq!(mark, "inode", "{text}");
    assert!(text.contains("cannot be heard: directories of lower layers can be renamed"), "{text}");
}

/// Where the path of the upper layer leads elsewhere, or nowhere, all directories are marked.
#[test]
fn an_upper_layer_that_is_not_there_is_not_heard() {
    let Some(mut area) = area() else { return };
    let scratch = area.tmpfs("scratch", "size=64m");
    let Some(dir) = overlay(&mut area, "merged", &scratch, "redirect_dir=off") else { return };
    let hide = |what: &[&str]| succeed(Command::new("mount").args(what).arg(&scratch));
    hide(&["-t", "tmpfs", "none"]);
    let (mark, text) = doctor(&dir);
    assert!(mark == "inode" && text.contains("cannot be opened"), "{text}");
    sh(&scratch, "mkdir upper work");
    let (mark, text) = doctor(&dir);
    assert!(mark == "inode" && text.contains("is another directory here"), "{text}");
    record_and_replay(&dir, &TREE[2..], || sh(&dir, "touch old/x; mv old/a old/y; rm old/b"));
    succeed(Command::new("umount").arg(&scratch));
}

/// Of several overlays on one filesystem each has its own changes, and so has that filesystem.
#[test]
fn overlays_on_one_filesystem_that_is_watched_itself() {
    let Some(mut area) = area() else { return };
    let scratch = area.tmpfs("scratch", "size=64m");
    let layers = ["one", "two"].map(|name| scratch.join(name));
    let options = "redirect_dir=off";
    let Some(one) = overlay(&mut area, "merged-1", &layers[0], options) else { return };
    let Some(two) = overlay(&mut area, "merged-2", &layers[1], options) else { return };
    for roots in [vec![&one, &two], vec![&one, &two, &scratch]] {
        for how in [&[][..], &["--per-filesystem"]] {
            let running = Fsmon::start(fsmon(TREE).args(how).args(&roots));
            sh(&one, "mkdir -p n/m; touch n/m/f");
            sh(&two, "mkdir -p n/m; touch n/m/g");
            sh(&scratch, "mkdir d; touch d/e; rm -r d");
            let ended = running.stop();
            ended.assert_complete();
            let lines = |dir: &Path| {
                let mut events = ended.events();
                events.retain(|event| event.path().is_some_and(|path| path.starts_with(dir)));
                briefs(&events, dir)
            };
            assert_eq!(lines(&one), ["CREATE n/", "CREATE n/m/", "CREATE n/m/f"], "{how:?}");
            assert_eq!(lines(&two), ["CREATE n/", "CREATE n/m/", "CREATE n/m/g"], "{how:?}");
            let below: Vec<_> =
                lines(&scratch).into_iter().filter(|line| line.contains(" d/")).collect();
            let expected = ["CREATE d/", "CREATE d/e", "DELETE d/e", "DELETE d/"];
            assert_eq!(below, if roots.len() == 3 { &expected[..] } else { &[] }, "{how:?}");
            if roots.len() == 3 {
                let upper = "CREATE one/upper/n/m/f";
                assert!(lines(&scratch).contains(&upper.to_owned()), "{:?}", lines(&scratch));
            }
            for dir in [&one, &two] {
                sh(dir, "rm -r n");
            }
        }
    }
}

/// Such an event has no directory, and each overlay has another key for the object.
#[test]
fn an_object_alone_is_of_its_own_overlay() {
    let Some(mut area) = area() else { return };
    let scratch = area.tmpfs("scratch", "size=64m");
    let overlays: Vec<_> = ["one", "two", "three"]
        .iter()
        .filter_map(|name| overlay(&mut area, name, &scratch.join(name), "redirect_dir=off"))
        .collect();
    if overlays.len() < 3 {
        return;
    }
    let running = Fsmon::start(fsmon(["-f", "json", "-t", "create,delete_self"]).args(&overlays));
    for dir in &overlays {
        sh(dir, "mkdir n; touch n/f; rm n/f");
    }
    let ended = running.stop();
    ended.assert_complete();
    for dir in &overlays {
        let mut events = ended.events();
        events.retain(|event| event.path().is_some_and(|path| path.starts_with(dir)));
        assert_eq!(briefs(&events, dir), ["CREATE n/", "CREATE n/f", "DELETE_SELF n/f"]);
    }
}

/// A root that is a directory of an overlay, and what comes to it from there and goes.
#[test]
fn a_directory_of_an_overlay() {
    let Some((_area, merged)) = heard_overlay() else { return };
    sh(&merged, "mkdir out new");
    for root in ["old", "new"] {
        moves_out_and_in(&merged.join(root));
    }
}

/// Moves between a directory of an overlay, which is watched, and one beside it.
fn moves_out_and_in(dir: &Path) {
    sh(dir, "mkdir -p n/m");
    record_and_replay(dir, &TREE[2..], || {
        sh(dir, "touch n/f; mv n/f ../out/f; mv ../out/f n/g; mv n/g g; mv g ../out/g");
        sh(dir, "mv ../out/g n/m/h; mv n ../out/n; touch ../out/n/i; mv ../out/n k; rm -r k/m");
    });
    sh(dir, "rm -r k");
}

/// The upper layer tells both halves before the marks tell any.
#[test]
fn an_exchange_with_what_is_not_watched_is_told_whole() {
    let Some((_area, merged)) = heard_overlay() else { return };
    sh(
        &merged,
        "mkdir out new; touch out/f new/f new/g; mkdir -p out/d new/d; touch out/d/x new/d/y",
    );
    let watched = merged.join("new");
    record_and_replay(&watched, &TREE[2..], || {
        for (a, b) in
            [("new/f", "out/f"), ("out/d", "new/d"), ("new/g", "out/d"), ("out/f", "new/d")]
        {
            let (a, b) = (merged.join(a), merged.join(b));
            renameat2(AT_FDCWD, &a, AT_FDCWD, &b, RenameFlags::RENAME_EXCHANGE).expect("exchanged");
        }
    });
}

/// Processes that keep all CPUs busy, until it is dropped.
struct Busy(Vec<Child>);

impl Busy {
    fn begin() -> Self {
        let count = std::thread::available_parallelism().map_or(2, usize::from) + 1;
        let busy = || Command::new("sh").args(["-c", "while :; do :; done"]).spawn();
        Busy((0..count).map(|_| busy().expect("sh")).collect())
    }
}

impl Drop for Busy {
    fn drop(&mut self) {
        for process in &mut self.0 {
            let _ = process.kill();
            let _ = process.wait();
        }
    }
}

/// The upper layer's event wakes fsmon, and the process waits for a CPU before the overlay's event is queued. Without what
/// `forget_expected()` and `handle_of_copy()` do in the engine, most of these runs lack lines.
#[test]
fn a_rename_whose_second_event_is_late_is_told_once() {
    let Some((_area, merged)) = heard_overlay() else { return };
    sh(&merged, "mkdir out new");
    let _busy = Busy::begin();
    for _ in 0..6 {
        moves_out_and_in(&merged.join("new"));
    }
    // Of a lower layer, to where there is none, and back.
    for file in ["old/a", "old/b", "old/sub/c", "gone/d"] {
        record_and_replay(&merged, &TREE[2..], || {
            for _ in 0..20 {
                sh(&merged, &format!("mv {file} new/x; mv new/x {file}"));
            }
        });
    }
}

#[test]
fn sources_are_unpacked_and_changed() {
    if !is_root_with(&["tar", "find"]) {
        return;
    }
    let Some(mut area) = area() else { return };
    let Some(archive) = archive_of(&area, 2000) else { return };
    let scratch = area.tmpfs("scratch", "size=256m");
    let Some(dir) = overlay(&mut area, "merged", &scratch, "redirect_dir=off") else { return };
    record_and_replay(&dir, &TREE[2..], || {
        for place in ["new", "old", "old/sub"] {
            sh(&dir, &format!("mkdir -p {place}/t; tar xf {} -C {place}/t", archive.display()));
        }
        sh(&dir, "mv old/t new/u; mv new/t old/sub/v; cp -r new/u old/w; rm -r old/sub new/u/*");
    });
}

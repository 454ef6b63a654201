//! Changes through hard links outside of the watched paths.

use fsmon_harness::{
    Area, Ended, Event, Fsmon, briefs, fsmon, is_at_least, is_root, is_root_with, parse, sh,
};
use fsmon_harness::{own_mounts, skip, succeed, wait_until, wait_written};
use nix::sys::signal::Signal;
use std::collections::BTreeMap;
use std::fs;
use std::io::Write;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::process::Command;

const LINKS: [&str; 3] = ["--hard-links", "-t", "create,delete,rename,modify,close_write,attrib"];

/// What is told of some steps in a shell, in the directory above the watched one.
fn told(area: &Area, args: &[&str], steps: &str) -> Vec<String> {
    let dir = area.watched();
    let running = Fsmon::start(fsmon(["-f", "json"]).args(args).arg(&dir));
    sh(&area.path(""), steps);
    let ended = running.stop();
    ended.assert_complete();
    briefs(&ended.events(), &dir)
}

#[test]
fn a_file_is_told_under_its_watched_name() {
    if !is_root() {
        return;
    }
    let area = Area::new();
    let prepare =
        "mkdir outside watched/d; echo 0 >watched/d/a; ln watched/d/a outside/a; echo 0 >outside/c";
    sh(&area.path(""), prepare);
    let steps = "
        echo 1 >>outside/a; chmod 600 outside/a; truncate -s 0 outside/a
        ln outside/c watched/c; echo 1 >>outside/c; mv outside/c outside/e; chmod 600 outside/e
    ";
    let expected = [
        "MODIFY d/a",
        "CLOSE_WRITE d/a",
        "ATTRIB d/a",
        "MODIFY d/a",
        "CLOSE_WRITE d/a",
        "CREATE c",
        "MODIFY c",
        "CLOSE_WRITE c",
        "ATTRIB c",
    ];
    assert_eq!(told(&area, &LINKS, steps), expected);
}

/// The name through which a file is changed: in a directory that is renamed, and one that is no UTF-8.
/// Every format has it, also of a recording.
#[test]
fn the_name_that_it_was_changed_through() {
    if !is_root_with(&["bash"]) {
        return;
    }
    let area = Area::new();
    let (base, stream) = (area.path(""), area.path("stream"));
    let prepare = "mkdir -p outside/d watched/d; touch watched/d/a; ln watched/d/a outside/d/b
        ln watched/d/a $'outside/\\xff'";
    succeed(Command::new("bash").args(["-ec", prepare]).current_dir(&base));
    let mut command = fsmon(["-f", "binary", "--hard-links", "-t", "attrib,modify", "-o"]);
    let running = Fsmon::start(command.arg(&stream).arg(area.watched()));
    let decode = |format: &str| {
        let output = succeed(fsmon(["decode", "-f", format, "--salvage"]).arg(&stream)).stdout;
        String::from_utf8(output).expect("UTF-8")
    };
    let steps = ["watched/d/a", "outside/d/b", "outside/e/b", "outside/?"];
    for (at, step) in steps.iter().enumerate() {
        sh(&base, &format!("if [ {at} = 2 ]; then mv outside/d outside/e; fi; chmod 600 {step}"));
        // Its path is that of when it is read.
        wait_until(step, || decode("json").lines().count() > at);
    }
    running.stop().assert_complete();
    let events = parse(decode("json").as_bytes());
    let via: Vec<_> = events.iter().map(|event| event.text("via").map(str::to_owned)).collect();
    let path = |name: &str| Some(area.path(name).display().to_string());
    let expected = [None, path("outside/d/b"), path("outside/e/b"), path("outside/\u{fffd}")];
    assert_eq!(via, expected);
    assert!(events.iter().all(|event| event.name() == "a"));
    let outside = area.path("outside");
    let exact = [outside.as_os_str().as_bytes(), b"/\xff"].concat();
    assert_eq!(events[3].bytes("via"), Some(exact));
    let moved = expected[2].as_ref().expect("a path");
    assert!(decode("human").contains(&format!("/d/a  (via {moved})\n")));
    assert!(decode("csv").contains(&format!(",\"{moved}\",,,,,\r\n")));
}

/// A path that leads to what is mounted over the directory meanwhile is not told.
#[test]
fn a_name_below_a_mount_is_not_told() {
    let Some(area) = own_mounts() else { return };
    sh(&area.path(""), "mkdir outside; touch watched/a; ln watched/a outside/b");
    let steps = "exec 3>>outside/b; mount -t tmpfs none outside; echo >&3; exec 3>&-";
    let dir = area.watched();
    let mut command = fsmon(["-f", "json", "--hard-links", "-t", "close_write", "-o"]);
    let out = area.path("out");
    let running = Fsmon::start(command.arg(&out).arg(&dir));
    sh(&area.path(""), steps);
    wait_written(&out, "CLOSE_WRITE", 1);
    sh(&area.path(""), "umount outside");
    running.stop();
    let events = parse(&fs::read(&out).expect("the lines"));
    let told = events.iter().find(|event| event.kind() == "CLOSE_WRITE").expect("a line");
    assert_eq!((told.name().as_str(), told.text("via")), ("a", None));
}

#[test]
fn without_the_option_nothing_is_told_of_it() {
    if !is_root() {
        return;
    }
    let area = Area::new();
    sh(&area.path(""), "echo 0 >watched/a; ln watched/a outside");
    assert_eq!(
        told(&area, &LINKS[1..], "echo 1 >>outside; touch watched/last"),
        ["CREATE last", "ATTRIB last", "CLOSE_WRITE last"]
    );
}

#[test]
fn the_watched_name_is_the_one_that_it_has_then() {
    if !is_root() {
        return;
    }
    let area = Area::new();
    let prepare = "mkdir -p outside/moves watched/d; cd watched/d; touch a b c m; cd ../..
        echo 0 >outside/moves/in; ln outside/moves/in outside/in";
    sh(&area.path(""), prepare);
    // Linked while it is watched, and only then.
    let steps = "
        for i in a b c m; do ln watched/d/$i outside/$i; done
        mv watched/d/a watched/z; chmod 600 outside/a
        mv watched/d watched/e; chmod 600 outside/b
        ln -f watched/z watched/e/b; chmod 600 outside/b; chmod 600 outside/a
        rm watched/e/c; chmod 600 outside/c
        mv watched/e/m outside/gone; chmod 600 outside/m
        mv outside/moves watched/moved; chmod 600 outside/in
        mv watched/moved outside/moves; chmod 600 outside/in
    ";
    let all = told(&area, &LINKS, steps);
    let attrib: Vec<_> = all.iter().filter(|line| line.starts_with("ATTRIB")).collect();
    assert_eq!(attrib, ["ATTRIB z", "ATTRIB e/b", "ATTRIB e/b", "ATTRIB moved/in"], "{all:#?}");
}

/// Links in a directory that is left out, and below one that is watched without what is in it.
#[test]
fn names_that_are_left_out_are_outside() {
    if !is_root() {
        return;
    }
    let area = Area::new();
    sh(&area.path(""), "mkdir watched/d; touch watched/a; ln watched/a watched/d/a");
    let steps = "chmod 600 watched/d/a";
    let exclude = ["--exclude", "d", "--hard-links", "-t", "attrib"];
    assert_eq!(told(&area, &exclude, steps), ["ATTRIB a"]);
    let direct = ["--no-recursive", "--hard-links", "-t", "attrib"];
    assert_eq!(told(&area, &direct, steps), ["ATTRIB a"]);
}

/// Numbers that look random, and are the same each time.
struct Random(u64);

impl Random {
    fn below(&mut self, end: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        (self.0 >> 33) as usize % end
    }
}

/// Files move between watched directories, go, and come back, and are written through their outside names.
#[test]
fn many_files_that_move() {
    if !is_root() {
        return;
    }
    const FILES: usize = 100;
    let area = Area::new();
    let (dir, outside) = (area.watched(), area.dir("outside"));
    let (mut inside, mut names) = (BTreeMap::new(), Vec::new());
    for at in 0..FILES {
        let (to, name) = (dir.join(format!("d{}", at % 7)), outside.join(at.to_string()));
        fs::create_dir_all(&to).expect("made");
        fs::write(&name, "").expect("written");
        fs::hard_link(&name, to.join(at.to_string())).expect("linked");
        inside.insert(at, to.join(at.to_string()));
        names.push(name);
    }
    let running = Fsmon::start(fsmon(["-f", "json", "--hard-links", "-t", "modify"]).arg(&dir));
    let (mut random, mut expected) = (Random(7), Vec::new());
    for step in 0..4000 {
        let at = random.below(FILES);
        let to = dir.join(format!("d{}", random.below(7))).join(format!("{at}.{step}"));
        match (random.below(8), inside.remove(&at)) {
            (0, Some(from)) => fs::remove_file(from).expect("removed"),
            (0, None) => {
                fs::hard_link(&names[at], &to).expect("linked");
                inside.insert(at, to);
            }
            (1, Some(from)) => {
                fs::rename(from, &to).expect("renamed");
                inside.insert(at, to);
            }
            (_, known) => {
                // The kernel merges writes through one name, though the other is changed between them.
                let name = outside.join(format!("{at}.{step}"));
                fs::rename(&names[at], &name).expect("renamed");
                append(&name);
                names[at] = name;
                expected.extend(known.clone());
                known.into_iter().for_each(|known| drop(inside.insert(at, known)));
            }
        }
    }
    let ended = running.stop();
    ended.assert_complete();
    assert!(expected.len() > 1000, "{}", expected.len());
    let mut expected = expected.into_iter().peekable();
    for event in ended.events() {
        // A removal that was merged into an earlier event may have been before this write.
        if expected.next_if(|path| event.path().as_ref() == Some(path)).is_none() {
            assert!(event.flag("unsure"), "{event:?}, not {:?}", expected.peek());
        }
    }
    assert_eq!(expected.next(), None);
}

fn append(file: &Path) {
    let mut file = fs::File::options().append(true).open(file).expect("opened");
    file.write_all(b"x").expect("written");
}

#[test]
fn after_a_loss_the_names_are_read_again() {
    if !is_root() {
        return;
    }
    let area = Area::new();
    let (dir, out) = (area.watched(), area.path("out"));
    sh(&area.path(""), "touch watched/a watched/b; ln watched/a outside; ln watched/b other");
    let mut command = fsmon(["-f", "json", "--bounded-queue", "-o"]);
    let running = Fsmon::start(command.arg(&out).args(LINKS).arg(&dir));
    running.pause();
    let fill = "for i in $(seq $(($(cat /proc/sys/fs/fanotify/max_queued_events) + 1000))); do : >x$i; done";
    sh(&dir, fill);
    sh(&area.path(""), "mv watched/a watched/z; rm watched/b");
    running.signal(Signal::SIGCONT);
    wait_written(&out, "queue_overflow", 1);
    sh(&area.path(""), "chmod 600 outside other; mkdir watched/last");
    wait_written(&out, "/last\"", 1);
    running.stop();
    let events = parse(&fs::read(&out).expect("the lines"));
    let after = events.iter().skip_while(|event| event.kind() != "LOSS");
    let lines: Vec<_> = after.filter(|event| event.kind() == "ATTRIB").map(Event::name).collect();
    assert_eq!(lines, ["z"]);
}

#[test]
fn where_each_directory_has_a_mark_it_is_said_that_they_are_not_seen() {
    if !is_root_with(&["mount"]) || !is_at_least(6, 5) {
        return;
    }
    let mut area = Area::new();
    let (lower, scratch) = (area.dir("lower"), area.tmpfs("scratch", "size=64m"));
    let Some(dir) = area.overlay("merged", &lower, &scratch, "") else {
        return skip("overlayfs cannot be mounted");
    };
    let ended: Ended = Fsmon::start(fsmon(["--hard-links"]).arg(&dir)).stop();
    let is_said = |line: &String| line.contains("through hard links outside of it are not seen");
    assert!(ended.stderr.iter().any(is_said), "{ended:?}");
}

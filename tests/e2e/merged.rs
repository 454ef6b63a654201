//! What the kernel merges while it waits in the queue, and other things that one process does
//! quicker than they are read: the listing at the end follows from the lines all the same.

use fsmon_harness::situations::Do;
use fsmon_harness::{
    Area, Event, Fsmon, briefs, is_root, listing, record, record_and_replay, record_with, replay,
    sh,
};
use nix::fcntl::{AT_FDCWD, RenameFlags, renameat2};
use std::fs::{self, File};
use std::path::Path;
use std::time::Duration;

/// All in one batch, and nearly so.
const WINDOWS: [&str; 2] = ["50ms", "1ms"];

/// Something that a process does in a directory.
struct Dir<'a>(&'a Path);

impl Dir<'_> {
    fn make(&self, name: &str) {
        File::create(self.0.join(name)).expect("made");
    }

    fn mkdir(&self, name: &str) {
        fs::create_dir(self.0.join(name)).expect("made");
    }

    fn rename(&self, old: &str, new: &str) {
        fs::rename(self.0.join(old), self.0.join(new)).expect("renamed");
    }

    fn exchange(&self, a: &str, b: &str) {
        let (a, b) = (self.0.join(a), self.0.join(b));
        renameat2(AT_FDCWD, &a, AT_FDCWD, &b, RenameFlags::RENAME_EXCHANGE).expect("exchanged");
    }

    fn link(&self, old: &str, new: &str) {
        fs::hard_link(self.0.join(old), self.0.join(new)).expect("linked");
    }

    fn remove(&self, name: &str) {
        fs::remove_file(self.0.join(name)).expect("removed");
    }

    fn rmdir(&self, name: &str) {
        fs::remove_dir(self.0.join(name)).expect("removed");
    }

    fn act(&self, one: Do) {
        match one {
            Do::Make(name) => self.make(name),
            Do::Mkdir(name) => self.mkdir(name),
            Do::Rename(old, new) => self.rename(old, new),
            Do::Exchange(a, b) => self.exchange(a, b),
            Do::Link(old, new) => self.link(old, new),
            Do::Remove(name) if self.0.join(name).is_dir() => self.rmdir(name),
            Do::Remove(name) => self.remove(name),
            Do::Pause => std::thread::sleep(Duration::from_millis(100)),
        }
    }
}

/// The listing follows from the lines, each of which makes sense when it comes.
fn follows(action: impl Fn(&Dir<'_>)) {
    if !is_root() {
        return;
    }
    for window in WINDOWS {
        let area = Area::new();
        let watched = area.watched();
        fs::create_dir_all(watched.join("../out")).expect("made");
        fsmon_harness::situations::START.iter().for_each(|one| Dir(&watched).act(*one));
        let args = ["-t", "create,delete,rename,attrib,close_write", "--batch-window", window];
        record_and_replay(&watched, &args, || action(&Dir(&watched)));
    }
}

/// CREATE and DELETE of one name and object are one event, which does not say what came first: the
/// lines may be in the wrong order, but the end is right.
#[test]
fn a_hard_link_made_and_removed_in_turn() {
    if !is_root() {
        return;
    }
    for window in WINDOWS {
        let area = Area::new();
        let watched = area.watched();
        sh(&watched, "touch f1; ln f1 l4");
        let start = listing(&watched);
        let args = ["-t", "create,delete,rename", "--batch-window", window];
        let events = record(&watched, &args, || {
            let dir = Dir(&watched);
            for name in ["l1", "l2", "l3"] {
                dir.link("f1", name);
                dir.remove(name);
                dir.link("f1", name);
            }
            dir.remove("l2");
            dir.remove("l4");
            dir.link("f1", "l4");
        });
        assert_eq!(replay(&watched, start, &events).0, listing(&watched), "{events:#?}");
    }
}

/// Each on the real kernel as well as on the model (`engine/src/sim/merges.rs`).
#[test]
fn every_situation_of_the_list() {
    if !is_root() {
        return;
    }
    for (name, script) in fsmon_harness::situations::SITUATIONS {
        println!("{name}");
        follows(|dir| script.iter().for_each(|one| dir.act(*one)));
    }
}

#[test]
fn two_names_exchanged_again_and_again() {
    for times in 2..5 {
        follows(|dir| (0..times).for_each(|_| dir.exchange("d1", "d2")));
        follows(|dir| (0..times).for_each(|_| dir.exchange("f1", "d2")));
    }
}

#[test]
fn an_exchange_says_that_it_is_one() {
    if !is_root() {
        return;
    }
    let area = Area::new();
    let watched = area.watched();
    sh(&watched, "mkdir d; touch d/in f");
    let args = ["-t", "create,delete,rename"];
    let exchange = |a: &str, b: &str| record(&watched, &args, || Dir(&watched).exchange(a, b));
    let events = exchange("d", "f");
    let expected = ["RENAME f -> ASIDE", "RENAME d/ -> f/", "RENAME ASIDE -> d"];
    assert_eq!(with_aside(&events, &watched), expected);
    assert!(events.iter().all(|event| event.flag("exchange") && !event.flag("found")));
    let events = exchange("d", "f");
    let expected = ["RENAME f/ -> ASIDE/", "RENAME d -> f", "RENAME ASIDE/ -> d/"];
    assert_eq!(with_aside(&events, &watched), expected);
    let events = exchange("d/in", "f");
    assert_eq!(with_aside(&events, &watched), ["RENAME d/in -> f", "RENAME ? -> d/in"]);
    assert!(events.iter().all(|event| event.flag("exchange")));
}

/// The lines in brief; between the halves an entry has a name of its own, made of its handle.
fn with_aside(events: &[Event], dir: &Path) -> Vec<String> {
    let mut lines = briefs(events, dir);
    for line in &mut lines {
        if let Some(at) = line.find(".exchange-") {
            line.replace_range(at..at + ".exchange-".len() + 16, "ASIDE");
        }
    }
    lines
}

#[test]
fn a_directory_made_and_removed_with_all_that_was_in_it() {
    follows(|dir| {
        for _ in 0..3 {
            dir.mkdir("t");
            dir.make("t/x");
            dir.mkdir("t/y");
            dir.make("t/y/z");
            dir.remove("t/y/z");
            dir.rmdir("t/y");
            dir.remove("t/x");
            dir.rmdir("t");
        }
        dir.mkdir("t");
        dir.make("t/x");
    });
}

#[test]
fn what_happened_before_it_was_ready_is_not_told() {
    if !is_root() {
        return;
    }
    // Until now nothing was in the queue; the next one begins amid a storm.
    let area = Area::new();
    let watched = area.watched();
    let storm = "while [ ! -e ../stop ]; do mkdir -p a/b; : > a/b/f; mv a c; rm -r c; done";
    let mut shell = std::process::Command::new("/bin/sh");
    let mut shell = shell.args(["-euc", storm]).current_dir(&watched).spawn().expect("started");
    let events = record_with(&watched, &["-t", "create,delete,rename"], |running| {
        running.wait_until("some rounds", |events| events.len() > 500);
        fs::write(area.path("stop"), "").expect("written");
        assert!(shell.wait().expect("a child").success());
    });
    let lines: Vec<String> = briefs(&events, &watched);
    let round = ["CREATE a/", "CREATE a/b/", "CREATE a/b/f", "RENAME a/ -> c/"];
    let round: Vec<_> =
        round.into_iter().chain(["DELETE c/b/f", "DELETE c/b/", "DELETE c/"]).collect();
    let first = round.iter().position(|line| *line == lines[0]).expect("one of them");
    for (at, line) in lines.iter().enumerate() {
        assert_eq!(line, round[(first + at) % round.len()], "line {at}");
    }
    let whole: Vec<&Event> = events.iter().filter(|event| event.flag("found")).collect();
    assert!(whole.is_empty(), "{whole:?}");
}

#[test]
fn an_exchange_with_what_is_outside() {
    for (inside, outside) in [("f1", "f"), ("d1", "sub"), ("f1", "sub"), ("d1", "f")] {
        let outside = format!("../out/in/{outside}");
        follows(|dir| dir.exchange(inside, &outside));
        follows(|dir| dir.exchange(&outside, inside));
    }
}

#[test]
fn a_directory_that_replaces_an_empty_one_is_told_in_one_line() {
    if !is_root() {
        return;
    }
    let area = Area::new();
    let watched = area.watched();
    sh(&watched, "mkdir a b");
    let events =
        record(&watched, &["--batch-window", "50ms", "-t", "create,delete,rename"], || {
            let dir = Dir(&watched);
            dir.rename("a", "z");
            dir.rename("b", "z");
        });
    assert_eq!(briefs(&events, &watched), ["RENAME a/ -> z/", "RENAME b/ -> z/"]);
}

/// Makes files in `parent` until the path of one is sure, and gives its line. fsmon looks up what is in doubt once it has
/// seen the queue empty, so the path of the first file can be `unsure`.
fn make_until_sure(watched: &Path, running: &Fsmon, parent: &str) -> String {
    for number in 0..1000 {
        let name = format!("after-{number}");
        Dir(watched).make(&format!("{parent}/{name}"));
        let event = running
            .wait_for(&name, |events| events.iter().find(|event| event.name() == name).cloned());
        if !event.flag("unsure") {
            return event.brief(watched);
        }
    }
    panic!("no path in {parent} was ever sure");
}

/// Whose last rename was merged away: nobody can know which of the two names `x` was made in.
#[test]
fn a_path_through_a_directory_renamed_to_and_fro_is_unsure() {
    if !is_root() {
        return;
    }
    let area = Area::new();
    let watched = area.watched();
    let dir = Dir(&watched);
    sh(&watched, "mkdir -p d1/s other");
    let args = ["-t", "create,rename", "--batch-window", "50ms"];
    let mut after = String::new();
    let events = record_with(&watched, &args, |running| {
        dir.make("d1/s/before");
        dir.rename("d1", "d2");
        dir.make("d2/s/once");
        dir.rename("d2", "d1");
        dir.rename("d1", "d2");
        dir.make("d2/s/x");
        dir.make("other/y");
        after = make_until_sure(&watched, running, "d2/s");
    });
    assert!(after.starts_with("CREATE d2/s/after-"), "{after}");
    let is_before =
        |event: &&Event| event.kind() == "CREATE" && !event.name().starts_with("after-");
    let made = events.iter().filter(is_before);
    let made: Vec<_> = made.map(|event| (event.brief(&watched), event.flag("unsure"))).collect();
    let made: Vec<_> = made.iter().map(|(brief, unsure)| (&**brief, *unsure)).collect();
    assert_eq!(
        made,
        [
            ("CREATE d1/s/before", false),
            ("CREATE d2/s/once", false),
            ("CREATE d1/s/x", true),
            ("CREATE other/y", false),
        ]
    );
}

#[test]
fn a_path_in_what_came_in_an_instant_before_is_unsure() {
    if !is_root() {
        return;
    }
    let area = Area::new();
    let watched = area.watched();
    let dir = Dir(&watched);
    sh(&watched, "mkdir -p ../out/in/s");
    let args = ["-t", "create,rename", "--batch-window", "50ms"];
    let mut after = String::new();
    let events = record_with(&watched, &args, |running| {
        dir.rename("../out/in", "in");
        dir.make("in/s/x");
        dir.rename("in/s", "in/t");
        after = make_until_sure(&watched, running, "in/t");
    });
    assert!(after.starts_with("CREATE in/t/after-"), "{after}");
    // The walk met `x`, which is reported as found.
    let is_before =
        |event: &&Event| event.kind() == "CREATE" && !event.name().starts_with("after-");
    assert!(events.iter().filter(is_before).all(|event| event.flag("found")), "{events:?}");
    let moved = events.iter().find(|event| event.old_path().is_some());
    assert!(moved.is_none_or(|event| event.flag("unsure")), "{events:?}");
}

/// More of them than are remembered.
#[test]
fn a_directory_made_and_removed_thousands_of_times() {
    follows(|dir| {
        for i in 0..5000 {
            dir.mkdir("n");
            dir.make("n/f");
            dir.rename("n/f", &format!("g{i}"));
            dir.rmdir("n");
        }
    });
}

/// A file has two names in a directory whose last rename was lost, and which is replaced then.
#[test]
fn links_in_a_directory_that_is_elsewhere() {
    follows(|dir| {
        for i in 0..10 {
            let name = |name: &str| format!("{name}{i}");
            let (d, e, x) = (name("d_"), name("e_"), name("x_"));
            let (a, b, c) = (d.clone() + "/a", d.clone() + "/b", d.clone() + "/c");
            dir.mkdir(&d);
            dir.mkdir(&x);
            dir.make(&a);
            // How much of it is read in one batch differs from round to round: this pause and the next are what is
            // tested.
            std::thread::sleep(Duration::from_millis(20));
            dir.rename(&a, &c);
            dir.rename(&c, &a);
            dir.link(&a, &b);
            dir.remove(&b);
            dir.link(&a, &b);
            dir.rename(&d, &e);
            dir.rename(&e, &d);
            dir.rename(&d, &e);
            std::thread::sleep(Duration::from_millis(i));
            dir.rename(&x, &d);
            dir.rename(&d, &x);
            dir.rename(&e, &d);
        }
    });
}

//! Single situations, each with its lines.

use super::*;
use fsmon_format::kind::{ATTRIB, CLOSE_WRITE, CREATE, DELETE, MODIFY, RENAME};
use fsmon_format::record::event_flag::{EXCHANGE, FOUND};
use std::collections::BTreeSet;

/// Knows these paths to have been there, and says of all others what `others` is.
pub(super) struct Known {
    pub(super) there: BTreeSet<Vec<u8>>,
    pub(super) others: Answer,
}

impl Past for Known {
    fn was_there(&mut self, path: &[u8]) -> Answer {
        if self.there.contains(path) { Answer::There } else { self.others }
    }
}

/// One line as text: `R b < a 3`, with `?` where nobody knows what was before, `-` where it is made and gone.
pub(super) fn text(line: &Line<'_>) -> String {
    let letter = match line.change {
        Change::Added => "A",
        Change::Modified => "M",
        Change::Deleted => "D",
        Change::Renamed => "R",
        Change::Attributes => "T",
    };
    let shown = |path: &[u8]| String::from_utf8_lossy(path).into_owned();
    let old = line.old_path.map_or_else(String::new, |old| format!(" < {}", shown(old)));
    let slash = if line.is_dir { "/" } else { "" };
    let unsure = if line.is_unsure { "?" } else { "" };
    let gone = if line.is_temporary { "-" } else { "" };
    format!("{letter}{unsure}{gone} {}{slash}{old}", shown(line.path))
}

/// Applies steps such as `create /a`, `mkdir /d`, `mv /a /b`, `mvdir /d /e`, `in /a`, `out /a`.
pub(super) fn run(asked: Asked, steps: &[&str], past: &mut dyn Past) -> Vec<String> {
    let mut changes = Changes::new(asked);
    for (at, step) in steps.iter().enumerate() {
        let words: Vec<_> = step.split(' ').collect();
        let path = |at: usize| words.get(at).map(|word| word.as_bytes());
        let mut event = Event { path: path(1), time_ns: at as u64 + 1, ..Event::default() };
        match words[0] {
            "create" => event.types = CREATE | CLOSE_WRITE,
            "found" => (event.types, event.flags) = (CREATE, FOUND),
            "mkdir" => (event.types, event.is_dir) = (CREATE, true),
            "write" => event.types = MODIFY | CLOSE_WRITE,
            "close" => event.types = CLOSE_WRITE,
            "chmod" => event.types = ATTRIB,
            "chmoddir" => (event.types, event.is_dir) = (ATTRIB, true),
            "rm" => event.types = DELETE,
            "rmdir" => (event.types, event.is_dir) = (DELETE, true),
            "mv" => (event.types, event.old, event.path) = (RENAME, path(1), path(2)),
            "swap" => {
                (event.types, event.old, event.path) = (RENAME, path(1), path(2));
                event.flags = EXCHANGE;
                changes.take(&event);
                (event.old, event.path) = (None, path(1));
            }
            "mvdir" => {
                (event.types, event.old, event.path) = (RENAME, path(1), path(2));
                event.is_dir = true;
            }
            "in" => event.types = RENAME,
            "indir" => (event.types, event.is_dir) = (RENAME, true),
            "out" => (event.types, event.old, event.path) = (RENAME, path(1), None),
            "outdir" => {
                (event.types, event.old, event.path) = (RENAME, path(1), None);
                event.is_dir = true;
            }
            "gap" => {
                changes.interrupt();
                continue;
            }
            other => panic!("{other}"),
        }
        if let Some(object) = words.iter().find_map(|word| word.strip_prefix('#')) {
            event.object = object.parse().expect("a number");
        }
        changes.take(&event);
        changes.sweep();
    }
    let mut lines = Vec::new();
    let done: Result<(), ()> = changes.finish(past).each(|_, line| {
        lines.push(text(line));
        Ok(())
    });
    assert_eq!(done, Ok(()));
    lines
}

/// With a past that knows everything: these paths, and no others.
fn net(there: &[&str], steps: &[&str]) -> Vec<String> {
    let there = there.iter().map(|path| path.as_bytes().to_vec()).collect();
    run(Asked::default(), steps, &mut Known { there, others: Answer::NotThere })
}

/// With a past of which nothing is known.
fn net_unknown(steps: &[&str]) -> Vec<String> {
    run(Asked::default(), steps, &mut Unknown)
}

#[test]
fn each_letter() {
    assert_eq!(net(&[], &["create /a"]), ["A /a"]);
    assert_eq!(net(&[], &["write /a"]), ["M /a"]);
    assert_eq!(net(&[], &["close /a"]), ["M /a"]);
    assert_eq!(net(&[], &["rm /a"]), ["D /a"]);
    assert_eq!(net(&[], &["mv /a /b"]), ["R /b < /a"]);
    assert_eq!(net(&[], &["chmod /a"]), ["T /a"]);
    assert_eq!(net(&[], &["chmod /a", "write /a"]), ["M /a"]);
    assert_eq!(net(&[], &["mv /a /b", "write /b", "chmod /b"]), ["R /b < /a"]);
    assert_eq!(net(&[], &["mkdir /d", "create /d/x"]), ["A /d/", "A /d/x"]);
}

#[test]
fn what_is_made_and_gone_is_no_difference() {
    assert_eq!(net(&[], &["create /a", "rm /a"]), [""; 0]);
    assert_eq!(net(&[], &["create /a", "mv /a /b", "rm /b"]), [""; 0]);
    assert_eq!(net(&[], &["mkdir /d", "create /d/x", "rm /d/x", "rmdir /d"]), [""; 0]);
    assert_eq!(net(&[], &["create /a", "rm /a", "create /a"]), ["A /a"]);
    let all = Asked { all: true, ..Asked::default() };
    let lines = run(all, &["mkdir /d", "create /d/x", "rm /d/x", "rmdir /d"], &mut Unknown);
    assert_eq!(lines, ["D- /d/", "D- /d/x"]);
}

#[test]
fn what_comes_to_a_name_that_was_taken_is_a_modification() {
    assert_eq!(net(&[], &["rm /a", "create /a"]), ["M /a"]);
    assert_eq!(net(&["/b"], &["mv /a /b"]), ["D /a", "M /b"]);
    assert_eq!(net(&["/b"], &["create /b.new", "mv /b.new /b"]), ["M /b"]);
    assert_eq!(net(&[], &["create /b.new", "mv /b.new /b"]), ["A /b"]);
    assert_eq!(net(&[], &["mv /a /b", "create /a"]), ["M /a", "R /b < /a"]);
    assert_eq!(net(&[], &["write /b", "mv /a /b"]), ["D /a", "M /b"]);
    assert_eq!(net(&["/b"], &["mv /a /b", "rm /b"]), ["D /a", "D /b"]);
    assert_eq!(net(&[], &["in /a"]), ["A /a"]);
    assert_eq!(net(&["/a"], &["in /a"]), ["M /a"]);
}

#[test]
fn where_the_past_says_nothing_it_is_a_modification_that_says_so() {
    assert_eq!(net_unknown(&["create /b.new", "mv /b.new /b"]), ["M? /b"]);
    assert_eq!(net_unknown(&["mv /a /b"]), ["D /a", "M? /b"]);
    assert_eq!(net_unknown(&["found /b"]), ["M? /b"]);
    assert_eq!(net_unknown(&["create /b"]), ["A /b"]);
    // Nothing replaces a name that was free before.
    assert_eq!(net_unknown(&["create /b", "rm /b", "mv /a /b"]), ["R /b < /a"]);
    // The name is gone again: perhaps it never was there.
    assert_eq!(net_unknown(&["mv /a /t", "mv /t /a"]), ["D?- /t"]);
}

#[test]
fn chains_and_swaps() {
    assert_eq!(net(&[], &["mv /a /b", "mv /b /c"]), ["R /c < /a"]);
    assert_eq!(net(&[], &["mv /a /b", "mv /b /a"]), [""; 0]);
    assert_eq!(net(&[], &["mv /a /b", "write /b", "mv /b /a"]), ["M /a"]);
    assert_eq!(net(&[], &["mv /a /t", "mv /b /a", "mv /t /b"]), ["M /a", "M /b"]);
    assert_eq!(net(&[], &["swap /a /b"]), ["M /a", "M /b"]);
    assert_eq!(net(&[], &["create /a", "swap /a /b"]), ["R /a < /b", "M /b"]);
    assert_eq!(net(&[], &["swap /a /b", "swap /a /b"]), [""; 0]);
}

#[test]
fn what_is_below_a_renamed_directory_moves_with_it() {
    assert_eq!(net(&[], &["mvdir /d /e"]), ["R /e/ < /d"]);
    assert_eq!(net(&[], &["write /d/x", "mvdir /d /e"]), ["R /e/ < /d", "M /e/x"]);
    assert_eq!(
        net(&[], &["mvdir /d /e", "write /e/x", "create /e/y", "rm /e/z"]),
        ["R /e/ < /d", "M /e/x", "A /e/y", "D /e/z"]
    );
    assert_eq!(net(&[], &["mvdir /d /e", "mv /e/x /y"]), ["R /e/ < /d", "R /y < /d/x"]);
    assert_eq!(net(&[], &["mvdir /d /e", "mvdir /e /d"]), [""; 0]);
    assert_eq!(net(&["/d/y"], &["mvdir /d /e", "mv /x /e/y"]), ["R /e/ < /d", "M /e/y", "D /x"]);
}

#[test]
fn directories_that_go_and_come_again() {
    let again = ["rm /d/x", "rmdir /d", "mkdir /d", "create /d/x", "create /d/y"];
    assert_eq!(net(&[], &again), ["M /d/", "M /d/x", "A /d/y"]);
    assert_eq!(net(&[], &["rm /d/x", "rmdir /d"]), ["D /d/", "D /d/x"]);
    let moved = ["mvdir /d /e", "mkdir /d", "create /d/x"];
    assert_eq!(net(&[], &moved), ["M /d/", "A /d/x", "R /e/ < /d"]);
    // A directory in the place of an empty one.
    let onto = ["rm /e/x", "mvdir /d /e"];
    assert_eq!(net(&["/e"], &onto), ["R /e/ < /d", "D /e/x"]);
}

#[test]
fn of_a_directory_that_leaves_or_comes_nothing_below_is_known() {
    assert_eq!(net(&[], &["write /d/x", "rm /d/y", "outdir /d"]), ["D /d/"]);
    assert_eq!(net(&[], &["mv /x /d/x", "outdir /d"]), ["D /d/", "D /x"]);
    assert_eq!(net(&[], &["indir /d"]), ["A /d/"]);
    assert_eq!(net(&[], &["indir /d", "write /d/x", "found /d/y"]), ["A /d/", "A /d/x", "A /d/y"]);
    assert_eq!(net_unknown(&["outdir /d", "indir /d", "found /d/x"]), ["M /d/", "M? /d/x"]);
}

#[test]
fn late_events_of_a_file_that_lost_its_name_change_nothing() {
    assert_eq!(net(&[], &["create /a #7", "rm /a #7", "write /a #7"]), [""; 0]);
    assert_eq!(net(&[], &["rm /a #7", "write /a #7"]), ["D /a"]);
    assert_eq!(net(&[], &["write /b #7", "mv /a /b #8", "write /b #7"]), ["D /a", "M /b"]);
    assert_eq!(net(&[], &["mkdir /d", "create /d/a #7", "rm /d/a #7", "write /d/a #7"]), ["A /d/"]);
    // Where something was missed, it may be another file.
    assert_eq!(net(&[], &["rm /a #7", "gap", "write /a #8"]), ["M /a"]);
    assert_eq!(net(&[], &["rm /a #7", "write /a #8"]), ["D /a"]);
}

#[test]
fn only_what_is_asked_for() {
    let of = |paths: &[&str], steps: &[&str]| {
        let paths = paths.iter().map(|path| path.as_bytes().to_vec()).collect();
        run(
            Asked { paths, all: false },
            steps,
            &mut Known { there: BTreeSet::new(), others: Answer::NotThere },
        )
    };
    assert_eq!(of(&["/p"], &["write /a", "write /p/a", "create /pp"]), ["M /p/a"]);
    assert_eq!(of(&["/p/"], &["write /p/a", "rm /p/b"]), ["M /p/a", "D /p/b"]);
    assert_eq!(
        of(&["/p"], &["mv /p/a /b", "mv /c /p/d", "mv /p/x /p/y"]),
        ["D /p/a", "A /p/d", "R /p/y < /p/x"]
    );
    assert_eq!(of(&["/p/a"], &["mv /p/a /p/b"]), ["D /p/a"]);
    assert_eq!(of(&["/q/p"], &["mvdir /q /r"]), ["D /q/p/"]);
    assert_eq!(of(&["/q/p"], &["mvdir /q /r", "mvdir /r /q", "write /q/p/x"]), ["M /q/p/x"]);
    assert_eq!(of(&["/p", "/q"], &["mv /p/a /q/a"]), ["R /q/a < /p/a"]);
}

#[test]
fn the_last_process_and_the_count_of_events_are_those_of_the_path() {
    let mut changes = Changes::new(Asked::default());
    let mut at = |types, path: &'static str, old: Option<&'static str>, time_ns| {
        let (path, old) = (Some(path.as_bytes()), old.map(str::as_bytes));
        changes.take(&Event { types, path, old, time_ns, ..Event::default() });
    };
    at(MODIFY | CLOSE_WRITE, "/a", None, 1);
    at(RENAME, "/b", Some("/a"), 2);
    at(ATTRIB, "/b", None, 3);
    at(DELETE, "/c", None, 4);
    at(CREATE | MODIFY, "/c", None, 5);
    at(MODIFY, "/e", None, 6);
    at(RENAME, "/e", Some("/d"), 7);
    at(MODIFY, "/e", None, 8);
    let mut lines = Vec::new();
    let done: Result<(), ()> = changes.finish(&mut Unknown).each(|_, line| {
        lines.push((text(line), line.events, line.time_ns));
        Ok(())
    });
    assert_eq!(done, Ok(()));
    let line = |text: &str, events, time_ns| (text.to_owned(), events, time_ns);
    assert_eq!(
        lines,
        [
            line("D /a", 3, 2),
            line("M? /b", 4, 3),
            line("M /c", 3, 5),
            line("D /d", 1, 7),
            line("M /e", 3, 8)
        ]
    );
}

#[test]
fn what_comes_and_goes_leaves_no_memory_behind() {
    let mut changes = Changes::new(Asked::default());
    for round in 0..200_000u32 {
        let name = format!("/d{}/{round}", round % 1000);
        for types in [CREATE, MODIFY | CLOSE_WRITE, DELETE] {
            let path = Some(name.as_bytes());
            changes.take(&Event { types, path, object: 2 * u64::from(round), ..Event::default() });
        }
        changes.sweep();
    }
    assert_eq!(changes.tree.ids().count(), 0);
    assert_eq!(changes.finish(&mut Unknown).count(), 0);
}

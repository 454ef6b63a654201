//! Histories on disk: which part is read, in which order, and what is said to be missing.

use super::tests::text;
use super::*;
use crate::tape::{NEW_YEAR, Said, Tape};
use fsmon_format::kind::{CLOSE_WRITE, CREATE, DELETE, MODIFY, RENAME};
use fsmon_format::record::What;
use fsmon_format::stream::Codec;
use std::path::Path;

const SECOND: u64 = 1_000_000_000;

fn tape(dir: &Path, id: u8, boot: u8, at_s: u64) -> Tape {
    Tape::new(dir, id, boot, at_s * SECOND, Codec::None)
}

/// An event at a second of the boot.
fn say(tape: &mut Tape, at_s: u64, mask: u32, path: &str, old: &str) {
    tape.time_ns = at_s * SECOND;
    tape.event(&Said { mask, path, old, pid: 7, ..Said::default() });
}

/// The lines, and what is missing.
fn net(dir: &Path, since: Since, paths: &[&str]) -> (Vec<String>, Vec<Trouble>) {
    let span = Span { since, until_ns: None };
    let paths = paths.iter().map(|path| path.as_bytes().to_vec()).collect();
    let reading = read(dir, Asked { paths, all: false }, &span).expect("readable");
    assert_eq!(reading.damage, [""; 0]);
    let mut past = Scan::new(dir, &span, 100).expect("readable");
    let mut lines = Vec::new();
    let done: Result<(), ()> = reading.changes.finish(&mut past).each(|_, line| {
        lines.push(text(line));
        Ok(())
    });
    assert_eq!(done, Ok(()));
    (lines, reading.troubles)
}

#[test]
fn streams_of_a_boot_are_read_together_in_order() {
    let dir = tempfile::tempdir().expect("a directory");
    let (mut one, mut other) = (tape(dir.path(), 1, 1, 10), tape(dir.path(), 2, 1, 11));
    say(&mut one, 12, CREATE, "/srv/a", "");
    say(&mut other, 13, RENAME, "/srv/b", "/srv/a");
    say(&mut one, 14, RENAME, "/srv/c", "/srv/b");
    one.rotate();
    say(&mut other, 15, MODIFY | CLOSE_WRITE, "/srv/c", "");
    say(&mut one, 16, RENAME, "/srv/d", "/srv/c");
    one.save();
    other.save();
    let (lines, troubles) = net(dir.path(), Since::Beginning, &[]);
    assert_eq!(
        (lines, troubles),
        (vec!["D?- /srv/b".into(), "D?- /srv/c".into(), "M? /srv/d".into()], vec![])
    );
}

#[test]
fn what_was_there_before_is_read_from_what_is_older() {
    let dir = tempfile::tempdir().expect("a directory");
    let mut tape = tape(dir.path(), 1, 1, 10);
    say(&mut tape, 12, CREATE, "/srv/there", "");
    say(&mut tape, 13, DELETE, "/srv/gone", "");
    say(&mut tape, 14, MODIFY, "/srv/written", "");
    tape.flush();
    let moment = tape.wall_ns(15 * SECOND);
    for (at, name) in ["there", "gone", "written", "unheard"].into_iter().enumerate() {
        let (new, old) = (format!("/srv/{name}"), format!("/srv/{name}.new"));
        say(&mut tape, 20 + 2 * at as u64, CREATE, &old, "");
        say(&mut tape, 21 + 2 * at as u64, RENAME, &new, &old);
    }
    tape.save();
    let expected = ["A /srv/gone", "M /srv/there", "M? /srv/unheard", "M /srv/written"];
    assert_eq!(net(dir.path(), Since::Moment(moment), &[]).0, expected);
    let cursor = Cursor::parse_all(&format!("1-{}-0-1-0-0", "01".repeat(16))).expect("a cursor");
    assert_eq!(
        net(dir.path(), Since::Cursor(cursor), &[]),
        (expected.map(str::to_owned).into(), vec![])
    );
}

#[test]
fn a_cursor_leaves_out_what_is_before_and_has_all_later_streams() {
    let dir = tempfile::tempdir().expect("a directory");
    let mut before = tape(dir.path(), 9, 1, 1);
    say(&mut before, 2, CREATE, "/srv/0", "");
    before.rotate();
    let mut one = tape(dir.path(), 1, 1, 10);
    say(&mut one, 12, CREATE, "/srv/1", "");
    one.flush();
    say(&mut one, 13, CREATE, "/srv/2", "");
    let gap_from = one.wall_ns(13 * SECOND);
    one.rotate();
    let mut later = tape(dir.path(), 2, 1, 14);
    later.gap(gap_from, later.wall_ns(14 * SECOND));
    say(&mut later, 15, CREATE, "/srv/3", "");
    later.save();
    let cursor = |stream: &str| {
        let text = format!("1-{}-0-1-0-0", stream.repeat(16));
        Since::Cursor(Cursor::parse_all(&text).expect("a cursor"))
    };
    let (lines, troubles) = net(dir.path(), cursor("01"), &[]);
    assert_eq!(lines, ["A /srv/2", "A /srv/3"]);
    assert!(matches!(troubles[..], [Trouble::Gap(..)]), "{troubles:?}");
    // Its stream is deleted: everything is read, and that something is missing is said.
    let (lines, troubles) = net(dir.path(), cursor("77"), &[]);
    assert_eq!(lines.len(), 4, "{lines:?}");
    assert!(troubles.contains(&Trouble::Deleted), "{troubles:?}");
}

#[test]
fn what_is_missing_is_said_where_it_concerns_what_is_asked_for() {
    let dir = tempfile::tempdir().expect("a directory");
    let mut tape = tape(dir.path(), 1, 1, 10);
    tape.note(What::WatchBegan, "/added");
    say(&mut tape, 12, CREATE, "/srv/a", "");
    tape.rotate();
    let moment = tape.wall_ns(13 * SECOND);
    say(&mut tape, 14, CREATE, "/srv/b", "");
    tape.save();
    let since = |ns| Since::Moment(ns);
    assert_eq!(net(dir.path(), since(moment), &["/srv"]), (vec!["A /srv/b".into()], vec![]));
    // Only a note in an earlier segment says that it is watched.
    assert_eq!(net(dir.path(), since(moment), &["/added/x"]), (vec![], vec![]));
    let unwatched = |path: &str| vec![Trouble::Unwatched(path.into())];
    assert_eq!(net(dir.path(), since(moment), &["/other"]).1, unwatched("/other"));
    let late = net(dir.path(), since(NEW_YEAR), &[]).1;
    assert!(matches!(late[..], [Trouble::BeginsLate(_), ..]), "{late:?}");
    tape.time_ns = 15 * SECOND;
    tape.loss();
    tape.note(What::WatchEnded, "/added");
    tape.save();
    let (_, troubles) = net(dir.path(), since(moment), &["/srv"]);
    assert!(matches!(troubles[..], [Trouble::Loss(..)]), "{troubles:?}");
    let (_, troubles) = net(dir.path(), since(moment), &["/added"]);
    assert!(troubles.contains(&unwatched("/added")[0]) && troubles.len() == 2, "{troubles:?}");
    // A segment that is missing in the middle.
    tape.rotate();
    say(&mut tape, 16, CREATE, "/srv/c", "");
    tape.rotate();
    say(&mut tape, 17, CREATE, "/srv/d", "");
    tape.save();
    std::fs::remove_file(dir.path().join("20260101T000000Z-01010101-000002.fsmon"))
        .expect("removed");
    let (lines, troubles) = net(dir.path(), since(moment), &["/srv"]);
    assert_eq!(lines, ["A /srv/b", "A /srv/d"]);
    assert!(troubles.contains(&Trouble::Deleted), "{troubles:?}");
}

//! Tables of the reader that are full: what may be missing or wrong for that is counted, is a LOSS line, and the record
//! is NOT complete; with as much as there is room for it is complete.

use fsmon_harness::{
    Area, Ended, Fsmon, Listing, assert_follows, fsmon, is_root, listing, read_stats,
};
use nix::sys::signal::Signal;
use serde_json::Value;
use std::fs::{self, File};
use std::path::{Path, PathBuf};

/// A directory on a tmpfs, where thousands of changes take no time.
fn quick() -> (Area, PathBuf) {
    let mut area = Area::new();
    let watched = area.tmpfs("quick", "size=64m");
    (area, watched)
}

/// Everything that `action` does waits in the queue until it is done.
fn in_one_queue(area: &Area, watched: &Path, action: impl FnOnce(&Path)) -> (Ended, Value) {
    let stats = area.path("stats");
    let mut command = fsmon(["-f", "json", "-t", "create,delete,rename,close_write", "--stats"]);
    let running = Fsmon::start(command.arg(&stats).arg(watched));
    running.pause();
    action(watched);
    running.signal(Signal::SIGCONT);
    let ended = running.stop();
    (ended, read_stats(&stats))
}

/// A watched directory with the files `a0`, `a1` and so on, and what is in it.
fn with_files(count: usize) -> (Area, PathBuf, Listing) {
    let (area, watched) = quick();
    (0..count).for_each(|i| drop(File::create(watched.join(format!("a{i}"))).expect("made")));
    let start = listing(&watched);
    (area, watched, start)
}

/// Renames one of them: `a7` to `b7`, for example.
fn rename(dir: &Path, (old, new): (char, char), i: usize) {
    fs::rename(dir.join(format!("{old}{i}")), dir.join(format!("{new}{i}"))).expect("renamed");
}

/// Whether the record says that it is complete: the same in the last line, in the counters and in the lines.
#[track_caller]
fn is_complete((ended, stats): &(Ended, Value)) -> bool {
    assert!(ended.status.success(), "{:?}", ended.stderr);
    let (last, count) = (ended.last_words(), stats["tables_full"].as_u64().unwrap_or(0));
    let is_complete = last.ends_with("; complete");
    assert_eq!(stats["complete"], is_complete, "{last}");
    assert_eq!(count == 0, is_complete, "{last}");
    assert_eq!(last.contains("full table"), !is_complete, "{last}");
    let events = ended.events();
    let losses = events.iter().filter(|event| event.kind() == "LOSS");
    assert!(losses.clone().all(|loss| loss.text("reason") == Some("tables_full")), "{last}");
    let lost = losses.map(|loss| loss.number("lost").expect("known")).sum::<u64>();
    assert_eq!(lost, count);
    is_complete
}

/// The last rename of each is merged into its first, so both names of each are to be looked at.
#[test]
fn more_names_in_doubt_than_are_remembered() {
    if !is_root() {
        return;
    }
    for (count, is_room) in [(3000, true), (6000, false)] {
        let (area, watched, start) = with_files(count);
        let record = in_one_queue(&area, &watched, |dir| {
            for i in 0..count {
                rename(dir, ('a', 'b'), i);
                rename(dir, ('b', 'a'), i);
                rename(dir, ('a', 'b'), i);
            }
        });
        assert_eq!(is_complete(&record), is_room, "{count}");
        if is_room {
            assert_follows(start, &record.0.events(), &watched);
        }
    }
}

/// More files than the kernel looks at to merge an event into: an earlier event of the others does not matter.
#[test]
fn many_files_renamed_once_are_no_loss() {
    if !is_root() {
        return;
    }
    let count = 60_000;
    let (area, watched, start) = with_files(count);
    let record = in_one_queue(&area, &watched, |dir| {
        for i in 0..count {
            rename(dir, ('a', 'b'), i);
        }
        // The last rename of these is merged into the first, if that is not too far away.
        for i in (count - 12_000..count - 4000).step_by(100) {
            rename(dir, ('b', 'a'), i);
            rename(dir, ('a', 'b'), i);
        }
    });
    assert!(is_complete(&record), "{:?}", record.0.stderr);
    assert_follows(start, &record.0.events(), &watched);
}

/// The DELETE of each is merged into its CREATE, before what happened in it. That is one event each, so that the CREATE is
/// not too far away to be merged with.
#[test]
fn more_removed_directories_than_are_remembered() {
    if !is_root() {
        return;
    }
    for (count, is_room) in [(4000, true), (6000, false)] {
        let (area, watched) = quick();
        let start = listing(&watched);
        let record = in_one_queue(&area, &watched, |dir| {
            let dirs: Vec<_> = (0..count).map(|i| dir.join(format!("d{i}"))).collect();
            dirs.iter().for_each(|dir| fs::create_dir(dir).expect("made"));
            for dir in &dirs {
                File::create(dir.join("f")).expect("made");
                fs::remove_file(dir.join("f")).expect("removed");
                fs::remove_dir(dir).expect("removed");
            }
        });
        assert_eq!(is_complete(&record), is_room, "{count}");
        if is_room {
            assert_follows(start, &record.0.events(), &watched);
        }
    }
}

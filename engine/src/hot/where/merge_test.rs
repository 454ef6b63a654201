//! What no reader of a fanotify queue can know: pairs of histories that leave the same queue. They are the reason why
//! lines are `late` or `unsure`. If a later kernel queues different events for such a pair, this test fails, and fsmon
//! can report more exactly.

use crate::limits::tables::MERGE_REACH;
use crate::sys::test_group::{Group, split};
use std::fs::{self, File};
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

/// What is in the queue after `history` in a directory that has `d`, and `f` and `g`, which are one
/// file: of each event its mask, and the name that comes first.
fn queue(history: impl Fn(&dyn Fn(&str) -> PathBuf)) -> Option<Vec<(u64, String)>> {
    let dir = tempfile::tempdir().expect("a directory");
    fs::create_dir(dir.path().join("d")).expect("made");
    File::create_new(dir.path().join("f")).expect("made");
    fs::hard_link(dir.path().join("f"), dir.path().join("g")).expect("linked");
    let mask = libc::FAN_CREATE | libc::FAN_DELETE | libc::FAN_RENAME | libc::FAN_ONDIR;
    let mark = |group: &Group, path: &Path| group.mark(libc::FAN_MARK_INODE, mask, path);
    let group = Group::new().and_then(|group| {
        mark(&group, dir.path())?;
        mark(&group, &dir.path().join("d"))?;
        Ok(group)
    });
    let Ok(group) = group else {
        eprintln!("SKIP: needs root, and FAN_RENAME");
        return None;
    };
    history(&|name| dir.path().join(name));
    let mut buffer = vec![0; 1 << 16];
    let (mut bytes, mut events) = (group.read(&mut buffer), Vec::new());
    while let Some((event, rest)) = split(bytes) {
        events.push((event.mask, String::from_utf8_lossy(event.name).into_owned()));
        bytes = rest;
    }
    assert!(!events.is_empty());
    Some(events)
}

/// Where a directory was when something happened in it, after its third rename.
#[test]
fn a_directory_renamed_to_and_fro() {
    let later = queue(|at| {
        fs::rename(at("d"), at("e")).expect("renamed");
        fs::rename(at("e"), at("d")).expect("renamed");
        symlink("x", at("d/x")).expect("made");
        fs::rename(at("d"), at("e")).expect("renamed");
    });
    let earlier = queue(|at| {
        fs::rename(at("d"), at("e")).expect("renamed");
        fs::rename(at("e"), at("d")).expect("renamed");
        fs::rename(at("d"), at("e")).expect("renamed");
        symlink("x", at("e/x")).expect("made");
    });
    assert_eq!(later, earlier);
}

/// Whether a file got a second name: `n` is there in the end, or it is not.
#[test]
fn a_link_at_the_name_that_its_file_had() {
    let linked = queue(|at| {
        File::create_new(at("n")).expect("made");
        fs::rename(at("n"), at("m")).expect("renamed");
        fs::hard_link(at("m"), at("n")).expect("linked");
    });
    let not = queue(|at| {
        File::create_new(at("n")).expect("made");
        fs::rename(at("n"), at("m")).expect("renamed");
    });
    assert_eq!(linked, not);
}

/// Which came first, where a name was removed and made.
#[test]
fn a_link_made_and_removed() {
    let made_first = queue(|at| {
        fs::hard_link(at("f"), at("n")).expect("linked");
        fs::remove_file(at("n")).expect("removed");
    });
    let removed_first = queue(|at| {
        fs::remove_file(at("g")).expect("removed");
        fs::hard_link(at("f"), at("g")).expect("linked");
    });
    let masks = |events: Vec<(u64, String)>| events.into_iter().map(|(mask, _)| mask).collect();
    let masks = |events: Option<_>| -> Option<Vec<u64>> { events.map(masks) };
    assert_eq!(masks(made_first), masks(removed_first));
}

/// Behind events of so many other objects the kernel merges nothing: what fsmon knows of one may be forgotten then.
#[test]
fn what_is_far_back_is_not_merged_with() {
    let quick = Path::new("/dev/shm");
    let dir = if quick.is_dir() { tempfile::tempdir_in(quick) } else { tempfile::tempdir() };
    let dir = dir.expect("a directory");
    let at = |name: &str| dir.path().join(name);
    let renamed = |old: &str, new: &str| fs::rename(at(old), at(new)).expect("renamed");
    File::create_new(at("f")).expect("made");
    (0..MERGE_REACH).for_each(|i| drop(File::create_new(at(&format!("a{i}"))).expect("made")));
    for (others, events) in [(100, 2), (MERGE_REACH, 3)] {
        let group = Group::new().and_then(|group| {
            group.mark(libc::FAN_MARK_INODE, libc::FAN_RENAME, dir.path()).map(|()| group)
        });
        let Ok(group) = group else { return eprintln!("SKIP: needs root, and FAN_RENAME") };
        renamed("f", "x");
        (0..others).for_each(|i| renamed(&format!("a{i}"), &format!("b{i}")));
        renamed("x", "f");
        renamed("f", "x");
        renamed("x", "f");
        (0..others).for_each(|i| renamed(&format!("b{i}"), &format!("a{i}")));
        let (mut buffer, mut of_f) = (vec![0; 1 << 16], 0);
        loop {
            let mut bytes = group.read(&mut buffer);
            let is_end = bytes.is_empty();
            while let Some((event, rest)) = split(bytes) {
                of_f += usize::from(matches!(event.name, b"f" | b"x"));
                bytes = rest;
            }
            if is_end {
                break;
            }
        }
        assert_eq!(of_f, events, "behind {others}");
    }
}

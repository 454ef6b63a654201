//! Who and where, on filesystems that tell objects apart badly or late: handles that several directories
//! have, directories that get their mark late, files that have no name.

use fsmon_harness::{
    Area, Ended, Fsmon, fsmon, is_at_least, is_root, is_root_with, own_mounts, sh, skip,
};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

const TREE: [&str; 2] = ["-t", "create,delete,rename"];

/// Subvolumes `src/n0`, … in a new btrfs; `None` where that is not to be had.
fn subvolumes(area: &mut Area, nested: usize) -> Option<PathBuf> {
    if !is_root_with(&["mkfs.btrfs", "btrfs"]) {
        return None;
    }
    let dir = area.image("btrfs")?;
    let script = format!(
        "btrfs -q subvolume create src >&2
         for i in $(seq {nested}); do btrfs -q subvolume create src/n$i >&2; done; touch src/f"
    );
    sh(&dir, &script);
    Some(dir)
}

/// In a snapshot the places of nested subvolumes are directories that have one handle, and nothing moves
/// between them.
#[test]
fn a_snapshot_with_nested_subvolumes_is_told_once() {
    for (nested, is_there_before) in [(1, false), (2, false), (3, true), (5, false)] {
        let mut area = Area::new();
        let Some(dir) = subvolumes(&mut area, nested) else { return };
        if is_there_before {
            sh(&dir, "btrfs -q subvolume snapshot src snap >&2");
        }
        let running = Fsmon::start(fsmon(TREE).args(["-f", "json"]).arg(&dir));
        if !is_there_before {
            sh(&dir, "btrfs -q subvolume snapshot src snap >&2");
            // What is made while fsmon reads the snapshot may be found there, too.
            let last = format!("n{nested}");
            running.wait_until("the snapshot is read", |events| {
                events.iter().any(|event| event.name() == last)
            });
        }
        sh(&dir, "touch snap/late; rmdir snap/n1");
        // A second after the last event nothing is printed any more, whatever the disk says: the sleep is
        // what is tested.
        std::thread::sleep(std::time::Duration::from_millis(1500));
        let ended = running.stop();
        ended.assert_complete();
        let brief = |event: &fsmon_harness::Event| event.brief(&dir);
        let mut lines: Vec<_> = ended.events().iter().map(brief).collect();
        lines.sort();
        let mut expected = vec!["CREATE snap/late".to_owned(), "DELETE snap/n1/".into()];
        if !is_there_before {
            expected.push("CREATE snap/".into());
            expected.push("CREATE snap/f (found)".into());
            expected.extend((1..=nested).map(|at| format!("CREATE snap/n{at}/ (found)")));
        }
        expected.sort();
        assert_eq!(lines, expected, "{nested} nested, there before: {is_there_before}");
    }
}

/// A process makes directories, another one a file in each as soon as it is there.
fn make_in_new_directories(dir: &Path) {
    let script = "
import os, ctypes
libc = ctypes.CDLL(None)
for i in range(60):
    ready, begun = os.pipe()
    child = os.fork()
    if child == 0:
        libc.prctl(15, b'writer', 0, 0, 0)
        os.write(begun, b'.')
        while True:
            try:
                os.close(os.open(f'n{i}/f', os.O_CREAT | os.O_WRONLY))
                os._exit(0)
            except FileNotFoundError:
                pass
    libc.prctl(15, b'maker', 0, 0, 0)
    os.read(ready, 1)
    os.close(ready), os.close(begun)
    os.mkdir(f'n{i}')
    os.waitpid(child, 0)
";
    let status =
        std::process::Command::new("python3").args(["-c", script]).current_dir(dir).status();
    assert!(status.expect("python3").success());
}

fn by_writer_or_unknown(ended: &Ended) -> BTreeMap<String, usize> {
    let mut missing = 0;
    let mut counts = BTreeMap::new();
    for event in ended.events().iter().filter(|event| event.name() == "f") {
        let who = event.text("cmd").map(str::to_owned);
        assert!(who.as_deref().is_none_or(|who| who == "writer"), "{event:?}");
        assert_ne!(event.text("attribution"), Some("late"), "{event:?}");
        *counts.entry(event.kind().to_owned()).or_default() += 1;
    }
    for kind in ["CREATE", "CLOSE_WRITE"] {
        missing += 60 - counts.get(kind).copied().unwrap_or(0);
    }
    let is_complete = !ended.last_words().contains("NOT complete");
    assert!(missing == 0 || !is_complete, "{missing} missing: {:#?}", ended.stderr);
    counts
}

/// With a mark on each directory a file that another process makes in a directory an instant old is told
/// by its maker's name or by nobody's, and what could not be seen is not called complete.
#[test]
fn a_file_in_a_directory_without_its_mark_has_no_wrong_maker() {
    // Before, overlayfs gives no handles, and is refused: see tests/e2e/backends.rs.
    if !is_at_least(6, 5) {
        return skip("overlayfs cannot be watched before Linux 6.5");
    }
    let Some(mut area) = own_mounts() else { return };
    let (lower, scratch) = (area.dir("lower"), area.dir("scratch"));
    // Its upper layer is not heard.
    let Some(dir) = area.overlay("merged", &lower, &scratch, "redirect_dir=on") else { return };
    let running = Fsmon::start(fsmon(["-f", "json"]).arg(&dir));
    make_in_new_directories(&dir);
    let ended = running.stop();
    let counts = by_writer_or_unknown(&ended);
    assert_eq!(counts.get("CREATE"), Some(&60), "{counts:?}");
}

/// Where the upper layer of an overlay is heard, a new directory is heard from its first moment.
#[test]
fn a_file_in_a_new_directory_of_an_overlay_has_its_maker() {
    if !is_at_least(6, 5) {
        return skip("overlayfs cannot be watched before Linux 6.5");
    }
    let Some(mut area) = own_mounts() else { return };
    let (lower, scratch) = (area.dir("lower"), area.dir("scratch"));
    let Some(dir) = area.overlay("merged", &lower, &scratch, "redirect_dir=off") else { return };
    let running = Fsmon::start(fsmon(["-f", "json"]).arg(&dir));
    make_in_new_directories(&dir);
    let ended = running.stop();
    ended.assert_complete();
    let counts = by_writer_or_unknown(&ended);
    assert_eq!((counts.get("CREATE"), counts.get("CLOSE_WRITE")), (Some(&60), Some(&60)));
    for event in ended.events() {
        assert_eq!((event.text("attribution"), event.flag("found")), (None, false), "{event:?}");
    }
}

/// `O_TMPFILE` and linkat(2): no line has the number by which the kernel calls a file without a name.
#[test]
fn a_file_without_a_name_has_no_path_until_it_has_one() {
    if !is_root() {
        return;
    }
    let area = Area::new();
    let dir = area.watched();
    let types = "create,delete,rename,close_write,modify,attrib";
    let running = Fsmon::start(fsmon(["-f", "json", "-t", types]).arg(&dir));
    let script = "
import os, sys
def tmp(): return os.open('.', os.O_TMPFILE | os.O_RDWR, 0o644)
def link(fd, name): os.link(f'/proc/self/fd/{fd}', name, src_dir_fd=0, follow_symlinks=True)
step = lambda name: os.close(os.open(name, os.O_CREAT | os.O_WRONLY))
fd = tmp(); os.write(fd, b'x'); link(fd, '1'); os.close(fd)
step('after-1')
fd = tmp(); link(fd, '2'); os.write(fd, b'x'); os.close(fd)
fd = tmp(); os.write(fd, b'x'); os.close(fd)
fd = tmp(); link(fd, '.4'); os.rename('.4', '4'); os.write(fd, b'x'); os.close(fd)
fd = tmp(); link(fd, '5'); os.unlink('5'); os.write(fd, b'x'); os.close(fd)
fd = os.open('#77', os.O_CREAT | os.O_WRONLY); os.write(fd, b'x'); os.close(fd)
fd = os.open('#77', os.O_WRONLY); os.write(fd, b'x'); os.close(fd)
";
    let status =
        std::process::Command::new("python3").args(["-c", script]).current_dir(&dir).status();
    assert!(status.expect("python3").success());
    let ended = running.stop();
    ended.assert_complete();
    let events = ended.events();
    for event in &events {
        let name = event.path().map(|path| path.file_name().expect("a name").to_owned());
        let is_real = name
            .as_ref()
            .is_none_or(|name| !name.to_string_lossy().starts_with('#') || name == "#77");
        assert!(is_real, "{event:?}");
        assert!(event.path().is_some() || event.text("object").is_some(), "{event:?}");
    }
    let of = |name: &str| -> Vec<_> {
        let is_of = |event: &&fsmon_harness::Event| event.name() == name;
        events.iter().filter(is_of).map(|event| event.kind().to_owned()).collect()
    };
    let ends_written = |name: &str| {
        assert_eq!(of(name).last().map(String::as_str), Some("CLOSE_WRITE"), "{name}: {events:#?}");
    };
    // Of `1` the closing may be merged into the writing, which had no name.
    ["2", "4", "#77"].into_iter().for_each(ends_written);
    let nameless: Vec<_> = events.iter().filter(|event| event.path().is_none()).collect();
    assert!(nameless.iter().any(|event| event.kind() == "CLOSE_WRITE"), "{events:#?}");
}

/// Two exchanges with the outside at once: the halves of both may be queued in turn.
#[test]
fn two_processes_exchange_with_the_outside_at_once() {
    if !is_root() {
        return;
    }
    let area = Area::new();
    let dir = area.watched();
    sh(
        &area.path(""),
        "mkdir out; for i in 0 1 2 3; do echo w >watched/w$i; echo o >out/o$i; done",
    );
    let running =
        Fsmon::start(fsmon(TREE).args(["-f", "json", "--batch-window", "20ms"]).arg(&dir));
    let start = fsmon_harness::listing(&dir);
    let threads: Vec<_> = (0..4)
        .map(|at| {
            let (inside, outside) = (dir.join(format!("w{at}")), area.path(&format!("out/o{at}")));
            let exchange = move || {
                use nix::fcntl::{AT_FDCWD, RenameFlags, renameat2};
                let how = RenameFlags::RENAME_EXCHANGE;
                for _ in 0..200 {
                    renameat2(AT_FDCWD, &inside, AT_FDCWD, &outside, how).expect("exchanged");
                }
            };
            std::thread::spawn(exchange)
        })
        .collect();
    threads.into_iter().for_each(|thread| thread.join().expect("done"));
    let ended = running.stop();
    ended.assert_complete();
    fsmon_harness::assert_follows(start, &ended.events(), &dir);
}

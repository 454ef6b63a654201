//! Known gaps (docs/accuracy.md) that no other test shows: each is as the document says.

use fsmon_harness::{
    Area, briefs, is_at_least, is_root, is_root_with, record_with, sh, skip, succeed,
};
use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

fn python(dir: &Path, program: &str) {
    succeed(Command::new("python3").args(["-c", program]).current_dir(dir));
}

/// Gap 2.
#[test]
fn a_write_through_mmap_is_seen_when_the_file_is_closed() {
    if !is_root_with(&["python3"]) {
        return;
    }
    let area = Area::new();
    let dir = area.watched();
    fs::write(dir.join("f"), "before").expect("written");
    let events = record_with(&dir, &["-t", "create,modify,close_write"], |_| {
        python(
            &dir,
            "import mmap
file = open('f', 'r+b')
memory = mmap.mmap(file.fileno(), 0)
memory[0:6] = b'behind'
memory.flush()
open('written', 'x').close()
memory.close()
file.close()",
        );
    });
    assert_eq!(fs::read(dir.join("f")).expect("read"), b"behind");
    let lines = briefs(&events, &dir);
    assert_eq!(lines, ["CREATE written", "CLOSE_WRITE written", "CLOSE_WRITE f"]);
}

/// Gap 4.
#[test]
fn what_gives_no_event() {
    if !is_root_with(&["python3"]) {
        return;
    }
    let area = Area::new();
    let dir = area.watched();
    sh(&dir, "touch linked replaced moved whited-out");
    let events = record_with(&dir, &["-t", "all"], |running| {
        // As no program is run for it, nothing but this is seen.
        assert!(fs::File::open(dir.join("not-there")).is_err());
        assert!(fs::metadata(dir.join("not-there")).is_err());
        fs::hard_link(dir.join("linked"), dir.join("link")).expect("linked");
        fs::rename(dir.join("moved"), dir.join("replaced")).expect("renamed");
        running.sync(&dir);
        python(
            &dir,
            "import ctypes, os
WHITEOUT = 4
assert ctypes.CDLL(None).renameat2(-100, b'whited-out', -100, b'new', WHITEOUT) == 0",
        );
    });
    let whiteout = fs::symlink_metadata(dir.join("whited-out")).expect("the whiteout");
    assert!(std::os::unix::fs::FileTypeExt::is_char_device(&whiteout.file_type()));
    // Looking at the directory opens and closes it.
    let lines: Vec<_> = briefs(&events, &dir)
        .into_iter()
        .filter(|line| {
            !["OPEN ", "ACCESS ", "CLOSE_NOWRITE "].iter().any(|kind| line.starts_with(kind))
        })
        .collect();
    assert_eq!(
        lines,
        [
            "CREATE link",
            "MOVED_FROM moved",
            "MOVED_TO replaced",
            "RENAME moved -> replaced",
            "MOVE_SELF replaced",
            "MOVED_FROM whited-out",
            "MOVED_TO new",
            "RENAME whited-out -> new",
            "MOVE_SELF new",
        ]
    );
}

/// Gap 5.
#[test]
fn a_thread_with_credentials_of_its_own_is_its_process() {
    if !is_root_with(&["python3"]) {
        return;
    }
    let area = Area::new();
    let dir = area.watched();
    sh(&dir, "chmod 777 .");
    let events = record_with(&dir, &["-t", "create"], |_| {
        // The system call itself: setresuid(3) changes all threads.
        python(
            &dir,
            "import ctypes, platform, threading
number = {'x86_64': 117, 'aarch64': 147}[platform.machine()]
def work():
    assert ctypes.CDLL(None).syscall(number, 65534, 65534, 65534) == 0
    open('by-a-thread', 'x').close()
thread = threading.Thread(target=work)
thread.start()
thread.join()",
        );
    });
    let owner = fs::metadata(dir.join("by-a-thread")).expect("made");
    assert_eq!(std::os::unix::fs::MetadataExt::uid(&owner), 65534);
    assert_eq!(events.len(), 1, "{events:#?}");
    assert_eq!(events[0].number("uid"), Some(0), "{events:#?}");
}

/// Gap 7.
#[test]
fn a_process_that_another_moves_to_a_control_group() {
    const GROUPS: &str = "/sys/fs/cgroup/unified";
    let top = if Path::new(GROUPS).exists() { GROUPS } else { "/sys/fs/cgroup" };
    if !is_root() {
        return;
    }
    let group = Path::new(top).join(format!("fsmon-test-{}", std::process::id()));
    if fs::create_dir(&group).is_err() {
        return skip("no control group can be made");
    }
    let area = Area::new();
    let dir = area.watched();
    let events = record_with(&dir, &["-t", "create"], |running| {
        let mut shell = Command::new("/bin/sh");
        let shell =
            shell.current_dir(&dir).stdin(Stdio::piped()).args(["-c", "read go; : > after"]);
        let mut shell = shell.spawn().expect("started");
        fs::write(group.join("cgroup.procs"), shell.id().to_string()).expect("moved");
        running.sync(&dir);
        drop(shell.stdin.take());
        assert!(shell.wait().expect("a child").success());
    });
    fs::remove_dir(&group).expect("empty again");
    let own = format!("/{}", group.file_name().expect("a name").to_string_lossy());
    let group = events[0].text("cgroup").expect("known");
    assert!(group.ends_with(&own) || events[0].text("attribution").is_some(), "{events:#?}");
}

/// Gap 21.
#[test]
fn a_deleted_btrfs_subvolume_is_one_line() {
    if !is_root_with(&["mkfs.btrfs", "btrfs", "mount"]) {
        return;
    }
    let mut area = Area::new();
    let Some(dir) = area.image("btrfs") else { return };
    sh(&dir, "btrfs -q subvolume create old >&2; mkdir old/d; touch old/d/f");
    let events = record_with(&dir, &["-t", "create,delete"], |_| {
        sh(&dir, "btrfs -q subvolume delete old >&2");
    });
    let lines = briefs(&events, &dir);
    assert!(lines.contains(&"DELETE old/".into()), "{lines:?}");
    assert!(lines.iter().all(|line| line == "DELETE old/" || line == "DELETE old/d/"), "{lines:?}");
}

/// Gap 23.
#[test]
fn a_symbolic_link_to_fuse_is_not_followed() {
    if !is_root_with(&["bindfs", "fusermount3"]) || !is_at_least(6, 8) {
        return;
    }
    let mut area = Area::new();
    let (from, base) = (area.dir("from"), area.path(""));
    let Some(mount) = area.mount_by("fuse", |dir| {
        Command::new("bindfs").args([&from, dir]).status().is_ok_and(|status| status.success())
    }) else {
        return skip("bindfs cannot mount");
    };
    let root = base.join("way");
    let running = fsmon_harness::Fsmon::watch(&root, &["-t", "create"]);
    sh(&base, "ln -s fuse way");
    running.wait_lines(&base, &["LOSS walk"]);
    fs::write(mount.join("unseen"), "").expect("written");
    let ended = running.stop();
    assert!(ended.last_words().contains("NOT complete"), "{ended:?}");
    assert!(!briefs(&ended.events(), &base).iter().any(|line| line.contains("unseen")));
}

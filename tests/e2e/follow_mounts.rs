//! Mounts that are followed (`--follow-mounts`): each is watched as a path of its own, from its mount to its unmount. Each test
//! has a mount namespace of its own, so that it disturbs no other.

use fsmon_harness::{
    Event, Fsmon, assert_unwatched, fsmon, is_at_least, is_root_with, lines_with_losses,
    own_mounts, parse, settled_lines, sh, wait_mounted, wait_said_of, wait_unmounted, wait_until,
    wait_written,
};
use nix::sys::signal::Signal;
use std::path::Path;
use std::process::Command;

const TREE: [&str; 4] = ["-f", "json", "-t", "create,delete,rename"];

#[test]
fn mounts_are_followed() {
    let Some(area) = own_mounts() else { return };
    let (base, root) = (area.path(""), area.watched());
    sh(&root, "mkdir early late ../outer; mount -t tmpfs none early; mkdir early/in early/d");
    sh(&root, "mount -t tmpfs none early/in; mount -t tmpfs none ../outer; touch ../outer/there");
    let mut running = Fsmon::start(fsmon(TREE).arg("--follow-mounts").arg(&root));
    sh(&root, "touch early/d/f early/in/g; mount --bind ../outer late");
    wait_mounted(&mut running, "tmpfs", &root.join("late"));
    sh(&root, "touch late/new; umount late");
    wait_unmounted(&mut running, &root.join("late"));
    sh(&root, "touch late/under ../outer/unseen; umount -R early");
    wait_unmounted(&mut running, &root.join("early"));
    // The number of one that went is used again.
    sh(&root, "mount --move ../outer early");
    wait_mounted(&mut running, "tmpfs", &root.join("early"));
    sh(&root, "touch early/last");
    let ended = running.stop();
    let told = settled_lines(&ended.events(), &base);
    for line in ["early/d/f", "early/in/g", "late/there", "late/new", "late/under", "early/last"] {
        let line = format!("CREATE watched/{line}");
        assert!(told.contains(&line), "{line}: {told:#?}");
    }
    for line in ["RENAME ?/ -> watched/late/", "RENAME watched/late/ -> ?/"] {
        assert!(told.iter().any(|one| one == line), "{line}: {told:#?}");
    }
    assert!(!told.contains(&"CREATE watched/late/unseen".into()), "{told:#?}");
    assert_unwatched(&ended, 0);
}

#[test]
fn one_filesystem_mounted_twice_is_told_once() {
    let Some(area) = own_mounts() else { return };
    let (base, root) = (area.path(""), area.watched());
    sh(
        &root,
        "mkdir a b c; mount -t tmpfs none a; mkdir a/d; mount --bind a b; mount --bind a/d c",
    );
    let ended = {
        let running = Fsmon::start(fsmon(TREE).arg("--follow-mounts").arg(&root));
        sh(&root, "touch a/f b/g c/h");
        running.stop()
    };
    let told = lines_with_losses(&ended.events(), &base);
    assert_eq!(told, ["CREATE watched/a/f", "CREATE watched/a/g", "CREATE watched/a/d/h"]);
    assert_unwatched(&ended, 0);
}

#[test]
fn what_may_not_answer_is_not_followed() {
    if !is_root_with(&["bindfs", "fusermount3"]) || !Path::new("/dev/fuse").exists() {
        return;
    }
    let Some(area) = own_mounts() else { return };
    let (base, root) = (area.path(""), area.watched());
    sh(&root, "mkdir fuse later ../from; touch ../from/f; bindfs ../from fuse");
    let mut running = Fsmon::start(fsmon(TREE).arg("--follow-mounts").arg(&root));
    sh(&root, "bindfs ../from later");
    running.wait_said("fsmon: fuse");
    sh(&root, "touch fuse/g later/h; ln -s fuse link");
    let ended = running.stop();
    let told = lines_with_losses(&ended.events(), &base);
    let expected = ["LOSS mount watched/fuse", "LOSS mount watched/later", "CREATE watched/link"];
    assert_eq!(told, expected, "{:#?}", ended.stderr);
    assert_unwatched(&ended, 2);
    sh(&root, "umount fuse later");
}

#[test]
fn what_is_mounted_on_a_file_is_not_followed() {
    let Some(area) = own_mounts() else { return };
    let (base, root) = (area.path(""), area.watched());
    sh(&base, "mkdir out; mount -t tmpfs none out; touch out/f watched/early watched/late");
    sh(&base, "mount --bind out/f watched/early");
    let mut running = Fsmon::start(fsmon(TREE).arg("--follow-mounts").arg(&root));
    sh(&base, "mount --bind out/f watched/late");
    let late = root.join("late");
    wait_said_of(&mut running, "tmpfs was mounted on ", &late, ": changes there are not watched");
    let ended = running.stop();
    assert_eq!(
        lines_with_losses(&ended.events(), &base),
        ["LOSS mount watched"; 2],
        "{:#?}",
        ended.stderr
    );
    assert_unwatched(&ended, 2);
}

#[test]
fn the_root_of_a_container_is_not_followed() {
    if !is_root_with(&["chroot", "sleep"]) || !is_at_least(6, 5) {
        return;
    }
    let Some(mut area) = own_mounts() else { return };
    let scratch = area.tmpfs("scratch", "size=64m");
    let (root, below) = (area.watched(), area.path("watched"));
    std::fs::create_dir(scratch.join("own")).expect("made");
    let Some(merged) = area.overlay("watched/merged", Path::new("/"), &scratch, "") else { return };
    let Some(_) = area.overlay("watched/own", &below, &scratch.join("own"), "") else { return };
    let mut inside = Command::new("unshare")
        .args(["--mount", "chroot"])
        .arg(&merged)
        .args(["sleep", "600"])
        .spawn()
        .expect("started");
    let comm = format!("/proc/{}/comm", inside.id());
    wait_until("sleep runs", || std::fs::read_to_string(&comm).expect("it runs") == "sleep\n");
    std::fs::create_dir(scratch.join("late")).expect("made");
    let mut running = Fsmon::start(fsmon(TREE).arg("--follow-mounts").arg(&root));
    // Nobody is in there yet.
    let late = area.overlay("watched/late", &below, &scratch.join("late"), "");
    assert!(late.is_some(), "as the other");
    wait_mounted(&mut running, "overlay", &root.join("late"));
    sh(&root, "touch own/f merged/unseen late/unseen");
    let ended = running.stop();
    inside.kill().expect("it runs");
    inside.wait().expect("it ends");
    let mut told = lines_with_losses(&ended.events(), &root);
    told.sort();
    let expected = ["CREATE late/", "CREATE own/f", "LOSS mount late", "LOSS mount merged"];
    assert_eq!(told, expected, "{:#?}", ended.stderr);
    assert_unwatched(&ended, 2);
}

#[test]
fn after_a_loss_a_mount_that_was_followed_and_went_is_no_root() {
    let Some(area) = own_mounts() else { return };
    let (base, root, out) = (area.path(""), area.watched(), area.path("out"));
    let mut command = fsmon(TREE);
    command.args(["--follow-mounts", "--bounded-queue", "-o"]);
    let mut running = Fsmon::start(command.args([&out, &root]));
    let sub = root.join("sub");
    sh(&root, "mkdir sub; mount -t tmpfs none sub");
    wait_mounted(&mut running, "tmpfs", &sub);
    sh(&root, "umount sub");
    wait_unmounted(&mut running, &sub);
    // More than the kernel keeps: fs.fanotify.max_queued_events.
    running.pause();
    sh(
        &root,
        "for i in $(seq $(($(cat /proc/sys/fs/fanotify/max_queued_events) + 1000))); do : >$i; done",
    );
    running.signal(Signal::SIGCONT);
    wait_written(&out, "queue_overflow", 1);
    sh(&base, "touch outside; touch watched/last");
    wait_written(&out, "/last\"", 1);
    running.stop();
    let events = parse(&std::fs::read(&out).expect("the lines"));
    let paths = events.iter().filter_map(Event::path);
    let outside: Vec<_> = paths.filter(|path| !path.starts_with(&root)).collect();
    assert!(outside.is_empty(), "{} lines, {:?}", outside.len(), outside.first());
}

#[test]
fn more_filesystems_than_there_is_room_for() {
    let Some(area) = own_mounts() else { return };
    let root = area.watched();
    // Beside the one that the root is on.
    let mounts = "for i in $(seq 257); do mkdir m$i; mount -t tmpfs none m$i; done";
    sh(&root, mounts);
    // Each takes descriptors, of which more may be had than there are at first.
    let mut command = Command::new("sh");
    command.args(["-c", "ulimit -S -n 128; exec \"$0\" \"$@\""]).arg(fsmon_harness::program());
    let ended = Fsmon::start(command.args(TREE).arg("--follow-mounts").arg(&root)).stop();
    let told = "fsmon: there is room for 255 filesystems: 3 more below the watched paths";
    assert!(ended.stderr.iter().any(|line| line.starts_with(told)), "{:#?}", ended.stderr);
    assert_unwatched(&ended, 3);
}

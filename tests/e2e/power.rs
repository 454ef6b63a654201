//! A loss of power, as the disk would have it: an image of the history's filesystem, taken at any instant while everything
//! changes. What `sync` acknowledged before is there.

use crate::daemon::{Daemon, watch};
use crate::storm::rng::Rng;
use fsmon_harness::{Fsmon, fsmon, is_root_with, own_mounts, repeats, sh, skip, succeed};
use std::collections::BTreeSet;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// What is there of an image at some instant, and which names `sync` had acknowledged by then.
struct Snapshot {
    image: PathBuf,
    acknowledged: Vec<String>,
}

/// Makes files, and writes down the name of each that `sync` acknowledged.
fn acknowledge(socket: &Path, dir: &Path, acknowledged: &Mutex<Vec<String>>, is_over: &AtomicBool) {
    for number in 0.. {
        if is_over.load(Ordering::Relaxed) {
            return;
        }
        let name = format!("acknowledged-{number}");
        File::create(dir.join(&name)).expect("made");
        let ended = Fsmon::run(fsmon(["sync", "--socket"]).arg(socket));
        assert_eq!(ended.status.code(), Some(0), "{:?}", ended.stderr);
        acknowledged.lock().expect("nobody panicked").push(name);
    }
}

/// So much that segments end and the catalogue is written all the time.
fn churn(dir: &Path, is_over: &AtomicBool) {
    for number in 0_u64.. {
        if is_over.load(Ordering::Relaxed) {
            return;
        }
        let [old, new] = ["a", "b"].map(|kind| dir.join(format!("{kind}{number:064x}")));
        File::create(&old).expect("made");
        fs::rename(&old, &new).expect("renamed");
        fs::remove_file(&new).expect("removed");
    }
}

/// Takes images of `image` at random instants while the daemon records.
fn take_snapshots(daemon: &Daemon, image: &Path, watched: &Path, count: usize) -> Vec<Snapshot> {
    let (acknowledged, is_over) = (Mutex::new(Vec::new()), AtomicBool::new(false));
    let mut rng = Rng::new(7, 0);
    std::thread::scope(|scope| {
        let socket = &daemon.socket;
        scope.spawn(|| acknowledge(socket, watched, &acknowledged, &is_over));
        scope.spawn(|| churn(watched, &is_over));
        let take = |number: usize| {
            // At no particular moment of what the daemon does: that is the point.
            std::thread::sleep(Duration::from_millis(100 + rng.below(500) as u64));
            let acknowledged = acknowledged.lock().expect("nobody panicked").clone();
            let taken = image.with_extension(number.to_string());
            succeed(Command::new("cp").arg("--reflink=always").arg(image).arg(&taken));
            Snapshot { image: taken, acknowledged }
        };
        let snapshots = (0..count).map(take).collect();
        is_over.store(true, Ordering::Relaxed);
        snapshots
    })
}

/// Names of files that a history has as made, read past where the loss of power cut it.
fn recorded(history: &Path) -> BTreeSet<String> {
    let mut command =
        fsmon(["decode", "--salvage", "-f", "json", "-t", "create", "--include", "acknowledged-*"]);
    let ended = Fsmon::run(command.arg(history));
    fsmon_harness::parse(&ended.stdout).iter().map(|event| event.name().to_owned()).collect()
}

fn survives_on(make: &str, options: &str) {
    let Some(area) = own_mounts().filter(|_| is_root_with(&["mkfs.xfs", "losetup", "cp"])) else {
        return;
    };
    let host = area.dir("host");
    sh(
        &area.path(""),
        "truncate -s 4G host.img; mkfs.xfs -q -m reflink=1 host.img; mount -o loop host.img host",
    );
    let (image, disk) = (host.join("image"), area.dir("disk"));
    // Past the cache of pages, so that the image has what the disk would have.
    let mount = format!(
        "truncate -s 400M host/image; mkfs.{make} host/image >mkfs.log 2>&1; \
         loop=$(losetup --show -f --direct-io=on host/image); mount $loop disk; losetup -d $loop"
    );
    let mounted = Command::new("/bin/sh").args(["-ec", &mount]).current_dir(area.path("")).status();
    if !mounted.is_ok_and(|status| status.success()) {
        return skip(&format!("{make} cannot be made and mounted"));
    }
    let watched = area.watched();
    let text = format!("history.rotate = '256K'\n{}", watch(&watched));
    let mut daemon = Daemon::with_history(&area, &disk.join("history"), &text);
    daemon.start();
    let begun = Instant::now();
    let snapshots = take_snapshots(&daemon, &image, &watched, repeats(8));
    daemon.stop();
    sh(&area.path(""), "umount disk");
    let mut checked = 0;
    for snapshot in &snapshots {
        let at = snapshot.image.display();
        sh(&area.path(""), &format!("mount -o loop{options} {at} disk"));
        let found = recorded(&daemon.history);
        let missing: Vec<_> =
            snapshot.acknowledged.iter().filter(|name| !found.contains(*name)).collect();
        assert!(missing.is_empty(), "{at}: {missing:?} of {}", snapshot.acknowledged.len());
        checked += snapshot.acknowledged.len();
        // The next daemon mends what was cut, and goes on.
        daemon.start();
        daemon.stop();
        let gaps = daemon.decoded(&["-t", "create"]);
        assert_eq!(gaps.iter().filter(|event| event.kind() == "GAP").count(), 1, "{at}");
        assert!(snapshot.acknowledged.iter().all(|name| recorded(&daemon.history).contains(name)));
        sh(&area.path(""), "umount disk");
    }
    assert!(checked > snapshots.len(), "{checked} acknowledged in {:?}", begun.elapsed());
    sh(&area.path(""), "umount host");
}

#[test]
fn what_sync_acknowledged_survives_a_loss_of_power_on_ext4() {
    survives_on("ext4 -q -F", "");
}

#[test]
fn what_sync_acknowledged_survives_a_loss_of_power_on_xfs() {
    survives_on("xfs -q -f", ",nouuid");
}

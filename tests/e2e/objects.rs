//! What records identify files by (`object`): over runs of the daemon, and over mounts of a filesystem.

use crate::daemon::{Daemon, watch};
use crate::python::python;
use fsmon_harness::{Area, is_root_with, own_mounts, sh, succeed, wait_until};
use std::collections::{BTreeSet, HashMap};
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::Command;

/// The objects that events of each name have, in a history.
type Objects = HashMap<String, BTreeSet<u64>>;

/// Those of a history; `None`, said aloud, where there is no Python: lines have objects of files without a name only.
fn objects(history: &Path) -> Option<Objects> {
    let script = "import fsmon, os, sys\n\
                  for event in fsmon.open(sys.argv[1]):\n    \
                  print(event.object, os.path.basename(os.fsdecode(event.path or b'')))";
    let said = succeed(python()?.arg("-c").arg(script).arg(history)).stdout;
    let mut all = Objects::new();
    for line in String::from_utf8(said).expect("UTF-8").lines() {
        let (object, name) = line.split_once(' ').expect("two words");
        // What a walk found has none.
        if object != "0" {
            all.entry(name.to_owned()).or_default().insert(object.parse().expect("a number"));
        }
    }
    Some(all)
}

/// The one object of a name.
fn one(objects: &Objects, name: &str) -> u64 {
    let all = objects.get(name).unwrap_or_else(|| panic!("no event of {name}: {objects:?}"));
    assert_eq!(all.len(), 1, "{name}: {all:?}");
    *all.first().expect("one")
}

/// zstd is not for every Python.
fn configured(watched: &Path) -> String {
    format!("history.compress = 'none'\n{}", watch(watched))
}

/// Makes files until one has the inode number of one that is gone. Whether that came to be.
fn make_with_inode(dir: &Path, name: &str, inode: u64) -> bool {
    (0..64).any(|at| {
        let path = dir.join(format!("made-{at}"));
        fs::write(&path, "").expect("made");
        let is_it = path.metadata().expect("there").ino() == inode;
        if is_it {
            fs::rename(&path, dir.join(name)).expect("renamed");
        }
        is_it
    })
}

#[test]
fn a_file_is_the_same_object_in_each_run_of_a_history() {
    if !is_root_with(&[]) {
        return;
    }
    let area = Area::new();
    let watched = area.watched();
    let mut daemon = Daemon::new(&area, &configured(&watched));
    daemon.start();
    sh(&watched, "mkdir dir; echo 1 > dir/kept; echo 1 > gone");
    daemon.ask(&["sync"]);
    daemon.stop();
    let inode = watched.join("gone").metadata().expect("there").ino();
    fs::remove_file(watched.join("gone")).expect("removed");
    let is_reused = make_with_inode(&watched, "other", inode);
    daemon.start();
    sh(&watched, "echo 2 >> dir/kept; mv dir/kept moved; test ! -e other || echo 2 >> other");
    daemon.ask(&["sync"]);
    daemon.stop();
    let Some(found) = objects(&daemon.history) else { return };
    assert_eq!(one(&found, "kept"), one(&found, "moved"));
    if is_reused {
        assert_ne!(one(&found, "gone"), one(&found, "other"), "the inode is used again");
    }
    // Another history has another key.
    let mut other = Daemon::with_history(&area, &area.path("another"), &configured(&watched));
    other.start();
    sh(&watched, "echo 3 >> moved");
    other.ask(&["sync"]);
    other.stop();
    let elsewhere = objects(&other.history).expect("as before");
    assert_ne!(one(&elsewhere, "moved"), one(&found, "moved"));
}

/// Mounts an image through a loop device that is not `but`. Returns the device.
fn mount_image(image: &Path, at: &Path, but: Option<&str>) -> Option<String> {
    let losetup = || Command::new("losetup").args(["--show", "-f"]).arg(image).output().ok();
    let device = |output: std::process::Output| {
        let device = String::from_utf8(output.stdout).ok()?.trim().to_owned();
        output.status.success().then_some(device)
    };
    let mut device_of = losetup().and_then(device)?;
    if Some(&*device_of) == but {
        let other = losetup().and_then(device)?;
        succeed(Command::new("losetup").args(["-d", &device_of]));
        device_of = other;
    }
    let mounted = Command::new("mount").arg(&device_of).arg(at).output();
    // It goes with the last mount.
    let _ = Command::new("losetup").args(["-d", &device_of]).output();
    mounted.is_ok_and(|output| output.status.success()).then_some(device_of)
}

/// Where an image is mounted; unmounted at the end, which a private mount namespace does as well.
struct Mounted {
    image: PathBuf,
    at: PathBuf,
    device: String,
}

impl Mounted {
    fn again(&mut self) {
        sh(Path::new("/"), &format!("umount {}", self.at.display()));
        // The daemon lets go of it a moment later. Until then xfs mounts no second device with its UUID, and btrfs gives
        // that one another id for as long as it is mounted.
        let loops =
            Path::new("/sys/block").join(Path::new(&self.device).file_name().expect("a device"));
        wait_until("the filesystem is gone", || {
            let backing = fs::read(loops.join("loop/backing_file"));
            backing.map_or(true, |path| path.trim_ascii() != self.image.as_os_str().as_bytes())
        });
        let device = mount_image(&self.image, &self.at, Some(&self.device)).expect("as before");
        assert_ne!(device, self.device);
        self.device = device;
    }
}

/// A filesystem that goes and comes back as another device.
fn stays_over_mounts(kind: &str) {
    let Some(area) = own_mounts().filter(|_| is_root_with(&["losetup"])) else { return };
    let image = area.path(kind);
    let made = format!("truncate -s 400M {kind} && mkfs.{kind} -q {kind} 2>&1");
    let made = Command::new("/bin/sh").args(["-c", &made]).current_dir(area.path("")).status();
    let at = area.dir("mounted");
    let device = made.is_ok_and(|status| status.success()).then(|| mount_image(&image, &at, None));
    let Some(device) = device.flatten() else {
        return fsmon_harness::skip(&format!("{kind} cannot be made and mounted"));
    };
    let mut mounted = Mounted { image, at: at.clone(), device };
    // Without the mount nothing is at that path.
    let watched = at.join("top");
    fs::create_dir(&watched).expect("made");
    let mut daemon = Daemon::new(&area, &configured(&watched));
    daemon.start();
    sh(&watched, "mkdir dir; echo 1 > dir/first");
    daemon.ask(&["sync"]);
    daemon.stop();
    mounted.again();
    daemon.start();
    sh(&watched, "mv dir/first second");
    daemon.ask(&["sync"]);
    // And while it runs.
    mounted.again();
    // A change of mounts gives no event to wait for.
    let is_watched = || {
        sh(&watched, "echo 3 >> second; mv second third; mv third second");
        daemon.ask(&["sync"]);
        daemon.decoded(&[]).iter().any(|event| event.name() == "third")
    };
    wait_until("it is watched again", is_watched);
    daemon.stop();
    let Some(found) = objects(&daemon.history) else { return };
    assert_eq!(one(&found, "first"), one(&found, "second"));
    assert_eq!(one(&found, "third"), one(&found, "second"));
}

#[test]
fn a_file_on_ext4_is_the_same_object_on_another_device() {
    stays_over_mounts("ext4");
}

#[test]
fn a_file_on_xfs_is_the_same_object_on_another_device() {
    stays_over_mounts("xfs");
}

#[test]
fn a_file_on_btrfs_is_the_same_object_on_another_device() {
    stays_over_mounts("btrfs");
}

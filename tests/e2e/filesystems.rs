//! What each kind of filesystem can do, and that what cannot is said.

use fsmon_harness::{
    Area, Event, Fsmon, Listing, briefs, fsmon, is_at_least, is_root, is_root_with, listing,
    record_and_replay, replay, sh, skip, succeed,
};
use nix::sys::signal::Signal;
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;

const TREE: [&str; 4] = ["-f", "json", "-t", "create,delete,rename"];

/// Says aloud that this kernel is built without something: no tool can mend that.
fn not_in_this_kernel(what: &str) {
    let test = std::thread::current().name().unwrap_or("test").to_owned();
    let _ = writeln!(std::io::stderr(), "SKIP {test}: {what} is not in this kernel");
}

/// An image of that many megabytes with a filesystem made by `mkfs`, mounted.
fn image(
    area: &mut Area,
    name: &str,
    megabytes: u32,
    mkfs: &str,
    options: &str,
) -> Option<PathBuf> {
    sh(
        &area.path(""),
        &format!("truncate -s {megabytes}M {name} && {mkfs} {name} >/dev/null 2>&1"),
    );
    let image = area.path(name);
    let options = ["-o", &format!("loop{options}"), image.to_str().expect("UTF-8")];
    area.try_mount(&format!("{name}-mount"), &options)
}

/// A btrfs with a subvolume, which alone is mounted.
fn subvolume(area: &mut Area, name: &str) -> Option<PathBuf> {
    let top = image(area, name, 300, "mkfs.btrfs -q", "")?;
    succeed(Command::new("btrfs").args(["subvolume", "create"]).arg(top.join("sub")));
    let source = succeed(Command::new("findmnt").args(["-no", "SOURCE"]).arg(&top)).stdout;
    let source = String::from_utf8_lossy(&source).trim().to_owned();
    area.try_mount(&format!("{name}-sub"), &["-o", "subvol=sub", &source])
}

/// How `fsmon doctor` is going to watch a directory.
fn doctor(dir: &Path) -> (String, String) {
    let output = succeed(fsmon(["doctor", "--json"]).arg(dir));
    let plan: serde_json::Value = serde_json::from_slice(&output.stdout).expect("JSON");
    let text = |key: &str| plan["roots"][0][key].as_str().unwrap_or("none").to_owned();
    (text("mark"), text("why"))
}

fn events_of(running: Fsmon) -> Vec<Event> {
    let ended = running.stop();
    ended.assert_complete_but_for_marks();
    ended.events()
}

#[test]
fn a_btrfs_subvolume_takes_a_mark_for_all_of_it() {
    if !is_root_with(&["mkfs.btrfs", "btrfs", "mount", "findmnt"]) {
        return;
    }
    let mut area = Area::new();
    let Some(dir) = subvolume(&mut area, "one") else { return skip("btrfs cannot be mounted") };
    let (mark, why) = doctor(&dir);
    assert_eq!(mark, "filesystem", "{why}");
    record_and_replay(&dir, &TREE[2..], || {
        sh(&dir, "mkdir -p a/b/c; echo x > a/b/c/f; mv a/b z; echo y > z/c/g; mv z a/y; rm -r a");
    });
    // It is one watch with others, subvolumes of another btrfs too.
    let Some(other) = subvolume(&mut area, "two") else { return skip("btrfs cannot be mounted") };
    let watched = area.watched();
    let running = Fsmon::start(fsmon(TREE).args([&dir, &watched, &other]));
    for dir in [&dir, &watched, &other] {
        sh(dir, "mkdir d; touch d/f");
    }
    let lines = briefs(&events_of(running), &area.path(""));
    let expected = ["one-sub", "watched", "two-sub"]
        .map(|dir| [format!("CREATE {dir}/d/"), format!("CREATE {dir}/d/f")]);
    assert_eq!(lines, expected.concat());
}

#[test]
fn btrfs_subvolumes_and_snapshots_below_a_root() {
    if !is_root_with(&["mkfs.btrfs", "btrfs", "mount", "findmnt"]) {
        return;
    }
    let mut area = Area::new();
    let Some(dir) = subvolume(&mut area, "image") else { return skip("btrfs cannot be mounted") };
    let script = "btrfs subvolume create old; mkdir old/d; touch old/d/f";
    sh(&dir, script);
    let running = Fsmon::start(fsmon(TREE).arg(&dir));
    let start = listing(&dir);
    sh(&dir, "touch old/d/g; btrfs subvolume create new; mkdir new/e; touch new/e/f");
    sh(&dir, "btrfs subvolume snapshot old copy; touch copy/d/h; mv copy/d new/d; rm new/d/f");
    let events = events_of(running);
    let (replayed, doubts): (Listing, _) = replay(&dir, start, &events);
    assert!(doubts.is_empty(), "{doubts:#?}");
    assert_eq!(replayed, listing(&dir), "{events:#?}");
    let lines = briefs(&events, &dir);
    for line in ["CREATE old/d/g", "CREATE new/e/f", "CREATE copy/d/f (found)", "DELETE new/d/f"] {
        assert!(lines.iter().any(|one| one == line), "{line}: {lines:#?}");
    }
    // A whole subvolume goes in one step: of what was in it the directories are known.
    let running = Fsmon::start(fsmon(TREE).arg(&dir));
    sh(&dir, "btrfs subvolume delete new");
    let mut lines = briefs(&events_of(running), &dir);
    assert_eq!(lines.pop().as_deref(), Some("DELETE new/"));
    lines.sort();
    assert_eq!(lines, ["RENAME new/d/ -> ?/ (found)", "RENAME new/e/ -> ?/ (found)"]);
}

/// Of several subvolumes that are mounted one stays watched when another goes, and when something is
/// mounted over it and unmounted: events go on carrying the id of the whole filesystem.
#[test]
fn mounts_over_btrfs_subvolumes_and_beside_them() {
    if !is_root_with(&["mkfs.btrfs", "btrfs", "mount", "findmnt", "umount"]) {
        return;
    }
    let mut area = Area::new();
    let Some(first) = subvolume(&mut area, "image") else { return skip("btrfs cannot be mounted") };
    sh(&area.path("image-mount"), "btrfs subvolume create other");
    let source = succeed(Command::new("findmnt").args(["-no", "SOURCE"]).arg(&first)).stdout;
    let source = String::from_utf8_lossy(&source);
    let (source, _) = source.trim().split_once('[').expect("a subvolume");
    let second = area.try_mount("second", &["-o", "subvol=other", source]).expect("mounted");
    sh(&second, "mkdir d; touch d/f");
    let mut running = Fsmon::start(fsmon(TREE).args([&first, &second]));
    sh(&first, "touch a");
    succeed(Command::new("umount").arg(&first));
    running.wait_said(&format!("fsmon: the filesystem of {} was unmounted", first.display()));
    let over = format!("mount -t tmpfs none {}", second.display());
    sh(&area.path(""), &over);
    running.wait_said(&format!("fsmon: tmpfs was mounted on {}", second.display()));
    sh(&area.path(""), &format!("umount {}", second.display()));
    running.wait_said(&format!("fsmon: {} leads to where it did before", second.display()));
    sh(&second, "touch d/g");
    let ended = running.stop();
    let of_second = |line: &String| line.contains("second") && !line.starts_with("LOSS");
    let lines: Vec<_> =
        briefs(&ended.events(), &area.path("")).into_iter().filter(of_second).collect();
    assert_eq!(lines, ["CREATE second/d/g"], "{:#?}", ended.events());
}

/// What was made in a new directory before its mark took hold may have been written to unseen: also where
/// its CREATE is not asked for.
#[test]
fn what_is_made_before_a_directory_has_its_mark_is_missing() {
    if !is_root_with(&["mount"]) || !is_at_least(6, 5) {
        return;
    }
    let mut area = Area::new();
    let (lower, scratch) = (area.dir("lower"), area.tmpfs("scratch", "size=64m"));
    // Its upper layer is not heard.
    let Some(dir) = area.overlay("merged", &lower, &scratch, "redirect_dir=on") else { return };
    let running = Fsmon::start(fsmon(["-f", "json", "-t", "close_write"]).arg(&dir));
    running.pause();
    sh(&dir, "mkdir new; echo x > new/f");
    running.signal(Signal::SIGCONT);
    let ended = running.stop();
    assert!(ended.events().iter().all(|event| event.kind() == "LOSS"), "{:#?}", ended.events());
    assert!(ended.last_words().contains("NOT complete: 1 entry made before"), "{ended:?}");
}

#[test]
fn a_read_only_filesystem() {
    if !is_root_with(&["mksquashfs", "mount"]) {
        return;
    }
    let mut area = Area::new();
    sh(&area.path(""), "mkdir -p from/d; touch from/d/f; mksquashfs from image -quiet >/dev/null");
    let image = area.path("image");
    let options = ["-o", "loop", image.to_str().expect("UTF-8")];
    let Some(dir) = area.try_mount("squashfs", &options) else {
        return not_in_this_kernel("squashfs");
    };
    let running = Fsmon::start(fsmon(["-f", "json", "-t", "close_nowrite"]).arg(&dir));
    sh(&dir, "cat d/f");
    let events = events_of(running);
    assert!(briefs(&events, &dir).contains(&"CLOSE_NOWRITE d/f".into()), "{events:#?}");
}

#[test]
fn vfat() {
    if !is_root_with(&["mkfs.vfat", "mount"]) {
        return;
    }
    let mut area = Area::new();
    let Some(dir) = image(&mut area, "vfat", 64, "mkfs.vfat", "") else {
        return not_in_this_kernel("vfat");
    };
    record_and_replay(&dir, &TREE[2..], || {
        sh(&dir, "mkdir -p a/b; echo x > a/b/f; mv a/b c; rm -r a; mv c/f g");
    });
}

#[test]
fn fuse() {
    if !is_root_with(&["bindfs", "fusermount3"]) {
        return;
    }
    let mut area = Area::new();
    let (from, watched) = (area.dir("from"), area.watched());
    if !Path::new("/dev/fuse").exists() {
        return not_in_this_kernel("FUSE");
    }
    let Some(dir) = area.mount_by("fuse", |dir| {
        Command::new("bindfs").args([&from, dir]).status().is_ok_and(|status| status.success())
    }) else {
        return skip("bindfs cannot mount");
    };
    if !is_at_least(6, 8) {
        let words = ["fuse", "6.8"];
        return Fsmon::run(fsmon(TREE).arg(&dir)).assert_failed(1, &words);
    }
    assert_eq!(doctor(&dir).0, "inode");
    // A directory is marked when its line is read: what comes before that is found, or is not.
    record_and_replay(&dir, &TREE[2..], || sh(&dir, "touch a; mkdir d; mv a d/b; rm d/b"));
    let running = Fsmon::start(fsmon(TREE).arg(&dir));
    sh(&dir, "touch a; mv a d/b; mkdir e");
    fs::write(from.join("behind"), "x").expect("written");
    let ended = running.stop();
    ended.assert_complete();
    assert_eq!(briefs(&ended.events(), &dir), ["CREATE a", "RENAME a -> d/b", "CREATE e/"]);
    let said = |words: &str| ended.stderr.iter().any(|line| line.contains(words));
    assert!(said("not seen; watch it where it is kept"), "{:#?}", ended.stderr);
    // It has no id of its own, and the kernel takes such alone.
    let words = ["fuse", "--per-filesystem"];
    Fsmon::run(fsmon(TREE).args([&watched, &dir])).assert_failed(1, &words);
    let running = Fsmon::start(fsmon(TREE).arg("--per-filesystem").args([&watched, &dir]));
    for dir in [&watched, &dir] {
        fs::write(dir.join("both"), "x").expect("written");
    }
    let ended = running.stop();
    ended.assert_complete();
    let mut made: Vec<_> = ended.events().iter().filter_map(Event::path).collect();
    made.sort();
    assert_eq!(made, [dir.join("both"), watched.join("both")]);
}

#[test]
fn what_the_kernel_makes_is_refused() {
    if !is_root() {
        return;
    }
    let mounts = fs::read_to_string("/proc/self/mounts").expect("it is there");
    let kinds = ["proc", "sysfs", "cgroup", "cgroup2", "debugfs", "tracefs", "devpts"];
    for mount in mounts.lines() {
        let fields: Vec<_> = mount.split(' ').collect();
        let (dir, fs) = (fields[1], fields[2]);
        if !kinds.contains(&fs) {
            continue;
        }
        let words = [dir, fs, "made by the kernel"];
        Fsmon::run(&mut fsmon([dir])).assert_failed(1, &words);
        let output = fsmon(["doctor", dir]).output().expect("it ran");
        assert_eq!(output.status.code(), Some(1));
        assert!(String::from_utf8_lossy(&output.stdout).contains("made by the kernel"));
    }
}

#[test]
fn mounts_below_a_root_are_named() {
    if !is_root_with(&["mount"]) {
        return;
    }
    let mut area = Area::new();
    let watched = area.watched();
    for i in 0..6 {
        area.tmpfs(&format!("watched/m{i}"), "size=1m");
    }
    let said = |roots: &[PathBuf]| {
        let ended = Fsmon::start(fsmon(TREE).args(roots)).stop();
        assert_eq!(ended.last_words().contains("; complete"), roots.len() == 7);
        ended.stderr.into_iter().find(|line| line.contains("other filesystems below"))
    };
    let m = |i: u32| watched.join(format!("m{i}"));
    let names =
        |at: &[u32]| at.iter().map(|i| m(*i).display().to_string()).collect::<Vec<_>>().join(", ");
    let expected = |names: &str| {
        let watched = watched.display();
        format!(
            "fsmon: other filesystems below {watched} are not watched: {names}; name those that are to be"
        )
    };
    let all = names(&[0, 1, 2, 3, 4, 5]);
    assert_eq!(said(std::slice::from_ref(&watched)), Some(expected(&all)));
    assert_eq!(said(&[watched.clone(), m(0), m(2)]), Some(expected(&names(&[1, 3, 4, 5]))));
    let all: Vec<_> = (0..6).map(m).chain([watched.clone()]).collect();
    assert_eq!(said(&all), None);
}

//! Watched roots are paths: made, removed, made again, renamed, or not there yet; and so are the
//! directories above them.

use fsmon_harness::{
    Area, Event, Fsmon, backends, briefs, fsmon, is_at_least, is_root, is_root_with, named,
    record_in_steps, repeats, replay, sh, skip, whole,
};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

const TREE: [&str; 4] = ["-f", "json", "-t", "create,delete,rename"];

/// Watches `root`, which need not exist, while `action` runs; what is there at the end must follow
/// from the lines.
fn record(root: &Path, args: &[&str], action: impl FnOnce()) -> Vec<Event> {
    record_where(root, args, false, action)
}

fn record_where(root: &Path, args: &[&str], found: bool, action: impl FnOnce()) -> Vec<Event> {
    let start = whole(root);
    let running = Fsmon::start(fsmon(TREE).args(args).arg(root));
    action();
    let ended = running.stop();
    ended.assert_complete();
    let events = ended.events();
    let (replayed, mut doubts) = replay(root.parent().expect("it is in one"), start, &events);
    // Where each directory has its own mark, what was gone before it took hold is known to nobody,
    // and only its end is told.
    doubts.retain(|line| !(found && line.contains("DELETE")));
    assert!(doubts.is_empty(), "{} lines made no sense: {:#?}", doubts.len(), &doubts[0]);
    assert_eq!(replayed, whole(root), "the lines and what is there: {events:#?}");
    events
}

#[test]
fn a_root_that_does_not_exist_yet() {
    if !is_root() {
        return;
    }
    let area = Area::new();
    let (base, root) = (area.path(""), area.path("a/b/c"));
    let running = Fsmon::start(fsmon(TREE).arg(&root));
    sh(&base, "mkdir -p a/b/other; mkdir a/b/c; touch a/b/c/f; mkdir a/b/c/d; touch a/b/c/d/g");
    sh(&base, "touch a/b/other/unseen");
    let ended = running.stop();
    ended.assert_complete();
    let said =
        format!("fsmon: {} does not exist yet; watched from when it appears", root.display());
    assert!(ended.stderr.contains(&said), "{:#?}", ended.stderr);
    let expected = [
        "CREATE a/b/c/ by mkdir",
        "CREATE a/b/c/f by touch",
        "CREATE a/b/c/d/ by mkdir",
        "CREATE a/b/c/d/g by touch",
    ];
    assert_eq!(named(&ended.events(), &base), expected);
}

#[test]
fn roots_that_cannot_come_to_be() {
    if !is_root() {
        return;
    }
    let area = Area::new();
    sh(&area.path(""), "touch file; ln -s nowhere link");
    let refused = |path: PathBuf, words: &[&str]| {
        Fsmon::run(fsmon(TREE).arg(path)).assert_failed(1, words);
    };
    refused(area.path("file/below"), &["file/below", "not a directory"]);
    refused(area.path("link"), &["link", "symbolic link"]);
    refused(area.path("link/below"), &["link", "symbolic link"]);
    refused(area.path("no/../b"), &["no/../b", "without"]);
    refused("/proc/self/no".into(), &["/proc/self/no", "proc"]);
}

#[test]
fn a_root_removed_and_made_again() {
    if !is_root() {
        return;
    }
    let area = Area::new();
    let (base, root) = (area.path(""), area.watched());
    let events = record(&root, &[], || {
        sh(&base, "touch watched/f; rm -r watched; mkdir watched; touch watched/g; rm -r watched");
        sh(&base, "mkdir -p watched/d; touch watched/d/h");
    });
    let expected = [
        "CREATE watched/f by touch",
        "DELETE watched/f by rm",
        "DELETE watched/ by rm",
        "CREATE watched/ by mkdir",
        "CREATE watched/g by touch",
        "DELETE watched/g by rm",
        "DELETE watched/ by rm",
        "CREATE watched/ by mkdir",
        "CREATE watched/d/ by mkdir",
        "CREATE watched/d/h by touch",
    ];
    assert_eq!(named(&events, &base), expected);
}

#[test]
fn a_root_renamed_and_back() {
    if !is_root() {
        return;
    }
    let area = Area::new();
    let (base, root) = (area.path(""), area.watched());
    sh(&root, "mkdir d; touch d/old");
    let events = record_in_steps(&base, &root, |step| {
        step("mv watched moved", "RENAME watched/ -> ?/ by mv", 1);
        let unseen = "touch moved/d/unseen; rm moved/d/old; mv moved watched";
        step(unseen, "CREATE watched/d/unseen (found) by mv", 1);
        step("rm watched/d/unseen", "DELETE watched/d/unseen by rm", 1);
    });
    let expected = [
        "RENAME watched/ -> ?/ by mv",
        "RENAME ?/ -> watched/ by mv",
        "CREATE watched/d/ (found) by mv",
        "CREATE watched/d/unseen (found) by mv",
        "DELETE watched/d/unseen by rm",
    ];
    assert_eq!(named(&events, &base), expected);
}

#[test]
fn another_directory_takes_the_place_of_a_root() {
    if !is_root() {
        return;
    }
    let area = Area::new();
    let (base, root) = (area.path(""), area.watched());
    sh(&base, "mkdir -p other/d; touch other/d/f");
    let events = record_in_steps(&base, &root, |step| {
        // Over an empty directory; the root is the other one from then on.
        step("mv -T other watched", "CREATE watched/d/f (found) by mv", 1);
        step("touch watched/d/g", "CREATE watched/d/g by touch", 1);
        step("mkdir fresh; touch fresh/h; mv watched gone", "RENAME watched/ -> ?/ by mv", 1);
        step("mv fresh watched", "CREATE watched/h (found) by mv", 1);
        step("touch gone/unseen; rm watched/h", "DELETE watched/h by rm", 1);
    });
    let expected = [
        "RENAME ?/ -> watched/ by mv",
        "CREATE watched/d/ (found) by mv",
        "CREATE watched/d/f (found) by mv",
        "CREATE watched/d/g by touch",
        "RENAME watched/ -> ?/ by mv",
        "RENAME ?/ -> watched/ by mv",
        "CREATE watched/h (found) by mv",
        "DELETE watched/h by rm",
    ];
    assert_eq!(named(&events, &base), expected);
}

#[test]
fn a_root_exchanged_for_another_directory() {
    if !is_root() {
        return;
    }
    let area = Area::new();
    let (base, root, other) = (area.path(""), area.watched(), area.dir("other"));
    sh(&base, "touch watched/old other/new");
    let exchange = |from: &Path, to: &Path| {
        use nix::fcntl::{AT_FDCWD, RenameFlags, renameat2};
        renameat2(AT_FDCWD, from, AT_FDCWD, to, RenameFlags::RENAME_EXCHANGE).expect("exchanged");
    };
    let events = record_in_steps(&base, &root, |step| {
        exchange(&other, &root);
        step("", "CREATE watched/new (found)", 1);
        step("rm watched/new; touch watched/newer", "CREATE watched/newer", 1);
        exchange(&root, &other);
        step("", "CREATE watched/old (found)", 1);
        step("rm watched/old", "DELETE watched/old", 1);
    });
    let expected = [
        "RENAME watched/ -> ?/",
        "RENAME ?/ -> watched/",
        "CREATE watched/new (found)",
        "DELETE watched/new",
        "CREATE watched/newer",
        "RENAME watched/ -> ?/",
        "RENAME ?/ -> watched/",
        "CREATE watched/old (found)",
        "DELETE watched/old",
    ];
    assert_eq!(briefs(&events, &base), expected);
}

#[test]
fn directories_above_a_root() {
    if !is_root() {
        return;
    }
    let area = Area::new();
    let (base, root) = (area.path(""), area.path("a/b/root"));
    sh(&base, "mkdir -p a/b/root/d");
    let events = record_in_steps(&base, &root, |step| {
        let (out, back) = ("RENAME a/b/root/ -> ?/ by mv", "RENAME ?/ -> a/b/root/ by mv");
        step("mv a z; touch z/b/root/unseen; mv z a", "CREATE a/b/root/unseen (found) by mv", 1);
        step("", "CREATE a/b/root/d/ (found) by mv", 1);
        step("touch a/b/root/f", "CREATE a/b/root/f by touch", 1);
        step("mv a/b a/y; mkdir a/b; touch a/b/unseen; rm -r a/b; mv a/y a/b", back, 2);
        step("rm -r a", "DELETE a/b/root/ by rm", 1);
        step("mkdir -p a/b/root", "CREATE a/b/root/ by mkdir", 1);
        step("mkdir a/b/root/e", "CREATE a/b/root/e/ by mkdir", 1);
        step("mkdir -p new/b/root; mv a old", out, 3);
        step("mv new a", back, 3);
        step("touch a/b/root/g", "CREATE a/b/root/g by touch", 1);
    });
    let lines = named(&events, &base);
    let expected = [
        "RENAME a/b/root/ -> ?/ by mv",
        "RENAME ?/ -> a/b/root/ by mv",
        "CREATE a/b/root/d/ (found) by mv",
        "CREATE a/b/root/unseen (found) by mv",
    ];
    let mut first: Vec<_> = lines[..4].to_vec();
    first[2..].sort();
    assert_eq!(first, expected);
    assert_eq!(lines[4], "CREATE a/b/root/f by touch");
    assert_eq!(lines[5], "RENAME a/b/root/ -> ?/ by mv");
    assert_eq!(lines[6], "RENAME ?/ -> a/b/root/ by mv");
    let expected = [
        "DELETE a/b/root/ by rm",
        "CREATE a/b/root/ by mkdir",
        "CREATE a/b/root/e/ by mkdir",
        "RENAME a/b/root/ -> ?/ by mv",
        "RENAME ?/ -> a/b/root/ by mv",
        "CREATE a/b/root/g by touch",
    ];
    assert_eq!(lines[lines.len() - 6..], expected, "{lines:#?}");
}

#[test]
fn a_root_in_a_root_without_what_is_below() {
    if !is_root() {
        return;
    }
    let area = Area::new();
    let (base, outer) = (area.path(""), area.watched());
    let inner = outer.join("in");
    let running =
        Fsmon::start(fsmon(TREE).arg("--no-recursive").args([&outer, &inner, &outer.join(".")]));
    sh(
        &outer,
        "mkdir in; touch in/f; mv in out; touch out/unseen; mv out in; touch in/g; rm -r in",
    );
    let ended = running.stop();
    ended.assert_complete();
    let lines = briefs(&ended.events(), &base);
    let expected = [
        "CREATE watched/in/",
        "CREATE watched/in/f",
        "RENAME watched/in/ -> watched/out/",
        "RENAME watched/out/ -> watched/in/",
    ];
    assert_eq!(lines[..4], expected);
    assert!(lines.contains(&"CREATE watched/in/g".into()), "{lines:#?}");
    for line in ["CREATE watched/in/", "DELETE watched/in/"] {
        assert_eq!(lines.iter().filter(|one| *one == line).count(), 1, "{lines:#?}");
    }
}

#[test]
fn a_root_inside_what_is_left_out() {
    if !is_root() {
        return;
    }
    for pattern in ["out", "/out", "in"] {
        let area = Area::new();
        let dir = area.watched();
        sh(&dir, "mkdir -p out/in/deep");
        let mut command = fsmon(["-f", "json", "-t", "create", "--exclude", pattern]);
        let running = Fsmon::start(command.args([dir.join("out/in"), dir.clone()]));
        sh(&dir, "touch out/in/1 out/in/deep/2 3");
        let ended = running.stop();
        ended.assert_complete();
        let told = briefs(&ended.events(), &dir);
        assert_eq!(told, ["CREATE out/in/1", "CREATE out/in/deep/2", "CREATE 3"], "{pattern}");
    }
}

#[test]
fn roots_on_other_filesystems_than_the_way_there() {
    if !is_root() {
        return;
    }
    let mut area = Area::new();
    let base = area.path("");
    sh(&base, "mkdir -p up/mount");
    area.tmpfs("up/mount", "size=64m");
    let root = area.path("up/mount/r");
    let running = Fsmon::start(fsmon(TREE).arg(&root));
    sh(&base, "mkdir up/mount/r; touch up/mount/r/f; mv up down; touch down/mount/r/unseen");
    // What fsmon finds back where it was has not moved.
    running.wait_until("it moved", |events| events.iter().any(|event| event.kind() == "RENAME"));
    sh(&base, "mv down up; touch up/mount/r/g; rm -r up/mount/r");
    let events = running.stop().events();
    let lines = named(&events, &base);
    assert_eq!(lines[0], "CREATE up/mount/r/ by mkdir");
    assert_eq!(lines[2], "RENAME up/mount/r/ -> ?/ by mv");
    assert_eq!(lines[3], "RENAME ?/ -> up/mount/r/ by mv");
    assert!(lines.contains(&"CREATE up/mount/r/unseen (found) by mv".into()), "{lines:#?}");
    assert_eq!(lines.last().map(String::as_str), Some("DELETE up/mount/r/ by rm"));
}

/// A directory of each sort of filesystem, and whether it takes a mark for all of it.
fn each_filesystem(area: &mut Area) -> Vec<(PathBuf, bool)> {
    let mut dirs = vec![(area.dir("here"), true), (area.tmpfs("tmpfs", "size=64m"), true)];
    let image = area.path("ext4");
    let made = Command::new("/bin/sh")
        .args(["-c", "truncate -s 100M ext4 && mkfs.ext4 -q -F ext4"])
        .current_dir(area.path(""))
        .status();
    assert!(made.expect("started").success());
    dirs.push((area.mount("ext4-mount", &["-o", "loop", image.to_str().expect("UTF-8")]), true));
    // Before, overlayfs gives no handles, and is refused: see tests/e2e/backends.rs.
    if !is_at_least(6, 5) {
        return dirs;
    }
    let scratch = area.tmpfs("scratch", "size=64m");
    sh(&scratch, "mkdir lower upper work");
    let options =
        format!("lowerdir={s}/lower,upperdir={s}/upper,workdir={s}/work", s = scratch.display());
    match area.try_mount("overlay", &["-t", "overlay", "-o", &options, "overlay"]) {
        Some(dir) => dirs.push((dir, false)),
        None => skip("overlay cannot be mounted"),
    }
    dirs
}

#[test]
fn a_root_made_and_removed_as_fast_as_it_goes() {
    if !is_root_with(&["mount", "mkfs.ext4"]) {
        return;
    }
    let mut area = Area::new();
    for (dir, whole_mark) in each_filesystem(&mut area) {
        for backend in backends() {
            let root = dir.join("up/root");
            let times = repeats(200);
            let events = record_where(&root, &["--backend", backend], !whole_mark, || {
                for i in 0..times {
                    fs::create_dir_all(root.join("d")).expect("made");
                    for file in [format!("f{i}"), format!("d/g{i}")] {
                        fs::write(root.join(file), "x").expect("made");
                    }
                    fs::remove_dir_all(dir.join("up")).expect("removed");
                }
                fs::create_dir_all(&root).expect("made");
            });
            for event in &events {
                let path = event.path().expect("a path");
                let name = event.name();
                let parent = if name.starts_with('g') { root.join("d") } else { root.clone() };
                let is_file = name.starts_with('f') || name.starts_with('g');
                assert!(!is_file || path.parent() == Some(&parent), "{event:?}");
            }
            let mut lines = briefs(&events, &dir);
            if whole_mark {
                assert_eq!(events.len(), times * 8 + 1, "{backend} in {}", dir.display());
                lines.retain(|line| line.contains("/f") || line.contains("/g"));
                lines.sort();
                lines.dedup();
                assert_eq!(lines.len(), times * 4, "nothing twice");
            }
            fs::remove_dir_all(dir.join("up")).expect("removed");
        }
    }
}

#[test]
fn a_directory_above_is_renamed_to_and_fro_while_files_are_made() {
    if !is_root_with(&["mount", "mkfs.ext4"]) {
        return;
    }
    let mut area = Area::new();
    for (dir, whole_mark) in each_filesystem(&mut area) {
        for backend in backends() {
            sh(&dir, "mkdir -p up/mid/root/d");
            let root = dir.join("up/mid/root");
            record_where(&root, &["--backend", backend], !whole_mark, || {
                rename_and_write(&dir, repeats(300));
            });
            sh(&dir, "rm -r up");
        }
    }
}

/// One renames `up`, the other makes and removes files and directories two levels below, by a path
/// that stays.
fn rename_and_write(dir: &Path, times: usize) {
    use nix::fcntl::{OFlag, openat};
    use nix::sys::stat::{Mode, mkdirat};
    use nix::unistd::{UnlinkatFlags, unlinkat};
    let root = fs::File::open(dir.join("up/mid/root")).expect("it is there");
    let (over, made) = (AtomicBool::new(false), AtomicUsize::new(0));
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let mode = Mode::from_bits_truncate(0o755);
            for i in 0usize.. {
                let file = format!("f{i}");
                let flags = OFlag::O_CREAT | OFlag::O_WRONLY;
                drop(openat(&root, file.as_str(), flags, mode).expect("made"));
                mkdirat(&root, format!("d/e{i}").as_str(), mode).expect("made");
                if !i.is_multiple_of(7) {
                    unlinkat(&root, file.as_str(), UnlinkatFlags::NoRemoveDir).expect("removed");
                }
                made.store(i, Ordering::Relaxed);
                if over.load(Ordering::Relaxed) {
                    return;
                }
            }
        });
        for turn in 0.. {
            if turn >= times && made.load(Ordering::Relaxed) >= times {
                break;
            }
            fs::rename(dir.join("up"), dir.join("away")).expect("renamed");
            fs::rename(dir.join("away"), dir.join("up")).expect("renamed");
        }
        over.store(true, Ordering::Relaxed);
    });
}

//! Heavy work of real programs under the replay oracle: nothing missing, nothing extra, nothing
//! out of order. FSMON_TEST_PERCENT=1000 makes it ten times as long.

use fsmon_harness::{
    Area, Event, archive_of, is_root_with, listing, record_and_replay, repeats, sh, skip, succeed,
};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::sync::atomic::{AtomicBool, Ordering};

const TREE: [&str; 2] = ["-t", "create,delete,rename"];

/// Files of a source tree.
const FILES: usize = 5000;

fn count(events: &[Event], kind: &str) -> usize {
    events.iter().filter(|event| event.kind() == kind).count()
}

/// Unpacks an archive in a directory, wherever that moves meanwhile.
fn unpack(archive: &Path, dir: &Path) -> Child {
    fs::create_dir_all(dir).expect("made");
    let mut tar = Command::new("tar");
    tar.arg("xf").arg(archive).current_dir(dir).spawn().expect("started")
}

/// Deletes all that is in a directory, wherever that moves meanwhile.
fn empty(dir: &Path) -> Child {
    let mut find = Command::new("find");
    find.args([".", "-mindepth", "1", "-delete"]).current_dir(dir).spawn().expect("started")
}

fn wait(children: &mut [Child]) {
    for child in children {
        assert!(child.wait().expect("a child").success());
    }
}

/// Waits for the children while each of the directories is moved from one of its places to the
/// next, over and over; in the end it is at the first. Each move is a process of its own: those
/// of one process can be merged by the kernel while they wait to be read.
fn wait_while_moving(children: &mut [Child], directories: &[Vec<PathBuf>]) {
    let stop = AtomicBool::new(false);
    let wander = |places: &[PathBuf]| {
        loop {
            for (from, to) in places.iter().zip(places.iter().cycle().skip(1)) {
                succeed(Command::new("mv").arg("-T").args([from, to]));
            }
            if stop.load(Ordering::Relaxed) {
                break;
            }
        }
    };
    std::thread::scope(|scope| {
        directories.iter().for_each(|places| _ = scope.spawn(|| wander(places)));
        let done = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| wait(children)));
        stop.store(true, Ordering::Relaxed);
        done.expect("all went well");
    });
}

#[test]
fn sources_unpacked_thrice_at_once_and_deleted_while_their_top_is_renamed() {
    if !is_root_with(&["tar", "find"]) {
        return;
    }
    let area = Area::new();
    let dir = area.watched();
    let Some(archive) = archive_of(&area, FILES) else { return };
    let tops = ["a", "b", "c"].map(|name| dir.join(name));
    let places = tops.clone().map(|top| {
        let other = dir.join("other").join(top.file_name().expect("a name"));
        vec![top.clone(), top.with_extension("x"), other]
    });
    let times = repeats(1);
    let events = record_and_replay(&dir, &TREE, || {
        for _ in 0..times {
            sh(&dir, "mkdir other");
            wait(&mut tops.clone().map(|top| unpack(&archive, &top)));
            wait_while_moving(&mut tops.clone().map(|top| empty(&top)), &places);
            sh(&dir, "rmdir a b c other");
        }
    });
    assert!(count(&events, "CREATE") > times * 3 * FILES);
    assert!(count(&events, "DELETE") > times * 3 * FILES);
    assert!(count(&events, "RENAME") >= times * 3 * 3);
}

/// Two trees go in and out of the watched directory while they are unpacked and deleted.
fn move_in_and_out(while_unpacked: bool) {
    if !is_root_with(&["tar", "find"]) {
        return;
    }
    let area = Area::new();
    let (dir, outside) = (area.watched(), area.dir("outside"));
    let Some(archive) = archive_of(&area, FILES / 5) else { return };
    let times = repeats(3);
    let tops = ["a", "b"].map(|name| outside.join(name));
    let places = [
        vec![outside.join("a"), dir.join("a")],
        vec![outside.join("b"), dir.join("b"), dir.join("c")],
    ];
    let events = record_and_replay(&dir, &TREE, || {
        for _ in 0..times {
            let mut unpacking = tops.clone().map(|top| unpack(&archive, &top));
            match while_unpacked {
                true => wait_while_moving(&mut unpacking, &places),
                false => wait(&mut unpacking),
            }
            wait_while_moving(&mut tops.clone().map(|top| empty(&top)), &places);
        }
    });
    let came_in = |event: &&Event| event.kind() == "RENAME" && event.old_path().is_none();
    assert!(events.iter().filter(came_in).count() >= times * 2);
    assert!(events.iter().any(|event| event.flag("found")));
}

#[test]
fn sources_moved_in_and_out_while_they_are_deleted() {
    move_in_and_out(false);
}

#[test]
fn sources_moved_in_and_out_while_they_are_unpacked() {
    move_in_and_out(true);
}

/// 80,000 files in 5,000 directories; or what the archive has that FSMON_TEST_ARCHIVE names, such
/// as the Linux source in Debian's package linux-source-6.1.
#[test]
fn every_deletion_of_a_great_tree_has_its_full_path() {
    if !is_root_with(&["mount", "rm"]) {
        return;
    }
    let mut area = Area::new();
    let dir = area.tmpfs("tmpfs", "size=4g");
    match std::env::var_os("FSMON_TEST_ARCHIVE") {
        Some(archive) => wait(&mut [unpack(Path::new(&archive), &dir.join("top"))]),
        None => great_tree(&dir.join("top")),
    }
    let before = listing(&dir);
    let dirs = before.values().filter(|is_dir| **is_dir).count();
    let events = record_and_replay(&dir, &["-t", "delete"], || sh(&dir, "rm -rf top"));
    assert_eq!(events.len(), before.len());
    println!("{} files in {dirs} directories: each told", before.len() - dirs);
    assert!(events.iter().all(|event| event.path().is_some_and(|path| before.contains_key(&path))));
}

/// A directory with 99 in it in each of 50, and 16 files in each of those.
fn great_tree(top: &Path) {
    for outer in 0..repeats(50) {
        for inner in 0..100 {
            let dir = match inner {
                0 => top.join(format!("{outer}")),
                _ => top.join(format!("{outer}/{inner}")),
            };
            fs::create_dir_all(&dir).expect("made");
            (0..16).for_each(|file| fs::write(dir.join(format!("f{file}")), "").expect("made"));
        }
    }
}

#[test]
fn a_package_installed_and_removed_by_npm() {
    if !is_root_with(&["npm", "node"]) {
        return;
    }
    let area = Area::new();
    let (dir, cache) = (area.watched(), area.dir("cache"));
    let npm = |args: &[&str]| {
        let mut npm = Command::new("npm");
        npm.args(args).args([
            "--no-audit",
            "--no-fund",
            "--no-update-notifier",
            "--loglevel=error",
        ]);
        npm.arg("--cache").arg(&cache).current_dir(&dir);
        npm.output().expect("started")
    };
    fs::write(dir.join("package.json"), "{}").expect("written");
    // In the cache afterwards: whether the registry can be reached is not what is tested.
    let output = npm(&["install", "express@4.21.2"]);
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        return skip(&format!("npm cannot install: {said}"));
    }
    sh(&dir, "rm -rf node_modules package-lock.json; echo {} >package.json");
    let events = record_and_replay(&dir, &TREE, || {
        for _ in 0..repeats(1) {
            for args in [
                &["install", "express@4.21.2"][..],
                &["update"],
                &["ci"],
                &["uninstall", "express"],
            ] {
                let output = npm(&[args, &["--prefer-offline"]].concat());
                assert!(output.status.success(), "{output:?}");
            }
        }
    });
    assert!(count(&events, "CREATE") > 500 && count(&events, "DELETE") > 500);
}

#[test]
fn branches_checked_out_and_packed_by_git() {
    if !is_root_with(&["git", "tar"]) {
        return;
    }
    let area = Area::new();
    let (dir, origin) = (area.watched(), area.dir("origin"));
    let Some(archive) = archive_of(&area, FILES / 5) else { return };
    wait(&mut [unpack(&archive, &origin.join("tree"))]);
    let git = "export GIT_CONFIG_GLOBAL=/dev/null GIT_CONFIG_COUNT=3 \
               GIT_CONFIG_KEY_0=user.name GIT_CONFIG_VALUE_0=t GIT_CONFIG_KEY_1=user.email \
               GIT_CONFIG_VALUE_1=t@t GIT_CONFIG_KEY_2=gc.autoDetach GIT_CONFIG_VALUE_2=false; ";
    let branches = "git init -q -b main; git add -A -f; git commit -qm all; git checkout -qb moved; \
                    git mv tree other; git commit -qm moved; git checkout -qb fewer main; \
                    git ls-files | awk 'NR % 2' | xargs git rm -qr; git commit -qm fewer; \
                    git checkout -q main";
    sh(&origin, &[git, branches].concat());
    let work = "git clone -q --no-local ../origin clone; cd clone; git worktree add -q ../second fewer; \
                for i in 1 2; do git checkout -q moved; git checkout -q main; git checkout -q --detach fewer; done; \
                git gc -q --prune=now; git checkout -q main; echo x > new; git add new; git stash -q; \
                git stash pop -q; git commit -qm new; git rebase -q moved; git clean -qfdx; \
                cd ../second; git checkout -q --detach moved; cd ../clone; \
                git worktree remove --force ../second; git worktree prune; git repack -qad";
    let events = record_and_replay(&dir, &TREE, || {
        for _ in 0..repeats(1) {
            sh(&dir, &[git, work].concat());
            sh(&dir, "rm -rf clone");
        }
    });
    assert!(count(&events, "CREATE") > FILES && count(&events, "DELETE") > FILES);
}

/// As compilers do it: what one process makes and removes while the first of it waits to be read,
/// the kernel merges.
#[test]
fn temporary_directories_of_one_process() {
    if !fsmon_harness::is_root() {
        return;
    }
    let area = Area::new();
    let dir = area.watched();
    let (temporary, file) = (dir.join("temporary"), dir.join("temporary/file"));
    let events = record_and_replay(&dir, &TREE, || {
        for i in 0..repeats(500) {
            fs::create_dir(&temporary).expect("made");
            fs::write(&file, "x").expect("written");
            match i % 3 {
                0 => fs::remove_file(&file).expect("removed"),
                _ => fs::rename(&file, dir.join(format!("kept-{}", i % 2))).expect("renamed"),
            }
            fs::remove_dir(&temporary).expect("removed");
        }
    });
    assert!(events.len() > repeats(500) * 3);
}

#[test]
fn renamed_to_and_fro_by_one_process() {
    if !fsmon_harness::is_root() {
        return;
    }
    let area = Area::new();
    let (dir, outside) = (area.watched(), area.dir("outside"));
    fs::write(dir.join("a"), "x").expect("written");
    sh(&dir, "mkdir -p d/e; echo x > d/e/f");
    record_and_replay(&dir, &TREE, || {
        for i in 0..=repeats(250) * 2 {
            let swap = |one: &Path, other: &Path| match i % 2 {
                0 => fs::rename(one, other).expect("renamed"),
                _ => fs::rename(other, one).expect("renamed"),
            };
            swap(&dir.join("a"), &dir.join("b"));
            swap(&dir.join("d"), &dir.join("c"));
        }
    });
    record_and_replay(&dir, &TREE, || {
        for _ in 0..repeats(500) {
            for name in ["b", "c"] {
                fs::rename(dir.join(name), outside.join(name)).expect("renamed");
                fs::rename(outside.join(name), dir.join(name)).expect("renamed");
            }
        }
    });
}

#[test]
fn linked_and_unlinked_by_one_process() {
    if !fsmon_harness::is_root() {
        return;
    }
    let area = Area::new();
    let dir = area.watched();
    let [a, b] = ["a", "b"].map(|name| dir.join(name));
    fs::write(&a, "x").expect("written");
    record_and_replay(&dir, &TREE, || {
        for _ in 0..repeats(500) {
            fs::hard_link(&a, &b).expect("linked");
            fs::remove_file(&b).expect("removed");
        }
        fs::hard_link(&a, &b).expect("linked");
    });
}

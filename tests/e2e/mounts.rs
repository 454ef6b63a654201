//! Filesystems that are mounted on what is watched, before or while it is: changes there are told, or it
//! is said that they are not. Each test has a mount namespace of its own, so that it disturbs no other.

use fsmon_harness::{
    Area, Fsmon, assert_unwatched, fsmon, is_root_with, lines_with_losses, own_mounts, parse,
    settled_lines, sh, succeed, wait_mounted, wait_said_of, wait_unmounted, wait_written,
};
use nix::mount::{MsFlags, mount};
use std::path::Path;
use std::process::Command;

const TREE: [&str; 4] = ["-f", "json", "-t", "create,delete,rename"];

fn propagate(how: MsFlags) {
    let none = None::<&str>;
    mount(none, "/", none, MsFlags::MS_REC | how, none).expect("propagation set");
}

/// What was said of mounts: lines of standard error but the first and the last words.
fn said_of_mounts(stderr: &[String]) -> Vec<&String> {
    let is_other = |line: &&String| !line.contains("ready: ") && !line.contains("from the kernel");
    stderr.iter().filter(is_other).collect()
}

#[test]
fn what_is_mounted_below_is_told_and_what_comes_back_is_watched() {
    let Some(area) = own_mounts() else { return };
    let (base, root) = (area.path(""), area.watched());
    sh(&root, "mkdir sub");
    let (sub, mut running) = (root.join("sub"), Fsmon::start(fsmon(TREE).arg(&root)));
    sh(&root, "touch sub/before; mount -t tmpfs none sub");
    wait_mounted(&mut running, "tmpfs", &sub);
    // A file that stays open keeps the filesystem alive, and nothing else.
    sh(&root, "exec 7>sub/hidden; umount -l sub; echo late >&7; touch sub/after");
    wait_unmounted(&mut running, &sub);
    sh(&root, "mount -t tmpfs none sub; mount -o remount,ro sub; mount -o remount,rw sub");
    wait_mounted(&mut running, "tmpfs", &sub);
    sh(&root, "umount sub; touch sub/last");
    let ended = running.stop();
    let expected = [
        "CREATE watched/sub/before",
        "LOSS mount watched/sub",
        "CREATE watched/sub/after",
        "LOSS unmount watched/sub",
        "LOSS mount watched/sub",
        "LOSS unmount watched/sub",
        "CREATE watched/sub/last",
    ];
    let mut told = lines_with_losses(&ended.events(), &base);
    // The lines of mounts and those of files come by two ways.
    let sorted = |mut all: Vec<String>| {
        all.sort();
        all
    };
    assert_eq!(
        sorted(told.split_off(1)),
        sorted(expected[1..].iter().map(|&l| l.into()).collect())
    );
    assert_eq!(told, expected[..1]);
    assert_eq!(said_of_mounts(&ended.stderr).len(), 4, "{:#?}", ended.stderr);
    assert_unwatched(&ended, 2);
}

#[test]
fn what_is_mounted_at_the_start_is_named_and_counted() {
    let Some(area) = own_mounts() else { return };
    let (base, root) = (area.path(""), area.watched());
    let names: Vec<String> = (0..20).map(|i| format!("m{i:02}")).collect();
    for name in &names {
        sh(&root, &format!("mkdir {name}; mount -t tmpfs none {name}"));
    }
    // What is hidden is watched all the same: it can be reached by other ways.
    let ended = Fsmon::start(fsmon(TREE).arg(&root)).stop();
    let paths: Vec<_> = names.iter().map(|name| root.join(name).display().to_string()).collect();
    let said = format!(
        "fsmon: other filesystems below {} are not watched: {}; name those that are to be",
        root.display(),
        paths.join(", ")
    );
    assert!(ended.stderr.contains(&said), "{:#?}", ended.stderr);
    let expected: Vec<_> = names.iter().map(|name| format!("LOSS mount watched/{name}")).collect();
    assert_eq!(lines_with_losses(&ended.events(), &base), expected);
    assert_unwatched(&ended, 20);
    // Left out, or named, they are not missing; nor without what is below.
    let ended = Fsmon::start(fsmon(TREE).args(["--exclude", "m0*", "--exclude", "m1*"]).arg(&root));
    assert_unwatched(&ended.stop(), 0);
    let named = names.iter().map(|name| root.join(name)).chain([root.clone()]);
    assert_unwatched(&Fsmon::start(fsmon(TREE).args(named)).stop(), 0);
    assert_unwatched(&Fsmon::start(fsmon(TREE).arg("--no-recursive").arg(&root)).stop(), 0);
}

#[test]
fn what_a_mount_hides_is_said_where_the_walk_gets_no_mount_of_its_own() {
    let Some(area) = own_mounts() else { return };
    let (base, root) = (area.path(""), area.watched());
    sh(&base, "mount -t tmpfs none watched");
    // As systemd makes a directory read-only for a service.
    sh(&root, "mkdir -p usr/deep other/deep; mount --bind usr usr; mount -o remount,bind,ro usr");
    let changed = || {
        let running = Fsmon::start(fsmon(TREE).arg(&root));
        sh(&root, "umount usr; touch usr/deep/f other/deep/g; rm */deep/?");
        running.stop()
    };
    let ended = changed();
    let seen = lines_with_losses(&ended.events(), &base);
    assert!(seen.iter().any(|line| line == "CREATE watched/usr/deep/f"), "{seen:#?}");
    assert!(!seen.iter().any(|line| line.starts_with("LOSS walk")), "{seen:#?}");
    // The kernel clones no such mount: EINVAL from open_tree(2).
    sh(&base, "mount --bind watched/usr watched/usr; mount --make-unbindable watched");
    let ended = changed();
    let seen = lines_with_losses(&ended.events(), &base);
    assert!(seen.iter().any(|line| line == "LOSS walk"), "{seen:#?}");
    assert!(seen.iter().any(|line| line == "CREATE watched/other/deep/g"), "{seen:#?}");
    let said = ended.stderr.iter().find(|line| line.contains("make the mount around it private"));
    assert!(said.is_some(), "{:#?}", ended.stderr);
}

#[test]
fn the_same_filesystem_through_another_mount() {
    let Some(area) = own_mounts() else { return };
    let (base, root) = (area.path(""), area.watched());
    sh(&base, "mkdir -p outside watched/usr/bin watched/home watched/there watched/here");
    // As systemd makes a directory read-only for a service, and with another directory of the root.
    sh(&root, "mount --bind usr usr; mount -o remount,bind,ro usr; mount --bind home there");
    let mut running = Fsmon::start(fsmon(TREE).arg(&root));
    sh(&root, "mount -o remount,bind,rw usr; mkdir usr/bin/new; touch usr/bin/new/f");
    sh(&root, "touch there/by-the-other-way home/g");
    sh(&root, "mount --bind ../outside here");
    wait_mounted(&mut running, "a directory from elsewhere", &root.join("here"));
    sh(&root, "touch here/unseen; umount here; touch here/seen; umount usr; touch usr/bin/h");
    let ended = running.stop();
    let told = lines_with_losses(&ended.events(), &base);
    let files: Vec<_> = told.iter().filter(|line| !line.starts_with("LOSS")).collect();
    let expected = [
        "CREATE watched/usr/bin/new/",
        "CREATE watched/usr/bin/new/f",
        "CREATE watched/home/by-the-other-way",
        "CREATE watched/home/g",
        "CREATE watched/here/seen",
        "CREATE watched/usr/bin/h",
    ];
    assert_eq!(files, expected);
    assert!(told.contains(&"LOSS mount watched/here".into()), "{told:#?}");
    let again = format!(
        "fsmon: {r}/there is {r}/home, mounted again: its changes have that path",
        r = root.display()
    );
    assert!(ended.stderr.contains(&again), "{:#?}", ended.stderr);
    assert_unwatched(&ended, 1);
}

#[test]
fn what_is_mounted_is_renamed() {
    let Some(area) = own_mounts() else { return };
    let (base, root) = (area.path(""), area.watched());
    sh(&base, "mkdir -p from/x/sub watched/in watched/here; mount --bind watched/in watched/here");
    sh(&base, "mkdir bound; mount --bind from/x bound");
    let bound = area.path("bound");
    let mut running = Fsmon::start(fsmon(TREE).args([&root, &bound]));
    sh(&base, "mv from from2; mv watched/in out; mount -t tmpfs none bound/sub");
    // Both are seen with the next mount.
    wait_mounted(&mut running, "a directory from elsewhere", &root.join("here"));
    sh(&base, "touch bound/f watched/here/unseen; mv out watched/back; umount bound/sub");
    wait_said_of(&mut running, "what is mounted on ", &root.join("here"), " came below");
    sh(&base, "touch watched/here/seen bound/g");
    let ended = running.stop();
    let told = lines_with_losses(&ended.events(), &base);
    for line in ["CREATE bound/f", "CREATE bound/g", "CREATE watched/back/seen"] {
        assert!(told.contains(&line.into()), "{line}: {told:#?}");
    }
    let losses: Vec<_> = told.iter().filter(|line| line.starts_with("LOSS mount")).collect();
    assert_eq!(losses, ["LOSS mount bound/sub", "LOSS mount watched/here"]);
    // What is mounted on a root is still what it was.
    let went = told.iter().any(|line| line.starts_with("RENAME") && line.contains("bound"));
    assert!(!went, "{told:#?}");
    assert_unwatched(&ended, 2);
}

#[test]
fn what_lies_under_mounts_is_watched() {
    let Some(area) = own_mounts() else { return };
    let (base, root) = (area.path(""), area.watched());
    sh(&root, "mkdir -p a/b; mount -t tmpfs none a");
    let mut running = Fsmon::start(fsmon(TREE).arg(&root));
    sh(&root, "umount a");
    wait_unmounted(&mut running, &root.join("a"));
    sh(&root, "touch a/b/f");
    let ended = running.stop();
    let told = lines_with_losses(&ended.events(), &base);
    assert_eq!(told.last().map(String::as_str), Some("CREATE watched/a/b/f"), "{told:#?}");
}

#[test]
fn mounts_on_mounts_and_moved_ones() {
    let Some(area) = own_mounts() else { return };
    let (base, root) = (area.path(""), area.watched());
    sh(&root, "mkdir a b");
    let mut running = Fsmon::start(fsmon(TREE).arg(&root));
    sh(&root, "mount -t tmpfs none a; mkdir a/in; mount -t tmpfs none a/in; mount -t tmpfs none a");
    wait_mounted(&mut running, "tmpfs", &root.join("a"));
    sh(&root, "umount a");
    // Nothing is watched again: the first one is still there.
    sh(&root, "mount --move a b");
    wait_unmounted(&mut running, &root.join("a"));
    wait_mounted(&mut running, "tmpfs", &root.join("b"));
    sh(&root, "touch a/seen b/unseen; umount -l b");
    wait_unmounted(&mut running, &root.join("b"));
    sh(&root, "touch b/seen");
    let told = lines_with_losses(&running.stop().events(), &base);
    let files: Vec<_> = told.iter().filter(|line| !line.starts_with("LOSS")).collect();
    assert_eq!(files, ["CREATE watched/a/seen", "CREATE watched/b/seen"]);
}

#[test]
fn what_is_mounted_just_before_the_end_is_told() {
    let Some(area) = own_mounts() else { return };
    let (base, root) = (area.path(""), area.watched());
    sh(&root, "mkdir sub");
    for _ in 0..20 {
        let running = Fsmon::start(fsmon(TREE).arg(&root));
        sh(&root, "mount -t tmpfs none sub");
        let ended = running.stop();
        assert_eq!(lines_with_losses(&ended.events(), &base), ["LOSS mount watched/sub"]);
        assert_unwatched(&ended, 1);
        sh(&root, "umount sub");
    }
}

#[test]
fn mounts_that_come_and_go_as_fast_as_it_goes() {
    let Some(area) = own_mounts() else { return };
    let (base, root) = (area.path(""), area.watched());
    sh(&root, "mkdir sub");
    let running = Fsmon::start(fsmon(TREE).arg(&root));
    for i in 0..200 {
        let sub = root.join("sub");
        mount(Some("none"), &sub, Some("tmpfs"), MsFlags::empty(), None::<&str>).expect("mounted");
        std::fs::write(sub.join("hidden"), "x").expect("written");
        nix::mount::umount2(&sub, nix::mount::MntFlags::MNT_DETACH).expect("unmounted");
        std::fs::write(sub.join(format!("seen{i}")), "x").expect("written");
    }
    let ended = running.stop();
    let told = lines_with_losses(&ended.events(), &base);
    let count = |of: &str| told.iter().filter(|line| line.starts_with(of)).count();
    assert_eq!(count("CREATE"), 200, "{told:#?}");
    assert!(count("LOSS mount") > 0, "{:#?}", ended.stderr);
    assert!(!ended.last_words().contains("; complete"), "{:#?}", ended.stderr);
}

#[test]
fn what_is_mounted_in_another_namespace_is_no_affair_of_this_one() {
    let Some(area) = own_mounts() else { return };
    let (base, root) = (area.path(""), area.watched());
    sh(&root, "mkdir sub");
    let running = Fsmon::start(fsmon(TREE).arg(&root));
    let inside = "mount -t tmpfs none sub; touch sub/unseen; umount sub; touch sub/seen";
    sh(&root, &format!("unshare --mount sh -euc '{inside}'"));
    let ended = running.stop();
    assert_eq!(lines_with_losses(&ended.events(), &base), ["CREATE watched/sub/seen"]);
    assert_eq!(said_of_mounts(&ended.stderr), [""; 0]);
    assert_unwatched(&ended, 0);
}

#[test]
fn what_comes_from_another_namespace_by_propagation_is_told() {
    let Some(area) = own_mounts() else { return };
    propagate(MsFlags::MS_SHARED);
    let (base, root) = (area.path(""), area.watched());
    sh(&root, "mkdir sub");
    let mut running = Fsmon::start(fsmon(TREE).arg(&root));
    sh(&root, "unshare --mount --propagation unchanged mount -t tmpfs none sub");
    wait_mounted(&mut running, "tmpfs", &root.join("sub"));
    // It reached the namespace, and no mount that fsmon made for itself: what is below is still read.
    sh(&root, "umount sub; mkdir -p sub/d");
    wait_unmounted(&mut running, &root.join("sub"));
    sh(&base, "mkdir out; touch out/f; mv out watched/sub/d/in; mount -t tmpfs none watched/sub");
    wait_mounted(&mut running, "tmpfs", &root.join("sub"));
    let told = lines_with_losses(&running.stop().events(), &base);
    assert!(told.contains(&"CREATE watched/sub/d/in/f (found)".into()), "{told:#?}");
    sh(&root, "umount sub");
}

#[test]
fn the_path_of_a_mount_is_in_every_format() {
    let Some(area) = own_mounts() else { return };
    let root = area.watched();
    sh(&root, "mkdir sub; mount -t tmpfs none sub");
    let out = |args: &[&str]| {
        let ended = Fsmon::start(fsmon(args).arg(&root)).stop();
        String::from_utf8(ended.stdout).expect("UTF-8")
    };
    let sub = root.join("sub").display().to_string();
    let human = format!("*** something was mounted there, changes on it are missing: {sub}/ ***");
    assert!(out(&["-f", "human"]).contains(&human));
    let csv = out(&["-f", "csv"]);
    let line = csv.lines().find(|line| line.contains(",LOSS,")).expect("a loss");
    let columns: Vec<_> = csv.lines().next().expect("a header").split(',').collect();
    let field =
        |name| line.split(',').nth(columns.iter().position(|&one| one == name).expect(name));
    assert_eq!((field("path"), field("reason")), (Some(&*format!("\"{sub}\"")), Some("mount")));
    let json = out(&["-f", "json"]);
    assert!(json.contains(&format!("\"path\":\"{sub}\",\"reason\":\"mount\"")), "{json}");
    let stream = area.path("stream");
    let record = ["-f", "binary", "-o", stream.to_str().expect("UTF-8")];
    Fsmon::start(fsmon(record).arg(&root)).stop();
    let decoded = succeed(fsmon(["decode", "-f", "json"]).arg(&stream)).stdout;
    let decoded = String::from_utf8(decoded).expect("UTF-8");
    assert!(decoded.contains(&format!("\"path\":\"{sub}\",\"reason\":\"mount\"")), "{decoded}");
}

#[test]
fn the_filesystem_of_a_root_is_unmounted_and_mounted_again() {
    if !is_root_with(&["mkfs.ext4"]) {
        return;
    }
    let Some(area) = own_mounts() else { return };
    let (base, root) = (area.path(""), area.path("mnt/data"));
    sh(&base, "mkdir mnt; truncate -s 64M image; mkfs.ext4 -q -F image; mount -o loop image mnt");
    sh(&base, "mkdir -p mnt/data/d");
    let out = area.path("out");
    let running = Fsmon::start(fsmon(TREE).arg("-o").args([&out, &root]));
    for turn in 0..3 {
        sh(&base, &format!("touch mnt/data/d/f{turn}"));
        wait_written(&out, &format!("/d/f{turn}\",\"pid\""), 1);
        sh(&base, "umount mnt");
        wait_written(&out, "\"RENAME\",\"old_path\"", turn + 1);
        // It was not kept busy, and is not kept alive: it can be checked.
        let check = "for i in $(seq 1000); do e2fsck -fn image && exit; sleep 0.01; done; exit 1";
        sh(&base, &format!("({check}) >/dev/null 2>&1"));
        sh(&base, "mount -o loop image mnt");
        wait_written(&out, "/mnt/data/d\"", turn + 1);
    }
    sh(&base, "touch mnt/data/d/last; umount mnt");
    // While it is not mounted nothing happens on it.
    assert_unwatched(&running.stop(), 0);
    let lines = std::fs::read(&out).expect("the lines");
    let told = settled_lines(&parse(&lines), &base);
    assert!(told.contains(&"CREATE mnt/data/d/last".into()), "{told:#?}");
}

#[test]
fn a_root_is_hidden_and_comes_back() {
    let Some(area) = own_mounts() else { return };
    let (base, root) = (area.path(""), area.path("a/b/root"));
    sh(&base, "mkdir -p a/b/root/d");
    let mut running = Fsmon::start(fsmon(TREE).arg(&root));
    for over in ["a/b/root", "a/b", "a"] {
        sh(&base, &format!("mount -t tmpfs none {over}; mkdir -p a/b/root/unseen"));
        wait_mounted(&mut running, "tmpfs", &area.path(over));
        sh(&base, &format!("umount {over}; touch a/b/root/d/{}", over.replace('/', "-")));
        wait_said_of(&mut running, "", &root, " leads to where it did");
    }
    let ended = running.stop();
    let told = lines_with_losses(&ended.events(), &base);
    let files: Vec<_> = told.iter().filter(|line| line.starts_with("CREATE")).collect();
    let expected = ["a-b-root", "a-b", "a"].map(|name| format!("CREATE a/b/root/d/{name}"));
    assert_eq!(files, expected.iter().collect::<Vec<_>>(), "{told:#?}");
    let count = |line: &str| told.iter().filter(|one| one.starts_with(line)).count();
    assert_eq!((count("LOSS mount a/b/root"), count("LOSS unmount a/b/root")), (3, 3));
    assert_unwatched(&ended, 3);
}

#[test]
fn a_root_comes_by_a_mount() {
    let Some(area) = own_mounts() else { return };
    let (base, root) = (area.path(""), area.path("mnt/data/root"));
    sh(&base, "mkdir mnt");
    let mut running = Fsmon::start(fsmon(TREE).arg(&root));
    sh(&base, "mount -t tmpfs none mnt");
    wait_mounted(&mut running, "tmpfs", &area.path("mnt"));
    sh(&base, "mkdir -p mnt/data/root/d; touch mnt/data/root/d/f");
    let told = settled_lines(&running.stop().events(), &base);
    assert_eq!(told.last().map(String::as_str), Some("CREATE mnt/data/root/d/f"), "{told:#?}");
    sh(&base, "umount mnt");
}

/// Makes a directory in which fsmon can be run by chroot(8), on which nothing is mounted itself.
fn make_jail(area: &Area) {
    let own = fsmon_harness::program();
    let (base, program) = (area.path(""), own.canonicalize().expect("it is built"));
    let system = "for dir in bin lib lib64 usr proc sys dev; do
        if [ -L /$dir ]; then cp -a /$dir jail/
        elif [ -d /$dir ]; then mkdir jail/$dir; mount --bind /$dir jail/$dir; fi; done";
    sh(&base, &format!("mkdir -p jail/srv/a; {system}"));
    sh(&base, &format!("touch jail/fsmon; mount --bind '{}' jail/fsmon", program.display()));
}

#[test]
fn mounts_are_told_in_a_chroot_that_mountinfo_does_not_list() {
    let Some(area) = own_mounts().filter(|_| is_root_with(&["chroot"])) else { return };
    make_jail(&area);
    let (base, jail) = (area.path(""), area.path("jail"));
    let mut command = Command::new("chroot");
    let mut running = Fsmon::start(command.arg(&jail).arg("/fsmon").args(TREE).arg("/srv"));
    sh(&base, "mount -t tmpfs none jail/srv/a");
    wait_mounted(&mut running, "tmpfs", Path::new("/srv/a"));
    sh(&base, "touch jail/srv/a/unseen; umount jail/srv/a; touch jail/srv/a/seen");
    let ended = running.stop();
    let told = lines_with_losses(&ended.events(), Path::new("/"));
    let expected = ["LOSS mount srv/a", "LOSS unmount srv/a", "CREATE srv/a/seen"];
    assert!(expected.iter().all(|line| told.contains(&(*line).into())), "{told:#?}");
    assert!(!ended.stderr.iter().any(|line| line.contains("mountinfo")), "{:#?}", ended.stderr);
    assert_unwatched(&ended, 1);
}

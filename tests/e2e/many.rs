//! Trees that are large, wide or deep, with room for them or without, and parts of them left out.

use fsmon_harness::{
    Area, Ended, Event, Fsmon, assert_follows, briefs, is_root, listing, record_and_replay,
    record_with, repeats, sh,
};
use nix::fcntl::{OFlag, open, openat};
use nix::sys::stat::{Mode, mkdirat};
use std::fs;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

const TREE: [&str; 2] = ["-t", "create,delete,rename"];

#[test]
fn a_rename_replaces_one_of_many() {
    if !is_root() {
        return;
    }
    let area = Area::new();
    let dir = area.watched();
    let (count, stats) = (repeats(6000), area.path("stats"));
    (0..count).for_each(|i| fs::create_dir(dir.join(i.to_string())).expect("made"));
    let running = Fsmon::watch(&dir, &["--stats", stats.to_str().expect("UTF-8")]);
    let start = listing(&dir);
    // The first and the last that were made, and one between.
    for victim in [0, count / 2, count - 1] {
        let (from, to) = (dir.join("new"), dir.join(victim.to_string()));
        fs::create_dir(&from).expect("made");
        fs::rename(&from, &to).expect("it is empty");
        fs::write(to.join("f"), "x").expect("made");
    }
    let ended = running.stop();
    ended.assert_complete();
    assert_follows(start, &ended.events(), &dir);
    // Those that were replaced are not known any more.
    assert_eq!(fsmon_harness::read_stats(&stats)["dirs"].as_u64(), Some(count as u64 + 1));
}

/// A chain of directories, too deep for a path of it to be given to the kernel, and the last.
fn chain(dir: &Path, levels: usize) -> (PathBuf, OwnedFd) {
    let mut path = dir.to_path_buf();
    let mut fd = open(dir, OFlag::O_DIRECTORY, Mode::empty()).expect("it is there");
    for level in 0..levels {
        let name = format!("level-{level}");
        mkdirat(&fd, name.as_str(), Mode::S_IRWXU).expect("made");
        fd = openat(&fd, name.as_str(), OFlag::O_DIRECTORY, Mode::empty()).expect("just made");
        path.push(name);
    }
    (path, fd)
}

fn touch(dir: &OwnedFd, name: &str) {
    openat(dir, name, OFlag::O_CREAT | OFlag::O_WRONLY, Mode::S_IRWXU).expect("made");
}

#[test]
fn deeper_than_a_path_can_be_long() {
    if !is_root() {
        return;
    }
    let area = Area::new();
    let dir = area.watched();
    let levels = repeats(5000);
    // Met by the walk at the start; made while it runs; and moved in.
    let (path, fd) = chain(&dir.join("."), levels);
    let (mut expected, mut fds) = (vec![path.join("f")], vec![fd]);
    let running = Fsmon::watch(&dir, &["-t", "create"]);
    fs::create_dir(dir.join("made")).expect("made");
    let (path, fd) = chain(&dir.join("made"), levels);
    expected.push(path.join("f"));
    fds.push(fd);
    fds.iter().for_each(|fd| touch(fd, "f"));
    let outside = area.dir("outside");
    let (path, fd) = chain(&outside, levels);
    touch(&fd, "g");
    fs::rename(&outside, dir.join("came")).expect("one filesystem");
    expected.push(dir.join("came").join(path.strip_prefix(&outside).expect("in it")).join("g"));
    // Renamed at the top: what is below has another path at once.
    running.wait_until("three files", |events| {
        events.iter().filter(|event| !event.flag("is_dir")).count() == 3
    });
    fs::rename(dir.join("level-0"), dir.join("moved")).expect("renamed");
    touch(&fds[0], "h");
    let below = expected[0].strip_prefix(dir.join("level-0")).expect("in it");
    expected.push(dir.join("moved").join(below).with_file_name("h"));
    let ended = running.stop();
    ended.assert_complete();
    let events = ended.events();
    let mut files: Vec<PathBuf> =
        events.iter().filter(|event| !event.flag("is_dir")).filter_map(Event::path).collect();
    let mut expected: Vec<PathBuf> =
        expected.iter().map(|path| path.components().collect()).collect();
    // What came in is read in steps: `h` is made meanwhile.
    files.sort();
    expected.sort();
    assert!(files == expected, "{} files, of the right names: {}", files.len(), {
        let names = |all: &[PathBuf]| all.iter().map(|path| path.components().count()).collect();
        let (is, should): (Vec<_>, Vec<_>) = (names(&files), names(&expected));
        format!("{is:?} levels, not {should:?}")
    });
    assert!(expected.iter().all(|path| path.as_os_str().len() > levels * 7));
    // Nothing in the standard library goes so deep.
    sh(&area.path(""), "rm -rf watched");
}

fn watch_few(dir: &Path, dirs: &str, stats: &Path) -> Fsmon {
    let args = ["--max-dirs", dirs, "--stats", stats.to_str().expect("UTF-8")];
    Fsmon::watch(dir, &[&TREE[..], &args].concat())
}

fn losses(ended: &Ended) -> Vec<Event> {
    ended.events().into_iter().filter(|event| event.kind() == "LOSS").collect()
}

#[test]
fn as_many_directories_as_there_may_be_are_no_loss() {
    if !is_root() {
        return;
    }
    let area = Area::new();
    let (dir, stats) = (area.watched(), area.path("stats"));
    let running = watch_few(&dir, "50", &stats);
    let start = listing(&dir);
    for _ in 0..5 {
        sh(&dir, "for i in $(seq 49); do mkdir $i; echo x > $i/f; done; mv 1/f 2/g; rm -r *");
    }
    sh(&dir, "for i in $(seq 49); do mkdir $i; done; echo x > 49/f");
    let ended = running.stop();
    ended.assert_complete();
    assert_follows(start, &ended.events(), &dir);
}

#[test]
fn what_is_known_stays_right_when_there_is_no_room() {
    if !is_root() {
        return;
    }
    let area = Area::new();
    let (dir, stats) = (area.watched(), area.path("stats"));
    let running = watch_few(&dir, "11", &stats);
    // Ten are known, ten are not.
    sh(&dir, "for i in $(seq 10 29); do mkdir $i; done; touch 10/f 19/f 20/hidden 29/hidden");
    // The unknown: renamed, moved into known ones and out of them, replaced and removed.
    sh(
        &dir,
        "mv 20 20-b; mv 21 10/21; mv 10/21 21; mkdir 22/sub; mv 22 19/22; rmdir 23; mv -T 24 25",
    );
    // The known go on being right, also when they change places with unknown ones.
    sh(&dir, "mv 10 10-b; touch 10-b/g; mv -T 11 26; touch 26/g; mv 12 13/12; touch 13/12/g");
    // Room comes free: what is made then is known again.
    sh(&dir, "rmdir 14 15 16; mkdir 30 30/sub; touch 30/sub/f; rm -r 30; mkdir 31; touch 31/f");
    let ended = running.stop();
    assert!(ended.status.success(), "{:?}", ended.stderr);
    let counted = "directories beyond --max-dirs";
    assert!(ended.last_words().contains(counted), "{:?}", ended.stderr);
    let losses = losses(&ended);
    assert_eq!(losses.len(), 1, "said once: {losses:?}");
    assert_eq!(losses[0].text("reason"), Some("max_dirs"));
    let lines = briefs(&ended.events(), &dir);
    let is_file = |line: &&String| !line.ends_with('/') && !line.starts_with("LOSS");
    let files: Vec<_> = lines.iter().filter(is_file).collect();
    let expected = [
        "CREATE 10/f",
        "CREATE 19/f",
        "CREATE 10-b/g",
        "CREATE 26/g",
        "CREATE 13/12/g",
        "CREATE 30/sub/f",
        "DELETE 30/sub/f",
        "CREATE 31/f",
    ];
    assert_eq!(files, expected, "{lines:#?}");
    for line in [
        "CREATE 29/",
        "RENAME 20/ -> 20-b/",
        "RENAME 21/ -> 10/21/",
        "RENAME 10/21/ -> 21/",
        "RENAME 22/ -> 19/22/",
        "DELETE 23/",
        "RENAME 24/ -> 25/",
        "RENAME 11/ -> 26/",
        "DELETE 16/",
        "DELETE 30/sub/",
    ] {
        assert!(lines.iter().any(|told| told == line), "{line}: {lines:#?}");
    }
}

#[test]
fn more_at_the_start_than_there_is_room_for() {
    if !is_root() {
        return;
    }
    let area = Area::new();
    let (dir, stats) = (area.watched(), area.path("stats"));
    sh(&dir, "for i in $(seq 10 40); do mkdir -p $i/sub; done");
    let running = watch_few(&dir, "20", &stats);
    sh(&dir, "touch top; rm -r 10 11 12 13; mkdir new new/sub; touch new/sub/f");
    sh(&dir, "mv new/sub moved; touch moved/g; rm -r *");
    let ended = running.stop();
    let said = ended.stderr.iter().any(|line| line.contains("beyond --max-dirs"));
    assert!(said && ended.last_words().contains("NOT complete"), "{:?}", ended.stderr);
    let lines = briefs(&ended.events(), &dir);
    for line in ["CREATE top", "DELETE 10/", "DELETE 40/", "CREATE new/", "DELETE top"] {
        assert!(lines.iter().any(|told| told == line), "{line}: {lines:#?}");
    }
}

#[test]
fn a_rename_above_brings_directories_out_of_the_exclusion_and_into_it() {
    if !is_root() {
        return;
    }
    let area = Area::new();
    let dir = area.watched();
    sh(
        &dir,
        "mkdir -p build/out/deep build/kept; touch build/out/old build/out/deep/old build/file",
    );
    let args = [&TREE[..], &["--exclude", "build/out"]].concat();
    let lines = |action: &dyn Fn(&Fsmon)| briefs(&record_with(&dir, &args, action), &dir);
    let told = lines(&|running| {
        sh(&dir, "touch build/out/1 build/kept/1; mv build src");
        let old = ["CREATE src/out/old (found)", "CREATE src/out/deep/old (found)"];
        running.wait_lines(&dir, &old);
        // What walks met is forgotten once the queue was seen empty: no line says when that is.
        std::thread::sleep(std::time::Duration::from_millis(200));
        sh(&dir, "touch src/out/2 src/out/deep/2 src/kept/2; mv src/out/deep src/kept/deep");
        sh(&dir, "mv src/kept/deep src/out/deep; mv src build; touch build/out/3 build/kept/3");
        sh(&dir, "mkdir build/out/new; touch build/out/new/4; mv build src");
        running.wait_until("all is found again", |events| {
            let lines = briefs(events, &dir);
            let times = |line: &str| lines.iter().filter(|one| *one == line).count();
            old.iter().all(|line| times(line) == 2) && times("CREATE src/out/new/4 (found)") == 1
        });
        sh(&dir, "touch src/out/new/5; rm -r src/out");
    });
    let mut found: Vec<_> = told.iter().filter(|line| line.ends_with("(found)")).collect();
    found.sort();
    let whole = [
        "CREATE src/out/ (found)",
        "CREATE src/out/1 (found)",
        "CREATE src/out/2 (found)",
        "CREATE src/out/3 (found)",
        "CREATE src/out/deep/ (found)",
        "CREATE src/out/deep/2 (found)",
        "CREATE src/out/deep/old (found)",
        "CREATE src/out/new/ (found)",
        "CREATE src/out/new/4 (found)",
        "CREATE src/out/old (found)",
    ];
    for line in &found {
        assert!(whole.contains(&line.as_str()), "{line}: {told:#?}");
    }
    let first = ["out/", "out/1", "out/deep/", "out/deep/old", "out/old"];
    for name in first {
        let line = format!("CREATE src/{name} (found)");
        assert_eq!(found.iter().filter(|told| ***told == line).count(), 2, "{line}: {told:#?}");
    }
    let rest: Vec<_> = told.iter().filter(|line| !line.contains("(found)")).collect();
    let deleted = rest.iter().filter(|line| line.starts_with("DELETE src/out")).count();
    assert_eq!(deleted, 11, "{told:#?}");
    let rest: Vec<_> = rest.into_iter().filter(|line| !line.starts_with("DELETE")).collect();
    let expected = [
        "CREATE build/kept/1",
        "RENAME build/ -> src/",
        "CREATE src/out/2",
        "CREATE src/out/deep/2",
        "CREATE src/kept/2",
        "RENAME src/out/deep/ -> src/kept/deep/",
        "RENAME src/kept/deep/ -> src/out/deep/",
        "RENAME src/ -> build/",
        "CREATE build/kept/3",
        "RENAME build/ -> src/",
        "CREATE src/out/new/5",
    ];
    assert_eq!(rest, expected, "{told:#?}");
}

#[test]
fn excluded_names_stay_out_wherever_they_are_carried() {
    if !is_root() {
        return;
    }
    let area = Area::new();
    let dir = area.watched();
    sh(&dir, "mkdir -p a/node_modules/x a/b");
    let args = [&TREE[..], &["--exclude", "node_modules", "--exclude", "/c/b"]].concat();
    let running = Fsmon::watch(&dir, &args);
    sh(&dir, "touch a/node_modules/x/1 a/b/1; mv a c; touch c/node_modules/x/2 c/b/2 c/3");
    sh(&dir, "mv c/b b; touch b/4; mv b c/b; touch c/b/5");
    let ended = running.stop();
    ended.assert_complete();
    let lines = briefs(&ended.events(), &dir);
    // What is made an instant after the move may be met by who reads what came in.
    let met = lines.iter().filter(|line| *line == "CREATE b/4 (found)").count();
    let told_4 = lines.iter().filter(|line| *line == "CREATE b/4").count();
    assert_eq!(met + told_4, 1, "{lines:#?}");
    let others = lines.iter().filter(|line| !line.starts_with("CREATE b/4"));
    let (mut found, told): (Vec<_>, Vec<_>) = others.partition(|line| line.contains("(found)"));
    found.sort();
    assert_eq!(found, ["CREATE b/1 (found)", "CREATE b/2 (found)"]);
    let expected =
        ["CREATE a/b/1", "RENAME a/ -> c/", "CREATE c/3", "RENAME ?/ -> b/", "RENAME b/ -> ?/"];
    assert_eq!(told, expected, "{lines:#?}");
}

#[test]
fn a_wide_directory_is_followed() {
    if !is_root() {
        return;
    }
    let area = Area::new();
    let dir = area.watched();
    let count = repeats(5000);
    (0..count).for_each(|i| fs::create_dir(dir.join(i.to_string())).expect("made"));
    let events = record_and_replay(&dir, &TREE, || {
        for i in (0..count).step_by(7) {
            fs::rename(dir.join(i.to_string()), dir.join(format!("moved-{i}"))).expect("renamed");
        }
        for i in (0..count).skip(1).step_by(7) {
            fs::remove_dir(dir.join(i.to_string())).expect("it is empty");
        }
    });
    assert_eq!(events.len(), count.div_ceil(7) + (count - 1).div_ceil(7));
}

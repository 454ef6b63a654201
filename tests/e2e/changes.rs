//! `fsmon changes` with the daemon on real files: against git, against listings, and as what a backup is made from.

use crate::daemon::{Daemon, watch};
use fsmon_harness::{Area, Ended, is_root, is_root_with, repeats, sh, succeed};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsStr;
use std::fs;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::Command;

/// What is at a path: a hash of its content, its mode, whether it is a directory.
type Listing = BTreeMap<PathBuf, (u64, u32, bool)>;

fn listing(dir: &Path) -> Listing {
    let mut all = Listing::new();
    for entry in fs::read_dir(dir).expect("a directory").flatten() {
        let (path, data) = (entry.path(), entry.path().symlink_metadata().expect("there"));
        let mut hasher = DefaultHasher::new();
        if data.is_dir() {
            all.extend(listing(&path));
        } else if data.is_symlink() {
            fs::read_link(&path).expect("a link").hash(&mut hasher);
        } else if data.is_file() {
            fs::read(&path).expect("readable").hash(&mut hasher);
        }
        all.insert(path, (hasher.finish(), data.mode(), data.is_dir()));
    }
    all
}

/// A line of JSON.
#[derive(Debug)]
struct Line(Value);

impl Line {
    fn change(&self) -> &str {
        self.0["change"].as_str().expect("a change")
    }

    fn path(&self) -> PathBuf {
        self.0["path"].as_str().expect("a path").into()
    }

    fn old_path(&self) -> Option<PathBuf> {
        self.0["old_path"].as_str().map(PathBuf::from)
    }

    fn is_dir(&self) -> bool {
        self.0["is_dir"] == true
    }
}

/// A daemon that watches a directory, from a moment on.
struct Case {
    area: Area,
    daemon: Daemon,
    watched: PathBuf,
    since: String,
}

impl Case {
    /// `prepare` runs before the daemon starts.
    fn new(prepare: &str) -> Self {
        let area = Area::new();
        let watched = area.watched();
        sh(&watched, prepare);
        let mut daemon = Daemon::new(&area, &watch(&watched));
        daemon.start();
        let mut case = Case { area, daemon, watched, since: String::new() };
        case.begin();
        case
    }

    /// What is different is asked for from here on.
    fn begin(&mut self) {
        self.since = format!("@{}", self.daemon.ask(&["flush"]).trim());
    }

    fn run(&self, args: &[&str]) -> Ended {
        self.daemon.client(&[&["changes", "--since", &self.since][..], args].concat())
    }

    /// The lines; nothing may be missing.
    fn lines(&self) -> Vec<Line> {
        let ended = self.run(&["-f", "json"]);
        assert!(matches!(ended.status.code(), Some(0 | 3)), "{:?}", ended.stderr);
        let text = String::from_utf8(ended.stdout).expect("UTF-8");
        text.lines().map(|line| Line(serde_json::from_str(line).expect("JSON"))).collect()
    }

    /// The lines as `M a`, `R b < a`, below the watched directory.
    fn briefs(&self) -> Vec<String> {
        let name =
            |path: &Path| path.strip_prefix(&self.watched).expect("below").display().to_string();
        let brief = |line: &Line| {
            let old = line.old_path().map_or_else(String::new, |old| format!(" < {}", name(&old)));
            let unsure = if line.0["before"] == "unknown" { "?" } else { "" };
            format!("{}{unsure} {}{old}", line.change(), name(&line.path()))
        };
        self.lines().iter().map(brief).collect()
    }

    /// The paths of `-0`.
    fn paths(&self) -> Vec<PathBuf> {
        let ended = self.run(&["-0"]);
        assert!(matches!(ended.status.code(), Some(0 | 3)), "{:?}", ended.stderr);
        let all = ended.stdout.split(|byte| *byte == 0).filter(|path| !path.is_empty());
        all.map(|path| PathBuf::from(OsStr::from_bytes(path))).collect()
    }

    /// Holds lines and paths against two listings.
    fn assert_tells(&self, before: &Listing, now: &Listing) {
        let lines = self.lines();
        let paths: BTreeSet<_> = self.paths().into_iter().collect();
        // A directory that was renamed, or is new or gone, stands for what is in it.
        let dirs: Vec<_> = lines
            .iter()
            .filter(|line| line.is_dir() && line.change() != "T")
            .flat_map(|line| [Some(line.path()), line.old_path()])
            .flatten()
            .collect();
        let is_told =
            |path: &PathBuf| paths.contains(path) || dirs.iter().any(|dir| path.starts_with(dir));
        for path in before.keys().chain(now.keys()) {
            let differs = before.get(path) != now.get(path);
            assert!(!differs || is_told(path), "{path:?} differs, and is missing in {lines:#?}");
        }
        // Where a directory above was renamed, the path is the new one.
        let moved: Vec<_> = lines
            .iter()
            .filter(|line| line.is_dir() && line.change() == "R")
            .flat_map(|line| [Some(line.path()), line.old_path()])
            .flatten()
            .collect();
        for line in &lines {
            let (path, is_unsure) = (line.path(), line.0["before"] == "unknown");
            let is_moved = moved.iter().any(|dir| path.starts_with(dir));
            let was = before.contains_key(&path);
            let is = now.contains_key(&path);
            let is_right = match line.change() {
                "A" => is && !was,
                "M" => is && (was || is_unsure),
                "D" => !is && was,
                "R" => is && before.contains_key(&line.old_path().expect("an old path")),
                "T" => is && was && before[&path].0 == now[&path].0,
                other => panic!("{other}"),
            };
            let is_right = is_right || is_moved && (is || line.change() == "D");
            assert!(is_right, "{line:?} in {:#?}", self.briefs());
        }
    }

    /// Runs a script, and holds what is told against the listings before and after.
    fn check(&mut self, script: &str) {
        let before = listing(&self.watched);
        self.begin();
        sh(&self.watched, script);
        self.assert_tells(&before, &listing(&self.watched));
    }
}

#[test]
fn each_letter_of_a_line() {
    if !is_root() {
        return;
    }
    let mut case = Case::new("echo 1 > a; echo 1 > b; mkdir d");
    assert_eq!(case.briefs(), [""; 0]);
    assert_eq!(case.run(&[]).status.code(), Some(3));
    sh(&case.watched, "echo 2 > c; mv c e; echo 3 >> a; chmod 600 b; echo 4 > d/x; : > t; rm t");
    // Nobody knows of `e`, which a rename may have replaced.
    assert_eq!(case.briefs(), ["M a", "T b", "A d/x", "M? e"]);
    case.begin();
    // Of these names the history knows whether they were taken.
    sh(&case.watched, "mv e f; mv d g; echo 5 >> g/x; mv f e; mv a new; rm b; echo 6 > b");
    assert_eq!(case.briefs(), ["D a", "M b", "R? g < d", "M g/x", "M? new"]);
    case.begin();
    sh(&case.watched, "rm new; mv b new; mv g h; rm h/x; mv h g");
    assert_eq!(case.briefs(), ["D b", "D g/x", "M new"]);
    let told = case.run(&["--all"]);
    assert!(String::from_utf8_lossy(&told.stdout).contains("/g/x  (rm "), "{:?}", told.stdout);
    case.daemon.stop();
}

#[test]
fn the_last_process_is_as_in_the_event_line() {
    if !is_root() {
        return;
    }
    let case = Case::new("echo 1 > a");
    sh(&case.watched, "echo 2 >> a; chmod 640 a; mv a 'b\u{e9}\n'");
    let lines = case.lines();
    let events = case.daemon.decoded(&["-t", "rename"]);
    let line = lines.iter().find(|line| line.change() != "D").expect("a line");
    let mut line = line.0.as_object().expect("an object").clone();
    for field in ["cmd", "exe", "user", "cgroup", "time", "path"] {
        assert_eq!(line.remove(field), events[0].text(field).map(Value::from), "{field}");
    }
    for field in ["pid", "ppid", "uid", "gid"] {
        assert_eq!(line.remove(field), events[0].number(field).map(Value::from), "{field}");
    }
    // RENAME, ATTRIB, MODIFY and CLOSE_WRITE.
    assert_eq!(line["events"], 4, "{line:?}");
}

#[test]
fn edits_and_checkouts_are_what_git_says() {
    if !is_root_with(&["git"]) {
        return;
    }
    const GIT: &str = "git -c user.name=n -c user.email=e@x -c init.defaultBranch=m -c gc.auto=0 \
                       -c core.autocrlf=false -c advice.detachedHead=false";
    let setup = format!(
        "{GIT} init -q r && cd r && for d in a b/c d; do mkdir -p $d; for n in 1 2 3 4 5 6; do \
         echo $d $n > $d/$n; done; done; {GIT} add -A && {GIT} commit -qm one && \
         for n in 1 3; do echo x >> a/$n; {GIT} rm -q d/$n; {GIT} mv b/c/$n b/$n; done; echo new > e; \
         {GIT} add -A && {GIT} commit -qm two"
    );
    let mut case = Case::new(&setup);
    let repository = case.watched.join("r");
    let edits = "echo x >> a/2; rm a/4; mv b/c/2 b/9; echo n > n; mkdir q; echo q > q/1; sed -i s/a/z/ a/5; \
                 cp a/6 a/7; echo t > a/6.tmp; mv a/6.tmp a/6; touch d/2; : > gone; rm gone";
    for script in [edits, "git checkout -q HEAD~", "git checkout -q m"] {
        let before = listing(&repository);
        let head =
            succeed(Command::new("git").args(["rev-parse", "HEAD"]).current_dir(&repository));
        let head = String::from_utf8(head.stdout).expect("a hash");
        case.begin();
        sh(&repository, script);
        let expected = git_says(&repository, head.trim());
        let own: BTreeMap<PathBuf, String> = case
            .lines()
            .iter()
            .filter(|line| !line.is_dir() && !line.path().starts_with(repository.join(".git")))
            .flat_map(|line| match line.old_path() {
                Some(old) => vec![(old, "D".to_owned()), (line.path(), "A".to_owned())],
                None => vec![(line.path(), line.change().to_owned())],
            })
            .collect();
        for (path, letter) in &expected {
            let unsure = own.get(path).is_some_and(|own| own == "M" && letter == "A");
            assert!(own.get(path) == Some(letter) || unsure, "{letter} {path:?}; told: {own:#?}");
        }
        let now = listing(&repository);
        for (path, letter) in own.iter().filter(|(path, _)| !expected.contains_key(*path)) {
            // Git compares contents; what was written with the same is told all the same.
            assert!(before.get(path) == now.get(path), "{letter} {path:?}: {expected:#?}");
        }
        case.assert_tells(&before, &now);
        sh(&repository, "git checkout -qf . && git clean -qfdx");
    }
}

/// What is different between a commit and the files that are there, ignored ones left out.
fn git_says(repository: &Path, commit: &str) -> BTreeMap<PathBuf, String> {
    let git = |args: &[&str]| {
        let output = succeed(Command::new("git").args(args).current_dir(repository));
        String::from_utf8(output.stdout).expect("UTF-8")
    };
    let mut all = BTreeMap::new();
    for line in git(&["diff", "--no-renames", "--name-status", commit]).lines() {
        let (letter, path) = line.split_once('\t').expect("a letter and a path");
        all.insert(repository.join(path), letter.to_owned());
    }
    for line in git(&["status", "--porcelain", "-uall", "--no-renames"]).lines() {
        if let Some(path) = line.strip_prefix("?? ") {
            all.insert(repository.join(path), "A".to_owned());
        }
    }
    all
}

/// Random operations of a shell on few names.
fn storm(seed: u64, count: usize) -> String {
    let mut state = seed;
    let mut next = |end: u64| {
        state =
            state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) % end
    };
    let mut script = String::from("set +e; exec 2>/dev/null\n");
    for step in 0..count {
        let mut name = || {
            let dirs = ["", "d/", "e/", "d/f/", "e/f/"];
            format!("{}{}", dirs[next(5) as usize], ["a", "b", "c", "f"][next(4) as usize])
        };
        let (one, other) = (name(), name());
        script.push_str(&match next(12) {
            0 | 1 => format!("echo {step} > {one}\n"),
            2 => format!("echo {step} >> {one}\n"),
            3 => format!("rm -f {one}\n"),
            4 => format!("rm -rf {one}\n"),
            5 => format!("mkdir -p {one}\n"),
            6 | 7 => format!("mv -T {one} {other}\n"),
            8 => format!("echo {step} > {one}.tmp && mv -T {one}.tmp {one}\n"),
            9 => format!("chmod 6{}0 {one}\n", step % 8),
            10 => "mv -T d g; mv -T e d; mv -T g e\n".to_owned(),
            _ => format!("cp {one} {other}\n"),
        });
    }
    script.push_str("true\n");
    script
}

#[test]
fn a_storm_is_the_difference_of_two_listings() {
    if !is_root() {
        return;
    }
    let mut case =
        Case::new("mkdir -p d/f e; for n in a b c; do echo $n > $n; echo $n > d/$n; done");
    for seed in 0..repeats(30) as u64 {
        println!("seed {seed}");
        case.check(&storm(seed, 40));
    }
}

#[test]
fn a_copy_that_is_brought_up_to_date_by_paths_alone_equals_the_tree() {
    if !is_root() {
        return;
    }
    let mut case =
        Case::new("mkdir -p d/f e; for n in a b c; do echo $n > $n; echo $n > d/$n; done");
    let copy = case.area.path("copy");
    succeed(Command::new("cp").arg("-a").args([&case.watched, &copy]));
    for seed in 100..100 + repeats(30) as u64 {
        println!("seed {seed}");
        case.begin();
        sh(&case.watched, &storm(seed, 40));
        for path in case.paths() {
            let own = copy.join(path.strip_prefix(&case.watched).expect("below"));
            let is_there = path.symlink_metadata().is_ok();
            succeed(Command::new("rm").arg("-rf").arg(&own));
            if is_there {
                succeed(Command::new("cp").args(["-a", "-T"]).args([&path, &own]));
            }
        }
        let relative = |dir: &Path| -> Listing {
            let below = |path: &PathBuf| path.strip_prefix(dir).expect("below").to_owned();
            listing(dir).iter().map(|(path, own)| (below(path), *own)).collect()
        };
        assert_eq!(relative(&copy), relative(&case.watched));
    }
}

#[test]
fn an_archive_over_a_tree_and_a_build() {
    if !is_root_with(&["tar", "make"]) {
        return;
    }
    let tree = "mkdir -p t/s; for n in 1 2 3 4; do echo $n > t/$n; echo $n > t/s/$n; done";
    let mut case = Case::new(&format!(
        "{tree}; tar cf old.tar t; echo 9 > t/9; echo x > t/2; rm t/s/3; tar cf new.tar t; rm -r t; tar xf old.tar"
    ));
    case.check("tar xf new.tar");
    case.check("rm -r t; tar xf old.tar");
    let makefile =
        "all: p\\np: x.o y.o\\n\\tcat x.o y.o > p.new && mv p.new p\\n%%.o: %%.c\\n\\tcp $< $@\\n";
    case.check(&format!("echo 1 > x.c; echo 2 > y.c; printf '{makefile}' > Makefile; make -s"));
    case.check("sleep 0.01; echo 3 > x.c; make -s");
    let told = case.briefs();
    assert!(told.contains(&"M x.o".to_owned()) && told.contains(&"M p".to_owned()), "{told:?}");
    assert!(!told.iter().any(|line| line.ends_with("y.o")), "{told:?}");
}

#[test]
fn where_something_is_missing_it_says_rescan() {
    if !is_root() {
        return;
    }
    let mut case = Case::new("echo 1 > a; mkdir d");
    sh(&case.watched, "echo 2 >> a");
    case.daemon.ask(&["sync"]);
    let other = case.area.path("other");
    fs::create_dir(&other).expect("made");
    let says = |ended: &Ended, words: &[&str]| {
        let said: Vec<_> = ended.stderr.iter().filter(|line| line.contains("rescan")).collect();
        assert_eq!(said.len(), 1, "{:?}", ended.stderr);
        assert!(words.iter().all(|word| said[0].contains(word)), "{said:?}");
    };
    let other = other.display().to_string();
    let ended = case.run(&[&other]);
    assert_eq!(ended.status.code(), Some(4), "{:?}", ended.stderr);
    says(&ended, &["was not watched", &other]);
    let until = case.lines()[0].0["time"].as_str().expect("a time").to_owned();
    case.daemon.kill();
    sh(&case.watched, "echo 3 > unseen");
    case.daemon.start();
    sh(&case.watched, "echo 4 > d/x");
    let ended = case.run(&["-f", "json"]);
    assert_eq!(ended.status.code(), Some(4), "{:?}", ended.stderr);
    says(&ended, &["killed", &case.watched.display().to_string()]);
    let text = String::from_utf8(ended.stdout).expect("UTF-8");
    assert!(text.contains("/a\"") && text.contains("/d/x\"") && !text.contains("unseen"), "{text}");
    assert_eq!(case.run(&["--until", &until]).status.code(), Some(0));
    case.begin();
    assert_eq!(case.run(&[]).status.code(), Some(3));
    let status = |args: &[&str]| case.daemon.client(&[&["changes"], args].concat()).status.code();
    assert_eq!(status(&["--since", "1h"]), Some(4));
    assert_eq!(status(&["--since", "@1-00"]), Some(2));
    assert_eq!(status(&["-0", "-f", "json"]), Some(2));
    assert_eq!(status(&["--history", &other, "--since", "now"]), Some(3));
    assert_eq!(status(&["--history", "/nonexistent/history"]), Some(1));
}

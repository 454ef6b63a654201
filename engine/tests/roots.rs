//! Roots that are added and removed, and types that change, while the engine runs on the real kernel: lines replay over
//! what was there before. Needs root; says SKIP where it is not.

mod shared;

use fsmon_engine::{Command, Counters, ErrorKind, Monitor, Next, Receiver};
use fsmon_format::kind;
use fsmon_format::mirror::Mirror;
use fsmon_format::record::{Body, EventRef, Outcome, Records};
use shared::{CAPACITY, path, watch};
use std::collections::{BTreeMap, BTreeSet};
use std::io::Write;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

fn sh(dir: &Path, script: &str) {
    assert!(spawn(dir, script).wait().expect("sh").success(), "{script}");
}

fn spawn(dir: &Path, script: &str) -> Child {
    let mut command = std::process::Command::new("sh");
    command.args(["-ec", script]).current_dir(dir).stdin(Stdio::piped());
    command.spawn().expect("sh")
}

fn listing(dir: &Path) -> BTreeSet<PathBuf> {
    let mut all = BTreeSet::new();
    for entry in std::fs::read_dir(dir).expect("a directory") {
        let entry = entry.expect("an entry");
        if entry.file_type().expect("a type").is_dir() {
            all.extend(listing(&entry.path()));
        }
        all.insert(entry.path());
    }
    all
}

/// A running engine, and what its lines make of what was there.
struct Run {
    monitor: Monitor,
    records: Receiver,
    mirror: Mirror,
    tree: BTreeSet<PathBuf>,
    lines: Vec<String>,
    found: usize,
    answers: BTreeMap<u64, (Outcome, u32, u32)>,
    token: u64,
}

impl Run {
    /// Watches `root`; `None`, and why, where that is not possible.
    fn new(root: &Path) -> Option<Self> {
        let (monitor, records) = watch(root, |_| {})?;
        Some(Run {
            monitor,
            records,
            mirror: Mirror::new(CAPACITY),
            tree: listing(root),
            lines: Vec::new(),
            found: 0,
            answers: BTreeMap::new(),
            token: 0,
        })
    }

    fn event(&mut self, event: EventRef<'_>) {
        let new = path(&self.mirror, event.head.dir.get(), event.name);
        let old = path(&self.mirror, event.head.dir2.get(), event.name2);
        self.found += usize::from(event.found());
        for kind in kind::in_causal_order(event.head.mask.get()) {
            self.lines.push(format!("{} {new:?} {old:?}", kind.name));
            match (kind.bit, &new, &old) {
                (kind::CREATE, Some(new), _) => {
                    assert!(self.tree.insert(new.clone()), "{new:?} made twice");
                }
                (kind::DELETE, Some(new), _) => {
                    assert!(self.tree.remove(new), "{new:?} deleted, but never made");
                }
                (kind::RENAME, new, old) => {
                    let is_moved =
                        |path: &&PathBuf| old.as_ref().is_some_and(|old| path.starts_with(old));
                    let moved: Vec<_> = self.tree.iter().filter(is_moved).cloned().collect();
                    moved.iter().for_each(|path| assert!(self.tree.remove(path)));
                    if let (Some(new), Some(old)) = (new, old) {
                        self.tree.extend(moved.iter().map(|path| {
                            let rest = path.strip_prefix(old).expect("below");
                            if rest.as_os_str().is_empty() { new.clone() } else { new.join(rest) }
                        }));
                    }
                }
                _ => {}
            }
        }
    }

    /// Takes what is there. Whether the engine goes on.
    fn take(&mut self) -> bool {
        let mut events = Vec::new();
        let batch = match self.records.next(Duration::from_secs(20)) {
            Next::Batch(batch) => batch.to_vec(),
            Next::Idle => panic!("nothing comes: {:?}", self.answers),
            Next::Ended => return false,
        };
        for record in Records(&batch) {
            let body = record.body();
            self.mirror.define(&body);
            match body {
                Body::Event(event) => self.event(event),
                Body::Answer(answer) => {
                    let outcome = Outcome::from_code(answer.outcome.get());
                    let numbers = (outcome, answer.dirs.get(), answer.errno.get());
                    events.push((answer.token.get(), numbers));
                }
                _ => {}
            }
        }
        self.answers.extend(events);
        true
    }

    /// Gives a command and waits for its answer.
    fn ask(&mut self, command: impl FnOnce(u64) -> Command) -> (Outcome, u32, u32) {
        let token = self.send(command);
        self.answer(token)
    }

    fn send(&mut self, command: impl FnOnce(u64) -> Command) -> u64 {
        self.token += 1;
        let command = command(self.token);
        self.monitor.command(&command).unwrap_or_else(|error| panic!("{error}"));
        self.token
    }

    fn answer(&mut self, token: u64) -> (Outcome, u32, u32) {
        while !self.answers.contains_key(&token) {
            assert!(self.take(), "it ended");
        }
        self.answers[&token]
    }

    fn add(&mut self, path: &Path) -> (Outcome, u32, u32) {
        self.ask(|token| Command::AddRoot { token, path: path.to_owned() })
    }

    fn remove(&mut self, path: &Path) -> (Outcome, u32, u32) {
        self.ask(|token| Command::RemoveRoot { token, path: path.to_owned() })
    }

    fn flush(&mut self) {
        assert_eq!(self.ask(|token| Command::Flush { token }), (Outcome::Done, 0, 0));
    }

    /// Compares the replay with what is there in some directories.
    fn compare(&self, dirs: &[&Path]) {
        let there: BTreeSet<_> = dirs.iter().flat_map(|dir| listing(dir)).collect();
        let missing: Vec<_> = there.difference(&self.tree).take(5).collect();
        let extra: Vec<_> = self.tree.difference(&there).take(5).collect();
        let last = &self.lines[self.lines.len().saturating_sub(40)..];
        assert!(missing.is_empty() && extra.is_empty(), "{missing:?} {extra:?} {last:#?}");
    }

    /// The lines that have this in them.
    fn count(&self, what: &str) -> usize {
        self.lines.iter().filter(|line| line.contains(what)).count()
    }

    fn end(mut self, dirs: &[&Path]) -> Counters {
        self.monitor.stop();
        while self.take() {}
        let counters = self.monitor.counters();
        assert_eq!(counters.losses, 0, "{counters:?}");
        self.compare(dirs);
        self.monitor.join().expect("an orderly end");
        counters
    }
}

/// Directories below one that has no symbolic link in its path.
struct Dirs {
    _dir: tempfile::TempDir,
    path: PathBuf,
}

impl Dirs {
    fn new(names: &[&str]) -> Self {
        Dirs::of(tempfile::tempdir().expect("a directory"), names)
    }

    fn of(dir: tempfile::TempDir, names: &[&str]) -> Self {
        let path = dir.path().canonicalize().expect("it is there");
        names.iter().for_each(|name| std::fs::create_dir_all(path.join(name)).expect("made"));
        Dirs { _dir: dir, path }
    }

    fn at(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }
}

const MANY: &str = "for i in $(seq 100); do mkdir -p $(seq -s ' ' -f \"$i/%g/x\" 25); done";
/// Makes, moves and removes for a while.
const CHURN: &str =
    "i=0; while [ $i -lt 150 ]; do mkdir -p c$i/sub; : > c$i/sub/f; mv c$i/sub c$i/t
    mv c$i d$i; [ $((i % 3)) = 0 ] && rm -r d$i; i=$((i + 1)); done";

/// Removes and moves what was there before, while it is read.
const UNDO: &str = "for i in $(seq 9 100); do rmdir $i/25/x; mv $i/24 $i/moved; done
    rm -r 60/1; : > 20/moved/x/f; rm 20/moved/x/f; mv 30 31/in;";

fn added_in_a_storm(dirs: &Dirs, other: &Dirs) {
    let (old, new) = (dirs.at("old"), other.at("new"));
    sh(&new, MANY);
    let Some(mut run) = Run::new(&old) else { return };
    let mut storm = spawn(&old, CHURN);
    run.tree.extend(listing(&new));
    let mut within = spawn(&new, &format!("read go; {UNDO} {CHURN}"));
    let asked = Instant::now();
    let token = run.send(|token| Command::AddRoot { token, path: new.clone() });
    writeln!(within.stdin.take().expect("a pipe"), "go").expect("it reads");
    assert_eq!(run.answer(token), (Outcome::Active, run.answers[&token].1, 0));
    println!("{:?} directories in {:?}", run.answers[&token].1, asked.elapsed());
    assert!(run.answers[&token].1 >= 1 + 100 + 2 * 2400);
    storm.wait().expect("it ends");
    within.wait().expect("it ends");
    sh(&new, "mkdir 7/3/x/last; mv 8/4 9/moved; : > 9/moved/x/file");
    run.flush();
    assert_eq!(run.found, 0, "what was met is not reported");
    assert_eq!(run.count("9/moved/x/file"), 2, "CREATE and CLOSE_WRITE");
    if dirs.path != other.path {
        assert_eq!(marks_on(&new).len(), 1);
        assert_eq!(run.remove(&new), (Outcome::Done, 0, 0));
        assert_eq!(marks_on(&new).len(), 0, "no root is left there");
    }
    run.end(&[&old, &new]);
}

/// The marks of this process on the filesystem of a directory, each kind once: other tests have some as well.
fn marks_on(dir: &Path) -> BTreeSet<String> {
    let device = dir.metadata().expect("it is there").dev();
    let (major, minor) = (nix::sys::stat::major(device), nix::sys::stat::minor(device));
    let begin = format!("fanotify sdev:{:x} ", major << 20 | minor);
    let mut marks = BTreeSet::new();
    for entry in std::fs::read_dir("/proc/self/fdinfo").expect("/proc").flatten() {
        let text = std::fs::read_to_string(entry.path()).unwrap_or_default();
        marks.extend(text.lines().filter(|line| line.starts_with(&begin)).map(str::to_owned));
    }
    marks
}

#[test]
fn a_root_is_added_in_a_storm() {
    let dirs = Dirs::new(&["old", "new"]);
    added_in_a_storm(&dirs, &dirs);
}

#[test]
fn a_root_on_another_filesystem_is_added() {
    let dirs = Dirs::new(&["old"]);
    let Ok(dir) = tempfile::tempdir_in("/dev/shm") else { return println!("SKIP: no /dev/shm") };
    let other = Dirs::of(dir, &["new"]);
    let device = |dirs: &Dirs| dirs.path.metadata().expect("it is there").dev();
    assert_ne!(device(&dirs), device(&other), "two filesystems");
    added_in_a_storm(&dirs, &other);
}

#[test]
fn a_root_goes_and_comes_again() {
    let dirs = Dirs::new(&["old", "new/a"]);
    let (old, new) = (dirs.at("old"), dirs.at("new"));
    let Some(mut run) = Run::new(&old) else { return };
    let refused =
        |run: &Run, command: Command| run.monitor.command(&command).expect_err("refused").kind();
    let (path, token) = (new.clone(), 0);
    let unknown = Command::RemoveRoot { token, path: path.clone() };
    assert_eq!(refused(&run, unknown), ErrorKind::NotFound);
    run.tree.insert(new.join("a"));
    assert_eq!(run.add(&new), (Outcome::Active, 2, 0));
    assert_eq!(refused(&run, Command::AddRoot { token, path }), ErrorKind::Busy);
    sh(&new, "mkdir a/told; rmdir a/told");
    assert_eq!(run.remove(&new), (Outcome::Done, 0, 0));
    assert_eq!(run.count("a/told"), 2, "{:#?}", run.lines);
    sh(&new, "mkdir a/untold");
    sh(&old, "mkdir still");
    run.flush();
    assert_eq!((run.count("untold"), run.count("still")), (0, 1));
    run.tree.insert(new.join("a/untold"));
    assert_eq!(run.add(&new), (Outcome::Active, 3, 0));
    sh(&new, "rmdir a/untold; mkdir a/again");
    run.flush();
    assert_eq!((run.count("untold"), run.count("again")), (1, 1));
    run.end(&[&old, &new]);
}

#[test]
fn roots_within_each_other_report_each_change_once() {
    let dirs = Dirs::new(&["old", "outer/mid/inner/deep"]);
    let (old, outer, inner) = (dirs.at("old"), dirs.at("outer"), dirs.at("outer/mid/inner"));
    let Some(mut run) = Run::new(&old) else { return };
    run.tree.insert(inner.join("deep"));
    assert_eq!(run.add(&inner), (Outcome::Active, 2, 0));
    run.tree.extend(listing(&outer));
    // Around another.
    assert_eq!(run.add(&outer), (Outcome::Active, 4, 0));
    sh(
        &outer,
        "mkdir mid/inner/deep/one; mkdir two; mv mid/inner/deep mid/deep; mkdir mid/deep/three",
    );
    run.flush();
    let counts = ["deep/one", "two", "three"].map(|name| run.count(name));
    assert_eq!((counts, run.found), ([1, 1, 1], 0), "{:#?}", run.lines);
    run.compare(&[&old, &outer]);
    // The one around goes, the other one stays.
    assert_eq!(run.remove(&outer), (Outcome::Done, 0, 0));
    sh(&outer, "mkdir mid/untold; mkdir mid/inner/told");
    run.flush();
    assert_eq!((run.count("untold"), run.count("inner/told")), (0, 1), "{:#?}", run.lines);
    // It comes again, and the one within goes.
    run.tree.extend(listing(&outer));
    assert_eq!(run.add(&outer), (Outcome::Active, 9, 0));
    assert_eq!(run.remove(&inner), (Outcome::Done, 0, 0));
    sh(&outer, "mkdir mid/inner/last");
    run.flush();
    assert_eq!(run.count("inner/last"), 1, "{:#?}", run.lines);
    assert_eq!(run.found, 0);
    run.end(&[&old, &outer]);
}

#[test]
fn a_root_that_is_not_there_yet_is_watched_from_when_it_appears() {
    let dirs = Dirs::new(&["old", "up"]);
    let (old, new) = (dirs.at("old"), dirs.at("up/later/new"));
    let Some(mut run) = Run::new(&old) else { return };
    assert_eq!(run.add(&new), (Outcome::Pending, 0, 0));
    sh(&dirs.at("up"), "mkdir unseen later; mkdir later/new; mkdir later/new/a; : > later/new/a/f");
    run.flush();
    assert_eq!((run.count("new/a\""), run.count("unseen")), (1, 0), "{:#?}", run.lines);
    assert!(run.tree.remove(&new), "its own making is reported");
    run.end(&[&old, &new]);
}

#[test]
fn types_widen_and_shrink() {
    let dirs = Dirs::new(&["old"]);
    let old = dirs.at("old");
    let Some(mut run) = Run::new(&old) else { return };
    let masks = || marks_on(&old);
    let before = masks();
    sh(&old, "echo 1 > f; cat f");
    let more = kind::DEFAULT | kind::ACCESS;
    let types = |types| move |token| Command::Types { token, types };
    assert_eq!(run.ask(types(more)), (Outcome::Done, 0, 0));
    assert_eq!(run.count("ACCESS"), 0);
    sh(&old, "cat f");
    run.flush();
    assert_eq!(run.count("ACCESS"), 1, "{:#?}", run.lines);
    assert_ne!(masks(), before);
    assert_eq!(run.ask(types(kind::DEFAULT)), (Outcome::Done, 0, 0));
    sh(&old, "cat f");
    run.flush();
    assert_eq!(run.count("ACCESS"), 1, "{:#?}", run.lines);
    assert_eq!(masks(), before, "the mark asks for no more than at first");
    run.end(&[&old]);
}

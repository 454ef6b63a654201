//! The engine on the real kernel: what it tells, replayed over an empty directory, is the tree
//! that is there in the end. Needs root; says SKIP where it is not.

mod shared;

use fsmon_engine::config::{Backend, SkipDir};
use fsmon_engine::{Config, Counters, Next, Receiver};
use fsmon_format::kind;
use fsmon_format::mirror::Mirror;
use fsmon_format::record::{Body, EventRef, Records};
use shared::{CAPACITY, path, watch};
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

fn sh(dir: &Path, script: &str) {
    let status = Command::new("sh").args(["-ec", script]).current_dir(dir).status();
    assert!(status.expect("sh").success(), "{script}");
}

struct Replay {
    mirror: Mirror,
    tree: BTreeSet<PathBuf>,
    lines: Vec<String>,
}

impl Replay {
    fn new() -> Self {
        Replay { mirror: Mirror::new(CAPACITY), tree: BTreeSet::new(), lines: Vec::new() }
    }

    fn event(&mut self, event: EventRef<'_>) {
        let new = path(&self.mirror, event.head.dir.get(), event.name);
        let old = path(&self.mirror, event.head.dir2.get(), event.name2);
        for kind in kind::in_causal_order(event.head.mask.get()) {
            self.lines.push(format!("{} {new:?} {old:?}", kind.name));
            match (kind.bit, &new, &old) {
                (kind::CREATE, Some(new), _) => drop(self.tree.insert(new.clone())),
                (kind::DELETE, Some(new), _) => {
                    assert!(self.tree.remove(new), "{new:?} deleted, but never made");
                }
                (kind::RENAME, new, old) => {
                    let moved: Vec<_> = old.iter().flat_map(|old| self.below(old)).collect();
                    for path in &moved {
                        self.tree.remove(path);
                    }
                    if let (Some(new), Some(old)) = (new, old) {
                        let renamed = |path: &PathBuf| {
                            let rest = path.strip_prefix(old).expect("below");
                            if rest.as_os_str().is_empty() { new.clone() } else { new.join(rest) }
                        };
                        self.tree.extend(moved.iter().map(renamed));
                    }
                    // Also where it came from outside, or was moved before it could be found.
                    self.tree.extend(new.clone());
                }
                _ => {}
            }
        }
    }

    fn below(&self, top: &Path) -> Vec<PathBuf> {
        self.tree.iter().filter(|path| path.starts_with(top)).cloned().collect()
    }

    /// Takes everything until the engine has ended.
    fn drain(&mut self, records: &mut Receiver) {
        loop {
            let batch = match records.next(Duration::from_secs(20)) {
                Next::Batch(batch) => batch,
                Next::Idle => panic!("the engine does not end"),
                Next::Ended => return,
            };
            for record in Records(batch) {
                let body = record.body();
                assert!(!matches!(body, Body::Malformed));
                self.mirror.define(&body);
                if let Body::Event(event) = body {
                    self.event(event);
                }
            }
        }
    }
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

/// Runs `script` in a watched directory and compares the replay with what is there.
fn replay(backend: Backend, script: &str, change: impl FnOnce(&mut Config)) -> Option<Counters> {
    let dir = tempfile::tempdir().expect("a directory");
    let root = dir.path().join("watched");
    std::fs::create_dir(&root).expect("made");
    let (monitor, mut records) = watch(&root, |config| {
        config.backend = backend;
        change(config);
    })?;
    sh(&root, script);
    monitor.stop();
    let mut replay = Replay::new();
    replay.drain(&mut records);
    let counters = monitor.join().expect("an orderly end");
    let there = listing(&root);
    let missing: Vec<_> = there.difference(&replay.tree).take(5).collect();
    let extra: Vec<_> = replay.tree.difference(&there).take(5).collect();
    let last = &replay.lines[replay.lines.len().saturating_sub(40)..];
    assert!(missing.is_empty() && extra.is_empty(), "{missing:?} {extra:?} {last:#?} {counters:?}");
    assert_eq!((counters.lost_queue_overflows, counters.unresolved_paths), (0, 0));
    Some(counters)
}

const BACKENDS: [Backend; 2] = [Backend::Uring, Backend::Poll];

#[test]
fn a_tree_that_is_made_moved_and_removed() {
    for backend in BACKENDS {
        replay(
            backend,
            "mkdir -p a/b/c d; echo 1 > a/b/c/f; mv a/b d/e; echo 2 > d/e/c/g; mv d h
             mkdir h/e/new; rm -r h/e/c; ln -s nowhere h/link; ln h/link h/hard; touch 'x y'
             mkdir p q; mv -T p q; mkdir q/sub; touch q/sub/file",
            |_| {},
        );
    }
}

#[test]
fn moves_into_and_out_of_the_watched_tree() {
    for backend in BACKENDS {
        replay(
            backend,
            "mkdir -p ../out/x/y; touch ../out/f ../out/x/y/g; mv ../out/x in; touch in/y/h
             mkdir -p leave/z; touch leave/z/i; mv leave ../out/left; touch ../out/left/z/unseen
             mv ../out/f f; mv f ../out/f2; mv ../out/left back; touch back/z/seen",
            |_| {},
        );
    }
}

#[test]
fn thousands_of_files_by_several_processes() {
    for backend in BACKENDS {
        let counters = replay(
            backend,
            "for p in 1 2 3 4; do ( i=0; while [ $i -lt 100 ]; do
               mkdir -p $p/d$i/sub; : > $p/d$i/sub/a; mv $p/d$i/sub/a $p/d$i/b
               mv $p/d$i $p/e$i; : > $p/e$i/sub/c
               [ $((i % 3)) = 0 ] && rm -r $p/e$i; i=$((i + 1)); done ) & done; wait",
            |_| {},
        );
        if let Some(counters) = counters {
            assert_eq!(counters.unresolved_paths, 0);
            // What is left when the kernel merges all it can: 804 mkdir, 800 files, 800 renames,
            // 544 removals.
            assert!(counters.events >= 2_948, "{counters:?}");
        }
    }
}

#[test]
fn a_ring_that_is_full_all_the_time_loses_nothing() {
    for backend in BACKENDS {
        replay(
            backend,
            "i=0; while [ $i -lt 1500 ]; do : > f$i; mv f$i g$i; i=$((i + 1)); done; rm g1*",
            |config| config.ring_slots = 1,
        );
    }
}

#[test]
fn a_tree_of_many_directories_is_walked_at_the_start() {
    let dir = tempfile::tempdir().expect("a directory");
    sh(dir.path(), "for i in $(seq 50); do mkdir -p $(seq -s ' ' -f \"$i/%g/x/y\" 20); done");
    let Some((monitor, mut records)) = watch(dir.path(), |_| {}) else { return };
    sh(dir.path(), "touch 17/13/x/y/found; mv 17 there; touch there/13/x/again");
    monitor.stop();
    let mut replay = Replay::new();
    replay.drain(&mut records);
    let counters = monitor.join().expect("an orderly end");
    assert_eq!(counters.dirs, 1 + 50 + 3 * 50 * 20);
    let path = |name: &str| dir.path().canonicalize().expect("a path").join(name);
    assert!(replay.tree.contains(&path("there/13/x/again")));
    assert!(replay.tree.contains(&path("there/13/x/y/found")));
}

#[test]
fn directories_that_are_left_out_are_silent() {
    let dir = tempfile::tempdir().expect("a directory");
    std::fs::create_dir_all(dir.path().join("skip/old")).expect("made");
    let skip = |path: &[u8]| path.split(|&byte| byte == b'/').any(|name| name == b"skip");
    let started = watch(dir.path(), |config| {
        config.skip_dir = Some(SkipDir { skips: Box::new(skip), by_path: false });
    });
    let Some((monitor, mut records)) = started else { return };
    sh(dir.path(), "touch skip/a skip/old/b; mkdir -p sub/skip/x; touch sub/skip/x/c sub/d");
    monitor.stop();
    let mut replay = Replay::new();
    replay.drain(&mut records);
    assert!(replay.lines.iter().any(|line| line.contains("sub/d")));
    assert!(!replay.lines.iter().any(|line| line.contains("skip/")), "{:#?}", replay.lines);
    monitor.join().expect("an orderly end");
}

/// A batch window so long that a script is over before fsmon reads an event: the tree on disk is ahead of the queue.
const AFTERWARDS: Duration = Duration::from_millis(700);

/// The lines for `script`, which is over before fsmon reads an event; with paths below the root.
fn lines_of(
    backend: Backend,
    script: &str,
    change: impl FnOnce(&mut Config),
) -> Option<Vec<String>> {
    let dir = tempfile::tempdir().expect("a directory");
    let root = dir.path().canonicalize().expect("a path").join("watched");
    std::fs::create_dir_all(root.join("nested")).expect("made");
    let (monitor, mut records) = watch(&root, |config| {
        config.backend = backend;
        config.batch_window = AFTERWARDS;
        change(config);
    })?;
    sh(&root, script);
    monitor.stop();
    let mut replay = Replay::new();
    replay.drain(&mut records);
    monitor.join().expect("an orderly end");
    let prefix = format!("{}/", root.display());
    Some(replay.lines.iter().map(|line| line.replace(&prefix, "")).collect())
}

#[test]
fn a_directory_that_comes_in_and_moves_on_before_it_is_walked_is_known() {
    for backend in BACKENDS {
        replay(
            backend,
            "mkdir -p ../out/x/s/t; mv ../out/x in; mv in on; mv on/s s; mkdir up; mv on up/on
             sleep 2; touch s/f s/t/g up/on/h; mv s/t up; touch up/t/i",
            |config| config.batch_window = AFTERWARDS,
        );
    }
}

#[test]
fn what_happened_before_a_directory_moved_in_happened_elsewhere() {
    for backend in BACKENDS {
        let script = "mkdir -p ../out/x; : > ../out/x/f; mv ../out/x in";
        let Some(lines) = lines_of(backend, script, |_| {}) else { return };
        let of_f: Vec<_> = lines.iter().filter(|line| line.contains("in/f")).collect();
        assert_eq!(of_f.len(), 1, "found, once: {lines:#?}");
    }
}

#[test]
fn a_directory_keeps_its_path_until_its_own_rename_is_read() {
    for backend in BACKENDS {
        let script = "mkdir -p ../out/x; mv ../out/x in; : > nested/f; mv nested in/nested";
        let Some(lines) = lines_of(backend, script, |_| {}) else { return };
        assert!(lines.iter().any(|line| line.contains("CREATE Some(\"nested/f\")")), "{lines:#?}");
        assert!(!lines.iter().any(|line| line.contains("in/nested/f")), "{lines:#?}");
    }
}

#[test]
fn a_root_inside_another_is_what_is_at_its_path() {
    for (backend, to) in BACKENDS.into_iter().zip(["moved", "../moved"]) {
        let script = format!("mv nested {to}; : > {to}/f; mkdir nested; : > nested/g");
        let lines = lines_of(backend, &script, |config| {
            config.recursive = false;
            config.roots.push(config.roots[0].join("nested"));
        });
        let Some(lines) = lines else { return };
        let count = |name: &str| lines.iter().filter(|line| line.contains(name)).count();
        assert_eq!((count("nested/f"), count("moved/f")), (0, 0), "{lines:#?}");
        assert_eq!(count("CREATE Some(\"nested/g\")"), 1, "{lines:#?}");
    }
}

#[test]
fn the_last_event_of_a_file_never_names_a_later_directory() {
    for backend in BACKENDS {
        let script = "exec 3> nested/f; rm nested/f; mv nested ../gone; mkdir new; exec 3>&-";
        let all = |config: &mut Config| config.types |= kind::DELETE_SELF;
        let Some(lines) = lines_of(backend, script, all) else { return };
        assert!(!lines.iter().any(|line| line.contains("new/f")), "{lines:#?}");
    }
}

#[test]
fn a_directory_renamed_to_and_fro_is_where_it_is() {
    for backend in BACKENDS {
        let script = "mkdir a d; /usr/bin/perl -e 'rename \"a\", \"b\"; rename \"b\", \"a\";
            rename \"a\", \"b\"; rename \"d\", \"e\"; rename \"e\", \"d\"'";
        let counters = replay(backend, script, |config| config.batch_window = AFTERWARDS);
        assert!(counters.is_none_or(|counters| counters.unresolved_paths == 0));
    }
}

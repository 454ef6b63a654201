//! Random watches over one random history: what the daemon records of each is what fsmon prints that watches it alone.

use crate::daemon::{Daemon, watch};
use crate::storm::rng::Rng;
use fsmon_harness::{Area, Event, Fsmon, fsmon, is_root, repeats, sh};
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

const TYPES: [&str; 5] = ["CREATE", "DELETE", "RENAME", "CLOSE_WRITE", "ATTRIB"];
const DIRS: [&str; 9] = ["a", "a/b", "a/b/c", "a/skip", "a/skip/d", "e", "e/f", "e/f/g", "h"];

/// Each of `all` with even chances; at least one.
fn some<'a, T>(rng: &mut Rng, all: &'a [T]) -> Vec<&'a T> {
    let first = rng.below(all.len());
    let chosen = all.iter().enumerate().filter(|(at, _)| *at == first || rng.chance(1, 2));
    chosen.map(|(_, one)| one).collect()
}

struct Watch {
    path: PathBuf,
    types: Vec<&'static str>,
    exclude: Vec<&'static str>,
    is_recursive: bool,
}

impl Watch {
    fn random(path: PathBuf, rng: &mut Rng) -> Watch {
        let types = some(rng, &TYPES).into_iter().copied().collect();
        let exclude = match rng.below(2) {
            0 => Vec::new(),
            _ => some(rng, &["*.tmp", "skip", "f"]).into_iter().copied().collect(),
        };
        Watch { path, types, exclude, is_recursive: rng.chance(3, 4) }
    }

    fn toml(&self) -> String {
        let (types, exclude) = (&self.types, &self.exclude);
        let recursive = self.is_recursive;
        format!(
            "{}types = {types:?}\nexclude = {exclude:?}\nrecursive = {recursive}\n",
            watch(&self.path)
        )
    }

    /// Whether a name below it is excluded, or too deep.
    fn leaves_out(&self, path: &Path) -> bool {
        let below = path.strip_prefix(&self.path).expect("below it");
        let is_excluded = |name: &std::ffi::OsStr| {
            let name = name.to_str().expect("UTF-8");
            self.exclude.iter().any(|glob| match glob.strip_prefix('*') {
                Some(end) => name.ends_with(end),
                None => name == *glob,
            })
        };
        !self.is_recursive && below.components().count() > 1 || below.iter().any(is_excluded)
    }

    /// fsmon that watches this alone.
    fn alone(&self) -> Fsmon {
        let mut command = fsmon(["-f", "json", "-t", &self.types.join(",")]);
        command.args(self.exclude.iter().flat_map(|glob| ["--exclude", glob]));
        command.args((!self.is_recursive).then_some("--no-recursive"));
        Fsmon::start(command.arg(&self.path))
    }
}

/// The innermost watch of a path.
fn owner<'a>(watches: &'a [Watch], path: &Path) -> Option<&'a Watch> {
    let around = watches.iter().filter(|watch| path.starts_with(&watch.path) && path != watch.path);
    around.max_by_key(|watch| watch.path.as_os_str().len())
}

/// A shell script that makes, writes, renames, changes and removes files, each name once.
fn script(rng: &mut Rng, steps: usize) -> String {
    let mut files: Vec<String> = Vec::new();
    let mut script = String::new();
    for step in 0..steps {
        let dir = DIRS[rng.below(DIRS.len())];
        let suffix = if rng.chance(1, 4) { ".tmp" } else { "" };
        let new = format!("{dir}/{step}{suffix}");
        let old = (!files.is_empty()).then(|| rng.below(files.len()));
        match (rng.below(6), old) {
            (0, Some(old)) => script += &format!("rm {}\n", files.swap_remove(old)),
            (1 | 2, Some(old)) => {
                script += &format!("mv {} {new}\n", files[old]);
                files[old] = new;
            }
            // Its mode changes once.
            (3, Some(old)) => script += &format!("chmod 600 {}\n", files.swap_remove(old)),
            (4, _) => script += &format!("mkdir {new}; rmdir {new}\n"),
            _ => {
                script += &format!(": > {new}\n");
                files.push(new);
            }
        }
    }
    script
}

/// The type, and the paths on which a line depends.
type Line = (String, Option<PathBuf>, Option<PathBuf>);

fn line(event: &Event) -> Line {
    (event.kind().to_owned(), event.path(), event.old_path())
}

/// What must be recorded: each line of a watch alone that is about a name of which it is the innermost. Of a rename
/// from one watch to another each knows its own side, and may leave that out.
fn expected(watches: &[Watch], alone: &[Vec<Event>], all: &BTreeSet<Line>) -> BTreeSet<Line> {
    let mut expected = BTreeSet::new();
    for (watch, events) in watches.iter().zip(alone) {
        let is_own = |path: &PathBuf| {
            owner(watches, path).is_some_and(|owner| owner.path == watch.path)
                && !watch.leaves_out(path)
        };
        for event in events {
            let (kind, path, old) = line(event);
            let own_path = path.filter(is_own);
            if kind != "RENAME" {
                expected.extend(own_path.map(|path| (kind, Some(path), None)));
                continue;
            }
            let own_old = old.filter(is_own);
            let is_it = |(other, new, old): &&Line| {
                *other == kind
                    && (own_path.is_some() && *new == own_path
                        || own_old.is_some() && *old == own_old)
            };
            let whole = all.iter().find(is_it).cloned();
            assert!(
                whole.is_some() || own_path.is_none() && own_old.is_none(),
                "missing: {event:?}"
            );
            expected.extend(whole);
        }
    }
    expected
}

fn run(seed: u64) {
    let rng = &mut Rng::new(seed, 0);
    let area = Area::new();
    let top = area.watched();
    sh(&top, &format!("mkdir {}", DIRS.join(" ")));
    let places = ["", "a", "a/b", "a/skip/d", "e", "e/f/g"];
    let watches: Vec<_> = some(rng, &places)
        .into_iter()
        .map(|place| Watch::random(area.path("watched").join(place).components().collect(), rng))
        .collect();
    let text: String = watches.iter().map(Watch::toml).collect();
    let mut daemon = Daemon::new(&area, &text);
    daemon.start();
    let alone: Vec<_> = watches.iter().map(Watch::alone).collect();
    sh(&top, &script(rng, 150));
    let alone: Vec<_> = alone
        .into_iter()
        .map(|running| {
            let ended = running.stop();
            ended.assert_complete();
            ended.events()
        })
        .collect();
    daemon.ask(&["sync"]);
    let recorded = daemon.decoded(&["-t", "create,delete,rename,close_write,attrib"]);
    let recorded: BTreeSet<_> =
        recorded.iter().filter(|event| !matches!(event.kind(), "GAP" | "NOTE")).map(line).collect();
    let expected = expected(&watches, &alone, &recorded);
    let missing: Vec<_> = expected.difference(&recorded).collect();
    let unwanted: Vec<_> = recorded.difference(&expected).collect();
    assert!(
        missing.is_empty() && unwanted.is_empty(),
        "seed {seed}:\n{text}\nmissing {missing:#?}\nnot wanted {unwanted:#?}"
    );
    daemon.stop();
}

#[test]
fn each_watch_is_recorded_as_if_it_were_alone() {
    if !is_root() {
        return;
    }
    let seeds = std::env::var("FSMON_SEED").ok().and_then(|seed| seed.parse().ok());
    match seeds {
        Some(seed) => run(seed),
        None => (1..=repeats(6) as u64).for_each(run),
    }
}

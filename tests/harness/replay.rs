//! The replay oracle: a listing at the start and the lines give the listing at the end, and
//! nothing else is needed to know it.

pub use super::oracle::Listing;
use super::oracle::{Line, Replay};
use super::{Event, is_marked_one_by_one};
use std::fmt::{Display, Formatter};
use std::fs;
use std::path::{Path, PathBuf};

/// Faults of a kind that are shown.
const SHOWN: usize = 5;

/// What lies below `dir` now.
pub fn listing(dir: &Path) -> Listing {
    let mut all = Listing::new();
    let mut todo = vec![dir.to_path_buf()];
    while let Some(dir) = todo.pop() {
        for entry in fs::read_dir(&dir).unwrap_or_else(|error| panic!("{dir:?}: {error}")) {
            let entry = entry.expect("an entry");
            let is_dir = entry.file_type().expect("a type").is_dir();
            if is_dir {
                todo.push(entry.path());
            }
            all.insert(entry.path(), is_dir);
        }
    }
    all
}

/// Applies the lines of what happened in `dir` in their order; gives the listing, and every line
/// that made no sense when it came, with why.
pub fn replay(dir: &Path, start: Listing, events: &[Event]) -> (Listing, Vec<String>) {
    let mut replay = Replay::new(dir, start);
    let mut senseless = Vec::new();
    // What was made before a directory had its mark is told as found: the tree is whole.
    let is_unmarked = |event: &Event| event.text("reason") == Some("unmarked");
    let may_be_late = events.iter().any(is_unmarked) && is_marked_one_by_one(dir);
    let is_told = |event: &&Event| !may_be_late || !is_unmarked(event);
    for (at, event) in events.iter().filter(is_told).enumerate() {
        let (path, old_path) = (event.path(), event.old_path());
        let line = Line {
            kind: event.kind(),
            path: path.as_deref(),
            old_path: old_path.as_deref(),
            is_dir: event.flag("is_dir"),
        };
        if let Err(why) = replay.apply(&line) {
            let fields = serde_json::to_string(&event.0).expect("it came as JSON");
            senseless.push(format!("line {}, {why}: {fields}", at + 1));
        }
    }
    (replay.listing(), senseless)
}

/// What the oracle says of a recording.
pub struct Verdict {
    /// Lines read, and entries at the end.
    lines: usize,
    entries: usize,
    /// In the directory and not in the replay, and the other way round.
    missing: Vec<PathBuf>,
    extra: Vec<PathBuf>,
    /// Lines that made no sense when they came.
    senseless: Vec<String>,
}

impl Verdict {
    /// Of what happened in `dir` since `start`; `end` is what it has now.
    pub fn new(dir: &Path, start: Listing, events: &[Event], end: &Listing) -> Self {
        let (replayed, senseless) = replay(dir, start, events);
        let only = |one: &Listing, other: &Listing| -> Vec<_> {
            let differs = |(path, kind): &(&PathBuf, &bool)| other.get(*path) != Some(*kind);
            one.iter().filter(differs).map(|(path, _)| path.clone()).collect()
        };
        let (missing, extra) = (only(end, &replayed), only(&replayed, end));
        Verdict { lines: events.len(), entries: end.len(), missing, extra, senseless }
    }

    /// Nothing missing, nothing extra, nothing out of order.
    pub fn is_exact(&self) -> bool {
        self.missing.is_empty() && self.extra.is_empty() && self.senseless.is_empty()
    }
}

impl Display for Verdict {
    fn fmt(&self, f: &mut Formatter<'_>) -> std::fmt::Result {
        let Verdict { lines, entries, missing, extra, senseless } = self;
        let (less, more, odd) = (missing.len(), extra.len(), senseless.len());
        write!(f, "{lines} lines, {entries} entries: ")?;
        write!(f, "{less} missing, {more} extra, {odd} senseless")?;
        let shown = |paths: &[PathBuf]| paths.iter().take(SHOWN).cloned().collect::<Vec<_>>();
        if less + more > 0 {
            write!(f, "; missing {:?}, extra {:?}", shown(missing), shown(extra))?;
        }
        senseless.iter().take(SHOWN).try_for_each(|line| write!(f, "\n  {line}"))
    }
}

/// The listing of `dir` now must follow from `start` and the lines, and every line must have made
/// sense when it came.
#[track_caller]
pub fn assert_follows(start: Listing, events: &[Event], dir: &Path) {
    let verdict = Verdict::new(dir, start, events, &listing(dir));
    assert!(verdict.is_exact(), "{verdict}");
}

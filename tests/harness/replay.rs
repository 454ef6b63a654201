//! The replay oracle: a listing at the start and the lines give the listing at the end.

use super::Event;
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

/// What lies below a directory, and whether it is a directory.
pub(crate) type Listing = BTreeMap<PathBuf, bool>;

/// What lies below `dir` now.
pub(crate) fn listing(dir: &Path) -> Listing {
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

/// Applies the lines in their order; gives the listing, and every line that made no sense when
/// it came.
pub(crate) fn replay(start: Listing, events: &[Event]) -> (Listing, Vec<String>) {
    let mut state = State { now: start, came_in: Vec::new() };
    let senseless = events.iter().filter(|event| !state.apply(event));
    let doubts = senseless.map(|event| format!("{event:?}")).collect();
    (state.now, doubts)
}

struct State {
    now: Listing,
    /// Directories that came in by a rename. What was in them is found by a walk; what was gone
    /// again by then is known to nobody, and only its end is told.
    came_in: Vec<PathBuf>,
}

impl State {
    /// Says whether the line makes sense.
    fn apply(&mut self, event: &Event) -> bool {
        let is_dir = event.flag("is_dir");
        match (event.kind(), event.path(), event.old_path()) {
            ("CREATE", Some(path), None) => {
                self.now.insert(path, is_dir).is_none() || event.flag("found")
            }
            ("DELETE", Some(path), None) => match self.now.remove(&path) {
                Some(was_dir) => was_dir == is_dir && !self.has_children(&path),
                None => self.may_be_unknown(&path),
            },
            ("RENAME", Some(path), None) => {
                if is_dir {
                    self.came_in.push(path.clone());
                }
                self.now.insert(path, is_dir).is_none_or(|was_dir| was_dir == is_dir)
            }
            ("RENAME", path, Some(old)) => self.rename(path.as_deref(), &old, is_dir),
            ("LOSS", ..) => false,
            _ => true,
        }
    }

    fn has_children(&self, path: &Path) -> bool {
        self.now
            .range(path.to_path_buf()..)
            .any(|(other, _)| other != path && other.starts_with(path))
    }

    fn may_be_unknown(&self, path: &Path) -> bool {
        self.came_in.iter().any(|dir| path.starts_with(dir))
    }

    /// Moves an entry with all that is below it; what it replaces is gone.
    fn rename(&mut self, path: Option<&Path>, old: &Path, is_dir: bool) -> bool {
        let makes_sense = match self.now.get(old) {
            Some(was_dir) => *was_dir == is_dir,
            None => self.may_be_unknown(old),
        };
        let below: Vec<_> = self.now.keys().filter(|one| one.starts_with(old)).cloned().collect();
        let moved: Vec<_> =
            below.into_iter().filter_map(|one| self.now.remove_entry(&one)).collect();
        let Some(path) = path else { return makes_sense };
        self.now.insert(path.to_path_buf(), is_dir);
        for (one, kind) in moved {
            self.now.insert(moved_path(&one, old, path), kind);
        }
        for dir in self.came_in.iter_mut().filter(|dir| dir.starts_with(old)) {
            *dir = moved_path(dir, old, path);
        }
        makes_sense
    }
}

/// Where `one` is after a rename of `old` to `new`.
fn moved_path(one: &Path, old: &Path, new: &Path) -> PathBuf {
    let below = one.strip_prefix(old).expect("it starts with it");
    if below.as_os_str().is_empty() { new.to_path_buf() } else { new.join(below) }
}

/// The listing of `dir` now must follow from `start` and the lines, and every line must have made
/// sense when it came.
pub(crate) fn assert_follows(start: Listing, events: &[Event], dir: &Path) {
    let (replayed, doubts) = replay(start, events);
    assert!(
        doubts.is_empty(),
        "{} lines made no sense, first {:#?}",
        doubts.len(),
        &doubts[..doubts.len().min(5)]
    );
    let real = listing(dir);
    let only = |a: &Listing, b: &Listing| -> Vec<_> {
        a.iter()
            .filter(|(path, kind)| b.get(*path) != Some(kind))
            .map(|(path, _)| path.clone())
            .take(10)
            .collect()
    };
    assert!(
        replayed == real,
        "only in the replay {:?}; only in the directory {:?}",
        only(&replayed, &real),
        only(&real, &replayed)
    );
}

//! What a reload changes.

use super::Watch;
use std::collections::HashMap;
use std::path::Path;

/// What is to be done to get from one list of watches to another. A path is in one of the lists, or in none if its
/// watch stays as it is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Changes {
    /// Watches of paths that are no longer to be watched.
    pub removed: Vec<Watch>,
    /// Watches of paths that were not watched.
    pub added: Vec<Watch>,
    /// Watches of paths that stay watched, but otherwise.
    pub changed: Vec<Changed>,
}

/// A watch that differs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Changed {
    /// As it was.
    pub old: Watch,
    /// As it is to be. The path is the same.
    pub new: Watch,
}

impl Changes {
    /// Whether nothing is to be done.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.removed.is_empty() && self.added.is_empty() && self.changed.is_empty()
    }
}

/// Compares two lists of watches, each with every path once, by path. The lists keep the order of `old` and `new`.
#[must_use]
pub fn difference(old: &[Watch], new: &[Watch]) -> Changes {
    let by_path = |watches: &'_ [Watch]| -> HashMap<_, _> {
        watches.iter().enumerate().map(|(at, watch)| (watch.path.clone(), at)).collect()
    };
    let (before, after) = (by_path(old), by_path(new));
    let is_in = |map: &HashMap<_, usize>, path: &Path| map.contains_key(path);
    let changed = new.iter().filter_map(|new| {
        let old = &old[*before.get(&new.path)?];
        (old != new).then(|| Changed { old: old.clone(), new: new.clone() })
    });
    Changes {
        removed: old.iter().filter(|watch| !is_in(&after, &watch.path)).cloned().collect(),
        added: new.iter().filter(|watch| !is_in(&before, &watch.path)).cloned().collect(),
        changed: changed.collect(),
    }
}

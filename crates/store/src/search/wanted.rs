//! What a search looks for: some paths, what moves them, and an object.

use crate::index::hash::{State, hash};
use crate::index::without_slash;
use fsmon_format::kind::RENAME;
use fsmon_format::record::EventRef;

/// A path that is followed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Wanted {
    /// Absolute, without a slash at the end.
    pub(crate) paths: Vec<Vec<u8>>,
    /// The object of the file, where it is known.
    pub(crate) object: Option<u64>,
    /// Whether all events on the object are looked for, whatever their path is: no index helps then.
    pub(crate) by_object: bool,
}

/// The hashes of what is wanted, for an index.
pub(crate) struct Keys {
    pub(crate) seed: u64,
    /// Of each path: its last name, its directory, and itself with all directories above, as those that renames are of.
    pub(crate) paths: Vec<(u64, u64, Vec<u64>)>,
    pub(crate) object: Option<u64>,
}

impl Wanted {
    pub(crate) fn keys(&self, seed: u64) -> Keys {
        let of_path = |path: &Vec<u8>| {
            let (dir, name) = split(path);
            let mut above = vec![hash(seed, path)];
            let mut state = State::new(seed);
            let mut names = dir.split(|byte| *byte == b'/');
            // In front of the first slash there is nothing.
            names.next();
            for name in names {
                state = state.with(b"/").with(name);
                above.push(state.finish());
            }
            (hash(seed, name), hash(seed, dir), above)
        };
        let object = self.object.map(|object| hash(seed, &object.to_le_bytes()));
        Keys { seed, paths: self.paths.iter().map(of_path).collect(), object }
    }

    /// Whether an event may be wanted, by its names alone.
    pub(crate) fn may_want(&self, event: &EventRef<'_>) -> bool {
        let object = event.head.object.get();
        if object != 0 && self.object == Some(object) {
            return true;
        }
        if self.by_object {
            return false;
        }
        let is_dir_rename = event.is_dir() && event.head.mask.get() & RENAME != 0;
        is_dir_rename
            || event.name.is_empty()
            || self.paths.iter().any(|path| {
                let name = split(path).1;
                name == event.name || name == event.name2
            })
    }

    /// Whether an event with these paths is wanted.
    pub(crate) fn wants(
        &self,
        event: &EventRef<'_>,
        path: Option<&[u8]>,
        old: Option<&[u8]>,
    ) -> bool {
        let object = event.head.object.get();
        if object != 0 && self.object == Some(object) {
            return true;
        }
        if self.by_object {
            return false;
        }
        let moves = event.is_dir() && event.head.mask.get() & RENAME != 0;
        let concerns =
            |of: &[u8]| self.paths.iter().any(|path| path == of || moves && is_below(path, of));
        path.is_some_and(concerns) || old.is_some_and(concerns)
    }
}

/// Whether `path` is below the directory `dir`.
pub(crate) fn is_below(path: &[u8], dir: &[u8]) -> bool {
    let dir = without_slash(dir);
    path.len() > dir.len() && path.starts_with(dir) && path[dir.len()] == b'/'
}

/// A path with another directory above it: `path` is below `from`, or is it.
pub(crate) fn moved(path: &[u8], from: &[u8], to: &[u8]) -> Option<Vec<u8>> {
    (path == from || is_below(path, from))
        .then(|| [without_slash(to), &path[without_slash(from).len()..]].concat())
}

/// The directory of a path, without a slash behind, and the last name.
pub(crate) fn split(path: &[u8]) -> (&[u8], &[u8]) {
    match path.iter().rposition(|byte| *byte == b'/') {
        Some(slash) => (&path[..slash], &path[slash + 1..]),
        None => (b"", path),
    }
}

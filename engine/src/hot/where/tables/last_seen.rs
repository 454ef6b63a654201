//! The name under which objects were last seen.
//!
//! DELETE_SELF and MOVE_SELF of a file have only its handle, and come after the DELETE or RENAME that had its name
//! (fs/namei.c: fsnotify runs before the inode is put). A file that was made without a name (`O_TMPFILE`) and
//! linked later is reported under `#` and its inode number while it is open. This small table gives the name in
//! both cases; new entries overwrite old ones.

use crate::hot::containers::ways::{At, SetCache, Turns};
use crate::limits::tables::{SEEN_SETS, SEEN_WAYS};
use fsmon_format::record::NAME_MAX;

#[derive(Clone, Copy)]
struct Seen {
    /// The hash of the directory: its node may be reused later.
    dir_hash: u64,
    dir: u32,
    /// The round in which it was put; a round ends when the queue is empty.
    round: u32,
    len: u8,
    name: [u8; NAME_MAX],
}

/// The table.
pub(crate) struct LastSeen {
    /// The object of each entry; kept apart, as most lookups find another object.
    hashes: SetCache<u64, SEEN_SETS, SEEN_WAYS>,
    /// The entry of each set that is overwritten next.
    turns: Turns<SEEN_SETS, SEEN_WAYS>,
    seen: Vec<Seen>,
    round: u32,
}

impl LastSeen {
    pub(crate) fn new() -> Self {
        let none = Seen { dir_hash: 0, dir: 0, round: 0, len: 0, name: [0; NAME_MAX] };
        let (hashes, turns) = (SetCache::new(0), Turns::new());
        LastSeen { hashes, turns, seen: vec![none; SEEN_SETS * SEEN_WAYS], round: 1 }
    }

    /// Records that the object is, or was until now, `name` in the directory `dir`, whose own hash is `dir_hash`.
    pub(crate) fn put(&mut self, hash: u64, dir: u32, dir_hash: u64, name: &[u8]) {
        let Ok(len) = u8::try_from(name.len()) else { return };
        let at = self.find(hash).unwrap_or_else(|| self.turns.take(set_of(hash)));
        *self.hashes.get_mut(at) = hash;
        let seen = &mut self.seen[at.index::<SEEN_WAYS>()];
        (seen.dir, seen.dir_hash, seen.round, seen.len) = (dir, dir_hash, self.round, len);
        seen.name[..name.len()].copy_from_slice(name);
    }

    /// Where it was: directory, hash of the directory, name; `None` if forgotten.
    pub(crate) fn get(&self, hash: u64) -> Option<(u32, u64, &[u8])> {
        let seen = &self.seen[self.find(hash)?.index::<SEEN_WAYS>()];
        Some((seen.dir, seen.dir_hash, &seen.name[..usize::from(seen.len)]))
    }

    /// The queue was empty: the kernel merges nothing into earlier events.
    #[inline]
    pub(crate) fn on_queue_empty(&mut self) {
        self.round = self.round.wrapping_add(1);
    }

    /// Whether the object was put with this name since the queue was empty, and with no other name later.
    pub(crate) fn is_new(&self, hash: u64, dir: u32, name: &[u8]) -> bool {
        self.find(hash).is_some_and(|at| {
            let seen = &self.seen[at.index::<SEEN_WAYS>()];
            let known = &seen.name[..usize::from(seen.len)];
            (seen.round, seen.dir, known) == (self.round, dir, name)
        })
    }

    /// Whether the name of the object is known.
    #[inline]
    pub(crate) fn has(&self, hash: u64) -> bool {
        self.find(hash).is_some()
    }

    /// Forgets an object.
    pub(crate) fn forget(&mut self, hash: u64) {
        if let Some(at) = self.find(hash) {
            self.hashes.forget(at);
        }
    }

    #[inline]
    fn find(&self, hash: u64) -> Option<At> {
        let found = self.hashes.find(set_of(hash), |known| *known == hash)?;
        (hash != 0).then_some(found)
    }
}

/// The lowest bit of a hash is 0 ([`crate::hot::r#where::tree::Tree::hash`]).
fn set_of(hash: u64) -> u64 {
    hash >> 1
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_place_is_known_until_forgotten() {
        let mut recent = LastSeen::new();
        recent.put(7, 3, 33, b"old");
        recent.put(7, 4, 44, b"new");
        assert_eq!(recent.get(7), Some((4, 44, &b"new"[..])));
        let other = |number: usize| (7 + 2 * number * SEEN_SETS) as u64;
        assert_eq!(recent.get(other(1)), None);
        assert!(recent.is_new(7, 4, b"new") && !recent.is_new(7, 3, b"old"));
        recent.on_queue_empty();
        assert!(!recent.is_new(7, 4, b"new"), "the queue was empty");
        recent.forget(7);
        assert_eq!(recent.get(7), None);
        // All in one set.
        (1..=SEEN_WAYS + 1).for_each(|number| recent.put(other(number), 3, 33, b"name"));
        assert!(recent.get(other(1)).is_none());
        assert!((2..=SEEN_WAYS + 1).all(|number| recent.has(other(number))));
    }
}

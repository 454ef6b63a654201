//! What is known of names that nothing else remembers: bounded, the oldest is forgotten first.

use crate::limits::RECENT_MAX;
use std::collections::HashSet;
use std::hash::{BuildHasher, RandomState};

/// Facts, as hashes. What is forgotten costs an answer `unknown`, never a wrong one.
#[derive(Default)]
pub(super) struct Recent {
    hasher: RandomState,
    /// Since the last turn, and from the one before.
    new: HashSet<u64>,
    old: HashSet<u64>,
}

/// A directory by its key, and a name in it.
pub(super) type Spot<'a> = (u64, &'a [u8]);

impl Recent {
    /// Nothing was at this name when the time asked for began.
    pub(super) fn was_absent(&mut self, spot: Spot<'_>) {
        let fact = self.hasher.hash_one((0u8, spot));
        self.insert(fact);
    }

    pub(super) fn is_absent(&self, spot: Spot<'_>) -> bool {
        self.has(self.hasher.hash_one((0u8, spot)))
    }

    /// This object no longer has this name. Events can still come of it: of a file that is open.
    pub(super) fn left(&mut self, spot: Spot<'_>, object: u64) {
        if object != 0 {
            let fact = self.hasher.hash_one((1u8, spot, object));
            self.insert(fact);
        }
    }

    /// This object has this name again.
    pub(super) fn is_back(&mut self, spot: Spot<'_>, object: u64) {
        let fact = self.hasher.hash_one((1u8, spot, object));
        self.new.remove(&fact);
        self.old.remove(&fact);
    }

    pub(super) fn has_left(&self, spot: Spot<'_>, object: u64) -> bool {
        object != 0 && self.has(self.hasher.hash_one((1u8, spot, object)))
    }

    /// Something may have happened that nobody saw.
    pub(super) fn forget(&mut self) {
        self.new.clear();
        self.old.clear();
    }

    fn has(&self, fact: u64) -> bool {
        self.new.contains(&fact) || self.old.contains(&fact)
    }

    fn insert(&mut self, fact: u64) {
        if self.new.len() >= RECENT_MAX / 2 {
            self.old = std::mem::take(&mut self.new);
        }
        self.new.insert(fact);
    }
}

//! Detects hashes that a full table has forgotten and that come up again.

use crate::hot::r#where::tables::rounds::Rounds;
use crate::limits::tables::FORGOTTEN_SLOTS;

/// Not a hash: the lowest bit of each hash is 0 ([`crate::hot::r#where::tree::Tree::hash`]).
const NONE: u64 = 1;

/// The hashes of this generation and of the previous one.
pub(crate) struct Forgotten {
    now: Generation,
    before: Generation,
    /// The last hash: the same one often comes again at once.
    last: u64,
}

struct Generation {
    hashes: Rounds,
    /// Whether some were not added because there was no room.
    is_full: bool,
}

impl Generation {
    fn new() -> Self {
        Generation { hashes: Rounds::new(FORGOTTEN_SLOTS), is_full: false }
    }

    #[inline]
    fn has(&self, hash: u64) -> bool {
        self.hashes.used() > 0 && (self.is_full || self.hashes.has(hash))
    }

    #[inline]
    fn clear(&mut self) {
        if self.hashes.used() > 0 {
            self.hashes.clear();
            self.is_full = false;
        }
    }
}

impl Forgotten {
    /// Reserves the room; pages are taken as used.
    pub(crate) fn new() -> Self {
        Forgotten { now: Generation::new(), before: Generation::new(), last: NONE }
    }

    /// Ends a generation: hashes from before the previous one no longer matter.
    #[inline]
    pub(crate) fn age(&mut self) {
        std::mem::swap(&mut self.now, &mut self.before);
        self.now.clear();
        self.last = NONE;
    }

    /// Forgets all: no earlier hash matters any more.
    pub(crate) fn clear(&mut self) {
        (0..2).for_each(|_| self.age());
    }

    /// Records that a hash was forgotten.
    #[inline]
    pub(crate) fn put(&mut self, hash: u64) {
        if hash != self.last {
            self.last = hash;
            self.now.is_full |= !self.now.hashes.put(hash);
        }
    }

    /// Whether a hash was forgotten. If there was no room for all of them, this is true for each.
    #[inline]
    pub(crate) fn has(&self, hash: u64) -> bool {
        self.now.has(hash) || self.before.has(hash)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hash(number: u64) -> u64 {
        (number ^ number << 40).wrapping_mul(0xbf58_476d_1ce4_e5b9) & !1
    }

    #[test]
    fn none_is_missed_for_two_generations() {
        let mut forgotten = Forgotten::new();
        assert!(!forgotten.has(hash(1)));
        (0..10_000).for_each(|number| forgotten.put(hash(number)));
        forgotten.age();
        assert!((0..10_000).all(|number| forgotten.has(hash(number))));
        assert!((10_000..1_000_000).all(|number| !forgotten.has(hash(number))));
        forgotten.age();
        assert!((0..10_000).all(|number| !forgotten.has(hash(number))));
        forgotten.put(hash(9_999));
        assert!(forgotten.has(hash(9_999)));
    }

    #[test]
    fn where_there_was_no_room_each_may_be_missed() {
        let mut forgotten = Forgotten::new();
        (0..FORGOTTEN_SLOTS as u64).for_each(|number| forgotten.put(hash(number)));
        assert!(forgotten.has(hash(FORGOTTEN_SLOTS as u64)));
        forgotten.clear();
        assert!(!forgotten.has(hash(1)));
    }
}

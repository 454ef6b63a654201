//! A set of hashes that can be emptied at once.
//!
//! Open addressing without gaps. The lower bits of a slot give the round in which it was filled; slots of other
//! rounds are free. So emptying the set takes no time, and a small set stays in a near cache, however much room it
//! has.
//!
//! Not a [`ProbeTable`]: there the slot itself says whether it is empty, here the round decides. No slot becomes
//! empty by a removal, so no entry is shifted back.
//!
//! [`ProbeTable`]: crate::hot::containers::probing::ProbeTable

/// The bits of a slot that hold its round.
const ROUND: u64 = 0xffff;

/// The set. Two hashes that differ only in their lower 16 bits are equal to it.
pub(crate) struct Rounds {
    slots: Vec<u64>,
    round: u64,
    used: usize,
}

impl Rounds {
    /// With `slots` slots, a power of two; three quarters of them can be used. Pages are taken as used.
    pub(crate) fn new(slots: usize) -> Self {
        assert!(slots.is_power_of_two(), "hashes are reduced by a mask");
        Rounds { slots: vec![0; slots], round: 1, used: 0 }
    }

    /// Slots in use. A removed hash keeps its slot.
    #[inline]
    pub(crate) fn used(&self) -> usize {
        self.used
    }

    /// Adds a hash. Returns whether it is in the set, which it is not if there is no room.
    #[inline]
    pub(crate) fn put(&mut self, hash: u64) -> bool {
        let Err(free) = self.find(hash) else { return true };
        let has_room = self.used < self.slots.len() / 4 * 3;
        if has_room {
            self.slots[free] = hash & !ROUND | self.round;
            self.used += 1;
        }
        has_room
    }

    #[inline]
    pub(crate) fn has(&self, hash: u64) -> bool {
        self.find(hash).is_ok()
    }

    /// Removes a hash. Returns whether it was in the set.
    pub(crate) fn take(&mut self, hash: u64) -> bool {
        let found = self.find(hash);
        if let Ok(at) = found {
            // A value of no hash: the upper bits of a hash give its slot.
            self.slots[at] = self.round;
        }
        found.is_ok()
    }

    /// Removes all.
    #[inline]
    pub(crate) fn clear(&mut self) {
        self.used = 0;
        self.round += 1;
        if self.round > ROUND {
            self.slots.fill(0);
            self.round = 1;
        }
    }

    /// The slot of a hash, or the slot where it would go. A quarter of the slots is always free.
    #[inline]
    fn find(&self, hash: u64) -> Result<usize, usize> {
        let (wanted, mask) = (hash & !ROUND | self.round, self.slots.len() - 1);
        let mut at = (hash >> 32) as usize & mask;
        loop {
            let slot = self.slots[at];
            if slot == wanted {
                return Ok(at);
            }
            if slot & ROUND != self.round {
                return Err(at);
            }
            at = (at + 1) & mask;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// All in one run of slots.
    fn near(number: u64) -> u64 {
        7 << 32 | number << 50
    }

    #[test]
    fn what_is_taken_away_hides_nothing() {
        let mut set = Rounds::new(16);
        assert!((1..5).all(|number| set.put(near(number))));
        assert!(set.take(near(1)) && !set.take(near(1)) && set.has(near(4)) && !set.has(near(1)));
        assert!(set.put(near(1)) && set.has(near(1)));
    }

    #[test]
    fn a_full_set_has_room_when_it_was_emptied() {
        let mut set = Rounds::new(16);
        for _ in 0..2 * ROUND {
            assert!((0..12).all(|number| set.put(near(number)) && set.put(near(number))));
            assert!(!set.put(near(12)) && set.has(near(11)) && !set.has(near(12)));
            assert_eq!(set.used(), 12);
            set.clear();
            assert!(set.used() == 0 && !set.has(near(11)));
        }
    }
}

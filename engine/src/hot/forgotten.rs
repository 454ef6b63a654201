//! Which of the hashes that a full table forgot come up again.
//!
//! A Bloom filter of two generations. It never misses one; of 10,000 hashes in both together it takes one in some
//! hundred thousand others for one of them.

/// Bits of a generation, and those that a hash sets.
const BITS: usize = 1 << 20;
const EACH: usize = 4;
const WORDS: usize = BITS / 64;
/// No hash: the lowest bit of each is 0 ([`super::tree::Tree::hash`]).
const NONE: u64 = 1;

/// The hashes of this generation and of the one before.
pub(crate) struct Forgotten {
    /// Bit by bit: a hash is in one of the two if all its bits are set there.
    bits: [Vec<u64>; 2],
    /// Whether anything is in them.
    any: [bool; 2],
    now: usize,
    /// What came last: the same often comes again at once.
    last: u64,
}

impl Forgotten {
    /// Reserves the room; pages are taken as used.
    pub(crate) fn new() -> Self {
        let bits = [vec![0; WORDS], vec![0; WORDS]];
        Forgotten { bits, any: [false; 2], now: 0, last: NONE }
    }

    /// A generation is over: what was forgotten in the one before it does not matter any more.
    pub(crate) fn age(&mut self) {
        self.now ^= 1;
        if std::mem::take(&mut self.any[self.now]) {
            self.bits[self.now].fill(0);
        }
        self.last = NONE;
    }

    /// Nothing of before matters any more.
    #[inline]
    pub(crate) fn clear(&mut self) {
        (0..2).for_each(|_| self.age());
    }

    /// A hash was forgotten.
    #[inline]
    pub(crate) fn put(&mut self, hash: u64) {
        if hash != self.last {
            self.last = hash;
            self.any[self.now] = true;
            places(hash).for_each(|(word, bit)| self.bits[self.now][word] |= bit);
        }
    }

    /// Whether a hash was forgotten. May seldom say so of one that was not.
    #[inline]
    pub(crate) fn has(&self, hash: u64) -> bool {
        let is_in = |which: usize| {
            self.any[which] && places(hash).all(|(word, bit)| self.bits[which][word] & bit != 0)
        };
        is_in(0) || is_in(1)
    }
}

/// The bits of a hash, each by word and bit.
fn places(hash: u64) -> impl Iterator<Item = (usize, u64)> {
    let mixed = hash.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let (mut at, step) = (mixed as usize, (mixed >> 32) as usize | 1);
    (0..EACH).map(move |_| {
        at = at.wrapping_add(step);
        (at / 64 % WORDS, 1 << (at % 64))
    })
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
        let wrong = (10_000..1_000_000).filter(|number| forgotten.has(hash(*number)));
        assert!(wrong.count() < 20);
        forgotten.age();
        assert!((0..10_000).all(|number| !forgotten.has(hash(number))));
        forgotten.put(hash(9_999));
        assert!(forgotten.has(hash(9_999)));
    }
}

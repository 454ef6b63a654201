//! A cache of sets: an entry is in one of the few ways of its set, and replaces another one there.
//!
//! The caller chooses which one makes room:
//! * [`SetCache::put_first`]: each set is ordered by the time of insertion; the last entry falls out.
//! * [`SetCache::least`]: the entry with the least measure.
//! * [`Turns`]: one way after the other, for entries that are too large to be moved.

use crate::num::low_bits;
use fsmon_format::number::to_u8;

/// The cache: `SETS` sets of `WAYS` entries each. The lower bits of a number that the caller makes of the key give
/// the set.
pub struct SetCache<T, const SETS: usize, const WAYS: usize> {
    /// An array, so that the remainder of a set's number needs no check of bounds.
    sets: Box<[[T; WAYS]; SETS]>,
    empty: T,
}

/// The location of an entry: its set and way. Its number, below `SETS * WAYS`, is the index of related data in an
/// array of the caller.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct At {
    set: usize,
    way: usize,
}

impl<T: Copy, const SETS: usize, const WAYS: usize> SetCache<T, SETS, WAYS> {
    const IS_SOUND: () = assert!(SETS.is_power_of_two() && WAYS > 0);

    /// A cache full of `empty`, which stands for no entry.
    #[must_use]
    pub fn new(empty: T) -> Self {
        const { Self::IS_SOUND };
        // Made on the heap: a large array would not fit on the stack.
        let sets = vec![[empty; WAYS]; SETS].try_into();
        SetCache { sets: sets.unwrap_or_else(|_| unreachable!("as many as were made")), empty }
    }

    /// The location of the entry in set `set` for which `is_it` holds.
    #[inline]
    pub fn find(&self, set: u64, is_it: impl FnMut(&T) -> bool) -> Option<At> {
        let set = low_bits(set) % SETS;
        let way = self.sets[set].iter().position(is_it)?;
        Some(At { set, way })
    }

    /// The entry there, mutable.
    #[inline]
    pub fn get_mut(&mut self, at: At) -> &mut T {
        &mut self.sets[at.set][at.way]
    }

    /// The entry in set `set` for which `is_it` holds.
    #[inline]
    pub fn get(&self, set: u64, mut is_it: impl FnMut(&T) -> bool) -> Option<&T> {
        self.sets[low_bits(set) % SETS].iter().find(|entry| is_it(entry))
    }

    /// Puts an entry first in its set. The others move by one way, up to the one that it replaces (`is_same`); if
    /// there is none, the last falls out.
    #[inline]
    pub fn put_first(&mut self, set: u64, entry: T, mut is_same: impl FnMut(&T) -> bool) {
        let mut moving = entry;
        for slot in &mut self.sets[low_bits(set) % SETS] {
            std::mem::swap(slot, &mut moving);
            if is_same(&moving) {
                break;
            }
        }
    }

    /// The entry of a set with the least measure, the first of several: the one to overwrite.
    #[inline]
    pub fn least<M: Ord>(&self, set: u64, measure: impl Fn(&T) -> M) -> At {
        let set = low_bits(set) % SETS;
        let ways = &self.sets[set];
        let way = (0..WAYS).min_by_key(|&way| measure(&ways[way])).unwrap_or(0);
        At { set, way }
    }

    /// Empties a way.
    #[inline]
    pub fn forget(&mut self, at: At) {
        *self.get_mut(at) = self.empty;
    }

    /// Empties all ways.
    pub fn clear(&mut self) {
        self.sets.fill([self.empty; WAYS]);
    }
}

impl At {
    /// The index of related data in an array of `SETS * WAYS`.
    #[inline]
    #[must_use]
    pub fn index<const WAYS: usize>(self) -> usize {
        self.set * WAYS + self.way
    }
}

/// The way of each set that is overwritten next.
pub struct Turns<const SETS: usize, const WAYS: usize> {
    next: Vec<u8>,
}

impl<const SETS: usize, const WAYS: usize> Turns<SETS, WAYS> {
    const IS_SOUND: () = assert!(SETS.is_power_of_two() && 0 < WAYS && WAYS <= u8::MAX as usize);

    /// The first way of each set.
    #[must_use]
    #[allow(clippy::new_without_default, reason = "as the cache that it belongs to")]
    pub fn new() -> Self {
        const { Self::IS_SOUND };
        Turns { next: vec![0; SETS] }
    }

    /// Takes the next way of set `set`.
    #[inline]
    pub fn take(&mut self, set: u64) -> At {
        let set = low_bits(set) % SETS;
        let way = usize::from(self.next[set]);
        self.next[set] = to_u8((way + 1) % WAYS);
        At { set, way }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const SETS: usize = 4;
    const WAYS: usize = 3;
    type Cache = SetCache<u64, SETS, WAYS>;

    fn set_of(key: u64) -> usize {
        key as usize % SETS
    }

    fn keys() -> impl Strategy<Value = Vec<(u8, u64)>> {
        proptest::collection::vec((0..4u8, 1..24u64), 1..200)
    }

    proptest! {
        #[test]
        fn the_last_of_each_set_are_there(ops in keys()) {
            let (mut cache, mut lists) = (Cache::new(0), vec![Vec::new(); SETS]);
            for (op, key) in ops {
                let list = &mut lists[set_of(key)];
                match cache.find(key, |one| *one == key) {
                    Some(at) if op == 0 => {
                        cache.forget(at);
                        let at = list.iter().position(|one| *one == key);
                        list[at.expect("it was found")] = 0;
                    }
                    _ => {
                        cache.put_first(key, key, |one| *one == key);
                        list.iter().position(|one| *one == key).map(|at| list.remove(at));
                        list.insert(0, key);
                        list.truncate(WAYS);
                    }
                }
                for key in 1..24 {
                    let is_known = lists[set_of(key)].contains(&key);
                    prop_assert_eq!(cache.get(key, |one| *one == key).is_some(), is_known);
                }
            }
            cache.clear();
            prop_assert!((1..24).all(|key| cache.find(key, |one| *one == key).is_none()));
        }

        #[test]
        fn the_least_makes_room(ops in keys()) {
            let (mut cache, mut lists) = (Cache::new(0), vec![[0; WAYS]; SETS]);
            for (_, key) in ops {
                let at = cache.least(key, |one| *one);
                *cache.get_mut(at) = key;
                let list = &mut lists[set_of(key)];
                list.sort_unstable();
                list[0] = key;
                for key in 1..24 {
                    let is_known = lists[set_of(key)].contains(&key);
                    prop_assert_eq!(cache.find(key, |one| *one == key).is_some(), is_known);
                }
            }
        }

        #[test]
        fn ways_are_overwritten_in_turn(ops in keys()) {
            let (mut turns, mut taken) = (Turns::<SETS, WAYS>::new(), [0; SETS]);
            for (_, key) in ops {
                let at = turns.take(key);
                prop_assert_eq!(at.index::<WAYS>(), set_of(key) * WAYS + taken[set_of(key)] % WAYS);
                taken[set_of(key)] += 1;
            }
        }
    }
}

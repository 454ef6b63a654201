//! Finds the entries of a list that have a key: chains through two arrays, reserved once.

use crate::limits::tables::CHAINS;
use crate::num::low_bits;
use fsmon_format::number::to_u16;

const END: u16 = u16::MAX;

/// The lower bits of its key give the chain of an entry; a chain can have entries with other keys.
pub(crate) struct Chains {
    first: Vec<u16>,
    /// The next in the chain, by index in the list.
    next: Vec<u16>,
}

impl Chains {
    /// For a list of at most `count` entries, fewer than 65,535.
    pub(crate) fn new(count: usize) -> Self {
        debug_assert!(count < usize::from(END));
        Chains { first: vec![END; CHAINS], next: Vec::with_capacity(count) }
    }

    /// Adds the last entry of the list, under its key.
    pub(crate) fn push(&mut self, key: u64) {
        let at = to_u16(self.next.len());
        let first = &mut self.first[chain(key)];
        self.next.push(*first);
        *first = at;
    }

    /// Removes an entry; the last one takes its index, as with `Vec::swap_remove`. The keys of both.
    pub(crate) fn swap_remove(&mut self, at: usize, key: u64, last_key: u64) {
        let last = self.next.len() - 1;
        self.point(key, at, self.next[at]);
        if at != last {
            self.point(last_key, last, to_u16(at));
        }
        self.next.swap_remove(at);
    }

    /// Replaces the link that leads to an entry.
    fn point(&mut self, key: u64, at: usize, to: u16) {
        let before = self.of(key).find(|&one| usize::from(self.next[one]) == at);
        match before {
            Some(before) => self.next[before] = to,
            None => self.first[chain(key)] = to,
        }
    }

    /// Indices of all entries that may have that key.
    #[inline]
    pub(crate) fn of(&self, key: u64) -> impl Iterator<Item = usize> {
        let some = |at: u16| (at != END).then_some(usize::from(at));
        std::iter::successors(some(self.first[chain(key)]), move |&at| some(self.next[at]))
    }
}

fn chain(key: u64) -> usize {
    low_bits(key) % CHAINS
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn they_follow_the_list(steps in proptest::collection::vec((any::<u8>(), any::<bool>()), 0..300)) {
            let (mut chains, mut list) = (Chains::new(300), Vec::<u64>::new());
            for (number, adds) in steps {
                if adds || list.is_empty() {
                    // Many in one chain.
                    let key = u64::from(number % 8) + (u64::from(number) << 32);
                    list.push(key);
                    chains.push(key);
                } else {
                    let at = usize::from(number) % list.len();
                    chains.swap_remove(at, list[at], list[list.len() - 1]);
                    list.swap_remove(at);
                }
                for key in 0..8 {
                    let mut found: Vec<_> = chains.of(key).collect();
                    found.sort_unstable();
                    let is_it = |at: &usize| list[*at] as u8 == key as u8;
                    let all: Vec<_> = (0..list.len()).filter(is_it).collect();
                    prop_assert_eq!(found, all);
                }
            }
        }
    }
}

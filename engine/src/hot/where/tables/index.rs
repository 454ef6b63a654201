//! The index from a hash to a directory's node.
//!
//! A [`ProbeTable`] with entries of 8 bytes: the upper half of the hash, and the id of the node (0: empty). The
//! lower bits of the stored half give the home of an entry, so that the table can be rearranged without access to
//! the nodes. When half full it doubles in place, into room that was reserved at the start; if there is none left,
//! it fills to two thirds.

use crate::hot::containers::probing::{ProbeTable, Slot};
use crate::limits::tables::INDEX_LEAST;
use zerocopy::FromZeros;

/// The index.
pub struct Index {
    table: ProbeTable<Entry>,
}

/// The upper half of a hash, and a node.
#[derive(Clone, Copy, PartialEq, Eq, FromZeros)]
#[repr(transparent)]
struct Entry(u64);

impl Entry {
    fn new(hash: u64, node: u32) -> Self {
        Entry((hash & 0xffff_ffff_0000_0000) | u64::from(node))
    }

    #[expect(clippy::cast_possible_truncation, reason = "the node is the lower half")]
    fn node(self) -> u32 {
        self.0 as u32
    }

    /// The stored half of the hash: the table takes its lower bits.
    fn half(self) -> usize {
        (self.0 >> 32) as usize
    }
}

impl Slot for Entry {
    #[inline]
    fn is_empty(&self) -> bool {
        self.node() == 0
    }
}

impl Index {
    /// Reserves the room for `capacity` nodes; pages are taken as the table grows.
    #[must_use]
    pub fn new(capacity: usize) -> Self {
        let largest = (capacity + capacity / 2).next_power_of_two().max(INDEX_LEAST);
        Index { table: ProbeTable::growing(INDEX_LEAST, largest) }
    }

    /// The node with that hash for which `is_it` holds.
    #[inline]
    pub fn find(&self, hash: u64, mut is_it: impl FnMut(u32) -> bool) -> Option<u32> {
        let half = (hash >> 32) as usize;
        let found = self.table.find(half, |here| here.half() == half && is_it(here.node())).ok()?;
        Some(self.table.get(found).node())
    }

    /// Adds a node that is not in the index. The caller must respect the capacity.
    pub fn insert(&mut self, hash: u64, node: u32) {
        debug_assert!(node != 0);
        if (self.table.used() + 1) * 2 > self.table.slots() && self.table.can_grow() {
            self.table.grow(|entry| entry.half());
        }
        let entry = Entry::new(hash, node);
        self.table.insert(entry.half(), entry);
    }

    /// Removes a node, if it is in the index.
    pub fn remove(&mut self, hash: u64, gone: u32) {
        let wanted = Entry::new(hash, gone);
        if let Ok(at) = self.table.find(wanted.half(), |here| *here == wanted) {
            self.table.remove(at, |entry| entry.half());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::HashMap;

    proptest! {
        /// Few distinct hashes, so that runs of collisions form and are broken up again.
        #[test]
        fn agrees_with_a_map(ops in proptest::collection::vec((0u8..3, 0u64..40, 0u64..3), 1..3000)) {
            let mut index = Index::new(4000);
            let mut model: HashMap<u64, u32> = HashMap::new();
            let mut next = 1;
            for (op, value, low) in ops {
                let hash = (value.wrapping_mul(0x2545_f491) << 32) | low;
                let key = hash;
                match op {
                    0 => {
                        if let std::collections::hash_map::Entry::Vacant(vacant) = model.entry(key) {
                            vacant.insert(next);
                            index.insert(hash, next);
                            next += 1;
                        }
                    }
                    1 => {
                        if let Some(node) = model.remove(&key) {
                            index.remove(hash, node);
                        }
                    }
                    _ => {
                        let expected = model.get(&key).copied();
                        let found = index.find(hash, |node| Some(node) == expected);
                        prop_assert_eq!(found, expected);
                    }
                }
                prop_assert_eq!(index.table.used(), model.len());
            }
            for (hash, node) in model {
                prop_assert_eq!(index.find(hash, |found| found == node), Some(node));
            }
        }

        #[test]
        fn grows_to_its_capacity(seed: u64) {
            let mut index = Index::new(3000);
            let hash = |i: u64| (i ^ seed).wrapping_mul(0x9e37_79b9_7f4a_7c15);
            for i in 1..=3000u32 {
                index.insert(hash(u64::from(i)), i);
            }
            for i in 1..=3000u32 {
                prop_assert_eq!(index.find(hash(u64::from(i)), |node| node == i), Some(i));
            }
        }
    }
}

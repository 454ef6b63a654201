//! The open-addressing index from a hash to a directory's node.
//!
//! An entry is 8 bytes: the upper half of the hash, and the node's id (0: empty). Linear probing;
//! an entry's home is given by the lower bits of its stored half, so that the table can be
//! rearranged without looking at nodes. Deleting shifts back what follows (no tombstones): every
//! entry can be reached from its home without passing an empty place. Half full, it doubles in
//! place, into room that was reserved at the start; where there is none left, it fills to two
//! thirds.

/// Entries of the smallest table.
const SMALLEST: usize = 1 << 10;

/// The index.
pub struct Index {
    table: Vec<u64>,
    mask: usize,
    used: usize,
}

fn entry(hash: u64, node: u32) -> u64 {
    (hash & 0xffff_ffff_0000_0000) | u64::from(node)
}

fn home(entry: u64, mask: usize) -> usize {
    (entry >> 32) as usize & mask
}

fn node(entry: u64) -> u32 {
    entry as u32
}

impl Index {
    /// Reserves the room for `capacity` nodes; pages are taken as the table grows.
    #[must_use]
    pub fn new(capacity: usize) -> Self {
        let largest = (capacity + capacity / 2).next_power_of_two().max(SMALLEST);
        Index { table: vec![0; largest], mask: SMALLEST - 1, used: 0 }
    }

    /// The node with that hash for which `is_it` holds.
    #[inline]
    pub fn find(&self, hash: u64, mut is_it: impl FnMut(u32) -> bool) -> Option<u32> {
        let wanted = hash >> 32;
        let mut at = home(entry(hash, 0), self.mask);
        loop {
            let here = self.table[at];
            if node(here) == 0 {
                return None;
            }
            if here >> 32 == wanted && is_it(node(here)) {
                return Some(node(here));
            }
            at = (at + 1) & self.mask;
        }
    }

    /// Adds a node that is not in the index. The caller keeps to the capacity.
    pub fn insert(&mut self, hash: u64, node: u32) {
        debug_assert!(node != 0);
        if (self.used + 1) * 2 > self.mask + 1 && self.mask + 1 < self.table.len() {
            self.grow();
        }
        assert!(self.used < self.mask, "one place always stays empty");
        place(&mut self.table, self.mask, entry(hash, node));
        self.used += 1;
    }

    /// Takes a node out; nothing happens where it is not in.
    pub fn remove(&mut self, hash: u64, gone: u32) {
        let wanted = entry(hash, gone);
        let table = &mut self.table;
        let mut at = home(wanted, self.mask);
        while table[at] != wanted {
            if node(table[at]) == 0 {
                return;
            }
            at = (at + 1) & self.mask;
        }
        // Shift back: an entry may fill the hole if its home does not lie between hole and entry.
        let mut hole = at;
        loop {
            at = (at + 1) & self.mask;
            let here = table[at];
            if node(here) == 0 {
                break;
            }
            let distance = at.wrapping_sub(home(here, self.mask)) & self.mask;
            if distance >= at.wrapping_sub(hole) & self.mask {
                table[hole] = here;
                hole = at;
            }
        }
        table[hole] = 0;
        self.used -= 1;
    }

    /// Doubles the table. Each entry is taken out and put in again, in the order in which probes
    /// pass them, from behind an empty place on. Its new place is at the most as far from its new
    /// home as the old one was from the old: it passes what was moved already, and nothing else.
    #[cold]
    fn grow(&mut self) {
        let old = self.mask;
        self.mask = old * 2 + 1;
        let empty = (0..=old).find(|&at| node(self.table[at]) == 0);
        let empty = empty.expect("one place always stays empty");
        for at in (empty + 1..=old).chain(0..empty) {
            let here = std::mem::take(&mut self.table[at]);
            if node(here) != 0 {
                place(&mut self.table, self.mask, here);
            }
        }
    }
}

fn place(table: &mut [u64], mask: usize, entry: u64) {
    let mut at = home(entry, mask);
    while node(table[at]) != 0 {
        at = (at + 1) & mask;
    }
    table[at] = entry;
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
                prop_assert_eq!(index.used, model.len());
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

//! A hash table: open addressing with linear probing, and deletion that shifts back.
//!
//! A slot itself gives its home, so the table knows nothing of keys. Every entry is between its home and the next
//! empty slot. A deletion moves later entries into the hole if necessary, so there are no tombstones, and probes
//! stay short. A table that was made with more room than it uses at first can double in place.

use zerocopy::FromZeros;

/// An entry of the table. All zero is the empty slot.
pub trait Slot: Copy + FromZeros {
    /// Whether the slot has no entry.
    fn is_empty(&self) -> bool;
}

impl Slot for u32 {
    #[inline]
    fn is_empty(&self) -> bool {
        *self == 0
    }
}

/// The table. Slots have numbers; a home may be any number, of which the table takes the lower bits.
pub struct ProbeTable<S> {
    /// Slots beyond the mask are not in use yet: room to grow.
    slots: Vec<S>,
    /// Number of slots in use, less 1.
    mask: usize,
    used: usize,
}

impl<S: Slot> ProbeTable<S> {
    /// A table with `slots` slots, a power of two. Pages are taken as they are used.
    ///
    /// # Panics
    /// If the address space cannot be reserved.
    #[must_use]
    pub fn new(slots: usize) -> Self {
        ProbeTable::growing(slots, slots)
    }

    /// The same with `first` slots until [`ProbeTable::grow`] doubles them, up to `most`.
    ///
    /// # Panics
    /// If the address space cannot be reserved.
    #[must_use]
    pub fn growing(first: usize, most: usize) -> Self {
        assert!(first.is_power_of_two() && most.is_power_of_two(), "homes are reduced by a mask");
        assert!(first <= most);
        let slots = S::new_vec_zeroed(most).expect("address space for a table");
        ProbeTable { slots, mask: first - 1, used: 0 }
    }

    /// Number of entries.
    #[inline]
    #[must_use]
    pub fn used(&self) -> usize {
        self.used
    }

    /// Number of slots in use.
    #[inline]
    #[must_use]
    pub fn slots(&self) -> usize {
        self.mask + 1
    }

    /// Whether [`ProbeTable::grow`] can double it.
    #[inline]
    #[must_use]
    pub fn can_grow(&self) -> bool {
        self.slots() < self.slots.len()
    }

    /// The slot of the entry with home `home` for which `is_it` holds, or else the empty slot where it would go.
    ///
    /// # Errors
    /// There is no such entry.
    #[inline]
    pub fn find(&self, home: usize, mut is_it: impl FnMut(&S) -> bool) -> Result<usize, usize> {
        let mut at = home & self.mask;
        loop {
            let slot = &self.slots[at];
            if slot.is_empty() {
                return Err(at);
            }
            if is_it(slot) {
                return Ok(at);
            }
            at = (at + 1) & self.mask;
        }
    }

    /// The entry in a slot.
    #[inline]
    #[must_use]
    pub fn get(&self, at: usize) -> &S {
        &self.slots[at]
    }

    /// The same, mutable; the home must stay the same.
    #[inline]
    pub fn get_mut(&mut self, at: usize) -> &mut S {
        &mut self.slots[at]
    }

    /// Puts an entry into the empty slot that [`ProbeTable::find`] gave for it.
    ///
    /// # Panics
    /// If no empty slot would be left: the caller must respect a capacity.
    #[inline]
    pub fn fill(&mut self, at: usize, entry: S) {
        debug_assert!(self.slots[at].is_empty() && !entry.is_empty());
        assert!(self.used < self.mask, "one slot always stays empty");
        self.slots[at] = entry;
        self.used += 1;
    }

    /// Adds an entry that is not in the table.
    #[inline]
    pub fn insert(&mut self, home: usize, entry: S) {
        let (Ok(at) | Err(at)) = self.find(home, |_| false);
        self.fill(at, entry);
    }

    /// Removes the entry in a slot. A later entry that could no longer be reached moves into the hole, and leaves
    /// another.
    #[inline]
    pub fn remove(&mut self, at: usize, home_of: impl Fn(&S) -> usize) {
        debug_assert!(!self.slots[at].is_empty());
        let mask = self.mask;
        let (mut hole, mut at) = (at, at);
        loop {
            at = (at + 1) & mask;
            let here = self.slots[at];
            if here.is_empty() {
                break;
            }
            // It may fill the hole unless its home is between hole and entry.
            let from_home = at.wrapping_sub(home_of(&here)) & mask;
            let from_hole = at.wrapping_sub(hole) & mask;
            if from_home >= from_hole {
                self.slots[hole] = here;
                hole = at;
            }
        }
        self.slots[hole] = S::new_zeroed();
        self.used -= 1;
    }

    /// Doubles the table. Each entry is removed and inserted again, in probing order, from behind an empty slot on.
    /// Its new slot is at most as far from its new home as the old one was from the old home: the probe passes only
    /// entries that were already moved.
    #[cold]
    pub fn grow(&mut self, home_of: impl Fn(&S) -> usize) {
        debug_assert!(self.can_grow());
        let old = self.mask;
        self.mask = old * 2 + 1;
        let empty = (0..=old).find(|&at| self.slots[at].is_empty());
        let empty = empty.expect("one slot always stays empty");
        for at in (empty + 1..=old).chain(0..empty) {
            let here = std::mem::replace(&mut self.slots[at], S::new_zeroed());
            if !here.is_empty() {
                let (Ok(new) | Err(new)) = self.find(home_of(&here), |_| false);
                self.slots[new] = here;
            }
        }
    }

    /// The next entry in or after a slot, and the slot after it, for a walk over all. Nothing may be inserted or
    /// removed during the walk.
    #[must_use]
    pub fn next_from(&self, at: usize) -> Option<(&S, usize)> {
        let rest = self.slots.get(at..=self.mask)?;
        let index = rest.iter().position(|slot| !slot.is_empty())?;
        Some((&rest[index], at + index + 1))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Few homes for many entries, so that they run into each other, and around the end.
    fn home(entry: &u32) -> usize {
        (entry % 13 * 5) as usize
    }

    proptest! {
        #[test]
        fn agrees_with_a_list(ops in proptest::collection::vec((any::<bool>(), 1u32..60), 1..400)) {
            let (mut table, mut list) = (ProbeTable::<u32>::growing(4, 64), Vec::new());
            for (add, number) in ops {
                let found = table.find(home(&number), |entry| *entry == number);
                prop_assert_eq!(found.is_ok(), list.contains(&number));
                match found {
                    Ok(at) if !add => {
                        prop_assert_eq!(*table.get(at), number);
                        table.remove(at, home);
                        list.retain(|one| *one != number);
                    }
                    Err(at) if add && table.used() + 1 < table.slots() => {
                        table.fill(at, number);
                        list.push(number);
                    }
                    Err(_) if add && table.can_grow() => {
                        table.grow(home);
                        table.insert(home(&number), number);
                        list.push(number);
                    }
                    _ => {}
                }
                prop_assert_eq!(table.used(), list.len());
                for one in &list {
                    prop_assert!(table.find(home(one), |entry| entry == one).is_ok(), "{} is lost", one);
                }
                let (mut all, mut at) = (Vec::new(), 0);
                while let Some((entry, next)) = table.next_from(at) {
                    all.push(*entry);
                    at = next;
                }
                all.sort_unstable();
                let mut wanted = list.clone();
                wanted.sort_unstable();
                prop_assert_eq!(all, wanted);
            }
        }
    }

    #[test]
    #[should_panic(expected = "one slot always stays empty")]
    fn the_last_empty_slot_is_never_filled() {
        let mut table = ProbeTable::<u32>::new(4);
        (1..=4).for_each(|entry| table.insert(home(&entry), entry));
    }
}

//! The last N entries: a new one overwrites the oldest.

use std::iter::{Chain, Rev};
use std::slice::{Iter, IterMut};

/// The entries. Room is reserved when it is made, and paged in as it is used.
pub struct LastN<T> {
    /// In the order of insertion, from `next` on and around.
    kept: Vec<T>,
    /// The index of the oldest, once it is full; 0 before.
    next: usize,
    most: usize,
}

impl<T> Default for LastN<T> {
    /// For no entries.
    fn default() -> Self {
        LastN::new(0)
    }
}

impl<T> LastN<T> {
    /// For `most` entries; with 0 none is kept.
    #[must_use]
    pub fn new(most: usize) -> Self {
        LastN { kept: Vec::with_capacity(most), next: 0, most }
    }

    /// Whether it is empty.
    #[inline]
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.kept.is_empty()
    }

    /// Adds an entry. Returns the one that it overwrites.
    #[inline]
    pub fn push(&mut self, entry: T) -> Option<T> {
        if self.kept.len() < self.most {
            self.kept.push(entry);
            return None;
        }
        let oldest = std::mem::replace(self.kept.get_mut(self.next)?, entry);
        self.move_on();
        Some(oldest)
    }

    /// The same for large entries: the oldest becomes the newest, to be filled again in place. While it is not
    /// full, `fresh` makes one. `None` if it is for no entries.
    #[inline]
    pub fn reuse(&mut self, fresh: impl FnOnce() -> T) -> Option<&mut T> {
        if self.kept.len() < self.most {
            self.kept.push(fresh());
            return self.kept.last_mut();
        }
        let at = self.next;
        self.move_on();
        self.kept.get_mut(at)
    }

    #[inline]
    fn move_on(&mut self) {
        debug_assert!(self.kept.len() == self.most && (self.next < self.most || self.most == 0));
        self.next = if self.next + 1 < self.most { self.next + 1 } else { 0 };
    }

    /// The entry that the next one overwrites, if it is full.
    #[inline]
    #[must_use]
    pub fn overwritten_next(&self) -> Option<&T> {
        (self.kept.len() == self.most).then(|| self.kept.get(self.next)).flatten()
    }

    /// The entry after which `later` others were added.
    #[inline]
    #[must_use]
    pub fn back(&self, later: usize) -> Option<&T> {
        let from_oldest = self.kept.len().checked_sub(later + 1)?;
        let to_end = self.kept.len() - self.next;
        let at = if from_oldest < to_end { self.next + from_oldest } else { from_oldest - to_end };
        Some(&self.kept[at])
    }

    /// All entries, in no meaningful order.
    #[inline]
    pub fn iter(&self) -> Iter<'_, T> {
        self.kept.iter()
    }

    /// The same, mutable.
    #[inline]
    pub fn iter_mut(&mut self) -> IterMut<'_, T> {
        self.kept.iter_mut()
    }

    /// All entries, oldest first, mutable.
    pub fn oldest_first_mut(&mut self) -> Chain<IterMut<'_, T>, IterMut<'_, T>> {
        let (newer, older) = self.kept.split_at_mut(self.next);
        older.iter_mut().chain(newer)
    }

    /// All entries, newest first.
    pub fn newest_first(&self) -> Rev<Chain<Iter<'_, T>, Iter<'_, T>>> {
        let (newer, older) = self.kept.split_at(self.next);
        older.iter().chain(newer).rev()
    }

    /// Removes all entries.
    #[inline]
    pub fn clear(&mut self) {
        self.kept.clear();
        self.next = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::VecDeque;

    proptest! {
        #[test]
        fn agrees_with_a_queue(most in 0usize..6, ops in proptest::collection::vec(0u8..20, 1..100)) {
            let (mut last, mut queue) = (LastN::new(most), VecDeque::new());
            for (number, op) in ops.into_iter().enumerate() {
                prop_assert_eq!(last.overwritten_next(), queue.front().filter(|_| queue.len() == most));
                match op {
                    0 => {
                        last.clear();
                        queue.clear();
                    }
                    1..=8 => {
                        let over = last.push(number);
                        queue.push_back(number);
                        let gone = (queue.len() > most).then(|| queue.pop_front()).flatten();
                        prop_assert_eq!(over, gone.filter(|_| most > 0));
                    }
                    _ => {
                        let slot = last.reuse(|| 0);
                        prop_assert_eq!(slot.is_some(), most > 0);
                        if let Some(slot) = slot {
                            let gone = if queue.len() == most { queue.pop_front() } else { None };
                            prop_assert_eq!(std::mem::replace(slot, number), gone.unwrap_or(0));
                            queue.push_back(number);
                        }
                    }
                }
                prop_assert_eq!(last.is_empty(), queue.is_empty());
                prop_assert!(last.newest_first().eq(queue.iter().rev()));
                prop_assert!(last.oldest_first_mut().map(|one| *one).eq(queue.iter().copied()));
                for later in 0..=most {
                    prop_assert_eq!(last.back(later), queue.iter().rev().nth(later));
                }
                let (mut all, mut wanted) = (Vec::from_iter(last.iter()), Vec::from_iter(&queue));
                all.sort_unstable();
                wanted.sort_unstable();
                prop_assert_eq!(all, wanted);
            }
        }
    }
}

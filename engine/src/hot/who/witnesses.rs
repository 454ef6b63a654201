//! What events of a process were of, as far as they were, when it changed: told with the change.

/// How many are kept: those of a thousand changes and more, as they are asked for within a batch.
const COUNT: usize = 1 << 14;

/// The last of them, oldest overwritten.
pub(super) struct Witnesses {
    /// How far from the end of the queue, and what it was of.
    seen: Vec<(u32, u32)>,
    /// How many were kept in all.
    next: u32,
}

impl Default for Witnesses {
    fn default() -> Self {
        Witnesses { seen: vec![(0, 0); COUNT], next: 0 }
    }
}

impl Witnesses {
    /// Keeps some: the first, and how many.
    pub(super) fn keep(&mut self, seen: impl Iterator<Item = (u32, u32)>) -> (u32, u32) {
        let first = self.next;
        for one in seen {
            self.seen[self.next as usize % COUNT] = one;
            self.next = self.next.wrapping_add(1);
        }
        (first, self.next.wrapping_sub(first))
    }

    /// What the event that many from the end of the queue was of; `None` where nothing was kept.
    pub(super) fn of(&self, (first, count): (u32, u32), back: u64) -> Option<u32> {
        let age = self.next.wrapping_sub(first) as usize;
        (0..count)
            .filter(|_| age <= COUNT)
            .map(|index| self.seen[first.wrapping_add(index) as usize % COUNT])
            .find_map(|(at, types)| (u64::from(at) == back).then_some(types))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn they_are_found_until_they_are_overwritten() {
        let mut witnesses = Witnesses::default();
        let none = witnesses.keep(std::iter::empty());
        let two = witnesses.keep([(0, 8), (5, 2)].into_iter());
        assert_eq!((witnesses.of(none, 0), witnesses.of(two, 5)), (None, Some(2)));
        assert_eq!((witnesses.of(two, 0), witnesses.of(two, 1)), (Some(8), None));
        for _ in 0..COUNT {
            witnesses.keep([(0, 1)].into_iter());
        }
        assert_eq!(witnesses.of(two, 5), None);
    }
}

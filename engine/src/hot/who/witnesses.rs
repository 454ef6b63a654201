//! Witnesses: queued events of a process, and their types, as they were when the process changed. BPF messages
//! carry them.

use crate::hot::containers::last::LastN;
use crate::limits::who::WITNESSES_KEPT;

/// The last witnesses.
pub(super) struct Witnesses {
    /// Distance from the end of the queue, and types of the event.
    seen: LastN<(u32, u32)>,
    /// How many were ever kept.
    next: u32,
}

impl Default for Witnesses {
    fn default() -> Self {
        Witnesses { seen: LastN::new(WITNESSES_KEPT), next: 0 }
    }
}

impl Witnesses {
    /// Keeps the witnesses of a message. Returns the index of the first, and their number.
    pub(super) fn keep(&mut self, seen: impl Iterator<Item = (u32, u32)>) -> (u32, u32) {
        let first = self.next;
        for one in seen {
            self.seen.push(one);
            self.next = self.next.wrapping_add(1);
        }
        (first, self.next.wrapping_sub(first))
    }

    /// The types of the event `back` from the end of the queue; `None` if there is no witness of it.
    pub(super) fn of(&self, (first, count): (u32, u32), back: u64) -> Option<u32> {
        let age = self.next.wrapping_sub(first) as usize;
        (0..count as usize)
            .filter(|_| age <= WITNESSES_KEPT)
            .filter_map(|index| self.seen.back(age.checked_sub(index + 1)?))
            .find_map(|&(at, types)| (u64::from(at) == back).then_some(types))
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
        for _ in 0..WITNESSES_KEPT {
            witnesses.keep([(0, 1)].into_iter());
        }
        assert_eq!(witnesses.of(two, 5), None);
    }
}

//! Directories that a walk met a moment ago.
//!
//! A directory that comes in is read when its event comes up, and shows what is in it by then: what moved in it
//! in between is met where it went later. Until the queue was empty, a path through a directory that was met
//! may be that of a moment later, and a line that has one says so.

use crate::limits::tables::JUST_MET_MAX;

/// Those directories; the tree has a mark at each ([`Tree::set_met`]).
///
/// [`Tree::set_met`]: crate::hot::r#where::tree::Tree::set_met
pub(crate) struct JustMet {
    dirs: Vec<u32>,
    any_more: bool,
    /// When the last one was met.
    met_ns: u64,
}

/// Directories that lose their marks.
pub(crate) struct Settled<I> {
    pub(crate) dirs: I,
    /// Whether others have one, too.
    pub(crate) any_more: bool,
}

impl JustMet {
    pub(crate) fn new() -> Self {
        JustMet { dirs: Vec::with_capacity(JUST_MET_MAX), any_more: false, met_ns: 0 }
    }

    /// Whether there is any.
    #[inline]
    pub(crate) fn any(&self) -> bool {
        !self.dirs.is_empty()
    }

    /// A directory was met at that time.
    pub(crate) fn put(&mut self, dir: u32, now_ns: u64) {
        self.met_ns = now_ns;
        match self.dirs.len() < JUST_MET_MAX {
            true => self.dirs.push(dir),
            false => self.any_more = true,
        }
    }

    /// What was met was read until that time.
    pub(crate) fn note_read(&mut self, now_ns: u64) {
        self.met_ns = now_ns;
    }

    /// The queue was seen empty then: all that had happened before was told, and what was met until now is
    /// forgotten.
    #[inline]
    pub(crate) fn settle(&mut self, empty_ns: u64) -> Option<Settled<impl Iterator<Item = u32>>> {
        if !self.any() || empty_ns <= self.met_ns {
            return None;
        }
        let any_more = std::mem::take(&mut self.any_more);
        Some(Settled { dirs: self.dirs.drain(..), any_more })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn until_the_queue_was_empty_after_the_last_was_met() {
        let mut unsure = JustMet::new();
        unsure.put(5, 100);
        unsure.put(6, 200);
        assert!(unsure.settle(150).is_none() && unsure.any());
        let settled: Vec<_> = unsure.settle(201).expect("empty after that").dirs.collect();
        assert_eq!((settled, unsure.any()), (vec![5, 6], false));
    }

    #[test]
    fn of_many_some_are_kept_and_the_others_known_of() {
        let mut unsure = JustMet::new();
        (0..=JUST_MET_MAX as u32).for_each(|dir| unsure.put(dir, 1));
        let settled = unsure.settle(2).map(|settled| (settled.dirs.count(), settled.any_more));
        assert_eq!(settled, Some((JUST_MET_MAX, true)));
        unsure.put(5, 3);
        assert!(unsure.settle(4).is_some_and(|settled| !settled.any_more));
    }
}

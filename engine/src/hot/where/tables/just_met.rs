//! Directories that a walk has just met.
//!
//! A directory that comes in is read when its event comes up. Entries that moved between the event and the walk are
//! met at their later location. So until the queue was empty, a path through a directory that was met may be too
//! new, and lines with such a path are flagged `unsure`.

use crate::limits::tables::JUST_MET_MAX;

/// The directories; the tree has a mark at each ([`Tree::set_met`]).
///
/// [`Tree::set_met`]: crate::hot::r#where::tree::Tree::set_met
pub(crate) struct JustMet {
    dirs: Vec<u32>,
    any_more: bool,
    /// When the last one was met.
    met_ns: u64,
}

/// Directories that lose their mark.
pub(crate) struct NoLongerMet<I> {
    pub(crate) dirs: I,
    /// Whether there are more.
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

    /// Records that a directory was met.
    pub(crate) fn put(&mut self, dir: u32, now_ns: u64) {
        self.met_ns = now_ns;
        match self.dirs.len() < JUST_MET_MAX {
            true => self.dirs.push(dir),
            false => self.any_more = true,
        }
    }

    /// Records that the walk read until `now_ns`.
    pub(crate) fn note_read(&mut self, now_ns: u64) {
        self.met_ns = now_ns;
    }

    /// The queue was seen empty at `empty_ns`: everything that happened before is reported. Forgets the directories
    /// that were met before that.
    #[inline]
    pub(crate) fn on_queue_empty(
        &mut self,
        empty_ns: u64,
    ) -> Option<NoLongerMet<impl Iterator<Item = u32>>> {
        if !self.any() || empty_ns <= self.met_ns {
            return None;
        }
        let any_more = std::mem::take(&mut self.any_more);
        Some(NoLongerMet { dirs: self.dirs.drain(..), any_more })
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
        assert!(unsure.on_queue_empty(150).is_none() && unsure.any());
        let unmarked: Vec<_> = unsure.on_queue_empty(201).expect("empty after that").dirs.collect();
        assert_eq!((unmarked, unsure.any()), (vec![5, 6], false));
    }

    #[test]
    fn of_many_some_are_kept_and_the_others_known_of() {
        let mut unsure = JustMet::new();
        (0..=JUST_MET_MAX as u32).for_each(|dir| unsure.put(dir, 1));
        let unmarked =
            unsure.on_queue_empty(2).map(|unmarked| (unmarked.dirs.count(), unmarked.any_more));
        assert_eq!(unmarked, Some((JUST_MET_MAX, true)));
        unsure.put(5, 3);
        assert!(unsure.on_queue_empty(4).is_some_and(|unmarked| !unmarked.any_more));
    }
}

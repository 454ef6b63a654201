//! Directories whose removal is reported later.
//!
//! The kernel merges the DELETE of a directory into an event of it that waits in the queue, for example its CREATE.
//! The DELETE then comes before the events of what happened in the directory. So it is reported after these: when
//! the queue was seen empty, or before an event that can only have happened after the removal.
//!
//! Not a [`LastN`]: no entry is overwritten, and removing one from the middle leaves a hole, so that the others
//! keep the slots by which the index finds them.
//!
//! [`LastN`]: crate::hot::containers::last::LastN

use crate::hot::r#where::resolve::Actor;
use crate::hot::r#where::tables::index::Index;
use crate::limits::tables::DEFERRED_MAX;
use fsmon_format::number::to_u32;

/// A directory that was removed, or will be by a later event.
#[derive(Clone, Copy)]
pub(crate) struct Gone {
    /// Its node, and the hash of its handle.
    pub(crate) dir: u32,
    pub(crate) hash: u64,
    /// Whether its removal is reported.
    pub(crate) is_reported: bool,
    /// The process that removed it; the image is held.
    pub(crate) who: Actor,
    /// [`Tree::path_stamp`] of its parent when its event came up. The directory was removed at some time after
    /// that: if the stamp has changed, the path at that time is not known.
    ///
    /// [`Tree::path_stamp`]: crate::hot::r#where::tree::Tree::path_stamp
    pub(crate) stamp: u64,
    /// Whether the path was unsure then.
    pub(crate) is_unsure: bool,
}

/// The directories, in the order of their events, and by node.
pub(crate) struct Deferred {
    /// By number, modulo [`DEFERRED_MAX`]; a removed one leaves a hole.
    gone: Vec<Option<Gone>>,
    /// The number of the first, and of the next.
    first: usize,
    next: usize,
    /// How many there are.
    len: usize,
    /// By node: the slot in `gone`, plus 1.
    by_dir: Index,
    /// When the last one was added.
    since_ns: u64,
    /// Whether any was reported too early since the queue was empty.
    any_early: bool,
    /// Events in directories whose removal may have been reported too early.
    forgotten: u64,
}

impl Deferred {
    pub(crate) fn new() -> Self {
        let (gone, by_dir) = (vec![None; DEFERRED_MAX], Index::new(DEFERRED_MAX));
        Deferred {
            gone,
            first: 0,
            next: 0,
            len: 0,
            by_dir,
            since_ns: 0,
            any_early: false,
            forgotten: 0,
        }
    }

    /// Whether there is any.
    #[inline]
    pub(crate) fn any(&self) -> bool {
        self.len != 0
    }

    /// Whether a directory is one of them.
    pub(crate) fn has(&self, dir: u32) -> bool {
        self.find(dir).is_some()
    }

    /// Whether there is room for another.
    pub(crate) fn has_room(&self) -> bool {
        self.next - self.first < DEFERRED_MAX
    }

    /// Adds a directory that is not in the table, whose event was resolved at `now_ns`. There is room.
    pub(crate) fn put(&mut self, gone: Gone, now_ns: u64) {
        debug_assert!(self.has_room() && !self.has(gone.dir));
        let at = self.next % DEFERRED_MAX;
        self.by_dir.insert(hash(gone.dir), to_u32(at) + 1);
        self.gone[at] = Some(gone);
        self.next += 1;
        self.len += 1;
        self.since_ns = now_ns;
    }

    /// Whether everything that happened in them is resolved, as the queue was empty at `empty_ns`.
    pub(crate) fn is_due(&self, empty_ns: u64) -> bool {
        self.any() && empty_ns > self.since_ns
    }

    /// Removes the entry of a directory.
    pub(crate) fn take(&mut self, dir: u32) -> Option<Gone> {
        let at = self.find(dir)?;
        self.take_at(at)
    }

    /// Removes the last.
    pub(crate) fn take_last(&mut self) -> Option<Gone> {
        while self.next > self.first && self.gone[(self.next - 1) % DEFERRED_MAX].is_none() {
            self.next -= 1;
        }
        if self.any() { self.take_at((self.next - 1) % DEFERRED_MAX) } else { None }
    }

    /// Removes the first if the table is full: its removal is then reported early.
    pub(crate) fn make_room(&mut self) -> Option<Gone> {
        if self.has_room() {
            return None;
        }
        self.any_early = true;
        self.take_at(self.first % DEFERRED_MAX)
    }

    /// Whether any removal was reported early.
    #[inline]
    pub(crate) fn any_early(&self) -> bool {
        self.any_early
    }

    /// Records an event in a directory whose removal was already reported.
    pub(crate) fn note_late(&mut self) {
        self.forgotten += 1;
    }

    /// The count of [`Self::note_late`].
    pub(crate) fn forgotten(&self) -> u64 {
        self.forgotten
    }

    /// The queue was empty at `empty_ns`, and everything before is resolved.
    #[inline]
    pub(crate) fn on_queue_empty(&mut self, empty_ns: u64) {
        self.any_early &= empty_ns <= self.since_ns;
    }

    fn find(&self, dir: u32) -> Option<usize> {
        let is_it = |at: u32| self.gone[at as usize - 1].is_some_and(|gone| gone.dir == dir);
        self.by_dir.find(hash(dir), is_it).map(|at| at as usize - 1)
    }

    fn take_at(&mut self, at: usize) -> Option<Gone> {
        let gone = self.gone[at].take()?;
        self.by_dir.remove(hash(gone.dir), to_u32(at) + 1);
        self.len -= 1;
        while self.first < self.next && self.gone[self.first % DEFERRED_MAX].is_none() {
            self.first += 1;
        }
        Some(gone)
    }
}

/// The index takes the upper half; neighbouring ids get different slots.
fn hash(dir: u32) -> u64 {
    u64::from(dir) << 32
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hot::who::Answer;

    fn gone(dir: u32) -> Gone {
        let who = Answer::default().into();
        Gone { dir, hash: 0, is_reported: true, who, stamp: 0, is_unsure: false }
    }

    #[test]
    fn they_are_taken_by_node_and_from_both_ends() {
        let mut deferred = Deferred::new();
        for dir in 1..=DEFERRED_MAX as u32 {
            assert!(deferred.make_room().is_none() && !deferred.any_early());
            deferred.put(gone(dir), 5);
        }
        assert!(deferred.is_due(6) && !deferred.is_due(5));
        assert_eq!(deferred.make_room().map(|gone| gone.dir), Some(1), "the first, of too many");
        for dir in [2, 3, 5, DEFERRED_MAX as u32] {
            assert_eq!(deferred.take(dir).map(|gone| gone.dir), Some(dir));
            assert!(!deferred.has(dir) && deferred.take(dir).is_none());
        }
        deferred.put(gone(2), 7);
        let mut rest: Vec<_> = std::iter::from_fn(|| deferred.take_last()).collect();
        assert_eq!(rest.len(), DEFERRED_MAX - 4);
        assert_eq!(rest[0].dir, 2, "the last comes first");
        assert_eq!(rest.pop().map(|gone| gone.dir), Some(4));
        assert!(!deferred.any() && deferred.has_room());
        deferred.on_queue_empty(7);
        assert!(deferred.any_early(), "until the queue was empty after the last");
        deferred.on_queue_empty(8);
        assert!(!deferred.any_early());
    }
}

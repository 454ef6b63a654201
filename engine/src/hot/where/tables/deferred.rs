//! Directories whose removal is told later.
//!
//! The kernel merges a directory's DELETE into an event of it that waits in the queue, its CREATE
//! for one, before all that happened in it. So such a DELETE is told when that has come up: when
//! the queue was seen empty, or before something that can only have happened after it.
//!
//! They are no [`LastN`]: nothing is overwritten, and what is taken from the middle leaves a hole, so that the places of
//! the others, by which the index finds them, stay.
//!
//! [`LastN`]: crate::hot::containers::last::LastN

use crate::hot::r#where::resolve::Actor;
use crate::hot::r#where::tables::index::Index;
use crate::limits::tables::DEFERRED_MAX;
use crate::num::limited_u32;

/// A directory that is gone, or will have been.
#[derive(Clone, Copy)]
pub(crate) struct Gone {
    /// Its node, and the hash of its handle.
    pub(crate) dir: u32,
    pub(crate) hash: u64,
    /// Whether it is to be told of.
    pub(crate) tell: bool,
    /// Who removed it; the image is held.
    pub(crate) who: Actor,
    /// [`Tree::path_stamp`] of what it is in, when its event came up. It was removed at some moment after
    /// that: where this has changed by now, nobody knows under which path.
    ///
    /// [`Tree::path_stamp`]: crate::hot::r#where::tree::Tree::path_stamp
    pub(crate) stamp: u64,
    /// Whether that path was unsure then.
    pub(crate) is_unsure: bool,
}

/// Those directories, in the order of their events, and by their nodes.
pub(crate) struct Deferred {
    /// By number, modulo [`DEFERRED_MAX`]; one that was taken leaves a hole.
    gone: Vec<Option<Gone>>,
    /// The numbers of the first and of the next.
    first: usize,
    next: usize,
    /// How many there are.
    len: usize,
    /// By node: the place in `gone`, plus 1.
    by_dir: Index,
    /// When the last one came.
    since_ns: u64,
    /// Whether any was told of before its time, since the queue was empty.
    any_early: bool,
    /// Events in directories whose removal may have been told of too early.
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

    /// Keeps one that is not kept yet, whose event was resolved at that time. There is room.
    pub(crate) fn put(&mut self, gone: Gone, now_ns: u64) {
        debug_assert!(self.has_room() && !self.has(gone.dir));
        let at = self.next % DEFERRED_MAX;
        self.by_dir.insert(hash(gone.dir), limited_u32(at) + 1);
        self.gone[at] = Some(gone);
        self.next += 1;
        self.len += 1;
        self.since_ns = now_ns;
    }

    /// Whether all that happened in them was resolved, as the queue was empty at that time.
    pub(crate) fn is_due(&self, empty_ns: u64) -> bool {
        self.any() && empty_ns > self.since_ns
    }

    /// Takes the one that is that directory.
    pub(crate) fn take(&mut self, dir: u32) -> Option<Gone> {
        let at = self.find(dir)?;
        self.take_at(at)
    }

    /// Takes the last.
    pub(crate) fn take_last(&mut self) -> Option<Gone> {
        while self.next > self.first && self.gone[(self.next - 1) % DEFERRED_MAX].is_none() {
            self.next -= 1;
        }
        if self.any() { self.take_at((self.next - 1) % DEFERRED_MAX) } else { None }
    }

    /// Takes the first where there is no room for another: its removal is to be told of before its time.
    pub(crate) fn make_room(&mut self) -> Option<Gone> {
        if self.has_room() {
            return None;
        }
        self.any_early = true;
        self.take_at(self.first % DEFERRED_MAX)
    }

    /// Whether the removal of any directory was told of before its time.
    #[inline]
    pub(crate) fn any_early(&self) -> bool {
        self.any_early
    }

    /// Something happened in a directory whose removal was told of.
    pub(crate) fn note_late(&mut self) {
        self.forgotten += 1;
    }

    /// How often that was.
    pub(crate) fn forgotten(&self) -> u64 {
        self.forgotten
    }

    /// The queue was empty at that time, and all of before is resolved.
    #[inline]
    pub(crate) fn settle(&mut self, empty_ns: u64) {
        self.any_early &= empty_ns <= self.since_ns;
    }

    fn find(&self, dir: u32) -> Option<usize> {
        let is_it = |at: u32| self.gone[at as usize - 1].is_some_and(|gone| gone.dir == dir);
        self.by_dir.find(hash(dir), is_it).map(|at| at as usize - 1)
    }

    fn take_at(&mut self, at: usize) -> Option<Gone> {
        let gone = self.gone[at].take()?;
        self.by_dir.remove(hash(gone.dir), limited_u32(at) + 1);
        self.len -= 1;
        while self.first < self.next && self.gone[self.first % DEFERRED_MAX].is_none() {
            self.first += 1;
        }
        Some(gone)
    }
}

/// The index goes by the upper half. Neighbours go to places of their own.
fn hash(dir: u32) -> u64 {
    u64::from(dir) << 32
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hot::who::Answer;

    fn gone(dir: u32) -> Gone {
        Gone { dir, hash: 0, tell: true, who: Answer::default().into(), stamp: 0, is_unsure: false }
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
        deferred.settle(7);
        assert!(deferred.any_early(), "until the queue was empty after the last");
        deferred.settle(8);
        assert!(!deferred.any_early());
    }
}

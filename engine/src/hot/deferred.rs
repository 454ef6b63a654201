//! Directories whose removal is told later.
//!
//! The kernel merges a directory's DELETE into an event of it that waits in the queue, its CREATE
//! for one, before all that happened in it. So such a DELETE is told when that has come up: when
//! the queue was seen empty, or before something that can only have happened after it.

use super::resolve::Actor;
use super::tree::Tree;
use std::collections::VecDeque;

/// Directories at one time; the first of more is told of: what happened in it is likely to have
/// come up by then.
const COUNT: usize = 4096;

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
    /// [`Tree::moves_above`] of what it is in, when its event came up. It was removed at some moment after
    /// that: where this has changed by now, nobody knows under which path.
    pub(crate) moves: u64,
}

/// Those directories, in the order of their events.
pub(crate) struct Deferred {
    gone: VecDeque<Gone>,
    /// When the last one came.
    since_ns: u64,
}

impl Deferred {
    pub(crate) fn new() -> Self {
        Deferred { gone: VecDeque::with_capacity(COUNT), since_ns: 0 }
    }

    /// Whether there is any.
    #[inline]
    pub(crate) fn any(&self) -> bool {
        !self.gone.is_empty()
    }

    /// Whether a directory is one of them.
    pub(crate) fn has(&self, dir: u32) -> bool {
        self.gone.iter().any(|gone| gone.dir == dir)
    }

    /// Whether there is room for another.
    pub(crate) fn has_room(&self) -> bool {
        self.gone.len() < COUNT
    }

    /// Keeps one, whose event was resolved at that time.
    pub(crate) fn put(&mut self, gone: Gone, now_ns: u64) {
        self.gone.push_back(gone);
        self.since_ns = now_ns;
    }

    /// Whether all that happened in them was resolved, as the queue was empty at that time.
    pub(crate) fn is_due(&self, empty_ns: u64) -> bool {
        self.any() && empty_ns > self.since_ns
    }

    /// Takes the last of those that `is_one` picks.
    pub(crate) fn take(&mut self, is_one: impl Fn(&Gone) -> bool) -> Option<Gone> {
        let at = self.gone.iter().rposition(is_one)?;
        self.gone.remove(at)
    }

    /// Takes the last that is below a directory, and all between the two as well: what is in one that
    /// stays was moved away with it.
    pub(crate) fn last_below(&mut self, tree: &Tree, dir: u32) -> Option<Gone> {
        let is_gone = |id: u32| self.gone.iter().any(|gone| gone.dir == id);
        let is_below = |gone: &Gone| {
            if gone.dir == dir || !tree.is_below(gone.dir, dir) {
                return false;
            }
            let mut at = tree.node(gone.dir).parent;
            while at != dir && is_gone(at) {
                at = tree.node(at).parent;
            }
            at == dir
        };
        let at = self.gone.iter().rposition(is_below)?;
        self.gone.remove(at)
    }

    /// Takes the first where there is no room for another.
    pub(crate) fn make_room(&mut self) -> Option<Gone> {
        if self.has_room() { None } else { self.gone.pop_front() }
    }
}

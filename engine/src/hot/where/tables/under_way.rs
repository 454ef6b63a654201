//! Walks in progress: of directories that came in with more below them than one step reads.
//!
//! A walk of a large tree takes as long as find(1), a second for about 100,000 directories. It is made in steps.
//! Between two steps the reader takes in process messages and events, as always. Directories that a walk has not
//! read yet are [`flag::UNREAD`] or unknown: an event of an unknown directory makes the walk read the way to it
//! first (`resolve/ahead.rs`).
//!
//! [`flag::UNREAD`]: crate::hot::r#where::tree::flag::UNREAD

use crate::hot::r#where::resolve::Actor;
use crate::hot::r#where::tree::{Tree, flag};
use crate::limits::tables::{WALK_OUTSIDE_KEPT, WALK_STEP_NS, WALKS_UNDER_WAY_MAX};
use arrayvec::ArrayVec;

/// A node, and the hash of its handle, as the id may be given to another node.
#[derive(Clone, Copy, PartialEq, Eq)]
struct At {
    id: u32,
    hash: u64,
}

impl At {
    fn new(tree: &Tree, id: u32) -> Self {
        At { id, hash: tree.node(id).hash() }
    }

    fn is_there(self, tree: &Tree) -> bool {
        let node = tree.node(self.id);
        node.hash() == self.hash && node.flags & (flag::LIVE | flag::DEAD) == flag::LIVE
    }
}

/// A walk in progress.
#[derive(Clone, Copy)]
pub(crate) struct Walk {
    top: At,
    /// Where it continues.
    next: At,
    /// A directory moved within the tree that it reads, perhaps to a part that the walk has passed.
    is_stirred: bool,
    /// The process to which found entries are attributed, whose image is held; `None` if they are not reported.
    pub(crate) report_as: Option<Actor>,
}

impl Walk {
    /// The top directory, and the one where it continues.
    pub(crate) fn top_and_next(&self) -> (u32, u32) {
        (self.top.id, self.next.id)
    }
}

/// All of them. The last one continues first: entries of a directory that came into one that another walk reads are
/// attributed to the process that moved it there.
pub(crate) struct UnderWay {
    under_way: ArrayVec<Walk, WALKS_UNDER_WAY_MAX>,
    /// Hashes of directories that are outside of all walks, each in its slot. Not a `SetCache`, as each set has one
    /// entry.
    outside: Vec<u64>,
    /// Length of a step, ns.
    pub(crate) step_ns: u64,
}

impl UnderWay {
    pub(crate) fn new() -> Self {
        UnderWay {
            under_way: ArrayVec::new(),
            outside: vec![0; WALK_OUTSIDE_KEPT],
            step_ns: WALK_STEP_NS,
        }
    }

    /// Whether there is any.
    #[inline]
    pub(crate) fn any(&self) -> bool {
        !self.under_way.is_empty()
    }

    /// Whether there is room for another.
    pub(crate) fn has_room(&self) -> bool {
        !self.under_way.is_full()
    }

    /// Continues a walk of `top` at `next`. There is room, and the image of `report_as` is held. Returns the
    /// process to which the walk was attributed until now, to be released.
    pub(crate) fn put(
        &mut self,
        tree: &Tree,
        (top, next): (u32, u32),
        report_as: Option<Actor>,
    ) -> Option<Actor> {
        let (top, next) = (At::new(tree, top), At::new(tree, next));
        self.forget_outside();
        let known = self.under_way.iter().position(|walk| walk.top == top);
        let before = known.and_then(|at| self.under_way.remove(at).report_as);
        self.under_way.push(Walk { top, next, is_stirred: false, report_as });
        before
    }

    /// Records that a directory moved: nothing below it may be missed.
    pub(crate) fn stir(&mut self, tree: &Tree, dir: u32) {
        for walk in &mut self.under_way {
            walk.is_stirred |= walk.top.is_there(tree) && tree.is_below(dir, walk.top.id);
        }
    }

    /// The last walk, and where it can continue: its directory may have moved.
    pub(crate) fn last(&mut self, tree: &Tree) -> Option<Walk> {
        let walk = self.under_way.last_mut()?;
        if !walk.next.is_there(tree) || !tree.is_below(walk.next.id, walk.top.id) {
            (walk.next, walk.is_stirred) = (walk.top, false);
        }
        Some(*walk)
    }

    /// Whether the directory that a walk reads is still there.
    pub(crate) fn is_there(&self, walk: &Walk, tree: &Tree) -> bool {
        walk.top.is_there(tree)
    }

    /// The last walk continues at `next`; `None`: it is at its end, and starts again if it has to. Returns whether
    /// it is over.
    pub(crate) fn go_on(&mut self, tree: &Tree, next: Option<u32>) -> bool {
        let Some(walk) = self.under_way.last_mut() else { return true };
        match next {
            Some(next) => walk.next = At::new(tree, next),
            None if walk.is_stirred => (walk.next, walk.is_stirred) = (walk.top, false),
            None => return true,
        }
        false
    }

    /// Removes the last walk.
    pub(crate) fn pop(&mut self) -> Option<Walk> {
        self.under_way.pop()
    }

    /// The last walk that reads a directory, or will read it.
    pub(crate) fn of(&self, tree: &Tree, dir: u32) -> Option<&Walk> {
        let reads = |walk: &&Walk| walk.top.is_there(tree) && tree.is_below(dir, walk.top.id);
        self.under_way.iter().rev().find(reads)
    }

    /// Whether any reads below that root.
    pub(crate) fn any_in(&self, tree: &Tree, root: u32) -> bool {
        let is_in = |walk: &Walk| walk.top.is_there(tree) && tree.root_of(walk.top.id) == root;
        self.under_way.iter().any(is_in)
    }

    /// Whether a directory is known to be outside of all walks.
    pub(crate) fn is_outside(&self, hash: u64) -> bool {
        self.outside[(hash >> 32) as usize % WALK_OUTSIDE_KEPT] == hash
    }

    /// Records that a directory is outside. It may replace another.
    pub(crate) fn note_outside(&mut self, hash: u64) {
        self.outside[(hash >> 32) as usize % WALK_OUTSIDE_KEPT] = hash;
    }

    /// A directory was renamed, so what was outside may have come in.
    pub(crate) fn forget_outside(&mut self) {
        self.outside.fill(0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hot::event::Key;

    /// A root with `a` and `b` in it, and `c` in `a`.
    fn tree() -> (Tree, [u32; 4]) {
        let mut tree = Tree::new(16, vec![1]);
        let mut insert = |parent, name: &[u8]| {
            let key = Key { fsid: 1, handle: name };
            tree.insert(parent, name, key).expect("room").id()
        };
        let root = insert(0, b"/r");
        let (a, b) = (insert(root, b"a"), insert(root, b"b"));
        let c = insert(a, b"c");
        (tree, [root, a, b, c])
    }

    #[test]
    fn the_last_goes_on_where_it_was_as_long_as_that_is_below_it() {
        let (mut tree, [root, a, b, c]) = tree();
        let mut walks = UnderWay::new();
        assert!(!walks.any() && walks.last(&tree).is_none());
        walks.put(&tree, (root, b), None);
        walks.put(&tree, (a, c), None);
        let top_and_next =
            |walks: &mut UnderWay, tree: &Tree| walks.last(tree).map(|walk| walk.top_and_next());
        assert_eq!(top_and_next(&mut walks, &tree), Some((a, c)));
        tree.rename(c, b, b"c").expect("room");
        assert_eq!(top_and_next(&mut walks, &tree), Some((a, a)), "from its top");
        assert!(walks.of(&tree, c).is_some_and(|walk| walk.top_and_next() == (root, b)));
        assert!(walks.go_on(&tree, None) && walks.pop().is_some());
        tree.remove(b);
        assert_eq!(top_and_next(&mut walks, &tree), Some((root, root)));
    }

    #[test]
    fn what_was_stirred_is_gone_through_again() {
        let (tree, [root, a, b, c]) = tree();
        let mut walks = UnderWay::new();
        walks.put(&tree, (a, c), None);
        walks.stir(&tree, b);
        assert!(!walks.go_on(&tree, Some(c)) && walks.go_on(&tree, None));
        walks.stir(&tree, c);
        assert!(!walks.go_on(&tree, None), "once more");
        assert_eq!(walks.last(&tree).map(|walk| walk.top_and_next()), Some((a, a)));
        assert!(walks.go_on(&tree, None) && walks.of(&tree, root).is_none());
    }

    #[test]
    fn what_is_gone_is_not_read_and_what_came_may_not_be_outside() {
        let (mut tree, [_, a, _, c]) = tree();
        let mut walks = UnderWay::new();
        walks.note_outside(5);
        assert!(walks.is_outside(5));
        walks.put(&tree, (a, c), None);
        assert!(!walks.is_outside(5));
        tree.remove(a);
        let walk = walks.last(&tree).expect("one");
        assert!(!walks.is_there(&walk, &tree) && walks.of(&tree, c).is_none());
        assert!(walks.put(&tree, (a, a), None).is_none());
        assert!(walks.pop().is_some() && !walks.any(), "one of a directory");
    }
}

//! Directories that are gone, or no longer watched.
//!
//! A removed directory stays for a while as a dead node, off its parent's list: events on it that
//! were still to come (DELETE_SELF, a last ATTRIB, all that happened in a directory whose DELETE
//! the kernel merged into its CREATE) find its last path. The dead are chained by `next` and
//! `prev`, the oldest first, a dead child always before its dead parent: so no node goes while
//! another hangs on it. None goes before the event queue was empty ([`Tree::settle`]), unless room
//! runs out.

use super::{FREED, FRESH, Full, Inserted, KEY_INLINE, MET, Node, Tree, flag, text_of};
use crate::limits::walks::BURIALS_MAX;
use zerocopy::FromZeros;

impl Tree {
    /// A directory is gone, with all that hangs below it. Late events still find its path.
    pub fn remove(&mut self, id: u32) {
        self.bottom_up(id, Tree::kill);
    }

    /// A directory is no longer watched, with all that hangs below it: it becomes a stranger. Its
    /// nodes are dead ones that are not found any more: what was removed in it hangs on them.
    /// Not a root: see [`Tree::forget_root`].
    pub fn forget(&mut self, id: u32) {
        if self.node(id).flags & flag::ROOT != 0 {
            return;
        }
        self.forget_all(id);
    }

    /// The same for a root, which is one no longer.
    pub(crate) fn forget_root(&mut self, id: u32) {
        self.forget_all(id);
    }

    fn forget_all(&mut self, id: u32) {
        self.bottom_up(id, |tree, id| {
            tree.kill(id);
            tree.unfind(id);
        });
    }

    /// Does `act` to every live node from `id` down, children before parents.
    fn bottom_up(&mut self, id: u32, act: impl Fn(&mut Tree, u32)) {
        let mut at = id;
        loop {
            while self.node(at).child != 0 {
                at = self.node(at).child;
            }
            let parent = self.node(at).parent;
            act(self, at);
            if at == id {
                return;
            }
            at = parent;
        }
    }

    fn kill(&mut self, id: u32) {
        if self.node(id).flags & flag::DEAD != 0 {
            return;
        }
        self.unhang(id);
        self.unread -= usize::from(self.node(id).flags & flag::UNREAD != 0);
        let node = self.node_mut(id);
        node.flags = node.flags & !flag::ROOT | flag::DEAD;
        self.live -= 1;
        self.young += 1;
        // A parent that died before goes after it.
        let mut at = id;
        loop {
            self.chain(at);
            at = self.node(at).parent;
            if at == 0 || self.node(at).flags & flag::DEAD == 0 {
                return;
            }
            self.unchain(at);
        }
    }

    /// To the end of the chain of the dead.
    fn chain(&mut self, id: u32) {
        let last = self.dead_last;
        let node = self.node_mut(id);
        (node.prev, node.next) = (last, 0);
        match last {
            0 => self.dead_first = id,
            _ => self.node_mut(last).next = id,
        }
        self.dead_last = id;
        self.dead += 1;
    }

    fn unchain(&mut self, id: u32) {
        let Node { next, prev, .. } = *self.node(id);
        match prev {
            0 => self.dead_first = next,
            _ => self.node_mut(prev).next = next,
        }
        match next {
            0 => self.dead_last = prev,
            _ => self.node_mut(next).prev = prev,
        }
        let node = self.node_mut(id);
        (node.next, node.prev) = (0, 0);
        self.dead -= 1;
    }

    /// The event queue was empty: nothing of before is to come, but for a last event of an object
    /// that is still open. All but the newest of the dead can go.
    #[inline]
    pub fn on_queue_empty(&mut self) {
        self.young = 0;
        for _ in 0..BURIALS_MAX {
            if self.dead <= self.dead_max {
                return;
            }
            self.bury_oldest();
        }
    }

    /// Frees the node that has been dead for longest. Where something live hangs on it yet, an
    /// event that would have taken that elsewhere never came: it dies first, and goes first.
    pub(super) fn bury_oldest(&mut self) {
        let id = self.dead_first;
        match self.node(id).child {
            0 => {
                self.unchain(id);
                self.free(id);
            }
            child => self.remove(child),
        }
    }

    /// It is not found by its handle any more.
    fn unfind(&mut self, id: u32) {
        self.index.remove(self.node(id).hash, id);
        self.last.set(0);
    }

    fn free(&mut self, id: u32) {
        let node = *self.node(id);
        self.unfind(id);
        self.text.remove(node.name);
        if usize::from(node.key_len) > KEY_INLINE {
            self.text.remove(text_of(&node));
        }
        let fresh = (node.fresh & !(FRESH | MET)).wrapping_add(FREED);
        *self.node_mut(id) = Node { next: self.free, fresh, ..Node::new_zeroed() };
        self.free = id;
    }

    /// A directory that was taken for dead is there after all, at its new place, which cannot be
    /// below itself.
    pub(super) fn revive(&mut self, id: u32, parent: u32, name: &[u8]) -> Result<Inserted, Full> {
        if self.is_below(parent, id) {
            return Err(Full);
        }
        self.set_name(id, name)?;
        self.unchain(id);
        self.hang(id, parent);
        self.live += 1;
        self.unread += usize::from(self.node(id).flags & flag::UNREAD != 0);
        let node = self.node_mut(id);
        node.flags &= !flag::DEAD;
        node.generation = node.generation.wrapping_add(1);
        Ok(Inserted::Moved(id))
    }
}

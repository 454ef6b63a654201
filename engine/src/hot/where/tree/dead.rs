//! Directories that are gone, or no longer watched.
//!
//! A removed directory stays for a while as a dead node, off the list of its parent. So late events (DELETE_SELF, a
//! last ATTRIB, everything in a directory whose DELETE the kernel merged into its CREATE) find its last path.
//! `next` and `prev` link the dead nodes, the oldest first, and a dead child always before its dead parent: so no
//! node is freed while another refers to it. None is freed before the event queue was empty
//! ([`Tree::on_queue_empty`]), unless there is no room.

use super::{FREED, FRESH, Full, Inserted, KEY_INLINE, MET, Node, Tree, flag, text_of};
use crate::limits::walks::BURIALS_MAX;
use zerocopy::FromZeros;

impl Tree {
    /// A directory is gone, with everything below it. Late events still find its path.
    pub fn remove(&mut self, id: u32) {
        self.bottom_up(id, Tree::kill);
    }

    /// A directory is no longer watched, with everything below it. Its nodes become dead ones that are not found by
    /// handle any more; nodes of directories that were removed in it still refer to them. Not for a root: see
    /// [`Tree::forget_root`].
    pub fn forget(&mut self, id: u32) {
        if self.node(id).flags & flag::ROOT != 0 {
            return;
        }
        self.forget_all(id);
    }

    /// The same for a root, which ceases to be one.
    pub(crate) fn forget_root(&mut self, id: u32) {
        self.forget_all(id);
    }

    fn forget_all(&mut self, id: u32) {
        self.bottom_up(id, |tree, id| {
            tree.kill(id);
            tree.unfind(id);
        });
    }

    /// Calls `act` for every live node from `id` down, children before parents.
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
        self.filesystem_mut(id).live -= 1;
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

    /// Appends a node to the list of dead nodes.
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

    /// The event queue was empty: no earlier event is to come, except a last event of an object that is still open.
    /// All but the newest dead nodes can be freed.
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

    /// Frees the node that has been dead for longest. If a live node is still below it, the event that would have
    /// moved that node never came: it dies first, and is freed first.
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

    /// Removes a node from the index of handles.
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

    /// A directory that was taken as dead exists after all, at a new location, which cannot be below itself.
    pub(super) fn revive(&mut self, id: u32, parent: u32, name: &[u8]) -> Result<Inserted, Full> {
        if self.is_below(parent, id) {
            return Err(Full);
        }
        self.set_name(id, name)?;
        self.unchain(id);
        self.hang(id, parent);
        self.live += 1;
        self.filesystem_mut(id).live += 1;
        self.unread += usize::from(self.node(id).flags & flag::UNREAD != 0);
        let node = self.node_mut(id);
        node.flags &= !flag::DEAD;
        node.generation = node.generation.wrapping_add(1);
        Ok(Inserted::Moved(id))
    }
}

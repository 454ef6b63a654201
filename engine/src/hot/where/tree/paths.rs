//! Parents, children and paths of nodes.

use super::hash::fold;
use super::{Node, Tree};
use crate::hot::event::Key;

impl Tree {
    /// A number that stands for the path of a directory. It changes when the directory or one above it is renamed
    /// (with a chance of 2^-64 that it does not).
    pub(crate) fn path_stamp(&self, id: u32) -> u64 {
        let (mut stamp, mut at) = (0u64, id);
        while at != 0 {
            let node = self.node(at);
            // A plain sum of the generations would stay the same after `mv a/b/c a/c` if `b` had been renamed once.
            stamp ^= u64::from(at) << 32 | u64::from(node.generation);
            stamp = stamp.wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(32);
            at = node.parent;
        }
        stamp
    }

    /// Whether `id` is `above` or below it. The tree has no cycles; this check keeps it so.
    pub(crate) fn is_below(&self, id: u32, above: u32) -> bool {
        let mut at = id;
        while at != 0 {
            if at == above {
                return true;
            }
            at = self.node(at).parent;
        }
        false
    }

    pub(super) fn hang(&mut self, id: u32, parent: u32) {
        let first = if parent == 0 { 0 } else { self.node(parent).child };
        let node = self.node_mut(id);
        node.parent = parent;
        node.next = first;
        node.prev = 0;
        if first != 0 {
            self.node_mut(first).prev = id;
        }
        if parent != 0 {
            self.node_mut(parent).child = id;
            self.names.insert(self.name_hash(parent, self.name(id)), id);
        }
    }

    /// Removes a node from the list of its parent; it still remembers the parent.
    pub(super) fn unhang(&mut self, id: u32) {
        let Node { parent, next, prev, .. } = *self.node(id);
        if parent != 0 {
            self.names.remove(self.name_hash(parent, self.name(id)), id);
        }
        if next != 0 {
            self.node_mut(next).prev = prev;
        }
        if prev != 0 {
            self.node_mut(prev).next = next;
        } else if parent != 0 && self.node(parent).child == id {
            self.node_mut(parent).child = next;
        }
        let node = self.node_mut(id);
        (node.next, node.prev) = (0, 0);
    }

    /// A subdirectory with that name, other than `but`.
    pub fn child_named(&self, parent: u32, name: &[u8], but: Option<u32>) -> Option<u32> {
        self.names.find(self.name_hash(parent, name), |id| {
            self.node(id).parent == parent && self.name(id) == name && Some(id) != but
        })
    }

    pub(super) fn name_hash(&self, parent: u32, name: &[u8]) -> u64 {
        fold(self.seed, Key { fsid: u64::from(parent), handle: name })
    }

    /// The node after `id` in a walk through `top`, parents before children; 0 at the end.
    pub fn following(&self, id: u32, top: u32) -> u32 {
        match self.node(id).child {
            0 => self.past(id, top),
            child => child,
        }
    }

    /// The node after `id` and everything below it.
    pub fn past(&self, id: u32, top: u32) -> u32 {
        let mut at = id;
        while at != top && self.node(at).next == 0 {
            at = self.node(at).parent;
        }
        if at == top { 0 } else { self.node(at).next }
    }

    /// The root that a node is below, or itself.
    pub fn root_of(&self, id: u32) -> u32 {
        let mut at = id;
        while self.node(at).parent != 0 {
            at = self.node(at).parent;
        }
        at
    }

    /// Appends the path below the root (without it) to `out`.
    pub fn append_path(&self, id: u32, out: &mut Vec<u8>) {
        self.append_path_from(0, id, out);
    }

    /// Appends the path below `top`, which is an ancestor of `id`.
    pub fn append_path_from(&self, top: u32, id: u32, out: &mut Vec<u8>) {
        let is_end = |at: u32| at == top || self.node(at).parent == 0;
        let (mut len, mut at) = (0, id);
        while !is_end(at) {
            len += self.name(at).len() + 1;
            at = self.node(at).parent;
        }
        let start = out.len();
        out.resize(start + len.saturating_sub(1), b'/');
        let (mut end, mut at) = (out.len(), id);
        while !is_end(at) {
            let name = self.name(at);
            out[end - name.len()..end].copy_from_slice(name);
            end = (end - name.len()).saturating_sub(1);
            at = self.node(at).parent;
        }
    }
}

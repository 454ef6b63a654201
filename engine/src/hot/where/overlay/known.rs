//! Objects with a lower layer: their keys on the overlay differ from those of the upper layer.

use crate::hot::containers::last::LastN;
use crate::hot::r#where::tables::index::Index;
use crate::hot::r#where::tree::{Tree, flag};
use crate::sys::handle::KEY_MAX;

/// Directories with marks of their own, by the hash of the wrapped key of their upper directory.
pub(super) struct Known {
    index: Index,
    /// By node, with the hash of the directory, as the node may be reused.
    hashes: Vec<u64>,
    dirs: Vec<u64>,
}

impl Known {
    /// For nodes below `nodes`.
    pub(super) fn new(nodes: usize) -> Self {
        Known { index: Index::new(nodes), hashes: vec![0; nodes], dirs: vec![0; nodes] }
    }

    /// Records the upper directory of a node.
    pub(super) fn put(&mut self, tree: &Tree, hash: u64, node: u32) {
        let Some(known) = self.hashes.get_mut(node as usize) else { return };
        self.dirs[node as usize] = tree.node(node).hash();
        let before = std::mem::replace(known, hash);
        if before == hash {
            return;
        }
        if before != 0 {
            self.index.remove(before, node);
        }
        self.index.insert(hash, node);
    }

    /// The node with that upper directory.
    #[inline]
    pub(super) fn find(&self, tree: &Tree, hash: u64) -> Option<u32> {
        if self.hashes.is_empty() {
            return None;
        }
        let found = self.index.find(hash, |id| self.hashes[id as usize] == hash)?;
        let node = tree.node(found);
        let is_live = node.flags & (flag::LIVE | flag::DEAD) == flag::LIVE;
        (is_live && node.hash() == self.dirs[found as usize]).then_some(found)
    }

    /// Whether the upper directory of a node is known.
    pub(super) fn has(&self, tree: &Tree, node: u32) -> bool {
        let hash = self.hashes.get(node as usize).copied().filter(|hash| *hash != 0);
        hash.is_some_and(|hash| self.find(tree, hash) == Some(node))
    }
}

/// The key of a file on the overlay.
struct Alias {
    /// The hash of the wrapped key of its upper file.
    upper: u64,
    len: u8,
    key: [u8; KEY_MAX],
}

/// Files with a lower layer that were moved to directories without one.
pub(super) struct Aliases {
    all: LastN<Alias>,
    /// Files that were overwritten.
    forgotten: u64,
}

impl Aliases {
    pub(super) fn new(count: usize) -> Self {
        Aliases { all: LastN::new(count), forgotten: 0 }
    }

    /// Records the key on the overlay of the file whose upper file has the hash `upper`.
    pub(super) fn put(&mut self, upper: u64, key: &[u8]) {
        let Ok(len) = u8::try_from(key.len()) else { return };
        let mut alias = Alias { upper, len, key: [0; KEY_MAX] };
        let Some(room) = alias.key.get_mut(..key.len()) else { return };
        room.copy_from_slice(key);
        match self.all.iter_mut().find(|known| known.upper == upper) {
            Some(known) => *known = alias,
            None => self.forgotten += u64::from(self.all.push(alias).is_some()),
        }
    }

    /// The key of the file whose upper file has the hash `upper`.
    #[inline]
    pub(super) fn find(&self, upper: u64) -> Option<&[u8]> {
        let alias = self.all.iter().find(|alias| alias.upper == upper)?;
        Some(&alias.key[..usize::from(alias.len)])
    }

    /// Number of files that were overwritten: their events may be attributed to another file.
    pub(super) fn forgotten(&self) -> u64 {
        self.forgotten
    }

    /// Whether a file has that key.
    pub(super) fn have(&self, key: &[u8]) -> bool {
        self.all.iter().any(|alias| &alias.key[..usize::from(alias.len)] == key)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_alias_is_found_until_too_many_came_after_it() {
        let mut aliases = Aliases::new(2);
        assert_eq!(aliases.find(0), None);
        aliases.put(1, b"one");
        aliases.put(1, b"another");
        aliases.put(2, b"two");
        assert_eq!((aliases.find(1), aliases.find(2)), (Some(&b"another"[..]), Some(&b"two"[..])));
        aliases.put(3, b"three");
        assert_eq!((aliases.find(1), aliases.find(3)), (None, Some(&b"three"[..])));
        assert_eq!(aliases.forgotten(), 1);
        Aliases::new(0).put(1, b"nowhere");
    }

    #[test]
    fn an_upper_directory_leads_to_its_node_while_that_lives() {
        use crate::hot::event::Key;
        let mut tree = Tree::new(8, vec![1]);
        let key = |handle| Key { fsid: 1, handle };
        let root = tree.insert(0, b"/r", key(b"root")).expect("room").id();
        let dir = tree.insert(root, b"d", key(b"dir")).expect("room").id();
        let mut known = Known::new(16);
        known.put(&tree, 6, dir);
        known.put(&tree, 8, dir);
        assert_eq!((known.find(&tree, 6), known.find(&tree, 8)), (None, Some(dir)));
        tree.remove(dir);
        assert_eq!(known.find(&tree, 8), None);
    }
}

//! The tree of watched directories, kept from the event queue in queue order.
//!
//! A node is 64 bytes: who it is (handle), where it hangs (parent), what it is called. Moving a
//! directory is re-hanging one node, whatever hangs below. Nodes are found by handle through the
//! [`Index`]; names and long handles live in an [`Arena`]. All room is reserved at the start and
//! paged in as it is used.
//!
//! A removed directory stays for a while as a dead node, off its parent's list: events on it that
//! were still to come (DELETE_SELF, a last ATTRIB, all that happened in a directory whose DELETE
//! the kernel merged into its CREATE) find its last path. The dead are chained by `next` and
//! `prev`, the oldest first, children always before their parents. None goes before the event
//! queue was empty ([`Tree::settle`]), unless room runs out.

use super::event::Key;
use super::index::Index;
use crate::limits::DIRS_DEAD_MAX as DEAD_MAX;
use fsmon_format::arena::{Arena, Text};
use std::collections::hash_map::RandomState;
use std::hash::{BuildHasher, Hasher};
use zerocopy::{FromBytes, FromZeros, IntoBytes};

/// Dead nodes that are given up by one call: a bound on the work between two batches.
const BURIALS_MAX: usize = 4096;
/// Bytes of a key that fit into the node; longer ones (overlayfs) go to the arena.
const KEY_INLINE: usize = 24;
/// Bytes of names and long keys reserved for each directory, on average.
const TEXT_PER_NODE: usize = 64;
/// Siblings that are looked at for a name that a rename replaced.
const SIBLINGS_MAX: usize = 4096;

/// What is true of a node.
pub(crate) mod flag {
    /// In use. A node without it is free.
    pub(crate) const LIVE: u8 = 1;
    /// A watched root: its name is an absolute path.
    pub(crate) const ROOT: u8 = 2;
    /// Its entries are not watched: only the directory itself is.
    pub(crate) const LEAF: u8 = 4;
    /// Removed; kept for late events.
    pub(crate) const DEAD: u8 = 8;
    /// The consumer has its definition, and those of all its ancestors.
    pub(crate) const DEFINED: u8 = 16;
    /// Its entries are still to be read.
    pub(crate) const UNREAD: u8 = 32;
    /// Not met yet by the walk that makes the tree true again.
    pub(crate) const UNSEEN: u8 = 64;
}

/// A directory.
#[derive(Clone, Copy, FromZeros)]
#[repr(C)]
pub(crate) struct Node {
    hash: u64,
    /// The directory it is in; 0 for a root.
    pub(crate) parent: u32,
    /// Its first subdirectory, and its neighbours on the parent's list; 0 none.
    pub(crate) child: u32,
    pub(crate) next: u32,
    prev: u32,
    name: Text,
    /// Raised by each rename.
    pub(crate) generation: u32,
    key_len: u8,
    /// Index of its filesystem.
    pub(crate) fs: u8,
    /// [`flag`]
    pub(crate) flags: u8,
    /// Not 0: it was read by a walk, and what happened in it before may still come.
    fresh: u8,
    key: [u8; KEY_INLINE],
}

const _: () = assert!(size_of::<Node>() == 64);

impl Node {
    /// The hash of its handle.
    pub(crate) fn hash(&self) -> u64 {
        self.hash
    }
}

/// The tree.
pub(crate) struct Tree {
    nodes: Vec<Node>,
    index: Index,
    text: Arena,
    /// First free node, chained by `next`; 0 none.
    free: u32,
    /// Nodes below this id have been used.
    fresh: u32,
    /// The ends of the chain of the dead, and its length.
    dead_first: u32,
    dead_last: u32,
    dead: usize,
    /// Live nodes that are still to be read.
    unread: usize,
    fsids: Vec<u64>,
    /// Keeps whoever can choose inode numbers from choosing collisions.
    seed: u64,
    live: usize,
    capacity: usize,
}

/// What became of a directory that was to be taken up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Inserted {
    /// It was not known.
    New(u32),
    /// It was known at just this place.
    Same(u32),
    /// It was known elsewhere, or dead.
    Moved(u32),
}

impl Inserted {
    /// The node.
    pub(crate) fn id(self) -> u32 {
        match self {
            Inserted::New(id) | Inserted::Same(id) | Inserted::Moved(id) => id,
        }
    }
}

/// Why a directory could not be taken up: there are as many as there may be.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Full;

impl Tree {
    /// Reserves room for `capacity` directories on these filesystems.
    pub(crate) fn new(capacity: usize, fsids: Vec<u64>) -> Self {
        let room = capacity + DEAD_MAX;
        Tree {
            nodes: Node::new_vec_zeroed(room + 1).expect("address space for the tree"),
            index: Index::new(room),
            text: Arena::with_capacity((room * TEXT_PER_NODE).max(1 << 20)),
            free: 0,
            fresh: 1,
            dead_first: 0,
            dead_last: 0,
            dead: 0,
            unread: 0,
            fsids,
            seed: RandomState::new().build_hasher().finish(),
            live: 0,
            capacity,
        }
    }

    /// Directories known, the dead not counted.
    pub(crate) fn len(&self) -> usize {
        self.live
    }

    /// The node of that id, which must be one that this tree gave out.
    #[inline]
    pub(crate) fn node(&self, id: u32) -> &Node {
        &self.nodes[id as usize]
    }

    #[inline]
    fn node_mut(&mut self, id: u32) -> &mut Node {
        &mut self.nodes[id as usize]
    }

    /// Sets flags of a node.
    pub(crate) fn set(&mut self, id: u32, flags: u8) {
        let new = flags & !self.node(id).flags;
        self.unread += usize::from(new & flag::UNREAD != 0);
        self.node_mut(id).flags |= flags;
    }

    /// Clears flags of a node.
    pub(crate) fn clear(&mut self, id: u32, flags: u8) {
        let gone = flags & self.node(id).flags;
        self.unread -= usize::from(gone & flag::UNREAD != 0);
        self.node_mut(id).flags &= !flags;
    }

    /// Notes whether a walk read a directory lately.
    pub(crate) fn set_fresh(&mut self, id: u32, fresh: bool) {
        self.node_mut(id).fresh = fresh.into();
    }

    /// See [`Tree::set_fresh`].
    pub(crate) fn is_fresh(&self, id: u32) -> bool {
        self.node(id).fresh != 0
    }

    /// A hash that stands for an entry of a directory.
    pub(crate) fn place(&self, dir: u32, name: &[u8]) -> u64 {
        fold(self.node(dir).hash ^ self.seed, Key { fsid: 0, handle: name })
    }

    /// Whether a live directory is still to be read ([`flag::UNREAD`]).
    pub(crate) fn any_unread(&self) -> bool {
        self.unread != 0
    }

    /// A node's own name; a root's is its absolute path.
    pub(crate) fn name(&self, id: u32) -> &[u8] {
        self.text.get(self.node(id).name)
    }

    /// The handle hash that stands for the object in records.
    #[inline]
    pub(crate) fn hash(&self, key: Key<'_>) -> u64 {
        fold(self.seed, key)
    }

    /// The node of that handle, dead ones included.
    #[inline]
    pub(crate) fn find(&self, key: Key<'_>) -> Option<u32> {
        let fs = self.fs_index(key.fsid)?;
        self.index.find(self.hash(key), |id| {
            let node = self.node(id);
            node.fs == fs && self.key(node) == key.handle
        })
    }

    /// The live node of that handle.
    #[inline]
    pub(crate) fn find_live(&self, key: Key<'_>) -> Option<u32> {
        self.find(key).filter(|&id| self.node(id).flags & flag::DEAD == 0)
    }

    /// There are as many filesystems as roots at the most: a handful.
    #[inline]
    fn fs_index(&self, fsid: u64) -> Option<u8> {
        self.fsids.iter().position(|&known| known == fsid).map(|at| at as u8)
    }

    /// The filesystem id of a node.
    pub(crate) fn fsid(&self, id: u32) -> u64 {
        self.fsids[usize::from(self.node(id).fs)]
    }

    /// The handle of a node.
    pub(crate) fn key_of(&self, id: u32) -> &[u8] {
        self.key(self.node(id))
    }

    #[inline]
    fn key<'a>(&'a self, node: &'a Node) -> &'a [u8] {
        let len = usize::from(node.key_len);
        if len <= KEY_INLINE { &node.key[..len] } else { self.long_key(node) }
    }

    #[cold]
    fn long_key(&self, node: &Node) -> &[u8] {
        self.text.get(text_of(node))
    }

    /// Takes up a directory (parent 0: a root). One that is known already is moved instead.
    pub(crate) fn insert(
        &mut self,
        parent: u32,
        name: &[u8],
        key: Key<'_>,
    ) -> Result<Inserted, Full> {
        if let Some(id) = self.find(key) {
            self.revive(id);
            let moved = self.rename(id, parent, name)?;
            return Ok(if moved { Inserted::Moved(id) } else { Inserted::Same(id) });
        }
        let fs = self.fs_index(key.fsid).filter(|_| self.live < self.capacity).ok_or(Full)?;
        let name = self.text.insert(name).ok_or(Full)?;
        let Some((id, inline)) = self.take(parent).zip(self.inline_key(key.handle)) else {
            self.text.remove(name);
            return Err(Full);
        };
        let hash = self.hash(key);
        let root = if parent == 0 { flag::ROOT } else { 0 };
        *self.node_mut(id) = Node {
            hash,
            name,
            fs,
            key: inline,
            key_len: key.handle.len() as u8,
            flags: flag::LIVE | root,
            ..Node::new_zeroed()
        };
        self.index.insert(hash, id);
        self.hang(id, parent);
        self.live += 1;
        Ok(Inserted::New(id))
    }

    fn inline_key(&mut self, handle: &[u8]) -> Option<[u8; KEY_INLINE]> {
        let mut inline = [0; KEY_INLINE];
        if handle.len() <= KEY_INLINE {
            inline[..handle.len()].copy_from_slice(handle);
        } else if handle.len() <= usize::from(u8::MAX) {
            let text = self.text.insert(handle)?;
            inline[..size_of::<Text>()].copy_from_slice(text.as_bytes());
        } else {
            return None;
        }
        Some(inline)
    }

    /// A free node; dead ones are given up when there is no other, but not `parent`, on which the
    /// node will hang.
    fn take(&mut self, parent: u32) -> Option<u32> {
        if self.free == 0 && self.fresh as usize >= self.nodes.len() {
            if self.dead == 0 || self.is_below(parent, self.dead_first) {
                return None;
            }
            self.bury_oldest();
        }
        if self.free != 0 {
            let id = self.free;
            self.free = self.node(id).next;
            return Some(id);
        }
        let id = self.fresh;
        self.fresh += 1;
        Some(id)
    }

    /// Moves a directory: another parent, another name, or both. False where it was there
    /// already, or cannot go there: a root, or into its own subtree.
    pub(crate) fn rename(&mut self, id: u32, parent: u32, name: &[u8]) -> Result<bool, Full> {
        let node = *self.node(id);
        let same = node.parent == parent && self.name(id) == name;
        if same || node.flags & flag::ROOT != 0 || self.is_below(parent, id) {
            return Ok(false);
        }
        if self.name(id) != name {
            let text = self.text.insert(name).ok_or(Full)?;
            self.text.remove(node.name);
            self.node_mut(id).name = text;
        }
        if node.parent != parent {
            self.unhang(id);
            self.hang(id, parent);
        }
        let node = self.node_mut(id);
        node.generation = node.generation.wrapping_add(1);
        Ok(true)
    }

    /// Whether `id` is `above` or hangs below it. The tree has no cycles, and this keeps it so.
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

    fn hang(&mut self, id: u32, parent: u32) {
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
        }
    }

    /// Off the parent's list; the parent is still remembered.
    fn unhang(&mut self, id: u32) {
        let Node { parent, next, prev, .. } = *self.node(id);
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

    /// The subdirectory of that name, where it is among the first few thousand.
    pub(crate) fn child_named(&self, parent: u32, name: &[u8]) -> Option<u32> {
        let mut at = self.node(parent).child;
        for _ in 0..SIBLINGS_MAX {
            if at == 0 {
                return None;
            }
            if self.name(at) == name {
                return Some(at);
            }
            at = self.node(at).next;
        }
        None
    }

    /// A directory is gone, with all that hangs below it. Late events still find its path.
    pub(crate) fn remove(&mut self, id: u32) {
        self.bottom_up(id, Tree::kill);
    }

    /// A directory is no longer watched, with all that hangs below it: it becomes a stranger. Its
    /// nodes are dead ones that are not found any more: what was removed in it hangs on them. A
    /// root stays a root wherever it goes.
    pub(crate) fn forget(&mut self, id: u32) {
        if self.node(id).flags & flag::ROOT != 0 {
            return;
        }
        self.bottom_up(id, |tree, id| {
            tree.kill(id);
            tree.index.remove(tree.node(id).hash, id);
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

    /// The node after `id` in a walk from `top` down, parents before children; 0 at the end.
    pub(crate) fn following(&self, id: u32, top: u32) -> u32 {
        if self.node(id).child != 0 {
            return self.node(id).child;
        }
        let mut at = id;
        while at != top && self.node(at).next == 0 {
            at = self.node(at).parent;
        }
        if at == top { 0 } else { self.node(at).next }
    }

    fn kill(&mut self, id: u32) {
        if self.node(id).flags & flag::DEAD != 0 {
            return;
        }
        self.unhang(id);
        self.unread -= usize::from(self.node(id).flags & flag::UNREAD != 0);
        self.node_mut(id).flags |= flag::DEAD;
        self.live -= 1;
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

    /// To the end of the chain of the dead. A root is never given up.
    fn chain(&mut self, id: u32) {
        if self.node(id).flags & flag::ROOT != 0 {
            return;
        }
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
        let Node { next, prev, flags, .. } = *self.node(id);
        if flags & flag::ROOT != 0 {
            return;
        }
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
    pub(crate) fn settle(&mut self) {
        for _ in 0..BURIALS_MAX {
            if self.dead <= DEAD_MAX {
                return;
            }
            self.bury_oldest();
        }
    }

    /// Frees the node that has been dead for longest. Where something live hangs on it yet, room
    /// ran out amid a backlog: that becomes a stranger.
    fn bury_oldest(&mut self) {
        let id = self.dead_first;
        self.unchain(id);
        while self.node(id).child != 0 {
            self.bottom_up(self.node(id).child, |tree, id| {
                tree.unhang(id);
                tree.unread -= usize::from(tree.node(id).flags & flag::UNREAD != 0);
                tree.live -= 1;
                tree.free(id);
            });
        }
        self.free(id);
    }

    fn free(&mut self, id: u32) {
        let node = *self.node(id);
        self.index.remove(node.hash, id);
        self.text.remove(node.name);
        if usize::from(node.key_len) > KEY_INLINE {
            self.text.remove(text_of(&node));
        }
        *self.node_mut(id) = Node { next: self.free, ..Node::new_zeroed() };
        self.free = id;
    }

    /// A directory that was taken for dead is there after all.
    fn revive(&mut self, id: u32) {
        if self.node(id).flags & flag::DEAD == 0 {
            return;
        }
        self.unchain(id);
        self.live += 1;
        self.unread += usize::from(self.node(id).flags & flag::UNREAD != 0);
        // Without a parent until `rename` hangs it.
        let node = self.node_mut(id);
        node.flags &= !flag::DEAD;
        node.parent = 0;
    }

    /// Appends the path below the root (without it) to `out`; the root's id.
    pub(crate) fn append_path(&self, id: u32, out: &mut Vec<u8>) -> u32 {
        let (mut len, mut at) = (0, id);
        while self.node(at).parent != 0 {
            len += self.name(at).len() + 1;
            at = self.node(at).parent;
        }
        let root = at;
        let start = out.len();
        out.resize(start + len.saturating_sub(1), b'/');
        let (mut end, mut at) = (out.len(), id);
        while at != root {
            let name = self.name(at);
            out[end - name.len()..end].copy_from_slice(name);
            end = (end - name.len()).saturating_sub(1);
            at = self.node(at).parent;
        }
        root
    }
}

/// Where a long key lies: the node holds that in the place of the key.
fn text_of(node: &Node) -> Text {
    Text::read_from_prefix(&node.key).expect("24 bytes hold a Text").0
}

/// A hash of the whole key, quick for the 12 to 24 bytes that handles have.
#[inline]
fn fold(seed: u64, key: Key<'_>) -> u64 {
    const K: u64 = 0x9e37_79b9_7f4a_7c15;
    let mut hash = seed ^ key.fsid ^ (key.handle.len() as u64).wrapping_mul(K);
    let (words, rest) = key.handle.as_chunks::<8>();
    for word in words {
        hash = mix(hash ^ u64::from_le_bytes(*word));
    }
    let mut last = [0; 8];
    last[..rest.len()].copy_from_slice(rest);
    mix(mix(hash ^ u64::from_le_bytes(last)))
}

#[inline]
fn mix(value: u64) -> u64 {
    let wide = u128::from(value ^ 0xa076_1d64_78bd_642f) * 0xe703_7ed1_a0b4_28db;
    (wide >> 64) as u64 ^ wide as u64
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::HashMap;

    const FSID: u64 = 77;

    fn key(bytes: &[u8]) -> Key<'_> {
        Key { fsid: FSID, handle: bytes }
    }

    fn path(tree: &Tree, id: u32) -> String {
        let mut out = Vec::new();
        let root = tree.append_path(id, &mut out);
        format!("{}:{}", String::from_utf8_lossy(tree.name(root)), String::from_utf8_lossy(&out))
    }

    #[test]
    fn a_moved_directory_takes_its_subtree_along() {
        let mut tree = Tree::new(100, vec![FSID]);
        let root = tree.insert(0, b"/r", key(b"root")).expect("room").id();
        let a = tree.insert(root, b"a", key(b"aaaa")).expect("room").id();
        let b = tree.insert(a, b"b", key(b"bbbb")).expect("room").id();
        let c = tree
            .insert(root, b"c", key(b"a key that is longer than a node holds"))
            .expect("room")
            .id();
        tree.rename(a, c, b"moved").expect("room");
        assert_eq!(path(&tree, b), "/r:c/moved/b");
        assert_eq!(path(&tree, root), "/r:");
        assert_eq!(tree.find(key(b"a key that is longer than a node holds")), Some(c));
        // Into its own subtree it cannot go, whatever an event says.
        tree.rename(c, b, b"c").expect("ignored");
        assert_eq!(path(&tree, c), "/r:c");
    }

    #[test]
    fn the_dead_keep_their_path_and_are_revived_by_an_insert() {
        let mut tree = Tree::new(100, vec![FSID]);
        let root = tree.insert(0, b"/r", key(b"root")).expect("room").id();
        let a = tree.insert(root, b"a", key(b"aaaa")).expect("room").id();
        let b = tree.insert(a, b"b", key(b"bbbb")).expect("room").id();
        tree.remove(a);
        assert_eq!((tree.len(), tree.find_live(key(b"bbbb"))), (1, None));
        assert_eq!(path(&tree, tree.find(key(b"bbbb")).expect("dead, but known")), "/r:a/b");
        assert_eq!(tree.insert(root, b"again", key(b"bbbb")), Ok(Inserted::Moved(b)));
        assert_eq!((path(&tree, b), tree.len()), ("/r:again".into(), 2));
    }

    #[test]
    fn room_runs_out_and_comes_back() {
        let mut tree = Tree::new(10, vec![FSID]);
        let root = tree.insert(0, b"/", key(b"root")).expect("room").id();
        let ids: Vec<_> = (0..9u32)
            .map(|i| tree.insert(root, b"d", key(&i.to_le_bytes())).expect("room").id())
            .collect();
        assert_eq!(tree.insert(root, b"d", key(b"one more")), Err(Full));
        tree.remove(ids[3]);
        assert!(tree.insert(root, b"d", key(b"one more")).is_ok());
    }

    #[test]
    fn the_dead_stay_until_the_queue_was_empty() {
        let mut tree = Tree::new(5000, vec![FSID]);
        let root = tree.insert(0, b"/r", key(b"root")).expect("room").id();
        // Its DELETE was merged into its CREATE: what happened in it is still to come.
        let a = tree.insert(root, b"a", key(b"aaaa")).expect("room").id();
        tree.remove(a);
        let x = tree.insert(a, b"x", key(b"xxxx")).expect("room").id();
        for i in 0..3000u32 {
            let id = tree.insert(root, b"d", key(&i.to_le_bytes())).expect("room").id();
            tree.remove(id);
        }
        assert_eq!(path(&tree, tree.find(key(b"xxxx")).expect("known")), "/r:a/x");
        tree.rename(x, root, b"y").expect("room");
        tree.settle();
        assert_eq!((tree.find(key(b"aaaa")), tree.dead), (None, DEAD_MAX));
        assert_eq!((path(&tree, x), tree.len()), ("/r:y".into(), 2));
    }

    #[test]
    fn what_was_removed_before_its_parent_was_forgotten_keeps_its_path() {
        let mut tree = Tree::new(100, vec![FSID]);
        let root = tree.insert(0, b"/r", key(b"root")).expect("room").id();
        let a = tree.insert(root, b"a", key(b"aaaa")).expect("room").id();
        let b = tree.insert(a, b"b", key(b"bbbb")).expect("room").id();
        tree.remove(b);
        tree.forget(a);
        assert_eq!((tree.find(key(b"aaaa")), tree.find(key(b"bbbb"))), (None, Some(b)));
        tree.insert(root, b"new", key(b"cccc")).expect("room");
        assert_eq!(path(&tree, b), "/r:a/b");
    }

    #[derive(Clone, Default)]
    struct Model {
        /// Handle to (parent handle, name).
        dirs: HashMap<u32, (u32, String)>,
    }

    impl Model {
        pub(crate) fn is_below(&self, id: u32, above: u32) -> bool {
            id == above || self.dirs.get(&id).is_some_and(|(up, _)| self.is_below(*up, above))
        }

        fn path(&self, id: u32) -> String {
            match self.dirs.get(&id) {
                Some((0, name)) => name.clone(),
                Some((up, name)) => format!("{}/{name}", self.path(*up)),
                None => String::new(),
            }
        }

        fn remove(&mut self, id: u32) {
            let gone: Vec<_> =
                self.dirs.keys().copied().filter(|&other| self.is_below(other, id)).collect();
            gone.iter().for_each(|id| drop(self.dirs.remove(id)));
        }
    }

    proptest! {
        /// Handle 0 is the root; it is never in the model's map.
        #[test]
        fn agrees_with_a_map(ops in proptest::collection::vec((0u8..4, 1u32..30, 0u32..30, 0u8..6), 1..400)) {
            let mut tree = Tree::new(64, vec![FSID]);
            let handle = |id: u32| {
                let mut bytes = vec![id as u8; if id.is_multiple_of(3) { 40 } else { 12 }];
                bytes[0] = 1;
                bytes
            };
            tree.insert(0, b"/", key(&handle(0))).expect("room");
            let mut model = Model::default();
            for (op, id, parent, name) in ops {
                let name = format!("n{name}");
                let parent_known = parent == 0 || model.dirs.contains_key(&parent);
                let known = model.dirs.contains_key(&id);
                if op < 3 {
                    if !parent_known || model.is_below(parent, id) {
                        continue;
                    }
                    let up = tree.find_live(key(&handle(parent))).expect("known");
                    tree.insert(up, name.as_bytes(), key(&handle(id))).expect("room");
                    model.dirs.insert(id, (parent, name));
                } else if known {
                    let node = tree.find_live(key(&handle(id))).expect("known");
                    if name == "n0" { tree.forget(node) } else { tree.remove(node) }
                    model.remove(id);
                }
                prop_assert_eq!(tree.len(), model.dirs.len() + 1);
                for other in 1..30 {
                    let found = tree.find_live(key(&handle(other)));
                    prop_assert_eq!(found.is_some(), model.dirs.contains_key(&other));
                    if let Some(id) = found {
                        prop_assert_eq!(path(&tree, id), format!("/:{}", model.path(other)));
                    }
                }
            }
        }
    }
}

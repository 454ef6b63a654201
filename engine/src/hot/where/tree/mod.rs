//! The tree of watched directories, kept from the event queue in queue order.
//!
//! A node is 64 bytes: who it is (handle), where it hangs (parent), what it is called. Moving a
//! directory is re-hanging one node, whatever hangs below. Nodes are found by handle through one
//! `Index`, by parent and name through another; names and long handles live in an [`Arena`]. All
//! room is reserved at the start and paged in as it is used. What is gone is kept for a while: see
//! `dead`.

mod dead;
mod hash;
mod insert;
mod paths;

use self::hash::{fold, is_same, mix};
use crate::hot::event::Key;
use crate::hot::r#where::tables::index::Index;
pub(crate) use crate::limits::walks::NAME_ROOM;
use crate::limits::walks::{FILESYSTEMS_MAX, TREE_TEXT_BYTES};
use crate::limits::{DIRS_DEAD_MAX, OUTSIDE_MAX};
use crate::num::{limited_u8, limited_u32};
use fsmon_format::arena::{Arena, Text};
use std::cell::Cell;
use std::collections::hash_map::RandomState;
use std::hash::{BuildHasher, Hasher};
use zerocopy::{FromBytes, FromZeros};

/// Bytes of a key that fit into the node; longer ones (overlayfs) go to the arena.
const KEY_INLINE: usize = 24;

/// What is true of a node.
pub mod flag {
    /// In use. A node without it is free.
    pub const LIVE: u8 = 1;
    /// A watched root: its name is an absolute path.
    pub const ROOT: u8 = 2;
    /// Its entries are not watched: only the directory itself is.
    pub const LEAF: u8 = 4;
    /// Removed; kept for late events.
    pub const DEAD: u8 = 8;
    /// The consumer has its definition, and those of all its ancestors.
    pub const DEFINED: u8 = 16;
    /// Its entries are still to be read.
    pub const UNREAD: u8 = 32;
    /// Not met yet by the walk that makes the tree true again.
    pub const UNSEEN: u8 = 64;
    /// A directory in it was left out: should its path become another, that may change.
    pub const PARTIAL: u8 = 128;
}

/// A directory.
#[derive(Clone, Copy, FromZeros)]
#[repr(C)]
pub struct Node {
    hash: u64,
    /// The directory it is in; 0 for a root.
    pub parent: u32,
    /// Its first subdirectory, and its neighbours on the parent's list; 0 none.
    pub child: u32,
    pub next: u32,
    prev: u32,
    name: Text,
    /// Raised by each rename.
    pub generation: u32,
    key_len: u8,
    /// Index of its filesystem.
    pub fs: u8,
    /// [`flag`]
    pub flags: u8,
    /// Lowest bit: it was read by a walk, and what happened in it before may still come. The next: see
    /// [`Tree::set_met`]. The others count how often the node was freed.
    fresh: u8,
    key: [u8; KEY_INLINE],
}

/// The lower bits of [`Node::fresh`].
const FRESH: u8 = 1;
const MET: u8 = 2;
/// The lowest bit of the others.
const FREED: u8 = 4;

const _: () = assert!(size_of::<Node>() == 64);

impl Node {
    /// The hash of its handle.
    pub fn hash(&self) -> u64 {
        self.hash
    }
}

/// The tree.
pub struct Tree {
    nodes: Vec<Node>,
    /// By handle: what is live and what is dead.
    index: Index,
    /// By parent and name: what hangs somewhere.
    names: Index,
    /// What was found last: events of one directory come together. 0 none.
    last: Cell<u32>,
    text: Arena,
    /// First free node, chained by `next`; 0 none.
    free: u32,
    /// Nodes below this id have been used.
    fresh: u32,
    /// Nodes that died since the queue was empty, and how many of them made room for others: what happened in
    /// those may come up later.
    young: usize,
    forgotten: u64,
    /// The ends of the chain of the dead, and its length.
    dead_first: u32,
    dead_last: u32,
    dead: usize,
    dead_max: usize,
    /// Live nodes that are still to be read.
    unread: usize,
    fsids: Vec<u64>,
    /// So that nobody who can choose inode numbers can choose collisions.
    seed: u64,
    live: usize,
    capacity: usize,
}

/// What became of a directory that was to be taken up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Inserted {
    /// It was not known.
    New(u32),
    /// It was known at just this place.
    Same(u32),
    /// It was known elsewhere, or dead.
    Moved(u32),
}

impl Inserted {
    /// The node.
    pub fn id(self) -> u32 {
        match self {
            Inserted::New(id) | Inserted::Same(id) | Inserted::Moved(id) => id,
        }
    }
}

/// Why a directory could not be taken up: there are as many as there may be, or the place that it
/// is said to be at cannot be.
#[derive(Debug, PartialEq, Eq)]
pub struct Full;

impl Tree {
    /// Reserves room for `capacity` directories on these filesystems, and for the dead.
    pub fn new(capacity: usize, fsids: Vec<u64>) -> Self {
        Tree::with_dead(capacity, DIRS_DEAD_MAX, fsids)
    }

    /// The same; so many of the dead are kept when nothing of theirs is to come any more.
    pub fn with_dead(capacity: usize, dead_max: usize, mut fsids: Vec<u64>) -> Self {
        let room = capacity + dead_max;
        // More may come while it is in use, and nothing is allocated then.
        fsids.reserve_exact(FILESYSTEMS_MAX.saturating_sub(fsids.len()));
        let mut nodes =
            Node::new_vec_zeroed(room + 1 + OUTSIDE_MAX).expect("address space for the tree");
        // Not the tree's to define: see `outside`.
        nodes[room + 1..].iter_mut().for_each(|node| node.flags = flag::DEFINED);
        Tree {
            nodes,
            index: Index::new(room),
            names: Index::new(room),
            last: Cell::new(0),
            text: Arena::with_capacity((room * TREE_TEXT_BYTES).max(1 << 20)),
            free: 0,
            fresh: 1,
            young: 0,
            forgotten: 0,
            dead_first: 0,
            dead_last: 0,
            dead: 0,
            dead_max,
            unread: 0,
            fsids,
            seed: RandomState::new().build_hasher().finish(),
            live: 0,
            capacity,
        }
    }

    /// Directories known, the dead not counted.
    #[allow(clippy::len_without_is_empty, reason = "there is always a root")]
    pub fn len(&self) -> usize {
        self.live
    }

    /// The id of a directory that is not in the tree, the one with that number of [`OUTSIDE_MAX`]. It can be
    /// told like a node, once it was defined.
    #[inline]
    pub(crate) fn outside(&self, at: usize) -> u32 {
        debug_assert!(at < OUTSIDE_MAX);
        limited_u32(self.nodes.len() - OUTSIDE_MAX + at)
    }

    /// A hash of some bytes.
    pub(crate) fn text_hash(&self, text: &[u8]) -> u64 {
        fold(self.seed, Key { fsid: 0, handle: text })
    }

    /// The node of that id, which must be one that this tree gave out.
    #[inline]
    pub fn node(&self, id: u32) -> &Node {
        &self.nodes[id as usize]
    }

    #[inline]
    fn node_mut(&mut self, id: u32) -> &mut Node {
        &mut self.nodes[id as usize]
    }

    /// Sets flags of a node.
    pub fn set(&mut self, id: u32, flags: u8) {
        let old = self.node(id).flags;
        self.unread += usize::from(is_counted(old | flags) && !is_counted(old));
        self.node_mut(id).flags |= flags;
    }

    /// Clears flags of a node.
    pub fn clear(&mut self, id: u32, flags: u8) {
        let old = self.node(id).flags;
        self.unread -= usize::from(is_counted(old) && !is_counted(old & !flags));
        self.node_mut(id).flags &= !flags;
    }

    /// Notes whether a walk read a directory lately.
    pub(crate) fn set_fresh(&mut self, id: u32, fresh: bool) {
        let node = self.node_mut(id);
        node.fresh = node.fresh & !FRESH | u8::from(fresh);
    }

    /// See [`Tree::set_fresh`]; also one that is still to be read. Its entries may have been there
    /// without having been told of.
    pub(crate) fn is_fresh(&self, id: u32) -> bool {
        let node = self.node(id);
        node.fresh & FRESH != 0 || node.flags & flag::UNREAD != 0
    }

    /// Notes whether a directory is where a walk met it lately: events that are still to come may be of before
    /// it went there.
    pub(crate) fn set_met(&mut self, id: u32, met: bool) {
        let node = self.node_mut(id);
        node.fresh = node.fresh & !MET | if met { MET } else { 0 };
    }

    /// See [`Tree::set_met`].
    pub(crate) fn is_met(&self, id: u32) -> bool {
        self.node(id).fresh & MET != 0
    }

    /// A hash that stands for an entry of a directory, until that is forgotten.
    pub(crate) fn place(&self, dir: u32, name: &[u8]) -> u64 {
        let node = self.node(dir);
        let times = u64::from(node.fresh & !(FRESH | MET)) << 40;
        // Mixed before the name comes to it: nodes of one handle, as of a directory that left and came
        // back, differ by a bit or two, and so do names.
        let its_own = mix(node.hash ^ (u64::from(dir) | times));
        fold(self.seed, Key { fsid: its_own, handle: name })
    }

    /// No directory counts as read lately any more, of all that ever were.
    #[cold]
    pub(crate) fn clear_fresh(&mut self) {
        (1..self.fresh).for_each(|id| self.set_fresh(id, false));
    }

    /// No directory counts as met lately any more, of all that ever were.
    #[cold]
    pub(crate) fn clear_met(&mut self) {
        (1..self.fresh).for_each(|id| self.set_met(id, false));
    }

    /// Directories that were forgotten for want of room before all that happened in them had come up.
    pub(crate) fn forgotten(&self) -> u64 {
        self.forgotten
    }

    /// Whether a live directory is still to be read ([`flag::UNREAD`]).
    pub fn any_unread(&self) -> bool {
        self.unread != 0
    }

    /// No live directory is to be read any more, wherever it hangs.
    #[cold]
    pub(crate) fn give_up_unread(&mut self) {
        for id in 1..self.fresh {
            self.clear(id, flag::UNREAD);
        }
        debug_assert!(!self.any_unread());
    }

    /// A node's own name; a root's is its absolute path.
    pub fn name(&self, id: u32) -> &[u8] {
        self.text.get(self.node(id).name)
    }

    /// The handle hash that stands for the object in records. Its lowest bit is 0.
    #[inline]
    pub fn hash(&self, key: Key<'_>) -> u64 {
        fold(self.seed, key) & !1
    }

    /// The node of that handle, dead ones included.
    #[inline]
    pub fn find(&self, key: Key<'_>) -> Option<u32> {
        let last = self.last.get();
        if last != 0 && self.is_it(last, key) {
            return Some(last);
        }
        let found = self.index.find(self.hash(key), |id| self.is_it(id, key))?;
        self.last.set(found);
        Some(found)
    }

    #[inline]
    fn is_it(&self, id: u32, key: Key<'_>) -> bool {
        let node = self.node(id);
        self.fsids[usize::from(node.fs)] == key.fsid && is_same(self.key(node), key.handle)
    }

    /// The live node of that handle.
    #[inline]
    pub fn find_live(&self, key: Key<'_>) -> Option<u32> {
        self.find(key).filter(|&id| self.node(id).flags & flag::DEAD == 0)
    }

    /// There are as many filesystems as roots at the most: a handful.
    #[inline]
    fn fs_index(&self, fsid: u64) -> Option<u8> {
        self.fsids.iter().position(|&known| known == fsid).map(limited_u8)
    }

    /// Takes up directories of that filesystem, too. Whether there is room: a node has a byte for which.
    #[cold]
    pub(crate) fn add_filesystem(&mut self, fsid: u64) -> bool {
        if self.fs_index(fsid).is_some() {
            return true;
        }
        if self.fsids.len() < FILESYSTEMS_MAX {
            self.fsids.push(fsid);
            return true;
        }
        let unused = self.unused_filesystem();
        unused.map(|at| self.fsids[at] = fsid).is_some()
    }

    /// The index of a filesystem that no directory is on: filesystems that were followed come and go.
    fn unused_filesystem(&self) -> Option<usize> {
        let mut is_used = [false; FILESYSTEMS_MAX];
        let used = self.nodes[1..self.fresh as usize].iter();
        for node in used.filter(|node| node.flags & flag::LIVE != 0) {
            is_used[usize::from(node.fs)] = true;
        }
        is_used.iter().position(|is_used| !is_used)
    }

    /// The filesystem id of a node.
    pub fn fsid(&self, id: u32) -> u64 {
        self.fsids[usize::from(self.node(id).fs)]
    }

    /// The handle of a node.
    pub fn key_of(&self, id: u32) -> &[u8] {
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
}

/// Whether a node with these flags is live and still to be read.
fn is_counted(flags: u8) -> bool {
    flags & (flag::UNREAD | flag::DEAD) == flag::UNREAD
}

/// Where a long key lies: the node holds that in the place of the key.
fn text_of(node: &Node) -> Text {
    Text::read_from_prefix(&node.key).expect("24 bytes hold a Text").0
}

#[cfg(test)]
#[path = "tree_test.rs"]
mod tests;

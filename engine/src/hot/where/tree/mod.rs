//! The tree of watched directories, kept from the event queue in queue order.
//!
//! A node has 64 bytes: its handle, its parent, its name. Moving a directory changes one node, whatever is below
//! it. One `Index` finds nodes by handle, another by parent and name. Names and long handles are in an [`Arena`].
//! All room is reserved at the start and paged in as it is used. Directories that are gone are kept for a while:
//! see `dead`.

mod dead;
mod filesystems;
mod hash;
mod insert;
mod paths;

use self::filesystems::Filesystem;
use self::hash::{fold, is_same, mix};
use crate::hot::event::Key;
use crate::hot::r#where::tables::index::Index;
pub(crate) use crate::limits::walks::NAME_ROOM;
use crate::limits::walks::{FILESYSTEMS_MAX, TREE_TEXT_BYTES, TREE_TEXT_BYTES_MIN};
use crate::limits::{DIRS_DEAD_MAX, OUTSIDE_MAX};
use fsmon_format::arena::{Arena, Text};
use fsmon_format::number::to_u32;
use fsmon_format::object::{KEY_BYTES, ObjectHash};
use std::cell::Cell;
use std::collections::hash_map::RandomState;
use std::hash::{BuildHasher, Hasher};
use zerocopy::{FromBytes, FromZeros};

/// Bytes of a key that fit into the node; longer keys (overlayfs) are in the arena.
const KEY_INLINE: usize = 24;

/// Flags of a node.
pub mod flag {
    /// In use. A node without it is free.
    pub const LIVE: u8 = 1;
    /// A watched root: its name is an absolute path.
    pub const ROOT: u8 = 2;
    /// Its entries are not watched: only the directory itself is.
    pub const LEAF: u8 = 4;
    /// Removed; kept for late events.
    pub const DEAD: u8 = 8;
    /// The consumer has its definition, and the definitions of its ancestors.
    pub const DEFINED: u8 = 16;
    /// Its entries must still be read.
    pub const UNREAD: u8 = 32;
    /// The walk that checks the tree has not met it yet.
    pub const UNSEEN: u8 = 64;
    /// A directory in it was excluded: if its path changes, that may change, too.
    pub const PARTIAL: u8 = 128;
}

/// A directory.
#[derive(Clone, Copy, FromZeros)]
#[repr(C)]
pub struct Node {
    hash: u64,
    /// The parent; 0 for a root.
    pub parent: u32,
    /// Its first subdirectory, and its neighbours in the list of the parent; 0 none.
    pub child: u32,
    pub next: u32,
    prev: u32,
    name: Text,
    /// Incremented by each rename.
    pub generation: u32,
    key_len: u8,
    /// Index of its filesystem.
    pub fs: u8,
    /// [`flag`]
    pub flags: u8,
    /// Lowest bit: a walk read it, and earlier events of it may still come. The next bit: see [`Tree::set_met`].
    /// The others count how often the node was freed.
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
    /// The hash of the handle.
    pub fn hash(&self) -> u64 {
        self.hash
    }
}

/// The tree.
pub struct Tree {
    nodes: Vec<Node>,
    /// By handle: live and dead nodes.
    index: Index,
    /// By parent and name: nodes that have a parent.
    names: Index,
    /// The node that was found last: events of one directory come together. 0 none.
    last: Cell<u32>,
    text: Arena,
    /// First free node, chained by `next`; 0 none.
    free: u32,
    /// Nodes below this id have been in use.
    fresh: u32,
    /// Nodes that died since the queue was empty, and how many of them made room for others: events of those may
    /// come up later.
    young: usize,
    forgotten: u64,
    /// The ends of the list of dead nodes, and its length.
    dead_first: u32,
    dead_last: u32,
    dead: usize,
    dead_max: usize,
    /// Live nodes that must still be read.
    unread: usize,
    filesystems: Vec<Filesystem>,
    /// Of handles.
    objects: ObjectHash,
    /// Of names: a random seed, so that nobody who can choose them can choose collisions.
    seed: u64,
    live: usize,
    capacity: usize,
}

/// What an insertion did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Inserted {
    /// It was not known.
    New(u32),
    /// It was known with this parent and name.
    Same(u32),
    /// It was known with another parent or name, or dead.
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

/// Why a directory could not be inserted: the tree is full, or the location is impossible.
#[derive(Debug, PartialEq, Eq)]
pub struct Full;

impl Tree {
    /// Reserves room for `capacity` directories on these filesystems, and for the dead.
    pub fn new(capacity: usize, fsids: Vec<u64>) -> Self {
        Tree::with_dead(capacity, DIRS_DEAD_MAX, fsids)
    }

    /// The same; `dead_max` dead nodes are kept after the queue was empty.
    pub fn with_dead(capacity: usize, dead_max: usize, fsids: Vec<u64>) -> Self {
        Tree::keyed((capacity, dead_max), fsids, &random_key())
    }

    /// The same; what records identify objects by is hashed with that key.
    pub fn keyed(
        (capacity, dead_max): (usize, usize),
        fsids: Vec<u64>,
        key: &[u8; KEY_BYTES],
    ) -> Self {
        let room = capacity + dead_max;
        let objects = ObjectHash::new(key);
        // More filesystems may come later, and nothing may be allocated then.
        let mut filesystems = Vec::with_capacity(FILESYSTEMS_MAX.max(fsids.len()));
        filesystems.extend(fsids.into_iter().map(|fsid| Filesystem::new(fsid, &objects)));
        let mut nodes =
            Node::new_vec_zeroed(room + 1 + OUTSIDE_MAX).expect("address space for the tree");
        // These ids are not for nodes: see `outside`.
        nodes[room + 1..].iter_mut().for_each(|node| node.flags = flag::DEFINED);
        Tree {
            nodes,
            index: Index::new(room),
            names: Index::new(room),
            last: Cell::new(0),
            text: Arena::with_capacity((room * TREE_TEXT_BYTES).max(TREE_TEXT_BYTES_MIN)),
            free: 0,
            fresh: 1,
            young: 0,
            forgotten: 0,
            dead_first: 0,
            dead_last: 0,
            dead: 0,
            dead_max,
            unread: 0,
            filesystems,
            objects,
            seed: random(),
            live: 0,
            capacity,
        }
    }

    /// Number of live directories.
    #[allow(clippy::len_without_is_empty, reason = "there is always a root")]
    pub fn len(&self) -> usize {
        self.live
    }

    /// The id of a directory that is not in the tree, with number `at` of [`OUTSIDE_MAX`]. Records can refer to it
    /// like to a node, once it was defined.
    #[inline]
    pub(crate) fn outside(&self, at: usize) -> u32 {
        debug_assert!(at < OUTSIDE_MAX);
        to_u32(self.nodes.len() - OUTSIDE_MAX + at)
    }

    /// A hash of some bytes.
    pub(crate) fn text_hash(&self, text: &[u8]) -> u64 {
        fold(self.seed, Key { fsid: 0, handle: text })
    }

    /// The node with that id, which this tree must have given out.
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

    /// Sets whether a walk has just read a directory.
    pub(crate) fn set_fresh(&mut self, id: u32, fresh: bool) {
        let node = self.node_mut(id);
        node.fresh = node.fresh & !FRESH | u8::from(fresh);
    }

    /// See [`Tree::set_fresh`]; also true for a directory that must still be read. Its entries may have been there
    /// without having been reported.
    pub(crate) fn is_fresh(&self, id: u32) -> bool {
        let node = self.node(id);
        node.fresh & FRESH != 0 || node.flags & flag::UNREAD != 0
    }

    /// Sets whether a directory is where a walk has just met it: later events may be from before it moved there.
    pub(crate) fn set_met(&mut self, id: u32, met: bool) {
        let node = self.node_mut(id);
        node.fresh = node.fresh & !MET | if met { MET } else { 0 };
    }

    /// See [`Tree::set_met`].
    pub(crate) fn is_met(&self, id: u32) -> bool {
        self.node(id).fresh & MET != 0
    }

    /// A hash of a name in a directory, of which the hash is known.
    pub(crate) fn name_hash_in(&self, dir: u64, name: &[u8]) -> u64 {
        fold(self.seed, Key { fsid: dir, handle: name })
    }

    /// The place of an entry: a hash that stands for the name in the directory, until the directory is forgotten.
    pub(crate) fn place(&self, dir: u32, name: &[u8]) -> u64 {
        let node = self.node(dir);
        let times = u64::from(node.fresh & !(FRESH | MET)) << 40;
        // Mixed before the name is added: nodes of one handle, as of a directory that left and came back, differ in
        // a bit or two, and so do names.
        let its_own = mix(node.hash ^ (u64::from(dir) | times));
        fold(self.seed, Key { fsid: its_own, handle: name })
    }

    /// Clears the mark of [`Tree::set_fresh`] for all directories.
    #[cold]
    pub(crate) fn clear_fresh(&mut self) {
        (1..self.fresh).for_each(|id| self.set_fresh(id, false));
    }

    /// Clears the mark of [`Tree::set_met`] for all directories.
    #[cold]
    pub(crate) fn clear_met(&mut self) {
        (1..self.fresh).for_each(|id| self.set_met(id, false));
    }

    /// Number of directories that were forgotten for lack of room before all their events had come up.
    pub(crate) fn forgotten(&self) -> u64 {
        self.forgotten
    }

    /// Whether a live directory must still be read ([`flag::UNREAD`]).
    pub fn any_unread(&self) -> bool {
        self.unread != 0
    }

    /// Cancels reading of all live directories.
    #[cold]
    pub(crate) fn give_up_unread(&mut self) {
        for id in 1..self.fresh {
            self.clear(id, flag::UNREAD);
        }
        debug_assert!(!self.any_unread());
    }

    /// The name of a node; for a root its absolute path.
    pub fn name(&self, id: u32) -> &[u8] {
        self.text.get(self.node(id).name)
    }

    /// The hash of a handle. Its lowest bit is 0. Records have [`Tree::object`] instead.
    #[inline]
    pub fn hash(&self, key: Key<'_>) -> u64 {
        // Hashes of handles are as good as independent, so the id needs no hash of its own.
        (self.objects.of_handle(key.handle) ^ key.fsid) & !1
    }

    /// The node with that handle, alive or dead.
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
        self.filesystem(node).fsid == key.fsid && is_same(self.key(node), key.handle)
    }

    /// The live node with that handle.
    #[inline]
    pub fn find_live(&self, key: Key<'_>) -> Option<u32> {
        self.find(key).filter(|&id| self.node(id).flags & flag::DEAD == 0)
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

/// A random number, of which the standard library has a source.
fn random() -> u64 {
    RandomState::new().build_hasher().finish()
}

fn random_key() -> [u8; KEY_BYTES] {
    let mut key = [0; KEY_BYTES];
    key.as_chunks_mut().0.iter_mut().for_each(|part| *part = random().to_le_bytes());
    key
}

/// Whether a node with these flags is live and must still be read.
fn is_counted(flags: u8) -> bool {
    flags & (flag::UNREAD | flag::DEAD) == flag::UNREAD
}

/// The text of a long key: the node holds that instead of the key.
fn text_of(node: &Node) -> Text {
    Text::read_from_prefix(&node.key).expect("24 bytes hold a Text").0
}

#[cfg(test)]
#[path = "tree_test.rs"]
mod tests;

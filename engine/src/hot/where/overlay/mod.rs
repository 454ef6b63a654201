//! Overlays that are heard by their upper layer: docs/decisions/overlay-upper-layer.md says why.
//!
//! A directory that was made on an overlay has no lower layer. Everything that happens in it happens in a directory
//! of the upper layer, and the mark on the filesystem of that layer reports it from the first moment. Such a
//! directory is *heard by the upper layer* and gets no mark of its own. Every other directory of the overlay, and
//! each root, has its own mark, and its events in the upper layer are left out: they show work of overlayfs
//! (copies, whiteouts) instead of what a process did. So each directory is heard in one way.
//!
//! The key of a directory that is heard by the upper layer is the key of the upper directory, wrapped
//! ([`Wrapping`]). So the keys of an event in the upper layer are translated without a lookup. The walk, and the
//! renames by which overlayfs copies directories up, show which upper directories belong to directories with marks.

mod hear;
mod known;
mod pending;

pub(crate) use hear::{Heard, OneSide};
pub(crate) use pending::FilledRoom;

use crate::hot::event::{Key, Location};
use crate::hot::r#where::tree::{Tree, flag};
use crate::limits::tables::{ALIASES_KEPT, OVERLAY_RENAMES_KEPT};
use crate::sys::handle::{Handle, KEY_MAX};
use crate::sys::overlay::{Origin, Wrapping, is_overlay};
use arrayvec::ArrayVec;
use known::{Aliases, Known};
use pending::Pending;

/// An overlay whose upper layer's filesystem has a mark.
pub(crate) struct Layer<F> {
    /// The filesystem ids in events: of the overlay, and of the filesystem of the upper layer.
    pub(crate) fsid: u64,
    pub(crate) upper_fsid: u64,
    pub(crate) wrapping: Wrapping,
    pub(crate) origin: Origin,
    /// The upper directory, open to be read.
    pub(crate) dir: F,
    /// Handles of the working directories of overlayfs: it makes copies there and moves them.
    pub(crate) work: ArrayVec<Handle, 2>,
}

impl<F> Layer<F> {
    fn is_heard(&self, key: Key<'_>) -> bool {
        self.fsid == key.fsid && self.wrapping.is_upper(key.handle)
    }

    fn wrap<'a>(&self, key: Key<'_>, room: &'a mut [u8; KEY_MAX]) -> Option<Key<'a>> {
        let handle = self.wrapping.wrap(key.handle, room)?;
        Some(Key { fsid: self.fsid, handle })
    }

    /// A location with its keys on the overlay.
    fn location<'a>(
        &self,
        tree: &Tree,
        at: Location<'a>,
        side: Side,
        room: &'a mut [u8; KEY_MAX],
    ) -> Option<Location<'a>> {
        let dir = match side {
            Side::Own(dir) => {
                let (fsid, key) = (self.fsid, tree.key_of(dir));
                let handle = room.get_mut(..key.len())?;
                handle.copy_from_slice(key);
                Key { fsid, handle }
            }
            _ => self.wrap(at.dir, room)?,
        };
        Some(Location { dir, name: at.name })
    }
}

/// The path of a root in its overlay.
struct Base {
    root: usize,
    layer: usize,
    path: Box<[u8]>,
}

/// Room for a translated event.
pub(crate) struct Room {
    location: [u8; KEY_MAX],
    old: [u8; KEY_MAX],
    object: [u8; KEY_MAX],
}

impl Room {
    pub(crate) fn new() -> Self {
        Room { location: [0; KEY_MAX], old: [0; KEY_MAX], object: [0; KEY_MAX] }
    }
}

/// Where an event comes from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum EventSource {
    /// The queue, unchanged.
    #[default]
    Queue,
    /// The upper layer, translated to keys of the overlay.
    Upper,
    /// The same, a rename from or to a directory that has its own mark.
    Across,
    /// A mark that reported one side of a rename; the other side was added.
    Filled,
}

/// Which kind of directory an entry of the upper layer is in.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Side {
    /// In one that is heard by the upper layer.
    Heard(u32),
    /// In one that has its own mark.
    Own(u32),
    /// In a working directory of overlayfs.
    Work,
    Unknown,
}

/// All overlays that are heard by their upper layers.
pub(crate) struct Layers<F> {
    layers: Vec<Layer<F>>,
    bases: Vec<Base>,
    /// The directories of upper layers that belong to directories with marks.
    own: Known,
    aliases: Aliases,
    pending: Pending,
}

impl<F> Layers<F> {
    /// Without any.
    pub(crate) fn none() -> Self {
        Layers {
            layers: Vec::new(),
            bases: Vec::new(),
            own: Known::new(0),
            aliases: Aliases::new(0),
            pending: Pending::new(0),
        }
    }

    /// Reserves room for a tree whose nodes are below `nodes`.
    pub(crate) fn reserve(&mut self, nodes: usize) {
        self.own = Known::new(nodes);
        self.aliases = Aliases::new(ALIASES_KEPT);
        self.pending = Pending::new(OVERLAY_RENAMES_KEPT);
    }

    /// Adds the overlay of a root, which is at `path` in it.
    pub(crate) fn add(&mut self, layer: Layer<F>, root: usize, path: &[u8]) {
        let is_it = |known: &Layer<F>| {
            (known.fsid, known.upper_fsid, known.wrapping)
                == (layer.fsid, layer.upper_fsid, layer.wrapping)
                && known.work.iter().map(Handle::key).eq(layer.work.iter().map(Handle::key))
        };
        let layer = self.layers.iter().position(is_it).unwrap_or_else(|| {
            self.layers.push(layer);
            self.layers.len() - 1
        });
        self.bases.push(Base { root, layer, path: path.into() });
    }

    /// An overlay was unmounted, and the mark on the filesystem of its upper layer may be gone: if the overlay is
    /// mounted again, all its directories get marks.
    #[cold]
    pub(crate) fn remove(&mut self, fsid: u64) {
        let layers = &self.layers;
        self.bases.retain(|base| layers[base.layer].fsid != fsid);
        // The others keep their numbers. No filesystem has the id 0 here: it could not be marked.
        for layer in self.layers.iter_mut().filter(|layer| layer.fsid == fsid) {
            (layer.fsid, layer.upper_fsid) = (0, 0);
        }
    }

    /// Number of objects that may be reported wrongly because a table was full.
    pub(crate) fn forgotten(&self) -> u64 {
        self.aliases.forgotten()
    }

    /// Whether there are any.
    #[inline]
    pub(crate) fn any(&self) -> bool {
        !self.layers.is_empty()
    }

    /// Whether an object is on the filesystem of an upper layer.
    #[inline]
    pub(crate) fn is_upper(&self, key: Key<'_>) -> bool {
        !is_overlay(key.handle) && self.layers.iter().any(|layer| layer.upper_fsid == key.fsid)
    }

    /// Whether an object is on an overlay that is heard by its upper layer.
    #[inline]
    pub(crate) fn is_merged(&self, key: Key<'_>) -> bool {
        is_overlay(key.handle) && self.layers.iter().any(|layer| layer.fsid == key.fsid)
    }

    /// Whether a key of an overlay is made of that of its upper file.
    pub(crate) fn is_wrapped(&self, key: Key<'_>) -> bool {
        self.layers.iter().any(|layer| layer.is_heard(key))
    }

    /// Whether a directory of the tree is heard by the upper layer. A root has its own mark: the root of a whole
    /// overlay has the handle of the upper directory, and a lower layer.
    #[inline]
    pub(crate) fn is_heard(&self, tree: &Tree, id: u32) -> bool {
        self.any() && tree.node(id).flags & flag::ROOT == 0 && {
            self.is_wrapped(Key { fsid: tree.fsid(id), handle: tree.key_of(id) })
        }
    }

    /// An open directory on that filesystem, if upper layers are on it.
    pub(crate) fn beside(&self, fsid: u64) -> Option<&F> {
        self.of_upper(fsid).next().map(|layer| &layer.dir)
    }

    /// The overlay with that id: an open directory on the filesystem of its upper layer, and how it stores origins.
    pub(crate) fn origin_of(&self, fsid: u64) -> Option<(&F, Origin)> {
        let layer = self.layers.iter().find(|layer| layer.fsid == fsid)?;
        Some((&layer.dir, layer.origin))
    }

    /// The upper directory of the overlay of a root, and the path of the root in it.
    pub(crate) fn of_root(&self, root: usize) -> Option<(&Layer<F>, &[u8])> {
        let base = self.bases.iter().find(|base| base.root == root)?;
        Some((&self.layers[base.layer], &base.path))
    }

    /// Whether a root has the name `name` in its overlay, whose upper layer is on filesystem `upper_fsid`.
    pub(crate) fn is_root_named(&self, root: usize, upper_fsid: u64, name: &[u8]) -> bool {
        self.of_root(root).is_some_and(|(layer, path)| {
            let last = path.rsplit(|&byte| byte == b'/').next();
            layer.upper_fsid == upper_fsid && last == Some(name)
        })
    }

    /// The key of the upper directory of a directory that is heard by it, and an open directory on its filesystem.
    pub(crate) fn upper_of<'a>(
        &self,
        tree: &Tree,
        id: u32,
        room: &'a mut [u8; KEY_MAX],
    ) -> Option<(&F, &'a [u8])> {
        let key = Key { fsid: tree.fsid(id), handle: tree.key_of(id) };
        let layer = self.layers.iter().find(|layer| layer.is_heard(key))?;
        Some((&layer.dir, layer.wrapping.unwrap(key.handle, room)?))
    }

    /// Records that the upper directory belongs to the directory `id` with its own mark, below `root`.
    pub(crate) fn note_own(&mut self, tree: &Tree, (id, root): (u32, usize), upper: &Handle) {
        let mut room = [0; KEY_MAX];
        let Some((layer, _)) = self.of_root(root) else { return };
        let upper = Key { fsid: layer.upper_fsid, handle: upper.key() };
        if let Some(hash) = layer.wrap(upper, &mut room).map(|key| tree.hash(key)) {
            self.own.put(tree, hash, id);
        }
    }

    /// Whether the upper directory belongs to the directory `id` with its own mark, below `root`.
    pub(crate) fn is_own(&self, tree: &Tree, (id, root): (u32, usize), upper: &Handle) -> bool {
        let Some((layer, _)) = self.of_root(root) else { return false };
        let upper = Key { fsid: layer.upper_fsid, handle: upper.key() };
        self.side(tree, layer, Some(upper)) == Side::Own(id)
    }

    /// Whether an object of the upper layer is the one with the key `key` in a directory of the overlay.
    pub(crate) fn is_object(&self, tree: &Tree, dir: u32, upper: &Handle, key: &[u8]) -> bool {
        let fsid = tree.fsid(dir);
        let mut room = [0; KEY_MAX];
        self.layers.iter().filter(|layer| layer.fsid == fsid).any(|layer| {
            let upper = Key { fsid: layer.upper_fsid, handle: upper.key() };
            layer.wrap(upper, &mut room).is_some_and(|wrapped| {
                let known = self.real_key(tree.hash(wrapped), wrapped);
                known == key || wrapped.handle == key
            })
        })
    }

    /// Whether an object with that key would be known if it were in the upper layer: it was made on the overlay, or
    /// reported after it was copied up.
    pub(crate) fn is_known_above(&self, fsid: u64, key: &[u8]) -> bool {
        let key = Key { fsid, handle: key };
        self.is_wrapped(key) || self.aliases.have(key.handle)
    }

    /// The directory of the tree that an upper directory belongs to.
    pub(crate) fn dir_of(&self, tree: &Tree, upper: Key<'_>) -> Option<u32> {
        let known = |layer| match self.side(tree, layer, Some(upper)) {
            Side::Heard(id) | Side::Own(id) => Some(id),
            Side::Work | Side::Unknown => None,
        };
        self.of_upper(upper.fsid).find_map(known)
    }

    /// The hashes of the keys that an upper directory may have on overlays.
    pub(crate) fn hashes(&self, tree: &Tree, upper: Key<'_>) -> impl Iterator<Item = u64> {
        self.of_upper(upper.fsid).filter_map(move |layer| {
            let mut room = [0; KEY_MAX];
            layer.wrap(upper, &mut room).map(|key| tree.hash(key))
        })
    }

    fn of_upper(&self, fsid: u64) -> impl Iterator<Item = &Layer<F>> {
        self.layers.iter().filter(move |layer| layer.upper_fsid == fsid)
    }

    fn side(&self, tree: &Tree, layer: &Layer<F>, upper: Option<Key<'_>>) -> Side {
        let mut room = [0; KEY_MAX];
        let Some(upper) = upper else { return Side::Unknown };
        if layer.work.iter().any(|work| work.key() == upper.handle) {
            return Side::Work;
        }
        let Some(key) = layer.wrap(upper, &mut room) else { return Side::Unknown };
        match tree.find(key) {
            Some(id) if self.is_heard(tree, id) => Side::Heard(id),
            Some(id) => Side::Own(id),
            None => self.own.find(tree, tree.hash(key)).map_or(Side::Unknown, Side::Own),
        }
    }

    /// The key of an object on the overlay, from the wrapped key of its upper object and the hash of that. If a
    /// directory has another key it has its own mark, so no event of the upper layer is reported for it.
    fn real_key<'a>(&'a self, hash: u64, key: Key<'a>) -> &'a [u8] {
        self.aliases.find(hash).unwrap_or(key.handle)
    }
}

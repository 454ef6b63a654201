//! Looks at the filesystem outside of walks: what is at a name, where a directory is.

use super::{WAY_MAX, Watch, c_name};
use crate::hot::event::Key;
use crate::hot::r#where::disk::Disk;
use crate::hot::r#where::tree::{NAME_ROOM, Tree};
use crate::limits::sys::PATH_MAX;
use crate::sys::handle::{Handle, Handles, KEY_MAX};
use arrayvec::ArrayVec;
use std::ffi::CStr;

impl<D: Disk> Watch<D> {
    /// Whether the object with the handle `key` is `name` in a directory; `None` if the directory itself cannot be
    /// found.
    pub(crate) fn holds(&mut self, tree: &Tree, dir: u32, name: &[u8], key: &[u8]) -> Option<bool> {
        let mut room = [0; NAME_ROOM + 1];
        let entry = c_name(name, &mut room)?;
        if self.layers.any()
            && let Some(above) = self.holds_above(tree, (dir, entry), key)
        {
            return Some(above);
        }
        let (fd, root) = self.open(tree, dir).ok()?;
        let handle = self.disk.handle_of_entry(&fd, entry, self.roots[root].handles);
        Some(handle.is_ok_and(|(handle, _)| handle.key() == key))
    }

    /// Whether there is a directory `name` in another directory.
    pub(crate) fn is_dir_at(&mut self, tree: &Tree, dir: u32, name: &[u8]) -> bool {
        let mut room = [0; NAME_ROOM + 1];
        let Some(entry) = c_name(name, &mut room) else { return false };
        self.open(tree, dir).is_ok_and(|(fd, _)| self.disk.is_dir(&fd, entry))
    }

    /// Whether the upper layer has the object there: its events come before the overlay shows the change. `None` if
    /// the upper layer does not decide it.
    #[cold]
    fn holds_above(&mut self, tree: &Tree, (dir, entry): (u32, &CStr), key: &[u8]) -> Option<bool> {
        let upper = self.open_above(tree, dir)?;
        let is_all = self.layers.is_heard(tree, dir);
        match self.disk.handle_of_entry(&upper, entry, Handles::MODERN) {
            Ok((there, _)) if self.layers.is_object(tree, dir, &there, key) => Some(true),
            // Otherwise the object may have been copied up, or be in a lower layer only.
            _ if is_all || self.layers.is_known_above(tree.fsid(dir), key) => Some(false),
            _ => None,
        }
    }

    /// The key on the overlay of a file of its upper layer that is a copy. `None` if it is not a copy, or is gone.
    #[cold]
    pub(crate) fn handle_of_copy(&self, overlay: u64, upper: Key<'_>) -> Option<Handle> {
        let (beside, origin) = self.layers.origin_of(overlay)?;
        self.disk.handle_of_copy(beside, upper.handle, origin).ok()
    }

    /// Opens the upper directory of a directory.
    fn open_above(&mut self, tree: &Tree, dir: u32) -> Option<D::Dir> {
        let mut room = [0; KEY_MAX];
        if self.layers.is_heard(tree, dir) {
            let (beside, key) = self.layers.upper_of(tree, dir, &mut room)?;
            return self.disk.open_handle(beside, key).ok();
        }
        let root = self.root_of(tree.root_of(dir))?;
        self.layers.of_root(root)?;
        self.put_path_above(tree, dir, root);
        let (layer, _) = self.layers.of_root(root)?;
        let upper = self.disk.open_path(&layer.dir, &self.path).ok()?;
        let (handle, _) = self.disk.handle_of(&upper, Handles::MODERN).ok()?;
        self.layers.is_own(tree, (dir, root), &handle).then_some(upper)
    }

    /// Puts the path of a directory, below the upper directory of its overlay, into the room for paths.
    fn put_path_above(&mut self, tree: &Tree, dir: u32, root: usize) {
        self.path.clear();
        self.path.extend_from_slice(b"./");
        if let Some((_, base)) = self.layers.of_root(root) {
            self.path.extend_from_slice(base);
        }
        self.path.push(b'/');
        tree.append_path(dir, &mut self.path);
    }

    /// Finds the upper directory of a directory that has its own mark, if the upper layer is heard. If there is
    /// none yet, as the directory was not copied up, the event of the copy shows it.
    pub(crate) fn note_upper(&mut self, tree: &Tree, id: u32, root: usize) {
        if self.layers.of_root(root).is_none() {
            return;
        }
        self.put_path_above(tree, id, root);
        self.path.push(0);
        let Some((layer, _)) = self.layers.of_root(root) else { return };
        let path = CStr::from_bytes_with_nul(&self.path).ok();
        let upper =
            path.and_then(|path| self.disk.handle_of_entry(&layer.dir, path, Handles::MODERN).ok());
        if let Some((upper, _)) = upper {
            self.layers.note_own(tree, (id, root), &upper);
        }
    }

    /// The current path of a directory that is not in the tree; `None` if it has none.
    #[cold]
    pub(crate) fn path_outside(&mut self, tree: &Tree, dir: Key<'_>) -> Option<&[u8]> {
        let root = self.roots.iter().find(|root| root.is_beside(tree, dir))?;
        // The directory of a root that is kept open may be on a detached mount. Another filesystem that does not
        // answer may be mounted on the way by now.
        let beside = self.disk.open_cached(&root.path).ok()?;
        let (handle, mount_id) = self.disk.handle_of(&beside, root.handles).ok()?;
        if handle.key() != tree.key_of(root.node) {
            return None;
        }
        let beside = self.disk.open_path(&beside, b"").ok()?;
        let fd = self.disk.open_handle(&beside, dir.handle).ok()?;
        self.path.resize(PATH_MAX, 0);
        let len = self.disk.path_of(&fd, &mut self.path).ok()?.len();
        self.path.truncate(len);
        self.path.push(0);
        let path = CStr::from_bytes_with_nul(&self.path).ok().filter(|_| len < PATH_MAX)?;
        // If the mount does not have it, the path leads to another directory.
        let there = self.disk.open_cached(path).ok()?;
        let (handle, its_mount) = self.disk.handle_of(&there, root.handles).ok()?;
        (handle.key() == dir.handle && its_mount == mount_id).then_some(path.to_bytes())
    }

    /// The nearest live directory above an unknown one, as it is on disk now. `way` gets the handles of those in
    /// between, the lowest first; if there is no room for all, the uppermost.
    pub(crate) fn nearest_above(
        &mut self,
        tree: &Tree,
        dir: Key<'_>,
        way: &mut ArrayVec<Handle, WAY_MAX>,
        is_meant: impl Fn(u32) -> bool,
    ) -> Option<u32> {
        // A root is open through a mount of its own, from which no way leads up into another root.
        (0..self.roots.len()).find_map(|at| {
            let is_one = self.roots[at].is_beside(tree, dir) && is_meant(self.roots[at].node);
            if is_one { self.nearest_by(at, tree, dir, way) } else { None }
        })
    }

    /// The same through the mount of one root.
    fn nearest_by(
        &mut self,
        at: usize,
        tree: &Tree,
        dir: Key<'_>,
        way: &mut ArrayVec<Handle, WAY_MAX>,
    ) -> Option<u32> {
        let how = self.roots[at].handles;
        let beside = self.roots[at].open(&self.disk, tree).ok()?;
        let mut fd = self.disk.open_handle(&beside, dir.handle).ok()?;
        way.clear();
        loop {
            fd = self.disk.open_above(&fd).ok()?;
            let (handle, _) = self.disk.handle_of(&fd, how).ok()?;
            let key = Key { fsid: dir.fsid, handle: handle.key() };
            if let Some(known) = tree.find_live(key) {
                return Some(known);
            }
            if handle.key() == way.last().map_or(dir.handle, Handle::key) {
                return None;
            }
            if way.is_full() {
                way.remove(0);
            }
            way.push(handle);
        }
    }
}

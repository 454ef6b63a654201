//! What is watched: roots and their marks, and the walk that fills the tree.
//!
//! The walk uses the tree itself as its list of work, and buffers made once: it is used at the
//! start and again while running, when a directory comes in.

use super::above::{Above, Reached, open_without_mounts};
use super::arrivals::Arrivals;
use super::busy::Muting;
use super::disk::{Disk, Kernel};
use super::event::Key;
use super::file_names::FileNames;
use super::layers::Layers;
use super::trail::Trail;
use super::tree::{Full, Inserted, NAME_ROOM, Tree, flag};
use crate::config::SkipDir;
use crate::sys::handle::{Handle, Handles, KEY_MAX, is_shared};
use arrayvec::ArrayVec;
use fsmon_format::kind;
use std::ffi::{CStr, CString};
use std::io;

/// The two sides of a rename, each told by itself.
pub(crate) const SIDES: u32 = kind::MOVED_FROM | kind::MOVED_TO;

/// Bytes of directory entries read in one go.
const ENTRIES_LEN: usize = 64 << 10;
/// Bytes of the longest path that the kernel takes, with its NUL.
const PATH_MAX: usize = libc::PATH_MAX as usize;
/// Bytes for paths; the deepest real trees stay far below, deeper ones make it grow.
const PATH_LEN: usize = 64 << 10;

/// Directories between one that is known and one that is not, of which handles are kept at one time.
pub(crate) const WAY_MAX: usize = 64;

/// A watched root: the directory that is at a path.
pub(crate) struct Root<F> {
    /// Absolute, as the user named it.
    pub(crate) path: CString,
    /// Its node; 0 while there is no directory.
    pub(crate) node: u32,
    /// Open, so that what is below is reached whatever happens to the path; when it is first needed.
    pub(crate) fd: Option<F>,
    /// The mount it is on: the walk stays on it.
    pub(crate) mount_id: i32,
    /// How handles are asked for on its filesystem.
    pub(crate) handles: Handles,
    /// Whether every directory gets a mark of its own.
    pub(crate) inode_marks: bool,
}

impl<F> Root<F> {
    /// The directory is there.
    pub(crate) fn set(&mut self, node: u32, found: Reached<F>, inode_marks: bool) {
        (self.node, self.fd, self.mount_id) = (node, Some(found.fd), found.mount_id);
        (self.handles, self.inode_marks) = (found.handles, inode_marks);
    }

    /// Whether it is on the filesystem of that directory, and a mark on the filesystem tells of both.
    fn is_beside(&self, tree: &Tree, dir: Key<'_>) -> bool {
        self.node != 0 && !self.inode_marks && tree.fsid(self.node) == dir.fsid
    }

    /// Opens the directory anew for reading.
    fn open<D: Disk<Dir = F>>(&mut self, disk: &D, tree: &Tree) -> io::Result<F> {
        if self.fd.is_none() {
            let fd = disk.open_following(&self.path)?;
            let (handle, mount_id) = disk.handle_of(&fd, self.handles)?;
            if handle.key() != tree.key_of(self.node) {
                return Err(io::ErrorKind::NotFound.into());
            }
            let whole = open_without_mounts(disk, &fd, self.handles);
            let (fd, mount_id) = whole.unwrap_or((fd, mount_id));
            (self.fd, self.mount_id) = (Some(fd), mount_id);
        }
        let fd = self.fd.as_ref().ok_or(io::ErrorKind::NotFound)?;
        disk.open_path(fd, b"")
    }

    /// See [`Watch::tell_sides`].
    fn tell_sides<D: Disk<Dir = F>>(
        &mut self,
        disk: &D,
        tree: &Tree,
        tell: bool,
    ) -> io::Result<()> {
        if self.inode_marks {
            return if tell { Err(io::ErrorKind::Unsupported.into()) } else { Ok(()) };
        }
        if self.node == 0 {
            return Err(io::ErrorKind::NotFound.into());
        }
        let (fd, sides) = (self.open(disk, tree)?, u64::from(SIDES));
        match tell {
            true => disk.mark_filesystem(sides, &fd),
            false => disk.unmark_filesystem(sides, &fd),
        }
    }
}

/// Everything a walk needs.
pub(crate) struct Watch<D: Disk = Kernel> {
    /// The filesystem, and the group whose marks these are.
    pub(crate) disk: D,
    /// The mask of marks on directories, where they are used.
    pub(crate) mask: u64,
    pub(crate) roots: Vec<Root<D::Dir>>,
    pub(crate) recursive: bool,
    pub(crate) arrivals: Arrivals,
    /// The names of files, where changes through other names are asked for.
    pub(crate) file_names: Option<FileNames>,
    /// Whether events are still to come of what changes while it is read.
    pub(crate) is_awaited: bool,
    /// Overlays, directories of which are heard without a mark of their own.
    pub(crate) layers: Layers<D::Dir>,
    /// Whether any directory was ever muted.
    mutes: bool,
    skip_dir: Option<SkipDir>,
    trail: Trail<D::Dir>,
    path: Vec<u8>,
    entries: Vec<u8>,
}

/// What a walk tells of.
pub(crate) enum Met<'a> {
    /// A directory was opened, and marked if need be: its entries come next.
    Read(u32),
    /// An entry of directory `dir`; the handle of one that is a directory and is looked into.
    Entry { dir: u32, name: &'a [u8], is_dir: bool, key: Option<&'a [u8]> },
    /// A directory comes into the tree where it was met.
    Added(u32),
    /// The same of one that was known elsewhere.
    Moved(u32),
    /// A directory, by its handle, that the tree has elsewhere: an event may be about to take it here.
    Elsewhere { dir: u32, name: &'a [u8], key: &'a [u8] },
    /// There is no room for a directory.
    Full,
    /// A directory was opened that the kernel was told to be silent of: until now some of what happened
    /// in it was not told.
    Unheard,
    /// A directory could not be read, for a reason other than that it is gone.
    Unreadable(io::Error),
}

/// What becomes of an entry that a walk met.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Visit {
    /// It is taken for what it is.
    Take,
    /// Events that are still to come say how it came there: its directory is read once more.
    Later,
}

/// What came of reading a directory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Read {
    /// It was read, or cannot be, or is still to be read.
    Done,
    /// It is none: to be forgotten.
    NoDir,
}

impl<D: Disk> Watch<D> {
    /// Without roots.
    pub(crate) fn new(disk: D, mask: u64, recursive: bool, skip_dir: Option<SkipDir>) -> Self {
        Watch {
            disk,
            mask,
            roots: Vec::new(),
            recursive,
            arrivals: Arrivals::new(),
            file_names: None,
            is_awaited: false,
            layers: Layers::none(),
            mutes: false,
            skip_dir,
            trail: Trail::default(),
            path: Vec::with_capacity(PATH_LEN),
            entries: vec![0; ENTRIES_LEN],
        }
    }

    /// Whether a directory is left out, by its path below the root. The one that it is in
    /// remembers ([`flag::PARTIAL`]).
    pub(crate) fn skips(&mut self, tree: &mut Tree, parent: u32, name: &[u8]) -> bool {
        let Some(skip) = &mut self.skip_dir else { return false };
        self.path.clear();
        tree.append_path(parent, &mut self.path);
        if !self.path.is_empty() {
            self.path.push(b'/');
        }
        self.path.extend_from_slice(name);
        let skips = skip.skips.skips(tree.name(tree.root_of(parent)), &self.path);
        if skips && tree.node(parent).flags & flag::UNREAD == 0 {
            tree.set(parent, flag::PARTIAL);
        }
        skips
    }

    /// Everything below `top` has another path now: what is left out by it is forgotten, and where
    /// something was left out before is to be read again. Says whether there is such a place.
    pub(crate) fn reconsider(&mut self, tree: &mut Tree, top: u32) -> bool {
        let mut any = false;
        let Some(skip) = self.skip_dir.as_mut().filter(|skip| skip.by_path) else { return any };
        let mut at = top;
        while at != 0 {
            self.path.clear();
            tree.append_path(at, &mut self.path);
            if at != top && skip.skips.skips(tree.name(tree.root_of(at)), &self.path) {
                tree.set(tree.node(at).parent, flag::PARTIAL);
                let next = tree.past(at, top);
                tree.forget(at);
                at = next;
                continue;
            }
            if tree.node(at).flags & flag::PARTIAL != 0 {
                tree.set(at, flag::UNREAD);
                any = true;
            }
            at = tree.following(at, top);
        }
        any
    }

    /// Reads the directory `top` and everything below it into the tree, telling `visit` of all
    /// that it meets.
    pub(crate) fn walk(
        &mut self,
        tree: &mut Tree,
        top: u32,
        visit: &mut impl FnMut(&D, &mut Tree, Met<'_>) -> Visit,
    ) {
        tree.set(top, flag::UNREAD);
        self.walk_some(tree, (top, top), u64::MAX, visit);
    }

    /// Reads what is still unread from `from` on, down to the end of what is below `top`. Where that takes
    /// until after `until_ns` it stops behind a directory: the next to look at.
    ///
    /// A directory that is not where the tree has it was moved meanwhile, by an event that is
    /// still in the queue: it stays unread until that event comes up.
    pub(crate) fn walk_some(
        &mut self,
        tree: &mut Tree,
        (top, from): (u32, u32),
        until_ns: u64,
        visit: &mut impl FnMut(&D, &mut Tree, Met<'_>) -> Visit,
    ) -> Option<u32> {
        let (mut at, mut left) = (from, None);
        while at != 0 && left.is_none() {
            let was_unread = tree.node(at).flags & flag::UNREAD != 0;
            if was_unread && self.read_one(tree, at, visit) == Read::NoDir {
                let next = tree.past(at, top);
                tree.forget(at);
                at = next;
            } else {
                at = tree.following(at, top);
            }
            left = Some(at).filter(|&at| was_unread && at != 0 && self.disk.now_ns() >= until_ns);
        }
        self.trail.clear();
        left
    }

    /// Reads an unread directory, and nothing that is below.
    pub(crate) fn read_one(
        &mut self,
        tree: &mut Tree,
        id: u32,
        visit: &mut impl FnMut(&D, &mut Tree, Met<'_>) -> Visit,
    ) -> Read {
        tree.clear(id, flag::UNREAD);
        match self.read(tree, id, visit) {
            Ok(()) => {}
            Err(error) if self.is_no_dir(tree, id, &error) => return Read::NoDir,
            Err(error) if is_gone(&error) => tree.set(id, flag::UNREAD),
            Err(error) => {
                visit(&self.disk, tree, Met::Unreadable(error));
            }
        }
        Read::Done
    }

    /// The nearest live directory above one that is not known, as it is on disk now, and in `way` the handles
    /// of those between the two, the lowest first; of more than it has room for, the uppermost.
    pub(crate) fn nearest_above(
        &mut self,
        tree: &Tree,
        dir: Key<'_>,
        way: &mut ArrayVec<Handle, WAY_MAX>,
    ) -> Option<u32> {
        let beside = self.roots.iter_mut().find(|root| root.is_beside(tree, dir))?;
        let how = beside.handles;
        let beside = beside.open(&self.disk, tree).ok()?;
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

    /// What is not told of a directory that is muted. Never what is not of a directory or its entries by
    /// name, or is wanted for the sake of processes; nor renames of directories, which may bring it in.
    fn muted_mask(&self, how: Muting) -> u64 {
        let entries = self.mask
            & !u64::from(kind::RENAME | kind::DELETE_SELF | kind::MOVE_SELF | kind::OPEN_EXEC);
        match how {
            Muting::Entries => entries,
            // One mark has one such flag, for all that it ignores.
            Muting::Renames => {
                (entries | u64::from(kind::RENAME | SIDES)) & !u64::from(kind::ONDIR)
            }
            Muting::Heard => entries | u64::from(kind::RENAME | SIDES),
        }
    }

    /// Tells the kernel to be silent of a directory outside the tree; or not any more.
    ///
    /// # Errors
    /// ESTALE where it is gone, NotFound where no root is on its filesystem; else those of
    /// [`Group::mute`] and [`open_handle`].
    #[cold]
    pub(crate) fn mute(&mut self, tree: &Tree, dir: Key<'_>, how: Muting) -> io::Result<()> {
        let beside = self.roots.iter_mut().find(|root| root.is_beside(tree, dir));
        let fd = match (beside, self.layers.beside(dir.fsid)) {
            (Some(root), _) => self.disk.open_handle(&root.open(&self.disk, tree)?, dir.handle)?,
            (None, Some(beside)) => self.disk.open_handle(beside, dir.handle)?,
            (None, None) => return Err(io::ErrorKind::NotFound.into()),
        };
        // A mark that ignores more than is to be ignored now goes first.
        self.disk.unmute(self.muted_mask(Muting::Heard), &fd);
        if how != Muting::Heard {
            self.disk.mute(self.muted_mask(how), &fd)?;
            self.mutes = true;
        }
        Ok(())
    }

    /// Asks the kernel to tell the two sides of each rename as well, on all filesystems that are watched;
    /// or not any more.
    ///
    /// # Errors
    /// Unsupported where directories are marked each, NotFound where a root does not exist, or those of
    /// [`Group::mark_filesystem`]; the last of several. The others are done all the same.
    #[cold]
    pub(crate) fn tell_sides(&mut self, tree: &Tree, above: &Above, tell: bool) -> io::Result<()> {
        let mut result = Ok(());
        let roots = self.roots.iter_mut().enumerate();
        for (_, root) in roots.filter(|(at, _)| !above.is_given_up(*at)) {
            let done = root.tell_sides(&self.disk, tree, tell);
            if done.is_err() {
                result = done;
            }
        }
        result
    }

    /// The path of a directory that is not in the tree, as it is now; `None` where there is none to be had.
    #[cold]
    pub(crate) fn path_outside(&mut self, tree: &Tree, dir: Key<'_>) -> Option<&[u8]> {
        let root = self.roots.iter().find(|root| root.is_beside(tree, dir))?;
        // The directory of a root that is kept open may be on a mount that is attached nowhere. Another
        // filesystem may be mounted on the way by now, and not answer.
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
        // Where the mount does not have it, the path leads elsewhere.
        let there = self.disk.open_cached(path).ok()?;
        let (handle, its_mount) = self.disk.handle_of(&there, root.handles).ok()?;
        (handle.key() == dir.handle && its_mount == mount_id).then_some(path.to_bytes())
    }

    fn root_of(&self, root: u32) -> Option<usize> {
        self.roots.iter().position(|known| known.node == root)
    }

    /// Opens a directory where the tree has it, and makes sure that it is the one meant.
    fn open(&mut self, tree: &Tree, id: u32) -> io::Result<(D::Dir, usize)> {
        let at = self.root_of(tree.root_of(id)).ok_or(io::ErrorKind::NotFound)?;
        let root = &mut self.roots[at];
        let root_fd;
        let (above, above_fd) = match self.trail.nearest(tree, id) {
            Some(nearest) => nearest,
            None => {
                root_fd = root.open(&self.disk, tree)?;
                (root.node, &root_fd)
            }
        };
        self.path.clear();
        tree.append_path_from(above, id, &mut self.path);
        let fd = self.disk.open_path(above_fd, &self.path)?;
        let (handle, _) = self.disk.handle_of(&fd, root.handles)?;
        if handle.key() != tree.key_of(id) {
            return Err(io::ErrorKind::NotFound.into());
        }
        Ok((fd, at))
    }

    /// Whether the object of that handle is to be found as `name` in a directory; `None` where the
    /// directory is not to be found itself.
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

    /// Whether a directory is to be found as `name` in another.
    pub(crate) fn is_dir_at(&mut self, tree: &Tree, dir: u32, name: &[u8]) -> bool {
        let mut room = [0; NAME_ROOM + 1];
        let Some(entry) = c_name(name, &mut room) else { return false };
        self.open(tree, dir).is_ok_and(|(fd, _)| self.disk.is_dir(&fd, entry))
    }

    /// Whether a directory could not be opened because it is none: something else was exchanged for it while its
    /// handle was asked for.
    fn is_no_dir(&mut self, tree: &Tree, id: u32, error: &io::Error) -> bool {
        let node = tree.node(id);
        error.raw_os_error() == Some(libc::ENOTDIR)
            && node.flags & flag::ROOT == 0
            && self.holds(tree, node.parent, tree.name(id), tree.key_of(id)) == Some(true)
    }

    /// Whether the upper layer has the object there: its events come before the overlay shows what they tell.
    /// `None` where it does not say.
    #[cold]
    fn holds_above(&mut self, tree: &Tree, (dir, entry): (u32, &CStr), key: &[u8]) -> Option<bool> {
        let upper = self.open_above(tree, dir)?;
        let is_all = self.layers.is_heard(tree, dir);
        match self.disk.handle_of_entry(&upper, entry, Handles::MODERN) {
            Ok((there, _)) if self.layers.is_object(tree, dir, &there, key) => Some(true),
            // Else what is there may have been copied up, or be in a lower layer alone.
            _ if is_all || self.layers.is_known_above(tree.fsid(dir), key) => Some(false),
            _ => None,
        }
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

    /// Puts the path of a directory below the upper directory of its overlay into the room for paths.
    fn put_path_above(&mut self, tree: &Tree, dir: u32, root: usize) {
        self.path.clear();
        self.path.extend_from_slice(b"./");
        if let Some((_, base)) = self.layers.of_root(root) {
            self.path.extend_from_slice(base);
        }
        self.path.push(b'/');
        tree.append_path(dir, &mut self.path);
    }

    fn read(
        &mut self,
        tree: &mut Tree,
        id: u32,
        visit: &mut impl FnMut(&D, &mut Tree, Met<'_>) -> Visit,
    ) -> io::Result<()> {
        let (fd, root) = self.open(tree, id)?;
        if self.roots[root].inode_marks && !self.layers.is_heard(tree, id) {
            self.disk.mark_dir(self.mask, &fd)?;
            self.note_upper(tree, id, root);
        } else if self.mutes && self.unmute(tree, id, &fd) {
            visit(&self.disk, tree, Met::Unheard);
        }
        visit(&self.disk, tree, Met::Read(id));
        // Then only what was left out before is told of.
        let again = tree.node(id).flags & flag::PARTIAL != 0;
        tree.clear(id, flag::PARTIAL);
        let mut entries = std::mem::take(&mut self.entries);
        let result = loop {
            match self.disk.read_dir(&fd, &mut entries) {
                Ok(0) => break Ok(()),
                Ok(len) => {
                    for entry in Entries(&entries[..len]) {
                        self.meet(tree, (id, root, again), &fd, entry, visit);
                    }
                }
                Err(error) => break Err(error),
            }
        };
        self.entries = entries;
        if tree.node(id).child != 0 {
            self.trail.push(id, fd);
        }
        result
    }

    /// A directory is heard again. Whether it was not until now.
    fn unmute(&self, tree: &Tree, id: u32, fd: &D::Dir) -> bool {
        let mask = self.muted_mask(Muting::Heard);
        let mut room = [0; KEY_MAX];
        match self.layers.upper_of(tree, id, &mut room) {
            // What was muted is the upper directory.
            Some((beside, key)) if self.layers.is_heard(tree, id) => {
                let upper = self.disk.open_handle(beside, key);
                upper.is_ok_and(|upper| self.disk.unmute(mask, &upper))
            }
            _ => self.disk.unmute(mask, fd),
        }
    }

    /// Finds the upper directory of a directory that has its own mark, where the upper layer is heard. One
    /// that has none yet, as it was not copied up, is found by the event that brings it.
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

    fn meet(
        &mut self,
        tree: &mut Tree,
        (id, root, again): (u32, usize, bool),
        fd: &D::Dir,
        entry: Entry<'_>,
        visit: &mut impl FnMut(&D, &mut Tree, Met<'_>) -> Visit,
    ) {
        let name = entry.name.to_bytes();
        if name == b"." || name == b".." {
            return;
        }
        let is_dir = match entry.kind {
            libc::DT_UNKNOWN => self.disk.is_dir(fd, entry.name),
            kind => kind == libc::DT_DIR,
        };
        if !is_dir {
            self.note_file(tree, (id, root), fd, entry.name);
        }
        if is_dir && name.len() > NAME_ROOM {
            let too_long = io::Error::from_raw_os_error(libc::ENAMETOOLONG);
            visit(&self.disk, tree, Met::Unreadable(too_long));
            return;
        }
        let left_out = !is_dir || self.skips(tree, id, name);
        let how = self.roots[root].handles;
        let handle = (!left_out).then(|| self.disk.handle_of_entry(fd, entry.name, how));
        if self.is_awaited && matches!(&handle, Some(Err(error)) if is_gone(error)) {
            // It went since its name was read: an event of that is still to come, or the name was of what came.
            return self.read_again(tree, id, again);
        }
        let is_dir_of_its_own = |(handle, _): &(Handle, i32)| !is_shared(handle.key());
        let is_here = |&(_, mount_id): &(Handle, i32)| mount_id == self.roots[root].mount_id;
        let Some((handle, _)) =
            handle.and_then(Result::ok).filter(is_here).filter(is_dir_of_its_own)
        else {
            let told = Met::Entry { dir: id, name, is_dir, key: None };
            if !again && visit(&self.disk, tree, told) == Visit::Later {
                self.read_again(tree, id, again);
            }
            return;
        };
        if self.is_awaited && !self.disk.is_dir(fd, entry.name) {
            // Something else was exchanged for it since the name was read.
            return self.read_again(tree, id, again);
        }
        let key = Key { fsid: tree.fsid(id), handle: handle.key() };
        if is_elsewhere(tree, id, name, key) {
            if self.roots[root].inode_marks && !self.layers.is_heard(tree, id) {
                self.arrivals.put(tree.hash(key), id, tree.node(id).hash(), name);
            }
            visit(&self.disk, tree, Met::Elsewhere { dir: id, name, key: key.handle });
            return;
        }
        let is_seen = |known| tree.node(known).flags & flag::UNSEEN == 0;
        let is_known = tree.find_live(key).is_some_and(is_seen);
        if again && is_known {
            return;
        }
        let told = Met::Entry { dir: id, name, is_dir, key: Some(key.handle) };
        if visit(&self.disk, tree, told) == Visit::Later {
            return self.read_again(tree, id, again);
        }
        match tree.insert(id, name, key) {
            // Events brought it, and tell of all that is in it; or it was read.
            Ok(Inserted::Same(_)) if is_known => {}
            Ok(inserted) => {
                let child = inserted.id();
                tree.clear(child, flag::UNSEEN);
                self.take_up(tree, child);
                visit(&self.disk, tree, Met::Added(child));
                if let Inserted::Moved(_) = inserted {
                    visit(&self.disk, tree, Met::Moved(child));
                }
            }
            Err(Full) => {
                visit(&self.disk, tree, Met::Full);
            }
        }
    }

    /// Keeps the name of a file, where names are kept.
    fn note_file(&mut self, tree: &Tree, (dir, root): (u32, usize), fd: &D::Dir, name: &CStr) {
        let Some(names) = &mut self.file_names else { return };
        let root = &self.roots[root];
        if root.inode_marks {
            // Of other names the kernel tells nothing here.
            return;
        }
        // One that is gone is told of by the queue.
        let Ok((handle, mount_id)) = self.disk.handle_of_entry(fd, name, root.handles) else {
            return;
        };
        if mount_id == root.mount_id && !is_shared(handle.key()) {
            let key = Key { fsid: tree.fsid(dir), handle: handle.key() };
            names.put(tree, tree.hash(key), dir, name.to_bytes());
        }
    }

    /// What is to be done with a directory that came up: read it, or not look into it.
    fn take_up(&self, tree: &mut Tree, id: u32) {
        if tree.node(id).flags & flag::ROOT != 0 {
            return;
        }
        tree.set(id, if self.recursive { flag::UNREAD } else { flag::LEAF });
    }

    /// Names of files that there was no room for.
    pub(crate) fn names_refused(&self) -> u64 {
        self.file_names.as_ref().map_or(0, FileNames::refused)
    }

    /// Whether there are roots whose directories have a mark each.
    pub(crate) fn any_inode_marks(&self) -> bool {
        self.roots.iter().any(|root| root.inode_marks)
    }

    /// Whether directories can be opened by their handles where this one is: not without `CAP_DAC_READ_SEARCH`.
    pub(crate) fn opens_by_handle(&mut self, tree: &Tree, dir: u32) -> bool {
        let Some(at) = self.root_of(tree.root_of(dir)) else { return false };
        let Ok(beside) = self.roots[at].open(&self.disk, tree) else { return false };
        let opened = self.disk.open_handle(&beside, tree.key_of(dir));
        // What is gone is no reason.
        opened.is_ok() || opened.is_err_and(|error| is_gone(&error))
    }

    /// Whether a directory that comes up has to be read at once, because what is in it is not
    /// seen otherwise: it needs a mark of its own.
    pub(crate) fn marks_each(&self, tree: &Tree, id: u32) -> bool {
        self.has_inode_marks(tree, id) && !self.layers.is_heard(tree, id)
    }

    /// Whether no mark on the filesystem of a directory tells of it.
    pub(crate) fn has_inode_marks(&self, tree: &Tree, id: u32) -> bool {
        let root = self.root_of(tree.root_of(id));
        root.is_some_and(|at| self.roots[at].inode_marks)
    }

    /// A directory is to be read once more: what was left out of it before, or all.
    fn read_again(&self, tree: &mut Tree, id: u32, again: bool) {
        // After a loss, and when nothing is left to read, no event is awaited that would say more.
        if self.is_awaited {
            tree.set(id, flag::UNREAD | if again { flag::PARTIAL } else { 0 });
        }
    }

    /// Forgets the directories that are kept open for those below.
    pub(crate) fn end_reading(&mut self) {
        self.trail.clear();
    }
}

/// A name with its NUL, in `room`; `None` where it is too long, or has a NUL inside.
fn c_name<'a>(name: &[u8], room: &'a mut [u8; NAME_ROOM + 1]) -> Option<&'a CStr> {
    let entry = room.get_mut(..=name.len())?;
    entry[..name.len()].copy_from_slice(name);
    entry[name.len()] = 0;
    CStr::from_bytes_with_nul(entry).ok()
}

/// Whether a directory is known at another place. Then it was moved after what the queue has told
/// so far: it is left where it is until that comes up, as events of before may still come. After
/// a loss ([`flag::UNSEEN`]) no event may come any more.
fn is_elsewhere(tree: &Tree, parent: u32, name: &[u8], key: Key<'_>) -> bool {
    let Some(known) = tree.find_live(key) else { return false };
    let node = tree.node(known);
    node.flags & (flag::UNSEEN | flag::ROOT) == 0
        && (node.parent != parent || tree.name(known) != name)
}

/// Gone, or no longer what it was: an event of the queue tells, or told already.
fn is_gone(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::ENOENT | libc::ENOTDIR | libc::ELOOP | libc::ESTALE))
        || error.kind() == io::ErrorKind::NotFound
}

/// An entry of a directory: `struct linux_dirent64`.
#[derive(Clone, Copy)]
struct Entry<'a> {
    kind: u8,
    name: &'a CStr,
}

/// Walks what getdents64(2) wrote.
struct Entries<'a>(&'a [u8]);

impl<'a> Iterator for Entries<'a> {
    type Item = Entry<'a>;

    fn next(&mut self) -> Option<Entry<'a>> {
        let len = usize::from(u16::from_ne_bytes(self.0.get(16..18)?.try_into().ok()?));
        let (this, rest) = self.0.split_at_checked(len.max(20))?;
        self.0 = rest;
        Some(Entry { kind: this[18], name: CStr::from_bytes_until_nul(&this[19..]).ok()? })
    }
}

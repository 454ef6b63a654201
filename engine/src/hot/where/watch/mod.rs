//! What is watched: roots, their marks and the filesystem they are on. Directories are read in `watch/reading.rs`,
//! single names are looked at in `watch/looks.rs`, and busy directories outside are muted in `watch/muting.rs`.

pub(crate) mod descent;
mod looks;
mod muting;
mod reading;
pub(crate) mod trail;

pub(crate) use reading::{Met, ReadOutcome, Visit};

use crate::config::SkipDir;
use crate::hot::event::Key;
use crate::hot::r#where::above::{Reached, open_without_mounts};
use crate::hot::r#where::disk::{Disk, Kernel};
use crate::hot::r#where::overlay::Layers;
use crate::hot::r#where::tables::file_names::FileNames;
use crate::hot::r#where::tables::met_elsewhere::MetElsewhere;
use crate::hot::r#where::tree::{NAME_ROOM, Tree, flag};
use crate::hot::r#where::watch::trail::Trail;
pub(crate) use crate::limits::walks::WAY_MAX;
use crate::limits::walks::{DIR_ENTRIES_BYTES, PATHS_BYTES};
use crate::sys::handle::Handles;
use fsmon_format::kind;
use std::ffi::{CStr, CString};
use std::io;

/// The two sides of a rename, which the kernel can report separately.
pub(crate) const SIDES: u32 = kind::MOVED_FROM | kind::MOVED_TO;

/// A watched root: the directory at a path.
pub(crate) struct Root<F> {
    /// Absolute, as the user named it.
    pub(crate) path: CString,
    /// Its node; 0 if there is no directory.
    pub(crate) node: u32,
    /// An open descriptor, through which directories below are reached whatever happens to the path; opened when it
    /// is first needed.
    pub(crate) fd: Option<F>,
    /// The mount it is on: the walk stays on it.
    pub(crate) mount_id: i32,
    /// How handles are obtained on its filesystem.
    pub(crate) handles: Handles,
    /// Whether every directory gets a mark of its own.
    pub(crate) inode_marks: bool,
}

impl<F> Root<F> {
    /// Without a directory.
    pub(crate) fn nowhere(path: CString) -> Self {
        let (handles, mount_id) = (Handles::MODERN, 0);
        Root { path, node: 0, fd: None, mount_id, handles, inode_marks: false }
    }

    /// Sets the directory.
    pub(crate) fn set(&mut self, node: u32, found: Reached<F>, inode_marks: bool) {
        (self.node, self.fd, self.mount_id) = (node, Some(found.fd), found.mount_id);
        (self.handles, self.inode_marks) = (found.handles, inode_marks);
    }

    /// Whether it is on the same filesystem as `dir`, with a mark that reports both.
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

    /// See [`Watch::set_sides`].
    fn set_sides<D: Disk<Dir = F>>(&mut self, disk: &D, tree: &Tree, on: bool) -> io::Result<()> {
        if self.inode_marks {
            return if on { Err(io::ErrorKind::Unsupported.into()) } else { Ok(()) };
        }
        if self.node == 0 {
            return Err(io::ErrorKind::NotFound.into());
        }
        let (fd, sides) = (self.open(disk, tree)?, u64::from(SIDES));
        match on {
            true => disk.mark_filesystem(sides, &fd),
            false => disk.unmark_filesystem(sides, &fd),
        }
    }
}

/// Everything that a walk needs.
pub(crate) struct Watch<D: Disk = Kernel> {
    /// The filesystem, and the group whose marks these are.
    pub(crate) disk: D,
    /// The mask of marks on directories, if these are used.
    pub(crate) mask: u64,
    pub(crate) roots: Vec<Root<D::Dir>>,
    pub(crate) recursive: bool,
    pub(crate) arrivals: MetElsewhere,
    /// The names of files, if changes through other names were requested.
    pub(crate) file_names: Option<FileNames>,
    /// Whether events of changes during a walk are still to come.
    pub(crate) is_awaited: bool,
    /// Overlays of which some directories are heard without a mark of their own.
    pub(crate) layers: Layers<D::Dir>,
    /// Whether any directory was ever muted.
    mutes: bool,
    skip_dir: Option<SkipDir>,
    trail: Trail<D::Dir>,
    path: Vec<u8>,
    entries: Vec<u8>,
}

impl<D: Disk> Watch<D> {
    /// Without roots.
    pub(crate) fn new(disk: D, mask: u64, recursive: bool, skip_dir: Option<SkipDir>) -> Self {
        Watch {
            disk,
            mask,
            roots: Vec::new(),
            recursive,
            arrivals: MetElsewhere::new(),
            file_names: None,
            is_awaited: false,
            layers: Layers::none(),
            mutes: false,
            skip_dir,
            trail: Trail::default(),
            path: Vec::with_capacity(PATHS_BYTES),
            entries: vec![0; DIR_ENTRIES_BYTES],
        }
    }

    /// Whether a directory is excluded, by its path below the root. Its parent remembers that ([`flag::PARTIAL`]).
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

    /// Everything below `top` has another path now: forgets directories that are excluded by it, and marks those to
    /// be read again in which an entry was excluded. Returns whether there are any.
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

    /// Whether a directory of that path is excluded from the root `outer`, or one between them.
    pub(crate) fn leaves_out(&mut self, outer: &[u8], inner: &[u8]) -> bool {
        let Some(skip) = &mut self.skip_dir else { return false };
        let from = if outer == b"/" { 1 } else { outer.len() + 1 };
        let below = inner.get(from..).unwrap_or(&[]);
        let ends = memchr::memchr_iter(b'/', below).chain([below.len()]);
        ends.into_iter().any(|end| skip.skips.skips(outer, &below[..end]))
    }

    /// Adds events to what the mark on the filesystem of a root asks for, or removes them. A root whose directories
    /// have a mark each, or that has no directory, is left out.
    pub(crate) fn change_mask(
        &mut self,
        tree: &Tree,
        at: usize,
        mask: u64,
        adds: bool,
    ) -> io::Result<()> {
        let root = &mut self.roots[at];
        if mask == 0 || root.node == 0 || root.inode_marks {
            return Ok(());
        }
        let fd = root.open(&self.disk, tree)?;
        match adds {
            true => self.disk.mark_filesystem(mask, &fd),
            false => self.disk.unmark_filesystem(mask, &fd),
        }
    }

    fn root_of(&self, root: u32) -> Option<usize> {
        self.roots.iter().position(|known| known.node == root)
    }

    /// Opens a directory where the tree has it, and checks that it is the right one.
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

    /// Number of names of files that were refused for lack of room.
    pub(crate) fn names_refused(&self) -> u64 {
        self.file_names.as_ref().map_or(0, FileNames::refused)
    }

    /// Whether there are roots whose directories have a mark each.
    pub(crate) fn any_inode_marks(&self) -> bool {
        self.roots.iter().any(|root| root.inode_marks)
    }

    /// Whether directories on the filesystem of `dir` can be opened by their handles, which takes
    /// `CAP_DAC_READ_SEARCH`.
    pub(crate) fn opens_by_handle(&mut self, tree: &Tree, dir: u32) -> bool {
        let Some(at) = self.root_of(tree.root_of(dir)) else { return false };
        let Ok(beside) = self.roots[at].open(&self.disk, tree) else { return false };
        let opened = self.disk.open_handle(&beside, tree.key_of(dir));
        // A directory that is gone does not count as a refusal.
        opened.is_ok() || opened.is_err_and(|error| is_gone(&error))
    }

    /// Whether a directory that comes up has to be read at once, because it needs its own mark.
    pub(crate) fn marks_each(&self, tree: &Tree, id: u32) -> bool {
        self.has_inode_marks(tree, id) && !self.layers.is_heard(tree, id)
    }

    /// Whether the directory is not covered by a mark on its filesystem.
    pub(crate) fn has_inode_marks(&self, tree: &Tree, id: u32) -> bool {
        let root = self.root_of(tree.root_of(id));
        root.is_some_and(|at| self.roots[at].inode_marks)
    }
}

/// A name with its NUL, in `room`; `None` if it is too long or contains a NUL.
fn c_name<'a>(name: &[u8], room: &'a mut [u8; NAME_ROOM + 1]) -> Option<&'a CStr> {
    let entry = room.get_mut(..=name.len())?;
    entry[..name.len()].copy_from_slice(name);
    entry[name.len()] = 0;
    CStr::from_bytes_with_nul(entry).ok()
}

/// Whether the directory is gone or is no longer a directory: an event reports that, or has reported it.
fn is_gone(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::ENOENT | libc::ENOTDIR | libc::ELOOP | libc::ESTALE))
        || error.kind() == io::ErrorKind::NotFound
}

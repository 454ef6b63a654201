//! What the reader asks of the kernel besides the events: looks at the filesystem, marks, and whether the queue is
//! empty.
//!
//! [`Kernel`] asks the real kernel. The simulator (`sim/`) answers from a model, so that `hot/where/resolve` and
//! `hot/where/watch` run unchanged on generated histories, in one thread, from one seed.

use crate::sys::admin::Admin;
use crate::sys::clock;
use crate::sys::dirents;
use crate::sys::fanotify::Group;
use crate::sys::fd::is_readable;
use crate::sys::handle::{self, Handle, Handles};
use crate::sys::identity::identity;
use crate::sys::overlay::{self, Origin};
use crate::sys::{mount, procdir};
use std::ffi::CStr;
use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};

/// A filesystem and a fanotify group. The errors are those of the system calls named.
pub(crate) trait Disk {
    /// An open directory.
    type Dir;

    /// Opens the directory at an absolute path, not to read it: openat(2) with `O_PATH`.
    fn open_absolute(&self, path: &CStr) -> io::Result<Self::Dir>;
    /// The same through symbolic links.
    fn open_following(&self, path: &CStr) -> io::Result<Self::Dir>;
    /// The same, but only if no filesystem has to be asked, as it may not answer: openat2(2) with `RESOLVE_CACHED`.
    fn open_cached(&self, path: &CStr) -> io::Result<Self::Dir>;
    /// The text of a symbolic link, cut off where `room` ends: readlinkat(2).
    fn read_link<'a>(
        &self,
        dir: &Self::Dir,
        name: &CStr,
        room: &'a mut [u8],
    ) -> io::Result<&'a [u8]>;
    /// Opens the directory `name` in `dir`, not to read it: openat(2) with `O_PATH`.
    fn open_step(&self, dir: &Self::Dir, name: &CStr) -> io::Result<Self::Dir>;
    /// Opens the directory that `dir` is in, not to read it; the top is in itself: openat(2) of `..` with
    /// `O_PATH`. ENOENT where the mount by which `dir` was opened does not lead there.
    fn open_above(&self, dir: &Self::Dir) -> io::Result<Self::Dir>;
    /// Opens a directory below `dir` to read it, by a path of any length; `dir` itself where the path is
    /// empty. Never through a symbolic link at the end.
    fn open_path(&self, dir: &Self::Dir, path: &[u8]) -> io::Result<Self::Dir>;
    /// Opens a directory through a mount of its own, on which nothing is mounted: open_tree(2).
    fn open_without_mounts(&self, dir: &Self::Dir) -> io::Result<Self::Dir>;
    /// Opens the directory of a handle, not to read it, on the filesystem of `beside`:
    /// open_by_handle_at(2).
    fn open_handle(&self, beside: &Self::Dir, handle: &[u8]) -> io::Result<Self::Dir>;
    /// The handle that a copy in the upper layer of an overlay has on that, given its own: see
    /// [`overlay::handle_of_copy`].
    fn handle_of_copy(
        &self,
        beside: &Self::Dir,
        upper: &[u8],
        origin: Origin,
    ) -> io::Result<Handle>;
    /// The path of an open directory, cut off at the end of `room`: readlink(2) of `/proc/self/fd/N`. It is the
    /// path through the mount by which the directory was opened, and may now lead elsewhere.
    fn path_of<'a>(&self, dir: &Self::Dir, room: &'a mut [u8]) -> io::Result<&'a [u8]>;
    /// Whether a directory has a name anywhere: fstat(2) `st_nlink`.
    fn has_name(&self, dir: &Self::Dir) -> bool;
    /// The filesystem id that events carry: statfs(2) `f_fsid`.
    fn filesystem(&self, dir: &Self::Dir) -> io::Result<u64>;
    /// What the filesystem of a directory is known by, given its id: see [`identity`].
    fn identity(&self, dir: &Self::Dir, fsid: u64) -> u64;
    /// How handles are obtained on the filesystem of a directory: see [`Handles::probe`].
    fn probe_handles(&self, dir: &Self::Dir) -> io::Result<Handles>;
    /// The handle of a directory, and the id of its mount: name_to_handle_at(2).
    fn handle_of(&self, dir: &Self::Dir, how: Handles) -> io::Result<(Handle, i32)>;
    /// The same of an entry of `dir`; symbolic links are not followed.
    fn handle_of_entry(
        &self,
        dir: &Self::Dir,
        name: &CStr,
        how: Handles,
    ) -> io::Result<(Handle, i32)>;
    /// Fills `buffer` with `struct linux_dirent64`s: getdents64(2). 0 at the end.
    fn read_dir(&self, dir: &Self::Dir, buffer: &mut [u8]) -> io::Result<usize>;
    /// Whether an entry is a directory: fstatat(2).
    fn is_dir(&self, dir: &Self::Dir, name: &CStr) -> bool;

    /// Asks for events of a whole filesystem: `FAN_MARK_FILESYSTEM`.
    fn mark_filesystem(&self, mask: u64, dir: &Self::Dir) -> io::Result<()>;
    /// Stops asking for these events of a filesystem.
    fn unmark_filesystem(&self, mask: u64, dir: &Self::Dir) -> io::Result<()>;
    /// Asks for events of one directory and its entries.
    fn mark_dir(&self, mask: u64, dir: &Self::Dir) -> io::Result<()>;
    /// Asks for the events in `mask` of one directory and nothing of its entries.
    fn mark_step(&self, mask: u64, dir: &Self::Dir) -> io::Result<()>;
    /// Ignores events of one directory and its entries: see [`Group::mute`].
    fn mute(&self, mask: u64, dir: &Self::Dir) -> io::Result<()>;
    /// Stops ignoring them. Returns whether they were ignored.
    fn unmute(&self, mask: u64, dir: &Self::Dir) -> bool;
    /// Removes every mark. What is in the queue stays.
    fn remove_marks(&self) -> io::Result<()>;

    /// Whether no event waits to be read.
    fn is_queue_empty(&self) -> bool;
    /// `CLOCK_MONOTONIC`, in ns.
    fn now_ns(&self) -> u64;
}

/// The real kernel.
pub(crate) struct Kernel {
    /// The fanotify group whose marks these are.
    pub(crate) group: Group,
    /// Does what takes `CAP_SYS_ADMIN`, once the reader runs without it.
    pub(crate) admin: Option<Admin>,
}

impl Kernel {
    /// The kernel, asked by a thread with all capabilities that are needed.
    pub(crate) fn new(group: Group) -> Self {
        Kernel { group, admin: None }
    }
}

impl Disk for Kernel {
    type Dir = OwnedFd;

    fn open_absolute(&self, path: &CStr) -> io::Result<OwnedFd> {
        handle::open_absolute(path)
    }

    fn open_following(&self, path: &CStr) -> io::Result<OwnedFd> {
        handle::open_following(path)
    }

    fn open_cached(&self, path: &CStr) -> io::Result<OwnedFd> {
        handle::open_cached(path)
    }

    fn read_link<'a>(
        &self,
        dir: &OwnedFd,
        name: &CStr,
        room: &'a mut [u8],
    ) -> io::Result<&'a [u8]> {
        handle::read_link(dir.as_fd(), name, room)
    }

    fn open_step(&self, dir: &OwnedFd, name: &CStr) -> io::Result<OwnedFd> {
        handle::open_step(dir.as_fd(), name)
    }

    fn open_above(&self, dir: &OwnedFd) -> io::Result<OwnedFd> {
        handle::open_step(dir.as_fd(), c"..")
    }

    fn open_path(&self, dir: &OwnedFd, path: &[u8]) -> io::Result<OwnedFd> {
        handle::open_path(dir.as_fd(), path)
    }

    fn open_without_mounts(&self, dir: &OwnedFd) -> io::Result<OwnedFd> {
        match &self.admin {
            Some(admin) => admin.open_without_mounts(dir.as_fd()),
            None => mount::open_without_mounts(dir.as_fd()),
        }
    }

    fn open_handle(&self, beside: &OwnedFd, key: &[u8]) -> io::Result<OwnedFd> {
        handle::open_handle(beside.as_fd(), key)
    }

    fn handle_of_copy(&self, beside: &OwnedFd, upper: &[u8], origin: Origin) -> io::Result<Handle> {
        match &self.admin {
            Some(admin) => admin.handle_of_copy(beside.as_fd(), upper, origin),
            None => overlay::handle_of_copy(beside.as_fd(), upper, origin),
        }
    }

    fn path_of<'a>(&self, dir: &OwnedFd, room: &'a mut [u8]) -> io::Result<&'a [u8]> {
        procdir::read_link(&procdir::Path::of_fd(dir.as_fd()), room)
    }

    fn has_name(&self, dir: &OwnedFd) -> bool {
        handle::has_name(dir.as_fd())
    }

    fn filesystem(&self, dir: &OwnedFd) -> io::Result<u64> {
        handle::filesystem(dir.as_fd()).map(|(fsid, _)| fsid)
    }

    fn identity(&self, dir: &OwnedFd, fsid: u64) -> u64 {
        identity(dir.as_fd(), fsid)
    }

    fn probe_handles(&self, dir: &OwnedFd) -> io::Result<Handles> {
        Handles::probe(dir.as_fd())
    }

    fn handle_of(&self, dir: &OwnedFd, how: Handles) -> io::Result<(Handle, i32)> {
        how.of_fd(dir.as_fd())
    }

    fn handle_of_entry(
        &self,
        dir: &OwnedFd,
        name: &CStr,
        how: Handles,
    ) -> io::Result<(Handle, i32)> {
        how.of_entry(dir.as_fd(), name)
    }

    fn read_dir(&self, dir: &OwnedFd, buffer: &mut [u8]) -> io::Result<usize> {
        dirents::read(dir.as_fd(), buffer)
    }

    fn is_dir(&self, dir: &OwnedFd, name: &CStr) -> bool {
        handle::is_dir(dir.as_fd(), name)
    }

    fn mark_filesystem(&self, mask: u64, dir: &OwnedFd) -> io::Result<()> {
        match &self.admin {
            Some(admin) => admin.mark(mask, dir.as_fd()),
            None => self.group.mark_filesystem(mask, dir.as_fd(), c"."),
        }
    }

    fn unmark_filesystem(&self, mask: u64, dir: &OwnedFd) -> io::Result<()> {
        match &self.admin {
            Some(admin) => admin.unmark(mask, dir.as_fd()),
            None => self.group.unmark_filesystem(mask, dir.as_fd()),
        }
    }

    fn mark_dir(&self, mask: u64, dir: &OwnedFd) -> io::Result<()> {
        self.group.mark_dir(mask, dir.as_fd(), c".")
    }

    fn mark_step(&self, mask: u64, dir: &OwnedFd) -> io::Result<()> {
        self.group.mark_step(mask, dir.as_fd())
    }

    fn mute(&self, mask: u64, dir: &OwnedFd) -> io::Result<()> {
        self.group.mute(mask, dir.as_fd())
    }

    fn unmute(&self, mask: u64, dir: &OwnedFd) -> bool {
        self.group.unmute(mask, dir.as_fd())
    }

    fn remove_marks(&self) -> io::Result<()> {
        match &self.admin {
            Some(admin) => admin.remove_marks(),
            None => self.group.remove_marks(),
        }
    }

    #[inline]
    fn is_queue_empty(&self) -> bool {
        !is_readable(self.group.as_fd().as_raw_fd())
    }

    #[inline]
    fn now_ns(&self) -> u64 {
        clock::monotonic_ns()
    }
}

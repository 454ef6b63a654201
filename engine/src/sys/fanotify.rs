//! fanotify_init(2) and fanotify_mark(2).

use super::fd::{check, owned};
use std::ffi::CStr;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

/// Flags of `linux/fanotify.h` that this libc does not have, or has as another type.
pub(crate) mod flag {
    /// Report directory handle, entry name and the object's own handle (5.9, 5.17).
    pub(crate) const REPORT: u32 = 0x200 | 0x400 | 0x800 | 0x1000;
    pub(crate) const CLOEXEC: u32 = 0x1;
    pub(crate) const NONBLOCK: u32 = 0x2;
    pub(crate) const UNLIMITED_QUEUE: u32 = 0x10;
    pub(crate) const UNLIMITED_MARKS: u32 = 0x20;

    pub(crate) const MARK_ADD: u32 = 0x1;
    pub(crate) const MARK_REMOVE: u32 = 0x2;
    pub(crate) const MARK_ONLYDIR: u32 = 0x8;
    pub(crate) const MARK_IGNORED_SURV_MODIFY: u32 = 0x40;
    pub(crate) const MARK_FLUSH: u32 = 0x80;
    pub(crate) const MARK_FILESYSTEM: u32 = 0x100;
    /// The kernel drops the mark when it reclaims the inode (5.19).
    pub(crate) const MARK_EVICTABLE: u32 = 0x200;
    /// Events of the mask are not queued, whatever other marks request (6.0).
    pub(crate) const MARK_IGNORE: u32 = 0x400;

    /// Mask bit: events on the entries of a directory, not only on itself.
    pub(crate) const EVENT_ON_CHILD: u64 = 0x0800_0000;
    /// Mask bit in an event: the queue overflowed and what followed was lost.
    pub(crate) const Q_OVERFLOW: u64 = 0x4000;
}

/// Flags of an ignoring mark; one on a directory must stay when its contents change.
const MUTE: u32 = flag::MARK_IGNORE | flag::MARK_IGNORED_SURV_MODIFY | flag::MARK_ONLYDIR;

/// A fanotify group.
pub(crate) struct Group {
    fd: OwnedFd,
}

impl Group {
    /// A group that reports handles and names. Not blocking: a multishot read on a blocking one
    /// never returned (seen on 6.18).
    ///
    /// # Errors
    /// EPERM without CAP_SYS_ADMIN, EINVAL before Linux 5.17, EMFILE with too many groups,
    /// ENOSYS where fanotify is not built in.
    pub(crate) fn new(bounded_queue: bool) -> io::Result<Self> {
        let queue = if bounded_queue { 0 } else { flag::UNLIMITED_QUEUE };
        let flags = flag::REPORT | flag::CLOEXEC | flag::NONBLOCK | flag::UNLIMITED_MARKS | queue;
        let event_flags = (libc::O_RDONLY | libc::O_CLOEXEC | libc::O_LARGEFILE) as u32;
        // SAFETY: no pointers.
        owned(unsafe { libc::fanotify_init(flags, event_flags) }).map(|fd| Group { fd })
    }

    /// Marks the filesystem that `path` below `dir` is on.
    pub(crate) fn mark_filesystem(
        &self,
        mask: u64,
        dir: BorrowedFd<'_>,
        path: &CStr,
    ) -> io::Result<()> {
        self.mark(flag::MARK_ADD | flag::MARK_FILESYSTEM, mask, dir, path)
    }

    /// Stops requesting these events of a filesystem.
    pub(crate) fn unmark_filesystem(&self, mask: u64, dir: BorrowedFd<'_>) -> io::Result<()> {
        self.mark(flag::MARK_REMOVE | flag::MARK_FILESYSTEM, mask, dir, c".")
    }

    /// Marks one directory and its entries.
    pub(crate) fn mark_dir(&self, mask: u64, dir: BorrowedFd<'_>, path: &CStr) -> io::Result<()> {
        let mask = mask | flag::EVENT_ON_CHILD;
        self.mark(flag::MARK_ADD | flag::MARK_ONLYDIR, mask, dir, path)
    }

    /// Marks one directory for changes of its entries only.
    pub(crate) fn mark_step(&self, mask: u64, dir: BorrowedFd<'_>) -> io::Result<()> {
        self.mark(flag::MARK_ADD | flag::MARK_ONLYDIR, mask, dir, c".")
    }

    /// Marks an open file, or an open directory without its entries.
    pub(crate) fn mark_object(&self, mask: u64, file: BorrowedFd<'_>) -> io::Result<()> {
        // SAFETY: without a path the mark is for what is open (fanotify_mark(2)).
        check(unsafe {
            libc::fanotify_mark(
                self.fd.as_raw_fd(),
                flag::MARK_ADD,
                mask,
                file.as_raw_fd(),
                std::ptr::null(),
            )
        })
        .map(drop)
    }

    /// Another descriptor of the same group.
    ///
    /// # Errors
    /// EMFILE.
    pub(crate) fn try_clone(&self) -> io::Result<Self> {
        self.fd.try_clone().map(|fd| Group { fd })
    }

    /// Ignores the events in `mask` of one directory and its entries from now on.
    ///
    /// # Errors
    /// EINVAL before Linux 6.0.
    pub(crate) fn mute(&self, mask: u64, dir: BorrowedFd<'_>) -> io::Result<()> {
        let flags = flag::MARK_ADD | flag::MARK_EVICTABLE | MUTE;
        self.mark(flags, mask | flag::EVENT_ON_CHILD, dir, c".")
    }

    /// Stops ignoring them. Returns whether they were ignored, if no other mark is on the directory.
    pub(crate) fn unmute(&self, mask: u64, dir: BorrowedFd<'_>) -> bool {
        let mask = mask | flag::EVENT_ON_CHILD;
        self.mark(flag::MARK_REMOVE | MUTE, mask, dir, c".").is_ok()
    }

    /// Removes every mark: no more events are queued, but those in the queue stay.
    pub(crate) fn remove_marks(&self) -> io::Result<()> {
        let root = std::fs::File::open("/")?;
        self.mark(flag::MARK_FLUSH, 0, root.as_fd(), c".")?;
        self.mark(flag::MARK_FLUSH | flag::MARK_FILESYSTEM, 0, root.as_fd(), c".")
    }

    fn mark(&self, flags: u32, mask: u64, dir: BorrowedFd<'_>, path: &CStr) -> io::Result<()> {
        // SAFETY: the path ends in NUL; the kernel only reads it.
        check(unsafe {
            libc::fanotify_mark(self.fd.as_raw_fd(), flags, mask, dir.as_raw_fd(), path.as_ptr())
        })?;
        Ok(())
    }
}

/// A placeholder for a group when recorded reads are replayed: it takes no marks.
impl From<OwnedFd> for Group {
    fn from(fd: OwnedFd) -> Self {
        Group { fd }
    }
}

impl AsFd for Group {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

//! A fanotify group for tests of `who`: names and pids, nothing else.

use std::ffi::CString;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

/// One event: mask, pid and the name that it carries.
pub(crate) struct Event<'a> {
    pub(crate) mask: u64,
    pub(crate) pid: u32,
    pub(crate) name: &'a [u8],
}

/// The group.
pub(crate) struct Group(OwnedFd);

impl Group {
    pub(crate) fn new() -> io::Result<Group> {
        let flags = libc::FAN_CLASS_NOTIF
            | libc::FAN_NONBLOCK
            | libc::FAN_CLOEXEC
            | libc::FAN_UNLIMITED_QUEUE
            | libc::FAN_UNLIMITED_MARKS
            | libc::FAN_REPORT_DFID_NAME;
        // SAFETY: plain numbers.
        let fd = unsafe { libc::fanotify_init(flags, libc::O_RDONLY as u32) };
        if fd < 0 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: the kernel has just returned this descriptor; nothing else knows it.
        Ok(Group(unsafe { OwnedFd::from_raw_fd(fd) }))
    }

    pub(crate) fn mark(&self, kind: u32, mask: u64, path: &Path) -> io::Result<()> {
        let path = CString::new(path.as_os_str().as_bytes())?;
        // SAFETY: the path is NUL-terminated and outlives the call.
        let result = unsafe {
            libc::fanotify_mark(
                self.0.as_raw_fd(),
                libc::FAN_MARK_ADD | kind,
                mask,
                libc::AT_FDCWD,
                path.as_ptr(),
            )
        };
        if result < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
    }

    /// Reads once; no bytes when the queue is empty.
    pub(crate) fn read<'a>(&self, buffer: &'a mut [u8]) -> &'a [u8] {
        // SAFETY: the buffer is valid for writes of its length.
        let count =
            unsafe { libc::read(self.0.as_raw_fd(), buffer.as_mut_ptr().cast(), buffer.len()) };
        &buffer[..usize::try_from(count).unwrap_or(0)]
    }
}

impl AsFd for Group {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

/// The first event of what was read, and what follows. A test group trusts the kernel.
pub(crate) fn split(bytes: &[u8]) -> Option<(Event<'_>, &[u8])> {
    let u32_at = |at: usize| u32::from_ne_bytes(bytes[at..at + 4].try_into().expect("four bytes"));
    if bytes.len() < 24 {
        return None;
    }
    let (event, rest) = bytes.split_at(u32_at(0) as usize);
    let mask = u64::from_ne_bytes(event[8..16].try_into().expect("eight bytes"));
    // fanotify_event_info_fid: header 4, fsid 8, handle bytes and type 8, handle, name.
    let name = match event.get(24..44) {
        Some(info) => {
            let handle = u32::from_ne_bytes(info[12..16].try_into().expect("four bytes")) as usize;
            let end = 24 + usize::from(u16::from_ne_bytes([info[2], info[3]]));
            let name = event.get(44 + handle..end).unwrap_or_default();
            &name[..name.iter().position(|&byte| byte == 0).unwrap_or(name.len())]
        }
        None => &[],
    };
    Some((Event { mask, pid: u32_at(20), name }, rest))
}

//! A mount that nobody sees: fsopen(2), fsconfig(2), fsmount(2), since Linux 5.2.

use super::fd::{check, owned};
use std::ffi::CStr;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

/// `linux/mount.h`.
const FSOPEN_CLOEXEC: libc::c_uint = 1;
const FSMOUNT_CLOEXEC: libc::c_uint = 1;
const MOUNT_ATTR_RDONLY: libc::c_uint = 1;
const SET_FLAG: libc::c_uint = 0;
const SET_STRING: libc::c_uint = 1;
const CMD_CREATE: libc::c_uint = 6;

/// Opens the top directory of the btrfs filesystem that is on `source` and mounted already: its
/// subvolumes are directories there. It is mounted nowhere, and gone when the descriptor is closed.
/// `read_only` is how the filesystem is mounted: asking for the other could change it.
pub(crate) fn open_btrfs_top(source: &CStr, read_only: bool) -> io::Result<OwnedFd> {
    // SAFETY: the name ends in NUL.
    let context = owned(unsafe {
        fd_of(libc::syscall(libc::SYS_fsopen, c"btrfs".as_ptr(), FSOPEN_CLOEXEC))
    })?;
    let context = context.as_fd();
    configure(context, SET_STRING, Some(c"source"), Some(source))?;
    configure(context, SET_STRING, Some(c"subvolid"), Some(c"5"))?;
    if read_only {
        configure(context, SET_FLAG, Some(c"ro"), None)?;
    }
    configure(context, CMD_CREATE, None, None)?;
    // SAFETY: plain numbers.
    owned(unsafe {
        fd_of(libc::syscall(
            libc::SYS_fsmount,
            context.as_raw_fd(),
            FSMOUNT_CLOEXEC,
            MOUNT_ATTR_RDONLY,
        ))
    })
}

fn configure(
    context: BorrowedFd<'_>,
    command: libc::c_uint,
    key: Option<&CStr>,
    value: Option<&CStr>,
) -> io::Result<()> {
    let pointer = |text: Option<&CStr>| text.map_or(std::ptr::null(), CStr::as_ptr);
    // SAFETY: both strings end in NUL, or are null where the command takes none; the kernel copies
    // them.
    check(unsafe {
        fd_of(libc::syscall(
            libc::SYS_fsconfig,
            context.as_raw_fd(),
            command,
            pointer(key),
            pointer(value),
            0,
        ))
    })?;
    Ok(())
}

/// What these calls return fits an int.
fn fd_of(result: libc::c_long) -> libc::c_int {
    result as libc::c_int
}

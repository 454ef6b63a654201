//! A filesystem mounted nowhere: reachable through its descriptor alone, gone when that is
//! closed. It changes nothing on the host.

use crate::sys::fd::{check, owned};
use std::ffi::CStr;
use std::fs::File;
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};

/// `FSCONFIG_CMD_CREATE` of linux/mount.h.
const FSCONFIG_CMD_CREATE: libc::c_long = 6;
/// `FSMOUNT_CLOEXEC` and `FSOPEN_CLOEXEC` of linux/mount.h.
const CLOEXEC: libc::c_long = 1;

/// Mounts a filesystem of that type, attached to nothing (fsopen(2), Linux 5.2).
///
/// # Errors
/// What the kernel answers: EPERM without `CAP_SYS_ADMIN`, ENODEV for a type it does not have.
pub fn mount(fs_type: &CStr) -> io::Result<OwnedFd> {
    // SAFETY: the name is NUL-terminated and outlives the call.
    let context = owned(unsafe { libc::syscall(libc::SYS_fsopen, fs_type.as_ptr(), CLOEXEC) })?;
    // SAFETY: FSCONFIG_CMD_CREATE takes no key, value or aux: null, null and 0 as fsconfig(2) asks.
    check(unsafe {
        libc::syscall(
            libc::SYS_fsconfig,
            context.as_raw_fd(),
            FSCONFIG_CMD_CREATE,
            std::ptr::null::<libc::c_char>(),
            std::ptr::null::<libc::c_void>(),
            0,
        )
    })?;
    // SAFETY: plain numbers.
    let mounted = unsafe { libc::syscall(libc::SYS_fsmount, context.as_raw_fd(), CLOEXEC, 0) };
    owned(mounted)
}

/// Opens a file below `dir` for reading.
///
/// # Errors
/// Those of openat(2).
pub fn open_below(dir: &OwnedFd, path: &CStr) -> io::Result<File> {
    // SAFETY: the path is NUL-terminated and outlives the call.
    let fd =
        unsafe { libc::openat(dir.as_raw_fd(), path.as_ptr(), libc::O_RDONLY | libc::O_CLOEXEC) };
    owned(fd).map(File::from)
}

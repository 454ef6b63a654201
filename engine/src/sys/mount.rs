//! Mounts that are in no namespace: fsopen(2), fsconfig(2), fsmount(2) and open_tree(2), since Linux 5.2;
//! and mount_setattr(2), since 5.12.

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
const OPEN_TREE_CLONE: libc::c_uint = 1;

/// `struct mount_attr`, mount_setattr(2).
#[repr(C)]
struct Attributes {
    set: u64,
    clear: u64,
    propagation: u64,
    user_namespace: u64,
}

/// Opens the directory `dir` through a mount of its own: what is mounted on directories below it is not
/// there, so what lies under such mounts can be read. The mount is gone when the descriptor is closed.
/// Until then the filesystem stays in use, but it can be unmounted.
///
/// # Errors
/// EPERM without CAP_SYS_ADMIN in the namespace's user namespace, or where a filter of system calls
/// forbids it; EINVAL where the mount is unbindable.
pub(crate) fn open_without_mounts(dir: BorrowedFd<'_>) -> io::Result<OwnedFd> {
    let flags = OPEN_TREE_CLONE | (libc::O_CLOEXEC | libc::AT_EMPTY_PATH) as libc::c_uint;
    // SAFETY: the path ends in NUL.
    let mount =
        owned(unsafe { libc::syscall(libc::SYS_open_tree, dir.as_raw_fd(), c"".as_ptr(), flags) })?;
    // A copy of a shared mount would get what is mounted on the original later.
    let private = Attributes { set: 0, clear: 0, propagation: libc::MS_PRIVATE, user_namespace: 0 };
    // SAFETY: the path ends in NUL, the size is that of the live struct.
    check(unsafe {
        libc::syscall(
            libc::SYS_mount_setattr,
            mount.as_raw_fd(),
            c"".as_ptr(),
            libc::AT_EMPTY_PATH,
            &raw const private,
            size_of::<Attributes>(),
        )
    })?;
    Ok(mount)
}

/// Opens the top directory of the btrfs filesystem that is on `source` and mounted already: its
/// subvolumes are directories there. It is mounted nowhere, and gone when the descriptor is closed.
/// `read_only` is how the filesystem is mounted: asking for the other could change it.
pub(crate) fn open_btrfs_top(source: &CStr, read_only: bool) -> io::Result<OwnedFd> {
    // SAFETY: the name ends in NUL.
    let context =
        owned(unsafe { libc::syscall(libc::SYS_fsopen, c"btrfs".as_ptr(), FSOPEN_CLOEXEC) })?;
    let context = context.as_fd();
    configure(context, SET_STRING, Some(c"source"), Some(source))?;
    configure(context, SET_STRING, Some(c"subvolid"), Some(c"5"))?;
    if read_only {
        configure(context, SET_FLAG, Some(c"ro"), None)?;
    }
    configure(context, CMD_CREATE, None, None)?;
    // SAFETY: plain numbers.
    owned(unsafe {
        libc::syscall(libc::SYS_fsmount, context.as_raw_fd(), FSMOUNT_CLOEXEC, MOUNT_ATTR_RDONLY)
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
        libc::syscall(
            libc::SYS_fsconfig,
            context.as_raw_fd(),
            command,
            pointer(key),
            pointer(value),
            0,
        )
    })?;
    Ok(())
}

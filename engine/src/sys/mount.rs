//! Mounts that are in no mount namespace: fsopen(2), fsconfig(2), fsmount(2) and open_tree(2), since Linux 5.2;
//! mount_setattr(2), since 5.12.

use super::fd::{check, owned};
use std::ffi::CStr;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

/// Constants of `linux/mount.h`.
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

/// Opens the directory `dir` through a new mount, in which nothing is mounted on directories below it. So fsmon can
/// read directories that are hidden under such mounts. The kernel removes the mount when the descriptor is closed.
/// Until then the filesystem stays in use, but it can be unmounted.
///
/// # Errors
/// EPERM without `CAP_SYS_ADMIN` in the user namespace of the mount namespace, or if a seccomp filter forbids it.
/// EINVAL if the mount is unbindable.
pub(crate) fn open_without_mounts(dir: BorrowedFd<'_>) -> io::Result<OwnedFd> {
    let flags = OPEN_TREE_CLONE | (libc::O_CLOEXEC | libc::AT_EMPTY_PATH) as libc::c_uint;
    // SAFETY: the path ends in NUL.
    let mount =
        owned(unsafe { libc::syscall(libc::SYS_open_tree, dir.as_raw_fd(), c"".as_ptr(), flags) })?;
    // A new mount made from a shared one is shared, too: later mounts on the original would appear in it. If a seccomp
    // filter forbids this, that may happen, and a walk says where it meets one.
    let private = Attributes { set: 0, clear: 0, propagation: libc::MS_PRIVATE, user_namespace: 0 };
    // SAFETY: the path ends in NUL, the size is that of the live struct.
    let _ = check(unsafe {
        libc::syscall(
            libc::SYS_mount_setattr,
            mount.as_raw_fd(),
            c"".as_ptr(),
            libc::AT_EMPTY_PATH,
            &raw const private,
            size_of::<Attributes>(),
        )
    });
    Ok(mount)
}

/// Opens the top directory of the btrfs filesystem on `source`, in which its subvolumes are directories. The filesystem
/// must be mounted already. The new mount is in no namespace, and the kernel removes it when the descriptor is closed.
/// `read_only` must be how the filesystem is mounted: the other value could change that.
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
    // SAFETY: both strings end in NUL, or are null if the command takes none. The kernel copies them.
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

//! Opening a control group by its kernel id. open_by_handle_at(2).

use super::fd::owned;
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd};

/// `FILEID_KERNFS` in include/linux/exportfs.h: the handle is the 64-bit id of a kernfs node,
/// which is the id that perf samples carry (fs/kernfs/mount.c, `__kernfs_fh_to_dentry()`).
const FILEID_KERNFS: i32 = 0xfe;

/// `struct file_handle` with room for an id.
#[repr(C)]
struct KernfsHandle {
    bytes: u32,
    kind: i32,
    id: [u8; 8],
}

/// Opens the group of this id below `mount`, any directory of a cgroup2 mount, as a path only.
/// Fails with ESTALE when it is gone, and with EPERM without CAP_DAC_READ_SEARCH.
pub(crate) fn open_by_id(mount: BorrowedFd<'_>, id: u64) -> io::Result<OwnedFd> {
    let mut handle = KernfsHandle { bytes: 8, kind: FILEID_KERNFS, id: id.to_ne_bytes() };
    let flags = libc::O_PATH | libc::O_CLOEXEC;
    // SAFETY: `handle` is laid out like struct file_handle, with eight bytes, as its first field says; the kernel only
    // reads it, and returns a descriptor or -1.
    owned(unsafe { libc::open_by_handle_at(mount.as_raw_fd(), (&raw mut handle).cast(), flags) })
}

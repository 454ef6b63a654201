//! File handles: the name by which fanotify calls a directory. name_to_handle_at(2).

use super::fd::check;
use std::ffi::CStr;
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd};

/// The longest handle the kernel makes, in bytes (`MAX_HANDLE_SZ`).
pub(crate) const HANDLE_MAX: usize = 128;
/// Bytes of the type before the handle proper.
const TYPE_LEN: usize = 4;
/// Bytes of the longest key.
pub(crate) const KEY_MAX: usize = TYPE_LEN + HANDLE_MAX;
/// Linux 6.5: a handle that identifies but cannot be opened; what overlayfs and others give.
const AT_HANDLE_FID: libc::c_int = 0x200;

/// `struct file_handle` with room for the longest.
#[repr(C)]
struct Raw {
    bytes: u32,
    kind: i32,
    data: [u8; HANDLE_MAX],
}

/// A handle as events carry it: the type, then the bytes. Unique within its filesystem.
#[derive(Clone, Copy)]
pub(crate) struct Handle {
    len: u8,
    key: [u8; KEY_MAX],
}

impl Handle {
    /// Type and bytes, as in an event's `struct file_handle` after its length.
    pub(crate) fn key(&self) -> &[u8] {
        &self.key[..usize::from(self.len)]
    }
}

/// How handles are asked for: with `AT_HANDLE_FID`, or without where the kernel is too old (seen
/// on 6.1: EINVAL with it, and without it the same bytes as in events on tmpfs and ext4).
#[derive(Clone, Copy)]
pub(crate) struct Handles {
    flags: libc::c_int,
}

impl Handles {
    /// Finds out with the directory `dir`.
    pub(crate) fn probe(dir: BorrowedFd<'_>) -> io::Result<Self> {
        let modern = Handles { flags: AT_HANDLE_FID };
        match modern.of_fd(dir) {
            Ok(_) => Ok(modern),
            Err(error) if error.raw_os_error() == Some(libc::EINVAL) => {
                let plain = Handles { flags: 0 };
                plain.of_fd(dir).map(|_| plain)
            }
            Err(error) => Err(error),
        }
    }

    /// The handle of an open directory, and the id of the mount it was reached through.
    pub(crate) fn of_fd(self, fd: BorrowedFd<'_>) -> io::Result<(Handle, i32)> {
        self.get(fd, c"", libc::AT_EMPTY_PATH)
    }

    /// The handle of an entry of `dir`; symbolic links are not followed.
    pub(crate) fn of_entry(self, dir: BorrowedFd<'_>, name: &CStr) -> io::Result<(Handle, i32)> {
        self.get(dir, name, 0)
    }

    fn get(
        self,
        dir: BorrowedFd<'_>,
        name: &CStr,
        flags: libc::c_int,
    ) -> io::Result<(Handle, i32)> {
        let mut raw = Raw { bytes: HANDLE_MAX as u32, kind: 0, data: [0; HANDLE_MAX] };
        let mut mount_id = 0;
        // SAFETY: `raw` begins like struct file_handle and has the room that its first field
        // says; the name ends in NUL; the kernel writes the handle and one int.
        check(unsafe {
            libc::name_to_handle_at(
                dir.as_raw_fd(),
                name.as_ptr(),
                (&raw mut raw).cast(),
                &raw mut mount_id,
                self.flags | flags,
            )
        })?;
        let len = (raw.bytes as usize).min(HANDLE_MAX);
        let mut key = [0; KEY_MAX];
        key[..TYPE_LEN].copy_from_slice(&raw.kind.to_ne_bytes());
        key[TYPE_LEN..TYPE_LEN + len].copy_from_slice(&raw.data[..len]);
        let len = u8::try_from(TYPE_LEN + len).expect("at most 132");
        Ok((Handle { len, key }, mount_id))
    }
}

/// Opens a directory below `dir` for reading; never through a symbolic link at the end.
pub(crate) fn open_dir(dir: BorrowedFd<'_>, path: &CStr) -> io::Result<OwnedFd> {
    let flags = libc::O_RDONLY | libc::O_DIRECTORY | libc::O_NOFOLLOW | libc::O_CLOEXEC;
    // SAFETY: the path ends in NUL.
    super::fd::owned(unsafe { libc::openat(dir.as_raw_fd(), path.as_ptr(), flags) })
}

/// Fills `buffer` with `struct linux_dirent64`s (getdents64(2)); 0 at the end.
pub(crate) fn read_dir(fd: BorrowedFd<'_>, buffer: &mut [u8]) -> io::Result<usize> {
    // SAFETY: pointer and length of one live slice, which the kernel fills.
    let count = unsafe {
        libc::syscall(libc::SYS_getdents64, fd.as_raw_fd(), buffer.as_mut_ptr(), buffer.len())
    };
    usize::try_from(count).map_err(|_| io::Error::last_os_error())
}

/// Whether an entry is a directory, asked of the inode (for filesystems that leave `d_type` out).
pub(crate) fn is_dir(dir: BorrowedFd<'_>, name: &CStr) -> bool {
    // SAFETY: an all-zero stat is valid; the name ends in NUL; the kernel fills one stat.
    unsafe {
        let mut stat: libc::stat = std::mem::zeroed();
        let flags = libc::AT_SYMLINK_NOFOLLOW;
        libc::fstatat(dir.as_raw_fd(), name.as_ptr(), &raw mut stat, flags) == 0
            && stat.st_mode & libc::S_IFMT == libc::S_IFDIR
    }
}

/// The filesystem id that events carry (statfs(2) `f_fsid`, as in `vfs_get_fsid()`), and the
/// magic number of its type.
pub(crate) fn filesystem(fd: BorrowedFd<'_>) -> io::Result<(u64, i64)> {
    // SAFETY: an all-zero statfs is valid; the kernel fills one. `fsid_t` is two ints, 8 bytes,
    // whose fields libc keeps private: they are read as bytes.
    unsafe {
        let mut stat: libc::statfs = std::mem::zeroed();
        check(libc::fstatfs(fd.as_raw_fd(), &raw mut stat))?;
        let id: [u8; 8] = std::mem::transmute(stat.f_fsid);
        #[allow(clippy::unnecessary_cast)]
        Ok((u64::from_ne_bytes(id), stat.f_type as i64))
    }
}

//! File handles, by which fanotify identifies directories and files. name_to_handle_at(2).

use super::fd::check;
use crate::limits::sys::PATH_PIECE_BYTES;
use fsmon_format::number::to_u32;
use std::ffi::CStr;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

/// Bytes of the longest handle that the kernel makes (`MAX_HANDLE_SZ`).
pub(crate) const HANDLE_MAX: usize = 128;
/// Bytes of the type, which comes before the bytes of the handle.
pub(super) const TYPE_LEN: usize = 4;
/// Bytes of the longest key.
pub(crate) const KEY_MAX: usize = TYPE_LEN + HANDLE_MAX;
/// Since Linux 6.5: asks for a handle that need not be possible to open, as only such handles exist on overlayfs and
/// others.
const AT_HANDLE_FID: libc::c_int = 0x200;

/// `struct file_handle`, with room for the longest handle.
#[repr(C)]
struct Raw {
    bytes: u32,
    kind: i32,
    data: [u8; HANDLE_MAX],
}

/// A handle as in an event: the type, then the bytes. Unique within its filesystem.
#[derive(Clone, Copy)]
pub(crate) struct Handle {
    len: u8,
    key: [u8; KEY_MAX],
}

impl Handle {
    /// The type and the bytes: what follows the length in the `struct file_handle` of an event.
    pub(crate) fn key(&self) -> &[u8] {
        &self.key[..usize::from(self.len)]
    }

    /// The handle that has this key; `None` if the key is too long.
    pub(crate) fn of(bytes: &[u8]) -> Option<Self> {
        let mut key = [0; KEY_MAX];
        key.get_mut(..bytes.len())?.copy_from_slice(bytes);
        Some(Handle { len: u8::try_from(bytes.len()).ok()?, key })
    }
}

/// How fsmon asks for handles: with `AT_HANDLE_FID`, or without it on kernels that do not know it (seen on 6.1: EINVAL
/// with the flag; without it tmpfs and ext4 give the same bytes as in events).
#[derive(Clone, Copy)]
pub(crate) struct Handles {
    flags: libc::c_int,
}

impl Handles {
    /// For Linux 6.5 and newer, and for where [`Handles::probe`] is called later.
    pub(crate) const MODERN: Handles = Handles { flags: AT_HANDLE_FID };

    /// Tries with the directory `dir` whether the kernel knows the flag.
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

    /// For models, which do not ask a kernel.
    #[cfg(test)]
    pub(crate) fn modern() -> Self {
        Handles { flags: AT_HANDLE_FID }
    }

    /// The handle of an open directory, and the id of the mount through which it was opened.
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
        let mut raw = Raw { bytes: const { to_u32(HANDLE_MAX) }, kind: 0, data: [0; HANDLE_MAX] };
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

/// The type of btrfs handles (`FILEID_BTRFS_WITHOUT_PARENT`, include/linux/exportfs.h). Their bytes are the object id,
/// the id of the subvolume, and the generation.
const BTRFS_TYPE: i32 = 0x4d;
/// The id of the subvolume at the top of every btrfs filesystem (`BTRFS_FS_TREE_OBJECTID`).
const BTRFS_TOP: u64 = 5;
/// The object id of the top directory of each subvolume (`BTRFS_FIRST_FREE_OBJECTID`).
const BTRFS_SUBVOLUME_DIR: u64 = 256;

/// The object id of the empty directories that replace nested subvolumes in a snapshot
/// (`BTRFS_EMPTY_SUBVOL_DIR_OBJECTID`).
const BTRFS_EMPTY_SUBVOLUME: u64 = 2;

/// The object id and the id of the subvolume in a btrfs handle.
fn btrfs_ids(handle: &[u8]) -> Option<(u64, u64)> {
    let kind = i32::from_ne_bytes(handle.get(..TYPE_LEN)?.try_into().ok()?);
    let id = |at: usize| Some(u64::from_ne_bytes(handle.get(at..at + 8)?.try_into().ok()?));
    if kind == BTRFS_TYPE { Some((id(TYPE_LEN)?, id(TYPE_LEN + 8)?)) } else { None }
}

/// The fsid of the whole btrfs filesystem that a directory is on. `fsid` is that of its subvolume: `btrfs_statfs()` in
/// fs/btrfs/super.c computes it from the fsid of the whole filesystem and the id of the subvolume. `None` for other
/// filesystems.
pub(crate) fn btrfs_whole(fsid: u64, handle: &[u8]) -> Option<u64> {
    let (_, subvolume) = btrfs_ids(handle)?;
    // An fsid is two ints. The kernel combines the upper half of the id with the first int, and the lower half with the
    // second.
    let ids = subvolume ^ BTRFS_TOP;
    // On little-endian machines the first int is the lower half of the number.
    let halves = if cfg!(target_endian = "little") { ids.rotate_left(32) } else { ids };
    Some(fsid ^ halves)
}

/// Whether a directory is a btrfs subvolume. A new one may be a snapshot, which has contents from the start.
pub(crate) fn is_btrfs_subvolume(handle: &[u8]) -> bool {
    btrfs_ids(handle).is_some_and(|(object, _)| object == BTRFS_SUBVOLUME_DIR)
}

/// Whether several directories can have this handle at one time. These are the empty directories that replace nested
/// subvolumes in a btrfs snapshot. The kernel refuses to create entries in them or to rename them
/// (`btrfs_lookup_dentry()`, `btrfs_rename()` in fs/btrfs/inode.c).
pub(crate) fn is_shared(handle: &[u8]) -> bool {
    btrfs_ids(handle).is_some_and(|(object, _)| object == BTRFS_EMPTY_SUBVOLUME)
}

/// Types of handles that consist of an inode number and its generation: `FILEID_INO32_GEN`, without and with the
/// parent, and `FILEID_INO64_GEN` (include/linux/exportfs.h).
const INO32_GEN: [u8; 2] = [1, 2];
const INO64_GEN: u8 = 0x81;

/// The inode number in a handle; `None` if the handle's type does not show where the number is. Sources:
/// `generic_encode_ino32_fh()` in fs/libfs.c, fs/xfs/xfs_export.c, fs/btrfs/export.c.
///
/// tmpfs uses one of these types with another order: generation, then number (mm/shmem.c). FUSE uses the type and
/// length of xfs, but swaps the two halves of the node id (fs/fuse/inode.c): the result is then a wrong number, which
/// the file does not have.
pub(crate) fn inode_number(handle: &[u8]) -> Option<u64> {
    let kind = i32::from_ne_bytes(handle.get(..TYPE_LEN)?.try_into().ok()?);
    let word = |at: usize| Some(u32::from_ne_bytes(handle.get(at..at + 4)?.try_into().ok()?));
    let long = |at: usize| Some(u64::from_ne_bytes(handle.get(at..at + 8)?.try_into().ok()?));
    match (kind, handle.len() - TYPE_LEN) {
        (1 | 2, 8 | 16) => word(TYPE_LEN).map(u64::from),
        (0x81, 12) => long(TYPE_LEN),
        (1, 12) => Some(u64::from(word(TYPE_LEN + 4)?) | u64::from(word(TYPE_LEN + 8)?) << 32),
        (BTRFS_TYPE, _) => long(TYPE_LEN),
        _ => None,
    }
}

/// Whether another object can get the same handle after this one is gone. This is so if the generation is 0, because
/// the filesystem does not count it (FUSE, for example).
pub(crate) fn may_recur(handle: &[u8]) -> bool {
    let generation = match handle {
        [kind, 0, 0, 0, _, _, _, _, generation @ ..] if INO32_GEN.contains(kind) => generation,
        [INO64_GEN, 0, 0, 0, _, _, _, _, _, _, _, _, generation @ ..] => generation,
        _ => return false,
    };
    generation.first_chunk() == Some(&[0; 4])
}

/// Opens a directory below `dir` for reading. Does not follow a symbolic link at the end of the path.
pub(crate) fn open_dir(dir: BorrowedFd<'_>, path: &CStr) -> io::Result<OwnedFd> {
    let flags = libc::O_RDONLY | libc::O_DIRECTORY | libc::O_NOFOLLOW | libc::O_CLOEXEC;
    // SAFETY: the path ends in NUL.
    super::fd::owned(unsafe { libc::openat(dir.as_raw_fd(), path.as_ptr(), flags) })
}

/// Like [`open_dir`], for a path of any length: a path longer than `PATH_MAX` is opened in pieces. The empty path is
/// `dir` itself.
pub(crate) fn open_path(dir: BorrowedFd<'_>, path: &[u8]) -> io::Result<OwnedFd> {
    let (mut rest, mut above) = (if path.is_empty() { b"." } else { path }, None);
    loop {
        let end = match rest.len() {
            len if len <= PATH_PIECE_BYTES => len,
            _ => memchr::memrchr(b'/', &rest[..PATH_PIECE_BYTES])
                .ok_or(io::ErrorKind::InvalidInput)?,
        };
        let mut piece = [0; PATH_PIECE_BYTES + 1];
        piece[..end].copy_from_slice(&rest[..end]);
        let piece = CStr::from_bytes_with_nul(&piece[..=end]).map_err(io::Error::other)?;
        let fd = open_dir(above.as_ref().map_or(dir, OwnedFd::as_fd), piece)?;
        if end == rest.len() {
            return Ok(fd);
        }
        above = Some(fd);
        rest = &rest[end + 1..];
    }
}

/// Opens a directory below `dir` with `O_PATH`: for calls about it and for paths that begin in it, but not for reading.
/// Does not follow a symbolic link at the end of the path.
pub(crate) fn open_step(dir: BorrowedFd<'_>, name: &CStr) -> io::Result<OwnedFd> {
    let flags = libc::O_PATH | libc::O_DIRECTORY | libc::O_NOFOLLOW | libc::O_CLOEXEC;
    // SAFETY: the path ends in NUL.
    super::fd::owned(unsafe { libc::openat(dir.as_raw_fd(), name.as_ptr(), flags) })
}

/// Like [`open_step`], for an absolute path.
pub(crate) fn open_absolute(path: &CStr) -> io::Result<OwnedFd> {
    let flags = libc::O_PATH | libc::O_DIRECTORY | libc::O_NOFOLLOW | libc::O_CLOEXEC;
    // SAFETY: the path ends in NUL.
    super::fd::owned(unsafe { libc::open(path.as_ptr(), flags) })
}

/// Like [`open_absolute`], but follows a symbolic link at the end.
pub(crate) fn open_following(path: &CStr) -> io::Result<OwnedFd> {
    let flags = libc::O_PATH | libc::O_DIRECTORY | libc::O_CLOEXEC;
    // SAFETY: the path ends in NUL.
    super::fd::owned(unsafe { libc::open(path.as_ptr(), flags) })
}

/// The target of a symbolic link, cut off at the end of `room`.
///
/// # Errors
/// EINVAL if it is not a symbolic link, and other errors of readlinkat(2).
pub(crate) fn read_link<'a>(
    dir: BorrowedFd<'_>,
    name: &CStr,
    room: &'a mut [u8],
) -> io::Result<&'a [u8]> {
    // SAFETY: the name ends in NUL; pointer and length are of one live slice, which the kernel fills.
    let len = unsafe {
        libc::readlinkat(dir.as_raw_fd(), name.as_ptr(), room.as_mut_ptr().cast(), room.len())
    };
    let len = usize::try_from(len).map_err(|_| io::Error::last_os_error())?;
    Ok(&room[..len.min(room.len())])
}

/// Opens the directory at an absolute path if the kernel has the whole path in its caches (openat2(2),
/// `RESOLVE_CACHED`). The kernel asks no filesystem, so the call does not wait for one that does not answer.
///
/// # Errors
/// EAGAIN if a part of the path is not in the caches, EINVAL before Linux 5.12, ENOSYS before 5.6.
pub(crate) fn open_cached(path: &CStr) -> io::Result<OwnedFd> {
    // SAFETY: all-zero is a valid open_how; the path ends in NUL; the size is that of the struct.
    super::fd::owned(unsafe {
        let mut how: libc::open_how = std::mem::zeroed();
        how.flags = (libc::O_PATH | libc::O_DIRECTORY | libc::O_CLOEXEC) as u64;
        how.resolve = libc::RESOLVE_CACHED;
        let size = size_of::<libc::open_how>();
        libc::syscall(libc::SYS_openat2, libc::AT_FDCWD, path.as_ptr(), &raw const how, size)
    })
}

/// Opens the directory with the handle `key` with `O_PATH` (open_by_handle_at(2)). `beside` is a directory on the same
/// filesystem that is open for reading.
///
/// # Errors
/// ESTALE if the directory is gone, EPERM without `CAP_DAC_READ_SEARCH`.
pub(crate) fn open_handle(beside: BorrowedFd<'_>, key: &[u8]) -> io::Result<OwnedFd> {
    open_by_handle(beside, key, libc::O_DIRECTORY)
}

/// Like [`open_handle`], for any file.
pub(super) fn open_any_handle(beside: BorrowedFd<'_>, key: &[u8]) -> io::Result<OwnedFd> {
    open_by_handle(beside, key, 0)
}

fn open_by_handle(beside: BorrowedFd<'_>, key: &[u8], flags: libc::c_int) -> io::Result<OwnedFd> {
    let (kind, handle) = key.split_first_chunk::<TYPE_LEN>().ok_or(io::ErrorKind::InvalidInput)?;
    let mut raw = Raw { bytes: 0, kind: i32::from_ne_bytes(*kind), data: [0; HANDLE_MAX] };
    raw.bytes = u32::try_from(handle.len()).map_err(|_| io::ErrorKind::InvalidInput)?;
    let room = raw.data.get_mut(..handle.len()).ok_or(io::ErrorKind::InvalidInput)?;
    room.copy_from_slice(handle);
    let flags = flags | libc::O_PATH | libc::O_CLOEXEC;
    // SAFETY: `raw` begins like struct file_handle and has as many bytes as its first field says.
    super::fd::owned(unsafe {
        libc::open_by_handle_at(beside.as_raw_fd(), (&raw mut raw).cast(), flags)
    })
}

/// Whether an open directory still has a name. The link count of a removed one is 0 (`vfs_rmdir()` in fs/namei.c, and
/// the `rmdir` of each filesystem).
pub(crate) fn has_name(dir: BorrowedFd<'_>) -> bool {
    // SAFETY: an all-zero stat is valid; the kernel fills one.
    unsafe {
        let mut stat: libc::stat = std::mem::zeroed();
        libc::fstat(dir.as_raw_fd(), &raw mut stat) == 0 && stat.st_nlink > 0
    }
}

/// Whether an entry is a directory, by fstatat(2). For filesystems that do not set `d_type`.
pub(crate) fn is_dir(dir: BorrowedFd<'_>, name: &CStr) -> bool {
    // SAFETY: an all-zero stat is valid; the name ends in NUL; the kernel fills one stat.
    unsafe {
        let mut stat: libc::stat = std::mem::zeroed();
        let flags = libc::AT_SYMLINK_NOFOLLOW;
        libc::fstatat(dir.as_raw_fd(), name.as_ptr(), &raw mut stat, flags) == 0
            && stat.st_mode & libc::S_IFMT == libc::S_IFDIR
    }
}

/// The fsid, as in events (`f_fsid` of statfs(2), as in `vfs_get_fsid()`), and the magic number of the filesystem's
/// type.
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

/// Sizes of a filesystem: bytes of a block, blocks, free blocks, inodes, free inodes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Sizes([u64; 5]);

/// The sizes of a filesystem (statfs(2)).
pub(crate) fn filesystem_sizes(fd: BorrowedFd<'_>) -> io::Result<Sizes> {
    // SAFETY: an all-zero statfs is valid; the kernel fills one.
    let stat = unsafe {
        let mut stat: libc::statfs = std::mem::zeroed();
        check(libc::fstatfs(fd.as_raw_fd(), &raw mut stat))?;
        stat
    };
    let block = stat.f_bsize.cast_unsigned();
    #[allow(clippy::unnecessary_cast)]
    Ok(Sizes([block as u64, stat.f_blocks, stat.f_bfree, stat.f_files, stat.f_ffree]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_fsid_of_a_subvolume_gives_that_of_its_filesystem() {
        // Seen on 6.18: the fsid of a whole filesystem, and that of its subvolume 256.
        let id = |first: u32, second: u32| {
            let bytes = [first.to_ne_bytes(), second.to_ne_bytes()].concat();
            u64::from_ne_bytes(bytes.try_into().expect("eight bytes"))
        };
        let mut handle = BTRFS_TYPE.to_ne_bytes().to_vec();
        handle.extend(256u64.to_ne_bytes());
        handle.extend(256u64.to_ne_bytes());
        handle.extend(7u32.to_ne_bytes());
        let (top, below) = (id(0x7dce_2805, 0xecb5_924f), id(0x7dce_2805, 0xecb5_934a));
        assert_eq!(btrfs_whole(below, &handle), Some(top));
        assert!(is_btrfs_subvolume(&handle));
        assert_eq!(btrfs_whole(below, b"too short"), None);
    }
}

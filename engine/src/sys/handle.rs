//! File handles: the name by which fanotify calls a directory. name_to_handle_at(2).

use super::fd::check;
use crate::limits::sys::PATH_PIECE_BYTES;
use fsmon_format::number::to_u32;
use std::ffi::CStr;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

/// The longest handle the kernel makes, in bytes (`MAX_HANDLE_SZ`).
pub(crate) const HANDLE_MAX: usize = 128;
/// Bytes of the type before the handle proper.
pub(super) const TYPE_LEN: usize = 4;
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

    /// The handle that has this key; `None` where that is too long.
    pub(crate) fn of(bytes: &[u8]) -> Option<Self> {
        let mut key = [0; KEY_MAX];
        key.get_mut(..bytes.len())?.copy_from_slice(bytes);
        Some(Handle { len: u8::try_from(bytes.len()).ok()?, key })
    }
}

/// How handles are asked for: with `AT_HANDLE_FID`, or without where the kernel is too old (seen
/// on 6.1: EINVAL with it, and without it the same bytes as in events on tmpfs and ext4).
#[derive(Clone, Copy)]
pub(crate) struct Handles {
    flags: libc::c_int,
}

impl Handles {
    /// As kernels from Linux 6.5 on are asked; for where it is found out later.
    pub(crate) const MODERN: Handles = Handles { flags: AT_HANDLE_FID };

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

    /// Where no kernel is asked.
    #[cfg(test)]
    pub(crate) fn modern() -> Self {
        Handles { flags: AT_HANDLE_FID }
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

/// The type of btrfs handles (`FILEID_BTRFS_WITHOUT_PARENT`, include/linux/exportfs.h): object id, id
/// of the subvolume, generation.
const BTRFS_TYPE: i32 = 0x4d;
/// The subvolume that is the top of every btrfs filesystem (`BTRFS_FS_TREE_OBJECTID`).
const BTRFS_TOP: u64 = 5;
/// The object id of the directory that a subvolume is (`BTRFS_FIRST_FREE_OBJECTID`).
const BTRFS_SUBVOLUME_DIR: u64 = 256;

/// The object id of the empty directories that a snapshot has in the places of nested subvolumes
/// (`BTRFS_EMPTY_SUBVOL_DIR_OBJECTID`).
const BTRFS_EMPTY_SUBVOLUME: u64 = 2;

/// Object id and subvolume of a btrfs handle.
fn btrfs_ids(handle: &[u8]) -> Option<(u64, u64)> {
    let kind = i32::from_ne_bytes(handle.get(..TYPE_LEN)?.try_into().ok()?);
    let id = |at: usize| Some(u64::from_ne_bytes(handle.get(at..at + 8)?.try_into().ok()?));
    if kind == BTRFS_TYPE { Some((id(TYPE_LEN)?, id(TYPE_LEN + 8)?)) } else { None }
}

/// The id of the whole filesystem that a btrfs directory is on, given that of its subvolume:
/// `btrfs_statfs()` in fs/btrfs/super.c makes the latter out of the former and the subvolume's id.
/// `None` for other filesystems.
pub(crate) fn btrfs_whole(fsid: u64, handle: &[u8]) -> Option<u64> {
    let (_, subvolume) = btrfs_ids(handle)?;
    // The two halves are ints, the upper half of the id goes into the first.
    let ids = subvolume ^ BTRFS_TOP;
    // The first int is at the lower address: on little-endian machines the lower half of the number.
    let halves = if cfg!(target_endian = "little") { ids.rotate_left(32) } else { ids };
    Some(fsid ^ halves)
}

/// Whether a directory is a btrfs subvolume: one that comes up may be a snapshot, full of files.
pub(crate) fn is_btrfs_subvolume(handle: &[u8]) -> bool {
    btrfs_ids(handle).is_some_and(|(object, _)| object == BTRFS_SUBVOLUME_DIR)
}

/// Whether several directories have this handle at one time: the empty ones in a btrfs snapshot, in the
/// places of nested subvolumes. Nothing can be made in them, and they cannot be renamed
/// (`btrfs_lookup_dentry()`, `btrfs_rename()` in fs/btrfs/inode.c).
pub(crate) fn is_shared(handle: &[u8]) -> bool {
    btrfs_ids(handle).is_some_and(|(object, _)| object == BTRFS_EMPTY_SUBVOLUME)
}

/// `FILEID_INO32_GEN`, with and without parent, and `FILEID_INO64_GEN` (include/linux/exportfs.h): an
/// inode's number, then its generation.
const INO32_GEN: [u8; 2] = [1, 2];
const INO64_GEN: u8 = 0x81;

/// The number of a handle's inode, where its type says where that is (fs/libfs.c
/// `generic_encode_ino32_fh()`, fs/xfs/xfs_export.c, fs/btrfs/export.c). tmpfs has a form of its own
/// under the same type: generation, then number (mm/shmem.c). FUSE's has the same type and length as xfs's,
/// and the halves of a node's id the other way round (fs/fuse/inode.c): that gives a number which no file of
/// that name has.
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

/// Whether another object may get the handle once this one is gone: the generation is 0, as on
/// filesystems that do not count it (FUSE, for one).
pub(crate) fn may_recur(handle: &[u8]) -> bool {
    let generation = match handle {
        [kind, 0, 0, 0, _, _, _, _, generation @ ..] if INO32_GEN.contains(kind) => generation,
        [INO64_GEN, 0, 0, 0, _, _, _, _, _, _, _, _, generation @ ..] => generation,
        _ => return false,
    };
    generation.first_chunk() == Some(&[0; 4])
}

/// Opens a directory below `dir` for reading; never through a symbolic link at the end.
pub(crate) fn open_dir(dir: BorrowedFd<'_>, path: &CStr) -> io::Result<OwnedFd> {
    let flags = libc::O_RDONLY | libc::O_DIRECTORY | libc::O_NOFOLLOW | libc::O_CLOEXEC;
    // SAFETY: the path ends in NUL.
    super::fd::owned(unsafe { libc::openat(dir.as_raw_fd(), path.as_ptr(), flags) })
}

/// The same for a path of any length, the directory `dir` itself where it is empty. What is longer
/// than PATH_MAX is opened piece by piece.
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

/// Opens a directory below `dir` to ask about it and to go on from it, not to read it; never through
/// a symbolic link at the end.
pub(crate) fn open_step(dir: BorrowedFd<'_>, name: &CStr) -> io::Result<OwnedFd> {
    let flags = libc::O_PATH | libc::O_DIRECTORY | libc::O_NOFOLLOW | libc::O_CLOEXEC;
    // SAFETY: the path ends in NUL.
    super::fd::owned(unsafe { libc::openat(dir.as_raw_fd(), name.as_ptr(), flags) })
}

/// Opens the directory at an absolute path like [`open_step`].
pub(crate) fn open_absolute(path: &CStr) -> io::Result<OwnedFd> {
    let flags = libc::O_PATH | libc::O_DIRECTORY | libc::O_NOFOLLOW | libc::O_CLOEXEC;
    // SAFETY: the path ends in NUL.
    super::fd::owned(unsafe { libc::open(path.as_ptr(), flags) })
}

/// The same through symbolic links.
pub(crate) fn open_following(path: &CStr) -> io::Result<OwnedFd> {
    let flags = libc::O_PATH | libc::O_DIRECTORY | libc::O_CLOEXEC;
    // SAFETY: the path ends in NUL.
    super::fd::owned(unsafe { libc::open(path.as_ptr(), flags) })
}

/// The text of a symbolic link, cut off where `room` ends.
///
/// # Errors
/// EINVAL where it is something else; those of readlinkat(2).
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

/// Opens the directory at an absolute path as far as the kernel has all of the way in its caches: nothing is
/// asked of a filesystem, so none that does not answer is waited for (openat2(2), `RESOLVE_CACHED`).
///
/// # Errors
/// EAGAIN where the way is not in the caches, EINVAL before Linux 5.12, ENOSYS before 5.6.
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

/// Opens the directory of that handle to ask about it, on the filesystem of `beside`, an open one that
/// can be read (open_by_handle_at(2)).
///
/// # Errors
/// ESTALE where it is gone, EPERM without CAP_DAC_READ_SEARCH.
pub(crate) fn open_handle(beside: BorrowedFd<'_>, key: &[u8]) -> io::Result<OwnedFd> {
    open_by_handle(beside, key, libc::O_DIRECTORY)
}

/// The same of any file.
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

/// Whether an open directory still has a name: a removed one has no link left (fs/namei.c,
/// `vfs_rmdir()`, and each filesystem's own `rmdir`).
pub(crate) fn has_name(dir: BorrowedFd<'_>) -> bool {
    // SAFETY: an all-zero stat is valid; the kernel fills one.
    unsafe {
        let mut stat: libc::stat = std::mem::zeroed();
        libc::fstat(dir.as_raw_fd(), &raw mut stat) == 0 && stat.st_nlink > 0
    }
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

/// What tells a filesystem's sizes: of a block, blocks, inodes, and those of both that are free.
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
    fn a_subvolume_leads_to_its_filesystem() {
        // Seen on 6.18: the top level, and subvolume 256 of it.
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

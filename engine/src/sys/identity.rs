//! What a filesystem is known by, also after it was unmounted and mounted again.

use super::fd::check;
use super::handle::{filesystem, open_dir};
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use zerocopy::FromZeros;

/// `struct fsuuid2`, linux/fs.h.
#[derive(FromZeros)]
#[repr(C)]
struct Uuid {
    len: u8,
    bytes: [u8; 16],
}

/// Since Linux 6.9: `FS_IOC_GETFSUUID`, linux/fs.h.
const GET_UUID: libc::Ioctl = libc::_IOR::<Uuid>(0x15, 0);

/// `struct xfs_fsop_geom_v1`, fs/xfs/libxfs/xfs_fs.h: 108 bytes, and 4 for its alignment.
#[derive(FromZeros)]
#[repr(C)]
struct Geometry {
    before: [u64; 8],
    uuid: [u8; 16],
    behind: [u64; 4],
}

/// On all kernels: `XFS_IOC_FSGEOMETRY_V1`.
const GET_GEOMETRY: libc::Ioctl = libc::_IOR::<Geometry>(b'X' as u32, 100);
/// `XFS_SUPER_MAGIC`, linux/magic.h.
const XFS: i64 = 0x5846_5342;

const _: () = assert!(size_of::<Uuid>() == 17 && size_of::<Geometry>() == 112);

/// What the filesystem of the directory `dir` is known by; `fsid` is its id in events. Asks the filesystem, unless the id
/// is one for good.
///
/// The id is made from the UUID of the filesystem by ext4 and btrfs, among others, on all kernels. But xfs, f2fs and FAT
/// take the number of the device (`huge_encode_dev()`), which is another when the same disk comes back under another
/// name: the UUID takes its place. Where the kernel does not give one the id stays.
pub(crate) fn identity(dir: BorrowedFd<'_>, fsid: u64) -> u64 {
    if !is_of_device(fsid) {
        return fsid;
    }
    // Calls are not for what was opened with `O_PATH`.
    let uuid = open_dir(dir, c".").and_then(|dir| uuid(dir.as_fd()));
    uuid.map_or(fsid, fold)
}

/// Whether an id may be the number of a device: that has 32 bits, which are the first int of the id (`u64_to_fsid()`).
/// Of the other ids every 2³²th is as well.
fn is_of_device(fsid: u64) -> bool {
    // The two ints of an id in the order of memory, as one number.
    let second = if cfg!(target_endian = "little") { fsid >> 32 } else { fsid << 32 };
    second == 0
}

/// As the kernel makes an id of a UUID (`uuid_to_fsid()`).
fn fold(uuid: [u8; 16]) -> u64 {
    let [first, second] = [0, 8].map(|at| {
        let half = uuid[at..].first_chunk().expect("eight bytes of sixteen");
        u64::from_le_bytes(*half)
    });
    first ^ second
}

/// The UUID of a filesystem.
///
/// # Errors
/// ENOTTY if neither the kernel nor the filesystem gives one.
fn uuid(dir: BorrowedFd<'_>) -> io::Result<[u8; 16]> {
    by_kernel(dir).or_else(|_| by_xfs(dir))
}

fn by_kernel(dir: BorrowedFd<'_>) -> io::Result<[u8; 16]> {
    // SAFETY: the kernel writes one struct fsuuid2 (ioctl_getfsuuid() in fs/ioctl.c).
    let uuid: Uuid = unsafe { ask(dir, GET_UUID) }?;
    if uuid.len == 0 { Err(io::ErrorKind::NotFound.into()) } else { Ok(uuid.bytes) }
}

fn by_xfs(dir: BorrowedFd<'_>) -> io::Result<[u8; 16]> {
    // On another filesystem the number may mean something else.
    if filesystem(dir)?.1 != XFS {
        return Err(io::ErrorKind::Unsupported.into());
    }
    // SAFETY: xfs writes one struct xfs_fsop_geom_v1 (xfs_ioc_fsgeometry() in fs/xfs/xfs_ioctl.c).
    let geometry: Geometry = unsafe { ask(dir, GET_GEOMETRY) }?;
    Ok(geometry.uuid)
}

/// # Safety
/// The call writes at most one `T`.
unsafe fn ask<T: FromZeros>(dir: BorrowedFd<'_>, call: libc::Ioctl) -> io::Result<T> {
    let mut answer = T::new_zeroed();
    // SAFETY: the caller says so, and any bytes are a `T` of numbers alone.
    check(unsafe { libc::ioctl(dir.as_raw_fd(), call, &raw mut answer) })?;
    Ok(answer)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs::File;

    #[test]
    fn ids_of_devices_are_told_from_others() {
        // 7:3, and the first half of a random id.
        let of = |first: u32, second: u32| {
            let bytes = [first.to_ne_bytes(), second.to_ne_bytes()].concat();
            u64::from_ne_bytes(bytes.try_into().expect("eight bytes"))
        };
        assert!(is_of_device(of(0x703, 0)) && !is_of_device(of(0x703, 1)));
    }

    #[test]
    fn a_uuid_is_folded_as_the_kernel_does() {
        let mut uuid = [0; 16];
        (uuid[0], uuid[7], uuid[8]) = (1, 2, 4);
        assert_eq!(fold(uuid), 0x0200_0000_0000_0005);
    }

    /// tmpfs makes its id of its UUID in the same way (`shmem_statfs()`), so the two must be one.
    #[test]
    fn the_kernel_gives_the_uuid_of_which_the_id_is_made() {
        let dir = File::open("/dev/shm").expect("a tmpfs");
        let (fsid, _) = filesystem(dir.as_fd()).expect("statfs");
        assert_eq!(identity(dir.as_fd(), fsid), fsid, "it is no number of a device");
        match by_kernel(dir.as_fd()) {
            Err(error) => eprintln!("SKIP: {error}: before Linux 6.9"),
            Ok(uuid) => assert_eq!(fold(uuid), fsid),
        }
        // No ioctl of xfs is asked of another filesystem.
        assert_eq!(
            by_xfs(dir.as_fd()).map_err(|error| error.kind()),
            Err(io::ErrorKind::Unsupported)
        );
    }
}

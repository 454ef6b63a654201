//! The object that a file has in the records of a history.

use crate::sys::handle::{Handles, btrfs_whole, filesystem};
use crate::sys::identity::identity;
use fsmon_format::object::{KEY_BYTES, ObjectHash};
use std::ffi::CString;
use std::fs::{File, OpenOptions};
use std::io;
use std::os::fd::AsFd;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

/// Filesystems (linux/magic.h) whose handles are the same in events and by name: ext4, btrfs, xfs, tmpfs, f2fs. An
/// overlay gives a file another handle once it is copied up.
const STABLE: [i64; 5] = [0xef53, 0x9123_683e, 0x5846_5342, 0x0102_1994, 0xf2f5_2010];

/// The objects that a file may have in a history with this key: usually one. A symbolic link at the end is not followed.
/// Nothing where that cannot be known: the file does not exist, this process may not ask, or its filesystem gives handles
/// that change.
#[must_use]
pub fn objects_of(path: &Path, key: &[u8; KEY_BYTES]) -> Vec<u64> {
    find(path, &ObjectHash::new(key)).unwrap_or_default()
}

fn find(path: &Path, hash: &ObjectHash) -> io::Result<Vec<u64>> {
    let name = path.file_name().ok_or(io::ErrorKind::InvalidInput)?;
    let name = CString::new(name.as_bytes())?;
    let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty());
    let dir: File = OpenOptions::new()
        .read(true)
        .custom_flags(libc::O_PATH | libc::O_DIRECTORY)
        .open(parent.unwrap_or(Path::new(".")))?;
    let (fsid, magic) = filesystem(dir.as_fd())?;
    if !STABLE.contains(&magic) {
        return Ok(Vec::new());
    }
    let how = Handles::probe(dir.as_fd())?;
    let (handle, mount) = how.of_entry(dir.as_fd(), &name)?;
    // Something is mounted on it: the records are about what is below.
    if how.of_fd(dir.as_fd())?.1 != mount {
        return Ok(Vec::new());
    }
    // The second of two filesystems with one number is known by that number.
    let ids = [Some(identity(dir.as_fd(), fsid)), Some(fsid), btrfs_whole(fsid, handle.key())];
    let mut objects = Vec::new();
    for object in ids.into_iter().flatten().map(|id| hash.object(id, handle.key())) {
        if !objects.contains(&object) {
            objects.push(object);
        }
    }
    Ok(objects)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_keeps_its_object_over_renames_and_a_new_one_has_another() {
        let dir = tempfile::tempdir().expect("a directory");
        let at = |name: &str| dir.path().join(name);
        let of = |name: &str| objects_of(&at(name), &[7; KEY_BYTES]);
        std::fs::write(at("a"), "").expect("written");
        let first = of("a");
        std::fs::rename(at("a"), at("b")).expect("renamed");
        std::fs::write(at("a"), "").expect("written");
        assert_eq!(of("b"), first);
        assert!(!first.is_empty() && of("a") != first, "{first:?}");
        assert!(of("none").is_empty());
        assert_ne!(objects_of(&at("b"), &[8; KEY_BYTES]), first);
    }

    #[test]
    fn where_handles_may_change_nothing_is_known() {
        assert!(objects_of(Path::new("/proc/self/status"), &[7; KEY_BYTES]).is_empty());
    }
}

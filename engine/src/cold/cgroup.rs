//! The path of a control group for its kernel id.

use super::mounts;
use crate::sys::cgroup::open_by_id;
use std::fs::{self, File};
use std::os::fd::{AsFd, AsRawFd};
use std::os::unix::ffi::OsStringExt;
use std::sync::OnceLock;

/// Where the unified hierarchy is mounted.
struct Mount {
    dir: File,
    path: Vec<u8>,
}

/// The path of a control group below the cgroup2 mount, such as `/system.slice/ci.service`.
/// `None` when the group is gone, cgroup2 is not mounted, or the privilege is missing.
#[must_use]
pub fn cgroup_path(id: u64) -> Option<Vec<u8>> {
    static MOUNT: OnceLock<Option<Mount>> = OnceLock::new();
    let mount = MOUNT.get_or_init(find_mount).as_ref()?;
    let group = open_by_id(mount.dir.as_fd(), id).ok()?;
    let path = fs::read_link(format!("/proc/self/fd/{}", group.as_raw_fd())).ok()?;
    let path = path.into_os_string().into_vec();
    below(&mount.path, &path).map(<[u8]>::to_vec)
}

/// `path` as seen from `mount`; the mount itself is `/`. A group that was removed while it was
/// open reads as `... (deleted)`, and is no path.
fn below<'a>(mount: &[u8], path: &'a [u8]) -> Option<&'a [u8]> {
    let rest = path.strip_prefix(mount).filter(|rest| !rest.ends_with(b" (deleted)"))?;
    match rest {
        [] => Some(b"/"),
        [b'/', ..] => Some(rest),
        _ => None,
    }
}

fn find_mount() -> Option<Mount> {
    let point = mounts::cgroup2()?;
    let dir = File::open(&point).ok()?;
    Some(Mount { dir, path: point.into_os_string().into_vec() })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::MetadataExt;
    use std::path::PathBuf;

    #[test]
    fn paths_below_the_mount() {
        assert_eq!(below(b"/sys/fs/cgroup", b"/sys/fs/cgroup"), Some(&b"/"[..]));
        assert_eq!(below(b"/sys/fs/cgroup", b"/sys/fs/cgroup/a/b"), Some(&b"/a/b"[..]));
        assert_eq!(below(b"/sys/fs/cgroup", b"/sys/fs/cgroups"), None);
        assert_eq!(below(b"/sys/fs/cgroup", b"/sys/fs/cgroup/a (deleted)"), None);
    }

    /// The id of a group is the inode number of its directory (kernfs, 64 bit).
    #[test]
    fn a_real_group_has_its_path_and_a_removed_one_none() {
        let Some(mount) = find_mount() else {
            println!("SKIP: no cgroup2 mount");
            return;
        };
        let mut path = mount.path.clone();
        path.extend_from_slice(format!("/fsmon-test-{}", std::process::id()).as_bytes());
        let dir = PathBuf::from(std::ffi::OsString::from_vec(path.clone()));
        if let Err(error) = fs::create_dir(&dir) {
            println!("SKIP: cannot make a control group: {error}");
            return;
        }
        let id = fs::metadata(&dir).expect("just made").ino();
        let found = cgroup_path(id);
        fs::remove_dir(&dir).expect("empty");
        assert_eq!(found.as_deref(), path.strip_prefix(&mount.path[..]));
        assert_eq!(cgroup_path(id), None);
    }
}

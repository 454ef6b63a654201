//! The path of a control group for its kernel id.

use crate::sys::cgroup::open_by_id;
use std::fs::{self, File};
use std::os::fd::{AsFd, AsRawFd};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::PathBuf;
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
    let path = mount_point(&fs::read("/proc/self/mountinfo").ok()?)?;
    let dir = File::open(PathBuf::from(std::ffi::OsStr::from_bytes(&path))).ok()?;
    Some(Mount { dir, path })
}

/// The mount point of the first cgroup2 filesystem. proc_pid_mountinfo(5): the mount point is the
/// fifth field, and the type the first one after a lone `-`.
fn mount_point(mountinfo: &[u8]) -> Option<Vec<u8>> {
    mountinfo.split(|byte| *byte == b'\n').find_map(|line| {
        let mut fields = line.split(|byte| *byte == b' ');
        let point = fields.nth(4)?;
        let mut types = fields.skip_while(|field| *field != b"-").skip(1);
        (types.next()? == b"cgroup2").then(|| unescape(point))
    })
}

/// Space, tab, newline and backslash are written as three octal digits.
fn unescape(field: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(field.len());
    let mut rest = field;
    while let Some((byte, after)) = rest.split_first() {
        let octal = |digits: &[u8; 3]| {
            let value = std::str::from_utf8(digits).ok()?;
            u8::from_str_radix(value, 8).ok()
        };
        match (byte, after.first_chunk::<3>().and_then(octal)) {
            (b'\\', Some(value)) => {
                out.push(value);
                rest = &after[3..];
            }
            _ => {
                out.push(*byte);
                rest = after;
            }
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::MetadataExt;

    #[test]
    fn the_mount_point_is_found_among_others() {
        let text = b"31 23 0:28 / /sys/fs/cgroup rw - tmpfs tmpfs rw\n\
            40 31 0:37 / /sys/fs/cgroup/systemd rw - cgroup cgroup rw,name=systemd\n\
            41 31 0:38 / /sys/fs/c\\040group\\134 rw,nosuid shared:9 - cgroup2 cgroup2 rw\n";
        assert_eq!(mount_point(text).as_deref(), Some(&b"/sys/fs/c group\\"[..]));
        assert_eq!(mount_point(b"garbage\n\n1 2 3"), None);
    }

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

//! The mounts of this process's namespace: /proc/self/mountinfo, proc_pid_mountinfo(5).

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};

/// A mounted filesystem.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Mount {
    /// Where.
    pub(crate) point: PathBuf,
    /// Whether the whole filesystem is mounted there, not a directory of it.
    pub(crate) whole: bool,
    /// Its type, such as `ext4`.
    pub(crate) fs_type: String,
    /// Device number, `major:minor`: the same for all mounts of one filesystem.
    pub(crate) device: String,
    /// What is mounted: a device for filesystems that are on one.
    pub(crate) source: OsString,
    /// Whether the filesystem, not only this mount of it, is read-only.
    pub(crate) read_only: bool,
}

impl Mount {
    /// What makes up its entries is the kernel itself: nothing in it is a file that somebody made.
    pub(crate) fn is_made_by_the_kernel(&self) -> bool {
        MADE_BY_THE_KERNEL.contains(&self.fs_type.as_str())
    }

    /// The filesystem can be changed by others than this host.
    pub(crate) fn is_shared(&self) -> bool {
        let fs_type = self.fs_type.as_str();
        SHARED.contains(&fs_type) || fs_type == "fuse" || fs_type.starts_with("fuse.")
    }
}

/// Filesystems whose entries the kernel makes. Most of that happens without the calls that
/// fanotify hooks into (fs/namei.c), so what it told would be a small part.
const MADE_BY_THE_KERNEL: &[&str] = &[
    "proc",
    "sysfs",
    "cgroup",
    "cgroup2",
    "debugfs",
    "tracefs",
    "securityfs",
    "selinuxfs",
    "smackfs",
    "pstore",
    "efivarfs",
    "binfmt_misc",
    "fusectl",
    "devpts",
    "nsfs",
    "rpc_pipefs",
];

/// Filesystems that lie on a server, or are written by several hosts. FUSE comes on top: what is
/// behind it is its daemon's affair.
const SHARED: &[&str] =
    &["nfs", "nfs4", "cifs", "smb3", "9p", "ceph", "virtiofs", "afs", "lustre", "gfs2", "ocfs2"];

/// Every mount, in mounting order; none where /proc is not mounted.
pub(crate) fn all() -> Vec<Mount> {
    let text = std::fs::read("/proc/self/mountinfo").unwrap_or_default();
    text.split(|&byte| byte == b'\n').filter_map(parse).collect()
}

/// The mount that `path` (absolute, without symbolic links) is on: the longest point above it,
/// the last one mounted there.
pub(crate) fn of<'a>(mounts: &'a [Mount], path: &Path) -> Option<&'a Mount> {
    let above = mounts.iter().filter(|mount| path.starts_with(&mount.point));
    above.max_by_key(|mount| mount.point.as_os_str().len())
}

/// The mounts below `root` that a walk from it does not cross, but for what the kernel makes.
pub(crate) fn below<'a>(mounts: &'a [Mount], root: &Path) -> Vec<&'a Path> {
    let inner = mounts.iter().filter(|mount| {
        mount.point != root && mount.point.starts_with(root) && !mount.is_made_by_the_kernel()
    });
    let mut points: Vec<_> = inner.map(|mount| mount.point.as_path()).collect();
    points.sort_unstable();
    points.dedup();
    points
}

/// Where the version 2 cgroup hierarchy is mounted: anywhere, on hosts with both versions. Where
/// only a part of it is mounted, paths from /proc do not begin there, and it does not count.
pub(crate) fn cgroup2() -> Option<PathBuf> {
    let mut all = all().into_iter();
    all.find(|mount| mount.fs_type == "cgroup2" && mount.whole).map(|mount| mount.point)
}

fn parse(line: &[u8]) -> Option<Mount> {
    let mut fields = line.split(|&byte| byte == b' ');
    let device = fields.nth(2)?;
    let root = fields.next()?;
    let point = fields.next()?;
    let fs_type = fields.by_ref().skip_while(|field| *field != b"-").nth(1)?;
    let source = fields.next().unwrap_or_default();
    let options = fields.next().unwrap_or_default();
    Some(Mount {
        whole: root == b"/",
        point: PathBuf::from(OsString::from_vec(unescape(point))),
        fs_type: String::from_utf8_lossy(fs_type).into_owned(),
        device: String::from_utf8_lossy(device).into_owned(),
        source: OsString::from_vec(unescape(source)),
        read_only: options.split(|&byte| byte == b',').any(|option| option == b"ro"),
    })
}

/// Space, tab, newline and backslash stand as three octal digits after a backslash.
fn unescape(field: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(field.len());
    let mut rest = field;
    while let Some((&byte, after)) = rest.split_first() {
        let digits = after.get(..3).and_then(|digits| std::str::from_utf8(digits).ok());
        let octal = digits.and_then(|digits| u8::from_str_radix(digits, 8).ok());
        match octal.filter(|_| byte == b'\\') {
            Some(decoded) => {
                out.push(decoded);
                rest = &after[3..];
            }
            None => {
                out.push(byte);
                rest = after;
            }
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_taken_apart() {
        let line =
            b"36 35 98:0 /mnt1 /mnt\\0402 rw,noatime master:1 - ext3 /dev/root rw,errors=continue";
        let mount = parse(line).expect("a mount");
        assert_eq!(mount.point, Path::new("/mnt 2"));
        assert!(!mount.whole);
        assert_eq!((mount.fs_type.as_str(), mount.device.as_str()), ("ext3", "98:0"));
        assert_eq!((mount.source.to_str(), mount.read_only), (Some("/dev/root"), false));
    }

    #[test]
    fn the_longest_point_above_a_path_wins_and_the_last_of_equals() {
        let mount = |point: &str, fs_type: &str| Mount {
            whole: true,
            point: point.into(),
            fs_type: fs_type.into(),
            device: String::new(),
            source: OsString::new(),
            read_only: false,
        };
        let mounts = [mount("/", "ext4"), mount("/srv", "xfs"), mount("/srv", "tmpfs")];
        let found = |path: &str| of(&mounts, Path::new(path)).map(|mount| mount.fs_type.as_str());
        assert_eq!(found("/srv/x"), Some("tmpfs"));
        assert_eq!(found("/srvx"), Some("ext4"));
    }
}

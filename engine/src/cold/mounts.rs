//! The mounts of this process's namespace: /proc/self/mountinfo, proc_pid_mountinfo(5).

use crate::limits::start::{MOUNT_DEPTH_MAX, MOUNTINFO_BYTES};
use std::collections::{HashMap, HashSet};
use std::ffi::OsString;
use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};

/// A mounted filesystem, or a directory of one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Mount {
    /// The mount's id: another mount has it only after this one is gone.
    pub(crate) id: u32,
    /// The id of the mount that this one is mounted on.
    pub(crate) parent: u32,
    /// The directory of the filesystem that is mounted, as a path from the filesystem's top. `/` is the
    /// whole filesystem.
    pub(crate) dir: PathBuf,
    /// The directory on which it is mounted.
    pub(crate) point: PathBuf,
    /// Its type, such as `ext4`.
    pub(crate) fs_type: String,
    /// Device number, `major:minor`: the same for all mounts of one filesystem.
    pub(crate) device: String,
    /// What is mounted: a device for filesystems that are on one.
    pub(crate) source: OsString,
    /// Whether the filesystem, not only this mount of it, is read-only.
    pub(crate) read_only: bool,
    /// Of an overlay: the directory that is its upper layer, and the one that it works in, as they were given
    /// to mount(2). Empty where it has none.
    pub(crate) upper: PathBuf,
    pub(crate) work: PathBuf,
    /// Of an overlay: what its option `redirect_dir` says; empty where that is the default.
    pub(crate) redirect_dir: PathBuf,
    /// Of an overlay: whether it keeps what it notes in attributes that users may set (`userxattr`).
    pub(crate) user_attributes: bool,
}

impl Mount {
    /// Whether the whole filesystem is mounted, not a directory of it.
    pub(crate) fn is_whole(&self) -> bool {
        self.dir == Path::new("/")
    }

    /// The path from the filesystem's top of what is at `path`, which is on this mount.
    pub(crate) fn place_of(&self, path: &Path) -> PathBuf {
        match path.strip_prefix(&self.point) {
            Ok(below) if !below.as_os_str().is_empty() => self.dir.join(below),
            _ => self.dir.clone(),
        }
    }

    /// Whether looking at what is in it may take any time: it is on a server, or made by a program.
    pub(crate) fn may_hang(&self) -> bool {
        self.is_shared() || matches!(self.fs_type.as_str(), "fuseblk" | "autofs")
    }

    /// Whether files of its own can be in it. There is nothing to miss in one without: what is in it is
    /// made by the kernel, or it is there to have another mounted on it (autofs).
    pub(crate) fn has_files(&self) -> bool {
        !self.is_made_by_the_kernel() && !WITHOUT_FILES.contains(&self.fs_type.as_str())
    }

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
/// fanotify hooks into (fs/namei.c), so it would report only a small part.
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

/// Filesystems that hold objects of the kernel, or nothing.
const WITHOUT_FILES: &[&str] = &["autofs", "bpf", "configfs", "mqueue"];

/// Filesystems that lie on a server, or are written by several hosts. FUSE comes on top: what is
/// behind it is its daemon's affair.
const SHARED: &[&str] =
    &["nfs", "nfs4", "cifs", "smb3", "9p", "ceph", "virtiofs", "afs", "lustre", "gfs2", "ocfs2"];

/// The id that the mount of our root directory has where mountinfo does not list it: no other has it, as
/// they are positive ints in the kernel.
const UNLISTED: u32 = u32::MAX;

/// Where filesystems are mounted that may not answer.
pub(crate) struct Slow<'a>(HashSet<&'a Path>);

impl<'a> Slow<'a> {
    pub(crate) fn of(mounts: &'a [Mount]) -> Self {
        let slow = mounts.iter().filter(|mount| mount.may_hang());
        Slow(slow.map(|mount| mount.point.as_path()).collect())
    }

    /// Whether the way from a directory down to one below leads through such a filesystem.
    pub(crate) fn is_between(&self, from: &Path, to: &Path) -> bool {
        to.ancestors().take_while(|dir| *dir != from).any(|dir| self.0.contains(dir))
    }
}

/// Every mount in mounting order, those that others hide included; none where /proc is not mounted.
pub(crate) fn all() -> Vec<Mount> {
    with_root(of_process(Path::new("/proc/self")))
}

/// In a chroot to a directory on which nothing is mounted, mountinfo has no mount for that: of it nothing
/// is known but that it is there.
pub(crate) fn with_root(mut mounts: Vec<Mount>) -> Vec<Mount> {
    let is_listed = mounts.iter().any(|mount| mount.point == Path::new("/"));
    if !mounts.is_empty() && !is_listed {
        mounts.insert(0, unlisted_root());
    }
    mounts
}

fn unlisted_root() -> Mount {
    Mount {
        id: UNLISTED,
        parent: UNLISTED,
        dir: "/".into(),
        point: "/".into(),
        fs_type: "unknown".into(),
        device: String::new(),
        source: OsString::new(),
        read_only: false,
        upper: PathBuf::new(),
        work: PathBuf::new(),
        redirect_dir: PathBuf::new(),
        user_attributes: false,
    }
}

/// Those of a process's namespace, given its directory in /proc.
pub(crate) fn of_process(process: &Path) -> Vec<Mount> {
    let mut text = Vec::new();
    let read = File::open(process.join("mountinfo")).map(|file| file.take(MOUNTINFO_BYTES));
    // What was read before an error is as good as it gets.
    let _ = read.and_then(|mut file| file.read_to_end(&mut text));
    parse_all(&text)
}

/// Those that an open mountinfo shows now.
///
/// # Errors
/// It cannot be read.
pub(crate) fn of_file(mountinfo: &File) -> io::Result<Vec<Mount>> {
    let mut text = Vec::new();
    let mut from_start = mountinfo;
    from_start.seek(SeekFrom::Start(0))?;
    from_start.take(MOUNTINFO_BYTES).read_to_end(&mut text)?;
    Ok(with_root(parse_all(&text)))
}

/// The mounts that paths lead to: those that no other mount hides.
pub(crate) fn reachable() -> Vec<Mount> {
    only_reachable(all())
}

/// Those of `all` that paths lead to, and the ids of all.
pub(crate) fn reachable_and_ids(all: Vec<Mount>) -> (Vec<Mount>, HashSet<u32>) {
    let ids = all.iter().map(|mount| mount.id).collect();
    (only_reachable(all), ids)
}

fn parse_all(text: &[u8]) -> Vec<Mount> {
    text.split(|&byte| byte == b'\n').filter_map(parse).collect()
}

/// Leaves out mounts that no path leads to: another is mounted on the same place, or on a directory
/// above it, and hides it.
///
/// In the kernel (`__lookup_mnt()`, fs/namespace.c) a path goes over from a mount to what is mounted on
/// a directory of it as soon as it comes by one. So a mount is hidden by a sibling (one with the same
/// parent) whose point is above its own, by one that is mounted on its top, and with its parent. But a path
/// begins in this process's root directory itself: what is mounted on that hides nothing, and no path
/// leads to it. The root's own mount has that point, too, and may be its own parent (rootfs).
fn only_reachable(mounts: Vec<Mount>) -> Vec<Mount> {
    let by_id: HashMap<u32, &Mount> = mounts.iter().map(|mount| (mount.id, mount)).collect();
    let has_parent = |mount: &Mount| mount.parent != mount.id;
    let is_at_root = |mount: &Mount| mount.point == Path::new("/");
    let on_root =
        |mount: &Mount| is_at_root(mount) && has_parent(mount) && by_id.contains_key(&mount.parent);
    let below_root = mounts.iter().filter(|mount| !is_at_root(mount));
    let points: HashSet<(u32, &Path)> =
        below_root.map(|mount| (mount.parent, mount.point.as_path())).collect();
    let is_passed = |mount: &Mount| {
        let above = mount.point.ancestors().skip(1);
        above.take(MOUNT_DEPTH_MAX).any(|path| points.contains(&(mount.parent, path)))
    };
    let is_reached = |mount: &Mount| {
        // Each parent is mounted before what is on it, so this ends; hostile text could say otherwise.
        let mut at = mount;
        for _ in 0..MOUNT_DEPTH_MAX {
            if on_root(at) || (by_id.contains_key(&at.parent) && is_passed(at)) {
                return false;
            }
            match by_id.get(&at.parent).filter(|_| has_parent(at)) {
                Some(parent) => at = parent,
                None => return true,
            }
        }
        false
    };
    let is_on_top = |mount: &Mount| !points.contains(&(mount.id, mount.point.as_path()));
    let keep: Vec<bool> =
        mounts.iter().map(|mount| is_on_top(mount) && is_reached(mount)).collect();
    mounts.into_iter().zip(keep).filter_map(|(mount, keep)| keep.then_some(mount)).collect()
}

/// Mounts by their points.
pub(crate) struct Points<'a>(HashMap<&'a Path, &'a Mount>);

impl<'a> Points<'a> {
    /// Of several on one point that is the last, which hides the others.
    pub(crate) fn of(mounts: &'a [Mount]) -> Self {
        Points(mounts.iter().map(|mount| (mount.point.as_path(), mount)).collect())
    }

    /// The mount that `path` (absolute, without symbolic links) is on: the one with the longest point
    /// above it.
    pub(crate) fn mount_of(&self, path: &Path) -> Option<&'a Mount> {
        path.ancestors().find_map(|dir| self.0.get(dir).copied())
    }

    pub(crate) fn mount_with_id(&self, id: u32) -> Option<&'a Mount> {
        self.0.values().copied().find(|mount| mount.id == id)
    }
}

/// Where the version 2 cgroup hierarchy is mounted: anywhere, on hosts with both versions. Where
/// only a part of it is mounted, paths from /proc do not begin there, and it does not count.
pub(crate) fn cgroup2() -> Option<PathBuf> {
    let mut all = all().into_iter();
    all.find(|mount| mount.fs_type == "cgroup2" && mount.is_whole()).map(|mount| mount.point)
}

fn parse(line: &[u8]) -> Option<Mount> {
    let mut fields = line.split(|&byte| byte == b' ');
    let mut number = || std::str::from_utf8(fields.next()?).ok()?.parse().ok();
    let (id, parent) = (number()?, number()?);
    let device = fields.next()?;
    let dir = fields.next()?;
    let point = fields.next()?;
    let fs_type = fields.by_ref().skip_while(|field| *field != b"-").nth(1)?;
    let source = fields.next().unwrap_or_default();
    let options = fields.next().unwrap_or_default();
    Some(Mount {
        id,
        parent,
        dir: path(dir),
        point: path(point),
        fs_type: String::from_utf8_lossy(fs_type).into_owned(),
        device: String::from_utf8_lossy(device).into_owned(),
        source: OsString::from_vec(unescape(source)),
        read_only: has_option(options, b"ro"),
        upper: option_path(options, b"upperdir="),
        work: option_path(options, b"workdir="),
        redirect_dir: option_path(options, b"redirect_dir="),
        user_attributes: has_option(options, b"userxattr"),
    })
}

fn has_option(options: &[u8], name: &[u8]) -> bool {
    options.split(|&byte| byte == b',').any(|option| option == name)
}

/// A path among the options of a filesystem. A comma in it is escaped (`seq_show_option()`,
/// include/linux/seq_file.h).
fn option_path(options: &[u8], name: &[u8]) -> PathBuf {
    let mut options = options.split(|&byte| byte == b',');
    options.find_map(|option| option.strip_prefix(name)).map_or_else(PathBuf::new, path)
}

fn path(field: &[u8]) -> PathBuf {
    OsString::from_vec(unescape(field)).into()
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
#[path = "mounts_test.rs"]
pub(crate) mod tests;

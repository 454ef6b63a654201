//! The mounts of this process's namespace: /proc/self/mountinfo, proc_pid_mountinfo(5).

use crate::limits::start::{MOUNT_DEPTH_MAX, MOUNTINFO_BYTES};
use std::collections::{HashMap, HashSet};
use std::ffi::OsString;
use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};

/// A mount of a filesystem, or of a directory in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Mount {
    /// The id of the mount. Another mount can get it only after this one is gone.
    pub(crate) id: u32,
    /// The id of the mount that this one is mounted on.
    pub(crate) parent: u32,
    /// The directory of the filesystem that is mounted, as a path from the top of the filesystem. `/`: the whole
    /// filesystem is mounted.
    pub(crate) dir: PathBuf,
    /// The mount point: the directory on which it is mounted.
    pub(crate) point: PathBuf,
    /// The type of the filesystem, such as `ext4`.
    pub(crate) fs_type: String,
    /// Device number, `major:minor`: the same for all mounts of one filesystem.
    pub(crate) device: String,
    /// What is mounted: for a filesystem on a device, the device.
    pub(crate) source: OsString,
    /// Whether the filesystem, not only this mount of it, is read-only.
    pub(crate) read_only: bool,
    /// For an overlay: the directories of its options `upperdir` and `workdir`, as they were given to mount(2). Empty
    /// if it does not have them.
    pub(crate) upper: PathBuf,
    pub(crate) work: PathBuf,
    /// For an overlay: the value of its option `redirect_dir`; empty for the default.
    pub(crate) redirect_dir: PathBuf,
    /// For an overlay: whether its extended attributes are in a namespace that users may write to (`userxattr`).
    pub(crate) user_attributes: bool,
}

impl Mount {
    /// Whether the whole filesystem is mounted, not a directory of it.
    pub(crate) fn is_whole(&self) -> bool {
        self.dir == Path::new("/")
    }

    /// The path from the top of the filesystem to the file at `path`, which must be on this mount.
    pub(crate) fn place_of(&self, path: &Path) -> PathBuf {
        match path.strip_prefix(&self.point) {
            Ok(below) if !below.as_os_str().is_empty() => self.dir.join(below),
            _ => self.dir.clone(),
        }
    }

    /// Whether a look at a file in it may never return: the filesystem is on a server, or a program serves it.
    pub(crate) fn may_hang(&self) -> bool {
        self.is_shared() || matches!(self.fs_type.as_str(), "fuseblk" | "autofs")
    }

    /// Whether programs can make files in it. In a filesystem without, fsmon misses nothing: the kernel makes its
    /// entries, or it is only a place for other mounts (autofs).
    pub(crate) fn has_files(&self) -> bool {
        !self.is_made_by_the_kernel() && !WITHOUT_FILES.contains(&self.fs_type.as_str())
    }

    /// Whether the kernel makes its entries.
    pub(crate) fn is_made_by_the_kernel(&self) -> bool {
        MADE_BY_THE_KERNEL.contains(&self.fs_type.as_str())
    }

    /// Whether other hosts, or a program that serves it, can change the filesystem.
    pub(crate) fn is_shared(&self) -> bool {
        let fs_type = self.fs_type.as_str();
        SHARED.contains(&fs_type) || fs_type == "fuse" || fs_type.starts_with("fuse.")
    }
}

/// Filesystems whose entries the kernel makes. Mostly it does not use the calls that queue fanotify events
/// (fs/namei.c), so fsmon would report only a small part of the changes.
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

/// Filesystems that have only objects of the kernel, or nothing.
const WITHOUT_FILES: &[&str] = &["autofs", "bpf", "configfs", "mqueue"];

/// Filesystems on a server, or on a device to which several hosts write. [`Mount::is_shared`] adds FUSE, because its
/// daemon can change files at any time.
const SHARED: &[&str] =
    &["nfs", "nfs4", "cifs", "smb3", "9p", "ceph", "virtiofs", "afs", "lustre", "gfs2", "ocfs2"];

/// The id for the mount of our root directory if mountinfo does not list that mount. No other mount has it, because ids
/// are positive ints in the kernel.
const UNLISTED: u32 = u32::MAX;

/// The mount points of filesystems that may not answer.
pub(crate) struct Slow<'a>(HashSet<&'a Path>);

impl<'a> Slow<'a> {
    pub(crate) fn of(mounts: &'a [Mount]) -> Self {
        let slow = mounts.iter().filter(|mount| mount.may_hang());
        Slow(slow.map(|mount| mount.point.as_path()).collect())
    }

    /// Whether the path from the directory `from` down to `to` leads through such a filesystem.
    pub(crate) fn is_between(&self, from: &Path, to: &Path) -> bool {
        to.ancestors().take_while(|dir| *dir != from).any(|dir| self.0.contains(dir))
    }
}

/// Whether a look at `path`, absolute, may never return: it is on FUSE or on a filesystem of a server, or behind one. Nothing
/// on the way is looked at, so symbolic links are not followed.
#[must_use]
pub fn may_hang(path: &Path) -> bool {
    Slow::of(&reachable()).is_between(Path::new("/"), path)
}

/// All mounts in the order in which they were mounted, including hidden ones. Empty if /proc is not mounted.
pub(crate) fn all() -> Vec<Mount> {
    with_root(of_process(Path::new("/proc/self")))
}

/// Adds the mount of our root directory if mountinfo does not list it: in a chroot to a directory that is no mount
/// point. Only its existence is known.
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

/// The mounts in the mount namespace of a process, whose directory in /proc is `process`.
pub(crate) fn of_process(process: &Path) -> Vec<Mount> {
    let mut text = Vec::new();
    let read = File::open(process.join("mountinfo")).map(|file| file.take(MOUNTINFO_BYTES));
    // After an error, use what was read before.
    let _ = read.and_then(|mut file| file.read_to_end(&mut text));
    parse_all(&text)
}

/// The mounts that an open mountinfo lists now.
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

/// The mounts that a path leads to, because no other mount hides them.
pub(crate) fn reachable() -> Vec<Mount> {
    only_reachable(all())
}

/// The mounts of `all` that a path leads to, and the ids of all.
pub(crate) fn reachable_and_ids(all: Vec<Mount>) -> (Vec<Mount>, HashSet<u32>) {
    let ids = all.iter().map(|mount| mount.id).collect();
    (only_reachable(all), ids)
}

fn parse_all(text: &[u8]) -> Vec<Mount> {
    text.split(|&byte| byte == b'\n').filter_map(parse).collect()
}

/// Leaves out mounts that no path leads to, because another mount hides them.
///
/// When the kernel follows a path and reaches a mount point, it goes on in the mount there (`__lookup_mnt()`,
/// fs/namespace.c). So a mount is hidden if
///
/// - a sibling (a mount with the same parent) has a mount point above its own,
/// - another mount is mounted on its top directory,
/// - or its parent is hidden.
///
/// The root directory of this process is an exception. Each path begins in it, so a mount on the root directory hides
/// nothing, and no path leads to that mount. The mount of the root directory has the mount point `/` as well, and can
/// be its own parent (rootfs).
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
        // A parent is mounted before its children, so this ends. The limit is for hostile text.
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

/// Mounts by their mount points.
pub(crate) struct Points<'a>(HashMap<&'a Path, &'a Mount>);

impl<'a> Points<'a> {
    /// If several mounts have one mount point, this takes the last, which hides the others.
    pub(crate) fn of(mounts: &'a [Mount]) -> Self {
        Points(mounts.iter().map(|mount| (mount.point.as_path(), mount)).collect())
    }

    /// The mount that `path` (absolute, without symbolic links) is on: the one with the longest mount point at or above
    /// the path.
    pub(crate) fn mount_of(&self, path: &Path) -> Option<&'a Mount> {
        path.ancestors().find_map(|dir| self.0.get(dir).copied())
    }

    pub(crate) fn mount_with_id(&self, id: u32) -> Option<&'a Mount> {
        self.0.values().copied().find(|mount| mount.id == id)
    }
}

/// The mount point of the cgroup hierarchy, version 2. It can be anywhere on hosts that have both versions. A mount of
/// only a part of the hierarchy does not count, as paths in /proc do not begin at that part.
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

/// The path in the option `name` of a filesystem. The kernel escapes commas in it (`seq_show_option()`,
/// include/linux/seq_file.h).
fn option_path(options: &[u8], name: &[u8]) -> PathBuf {
    let mut options = options.split(|&byte| byte == b',');
    options.find_map(|option| option.strip_prefix(name)).map_or_else(PathBuf::new, path)
}

fn path(field: &[u8]) -> PathBuf {
    OsString::from_vec(unescape(field)).into()
}

/// Decodes escapes: the kernel writes space, tab, newline and backslash as a backslash and three octal digits.
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

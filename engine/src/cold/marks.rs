//! The fanotify group and its marks: which kind works is found out by trying.

use super::mounts;
use super::roots::OpenRoot;
use crate::error::Error;
use crate::hot::above::STEP_MASK;
use crate::hot::who::OpenExec;
use crate::plan::MarkKind;
use crate::sys::fanotify::Group;
use fsmon_format::kind;
use std::collections::HashSet;
use std::ffi::CString;
use std::fs::File;
use std::io;
use std::os::fd::AsFd;
use std::os::unix::ffi::OsStrExt;

/// What is always asked for, because the tree is kept by it.
const TREE: u32 = kind::CREATE | kind::DELETE | kind::RENAME | kind::ONDIR;

/// Filesystems that hold no executables, or have no handles to report.
const WITHOUT_PROGRAMS: &[&str] = &[
    "proc",
    "sysfs",
    "cgroup",
    "cgroup2",
    "devpts",
    "devtmpfs",
    "tracefs",
    "debugfs",
    "bpf",
    "securityfs",
    "pstore",
    "mqueue",
    "hugetlbfs",
    "configfs",
    "fusectl",
    "autofs",
    "rpc_pipefs",
    "binfmt_misc",
    "nsfs",
    "efivarfs",
];

/// The mask to ask the kernel for, so that `types` can be shown. What RENAME tells is not asked
/// for twice.
pub(crate) fn mask_for(types: u32) -> u64 {
    let asked = types & !(kind::MOVED_FROM | kind::MOVED_TO);
    u64::from(asked | TREE)
}

/// Makes the group.
///
/// # Errors
/// Without the privilege, on a kernel that is too old, or with too many groups.
pub(crate) fn group(bounded_queue: bool) -> Result<Group, Error> {
    Group::new(bounded_queue).map_err(|error| {
        let remedy = match error.raw_os_error() {
            Some(libc::EPERM) => "watching needs the capability CAP_SYS_ADMIN; run fsmon as root (sudo fsmon ...)",
            Some(libc::EINVAL) => "this kernel's fanotify does not report renames with names; fsmon needs Linux 5.17 or newer",
            Some(libc::ENOSYS) => "this kernel is built without fanotify; fsmon needs CONFIG_FANOTIFY",
            Some(libc::EMFILE) => "too many fanotify groups are open; raise fs.fanotify.max_user_groups or stop other watchers",
            _ => "fanotify cannot be used",
        };
        Error::os(remedy, error)
    })
}

/// Marks the root's filesystem where its handles can be decoded, else the root alone (its
/// subdirectories are marked when they are walked).
///
/// # Errors
/// What makes the root unwatchable, in words.
pub(crate) fn mark(group: &Group, root: &OpenRoot, mask: u64) -> Result<MarkKind, String> {
    let Err(error) = group.mark_filesystem(mask, root.fd.as_fd(), c".") else {
        return Ok(MarkKind::Filesystem);
    };
    if matches!(error.raw_os_error(), Some(libc::EPERM | libc::ENOSPC)) {
        return Err(refusal(root, &error));
    }
    let marked = match root.nearest {
        // It is the directory above that the root will appear in.
        Some(_) => group.mark_step(STEP_MASK, root.fd.as_fd()),
        None => group.mark_dir(inode_mask(mask), root.fd.as_fd(), c"."),
    };
    match marked {
        Ok(()) => Ok(MarkKind::Inode),
        Err(error) => Err(refusal(root, &error)),
    }
}

/// FS_ERROR is told of whole filesystems only (fanotify_mark(2)).
pub(crate) fn inode_mask(mask: u64) -> u64 {
    mask & !u64::from(kind::FS_ERROR)
}

fn refusal(root: &OpenRoot, error: &io::Error) -> String {
    let why = match error.raw_os_error() {
        Some(libc::EPERM) => "needs the capability CAP_SYS_ADMIN",
        Some(libc::ENOSPC) => "too many marks; raise fs.fanotify.max_user_marks",
        Some(libc::EINVAL) => {
            "the kernel refuses these event types; fsmon needs Linux 5.17 or newer"
        }
        Some(libc::EOPNOTSUPP | libc::ENODEV | libc::EXDEV) => {
            "its filesystem has no file handles for fanotify; watch a directory on another one"
        }
        _ => "the kernel refuses the mark",
    };
    format!("cannot watch {} ({}): {why}: {error}", root.path.display(), root.fs_type)
}

/// Whether a root's filesystem id is not that of its whole filesystem (a btrfs subvolume), found
/// out with a group of its own: such marks do not mix with others (EXDEV,
/// fanotify_set_mark_fsid() in fs/notify/fanotify/fanotify_user.c; seen on 6.18).
fn stands_alone(root: &OpenRoot) -> bool {
    let Ok(scratch) = Group::new(true) else { return false };
    let marked = scratch.mark_filesystem(u64::from(kind::OPEN_EXEC), root.fd.as_fd(), c".");
    marked.is_err_and(|error| error.raw_os_error() == Some(libc::EXDEV))
}

/// Asks for OPEN_EXEC wherever executables can be, so that an exec can be placed between two file
/// events of its process. How many filesystems were marked, and whether that was all of them.
///
/// None where one of the roots is on a btrfs subvolume: the kernel does not mix its marks with
/// any others in one group.
pub(crate) fn mark_programs<'a>(
    group: &Group,
    mut roots: impl Iterator<Item = &'a OpenRoot>,
) -> (usize, OpenExec) {
    if roots.any(stands_alone) {
        return (0, OpenExec::None);
    }
    let mut seen = HashSet::new();
    let mounts = mounts::all();
    let candidates = mounts.iter().filter(|mount| {
        !WITHOUT_PROGRAMS.contains(&mount.fs_type.as_str()) && seen.insert(mount.device.as_str())
    });
    let here = |point: &std::path::Path| {
        let path = CString::new(point.as_os_str().as_bytes()).ok()?;
        let root = File::open("/").ok()?;
        group.mark_filesystem(u64::from(kind::OPEN_EXEC), root.as_fd(), &path).ok()
    };
    let marked: Vec<bool> = candidates.map(|mount| here(&mount.point).is_some()).collect();
    let count = marked.iter().filter(|marked| **marked).count();
    let extent = match count {
        0 => OpenExec::None,
        _ if count == marked.len() => OpenExec::All,
        _ => OpenExec::Some,
    };
    (count, extent)
}

//! The fanotify group and its marks: which kind works is found by trying.

use super::facts::Facts;
use super::mount_watch::Trial;
use super::mounts::{self, Mount, Slow};
use super::remedy::{Call, Cause, Refused};
use super::roots::OpenRoot;
use crate::hot::r#where::above::STEP_MASK;
use crate::hot::who::OpenExec;
use crate::plan::MarkKind;
use crate::sys::fanotify::Group;
use crate::sys::handle::{Handles, filesystem, open_absolute};
use crate::sys::mount::open_btrfs_top;
use crate::{Error, ErrorKind, Setting};
use fsmon_format::kind;
use std::collections::HashSet;
use std::ffi::CString;
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

/// Types that are always requested, because the tree is kept by them.
const TREE: u32 = kind::CREATE | kind::DELETE | kind::RENAME | kind::ONDIR;

/// Filesystems without executables: devices, and memory.
const WITHOUT_PROGRAMS: &[&str] = &["devtmpfs", "hugetlbfs"];

/// The mask to request, so that `types` can be shown. Types that RENAME covers are not requested again.
pub(crate) fn mask_for(types: u32) -> u64 {
    let asked = types & !(kind::MOVED_FROM | kind::MOVED_TO);
    u64::from(asked | TREE)
}

/// Makes the group.
///
/// # Errors
/// Without the privilege, on a kernel that is too old, or with too many groups.
pub(crate) fn group(bounded_queue: bool) -> Result<Group, Refused> {
    Group::new(bounded_queue).map_err(Refused::by(Call::FanotifyInit))
}

/// Marks the filesystem of the root if its handles can be decoded, or else the root alone (its subdirectories are
/// marked when they are walked). Returns which, and why.
///
/// # Errors
/// The reason why the root cannot be watched.
pub(crate) fn mark(
    group: &Group,
    root: &mut OpenRoot,
    mask: u64,
) -> Result<(MarkKind, String), Error> {
    let Err(error) = group.mark_filesystem(mask, root.fd.as_fd(), c".") else {
        return Ok((MarkKind::Filesystem, "its handles can be decoded".to_owned()));
    };
    let why = match error.raw_os_error() {
        // A mark on the directory would fail as well, or hide the cause.
        Some(
            libc::EPERM | libc::ENOSPC | libc::ENOMEM | libc::EMFILE | libc::ENFILE | libc::ENOSYS,
        ) => return Err(refusal(root, error)),
        Some(libc::EXDEV) => match mark_btrfs(group, root.mount.as_ref(), mask) {
            Ok(whole) => {
                root.fsid = whole;
                return Ok((MarkKind::Filesystem, "through the top of its btrfs".to_owned()));
            }
            Err(error) => {
                format!("it is a subvolume, and the top of its btrfs is not to be had: {error}")
            }
        },
        Some(libc::ENODEV) => "its filesystem has no id of its own".to_owned(),
        Some(libc::EOPNOTSUPP) => "its handles cannot be decoded".to_owned(),
        _ => error.to_string(),
    };
    let marked = match root.nearest {
        // The root will appear in the directory above it.
        Some(_) => group.mark_step(STEP_MASK, root.fd.as_fd()),
        None => group.mark_dir(inode_mask(mask), root.fd.as_fd(), c"."),
    };
    match marked {
        Ok(()) => Ok((MarkKind::Inode, why)),
        Err(error) => Err(refusal(root, error)),
    }
}

/// Marks a btrfs filesystem that is mounted at a subvolume. Through the subvolume the kernel refuses the mark
/// (EXDEV: it has its own id). But the mark on the filesystem is the same from wherever it is set, and through the
/// top directory it is allowed; events of all subvolumes then carry the id of the top (seen on 6.18). Returns that
/// id.
fn mark_btrfs(group: &Group, mount: Option<&Mount>, mask: u64) -> io::Result<u64> {
    let mount = mount.filter(|mount| mount.fs_type == "btrfs").ok_or(io::ErrorKind::NotFound)?;
    let source = CString::new(mount.source.as_bytes())?;
    let top = open_btrfs_top(&source, mount.read_only)?;
    group.mark_filesystem(mask, top.as_fd(), c".")?;
    filesystem(top.as_fd()).map(|(fsid, _)| fsid)
}

/// Marks the filesystem of a directory through that mount. Returns the id that its events carry.
///
/// # Errors
/// Those of [`Group::mark_filesystem`].
pub(crate) fn mark_whole(
    group: &Group,
    dir: BorrowedFd<'_>,
    mount: Option<&Mount>,
    mask: u64,
) -> io::Result<u64> {
    match group.mark_filesystem(mask, dir, c".") {
        Err(error) if error.raw_os_error() == Some(libc::EXDEV) => mark_btrfs(group, mount, mask),
        marked => marked.and_then(|()| filesystem(dir)).map(|(fsid, _)| fsid),
    }
}

/// FS_ERROR is reported for whole filesystems only (fanotify_mark(2)).
pub(crate) fn inode_mask(mask: u64) -> u64 {
    mask & !u64::from(kind::FS_ERROR)
}

fn refusal(root: &OpenRoot, error: io::Error) -> Error {
    let cause;
    let (mut kind, mut setting) = (ErrorKind::Unsupported, None);
    let why = match error.raw_os_error() {
        Some(libc::EXDEV) => {
            setting = Some(Setting::Roots);
            "the kernel does not watch its filesystem beside others; watch what it is mounted from, \
             or give it a reader of its own"
        }
        // Seen on 5.10, to which everything else needed was backported.
        Some(libc::ENODEV) if matches!(root.fs_type.as_str(), "tmpfs" | "rootfs") => {
            "such a filesystem has an id from Linux 5.13 on; run a newer kernel, or watch a \
             directory on another filesystem"
        }
        Some(libc::ENODEV) => {
            "its filesystem has no id, and fanotify takes such from Linux 6.8 on; watch the files \
             where they are kept, such as on the server"
        }
        Some(libc::EOPNOTSUPP) => {
            "its filesystem has no file handles for fanotify; watch the files where they are kept, \
             such as on the server, or a directory on another filesystem"
        }
        _ => {
            let found = Cause::of(Call::FanotifyMark, &error, &Facts::read());
            kind = found.kind(&error);
            cause = found.to_string();
            &cause
        }
    };
    let what = format!("cannot watch {} ({}): {why}", root.path.display(), root.fs_type);
    let error = Error::os(what, error).with_kind(kind);
    match setting {
        Some(setting) => error.about(setting),
        None => error,
    }
}

/// Whether the filesystem of a root cannot be marked as a whole because of its id: it has none (FUSE), or is a
/// btrfs subvolume whose top cannot be opened. Tried with a separate group, as such marks do not mix with others
/// (EXDEV, fanotify_set_mark_fsid() in fs/notify/fanotify/fanotify_user.c; seen on 6.18).
pub(crate) fn stands_alone(root: &OpenRoot) -> bool {
    let Ok(scratch) = Group::new(true) else { return false };
    let mask = u64::from(kind::OPEN_EXEC);
    let Err(error) = scratch.mark_filesystem(mask, root.fd.as_fd(), c".") else { return false };
    match error.raw_os_error() {
        Some(libc::EXDEV) => mark_btrfs(&scratch, root.mount.as_ref(), mask).is_err(),
        Some(libc::ENODEV) => true,
        _ => false,
    }
}

/// Tries whether a mount on a directory can be watched together with others, with separate groups.
///
/// # Errors
/// Those of [`group`].
pub(crate) fn trial() -> Result<Trial, Refused> {
    let scratch = group(true)?;
    Ok(Box::new(move |point| try_mark(&scratch, point).ok()))
}

fn try_mark(scratch: &Group, point: &Path) -> io::Result<u64> {
    let mask = u64::from(kind::OPEN_EXEC);
    let dir = open_absolute(&CString::new(point.as_os_str().as_bytes())?)?;
    Handles::probe(dir.as_fd())?;
    match scratch.mark_filesystem(mask, dir.as_fd(), c".") {
        // Each of its directories gets a mark.
        Err(error) if error.raw_os_error() == Some(libc::EOPNOTSUPP) => {
            Group::new(true)?.mark_dir(mask, dir.as_fd(), c".")?;
        }
        marked => marked.and_then(|()| scratch.unmark_filesystem(mask, dir.as_fd()))?,
    }
    filesystem(dir.as_fd()).map(|(fsid, _)| fsid)
}

/// Requests OPEN_EXEC wherever executables can be, so that an exec can be ordered between two file events of its
/// process. Returns how many filesystems were marked, and whether those were all.
///
/// `None` if one of the roots cannot be combined with others: the kernel does not mix its marks with any others in
/// one group.
pub(crate) fn mark_programs<'a>(
    group: &Group,
    mut roots: impl Iterator<Item = &'a OpenRoot>,
) -> (usize, OpenExec) {
    if roots.any(stands_alone) {
        return (0, OpenExec::None);
    }
    let (mounts, filesystems) = with_programs(&mounts::all());
    let mask = u64::from(kind::OPEN_EXEC);
    let here = |mount: &Mount| {
        let path = CString::new(mount.point.as_os_str().as_bytes()).ok()?;
        let root = File::open("/").ok()?;
        let marked = group.mark_filesystem(mask, root.as_fd(), &path);
        marked.or_else(|_| mark_btrfs(group, Some(mount), mask).map(drop)).ok()
    };
    let count = mounts.iter().filter(|mount| here(mount).is_some()).count();
    let extent = match count {
        0 => OpenExec::None,
        _ if count == filesystems => OpenExec::All,
        _ => OpenExec::Some,
    };
    (count, extent)
}

/// A mount of each filesystem on which executables can be, and the number of all of these filesystems. Left out are
/// filesystems that may not answer, and mounts that are not reachable.
fn with_programs(mounts: &[Mount]) -> (Vec<Mount>, usize) {
    let holds_programs =
        |mount: &Mount| mount.has_files() && !WITHOUT_PROGRAMS.contains(&mount.fs_type.as_str());
    let all = mounts.iter().filter(|mount| holds_programs(mount));
    let mut all: HashSet<&str> = all.map(|mount| mount.device.as_str()).collect();
    let count = all.len();
    let (reachable, _) = mounts::reachable_and_ids(mounts.to_vec());
    let slow = Slow::of(&reachable);
    let answers =
        |mount: &Mount| !mount.may_hang() && !slow.is_between(Path::new("/"), &mount.point);
    let found = reachable.iter().filter(|mount| holds_programs(mount) && answers(mount));
    let found = found.filter(|mount| all.remove(mount.device.as_str())).cloned().collect();
    (found, count)
}

#[cfg(test)]
mod tests {
    use super::super::mounts::tests::mount;
    use super::*;

    #[test]
    fn a_directory_can_be_watched_and_a_file_cannot() {
        let Ok(mut trial) = trial() else {
            return eprintln!("SKIP: no fanotify group is to be had");
        };
        let (dir, file) = (tempfile::tempdir(), tempfile::NamedTempFile::new());
        let (dir, file) = (dir.expect("a directory"), file.expect("a file"));
        assert!(trial(dir.path()).is_some() && trial(dir.path()).is_some());
        assert_eq!((trial(file.path()), trial(Path::new("/proc/self"))), (None, None));
    }

    #[test]
    fn programs_are_looked_for_where_files_are_and_answers_come() {
        let mounts = [
            mount(1, 0, "ext4", "/"),
            mount(2, 1, "proc", "/proc"),
            mount(3, 1, "devtmpfs", "/dev"),
            mount(4, 1, "ext4", "/again"),
            mount(5, 1, "xfs", "/home"),
            mount(6, 1, "nfs4", "/net"),
            mount(7, 6, "tmpfs", "/net/tmp"),
            // What it hides can be asked through another mount.
            mount(8, 5, "fuse.x", "/home"),
            mount(9, 1, "xfs", "/other"),
        ];
        let (found, count) = with_programs(&mounts);
        let ids: Vec<_> = found.iter().map(|mount| mount.id).collect();
        assert_eq!((ids, count), (vec![1, 9], 5));
    }
}

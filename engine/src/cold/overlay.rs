//! Marks the filesystem of the upper layer of an overlay, if that is possible.
//! docs/decisions/overlay-upper-layer.md describes why.

use super::marks;
use super::mounts::{self, Mount, Slow};
use super::roots::OpenRoot;
use crate::hot::r#where::overlay::Layer;
use crate::limits::start::FREE_BLOCKS_LOOKS;
use crate::sys::fanotify::Group;
use crate::sys::handle::{Handle, Handles, filesystem, filesystem_sizes};
use crate::sys::overlay::{Origin, Wrapping};
use arrayvec::ArrayVec;
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

/// An upper layer whose filesystem is marked.
pub(crate) struct Upper {
    pub(crate) layer: Layer<OwnedFd>,
    /// The path of the root, relative to the top of the overlay.
    pub(crate) base: PathBuf,
    /// The path of the upper layer (`upperdir`), and the type of its filesystem.
    pub(crate) path: PathBuf,
    pub(crate) fs_type: String,
}

/// Marks the filesystem of the upper layer of the overlay that a root is on. `None` if the root is not on an overlay,
/// or on an overlay without an upper layer, which is read-only.
///
/// # Errors
/// The reason why fsmon cannot use the upper layer, in words.
pub(crate) fn hear(
    group: &Group,
    root: &OpenRoot,
    mounts: &[Mount],
    mask: u64,
) -> Option<Result<Upper, String>> {
    let mount = root.mount.as_ref().filter(|mount| mount.fs_type == "overlay")?;
    if mount.upper.as_os_str().is_empty() {
        return None;
    }
    Some(hear_mount(group, root, mount, mounts, mask))
}

fn hear_mount(
    group: &Group,
    root: &OpenRoot,
    mount: &Mount,
    mounts: &[Mount],
    mask: u64,
) -> Result<Upper, String> {
    let path = &mount.upper;
    let shown = path.display();
    if !path.is_absolute() {
        return Err(format!(
            "its mount options call that {shown}, relative to an unknown directory"
        ));
    }
    if may_move_directories(mount) {
        return Err("directories of lower layers can be renamed on it (redirect_dir=on)".to_owned());
    }
    let answers = |path: &Path| !Slow::of(mounts).is_between(Path::new("/"), path);
    if !answers(path) {
        return Err(format!("{shown} is on a filesystem that may not answer"));
    }
    let cannot = |error| format!("{shown} cannot be opened: {error}");
    let dir = open(path).map_err(cannot)?;
    if filesystem(dir.as_fd()).map_err(cannot)?.0 == root.fsid {
        return Err("the overlay has the id of that filesystem (uuid=null)".to_owned());
    }
    let handles = Handles::probe(dir.as_fd()).map_err(cannot)?;
    let (upper, _) = handles.of_fd(dir.as_fd()).map_err(cannot)?;
    let (top, top_fd) = top_of(root, mount, mounts)
        .ok_or_else(|| "the top of the overlay is not mounted here".to_owned())?;
    let wrapping = Wrapping::of_root(&top, &upper)
        .filter(|_| is_of(&top_fd, &dir))
        .ok_or_else(|| format!("{shown} is another directory here"))?;
    let points = mounts::Points::of(mounts);
    let beneath = path.canonicalize().ok().and_then(|path| points.mount_of(&path));
    let base = mount.place_of(root.nearest.as_deref().unwrap_or(&root.path));
    let missing = root.nearest.as_ref().and_then(|near| root.path.strip_prefix(near).ok());
    let base = missing.map_or_else(|| base.clone(), |missing| base.join(missing));
    let mut work = ArrayVec::new();
    let work_dir = open_work(mount, answers)?;
    let is_beside = |(fsid, _)| filesystem(dir.as_fd()).is_ok_and(|(upper, _)| upper == fsid);
    if !filesystem(work_dir.as_fd()).is_ok_and(is_beside) {
        return Err(format!("{} is another directory here", mount.work.display()));
    }
    for name in [c"work", c"index"] {
        // `index` exists only with the mount option `index=on`.
        work.extend(handles.of_entry(work_dir.as_fd(), name).ok().map(|(handle, _)| handle));
    }
    if work.is_empty() {
        return Err(format!("{} is another directory here", mount.work.display()));
    }
    let origin = if mount.user_attributes { Origin::User } else { Origin::Trusted };
    // The mark comes last, because it would stay if a later step failed: the kernel would then queue events that fsmon
    // does not use.
    let upper_fsid = marks::mark_whole(group, dir.as_fd(), beneath, mask)
        .map_err(|error| format!("the filesystem of {shown} cannot be marked: {error}"))?;
    Ok(Upper {
        layer: Layer { fsid: root.fsid, upper_fsid, wrapping, origin, dir, work },
        base: base.strip_prefix("/").map_or_else(|_| base.clone(), Path::to_owned),
        path: path.clone(),
        fs_type: beneath.map_or("unknown", |mount| &mount.fs_type).to_owned(),
    })
}

/// Whether directories that have a lower layer can be renamed. After a rename, such a directory could be in a directory
/// that is heard by the upper layer, which knows it by another handle.
fn may_move_directories(mount: &Mount) -> bool {
    // The options of a mount do not include a default (`ovl_show_options()` in fs/overlayfs/params.c).
    match mount.redirect_dir.to_str() {
        Some("") => std::fs::read_to_string("/sys/module/overlay/parameters/redirect_dir")
            .map_or(true, |default| default.trim() != "N"),
        redirect => redirect == Some("on"),
    }
}

/// Opens the directory in which overlayfs prepares changes (`workdir`).
fn open_work(mount: &Mount, answers: impl Fn(&Path) -> bool) -> Result<OwnedFd, String> {
    let path = &mount.work;
    if !path.is_absolute() || !answers(path) {
        return Err(format!("{}, where overlayfs works, cannot be looked for", path.display()));
    }
    open(path).map_err(|error| format!("{} cannot be opened: {error}", path.display()))
}

/// Opens a directory.
fn open(path: &Path) -> io::Result<OwnedFd> {
    // `O_DIRECTORY`, because the owner of the path may have replaced the directory, for example by a FIFO.
    let dir = File::options().read(true).custom_flags(libc::O_DIRECTORY).open(path)?;
    Ok(dir.into())
}

/// The handle of the overlay's top directory, and the open directory.
fn top_of(root: &OpenRoot, mount: &Mount, mounts: &[Mount]) -> Option<(Handle, OwnedFd)> {
    let is_top = |other: &&Mount| other.device == mount.device && other.is_whole();
    let here = [mount].into_iter().chain(mounts).filter(is_top);
    here.filter_map(|top| {
        let fd = open(&top.point).ok()?;
        // Another filesystem may be mounted there by now.
        let (fsid, _) = filesystem(fd.as_fd()).ok()?;
        let (handle, _) = root.handles.of_fd(fd.as_fd()).ok()?;
        (fsid == root.fsid).then_some((handle, fd))
    })
    .next()
}

/// Whether a directory seems to be on the filesystem of an overlay's upper layer. An overlay reports the sizes of that
/// filesystem as its own (`ovl_statfs()` in fs/overlayfs/super.c). A comparison of handles is not enough: on many
/// filesystems the top directories have the same handle. Free blocks can change between two calls, so this
/// compares several times.
fn is_of(overlay: &OwnedFd, upper: &OwnedFd) -> bool {
    let sizes = |fd: &OwnedFd| filesystem_sizes(fd.as_fd()).ok();
    (0..FREE_BLOCKS_LOOKS).any(|_| {
        let before = sizes(overlay);
        before.is_some() && before == sizes(upper)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cold::{mounts::tests::mount, roots};

    #[test]
    fn only_an_overlay_has_an_upper_layer_and_a_refusal_gives_the_reason() {
        let Ok(group) = Group::new(true) else {
            return eprintln!("SKIP: cannot make a fanotify group");
        };
        let dir = tempfile::tempdir().expect("a directory");
        let mut root = roots::open(dir.path(), &[]).unwrap_or_else(|error| panic!("{error}"));
        assert!(hear(&group, &root, &[], 8).is_none());
        let of = |upper: PathBuf| Mount { upper, ..mount(1, 0, "overlay", "/") };
        root.mount = Some(of(PathBuf::new()));
        assert!(hear(&group, &root, &[], 8).is_none());
        let mut why = |upper: PathBuf| {
            root.mount = Some(of(upper));
            hear(&group, &root, &[], 8).and_then(Result::err).expect("an overlay, and refused")
        };
        assert!(why("up".into()).contains("relative"));
        assert!(why("/no/such".into()).contains("cannot be opened"));
        assert!(why(dir.path().to_owned()).contains("has the id of that filesystem"));
    }
}

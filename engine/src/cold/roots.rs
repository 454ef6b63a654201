//! The watched roots: found and opened. Roots inside others are left to them.
//!
//! A root is a path. If nothing is there yet, the nearest directory above it stands in: the root will be on its
//! filesystem.

use super::below::{Places, Span, below, is_left_out};
use super::containers::Containers;
use super::host::descriptors_needed;
use super::mounts::{self, Mount, Points};
use super::remedy::{Call, refused};
use crate::config::{SkipDir, Skips};
use crate::hot::r#where::above::Reached;
use crate::limits::walks::FILESYSTEMS_MAX;
use crate::sys::handle::{Handle, Handles, filesystem};
use crate::sys::limit::raise_descriptors;
use crate::{Error, ErrorKind, Message, Setting};
use std::collections::HashSet;
use std::ffi::OsStr;
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Component, Path, PathBuf};

/// A root that is open, or the nearest directory above it.
pub(crate) struct OpenRoot {
    /// Absolute, without symbolic links.
    pub(crate) path: PathBuf,
    /// Absolute, as the user named it: lines have this path.
    pub(crate) named: PathBuf,
    /// Whether all of it is watched as part of another root, while its path leads there.
    pub(crate) is_within: bool,
    /// Whether it is a mount below a root that the user named.
    pub(crate) is_followed: bool,
    /// What is open if the root does not exist yet.
    pub(crate) nearest: Option<PathBuf>,
    pub(crate) fd: OwnedFd,
    pub(crate) handles: Handles,
    pub(crate) handle: Handle,
    pub(crate) mount_id: i32,
    /// The id that events of its filesystem carry.
    pub(crate) fsid: u64,
    pub(crate) fs_type: String,
    /// The mount, if it was found.
    pub(crate) mount: Option<Mount>,
}

impl OpenRoot {
    /// What is open.
    pub(crate) fn reached(self) -> Reached<OwnedFd> {
        let OpenRoot { fd, handle, handles, mount_id, fsid, .. } = self;
        Reached { fd, handle, handles, mount_id, fsid }
    }
}

/// Opens every root, in the order given. Roots below another one are dropped if everything below that is watched
/// anyway. A root inside an excluded directory is kept: the user named it.
///
/// # Errors
/// A path that is not a directory, or cannot be read; a filesystem without handles.
pub(crate) fn open_all(
    paths: &[PathBuf],
    recursive: bool,
    mut skip: Option<&mut SkipDir>,
) -> Result<Vec<OpenRoot>, Error> {
    let mounts = mounts::reachable();
    let mounts = Points::of(&mounts);
    let mut roots: Vec<OpenRoot> = Vec::new();
    for path in paths {
        let mut root = open_on(path, &mounts)?;
        let mut covers = |outer: &OpenRoot, inner: &OpenRoot| {
            inner.path == outer.path
                || recursive
                    && inner.path.starts_with(&outer.path)
                    && inner.mount_id == outer.mount_id
                    && !skip
                        .as_mut()
                        .is_some_and(|skip| is_left_out(&mut skip.skips, &outer.path, &inner.path))
        };
        let is_known = |known: &OpenRoot| known.named == root.named;
        if roots.iter().any(is_known) {
            continue;
        }
        // A path through a symbolic link may lead elsewhere later.
        root.is_within = roots.iter().any(|known| !known.is_within && covers(known, &root));
        if root.is_within && root.named == root.path {
            continue;
        }
        for known in roots.iter_mut().filter(|known| !root.is_within && covers(&root, known)) {
            known.is_within = true;
        }
        roots.push(root);
        roots.retain(|known| !known.is_within || known.named != known.path);
    }
    Ok(roots)
}

/// Opens mounts below the roots that can be followed, as roots of their own. A mount that cannot be opened is
/// reported as not watched. Returns the number of filesystems that were left out because there is no room for more.
pub(crate) fn open_mounts(
    opened: &mut Vec<OpenRoot>,
    elsewhere: &[PathBuf],
    skips: &mut Option<Skips>,
) -> usize {
    let reachable = mounts::reachable();
    let points = Points::of(&reachable);
    let spans: Vec<_> = opened.iter().filter_map(|root| Span::new(&points, &root.path)).collect();
    let mut places = Places::of(&spans);
    let found = below(&reachable, &spans, elsewhere, skips);
    raise_descriptors(descriptors_needed(opened.len() + found.len()));
    let mut filesystems: HashSet<u64> = opened.iter().map(|root| root.fsid).collect();
    let mut left = HashSet::new();
    let mut containers = Containers::default();
    for mount in found.iter().filter(|mount| mount.can_be_followed(&mut containers)) {
        let Some(span) = Span::new(&points, &mount.point) else { continue };
        if places.have(&span) {
            continue;
        }
        let Ok(root) = open_on(&mount.point, &points) else { continue };
        if filesystems.len() >= FILESYSTEMS_MAX && !filesystems.contains(&root.fsid) {
            left.insert(root.fsid);
            continue;
        }
        filesystems.insert(root.fsid);
        opened.push(OpenRoot { is_followed: true, ..root });
        places.put(&span);
    }
    left.len()
}

/// The error for a root that is not a directory: names the one to watch instead. Links are followed, as what is done to
/// a file shows where it is, not where a link to it is.
#[must_use]
pub fn not_a_directory(path: &Path) -> Error {
    let real = path.canonicalize().unwrap_or_else(|_| path.to_owned());
    let (dir, name) = (real.parent().unwrap_or(Path::new("/")), real.file_name());
    let line = format!("{} is not a directory; watch {} with ", path.display(), dir.display());
    let name = format!(" {}", name.unwrap_or_default().display());
    let line = Message::from(line).and(Setting::Include).and(name);
    Error::invalid(line).about(Setting::Roots)
}

/// Opens one.
#[cfg(any(test, feature = "internals"))]
pub(crate) fn open(path: &Path, mounts: &[Mount]) -> Result<OpenRoot, Error> {
    open_on(path, &Points::of(mounts))
}

/// Opens one of several.
pub(crate) fn open_on(path: &Path, mounts: &Points<'_>) -> Result<OpenRoot, Error> {
    let shown = path.display();
    let (real, nearest) = locate(path)?;
    let at = nearest.as_deref().unwrap_or(&real);
    if !at.is_dir() {
        return Err(match &nearest {
            None => not_a_directory(path),
            Some(file) => Error::invalid(format!(
                "cannot watch {shown}: {} is not a directory; name another path",
                file.display()
            )),
        });
    }
    let mount = mounts.mount_of(at);
    if let Some(mount) = mount.filter(|mount| mount.is_made_by_the_kernel()) {
        return Err(Error::new(
            ErrorKind::Unsupported,
            format!(
                "cannot watch {shown}: what is in {} is made by the kernel, which reports little to fanotify \
             of it; watch files on a disk, tmpfs or the like",
                mount.fs_type
            ),
        ));
    }
    let cannot =
        |error| refused(format_args!("cannot open {}", at.display()), Call::Directory, error);
    let fd = OwnedFd::from(File::open(at).map_err(cannot)?);
    let (fsid, _) = filesystem(fd.as_fd()).map_err(cannot)?;
    let fs_type = mount.map_or("unknown", |mount| &mount.fs_type).to_owned();
    let no_handles = |error: io::Error| match error.raw_os_error() {
        Some(libc::EOPNOTSUPP | libc::EOVERFLOW) => Error::os(
            format!(
                "cannot watch {shown}: {fs_type} gives no file handles, which fanotify needs \
                 (overlayfs and the like do from Linux 6.5 on); watch another filesystem"
            ),
            error,
        ),
        _ => refused(format_args!("cannot watch {shown}"), Call::Handle, error),
    };
    let handles = Handles::probe(fd.as_fd()).map_err(no_handles)?;
    let (handle, mount_id) = handles.of_fd(fd.as_fd()).map_err(no_handles)?;
    Ok(OpenRoot {
        path: real,
        named: named(path),
        is_within: false,
        is_followed: false,
        nearest,
        fd,
        handles,
        handle,
        mount_id,
        fsid,
        fs_type,
        mount: mount.cloned(),
    })
}

/// The absolute path as given, but resolved up to its last `..`: that is where the path leads now.
pub(crate) fn named(path: &Path) -> PathBuf {
    let absolute = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    let is_up = |part: Component<'_>| part == Component::ParentDir;
    let after_last = match absolute.components().rev().position(is_up) {
        Some(count) => absolute.components().count() - count,
        None => return absolute,
    };
    let to: PathBuf = absolute.components().take(after_last).collect();
    let rest: PathBuf = absolute.components().skip(after_last).collect();
    to.canonicalize().map_or(absolute, |to| to.join(rest))
}

/// The absolute path without symbolic links, and the nearest directory above it if nothing is there yet.
fn locate(path: &Path) -> Result<(PathBuf, Option<PathBuf>), Error> {
    let shown = path.display();
    let mut missing: Vec<&OsStr> = Vec::new();
    let mut at = path;
    loop {
        let found = if at.as_os_str().is_empty() { Path::new(".") } else { at }.canonicalize();
        let error = match found {
            Ok(nearest) => {
                let real = missing.iter().rev().fold(nearest.clone(), |path, name| path.join(name));
                return Ok((real, (!missing.is_empty()).then_some(nearest)));
            }
            Err(error) => error,
        };
        // If there is a file on the way, the caller that looks at the nearest directory reports it.
        if !matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) {
            let what = format_args!("cannot watch {shown}");
            return Err(refused(what, Call::Directory, error));
        }
        if at.is_symlink() {
            return Err(Error::new(
                ErrorKind::NotFound,
                format!(
                    "cannot watch {shown}: {} is a symbolic link to what does not exist; name what it \
                 is to lead to",
                    at.display()
                ),
            ));
        }
        let (Some(name), Some(parent)) = (at.file_name(), at.parent()) else {
            return Err(Error::new(
                ErrorKind::NotFound,
                format!(
                    "cannot watch {shown}: it does not exist and has .. in it; name it without"
                ),
            ));
        };
        missing.push(name);
        at = parent;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn roots_inside_others_are_left_to_them() {
        let dir = tempfile::tempdir().expect("a directory");
        let inner = dir.path().join("a/b");
        std::fs::create_dir_all(&inner).expect("made");
        let paths = [inner.clone(), dir.path().to_owned(), dir.path().join("a")];
        let count = |recursive| open_all(&paths, recursive, None).map(|roots| roots.len()).ok();
        assert_eq!((count(true), count(false)), (Some(1), Some(3)));
    }

    #[test]
    fn roots_inside_what_is_left_out_are_roots_of_their_own() {
        let dir = tempfile::tempdir().expect("a directory");
        let real = dir.path().canonicalize().expect("it is there");
        let [inner, kept] = ["out/in", "kept/in"].map(|name| real.join(name));
        for dir in [&inner, &kept] {
            std::fs::create_dir_all(dir).expect("made");
        }
        let skips = |path: &[u8]| path == b"out";
        let mut skip = SkipDir { skips: Box::new(skips), by_path: true };
        for paths in [[&real, &inner, &kept], [&inner, &kept, &real]] {
            let paths = paths.map(Clone::clone);
            let roots = open_all(&paths, true, Some(&mut skip)).unwrap_or_else(|e| panic!("{e}"));
            let mut paths: Vec<_> = roots.into_iter().map(|root| root.path).collect();
            paths.sort();
            assert_eq!(paths, [real.clone(), inner.clone()]);
        }
    }

    #[test]
    fn a_file_is_watched_through_its_directory() {
        let dir = tempfile::tempdir().expect("a directory");
        let real = dir.path().canonicalize().expect("it is there");
        std::fs::write(real.join("f"), "").expect("written");
        let link = real.join("link");
        std::os::unix::fs::symlink("f", &link).expect("made");
        for path in [&real.join("f"), &link] {
            let line = not_a_directory(path).line(|setting| match setting {
                Setting::Include => "--include",
                _ => "?",
            });
            let (path, dir) = (path.display(), real.display());
            let remedy = format!("watch {dir} with --include f");
            assert_eq!(line, format!("{path} is not a directory; {remedy}"));
        }
    }

    #[test]
    fn what_is_no_directory_is_refused_with_a_remedy() {
        let file = tempfile::NamedTempFile::new().expect("a file");
        let error = open_all(&[file.path().to_owned()], true, None).err().expect("refused");
        assert_eq!(error, not_a_directory(file.path()));
        let below = file.path().join("below");
        let error = open_all(&[below], true, None).err().expect("refused");
        assert!(error.to_string().contains("cannot watch "));
        let error = open_all(&["/no/such/../place".into()], true, None).err().expect("refused");
        assert!(error.to_string().contains("name it without"));
        let dir = tempfile::tempdir().expect("a directory");
        std::os::unix::fs::symlink("/no/such/place", dir.path().join("link")).expect("made");
        let error = open_all(&[dir.path().join("link")], true, None).err().expect("refused");
        assert!(error.to_string().contains("is a symbolic link"));
    }

    #[test]
    fn what_does_not_exist_yet_is_found_from_above() {
        let dir = tempfile::tempdir().expect("a directory");
        let real = dir.path().canonicalize().expect("it is there");
        let root = open(&dir.path().join("a/b"), &[]).unwrap_or_else(|error| panic!("{error}"));
        assert_eq!((root.path, root.nearest), (real.join("a/b"), Some(real.clone())));
        // One that will be within another is left to it.
        let both = [dir.path().join("a/b"), dir.path().to_owned()];
        let roots = open_all(&both, true, None).unwrap_or_else(|error| panic!("{error}"));
        assert_eq!(roots.iter().map(|root| &root.path).collect::<Vec<_>>(), [&real]);
    }
}

//! The watched roots: found, opened, and those inside others left to them.

use super::mounts::{self, Mount};
use crate::error::Error;
use crate::sys::handle::{Handle, Handles, filesystem};
use std::fs::File;
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};

/// A root that exists and is open.
pub(crate) struct OpenRoot {
    /// Absolute, without symbolic links.
    pub(crate) path: PathBuf,
    pub(crate) fd: OwnedFd,
    pub(crate) handles: Handles,
    pub(crate) handle: Handle,
    pub(crate) mount_id: i32,
    pub(crate) fsid: u64,
    pub(crate) fs_type: String,
}

/// Opens every root, in the order given; those below another are dropped when everything below
/// is watched anyway.
///
/// # Errors
/// A path that does not exist, is no directory, or cannot be read; a filesystem without handles.
pub(crate) fn open_all(paths: &[PathBuf], recursive: bool) -> Result<Vec<OpenRoot>, Error> {
    let mounts = mounts::all();
    let mut roots: Vec<OpenRoot> = Vec::new();
    for path in paths {
        let root = open(path, &mounts)?;
        let covers = |outer: &OpenRoot, inner: &OpenRoot| {
            inner.path == outer.path
                || recursive
                    && inner.path.starts_with(&outer.path)
                    && inner.mount_id == outer.mount_id
        };
        if roots.iter().any(|known| covers(known, &root)) {
            continue;
        }
        roots.retain(|known| !covers(&root, known));
        roots.push(root);
    }
    if roots.is_empty() {
        return Err(Error::new("no directory to watch was named"));
    }
    Ok(roots)
}

/// Opens one.
pub(crate) fn open(path: &Path, mounts: &[Mount]) -> Result<OpenRoot, Error> {
    let shown = path.display();
    let real = path.canonicalize().map_err(|error| match error.kind() {
        std::io::ErrorKind::NotFound => {
            Error::new(format!("{shown} does not exist; create it first or name another directory"))
        }
        _ => Error::os(format!("cannot watch {shown}"), error),
    })?;
    if !real.is_dir() {
        let parent = real.parent().unwrap_or(Path::new("/")).display();
        return Err(Error::new(format!(
            "{shown} is not a directory; watch {parent} with --include for that name"
        )));
    }
    let cannot = |error| Error::os(format!("cannot open {shown}"), error);
    let fd = OwnedFd::from(File::open(&real).map_err(cannot)?);
    let (fsid, _) = filesystem(fd.as_fd()).map_err(cannot)?;
    let fs_type = mounts::of(mounts, &real).map_or("unknown", |mount| &mount.fs_type).to_owned();
    let no_handles = |error| {
        Error::os(
            format!(
                "cannot watch {shown}: {fs_type} gives no file handles, which fanotify needs \
                 (overlayfs and the like do from Linux 6.5 on); watch another filesystem"
            ),
            error,
        )
    };
    let handles = Handles::probe(fd.as_fd()).map_err(no_handles)?;
    let (handle, mount_id) = handles.of_fd(fd.as_fd()).map_err(no_handles)?;
    Ok(OpenRoot { path: real, fd, handles, handle, mount_id, fsid, fs_type })
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
        let count = |recursive| open_all(&paths, recursive).map(|roots| roots.len()).ok();
        assert_eq!((count(true), count(false)), (Some(1), Some(3)));
    }

    #[test]
    fn what_is_no_directory_is_refused_with_a_remedy() {
        let file = tempfile::NamedTempFile::new().expect("a file");
        let error = open_all(&[file.path().to_owned()], true).err().expect("refused");
        assert!(error.to_string().contains("is not a directory; watch "));
        let error = open_all(&["/no/such/place".into()], true).err().expect("refused");
        assert!(error.to_string().contains("does not exist"));
    }
}

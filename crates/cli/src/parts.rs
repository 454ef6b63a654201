//! Which reader watches which directories.

use crate::args::WatchArgs;
use fsmon_engine::{Error, not_a_directory};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// The paths as given, or the current directory.
pub(crate) fn roots(paths: &[PathBuf]) -> Vec<PathBuf> {
    if paths.is_empty() { vec![PathBuf::from(".")] } else { paths.to_vec() }
}

/// The directories of each reader: one reader for all, or one for each filesystem.
///
/// # Errors
/// A path is no directory.
pub(crate) fn parts(args: &WatchArgs) -> Result<Vec<Vec<PathBuf>>, Error> {
    let roots = existing(roots(&args.paths))?;
    if !args.engine.per_filesystem {
        return Ok(vec![roots]);
    }
    let mut parts: Vec<(Option<u64>, Vec<PathBuf>)> = Vec::new();
    for root in roots {
        let filesystem = filesystem(&root);
        match parts.iter_mut().find(|(known, _)| *known == filesystem) {
            Some((_, part)) => part.push(root),
            None => parts.push((filesystem, vec![root])),
        }
    }
    Ok(parts.into_iter().map(|(_, part)| part).collect())
}

/// The filesystem of a directory, or of its nearest ancestor that exists.
fn filesystem(root: &Path) -> Option<u64> {
    let root = std::path::absolute(root).ok()?;
    root.ancestors().find_map(|path| path.metadata().ok()).map(|data| data.dev())
}

/// Refuses files early. Paths that do not exist are allowed: they may appear later.
fn existing(roots: Vec<PathBuf>) -> Result<Vec<PathBuf>, Error> {
    for root in &roots {
        match root.metadata() {
            Ok(data) if data.is_dir() => {}
            Err(error)
                if matches!(
                    error.kind(),
                    io::ErrorKind::NotFound | io::ErrorKind::NotADirectory
                ) => {}
            Ok(_) => return Err(not_a_directory(root)),
            Err(error) => {
                let what = format!("cannot watch {}; name another directory", root.display());
                return Err(Error::os(what, error));
            }
        }
    }
    Ok(roots)
}

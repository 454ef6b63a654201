//! Which directories are watched by which reader.

use crate::args::WatchArgs;
use fsmon_engine::Error;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// The paths as given, or the current directory.
pub(crate) fn roots(paths: &[PathBuf]) -> Vec<PathBuf> {
    if paths.is_empty() { vec![PathBuf::from(".")] } else { paths.to_vec() }
}

/// The directories of each reader: all for one, or a reader for each filesystem.
///
/// # Errors
/// What is no directory.
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

/// Where a directory is, or where it is going to be.
fn filesystem(root: &Path) -> Option<u64> {
    let root = std::path::absolute(root).ok()?;
    root.ancestors().find_map(|path| path.metadata().ok()).map(|data| data.dev())
}

/// Files are refused before anything is begun; what does not exist may come to be.
fn existing(roots: Vec<PathBuf>) -> Result<Vec<PathBuf>, Error> {
    for root in &roots {
        let name = root.display();
        match root.metadata() {
            Ok(data) if data.is_dir() => {}
            Err(error)
                if matches!(
                    error.kind(),
                    io::ErrorKind::NotFound | io::ErrorKind::NotADirectory
                ) => {}
            Ok(_) => {
                return Err(Error::invalid(format!(
                    "{name} is not a directory; watch the one it is in, with --include for it"
                )));
            }
            Err(error) => {
                let what = format!("cannot watch {name}; name another directory");
                return Err(Error::os(what, error));
            }
        }
    }
    Ok(roots)
}

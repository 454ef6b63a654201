//! The watched directories, as patterns with absolute paths need them.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

/// The roots of a watch or of streams.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Roots {
    known: Vec<Root>,
    /// There are others of which nothing is known.
    more: bool,
    /// They are watched here and now: the filesystem can be asked what leads to them.
    of_this_host: bool,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Root {
    /// As records have it: absolute, without symbolic links.
    path: PathBuf,
    /// Absolute, as it was given.
    given: PathBuf,
}

impl Roots {
    /// Of a watch on this host, as they were given.
    pub fn of_paths<'a>(paths: impl IntoIterator<Item = &'a PathBuf>) -> Self {
        let root = |given: &PathBuf| {
            let given = std::path::absolute(given).ok()?;
            Some(Root { path: real(&given), given })
        };
        let known = paths.into_iter().filter_map(root).collect();
        Roots { known, more: false, of_this_host: true }
    }

    /// Adds those of a stream; whether there is anything new. `more` says that it has others.
    pub fn add(&mut self, paths: &[Vec<u8>], more: bool) -> bool {
        let before = self.known.len();
        for path in paths.iter().map(|path| PathBuf::from(OsStr::from_bytes(path))) {
            if self.known.iter().all(|known| known.path != path) {
                self.known.push(Root { given: path.clone(), path });
            }
        }
        self.more |= more;
        self.known.len() > before
    }

    /// Whether all there are are known.
    pub(crate) fn all_known(&self) -> bool {
        !self.known.is_empty() && !self.more
    }

    /// Whether this host can be asked about them.
    pub(crate) fn are_of_this_host(&self) -> bool {
        self.of_this_host
    }

    pub(crate) fn paths(&self) -> impl Iterator<Item = &Path> {
        self.known.iter().map(|root| root.path.as_path())
    }

    /// Each as it was given, and as records have it.
    pub(crate) fn spellings(&self) -> impl Iterator<Item = (&Path, &Path)> {
        self.known.iter().map(|root| (root.given.as_path(), root.path.as_path()))
    }

    /// As they stand in messages.
    pub(crate) fn shown(&self) -> String {
        let shown: Vec<_> = self.paths().map(|path| path.display().to_string()).collect();
        shown.join(", ")
    }
}

/// Without symbolic links, as far as it exists.
pub(super) fn real(path: &Path) -> PathBuf {
    let there = path.ancestors().find_map(|at| Some((at, at.canonicalize().ok()?)));
    match there {
        Some((at, real)) => match path.strip_prefix(at) {
            Ok(rest) if !rest.as_os_str().is_empty() => real.join(rest),
            _ => real,
        },
        None => path.to_owned(),
    }
}

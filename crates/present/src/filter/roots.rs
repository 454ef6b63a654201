//! The watched directories, which patterns with absolute paths refer to.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

/// The roots of a watch or of streams.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Roots {
    known: Vec<Root>,
    /// There are others, whose paths are not known.
    more: bool,
    /// They are watched on this host now: the filesystem can resolve links that lead to them.
    of_this_host: bool,
}

/// A watched directory.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Root {
    /// As records have it: absolute, without symbolic links.
    path: PathBuf,
    /// Absolute, as the user wrote it.
    given: PathBuf,
}

impl Roots {
    /// The roots of a watch on this host, as the user wrote them.
    pub fn of_paths<'a>(paths: impl IntoIterator<Item = &'a PathBuf>) -> Self {
        let root = |given: &PathBuf| {
            let given = std::path::absolute(given).ok()?;
            Some(Root { path: real(&given), given })
        };
        let known = paths.into_iter().filter_map(root).collect();
        Roots { known, more: false, of_this_host: true }
    }

    /// Adds the roots of a stream. `more`: it has others that it does not name. Returns whether any is new.
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

    /// Whether the paths of all roots are known.
    pub(crate) fn all_known(&self) -> bool {
        !self.known.is_empty() && !self.more
    }

    /// Whether they are watched on this host now.
    pub(crate) fn are_of_this_host(&self) -> bool {
        self.of_this_host
    }

    pub(crate) fn paths(&self) -> impl Iterator<Item = &Path> {
        self.known.iter().map(|root| root.path.as_path())
    }

    /// Each root's path as the user wrote it, and as records have it.
    pub fn given_and_recorded(&self) -> impl Iterator<Item = (&Path, &Path)> {
        self.known.iter().map(|root| (root.given.as_path(), root.path.as_path()))
    }

    /// The list for a message.
    pub(crate) fn shown(&self) -> String {
        let shown: Vec<_> = self.paths().map(|path| path.display().to_string()).collect();
        shown.join(", ")
    }
}

/// `path` without symbolic links, as far as it exists.
#[must_use]
pub fn real(path: &Path) -> PathBuf {
    let there = path.ancestors().find_map(|at| Some((at, at.canonicalize().ok()?)));
    match there {
        Some((at, real)) => match path.strip_prefix(at) {
            Ok(rest) if !rest.as_os_str().is_empty() => real.join(rest),
            _ => real,
        },
        None => path.to_owned(),
    }
}

//! The directories that the engine does not watch: `--exclude` and `--max-depth` as the engine's interface.

use fsmon_engine::Error;
use fsmon_engine::config::{Skip, SkipDir};
use fsmon_format::number::to_usize;
use fsmon_present::filter::{PathGlobs, Purpose, Roots, rest_below};
use std::os::unix::ffi::OsStrExt;

/// How deep directories are watched. Those of the last level are, though nothing in them is shown: else renames of them
/// would not be known to be that.
pub(crate) struct Depth {
    /// Levels of names below a root that are shown: 1 is what is directly in it.
    levels: usize,
    /// The watched paths, longest first: of two roots the inner one counts.
    roots: Vec<Vec<u8>>,
    /// Used again and again, so that nothing is allocated.
    path: Vec<u8>,
}

impl Depth {
    /// `levels` of names below each root.
    pub(crate) fn new(levels: u32, roots: &Roots) -> Self {
        let paths = roots.given_and_recorded().flat_map(|(given, recorded)| [given, recorded]);
        let mut roots: Vec<_> = paths.map(|path| path.as_os_str().as_bytes().to_vec()).collect();
        roots.sort_by_key(|path| std::cmp::Reverse(path.len()));
        Depth { levels: to_usize(levels.into()), roots, path: Vec::with_capacity(1 << 13) }
    }

    /// Whether the directory at `path` below `root` is too deep itself.
    fn is_beyond(&mut self, root: &[u8], path: &[u8]) -> bool {
        self.path.clear();
        self.path.extend_from_slice(root);
        if self.path.last() != Some(&b'/') && !path.is_empty() {
            self.path.push(b'/');
        }
        self.path.extend_from_slice(path);
        let below = self.roots.iter().find_map(|root| rest_below(&self.path, root));
        below.is_some_and(|rest| {
            !rest.is_empty() && memchr::memchr_iter(b'/', rest).count() >= self.levels
        })
    }
}

/// Skips directories that match, and those that are too deep.
struct Skipped {
    globs: Option<PathGlobs>,
    depth: Option<Depth>,
}

impl Skip for Skipped {
    fn skips(&mut self, root: &[u8], path: &[u8]) -> bool {
        self.globs.as_ref().is_some_and(|globs| globs.matches(root, path))
            || self.depth.as_mut().is_some_and(|depth| depth.is_beyond(root, path))
    }
}

/// The function that the engine calls before it watches a directory; `None` if each is watched.
///
/// # Errors
/// A bad glob, or one that can never match.
pub(crate) fn skip_dir(
    exclude: &[String],
    depth: Option<Depth>,
    roots: &Roots,
) -> Result<Option<SkipDir>, Error> {
    let globs = PathGlobs::new(Purpose::Exclude, exclude, roots)?;
    if globs.is_none() && depth.is_none() {
        return Ok(None);
    }
    let by_path = depth.is_some() || globs.as_ref().is_some_and(PathGlobs::need_path);
    Ok(Some(SkipDir { by_path, skips: Box::new(Skipped { globs, depth }) }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::PathBuf;

    #[test]
    fn excluded_directories_are_cut_by_their_path() {
        let excluded = ["target", "/a/b"].map(str::to_owned);
        let roots = Roots::default();
        let mut skip = skip_dir(&excluded, None, &roots).expect("valid").expect("something");
        let cut = ["target", "x/target", "a/b", "a", "x/a/b", "targets"]
            .map(|path| skip.skips.skips(b"/srv", path.as_bytes()));
        assert_eq!(cut, [true, true, true, false, false, false]);
        assert!(skip.by_path);
        assert!(skip_dir(&[], None, &roots).expect("valid").is_none());
        let by_name = skip_dir(&excluded[..1], None, &roots).expect("valid");
        assert!(!by_name.expect("something").by_path);
    }

    #[test]
    fn directories_are_cut_by_their_depth_below_the_innermost_root() {
        let roots = ["/no-such-place", "/no-such-place/a/b"].map(PathBuf::from);
        let roots = Roots::of_paths(&roots);
        let depth = Some(Depth::new(1, &roots));
        let excluded = ["x".to_owned()];
        let mut skip = skip_dir(&excluded, depth, &roots).expect("valid").expect("something");
        assert!(skip.by_path);
        for (root, path, expected) in [
            ("/no-such-place", "a", false),
            ("/no-such-place", "x", true),
            ("/no-such-place", "a/c", true),
            ("/no-such-place", "a/b/c", false),
            ("/no-such-place", "a/b/c/d", true),
            ("/no-such-place/a/b", "c", false),
            ("/no-such-place/a/b", "c/d", true),
            // A mount that is followed.
            ("/no-such-place/m", "", false),
            ("/no-such-place/m", "c", true),
        ] {
            let skips = skip.skips.skips(root.as_bytes(), path.as_bytes());
            assert_eq!(skips, expected, "{root} {path}");
        }
        let top = Roots::of_paths(&[PathBuf::from("/")]);
        let mut depth = Depth::new(1, &top);
        assert!(depth.is_beyond(b"/", b"tmp/x") && !depth.is_beyond(b"/", b"tmp"));
    }
}

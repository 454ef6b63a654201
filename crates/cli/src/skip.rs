//! The directories that the engine does not watch: `--exclude` as the engine's interface.

use fsmon_engine::Error;
use fsmon_engine::config::{Skip, SkipDir};
use fsmon_present::filter::{PathGlobs, Purpose, Roots};

/// Skips directories that match.
struct Excluded(PathGlobs);

impl Skip for Excluded {
    fn skips(&mut self, root: &[u8], path: &[u8]) -> bool {
        self.0.matches(root, path)
    }
}

/// The function that the engine calls before it watches a directory; `None` if nothing is excluded.
///
/// # Errors
/// A bad glob, or one that can never match.
pub(crate) fn skip_dir(exclude: &[String], roots: &Roots) -> Result<Option<SkipDir>, Error> {
    let globs = PathGlobs::new(Purpose::Exclude, exclude, roots)?;
    Ok(globs.map(|globs| SkipDir { by_path: globs.need_path(), skips: Box::new(Excluded(globs)) }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn excluded_directories_are_cut_by_their_path() {
        let excluded = ["target", "/a/b"].map(str::to_owned);
        let mut skip = skip_dir(&excluded, &Roots::default()).expect("valid").expect("something");
        let cut = ["target", "x/target", "a/b", "a", "x/a/b", "targets"]
            .map(|path| skip.skips.skips(b"/srv", path.as_bytes()));
        assert_eq!(cut, [true, true, true, false, false, false]);
        assert!(skip.by_path);
        assert!(skip_dir(&[], &Roots::default()).expect("valid").is_none());
        let by_name = skip_dir(&excluded[..1], &Roots::default()).expect("valid");
        assert!(!by_name.expect("something").by_path);
    }
}

//! Globs on paths and on command names.

use fsmon_engine::Error;
use globset::{Candidate, GlobBuilder, GlobSet, GlobSetBuilder};

/// Globs on the path below a watched root.
///
/// One without a slash is matched against the name alone; one with a slash against the whole
/// path, where `*` stays within a name. A slash at either end says nothing more.
pub(crate) struct PathGlobs {
    names: GlobSet,
    paths: GlobSet,
}

impl PathGlobs {
    /// `None` where there is no glob.
    ///
    /// # Errors
    /// A glob that cannot be read; `option` is named.
    pub(crate) fn new(option: &str, globs: &[String]) -> Result<Option<Self>, Error> {
        if globs.is_empty() {
            return Ok(None);
        }
        let (mut names, mut paths) = (GlobSetBuilder::new(), GlobSetBuilder::new());
        for glob in globs {
            let bare = glob.strip_suffix('/').unwrap_or(glob);
            let of_path = bare.contains('/');
            let bare = bare.strip_prefix('/').unwrap_or(bare);
            if bare.is_empty() {
                return Err(bad(option, glob, "it is empty"));
            }
            let set = if of_path { &mut paths } else { &mut names };
            set.add(parse(option, glob, bare)?);
        }
        Ok(Some(PathGlobs { names: build(option, &names)?, paths: build(option, &paths)? }))
    }

    /// Whether [`PathGlobs::matches`] looks at more than the last name.
    pub(crate) fn need_path(&self) -> bool {
        !self.paths.is_empty()
    }

    /// Whether this path below a root matches by itself, not by a directory that it is in.
    pub(crate) fn matches(&self, path: &[u8]) -> bool {
        let name = match memchr::memrchr(b'/', path) {
            Some(slash) => &path[slash + 1..],
            None => path,
        };
        self.names.is_match_candidate(&Candidate::from_bytes(name))
            || self.paths.is_match_candidate(&Candidate::from_bytes(path))
    }
}

/// Globs on the kernel's name of a process; `None` where there is none.
///
/// # Errors
/// A glob that cannot be read; `option` is named.
pub(crate) fn names(option: &str, globs: &[String]) -> Result<Option<GlobSet>, Error> {
    if globs.is_empty() {
        return Ok(None);
    }
    let mut set = GlobSetBuilder::new();
    for glob in globs {
        set.add(parse(option, glob, glob)?);
    }
    build(option, &set).map(Some)
}

fn parse(option: &str, glob: &str, bare: &str) -> Result<globset::Glob, Error> {
    GlobBuilder::new(bare)
        .literal_separator(true)
        .backslash_escape(true)
        .build()
        .map_err(|error| bad(option, glob, &error.kind().to_string()))
}

fn build(option: &str, set: &GlobSetBuilder) -> Result<GlobSet, Error> {
    set.build().map_err(|error| {
        bad(option, error.glob().unwrap_or("the globs together"), &error.kind().to_string())
    })
}

fn bad(option: &str, glob: &str, why: &str) -> Error {
    let glob = glob.escape_debug();
    Error::new(format!("bad glob '{glob}' of {option}: {why}; put \\ before a literal * ? [ {{"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn matches(glob: &str, path: &str) -> bool {
        let globs = PathGlobs::new("--include", &[glob.to_owned()]).expect("valid").expect("one");
        globs.matches(path.as_bytes())
    }

    #[test]
    fn names_match_at_any_depth_and_paths_from_the_root() {
        for (glob, path, expected) in [
            ("*.o", "a.o", true),
            ("*.o", "deep/down/a.o", true),
            ("*.o", "a.o/b", false),
            ("src/*.rs", "src/a.rs", true),
            ("src/*.rs", "src/deep/a.rs", false),
            ("src/**/*.rs", "src/deep/down/a.rs", true),
            ("src/*.rs", "x/src/a.rs", false),
            ("**/src/*.rs", "x/src/a.rs", true),
            ("/target", "target", true),
            ("/target", "x/target", false),
            ("target/", "x/target", true),
            ("{a,b}?", "ax", true),
            ("a\\*", "ab", false),
            ("\u{e4}*", "\u{e4}\u{f6}", true),
        ] {
            assert_eq!(matches(glob, path), expected, "{glob} on {path}");
        }
        let any = PathGlobs::new("--include", &["*.c".to_owned()]).expect("valid").expect("one");
        assert!(any.matches(b"sub/\xff\xfe.c"));
    }

    #[test]
    fn a_bad_glob_names_itself_and_its_option() {
        for glob in ["a[", "{a", "", "/"] {
            let error = PathGlobs::new("--exclude", &[glob.to_owned()]).err().expect("bad");
            let line = error.to_string();
            assert!(line.contains(&format!("bad glob '{glob}' of --exclude")), "{line}");
        }
        assert!(names("--cmd", &["[".to_owned()]).is_err());
    }
}

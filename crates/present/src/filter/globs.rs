//! Globs on paths and on command names.

use super::about;
use super::patterns::{self, Pattern, Purpose};
use super::roots::Roots;
use fsmon_format::error::{Error, Setting};
use globset::{Candidate, GlobBuilder, GlobSet, GlobSetBuilder};
use std::collections::BTreeMap;
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;

/// The longest name of a command that the kernel keeps, in bytes (TASK_COMM_LEN without its zero).
const COMM_MAX: usize = 15;

/// Globs on the path below a watched root: `*` stays within a name.
pub struct PathGlobs {
    names: GlobSet,
    paths: GlobSet,
    /// By root: the globs that were given with the root's path.
    below: Vec<(Vec<u8>, GlobSet)>,
}

impl PathGlobs {
    /// `None` where there is no glob.
    ///
    /// # Errors
    /// A glob is malformed or can never match: an error about the setting of that purpose.
    pub fn new(purpose: Purpose, globs: &[String], roots: &Roots) -> Result<Option<Self>, Error> {
        if globs.is_empty() {
            return Ok(None);
        }
        let setting = purpose.setting();
        let (mut names, mut paths) = (GlobSetBuilder::new(), GlobSetBuilder::new());
        let mut below: BTreeMap<PathBuf, GlobSetBuilder> = BTreeMap::new();
        for glob in globs {
            let pattern =
                patterns::read(glob, purpose, roots).map_err(|why| refused(setting, glob, why))?;
            match pattern {
                Pattern::Name(bare) => _ = names.add(parse(setting, glob, &bare)?),
                Pattern::Path(bare) => _ = paths.add(parse(setting, glob, &bare)?),
                Pattern::BelowRoots(roots) => {
                    for (root, bare) in roots {
                        let set = below.entry(root).or_insert_with(GlobSetBuilder::new);
                        set.add(parse(setting, glob, &bare)?);
                    }
                }
            }
        }
        let below = below
            .into_iter()
            .map(|(root, set)| Ok((root.as_os_str().as_bytes().to_vec(), build(setting, &set)?)));
        Ok(Some(PathGlobs {
            names: build(setting, &names)?,
            paths: build(setting, &paths)?,
            below: below.collect::<Result<_, Error>>()?,
        }))
    }

    /// Whether [`PathGlobs::matches`] needs more than the last name of the path.
    pub fn need_path(&self) -> bool {
        !self.paths.is_empty() || !self.below.is_empty()
    }

    /// Whether `path` below `root` matches itself. A match of a directory above it does not count.
    pub fn matches(&self, root: &[u8], path: &[u8]) -> bool {
        let name = match memchr::memrchr(b'/', path) {
            Some(slash) => &path[slash + 1..],
            None => path,
        };
        // Somebody may make paths of many kilobytes: a candidate costs a look at each byte.
        let any = |set: &GlobSet, text| {
            !set.is_empty() && set.is_match_candidate(&Candidate::from_bytes(text))
        };
        any(&self.names, name)
            || any(&self.paths, path)
            || self.below.iter().any(|(own, globs)| {
                own == root && globs.is_match_candidate(&Candidate::from_bytes(path))
            })
    }
}

/// Globs on the kernel's name of a process; `None` if `globs` is empty. `*` matches slashes as well: names of
/// kernel threads contain them.
///
/// # Errors
/// A glob is malformed or can never match: an error about `setting`. `opposite` is the setting to use instead
/// of a negated glob.
pub fn names(
    setting: Setting,
    opposite: Setting,
    globs: &[String],
) -> Result<Option<GlobSet>, Error> {
    set_of(setting, globs, |glob| Ok(vec![comm(glob, opposite)?.to_owned()]))
}

/// Globs on the path of a control group; `None` if `globs` is empty. One that begins with `/` is a path, another one a name
/// at any depth. `*` matches slashes as well, and each stands for the groups below, too.
///
/// # Errors
/// As [`names`].
pub fn cgroups(
    setting: Setting,
    opposite: Setting,
    globs: &[String],
) -> Result<Option<GlobSet>, Error> {
    set_of(setting, globs, |glob| {
        let bare = cgroup(glob, opposite)?;
        let begin = if bare.starts_with('/') || bare.is_empty() { "" } else { "*/" };
        Ok(["", "/*"].map(|end| format!("{begin}{bare}{end}")).to_vec())
    })
}

/// Globs on the path of the file that runs; `None` if `globs` is empty. One that begins with `/` is a path, another one a
/// name at any depth. `*` matches slashes as well.
///
/// # Errors
/// A glob is malformed or empty: an error about [`Setting::Exe`].
pub fn exes(globs: &[String]) -> Result<Option<GlobSet>, Error> {
    set_of(Setting::Exe, globs, |glob| {
        patterns::no_list(glob)?;
        if glob.is_empty() {
            let line = "it is empty; write the path of a program, such as /usr/bin/make";
            return Err(Error::invalid(line));
        }
        // A file in memory has no directory, and one that was removed has a word behind its path.
        let begins: &[&str] = if glob.starts_with('/') { &[""] } else { &["", "*/"] };
        let meanings = begins.iter().map(|begin| format!("{begin}{glob}"));
        Ok(meanings.flat_map(|path| [format!("{path} (deleted)"), path]).collect())
    })
}

/// Globs on words of a command line, whole; `None` if `globs` is empty. `*` matches slashes as well.
///
/// # Errors
/// A glob is malformed or empty: an error about `setting`.
pub(crate) fn words(setting: Setting, globs: &[String]) -> Result<Option<GlobSet>, Error> {
    set_of(setting, globs, |glob| match glob {
        "" => Err(Error::invalid("it is empty; write the word that is to be hidden")),
        _ => Ok(vec![glob.to_owned()]),
    })
}

/// The set of what each glob means; `None` if there is none. `*` matches slashes as well.
fn set_of(
    setting: Setting,
    globs: &[String],
    meaning: impl Fn(&str) -> Result<Vec<String>, Error>,
) -> Result<Option<GlobSet>, Error> {
    if globs.is_empty() {
        return Ok(None);
    }
    let mut set = GlobSetBuilder::new();
    for glob in globs {
        for whole in meaning(glob).map_err(|why| refused(setting, glob, why))? {
            let built = GlobBuilder::new(&whole).backslash_escape(true).build();
            set.add(built.map_err(|error| bad(setting, glob, &error.kind().to_string()))?);
        }
    }
    build(setting, &set).map(Some)
}

/// A pattern on control groups without slashes at its end.
fn cgroup(glob: &str, opposite: Setting) -> Result<&str, Error> {
    patterns::not_negated(glob, opposite)?;
    patterns::no_list(glob)?;
    if glob.is_empty() {
        let line = "it is empty; write the path of a control group, such as /system.slice/*";
        return Err(Error::invalid(line));
    }
    Ok(glob.trim_end_matches('/'))
}

/// The glob that a pattern on commands means. The kernel cuts long names, so this cuts a literal name, too.
fn comm(glob: &str, opposite: Setting) -> Result<&str, Error> {
    patterns::not_negated(glob, opposite)?;
    patterns::no_list(glob)?;
    if glob.is_empty() {
        return Err(Error::invalid("it is empty; write the name of a command, such as make"));
    }
    let name = glob.rsplit('/').next().unwrap_or(glob);
    if glob.starts_with(['/', '.']) && glob.contains('/') {
        let line = format!("a command is known by its name, not by its path; write '{name}'");
        return Err(Error::invalid(line));
    }
    if !patterns::is_literal(glob) || glob.len() <= COMM_MAX {
        return Ok(glob);
    }
    match glob.get(..COMM_MAX) {
        Some(cut) => Ok(cut),
        None => {
            let line =
                format!("names of commands have at most {COMM_MAX} bytes; write fewer and *");
            Err(Error::invalid(line))
        }
    }
}

fn parse(setting: Setting, glob: &str, bare: &str) -> Result<globset::Glob, Error> {
    GlobBuilder::new(bare)
        .literal_separator(true)
        .backslash_escape(true)
        .build()
        .map_err(|error| bad(setting, glob, &error.kind().to_string()))
}

fn build(setting: Setting, set: &GlobSetBuilder) -> Result<GlobSet, Error> {
    set.build().map_err(|error| {
        bad(setting, error.glob().unwrap_or("the globs together"), &error.kind().to_string())
    })
}

fn bad(setting: Setting, glob: &str, why: &str) -> Error {
    let why = Error::invalid(format!("{why}; put \\ before a literal * ? [ {{"));
    refused(setting, glob, why)
}

fn refused(setting: Setting, glob: &str, why: Error) -> Error {
    about(setting, why.after(format!("bad glob '{}': ", glob.escape_debug())))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn matches(glob: &str, path: &str) -> bool {
        let globs = PathGlobs::new(Purpose::Include, &[glob.to_owned()], &Roots::default());
        globs.expect("valid").expect("one").matches(b"/srv", path.as_bytes())
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
        let any = PathGlobs::new(Purpose::Include, &["*.c".to_owned()], &Roots::default());
        assert!(any.expect("valid").expect("one").matches(b"/srv", b"sub/\xff\xfe.c"));
    }

    #[test]
    fn a_bad_glob_names_itself_and_its_setting() {
        for glob in ["a[", "{a", "", "/"] {
            let error = PathGlobs::new(Purpose::Exclude, &[glob.to_owned()], &Roots::default());
            let error = error.err().expect("bad");
            let line = error.to_string();
            assert!(line.contains(&format!("bad glob '{glob}': ")), "{line}");
            assert_eq!(error.setting(), Some(Setting::Exclude));
        }
        let error = names(Setting::Cmd, Setting::ExcludeCmd, &["[".to_owned()]).expect_err("bad");
        assert_eq!(error.setting(), Some(Setting::Cmd));
    }

    #[test]
    fn a_path_with_its_root_is_meant_below_that_root_only() {
        let mut roots = Roots::default();
        roots.add(&[b"/no-such-place/a".to_vec(), b"/no-such-place/b".to_vec()], false);
        let globs = ["/no-such-place/a/x".to_owned()];
        let globs = PathGlobs::new(Purpose::Exclude, &globs, &roots).expect("valid").expect("one");
        assert!(globs.need_path());
        assert!(globs.matches(b"/no-such-place/a", b"x"));
        assert!(!globs.matches(b"/no-such-place/a", b"y/x"));
        assert!(!globs.matches(b"/no-such-place/b", b"x"));
    }

    #[test]
    fn commands_are_known_by_fifteen_bytes_of_their_name() {
        let cmd = |glob: &str| names(Setting::Cmd, Setting::ExcludeCmd, &[glob.to_owned()]);
        let matches = |glob: &str, comm: &str| {
            let globs = cmd(glob).expect("valid").expect("one");
            globs.is_match_candidate(&Candidate::from_bytes(comm.as_bytes()))
        };
        assert!(matches("systemd-tmpfiles", "systemd-tmpfile"));
        assert!(!matches("systemd-tmpfiles", "systemd-tmp"));
        assert!(matches("kworker*", "kworker/u8:3"));
        assert!(matches("kworker/0:1", "kworker/0:1"));
        for (glob, words) in [
            ("", "empty"),
            ("!git", "! does not negate it; write exclude_cmd 'git', or"),
            ("gcc,cc", "{gcc,cc}"),
            ("/usr/bin/gcc", "'gcc'"),
            ("./gcc", "'gcc'"),
        ] {
            let error = cmd(glob).expect_err("refused");
            assert!(error.to_string().contains(words), "{error}");
            assert_eq!(error.setting(), Some(Setting::Cmd));
        }
    }
}

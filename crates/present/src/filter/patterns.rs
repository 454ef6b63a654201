//! The meaning of patterns on paths, before they become globs.
//!
//! | written | meant |
//! |---|---|
//! | `*.o`, `target/` | a name at any depth |
//! | `src/*.rs`, `/target`, `./target` | from the watched directory on |
//! | `/srv/b/target`, where `/srv/b` is watched | `target` from there on |
//!
//! A pattern that can never match is an error, which says what to write instead.

use super::roots::{Roots, real};
use fsmon_format::error::{Error, Message, Setting};
use fsmon_format::record::NAME_MAX;
use globset::GlobBuilder;
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

/// The meaning of one pattern, as globs.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Pattern {
    /// The name alone.
    Name(String),
    /// The path below any root.
    Path(String),
    /// Some of the roots, and what the path is below each of them.
    BelowRoots(Vec<(PathBuf, String)>),
}

/// Whether a pattern selects what is shown, or what is left out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// Selects what is shown.
    Include,
    /// Selects what is left out.
    Exclude,
}

impl Purpose {
    pub(crate) fn setting(self) -> Setting {
        match self {
            Purpose::Include => Setting::Include,
            Purpose::Exclude => Setting::Exclude,
        }
    }

    fn opposite(self) -> Setting {
        match self {
            Purpose::Include => Setting::Exclude,
            Purpose::Exclude => Setting::Include,
        }
    }
}

/// Reads a pattern.
///
/// # Errors
/// It can never match. The error says what to write instead.
pub(super) fn read(text: &str, purpose: Purpose, roots: &Roots) -> Result<Pattern, Error> {
    if text.is_empty() {
        let line = "it is empty; write a name such as *.o or a path such as src/*.rs";
        return Err(Error::invalid(line));
    }
    not_negated(text, purpose.opposite())?;
    if text == "~" || text.starts_with("~/") {
        return Err(Error::invalid(
            "the shell did not expand ~; write the path, or \\~ for a name that begins with it",
        ));
    }
    no_list(text)?;
    let parts: Vec<&str> = text.split('/').filter(|part| !matches!(*part, "" | ".")).collect();
    if parts.contains(&"..") {
        return Err(Error::invalid("a path cannot contain ..; write the path that it leads to"));
    }
    if let Some(long) = parts.iter().find(|part| part.len() > NAME_MAX && is_literal(part)) {
        let line = format!("no name has {} bytes; at most {NAME_MAX} can be", long.len());
        return Err(Error::invalid(line));
    }
    if parts.is_empty() {
        return Err(Error::invalid("it is the watched directory itself; drop this pattern"));
    }
    if text.starts_with('/')
        && let Some(below) = below_roots(&parts, purpose, roots)?
    {
        return Ok(Pattern::BelowRoots(below));
    }
    let is_anchored = text.starts_with('/') || text.starts_with("./") || parts.len() > 1;
    let glob = parts.join("/");
    Ok(if is_anchored { Pattern::Path(glob) } else { Pattern::Name(glob) })
}

/// Refuses a leading `!`: there is a setting for the opposite.
pub(super) fn not_negated(text: &str, opposite: Setting) -> Result<(), Error> {
    let Some(rest) = text.strip_prefix('!') else { return Ok(()) };
    let line = Message::from("! does not negate it; write ").and(opposite);
    let other = format!(" '{rest}', or \\! for a name that begins with !");
    Err(Error::invalid(line.and(other)))
}

/// Refuses commas as separators of a list: names can contain them.
pub(super) fn no_list(text: &str) -> Result<(), Error> {
    let (mut depth, mut is_escaped, mut in_class) = (0u32, false, false);
    for letter in text.chars() {
        match letter {
            _ if is_escaped => is_escaped = false,
            '\\' => is_escaped = true,
            '[' => in_class = true,
            ']' => in_class = false,
            '{' => depth += 1,
            '}' => depth = depth.saturating_sub(1),
            ',' if depth == 0 && !in_class => {
                return Err(Error::invalid(format!(
                    "a comma makes no list; write {{{text}}} for any of these, or \\, for a comma \
                     in a name"
                )));
            }
            _ => {}
        }
    }
    Ok(())
}

/// Whether the text has no special character of a glob.
pub(super) fn is_literal(text: &str) -> bool {
    !text.contains(['*', '?', '[', ']', '{', '}', '\\'])
}

/// The meaning of a pattern with an absolute path below each root. `None` if the path begins at the watched
/// directory, as `/target`.
fn below_roots(
    parts: &[&str],
    purpose: Purpose,
    roots: &Roots,
) -> Result<Option<Vec<(PathBuf, String)>>, Error> {
    // A pattern with a * can match one root literally and another through a link.
    let (mut within, mut covered) = (Vec::new(), Vec::new());
    for parts in readings(parts, roots) {
        let parts: Vec<&str> = parts.iter().map(String::as_str).collect();
        for root in roots.paths() {
            match below(&parts, root) {
                Some(rest) if !rest.is_empty() => add(&mut within, (root.into(), rest.join("/"))),
                // The pattern is a root, or above one.
                _ if is_above(&parts, root) => add(&mut covered, root),
                _ => {}
            }
        }
    }
    let all = || covered.iter().map(|&root| (root.into(), "**".into())).collect();
    if !within.is_empty() {
        return Ok(Some(within));
    }
    if !covered.is_empty() {
        let is_all = roots.all_known() && roots.paths().all(|root| covered.contains(&root));
        return match purpose {
            // Events below the other roots are left.
            Purpose::Exclude if roots.are_of_this_host() || is_all => Err(Error::invalid(format!(
                "{} is to be watched, and nothing of it would be left; name what to leave out below it",
                covered[0].display()
            ))),
            _ => Ok(Some(all())),
        };
    }
    let pattern = parts.join("/");
    match outside(parts, roots) {
        true => Err(Error::invalid(format!(
            "it is not below {}, which is watched; write ./{pattern} if you mean {pattern} below it",
            roots.shown()
        ))),
        false => Ok(None),
    }
}

fn add<T: PartialEq>(all: &mut Vec<T>, one: T) {
    if !all.contains(&one) {
        all.push(one);
    }
}

/// The possible readings of a pattern, with paths as records have them: as written; with the spelling of a
/// root replaced by its path; with symbolic links of this host resolved.
fn readings(parts: &[&str], roots: &Roots) -> Vec<Vec<String>> {
    let spelled = roots.given_and_recorded().filter(|(given, path)| given != path);
    let spelled = spelled.filter_map(|(given, path)| Some(instead(path, below(parts, given)?)));
    let linked = roots.are_of_this_host().then(|| through_links(parts, roots));
    let written = parts.iter().map(|&part| part.to_owned()).collect();
    spelled.chain([written]).chain(linked).collect()
}

/// The parts of a pattern below directory `dir`; `None` if the pattern does not lead through it.
fn below<'a>(parts: &'a [&'a str], dir: &Path) -> Option<&'a [&'a str]> {
    let mut left = parts;
    for name in names(dir) {
        let (first, rest) = left.split_first()?;
        if !matches(first, name) {
            return None;
        }
        left = rest;
    }
    Some(left)
}

/// Whether a pattern matches `dir` or a directory above it.
fn is_above(parts: &[&str], dir: &Path) -> bool {
    let names: Vec<_> = names(dir).collect();
    parts.len() <= names.len() && parts.iter().zip(names).all(|(part, name)| matches(part, name))
}

/// Whether one part of a pattern matches a name. `**` stands for any number of names and does not match here.
fn matches(part: &str, name: &OsStr) -> bool {
    let glob = || GlobBuilder::new(part).literal_separator(true).backslash_escape(true).build();
    part != "**" && glob().is_ok_and(|glob| glob.compile_matcher().is_match(Path::new(name)))
}

fn names(path: &Path) -> impl Iterator<Item = &OsStr> {
    path.components().filter_map(|part| match part {
        std::path::Component::Normal(name) => Some(name),
        _ => None,
    })
}

/// A glob that matches exactly this name.
fn escaped(name: &OsStr) -> String {
    globset::escape(&name.to_string_lossy())
}

/// `path` as glob parts, followed by `rest`.
fn instead(path: &Path, rest: &[&str]) -> Vec<String> {
    names(path).map(escaped).chain(rest.iter().map(|&part| part.to_owned())).collect()
}

/// The same pattern with symbolic links in its literal first names resolved, up to a root and no further. The
/// last name is not resolved: the pattern means the link itself.
fn through_links(parts: &[&str], roots: &Roots) -> Vec<String> {
    let count = parts.iter().take_while(|part| is_literal(part)).count().min(parts.len() - 1);
    let real =
        |count: usize| real(&std::iter::once(&"/").chain(&parts[..count]).collect::<PathBuf>());
    let is_in_root = |count: &usize| roots.paths().any(|root| real(*count).starts_with(root));
    let count = (0..count).find(is_in_root).unwrap_or(count);
    instead(&real(count), &parts[count..])
}

/// Whether a pattern can only mean a path that is not watched: it begins with a directory of `/`, and no
/// root has an entry of that name. (`/target` begins at the watched directory.) Always false for recorded
/// roots: this host knows nothing about them.
fn outside(parts: &[&str], roots: &Roots) -> bool {
    let first = parts[0];
    if !roots.are_of_this_host() || !roots.all_known() || !is_literal(first) {
        return false;
    }
    let is_of_root = |root: &Path| names(root).next() == Some(OsStr::from_bytes(first.as_bytes()));
    let is_absolute = Path::new("/").join(first).is_dir() || roots.paths().any(is_of_root);
    is_absolute && !roots.paths().any(|root| root.join(first).symlink_metadata().is_ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn roots(paths: &[&str]) -> Roots {
        Roots::of_paths(&paths.iter().map(PathBuf::from).collect::<Vec<_>>())
    }

    fn recorded(paths: &[&str], more: bool) -> Roots {
        let mut roots = Roots::default();
        let paths: Vec<_> = paths.iter().map(|path| path.as_bytes().to_vec()).collect();
        roots.add(&paths, more);
        roots
    }

    fn exclude(text: &str) -> Result<Pattern, Error> {
        read(text, Purpose::Exclude, &roots(&["/no-such-place/b", "/no-such-place/c d"]))
    }

    fn below(root: &str, glob: &str) -> Pattern {
        Pattern::BelowRoots(vec![(root.into(), glob.into())])
    }

    #[test]
    fn patterns_mean_what_they_plainly_say() {
        let name = |glob: &str| Pattern::Name(glob.into());
        let path = |glob: &str| Pattern::Path(glob.into());
        let b = "/no-such-place/b";
        for (text, pattern) in [
            ("target", name("target")),
            ("target/", name("target")),
            ("target//", name("target")),
            ("./target", path("target")),
            ("././target/", path("target")),
            ("/target", path("target")),
            ("a//b/./c", path("a/b/c")),
            ("**/x", path("**/x")),
            ("{a,b}", name("{a,b}")),
            ("[,]x", name("[,]x")),
            ("x\\,v", name("x\\,v")),
            ("\\!x", name("\\!x")),
            ("\\~", name("\\~")),
            ("/no-such-place/b/x", below(b, "x")),
            ("/no-such-place//b/./x/", below(b, "x")),
            ("/no-such-place/b/x/**/*.o", below(b, "x/**/*.o")),
            ("/*/b/x", below(b, "x")),
            ("/no-such-place/c d/x", below("/no-such-place/c d", "x")),
            ("/**/x", path("**/x")),
        ] {
            assert_eq!(exclude(text), Ok(pattern), "{text}");
        }
        let all = ["/no-such-place/b", "/no-such-place/c d"];
        assert_eq!(
            exclude("/no-such-place/*/x"),
            Ok(Pattern::BelowRoots(all.map(|root| (root.into(), "x".into())).into()))
        );
    }

    #[test]
    fn what_can_never_match_is_refused_with_a_remedy() {
        let long = "x".repeat(256);
        for (text, words) in [
            ("", "empty"),
            ("/", "the watched directory itself"),
            ("./", "the watched directory itself"),
            ("!x", "! does not negate it"),
            ("a,b", "{a,b}"),
            ("~/x", "write the path"),
            ("../x", ".."),
            ("a/../b", ".."),
            (&long, "256 bytes"),
            ("/no-such-place/d/x", "./no-such-place/d/x"),
            ("/usr/bin", "not below /no-such-place/b, /no-such-place/c d"),
            ("/no-such-place/b", "is to be watched"),
            ("/no-such-place", "is to be watched"),
        ] {
            let error = exclude(text).expect_err(text);
            assert!(error.to_string().contains(words), "{text}: {error}");
        }
        let negated = exclude("!x").expect_err("negated");
        assert_eq!(
            negated.to_string(),
            "! does not negate it; write include 'x', or \\! for a name that begins with !"
        );
        let all = read("/no-such-place", Purpose::Include, &roots(&["/no-such-place/b"]));
        assert_eq!(all, Ok(below("/no-such-place/b", "**")));
        // Where nothing is known of the roots nothing can be said.
        assert!(read("/usr/bin", Purpose::Exclude, &Roots::default()).is_ok());
    }

    #[test]
    fn links_are_followed_to_the_root_and_no_further() {
        let dir = tempfile::tempdir().expect("a directory");
        let real = dir.path().canonicalize().expect("it is there");
        std::fs::create_dir_all(real.join("root/sub")).expect("made");
        std::os::unix::fs::symlink(real.join("root"), real.join("link")).expect("made");
        std::os::unix::fs::symlink(real.join("root"), real.join("root/in")).expect("made");
        let (root, link) = (real.join("root"), real.join("link"));
        for given in [&root, &link] {
            let roots = Roots::of_paths([given]);
            for at in [&root, &link] {
                for (rest, glob) in [("x", "x"), ("sub/y", "sub/y"), ("in", "in")] {
                    let text = at.join(rest).to_string_lossy().into_owned();
                    let read = read(&text, Purpose::Exclude, &roots);
                    assert_eq!(
                        read,
                        Ok(Pattern::BelowRoots(vec![(root.clone(), glob.into())])),
                        "{text}"
                    );
                }
            }
        }
    }

    #[test]
    fn a_pattern_is_meant_below_each_root_that_it_matches() {
        let dir = tempfile::tempdir().expect("a directory");
        let real = dir.path().canonicalize().expect("it is there");
        for name in ["real/a", "real/b", "l/b"] {
            std::fs::create_dir_all(real.join(name)).expect("made");
        }
        std::os::unix::fs::symlink(real.join("real/a"), real.join("l/a")).expect("made");
        std::os::unix::fs::symlink(real.join("real"), real.join("link")).expect("made");
        let pattern = |text: &str| real.join(text).to_string_lossy().into_owned();
        let at = |roots: [&str; 2], glob: &str| {
            Ok(Pattern::BelowRoots(roots.map(|root| (real.join(root), glob.into())).into()))
        };
        // One is given by a link, or both are above it.
        let roots = Roots::of_paths(&["l/a", "l/b"].map(|root| real.join(root)));
        let found = read(&pattern("l/*/x"), Purpose::Exclude, &roots);
        assert_eq!(found, at(["real/a", "l/b"], "x"));
        let found = read(&pattern("l/*"), Purpose::Include, &roots);
        assert_eq!(found, at(["real/a", "l/b"], "**"));
        let roots = Roots::of_paths(&["link/a", "real/b"].map(|root| real.join(root)));
        let found = read(&pattern("link/*/x"), Purpose::Exclude, &roots);
        assert_eq!(found, at(["real/a", "real/b"], "x"));
    }

    #[test]
    fn a_pattern_for_a_recording_does_not_depend_on_this_host() {
        let dir = tempfile::tempdir().expect("a directory");
        let real = dir.path().canonicalize().expect("it is there");
        std::os::unix::fs::symlink("/no-such-place", real.join("link")).expect("made");
        let link = real.join("link/b/x").to_string_lossy().into_owned();
        let two = ["/no-such-place/b", "/no-such-place/c"];
        let exclude = |text: &str, more| read(text, Purpose::Exclude, &recorded(&two, more));
        let path = |glob: &str| Ok(Pattern::Path(glob.trim_start_matches('/').into()));
        for text in ["/usr/bin", "/no-such-place/d/x", &link] {
            assert_eq!(exclude(text, false), path(text));
        }
        // What was recorded below the other is left.
        assert_eq!(exclude(two[0], false), Ok(below(two[0], "**")));
        assert!(exclude("/no-such-place", true).is_ok());
        assert!(
            exclude("/no-such-place", false)
                .expect_err("nothing")
                .to_string()
                .contains("is to be watched")
        );
    }
}

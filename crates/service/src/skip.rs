//! The directories that the engine need not know: excluded ones, those below what is recorded, and the history.

use arc_swap::ArcSwap;
use fsmon_engine::config::{Skip, SkipDir, Skips};
use fsmon_format::error::Error;
use fsmon_present::filter::{PathGlobs, Purpose, Roots, rest_below};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// What of one watch decides about directories.
pub(crate) struct Rule {
    /// Absolute, without symbolic links.
    pub(crate) path: PathBuf,
    exclude: Option<PathGlobs>,
    /// Levels of names below the path that are recorded; `None`: all.
    pub(crate) levels: Option<u32>,
}

impl Rule {
    /// # Errors
    /// A bad glob, or one that can never match.
    pub(crate) fn new(path: &Path, exclude: &[String], levels: Option<u32>) -> Result<Self, Error> {
        let roots = Roots::of_paths([&path.to_owned()]);
        let exclude = PathGlobs::new(Purpose::Exclude, exclude, &roots)?;
        Ok(Rule { path: path.to_owned(), exclude, levels })
    }
}

/// Who asks whether a directory is left out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Asked {
    /// The engine, which has asked about the directory above it, and was told no.
    OnTheWayDown,
    /// Somebody who knows nothing of the directories above it.
    Alone,
}

/// The rules of all watches.
#[derive(Default)]
pub(crate) struct Rules {
    /// Longest path first.
    rules: Vec<Arc<Rule>>,
    /// The history's own directory.
    history: PathBuf,
}

impl Rules {
    pub(crate) fn new(history: &Path, mut rules: Vec<Arc<Rule>>) -> Self {
        rules.sort_by_key(|rule| std::cmp::Reverse(rule.path.as_os_str().len()));
        Rules { rules, history: history.to_owned() }
    }

    /// Whether to leave out the directory at `path`, absolute, with everything below it. With [`Asked::OnTheWayDown`] the
    /// directories above it count only where they are not left out although they are excluded: where they hold a watch.
    fn skips(&self, path: &[u8], asked: Asked) -> bool {
        if rest_below(path, self.history.as_os_str().as_bytes()).is_some() {
            return true;
        }
        let holds_watch =
            |rule: &Arc<Rule>| rest_below(rule.path.as_os_str().as_bytes(), path).is_some();
        if self.rules.iter().any(holds_watch) {
            return false;
        }
        let owner = self
            .rules
            .iter()
            .find_map(|rule| Some((rule, rest_below(path, rule.path.as_os_str().as_bytes())?)));
        // A directory of no watch is on the way to one, or is of a watch that just ended.
        let Some((rule, rest)) = owner else { return false };
        let depth = || memchr::memchr_iter(b'/', rest).count() + 1;
        // Those of the last level stay: else renames of them would not be known to be that.
        if rule.levels.is_some_and(|levels| depth() > levels as usize) {
            return true;
        }
        let Some(exclude) = &rule.exclude else { return false };
        let root = rule.path.as_os_str().as_bytes();
        let above = match asked {
            Asked::Alone => rest.len(),
            Asked::OnTheWayDown => {
                self.shared_with_watches(path).saturating_sub(path.len() - rest.len())
            }
        };
        let ends = memchr::memchr_iter(b'/', &rest[..above.min(rest.len())]).chain([rest.len()]);
        ends.into_iter().any(|end| exclude.matches(root, &rest[..end]))
    }

    /// The bytes that `path` has in common with that of a watch, at most, up to and with a slash.
    fn shared_with_watches(&self, path: &[u8]) -> usize {
        let shared = |rule: &Arc<Rule>| {
            let other = rule.path.as_os_str().as_bytes();
            let same = path.iter().zip(other).take_while(|(one, other)| one == other).count();
            // The whole path of the watch may end where a name of `path` does.
            let same =
                if same == other.len() && path.get(same) == Some(&b'/') { same + 1 } else { same };
            memchr::memrchr(b'/', &path[..same]).map_or(0, |slash| slash + 1)
        };
        self.rules.iter().map(shared).max().unwrap_or_default()
    }
}

/// The rules in force. They can be replaced while the engine uses them.
#[derive(Clone, Default)]
pub(crate) struct Skipper(Arc<ArcSwap<Rules>>);

impl Skipper {
    pub(crate) fn set(&self, rules: Rules) {
        self.0.store(Arc::new(rules));
    }

    /// For the engine.
    pub(crate) fn skip_dir(&self) -> SkipDir {
        SkipDir { skips: self.asked(Asked::OnTheWayDown), by_path: true }
    }

    /// For the thread that follows mounts.
    pub(crate) fn skips(&self) -> Skips {
        self.asked(Asked::Alone)
    }

    fn asked(&self, asked: Asked) -> Skips {
        Box::new(ByRules { rules: self.clone(), path: Vec::with_capacity(1 << 13), asked })
    }
}

struct ByRules {
    rules: Skipper,
    /// Used again and again, so that nothing is allocated.
    path: Vec<u8>,
    asked: Asked,
}

impl Skip for ByRules {
    fn skips(&mut self, root: &[u8], path: &[u8]) -> bool {
        self.path.clear();
        if root != b"/" {
            self.path.extend_from_slice(root);
        }
        if !path.is_empty() {
            self.path.push(b'/');
            self.path.extend_from_slice(path);
        }
        self.rules.0.load().skips(&self.path, self.asked)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rules(rules: &[(&str, &[&str], Option<u32>)]) -> Skipper {
        let rule = |(path, exclude, levels): &(&str, &[&str], Option<u32>)| {
            let exclude: Vec<_> = exclude.iter().map(|glob| (*glob).to_owned()).collect();
            Arc::new(Rule::new(Path::new(path), &exclude, *levels).expect("valid"))
        };
        let skipper = Skipper::default();
        skipper.set(Rules::new(Path::new("/var/history"), rules.iter().map(rule).collect()));
        skipper
    }

    /// As somebody asks who knows nothing else. Who asks on the way down gets the same, until something is left out.
    fn skipped(skipper: &Skipper, root: &str, paths: &[&str]) -> Vec<bool> {
        let (mut skips, mut on_the_way) = (skipper.skips(), skipper.skip_dir().skips);
        let mut ask = |path: &str| {
            let is_skipped = skips.skips(root.as_bytes(), path.as_bytes());
            let names: Vec<_> = path.split('/').collect();
            let mut ways = (1..=names.len()).map(|count| names[..count].join("/"));
            let on_the_way = ways.any(|way| on_the_way.skips(root.as_bytes(), way.as_bytes()));
            assert_eq!(on_the_way, is_skipped, "{path}");
            is_skipped
        };
        paths.iter().map(|path| ask(path)).collect()
    }

    #[test]
    fn excluded_directories_are_left_out_unless_a_watch_is_below() {
        let skipper = rules(&[("/srv", &["target"], None), ("/srv/target/keep", &[], None)]);
        let paths = ["a", "target", "target/x", "target/keep", "target/keep/y", "a/target/x"];
        assert_eq!(skipped(&skipper, "/srv", &paths), [false, false, true, false, false, true]);
    }

    #[test]
    fn on_the_way_down_what_is_above_counts_where_it_holds_a_watch() {
        let skipper =
            rules(&[("/srv", &["target", "x/y"], None), ("/srv/a/target/b/keep", &[], None)]);
        let paths = [
            "a/target",
            "a/target/b",
            "a/target/bc",
            "a/target/b/c",
            "a/target/b/keep/target",
            "x/y",
            "x/y/z",
        ];
        assert_eq!(
            skipped(&skipper, "/srv", &paths),
            [false, false, true, true, false, true, true]
        );
        let mut on_the_way = skipper.skip_dir().skips;
        // Nobody who was told no asks this.
        assert!(!on_the_way.skips(b"/srv", b"target/x"));
    }

    #[test]
    fn what_is_deeper_than_recorded_is_left_out() {
        let skipper = rules(&[("/srv", &[], Some(1)), ("/srv/a/b", &[], Some(2))]);
        let paths = ["a", "c", "c/d", "a/b", "a/b/d", "a/b/d/e", "a/b/d/e/f", "a/x"];
        let expected = [false, false, true, false, false, false, true, true];
        assert_eq!(skipped(&skipper, "/srv", &paths), expected);
    }

    #[test]
    fn the_history_is_left_out_whatever_is_watched() {
        let skipper = rules(&[("/", &[], None)]);
        assert_eq!(
            skipped(&skipper, "/", &["var", "var/history", "var/history2"]),
            [false, true, false]
        );
        assert!(skipped(&skipper, "/var/history", &[""])[0]);
    }
}

//! What a configuration would watch, how, and at what cost for others.

use crate::config::{Config, State, USUAL, Watch};
use fsmon_format::kind;
use fsmon_present::message::{counted, shown};
use std::collections::BTreeMap;
use std::fmt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// What would be watched. `Display` gives lines for people.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Preview {
    /// Each watch, in the order of the configuration.
    pub watches: Vec<Planned>,
    /// Each filesystem of a watched path.
    pub filesystems: Vec<Filesystem>,
}

/// A watch, and what is at its path.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Planned {
    /// The watch.
    pub watch: Watch,
    /// Who wants it.
    pub origin: Origin,
    /// What is at its path now.
    pub presence: Presence,
}

/// Where a watch comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// The configuration.
    Configuration,
    /// The state file.
    State,
}

/// What is at the path of a watch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Presence {
    /// A directory, or something else that the engine refuses.
    There,
    /// Nothing yet: the daemon waits for it.
    Pending,
}

/// A filesystem, and what the kernel would report of it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Filesystem {
    /// Its device (`st_dev`).
    pub dev: u64,
    /// The first watched path on it.
    pub path: PathBuf,
    /// All types that are asked for, and those that always are: bits of [`kind`].
    pub types: u32,
    /// The watches that ask for more than the usual types, and for which ([`Watch::widens`]).
    pub widened_by: Vec<Widening>,
}

/// A watch that has the kernel make more events of a filesystem.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Widening {
    /// Its path.
    pub path: PathBuf,
    /// For which types: bits of [`kind`].
    pub types: u32,
}

impl Preview {
    /// Looks at each path. A path that is missing counts for the filesystem where it would be made.
    #[must_use]
    pub fn new(config: &Config, state: &State) -> Self {
        let from_state = config.with_state(state).into_iter().skip(config.watches.len());
        let own = config.watches.iter().cloned().map(|watch| (watch, Origin::Configuration));
        let all = own.chain(from_state.map(|watch| (watch, Origin::State)));
        let watches: Vec<_> = all
            .map(|(watch, origin)| Planned { presence: presence(&watch.path), watch, origin })
            .collect();
        let mut filesystems: BTreeMap<u64, Filesystem> = BTreeMap::new();
        for watch in watches.iter().map(|planned| &planned.watch) {
            let Some(dev) = device(&watch.path) else { continue };
            let here = || Filesystem::new(dev, watch.path.clone());
            filesystems.entry(dev).or_insert_with(here);
        }
        let mut filesystems: Vec<_> = filesystems.into_values().collect();
        for watch in watches.iter().map(|planned| &planned.watch) {
            filesystems.iter_mut().for_each(|filesystem| filesystem.widen(watch));
        }
        Preview { watches, filesystems }
    }
}

impl Filesystem {
    fn new(dev: u64, path: PathBuf) -> Self {
        Filesystem { dev, path, types: USUAL, widened_by: Vec::new() }
    }

    fn widen(&mut self, watch: &Watch) {
        let types = watch.widens();
        if types != 0 {
            self.types |= types;
            self.widened_by.push(Widening { path: watch.path.clone(), types });
        }
    }
}

fn presence(path: &Path) -> Presence {
    if path.exists() { Presence::There } else { Presence::Pending }
}

/// The device of the path, or of the nearest directory above that is there.
fn device(path: &Path) -> Option<u64> {
    path.ancestors().find_map(|at| at.metadata().ok()).map(|data| data.dev())
}

/// The names of types, in the order in which they happen.
fn names(types: u32) -> String {
    let names: Vec<_> = kind::in_causal_order(types).map(|kind| kind.name).collect();
    names.join(" ")
}

impl fmt::Display for Preview {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.watches.is_empty() {
            return writeln!(f, "nothing is watched");
        }
        let count = counted(self.watches.len() as u64, "directory is", "directories are");
        writeln!(f, "{count} watched")?;
        self.watches.iter().try_for_each(|planned| writeln!(f, "  {planned}"))?;
        for filesystem in &self.filesystems {
            write!(f, "{filesystem}")?;
        }
        Ok(())
    }
}

impl fmt::Display for Planned {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let watch = &self.watch;
        write!(f, "{}: {}", shown(&watch.path), names(watch.types()))?;
        match (watch.recursive, watch.max_depth) {
            (true, None) => write!(f, "; recursive")?,
            (true, Some(depth)) => write!(f, "; {}", counted(depth.into(), "level", "levels"))?,
            (false, _) => write!(f, "; not recursive")?,
        }
        if let Some(size) = watch.size {
            write!(f, "; files of size {size}")?;
        }
        for (key, patterns) in watch.filters().filter(|(_, patterns)| !patterns.is_empty()) {
            write!(f, "; {key} {}", shown(Path::new(&patterns.join(","))))?;
        }
        let extras = [
            ("hard links", watch.hard_links),
            ("follows mounts", watch.follow_mounts),
            ("command lines", watch.cmdline),
        ];
        for (extra, _) in extras.iter().filter(|(_, is_set)| *is_set) {
            write!(f, "; {extra}")?;
        }
        if self.origin == Origin::State {
            write!(f, "; added while the daemon ran")?;
        }
        if self.presence == Presence::Pending {
            write!(f, "; pending: it does not exist yet")?;
        }
        Ok(())
    }
}

impl fmt::Display for Filesystem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (major, minor) = (nix::sys::stat::major(self.dev), nix::sys::stat::minor(self.dev));
        let path = shown(&self.path);
        writeln!(f, "filesystem {major}:{minor} of {path}: {}", names(self.types))?;
        self.widened_by.iter().try_for_each(|by| writeln!(f, "  {by}"))
    }
}

impl fmt::Display for Widening {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} because of {}: {WIDENS}", names(self.types), shown(&self.path))
    }
}

/// What it means that a watch asks for more than the usual types.
pub const WIDENS: &str = "the kernel reports such events of all watched filesystems";

#[cfg(test)]
mod tests {
    use super::*;

    fn preview(text: &str, state: &State) -> Preview {
        Preview::new(&Config::from_toml(text, "f.toml").expect("right"), state)
    }

    #[test]
    fn each_watch_says_how_and_what_it_costs_others() {
        let dir = tempfile::tempdir().expect("a directory");
        let dir = dir.path().canonicalize().expect("there");
        let at = dir.display();
        let state =
            State { watches: vec![Watch::new(dir.join("a")), Watch::new(dir.join("added"))] };
        std::fs::create_dir(dir.join("b")).expect("made");
        let text = format!(
            "[[watch]]\npath = '{at}/b'\n[[watch]]\npath = '{at}/a'\ntypes = ['open', 'create']\n\
             recursive = false\ncmdline = true\nsize = '>1M'\n"
        );
        let preview = preview(&text, &state);
        let dev = dir.metadata().expect("there").dev();
        let (major, minor) = (nix::sys::stat::major(dev), nix::sys::stat::minor(dev));
        assert_eq!(
            preview.to_string(),
            format!(
                "3 directories are watched\n  \
                 {at}/b: CREATE RENAME ATTRIB CLOSE_WRITE DELETE; recursive\n  \
                 {at}/a: CREATE OPEN; not recursive; files of size >1M; command lines; pending: it does not \
                 exist yet\n  \
                 {at}/added: CREATE RENAME ATTRIB CLOSE_WRITE DELETE; recursive; added while the daemon \
                 ran; pending: it does not exist yet\n\
                 filesystem {major}:{minor} of {at}/b: CREATE RENAME OPEN MODIFY ATTRIB CLOSE_WRITE DELETE\n  \
                 OPEN because of {at}/a: the kernel reports such events of all watched filesystems\n"
            )
        );
    }

    #[test]
    fn filesystems_are_told_apart() {
        let text = "[[watch]]\npath = '/proc'\ntypes = ['all']\n[[watch]]\npath = '/'";
        let preview = preview(text, &State::default());
        assert_eq!(preview.filesystems.len(), 2);
        for filesystem in &preview.filesystems {
            // The engine has one set of types.
            assert_eq!(filesystem.types, kind::EVERY);
            let [by] = &filesystem.widened_by[..] else { panic!("{filesystem:?}") };
            assert_eq!((&*by.path, by.types), (Path::new("/proc"), kind::EVERY & !USUAL));
        }
        let said = preview.to_string();
        assert_eq!(said.matches(" because of /proc: the kernel reports such").count(), 2, "{said}");
    }

    #[test]
    fn no_watch_is_said() {
        assert_eq!(preview("", &State::default()).to_string(), "nothing is watched\n");
    }
}

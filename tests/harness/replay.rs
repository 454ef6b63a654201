//! The replay oracle: a listing at the start and the lines give the listing at the end, and
//! nothing else is needed to know it.

use super::Event;
use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::fmt::{Display, Formatter};
use std::fs;
use std::path::{Path, PathBuf};

/// What lies below a directory, and whether it is a directory.
pub(crate) type Listing = BTreeMap<PathBuf, bool>;

/// Faults of a kind that are shown.
const SHOWN: usize = 5;

/// What lies below `dir` now.
pub(crate) fn listing(dir: &Path) -> Listing {
    let mut all = Listing::new();
    let mut todo = vec![dir.to_path_buf()];
    while let Some(dir) = todo.pop() {
        for entry in fs::read_dir(&dir).unwrap_or_else(|error| panic!("{dir:?}: {error}")) {
            let entry = entry.expect("an entry");
            let is_dir = entry.file_type().expect("a type").is_dir();
            if is_dir {
                todo.push(entry.path());
            }
            all.insert(entry.path(), is_dir);
        }
    }
    all
}

/// Applies the lines of what happened in `dir` in their order; gives the listing, and every line
/// that made no sense when it came, with why.
pub(crate) fn replay(dir: &Path, start: Listing, events: &[Event]) -> (Listing, Vec<String>) {
    let mut replay = Replay { dir, top: Entries::new() };
    // Parents sort before what is in them.
    for (path, is_dir) in start {
        replay.put(&path, Node::new(is_dir)).expect("a listing has no gaps");
    }
    let mut senseless = Vec::new();
    for (at, event) in events.iter().enumerate() {
        if let Err(why) = replay.apply(event) {
            let fields = serde_json::to_string(&event.0).expect("it came as JSON");
            senseless.push(format!("line {}, {why}: {fields}", at + 1));
        }
    }
    let mut end = Listing::new();
    list(&replay.top, dir, &mut end);
    (end, senseless)
}

type Entries = BTreeMap<OsString, Node>;

/// Why a line makes no sense.
type Senseless = &'static str;

enum Node {
    File,
    Dir(Entries),
}

impl Node {
    fn new(is_dir: bool) -> Self {
        if is_dir { Node::Dir(Entries::new()) } else { Node::File }
    }

    fn is_dir(&self) -> bool {
        matches!(self, Node::Dir(_))
    }

    fn is_empty(&self) -> bool {
        !matches!(self, Node::Dir(entries) if !entries.is_empty())
    }
}

fn list(entries: &Entries, dir: &Path, all: &mut Listing) {
    for (name, node) in entries {
        let path = dir.join(name);
        if let Node::Dir(entries) = node {
            list(entries, &path, all);
        }
        all.insert(path, node.is_dir());
    }
}

/// The tree as the lines so far tell it.
struct Replay<'a> {
    dir: &'a Path,
    top: Entries,
}

impl Replay<'_> {
    fn apply(&mut self, event: &Event) -> Result<(), Senseless> {
        let is_dir = event.flag("is_dir");
        match (event.kind(), event.path(), event.old_path()) {
            ("CREATE", Some(path), None) => self.create(&path, is_dir),
            ("DELETE", Some(path), None) => {
                let node = self.take(&path, is_dir)?;
                if node.is_empty() { Ok(()) } else { Err("not empty") }
            }
            ("RENAME", path, old) => self.rename(path.as_deref(), old.as_deref(), is_dir),
            ("CREATE" | "DELETE", ..) => Err("not one path"),
            ("LOSS", ..) => Err("something is missing"),
            _ => Ok(()),
        }
    }

    fn create(&mut self, path: &Path, is_dir: bool) -> Result<(), Senseless> {
        let (parent, name) = self.parent(path)?;
        if parent.contains_key(name) {
            return Err("it is there already");
        }
        self.put(path, Node::new(is_dir))
    }

    /// Moves an entry with all that is below it, in or out where a path is missing.
    fn rename(
        &mut self,
        path: Option<&Path>,
        old: Option<&Path>,
        is_dir: bool,
    ) -> Result<(), Senseless> {
        let node = match old {
            Some(old) if Some(old) == path => return Err("the same path twice"),
            Some(old) => self.take(old, is_dir)?,
            None if path.is_none() => return Err("no path"),
            None => Node::new(is_dir),
        };
        path.map_or(Ok(()), |path| self.put(path, node))
    }

    /// Takes an entry out.
    fn take(&mut self, path: &Path, is_dir: bool) -> Result<Node, Senseless> {
        let (parent, name) = self.parent(path)?;
        match parent.remove(name) {
            Some(node) if node.is_dir() == is_dir => Ok(node),
            Some(_) => Err("it is of another kind"),
            None => Err("it is not there"),
        }
    }

    /// Puts an entry in the place of what may be there: of its own kind and empty, as rename(2)
    /// has it.
    fn put(&mut self, path: &Path, node: Node) -> Result<(), Senseless> {
        let (parent, name) = self.parent(path)?;
        let is_dir = node.is_dir();
        match parent.insert(name.to_owned(), node) {
            Some(old) if old.is_dir() != is_dir => Err("what it replaces is of another kind"),
            Some(old) if !old.is_empty() => Err("what it replaces is not empty"),
            _ => Ok(()),
        }
    }

    /// The entries of a path's directory, and its name there.
    fn parent<'b>(&mut self, path: &'b Path) -> Result<(&mut Entries, &'b OsStr), Senseless> {
        let below = path.strip_prefix(self.dir).map_err(|_| "it is elsewhere")?;
        let name = below.file_name().ok_or("it is the directory itself")?;
        let mut entries = &mut self.top;
        for part in below.parent().into_iter().flatten() {
            match entries.get_mut(part) {
                Some(Node::Dir(next)) => entries = next,
                Some(Node::File) => return Err("it is in what is no directory"),
                None => return Err("its directory is not there"),
            }
        }
        Ok((entries, name))
    }
}

/// What the oracle says of a recording.
pub(crate) struct Verdict {
    /// Lines read, and entries at the end.
    lines: usize,
    entries: usize,
    /// In the directory and not in the replay, and the other way round.
    missing: Vec<PathBuf>,
    extra: Vec<PathBuf>,
    /// Lines that made no sense when they came.
    senseless: Vec<String>,
}

impl Verdict {
    /// Of what happened in `dir` since `start`; `end` is what it has now.
    pub(crate) fn new(dir: &Path, start: Listing, events: &[Event], end: &Listing) -> Self {
        let (replayed, senseless) = replay(dir, start, events);
        let only = |one: &Listing, other: &Listing| -> Vec<_> {
            let differs = |(path, kind): &(&PathBuf, &bool)| other.get(*path) != Some(*kind);
            one.iter().filter(differs).map(|(path, _)| path.clone()).collect()
        };
        let (missing, extra) = (only(end, &replayed), only(&replayed, end));
        Verdict { lines: events.len(), entries: end.len(), missing, extra, senseless }
    }

    /// Nothing missing, nothing extra, nothing out of order.
    pub(crate) fn is_exact(&self) -> bool {
        self.missing.is_empty() && self.extra.is_empty() && self.senseless.is_empty()
    }
}

impl Display for Verdict {
    fn fmt(&self, f: &mut Formatter<'_>) -> std::fmt::Result {
        let Verdict { lines, entries, missing, extra, senseless } = self;
        let (less, more, odd) = (missing.len(), extra.len(), senseless.len());
        write!(f, "{lines} lines, {entries} entries: ")?;
        write!(f, "{less} missing, {more} extra, {odd} senseless")?;
        let shown = |paths: &[PathBuf]| paths.iter().take(SHOWN).cloned().collect::<Vec<_>>();
        if less + more > 0 {
            write!(f, "; missing {:?}, extra {:?}", shown(missing), shown(extra))?;
        }
        senseless.iter().take(SHOWN).try_for_each(|line| write!(f, "\n  {line}"))
    }
}

/// The listing of `dir` now must follow from `start` and the lines, and every line must have made
/// sense when it came.
#[track_caller]
pub(crate) fn assert_follows(start: Listing, events: &[Event], dir: &Path) {
    let verdict = Verdict::new(dir, start, events, &listing(dir));
    assert!(verdict.is_exact(), "{verdict}");
}

//! The replay oracle itself: a listing at the start and the lines give the listing at the end, and
//! nothing else is needed to know it. It knows nothing of fsmon: the end-to-end tests give it lines of
//! JSON, the simulator gives it records.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};

/// What lies below a directory, and whether it is a directory.
pub type Listing = BTreeMap<PathBuf, bool>;

/// One line.
#[derive(Clone, Copy, Debug)]
pub struct Line<'a> {
    /// `CREATE` and so on.
    pub kind: &'a str,
    /// The path as it is afterwards.
    pub path: Option<&'a Path>,
    /// Of a rename: the path as it was before.
    pub old_path: Option<&'a Path>,
    /// Whether it is a directory.
    pub is_dir: bool,
}

/// Why a line makes no sense.
pub type Senseless = &'static str;

/// The tree as the lines so far tell it.
pub struct Replay<'a> {
    dir: &'a Path,
    top: Entries,
}

type Entries = BTreeMap<OsString, Node>;

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

impl<'a> Replay<'a> {
    /// Of what is in `dir` at the start.
    pub fn new(dir: &'a Path, start: Listing) -> Self {
        let mut replay = Replay { dir, top: Entries::new() };
        // Parents sort before what is in them.
        for (path, is_dir) in start {
            replay.put(&path, Node::new(is_dir)).expect("a listing has no gaps");
        }
        replay
    }

    /// What the lines say is there.
    pub fn listing(&self) -> Listing {
        let mut all = Listing::new();
        list(&self.top, self.dir, &mut all);
        all
    }

    /// Applies the next line.
    pub fn apply(&mut self, line: &Line<'_>) -> Result<(), Senseless> {
        match (line.kind, line.path, line.old_path) {
            ("CREATE", Some(path), None) => self.create(path, line.is_dir),
            ("DELETE", Some(path), None) => {
                let node = self.take(path, line.is_dir)?;
                if node.is_empty() { Ok(()) } else { Err("not empty") }
            }
            ("RENAME", path, old) => self.rename(path, old, line.is_dir),
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

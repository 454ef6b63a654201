//! The state file: the watches that `fsmon add` added, so that they are there again after a restart.

use super::document::{Document, Table};
use super::watch::{self, Watch};
use super::{file, keys};
use crate::limits::FILE_BYTES;
use fsmon_format::error::Error;
use fsmon_present::message::shown;
use serde::Serialize;
use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

/// The first lines of a state file.
const HEADER: &str = "\
# Written by fsmon: what `fsmon add` added and `fsmon remove` did not remove since.
# What is to be watched always belongs in the configuration.
";

/// The permissions of a state file: the daemon writes it, its group may read it.
const MODE: u32 = 0o640;

/// The content of a state file.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct State {
    /// What was added, each path once.
    pub watches: Vec<Watch>,
}

/// The same as TOML has it.
#[derive(Serialize)]
struct Written<'a> {
    watch: &'a [Watch],
}

impl State {
    /// Reads a state. `name` is that of its file, for errors.
    ///
    /// # Errors
    /// As of `Config::from_toml`.
    pub fn from_toml(text: &str, name: &str) -> Result<Self, Error> {
        let document = Document::new(text, name)?;
        let parsed = document.parse()?;
        let top = Table::top(document, &parsed, &keys::STATE_TOP)?;
        Ok(State { watches: watch::watches(&top)? })
    }

    /// The text of a state file.
    ///
    /// # Errors
    /// A path is not UTF-8, as all of a TOML file must be. The kind is `Invalid`.
    pub fn to_toml(&self) -> Result<String, Error> {
        Ok(format!("{HEADER}{}", tables(&self.watches)?))
    }

    /// Reads the state in a file; a missing file is an empty one.
    ///
    /// # Errors
    /// As of `Config::load`: the file is damaged or cannot be trusted. The daemon can do without it; what to do is up to
    /// the caller, who must not [`State::save`] over a file that it could not read.
    pub fn load(path: &Path) -> Result<Self, Error> {
        match file::read(path) {
            Ok(text) => State::from_toml(&text, &shown(path)),
            Err(error) if error.raw_os_error() == Some(nix::libc::ENOENT) => Ok(State::default()),
            Err(error) => Err(error),
        }
    }

    /// Writes the state to a file, as a whole: whatever happens, the file has the old content or the new one. On return
    /// the new one is on disk. Only one process may do so at a time.
    ///
    /// # Errors
    /// As [`State::to_toml`]. The directory is missing; the file there is none that [`State::load`] would trust; writing
    /// failed. The file is as before, unless the last step failed: that the new one is durable.
    pub fn save(&self, path: &Path) -> Result<(), Error> {
        let text = self.to_toml()?;
        if text.len() as u64 > FILE_BYTES {
            return Err(Error::invalid(format!(
                "the watches that were added take more than {FILE_BYTES} bytes in {}; write some into the configuration",
                shown(path)
            )));
        }
        // What this process does not believe it does not replace either.
        match file::read(path) {
            Err(error) if error.raw_os_error() != Some(nix::libc::ENOENT) => return Err(error),
            _ => {}
        }
        replace(path, &text)
    }
}

/// The `[[watch]]` tables of these watches.
///
/// # Errors
/// A path is not UTF-8, as all of a TOML file must be. The kind is `Invalid`.
pub(crate) fn tables(watches: &[Watch]) -> Result<String, Error> {
    if let Some(watch) = watches.iter().find(|watch| watch.path.to_str().is_none()) {
        return Err(Error::invalid(format!(
            "{} is not UTF-8, so that it cannot be written to a configuration; watch the \
             directory above it",
            shown(&watch.path)
        )));
    }
    toml::to_string(&Written { watch: watches })
        .map_err(|error| Error::invalid(format!("cannot write the watches: {error}")))
}

/// Writes a file as a whole, as [`State::save`] says, whatever is there.
///
/// # Errors
/// Writing failed.
pub(crate) fn replace(path: &Path, text: &str) -> Result<(), Error> {
    let new = beside(path);
    let written = write_new(&new, text).and_then(|()| std::fs::rename(&new, path));
    let written = written.inspect_err(|_| drop(std::fs::remove_file(&new)));
    let written = written.and_then(|()| File::open(parent(path))?.sync_all());
    written.map_err(|error| Error::os(format!("cannot write {}", shown(path)), error))
}

/// The name under which a file is written first.
fn beside(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".new");
    name.into()
}

/// Makes the file anew: one that a process left here when it was killed is not gone on with.
fn write_new(path: &Path, text: &str) -> io::Result<()> {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    make(path, text)
}

/// Makes a file where there is none; a symbolic link counts as one. What could not be written as a whole is removed.
pub(crate) fn make(path: &Path, text: &str) -> io::Result<()> {
    let mut file = OpenOptions::new().write(true).create_new(true).mode(MODE).open(path)?;
    let written = file.write_all(text.as_bytes()).and_then(|()| file.sync_all());
    written.inspect_err(|_| drop(std::fs::remove_file(path)))
}

fn parent(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    }
}

//! What fsmon 0.2.6 and 0.5 had configured, as watches of this version.
//!
//! ```text
//!  places ──► file ─┬─ settings (fsmon.toml) ──► notes, and where the watches are
//!                   └─ lines (managed.jsonl, monitored.jsonl) ──► entry ──► Watch ──► union ──► [[watch]]
//! ```
//!
//! Whatever these files contain, what comes out is a configuration that this version takes. A filter that has no
//! equivalent is left out, so that more is recorded, and a note says so.

mod commands;
mod entry;
mod lines;
mod notes;
mod output;
mod places;
mod settings;
mod union;

pub use notes::{Note, Notes};
pub use output::{Existing, write};
pub use places::{Home, Places};

use crate::ask::must_answer;
use crate::config::file::{Links, read_bytes};
use crate::config::{Config, Watch};
use fsmon_format::error::{Error, ErrorKind};
use fsmon_present::message::shown;
use std::path::{Path, PathBuf};

/// A watch, and where it comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    /// The watch, as this version has it.
    pub watch: Watch,
    /// Where an older version had it.
    pub at: Place,
}

/// A line of a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// The name of the file, for messages.
    pub file: String,
    /// Its line, from 1 on.
    pub line: usize,
}

/// What has been read so far.
#[derive(Debug, Default)]
pub struct Import {
    found: Vec<Found>,
    notes: Notes,
    /// Files that say where others are.
    stores: Vec<Store>,
    read: usize,
}

/// A file with watches that a `fsmon.toml` names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Store {
    /// As it stands there; it may begin with `~`.
    pub path: PathBuf,
    /// Where it stands.
    pub at: Place,
    /// Whose file it is.
    pub version: Version,
}

/// The older versions, by the files in which they keep what is watched.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Version {
    /// 0.2.6: `managed.jsonl`.
    Managed,
    /// 0.5: `monitored.jsonl`.
    Monitored,
}

/// What came out.
#[derive(Debug)]
pub struct Imported {
    /// The watches, each path once. Together they are part of a configuration.
    pub watches: Vec<Found>,
    /// What could not be taken over, or is different now.
    pub notes: Notes,
}

impl Import {
    /// Reads a file: a regular one that belongs to root or to `owner`, and is no symbolic link.
    ///
    /// # Errors
    /// It cannot be read or believed, or nothing in it can be understood: one line.
    pub fn read(&mut self, path: &Path, owner: u32) -> Result<(), Error> {
        let bytes = read_bytes(path, owner, Links::Refused)?;
        self.take(&bytes, &shown(path))
    }

    /// Takes the content of a file. `name` is that of the file, for messages.
    ///
    /// # Errors
    /// Nothing in it can be understood: one line.
    pub fn take(&mut self, bytes: &[u8], name: &str) -> Result<(), Error> {
        match bytes.trim_ascii_start().first() {
            Some(b'{') => lines::read(bytes, name, &mut self.found, &mut self.notes)?,
            Some(_) => self.stores.extend(settings::read(bytes, name, &mut self.notes)?),
            // Without any watch the older versions leave an empty file.
            None => {}
        }
        self.read += 1;
        Ok(())
    }

    /// How many files were understood.
    #[must_use]
    pub fn files(&self) -> usize {
        self.read
    }

    /// The files with watches that were named so far.
    #[must_use]
    pub fn stores(&self) -> &[Store] {
        &self.stores
    }

    /// What the user is told.
    pub fn notes(&mut self) -> &mut Notes {
        &mut self.notes
    }

    /// Puts all that was found together. `is_file` says whether a path is a file now: watches are of directories.
    pub fn finish(mut self, is_file: impl Fn(&Path) -> bool) -> Imported {
        let found = union::of_directories(self.found, is_file, &mut self.notes);
        let found = union::each_path_once(found, &mut self.notes);
        let found = union::innermost_decide(&found, &mut self.notes);
        let watches = output::that_fit(found, &mut self.notes);
        self.notes.sort();
        Imported { watches, notes: self.notes }
    }
}

impl Imported {
    /// The `[[watch]]` tables, with where each comes from.
    ///
    /// # Errors
    /// This version does not take them: a fault of fsmon.
    pub fn to_toml(&self) -> Result<String, Error> {
        let text = output::text(&self.watches)?;
        let config = Config::from_toml(&text, "what would be printed").map_err(|error| {
            Error::new(ErrorKind::Internal, format!("{error}; please report this"))
        })?;
        debug_assert!(config.watches.iter().eq(self.watches.iter().map(|found| &found.watch)));
        Ok(text)
    }
}

/// Whether there is a file at a path now, and no directory. What does not answer counts as a directory.
#[must_use]
pub fn is_file_now(path: &Path) -> bool {
    must_answer(path).is_ok() && path.metadata().is_ok_and(|data| !data.is_dir())
}

/// Why this version does not take a watch; `None` if it does.
fn refusal(watch: &Watch) -> Option<String> {
    let error = Config::default().check_watch(watch, "").err()?;
    Some(error.to_string().trim_start_matches(':').trim_start().to_owned())
}

#[cfg(test)]
mod tests;

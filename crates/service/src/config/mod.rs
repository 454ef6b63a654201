//! The configuration of the daemon: a TOML file.
//!
//! ```text
//!  text ──► document (tables and values that know line and column) ──► sections ──► relations ──► Config
//! ```
//!
//! The keys stand in `keys.rs`. `packaging/fsmon.toml` shows each with its default.

mod difference;
pub(crate) mod document;
pub(crate) mod file;
mod host;
mod keys;
mod relations;
mod sections;
pub(crate) mod state;
pub(crate) mod values;
mod watch;
mod wire;

pub use difference::{Changed, Changes, difference};
pub use sections::{
    Control, Engine, Free, History, Keep, Listen, Metrics, Queue, Rotate, Sessions, StateFile,
};
pub use state::State;
pub(crate) use watch::USUAL;
pub use watch::{FILTERS, Watch};

use document::{Document, Table};
use fsmon_format::error::Error;
use fsmon_present::message::shown;
pub use fsmon_present::size::{Comparison, Size};
use serde::{Deserialize, Serialize};
use std::path::Path;

/// Where the configuration is if nothing else is said.
pub const DEFAULT_PATH: &str = "/etc/fsmon/fsmon.toml";

/// What the daemon is to do. [`Config::default`] has the defaults, and watches nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Config {
    /// Where the history is, and how much of it is kept.
    pub history: History,
    /// The socket by which the daemon is asked and told.
    pub control: Control,
    /// `fsmon run` for users without rights.
    pub sessions: Sessions,
    /// Where watches are that were added while the daemon ran.
    pub state: StateFile,
    /// Where metrics can be read.
    pub metrics: Metrics,
    /// The kernel's queue.
    pub queue: Queue,
    /// The engine.
    pub engine: Engine,
    /// What is watched, each path once, in the order of the file.
    pub watches: Vec<Watch>,
}

impl Config {
    /// Reads a configuration. `name` is that of its file, for errors.
    ///
    /// # Errors
    /// The text is no TOML, has an unknown key or a wrong value, or values contradict each other: one line, which names
    /// file, line, column and key, and says what to write. The kind is always `Invalid`.
    pub fn from_toml(text: &str, name: &str) -> Result<Self, Error> {
        let document = Document::new(text, name)?;
        let parsed = document.parse()?;
        let top = Table::top(document, &parsed, &keys::TOP)?;
        let config = sections::config(&top)?;
        relations::check(&top, &config)?;
        Ok(config)
    }

    /// Reads the configuration in a file.
    ///
    /// # Errors
    /// As [`Config::from_toml`]. Besides, the file cannot be read, is no regular file, or somebody else could have
    /// written it: it must belong to root or to the user of this process, and not be writable for all.
    pub fn load(path: &Path) -> Result<Self, Error> {
        Config::from_toml(&file::read(path)?, &shown(path))
    }
}

#[cfg(test)]
mod tests;

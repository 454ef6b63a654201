//! The watches of the daemon: where each comes from, and how it is.

use crate::config::Watch;
use std::path::{Path, PathBuf};

/// Where a watch comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Origin {
    /// The configuration.
    Config,
    /// `add`, and the state file.
    Added,
    /// `add --runtime`: it ends with the daemon.
    Runtime,
}

/// How a watch is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum State {
    /// Changes below it are recorded.
    Active,
    /// It waits for its path to exist.
    Pending,
    /// It cannot be watched, for this reason.
    Failed(String),
}

impl State {
    pub(crate) fn name(&self) -> &'static str {
        match self {
            State::Active => "active",
            State::Pending => "pending",
            State::Failed(_) => "failed",
        }
    }
}

/// A watch.
#[derive(Clone, Debug)]
pub(crate) struct Entry {
    /// Never used again.
    pub(crate) number: u32,
    pub(crate) watch: Watch,
    /// Its path without symbolic links, as far as it exists.
    pub(crate) real: PathBuf,
    pub(crate) origin: Origin,
    pub(crate) state: State,
    /// Directories known below it when it began.
    pub(crate) directories: u32,
}

/// All watches, in the order in which they came.
#[derive(Default)]
pub(crate) struct Table {
    entries: Vec<Entry>,
    last: u32,
}

impl Table {
    pub(crate) fn entries(&self) -> &[Entry] {
        &self.entries
    }

    pub(crate) fn at(&self, path: &Path) -> Option<&Entry> {
        self.entries.iter().find(|entry| entry.watch.path == path)
    }

    pub(crate) fn numbered(&self, number: u32) -> Option<&Entry> {
        self.entries.iter().find(|entry| entry.number == number)
    }

    /// A number for one more watch.
    pub(crate) fn next_number(&mut self) -> u32 {
        self.last += 1;
        self.last
    }

    pub(crate) fn add(&mut self, entry: Entry) {
        self.entries.push(entry);
    }

    pub(crate) fn remove(&mut self, number: u32) {
        self.entries.retain(|entry| entry.number != number);
    }

    pub(crate) fn change(&mut self, number: u32, change: impl FnOnce(&mut Entry)) {
        if let Some(entry) = self.entries.iter_mut().find(|entry| entry.number == number) {
            change(entry);
        }
    }

    /// The watches that the state file must have.
    pub(crate) fn added(&self) -> Vec<Watch> {
        let added = self.entries.iter().filter(|entry| entry.origin == Origin::Added);
        added.map(|entry| entry.watch.clone()).collect()
    }
}

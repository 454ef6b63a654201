//! Changes of what is watched, by a client or by another configuration.

use super::begin::not_watched;
use super::{Daemon, lock};
use crate::ask::must_answer;
use crate::config::{Config, State as StateFile, Watch};
use crate::control::protocol::Fields;
use crate::limits::WATCHES_MAX;
use crate::status;
use crate::table::{Entry, Origin, State};
use fsmon_format::error::{Error, ErrorKind};
use fsmon_present::message::{self, shown};
use std::path::Path;
use std::sync::atomic::Ordering;

impl Daemon {
    pub(super) fn add(&self, watch: Watch, is_runtime: bool) -> Result<Fields, Error> {
        must_answer(&watch.path)?;
        let _changing = lock(&self.changing);
        self.must_be_taken()?;
        let path = watch.path.clone();
        let before = lock(&self.table).at(&path).cloned();
        match &before {
            Some(entry) if entry.origin == Origin::Config => return Err(self.is_configured(&path)),
            Some(entry) => self.end(entry)?,
            None if lock(&self.table).entries().len() >= WATCHES_MAX => {
                return Err(Error::new(
                    ErrorKind::Busy,
                    format!("more than {WATCHES_MAX} watches; remove one"),
                ));
            }
            None => {}
        }
        let origin = if is_runtime { Origin::Runtime } else { Origin::Added };
        let added = self.add_and_keep(watch, origin);
        if let (Err(_), Some(before)) = (&added, before) {
            // As it was, as far as that is possible.
            self.begin_all([(before.watch, before.origin)].into_iter());
        }
        added?;
        let table = lock(&self.table);
        Ok(table.at(&path).map(status::watch_fields).unwrap_or_default())
    }

    /// Begins a watch, and writes it into the state file.
    ///
    /// # Errors
    /// One of them failed, and the watch is not in the table.
    pub(super) fn add_and_keep(&self, watch: Watch, origin: Origin) -> Result<(), Error> {
        let number = self.prepare(watch, origin);
        self.set_rules();
        let begun = match self.begin(number) {
            Some((path, State::Failed(why))) => {
                Err(Error::new(ErrorKind::Io, not_watched(&path, &why)))
            }
            _ => self.save_state(),
        };
        if begun.is_err() {
            let entry = lock(&self.table).numbered(number).cloned();
            entry.map_or(Ok(()), |entry| self.end(&entry))?;
        }
        begun
    }

    pub(super) fn is_configured(&self, path: &Path) -> Error {
        Error::invalid(format!(
            "{} is watched by the configuration; change {} and reload",
            shown(path),
            shown(&self.source)
        ))
    }

    pub(super) fn remove(&self, path: &Path) -> Result<Fields, Error> {
        let _changing = lock(&self.changing);
        let Some(entry) = lock(&self.table).at(path).cloned() else {
            return Err(Error::new(
                ErrorKind::NotFound,
                format!("{} is not watched; fsmon list shows what is", shown(path)),
            ));
        };
        if entry.origin == Origin::Config {
            return Err(self.is_configured(path));
        }
        self.end(&entry)?;
        self.save_state().map_err(|error| {
            error.after("it is watched no longer, but will be again after a restart: ")
        })?;
        Ok(Fields::new())
    }

    pub(super) fn save_state(&self) -> Result<(), Error> {
        let watches = lock(&self.table).added();
        let file = lock(&self.config).state.file.clone();
        if self.is_state_lost.load(Ordering::Relaxed) {
            return Err(Error::new(
                ErrorKind::Damaged,
                format!(
                    "{} could not be read when the daemon started, and is not replaced; mend it or move it away, \
                     and restart the daemon",
                    shown(&file)
                ),
            ));
        }
        StateFile { watches }.save(&file)
    }

    /// Applies the difference between a configuration and what is. What failed before is tried again.
    ///
    /// # Errors
    /// Recording is paused: nothing has changed.
    pub(super) fn reload(&self, new: &Config) -> Result<(), Error> {
        let _changing = lock(&self.changing);
        self.must_be_taken()?;
        let old = lock(&self.config).clone();
        for what in needs_restart(&old, new) {
            message::print(format_args!("`{what}` has changed: restart the daemon for that"));
        }
        lock(&self.config).clone_from(new);
        let is_as_wanted = |entry: &Entry| {
            entry.origin == Origin::Config
                && !matches!(entry.state, State::Failed(_))
                && new.watches.contains(&entry.watch)
        };
        let is_configured = |path: &Path| new.watches.iter().any(|watch| watch.path == path);
        // What was added by hand gives way to the configuration.
        let is_over = |entry: &&Entry| {
            !is_as_wanted(entry)
                && (entry.origin == Origin::Config || is_configured(&entry.watch.path))
        };
        let over: Vec<_> = lock(&self.table).entries().iter().filter(is_over).cloned().collect();
        for entry in over {
            if let Err(error) = self.end(&entry) {
                let path = shown(&entry.watch.path);
                message::print(format_args!("cannot end the watch of {path}: {error}"));
            }
        }
        let begun: Vec<_> = {
            let table = lock(&self.table);
            let is_new = |watch: &&Watch| table.at(&watch.path).is_none();
            new.watches.iter().filter(is_new).cloned().collect()
        };
        self.begin_all(begun.into_iter().map(|watch| (watch, Origin::Config)));
        if let Err(error) = self.save_state() {
            message::print(error);
        }
        message::print("the configuration was read again");
        Ok(())
    }
}

/// The sections that differ and are read at the start only.
fn needs_restart(old: &Config, new: &Config) -> Vec<&'static str> {
    let mut sections = Vec::new();
    let mut note = |name, differs: bool| {
        if differs {
            sections.push(name);
        }
    };
    note("history.dir", old.history.dir != new.history.dir);
    note("history.compress", old.history.compress != new.history.compress);
    note("history.rotate", old.history.rotate != new.history.rotate);
    note("control", old.control != new.control);
    note("sessions", old.sessions != new.sessions);
    note("metrics", old.metrics != new.metrics);
    note("queue", old.queue != new.queue);
    note("engine", old.engine != new.engine);
    // The engine does these for all watches, or for none.
    let is_new =
        |asks: fn(&Watch) -> bool| new.watches.iter().any(asks) && !old.watches.iter().any(asks);
    note("watch.cmdline", is_new(|watch| watch.cmdline));
    note("watch.hard_links", is_new(|watch| watch.hard_links));
    note("watch.follow_mounts", is_new(|watch| watch.follow_mounts));
    sections
}

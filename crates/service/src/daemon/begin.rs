//! How a watch begins and ends: what the table, the recorder and the engine do for it, and what is undone where one of
//! them refuses.

use super::{Daemon, lock};
use crate::ALWAYS_RECORDED;
use crate::ask::must_answer;
use crate::config::{State as StateFile, Watch};
use crate::limits::{ADD_PATIENCE, ENGINE_PATIENCE};
use crate::recorder::{Ask, Said, paused};
use crate::skip::{Rule, Rules};
use crate::table::{Entry, Origin, State};
use crate::watches::Watched;
use fsmon_engine::Command as ToEngine;
use fsmon_format::error::{Error, ErrorKind};
use fsmon_format::record::{Outcome, What};
use fsmon_present::filter::{Filter, Source, real};
use fsmon_present::message::{self, shown};
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::Ordering;

impl Daemon {
    /// Adds the watches of the configuration and of the state file. One that fails is said to have failed, and the
    /// others are watched all the same.
    pub(super) fn begin_watches(&self) {
        let _changing = lock(&self.changing);
        let config = lock(&self.config).clone();
        let state = StateFile::load(&config.state.file).unwrap_or_else(|error| {
            message::print(format_args!(
                "{error}; without what was added, and nothing more can be added until that is mended"
            ));
            self.is_state_lost.store(true, Ordering::Relaxed);
            StateFile::default()
        });
        let is_configured =
            |watch: &Watch| config.watches.iter().any(|known| known.path == watch.path);
        let watches = config.with_state(&state);
        self.begin_all(watches.into_iter().map(|watch| {
            let origin = if is_configured(&watch) { Origin::Config } else { Origin::Added };
            (watch, origin)
        }));
    }

    /// Begins watches together: each of them is known before the engine reads directories for the first, as an inner
    /// one wants what one around it leaves out.
    pub(super) fn begin_all(&self, watches: impl Iterator<Item = (Watch, Origin)>) {
        let numbers: Vec<_> = watches.map(|(watch, origin)| self.prepare(watch, origin)).collect();
        self.set_rules();
        for number in numbers {
            if let Some((path, State::Failed(why))) = self.begin(number) {
                message::print(not_watched(&path, &why));
            }
        }
    }

    /// Puts a watch into the table. Returns its number.
    pub(super) fn prepare(&self, watch: Watch, origin: Origin) -> u32 {
        let (real, state) = match must_answer(&watch.path) {
            Ok(()) => (real(&watch.path), State::Pending),
            Err(error) => (watch.path.clone(), State::Failed(error.to_string())),
        };
        let mut table = lock(&self.table);
        let number = table.next_number();
        table.add(Entry { number, watch, real, origin, state, directories: 0 });
        number
    }

    /// Begins a watch of the table. Returns its path, and what it became; `None` if it is gone.
    pub(super) fn begin(&self, number: u32) -> Option<(PathBuf, State)> {
        let entry = lock(&self.table).numbered(number).cloned()?;
        let path = entry.watch.path.clone();
        if let State::Failed(_) = entry.state {
            return Some((path, entry.state));
        }
        let (state, directories) =
            self.record(&entry).unwrap_or_else(|error| (State::Failed(error.to_string()), 0));
        lock(&self.table).change(number, |entry| {
            entry.state = state.clone();
            entry.directories = directories;
        });
        Some((path, state))
    }

    /// Has the recorder and the engine take up a watch.
    ///
    /// # Errors
    /// One of them refuses, and neither has it then.
    pub(super) fn record(&self, entry: &Entry) -> Result<(State, u32), Error> {
        let watch = &entry.watch;
        self.must_be_taken()?;
        let filter = Filter::new(
            &recorded(watch),
            fsmon_format::kind::DEFAULT,
            Source::Live,
            self.capacity,
        )?
        .below(&watch.path)?;
        let path = watch.path.as_os_str().as_bytes().to_vec();
        let (number, levels, cmdline) = (entry.number, levels(watch), watch.cmdline);
        self.engine.ask(Ask::Watch(Box::new(Watched { number, path, levels, cmdline, filter })))?;
        let said = self.said(watch, None, String::new());
        self.add_root(&watch.path, said).inspect_err(|error| {
            let said = || self.said(watch, Some(What::WatchFailed), error.to_string());
            // The engine has the root if it failed late.
            let forgotten = self.forget(entry, said());
            // Where no answer came in time, the recorder still does it.
            if forgotten.is_err_and(|error| error.kind() != ErrorKind::Busy) {
                let _ = self.engine.ask(Ask::Unwatch(number, Box::new(said())));
            }
        })
    }

    /// Has the recorder and the engine drop a watch.
    pub(super) fn forget(&self, entry: &Entry, said: Said) -> Result<(), Error> {
        let path = entry.watch.path.clone();
        let remove = |token| ToEngine::RemoveRoot { token, path };
        let ask = Ask::Unwatch(entry.number, Box::new(said));
        self.engine.ask_with(ask, ENGINE_PATIENCE, remove).map(drop)
    }

    /// For who wants something to be in the history.
    ///
    /// # Errors
    /// Recording is paused.
    pub(super) fn must_record(&self) -> Result<(), Error> {
        self.shared.paused().map_or(Ok(()), |why| Err(paused(why)))
    }

    /// For who changes what is watched.
    ///
    /// # Errors
    /// Recording is paused, and the recorder takes nothing out of the ring: no answer would come.
    pub(super) fn must_be_taken(&self) -> Result<(), Error> {
        self.shared.held().map_or(Ok(()), |why| Err(paused(why)))
    }

    /// Has the engine watch a directory, with the types that all watches ask for.
    pub(super) fn add_root(&self, path: &Path, said: Said) -> Result<(State, u32), Error> {
        self.set_types()?;
        let add = |token| ToEngine::AddRoot { token, path: path.to_owned() };
        let reply = self.engine.ask_with(Ask::Note(Box::new(said)), ADD_PATIENCE, add)?;
        let state = match reply.outcome {
            Outcome::Active | Outcome::Done => State::Active,
            Outcome::Pending => State::Pending,
            _ => {
                let errno = i32::try_from(reply.errno).unwrap_or_default();
                let error = io::Error::from_raw_os_error(errno);
                return Err(Error::os("the engine cannot watch it", error));
            }
        };
        Ok((state, reply.directories))
    }

    /// Has the engine report the types that the watches ask for together, if they have changed.
    pub(super) fn set_types(&self) -> Result<(), Error> {
        let types = {
            let table = lock(&self.table);
            let types = table.entries().iter().map(|entry| entry.watch.types());
            types.fold(ALWAYS_RECORDED, |all, one| all | one)
        };
        if self.types.load(Ordering::Relaxed) == types {
            return Ok(());
        }
        let command = |token| ToEngine::Types { token, types };
        let reply = self.engine.ask_with(Ask::Nothing, ENGINE_PATIENCE, command)?;
        if reply.outcome != Outcome::Done {
            return Err(Error::new(
                ErrorKind::Unsupported,
                "the engine cannot report other types while it watches directories one by one (overlayfs); restart \
                 the daemon with the types in its configuration",
            ));
        }
        self.types.store(types, Ordering::Relaxed);
        Ok(())
    }

    /// Looks whether paths have appeared that watches wait for: the engine watches them already.
    pub(super) fn look_for_pending(&self) {
        let pending: Vec<_> = {
            let table = lock(&self.table);
            let pending = table.entries().iter().filter(|entry| entry.state == State::Pending);
            pending.cloned().collect()
        };
        let path = |entry: &Entry| entry.watch.path.clone();
        for entry in pending.iter().filter(|entry| must_answer(&path(entry)).is_ok()) {
            // A watch that is just being added says itself what it became.
            let Ok(_changing) = self.changing.try_lock() else { return };
            let is_pending = lock(&self.table)
                .numbered(entry.number)
                .is_some_and(|entry| entry.state == State::Pending);
            if !is_pending || !entry.watch.path.is_dir() || self.must_be_taken().is_err() {
                continue;
            }
            let said = self.said(&entry.watch, Some(What::WatchBegan), String::new());
            if self.engine.ask(Ask::Note(Box::new(said))).is_ok() {
                lock(&self.table).change(entry.number, |entry| entry.state = State::Active);
            }
        }
    }

    /// Ends a watch, and takes it out of the table.
    ///
    /// # Errors
    /// It could not be ended, and is as it was.
    pub(super) fn end(&self, entry: &Entry) -> Result<(), Error> {
        if !matches!(entry.state, State::Failed(_)) {
            self.must_be_taken()?;
            // One around it is read again when it goes: by the rules without it.
            self.set_rules_but(Some(entry.number));
            let said = self.said(&entry.watch, Some(What::WatchEnded), String::new());
            self.forget(entry, said).inspect_err(|_| self.set_rules())?;
        }
        lock(&self.table).remove(entry.number);
        self.set_rules();
        // What is reported beside it is dropped by the recorder.
        let _ = self.set_types();
        Ok(())
    }

    pub(super) fn said(&self, watch: &Watch, what: Option<What>, text: String) -> Said {
        Said {
            what,
            path: watch.path.as_os_str().as_bytes().to_vec(),
            text,
            types: watch.types() | ALWAYS_RECORDED,
            is_recursive: watch.recursive,
        }
    }

    pub(super) fn set_rules(&self) {
        self.set_rules_but(None);
    }

    /// Has the engine leave out what no watch wants, but for the one with that number.
    pub(super) fn set_rules_but(&self, number: Option<u32>) {
        let mut rules = Vec::new();
        for entry in lock(&self.table).entries().iter().filter(|entry| Some(entry.number) != number)
        {
            let (watch, levels) = (&entry.watch, levels(&entry.watch));
            // The engine may know the directory by either path.
            let mut paths = vec![&watch.path, &entry.real];
            paths.dedup();
            // A pattern that is wrong makes the watch fail.
            let rule = |path: &&PathBuf| Rule::new(path, &watch.exclude, levels).ok();
            rules.extend(paths.iter().filter_map(rule).map(Arc::new));
        }
        let history = real(&self.dir);
        self.skipper.set(Rules::new(&history, rules));
    }
}

/// Levels of names below the path that are recorded.
fn levels(watch: &Watch) -> Option<u32> {
    if watch.recursive { watch.max_depth } else { Some(1) }
}

/// What of a watch is recorded: what it asks for, and what is always.
fn recorded(watch: &Watch) -> fsmon_present::filter::Criteria {
    let mut criteria = watch.criteria();
    if criteria.types.is_empty() {
        let default = fsmon_format::kind::in_causal_order(fsmon_format::kind::DEFAULT);
        criteria.types = default.map(|kind| kind.name.to_owned()).collect();
    }
    let always = fsmon_format::kind::in_causal_order(ALWAYS_RECORDED);
    criteria.types.extend(always.map(|kind| kind.name.to_owned()));
    criteria
}

/// The line about a watch that failed. The engine's errors name the path themselves.
pub(super) fn not_watched(path: &Path, why: &str) -> String {
    match why.starts_with("cannot watch ") {
        true => why.to_owned(),
        false => format!("cannot watch {}: {why}", shown(path)),
    }
}

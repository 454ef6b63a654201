//! The daemon: starts the threads, carries out commands, and ends in order.
//!
//! ```text
//!  main: signals ─────────────┐
//!  control: clients ─ Serve ──┼─► Daemon ─ engine.rs ─► fsmon-reader ═ ring ═► fsmon-record ─► segments
//!  keeper: retention ─────────┘                └───────── requests ──────────────┘
//! ```

use crate::ALWAYS_RECORDED;
use crate::ask::must_answer;
use crate::clocks::Clocks;
use crate::config::{Config, State as StateFile, Watch};
use crate::control::protocol::{Command, Fields};
use crate::control::server::{Serve, Server};
use crate::engine::Engine;
use crate::flush::{Flusher, Wanted};
use crate::http;
use crate::keeper::{self, Keeper};
use crate::limits::{ADD_PATIENCE, ENGINE_PATIENCE, TEXTFILE_EVERY, WATCHES_MAX};
use crate::metrics;
use crate::notify::Notifier;
use crate::recorder::{Ask, Said};
use crate::shared::Shared;
use crate::skip::{Rule, Rules, Skipper};
use crate::start;
use crate::status;
use crate::table::{Entry, Origin, State, Table};
use crate::textfile;
use crate::watches::Watched;
use fsmon_engine::Command as ToEngine;
use fsmon_format::error::{Error, ErrorKind};
use fsmon_format::mirror::Capacity;
use fsmon_format::record::{Outcome, What};
use fsmon_present::filter::{Filter, Source, real};
use fsmon_present::message::{self, shown};
use fsmon_store::history::{Disk, History, Keep};
use nix::unistd::{Gid, Group};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::iterator::Signals;
use std::cell::Cell;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Instant;

/// What answers commands.
pub(crate) struct Daemon {
    /// The file that `reload` reads.
    source: PathBuf,
    config: Mutex<Config>,
    table: Mutex<Table>,
    /// Held while the watches change: one change at a time.
    changing: Mutex<()>,
    engine: Engine,
    flusher: Flusher,
    history: Arc<Mutex<History>>,
    pub(crate) shared: Arc<Shared>,
    skipper: Skipper,
    clocks: Clocks,
    capacity: Capacity,
    /// What the engine reports.
    types: AtomicU32,
    /// The state file could not be read: it is not replaced.
    is_state_lost: AtomicBool,
    /// When it began, ns since 1970.
    pub(crate) since_ns: u64,
    notifier: Notifier,
}

pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Runs the daemon until a signal ends it. `source` is the file that `config` was read from, which a reload reads again.
///
/// # Errors
/// It cannot begin; or its engine failed.
pub fn run(source: &Path, config: Config) -> Result<(), Error> {
    config.check_host()?.iter().for_each(message::print);
    // From here on a signal ends it in order.
    let mut signals = Signals::new([SIGINT, SIGTERM, SIGHUP])
        .map_err(|error| Error::os("cannot take signals", error))?;
    let group = control_group(&config)?;
    let socket = config.control.socket.clone();
    let (daemon, recorder) = start::start(source, config)?;
    let daemon = Arc::new(daemon);
    let handle = signals.handle();
    let recorder = recorder.spawn(move || handle.close())?;
    let (ends, until) = flume::bounded(0);
    let keeper = daemon.start_keeper(until)?;
    daemon.begin_watches();
    let server = Server::start(&socket, group, daemon.clone())?;
    daemon.start_watchdog()?;
    daemon.start_metrics()?;
    let ready = daemon.summary();
    message::print(format_args!("ready: {ready}"));
    daemon.notifier.ready(&ready);
    let mut is_asked = false;
    // Ends as well when the recorder has ended, and with it the engine.
    for signal in signals.forever() {
        if signal != SIGHUP {
            is_asked = true;
            break;
        }
        daemon.notifier.reloading();
        if let Err(error) = daemon.reload() {
            message::print(format_args!("the configuration stays as it was: {error}"));
        }
        daemon.notifier.ready(&daemon.summary());
    }
    daemon.notifier.stopping();
    drop(server);
    drop(ends);
    daemon.shared.give_up();
    daemon.engine.monitor().stop();
    let _ = keeper.join();
    recorder.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
    message::print(format_args!("ended: {}", daemon.summary()));
    if let Some(why) = daemon.shared.unwritten() {
        return Err(Error::new(
            ErrorKind::Io,
            format!("the end of what was recorded is not in the history: {why}"),
        ));
    }
    match is_asked {
        true => Ok(()),
        false => Err(Error::new(ErrorKind::Io, "the engine failed; start the daemon again")),
    }
}

fn control_group(config: &Config) -> Result<Option<Gid>, Error> {
    let Some(name) = &config.control.group else { return Ok(None) };
    match Group::from_name(name) {
        Ok(group) => Ok(group.map(|group| group.gid)),
        Err(error) => Err(Error::os(format!("cannot look up the group {name}"), error.into())),
    }
}

impl Daemon {
    pub(crate) fn new(
        source: &Path,
        config: Config,
        engine: Engine,
        (history, shared, skipper, clocks): (Arc<Mutex<History>>, Arc<Shared>, Skipper, Clocks),
        capacity: Capacity,
        (types, since_ns): (u32, u64),
    ) -> Self {
        Daemon {
            source: source.to_owned(),
            config: Mutex::new(config),
            table: Mutex::default(),
            changing: Mutex::new(()),
            engine,
            flusher: Flusher::default(),
            history,
            shared,
            skipper,
            clocks,
            capacity,
            types: AtomicU32::new(types),
            is_state_lost: AtomicBool::new(false),
            since_ns,
            notifier: Notifier::of_environment(),
        }
    }

    /// Starts the thread that keeps the history within its limits, until `ends` is disconnected.
    fn start_keeper(
        self: &Arc<Self>,
        ends: flume::Receiver<()>,
    ) -> Result<thread::JoinHandle<()>, Error> {
        let keeper = Keeper {
            history: self.history.clone(),
            shared: self.shared.clone(),
            clocks: self.clocks,
            ends,
        };
        let daemon = self.clone();
        let run = move || {
            let note = |said| daemon.engine.ask(Ask::Note(Box::new(said))).map(drop);
            let written = Cell::new(None);
            keeper.run(note, || {
                daemon.look_for_pending();
                daemon.write_textfile(&written);
            });
        };
        thread::Builder::new()
            .name("fsmon-keeper".into())
            .spawn(run)
            .map_err(|error| Error::os("cannot start the keeper's thread", error))
    }

    /// Adds the watches of the configuration and of the state file. One that fails is said to have failed, and the
    /// others are watched all the same.
    fn begin_watches(&self) {
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
    fn begin_all(&self, watches: impl Iterator<Item = (Watch, Origin)>) {
        let numbers: Vec<_> = watches.map(|(watch, origin)| self.prepare(watch, origin)).collect();
        self.set_rules();
        for number in numbers {
            if let Some((path, State::Failed(why))) = self.begin(number) {
                message::print(format_args!("cannot watch {}: {why}", shown(&path)));
            }
        }
    }

    /// Puts a watch into the table. Returns its number.
    fn prepare(&self, watch: Watch, origin: Origin) -> u32 {
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
    fn begin(&self, number: u32) -> Option<(PathBuf, State)> {
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
    fn record(&self, entry: &Entry) -> Result<(State, u32), Error> {
        let watch = &entry.watch;
        self.must_record()?;
        let filter = Filter::new(
            &recorded(watch),
            fsmon_format::kind::DEFAULT,
            Source::Live,
            self.capacity,
        )?
        .below(&watch.path)?;
        let path = watch.path.as_os_str().as_bytes().to_vec();
        let (number, levels) = (entry.number, levels(watch));
        self.engine.ask(Ask::Watch(Box::new(Watched { number, path, levels, filter })))?;
        let said = self.said(watch, None, String::new());
        self.add_root(&watch.path, said).inspect_err(|error| {
            let said = || self.said(watch, Some(What::WatchFailed), error.to_string());
            // The engine has the root if it failed late.
            if self.forget(entry, said()).is_err() {
                let _ = self.engine.ask(Ask::Unwatch(number, Box::new(said())));
            }
        })
    }

    /// Has the recorder and the engine drop a watch.
    fn forget(&self, entry: &Entry, said: Said) -> Result<(), Error> {
        let path = entry.watch.path.clone();
        let remove = |token| ToEngine::RemoveRoot { token, path };
        let ask = Ask::Unwatch(entry.number, Box::new(said));
        self.engine.ask_with(ask, ENGINE_PATIENCE, remove).map(drop)
    }

    /// # Errors
    /// Recording is paused: the recorder takes nothing out of the ring then, and so answers nothing.
    fn must_record(&self) -> Result<(), Error> {
        match self.shared.paused() {
            None => Ok(()),
            Some(why) => Err(Error::new(ErrorKind::Busy, format!("recording is paused: {why}"))),
        }
    }

    /// Has the engine watch a directory, with the types that all watches ask for.
    fn add_root(&self, path: &Path, said: Said) -> Result<(State, u32), Error> {
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
    fn set_types(&self) -> Result<(), Error> {
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
    fn look_for_pending(&self) {
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
            if !is_pending || !entry.watch.path.is_dir() || self.must_record().is_err() {
                continue;
            }
            let said = self.said(&entry.watch, Some(What::WatchBegan), String::new());
            if self.engine.ask(Ask::Note(Box::new(said))).is_ok() {
                lock(&self.table).change(entry.number, |entry| entry.state = State::Active);
            }
        }
    }

    /// Serves metrics over HTTP, if that is configured.
    fn start_metrics(self: &Arc<Self>) -> Result<(), Error> {
        let Some(listen) = lock(&self.config).metrics.listen.clone() else { return Ok(()) };
        let daemon = self.clone();
        http::start(&listen, Arc::new(move || metrics::text(&daemon.view())))
    }

    /// Writes the textfile of metrics, if that is configured and due.
    fn write_textfile(&self, written: &Cell<Option<Instant>>) {
        let Some(path) = lock(&self.config).metrics.textfile.clone() else { return };
        if written.get().is_some_and(|at| at.elapsed() < TEXTFILE_EVERY) {
            return;
        }
        let is_first = written.replace(Some(Instant::now())).is_none();
        if let Err(error) = textfile::write(&path, &metrics::text(&self.view()))
            && is_first
        {
            message::print(format_args!("cannot write {}: {error}", shown(&path)));
        }
    }

    /// Tells the service manager that the daemon makes progress, for as long as it does. A thread of its own.
    fn start_watchdog(self: &Arc<Self>) -> Result<(), Error> {
        let Some(period) = Notifier::watchdog() else { return Ok(()) };
        let daemon = self.clone();
        let watch = move || {
            loop {
                thread::sleep(period / 3);
                // While recording is paused the recorder answers no command, and is alive all the same.
                let is_alive = daemon.engine.ask(Ask::Nothing).is_ok();
                if is_alive || daemon.shared.paused().is_some() {
                    daemon.notifier.alive();
                    daemon.notifier.status(&daemon.summary());
                }
            }
        };
        thread::Builder::new()
            .name("fsmon-watchdog".into())
            .spawn(watch)
            .map(drop)
            .map_err(|error| Error::os("cannot start the watchdog's thread", error))
    }

    /// Ends a watch, and takes it out of the table.
    ///
    /// # Errors
    /// It could not be ended, and is as it was.
    fn end(&self, entry: &Entry) -> Result<(), Error> {
        if !matches!(entry.state, State::Failed(_)) {
            self.must_record()?;
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

    fn said(&self, watch: &Watch, what: Option<What>, text: String) -> Said {
        Said {
            what,
            path: watch.path.as_os_str().as_bytes().to_vec(),
            text,
            types: watch.types() | ALWAYS_RECORDED,
            is_recursive: watch.recursive,
        }
    }

    fn set_rules(&self) {
        self.set_rules_but(None);
    }

    /// Has the engine leave out what no watch wants, but for the one with that number.
    fn set_rules_but(&self, number: Option<u32>) {
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
        let history = real(lock(&self.history).dir());
        self.skipper.set(Rules::new(&history, rules));
    }

    fn add(&self, watch: Watch, is_runtime: bool) -> Result<Fields, Error> {
        must_answer(&watch.path)?;
        let _changing = lock(&self.changing);
        lock(&self.config).check_watch(&watch, "the watch")?;
        watch.check_host()?;
        self.must_record()?;
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
    fn add_and_keep(&self, watch: Watch, origin: Origin) -> Result<(), Error> {
        let number = self.prepare(watch, origin);
        self.set_rules();
        let begun = match self.begin(number) {
            Some((path, State::Failed(why))) => {
                let line = format!("cannot watch {}: {why}", shown(&path));
                Err(Error::new(ErrorKind::Io, line))
            }
            _ => self.save_state(),
        };
        if begun.is_err() {
            let entry = lock(&self.table).numbered(number).cloned();
            entry.map_or(Ok(()), |entry| self.end(&entry))?;
        }
        begun
    }

    fn is_configured(&self, path: &Path) -> Error {
        Error::invalid(format!(
            "{} is watched by the configuration; change {} and reload",
            shown(path),
            shown(&self.source)
        ))
    }

    fn remove(&self, path: &Path) -> Result<Fields, Error> {
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

    fn save_state(&self) -> Result<(), Error> {
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

    /// Applies the difference between the configuration's file and what is. What failed before is tried again.
    ///
    /// # Errors
    /// The file is wrong, or recording is paused: nothing has changed.
    fn reload(&self) -> Result<(), Error> {
        let _changing = lock(&self.changing);
        let new = Config::load(&self.source)?;
        new.check_host()?.iter().for_each(message::print);
        self.must_record()?;
        let old = lock(&self.config).clone();
        for what in needs_restart(&old, &new) {
            message::print(format_args!("`{what}` has changed: restart the daemon for that"));
        }
        *lock(&self.config) = new.clone();
        lock(&self.history).set_keep(keep(&new));
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

    fn flush(&self, wanted: Wanted) -> Result<Fields, Error> {
        self.must_record()?;
        let flush = |wanted| {
            let ask = match wanted {
                Wanted::Readable => Ask::Flush,
                Wanted::Durable => Ask::Sync,
            };
            self.engine.ask(ask).map(|reply| reply.cursor)
        };
        let cursor = self.flusher.flush(wanted, flush)?;
        Ok([("cursor".to_owned(), cursor.into())].into_iter().collect())
    }

    fn clean(&self, is_dry: bool, keep: Option<Keep>) -> Result<Fields, Error> {
        let open_bytes = self.shared.written().segment_bytes;
        let (plan, outcome) = {
            let mut history = lock(&self.history);
            let disk = Disk::of(history.dir())
                .map_err(|error| Error::os("the history's filesystem cannot be asked", error))?;
            let keep = keep.unwrap_or(*history.keep());
            let plan = history.plan(&keep, &self.clocks.now(), open_bytes, disk);
            let deletions = if is_dry { Vec::new() } else { plan.deletions.clone() };
            (plan, history.delete(deletions))
        };
        keeper::report(&outcome);
        let gone = if is_dry { &plan.deletions } else { &outcome.deleted };
        for deletion in outcome.deleted.iter().filter(|deletion| deletion.is_early) {
            let said = keeper::said(deletion);
            // The answer says it as well.
            let _ = self.engine.ask(Ask::Note(Box::new(said)));
        }
        Ok(status::deleted(gone, plan.bytes_left))
    }

    /// One line about how it is.
    fn summary(&self) -> String {
        status::summary(&self.view())
    }

    fn view(&self) -> status::View {
        let table = lock(&self.table);
        let (bytes, segments, oldest_ns, dir) = {
            let history = lock(&self.history);
            let entries = history.catalogue().entries();
            let oldest = entries.iter().map(|entry| entry.wall_ns.0).min();
            (history.bytes(), entries.len(), oldest, history.dir().to_owned())
        };
        let config = lock(&self.config);
        status::View {
            entries: table.entries().to_vec(),
            bytes,
            segments,
            oldest_ns,
            dir,
            required: config.engine.require,
            rung: self.engine.monitor().plan().who,
            counters: self.engine.counters(),
            shared: self.shared.clone(),
            since_ns: self.since_ns,
        }
    }
}

impl Serve for Daemon {
    fn serve(&self, command: Command) -> Result<Fields, Error> {
        match command {
            Command::Status => Ok(status::fields(&self.view())),
            Command::List => Ok(status::list(&self.view())),
            Command::Add { watch, runtime } => self.add(status::watch_of(&watch)?, runtime),
            Command::Remove { path } => self.remove(&path),
            Command::Flush => self.flush(Wanted::Readable),
            Command::Sync => self.flush(Wanted::Durable),
            Command::Rotate => self
                .engine
                .ask(Ask::Rotate)
                .map(|reply| [("cursor".to_owned(), reply.cursor.into())].into_iter().collect()),
            Command::Reload => self.reload().map(|()| Fields::new()),
            Command::Clean { dry_run, keep } => {
                let configured = *lock(&self.history).keep();
                let keep = keep.map(|keep| status::keep_of(&keep, configured)).transpose()?;
                self.clean(dry_run, keep)
            }
            Command::Metrics => Ok(metrics::fields(&self.view())),
        }
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
    sections
}

/// The limits of the history, as the store has them.
pub(crate) fn keep(config: &Config) -> Keep {
    let keep = &config.history.keep;
    Keep {
        size: keep.size,
        age: keep.age,
        free: keep.free.map(|free| match free {
            crate::config::Free::Bytes(bytes) => fsmon_store::history::Free::Bytes(bytes),
            crate::config::Free::Percent(percent) => fsmon_store::history::Free::Percent(percent),
        }),
        at_least: keep.at_least.unwrap_or_default(),
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

//! The daemon: starts the threads, carries out commands, and ends in order.
//!
//! ```text
//!  main: signals ─────────────┐
//!  control: clients ─ Serve ──┼─► Daemon ─ engine.rs ─► fsmon-reader ═ ring ═► fsmon-record ─► segments
//!  keeper: retention ─────────┘                └───────── requests ──────────────┘
//! ```

mod background;
mod begin;
mod change;

use crate::clocks::Clocks;
use crate::config::Config;
use crate::control::protocol::{Command, Fields};
use crate::control::server::{Serve, Server};
use crate::engine::Engine;
use crate::flush::{Flusher, Wanted};
use crate::keeper;
use crate::limits::{END_PATIENCE, HISTORY_PATIENCE};
use crate::metrics;
use crate::notify::Notifier;
use crate::recorder::Ask;
use crate::shared::Shared;
use crate::skip::Skipper;
use crate::start;
use crate::status;
use crate::table::Table;
use fsmon_format::error::{Error, ErrorKind};
use fsmon_format::mirror::Capacity;
use fsmon_present::message;
use fsmon_store::history::{Disk, History, Keep};
use nix::unistd::{Gid, Group};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::iterator::Signals;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU32};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, TryLockError};
use std::thread;
use std::time::{Duration, Instant};

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
    /// Its directory.
    dir: PathBuf,
    /// `queue.max_bytes` of the start.
    queue_max_bytes: u64,
    /// What was known of its closed segments last.
    closed: Mutex<status::Closed>,
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
    join_within(keeper, END_PATIENCE);
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

/// Waits for a thread to end, which may be in a call that does not return.
fn join_within(thread: thread::JoinHandle<()>, patience: Duration) {
    let began = Instant::now();
    while !thread.is_finished() && began.elapsed() < patience {
        thread::sleep(HISTORY_PATIENCE / 100);
    }
    if thread.is_finished() {
        let _ = thread.join();
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
        let (dir, queue_max_bytes) = (config.history.dir.clone(), config.queue.max_bytes);
        let closed = Mutex::new(status::Closed::of(&lock(&history)));
        Daemon {
            source: source.to_owned(),
            config: Mutex::new(config),
            table: Mutex::default(),
            changing: Mutex::new(()),
            engine,
            flusher: Flusher::default(),
            history,
            dir,
            queue_max_bytes,
            closed,
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

    /// What is known of the closed segments. While a disk that does not answer holds up who has the history: what was
    /// known before.
    fn closed(&self) -> status::Closed {
        let began = Instant::now();
        loop {
            let history = match self.history.try_lock() {
                Ok(history) => history,
                Err(TryLockError::Poisoned(poisoned)) => poisoned.into_inner(),
                Err(TryLockError::WouldBlock) if began.elapsed() < HISTORY_PATIENCE => {
                    thread::sleep(HISTORY_PATIENCE / 100);
                    continue;
                }
                Err(TryLockError::WouldBlock) => return *lock(&self.closed),
            };
            let closed = status::Closed::of(&history);
            *lock(&self.closed) = closed;
            return closed;
        }
    }

    fn view(&self) -> status::View {
        let closed = self.closed();
        let entries = lock(&self.table).entries().to_vec();
        let config = lock(&self.config);
        status::View {
            entries,
            closed,
            dir: self.dir.clone(),
            queue_max_bytes: self.queue_max_bytes,
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

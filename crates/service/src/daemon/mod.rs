//! The recorder process: starts the threads, carries out orders of the front process, and ends in order.
//!
//! ```text
//!  main: orders ─ process.rs ─┬─► Daemon ─ engine.rs ─► fsmon-reader ═ ring ═► fsmon-record ─► segments
//!  keeper: retention ─────────┘                └───────── requests ──────────────┘
//! ```

mod background;
mod begin;
mod change;
mod process;

pub use process::record;

use crate::clocks::Clocks;
use crate::config::Config;
use crate::control::protocol::Fields;
use crate::engine::Engine;
use crate::flush::{Flusher, Wanted};
use crate::keeper;
use crate::limits::HISTORY_PATIENCE;
use crate::link::{Limits, Order};
use crate::lock;
use crate::metrics;
use crate::recorder::Ask;
use crate::shared::Shared;
use crate::skip::Skipper;
use crate::status;
use crate::table::Table;
use fsmon_format::error::Error;
use fsmon_format::mirror::Capacity;
use fsmon_store::history::{Disk, History, Keep};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU32};
use std::sync::{Arc, Mutex, TryLockError};
use std::thread;
use std::time::{Duration, Instant};

/// What carries out orders.
pub(crate) struct Daemon {
    /// The file that the configuration was read from.
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
    /// Whether the history's directory belongs to the user of this process.
    is_history_own: bool,
    /// What the engine reports.
    types: AtomicU32,
    /// The state file could not be read: it is not replaced.
    is_state_lost: AtomicBool,
    /// When it began, ns since 1970.
    pub(crate) since_ns: u64,
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
        let own = nix::unistd::geteuid().as_raw();
        let is_history_own = dir.metadata().is_ok_and(|data| data.uid() == own);
        let closed = status::Closed::of(&mut lock(&history), &clocks.now(), shared.written().open);
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
            closed: Mutex::new(closed),
            shared,
            skipper,
            clocks,
            capacity,
            is_history_own,
            types: AtomicU32::new(types),
            is_state_lost: AtomicBool::new(false),
            since_ns,
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
        Ok(field("cursor", cursor))
    }

    fn clean(&self, is_dry: bool, limits: Option<Limits>) -> Result<Fields, Error> {
        let open_bytes = self.shared.written().segment_bytes;
        let (plan, outcome) = {
            let mut history = lock(&self.history);
            let disk = Disk::of(history.dir())
                .map_err(|error| Error::os("the history's filesystem cannot be asked", error))?;
            let mut keep = *history.keep();
            if let Some(limits) = limits {
                (keep.size, keep.age) = (limits.size.or(keep.size), limits.age.or(keep.age));
            }
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
            let mut history = match self.history.try_lock() {
                Ok(history) => history,
                Err(TryLockError::Poisoned(poisoned)) => poisoned.into_inner(),
                Err(TryLockError::WouldBlock) if began.elapsed() < HISTORY_PATIENCE => {
                    thread::sleep(HISTORY_PATIENCE / 100);
                    continue;
                }
                Err(TryLockError::WouldBlock) => return *lock(&self.closed),
            };
            let open = self.shared.written().open;
            let closed = status::Closed::of(&mut history, &self.clocks.now(), open);
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
            at_least: config.history.keep.at_least.unwrap_or_default(),
            queue_max_bytes: self.queue_max_bytes,
            required: config.engine.require,
            rung: self.engine.monitor().plan().who,
            counters: self.engine.counters(),
            shared: self.shared.clone(),
            since_ns: self.since_ns,
            ring_slots: fsmon_engine::limits::RING_SLOTS,
        }
    }
}

impl Daemon {
    /// Carries out an order. It is called by many threads at a time.
    ///
    /// # Errors
    /// It cannot be carried out.
    fn obey(&self, order: Order) -> Result<Fields, Error> {
        match order {
            Order::Status => Ok(status::fields(&self.view())),
            Order::List => Ok(status::list(&self.view())),
            Order::Add { watch, runtime } => self.add(*watch, runtime),
            Order::Remove { path } => self.remove(&path),
            Order::Flush => self.flush(Wanted::Readable),
            Order::Sync => self.flush(Wanted::Durable),
            Order::Rotate => {
                self.engine.ask(Ask::Rotate).map(|reply| field("cursor", reply.cursor))
            }
            Order::Reload { config } => self.reload(&config).map(|()| Fields::new()),
            Order::Clean { is_dry, limits } => self.clean(is_dry, limits),
            Order::Metrics => Ok(metrics::fields(&self.view())),
            Order::Progress => self.progress().map(|summary| field("summary", summary)),
            Order::Begin { .. } | Order::Stop => {
                Err(Error::invalid("it records already, and ends only once"))
            }
        }
    }

    /// Shows that engine and recorder make progress. Returns one line about how it is.
    fn progress(&self) -> Result<String, Error> {
        let events = self.shared.events();
        let shown = self.engine.ask(Ask::Nothing);
        // The answer comes behind all that the kernel's queue holds. While recording is paused the recorder answers nothing,
        // and is alive all the same.
        if self.shared.paused().is_none() && self.shared.events() == events {
            shown?;
        }
        Ok(self.summary())
    }
}

fn field(key: &str, text: String) -> Fields {
    [(key.to_owned(), text.into())].into_iter().collect()
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

//! The threads beside: retention, metrics, the watchdog.

use super::{Daemon, lock};
use crate::http;
use crate::keeper::Keeper;
use crate::limits::TEXTFILE_EVERY;
use crate::metrics;
use crate::notify::Notifier;
use crate::recorder::Ask;
use crate::textfile;
use fsmon_format::error::Error;
use fsmon_present::message::{self, shown};
use std::cell::Cell;
use std::sync::Arc;
use std::thread;
use std::time::Instant;

impl Daemon {
    /// Starts the thread that keeps the history within its limits, until `ends` is disconnected.
    pub(super) fn start_keeper(
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

    /// Serves metrics over HTTP, if that is configured.
    pub(super) fn start_metrics(self: &Arc<Self>) -> Result<(), Error> {
        let Some(listen) = lock(&self.config).metrics.listen.clone() else { return Ok(()) };
        let daemon = self.clone();
        http::start(&listen, Arc::new(move || metrics::text(&daemon.view())))
    }

    /// Writes the textfile of metrics, if that is configured and due.
    pub(super) fn write_textfile(&self, written: &Cell<Option<Instant>>) {
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
    pub(super) fn start_watchdog(self: &Arc<Self>) -> Result<(), Error> {
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
}

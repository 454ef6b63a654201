//! The threads beside: retention, and paths that watches wait for; indexes.

use super::{Daemon, keep, lock};
use crate::indexer::Indexer;
use crate::keeper::Keeper;
use crate::recorder::Ask;
use fsmon_engine::privileges::{self, Task};
use fsmon_format::error::Error;
use std::sync::Arc;
use std::thread;

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
        let limits = move || keep(&lock(&daemon.config));
        let daemon = self.clone();
        // It looks for paths, too.
        let tasks = [self.tasks_of_files(), vec![Task::Read]].concat();
        let run = move || {
            // With more than it needs it works as well.
            let _ = privileges::keep(&tasks);
            let note = |said| daemon.engine.ask(Ask::Note(Box::new(said))).map(drop);
            keeper.run(limits, note, || daemon.look_for_pending());
        };
        thread::Builder::new()
            .name("fsmon-keeper".into())
            .spawn(run)
            .map_err(|error| Error::os("cannot start the keeper's thread", error))
    }

    /// Starts the thread that indexes the history, until [`crate::shared::Shared::set_indexer`] takes its end away. Nobody
    /// waits for its end: what it leaves half done is made anew.
    pub(super) fn start_indexer(self: &Arc<Self>) -> Result<(), Error> {
        let (wake, woken) = flume::bounded(1);
        let indexer = Indexer::new(self.history.clone(), self.shared.clone(), woken);
        self.shared.set_indexer(Some(wake));
        let tasks = self.tasks_of_files();
        let run = move || {
            // With more than it needs it works as well.
            let _ = privileges::keep(&tasks);
            indexer.run();
        };
        thread::Builder::new()
            .name("fsmon-index".into())
            .spawn(run)
            .map(drop)
            .map_err(|error| Error::os("cannot start the indexer's thread", error))
    }
}

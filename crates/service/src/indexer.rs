//! The indexer: makes the indexes of a history, at idle priority. It follows the segment that is being written, and makes
//! what others lack: docs/index.md.

use crate::limits::INDEX_EVERY;
use crate::shared::Shared;
use fsmon_engine::yield_to_all;
use fsmon_format::error::{Error, ErrorKind};
use fsmon_present::message;
use fsmon_store::history::History;
use fsmon_store::index::{Follower, Made, Progress, make, missing, seed, sweep};
use std::collections::HashSet;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;

pub(crate) struct Indexer {
    history: Arc<Mutex<History>>,
    shared: Arc<Shared>,
    woken: flume::Receiver<()>,
    dir: PathBuf,
    seed: u64,
    follower: Option<Follower>,
    /// Segments that can get no index, as they are damaged, or that failed.
    given_up: HashSet<String>,
}

impl Indexer {
    pub(crate) fn new(
        history: Arc<Mutex<History>>,
        shared: Arc<Shared>,
        woken: flume::Receiver<()>,
    ) -> Self {
        let dir = history.lock().unwrap_or_else(PoisonError::into_inner).dir().to_owned();
        let seed = seed(&dir);
        Indexer { history, shared, woken, dir, seed, follower: None, given_up: HashSet::new() }
    }

    fn history(&self) -> MutexGuard<'_, History> {
        self.history.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Runs until nobody wakes it any more. Wakes up only when something was written.
    pub(crate) fn run(mut self) {
        yield_to_all();
        sweep(&self.dir);
        let mut is_behind = true;
        while !self.woken.is_disconnected() {
            is_behind |= self.follow();
            if is_behind && self.history().unlisted().is_empty() {
                is_behind = false;
                self.make_missing();
            }
            if self.woken.recv().is_err() {
                return;
            }
            thread::sleep(INDEX_EVERY);
        }
    }

    /// Goes on with the segment that is being written. Returns whether another one may lack its index.
    fn follow(&mut self) -> bool {
        let open = self.shared.written().segment;
        let mut is_behind = false;
        if let Some(mut follower) = self.follower.take() {
            match follower.go_on(|| !self.woken.is_disconnected()) {
                Ok(Progress::Pending) if open.as_deref() == Some(follower.segment()) => {
                    self.follower = Some(follower);
                    return false;
                }
                Ok(Progress::Done(made)) => self.done(follower.segment(), &Ok(made)),
                // It was closed a moment ago: it gets its index as others do.
                Ok(Progress::Pending) => is_behind = true,
                Err(error) => self.done(follower.segment(), &Err(error)),
            }
        }
        let Some(open) = open.filter(|open| !self.given_up.contains(open)) else {
            return is_behind;
        };
        match Follower::new(&self.dir, &open, self.seed) {
            Ok(follower) => self.follower = follower,
            Err(error) => self.done(&open, &Err(error)),
        }
        // What was written before it is read with the next call, or now if there is much.
        if let Some(follower) = &mut self.follower {
            let woken = &self.woken;
            if let Err(error) = follower.go_on(|| !woken.is_disconnected()) {
                let segment = follower.segment().to_owned();
                self.follower = None;
                self.done(&segment, &Err(error));
            }
        }
        is_behind
    }

    /// Makes the indexes of closed segments that have none, the newest first.
    fn make_missing(&mut self) {
        let listed: Vec<String> = {
            let history = self.history();
            let entries = history.catalogue().entries().iter().rev();
            entries.map(|entry| entry.file.clone()).collect()
        };
        let listed: Vec<_> =
            listed.into_iter().filter(|file| !self.given_up.contains(file)).collect();
        for file in missing(&self.dir, &listed) {
            let made = make(&self.dir, &file, self.seed, || !self.woken.is_disconnected());
            if self.woken.is_disconnected() {
                return;
            }
            self.done(&file, &made);
        }
    }

    fn done(&mut self, segment: &str, made: &Result<Made, Error>) {
        match made {
            // The segment itself is what counts, and it can be read without an index.
            Err(error) if error.kind() != ErrorKind::Busy => {
                message::print(format_args!("{segment} has no index: {error}"));
                self.given_up.insert(segment.to_owned());
            }
            Ok(Made::Damaged) => _ = self.given_up.insert(segment.to_owned()),
            _ => {}
        }
    }
}

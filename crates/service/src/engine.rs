//! Commands to the engine and requests to the recorder, which belong together: the recorder carries out a request
//! when the engine's answer to the command comes out of the ring.

use crate::limits::ENGINE_PATIENCE;
use crate::recorder::{Ask, Reply, Request};
use fsmon_engine::{Command, Counters, Monitor};
use fsmon_format::error::{Error, ErrorKind};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// A running engine with its recorder.
pub(crate) struct Engine {
    monitor: Monitor,
    requests: flume::Sender<Request>,
    tokens: AtomicU64,
}

impl Engine {
    pub(crate) fn new(monitor: Monitor, requests: flume::Sender<Request>) -> Self {
        Engine { monitor, requests, tokens: AtomicU64::new(1) }
    }

    pub(crate) fn monitor(&self) -> &Monitor {
        &self.monitor
    }

    pub(crate) fn counters(&self) -> Counters {
        self.monitor.counters()
    }

    /// Asks the recorder for something, after all that happened until now.
    ///
    /// # Errors
    /// It failed, or no answer came in time.
    pub(crate) fn ask(&self, ask: Ask) -> Result<Reply, Error> {
        self.ask_with(ask, ENGINE_PATIENCE, |token| Command::Flush { token })
    }

    /// Gives the engine a command, and has the recorder act when its answer comes.
    ///
    /// # Errors
    /// The engine refuses the command; the recorder failed; no answer came within `patience`.
    pub(crate) fn ask_with(
        &self,
        ask: Ask,
        patience: Duration,
        command: impl FnOnce(u64) -> Command,
    ) -> Result<Reply, Error> {
        let token = self.tokens.fetch_add(1, Ordering::Relaxed);
        let (reply, answer) = flume::bounded(1);
        let ended = || Error::new(ErrorKind::Busy, "the daemon ends");
        self.requests.send(Request { token, ask, reply }).map_err(|_| ended())?;
        if let Err(error) = self.monitor.command(&command(token)) {
            let (reply, _) = flume::bounded(1);
            let _ = self.requests.send(Request { token, ask: Ask::Forget, reply });
            return Err(error);
        }
        match answer.recv_timeout(patience) {
            Ok(result) => result,
            Err(flume::RecvTimeoutError::Timeout) => {
                Err(Error::new(ErrorKind::Busy, "the recorder does not answer in time; try again"))
            }
            Err(flume::RecvTimeoutError::Disconnected) => Err(ended()),
        }
    }
}

//! The engine of fsmon: from the kernel to records, on one pinned thread.

mod cold;
pub mod config;
mod counters;
mod error;
#[allow(dead_code)]
pub mod hot;
pub mod limits;
pub mod plan;
#[allow(dead_code)]
mod ring;
#[allow(dead_code)]
mod sys;

pub use cold::cgroup::cgroup_path;
pub use config::Config;
pub use counters::Counters;
pub use error::Error;

use fsmon_format::record::Slot;
use std::time::Duration;

/// The handle on a running engine: ask how it does, tell it to stop. Dropping it stops it.
pub struct Monitor {
    counters: std::sync::Arc<counters::Shared>,
    plan: plan::Plan,
}

/// The consumer's end of the ring.
pub struct Receiver {}

/// What [`Receiver::next`] found.
pub enum Next<'a> {
    /// Whole records, in order. They are given back by the next call.
    Batch(&'a [Slot]),
    /// Nothing came within the time.
    Idle,
    /// The engine has stopped and everything was delivered.
    Ended,
}

/// Marks and walks the roots and starts the reader. When it returns, every change from then on
/// will be seen.
///
/// # Errors
/// A root that cannot be watched, a missing privilege, a kernel that is too old.
pub fn start(config: Config) -> Result<(Monitor, Receiver), Error> {
    let _ = (config, Monitor { counters: Default::default(), plan: Default::default() });
    Err(Error::new("not built yet"))
}

impl Monitor {
    /// What was counted so far.
    #[must_use]
    pub fn counters(&self) -> Counters {
        let _ = counters::Shared::store;
        self.counters.load()
    }

    /// What is used on this host for these roots, and what that loses.
    #[must_use]
    pub fn plan(&self) -> &plan::Plan {
        &self.plan
    }

    /// Asks the reader to deliver what happened until now, and then to end. Returns at once;
    /// [`Receiver::next`] says [`Next::Ended`] when all is delivered.
    pub fn stop(&self) {}

    /// Waits for the reader to end. The consumer must go on taking batches meanwhile.
    ///
    /// # Errors
    /// What made the reader give up, where it was not told to stop.
    pub fn join(self) -> Result<Counters, Error> {
        Ok(self.counters())
    }
}

impl Receiver {
    /// Gives the batch before back and waits for the next, `timeout` at the most.
    pub fn next(&mut self, timeout: Duration) -> Next<'_> {
        let _ = timeout;
        Next::Ended
    }
}

//! The handles that a user of the engine holds: one to steer it, one to take records.

use crate::cold::mount_watch::Follower;
use crate::cold::start;
use crate::config::Config;
use crate::counters::{Counters, Shared};
use crate::hot::reader::Control;
use crate::plan::Plan;
use crate::ring::Consumer;
use crate::sys::fd::signal;
use crate::{Error, ErrorKind};
use fsmon_format::record::Slot;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

/// The handle on a running engine: ask how it does, tell it to stop. Dropping it stops it.
pub struct Monitor {
    plan: Plan,
    shared: Arc<Shared>,
    control: flume::Sender<Control>,
    wake: Arc<OwnedFd>,
    mounts: Option<Follower>,
    thread: Option<JoinHandle<Result<Counters, Error>>>,
}

/// The consumer's end of the ring. Dropping it ends the engine.
pub struct Receiver {
    consumer: Consumer,
    handed_out: usize,
}

/// What [`Receiver::next`] found.
pub enum Next<'a> {
    /// Whole records, in order. They are given back by the next call.
    Batch(&'a [Slot]),
    /// Nothing came within the time; it can be cut short.
    Idle,
    /// The engine has stopped and everything was delivered.
    Ended,
}

/// Marks and walks the roots and starts the reader. When it returns, every change from then on
/// will be seen.
///
/// # Errors
/// A root that cannot be watched, a missing privilege, a kernel that is too old: one line, with
/// the remedy.
pub fn start(config: Config) -> Result<(Monitor, Receiver), Error> {
    let started = start::start(config)?;
    let monitor = Monitor {
        plan: started.plan,
        shared: started.shared,
        control: started.control,
        wake: started.wake,
        mounts: started.mounts,
        thread: Some(started.thread),
    };
    Ok((monitor, Receiver { consumer: started.consumer, handed_out: 0 }))
}

impl Monitor {
    /// What was counted so far; at most a second old.
    #[must_use]
    pub fn counters(&self) -> Counters {
        self.shared.load()
    }

    /// What is used on this host for these roots, and what that loses.
    #[must_use]
    pub fn plan(&self) -> &Plan {
        &self.plan
    }

    /// Asks the reader to deliver what happened until now, and then to end. Returns without waiting for
    /// that; [`Receiver::next`] says [`Next::Ended`] when all is delivered.
    pub fn stop(&self) {
        // Before the reader ends it is told of what was mounted until now.
        if let Some(mounts) = &self.mounts {
            mounts.stop();
        }
        // A reader that has ended already does not listen any more.
        let _ = self.control.send(Control::Stop);
        signal(self.wake.as_fd());
    }

    /// Waits for the reader to end. The consumer must go on taking batches meanwhile.
    ///
    /// # Errors
    /// What made the reader give up, where it was not told to stop.
    pub fn join(mut self) -> Result<Counters, Error> {
        match self.thread.take().map(JoinHandle::join) {
            Some(Ok(result)) => result,
            Some(Err(_)) => {
                Err(Error::new(ErrorKind::Internal, "the reader panicked; please report this"))
            }
            None => Ok(self.counters()),
        }
    }
}

impl Drop for Monitor {
    fn drop(&mut self) {
        if self.thread.is_some() {
            self.stop();
        }
    }
}

impl Receiver {
    /// Gives the batch before back and waits for the next, `timeout` at the most; with none it is
    /// not waited for.
    pub fn next(&mut self, timeout: Duration) -> Next<'_> {
        self.consumer.release(self.handed_out);
        self.handed_out = 0;
        if self.is_over() {
            return Next::Ended;
        }
        if !self.consumer.has_more() {
            if !timeout.is_zero() {
                self.consumer.sleep(timeout);
            }
            if self.is_over() {
                return Next::Ended;
            }
            if !self.consumer.has_more() {
                return Next::Idle;
            }
        }
        let batch = self.consumer.peek();
        self.handed_out = batch.len();
        Next::Batch(batch)
    }

    /// Whether the reader is gone and everything was taken. In this order: what was published
    /// before the end was seen is seen after it.
    fn is_over(&mut self) -> bool {
        self.consumer.closed() && !self.consumer.has_more()
    }
}

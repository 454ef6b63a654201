//! The handles for users of the engine: one to control it, one to take records.

use crate::cold::command::Commander;
use crate::cold::mount_watch::Follower;
use crate::cold::start;
use crate::command::Command;
use crate::config::Config;
use crate::counters::{Counters, Shared};
use crate::hot::reader::Control;
use crate::plan::Plan;
use crate::ring::Consumer;
use crate::sys::fd::signal;
use crate::{Error, ErrorKind};
use fsmon_format::record::Slot;
use std::os::fd::AsFd;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

/// The handle of a running engine: read its counters, stop it. Dropping it stops the engine.
pub struct Monitor {
    plan: Plan,
    shared: Arc<Shared>,
    commander: Commander,
    mounts: Option<Follower>,
    thread: Option<JoinHandle<Result<Counters, Error>>>,
}

/// The consumer's end of the ring. Dropping it ends the engine.
pub struct Receiver {
    consumer: Consumer,
    handed_out: usize,
}

/// How much memory the kernel's queue takes. It can be asked by any thread.
#[derive(Clone)]
pub struct Queue(Arc<Shared>);

impl Queue {
    /// Bytes of kernel memory: [`Counters::queue_bytes`].
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.0.queue_bytes()
    }
}

/// The result of [`Receiver::next`].
pub enum Next<'a> {
    /// Whole records, in order. The next call gives them back.
    Batch(&'a [Slot]),
    /// No record came within the time, which can be cut short.
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
        commander: started.commander,
        mounts: started.mounts,
        thread: Some(started.thread),
    };
    Ok((monitor, Receiver { consumer: started.consumer, handed_out: 0 }))
}

impl Monitor {
    /// The counters so far, at most a second old.
    #[must_use]
    pub fn counters(&self) -> Counters {
        self.shared.load()
    }

    /// The kernel's queue, for a consumer that must keep it within bounds.
    #[must_use]
    pub fn queue(&self) -> Queue {
        Queue(Arc::clone(&self.shared))
    }

    /// What is used on this host for these roots, and what is lost.
    #[must_use]
    pub fn plan(&self) -> &Plan {
        &self.plan
    }

    /// Gives a command. Returns without waiting for the answer, which is a record in the ring: see [`Command`]. If the
    /// engine ends first, [`Next::Ended`] takes the place of the answer.
    ///
    /// # Errors
    /// The command was not given, and no answer comes: too many are under way ([`ErrorKind::Busy`]), the engine has
    /// ended, or the system lacks what is needed.
    pub fn command(&self, command: &Command) -> Result<(), Error> {
        if self.commander.control.is_disconnected() {
            return Err(Error::new(ErrorKind::Io, "the engine has ended"));
        }
        match command {
            Command::Flush { token } => self.commander.flush(*token, None),
            Command::AddRoot { token, path } => self.commander.add(self.mounts()?, path, *token),
            Command::RemoveRoot { token, path } => {
                self.commander.remove(self.mounts()?, path, *token)
            }
            Command::Types { token, types } => self.commander.set_types(*types, *token),
        }
    }

    /// The thread that numbers roots.
    fn mounts(&self) -> Result<&Follower, Error> {
        let unread = || Error::new(ErrorKind::Unsupported, "/proc/self/mountinfo cannot be read");
        self.mounts.as_ref().ok_or_else(unread)
    }

    /// Asks the reader to deliver everything that happened until now, and then to end. Returns without waiting;
    /// [`Receiver::next`] returns [`Next::Ended`] after the last record.
    pub fn stop(&self) {
        // The reader must get all changes of mounts until now before it ends.
        if let Some(mounts) = &self.mounts {
            mounts.stop();
        }
        // A reader that has already ended no longer receives.
        let _ = self.commander.control.send(Control::Stop);
        signal(self.commander.wake.as_fd());
    }

    /// Waits for the reader to end. The consumer must go on taking batches meanwhile.
    ///
    /// # Errors
    /// The reason why the reader gave up, if it did not stop on request.
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
    /// Gives the previous batch back and waits for the next one, at most `timeout`; with a timeout of 0 it does not
    /// wait.
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

    /// Whether the reader is gone and everything was taken. In this order: records that were published before the
    /// end are visible after the end was seen.
    fn is_over(&mut self) -> bool {
        self.consumer.closed() && !self.consumer.has_more()
    }
}

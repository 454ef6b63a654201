//! What ends a watch: signals, the formatter, the clock.

use crate::tell::tell;
use fsmon_engine::Error;
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::iterator::Signals;
use std::cell::Cell;
use std::process;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread;
use std::time::{Duration, Instant};

/// What a shell reports of a process that SIGINT ended.
const INTERRUPTED: i32 = 130;

/// What the main thread is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Message {
    /// The user wants it to end.
    Signal,
    /// The formatter needs nothing more.
    Enough,
    /// The formatter has ended.
    Done,
}

/// The main thread's ear.
pub(crate) struct Control {
    messages: Receiver<Message>,
    sender: Sender<Message>,
    /// Formatters that have not ended.
    voices: Cell<usize>,
    ready: Arc<AtomicBool>,
}

/// The formatter's voice. Dropping it says that the formatter has ended, however it came to that.
pub(crate) struct Voice(Sender<Message>);

impl Voice {
    /// Nothing more needs to be delivered.
    pub(crate) fn enough(&self) {
        // The main thread is gone only when the whole process is about to be.
        let _ = self.0.send(Message::Enough);
    }
}

impl Drop for Voice {
    fn drop(&mut self) {
        let _ = self.0.send(Message::Done);
    }
}

impl Control {
    /// From now on signals are messages. One that comes before [`Control::set_ready`] ends the
    /// process: nothing was begun yet.
    ///
    /// # Errors
    /// The kernel refuses a signal handler or a thread.
    pub(crate) fn new() -> Result<Self, Error> {
        let no_signals = |error| Error::os("cannot take signals", error);
        let mut signals = Signals::new([SIGINT, SIGTERM, SIGHUP]).map_err(no_signals)?;
        let (sender, messages) = channel();
        let (to_main, ready) = (sender.clone(), Arc::new(AtomicBool::new(false)));
        let is_ready = ready.clone();
        let listen = move || {
            for (seen, _) in signals.forever().enumerate() {
                if !is_ready.load(Ordering::Relaxed) {
                    tell("stopped before it was ready");
                    process::exit(0);
                }
                if seen > 0 {
                    process::exit(INTERRUPTED);
                }
                let _ = to_main.send(Message::Signal);
            }
        };
        thread::Builder::new().name("fsmon-signals".into()).spawn(listen).map_err(no_signals)?;
        Ok(Control { messages, sender, voices: Cell::new(0), ready })
    }

    /// The watch has begun: a signal now ends it in order.
    pub(crate) fn set_ready(&self) {
        self.ready.store(true, Ordering::Relaxed);
    }

    pub(crate) fn voice(&self) -> Voice {
        self.voices.set(self.voices.get() + 1);
        Voice(self.sender.clone())
    }

    /// Waits for every formatter to end; calls `stop` when something asks for the end, one of them
    /// has ended, or `duration` is over.
    pub(crate) fn wait(&self, duration: Option<Duration>, mut stop: impl FnMut()) {
        // Beyond what the clock can hold is never.
        let mut deadline = duration.and_then(|duration| Instant::now().checked_add(duration));
        while self.voices.get() > 0 {
            if let Some(Message::Done) = self.next(deadline) {
                self.voices.set(self.voices.get() - 1);
            }
            stop();
            deadline = None;
        }
    }

    fn next(&self, deadline: Option<Instant>) -> Option<Message> {
        let Some(deadline) = deadline else {
            return Some(self.messages.recv().unwrap_or(Message::Done));
        };
        let left = deadline.saturating_duration_since(Instant::now());
        match self.messages.recv_timeout(left) {
            Ok(message) => Some(message),
            Err(RecvTimeoutError::Timeout) => None,
            Err(RecvTimeoutError::Disconnected) => Some(Message::Done),
        }
    }
}

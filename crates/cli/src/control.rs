//! The end of a watch: by a signal, a formatter or the clock.

use crate::limits::{HURRY, SIGNALS_TOGETHER};
use fsmon_engine::privileges;
use fsmon_engine::{Call, Error, refused};
use fsmon_present::message;
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::iterator::Signals;
use signal_hook::low_level::emulate_default_handler;
use std::cell::Cell;
use std::process;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread;
use std::time::{Duration, Instant};

/// The exit code that shells report for a process that SIGINT ended.
pub(crate) const INTERRUPTED: u8 = 130;

/// A message to the main thread.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Message {
    /// The user wants it to end.
    Signal,
    /// A formatter needs no more records.
    Enough,
    /// A formatter has ended.
    Done,
}

/// The main thread's end: receives what ends the watch.
pub(crate) struct Control {
    messages: Receiver<Message>,
    sender: Sender<Message>,
    /// Formatters that have not ended.
    formatters: Cell<usize>,
    stage: Arc<Stage>,
}

/// The stage of the watch.
#[derive(Default)]
struct Stage {
    is_ready: AtomicBool,
    /// A second signal came: do not wait for output that is not written yet.
    is_hurried: AtomicBool,
}

/// A formatter's end of [`Control`]. Dropping it reports that the formatter has ended, for whatever reason.
pub(crate) struct FormatterHandle(Sender<Message>, Arc<Stage>);

impl FormatterHandle {
    /// Reports that the formatter needs no more records.
    pub(crate) fn enough(&self) {
        // The main thread is gone only if the process is about to exit.
        let _ = self.0.send(Message::Enough);
    }

    /// Whether the formatter must end at the next whole line or block.
    pub(crate) fn is_hurried(&self) -> bool {
        self.1.is_hurried.load(Ordering::Relaxed)
    }
}

impl Drop for FormatterHandle {
    fn drop(&mut self) {
        let _ = self.0.send(Message::Done);
    }
}

impl Control {
    /// Handles signals from now on. A signal before [`Control::set_ready`] exits: nothing has begun yet. After
    /// that the first signal ends the watch in order; the second ends the output at the next whole line or
    /// block; the third kills the process, as if it had no handler.
    ///
    /// SIGHUP and SIGTERM stay ignored if they were, as nohup(1) intends. SIGINT does not: shells without job
    /// control ignore it in processes started with `&`, and users end such a watch with it.
    ///
    /// # Errors
    /// The kernel refuses a signal handler or a thread.
    pub(crate) fn new() -> Result<Self, Error> {
        let no_signals = |call| move |error| refused("cannot take signals", call, error);
        let ignored = ignored_signals();
        let is_taken = |signal: &i32| *signal == SIGINT || ignored & (1 << (signal - 1)) == 0;
        let taken = [SIGINT, SIGTERM, SIGHUP].into_iter().filter(is_taken);
        let mut signals = Signals::new(taken).map_err(no_signals(Call::Plain))?;
        let (sender, messages) = channel();
        let (to_main, stage) = (sender.clone(), Arc::<Stage>::default());
        let seen_by = stage.clone();
        let listen = move || {
            // With more than it needs it works as well.
            let _ = privileges::keep(&[]);
            // When the last signal came that counted.
            let mut taken: Option<Instant> = None;
            for signal in signals.forever() {
                if !seen_by.is_ready.load(Ordering::Relaxed) {
                    message::print("stopped before it was ready");
                    process::exit(0);
                }
                match taken {
                    None => drop(to_main.send(Message::Signal)),
                    // A closing terminal, or a signal so soon after the last, is no second request.
                    Some(last) if signal == SIGHUP || last.elapsed() < SIGNALS_TOGETHER => continue,
                    Some(_) if seen_by.is_hurried.load(Ordering::Relaxed) => {
                        let _ = emulate_default_handler(signal);
                    }
                    Some(_) => hurry(&seen_by),
                }
                taken = Some(Instant::now());
            }
        };
        let builder = thread::Builder::new().name("fsmon-signals".into());
        builder.spawn(listen).map_err(no_signals(Call::Thread))?;
        Ok(Control { messages, sender, formatters: Cell::new(0), stage })
    }

    /// The watch has begun: a signal now ends it in order.
    pub(crate) fn set_ready(&self) {
        self.stage.is_ready.store(true, Ordering::Relaxed);
    }

    /// Whether a second signal came.
    pub(crate) fn is_hurried(&self) -> bool {
        self.stage.is_hurried.load(Ordering::Relaxed)
    }

    /// A handle for one more formatter.
    pub(crate) fn handle(&self) -> FormatterHandle {
        self.formatters.set(self.formatters.get() + 1);
        FormatterHandle(self.sender.clone(), self.stage.clone())
    }

    /// Waits for every formatter to end; calls `stop` when something asks for the end, one of them
    /// has ended, or `duration` is over.
    pub(crate) fn wait(&self, duration: Option<Duration>, mut stop: impl FnMut()) {
        // A deadline beyond the range of the clock means never.
        let mut deadline = duration.and_then(|duration| Instant::now().checked_add(duration));
        while self.formatters.get() > 0 {
            if let Some(Message::Done) = self.next(deadline) {
                self.formatters.set(self.formatters.get() - 1);
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

/// Makes the formatters end at the next whole line or block. A formatter that waits for the reader of a full
/// pipe cannot; the process exits without it.
fn hurry(stage: &Stage) {
    stage.is_hurried.store(true, Ordering::Relaxed);
    let give_up = || {
        thread::sleep(HURRY);
        message::print(
            "ended while the reader of the output did not read: the output may end in the middle of a line",
        );
        process::exit(INTERRUPTED.into());
    };
    if thread::Builder::new().name("fsmon-hurry".into()).spawn(give_up).is_err() {
        process::exit(INTERRUPTED.into());
    }
}

/// The signals that this process ignores since its start, as a bit mask whose lowest bit is signal 1: proc(5).
/// None if /proc is not available.
fn ignored_signals() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok()).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_ignored_is_known() {
        // The runtime of every Rust program ignores SIGPIPE.
        let sigpipe = 1 << (signal_hook::consts::SIGPIPE - 1);
        assert_ne!(ignored_signals() & sigpipe, 0);
        assert_eq!(ignored_signals() & (1 << (signal_hook::consts::SIGUSR2 - 1)), 0);
    }
}

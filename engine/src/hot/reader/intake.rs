//! The intake of the reader: the same functions for both backends, and the buffers that wait to be resolved.

use crate::hot::event::Events;
use crate::hot::who::Processes;
use crate::limits::reader::FILES_BUFFERS;
use crate::limits::sys::EVENT_LEN_MAX;
use crate::sys::buffers::{Buffers, Taken};
use crate::sys::clock;
use crate::sys::fd::is_readable;
use crate::sys::gauge::Gauge;
use crate::sys::poll::{Done, Poll};
use crate::sys::uring::Uring;
use std::collections::VecDeque;
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};
use std::time::Duration;

/// The calls by which the reader waits and reads: one backend for a run.
#[allow(clippy::large_enum_variant)]
pub(crate) enum IoBackend {
    /// io_uring.
    Uring(Uring),
    /// poll and read.
    Poll(Poll),
}

/// Reads, and keeps what was read until it is resolved. The buffers of file events belong to the reader, which
/// reads events in them while others are filled.
pub(crate) struct Intake {
    backend: IoBackend,
    connector: Buffers,
    waiting: VecDeque<Taken>,
    woken: bool,
    reads: u64,
    /// When the last wait began, if it read until the queue was empty.
    emptied_ns: Option<u64>,
    /// Whether the last wait filled a buffer to its end: then the queue has more.
    backlog: bool,
}

impl Intake {
    /// With the chosen backend, and the buffers for the connector's messages.
    pub(crate) fn new(backend: IoBackend, connector: Buffers) -> Self {
        let waiting = VecDeque::with_capacity(usize::from(FILES_BUFFERS));
        Intake {
            backend,
            connector,
            waiting,
            woken: false,
            reads: 0,
            emptied_ns: None,
            backlog: false,
        }
    }

    /// Waits until something comes, gathers for `window`, and takes everything in; returns after `timeout` at the
    /// latest.
    pub(crate) fn wait(
        &mut self,
        files: &Buffers,
        window: Duration,
        timeout: Duration,
        who: &mut Processes,
    ) -> io::Result<()> {
        // If the queue has more than a buffer there is no need to gather.
        let window = if self.backlog { Duration::ZERO } else { window };
        let mut start_ns = clock::monotonic_ns();
        let reads = self.reads;
        match &mut self.backend {
            IoBackend::Uring(uring) => uring.wait(window, timeout)?,
            IoBackend::Poll(poll) => {
                poll.wait(window, timeout)?;
                start_ns = clock::monotonic_ns();
            }
        }
        self.collect(files, who)?;
        // Reads by an earlier flush say nothing about this wait.
        let last = self.waiting.back().filter(|_| self.reads != reads);
        let emptied = last.map(|last| last.had_room(files, EVENT_LEN_MAX));
        self.emptied_ns = (emptied == Some(true)).then_some(start_ns);
        self.backlog = emptied == Some(false);
        Ok(())
    }

    /// Takes in what has come, without waiting. Afterwards all process messages that were sent before the call are
    /// in.
    pub(crate) fn flush(&mut self, files: &Buffers, who: &mut Processes) -> io::Result<()> {
        loop {
            let called = match &mut self.backend {
                IoBackend::Uring(uring) => uring.flush()?,
                IoBackend::Poll(_) => false,
            };
            // One call may leave work for the next one. But a call that brought nothing is the last, even if the
            // flag is still set: the kernel clears the flag before it runs what is pending, and sets it again for
            // work that it adds and runs at once (seen on 6.18 after the buffers had run out).
            if self.collect(files, who)? == 0 || !called {
                return Ok(());
            }
        }
    }

    fn gauge(&self) -> &Gauge {
        match &self.backend {
            IoBackend::Uring(uring) => uring.gauge(),
            IoBackend::Poll(poll) => poll.gauge(),
        }
    }

    /// Takes everything that the backend has. Returns the number of things taken.
    fn collect(&mut self, files: &Buffers, who: &mut Processes) -> io::Result<usize> {
        let mut count = 0;
        loop {
            let done = match &mut self.backend {
                IoBackend::Uring(uring) => uring.next(files, &self.connector)?,
                IoBackend::Poll(poll) => poll.next(files)?,
            };
            match done {
                None => return Ok(count),
                Some(Done::Files(taken, number)) => {
                    self.reads += 1;
                    if self.gauge().is_on() {
                        let turn = self.gauge().last();
                        match taken.is_refused() {
                            true => who.note_refused_read(number, turn),
                            false => who.note_read(number, turn, Events(files.bytes(&taken)).len()),
                        }
                    }
                    self.waiting.push_back(taken);
                }
                Some(Done::Connector(taken)) => {
                    who.feed_connector(self.connector.bytes(&taken));
                    if let IoBackend::Uring(uring) = &mut self.backend {
                        uring.give_back_connector(taken, &self.connector);
                    }
                }
                Some(Done::ConnectorLost) => who.feed_connector_loss(),
                Some(Done::Wake) => self.woken = true,
            }
            count += 1;
        }
    }

    /// A time T: everything that happened before T is resolved, and everything that waits here happened after T. `queue` is the fanotify group. `None` if the queue was not seen empty.
    ///
    /// There are two ways to know. Either the queue is empty now. Or the last read of the wait had room for another
    /// event, so it ended because there was none (fanotify_read() in fs/notify/fanotify/fanotify_user.c), and it
    /// was made after the wait began. During a backlog the queue is not asked. FIONREAD is never used here: it
    /// walks the whole queue, under the lock that writers need.
    pub(crate) fn seen_empty_ns(&self, queue: BorrowedFd<'_>) -> Option<u64> {
        if self.waiting.is_empty() && !self.backlog {
            let now_ns = clock::monotonic_ns();
            if !is_readable(queue.as_raw_fd()) {
                return Some(now_ns);
            }
        }
        self.emptied_ns
    }

    /// Buffers of file events that wait to be resolved.
    pub(crate) fn waiting(&self) -> usize {
        self.waiting.len()
    }

    /// Takes the oldest of them.
    pub(crate) fn take(&mut self) -> Option<Taken> {
        self.waiting.pop_front()
    }

    /// Gives a buffer back, so that it can be read into again.
    pub(crate) fn give_back(&mut self, taken: Taken) {
        match &mut self.backend {
            IoBackend::Uring(uring) => uring.give_back_files(taken),
            IoBackend::Poll(poll) => poll.give_back_files(taken),
        }
    }

    /// Whether a wake-up came since the last call.
    pub(crate) fn take_wake(&mut self) -> bool {
        std::mem::take(&mut self.woken)
    }

    /// Number of reads that brought file events.
    pub(crate) fn reads(&self) -> u64 {
        self.reads
    }
}

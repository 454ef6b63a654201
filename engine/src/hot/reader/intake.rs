//! The reader's intake: one face for both backends, and the buffers that wait to be resolved.

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

/// How the kernel is read. There is one.
#[allow(clippy::large_enum_variant)]
pub(crate) enum IoBackend {
    /// io_uring.
    Uring(Uring),
    /// poll and read.
    Poll(Poll),
}

/// Reads, and keeps what was read until it is resolved. The buffers of file events belong to the
/// reader, which looks into them while more comes in.
pub(crate) struct Intake {
    backend: IoBackend,
    connector: Buffers,
    waiting: VecDeque<Taken>,
    woken: bool,
    reads: u64,
    /// When the last wait began, if its reads went on until the queue was empty.
    emptied_ns: Option<u64>,
    /// Whether the last wait filled a buffer to its end: then more is in the queue.
    backlog: bool,
}

impl Intake {
    /// With the backend that was chosen, and the buffers it was set up with.
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

    /// Waits for something to come, gathers for `window`, and takes it in; `timeout` at the most.
    pub(crate) fn wait(
        &mut self,
        files: &Buffers,
        window: Duration,
        timeout: Duration,
        who: &mut Processes,
    ) -> io::Result<()> {
        // What waits already needs no more company.
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
        // What was taken in by an earlier flush says nothing of this wait.
        let last = self.waiting.back().filter(|_| self.reads != reads);
        let emptied = last.map(|last| last.had_room(files, EVENT_LEN_MAX));
        self.emptied_ns = (emptied == Some(true)).then_some(start_ns);
        self.backlog = emptied == Some(false);
        Ok(())
    }

    /// Takes in what has come meanwhile, without waiting: process messages that were sent before
    /// the call are in afterwards.
    pub(crate) fn flush(&mut self, files: &Buffers, who: &mut Processes) -> io::Result<()> {
        loop {
            let called = match &mut self.backend {
                IoBackend::Uring(uring) => uring.flush()?,
                IoBackend::Poll(_) => false,
            };
            // One call may leave work for the next. But that it brought nothing is the end, also
            // where the flag is up still: the kernel lowers it before it runs what is pending, and
            // what that adds and runs at once raises it for nothing (seen on 6.18 when the buffers
            // had run out).
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

    /// Takes what the backend has; how many things that were.
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

    /// A time before which everything that happened was read, and is resolved unless it waits
    /// here; what waits here happened after it. `queue` is the fanotify group. `None` where the
    /// queue was not seen empty.
    ///
    /// Two ways to know: nothing is left in the queue now; or the last read of the wait had room
    /// for another event, so it ended because there was none (fanotify_read() in
    /// fs/notify/fanotify/fanotify_user.c), and it was made after the wait began. Amid a backlog
    /// the queue is not asked. Nor is it by FIONREAD: that walks all of it, under the lock that
    /// writers need.
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

    /// The oldest of them.
    pub(crate) fn take(&mut self) -> Option<Taken> {
        self.waiting.pop_front()
    }

    /// Done with a buffer: it may be read into again.
    pub(crate) fn give_back(&mut self, taken: Taken) {
        match &mut self.backend {
            IoBackend::Uring(uring) => uring.give_back_files(taken),
            IoBackend::Poll(poll) => poll.give_back_files(taken),
        }
    }

    /// Whether somebody asked for the reader's attention since the last call.
    pub(crate) fn take_wake(&mut self) -> bool {
        std::mem::take(&mut self.woken)
    }

    /// Reads that brought file events.
    pub(crate) fn reads(&self) -> u64 {
        self.reads
    }
}

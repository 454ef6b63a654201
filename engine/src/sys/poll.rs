//! The plain backend: poll(2) and read(2), at the same pace as io_uring.

use super::buffers::{Buffers, Taken};
use super::fd::{check, read};
use super::gauge::Gauge;
use super::thread::{sleep, timespec};
use crate::limits::sys::FILE_BUFFERS_MAX;
use arrayvec::ArrayVec;
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, RawFd};
use std::time::Duration;

/// The descriptors that a backend reads and waits for.
pub(crate) struct Descriptors<'a> {
    /// The fanotify group: read.
    pub(crate) files: BorrowedFd<'a>,
    /// The proc connector: io_uring receives from it, poll waits for it.
    pub(crate) connector: Option<BorrowedFd<'a>>,
    /// An eventfd that wakes the reader.
    pub(crate) wake: BorrowedFd<'a>,
    /// Rings of process messages, which are read in memory: only waited for.
    pub(crate) messages: Vec<RawFd>,
}

/// Waits until a file of /proc has changed since it was last polled (POLLPRI and POLLERR: proc(5) on mounts), or
/// `other` is readable.
///
/// # Errors
/// Those of poll(2).
pub(crate) fn wait_for_change(file: BorrowedFd<'_>, other: BorrowedFd<'_>) -> io::Result<()> {
    let polled =
        |fd: BorrowedFd<'_>, events| libc::pollfd { fd: fd.as_raw_fd(), events, revents: 0 };
    let mut fds = [polled(file, libc::POLLPRI), polled(other, libc::POLLIN)];
    loop {
        // SAFETY: the length is the number of live pollfds.
        match check(unsafe { libc::poll(fds.as_mut_ptr(), fds.len() as libc::nfds_t, -1) }) {
            Ok(_) => return Ok(()),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}

/// What a backend brought.
pub(crate) enum Done {
    /// File events.
    /// A filled buffer, and the number of reads of the queue before it.
    Files(Taken, u32),
    /// Process messages.
    Connector(Taken),
    /// The kernel dropped process messages: the socket was full.
    ConnectorLost,
    /// The eventfd was signalled. It stays readable.
    Wake,
}

/// A timeout of 0 would make the kernel sleep for some 50 µs, for a thread of normal priority.
fn gather(window: Duration) {
    if !window.is_zero() {
        sleep(window);
    }
}

/// The descriptors to wait for, and the free buffers.
pub(crate) struct Poll {
    fds: Vec<libc::pollfd>,
    free: ArrayVec<u16, FILE_BUFFERS_MAX>,
    files_dry: bool,
    woken: bool,
    busy: bool,
    /// Reads that brought something.
    reads: u32,
    gauge: Gauge,
}

impl Poll {
    /// Ready to wait.
    pub(crate) fn new(sources: &Descriptors<'_>, files: &Buffers, gauge: Gauge) -> Self {
        let connector = sources.connector.map_or(-1, |fd| fd.as_raw_fd());
        let first = [sources.files.as_raw_fd(), connector, sources.wake.as_raw_fd()];
        let fds = first.into_iter().chain(sources.messages.iter().copied());
        Poll {
            fds: fds.map(|fd| libc::pollfd { fd, events: libc::POLLIN, revents: 0 }).collect(),
            free: (0..files.count()).take(FILE_BUFFERS_MAX).collect(),
            files_dry: true,
            woken: false,
            busy: false,
            reads: 0,
            gauge,
        }
    }

    /// The gauge.
    pub(crate) fn gauge(&self) -> &Gauge {
        &self.gauge
    }

    /// Waits until something came, then until `window` has passed; `timeout` at the most.
    pub(crate) fn wait(&mut self, window: Duration, timeout: Duration) -> io::Result<()> {
        if self.busy {
            gather(window);
        } else {
            let time = timespec(timeout);
            let (fds, count) = (self.fds.as_mut_ptr(), self.fds.len() as libc::nfds_t);
            // SAFETY: `count` pollfds of one live Vec; the time outlives the call.
            let result = unsafe { libc::ppoll(fds, count, &raw const time, std::ptr::null()) };
            match check(result) {
                Ok(0) => return Ok(()),
                Err(error) if error.kind() != io::ErrorKind::Interrupted => return Err(error),
                _ => gather(window),
            }
        }
        self.woken = true;
        self.files_dry = false;
        Ok(())
    }

    /// The next thing that it brought.
    pub(crate) fn next(&mut self, files: &Buffers) -> io::Result<Option<Done>> {
        if std::mem::take(&mut self.woken) {
            self.busy = false;
            return Ok(Some(Done::Wake));
        }
        if let Some(taken) = self.read_files(files)? {
            self.busy = true;
            return Ok(Some(Done::Files(taken, self.reads.wrapping_sub(1))));
        }
        Ok(None)
    }

    fn read_files(&mut self, files: &Buffers) -> io::Result<Option<Taken>> {
        if self.files_dry {
            return Ok(None);
        }
        let Some(index) = self.free.pop() else { return Ok(None) };
        self.gauge.enter();
        let read = self.read_into(self.fds[0].fd, index, files);
        self.reads = self.reads.wrapping_add(u32::from(matches!(read, Ok(Some(_)))));
        self.gauge.leave(self.reads);
        match read {
            Ok(Some(taken)) => Ok(Some(taken)),
            Ok(None) => {
                self.free.push(index);
                self.files_dry = true;
                Ok(None)
            }
            Err(error) => Err(error),
        }
    }

    /// `None` when there is nothing to read.
    fn read_into(&self, fd: RawFd, index: u16, buffers: &Buffers) -> io::Result<Option<Taken>> {
        // SAFETY: the caller holds the free buffer `index`, so nobody else reads or writes it; it
        // is inside the mapping, whose pages are initialised.
        let buffer = unsafe {
            std::slice::from_raw_parts_mut(buffers.address(index), buffers.size() as usize)
        };
        // SAFETY: the descriptor is kept open by the reader for as long as its backend.
        let fd = unsafe { BorrowedFd::borrow_raw(fd) };
        match read(fd, buffer) {
            Ok(0) => Ok(None),
            Ok(len) => {
                let len = u32::try_from(len).map_err(io::Error::other)?;
                Ok(Some(Taken::new(buffers, index, len)))
            }
            Err(error) => match error.raw_os_error() {
                Some(libc::EAGAIN | libc::EINTR) => Ok(None),
                // fanotify has no event for the rename of a name beyond 255 bytes; see `Taken::refused`.
                Some(libc::EFAULT) => Ok(Some(Taken::refused(buffers, index))),
                _ => Err(error),
            },
        }
    }

    /// A buffer of files is free again.
    pub(crate) fn give_back_files(&mut self, taken: Taken) {
        self.free.push(taken.into_index());
    }
}

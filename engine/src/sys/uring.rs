//! The io_uring backend: reads of the fanotify queue, multishot receives from the proc connector
//! into a buffer ring, polls for the rest, and waits that gather a batch before they return.
//!
//! One thread makes, uses and drops the ring (`SINGLE_ISSUER`, `DEFER_TASKRUN`): the kernel works on it only while
//! that thread is inside `io_uring_enter`, so nothing changes between two calls.
//!
//! The queue is read in separate calls, which are published through the gauge: no event is taken from the queue at
//! any other time. A read is submitted only if the queue has events, so it is done when the call that submits it
//! returns (io_file_supports_nowait() in io_uring/rw.c requires poll). With an empty queue it would stay in
//! progress until an event came, and so would the turn of the gauge.
//!
//! Only an idle queue is polled, and only for its next event: while a poll is active, each process that queues an
//! event pays for it. While events come, a wait lasts for the window, and then the queue is checked.

use super::buffers::{Buffers, Taken, map, unmap};
use super::fd::is_readable;
use super::gauge::Gauge;
use super::poll::{Descriptors, Done};
use crate::limits::sys::{
    COMPLETIONS, COMPLETIONS_WANTED, EVENT_LEN_MAX, FILE_BUFFERS_MAX, SUBMISSIONS,
};
use arrayvec::ArrayVec;
use fsmon_format::number::{to_u32, to_usize};
use io_uring::register::Restriction;
use io_uring::types::{BufRingEntry, Fd, SubmitArgs, Timespec};
use io_uring::{IoUring, cqueue, opcode, squeue};
use std::io;
use std::os::fd::{AsFd, AsRawFd, RawFd};
use std::ptr::NonNull;
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::Duration;

/// The index of the poll of the queue among the standing requests.
const FILES_POLL: usize = 0;

/// io_uring_enter(2): run what is pending and post completions (`IORING_ENTER_GETEVENTS`).
const ENTER_GETEVENTS: u32 = 1;

/// The group of buffers that the connector's messages go into.
const BUFFER_GROUP: u16 = 2;

/// Which request a completion belongs to.
mod token {
    pub(super) const FILES: u64 = 1;
    pub(super) const CONNECTOR: u64 = 2;
    pub(super) const WAKE: u64 = 3;
    pub(super) const MESSAGES: u64 = 4;
    /// Not a standing request.
    pub(super) const READ: u64 = u64::MAX;
}

/// The connector's buffers that the kernel may fill: a ring of addresses shared with it.
struct BufferRing {
    entries: NonNull<BufRingEntry>,
    len: usize,
    count: u16,
    tail: u16,
    /// With the kernel, filled or not.
    lent: u16,
    /// Buffers that the kernel may have filled since its last call and that we have not taken yet.
    fillable: u16,
}

/// A standing request: whether it is active, and how to submit it again.
struct Standing {
    entry: squeue::Entry,
    armed: bool,
}

/// The state of reading the fanotify queue.
struct Files {
    fd: Fd,
    /// Buffers to read into.
    free: ArrayVec<u16, FILE_BUFFERS_MAX>,
    /// The queue has something.
    ready: bool,
    /// Reads may be made: not while only process messages are wanted.
    wanted: bool,
    /// The buffer of the read in progress.
    reading: Option<u16>,
    /// Reads that brought events.
    reads: u32,
}

/// The io_uring backend.
pub(crate) struct Uring {
    // The ring goes first: the kernel must let go before the memory is unmapped.
    ring: IoUring,
    files: Files,
    connector: BufferRing,
    standing: Vec<Standing>,
    min_wait: bool,
    /// Whether the last wait brought something: then the next wait only gathers.
    busy: bool,
    gauge: Gauge,
}

impl Uring {
    /// Sets the ring up on the calling thread, which alone may use it.
    ///
    /// # Errors
    /// EPERM where `kernel.io_uring_disabled` forbids it, EINVAL or ENOSYS on old kernels.
    pub(crate) fn new(
        sources: &Descriptors<'_>,
        files: &Buffers,
        connector: &Buffers,
        gauge: Gauge,
    ) -> io::Result<Self> {
        let ring = IoUring::builder()
            .setup_single_issuer()
            .setup_defer_taskrun()
            .setup_taskrun_flag()
            .setup_r_disabled()
            .setup_cqsize(COMPLETIONS)
            .build(SUBMISSIONS)?;
        let min_wait = ring.params().is_feature_min_timeout();
        let mut uring = Uring {
            files: Files {
                fd: raw(sources.files),
                free: (0..files.count()).take(FILE_BUFFERS_MAX).collect(),
                ready: false,
                wanted: true,
                reading: None,
                reads: 0,
            },
            connector: BufferRing::new(connector)?,
            ring,
            standing: Vec::with_capacity(sources.messages.len() + 3),
            min_wait,
            busy: false,
            gauge,
        };
        uring.register(BUFFER_GROUP)?;
        uring.restrict()?;
        let idle = opcode::PollAdd::new(raw(sources.files), libc::POLLIN as u32);
        uring.stand(idle.build(), token::FILES);
        match sources.connector {
            Some(fd) => {
                uring
                    .stand(opcode::RecvMulti::new(raw(fd), BUFFER_GROUP).build(), token::CONNECTOR);
            }
            // A request that needs no activation keeps the indices of the others.
            None => {
                uring.standing.push(Standing { entry: opcode::Nop::new().build(), armed: true });
            }
        }
        uring.stand_poll(sources.wake.as_raw_fd(), token::WAKE);
        for (i, fd) in sources.messages.iter().enumerate() {
            uring.stand_poll(*fd, token::MESSAGES + i as u64);
        }
        Ok(uring)
    }

    /// The gauge.
    pub(crate) fn gauge(&self) -> &Gauge {
        &self.gauge
    }

    /// Whether the kernel paces waits by itself (6.12).
    pub(crate) fn paces(&self) -> bool {
        self.min_wait
    }

    fn stand(&mut self, entry: squeue::Entry, token: u64) {
        self.standing.push(Standing { entry: entry.user_data(token), armed: false });
    }

    fn stand_poll(&mut self, fd: RawFd, token: u64) {
        let entry = opcode::PollAdd::new(Fd(fd), libc::POLLIN as u32).multi(true).build();
        self.stand(entry, token);
    }

    fn register(&mut self, group: u16) -> io::Result<()> {
        let buffers = &self.connector;
        let at = buffers.entries.as_ptr() as u64;
        // SAFETY: the entries are page-aligned, as many as said, and unmapped only after the ring
        // is gone; their buffers are kept by the reader beyond the ring's life.
        unsafe { self.ring.submitter().register_buf_ring_with_flags(at, buffers.count, group, 0) }
    }

    /// Enables the ring for the requests that the engine makes, and for no other. Without this an attacker who can write to the
    /// ring's memory can have the kernel open files, and no seccomp filter sees it (io_uring_register(2),
    /// `IORING_REGISTER_RESTRICTIONS`).
    fn restrict(&self) -> io::Result<()> {
        let mut allowed = [
            Restriction::sqe_op(opcode::Read::CODE),
            Restriction::sqe_op(opcode::RecvMulti::CODE),
            Restriction::sqe_op(opcode::PollAdd::CODE),
            Restriction::sqe_flags_allowed(squeue::Flags::BUFFER_SELECT.bits()),
        ];
        self.ring.submitter().register_restrictions(&mut allowed)?;
        self.ring.submitter().register_enable_rings()
    }

    /// Submits every request that has ended again, except the poll of the queue. Call it before each call of the
    /// kernel.
    fn arm(&mut self) -> io::Result<()> {
        self.arm_from(FILES_POLL + 1)?;
        self.connector.fillable = self.connector.lent;
        Ok(())
    }

    fn arm_from(&mut self, first: usize) -> io::Result<()> {
        for i in first..self.standing.len() {
            if self.standing[i].armed {
                continue;
            }
            let entry = self.standing[i].entry.clone();
            self.push(&entry)?;
            self.standing[i].armed = true;
        }
        Ok(())
    }

    fn push(&mut self, entry: &squeue::Entry) -> io::Result<()> {
        // SAFETY: descriptors and buffers of the request outlive the ring; a buffer that is read
        // into is neither free nor taken until the read has ended.
        while unsafe { self.ring.submission().push(entry) }.is_err() {
            self.ring.submit()?;
        }
        Ok(())
    }

    /// Waits until something comes, and then until `window` has passed since the call; returns after `timeout` at
    /// the latest.
    pub(crate) fn wait(&mut self, window: Duration, timeout: Duration) -> io::Result<()> {
        self.arm()?;
        self.files.wanted = true;
        // Completions from a time without free buffers are there already.
        let gathers = self.busy && !window.is_zero() || self.may_read();
        if !gathers && !self.files.ready {
            self.arm_from(FILES_POLL)?;
        }
        let time = if gathers { window } else { timeout };
        let time = Timespec::new().sec(time.as_secs()).nsec(time.subsec_nanos());
        let mut args = SubmitArgs::new().timespec(&time);
        let mut want = if gathers { COMPLETIONS_WANTED } else { 1 };
        if self.min_wait && !gathers {
            want = COMPLETIONS_WANTED;
            args = args.min_wait_usec(window.as_micros().try_into().unwrap_or(u32::MAX).max(1));
        }
        let result = self.ring.submitter().submit_with_args(want, &args);
        self.files.ready |= gathers && is_readable(self.files.fd.0);
        self.busy = self.files.ready || !self.ring.completion().is_empty();
        ended(result)
    }

    /// Lets the kernel post what is ready, without waiting. Returns whether it may have posted something: false
    /// means that everything sent before the call is in the completion queue.
    ///
    /// The kernel sets the task-run flag in the context of the sender (`TASKRUN_FLAG`), so checking the flag now
    /// covers everything that happened before an event that we have seen.
    pub(crate) fn flush(&mut self) -> io::Result<bool> {
        self.arm()?;
        self.files.wanted = false;
        let submission = self.ring.submission();
        let count = to_u32(submission.len());
        if count == 0 && !submission.taskrun() {
            return Ok(false);
        }
        drop(submission);
        // SAFETY: no argument is passed, so there is none that could be wrong.
        let result = unsafe {
            self.ring.submitter().enter::<libc::sigset_t>(count, 0, ENTER_GETEVENTS, None)
        };
        ended(result).map(|()| true)
    }

    /// The next completion. `files` and `connector` are the buffers given to `new`.
    pub(crate) fn next(
        &mut self,
        files: &Buffers,
        connector: &Buffers,
    ) -> io::Result<Option<Done>> {
        loop {
            let Some(entry) = self.ring.completion().next() else {
                if !self.may_read() {
                    return Ok(None);
                }
                self.read(files)?;
                continue;
            };
            let token = entry.user_data();
            if token != token::READ && !cqueue::more(entry.flags()) {
                let index = to_usize(token - token::FILES);
                self.standing.get_mut(index).expect("tokens are given in order").armed = false;
            }
            let done = match token {
                token::FILES => {
                    // The queue may have been read meanwhile.
                    self.files.ready = is_readable(self.files.fd.0);
                    Ok(None)
                }
                token::READ => self.was_read(entry.result(), files),
                token::CONNECTOR => match self.connector.take(&entry, connector) {
                    Ok(taken) => Ok(taken.map(Done::Connector)),
                    Err(error) if error.raw_os_error() == Some(libc::ENOBUFS) => {
                        Ok(Some(Done::ConnectorLost))
                    }
                    Err(error) => Err(error),
                },
                token::WAKE => Ok(Some(Done::Wake)),
                _ => Ok(None),
            };
            if let Some(done) = done? {
                return Ok(Some(done));
            }
        }
    }

    /// Whether the queue has something, and there is a buffer for it.
    fn may_read(&self) -> bool {
        let Files { ready, wanted, reading, .. } = self.files;
        ready && wanted && reading.is_none() && !self.files.free.is_empty()
    }

    /// Reads from the queue, which has events: the completion is there when this returns.
    fn read(&mut self, files: &Buffers) -> io::Result<()> {
        let Some(index) = self.files.free.pop() else { return Ok(()) };
        self.files.reading = Some(index);
        let (address, size) = (files.address(index), files.size());
        let read = opcode::Read::new(self.files.fd, address, size).offset(u64::MAX).build();
        self.push(&read.user_data(token::READ))?;
        self.gauge.enter();
        ended(self.ring.submitter().submit())
    }

    /// Takes the result of a read.
    fn was_read(&mut self, result: i32, files: &Buffers) -> io::Result<Option<Done>> {
        let Some(index) = self.files.reading.take() else { return Ok(None) };
        let number = self.files.reads;
        // fanotify has no event for the rename of a name beyond 255 bytes.
        let is_refused = result == -libc::EFAULT;
        self.files.reads = number.wrapping_add(u32::from(result > 0 || is_refused));
        self.gauge.leave(self.files.reads);
        if let Ok(len @ 1..) = u32::try_from(result) {
            let taken = Taken::new(files, index, len);
            // A read that ended because the buffer had no room for another event may still have taken the last event.
            self.files.ready =
                !taken.had_room(files, EVENT_LEN_MAX) && is_readable(self.files.fd.0);
            return Ok(Some(Done::Files(taken, number)));
        }
        if is_refused {
            self.files.ready = is_readable(self.files.fd.0);
            return Ok(Some(Done::Files(Taken::refused(files, index), number)));
        }
        self.files.free.push(index);
        self.files.ready = false;
        match -result {
            0 | libc::EAGAIN | libc::EINTR | libc::ECANCELED => Ok(None),
            errno => Err(io::Error::from_raw_os_error(errno)),
        }
    }

    /// A buffer of files may be read into again.
    pub(crate) fn give_back_files(&mut self, taken: Taken) {
        self.files.free.push(taken.into_index());
    }

    /// Lends a buffer of process messages to the kernel again.
    pub(crate) fn give_back_connector(&mut self, taken: Taken, connector: &Buffers) {
        self.connector.lend(taken.into_index(), connector);
    }
}

fn raw(fd: impl AsFd) -> Fd {
    Fd(fd.as_fd().as_raw_fd())
}

/// A wait that ends by its timeout or a signal is not an error.
fn ended(result: io::Result<usize>) -> io::Result<()> {
    match result {
        Ok(_) => Ok(()),
        Err(error) => match error.raw_os_error() {
            Some(libc::ETIME | libc::EINTR | libc::EBUSY | libc::EAGAIN) => Ok(()),
            _ => Err(error),
        },
    }
}

impl BufferRing {
    /// All buffers lent. Their number must be a power of two (io_uring_register(2)).
    fn new(buffers: &Buffers) -> io::Result<Self> {
        let count = buffers.count();
        assert!(count.is_power_of_two());
        let len = usize::from(count) * size_of::<BufRingEntry>();
        let entries = map(len)?.cast();
        let mut ring = BufferRing { entries, len, count, tail: 0, lent: 0, fillable: 0 };
        for index in 0..count {
            ring.lend(index, buffers);
        }
        Ok(ring)
    }

    fn lend(&mut self, index: u16, buffers: &Buffers) {
        let slot = usize::from(self.tail & (self.count - 1));
        // SAFETY: `slot` is inside the mapping; the kernel reads entries only below the tail,
        // which is moved after the entry is whole. The tail lies in the first entry's reserved
        // field, which the setters below leave alone.
        unsafe {
            let entry = &mut *self.entries.as_ptr().add(slot);
            entry.set_addr(buffers.address(index) as u64);
            entry.set_len(buffers.size());
            entry.set_bid(index);
            self.tail = self.tail.wrapping_add(1);
            let tail = BufRingEntry::tail(self.entries.as_ptr()).cast_mut();
            // Release: pairs with the kernel's acquire of the tail in io_ring_buffer_select().
            AtomicU16::from_ptr(tail).store(self.tail, Ordering::Release);
        }
        self.lent += 1;
    }

    /// The buffer of a completion; `None` if it only reports the end of the request.
    fn take(&mut self, entry: &cqueue::Entry, buffers: &Buffers) -> io::Result<Option<Taken>> {
        let result = entry.result();
        let index = cqueue::buffer_select(entry.flags());
        if let (Some(index), Ok(len)) = (index, u32::try_from(result)) {
            self.lent -= 1;
            self.fillable = self.fillable.saturating_sub(1);
            let taken = Taken::new(buffers, index, len);
            if len > 0 {
                return Ok(Some(taken));
            }
            self.lend(taken.into_index(), buffers);
            return Ok(None);
        }
        match -result {
            // Without a free buffer the request ends like this; it is submitted again later.
            libc::ENOBUFS if self.fillable == 0 => Ok(None),
            libc::EAGAIN | libc::EINTR | libc::ECANCELED => Ok(None),
            errno if errno > 0 => Err(io::Error::from_raw_os_error(errno)),
            _ => Ok(None),
        }
    }
}

impl Drop for BufferRing {
    fn drop(&mut self) {
        unmap(self.entries.cast(), self.len);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sys::fd::eventfd;
    use std::io::Write;
    use std::os::fd::BorrowedFd;

    /// A ring that reads `files`, a pipe that stands for the queue. `None`, said aloud, without io_uring.
    fn uring_of(
        files: BorrowedFd<'_>,
        wake: BorrowedFd<'_>,
        buffers: &(Buffers, Buffers),
    ) -> Option<Uring> {
        let sources = Descriptors { files, connector: None, wake, messages: vec![] };
        let made = Uring::new(&sources, &buffers.0, &buffers.1, Gauge::default());
        made.inspect_err(|error| eprintln!("SKIP: no io_uring here: {error}")).ok()
    }

    #[test]
    fn the_kernel_refuses_what_the_ring_is_not_for() {
        let (reader, _writer) = std::io::pipe().expect("a pipe");
        let buffers =
            (Buffers::new(2, 8192).expect("mapped"), Buffers::new(2, 4096).expect("mapped"));
        let wake = eventfd().expect("an eventfd");
        let Some(mut uring) = uring_of(reader.as_fd(), wake.as_fd(), &buffers) else { return };
        let path = c"/etc/passwd";
        let open = opcode::OpenAt::new(Fd(libc::AT_FDCWD), path.as_ptr()).build().user_data(7);
        uring.push(&open).expect("pushed");
        uring.ring.submit_and_wait(1).expect("submitted");
        let done = uring.ring.completion().next().expect("it ended");
        assert_eq!((done.user_data(), done.result()), (7, -libc::EACCES));
        // Nor can anything more be registered with it.
        let error = uring.ring.submitter().register_files(&[0]).expect_err("refused");
        assert_eq!(error.raw_os_error(), Some(libc::EACCES));
    }

    /// A pipe stands for the queue: what is in it fills the buffer but for less than an event.
    #[test]
    fn a_queue_that_was_emptied_is_not_read_again() {
        let (reader, mut writer) = std::io::pipe().expect("a pipe");
        let buffers =
            (Buffers::new(2, 8192).expect("mapped"), Buffers::new(2, 4096).expect("mapped"));
        let wake = eventfd().expect("an eventfd");
        let Some(mut uring) = uring_of(reader.as_fd(), wake.as_fd(), &buffers) else { return };
        let (files, connector) = &buffers;
        for len in [8000, 100] {
            writer.write_all(&vec![1; len]).expect("room in the pipe");
            uring.wait(Duration::from_micros(1), Duration::from_secs(1)).expect("waited");
            match uring.next(files, connector).expect("read") {
                Some(Done::Files(taken, _)) => {
                    assert_eq!(files.bytes(&taken).len(), len);
                    uring.give_back_files(taken);
                }
                _ => panic!("there are {len} bytes"),
            }
            assert!(uring.next(files, connector).expect("nothing").is_none());
            assert!(uring.files.reading.is_none(), "a read waits after {len} bytes");
        }
    }
}

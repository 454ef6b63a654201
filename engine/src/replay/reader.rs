//! Runs whole turns of the reader on recorded bytes, without the waiting.
//!
//! Each read comes as a datagram through a socket, and through the backend that fsmon uses without io_uring. The caller
//! feeds the messages about processes. For the reader there is only one difference: the files of the recording do not
//! exist, so it cannot look at them.

use super::processes;
use super::recording::{Recording, Turn};
use crate::Error;
use crate::counters::{Counters, Shared};
use crate::hot::event::{Events, Key};
use crate::hot::output::{Inputs, Output};
use crate::hot::reader::Reader;
use crate::hot::reader::intake::{Intake, IoBackend};
use crate::hot::reader::queue::QueueGauge;
use crate::hot::r#where::above::Above;
use crate::hot::r#where::disk::Kernel;
use crate::hot::r#where::resolve::Resolver;
use crate::hot::r#where::tree::Tree;
use crate::hot::r#where::watch::Watch;
use crate::limits::reader::{FILES_BUFFER_BYTES, FILES_BUFFERS};
use crate::ring::{Consumer, ring};
use crate::sys::buffers::Buffers;
use crate::sys::fanotify::Group;
use crate::sys::fd::eventfd;
use crate::sys::gauge::Gauge;
use crate::sys::poll::{self, Poll};
use fsmon_format::kind;
use fsmon_format::record::Slot;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixDatagram;
use std::time::Duration;

/// The pid of fsmon, whose own changes are not reported. No recorded process has it.
const OWN_PID: u32 = u32::MAX;

/// The buffers and descriptors that a [`Replay`] borrows.
pub struct Room {
    files: Buffers,
    shared: Shared,
    queue: UnixDatagram,
    wake: OwnedFd,
}

/// The reader of a recording, and its consumer.
pub struct Replay<'a> {
    reader: Reader<'a>,
    consumer: Consumer,
    kernel: UnixDatagram,
}

/// Room for one replay, and the socket that fills its queue.
///
/// # Errors
/// The kernel refuses memory or descriptors.
fn room() -> io::Result<(Room, UnixDatagram)> {
    let files = Buffers::new(FILES_BUFFERS, FILES_BUFFER_BYTES)?;
    let (queue, kernel) = UnixDatagram::pair()?;
    queue.set_nonblocking(true)?;
    kernel.set_nonblocking(true)?;
    Ok((Room { files, shared: Shared::default(), queue, wake: eventfd()? }, kernel))
}

impl Room {
    /// Calls `f` with a reader for `recording` that has read nothing yet. It has room for this number of directories,
    /// of process images, and of slots in the ring.
    ///
    /// # Errors
    /// The kernel refuses memory or descriptors.
    pub fn with<T>(
        recording: &Recording,
        (dirs, images, slots): (usize, usize, usize),
        f: impl FnOnce(&mut Replay<'_>) -> T,
    ) -> io::Result<T> {
        let (room, kernel) = room()?;
        let sources = poll::Descriptors {
            files: room.queue.as_fd(),
            connector: None,
            wake: room.wake.as_fd(),
            messages: Vec::new(),
        };
        let poll = Poll::new(&sources, &room.files, Gauge::default());
        let intake = Intake::new(IoBackend::Poll(poll), Buffers::new(1, 4096)?);
        let sources = Inputs {
            who: processes(images),
            intake,
            files: &room.files,
            queue: QueueGauge::default(),
            failed: None,
        };
        let (producer, consumer) = ring(slots);
        let output = Output::new(producer, Counters::default());
        let resolver = resolver(recording, dirs)?;
        let reader = Reader::new(resolver, output, sources, &room.shared, recording.start_ns);
        Ok(f(&mut Replay { reader, consumer, kernel }))
    }
}

/// A resolver that knows only the root.
fn resolver(recording: &Recording, dirs: usize) -> io::Result<Resolver> {
    let root = &recording.root;
    let mut tree = Tree::new(dirs, vec![root.fsid]);
    let key = Key { fsid: root.fsid, handle: &root.handle };
    tree.insert_root(&root.path, key).map_err(|_| io::ErrorKind::OutOfMemory)?;
    // An eventfd with the value 0 looks like an empty queue: it is never readable.
    let group = Group::from(eventfd()?);
    let watch = Watch::new(Kernel::new(group), 0, true, None);
    let above = Above::new(vec![root.fsid]);
    Ok(Resolver::new(tree, watch, above, kind::DEFAULT, OWN_PID, 0))
}

impl Replay<'_> {
    /// Puts the reads of a turn into the reader's buffers, as the kernel would.
    ///
    /// # Errors
    /// The socket refuses them.
    pub fn put(&mut self, turn: &Turn) -> io::Result<()> {
        for read in &turn.reads {
            self.kernel.send(&read.bytes)?;
        }
        let Inputs { intake, who, files, .. } = &mut self.reader.sources;
        intake.wait(files, Duration::ZERO, Duration::ZERO, who)
    }

    /// Runs the turn: makes records in the ring from the messages and from the reads that [`Replay::put`] put in.
    ///
    /// # Errors
    /// Those of the reader. Without the kernel none can happen.
    #[inline]
    pub fn turn(&mut self, turn: &Turn) -> Result<(), Error> {
        let who = &mut self.reader.sources.who;
        for read in &turn.reads {
            who.note_read(read.number, read.turn, Events(&read.bytes).len());
        }
        for message in &turn.messages {
            who.feed_bpf(message);
        }
        self.reader.work(turn.until_ns)?;
        self.reader.rest(turn.until_ns, turn.empty_ns);
        Ok(())
    }

    /// Passes what is in the ring to `take`, and releases it.
    pub fn records(&mut self, mut take: impl FnMut(&[Slot])) {
        while self.consumer.has_more() {
            let batch = self.consumer.peek();
            take(batch);
            let len = batch.len();
            self.consumer.release(len);
        }
    }

    /// Whether the reader is idle. It must be, as there is no filesystem to look at.
    #[must_use]
    pub fn is_idle(&self) -> bool {
        self.reader.is_idle()
    }

    /// The counters of the reader.
    #[must_use]
    pub fn counters(&self) -> Counters {
        self.reader.output.counters
    }
}

//! Attribution: what is known of processes, and which process a file event belongs to.
//!
//! ```text
//! BPF programs ► bpf_record ──┐            ┌► pids, images, strings
//! perf rings ──► perf_record ─┼► merged by ┴─ table, by_position (apply) ◄── late (from /proc)
//! connector ───► proc_event ──┘  time          │
//!                 file event's pid and time ──► align (resolve), by_position ► image, attribution
//!                                              lifetime (retire, evict)
//! ```
//!
//! The order keeps attribution exact: take a batch of file events, *then* call [`Processes::drain`], *then* resolve
//! the batch. The messages of a process are in their rings before the process can change a file.
//!
//! With BPF each message carries its position in the queue of file events. A comparison then gives the image that
//! an event belongs to (`by_position`). Without BPF, `align` works it out from times and from the executables that
//! were opened.

pub mod align;
pub mod args;
pub mod bpf_record;
mod by_position;
mod cmdline;
pub mod counted;
pub mod images;
mod late;
mod lifetime;
pub mod message;
pub mod perf_record;
pub mod pids;
pub mod proc_event;
pub mod procfs;
mod reads;
pub mod sources;
pub mod strings;
pub mod table;
mod witnesses;

use crate::sys::clock;
use crate::sys::gauge::Gauge;
pub use by_position::Parts;
pub(crate) use cmdline::CmdlineRef;
use fsmon_format::record::{Attribution, Proc, proc_flag};
use message::{Kind, Message, Source};
use reads::Reads;
pub use sources::{MessageSources, RingWriter};
use std::os::fd::{BorrowedFd, RawFd};
pub use table::Table;
use witnesses::Witnesses;
use zerocopy::FromZeros;

/// The sources of process information in use, best first; each includes what the lower ones give.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Rung {
    /// BPF programs: everything, with the position in the queue of file events.
    Bpf,
    /// perf tracepoint: name given to exec and cgroup, on top of the next.
    Tracepoint,
    /// perf COMM, FORK and EXIT.
    Comm,
    /// The proc connector; the name is read from /proc at exec.
    Connector,
    /// /proc at event time.
    Proc,
}

/// Whether openings of executables come with the file events (`FAN_OPEN_EXEC`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OpenExec {
    /// Not at all.
    None,
    /// For some filesystems; the table learns which files those are.
    Some,
    /// For all that hold programs, as far as is known.
    All,
}

/// The interval in which an event happened: after the queue was last seen empty, and before the reader took the clock
/// after the read that returned the event. `CLOCK_MONOTONIC`, ns.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Interval {
    /// No event of this batch happened earlier.
    pub after_ns: u64,
    /// No event of this batch happened later.
    pub until_ns: u64,
    /// Events taken from the queue before this one, since its group was made.
    pub index: u64,
}

/// Which image an event belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Answer {
    /// The image; 0 for none.
    pub image: u32,
    /// How certain that is.
    pub attribution: Attribution,
    /// The image that the process became while the event was in the queue, or 0. What the kernel merged into the
    /// event may belong to either image.
    pub later: u32,
}

impl Answer {
    /// With `later` 0.
    #[must_use]
    pub fn new(image: u32, attribution: Attribution) -> Self {
        Answer { image, attribution, later: 0 }
    }
}

/// No image, attribution unknown.
impl Default for Answer {
    fn default() -> Self {
        Answer::new(0, Attribution::Unknown)
    }
}

impl Interval {
    /// `after_ns` and `until_ns`.
    #[must_use]
    pub fn span(self) -> (u64, u64) {
        (self.after_ns, self.until_ns)
    }
}

/// Process messages that were lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Loss {
    /// No message before this was lost.
    pub first_ns: u64,
    /// When the loss was noticed and the table was read again from /proc.
    pub last_ns: u64,
    /// How many; `None` if the kernel did not report it.
    pub count: Option<u64>,
}

/// Counters since the start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct WhoCounters {
    /// Messages applied.
    pub messages: u64,
    /// Messages that were lost, as the kernel reported; a loss of unknown size counts as 1.
    pub lost: u64,
    /// Records or datagrams that could not be parsed.
    pub malformed: u64,
    /// Images that exist.
    pub images: usize,
    /// Images that were forgotten or refused because the table was full.
    pub evicted: u64,
    /// Processes that were read from /proc because no source had announced them.
    pub late_reads: u64,
}

/// Everything known about processes, for the reader thread.
pub struct Processes {
    table: Table,
    sources: MessageSources,
    inbox: Inbox,
    loss: Option<Loss>,
    reads: Reads,
    /// File events resolved since their group was made.
    resolved: u64,
    misses: u64,
    drained_ns: u64,
    lost: u64,
    messages: u64,
    cmdlines: cmdline::Cmdlines,
}

/// Messages that wait to be applied; the room is allocated at the start.
struct Inbox {
    messages: Vec<Message>,
    witnesses: Witnesses,
    lost: u64,
    lost_unknown: bool,
    malformed: u64,
}

impl Inbox {
    fn is_full(&self) -> bool {
        self.messages.len() == self.messages.capacity()
    }
}

impl Processes {
    /// Combines table and sources, which `cold::who` has prepared.
    #[must_use]
    pub fn new(table: Table, sources: MessageSources) -> Self {
        let messages = Vec::with_capacity(crate::limits::MESSAGES_MAX);
        let witnesses = Witnesses::default();
        let inbox = Inbox { messages, witnesses, lost: 0, lost_unknown: false, malformed: 0 };
        let drained_ns = clock::monotonic_ns();
        let (reads, cmdlines) = (Reads::default(), cmdline::Cmdlines::default());
        Processes {
            table,
            sources,
            inbox,
            loss: None,
            reads,
            resolved: 0,
            misses: 0,
            drained_ns,
            lost: 0,
            messages: 0,
            cmdlines,
        }
    }

    /// The rung in use.
    #[must_use]
    pub fn rung(&self) -> Rung {
        self.table.rung
    }

    /// Sets whether openings of executables come with the file events.
    pub fn set_openings(&mut self, openings: OpenExec) {
        self.table.open_exec = openings;
    }

    /// Reads all sources and brings the table up to date. Call it after each batch of file events was taken and
    /// before the batch is resolved.
    ///
    /// `horizon` is a time before any source was read, at or after the end of the batch. Up to `horizon` the
    /// sources are complete. Messages that arrive while the sources are read one after the other may lack an
    /// earlier one, so messages from after `horizon` wait for the next call.
    pub fn drain(&mut self, horizon: u64) {
        loop {
            let all =
                self.sources.read(&mut self.table.strings, &mut self.table.args, &mut self.inbox);
            self.apply_until(if all { horizon } else { u64::MAX });
            if all {
                break;
            }
        }
        if self.inbox.lost != 0 || self.inbox.lost_unknown {
            self.recover();
        }
        self.drained_ns = horizon;
    }

    /// Takes a datagram of the proc connector that the caller received from the kernel.
    pub fn feed_connector(&mut self, datagram: &[u8]) {
        if self.inbox.is_full() {
            self.apply_until(u64::MAX);
        }
        self.sources.take_datagram(datagram, &mut self.inbox);
    }

    /// Takes a message of our programs that the caller read from a ring.
    #[cfg(any(test, feature = "internals"))]
    pub fn feed_bpf(&mut self, record: &[u8]) {
        if self.inbox.is_full() {
            self.apply_until(u64::MAX);
        }
        let Table { strings, args, .. } = &mut self.table;
        sources::take_bpf(record, strings, args, &mut self.inbox);
    }

    /// The caller received `ENOBUFS` from the connector: messages were lost.
    pub fn feed_connector_loss(&mut self) {
        self.inbox.lost_unknown = true;
    }

    fn apply_until(&mut self, horizon: u64) {
        let inbox = &mut self.inbox.messages;
        inbox.sort_unstable_by_key(|message| (message.time_ns, message.kind));
        let due = inbox.partition_point(|message| message.time_ns <= horizon);
        for message in &inbox[..due] {
            match message.source {
                Source::Bpf => {
                    let (least, most) = self.reads.position(message.progress);
                    // The change took effect at some time before its message was sent.
                    let least =
                        if message.is_by_another() { least.min(self.resolved) } else { least };
                    self.table.apply_by_position(message, (least, most));
                }
                _ => self.table.apply(message),
            }
            if message.kind == Kind::Exec && !args::has_text(message.args) {
                self.cmdlines.note_exec(message.pid);
            }
        }
        inbox.copy_within(due.., 0);
        inbox.truncate(inbox.len() - due);
        self.messages += due as u64;
    }

    /// After a loss: reads the table again from /proc. Until then attribution is not certain.
    #[cold]
    fn recover(&mut self) {
        let count = (!self.inbox.lost_unknown).then_some(self.inbox.lost);
        self.lost += self.inbox.lost + u64::from(self.inbox.lost_unknown);
        (self.inbox.lost, self.inbox.lost_unknown) = (0, false);
        // If /proc cannot be read the table stays as it is; the loss is reported in any case.
        let _ = self.table.scan(false);
        let now = clock::monotonic_ns();
        self.table.unsure_before_ns = now;
        let earlier = self.loss.take();
        self.loss = Some(Loss {
            first_ns: earlier.map_or(self.drained_ns, |loss| loss.first_ns),
            last_ns: now,
            count: earlier.map_or(count, |loss| Some(loss.count? + count?)),
        });
    }

    /// What was lost since the last call.
    #[inline]
    pub fn take_loss(&mut self) -> Option<Loss> {
        self.loss.take()
    }

    /// Descriptors that become readable when a ring is a quarter full.
    pub fn ring_fds(&self) -> impl Iterator<Item = RawFd> + '_ {
        self.sources.perf_fds()
    }

    /// The socket of the proc connector, for a caller that reads it and passes the datagrams on.
    pub(crate) fn connector(&self) -> Option<BorrowedFd<'_>> {
        self.sources.connector()
    }

    /// For the backend, which publishes its progress through the queue there.
    pub(crate) fn gauge(&self) -> Gauge {
        self.sources.counted().map_or_else(Gauge::default, counted::Counted::gauge)
    }

    /// Whether [`Processes::queue_length`] says something.
    pub(crate) fn measures_queue(&self) -> bool {
        self.sources.counted().is_some_and(counted::Counted::measures_queue)
    }

    /// Events that wait in the queue of file events, as our programs see it; `None` without them.
    pub(crate) fn queue_length(&self) -> Option<u64> {
        self.sources.counted().and_then(counted::Counted::queue_length)
    }

    /// Records that read number `number`, in turn `turn` of the gauge, took `count` events from the queue. Call it
    /// before [`Processes::drain`].
    pub fn note_read(&mut self, number: u32, turn: u32, count: u32) {
        self.reads.note(number, turn, count);
    }

    /// The same for a read that the kernel refused; one event stands for what it took.
    pub fn note_refused_read(&mut self, number: u32, turn: u32) {
        self.reads.note_refused(number, turn);
    }

    /// Records that `index` file events were resolved since the group was made. Call it after each batch.
    #[inline]
    pub fn note_resolved(&mut self, index: u64) {
        self.resolved = index;
    }

    /// Checks whether the programs missed a message ([`Counted::misses`]), which takes system calls. Call it from
    /// time to time.
    #[cold]
    pub(crate) fn look_for_misses(&mut self) {
        let misses = self.sources.counted().map_or(0, counted::Counted::misses);
        if misses > self.misses {
            self.inbox.lost += misses - self.misses;
            self.misses = misses;
            self.recover();
        }
    }

    /// From now on the caller reads the connector, and [`Processes::drain`] does not.
    pub(crate) fn set_fed(&mut self) {
        self.sources.set_fed();
    }

    /// The image that an event of `pid` belongs to.
    #[inline]
    pub fn resolve(&mut self, pid: u32, interval: Interval) -> Answer {
        self.table.resolve(pid, interval)
    }

    /// Divides a merged event whose process changed while it was queued ([`Answer::later`]): the parts of `types`,
    /// oldest first, each with its image. `answer` is the answer for the whole event.
    #[cold]
    pub fn parts(&mut self, answer: Answer, pid: u32, interval: Interval, types: u32) -> Parts {
        match self.table.rung {
            Rung::Bpf => self.table.parts(pid, interval, types, &self.inbox.witnesses),
            _ => by_position::two_parts(answer, types),
        }
    }

    /// Resolves a `FAN_OPEN_EXEC` event: `pid` opened the executable `name`. Call it in queue order, instead of
    /// [`Processes::resolve`].
    pub fn open_exec(&mut self, pid: u32, interval: Interval, name: &[u8]) -> Answer {
        self.table.open_exec(pid, interval, name)
    }

    /// Releases what no event can refer to any more: every event from before `empty_ns`, when the queue was seen
    /// empty, has been resolved.
    #[inline]
    pub fn retire(&mut self, empty_ns: u64) {
        self.table.retire(empty_ns);
    }

    /// Keeps an image and its ancestors until [`Processes::release`].
    pub fn hold(&mut self, image: u32) {
        self.table.images.retain(image);
    }

    /// See [`Processes::hold`].
    pub fn release(&mut self, image: u32) {
        self.table.drop_reference(image);
    }

    /// Whether the definition of an image was sent and is up to date.
    #[inline]
    #[must_use]
    pub fn is_defined(&self, image: u32) -> bool {
        image == 0 || self.table.images.get(image).defined != 0
    }

    /// Records that it was sent.
    pub fn set_defined(&mut self, image: u32) {
        if image != 0 {
            self.table.images.get_mut(image).defined = 1;
        }
    }

    /// The image that the process was forked from; 0 unknown.
    pub(crate) fn parent(&self, image: u32) -> u32 {
        self.table.images.get(image).parent
    }

    /// The definition of an image. Send those of `parent`, `prev`, `exe` and `exec` before it.
    #[must_use]
    pub fn describe(&self, id: u32) -> Proc {
        let image = self.table.images.get(id);
        let mut proc = Proc::new_zeroed();
        proc.flags = image.flags.into();
        proc.id = id.into();
        proc.pid = image.pid.into();
        proc.ppid = image.ppid.into();
        proc.parent = image.parent.into();
        proc.prev = image.prev.into();
        proc.start_ns = image.start_ns.into();
        proc.uid = image.uid.into();
        proc.gid = image.gid.into();
        proc.comm = if image.flags & proc_flag::COMM == 0 { [0; 16] } else { image.comm };
        proc.exe = image.exe.into();
        proc.exe_root = image.exe_root.into();
        proc.exec = image.exec.into();
        proc.cgroup_id = image.cgroup_id.into();
        proc
    }

    /// Whether [`Processes::read_exe`] has to read the links of processes in /proc: not if every exec is reported with
    /// the path of its file, as the files of the processes that ran before were read at the start.
    pub(crate) fn reads_files_of_processes(&self) -> bool {
        let are_sent = self.sources.counted().is_some_and(|counted| counted.exec_details().path);
        self.rung() != Rung::Bpf || !are_sent
    }

    /// Reads from /proc which file an image runs, if no source reported it. If this returns true, the caller must
    /// take in all messages and then call [`Processes::confirm_exe`].
    #[inline]
    pub(crate) fn read_exe(&mut self, image: u32) -> bool {
        // A replayed recording has no programs, and its processes are not in /proc.
        let has_message = self.rung() == Rung::Bpf
            && self.sources.counted().is_none_or(|counted| counted.exec_details().path);
        !has_message && self.table.read_file_late(image)
    }

    /// See [`Processes::read_exe`].
    pub(crate) fn confirm_exe(&mut self, image: u32) {
        self.table.confirm_file(image);
    }

    /// The bytes of an exe or exec.
    #[must_use]
    pub fn exe(&self, id: u32) -> &[u8] {
        self.table.strings.get(id)
    }

    /// Whether the definition of an exe or exec was sent.
    #[must_use]
    pub fn is_exe_defined(&self, id: u32) -> bool {
        id == 0 || self.table.strings.is_defined(id)
    }

    /// Records that it was sent.
    pub fn set_exe_defined(&mut self, id: u32) {
        self.table.strings.set_defined(id);
    }

    /// Messages applied so far.
    #[inline]
    pub(crate) fn messages(&self) -> u64 {
        self.messages
    }

    /// Paths of executables and names given to exec that were refused because there was no room.
    #[inline]
    pub(crate) fn names_refused(&self) -> u64 {
        self.table.strings.refused()
    }

    /// The counters.
    #[must_use]
    pub fn counters(&self) -> WhoCounters {
        let table = self.table.counters;
        WhoCounters {
            messages: self.messages,
            lost: self.lost,
            malformed: self.inbox.malformed,
            images: self.table.images.len(),
            evicted: table.evicted + table.refused,
            late_reads: table.late_reads,
        }
    }
}

#[cfg(test)]
mod kernel_test;

//! Who did it: all that is known of processes, and which of them a file event belongs to.
//!
//! ```text
//! BPF programs ► bpf_record ──┐            ┌► pids, images, strings
//! perf rings ──► perf_record ─┼► merged by ┴─ table, by_position (apply) ◄── late (from /proc)
//! connector ───► proc_event ──┘  time          │
//!                 file event's pid and time ──► align (resolve), placed ──► image, attribution
//!                                              lifetime (retire, evict)
//! ```
//!
//! The order that makes it exact: take a batch of file events, *then* [`Processes::drain`], *then*
//! resolve the batch. A process's own messages are in their rings before it can change a file.
//!
//! With BPF each message has its place in the queue of file events, so which image an event belongs
//! to is a comparison (`by_position`). Without, it is worked out from times and from what executables
//! were opened (`align`).

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

/// How much of the ladder of sources is used, best first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Rung {
    /// BPF programs: everything, with its place in the queue of file events.
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
    /// For some filesystems; which files those are is learnt.
    Some,
    /// For all that hold programs, as far as is known.
    All,
}

/// When an event happened: after the queue was last seen empty, and before the clock was read
/// after the read that brought it. `CLOCK_MONOTONIC`, ns.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Window {
    /// Nothing of this batch happened before.
    pub after_ns: u64,
    /// Nothing of this batch happened later.
    pub until_ns: u64,
    /// Events taken from the queue before this one, since its group was made.
    pub index: u64,
}

/// Whose an event is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Answer {
    /// The image; 0 for none.
    pub image: u32,
    /// How sure that is.
    pub attribution: Attribution,
    /// The process changed while the event was in the queue, and became this: what the kernel
    /// merged into the event may be of before or after. 0 when it did not.
    pub later: u32,
}

impl Answer {
    /// Without anything later.
    #[must_use]
    pub fn new(image: u32, attribution: Attribution) -> Self {
        Answer { image, attribution, later: 0 }
    }
}

/// Nobody.
impl Default for Answer {
    fn default() -> Self {
        Answer::new(0, Attribution::Unknown)
    }
}

impl Window {
    /// Both ends.
    #[must_use]
    pub fn span(self) -> (u64, u64) {
        (self.after_ns, self.until_ns)
    }
}

/// Process messages were lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Loss {
    /// Nothing before was lost.
    pub first_ns: u64,
    /// When it was noticed, and the table made true again.
    pub last_ns: u64,
    /// How many; `None` when the kernel did not tell.
    pub count: Option<u64>,
}

/// What was counted since the start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct WhoCounters {
    /// Messages applied.
    pub messages: u64,
    /// Messages that the kernel said were lost; a loss of unknown size counts as one.
    pub lost: u64,
    /// Records or datagrams that made no sense.
    pub malformed: u64,
    /// Images that exist.
    pub images: usize,
    /// Images forgotten, or not taken in, for want of room.
    pub evicted: u64,
    /// Reads of /proc as a last resort.
    pub late_reads: u64,
}

/// Everything about processes, for the reader's thread.
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

/// Messages that wait to be applied, in room made at the start.
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
    /// Puts table and sources together, both made ready by `cold::who`.
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

    /// Says whether openings of executables come with the file events.
    pub fn set_openings(&mut self, openings: OpenExec) {
        self.table.open_exec = openings;
    }

    /// Takes everything that the sources have and brings the table up to date: to be called after
    /// each batch of file events was taken, and before it is resolved.
    ///
    /// `horizon` is a time before any source was read, at or after the end of the batch. What is
    /// in the sources by then is whole: whatever led to a message was told before it. What comes
    /// in while one source after the other is read is not, so messages from after this moment
    /// wait for the next time.
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

    /// A datagram of the proc connector that someone else received from the kernel.
    pub fn feed_connector(&mut self, datagram: &[u8]) {
        if self.inbox.is_full() {
            self.apply_until(u64::MAX);
        }
        self.sources.take_datagram(datagram, &mut self.inbox);
    }

    /// A message of our programs that someone else took from a ring.
    #[cfg(any(test, feature = "internals"))]
    pub fn feed_bpf(&mut self, record: &[u8]) {
        if self.inbox.is_full() {
            self.apply_until(u64::MAX);
        }
        let Table { strings, args, .. } = &mut self.table;
        sources::take_bpf(record, strings, args, &mut self.inbox);
    }

    /// Someone else was told that the connector lost messages (ENOBUFS).
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
                    // It took effect at some time before it was told.
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

    /// After a loss the table is made true again from /proc; until then nothing is sure.
    #[cold]
    fn recover(&mut self) {
        let count = (!self.inbox.lost_unknown).then_some(self.inbox.lost);
        self.lost += self.inbox.lost + u64::from(self.inbox.lost_unknown);
        (self.inbox.lost, self.inbox.lost_unknown) = (0, false);
        // Where /proc cannot be read the table stays as it is; the loss is told all the same.
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

    /// The proc connector's socket, for whoever reads it and feeds what comes.
    pub(crate) fn connector(&self) -> Option<BorrowedFd<'_>> {
        self.sources.connector()
    }

    /// For the backend, to tell how far it is with the queue.
    pub(crate) fn gauge(&self) -> Gauge {
        self.sources.counted().map_or_else(Gauge::default, counted::Counted::gauge)
    }

    /// A read of that number, in that turn of the gauge, took `count` events from the queue. To be
    /// told before [`Processes::drain`].
    pub fn note_read(&mut self, number: u32, turn: u32, count: u32) {
        self.reads.note(number, turn, count);
    }

    /// The same of a read that was refused; one event takes the place of what it took.
    pub fn note_refused_read(&mut self, number: u32, turn: u32) {
        self.reads.note_refused(number, turn);
    }

    /// So many file events were resolved since their group was made. To be told after each batch.
    #[inline]
    pub fn note_resolved(&mut self, index: u64) {
        self.resolved = index;
    }

    /// To be called now and then: whether a message was not sent, as [`Counted::misses`] tells,
    /// which only a call can find out.
    #[cold]
    pub(crate) fn look_for_misses(&mut self) {
        let misses = self.sources.counted().map_or(0, counted::Counted::misses);
        if misses > self.misses {
            self.inbox.lost += misses - self.misses;
            self.misses = misses;
            self.recover();
        }
    }

    /// From now on the caller reads the connector: [`Processes::drain`] leaves it alone.
    pub(crate) fn set_fed(&mut self) {
        self.sources.set_fed();
    }

    /// Whose an event of `pid` is.
    #[inline]
    pub fn resolve(&mut self, pid: u32, window: Window) -> Answer {
        self.table.resolve(pid, window)
    }

    /// Whose what was merged into an event is, where [`Answer::later`] says that its process
    /// changed meanwhile: `types` taken apart, in order. `answer` is what it was found in.
    #[cold]
    pub fn parts(&mut self, answer: Answer, pid: u32, window: Window, types: u32) -> Parts {
        match self.table.rung {
            Rung::Bpf => self.table.parts(pid, window, types, &self.inbox.witnesses),
            _ => by_position::two_parts(answer, types),
        }
    }

    /// `FAN_OPEN_EXEC` of a file of that name by `pid`, in queue order, instead of
    /// [`Processes::resolve`]. Returns the same.
    pub fn open_exec(&mut self, pid: u32, window: Window, name: &[u8]) -> Answer {
        self.table.open_exec(pid, window, name)
    }

    /// Lets go of what no event can ask for any more: every event from before `empty_ns`, when
    /// the queue was seen empty, has been resolved.
    #[inline]
    pub fn retire(&mut self, empty_ns: u64) {
        self.table.retire(empty_ns);
    }

    /// Keeps an image, with its ancestors, until it is let go by [`Processes::release`].
    pub fn hold(&mut self, image: u32) {
        self.table.images.retain(image);
    }

    /// See [`Processes::hold`].
    pub fn release(&mut self, image: u32) {
        self.table.drop_reference(image);
    }

    /// Whether an image's definition was sent, as it now is.
    #[inline]
    #[must_use]
    pub fn is_defined(&self, image: u32) -> bool {
        image == 0 || self.table.images.get(image).defined != 0
    }

    /// Notes that it was.
    pub fn set_defined(&mut self, image: u32) {
        if image != 0 {
            self.table.images.get_mut(image).defined = 1;
        }
    }

    /// The image that the process was forked from; 0 unknown.
    pub(crate) fn parent(&self, image: u32) -> u32 {
        self.table.images.get(image).parent
    }

    /// The image's definition. Those of `parent`, `prev`, `exe` and `exec` should be sent before it.
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

    /// Reads which file an image runs, where nothing told it. Where this is true, the caller has to
    /// take in all messages, and then say so by [`Processes::confirm_exe`].
    #[inline]
    pub(crate) fn read_exe(&mut self, image: u32) -> bool {
        // What plays a recording back has no programs, and /proc knows nothing of its processes.
        let told = self.rung() == Rung::Bpf
            && self.sources.counted().is_none_or(|counted| counted.exec_details().path);
        !told && self.table.read_file_late(image)
    }

    /// See [`Processes::read_exe`].
    pub(crate) fn confirm_exe(&mut self, image: u32) {
        self.table.settle_file(image);
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

    /// Notes that it was.
    pub fn set_exe_defined(&mut self, id: u32) {
        self.table.strings.set_defined(id);
    }

    /// Messages applied so far.
    #[inline]
    pub(crate) fn messages(&self) -> u64 {
        self.messages
    }

    /// Paths of executables, and names given to exec, that there was no room for.
    #[inline]
    pub(crate) fn names_refused(&self) -> u64 {
        self.table.strings.refused()
    }

    /// What was counted.
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

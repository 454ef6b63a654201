//! What any source says about a process, in one form.

/// Bytes of a comm, the NUL included (`TASK_COMM_LEN`).
pub const COMM: usize = 16;

/// What happened. The order is the one that the kernel keeps where times are equal.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// `parent` made `pid`.
    Fork,
    /// exec gave `pid` the name `comm`: its first sign.
    CommExec,
    /// `pid` renamed itself, or was renamed, to `comm`.
    Comm,
    /// The effective user became `value`.
    Uid,
    /// The effective group became `value`.
    Gid,
    /// exec is done: the last message of it. `exe` and `cgroup_id` if the source has them.
    Exec,
    /// `pid` was moved to the control group `cgroup_id`.
    Cgroup,
    /// The thread that leads the process ended (BPF: the last one). Its files may be closed after
    /// this, and other threads may live on.
    Exit,
}

/// Who says so.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    /// A perf ring.
    Perf,
    /// The proc connector.
    Connector,
    /// Our BPF programs. Every message carries the whole identity, and its position in the queue of file events.
    Bpf,
}

impl Source {
    /// A bit of its own.
    #[must_use]
    pub fn bit(self) -> u8 {
        match self {
            Source::Perf => 1,
            Source::Connector => 2,
            Source::Bpf => 4,
        }
    }
}

/// How far the queue of file events was: which reads had been made of it, and what was in it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Progress {
    /// Reads made.
    pub reads: u32,
    /// The same, after `length` was looked at.
    pub reads_after: u32,
    /// Events in the queue.
    pub length: u32,
    /// The reader's turn: odd while it is in a call that may take events.
    pub turn: u32,
    /// The same, after everything else was looked at.
    pub turn_after: u32,
    /// Whether nothing was taken from the queue between `reads` and `reads_after`, nor half a read.
    pub settled: bool,
}

impl Progress {
    /// Whether it was looked at during this turn.
    #[must_use]
    pub fn has_turn(self, turn: u32) -> bool {
        turn.wrapping_sub(self.turn) <= self.turn_after.wrapping_sub(self.turn)
    }
}

/// One message. What a kind does not use is 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Message {
    /// `CLOCK_MONOTONIC`, ns.
    pub time_ns: u64,
    /// FORK: by perf who called fork, by the connector the parent, which differ under
    /// `CLONE_PARENT`.
    pub parent: u32,
    /// The process (tgid).
    pub pid: u32,
    /// A user or group id; with BPF the user.
    pub value: u32,
    /// BPF: the group.
    pub gid: u32,
    /// BPF, FORK: the process that called it. COMM, CGROUP: the thread that made the change.
    pub caller: u32,
    /// BPF: how far the queue of file events was when it happened.
    pub progress: Progress,
    /// BPF: events of the process that were in the queue then: the first, and how many.
    pub witnesses: (u32, u32),
    /// EXEC: id of the name given to exec, once it is interned; 0 none.
    pub exec: u32,
    /// BPF, EXEC: the same of the path of the file that runs.
    pub exe: u32,
    /// BPF, EXEC: number of the mount namespace that the path holds in; 0 for ours.
    pub exe_root: u32,
    /// BPF, EXEC: flags of the path, see [`fsmon_format::record::proc_flag`].
    pub exe_flags: u16,
    /// BPF, EXEC: see [`super::args`].
    pub args: u32,
    /// EXEC: 0 unknown.
    pub cgroup_id: u64,
    /// COMM, and BPF: NUL-padded.
    pub comm: [u8; COMM],
    /// FORK: a thread that does not lead its process called it. Name and credentials are that thread's.
    pub by_thread: bool,
    /// What happened.
    pub kind: Kind,
    /// Who says so.
    pub source: Source,
}

impl Message {
    /// Whether another process or thread made the change. Then the message does not say what the process itself did
    /// before and after it.
    #[must_use]
    pub fn is_by_another(&self) -> bool {
        matches!(self.kind, Kind::Cgroup | Kind::Comm)
            && self.source == Source::Bpf
            && self.caller != self.pid
    }

    /// A message with nothing but what every kind has.
    #[must_use]
    pub fn new(kind: Kind, source: Source, time_ns: u64, pid: u32) -> Self {
        Message {
            time_ns,
            parent: 0,
            pid,
            value: 0,
            gid: 0,
            caller: 0,
            progress: Progress::default(),
            witnesses: (0, 0),
            exec: 0,
            exe: 0,
            exe_root: 0,
            exe_flags: 0,
            args: 0,
            cgroup_id: 0,
            comm: [0; COMM],
            by_thread: false,
            kind,
            source,
        }
    }
}

/// What a record or datagram turned out to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Parsed<'a> {
    /// A message, and for EXEC the name given to exec (may be empty).
    Message(Message, &'a [u8]),
    /// That many messages were lost.
    Lost(u64),
    /// Nothing of interest: another kind, or a thread that is not the process.
    Skip,
    /// Not what the kernel sends.
    Malformed,
}

/// A NUL-padded comm from bytes that may lack the NUL.
#[must_use]
pub(crate) fn comm(bytes: &[u8]) -> [u8; COMM] {
    let end = memchr::memchr(0, bytes).unwrap_or(bytes.len()).min(COMM - 1);
    let mut comm = [0; COMM];
    comm[..end].copy_from_slice(&bytes[..end]);
    comm
}

/// Reads numbers from untrusted bytes, in the host's byte order.
#[derive(Clone, Copy)]
pub(crate) struct Bytes<'a>(pub(crate) &'a [u8]);

impl<'a> Bytes<'a> {
    pub(crate) fn u16(self, at: usize) -> Option<u16> {
        self.0.get(at..)?.first_chunk().map(|bytes| u16::from_ne_bytes(*bytes))
    }

    pub(crate) fn u32(self, at: usize) -> Option<u32> {
        self.0.get(at..)?.first_chunk().map(|bytes| u32::from_ne_bytes(*bytes))
    }

    pub(crate) fn u64(self, at: usize) -> Option<u64> {
        self.0.get(at..)?.first_chunk().map(|bytes| u64::from_ne_bytes(*bytes))
    }

    pub(crate) fn from(self, at: usize) -> Option<&'a [u8]> {
        self.0.get(at..)
    }
}

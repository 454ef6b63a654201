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
    /// exec is done: its last sign. `exe` and `cgroup_id` where the source tells them.
    Exec,
    /// The thread that leads the process ended. Its files may be closed after this, and other
    /// threads may live on.
    Exit,
}

/// Who says so.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    /// A perf ring.
    Perf,
    /// The proc connector.
    Connector,
}

impl Source {
    /// A bit of its own.
    #[must_use]
    pub fn bit(self) -> u8 {
        match self {
            Source::Perf => 1,
            Source::Connector => 2,
        }
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
    /// A user or group id.
    pub value: u32,
    /// EXEC: the string's id once it is interned; 0 none.
    pub exe: u32,
    /// EXEC: 0 unknown.
    pub cgroup_id: u64,
    /// COMM: NUL-padded.
    pub comm: [u8; COMM],
    /// What happened.
    pub kind: Kind,
    /// Who says so.
    pub source: Source,
}

impl Message {
    /// A message with nothing but what every kind has.
    #[must_use]
    pub fn new(kind: Kind, source: Source, time_ns: u64, pid: u32) -> Self {
        Message {
            time_ns,
            parent: 0,
            pid,
            value: 0,
            exe: 0,
            cgroup_id: 0,
            comm: [0; COMM],
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

//! An event that a search found.

use crate::limits::CHAIN_MAX;
use fsmon_format::kind::RENAME;
use fsmon_format::mirror::Mirror;
use fsmon_format::record::EventRef;

/// Where an event is in the order of all events of a history: boots in their order, within a boot by time, within a stream
/// in its order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Position {
    pub(crate) boot: u32,
    /// CLOCK_MONOTONIC, ns.
    pub(crate) time_ns: u64,
    pub(crate) stream: u32,
    /// The event's number in its stream.
    pub(crate) event: u64,
}

impl Position {
    /// Behind everything.
    pub(crate) const END: Position =
        Position { boot: u32::MAX, time_ns: u64::MAX, stream: u32::MAX, event: u64::MAX };

    /// Before everything.
    pub(crate) const BEGIN: Position = Position { boot: 0, time_ns: 0, stream: 0, event: 0 };

    /// Just behind it.
    pub(crate) fn behind(self) -> Self {
        Position { event: self.event.saturating_add(1), ..self }
    }

    /// Its boot and time.
    pub(crate) fn time(self) -> (u32, u64) {
        (self.boot, self.time_ns)
    }

    /// Before all events of that time.
    pub(crate) fn begin_of(boot: u32, time_ns: u64) -> Self {
        Position { boot, time_ns, stream: 0, event: 0 }
    }
}

/// A process between its fork and its exit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Process {
    /// Its process id.
    pub pid: u32,
    /// When it was forked, CLOCK_MONOTONIC ns; 0 before the recorder began.
    pub start_ns: u64,
    pub(crate) boot: u32,
}

/// An event, with what a search needs of it.
#[derive(Clone, Debug)]
pub struct Hit {
    /// Where it is in the order of all events.
    pub position: Position,
    /// The segment's file name, the offset of the event's block in it, and the event's place among those of the block.
    pub(crate) segment: usize,
    pub(crate) block: u64,
    pub(crate) index: u32,
    /// Its wall time, ns since 1970.
    pub wall_ns: u64,
    /// Event types, bits as in the record.
    pub mask: u32,
    pub(crate) flags: u16,
    /// Whether it is about a directory.
    pub is_dir: bool,
    /// The object, 0 unknown.
    pub object: u64,
    /// Its process, and the ancestors of that; empty if it is not known.
    pub chain: Vec<Process>,
    /// Where it happened; for a RENAME the new path. `None`: not within what is watched.
    pub path: Option<Vec<u8>>,
    /// The old path of a RENAME, or the other name through which the file was changed.
    pub old: Option<Vec<u8>>,
}

impl Hit {
    /// The process.
    #[must_use]
    pub fn process(&self) -> Option<Process> {
        self.chain.first().copied()
    }

    /// Whether it is a RENAME.
    #[must_use]
    pub fn is_rename(&self) -> bool {
        self.mask & RENAME != 0
    }

    pub(crate) fn has(&self, flag: u16) -> bool {
        self.flags & flag != 0
    }
}

/// The path of an event, or its other one; `None` if its directory is not known.
pub(crate) fn path(mirror: &Mirror, dir: u32, name: &[u8]) -> Option<Vec<u8>> {
    let mut path = Vec::new();
    if dir == 0 || !mirror.append_dir_path(dir, &mut path) {
        return None;
    }
    if !name.is_empty() {
        if path != b"/" {
            path.push(b'/');
        }
        path.extend_from_slice(name);
    }
    Some(path)
}

/// The process of an event, and its ancestors.
pub(crate) fn chain(mirror: &Mirror, event: &EventRef<'_>, boot: u32) -> Vec<Process> {
    let (mut chain, mut id) = (Vec::new(), event.head.proc.get());
    let mut expected = None;
    while let Some(image) = mirror.proc(id).filter(|_| chain.len() < CHAIN_MAX) {
        let pid = image.pid.get();
        // An image that is another process than `ppid` ends the chain: docs/format.md.
        if expected.is_some_and(|expected| expected != 0 && expected != pid) {
            break;
        }
        chain.push(Process { pid, start_ns: image.start_ns.get(), boot });
        (id, expected) = (image.parent.get(), Some(image.ppid.get()));
    }
    chain
}

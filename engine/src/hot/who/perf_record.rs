//! From a perf record to a message. Pure: no call, no panic, whatever the bytes are.
//!
//! Layouts: perf_event_open(2), as asked for in `sys::perf`: samples are TID, TIME, RAW and
//! perhaps CGROUP; every other record ends with TID and TIME (`sample_id_all`).

use super::message::{Bytes, Kind, Message, Parsed, Source, comm};
use crate::limits::who::EXE_BYTES;

/// `perf_event_header.type`
pub(super) const LOST: u32 = 2;
const COMM: u32 = 3;
const EXIT: u32 = 4;
const FORK: u32 = 7;
pub(super) const SAMPLE: u32 = 9;
/// `perf_event_header.misc`: this COMM comes of an exec.
const COMM_EXEC: u16 = 1 << 13;
const HEADER: usize = 8;
/// TID and TIME at the end of a record that is no sample.
const SAMPLE_ID: usize = 16;

/// Where things lie in a sample of `sched:sched_process_exec`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Layout {
    /// Offset of `filename`'s data_loc in the raw data: length u16 above offset u16.
    pub filename: usize,
    /// Whether the cgroup follows the raw data.
    pub cgroup: bool,
}

/// Takes one whole record, header included.
#[must_use]
pub fn parse(record: &[u8], layout: Layout) -> Parsed<'_> {
    checked(record, layout).unwrap_or(Parsed::Malformed)
}

fn checked(record: &[u8], layout: Layout) -> Option<Parsed<'_>> {
    let bytes = Bytes(record);
    let (kind, misc) = (bytes.u32(0)?, bytes.u16(4)?);
    match kind {
        LOST => Some(Parsed::Lost(bytes.u64(HEADER + 8)?)),
        COMM => name(bytes, misc),
        FORK | EXIT => task(bytes, kind),
        SAMPLE => sample(bytes, layout),
        _ => Some(Parsed::Skip),
    }
}

/// COMM: pid, tid, then the name padded to 8 bytes, then the sample id.
fn name(bytes: Bytes<'_>, misc: u16) -> Option<Parsed<'_>> {
    let (pid, tid) = (bytes.u32(HEADER)?, bytes.u32(HEADER + 4)?);
    let id = bytes.0.len().checked_sub(SAMPLE_ID)?;
    let text = bytes.0.get(HEADER + 8..id)?;
    let time = bytes.u64(id + 8)?;
    if !leader(pid, tid) {
        return Some(Parsed::Skip);
    }
    let kind = if misc & COMM_EXEC != 0 { Kind::CommExec } else { Kind::Comm };
    let mut message = Message::new(kind, Source::Perf, time, pid);
    message.comm = comm(text);
    Some(Parsed::Message(message, &[]))
}

/// FORK and EXIT: pid, ppid, tid, ptid, time.
fn task(bytes: Bytes<'_>, kind: u32) -> Option<Parsed<'_>> {
    let (pid, parent, tid) = (bytes.u32(HEADER)?, bytes.u32(HEADER + 4)?, bytes.u32(HEADER + 8)?);
    let time = bytes.u64(HEADER + 16)?;
    if !leader(pid, tid) {
        return Some(Parsed::Skip);
    }
    let kind = if kind == FORK { Kind::Fork } else { Kind::Exit };
    let mut message = Message::new(kind, Source::Perf, time, pid);
    if kind == Kind::Fork {
        message.parent = visible(parent);
        message.by_thread = bytes.u32(HEADER + 12)? != parent;
    }
    Some(Parsed::Message(message, &[]))
}

/// A hit of the tracepoint: pid, tid, time, length of the raw data, the raw data, the cgroup.
fn sample(bytes: Bytes<'_>, layout: Layout) -> Option<Parsed<'_>> {
    let (pid, tid) = (bytes.u32(HEADER)?, bytes.u32(HEADER + 4)?);
    let time = bytes.u64(HEADER + 8)?;
    let len = bytes.u32(HEADER + 16)? as usize;
    let rest = bytes.from(HEADER + 20)?;
    let (raw, rest) = rest.split_at_checked(len)?;
    let loc = Bytes(raw).u32(layout.filename)?;
    let (at, size) = ((loc & 0xffff) as usize, (loc >> 16) as usize);
    let exe = raw.get(at..at + size)?;
    let exe = &exe[..memchr::memchr(0, exe).unwrap_or(size).min(EXE_BYTES)];
    if !leader(pid, tid) {
        return Some(Parsed::Skip);
    }
    let mut message = Message::new(Kind::Exec, Source::Perf, time, pid);
    if layout.cgroup {
        message.cgroup_id = Bytes(rest).u64(0)?;
    }
    Some(Parsed::Message(message, exe))
}

/// Threads are their process: only the thread that leads speaks for it. A process outside of our
/// pid namespace is 0 or -1 (`perf_event_pid_type`).
fn leader(pid: u32, tid: u32) -> bool {
    pid == tid && visible(pid) != 0
}

fn visible(pid: u32) -> u32 {
    if pid.cast_signed() < 0 { 0 } else { pid }
}

#[cfg(test)]
#[path = "perf_record_test.rs"]
mod tests;

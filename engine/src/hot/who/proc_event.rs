//! From a datagram of the proc connector to a message. Pure: no call, no panic, whatever the
//! bytes are.
//!
//! A datagram is `struct nlmsghdr` (16 bytes), `struct cn_msg` (20), `struct proc_event`
//! (linux/cn_proc.h): what, cpu, timestamp_ns, then by kind.

use super::message::{Bytes, Kind, Message, Parsed, Source, comm};

/// `proc_event.what`
pub const FORK: u32 = 1;
/// An exec is done.
pub const EXEC: u32 = 2;
/// A user id changed.
pub const UID: u32 = 4;
/// A group id changed.
pub const GID: u32 = 0x40;
/// A thread renamed itself.
pub const COMM: u32 = 0x200;
/// A thread ended.
pub const EXIT: u32 = 0x8000_0000;

const EVENT: usize = 36;
const DATA: usize = EVENT + 16;
/// `CN_IDX_PROC` and `CN_VAL_PROC`
const ID: (u32, u32) = (1, 1);

/// Takes one datagram, headers included, that came from the kernel.
#[must_use]
pub fn parse(datagram: &[u8]) -> Parsed<'_> {
    checked(datagram).unwrap_or(Parsed::Malformed)
}

fn checked(datagram: &[u8]) -> Option<Parsed<'_>> {
    let bytes = Bytes(datagram);
    if (bytes.u32(16)?, bytes.u32(20)?) != ID {
        return Some(Parsed::Skip);
    }
    let (what, time) = (bytes.u32(EVENT)?, bytes.u64(EVENT + 8)?);
    let kind = match what {
        FORK => Kind::Fork,
        EXEC => Kind::Exec,
        UID => Kind::Uid,
        GID => Kind::Gid,
        COMM => Kind::Comm,
        EXIT => Kind::Exit,
        _ => return Some(Parsed::Skip),
    };
    // FORK begins with the parent's two numbers, the others with the process's own.
    let own = if kind == Kind::Fork { DATA + 8 } else { DATA };
    let (tid, pid) = (bytes.u32(own)?, bytes.u32(own + 4)?);
    let mut message = Message::new(kind, Source::Connector, time, pid);
    match kind {
        Kind::Fork => message.parent = bytes.u32(DATA + 4)?,
        // The real id comes first; the effective one is what files are made with.
        Kind::Uid | Kind::Gid => message.value = bytes.u32(DATA + 12)?,
        Kind::Comm => message.comm = comm(bytes.from(DATA + 8)?.get(..16)?),
        _ => {}
    }
    // Threads are their process: only the one that leads speaks for it.
    if tid != pid || pid == 0 {
        return Some(Parsed::Skip);
    }
    Some(Parsed::Message(message, &[]))
}

#[cfg(test)]
#[path = "proc_event_test.rs"]
mod tests;

//! Where process messages come from, and what each source is asked for.

use super::args::Args;
use super::bpf_record;
use super::counted::Counted;
use super::message::{Kind, Message, Parsed, Source};
use super::perf_record::{self, Layout};
use super::proc_event;
use super::strings::Strings;
use super::{Inbox, Rung};
use crate::limits::sys::DATAGRAMS_EACH_CALL;
use crate::sys::connector::{Received, Socket};
use crate::sys::perf::{Ring, Scratch};
use std::os::fd::{AsFd, BorrowedFd, RawFd};

/// What fills the perf rings.
pub enum RingWriter {
    /// The kernel with its own records; samples of the tracepoint have this layout.
    Perf(Layout),
    /// Our programs.
    Bpf(Counted),
}

/// The open sources of process messages.
pub struct MessageSources {
    rings: Vec<Ring>,
    writer: RingWriter,
    scratch: Scratch,
    socket: Option<Socket>,
    received: Received,
    wanted: u32,
    /// The caller reads the socket.
    fed: bool,
}

impl MessageSources {
    /// These rings, filled by `writer`, and this socket.
    #[must_use]
    pub fn new(rings: Vec<Ring>, writer: RingWriter, socket: Option<Socket>, rung: Rung) -> Self {
        // BPF reports everything: the socket only has to receive, so that a program runs.
        let wanted = if rung == Rung::Bpf { 0 } else { wanted(rung) };
        let (scratch, received) = (Scratch::default(), Received::default());
        MessageSources { rings, writer, scratch, socket, received, wanted, fed: false }
    }

    /// The perf rings' descriptors.
    pub fn perf_fds(&self) -> impl Iterator<Item = RawFd> + '_ {
        self.rings.iter().map(Ring::raw_fd)
    }

    /// The socket.
    #[must_use]
    pub(crate) fn connector(&self) -> Option<BorrowedFd<'_>> {
        self.socket.as_ref().map(Socket::as_fd)
    }

    /// From now on the caller reads the socket.
    pub(super) fn set_fed(&mut self) {
        self.fed = true;
    }

    /// Reads everything that is there; false if `inbox` became full.
    pub(super) fn read(
        &mut self,
        strings: &mut Strings,
        args: &mut Args,
        inbox: &mut Inbox,
    ) -> bool {
        // The socket first: its reads are slow, and the rings also hold what arrives meanwhile.
        let socket = self.read_socket(inbox);
        for ring in &mut self.rings {
            let sane = ring.drain(&mut self.scratch, |record| {
                if inbox.is_full() {
                    return false;
                }
                match &self.writer {
                    RingWriter::Perf(layout) => {
                        take(perf_record::parse(record, *layout), strings, inbox);
                    }
                    RingWriter::Bpf(_) => take_bpf(record, strings, args, inbox),
                }
                true
            });
            inbox.lost_unknown |= !sane;
        }
        if let RingWriter::Bpf(counted) = &mut self.writer {
            inbox.lost += counted.take_lost();
        }
        socket && !inbox.is_full()
    }

    /// The BPF programs, if they are in use.
    pub(super) fn counted(&self) -> Option<&Counted> {
        match &self.writer {
            RingWriter::Bpf(counted) => Some(counted),
            RingWriter::Perf(_) => None,
        }
    }

    fn read_socket(&mut self, inbox: &mut Inbox) -> bool {
        let Some(socket) = self.socket.as_ref().filter(|_| !self.fed) else { return true };
        loop {
            if inbox.messages.len() + DATAGRAMS_EACH_CALL > inbox.messages.capacity() {
                return false;
            }
            match socket.receive(&mut self.received) {
                // ENOBUFS: the kernel could not queue some messages. The queued ones can still be read.
                Err(_) if !inbox.lost_unknown => inbox.lost_unknown = true,
                Err(_) => return true,
                Ok(()) => {
                    for datagram in self.received.datagrams() {
                        take_datagram(datagram, self.wanted, inbox);
                    }
                    if !self.received.is_full() {
                        return true;
                    }
                }
            }
        }
    }

    /// Takes a datagram that the caller received.
    pub(super) fn take_datagram(&self, datagram: &[u8], inbox: &mut Inbox) {
        take_datagram(datagram, self.wanted, inbox);
    }
}

/// What the connector is asked for on a rung: `PROC_EVENT_*` bits.
///
/// FORK gives the parent, which under `CLONE_PARENT` is not the caller of fork. If perf COMM marks the beginning of
/// an exec and no tracepoint marks its end, EXEC of the connector does. Without perf the connector reports
/// everything it can.
#[must_use]
pub fn wanted(rung: Rung) -> u32 {
    use proc_event::{COMM, EXEC, EXIT, FORK, GID, UID};
    match rung {
        Rung::Tracepoint => FORK | UID | GID,
        Rung::Comm => FORK | UID | GID | EXEC,
        Rung::Connector => FORK | UID | GID | EXEC | COMM | EXIT,
        Rung::Bpf => UID | GID,
        Rung::Proc => 0,
    }
}

fn take_datagram(datagram: &[u8], wanted: u32, inbox: &mut Inbox) {
    let parsed = proc_event::parse(datagram);
    let Parsed::Message(message, _) = parsed else {
        inbox.malformed += u64::from(parsed == Parsed::Malformed);
        return;
    };
    // Linux before 6.6 sends everything.
    if wanted & bit(message.kind) != 0 && !inbox.is_full() {
        inbox.messages.push(message);
    }
}

fn bit(kind: Kind) -> u32 {
    match kind {
        Kind::Fork => proc_event::FORK,
        Kind::CommExec | Kind::Comm => proc_event::COMM,
        Kind::Uid => proc_event::UID,
        Kind::Gid => proc_event::GID,
        Kind::Exec => proc_event::EXEC,
        Kind::Exit => proc_event::EXIT,
        Kind::Cgroup => 0,
    }
}

/// What our programs wrote.
#[inline]
pub(super) fn take_bpf(record: &[u8], strings: &mut Strings, args: &mut Args, inbox: &mut Inbox) {
    let witnesses = inbox.witnesses.keep(bpf_record::witnesses(record));
    let mut parsed = bpf_record::parse(record);
    if let Parsed::Message(message, _) = &mut parsed {
        message.witnesses = witnesses;
        if message.kind == Kind::Exec {
            message.args = args.keep(bpf_record::args(record));
            if let Some(path) = bpf_record::path(record) {
                message.exe = strings.intern(&path.text);
                (message.exe_root, message.exe_flags) = (path.root, path.flags);
            }
        }
    }
    take(parsed, strings, inbox);
}

fn take(parsed: Parsed<'_>, strings: &mut Strings, inbox: &mut Inbox) {
    match parsed {
        Parsed::Message(mut message, exec) => {
            debug_assert!(message.source != Source::Connector);
            message.exec = strings.intern(exec);
            inbox.messages.push(message);
        }
        Parsed::Lost(count) => inbox.lost += count.max(1),
        Parsed::Skip => {}
        Parsed::Malformed => inbox.malformed += 1,
    }
}

const _: () = assert!(size_of::<Message>() <= 112);

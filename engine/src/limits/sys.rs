//! Limits of system calls (`sys`). What the kernel's ABI prescribes (sizes of structures, numbers) is defined with
//! the calls.

use crate::sys::handle::{HANDLE_MAX, KEY_MAX};
use fsmon_format::record::{self, NAME_MAX};

/// Bytes: more than the longest event has, which is two locations with names, an object, and handles of the longest
/// kind.
pub(crate) const EVENT_LEN_MAX: u32 = 2048;
/// The most buffers of files that are read in one go.
pub(crate) const FILE_BUFFERS_MAX: usize = 64;
/// Bytes of the longest path that the kernel takes, with its NUL.
pub(crate) const PATH_MAX: usize = libc::PATH_MAX as usize;
/// Bytes of a path for one openat(2): below [`PATH_MAX`].
pub(crate) const PATH_PIECE_BYTES: usize = 4000;

/// Bytes of the longest message of the proc connector: both headers and a `struct proc_event`, with room to spare.
pub const DATAGRAM_MAX: usize = 128;
/// Datagrams taken by one system call.
pub const DATAGRAMS_EACH_CALL: usize = 64;
/// Calls in which fsmon searches for the acknowledgement of the proc connector. Process messages may be in front of
/// it in the socket. They take three times as many messages as the socket holds ([`super::CONNECTOR_BYTES`]), and the
/// start ends even if processes send messages faster than fsmon reads them.
pub(crate) const ACKNOWLEDGEMENT_READS: usize = 1024;

/// Room for every request to io_uring at once: two reads, the wake-up, a poll per CPU; refilled in pieces.
pub(crate) const SUBMISSIONS: u32 = 64;
/// Completions of io_uring: every buffer of both groups and every poll, without overflow.
pub(crate) const COMPLETIONS: u32 = 4096;
/// Completions that end a wait before its window is over.
pub(crate) const COMPLETIONS_WANTED: usize = 64;

/// How far apart two readings of the monotonic clock may be, so that a reading in between counts as simultaneous,
/// ns.
pub(crate) const CLOCK_MOMENT_NS: u64 = 10_000;
/// How often that is tried: more than once only if the thread was interrupted.
pub(crate) const CLOCK_TRIES: usize = 4;

/// How often a BPF program is offered to the verifier again, if a signal or other work of the task disturbed it.
pub(crate) const PROGRAM_RELOADS: usize = 10;
/// Bytes for the verifier's log. fsmon allocates them only after the verifier has refused a program, and reports the
/// last line of the log, which has the reason.
pub(crate) const VERIFIER_LOG_BYTES: usize = 1 << 20;
/// The most functions of a BPF program.
pub(crate) const PROGRAM_FUNCTIONS_MAX: usize = 8;

const _: () = {
    // Metadata, then three records of an info header, an fsid and a handle, two of them with a name and its NUL.
    assert!(EVENT_LEN_MAX as usize >= 24 + 3 * (4 + 8 + 8 + HANDLE_MAX) + 2 * (NAME_MAX + 1));
    assert!(KEY_MAX <= u8::MAX as usize, "tables keep the length of a key in a byte");
    assert!(PATH_PIECE_BYTES < PATH_MAX && PATH_MAX <= record::TEXT_MAX);
    assert!(SUBMISSIONS.is_power_of_two() && COMPLETIONS.is_power_of_two());
    assert!(SUBMISSIONS <= COMPLETIONS && COMPLETIONS_WANTED <= COMPLETIONS as usize);
};

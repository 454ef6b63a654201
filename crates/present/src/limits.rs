//! Every limit of this crate, with its reason.

use crate::pipeline::Patience;
use std::time::Duration;

/// Size of the output buffer. One batch of the engine may exceed it before it is written.
pub const BUFFER_BYTES: usize = 256 << 10;
/// In a storm, how long the formatter waits for more batches: the longest delay of a line, besides the batch
/// window. A wake-up for each batch costs both threads more than formatting it.
pub(crate) const GATHER: Duration = Duration::from_millis(4);
/// The same for a binary stream, whose blocks wait longer anyway.
pub(crate) const GATHER_BLOCK: Duration = Duration::from_millis(16);
/// How long an event may wait in the open block of a binary stream. Longer than for lines: a
/// block repeats the definitions that it needs, so small blocks are expensive.
pub(crate) const BLOCK: Patience = patience(50, 50);
/// The same for a file, for which nobody waits as for a pipe, while the block has fewer than
/// [`BLOCK_EVENTS`] events: recordings of real builds become 2 to 3 times smaller. If fsmon is killed, at
/// most these events are lost.
pub(crate) const SMALL_BLOCK: Patience = patience(1000, 250);
pub(crate) const BLOCK_EVENTS: u32 = 32;
/// For this many of the last blocks the number of lines is known: never more than that wait to be written.
pub(crate) const BLOCKS_KNOWN: usize = 64;

const fn patience(first_ms: u64, last_ms: u64) -> Patience {
    Patience { first: Duration::from_millis(first_ms), last: Duration::from_millis(last_ms) }
}

/// How many directories, and how many processes, have their rendered text cached.
pub(crate) const PIECES: usize = 1 << 12;
/// The longest text that is cached; a longer one is rendered every time.
pub(crate) const PIECE_BYTES: usize = 1 << 10;

/// Room for the text of one process: five strings of 4 KiB, where escaping makes each byte up to six; three
/// of them in base64 as well, up to two more for each byte; some small fields and the ancestry.
pub(crate) const PROCESS_BYTES: usize = 160 << 10;

/// Users whose names are known at one time; users that did nothing for a while make room.
pub(crate) const USERS_MAX: usize = 1 << 12;
/// How often fsmon checks whether /etc/passwd changed, while events come: one stat(2), about 2 us.
pub(crate) const USERS_FILE_CHECK: Duration = Duration::from_millis(5);
/// A file that changed this shortly before it was read may change again without another time stamp: the
/// kernel's clock for files ticks every 4 ms, a file server's perhaps more slowly.
pub(crate) const USERS_FILE_SETTLED: Duration = Duration::from_secs(1);
/// How often fsmon checks whether the name of an active user changed. How soon it reads a file again that changed
/// less than [`USERS_FILE_SETTLED`] before.
pub(crate) const USER_CHECK: Duration = Duration::from_millis(200);
/// After which time a name that is not in /etc/passwd is asked for again, and after which time it becomes
/// invalid: with the check above it is at most ten seconds old.
pub(crate) const USER_AGE_RENEWED: Duration = Duration::from_secs(5);
pub(crate) const USER_AGE_MAX: Duration = Duration::from_secs(9);
/// How long the formatter waits for such a name. Sources on this host (nscd, sssd's cache,
/// systemd) take less, and the ring has room for far more events than come in this time.
pub(crate) const USER_PATIENCE: Duration = Duration::from_millis(20);
/// Names asked for at one time; more are asked for later.
pub(crate) const USERS_ASKED_MAX: usize = 64;
/// How many bytes of /etc/passwd are read: about 200,000 users.
pub(crate) const USERS_FILE_BYTES: u64 = 16 << 20;
/// Control groups whose paths are known at one time; those that no process refers to make room.
pub(crate) const CGROUPS_MAX: usize = 1 << 14;
/// Bytes for the names of users and control groups together.
pub(crate) const NAMES_BYTES: usize = 4 << 20;
/// Ancestors that a line shows, nearest first; the rest is left out.
pub(crate) const CHAIN_MAX: usize = 64;
/// The most memory of regular expressions together, compiled and again as an automaton: enough for thousands of names, and
/// less than what a mistake such as `(.{9999}){99}` would take.
pub(crate) const REGEX_BYTES: usize = 1 << 20;

/// The longest chain of ancestors that is followed; a longer one is taken for a cycle.
pub(crate) const FAMILY_MAX: usize = 1 << 12;

const _: () = {
    assert!(PIECES.is_power_of_two());
    // Checks come more often than renewals, and a renewal comes before its name expires.
    assert!(USERS_FILE_CHECK.as_millis() < USER_CHECK.as_millis());
    assert!(USER_CHECK.as_millis() < USER_AGE_RENEWED.as_millis());
    assert!(USER_AGE_RENEWED.as_millis() < USER_AGE_MAX.as_millis());
    assert!(USER_AGE_MAX.as_millis() + USER_CHECK.as_millis() <= 10_000, "as documented");
    assert!(USERS_ASKED_MAX <= USERS_MAX);
    assert!(CHAIN_MAX <= FAMILY_MAX);
    assert!(USER_PATIENCE.as_millis() < USER_AGE_RENEWED.as_millis());
    assert!(PIECE_BYTES <= u16::MAX as usize);
};

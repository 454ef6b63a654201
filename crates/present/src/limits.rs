//! Every limit of this crate, with its reason.

use crate::pipeline::Patience;
use std::time::Duration;

/// Room for what is gathered: one batch of the engine's may come on top before it is written.
pub const BUFFER_BYTES: usize = 256 << 10;
/// For how long they gather in a storm: what a line waits at the most, besides the batch window. To
/// be woken for each batch costs both threads more than to format it.
pub(crate) const GATHER: Duration = Duration::from_millis(4);
/// And for a binary stream wherever it goes, as its blocks wait longer.
pub(crate) const GATHER_BLOCK: Duration = Duration::from_millis(16);
/// For how long an event may wait in the open block of a binary stream. Longer than for lines: a
/// block repeats the definitions that it needs, so small ones are dear.
pub(crate) const BLOCK: Patience = patience(50, 50);
/// The same on the way to a file, for which nobody waits as for a pipe, while there are fewer events
/// in the block: real builds take 2 to 3 times less room. A kill costs no more events than those.
pub(crate) const SMALL_BLOCK: Patience = patience(1000, 250);
pub(crate) const BLOCK_EVENTS: u32 = 32;

const fn patience(first_ms: u64, last_ms: u64) -> Patience {
    Patience { first: Duration::from_millis(first_ms), last: Duration::from_millis(last_ms) }
}

/// Directories and processes whose rendered text is kept, each in a piece of its own.
pub(crate) const PIECES: usize = 1 << 12;
/// The longest text that is kept; a longer one is rendered every time.
pub(crate) const PIECE_BYTES: usize = 1 << 10;

/// Room for the text of one process. Of five strings of 4 KiB each byte may take six, and
/// two more where three of them stand in base64 too; beyond that there are some small fields and the
/// ancestry.
pub(crate) const PROCESS_BYTES: usize = 160 << 10;

/// Users whose names are known at one time; those that did nothing for a while make room.
pub(crate) const USERS_MAX: usize = 1 << 12;
/// How often it is looked whether /etc/passwd changed, while something happens: one stat(2), some 2 us.
pub(crate) const USERS_FILE_CHECK: Duration = Duration::from_millis(5);
/// How often it is looked whether a user who does something has another name by now; and how soon a file
/// that was just changed is read again, as a second change in the same tick of its clock does not show.
pub(crate) const USER_CHECK: Duration = Duration::from_millis(200);
/// After what time a name that is not in /etc/passwd is asked for again, and after what time it does not
/// count any more: with the check above it is at most ten seconds old.
pub(crate) const USER_AGE_RENEWED: Duration = Duration::from_secs(5);
pub(crate) const USER_AGE_MAX: Duration = Duration::from_secs(9);
/// How long the formatter waits for such a name. Sources on this host (nscd, sssd's cache,
/// systemd) take less; the ring to the engine holds far more than comes meanwhile.
pub(crate) const USER_PATIENCE: Duration = Duration::from_millis(20);
/// Names asked for at one time; more are asked for later.
pub(crate) const USERS_ASKED_MAX: usize = 64;
/// Of a longer /etc/passwd only so much is read, in bytes: 200,000 users.
pub(crate) const USERS_FILE_BYTES: u64 = 16 << 20;
/// Control groups whose paths are known at one time; those that no process refers to make room.
pub(crate) const CGROUPS_MAX: usize = 1 << 14;
/// Bytes for the names of users and control groups together.
pub(crate) const NAMES_BYTES: usize = 4 << 20;
/// Ancestors shown with `--chain`: deeper process trees than this are cut at the far end.
pub(crate) const CHAIN_MAX: usize = 64;

/// A file of users that was changed so shortly before it was read may be changed again at the same time by its clock,
/// which goes by the kernel's tick (4 ms), or by a server's.
pub(crate) const USERS_FILE_SETTLED: Duration = Duration::from_secs(1);
/// The longest way from a process to the one that --pid names; longer is taken for a cycle.
pub(crate) const FAMILY_MAX: usize = 1 << 12;
/// Of so many blocks it is known how many lines each tells: there are never more on their way to the file at one time.
pub(crate) const BLOCKS_KNOWN: usize = 64;

const _: () = {
    assert!(PIECES.is_power_of_two());
    // From what is asked often to what is believed least long.
    assert!(USERS_FILE_CHECK.as_millis() < USER_CHECK.as_millis());
    assert!(USER_CHECK.as_millis() < USER_AGE_RENEWED.as_millis());
    assert!(USER_AGE_RENEWED.as_millis() < USER_AGE_MAX.as_millis());
    assert!(USER_AGE_MAX.as_millis() + USER_CHECK.as_millis() <= 10_000, "as documented");
    assert!(USERS_ASKED_MAX <= USERS_MAX);
    assert!(USER_PATIENCE.as_millis() < USER_AGE_RENEWED.as_millis());
    assert!(PIECE_BYTES <= u16::MAX as usize);
};

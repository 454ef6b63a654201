//! Limits of the resolver's tables (`hot/where/tables`, `mute`, `overlay`): how much each remembers, and what
//! happens to the rest.

use crate::sys::handle::HANDLE_MAX;
use fsmon_format::record::NAME_MAX;

/// Entries of the smallest index; it doubles as it fills.
pub(crate) const INDEX_LEAST: usize = 1 << 10;

/// Chains by which names in doubt are found, a power of two.
pub(crate) const CHAINS: usize = 1 << 12;

/// Names in doubt that are remembered; fsmon cannot check more, and counts the others
/// (`hot/where/tables/in_doubt.rs`).
pub(crate) const DOUBTS_MAX: usize = 1 << 13;
/// Looks at a name in doubt that must agree: a change is on disk just before its event is queued.
pub(crate) const DOUBT_LOOKS: u8 = 2;
/// Looks without a result after which a name in doubt is given up.
pub(crate) const DOUBT_MISSES: u8 = 100;

/// Directories whose removal is reported later. If there are more, the first is reported early: its events are
/// likely to have come up. Later ones are counted.
pub(crate) const DEFERRED_MAX: usize = 4096;

/// Events between the halves of an exchange: others can come in between, a few for each processor.
pub(crate) const EXCHANGE_EVENTS_BETWEEN: u64 = EXCHANGE_HALVES_KEPT as u64;
/// First halves of exchanges that are remembered: one for each event at most, so no half within reach is
/// overwritten.
pub(crate) const EXCHANGE_HALVES_KEPT: usize = 64;
/// Events ahead in which the second half of an exchange is searched: other processors may have queued some in
/// between.
pub(crate) const EXCHANGE_EVENTS_AHEAD: usize = 8;
/// Events that were resolved ahead of their turn and are remembered. None is resolved further ahead than the search
/// reaches, so none is overwritten before its turn.
pub(crate) const EVENTS_DONE_KEPT: usize = EXCHANGE_EVENTS_AHEAD;

/// Sets of names whose last report is remembered, a power of two; a set is a cache line. Every event of an entry is
/// looked up here, so the table must stay in a near cache. A forgotten name is treated like one without a report,
/// as all names from before fsmon are; if the kernel may have merged events of it, it is compared with the
/// filesystem (`in_doubt.rs`). So nothing is missing in the end; only the order of the lines of a hard link may
/// differ: docs/accuracy.md, gap 9. That is not counted.
pub(crate) const NAME_SETS: usize = 1 << 9;
/// Names in each of these sets.
pub(crate) const NAME_WAYS: usize = 4;

/// Names of files that may be gone, at one time; if there are more, the first is taken as gone. Changes of a file
/// that lost its last name in this way are counted.
pub(crate) const NAMES_LEAVING_MAX: usize = 64;

/// Slots for hashes that a full table forgot in one generation, a power of two; three quarters can be used. If
/// there are more, each hash counts as forgotten.
pub(crate) const FORGOTTEN_SLOTS: usize = 1 << 14;

/// Directories that a walk has just met and that are listed; if there are more, their marks are found by a search
/// of the tree.
pub(crate) const JUST_MET_MAX: usize = 1 << 12;

/// Sets of objects whose last name is remembered; in a full set the oldest is overwritten. DELETE_SELF and
/// MOVE_SELF directly follow the event that has the name, apart from events of other processes, so some hundreds
/// would do. A file that stays open is deleted later: fsmon promises these two events for a name that came up just
/// before, and for an unknown file it cannot know whether that was ever in a watched directory. So overwritten ones
/// are not counted.
pub(crate) const SEEN_SETS: usize = 1 << 9;
/// Objects in each of these sets.
pub(crate) const SEEN_WAYS: usize = 4;

/// Directories that a walk met elsewhere and that are remembered. The oldest is overwritten, and counted: its
/// rename may be reported as one out of the watched paths, and its events are not reported until it is found again.
pub(crate) const MET_ELSEWHERE_KEPT: usize = 256;

/// Sets of files that were reported without a name, a cache line each; in a full set the oldest is overwritten. Its
/// link is then reported like any other, without the object that connects it to the earlier lines: no change is
/// missing. Most of these files never get a name, so fsmon cannot know whether it matters, and does not count it.
pub(crate) const NAMELESS_SETS: usize = 1 << 9;
/// Files in each of these sets.
pub(crate) const NAMELESS_WAYS: usize = 8;

/// Sets of objects that were renamed or removed, a cache line each; the neighbour of a full set takes the rest.
pub(crate) const OBJECT_SETS: usize = 1 << 16;
/// While there are few objects, fsmon uses this number of sets, which stay in a near cache.
pub(crate) const OBJECT_SETS_LEAST: usize = 1 << 5;
/// Objects in each of these sets.
pub(crate) const OBJECT_WAYS: usize = 8;
/// Number of objects after which the kernel no longer merges into an event: it compares a new event with the newest
/// 128 in one of 128 buckets (`FANOTIFY_MAX_MERGE_EVENTS` and `FANOTIFY_HTABLE_BITS` in fs/notify/fanotify), and
/// the object gives the bucket. Events of 16,384 objects fill these if they are even, and they are far from twice
/// as uneven. Many events of few objects leave the other buckets empty.
pub(crate) const MERGE_REACH: usize = 1 << 15;
/// Generations for which an object is remembered, its own included, however long the queue is not empty.
pub(crate) const OBJECT_GENERATIONS: usize = 3;
/// Objects of one generation: the older remembered ones are at least [`MERGE_REACH`].
pub(crate) const OBJECT_GENERATION: usize = MERGE_REACH / (OBJECT_GENERATIONS - 1);

/// Events of unknown objects that are kept; the oldest is overwritten, and counted if its directory is made.
pub(crate) const ORPHANS_KEPT: usize = 128;
/// Bytes of the longest such event: one location, one object and a name.
pub(crate) const ORPHAN_BYTES: usize = 24 + 2 * (20 + HANDLE_MAX) + NAME_MAX + 5;
/// Batches for which such an event is kept, its own included.
pub(crate) const ORPHAN_BATCHES: u64 = 2;

/// Slots for names that a walk has reported, a power of two. Beyond three quarters none is added, and a CREATE may
/// be reported twice. Entries in such a directory that come, go or are met again, and may have been reported, are
/// counted.
pub(crate) const WALK_NAME_SLOTS: usize = 1 << 19;
/// Names of a walk beyond which the reader does not wait for late events: there has to be room for the next walk.
pub(crate) const WALK_NAMES_MANY: usize = WALK_NAME_SLOTS / 4;
/// Directories of walks that are remembered; if there are more, all directories are looked at in the end.
pub(crate) const WALK_DIRS_MAX: usize = 1 << 16;
/// How long an entry can exist before its event is queued, ns: on busy processors the process may be suspended in
/// between.
pub(crate) const ENTRY_LATE_NS: u64 = 20_000_000;

/// Walks in progress at one time; further walks are made in one step.
pub(crate) const WALKS_UNDER_WAY_MAX: usize = 64;
/// Directories outside of walks that are remembered, a power of two: one for each value of some bits of the hash.
pub(crate) const WALK_OUTSIDE_KEPT: usize = 1 << 12;
/// Length of a step of a walk, ns, without the directory that it ends with.
pub(crate) const WALK_STEP_NS: u64 = 1_000_000;

/// Files of lower layers in directories that are heard by the upper layer: the oldest is overwritten, and counted.
pub(crate) const ALIASES_KEPT: usize = 1 << 10;
/// Renames for which the upper layer may show work of overlayfs, the oldest overwritten. The expected event follows
/// within the same system call, after events of other processes.
pub(crate) const OVERLAY_RENAMES_KEPT: usize = 64;

/// Names made within a round (a second or more), each after another was removed, that make a directory busy.
pub(crate) const BUSY_NAMES_AGAIN: u32 = 50;
/// Events within a round that can make a directory busy.
pub(crate) const BUSY_EVENTS: u32 = 200;
/// Number of such rounds in a row after which it is busy.
pub(crate) const BUSY_ROUNDS: u32 = 10;
/// Sets of directories that are counted at one time, a power of two. In a full set the one with the fewest events
/// makes room: it is muted later, or not at all.
pub(crate) const BUSY_SETS: usize = 1 << 8;
/// Directories in each of these sets.
pub(crate) const BUSY_WAYS: usize = 4;
/// Directories muted at one time; the oldest is unmuted, which costs time and loses nothing.
pub(crate) const MUTED_MAX: usize = 1 << 12;
/// Directories muted in a round: opening and marking one takes some microseconds.
pub(crate) const MUTED_EACH_ROUND: u32 = 256;

/// Renames after which their locations are evaluated.
pub(crate) const RENAMES_LOOKED_AT: u32 = 1 << 10;
/// Renames outside for each reported one from which on renames outside may be ignored.
pub(crate) const RENAMES_OUTSIDE_PER_REPORT: u32 = 8;
/// Renames per second below which it is not worth it.
pub(crate) const RENAME_RATE_LEAST: u64 = 1000;
/// Values above this are not used: all events of a batch have the same time.
pub(crate) const RENAME_RATE_MOST: u64 = 50_000;
/// Rounds (of a second or more) to wait after a phase has ended: twice as many after each, up to this number. Also
/// the rounds after which renames outside are counted anew, if many are reported.
pub(crate) const RENAMES_PAUSE_ROUNDS_MAX: u32 = 64;
/// Rounds for which the sides are still reported after renames are no longer ignored: of a rename in progress the
/// kernel may have ignored the RENAME already, and not have queued the sides yet.
pub(crate) const SIDES_LINGER_ROUNDS: u32 = 2;

// Numbers of sets, chains and slots, by which hashes are reduced.
const _: () = {
    assert!(NAME_SETS.is_power_of_two() && SEEN_SETS.is_power_of_two());
    assert!(NAMELESS_SETS.is_power_of_two() && BUSY_SETS.is_power_of_two());
    assert!(INDEX_LEAST.is_power_of_two() && CHAINS.is_power_of_two());
    assert!(FORGOTTEN_SLOTS.is_power_of_two() && WALK_NAME_SLOTS.is_power_of_two());
    assert!(OBJECT_SETS.is_power_of_two() && OBJECT_SETS_LEAST.is_power_of_two());
    assert!(WALK_OUTSIDE_KEPT.is_power_of_two());
};

const _: () = {
    // A chain links entries by 16 bits, the last of which means its end.
    assert!(DOUBTS_MAX < u16::MAX as usize);
    // A name is looked at before it is believed, and before it is given up.
    assert!(DOUBT_LOOKS > 0 && DOUBT_MISSES > 0);
    // The index in the ring, plus 1, is an entry of an `Index`.
    assert!(DEFERRED_MAX < u32::MAX as usize);
    assert!(EXCHANGE_EVENTS_AHEAD as u64 <= EXCHANGE_EVENTS_BETWEEN);
    // So few objects are in use that a set and its neighbour are never both full, whatever the handles are.
    assert!(OBJECT_GENERATION * OBJECT_GENERATIONS <= OBJECT_SETS);
    // What is remembered beside the generation that fills reaches as far as the kernel merges.
    assert!(OBJECT_GENERATION * (OBJECT_GENERATIONS - 1) >= MERGE_REACH);
    assert!(OBJECT_SETS_LEAST <= OBJECT_SETS && OBJECT_SETS_LEAST >= 2);
    // The length of an orphan is kept in 16 bits.
    assert!(ORPHAN_BYTES <= u16::MAX as usize);
    // The names of two walks fit.
    assert!(2 * WALK_NAMES_MANY <= WALK_NAME_SLOTS / 4 * 3);
    // With more than half of them remembered there is something to forget beside the one that stays.
    assert!(WALK_DIRS_MAX > 2);
    assert!(MUTED_EACH_ROUND as usize <= MUTED_MAX);
    assert!(BUSY_NAMES_AGAIN > 0 && BUSY_EVENTS > 0 && RENAMES_OUTSIDE_PER_REPORT > 0);
    assert!(RENAME_RATE_LEAST <= RENAME_RATE_MOST);
};

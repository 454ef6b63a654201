//! Of the resolver's tables (`hot/where/tables`, `mute`, `overlay`): how much each remembers, and what becomes of the
//! rest.

use super::sys::EVENT_LEN_MAX;
use crate::sys::handle::HANDLE_MAX;
use fsmon_format::record::NAME_MAX;

/// Entries of the smallest index; it doubles as it fills.
pub(crate) const INDEX_LEAST: usize = 1 << 10;

/// Chains by which names in doubt are found, a power of two.
pub(crate) const CHAINS: usize = 1 << 12;

/// Names in doubt that are remembered; fsmon cannot check more, and counts those
/// (`hot/where/tables/in_doubt.rs`).
pub(crate) const DOUBTS_MAX: usize = 1 << 13;
/// Looks at a name in doubt that must agree, whatever they show: a change is on disk an instant before its event is
/// queued.
pub(crate) const DOUBT_LOOKS: u8 = 2;
/// Looks in vain after which a name in doubt is given up.
pub(crate) const DOUBT_MISSES: u8 = 100;

/// Directories whose removal is told later; the first of more is told of: what happened in it is likely to have come up
/// by then. What comes up later is counted.
pub(crate) const DEFERRED_MAX: usize = 4096;

/// Events between the halves of an exchange: others can come between, a few for each processor.
pub(crate) const EXCHANGE_EVENTS_BETWEEN: u64 = EXCHANGE_HALVES_KEPT as u64;
/// First halves of exchanges remembered: each event is one at most, so none is overwritten that is still within reach.
pub(crate) const EXCHANGE_HALVES_KEPT: usize = 64;
/// Events ahead among which the second half of an exchange is looked for: other processors may have queued some in
/// between.
pub(crate) const EXCHANGE_EVENTS_AHEAD: usize = 8;
/// Events told of before their turn that are remembered: no event is told of by one further before it than is looked
/// ahead, so none is overwritten before its turn.
pub(crate) const EVENTS_DONE_KEPT: usize = EXCHANGE_EVENTS_AHEAD;

/// Sets of names of which is remembered what was told last, a power of two, and names in each: a cache line. All that
/// comes and goes looks here, so there are no more than stay in a near cache. A name that is forgotten is as one that no
/// line told of, as all are that were there before fsmon; where the kernel may have merged something there, it is
/// compared with the filesystem (`in_doubt.rs`). So nothing is missing in the end, and only the order of the lines of a
/// hard link may be another: docs/accuracy.md, gap 9. That is not counted.
pub(crate) const NAME_SETS: usize = 1 << 9;
/// Names in each of these sets.
pub(crate) const NAME_WAYS: usize = 4;

/// Names of files that may be gone, at one time; beyond that the first is taken to be. A change of a file that lost its
/// last name so is counted.
pub(crate) const NAMES_LEAVING_MAX: usize = 64;

/// Slots for the hashes that a full table forgot in one generation, a power of two; three quarters can be used, and of
/// more each counts as forgotten.
pub(crate) const FORGOTTEN_SLOTS: usize = 1 << 14;

/// Directories that a walk met a moment ago and that are kept; the marks of more are found by looking at all.
pub(crate) const JUST_MET_MAX: usize = 1 << 12;

/// Sets of objects of which is remembered where they were seen by name; in a full set the oldest is overwritten.
/// DELETE_SELF and MOVE_SELF follow the event that has the name at once, but for what other processors queue, so some
/// hundreds would do. A file that stays open is deleted later: fsmon promises the two for a name that went by just
/// before, and of a file that it does not know cannot tell whether that was ever in a watched directory. So what is
/// overwritten is not counted.
pub(crate) const SEEN_SETS: usize = 1 << 9;
/// Objects in each of these sets.
pub(crate) const SEEN_WAYS: usize = 4;

/// Directories remembered that a walk met elsewhere; the oldest is overwritten, and counted: its rename may be told as
/// one out of the watched paths, and what happens in it until it is found again is not told.
pub(crate) const MET_ELSEWHERE_KEPT: usize = 256;

/// Sets of files that lines told of without a name, a cache line each; in a full set the oldest is overwritten. Its link
/// is told like any other then, without the object that ties it to those lines: no change is missing. Most of such
/// files never get a name, so whether it matters cannot be known, and is not counted.
pub(crate) const NAMELESS_SETS: usize = 1 << 9;
/// Files in each of these sets.
pub(crate) const NAMELESS_WAYS: usize = 8;

/// Sets of objects that were renamed or removed, each of a cache line; the neighbour of a full set takes what does not
/// fit.
pub(crate) const OBJECT_SETS: usize = 1 << 16;
/// While few objects come, fsmon uses so few sets that they stay in a near cache.
pub(crate) const OBJECT_SETS_LEAST: usize = 1 << 5;
/// Objects in each of these sets.
pub(crate) const OBJECT_WAYS: usize = 8;
/// Objects behind which the kernel merges nothing any more: it compares a new event with the newest 128 in one of 128
/// buckets (`FANOTIFY_MAX_MERGE_EVENTS` and `FANOTIFY_HTABLE_BITS` in fs/notify/fanotify), and the object says which
/// bucket. Events of 16,384 objects fill these if they are even, and they are far from twice as uneven. Many events of
/// few objects leave the other buckets empty.
pub(crate) const MERGE_REACH: usize = 1 << 15;
/// An object is remembered for that many generations, its own included, however long the queue stays full.
pub(crate) const OBJECT_GENERATIONS: usize = 3;
/// Objects of one generation: the older ones that are remembered are a reach at least.
pub(crate) const OBJECT_GENERATION: usize = MERGE_REACH / (OBJECT_GENERATIONS - 1);

/// Events of unknown objects that are kept; the oldest is overwritten, and counted where its directory is made.
pub(crate) const ORPHANS_KEPT: usize = 128;
/// Bytes of the longest such event: one place, one object and a name.
pub(crate) const ORPHAN_BYTES: usize = 24 + 2 * (20 + HANDLE_MAX) + NAME_MAX + 5;
/// Batches for which such an event is kept, the one it came in included.
pub(crate) const ORPHAN_BATCHES: u64 = 2;

/// Slots for names that a walk told of, a power of two; beyond three quarters of it none is added, and a CREATE may be
/// told twice. What comes, goes or is met again in such a directory then, and may have been told, is counted.
pub(crate) const WALK_NAME_SLOTS: usize = 1 << 19;
/// Names of a walk beyond which nothing waits for what is late: there has to be room for the next walk.
pub(crate) const WALK_NAMES_MANY: usize = WALK_NAME_SLOTS / 4;
/// Directories of walks remembered; of more all are looked at in the end.
pub(crate) const WALK_DIRS_MAX: usize = 1 << 16;
/// An entry is there an instant before its event is queued, ns; where processors are busy, the process may be put to
/// sleep between the two.
pub(crate) const ENTRY_LATE_NS: u64 = 20_000_000;

/// Walks under way at one time; of more, each is made whole.
pub(crate) const WALKS_UNDER_WAY_MAX: usize = 64;
/// Directories outside of walks that are remembered, a power of two: one for each value of some bits of the hash.
pub(crate) const WALK_OUTSIDE_KEPT: usize = 1 << 12;
/// How long a step of a walk is, ns, but for the directory that it ends with.
pub(crate) const WALK_STEP_NS: u64 = 1_000_000;

/// Files of lower layers in directories that are heard by the upper layer: the oldest is forgotten, and counted.
pub(crate) const ALIASES_KEPT: usize = 1 << 10;
/// Renames kept of which the upper layer may show what overlayfs did, the oldest overwritten. What is awaited follows
/// within the same call into the kernel, after what others do meanwhile.
pub(crate) const OVERLAY_RENAMES_KEPT: usize = 64;

/// Names made within a round, of a second or more, each after another was removed, with which a directory is busy.
pub(crate) const BUSY_NAMES_AGAIN: u32 = 50;
/// Events within a round with which a directory may be busy.
pub(crate) const BUSY_EVENTS: u32 = 200;
/// Such rounds, one after the other, after which it is.
pub(crate) const BUSY_ROUNDS: u32 = 10;
/// Sets of directories that are counted at one time, a power of two. In a full set the one of which least was told makes
/// room: it is muted later, or not at all.
pub(crate) const BUSY_SETS: usize = 1 << 8;
/// Directories in each of these sets.
pub(crate) const BUSY_WAYS: usize = 4;
/// Directories muted at one time; the oldest is heard again, which costs time and loses nothing.
pub(crate) const MUTED_MAX: usize = 1 << 12;
/// Directories muted in a round: opening and marking one takes some microseconds.
pub(crate) const MUTED_EACH_ROUND: u32 = 256;

/// Renames after which it is looked at where they are.
pub(crate) const RENAMES_LOOKED_AT: u32 = 1 << 10;
/// Of these, outside for each that is told, from which on renames outside may be ignored.
pub(crate) const RENAMES_OUTSIDE_PER_REPORT: u32 = 8;
/// Renames in a second, of which fewer are not worth it.
pub(crate) const RENAME_RATE_LEAST: u64 = 1000;
/// And more are not believed, as all of one batch have the same time.
pub(crate) const RENAME_RATE_MOST: u64 = 50_000;
/// Rounds, of a second or more, that are waited for after an end: twice as many after each, up to this. And rounds after
/// which it is seen anew how many renames there are outside, if many are told.
pub(crate) const RENAMES_PAUSE_ROUNDS_MAX: u32 = 64;
/// Rounds for which the sides are told after renames are no longer ignored: of a rename that is under way the kernel may
/// have ignored the whole already, and not yet come to the sides.
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
    // Nothing else would ever be noticed after a look or a miss.
    assert!(0 < DOUBT_LOOKS && DOUBT_LOOKS < DOUBT_MISSES);
    // The place in the ring, plus 1, is an entry of an index.
    assert!(DEFERRED_MAX < u32::MAX as usize);
    assert!(EXCHANGE_EVENTS_AHEAD as u64 <= EXCHANGE_EVENTS_BETWEEN);
    // So few objects are in use that a set and its neighbour are never both full, whatever the handles are.
    assert!(OBJECT_GENERATION * OBJECT_GENERATIONS <= OBJECT_SETS);
    // What is remembered beside the generation that fills reaches as far as the kernel merges.
    assert!(OBJECT_GENERATION * (OBJECT_GENERATIONS - 1) >= MERGE_REACH);
    assert!(OBJECT_SETS_LEAST <= OBJECT_SETS && OBJECT_SETS_LEAST >= 2);
    // Its length is kept in 16 bits, and no event that the kernel gives is longer than a buffer has room for.
    assert!(ORPHAN_BYTES <= u16::MAX as usize && ORPHAN_BYTES <= EVENT_LEN_MAX as usize);
    // Both fit into the room that names have, so that the next walk finds some.
    assert!(2 * WALK_NAMES_MANY <= WALK_NAME_SLOTS / 4 * 3);
    // The directories of which a walk forgets half must be more than the one that stays.
    assert!(WALK_DIRS_MAX > 2);
    assert!(MUTED_EACH_ROUND as usize <= MUTED_MAX);
    assert!(BUSY_NAMES_AGAIN > 0 && BUSY_EVENTS > 0 && RENAMES_OUTSIDE_PER_REPORT > 0);
    assert!(RENAME_RATE_LEAST <= RENAME_RATE_MOST);
    assert!(SIDES_LINGER_ROUNDS < RENAMES_PAUSE_ROUNDS_MAX);
};

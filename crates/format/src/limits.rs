//! Every limit of this crate, with its reason. What docs/format.md says of the layout of records and blocks is no limit
//! and stands in `record.rs` and `stream/layout.rs`.

use crate::record::{DIR_HEAD, EVENT_SLOTS_MAX, TEXT_MAX, slots_for};
use crate::stream::layout::{BLOCK_MAX, BLOCK_SLOTS, GRID, HEADER_LEN_MAX};

/// The deepest directory whose path is built; deeper is taken for a cycle.
pub const DEPTH_MAX: usize = 1 << 16;

/// Directories of one chain that a block defines one by one; a deeper one gets its whole path.
pub(crate) const DIR_LEVELS_MAX: usize = 256;
/// Slots for the directories of one chain.
pub(crate) const DIR_SLOTS_MAX: usize = 300;
/// Images of one ancestry.
pub(crate) const PROC_LEVELS_MAX: usize = 64;
/// Slots for one ancestry and its strings.
pub(crate) const PROC_SLOTS_MAX: usize = 400;
/// Ids left at which numbering starts anew; one block uses far fewer.
pub(crate) const IDS_SPARE: u32 = 1 << 16;
/// Nearer than this to the grid, in bytes, no block is begun: it would hold next to nothing.
pub(crate) const PAD_BELOW_BYTES: usize = 4096;

/// Bytes of a stream that a reader holds at one time.
pub(crate) const WINDOW_BYTES: usize = 4 * BLOCK_MAX;
/// Places for the ids that a block defines: twice what it can define, so that probes stay short.
pub(crate) const ID_PLACES: usize = 2 * BLOCK_SLOTS;
/// Bytes that look like the beginning of a block and are none are looked at again: how many of them in all.
pub(crate) const WASTED_BYTES: u64 = 1 << 20;
/// And how many for each byte read: a file header can be 64 KiB long, and some bytes are enough to look like the
/// beginning of one.
pub(crate) const WASTED_PER_BYTE: u64 = 32;
/// What has no counts of clock steps is read from end to end up to this size, in bytes. That takes some milliseconds,
/// and finds what was written while the clock was away and back within one piece.
pub(crate) const UNCOUNTED_READ_BYTES: u64 = 8 * GRID;
/// By how much the wall clock must leave the place where it was last counted, in ns, to be counted as set. Steps below
/// that stay uncounted, so within one count wall times are known to twice this. Leap seconds and the corrections of NTP
/// are no more than this, and should not cost a search anything.
pub const CLOCK_STEP_NS: u64 = 1_000_000_000;

const _: () = {
    // The header, the clock, both directories of a rename, the process and the event fit a block.
    assert!(2 + 2 * DIR_SLOTS_MAX + PROC_SLOTS_MAX + EVENT_SLOTS_MAX <= BLOCK_SLOTS);
    // One whole path fits its share; that one image does is asserted where its strings are (`stream/definitions.rs`).
    assert!(slots_for(DIR_HEAD + TEXT_MAX) <= DIR_SLOTS_MAX);
    // Each level takes a slot at the least.
    assert!(DIR_LEVELS_MAX <= DIR_SLOTS_MAX && PROC_LEVELS_MAX <= PROC_SLOTS_MAX);
    assert!(IDS_SPARE as usize > BLOCK_SLOTS);
    assert!(PAD_BELOW_BYTES < BLOCK_MAX);
    assert!(WINDOW_BYTES >= 2 * BLOCK_MAX && WINDOW_BYTES >= 2 * HEADER_LEN_MAX);
    // Ids are reduced by a shift, and dense ones are 16 bits.
    assert!(ID_PLACES.is_power_of_two() && BLOCK_SLOTS <= u16::MAX as usize);
};

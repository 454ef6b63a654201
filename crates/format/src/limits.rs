//! Every limit of this crate, with its reason. What docs/format.md says of the layout of records and blocks is no limit
//! and stands in `record.rs` and `stream/layout.rs`.

use crate::record::{DIR_HEAD, EVENT_SLOTS_MAX, SLOT, TEXT_MAX, TEXT_SLOTS_MAX, slots_for};
use crate::stream::layout::{BLOCK_MAX, BLOCK_SLOTS, GRID, HEADER_LEN_MAX};

/// The maximum depth of a path; a deeper directory is taken for a cycle.
pub const DEPTH_MAX: usize = 1 << 16;

/// The longest chain of directories that is defined one by one; a deeper directory gets its whole path, as
/// its chain would take more than a quarter of each block with an event in it.
pub(crate) const DIR_LEVELS_MAX: usize = 256;
/// The most slots for one chain of directories: one of usual names, a slot each, and some longer ones.
pub(crate) const DIR_SLOTS_MAX: usize = 300;
/// The most images of one ancestry: far more than processes of builds are nested. Those beyond it are left out.
pub(crate) const PROC_LEVELS_MAX: usize = 64;
/// The most slots for one ancestry and its strings: what two chains of directories and an event leave of a block.
pub(crate) const PROC_SLOTS_MAX: usize = 400;
/// Numbering starts anew when fewer ids than this are left; one block uses far fewer.
pub(crate) const IDS_SPARE: u32 = 1 << 16;
/// No block begins nearer than this to the grid, in bytes: it would hold almost nothing.
pub(crate) const PAD_BELOW_BYTES: usize = 4096;

/// Bytes of a stream that a reader holds at one time.
pub(crate) const WINDOW_BYTES: usize = 4 * BLOCK_MAX;
/// Slots of the table of ids that a block defines: twice what it can define, so that probes stay short.
pub(crate) const ID_SLOTS: usize = 2 * BLOCK_SLOTS;
/// How many bytes may be checked a second time, as they looked like the beginning of a block: this constant, plus
/// [`WASTED_PER_BYTE`] for each byte read. A file header can be 64 KiB long, and a few bytes suffice to look like the
/// beginning of one, so hostile input could make the reader check the same bytes again and again.
pub(crate) const WASTED_BYTES: u64 = 1 << 20;
/// By how many bytes the limit [`WASTED_BYTES`] grows with each byte read.
pub(crate) const WASTED_PER_BYTE: u64 = 32;
/// A stream without counts of clock steps of at most this size, in bytes, is read from end to end. That takes some
/// milliseconds, and also finds records from a time when the clock was set away and back within one piece.
pub(crate) const UNCOUNTED_READ_BYTES: u64 = 8 * GRID;
/// By how much the wall clock must move, in ns, to be counted as set. Smaller steps are not counted, so within one count
/// wall times are accurate to twice this. Leap seconds and corrections by NTP are smaller, and should not slow a search
/// down.
pub const CLOCK_STEP_NS: u64 = 1_000_000_000;

const _: () = {
    // The header, the clock, both directories of a rename, the process and the event fit a block.
    assert!(2 + 2 * DIR_SLOTS_MAX + PROC_SLOTS_MAX + EVENT_SLOTS_MAX <= BLOCK_SLOTS);
    // The header, the clock and any other record fit a block.
    assert!(2 + TEXT_SLOTS_MAX <= BLOCK_SLOTS);
    // One whole path fits its share; that one image does is asserted where its strings are (`stream/definitions.rs`).
    assert!(slots_for(DIR_HEAD + TEXT_MAX) <= DIR_SLOTS_MAX);
    // A directory takes a slot at the least, an image two.
    assert!(DIR_LEVELS_MAX <= DIR_SLOTS_MAX && 2 * PROC_LEVELS_MAX <= PROC_SLOTS_MAX);
    assert!(IDS_SPARE as usize > BLOCK_SLOTS);
    assert!(PAD_BELOW_BYTES < BLOCK_MAX);
    // The window has whole slots, and room for the longest file header.
    assert!(WINDOW_BYTES.is_multiple_of(SLOT) && HEADER_LEN_MAX <= WINDOW_BYTES);
    // Ids are reduced by a shift, and dense ones are 16 bits.
    assert!(ID_SLOTS.is_power_of_two() && BLOCK_SLOTS <= u16::MAX as usize);
};

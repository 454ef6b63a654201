//! Every limit of this crate, with its reason.

use std::time::Duration;

/// How often to try to take a lock that is held: a reader that asks whether a file is written holds it for
/// an instant.
pub(crate) const LOCK_TRIES: u32 = 10;
/// After which time to try again: ten tries take 0.1 s, which a user does not notice.
pub(crate) const LOCK_RETRY: Duration = Duration::from_millis(10);
/// How long a follower sleeps at first: less than fsmon itself holds an event back, so this adds little delay.
pub(crate) const FOLLOW_PAUSE_MIN: Duration = Duration::from_millis(2);
/// How long it sleeps once nothing has come for a while: an idle stream costs ten reads a second.
pub(crate) const FOLLOW_PAUSE_MAX: Duration = Duration::from_millis(100);
/// How long a follower waits for the next segment, which fsmon makes at once; and for new bytes in a file that
/// no fsmon writes to.
pub(crate) const GIVEN_UP_AFTER: Duration = Duration::from_secs(5);

/// Segments that a history holds at most. With segments of 64 MiB that is 8 TiB. The catalogue is written anew for each
/// segment that is closed; with so many that is some 40 MB.
pub const SEGMENTS_MAX: usize = 1 << 17;
/// Bytes of a catalogue that are read at most: four times what the most segments take up with usual paths of control
/// groups.
pub const CATALOGUE_BYTES_MAX: usize = 128 << 20;
/// Users and control groups that a catalogue entry names at most: enough to say who flooded a history.
pub const TOPS: usize = 4;
/// Bytes of a control group's path in a catalogue entry. That of a container is some 150 bytes long.
pub const TOP_NAME_MAX: usize = 512;
/// Users, and control groups, that are counted for a segment at the same time. Counts are exact up to so many different
/// ones; a count of more is too high by at most events / TALLIED.
pub(crate) const TALLIED: usize = 64;
/// The time that counts as passed between two boots at most where the kernel does not say of both that its wall clock
/// is synchronised: one wrong clock makes a history at most this much older.
pub const UNSURE_NS_MAX: u64 = 24 * 3600 * SECOND_NS;
/// The history clock of a new history. What was recorded before, perhaps years ago, is dated before this.
pub(crate) const CLOCK_BEGINS_AT_NS: u64 = 100 * 365 * 24 * 3600 * SECOND_NS;
/// How often the history clock is saved where nothing else is. With thousands of segments a save writes a megabyte.
pub(crate) const CLOCK_SAVED_EVERY_NS: u64 = 6 * 3600 * SECOND_NS;
/// For how long there must be too little free space before segments are deleted for it, or recording pauses: who
/// fills a disk for a moment changes nothing. Also the time that a filesystem gets to free what was deleted.
pub(crate) const SHORT_FOR_NS: u64 = 10 * SECOND_NS;
/// Recording goes on once there is this fraction (1 / N) more free space than wanted, so that it does not pause and go
/// on again and again.
pub(crate) const FREE_MARGIN: u64 = 8;
/// When to try again to delete a segment that could not be deleted.
pub(crate) const DELETE_RETRY_NS: u64 = 60 * SECOND_NS;
/// How many pieces of 1 MiB at the end of a segment are read for its last record. One has a block, unless the segment
/// is damaged.
pub(crate) const TAIL_PIECES: u64 = 4;
/// Bytes of `DIR/key`: a key of 256 bits.
pub const KEY_BYTES: usize = 32;
/// Bytes of `DIR/lock` that are read: a process number.
pub(crate) const LOCK_BYTES_MAX: u64 = 16;

/// Bytes of a segment whose blocks are a cell of its index. Reading one takes one to two milliseconds: cells of 1 MiB
/// would take four to six, and indexes with them would be 15 % smaller.
pub(crate) const CELL_BYTES: u64 = 256 << 10;
/// Cells of an index at most: a segment of 128 GiB.
pub(crate) const CELLS_MAX: usize = 1 << 19;
/// Bytes of a segment that are read at a time where no index says which: the grid, at which a block begins.
pub(crate) const PIECE_BYTES: u64 = fsmon_format::stream::layout::GRID;
/// Segments that a search has open at most: a process may have 1,024 files open by default.
pub(crate) const SOURCES_MAX: usize = 400;
/// Other names of a file that are followed at most.
pub(crate) const NAMES_MAX: usize = 64;
/// Pieces of 1 MiB that are read at most for the first name of a hard link, or for what was done to a file before it had a
/// name: some 1.5 s. Both are usually in the piece of the link itself.
pub(crate) const LINK_PIECES: u64 = 256;
/// Processes that closed a file after its writer, and that are told at most.
pub(crate) const CLOSERS_MAX: usize = 16;
/// Processes that had a file open for writing, and their ancestors, as many as are kept to know who made it.
pub(crate) const HANDS_MAX: usize = 256;
/// Processes in a line of ancestors at most: docs/format.md, PROC.
pub(crate) const CHAIN_MAX: usize = 64;
/// Postings of a kind in a cell at which repetitions are removed. Cells have some thousands of different ones.
pub(crate) const CELL_POSTINGS: usize = 1 << 17;
/// Postings that are held in memory while an index is made, 8 bytes each. More are sorted and go to a file.
pub(crate) const POSTINGS_HELD: usize = 768 << 10;
/// Bytes that are read at a time from each of the sorted runs in that file.
pub(crate) const RUN_BYTES: usize = 16 << 10;
/// Sorted runs of a kind at most. Beyond, an index would take more than 16 MiB of memory to make; so many are there
/// for a segment with 200 million postings.
pub(crate) const RUNS_MAX: usize = 256;
/// Postings in a bucket of an index on average: a lookup reads some 250 bytes.
pub(crate) const BUCKET_POSTINGS: u64 = 128;
/// The share of its segment that an index may take, 1 / N, before its names get fewer bits.
pub(crate) const INDEX_SHARE: u64 = 20;
/// The fewest bits that a name's hash has beyond log2 of the count of names: one in four lookups of a name reads a cell
/// in vain then.
pub(crate) const NAME_BITS_LEAST: u32 = 2;
/// Bytes of the part of an index at most: four for each key in each cell, for a segment with 30 million.
pub(crate) const PART_BYTES_MAX: u64 = 128 << 20;
/// Bytes of an index's header at most: a longer one is not believed.
pub(crate) const INDEX_HEADER_MAX: u64 = 1 << 20;
/// Bytes of a bucket at most. Its count is expected to be [`BUCKET_POSTINGS`]; a much longer one is not believed.
pub(crate) const BUCKET_BYTES_MAX: u64 = 1 << 20;

/// Names at which those without use are dropped, for `changes`: some 4 MB.
pub(crate) const NAMES_SWEPT_LEAST: usize = 1 << 16;
/// Processes at which those without use are dropped: some 2 MB.
pub(crate) const PROCESSES_SWEPT_LEAST: usize = 1 << 14;
/// Names that were made and are gone again, of which it is remembered that they were not there before: some 20 MB. One that
/// is forgotten costs an answer `unknown`, and only if something is renamed to it later.
pub(crate) const RECENT_MAX: usize = 1 << 20;
/// Renames of directories after which what is older in a history is not looked at for names that were there: each is
/// compared with each older path.
pub(crate) const MOVES_MAX: usize = 64;
/// Pieces of 1 MiB before the time asked for that are read at most to learn whether a path was watched that no header of a
/// segment names: some 1.5 s.
pub(crate) const NOTES_PIECES: usize = 256;
/// Streams that a cursor names at most. A daemon writes one at a time, and `--per-filesystem` one for each filesystem.
pub(crate) const CURSOR_STREAMS_MAX: usize = 1024;

/// Bytes of a file with a cursor that are read at most.
pub(crate) const CURSOR_BYTES_MAX: u64 = 128 * CURSOR_STREAMS_MAX as u64;
/// Streams that are merged at most: each takes some 400 KiB. A daemon writes one at a time.
pub(crate) const TRACKS_MAX: usize = 64;

const SECOND_NS: u64 = 1_000_000_000;

const _: () = {
    // The longest entry's length fits its 16 bits: fixed part, tops, name.
    assert!(152 + TOPS * (16 + 18 + TOP_NAME_MAX) + 255 + 8 <= u16::MAX as usize);
    assert!(TOP_NAME_MAX <= u16::MAX as usize && TOPS <= TALLIED);
    // A history of the usual entries fits.
    assert!(SEGMENTS_MAX * 512 <= CATALOGUE_BYTES_MAX);
    assert!(0 < FOLLOW_PAUSE_MIN.as_millis());
    assert!(FOLLOW_PAUSE_MIN.as_millis() <= FOLLOW_PAUSE_MAX.as_millis());
    // A follower looks several times before it gives up.
    assert!(10 * FOLLOW_PAUSE_MAX.as_millis() <= GIVEN_UP_AFTER.as_millis());
};

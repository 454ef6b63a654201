//! Every limit of this crate, with its reason.

use fsmon_format::record::TEXT_MAX;

/// Write lines when this many bytes are ready: few writes, and memory that does not matter beside a stream's.
pub(crate) const WRITE_BYTES: usize = 256 << 10;

/// The most rows of a row group: DuckDB's unit of work for one thread.
pub(crate) const GROUP_ROWS: usize = 122_880;
/// A row group is written when it has this many bytes of text, in all columns together: bounds the memory of a group.
pub(crate) const GROUP_TEXT_BYTES: usize = 64 << 20;
/// The maximum size of a column's dictionary in a row group; beyond it, values are stored plainly.
pub(crate) const DICTIONARY_BYTES: usize = 4 << 20;
/// Files open at one time: each has a row group in memory. Around midnight there are two.
pub(crate) const FILES_OPEN_MAX: usize = 4;

/// The most bytes of interned texts of a trace; then writer and reader forget all of them: bounds the memory of both.
pub(crate) const INTERNED_BYTES: usize = 32 << 20;
/// Size of the buffer of a trace. A packet has some hundred bytes, so this makes few writes.
pub(crate) const TRACE_BUFFER_BYTES: usize = 256 << 10;

const _: () = {
    // The place of a text in its column has 32 bits, also in a row that fills the group. A row has fewer than 64 texts.
    assert!(GROUP_TEXT_BYTES + 64 * TEXT_MAX <= u32::MAX as usize);
    assert!(DICTIONARY_BYTES <= GROUP_TEXT_BYTES);
    // Files for two days are open at the same time around midnight.
    assert!(FILES_OPEN_MAX >= 2);
};

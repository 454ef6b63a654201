//! The bytes of a stream: the file header and the block header.
//!
//! Little-endian throughout, no padding: every byte is a field. Blocks hold [`crate::record`]s.

use crate::record::SLOT;
use zerocopy::little_endian::{U16, U32, U64};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

/// The first bytes of a stream. Not text, broken by any newline conversion, as PNG's.
pub const MAGIC: [u8; 8] = *b"\x89FSM\r\n\x1a\n";
/// Readers refuse other major versions.
pub const MAJOR: u16 = 1;
/// The highest minor version that is written: of streams that may have GAP and NOTE records. Those that cannot are of
/// minor version 0. Readers accept higher ones, which only add what may be skipped.
pub const MINOR: u16 = 1;
/// Bytes of the file header, entries and zero filling included.
pub const HEADER_LEN: usize = 4096;
/// The longest file header that a reader takes, in bytes.
pub const HEADER_LEN_MAX: usize = 65536;
/// The first bytes of a block; the last one is the major version. 0xF5 is in no UTF-8 text.
pub const SYNC: [u8; 4] = *b"\xf5BK\x01";
/// The longest block, its header included, in bytes.
pub const BLOCK_MAX: usize = 65536;
/// No block crosses a multiple of this, in bytes from the file header on.
pub const GRID: u64 = 1 << 20;
/// Slots of the longest block, its header included.
pub const BLOCK_SLOTS: usize = BLOCK_MAX / SLOT;

/// The bits of a [`FileHeader`]'s `incompatible` that are known; a reader refuses all others.
pub const INCOMPATIBLE_KNOWN: u64 = 0;
/// `clock_id` of a [`FileHeader`]: times are `CLOCK_MONOTONIC`.
pub const CLOCK_MONOTONIC: u32 = 1;

/// The first 192 bytes of a stream; tagged entries follow.
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub struct FileHeader {
    /// [`MAGIC`]
    pub magic: [u8; 8],
    /// [`MAJOR`]
    pub major: U16,
    /// At most [`MINOR`] as written today.
    pub minor: U16,
    /// Bytes up to the first block; a multiple of the slot size.
    pub header_len: U32,
    /// Bytes in a slot: 64.
    pub slot: U32,
    /// CRC32C of `header_len` bytes, with this field taken as 0.
    pub crc: U32,
    /// Features without which the stream cannot be understood.
    pub incompatible: U64,
    /// Features that a reader may ignore.
    pub compatible: U64,
    /// Random, the same in all segments of a stream. Its first four bytes are the blocks' tag.
    pub stream_id: [u8; 16],
    /// `/proc/sys/kernel/random/boot_id`: the boot to which the monotonic clock belongs.
    pub boot_id: [u8; 16],
    /// `/etc/machine-id`
    pub machine_id: [u8; 16],
    /// [`CLOCK_MONOTONIC`]
    pub clock_id: U32,
    /// 0 in the first file of a stream, one more in each that continues it.
    pub segment: U32,
    /// When the header was written: `CLOCK_MONOTONIC`, ns.
    pub time_ns: U64,
    /// `CLOCK_REALTIME` at the same moment, ns since 1970.
    pub realtime_ns: U64,
    /// Events of the stream in the segments before.
    pub first_event: U64,
    /// Blocks of the stream in the segments before.
    pub first_block: U64,
    /// The longest block in this stream, in bytes.
    pub block_max: U32,
    /// No block crosses a multiple of this offset.
    pub grid: U32,
    /// Bytes of the entries that follow.
    pub entries_len: U32,
    /// Reserved.
    pub reserved0: U32,
    /// Reserved.
    pub reserved: [u8; 48],
}

/// Bytes of a [`FileHeader`], after which the entries begin.
pub const FILE_HEADER_FIXED: usize = size_of::<FileHeader>();

/// Tags of the entries after the [`FileHeader`]: a u16 tag, a u16 length, then that many bytes.
pub mod entry {
    /// fsmon's version, text.
    pub const VERSION: u16 = 1;
    /// The kernel's release, text.
    pub const KERNEL: u16 = 2;
    /// The host's name, text.
    pub const HOST: u16 = 3;
    /// u32: the event types asked for, [`crate::kind`] bits.
    pub const TYPES: u16 = 4;
    /// u32 index, u64 fsid, the type's name, a zero byte, the mount point. Repeated.
    pub const FILESYSTEM: u16 = 5;
    /// The absolute path of a watched root. Repeated.
    pub const ROOT: u16 = 6;
    /// u32: how many entries did not fit.
    pub const LEFT_OUT: u16 = 7;
}

/// `kind` of a [`BlockHeader`]. A kind that is not known is skipped.
pub mod block_kind {
    /// Zeros up to the grid.
    pub const PAD: u8 = 0;
    /// Records.
    pub const RECORDS: u8 = 1;
}

/// `codec` of a [`BlockHeader`].
pub mod codec {
    /// The records as they are.
    pub const NONE: u8 = 0;
    /// An LZ4 block, without a frame or a length before it.
    pub const LZ4: u8 = 1;
    /// A zstd frame.
    pub const ZSTD: u8 = 2;
    /// A piece of a zstd frame that goes on through the blocks of a cell: see [`super::block_flag::FRAME`].
    pub const ZSTD_WINDOW: u8 = 3;
}

/// `flags` of a [`BlockHeader`]; readers ignore unknown ones.
pub mod block_flag {
    /// A LOSS record is in it.
    pub const LOSS: u16 = 1;
    /// A record is older than one before it in this block.
    pub const UNORDERED: u16 = 1 << 1;
    /// The last block of a file that was closed in order.
    pub const FINAL: u16 = 1 << 2;
    /// Ids start anew with this block: an id seen before means something else from here on.
    pub const RENUMBERED: u16 = 1 << 3;
    /// Of a block of codec [`super::codec::ZSTD_WINDOW`]: a frame begins with it. Without this flag its payload goes on from
    /// the block before it, which must be decompressed first.
    pub const FRAME: u16 = 1 << 4;
}

/// One slot before each block.
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub struct BlockHeader {
    /// [`SYNC`]
    pub sync: [u8; 4],
    /// [`block_kind`]
    pub kind: u8,
    /// [`codec`]
    pub codec: u8,
    /// [`block_flag`]
    pub flags: U16,
    /// Bytes of the payload as stored. The next block begins at the next multiple of 64.
    pub stored_len: U32,
    /// Bytes of the payload once decompressed; a multiple of 64.
    pub raw_len: U32,
    /// Counted through the whole stream, pads included.
    pub number: U64,
    /// EVENT records of the stream before this block.
    pub first_event: U64,
    /// The earliest time of an EVENT, LOSS, STATS or END record in it, ns; 0 where there is none.
    pub first_ns: U64,
    /// The latest.
    pub last_ns: U64,
    /// EVENT records in it.
    pub events: U32,
    /// The first four bytes of the stream id.
    pub stream_tag: [u8; 4],
    /// CRC32C of the payload as stored.
    pub payload_crc: U32,
    /// CRC32C of the 60 bytes before.
    pub header_crc: U32,
}

const BLOCK_CRC_AT: usize = SLOT - 4;

const _: () = {
    use std::mem::offset_of;
    assert!(size_of::<FileHeader>() == 3 * SLOT);
    assert!(offset_of!(FileHeader, crc) == 20);
    assert!(offset_of!(FileHeader, incompatible) == 24);
    assert!(offset_of!(FileHeader, stream_id) == 40);
    assert!(offset_of!(FileHeader, machine_id) == 72);
    assert!(offset_of!(FileHeader, clock_id) == 88);
    assert!(offset_of!(FileHeader, first_block) == 120);
    assert!(offset_of!(FileHeader, entries_len) == 136);
    assert!(size_of::<BlockHeader>() == SLOT);
    assert!(offset_of!(BlockHeader, stored_len) == 8);
    assert!(offset_of!(BlockHeader, number) == 16);
    assert!(offset_of!(BlockHeader, first_ns) == 32);
    assert!(offset_of!(BlockHeader, events) == 48);
    assert!(offset_of!(BlockHeader, header_crc) == BLOCK_CRC_AT);
    assert!(HEADER_LEN.is_multiple_of(SLOT) && HEADER_LEN <= HEADER_LEN_MAX);
    assert!(GRID.is_multiple_of(BLOCK_MAX as u64));
};

impl BlockHeader {
    /// Sets both lengths and both checksums for a payload that is stored as it is.
    pub fn seal(&mut self, payload: &[u8]) {
        self.seal_stored(codec::NONE, payload, payload.len());
    }

    /// The same for a payload of `raw_len` bytes that is stored as `stored`.
    pub fn seal_stored(&mut self, codec: u8, stored: &[u8], raw_len: usize) {
        let len = |bytes| u32::try_from(bytes).expect("a payload is at most BLOCK_MAX bytes");
        self.codec = codec;
        self.stored_len = len(stored.len()).into();
        self.raw_len = len(raw_len).into();
        self.payload_crc = crc32c::crc32c(stored).into();
        self.header_crc = self.computed_crc().into();
    }

    /// What `header_crc` must be.
    #[must_use]
    pub fn computed_crc(&self) -> u32 {
        crc32c::crc32c(&self.as_bytes()[..BLOCK_CRC_AT])
    }

    /// Bytes from this header to the next.
    #[must_use]
    pub fn total_len(&self) -> usize {
        SLOT + (self.stored_len.get() as usize).next_multiple_of(SLOT)
    }
}

impl FileHeader {
    /// What `crc` must be for a whole header, which begins with a `FileHeader`.
    #[must_use]
    pub fn computed_crc(whole: &[u8]) -> u32 {
        let at = std::mem::offset_of!(FileHeader, crc);
        let crc = crc32c::crc32c(&whole[..at]);
        let crc = crc32c::crc32c_append(crc, &[0; 4]);
        crc32c::crc32c_append(crc, &whole[at + 4..])
    }
}

//! The bytes of an index. docs/index.md specifies them.

use super::hash::HASH_BITS;
use super::kind::Kind;
use super::rice::K_MAX;
use crate::limits::{CELL_BYTES, CELLS_MAX, INDEX_HEADER_MAX};
use fsmon_format::number::to_u32;

pub(super) const MAGIC: [u8; 8] = *b"\x89FSI\r\n\x1a\n";
pub(super) const MAJOR: u16 = 1;
/// Bytes of the header before the table of kinds.
pub(super) const FIXED: usize = 96;
const CRC_AT: usize = FIXED - 4;
/// Bytes of a kind in the table.
pub(super) const KIND: usize = 40;
/// Bytes of a cell in its table.
pub(super) const CELL: usize = 24;
/// Bytes of a bucket in the directory.
pub(super) const BUCKET: usize = 8;
/// The offset of a cell in which no block begins.
pub(super) const NOWHERE: u64 = u64::MAX;

/// The header.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Head {
    /// `crc` of the segment's file header.
    pub(super) segment_crc: u32,
    /// Length of the segment, in bytes.
    pub(super) segment_bytes: u64,
    pub(super) seed: u64,
    pub(super) cells: u32,
    pub(super) cells_crc: u32,
    pub(super) cells_at: u64,
    pub(super) kinds: Vec<KindHead>,
}

/// A kind in the header.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct KindHead {
    pub(super) code: u16,
    /// Bits of its hashes, those that choose the bucket included.
    pub(super) hash_bits: u8,
    pub(super) bucket_bits: u8,
    /// The parameter of the Rice code.
    pub(super) rice: u8,
    /// Values for each cell.
    pub(super) values: u8,
    pub(super) postings: u64,
    pub(super) directory_at: u64,
    pub(super) data_at: u64,
    pub(super) data_len: u64,
}

/// A cell of a segment: the blocks that begin in the same 256 KiB.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cell {
    /// The offset of its first block in the segment; `None` if no block begins in it.
    pub offset: Option<u64>,
    /// The least time of an EVENT, LOSS, STATS or END record in it, CLOCK_MONOTONIC ns; the latest time before it if it has
    /// none.
    pub first_ns: u64,
    /// The greatest.
    pub last_ns: u64,
}

impl KindHead {
    /// Bits of a hash that are in a posting.
    pub(super) fn low_bits(&self) -> u32 {
        u32::from(self.hash_bits) - u32::from(self.bucket_bits)
    }

    /// The hash of a key, cut to its bits: bucket, and the rest.
    pub(super) fn split(&self, hash: u64) -> (u64, u64) {
        let cut = hash >> (HASH_BITS - u32::from(self.hash_bits));
        (cut >> self.low_bits(), cut & ((1 << self.low_bits()) - 1))
    }

    fn is_sound(&self, cells: u32) -> bool {
        let bits = u32::from(self.hash_bits);
        bits <= HASH_BITS
            && self.bucket_bits <= self.hash_bits
            && self.bucket_bits < 32
            && self.low_bits() + (u64::from(cells) * 2).ilog2() < 60
            && u32::from(self.rice) <= K_MAX
            && (1..=2).contains(&self.values)
            && u32::try_from(self.data_len).is_ok()
    }
}

impl Head {
    pub(super) fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(FIXED + self.kinds.len() * KIND);
        out.extend(MAGIC);
        out.extend(MAJOR.to_le_bytes());
        out.extend(0u16.to_le_bytes());
        out.extend(to_u32(self.kinds.len()).to_le_bytes());
        out.extend(self.cells.to_le_bytes());
        out.extend(self.segment_crc.to_le_bytes());
        out.extend(self.segment_bytes.to_le_bytes());
        out.extend(self.seed.to_le_bytes());
        out.extend(u32::try_from(CELL_BYTES).expect("a small constant").to_le_bytes());
        out.extend(self.cells_crc.to_le_bytes());
        out.extend(self.cells_at.to_le_bytes());
        out.resize(FIXED, 0);
        for kind in &self.kinds {
            out.extend(kind.code.to_le_bytes());
            out.extend([kind.hash_bits, kind.bucket_bits, kind.rice, kind.values, 0, 0]);
            for number in [kind.postings, kind.directory_at, kind.data_at, kind.data_len] {
                out.extend(number.to_le_bytes());
            }
        }
        let crc = crc_of(&out);
        out[CRC_AT..FIXED].copy_from_slice(&crc.to_le_bytes());
        out
    }

    /// Bytes of the header with its table of kinds, by its first [`FIXED`] bytes; `None` if it is no index of this version.
    pub(super) fn len(fixed: &[u8]) -> Option<usize> {
        let kinds = u32_at(fixed, 12)?;
        let len = FIXED as u64 + u64::from(kinds) * KIND as u64;
        let is_ours = fixed.get(..8)? == MAGIC && fixed.get(8..10)? == MAJOR.to_le_bytes();
        (is_ours && len <= INDEX_HEADER_MAX).then(|| fsmon_format::number::to_usize(len))
    }

    /// Parses a header with its table; `None` if anything in it is wrong.
    pub(super) fn decode(bytes: &[u8]) -> Option<Self> {
        if Self::len(bytes)? != bytes.len() || u32_at(bytes, CRC_AT)? != crc_of(bytes) {
            return None;
        }
        let cells = u32_at(bytes, 16)?;
        if cells as usize > CELLS_MAX || u64::from(u32_at(bytes, 40)?) != CELL_BYTES {
            return None;
        }
        let kinds: Vec<_> = bytes[FIXED..].chunks_exact(KIND).map(kind).collect::<Option<_>>()?;
        let is_known = |kind: &&KindHead| Kind::ALL.iter().any(|known| known.code() == kind.code);
        if !kinds.iter().filter(is_known).all(|kind| kind.is_sound(cells.max(1))) {
            return None;
        }
        Some(Head {
            segment_crc: u32_at(bytes, 20)?,
            segment_bytes: u64_at(bytes, 24)?,
            seed: u64_at(bytes, 32)?,
            cells,
            cells_crc: u32_at(bytes, 44)?,
            cells_at: u64_at(bytes, 48)?,
            kinds,
        })
    }
}

fn kind(bytes: &[u8]) -> Option<KindHead> {
    let &[low, high, hash_bits, bucket_bits, rice, values, ..] = bytes else { return None };
    Some(KindHead {
        code: u16::from_le_bytes([low, high]),
        hash_bits,
        bucket_bits,
        rice,
        values,
        postings: u64_at(bytes, 8)?,
        directory_at: u64_at(bytes, 16)?,
        data_at: u64_at(bytes, 24)?,
        data_len: u64_at(bytes, 32)?,
    })
}

/// The checksum of a header with its table, but for itself.
fn crc_of(bytes: &[u8]) -> u32 {
    crc32c::crc32c_append(crc32c::crc32c(&bytes[..CRC_AT]), &bytes[FIXED..])
}

/// The checksum of a bucket: of its number and its bytes.
pub(super) fn bucket_crc(bucket: u64, bytes: &[u8]) -> u32 {
    crc32c::crc32c_append(crc32c::crc32c(&bucket.to_le_bytes()), bytes)
}

/// The table of cells.
pub(super) fn encode_cells(cells: &[Cell]) -> Vec<u8> {
    let mut out = Vec::with_capacity(cells.len() * CELL);
    for cell in cells {
        for number in [cell.offset.unwrap_or(NOWHERE), cell.first_ns, cell.last_ns] {
            out.extend(number.to_le_bytes());
        }
    }
    out
}

pub(super) fn decode_cells(bytes: &[u8]) -> Vec<Cell> {
    let number = |cell: &[u8], at| u64_at(cell, at).unwrap_or(NOWHERE);
    let cells = bytes.chunks_exact(CELL).map(|cell| Cell {
        offset: Some(number(cell, 0)).filter(|offset| *offset != NOWHERE),
        first_ns: number(cell, 8),
        last_ns: number(cell, 16),
    });
    cells.collect()
}

pub(super) fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_le_bytes(*bytes.get(at..)?.first_chunk()?))
}

pub(super) fn u64_at(bytes: &[u8], at: usize) -> Option<u64> {
    Some(u64::from_le_bytes(*bytes.get(at..)?.first_chunk()?))
}

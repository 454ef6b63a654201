//! The index of a segment that is still written: each finished cell with its keys, one behind the other. docs/index.md,
//! While a segment is written.

use super::build::Finished;
use super::hash::HASH_BITS;
use super::kind::Kind;
use super::layout::{Cell, NOWHERE, u32_at, u64_at};
use super::read::Posting;
use crate::history::{open_file, part_name};
use crate::limits::{CELLS_MAX, PART_BYTES_MAX};
use fsmon_format::number::to_u32;
use std::io::Read;
use std::path::Path;

const MAGIC: [u8; 4] = *b"\x89FSP";
/// Bytes of a record before its keys.
const FIXED: usize = 48 + 4 * Kind::ALL.len();
/// Bits of a hash in it. The lowest bit of a key is "directly in".
const KEY_BITS: u32 = 31;

/// A record: a cell with its keys.
pub(super) fn encode(finished: &Finished<'_>, segment_crc: u32, seed: u64) -> Vec<u8> {
    let keys = finished.keys.iter().map(Vec::len).sum::<usize>();
    let len = FIXED + 4 * keys;
    let mut out = Vec::with_capacity(len);
    out.extend(MAGIC);
    out.extend(to_u32(len).to_le_bytes());
    out.extend([0; 4]);
    out.extend(segment_crc.to_le_bytes());
    out.extend(seed.to_le_bytes());
    out.extend(finished.cell.offset.unwrap_or(NOWHERE).to_le_bytes());
    out.extend(finished.cell.first_ns.to_le_bytes());
    out.extend(finished.cell.last_ns.to_le_bytes());
    for keys in finished.keys {
        out.extend(to_u32(keys.len()).to_le_bytes());
    }
    for kind in Kind::ALL {
        for key in &finished.keys[kind.place()] {
            let (hash, is_direct) = match kind.values() {
                2 => (key >> 1, key & 1),
                _ => (*key, 0),
            };
            out.extend(short(hash, is_direct).to_le_bytes());
        }
    }
    let crc = crc32c::crc32c(&out[12..]);
    out[8..12].copy_from_slice(&crc.to_le_bytes());
    out
}

/// A hash as it stands in a part: its upper bits, then whether something is directly in the directory.
fn short(hash: u64, is_direct: u64) -> u32 {
    let upper = hash >> (HASH_BITS - KEY_BITS) << 1 | is_direct;
    u32::try_from(upper).expect("32 bits")
}

/// What is indexed of a segment that is still written.
pub struct Part {
    seed: u64,
    bytes: Vec<u8>,
    records: Vec<Record>,
}

struct Record {
    cell: Cell,
    /// Where the keys of each kind are in the bytes.
    keys: [(usize, usize); Kind::ALL.len()],
}

impl Part {
    /// Reads what there is for a segment, which is known by the `crc` of its header; `None` if that is nothing. The first
    /// record that is not sound ends it.
    #[must_use]
    pub fn read(dir: &Path, segment: &str, segment_crc: u32) -> Option<Self> {
        let file = open_file(&dir.join(part_name(segment))).ok()?;
        let mut bytes = Vec::new();
        file.take(PART_BYTES_MAX).read_to_end(&mut bytes).ok()?;
        let mut part = Part { seed: u64_at(&bytes, 16)?, bytes: Vec::new(), records: Vec::new() };
        let mut at = 0;
        while let Some((record, len)) = record(&bytes, at, segment_crc, part.seed) {
            let is_next =
                part.records.last().is_none_or(|last| last.cell.offset < record.cell.offset);
            if !is_next || part.records.len() == CELLS_MAX {
                break;
            }
            part.records.push(record);
            at += len;
        }
        part.bytes = bytes;
        (!part.records.is_empty()).then_some(part)
    }

    /// The seed of its hashes.
    #[must_use]
    pub fn seed(&self) -> u64 {
        self.seed
    }

    /// The cells, in order. Further blocks may follow that are in none.
    pub fn cells(&self) -> impl ExactSizeIterator<Item = Cell> + DoubleEndedIterator {
        self.records.iter().map(|record| record.cell)
    }

    /// The places in [`Part::cells`] of those in which a key of this hash is; some in which it is not may be among them.
    pub(crate) fn find_hash(&self, kind: Kind, hash: u64) -> Vec<Posting> {
        let wanted = short(hash, 0);
        let found = self.records.iter().enumerate().filter_map(|(place, record)| {
            let (begin, end) = record.keys[kind.place()];
            let keys = self.bytes[begin..end].as_chunks::<4>().0;
            let at = keys.partition_point(|key| u32::from_le_bytes(*key) < wanted);
            let here = &keys[at..];
            let same = here.iter().map(|key| u32::from_le_bytes(*key));
            let mut same = same.take_while(|key| key | 1 == wanted | 1).peekable();
            same.peek()?;
            let is_direct = same.any(|key| key & 1 == 1);
            Some(Posting { cell: to_u32(place), is_direct })
        });
        found.collect()
    }
}

/// The record at `at`, and its length; `None` if there is no sound one of this segment.
fn record(bytes: &[u8], at: usize, segment_crc: u32, seed: u64) -> Option<(Record, usize)> {
    let rest = bytes.get(at..)?;
    if rest.get(..4)? != MAGIC {
        return None;
    }
    let len = u32_at(rest, 4)? as usize;
    let whole = rest.get(..len).filter(|whole| whole.len() >= FIXED)?;
    let is_sound = u32_at(whole, 8)? == crc32c::crc32c(&whole[12..]);
    if !is_sound || u32_at(whole, 12)? != segment_crc || u64_at(whole, 16)? != seed {
        return None;
    }
    let offset = Some(u64_at(whole, 24)?).filter(|offset| *offset != NOWHERE);
    let cell = Cell { offset, first_ns: u64_at(whole, 32)?, last_ns: u64_at(whole, 40)? };
    let mut keys = [(0, 0); Kind::ALL.len()];
    let mut begin = FIXED;
    for (place, keys) in keys.iter_mut().enumerate() {
        let count = u32_at(whole, 48 + 4 * place)? as usize;
        let end = begin.checked_add(count.checked_mul(4)?)?;
        whole.get(begin..end)?;
        *keys = (at + begin, at + end);
        begin = end;
    }
    (begin == len).then_some((Record { cell, keys }, len))
}

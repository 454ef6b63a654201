//! Writes the index of a segment from its postings.

use super::build::VALUE_BITS;
use super::hash::HASH_BITS;
use super::kind::Kind;
use super::layout::{BUCKET, Cell, FIXED, Head, KIND, KindHead, bucket_crc, encode_cells};
use super::rice;
use super::runs::{Merge, Postings, Spill};
use crate::limits::{BUCKET_POSTINGS, INDEX_SHARE, NAME_BITS_LEAST};
use fsmon_format::number::{to_u32, to_usize};
use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::os::unix::fs::FileExt;

/// What an index is of.
#[derive(Clone, Copy, Debug)]
pub(super) struct Of {
    pub(super) segment_crc: u32,
    pub(super) segment_bytes: u64,
    pub(super) seed: u64,
}

/// Writes all of an index.
pub(super) fn write(
    file: &File,
    of: Of,
    cells: &[Cell],
    postings: &mut [Postings; Kind::ALL.len()],
    spill: Option<&Spill>,
) -> io::Result<()> {
    let counts = Kind::ALL.map(|kind| postings[kind.place()].len());
    let name_bits = name_bits(&counts, cells.len(), of.segment_bytes);
    let mut out = Output { file: BufWriter::new(file), at: 0 };
    out.put(&vec![0; FIXED + Kind::ALL.len() * KIND])?;
    let mut kinds = Vec::new();
    for kind in Kind::ALL {
        let extra = if kind == Kind::Name { name_bits } else { kind.extra_bits() };
        let head = shape(kind, counts[kind.place()], extra, cells.len());
        let mut merge = postings[kind.place()].sorted(spill)?;
        kinds.push(out.kind(head, cells.len(), &mut merge)?);
        drop(merge);
        postings[kind.place()] = Postings::default();
    }
    let table = encode_cells(cells);
    let cells_at = out.at;
    out.put(&table)?;
    out.file.flush()?;
    let head = Head {
        segment_crc: of.segment_crc,
        segment_bytes: of.segment_bytes,
        seed: of.seed,
        cells: to_u32(cells.len()),
        cells_crc: crc32c::crc32c(&table),
        cells_at,
        kinds,
    };
    file.write_all_at(&head.encode(), 0)
}

/// How the postings of a kind are coded.
fn shape(kind: Kind, postings: u64, extra: u32, cells: usize) -> KindHead {
    let count_bits = postings.max(1).next_power_of_two().ilog2();
    let hash_bits = (count_bits + extra).min(HASH_BITS);
    let buckets = (postings / BUCKET_POSTINGS).max(1);
    let bucket_bits = buckets.ilog2().min(hash_bits);
    let values = kind.values();
    let in_bucket = (values * cells.max(1) as u64) << (hash_bits - bucket_bits);
    let mean = in_bucket / (postings >> bucket_bits).max(1);
    KindHead {
        code: kind.code(),
        hash_bits: u8::try_from(hash_bits).expect("at most 44"),
        bucket_bits: u8::try_from(bucket_bits).expect("at most 44"),
        rice: u8::try_from(rice::parameter(mean)).expect("at most 48"),
        values: u8::try_from(values).expect("1 or 2"),
        postings,
        ..KindHead::default()
    }
}

/// The bits of a name's hash beyond log2 of their count, so that the index stays within its share of the segment.
fn name_bits(counts: &[u64; Kind::ALL.len()], cells: usize, segment_bytes: u64) -> u32 {
    let bits = |kind: Kind, extra: u32| {
        let range = u64::from((kind.values() * cells.max(1) as u64).ilog2());
        // The Rice code takes one and a half bits more; a bucket has an entry and a count.
        let each = 2 * (u64::from(extra) + range) + 3 + 16 * (BUCKET as u64 + 2) / BUCKET_POSTINGS;
        counts[kind.place()] * each / 2
    };
    let others = Kind::ALL.iter().filter(|kind| **kind != Kind::Name);
    let others: u64 = others.map(|kind| bits(*kind, kind.extra_bits())).sum();
    let room = segment_bytes * 8 / INDEX_SHARE;
    let fits = |extra: &u32| others + bits(Kind::Name, *extra) <= room;
    (NAME_BITS_LEAST..=Kind::Name.extra_bits()).rev().find(fits).unwrap_or(NAME_BITS_LEAST)
}

struct Output<'a> {
    file: BufWriter<&'a File>,
    at: u64,
}

impl Output<'_> {
    fn put(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.at += bytes.len() as u64;
        self.file.write_all(bytes)
    }

    /// Writes the buckets of a kind, then their directory.
    fn kind(
        &mut self,
        mut head: KindHead,
        cells: usize,
        merge: &mut Merge<'_>,
    ) -> io::Result<KindHead> {
        head.data_at = self.at;
        let buckets = 1u64 << head.bucket_bits;
        let mut directory = Vec::with_capacity(to_usize(buckets) * BUCKET);
        let range = u64::from(head.values) * cells.max(1) as u64;
        let mut next = merge.next()?;
        let mut numbers = Vec::new();
        for bucket in 0..buckets {
            numbers.clear();
            while let Some(posting) = next {
                let (of, low) = head.split(posting >> VALUE_BITS);
                if of != bucket {
                    break;
                }
                numbers.push(low * range + (posting & ((1 << VALUE_BITS) - 1)));
                next = merge.next()?;
            }
            let bytes = encode_bucket(&mut numbers, head.rice.into());
            self.put(&bytes)?;
            let end = u32::try_from(self.at - head.data_at)
                .map_err(|_| io::Error::from(io::ErrorKind::FileTooLarge))?;
            directory.extend(end.to_le_bytes());
            directory.extend(bucket_crc(bucket, &bytes).to_le_bytes());
        }
        debug_assert!(next.is_none(), "postings are sorted by hash");
        head.data_len = self.at - head.data_at;
        head.directory_at = self.at;
        self.put(&directory)?;
        Ok(head)
    }
}

/// The count, then the differences between the numbers.
fn encode_bucket(numbers: &mut Vec<u64>, k: u32) -> Vec<u8> {
    // Hashes that were cut can be equal now.
    numbers.sort_unstable();
    numbers.dedup();
    let mut out = leb128(numbers.len() as u64);
    let mut writer = rice::Writer::default();
    let mut before = 0;
    for number in numbers {
        writer.number(*number - before, k);
        before = *number;
    }
    out.extend(writer.finish());
    out
}

/// Seven bits a byte, the lowest first; all but the last byte have the highest bit.
fn leb128(mut value: u64) -> Vec<u8> {
    let mut out = Vec::new();
    loop {
        let low = value.to_le_bytes()[0] & 0x7f;
        value >>= 7;
        if value == 0 {
            out.push(low);
            return out;
        }
        out.push(low | 0x80);
    }
}

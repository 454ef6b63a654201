//! Asks an index. Whatever its bytes are, the answer is right, or there is none.

use super::hash::hash;
use super::kind::Kind;
use super::layout::{BUCKET, CELL, Cell, FIXED, Head, KindHead, bucket_crc, decode_cells, u32_at};
use super::rice;
use crate::history::{index_name, open_file};
use crate::limits::BUCKET_BYTES_MAX;
use fsmon_format::number::to_usize;
use std::cell::OnceCell;
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::Path;

/// The index of a segment, open. What it says is believed only where its checksums are right.
pub struct Index {
    file: File,
    head: Head,
    cells: OnceCell<Vec<Cell>>,
}

/// A cell in which a key is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Posting {
    /// The number of the cell.
    pub cell: u32,
    /// [`Kind::Below`]: whether something directly in the directory changed.
    pub is_direct: bool,
}

/// An index of which a part does not match its checksum: read the segment instead.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Damaged;

impl Index {
    /// Opens the index of a segment, which is known by the `crc` of its header and its length; `None` if there is none, or
    /// it is of another segment or another version.
    #[must_use]
    pub fn open(dir: &Path, segment: &str, (crc, bytes): (u32, u64)) -> Option<Self> {
        let file = open_file(&dir.join(index_name(segment))).ok()?;
        // Enough for the kinds of today in one read.
        let mut first = vec![0; FIXED + 16 * super::layout::KIND];
        let len = read_at_most(&file, &mut first, 0)?;
        first.truncate(len);
        let header_len = Head::len(&first)?;
        if header_len > first.len() {
            first.resize(header_len, 0);
            file.read_exact_at(&mut first, 0).ok()?;
        }
        let head = Head::decode(first.get(..header_len)?)?;
        let is_of_it = head.segment_crc == crc && head.segment_bytes == bytes;
        is_of_it.then_some(Index { file, head, cells: OnceCell::new() })
    }

    /// The seed of its hashes.
    #[must_use]
    pub fn seed(&self) -> u64 {
        self.head.seed
    }

    /// The cells in which a key of a kind is, in order; some in which it is not may be among them. The key is a text.
    ///
    /// # Errors
    /// It is damaged there, or has no such kind.
    pub fn find(&self, kind: Kind, key: &[u8]) -> Result<Vec<Posting>, Damaged> {
        self.find_hash(kind, hash(self.head.seed, key))
    }

    /// The same by the key's hash.
    pub(crate) fn find_hash(&self, kind: Kind, hash: u64) -> Result<Vec<Posting>, Damaged> {
        let head = self.head.kinds.iter().find(|head| head.code == kind.code()).ok_or(Damaged)?;
        if u64::from(head.values) != kind.values() {
            return Err(Damaged);
        }
        let (bucket, low) = head.split(hash);
        let bytes = self.bucket(head, bucket).ok_or(Damaged)?;
        postings(&bytes, head, low, self.head.cells).ok_or(Damaged)
    }

    /// The bytes of a bucket; `None` if they do not match their checksum.
    fn bucket(&self, head: &KindHead, bucket: u64) -> Option<Vec<u8>> {
        // The entry before says where it begins.
        let before = bucket.saturating_sub(1);
        let mut entries = [0; 2 * BUCKET];
        let len = to_usize(bucket - before + 1) * BUCKET;
        let at = head.directory_at.checked_add(before * BUCKET as u64)?;
        self.file.read_exact_at(&mut entries[..len], at).ok()?;
        let (begin, own) = match bucket {
            0 => (0, &entries[..BUCKET]),
            _ => (u32_at(&entries, 0)?, &entries[BUCKET..]),
        };
        let (end, crc) = (u32_at(own, 0)?, u32_at(own, 4)?);
        let len = u64::from(end.checked_sub(begin)?);
        if len > BUCKET_BYTES_MAX || u64::from(end) > head.data_len {
            return None;
        }
        let mut bytes = vec![0; to_usize(len)];
        self.file.read_exact_at(&mut bytes, head.data_at.checked_add(begin.into())?).ok()?;
        (bucket_crc(bucket, &bytes) == crc).then_some(bytes)
    }

    /// The cells of the segment.
    ///
    /// # Errors
    /// Their table is damaged.
    pub fn cells(&self) -> Result<&[Cell], Damaged> {
        if let Some(cells) = self.cells.get() {
            return Ok(cells);
        }
        let cells = self.read_cells().ok_or(Damaged)?;
        Ok(self.cells.get_or_init(|| cells))
    }

    fn read_cells(&self) -> Option<Vec<Cell>> {
        let mut bytes = vec![0; self.head.cells as usize * CELL];
        // A hostile header can ask for many: the file must have them.
        let len = self.file.metadata().ok()?.len();
        if self.head.cells_at.checked_add(bytes.len() as u64)? > len {
            return None;
        }
        self.file.read_exact_at(&mut bytes, self.head.cells_at).ok()?;
        (crc32c::crc32c(&bytes) == self.head.cells_crc).then(|| decode_cells(&bytes))
    }
}

fn read_at_most(file: &File, bytes: &mut [u8], at: u64) -> Option<usize> {
    let mut len = 0;
    while len < bytes.len() {
        match file.read_at(&mut bytes[len..], at + len as u64).ok()? {
            0 => break,
            read => len += read,
        }
    }
    Some(len)
}

/// The postings of a hash in a bucket; `None` if its bytes are no postings.
fn postings(bytes: &[u8], head: &KindHead, low: u64, cells: u32) -> Option<Vec<Posting>> {
    let (count, bytes) = leb128(bytes)?;
    let values = u64::from(head.values);
    let range = values * u64::from(cells.max(1));
    let wanted = low.checked_mul(range)?;
    let mut reader = rice::Reader::new(bytes);
    let (mut number, mut found) = (0u64, Vec::new());
    for _ in 0..count {
        number = number.checked_add(reader.number(head.rice.into())?)?;
        if number < wanted {
            continue;
        }
        if number - wanted >= range {
            break;
        }
        let value = number - wanted;
        let cell = u32::try_from(value / values).ok()?;
        found.push(Posting { cell, is_direct: values == 2 && value % 2 == 1 });
    }
    Some(found)
}

fn leb128(bytes: &[u8]) -> Option<(u64, &[u8])> {
    let mut value = 0;
    for (index, byte) in bytes.iter().take(9).enumerate() {
        value |= u64::from(byte & 0x7f) << (7 * index);
        if byte & 0x80 == 0 {
            return Some((value, &bytes[index + 1..]));
        }
    }
    None
}

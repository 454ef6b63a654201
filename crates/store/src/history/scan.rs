//! Reading a segment for its catalogue entry, in memory of a fixed size.

use super::directory;
use super::entry::{Blocks, Entry, Parts};
use super::tally::Tally;
use crate::limits::TAIL_PIECES;
use fsmon_format::error::{Error, ErrorKind};
use fsmon_format::mirror::{Capacity, Mirror};
use fsmon_format::stream::layout::{FILE_HEADER_FIXED, FileHeader, GRID, HEADER_LEN_MAX};
use fsmon_format::stream::{BLOCK_CAPACITY, Fault, Header, Item, Reader};
use fsmon_present::message::shown;
use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::path::Path;
use zerocopy::FromBytes;

/// Reads the segment `file` of a directory from end to end. The age of its entry is not set. Takes some 0.1 s
/// for a million events, of which a segment of 64 MiB has one, and fifteen where it is compressed well.
///
/// # Errors
/// It cannot be read, its header is damaged, or a newer version wrote it.
pub fn scan(dir: &Path, file: &str) -> Result<Entry, Error> {
    let path = dir.join(file);
    let failed = |error| Error::os(format!("cannot read {}", shown(&path)), error);
    let mut source = directory::open(&path).map_err(failed)?;
    let (header, header_crc) = header_of(&mut source).map_err(failed)?.ok_or_else(|| {
        let message = format!("{} does not begin like a stream", shown(&path));
        Error::new(ErrorKind::Damaged, message)
    })?;
    source.seek(SeekFrom::Start(0)).map_err(failed)?;
    let bytes = source.metadata().map_err(failed)?.len();
    let mut reader = Reader::new(source).salvage(true);
    let mut mirror = Mirror::new(BLOCK_CAPACITY);
    let mut tally = Tally::new(header.time_ns, header.realtime_ns);
    let mut blocks = Blocks { behind: header.first_block, ..Blocks::default() };
    let mut is_damaged = false;
    while let Some(item) = reader.next()? {
        match item {
            Item::Block(block) => {
                blocks.take(block.number(), block.events(), block.times());
                mirror.clear();
                for record in block.records() {
                    mirror.define(&record.body());
                    tally.take(&record, &mirror);
                }
            }
            Item::Gap(gap) => is_damaged |= !matches!(gap.damage.fault, Fault::Cut | Fault::NoEnd),
            Item::Header(_) | Item::Pending => {}
        }
    }
    blocks.is_final = reader.closed();
    let parts = Parts {
        file: file.to_owned(),
        header: &header,
        header_crc,
        blocks: &blocks,
        tally: &tally,
        bytes,
    };
    Ok(Entry { is_damaged, ..parts.entry() })
}

/// The header with which a file begins, and its checksum; `None` if it is not sound.
pub(crate) fn header_of(source: impl Read) -> io::Result<Option<(Header, u32)>> {
    let mut bytes = Vec::new();
    source.take(HEADER_LEN_MAX as u64).read_to_end(&mut bytes)?;
    Ok(header_in(&bytes).map(|(header, crc, _)| (header, crc)))
}

/// The header with which these bytes begin, its checksum, and its length.
pub(super) fn header_in(bytes: &[u8]) -> Option<(Header, u32, usize)> {
    let header = Header::parse(bytes).ok()?;
    let fixed = FileHeader::ref_from_bytes(bytes.get(..FILE_HEADER_FIXED)?).ok()?;
    Some((header, fixed.crc.get(), fixed.header_len.get() as usize))
}

/// What a segment ends with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Tail {
    pub(super) stream_id: [u8; 16],
    pub(super) boot_id: [u8; 16],
    pub(super) segment: u32,
    /// Events of the stream up to its end.
    pub(super) events: u64,
    /// The wall time of its last record that has one.
    pub(super) wall_end_ns: u64,
    /// Whether an END record is in it.
    pub(super) has_end: bool,
}

/// Reads the last piece of a segment that has a block. `None` if it has no sound header.
pub(super) fn tail(path: &Path) -> io::Result<Option<Tail>> {
    let mut source = directory::open(path)?;
    let Some((header, _)) = header_of(&mut source)? else { return Ok(None) };
    let mut tail = Tail {
        stream_id: header.stream_id,
        boot_id: header.boot_id,
        segment: header.segment,
        events: header.first_event,
        wall_end_ns: header.realtime_ns,
        has_end: false,
    };
    let last = source.metadata()?.len().saturating_sub(1) / GRID;
    for piece in (last.saturating_sub(TAIL_PIECES - 1)..=last).rev() {
        source.seek(SeekFrom::Start(piece * GRID))?;
        if read_piece(&source, &header, &mut tail) {
            break;
        }
    }
    Ok(Some(tail))
}

/// Whether there is a block from the position on.
fn read_piece(source: &File, header: &Header, tail: &mut Tail) -> bool {
    let mut reader = Reader::new(source).salvage(true);
    let nobody = Mirror::new(NOTHING);
    let mut tally = Tally::new(header.time_ns, header.realtime_ns);
    let mut has_block = false;
    while let Ok(Some(item)) = reader.next() {
        let Item::Block(block) = item else { continue };
        has_block = true;
        tail.events = block.first_event().saturating_add(block.events().into());
        for record in block.records() {
            tally.take(&record, &nobody);
        }
    }
    (tail.wall_end_ns, tail.has_end) = (tally.wall_end_ns, tally.has_end);
    has_block
}

/// Of a mirror that is asked for no name.
const NOTHING: Capacity = Capacity { dirs: 0, processes: 0, strings: 0, text: 0 };

//! Reads the blocks of a unit.

use super::units::Unit;
use fsmon_format::error::Error;
use fsmon_format::number::to_usize;
use fsmon_format::stream::layout::{BLOCK_MAX, BlockHeader, GRID, block_flag, codec};
use fsmon_format::stream::{Block, Fault, Gap, Item, Reader};
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use zerocopy::{FromZeros, IntoBytes};

/// What is in a unit.
pub(crate) enum Piece<'a> {
    /// A block, and its offset in the file.
    Block(Block<'a>, u64),
    /// A part that is damaged.
    Damage(Gap),
}

/// Calls `take` for each block that begins in the unit, in order.
///
/// # Errors
/// The file cannot be read, or is newer than this version.
pub(crate) fn read(file: &File, unit: &Unit, take: &mut dyn FnMut(Piece<'_>)) -> Result<(), Error> {
    let begin = beginning(file, unit.begin);
    let bytes = bytes(file, begin, unit.end)?;
    let mut reader = Reader::new(&bytes[..]).salvage(true);
    while let Some(item) = reader.next()? {
        match item {
            Item::Block(block) => {
                let offset = begin + block.offset();
                if offset >= unit.end {
                    break;
                }
                if offset >= unit.from {
                    take(Piece::Block(block, offset));
                }
            }
            Item::Gap(gap) => {
                // The bytes were cut off behind the unit, or the file is still written.
                let is_end = matches!(gap.damage.fault, Fault::Cut | Fault::NoEnd);
                // Damage before it may be why it cannot be read.
                let is_mine = begin + gap.damage.offset < unit.end;
                if is_mine && !is_end {
                    take(Piece::Damage(gap));
                }
            }
            Item::Header(_) | Item::Pending => {}
        }
    }
    Ok(())
}

/// Where to begin for a block: one of `zstd-window` may go on from those before it in its MiB.
fn beginning(file: &File, offset: u64) -> u64 {
    let mut header = BlockHeader::new_zeroed();
    let is_read = file.read_exact_at(header.as_mut_bytes(), offset).is_ok();
    let goes_on = is_read
        && header.codec == codec::ZSTD_WINDOW
        && header.flags.get() & block_flag::FRAME == 0;
    if goes_on { offset / GRID * GRID } else { offset }
}

/// The bytes of the blocks that begin before `end`.
fn bytes(file: &File, begin: u64, end: u64) -> Result<Vec<u8>, Error> {
    let failed = |error| Error::os("cannot read a segment", error);
    let len = file.metadata().map_err(failed)?.len();
    let end = end.saturating_add(BLOCK_MAX as u64).min(len);
    let mut bytes = vec![0; to_usize(end.saturating_sub(begin))];
    let mut at = 0;
    while at < bytes.len() {
        match file.read_at(&mut bytes[at..], begin + at as u64) {
            Ok(0) => break,
            Ok(read) => at += read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(failed(error)),
        }
    }
    bytes.truncate(at);
    Ok(bytes)
}

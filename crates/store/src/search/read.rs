//! Reads the blocks of a unit.

use super::units::Unit;
use fsmon_format::error::Error;
use fsmon_format::number::to_usize;
use fsmon_format::stream::layout::BLOCK_MAX;
use fsmon_format::stream::{Block, Fault, Gap, Item, Reader};
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

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
    let bytes = bytes(file, unit.begin, unit.end)?;
    let mut reader = Reader::new(&bytes[..]).salvage(true);
    while let Some(item) = reader.next()? {
        match item {
            Item::Block(block) => {
                let offset = unit.begin + block.offset();
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
                let is_mine = unit.begin + gap.damage.offset < unit.end;
                if is_mine && !is_end {
                    take(Piece::Damage(gap));
                }
            }
            Item::Header(_) | Item::Pending => {}
        }
    }
    Ok(())
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

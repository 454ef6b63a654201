//! The blocks that were written last, for a file that is cut while it is written: those that are not in it yet may go on from
//! some that were.

use super::codec::Compressor;
use super::frame::{Frames, Front};
use super::layout::GRID;
use super::recode::Recoder;
use crate::number::to_usize;
use zerocopy::IntoBytes;

/// All blocks of the last two cells.
#[derive(Default)]
pub(super) struct Kept {
    blocks: Vec<u8>,
    /// The cell of the last block.
    cell: u64,
    /// Where it begins in `blocks`.
    cell_at: usize,
}

impl Kept {
    /// With all the room that it will need.
    pub(super) fn new() -> Self {
        Kept { blocks: Vec::with_capacity(2 * to_usize(GRID)), ..Kept::default() }
    }

    /// Another file begins.
    pub(super) fn begin_file(&mut self) {
        self.blocks.clear();
        (self.cell, self.cell_at) = (0, 0);
    }

    /// A piece of a block, in its order, was written into this cell of the file.
    pub(super) fn take(&mut self, bytes: &[u8], cell: u64) {
        if cell != self.cell {
            self.blocks.drain(..self.cell_at);
            (self.cell, self.cell_at) = (cell, self.blocks.len());
        }
        self.blocks.extend_from_slice(bytes);
    }

    /// Stores the blocks from this number on in another file, which `file` is the beginning of.
    pub(super) fn store_again(&self, first: u64, compressor: &mut Compressor, file: &mut Vec<u8>) {
        let mut recoder = Recoder::behind(file, compressor, first);
        let mut frames = Frames::new(&self.blocks[..]);
        // They were just made: nothing else is found, and nothing is wrong.
        while let Ok(Front::Block(header)) = frames.find(false)
            && frames.decompress(&header).is_ok()
        {
            let len = header.total_len();
            if header.number.get() < first {
            } else if Frames::<&[u8]>::holds_records(&header) {
                recoder.put(&header, frames.payload(&header).0.as_bytes());
            } else {
                recoder.put_as_it_is(&frames.input.bytes()[..len]);
            }
            frames.input.consume(len);
        }
    }
}

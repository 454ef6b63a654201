//! Reading from any block on, as an index wants it.

use super::error::unreadable;
use super::frame::Front;
use super::layout::{BlockHeader, GRID, block_flag, codec};
use super::reader::Reader;
use crate::error::Error;
use std::io::{Read, Seek, SeekFrom};

impl<R: Read + Seek> Reader<R> {
    /// Goes to the block that begins at `offset` of the source: it is the next item. What is passed over is no gap.
    ///
    /// A block of `Codec::ZstdWindow` goes on from those before it in its MiB of the file. Those are decompressed, and
    /// not returned. Ask for the blocks of one MiB in their order: then each is decompressed once. If one of them is damaged,
    /// so is the wanted block.
    ///
    /// Call between items, once the header was read.
    ///
    /// # Errors
    /// Those of the source; that no block begins there is an error of [`Reader::next`].
    pub fn go_to_block(&mut self, offset: u64) -> Result<(), Error> {
        if !self.goes_on_to(offset) {
            self.seek_block(offset)?;
            if !self.needs_blocks_before()? {
                return Ok(());
            }
            self.seek_block(offset / GRID * GRID)?;
        }
        self.pass_to(offset)?;
        if self.offset() == offset { Ok(()) } else { self.seek_block(offset) }
    }

    /// Whether the blocks from here on lead there without a seek.
    fn goes_on_to(&mut self, offset: u64) -> bool {
        let here = self.offset();
        let is_ahead = here <= offset && here / GRID == offset / GRID;
        if !is_ahead || !self.leave_item() {
            return false;
        }
        self.frames.is_in_frame()
    }

    fn seek_block(&mut self, offset: u64) -> Result<(), Error> {
        self.frames.input.source().seek(SeekFrom::Start(offset)).map_err(unreadable)?;
        self.go_on_at(offset);
        Ok(())
    }

    fn needs_blocks_before(&mut self) -> Result<bool, Error> {
        let Front::Block(header) = self.frames.find(false)? else { return Ok(false) };
        Ok(goes_on(&header))
    }

    /// Decompresses blocks up to `offset`, or up to the first that cannot be.
    fn pass_to(&mut self, offset: u64) -> Result<(), Error> {
        while self.offset() < offset {
            let len = match self.frames.find(false)? {
                Front::Header(_, len) => len,
                Front::Block(header) if self.frames.decompress(&header).is_ok() => {
                    header.total_len()
                }
                _ => return Ok(()),
            };
            self.frames.input.consume(len);
        }
        Ok(())
    }
}

/// Whether a block needs the one before it.
fn goes_on(header: &BlockHeader) -> bool {
    header.codec == codec::ZSTD_WINDOW && header.flags.get() & block_flag::FRAME == 0
}

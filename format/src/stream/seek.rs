//! Finds a place by time: a dozen looks at the grid instead of reading all that is before.

use super::error::Error;
use super::layout::GRID;
use super::reader::{Item, Reader};
use std::io::{Read, Seek, SeekFrom};

impl<R: Read + Seek> Reader<R> {
    /// Goes on at a block before which nothing is as late as that wall time, ns since 1970, and not
    /// much before it; stays where it is if there is none. What is passed over is no gap. For the wall
    /// clock as it was then: where that was set back, give an earlier time.
    ///
    /// To be asked at a boundary between items, once the header was read.
    ///
    /// # Errors
    /// Those of the input.
    pub fn seek_to_time(&mut self, realtime_ns: u64) -> Result<(), Error> {
        let here = self.offset();
        let len = self.frames.input.source().seek(SeekFrom::End(0))?;
        let (mut low, mut high) = (here / GRID, len / GRID);
        // At `low` it is early enough, behind `high` too late.
        while low < high {
            let middle = low + (high - low).div_ceil(2);
            if self.is_before(middle * GRID, realtime_ns)? {
                low = middle;
            } else {
                high = middle - 1;
            }
        }
        let to = low * GRID;
        if to > here {
            self.frames.input.source().seek(SeekFrom::Start(to))?;
            self.go_on_at(to);
        } else {
            // What is at hand is what comes next; the source goes on behind it.
            let behind = self.frames.input.offset() + self.frames.input.bytes().len() as u64;
            self.frames.input.source().seek(SeekFrom::Start(behind))?;
        }
        Ok(())
    }

    /// Whether the first block from that offset on begins before that time.
    fn is_before(&mut self, offset: u64, realtime_ns: u64) -> Result<bool, Error> {
        let source = self.frames.input.source();
        source.seek(SeekFrom::Start(offset))?;
        let mut probe = Reader::new(source).salvage(true);
        while let Some(item) = probe.next()? {
            if let Item::Block(block) = item
                && let Some((first, _)) = block.wall_times()
            {
                return Ok(first < realtime_ns);
            }
        }
        Ok(false)
    }
}

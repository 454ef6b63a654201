//! Stores the blocks of a stream in another way, with the records that they have.

use super::block::{BlockLabel, to_grid};
use super::codec::{Codec, Compressor, Stored};
use super::error::{Damage, Fault};
use super::frame::{Frames, Front};
use super::layout::{BlockHeader, GRID, block_flag};
use crate::error::Error;
use crate::record::SLOT;
use std::io::Read;
use zerocopy::IntoBytes;

/// Reads a whole stream of one file and appends it to `out`, with its blocks compressed by `codec`. Blocks keep their records,
/// ids included; those that fill up to the grid are made anew, so the numbers of blocks change.
///
/// # Errors
/// Those of `stream`, and its damage: what was appended ends before that.
pub fn recode(stream: impl Read, codec: Codec, out: &mut Vec<u8>) -> Result<(), Error> {
    let mut frames = Frames::new(stream);
    let mut compressor = Compressor::new(codec);
    let mut recoder = Recoder::behind(out, &mut compressor, 0);
    loop {
        let fault = match frames.find(false)? {
            Front::End | Front::Pending => return Ok(()),
            Front::Header(header, len) => {
                frames.tag = Some(header.stream_tag());
                recoder.begin(&frames.input.bytes()[..len], header.first_block);
                frames.leave();
                frames.input.consume(len);
                continue;
            }
            Front::Block(header) => match frames.decompress(&header) {
                Ok(()) => {
                    if Frames::<&[u8]>::holds_records(&header) {
                        recoder.put(&header, frames.payload(&header).0.as_bytes());
                    }
                    frames.input.consume(header.total_len());
                    continue;
                }
                Err(fault) => fault,
            },
            Front::Broken(fault, _) | Front::Bad(fault, _) => fault,
        };
        return Err(damage(&frames, fault));
    }
}

fn damage<R: Read>(frames: &Frames<R>, fault: Fault) -> Error {
    Damage { offset: frames.input.offset(), block: None, fault }.into()
}

/// Stores blocks behind one another.
pub(super) struct Recoder<'a> {
    out: &'a mut Vec<u8>,
    compressor: &'a mut Compressor,
    /// Where the file begins in `out`.
    begin: usize,
    /// The number of the next block.
    number: u64,
}

impl<'a> Recoder<'a> {
    /// Goes on with a file that begins `out`; `number` is that of its next block.
    pub(super) fn behind(
        out: &'a mut Vec<u8>,
        compressor: &'a mut Compressor,
        number: u64,
    ) -> Self {
        Recoder { out, compressor, begin: 0, number }
    }

    /// Begins a file with this header.
    fn begin(&mut self, header: &[u8], first_block: u64) {
        (self.begin, self.number) = (self.out.len(), first_block);
        self.out.extend_from_slice(header);
        self.compressor.begin_file();
    }

    fn offset(&self) -> u64 {
        (self.out.len() - self.begin) as u64
    }

    fn compress(&mut self, payload: &[u8]) -> Option<Stored> {
        let cell = self.offset() / GRID;
        self.compressor.compress(payload, cell)
    }

    /// Appends a block with this payload. The header says what else is known of it.
    pub(super) fn put(&mut self, header: &BlockHeader, payload: &[u8]) {
        let mut stored = self.compress(payload);
        let len = stored.map_or(payload.len(), |stored| stored.len);
        if SLOT + len > to_grid(self.offset()) {
            self.pad(header);
            stored = self.compress(payload);
        }
        let mut header = *header;
        header.number = self.number.into();
        header.flags &= !block_flag::FRAME;
        match stored {
            None => {
                header.seal(payload);
                self.out.extend_from_slice(header.as_bytes());
                self.out.extend_from_slice(payload);
            }
            Some(stored) => {
                header.flags |= stored.flags;
                header.seal_stored(stored.codec, self.compressor.stored(stored.len), payload.len());
                self.out.extend_from_slice(self.compressor.block(&header, stored.len));
            }
        }
        self.number += 1;
    }

    /// Appends a block without records, which may fill up to the grid of another file.
    pub(super) fn put_as_it_is(&mut self, block: &[u8]) {
        self.out.extend_from_slice(block);
        self.number += 1;
        self.compressor.begin_file();
    }

    /// Appends a block that fills up to the grid; `next` comes behind it.
    fn pad(&mut self, next: &BlockHeader) {
        let zeros = vec![0; to_grid(self.offset()) - SLOT];
        let (first_event, tag) = (next.first_event.get(), next.stream_tag);
        let header = BlockLabel { number: self.number, first_event, tag }.pad(&zeros);
        self.out.extend_from_slice(header.as_bytes());
        self.out.extend_from_slice(&zeros);
        self.number += 1;
    }
}

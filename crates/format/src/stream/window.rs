//! One zstd frame over the blocks of a cell, flushed behind each block: what one block defines costs the next ones little.

use super::error::Fault;
use zstd_safe::zstd_sys::ZSTD_EndDirective::ZSTD_e_flush;
use zstd_safe::{CCtx, CParameter, DCtx, DParameter, InBuffer, OutBuffer, ResetDirective};

/// Of zstd. Measured with `fsmon-bench codecs` on recorded builds: level 1 makes streams 14 % larger, level 3 makes them 4 %
/// smaller, takes 15 % longer, and makes those of files that are made and removed all the time larger.
const LEVEL: i32 = 2;
/// The window is 2 to the power of this, in bytes; readers refuse larger ones. That is what of a cell is found again: half
/// of it makes a mix of builds 5 % larger, more does not make it smaller.
const WINDOW_LOG: u32 = 21;

/// What the decompressor of the blocks has to know of one of them.
#[derive(Clone, Copy)]
pub(super) struct Place {
    /// The block's number.
    pub(super) number: u64,
    /// A frame begins with it.
    pub(super) begins: bool,
}

/// Compresses the blocks of one cell after the other.
pub(super) struct WindowCompressor {
    context: CCtx<'static>,
    /// The cell whose frame was begun, and has all blocks since. Only the first block of another cell begins another frame.
    cell: Option<u64>,
}

impl WindowCompressor {
    pub(super) fn new() -> Self {
        let mut context = CCtx::create();
        let parameters = [
            CParameter::CompressionLevel(LEVEL),
            CParameter::WindowLog(WINDOW_LOG),
            CParameter::ContentSizeFlag(false),
            CParameter::ChecksumFlag(false),
            CParameter::DictIdFlag(false),
        ];
        for parameter in parameters {
            context.set_parameter(parameter).expect("a level and flags that every zstd has");
        }
        WindowCompressor { context, cell: None }
    }

    /// The next block begins a frame.
    pub(super) fn end_frame(&mut self) {
        self.cell = None;
    }

    /// Compresses a block that is to stand in this cell. Returns its length, and whether a frame begins with it; `None` if it
    /// does not fit into `out`. The caller then stores it in another way, and calls [`WindowCompressor::end_frame`], as it
    /// does with a result that it does not use.
    pub(super) fn compress(
        &mut self,
        out: &mut [u8],
        payload: &[u8],
        cell: u64,
    ) -> Option<(usize, bool)> {
        let begins = self.cell != Some(cell);
        if begins {
            self.context.reset(ResetDirective::SessionOnly).ok()?;
        }
        let (mut input, mut output) = (InBuffer::around(payload), OutBuffer::around(out));
        let left = self.context.compress_stream2(&mut output, &mut input, ZSTD_e_flush).ok()?;
        if left > 0 || input.pos() < payload.len() {
            return None;
        }
        self.cell = Some(cell);
        Some((output.pos(), begins))
    }
}

/// Decompresses blocks in their order.
pub(super) struct WindowDecompressor {
    context: DCtx<'static>,
    /// The number of the block that can go on from the last one.
    next: Option<u64>,
}

impl WindowDecompressor {
    pub(super) fn new() -> Self {
        let mut context = DCtx::create();
        context.set_parameter(DParameter::WindowLogMax(WINDOW_LOG)).expect("within zstd's bounds");
        WindowDecompressor { context, next: None }
    }

    /// The next block must begin a frame.
    pub(super) fn end_frame(&mut self) {
        self.next = None;
    }

    /// Whether there is a last block from which the next one may go on.
    pub(super) fn is_in_frame(&self) -> bool {
        self.next.is_some()
    }

    /// Decompresses a block of `bytes` bytes into `out`, which has room for more. Returns its length: more than `bytes` if it
    /// is longer. One that is refused as it goes on from another block changes nothing.
    pub(super) fn decompress(
        &mut self,
        place: Place,
        stored: &[u8],
        out: &mut [u8],
        bytes: usize,
    ) -> Result<usize, Fault> {
        if !place.begins && self.next != Some(place.number) {
            return Err(Fault::Continues);
        }
        self.next = None;
        if place.begins {
            self.context.reset(ResetDirective::SessionOnly).map_err(|_| Fault::Compression)?;
        }
        let (len, is_ended) = self.inflate(stored, out)?;
        if len == bytes && !is_ended {
            self.next = place.number.checked_add(1);
        }
        Ok(len)
    }

    /// Decompresses all of `stored`. Returns the length, and whether the frame ends with it.
    fn inflate(&mut self, stored: &[u8], out: &mut [u8]) -> Result<(usize, bool), Fault> {
        let (mut input, mut output) = (InBuffer::around(stored), OutBuffer::around(out));
        loop {
            let result = self.context.decompress_stream(&mut output, &mut input);
            let is_ended = result.map_err(|_| Fault::Compression)? == 0;
            let is_full = output.pos() == output.capacity();
            if input.pos() == stored.len() {
                return Ok((output.pos(), is_ended));
            }
            if is_ended || is_full {
                return Err(Fault::Compression);
            }
        }
    }
}

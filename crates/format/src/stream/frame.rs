//! Finds headers and blocks in the input and checks each of them: lengths, checksums, stream.

use super::codec::Decompressor;
use super::error::Fault;
use super::header::Header;
use super::input::Input;
use super::layout::{BLOCK_MAX, BlockHeader, FILE_HEADER_FIXED, MAGIC, SYNC, block_kind, codec};
use super::translate::Translator;
use crate::error::Error;
use crate::limits::{WASTED_BYTES, WASTED_PER_BYTE};
use crate::number::to_u32;
use crate::record::{SLOT, Slot};
use std::io::Read;
use zerocopy::FromBytes;

/// What is at the front of the input.
pub(super) enum Front {
    /// A sound file header and its length.
    Header(Box<Header>, usize),
    /// A sound block of this stream.
    Block(BlockHeader),
    /// Damage, and how many bytes to skip at least.
    Broken(Fault, usize),
    /// A block of this stream whose payload is damaged; its header is sound.
    Bad(Fault, BlockHeader),
    /// The input ends, for now.
    Pending,
    /// The input ends between blocks.
    End,
}

pub(super) struct Frames<R> {
    pub(super) input: Input<R>,
    /// The tag of this stream, whose blocks are accepted; `None` before the first.
    pub(super) tag: Option<[u8; 4]>,
    translator: Translator,
    decompressor: Decompressor,
    /// Bytes that looked like file headers and were none.
    wasted: u64,
}

impl<R: Read> Frames<R> {
    pub(super) fn new(source: R) -> Self {
        Frames {
            input: Input::new(source),
            tag: None,
            translator: Translator::new(),
            decompressor: Decompressor::new(),
            wasted: 0,
        }
    }

    /// Determines what is at the front of the input, without consuming it.
    pub(super) fn find(&mut self, follow: bool) -> Result<Front, Error> {
        let whole = self.input.fill(MAGIC.len())?;
        let bytes = self.input.bytes();
        if bytes.is_empty() {
            return Ok(Front::End);
        }
        let front = match bytes {
            _ if bytes.starts_with(&SYNC) => self.block()?,
            _ if bytes.starts_with(&MAGIC) => self.header()?,
            // A growing stream may end within a header.
            _ if !whole && (SYNC.starts_with(bytes) || MAGIC.starts_with(bytes)) => None,
            _ if bytes.iter().take(MAGIC.len()).all(|&byte| byte == 0) => {
                Some(Front::Broken(Fault::Unwritten, 1))
            }
            _ => Some(Front::Broken(Fault::NoBlock, 1)),
        };
        if let Some(front) = front {
            return Ok(front);
        }
        // The length of a block is known to be right once its header is; the length of a file header only
        // once all of it was read.
        let bytes = self.input.bytes();
        let skip = if bytes.starts_with(&MAGIC) { 1 } else { bytes.len() };
        Ok(if follow { Front::Pending } else { Front::Broken(Fault::Cut, skip) })
    }

    /// `None` if the input ends within the header.
    fn header(&mut self) -> Result<Option<Front>, Error> {
        if !self.input.fill(FILE_HEADER_FIXED)? {
            return Ok(None);
        }
        let len = match Header::len(self.input.bytes()) {
            Ok(len) => len,
            Err(fault) => return Ok(Some(Front::Broken(fault, 1))),
        };
        if !self.input.fill(len)? {
            return Ok(None);
        }
        Ok(Some(match Header::parse(self.input.bytes()) {
            Ok(header) => Front::Header(Box::new(header), len),
            Err(fault) => {
                self.wasted += len as u64;
                let most = WASTED_BYTES + WASTED_PER_BYTE * self.input.offset();
                Front::Broken(fault, if self.wasted < most { 1 } else { FILE_HEADER_FIXED })
            }
        }))
    }

    /// `None` if the input ends within the block. Once the header's checksum is right its length can be
    /// trusted: whatever else is wrong, the whole block is skipped, so that nothing in a payload is taken for a
    /// block.
    fn block(&mut self) -> Result<Option<Front>, Error> {
        if !self.input.fill(SLOT)? {
            return Ok(None);
        }
        let Ok((&header, _)) = BlockHeader::ref_from_prefix(self.input.bytes()) else {
            return Ok(None);
        };
        if header.header_crc.get() != header.computed_crc() {
            return Ok(Some(Front::Broken(Fault::BlockHeader, 1)));
        }
        const ROOM: u32 = to_u32(BLOCK_MAX - SLOT);
        if header.stored_len.get() > ROOM || header.raw_len.get() > ROOM {
            return Ok(Some(Front::Broken(Fault::Length, 1)));
        }
        let total = header.total_len();
        if !self.input.fill(total)? {
            return Ok(None);
        }
        let stored = SLOT + header.stored_len.get() as usize;
        let bytes = self.input.bytes();
        let is_sound = header.payload_crc.get() == crc32c::crc32c(&bytes[SLOT..stored]);
        // No checksum covers the filling, so only zeros are allowed.
        let is_sound = is_sound && bytes[stored..total].iter().all(|&byte| byte == 0);
        let is_ours = self.tag.is_none_or(|tag| tag == header.stream_tag);
        Ok(Some(match (is_sound, is_ours) {
            (true, true) => Front::Block(header),
            (false, true) => Front::Bad(Fault::Payload, header),
            (true, false) => Front::Broken(Fault::OtherStream, total),
            (false, false) => Front::Broken(Fault::Payload, total),
        }))
    }

    /// Whether a block is of the kind that holds records.
    pub(super) fn holds_records(header: &BlockHeader) -> bool {
        header.kind == block_kind::RECORDS
    }

    /// Decompresses the block at the front, which holds records.
    pub(super) fn decompress(&mut self, header: &BlockHeader) -> Result<(), Fault> {
        let (stored, raw) = (header.stored_len.get() as usize, header.raw_len.get() as usize);
        if !raw.is_multiple_of(SLOT) || (header.codec == codec::NONE && stored != raw) {
            return Err(Fault::Length);
        }
        if header.codec == codec::NONE {
            return Ok(());
        }
        self.decompressor.decompress(header, &self.input.bytes()[SLOT..SLOT + stored])
    }

    /// Another file or another place begins: the next block cannot go on from the last one.
    pub(super) fn leave(&mut self) {
        self.decompressor.leave();
    }

    /// Whether a block was decompressed from which the next one may go on.
    pub(super) fn is_in_frame(&self) -> bool {
        self.decompressor.is_in_frame()
    }

    /// Checks the records of the block at the front and makes their ids dense.
    pub(super) fn translate(&mut self, header: &BlockHeader) -> Result<(), Fault> {
        if !Self::holds_records(header) {
            return Ok(());
        }
        self.decompress(header)?;
        let slots = payload(&mut self.input, &mut self.decompressor, header);
        let events = self
            .translator
            .block(slots, header.first_event.get())
            .map_err(|(slot, rule)| Fault::Record(slot, rule))?;
        if events == header.events.get() { Ok(()) } else { Err(Fault::EventCount) }
    }

    /// The translated records of the block at the front, and the translator.
    pub(super) fn payload(&mut self, header: &BlockHeader) -> (&[Slot], &Translator) {
        let slots = payload(&mut self.input, &mut self.decompressor, header);
        (slots, &self.translator)
    }

    /// Skips `len` bytes, and on to what may be a header.
    pub(super) fn skip(&mut self, len: usize) {
        self.input.consume(len);
        self.input.skip_to_candidate();
    }
}

fn payload<'a, R: Read>(
    input: &'a mut Input<R>,
    decompressor: &'a mut Decompressor,
    header: &BlockHeader,
) -> &'a mut [Slot] {
    match header.codec {
        codec::NONE => input.slots(SLOT, header.total_len()),
        _ => decompressor.payload(header.raw_len.get() as usize),
    }
}

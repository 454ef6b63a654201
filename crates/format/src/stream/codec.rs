//! Compresses and decompresses payloads: one block at a time, into buffers of a fixed size.

use super::error::Fault;
#[cfg(feature = "zstd")]
use super::layout::block_flag;
use super::layout::{BLOCK_MAX, BLOCK_SLOTS, BlockHeader, codec};
#[cfg(feature = "zstd")]
use super::window::{Place, WindowCompressor, WindowDecompressor};
use crate::record::{SLOT, Slot};
use std::fmt;
use std::str::FromStr;
use zerocopy::IntoBytes;

/// How the blocks of a stream are stored.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Codec {
    /// Uncompressed.
    #[default]
    None,
    /// LZ4's block format: about 40 % of the bytes.
    #[cfg(feature = "lz4")]
    Lz4,
    /// One zstd frame for each block: 15 to 30 % of the bytes, but slower.
    #[cfg(feature = "zstd")]
    Zstd,
    /// One zstd frame for each MiB of the file: 10 to 20 % of the bytes. A block is read with those before it in its MiB, and
    /// damage costs the rest of that.
    #[cfg(feature = "zstd")]
    ZstdWindow,
}

impl Codec {
    /// Every codec that was built in, by its name.
    pub const NAMES: &[(&str, Codec)] = &[
        ("none", Codec::None),
        #[cfg(feature = "lz4")]
        ("lz4", Codec::Lz4),
        #[cfg(feature = "zstd")]
        ("zstd", Codec::Zstd),
        #[cfg(feature = "zstd")]
        ("zstd-window", Codec::ZstdWindow),
    ];
}

impl FromStr for Codec {
    type Err = ();

    /// By its name.
    fn from_str(name: &str) -> Result<Self, ()> {
        Codec::NAMES.iter().find_map(|(known, codec)| (*known == name).then_some(*codec)).ok_or(())
    }
}

impl fmt::Display for Codec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = Codec::NAMES.iter().find_map(|(name, codec)| (codec == self).then_some(*name));
        f.write_str(name.unwrap_or_default())
    }
}

/// Higher levels take more time and save little on blocks of 64 KiB.
#[cfg(feature = "zstd")]
const ZSTD_LEVEL: i32 = 1;

/// Compresses payloads. Nothing is allocated after the first one.
pub(super) struct Compressor {
    method: Method,
    /// Room for a header, then the payload as stored.
    block: Vec<u8>,
}

enum Method {
    None,
    #[cfg(feature = "lz4")]
    Lz4(Box<lz4_flex::block::CompressTable>),
    #[cfg(feature = "zstd")]
    Zstd(zstd_safe::CCtx<'static>),
    #[cfg(feature = "zstd")]
    ZstdWindow(Box<WindowCompressor>),
}

/// How a payload was compressed.
#[derive(Clone, Copy)]
pub(super) struct Stored {
    /// The number of the codec.
    pub(super) codec: u8,
    /// Flags for the block's header.
    pub(super) flags: u16,
    /// The compressed length.
    pub(super) len: usize,
}

impl Stored {
    /// Whether it can be read only where it was meant to stand.
    pub(super) fn is_bound_to_its_cell(&self) -> bool {
        self.codec == codec::ZSTD_WINDOW
    }
}

impl Compressor {
    pub(super) fn new(codec: Codec) -> Self {
        let (method, room) = match codec {
            Codec::None => (Method::None, 0),
            #[cfg(feature = "lz4")]
            Codec::Lz4 => {
                let table = lz4_flex::block::CompressTable::small();
                // lz4_flex needs room for the worst case.
                let room = lz4_flex::block::get_maximum_output_size(BLOCK_MAX);
                (Method::Lz4(Box::new(table)), room)
            }
            #[cfg(feature = "zstd")]
            Codec::Zstd => (Method::Zstd(zstd_context()), BLOCK_MAX),
            #[cfg(feature = "zstd")]
            Codec::ZstdWindow => (Method::ZstdWindow(Box::new(WindowCompressor::new())), BLOCK_MAX),
        };
        Compressor { method, block: vec![0; SLOT + room] }
    }

    /// Whether blocks are compressed at all.
    pub(super) fn is_on(&self) -> bool {
        !matches!(self.method, Method::None)
    }

    /// Whether blocks go on from those before them.
    pub(super) fn goes_on(&self) -> bool {
        #[cfg(feature = "zstd")]
        let goes_on = matches!(self.method, Method::ZstdWindow(_));
        #[cfg(not(feature = "zstd"))]
        let goes_on = false;
        goes_on
    }

    /// Another file begins: the next block cannot go on from the last one.
    pub(super) fn begin_file(&mut self) {
        #[cfg(feature = "zstd")]
        if let Method::ZstdWindow(window) = &mut self.method {
            window.end_frame();
        }
    }

    /// Compresses the payload of a block that is to stand in this cell of the file; `None` if that does not save a slot.
    pub(super) fn compress(&mut self, payload: &[u8], cell: u64) -> Option<Stored> {
        let _ = cell;
        let out = &mut self.block[SLOT..];
        let (codec, flags, len) = match &mut self.method {
            Method::None => return None,
            #[cfg(feature = "lz4")]
            Method::Lz4(table) => {
                let len = lz4_flex::block::compress_into_with_table(payload, out, table).ok()?;
                (codec::LZ4, 0, len)
            }
            #[cfg(feature = "zstd")]
            Method::Zstd(context) => (codec::ZSTD, 0, context.compress2(out, payload).ok()?),
            #[cfg(feature = "zstd")]
            Method::ZstdWindow(window) => match window.compress(out, payload, cell) {
                Some((len, true)) => (codec::ZSTD_WINDOW, block_flag::FRAME, len),
                Some((len, false)) => (codec::ZSTD_WINDOW, 0, len),
                None => (codec::ZSTD_WINDOW, 0, usize::MAX),
            },
        };
        if len < payload.len() && len.next_multiple_of(SLOT) < payload.len() {
            return Some(Stored { codec, flags, len });
        }
        // The reader does not put into its window what is stored as it is.
        self.begin_file();
        None
    }

    /// The first `len` bytes of the last compressed payload.
    pub(super) fn stored(&self, len: usize) -> &[u8] {
        &self.block[SLOT..SLOT + len]
    }

    /// The last compressed payload as a whole block, with header and zeros up to the end of the slot.
    pub(super) fn block(&mut self, header: &BlockHeader, len: usize) -> &[u8] {
        let whole = SLOT + len.next_multiple_of(SLOT);
        self.block[..SLOT].copy_from_slice(header.as_bytes());
        self.block[SLOT + len..whole].fill(0);
        &self.block[..whole]
    }
}

#[cfg(feature = "zstd")]
fn zstd_context() -> zstd_safe::CCtx<'static> {
    use zstd_safe::CParameter;
    let mut context = zstd_safe::CCtx::create();
    // The block's header has the length and a checksum.
    let parameters = [
        CParameter::CompressionLevel(ZSTD_LEVEL),
        CParameter::ContentSizeFlag(false),
        CParameter::ChecksumFlag(false),
        CParameter::DictIdFlag(false),
    ];
    for parameter in parameters {
        context.set_parameter(parameter).expect("a level and flags that every zstd has");
    }
    context
}

/// Decompresses payloads, never to more than a block.
pub(super) struct Decompressor {
    /// Has room for a byte more than the longest payload, so that a longer one is noticed.
    payload: Vec<Slot>,
    #[cfg(feature = "zstd")]
    zstd: zstd_safe::DCtx<'static>,
    #[cfg(feature = "zstd")]
    window: WindowDecompressor,
}

impl Decompressor {
    pub(super) fn new() -> Self {
        Decompressor {
            payload: vec![Slot::ZERO; BLOCK_SLOTS],
            #[cfg(feature = "zstd")]
            zstd: zstd_safe::DCtx::create(),
            #[cfg(feature = "zstd")]
            window: WindowDecompressor::new(),
        }
    }

    /// Another file or another place begins: the next block cannot go on from the last one.
    pub(super) fn leave(&mut self) {
        #[cfg(feature = "zstd")]
        self.window.end_frame();
    }

    /// Whether there is a last block from which the next one may go on.
    pub(super) fn is_in_frame(&self) -> bool {
        #[cfg(feature = "zstd")]
        let is_in_frame = self.window.is_in_frame();
        #[cfg(not(feature = "zstd"))]
        let is_in_frame = false;
        is_in_frame
    }

    /// The payload that was decompressed last.
    pub(super) fn payload(&mut self, bytes: usize) -> &mut [Slot] {
        &mut self.payload[..bytes / SLOT]
    }

    /// Decompresses the payload of a block, to exactly the length that its header says: a multiple of a slot, and no more
    /// than a block holds.
    pub(super) fn decompress(&mut self, header: &BlockHeader, stored: &[u8]) -> Result<(), Fault> {
        let bytes = header.raw_len.get() as usize;
        let room = &mut self.payload.as_mut_bytes()[..=bytes];
        let _ = (&stored, &room);
        let len: Result<Option<usize>, Fault> = match header.codec {
            #[cfg(feature = "lz4")]
            codec::LZ4 => Ok(lz4_flex::block::decompress_into(stored, &mut room[..bytes]).ok()),
            #[cfg(feature = "zstd")]
            codec::ZSTD => Ok(self.zstd.decompress(&mut room[..bytes], stored).ok()),
            #[cfg(feature = "zstd")]
            codec::ZSTD_WINDOW => {
                let begins = header.flags.get() & block_flag::FRAME != 0;
                let place = Place { number: header.number.get(), begins };
                self.window.decompress(place, stored, room, bytes).map(Some)
            }
            other => Err(Fault::Codec(other)),
        };
        if len? == Some(bytes) { Ok(()) } else { Err(Fault::Compression) }
    }
}

#[cfg(all(test, feature = "lz4", feature = "zstd"))]
mod tests {
    use super::*;
    use crate::number::to_u32;
    use proptest::prelude::*;
    use zerocopy::FromZeros;

    /// A header as far as the decompressor needs it.
    fn header(number: u64, stored: Stored, raw_len: usize) -> BlockHeader {
        let mut header = BlockHeader::new_zeroed();
        (header.codec, header.flags) = (stored.codec, stored.flags.into());
        (header.number, header.raw_len) = (number.into(), to_u32(raw_len).into());
        header
    }

    fn round_trip(codec: Codec, payload: &[u8]) -> Option<usize> {
        let mut compressor = Compressor::new(codec);
        let stored = compressor.compress(payload, 0)?;
        let bytes = compressor.stored(stored.len);
        let mut decompressor = Decompressor::new();
        decompressor.decompress(&header(1, stored, payload.len()), bytes).expect("its own");
        assert_eq!(decompressor.payload(payload.len()).as_bytes(), payload);
        for wrong in [payload.len() - SLOT, payload.len() + SLOT] {
            let result = decompressor.decompress(&header(1, stored, wrong), bytes);
            assert_eq!(result, Err(Fault::Compression));
        }
        Some(stored.len)
    }

    #[test]
    fn names_are_codecs() {
        assert_eq!(Codec::NAMES.len(), 4);
        for &(name, codec) in Codec::NAMES {
            assert_eq!((codec.to_string().as_str(), name.parse()), (name, Ok(codec)));
        }
        assert_eq!("zstdwindow".parse::<Codec>(), Err(()));
    }

    /// Bytes that do not shrink.
    fn noise(seed: u64, len: usize) -> Vec<u8> {
        let mut state = seed | 1;
        let step = |_| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            state.to_le_bytes()[3]
        };
        (0..len).map(step).collect()
    }

    #[test]
    fn a_block_goes_on_from_those_before_it() {
        let mut compressor = Compressor::new(Codec::ZstdWindow);
        let payload = noise(1, 1024).repeat(2);
        let mut blocks = Vec::new();
        for cell in [0, 0, 0, 1, 1] {
            let stored = compressor.compress(&payload, cell).expect("it repeats itself");
            blocks.push((stored, compressor.stored(stored.len).to_vec()));
        }
        let begins: Vec<_> = blocks.iter().map(|(stored, _)| stored.flags != 0).collect();
        assert_eq!(begins, [true, false, false, true, false]);
        assert!(blocks[1].0.len < 100 && blocks[3].0.len > 1024);
        let mut decompressor = Decompressor::new();
        let mut read = |number: usize| {
            let (stored, bytes) = &blocks[number];
            decompressor.decompress(&header(number as u64, *stored, payload.len()), bytes)?;
            assert_eq!(decompressor.payload(payload.len()).as_bytes(), payload);
            Ok(())
        };
        let unread = Err(Fault::Continues);
        assert_eq!([1, 0, 1, 2].map(&mut read), [unread, Ok(()), Ok(()), Ok(())]);
        // Neither with one left out, nor again.
        assert_eq!([2, 0, 2, 1, 1].map(&mut read), [unread, Ok(()), unread, Ok(()), unread]);
        assert_eq!([0, 3, 4].map(&mut read), [Ok(()); 3]);
    }

    #[test]
    fn behind_a_block_that_does_not_shrink_a_frame_begins() {
        let mut compressor = Compressor::new(Codec::ZstdWindow);
        let whole = noise(5, BLOCK_MAX - SLOT);
        assert!(compressor.compress(&whole, 0).is_none());
        for flags in [block_flag::FRAME, 0] {
            assert_eq!(compressor.compress(&[7; 640], 0).expect("shorter").flags, flags);
        }
        // Even if it is in the window of the compressor already.
        assert!(compressor.compress(&noise(9, 640), 0).is_none());
        let stored = compressor.compress(&noise(9, 640).repeat(2), 0).expect("shorter");
        assert_eq!((stored.flags, stored.len > 640), (block_flag::FRAME, true));
        compressor.begin_file();
        assert_eq!(compressor.compress(&[7; 640], 0).expect("shorter").flags, block_flag::FRAME);
    }

    #[test]
    fn nothing_goes_on_from_a_frame_that_ended() {
        let mut whole = vec![0; 4096];
        let len = zstd_context().compress2(&mut whole[..], &[7; 640]).expect("room");
        let stored = Stored { codec: codec::ZSTD_WINDOW, flags: block_flag::FRAME, len };
        let mut decompressor = Decompressor::new();
        let mut read = |number, stored: Stored| {
            decompressor.decompress(&header(number, stored, 640), &whole[..len])
        };
        let next = Stored { flags: 0, ..stored };
        assert_eq!([read(0, stored), read(1, next)], [Ok(()), Err(Fault::Continues)]);
    }

    #[test]
    fn a_larger_window_is_refused() {
        for (log, result) in [(21, Ok(())), (22, Err(Fault::Compression))] {
            let mut context = zstd_context();
            context.set_parameter(zstd_safe::CParameter::WindowLog(log)).expect("known");
            let mut bytes = vec![0; 4096];
            let mut output = zstd_safe::OutBuffer::around(&mut bytes[..]);
            let mut input = zstd_safe::InBuffer::around(&[1; 640]);
            let flush = zstd_safe::zstd_sys::ZSTD_EndDirective::ZSTD_e_flush;
            assert_eq!(context.compress_stream2(&mut output, &mut input, flush), Ok(0));
            let len = output.pos();
            let stored = Stored { codec: codec::ZSTD_WINDOW, flags: block_flag::FRAME, len };
            let found = Decompressor::new().decompress(&header(0, stored, 640), &bytes[..len]);
            assert_eq!(found, result, "{log}");
        }
    }

    #[test]
    fn blocks_come_back_as_they_were() {
        for codec in [Codec::Lz4, Codec::Zstd, Codec::ZstdWindow] {
            let payload: Vec<_> = (0..60_000 / SLOT * SLOT)
                .map(|i| u8::try_from(i % 253).expect("below 253"))
                .collect();
            assert!(round_trip(codec, &payload).expect("shorter") < 8192);
        }
        assert_eq!(round_trip(Codec::None, &[0; 4096]), None);
    }

    proptest! {
        #[test]
        fn any_block_comes_back(
            slots in 2..BLOCK_SLOTS - 1,
            period in 1..5000usize,
            seed in any::<u32>(),
        ) {
            let byte = |i: usize| {
                let number = seed.wrapping_mul(to_u32(i % period) | 1);
                (number >> 13).to_le_bytes()[0]
            };
            let payload: Vec<_> = (0..slots * SLOT).map(byte).collect();
            for codec in [Codec::Lz4, Codec::Zstd, Codec::ZstdWindow] {
                round_trip(codec, &payload);
            }
        }

        #[test]
        fn garbage_is_no_payload_and_no_panic(
            stored in proptest::collection::vec(any::<u8>(), 0..4096),
            slots in 0..BLOCK_SLOTS - 1,
        ) {
            for codec in [codec::LZ4, codec::ZSTD, codec::ZSTD_WINDOW] {
                let how = Stored { codec, flags: block_flag::FRAME, len: stored.len() };
                let _ = Decompressor::new().decompress(&header(0, how, slots * SLOT), &stored);
            }
        }
    }
}

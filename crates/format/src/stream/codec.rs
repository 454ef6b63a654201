//! Compresses and decompresses payloads: one block at a time, into buffers of a fixed size.

use super::error::Fault;
use super::layout::{BLOCK_MAX, BLOCK_SLOTS, BlockHeader, codec};
use crate::record::{SLOT, Slot};
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
        };
        Compressor { method, block: vec![0; SLOT + room] }
    }

    /// Whether blocks are compressed at all.
    pub(super) fn is_on(&self) -> bool {
        !matches!(self.method, Method::None)
    }

    /// Compresses a payload. Returns the number of the codec and the compressed length; `None` if that does not
    /// save a slot.
    pub(super) fn compress(&mut self, payload: &[u8]) -> Option<(u8, usize)> {
        let (codec, len) = match &mut self.method {
            Method::None => return None,
            #[cfg(feature = "lz4")]
            Method::Lz4(table) => {
                let stored = &mut self.block[SLOT..];
                let len = lz4_flex::block::compress_into_with_table(payload, stored, table).ok()?;
                (codec::LZ4, len)
            }
            #[cfg(feature = "zstd")]
            Method::Zstd(context) => {
                let len = context.compress2(&mut self.block[SLOT..], payload).ok()?;
                (codec::ZSTD, len)
            }
        };
        (len.next_multiple_of(SLOT) < payload.len()).then_some((codec, len))
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
    payload: Vec<Slot>,
    #[cfg(feature = "zstd")]
    zstd: zstd_safe::DCtx<'static>,
}

impl Decompressor {
    pub(super) fn new() -> Self {
        Decompressor {
            payload: vec![Slot::ZERO; BLOCK_SLOTS - 1],
            #[cfg(feature = "zstd")]
            zstd: zstd_safe::DCtx::create(),
        }
    }

    /// The payload that was decompressed last.
    pub(super) fn payload(&mut self, bytes: usize) -> &mut [Slot] {
        &mut self.payload[..bytes / SLOT]
    }

    /// Decompresses to exactly `bytes`, which is a multiple of a slot and no more than a block holds.
    pub(super) fn decompress(
        &mut self,
        method: u8,
        stored: &[u8],
        bytes: usize,
    ) -> Result<(), Fault> {
        let payload = self.payload[..bytes / SLOT].as_mut_bytes();
        let _ = (&stored, &payload);
        let len = match method {
            #[cfg(feature = "lz4")]
            codec::LZ4 => lz4_flex::block::decompress_into(stored, payload).ok(),
            #[cfg(feature = "zstd")]
            codec::ZSTD => self.zstd.decompress(payload, stored).ok(),
            other => return Err(Fault::Codec(other)),
        };
        if len == Some(bytes) { Ok(()) } else { Err(Fault::Compression) }
    }
}

#[cfg(all(test, feature = "lz4", feature = "zstd"))]
mod tests {
    use super::*;
    use crate::number::to_u32;
    use proptest::prelude::*;

    fn round_trip(codec: Codec, payload: &[u8]) -> Option<usize> {
        let mut compressor = Compressor::new(codec);
        let (method, len) = compressor.compress(payload)?;
        let stored = compressor.stored(len);
        let mut decompressor = Decompressor::new();
        decompressor.decompress(method, stored, payload.len()).expect("its own");
        assert_eq!(decompressor.payload(payload.len()).as_bytes(), payload);
        for wrong in [payload.len() - SLOT, payload.len() + SLOT] {
            let result = decompressor.decompress(method, stored, wrong);
            assert_eq!(result, Err(Fault::Compression));
        }
        Some(len)
    }

    #[test]
    fn blocks_come_back_as_they_were() {
        for codec in [Codec::Lz4, Codec::Zstd] {
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
            for codec in [Codec::Lz4, Codec::Zstd] {
                round_trip(codec, &payload);
            }
        }

        #[test]
        fn garbage_is_no_payload_and_no_panic(
            stored in proptest::collection::vec(any::<u8>(), 0..4096),
            slots in 0..BLOCK_SLOTS - 1,
        ) {
            for method in [codec::LZ4, codec::ZSTD] {
                let _ = Decompressor::new().decompress(method, &stored, slots * SLOT);
            }
        }
    }
}

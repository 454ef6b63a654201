//! Compressed payloads with valid checksums. The input is a codec, a number of decompressed slots, a number of events,
//! then the stored payload. Of the codec whose blocks go on from one another it is several: each a length, whose highest bit
//! says that a frame begins, and that many bytes.

#![no_main]

use fsmon_format::record::{Body, SLOT};
use fsmon_format::stream::layout::{BLOCK_MAX, BlockHeader, SYNC, block_flag, block_kind, codec};
use fsmon_format::stream::{Header, Item, Reader};
use libfuzzer_sys::fuzz_target;
use zerocopy::{FromZeros, IntoBytes};

/// How each block of a stream is.
struct Like {
    codec: u8,
    slots: u16,
    events: u8,
}

/// Appends block number `number`.
fn append(stream: &mut Vec<u8>, like: &Like, number: u32, begins: bool, stored: &[u8]) {
    let mut header = BlockHeader::new_zeroed();
    header.sync = SYNC;
    header.kind = block_kind::RECORDS;
    header.flags = if begins { block_flag::FRAME } else { 0 }.into();
    header.number = u64::from(number).into();
    header.first_event = (u64::from(like.events) * u64::from(number)).into();
    header.events = u32::from(like.events).into();
    header.seal_stored(like.codec, stored, usize::from(like.slots) * SLOT);
    stream.extend_from_slice(header.as_bytes());
    stream.extend_from_slice(stored);
    stream.resize(stream.len().next_multiple_of(SLOT), 0);
}

fn stream(like: &Like, mut stored: &[u8]) -> Vec<u8> {
    let mut stream = Header::default().encode();
    if like.codec != codec::ZSTD_WINDOW {
        append(&mut stream, like, 0, false, stored);
        return stream;
    }
    let mut number = 0;
    while let [low, high, rest @ ..] = stored {
        let len = usize::from(u16::from_le_bytes([*low, *high & 0x7f]));
        let (piece, rest) = rest.split_at(len.min(rest.len()));
        append(&mut stream, like, number, *high & 0x80 != 0, piece);
        (stored, number) = (rest, number + 1);
    }
    stream
}

fuzz_target!(|input: &[u8]| {
    let [codec, low, high, events, stored @ ..] = input else { return };
    if stored.len() > BLOCK_MAX - SLOT {
        return;
    }
    let slots = u16::from_le_bytes([*low, *high]);
    let stream = stream(&Like { codec: *codec, slots, events: *events }, stored);
    for salvage in [false, true] {
        let mut reader = Reader::new(&stream[..]).salvage(salvage);
        while let Ok(Some(item)) = reader.next() {
            let Item::Block(block) = item else { continue };
            assert!(block.slots().len() < BLOCK_MAX / SLOT);
            let is_broken = |body: Body<'_>| matches!(body, Body::Malformed);
            assert!(!block.records().any(|record| is_broken(record.body())));
        }
    }
});

//! Compressed payloads with valid checksums. The input is a codec, a number of decompressed slots, a number of events,
//! then the stored payload.

#![no_main]

use fsmon_format::record::{Body, SLOT};
use fsmon_format::stream::layout::{BLOCK_MAX, BlockHeader, SYNC, block_flag, block_kind};
use fsmon_format::stream::{Header, Item, Reader};
use libfuzzer_sys::fuzz_target;
use zerocopy::{FromZeros, IntoBytes};

fn stream(codec: u8, slots: u16, events: u8, stored: &[u8]) -> Vec<u8> {
    let mut stream = Header::default().encode();
    let mut header = BlockHeader::new_zeroed();
    header.sync = SYNC;
    header.kind = block_kind::RECORDS;
    header.flags = block_flag::FINAL.into();
    header.events = u32::from(events).into();
    header.seal_stored(codec, stored, usize::from(slots) * SLOT);
    stream.extend_from_slice(header.as_bytes());
    stream.extend_from_slice(stored);
    stream.resize(stream.len().next_multiple_of(SLOT), 0);
    stream
}

fuzz_target!(|input: &[u8]| {
    let [codec, low, high, events, stored @ ..] = input else { return };
    if stored.len() > BLOCK_MAX - SLOT {
        return;
    }
    let stream = stream(*codec, u16::from_le_bytes([*low, *high]), *events, stored);
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

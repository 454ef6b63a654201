//! Payloads with valid checksums, so that the input reaches the code behind the checks.

#![no_main]

use fsmon_format::mirror::{Defined, Mirror};
use fsmon_format::record::{Body, NOTE_TEXT_MAX, SLOT, tag};
use fsmon_format::stream::layout::{BLOCK_MAX, BlockHeader, SYNC, block_kind};
use fsmon_format::stream::{BLOCK_CAPACITY, Header, Item, Reader};
use libfuzzer_sys::fuzz_target;
use std::cell::RefCell;
use zerocopy::{FromZeros, IntoBytes};

thread_local! {
    static MIRROR: RefCell<Mirror> = RefCell::new(Mirror::new(BLOCK_CAPACITY));
}

/// Cuts the input into blocks: a byte with the number of slots, a byte of flags, then the records after the clock.
fn stream(mut input: &[u8]) -> Vec<u8> {
    let mut stream = Header::default().encode();
    let (mut number, mut first_event) = (0u64, 0u64);
    while let [slots, flags, rest @ ..] = input {
        let most = (rest.len() / SLOT * SLOT).min(BLOCK_MAX - 2 * SLOT);
        let (records, rest) = rest.split_at((usize::from(*slots) * SLOT).min(most));
        input = rest;
        let mut payload = vec![0; SLOT];
        payload[..2].copy_from_slice(&[tag::CLOCK, 1]);
        payload.extend_from_slice(records);
        let events = count_events(&mut payload, first_event);
        let mut header = BlockHeader::new_zeroed();
        header.sync = SYNC;
        header.kind = block_kind::RECORDS;
        header.flags = u16::from(*flags).into();
        header.number = number.into();
        header.first_event = first_event.into();
        header.events = events.into();
        header.seal(&payload);
        number += 1;
        first_event += u64::from(header.events.get());
        stream.extend_from_slice(header.as_bytes());
        stream.extend_from_slice(&payload);
    }
    stream
}

/// The number of events that makes these slots a valid block, if any does; an END record gets the same number.
fn count_events(payload: &mut [u8], before: u64) -> u32 {
    let (mut at, mut events) = (0, 0);
    while at < payload.len() && payload[at + 1] > 0 {
        match payload[at] {
            tag::EVENT => events += 1,
            tag::END => {
                let sum = before + u64::from(events);
                payload[at + 16..at + 24].copy_from_slice(&sum.to_le_bytes());
            }
            _ => {}
        }
        at += usize::from(payload[at + 1]) * SLOT;
    }
    events
}

/// Checks the guarantees that every consumer relies on.
fn take(body: &Body<'_>, mirror: &mut Mirror, path: &mut Vec<u8>) {
    assert_ne!(mirror.define(body), Defined::Full);
    match body {
        Body::Event(event) => {
            for dir in [event.head.dir.get(), event.head.dir2.get()] {
                path.clear();
                assert!(dir == 0 || mirror.append_dir_path(dir, path));
            }
            let (mut at, mut steps) = (event.head.proc.get(), 0);
            assert!(at == 0 || mirror.proc(at).is_some());
            while let Some(proc) = mirror.proc(at) {
                at = proc.parent.get();
                steps += 1;
                assert!(steps <= BLOCK_MAX / SLOT, "an ancestry without an end");
            }
        }
        Body::Note(note) => assert!(note.path.len() + note.text.len() <= NOTE_TEXT_MAX),
        Body::Malformed => panic!("delivered a malformed record"),
        _ => {}
    }
}

fuzz_target!(|input: &[u8]| {
    let stream = stream(input);
    MIRROR.with_borrow_mut(|mirror| {
        let mut path = Vec::new();
        for salvage in [false, true] {
            let mut reader = Reader::new(&stream[..]).salvage(salvage);
            while let Ok(Some(item)) = reader.next() {
                let Item::Block(block) = item else { continue };
                mirror.clear();
                block.records().for_each(|record| take(&record.body(), mirror, &mut path));
            }
        }
    });
});

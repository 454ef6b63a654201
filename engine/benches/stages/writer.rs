//! The binary stream: the consumer's mirror of definitions, and the writer of blocks.

use crate::Group;
use crate::records::{CAPACITY, count_events, recording, records, reported};
use criterion::Throughput;
use fsmon_format::mirror::Mirror;
use fsmon_format::record::{Records, Slot};
use fsmon_format::stream::{Header, Item, Reader, Writer};
use std::hint::black_box;
use std::io;

fn stream(slots: &[Slot]) -> Vec<u8> {
    let (mut mirror, mut stream) = (Mirror::new(CAPACITY), Vec::new());
    let mut writer = Writer::new(&mut stream, &Header::default(), CAPACITY).unwrap();
    for record in Records(slots) {
        mirror.define(&record.body());
        writer.push(&record, &mirror).unwrap();
    }
    writer.finish().unwrap();
    stream
}

/// What is read back says the same as what was written. In each block all that is needed is defined.
fn check(slots: &[Slot]) {
    let stream = stream(slots);
    let (mut reader, mut read) = (Reader::new(&stream[..]), Vec::new());
    while let Some(item) = reader.next().unwrap() {
        if let Item::Block(block) = item {
            read.extend(reported(block.slots()));
        }
    }
    assert_eq!(read, reported(slots));
}

pub(crate) fn bench(group: &mut Group<'_>) {
    let slots = records(&recording()).concat();
    check(&slots);
    let events = count_events(&slots);
    group.throughput(Throughput::Elements(events as u64));
    let mut mirror = Mirror::new(CAPACITY);
    group.bench_function("mirror", |bencher| {
        bencher.iter(|| {
            for record in Records(&slots) {
                black_box(mirror.define(&record.body()));
            }
        });
    });
    let mut writer = Writer::new(io::sink(), &Header::default(), CAPACITY).unwrap();
    group.bench_function("mirror and writer", |bencher| {
        bencher.iter(|| {
            let before = writer.events();
            for record in Records(&slots) {
                mirror.define(&record.body());
                writer.push(&record, &mirror).unwrap();
            }
            writer.flush().unwrap();
            assert_eq!((writer.events() - before, writer.unresolved()), (events as u64, 0));
        });
    });
}

//! One zstd frame over a MiB of the file: where frames begin, how blocks are found, and what damage costs.

#![cfg(feature = "zstd")]
#![allow(clippy::unwrap_used)]

mod sim;

use fsmon_format::error::Error;
use fsmon_format::mirror::Mirror;
use fsmon_format::number::to_usize;
use fsmon_format::record::{Build, Dir, Event, Note, Record, SLOT, Slot};
use fsmon_format::stream::layout::{
    BlockHeader, GRID, HEADER_LEN, SYNC, block_flag, block_kind, codec,
};
use fsmon_format::stream::{Codec, Fault, Gap, Header, Item, Reader, Writer, recode};
use sim::{CAPACITY, Random, decode_salvaging, decode_strict, header};
use std::io::Cursor;
use zerocopy::{FromBytes, FromZeros};

/// A block as it stands in a stream.
#[derive(Clone, Copy)]
struct At {
    offset: usize,
    header: BlockHeader,
}

impl At {
    fn begins(&self) -> bool {
        self.header.flags.get() & block_flag::FRAME != 0
    }

    fn is_window(&self) -> bool {
        self.header.codec == codec::ZSTD_WINDOW
    }

    fn events(&self) -> u64 {
        self.header.events.get().into()
    }
}

fn blocks(stream: &[u8]) -> Vec<At> {
    let (mut at, mut found) = (HEADER_LEN, Vec::new());
    while at < stream.len() {
        let header = *BlockHeader::ref_from_prefix(&stream[at..]).unwrap().0;
        assert_eq!(header.sync, SYNC, "byte {at}");
        found.push(At { offset: at, header });
        at += header.total_len();
    }
    found
}

struct Recorder {
    writer: Writer<Vec<u8>>,
    mirror: Mirror,
    random: Random,
    build: Build,
    time_ns: u64,
}

impl Recorder {
    fn new(header: &Header) -> Self {
        let writer = Writer::new(Vec::new(), header, CAPACITY).unwrap().compress(Codec::ZstdWindow);
        let (mirror, random) = (Mirror::new(CAPACITY), Random(3));
        let (build, time_ns) = (Build::default(), header.time_ns);
        let mut recorder = Recorder { writer, mirror, random, build, time_ns };
        let mut dir = Dir::new_zeroed();
        dir.id = 1.into();
        let slots = recorder.build.dir(dir, b"/srv").to_vec();
        recorder.push(&slots);
        recorder
    }

    fn push(&mut self, slots: &[Slot]) {
        let (record, _) = Record::split_first(slots).unwrap();
        self.mirror.define(&record.body());
        self.writer.push(&record, &self.mirror).unwrap();
    }

    fn noise(&mut self, len: usize) -> Vec<u8> {
        let mut byte = || u8::try_from(self.random.below(255)).unwrap() + 1;
        (0..len).map(|_| byte()).collect()
    }

    /// Events whose names nothing makes shorter.
    fn events(&mut self, count: usize) {
        for _ in 0..count {
            let mut event = Event::new_zeroed();
            self.time_ns += 5_000_000;
            (event.dir, event.mask) = (1.into(), 0x100.into());
            event.time_ns = self.time_ns.into();
            let name = self.noise(200);
            let slots = self.build.event(event, &name, b"").to_vec();
            self.push(&slots);
        }
    }
}

/// Blocks of some 2 to 15 KiB, in this many MiB and a part.
fn long_stream(mib: u64) -> Vec<u8> {
    let mut recorder = Recorder::new(&header());
    while recorder.writer.bytes() < mib * GRID + GRID / 5 {
        let count = 8 + recorder.random.below(60);
        recorder.events(count);
        recorder.writer.flush().unwrap();
    }
    recorder.writer.finish().unwrap()
}

#[test]
fn a_frame_begins_with_the_first_block_of_each_mib_and_with_no_other() {
    let stream = long_stream(3);
    let mut cell = None;
    for at in blocks(&stream) {
        if at.header.kind == block_kind::PAD {
            continue;
        }
        assert!(at.is_window());
        let this = at.offset as u64 / GRID;
        assert_eq!(at.begins(), cell != Some(this), "byte {}", at.offset);
        assert!(!at.begins() || at.offset == HEADER_LEN || (at.offset as u64).is_multiple_of(GRID));
        cell = Some(this);
    }
    assert_eq!(
        (cell, blocks(&stream).iter().filter(|at| at.header.kind == 0).count()),
        (Some(3), 3)
    );
    assert!(decode_strict(&stream).error.is_none());
}

/// A pad of less is written before a block is begun.
#[test]
fn a_block_that_finds_no_room_is_compressed_anew() {
    let stream = long_stream(12);
    let found = blocks(&stream);
    let late =
        |pair: &&[At]| pair[0].header.kind == block_kind::PAD && pair[0].header.total_len() >= 4096;
    let late: Vec<_> = found.windows(2).filter(late).collect();
    assert!(late.len() > 2, "{}", late.len());
    assert!(late.iter().all(|pair| pair[1].begins()));
    assert!(decode_strict(&stream).error.is_none());
}

#[test]
fn no_frame_goes_on_in_another_file() {
    let stream = long_stream(1);
    let all = blocks(&stream);
    let mut next = header();
    (next.segment, next.first_block) = (1, 2);
    next.first_event = all[2].header.first_event.get();
    let (first, rest) = stream[..all[5].offset].split_at(all[2].offset);
    let (read, gaps) = salvaged(&[first, &next.encode(), rest].concat());
    assert_eq!((read, gaps.len()), (vec![0, 1], 2));
}

#[test]
fn what_one_block_has_is_not_stored_again_in_the_next() {
    let mut recorder = Recorder::new(&header());
    let name = recorder.noise(255);
    for _ in 0..10 {
        let mut event = Event::new_zeroed();
        (event.dir, event.time_ns) = (1.into(), header().time_ns.into());
        let slots = recorder.build.event(event, &name, b"").to_vec();
        recorder.push(&slots);
        recorder.writer.flush().unwrap();
    }
    let found = blocks(&recorder.writer.finish().unwrap());
    let lens: Vec<u32> = found.iter().map(|at| at.header.stored_len.get()).collect();
    assert!(lens[0] > 255 && lens[1..10].iter().all(|len| *len < 60), "{lens:?}");
}

#[test]
fn a_block_that_does_not_shrink_is_stored_as_it_is_and_a_frame_begins_behind_it() {
    let mut recorder = Recorder::new(&header());
    recorder.events(1);
    recorder.writer.flush().unwrap();
    let path = recorder.noise(4072);
    let slots = recorder.build.note(Note::new_zeroed(), &path, b"").to_vec();
    recorder.push(&slots);
    recorder.writer.flush().unwrap();
    for _ in 0..2 {
        recorder.events(1);
        recorder.writer.flush().unwrap();
    }
    let stream = recorder.writer.finish().unwrap();
    let found = blocks(&stream);
    let how: Vec<_> = found.iter().map(|at| (at.is_window(), at.begins())).collect();
    assert_eq!(how, [(true, true), (false, false), (true, true), (true, false), (true, false)]);
    let (read, gaps) = salvaged(&stream);
    assert_eq!((read.len(), gaps.len()), (5, 0));
}

/// The damage that a reader of this stream stops at, and what it read.
fn strict(stream: &[u8]) -> (Vec<u64>, Fault) {
    let (mut reader, mut numbers) = (Reader::new(stream), Vec::new());
    loop {
        match reader.next() {
            Ok(Some(Item::Block(block))) => numbers.push(block.number()),
            Ok(Some(_)) => {}
            Ok(None) => panic!("it is damaged"),
            Err(error) => return (numbers, fault(&error)),
        }
    }
}

fn fault(error: &Error) -> Fault {
    error.damage().unwrap().fault
}

fn salvaged(stream: &[u8]) -> (Vec<u64>, Vec<Gap>) {
    let mut reader = Reader::new(stream).salvage(true);
    let (mut numbers, mut gaps) = (Vec::new(), Vec::new());
    while let Some(item) = reader.next().unwrap() {
        match item {
            Item::Block(block) => numbers.push(block.number()),
            Item::Gap(gap) => gaps.push(gap),
            _ => {}
        }
    }
    (numbers, gaps)
}

#[test]
fn damage_costs_the_rest_of_its_mib_and_is_counted() {
    let stream = long_stream(2);
    let all = blocks(&stream);
    let records = |at: &&At| at.header.kind == block_kind::RECORDS;
    let number = |at: &At| at.header.number.get();
    for hit in (0..all.len()).filter(|hit| hit % 7 == 0 || all[*hit].begins()) {
        if all[hit].header.kind == block_kind::PAD {
            continue;
        }
        // A bit of the header, of the payload, and the whole block.
        for way in 0..3 {
            let mut broken = stream.clone();
            let (from, to) = (all[hit].offset, all[hit].offset + all[hit].header.total_len());
            match way {
                0 => broken[from + 20] ^= 1,
                1 => broken[from + SLOT + 9] ^= 1,
                _ => drop(broken.drain(from..to)),
            }
            let before: Vec<u64> = all[..hit].iter().filter(records).map(number).collect();
            let (read, fault) = strict(&broken);
            assert_eq!(read, before, "block {hit}");
            let expected = match way {
                0 => Fault::BlockHeader,
                1 => Fault::Payload,
                _ if hit + 1 == all.len() => Fault::NoEnd,
                _ => Fault::Missing(number(&all[hit + 1])),
            };
            assert_eq!(fault, expected);
            let next = (hit + 1..all.len()).find(|at| all[*at].begins());
            // A pad is read by itself, though nothing is in it.
            let lost = (hit..next.unwrap_or(all.len()))
                .filter(|at| records(&&all[*at]))
                .collect::<Vec<_>>();
            let left =
                all.iter().enumerate().filter(|(at, block)| records(block) && !lost.contains(at));
            let (read, gaps) = salvaged(&broken);
            assert_eq!(read, left.map(|(_, at)| number(at)).collect::<Vec<_>>(), "block {hit}");
            let [gap] = gaps[..] else { panic!("block {hit}: {gaps:?}") };
            let events: u64 = lost.iter().map(|at| all[*at].events()).sum();
            let is_last_unknown = hit + 1 == all.len() && way != 1;
            let counted = (!is_last_unknown).then_some((lost.len() as u64, events));
            assert_eq!(gap.blocks.zip(gap.events), counted, "block {hit}, {way}");
        }
    }
}

#[test]
fn a_block_is_found_by_its_offset() {
    let stream = long_stream(2);
    let all: Vec<At> = blocks(&stream);
    let all: Vec<At> = all.into_iter().filter(|at| at.header.kind != block_kind::PAD).collect();
    let mut reader = Reader::new(Cursor::new(&stream[..]));
    reader.next().unwrap();
    let mut random = Random(8);
    let ascending = (0..all.len()).step_by(3);
    let order: Vec<usize> = ascending.chain((0..60).map(|_| random.below(all.len()))).collect();
    for wanted in order {
        reader.go_to_block(all[wanted].offset as u64).unwrap();
        for at in all[wanted..].iter().take(random.below(3)) {
            match reader.next().unwrap() {
                Some(Item::Block(block)) => {
                    assert_eq!(block.offset(), at.offset as u64);
                    assert_eq!(block.number(), at.header.number.get());
                    let events = block.records().count() as u64;
                    assert!(events > at.events());
                }
                _ => panic!("block {wanted}"),
            }
        }
    }
}

#[test]
fn a_time_is_found_without_what_is_before_its_mib() {
    let stream = long_stream(3);
    let all = blocks(&stream);
    let all: Vec<&At> = all.iter().filter(|at| at.header.kind == block_kind::RECORDS).collect();
    for wanted in all.iter().step_by(5) {
        let since_ns = wanted.header.first_ns.get() - header().time_ns;
        let mut reader = Reader::new(Cursor::new(&stream[..]));
        reader.next().unwrap();
        reader.seek_to_time(header().realtime_ns + since_ns).unwrap();
        let Some(Item::Block(first)) = reader.next().unwrap() else { panic!("no block") };
        assert!(first.times().0 <= wanted.header.first_ns.get());
        // The search goes to the last MiB that begins early enough.
        let to = to_usize(first.offset());
        let distance = wanted.offset - to;
        assert!(distance <= 2 * to_usize(GRID), "{distance}");
        let left = all.iter().filter(|at| at.offset > to).count();
        let read = std::iter::from_fn(|| reader.next().unwrap().map(drop)).count();
        assert_eq!(read, left);
    }
}

#[test]
fn behind_damage_no_block_is_found_before_the_next_mib() {
    let mut stream = long_stream(1);
    let all = blocks(&stream);
    stream[all[4].offset + SLOT + 9] ^= 1;
    let next = all.iter().position(|at| at.offset as u64 == GRID).unwrap();
    for (wanted, is_found) in [(3, true), (5, false), (4, false), (next, true), (next + 1, true)] {
        let mut reader = Reader::new(Cursor::new(&stream[..]));
        reader.next().unwrap();
        reader.go_to_block(all[wanted].offset as u64).unwrap();
        assert_eq!(matches!(reader.next(), Ok(Some(Item::Block(_)))), is_found, "{wanted}");
    }
    let mut reader = Reader::new(Cursor::new(&stream[..]));
    reader.next().unwrap();
    reader.go_to_block(all[5].offset as u64).unwrap();
    assert_eq!(fault(&reader.next().err().unwrap()), Fault::Continues);
    // Nor is there one between two blocks.
    let mut reader = Reader::new(Cursor::new(&stream[..]));
    reader.next().unwrap();
    reader.go_to_block(all[3].offset as u64 + 64).unwrap();
    assert_eq!(fault(&reader.next().err().unwrap()), Fault::NoBlock);
}

#[test]
fn streams_one_behind_the_other_are_read() {
    let first = long_stream(1);
    let mut other = header();
    other.stream_id = *b"another stream!!";
    let mut recorder = Recorder::new(&other);
    recorder.events(100);
    recorder.writer.flush().unwrap();
    recorder.events(100);
    let second = recorder.writer.finish().unwrap();
    let both = [&first[..], &second[..]].concat();
    let decoded = decode_strict(&both);
    assert!(decoded.error.is_none() && decoded.headers == 2);
    let lines = |stream: &[u8]| decode_strict(stream).lines.len();
    assert_eq!(decoded.lines.len(), lines(&first) + lines(&second));
    // From the middle on, a salvaging reader begins with a frame.
    let middle = blocks(&first)[2].offset;
    let salvaged = decode_salvaging(&both[middle..]);
    assert!(
        salvaged.error.is_none() && salvaged.headers == 1 && salvaged.lines.len() > lines(&second)
    );
}

#[test]
fn a_stream_is_stored_anew_and_is_the_same() {
    let stream = long_stream(1);
    let expected = decode_strict(&stream).lines;
    for &(name, codec) in Codec::NAMES {
        let mut stored = Vec::new();
        recode(&stream[..], codec, &mut stored).unwrap();
        let decoded = decode_strict(&stored);
        assert!(decoded.error.is_none() && decoded.lines == expected, "{name}");
        let mut back = Vec::new();
        recode(&stored[..], Codec::ZstdWindow, &mut back).unwrap();
        assert_eq!(back.len().abs_diff(stream.len()) / 4096, 0, "{name}");
    }
    let mut cut = Vec::new();
    let error = recode(&stream[..to_usize(GRID / 2)], Codec::None, &mut cut).err().unwrap();
    assert_eq!(fault(&error), Fault::Cut);
    assert!(decode_salvaging(&cut).lines.len() > 1000);
}

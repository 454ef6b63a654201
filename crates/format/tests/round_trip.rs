//! What goes in comes out: the ring, the stream and a plain model say the same.

#![allow(clippy::unwrap_used)]

mod sim;

use fsmon_format::mirror::Mirror;
use fsmon_format::number::to_usize;
use fsmon_format::record::{
    Build, End, NOTE_HEAD, NOTE_TEXT_MAX, Record, SLOT, end_flag, slots_for,
};
use fsmon_format::stream::layout::{BLOCK_MAX, BlockHeader, GRID, HEADER_LEN};
use fsmon_format::stream::{Codec, Header, Item, Reader, Writer};
use proptest::prelude::*;
use sim::{
    CAPACITY, CODECS, Host, Op, Random, decode, decode_strict, record_all, record_as,
    record_segments,
};
use std::io::Cursor;
use zerocopy::{FromBytes, FromZeros};

#[track_caller]
fn check(host: &Host) -> Vec<u8> {
    let check = |codec| {
        let (live, stream) = record_as(host, codec);
        same(&live, &host.lines);
        let decoded = decode_strict(&stream);
        assert!(decoded.error.is_none(), "{codec:?}: {:?}", decoded.error);
        let end = ["end".to_string()];
        same(decoded.lines.strip_suffix(&end[..]).unwrap_or(&decoded.lines), &host.lines);
        // Mapped, as a file is, it is the same.
        same(&decode(Reader::new(Cursor::new(&stream[..]))).lines, &decoded.lines);
        stream
    };
    CODECS.iter().map(|&codec| check(codec)).reduce(|plain, _| plain).unwrap()
}

/// Says where lines part, without printing all of them.
#[track_caller]
fn same(found: &[String], wanted: &[String]) {
    if let Some(n) = (0..found.len().min(wanted.len())).find(|&n| found[n] != wanted[n]) {
        panic!("line {n}:\n{:.300}\n{:.300}", found[n], wanted[n]);
    }
    assert_eq!(found.len(), wanted.len());
}

fn len() -> impl Strategy<Value = usize> {
    // Where a record grows by a slot, and everything else.
    prop_oneof![0usize..256, Just(24), Just(25), Just(88), Just(89), Just(32), Just(33), Just(255)]
}

fn op() -> impl Strategy<Value = Op> {
    let n = 0usize..1000;
    prop_oneof![
        2 => (n.clone(), len()).prop_map(|(parent, len)| Op::Mkdir { parent, len }),
        1 => (n.clone(), n.clone(), len())
            .prop_map(|(dir, parent, len)| Op::RenameDir { dir, parent, len }),
        1 => n.clone().prop_map(|dir| Op::Rmdir { dir }),
        6 => (n.clone(), n.clone(), len())
            .prop_map(|(dir, proc, len)| Op::Event { dir, proc, len }),
        2 => (n.clone(), n.clone(), len(), len())
            .prop_map(|(from, to, len, len2)| Op::Rename { from, to, len, len2 }),
        2 => (n.clone(), n.clone()).prop_map(|(parent, exe)| Op::Fork { parent, exe }),
        1 => n.prop_map(|proc| Op::Exit { proc }),
        1 => (len(), 0usize..2000).prop_map(|(len, len2)| Op::Note { len, len2 }),
        1 => Just(Op::Gap),
        1 => Just(Op::Loss),
        1 => Just(Op::Stats),
        1 => Just(Op::Clock),
        1 => Just(Op::Flush),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]
    #[test]
    fn any_history_comes_back(ops in proptest::collection::vec(op(), 0..400)) {
        check(&Host::after(&ops));
    }
}

#[test]
fn names_of_every_length_come_back() {
    let event = |len| Op::Event { dir: 0, proc: 0, len };
    let rename = |len| Op::Rename { from: 0, to: 0, len, len2: 255 - len };
    let ops: Vec<_> = (0..=255).flat_map(|len| [event(len), rename(len)]).collect();
    check(&Host::after(&ops));
    let ops: Vec<_> = (1..=255).map(|len| Op::Mkdir { parent: 0, len }).collect();
    check(&Host::after(&ops));
}

#[test]
fn a_long_history_keeps_to_blocks_and_grid() {
    for seed in 1..3 {
        let mut random = Random(seed);
        let mut host = Host::new();
        for _ in 0..25_000 {
            let op = if random.below(500) == 0 { Op::Flush } else { random.op() };
            host.step(&op);
        }
        assert!(check(&host).len() as u64 > GRID);
        for &codec in CODECS {
            keeps_to_the_grid(&record_as(&host, codec).1);
        }
    }
}

/// Whether blocks keep to the grid and numbers follow each other; the events in it.
fn keeps_to_the_grid(stream: &[u8]) -> u64 {
    let (mut at, mut number, mut pads, mut events) = (HEADER_LEN, None, 0, 0);
    while at < stream.len() {
        let (header, _) = BlockHeader::ref_from_prefix(&stream[at..]).unwrap();
        let total = header.total_len();
        assert!(total <= BLOCK_MAX);
        assert_eq!(at as u64 / GRID, (at + total - 1) as u64 / GRID, "crosses the grid");
        assert!(number.is_none_or(|number: u64| header.number.get() == number + 1));
        number = Some(header.number.get());
        pads += usize::from(header.kind == 0);
        events += u64::from(header.events.get());
        at += total;
    }
    assert!(pads as u64 <= stream.len() as u64 / GRID + 1);
    events
}

#[test]
fn directories_as_deep_as_can_be_come_back() {
    let mut host = Host::new();
    // Each below the one before; then events all over, with renames near the top in between.
    for level in 0..1200 {
        host.step(&Op::Mkdir { parent: level, len: 2 });
    }
    for n in 0..300 {
        host.step(&Op::Event { dir: n * 7, proc: 0, len: 5 });
        if n % 10 == 0 {
            host.step(&Op::RenameDir { dir: 3 + n, parent: 0, len: 2 });
        }
        host.step(&Op::Rename { from: n * 11, to: n * 13, len: 255, len2: 255 });
    }
    check(&host);
}

#[test]
fn directories_with_the_longest_names_come_back() {
    let mut wide = Host::new();
    for level in 0..15 {
        wide.step(&Op::Mkdir { parent: level, len: 255 });
    }
    for n in 0..300 {
        wide.step(&Op::Rename { from: n, to: n * 7 + 1, len: 255, len2: 255 });
    }
    check(&wide);
}

#[test]
fn an_event_that_needs_much_finds_room_at_every_place_of_the_grid() {
    // Blocks of every size up to the grid, by flushes; each needs a long chain anew.
    let mut host = Host::new();
    for level in 0..120 {
        host.step(&Op::Mkdir { parent: level, len: 200 });
    }
    for n in 0..600 {
        host.step(&Op::Event { dir: 59, proc: 0, len: n % 256 });
        host.step(&Op::Flush);
    }
    let stream = check(&host);
    assert!(stream.len() as u64 > GRID);
}

/// A note of so many slots.
fn note_of(slots: usize) -> Op {
    Op::Note { len: (slots * SLOT - NOTE_HEAD).min(NOTE_TEXT_MAX), len2: 0 }
}

#[test]
fn the_longest_note_finds_room_however_near_the_grid_is() {
    // A block has a header and a clock besides.
    let longest = slots_for(NOTE_HEAD + NOTE_TEXT_MAX);
    for left in longest - 5..longest + 15 {
        let mut host = Host::new();
        let mut slots = (to_usize(GRID) - HEADER_LEN) / SLOT - left;
        while slots > 0 {
            let block = match slots / (longest + 2) {
                0 => slots,
                1 => slots.div_ceil(2),
                _ => longest + 2,
            };
            host.step(&note_of(block - 2));
            host.step(&Op::Flush);
            slots -= block;
        }
        host.step(&note_of(longest));
        host.step(&Op::Event { dir: 0, proc: 0, len: 3 });
        let (_, stream) = record_all(&host);
        let decoded = decode_strict(&stream);
        assert!(decoded.error.is_none(), "{left}: {:?}", decoded.error);
        same(&decoded.lines[..host.lines.len()], &host.lines);
        assert_eq!(keeps_to_the_grid(&stream), 1);
    }
}

#[test]
fn gaps_and_notes_leave_the_times_of_blocks_alone() {
    let mut host = Host::new();
    let blocks = |host: &Host| {
        let stream = record_all(host).1;
        let mut reader = Reader::new(&stream[..]);
        let mut found = Vec::new();
        while let Some(item) = reader.next().unwrap() {
            if let Item::Block(block) = item {
                found.push((block.times(), block.wall_times(), block.has_gap()));
            }
        }
        // The END record is in the last one.
        found.pop();
        found
    };
    for op in [Op::Gap, Op::Note { len: 4, len2: 9 }, Op::Flush] {
        host.step(&op);
    }
    host.step(&Op::Note { len: 4, len2: 9 });
    host.step(&Op::Event { dir: 0, proc: 0, len: 3 });
    host.step(&Op::Gap);
    host.step(&Op::Flush);
    host.step(&Op::Event { dir: 0, proc: 0, len: 3 });
    host.step(&Op::Flush);
    let (mut first, mut second) = (0, 0);
    for found in blocks(&host) {
        match found {
            ((0, 0), None, true) => first += 1,
            ((from, to), Some((wall_from, wall_to)), _) => {
                assert!(from == to && wall_from == wall_to && from != 0);
                second += 1;
            }
            other => panic!("{other:?}"),
        }
    }
    assert_eq!((first, second), (1, 2));
    let gaps: Vec<_> = blocks(&host).into_iter().map(|(_, _, has_gap)| has_gap).collect();
    assert_eq!(gaps, [true, true, false]);
}

#[test]
fn ancestries_longer_than_a_block_has_room_for_are_cut() {
    let mut host = Host::new();
    for n in 0..100 {
        host.step(&Op::Fork { parent: n, exe: 0 });
    }
    host.step(&Op::Event { dir: 0, proc: 100, len: 3 });
    host.step(&Op::Event { dir: 0, proc: 20, len: 3 });
    let (live, stream) = record_all(&host);
    assert_eq!(live, host.lines);
    let decoded = decode_strict(&stream);
    assert!(decoded.error.is_none());
    assert!(decoded.lines[0].len() < live[0].len());
    assert!(live[0].starts_with(decoded.lines[0].strip_suffix('.').unwrap()));
}

/// Gives a few bytes at a time, and nothing now and then.
struct Trickle<'a> {
    bytes: &'a [u8],
    random: Random,
}

impl std::io::Read for Trickle<'_> {
    fn read(&mut self, out: &mut [u8]) -> std::io::Result<usize> {
        let n = self.random.below(900).min(self.bytes.len()).min(out.len());
        out[..n].copy_from_slice(&self.bytes[..n]);
        self.bytes = &self.bytes[n..];
        Ok(n)
    }
}

#[test]
fn a_follower_gets_all_however_it_trickles_in() {
    let mut random = Random(5);
    let mut host = Host::new();
    for _ in 0..3000 {
        let op = if random.below(50) == 0 { Op::Flush } else { random.op() };
        host.step(&op);
    }
    let (_, stream) = record_all(&host);
    let mut reader = Reader::new(Trickle { bytes: &stream, random: Random(9) }).follow(true);
    let mut mirror = fsmon_format::mirror::Mirror::new(fsmon_format::stream::BLOCK_CAPACITY);
    let mut consumer = sim::Consumer::default();
    let mut waits = 0;
    while let Some(item) = reader.next().unwrap() {
        match item {
            fsmon_format::stream::Item::Pending => waits += 1,
            fsmon_format::stream::Item::Block(block) => {
                mirror.clear();
                block.records().for_each(|record| consumer.take(&record, &mut mirror));
            }
            _ => {}
        }
    }
    assert!(waits > 0 && reader.closed());
    assert_eq!(consumer.lines[..host.lines.len()], host.lines);
}

#[test]
fn segments_and_streams_can_follow_each_other() {
    let mut host = Host::new();
    host.step(&Op::Event { dir: 0, proc: 0, len: 3 });
    let (_, stream) = record_all(&host);
    let twice = [&stream[..], &stream[..]].concat();
    // The same segment again is not news.
    assert!(decode_strict(&twice).error.is_some());
    let other = {
        let mut header = sim::header();
        header.stream_id = *b"another stream!!";
        let writer = fsmon_format::stream::Writer::new(Vec::new(), &header, sim::CAPACITY);
        writer.unwrap().finish().unwrap()
    };
    let decoded = decode(Reader::new(&[&stream[..], &other[..]].concat()[..]));
    assert!(decoded.error.is_none(), "{:?}", decoded.error);
    assert_eq!((decoded.headers, decoded.lines.len()), (2, 3));
}

#[test]
fn a_stream_in_segments_is_the_stream() {
    let (mut random, mut host) = (Random(7), Host::new());
    for _ in 0..20_000 {
        let op = if random.below(100) == 0 { Op::Flush } else { random.op() };
        host.step(&op);
    }
    for &codec in CODECS {
        let (live, segments) = record_segments(&host, codec, 30_000);
        let (count, joined) = (segments.len(), segments.concat());
        assert!(count > 4, "{codec:?}: {count}");
        let events: Vec<_> = segments.iter().map(|segment| keeps_to_the_grid(segment)).collect();
        let decoded = decode_strict(&joined);
        assert!(decoded.error.is_none(), "{:?}", decoded.error);
        assert_eq!(decoded.headers, count);
        same(&decoded.lines[..live.len()], &live);
        // Each by itself ends in order; one that is missing is counted.
        let alone: Vec<_> = segments.iter().map(|segment| decode_strict(segment)).collect();
        assert!(alone.iter().all(|decoded| decoded.error.is_none()));
        let lines: Vec<_> = alone.iter().flat_map(|decoded| decoded.lines.clone()).collect();
        same(&lines, &decoded.lines);
        let mut reader = Reader::new(&segments[0][..]);
        let mut lines = sim::take_all(&mut reader);
        for segment in &segments[1..] {
            reader.continue_with(segment);
            lines.extend(sim::take_all(&mut reader));
        }
        same(&lines, &decoded.lines);
        let without = [&segments[0][..], &segments[2..].concat()].concat();
        assert!(decode_strict(&without).error.is_some());
        let gaps = decode(Reader::new(&without[..]).salvage(true)).gaps;
        assert_eq!((gaps.len(), gaps[0].events), (1, Some(events[1])));
    }
}

/// Every event at a time of its own, over several multiples of the grid.
fn long_stream(codec: Codec) -> Vec<u8> {
    let mut host = Host::new();
    let events = if codec == Codec::None { 40_000 } else { 70_000 };
    for n in 0..events {
        host.step(&Op::Event { dir: n, proc: n * 7, len: 60 + n % 190 });
        if n % 1000 == 0 {
            host.step(&Op::Clock);
        }
    }
    record_as(&host, codec).1
}

/// Blocks from there on: their numbers and wall times.
fn blocks<R: std::io::Read>(reader: &mut Reader<R>) -> Vec<(u64, u64, u64)> {
    let mut blocks = Vec::new();
    while let Some(item) = reader.next().unwrap() {
        if let Item::Block(block) = item {
            let (first, last) = block.wall_times().unwrap();
            blocks.push((block.number(), first, last));
        }
    }
    blocks
}

#[test]
fn a_time_is_found_by_the_grid() {
    // Of what takes an eighth of the bytes it would have to be very long.
    for &codec in CODECS.iter().take(2) {
        let stream = long_stream(codec);
        assert!(stream.len() as u64 > GRID, "{}", stream.len());
        let all = blocks(&mut Reader::new(&stream[..]));
        let some = all.iter().step_by(all.len().div_ceil(50));
        for wanted in some.map(|block| block.1).chain([0, u64::MAX]) {
            let mut reader = Reader::new(Cursor::new(&stream[..]));
            assert!(matches!(reader.next(), Ok(Some(Item::Header(_)))));
            reader.seek_to_time(wanted).unwrap();
            let found = blocks(&mut reader);
            assert!(reader.closed() && all.ends_with(&found) && !found.is_empty());
            let skipped = &all[..all.len() - found.len()];
            assert!(skipped.iter().all(|&(_, _, last)| last <= wanted));
            // No more than one multiple of the grid is read in vain.
            let in_vain = found.iter().filter(|&&(_, _, last)| last < wanted).count() as u64;
            assert!(in_vain <= all.len() as u64 * GRID / stream.len() as u64 + 20, "{in_vain}");
        }
    }
}

#[test]
fn a_time_is_found_past_damage_and_at_any_place() {
    let mut stream = long_stream(Codec::None);
    let all = blocks(&mut Reader::new(&stream[..]));
    stream[to_usize(GRID)..to_usize(GRID) + 100].fill(0xAA);
    let wanted = all[all.len() - 2].1;
    for items in 1..10 {
        let mut reader = Reader::new(Cursor::new(&stream[..])).salvage(true);
        for _ in 0..items {
            reader.next().unwrap();
        }
        reader.seek_to_time(0).unwrap();
        let next = reader.next().unwrap();
        assert!(matches!(next, Some(Item::Block(block)) if block.number() == items - 1));
        reader.seek_to_time(wanted).unwrap();
        let found = blocks(&mut reader);
        assert!(all.ends_with(&found) && found.len() > 1);
    }
}

#[test]
fn the_end_is_found_in_whichever_block_it_stands() {
    for is_flushed in [false, true] {
        let mut writer = Writer::new(Vec::new(), &Header::default(), CAPACITY).unwrap();
        let (mirror, mut build) = (Mirror::new(CAPACITY), Build::default());
        let mut end = End::new_zeroed();
        end.flags = end_flag::INCOMPLETE.into();
        for slots in [build.clock(1, 1).to_vec(), build.end(end).to_vec()] {
            writer.push(&Record::split_first(&slots).unwrap().0, &mirror).unwrap();
        }
        if is_flushed {
            writer.flush().unwrap();
        }
        let stream = writer.finish().unwrap();
        let mut reader = Reader::new(&stream[..]);
        let mut ends = Vec::new();
        while let Some(item) = reader.next().unwrap() {
            if let Item::Block(block) = item {
                ends.push(block.end().map(End::is_incomplete));
            }
        }
        let expected = if is_flushed { &[Some(true), None][..] } else { &[Some(true)] };
        assert_eq!(ends, expected);
    }
}

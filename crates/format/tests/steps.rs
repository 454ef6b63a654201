//! A search by time in streams whose wall clock was set: it must find whatever has a time in the range.

#![allow(clippy::unwrap_used)]

use fsmon_format::mirror::{Capacity, Mirror};
use fsmon_format::record::{self, Body, Build, Dir, Event, Record};
use fsmon_format::stream::layout::GRID;
use fsmon_format::stream::{CLOCK_STEP_NS, Codec, Header, Item, Reader, Writer};
use std::cell::Cell;
use std::io::{self, Cursor, Read, Seek, SeekFrom};
use std::ops::RangeInclusive;
use zerocopy::FromZeros;

const SECOND: u64 = 1_000_000_000;
const BASE: u64 = 1_700_000_000 * SECOND;
const CAPACITY: Capacity = Capacity { dirs: 16, processes: 16, strings: 16, text: 1 << 16 };

/// Events a second in the streams made here: a MiB is some 8 seconds.
const PER_SECOND: u64 = 2000;

/// Writes a stream in parts: how many seconds its clock is ahead, and how long it lasts.
fn stream(parts: &[(i64, u64)], is_counted: bool, codec: Codec) -> Vec<u8> {
    let header = Header { time_ns: SECOND, realtime_ns: BASE + SECOND, ..Header::default() };
    let writer = Writer::new(Vec::new(), &header, CAPACITY).unwrap().compress(codec);
    let mut writer = if is_counted { writer.count_clock_steps() } else { writer };
    let (mut mirror, mut build) = (Mirror::new(CAPACITY), Build::default());
    let mut push = |slots: &[record::Slot]| {
        let (record, _) = Record::split_first(slots).unwrap();
        mirror.define(&record.body());
        writer.push(&record, &mirror).unwrap();
    };
    let mut dir = Dir::new_zeroed();
    dir.id = 1.into();
    push(build.dir(dir, b"/srv"));
    let mut time_ns = SECOND;
    for &(ahead_s, seconds) in parts {
        let ahead = ahead_s * SECOND.cast_signed();
        for n in 0..seconds * PER_SECOND {
            if n % PER_SECOND == 0 {
                push(build.clock(time_ns, (BASE + time_ns).checked_add_signed(ahead).unwrap()));
            }
            time_ns += SECOND / PER_SECOND;
            let mut event = Event::new_zeroed();
            event.mask = 0x100.into();
            event.dir = 1.into();
            event.time_ns = time_ns.into();
            push(build.event(event, time_ns.to_string().as_bytes(), b""));
        }
    }
    writer.finish().unwrap()
}

/// Counts what is read.
struct Counted<'a> {
    source: Cursor<&'a [u8]>,
    bytes: &'a Cell<u64>,
}

impl Read for Counted<'_> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let len = self.source.read(into)?;
        self.bytes.set(self.bytes.get() + len as u64);
        Ok(len)
    }
}

impl Seek for Counted<'_> {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        self.source.seek(to)
    }
}

/// The wall times of the events of a stream that are in a range, and how many bytes were read.
fn found(stream: &[u8], range: &RangeInclusive<u64>) -> (Vec<u64>, u64) {
    let bytes = Cell::new(0);
    let mut reader = Reader::new(Counted { source: Cursor::new(stream), bytes: &bytes });
    reader.next().unwrap();
    let slack = 2 * CLOCK_STEP_NS;
    let wide = range.start().saturating_sub(slack)..=range.end().saturating_add(slack);
    let mut chosen = reader.seek_to_times(&wide).unwrap();
    let mut times = Vec::new();
    loop {
        let ask_again = match reader.next().unwrap() {
            Some(Item::Block(block)) => {
                let mut clock = (0, 0);
                for record in block.records() {
                    match record.body() {
                        Body::Clock(now) => clock = (now.time_ns.get(), now.realtime_ns.get()),
                        Body::Event(event) => {
                            times.push(clock.1 + (event.head.time_ns.get() - clock.0));
                        }
                        _ => {}
                    }
                }
                let (first, last) = block.wall_times().unwrap();
                let is_within = first <= *range.end() && *range.start() <= last;
                !is_within && block.offset() >= chosen
            }
            Some(_) => false,
            None => break,
        };
        if ask_again {
            chosen = reader.seek_to_times(&wide).unwrap();
        }
    }
    times.retain(|time| range.contains(time));
    (times, bytes.get())
}

/// Asks for a few hundred parts of the time; each must be as it is without a search.
fn assert_found(stream: &[u8]) {
    let all = found(stream, &(0..=u64::MAX)).0;
    let mut sorted = all.clone();
    sorted.sort_unstable();
    for at in (0..all.len()).step_by(all.len() / 20) {
        for seconds in [0, 1, 30, 4000] {
            let range = all[at]..=all[at] + seconds * SECOND;
            let wanted = |time: &&u64| range.contains(time);
            let wanted: Vec<u64> = all.iter().filter(wanted).copied().collect();
            assert!(found(stream, &range).0 == wanted, "{range:?}");
        }
        for range in [0..=sorted[at], sorted[at]..=u64::MAX] {
            let wanted = all.iter().filter(|time| range.contains(time)).count();
            assert_eq!(found(stream, &range).0.len(), wanted, "{range:?}");
        }
    }
}

#[test]
fn what_was_written_while_the_clock_was_elsewhere_is_found() {
    for parts in [
        // As in a recording over which the clock is put right some times.
        &[(0, 30), (-3600, 20), (3600, 20), (0, 30)][..],
        // Away and back within one piece, and to nowhere near.
        &[(0, 40), (-86_400 * 365, 2), (0, 40)],
        &[(0, 30), (-20, 30), (-40, 30), (-60, 30)],
        // Right from the beginning, and at the very end.
        &[(-3600, 1), (0, 60), (7200, 1)],
    ] {
        let counted = stream(parts, true, Codec::None);
        assert!(counted.len() as u64 > 6 * GRID, "{}", counted.len());
        assert_found(&counted);
    }
    assert_found(&stream(&[(0, 150), (-3600, 20), (3600, 150)], true, Codec::Lz4));
}

#[test]
fn without_counts_it_is_found_too() {
    assert_found(&stream(&[(0, 20), (-3600, 1), (0, 20)], false, Codec::None));
    // Long enough that pieces are passed over.
    let long = stream(&[(0, 50), (-3600, 40), (3600, 20), (0, 30)], false, Codec::None);
    assert!(long.len() as u64 > 12 * GRID);
    assert_found(&long);
    let (times, bytes) = found(&long, &(BASE + 130 * SECOND..=BASE + 131 * SECOND));
    assert!(times.len() as u64 > PER_SECOND && bytes < long.len() as u64, "{bytes}");
}

#[test]
fn where_the_clock_was_never_set_little_is_read() {
    let steady = stream(&[(0, 200)], true, Codec::None);
    let pieces = steady.len() as u64 / GRID;
    assert!(pieces > 16);
    for second in [1, 20, 100, 180, 250] {
        let range = BASE + second * SECOND..=BASE + (second + 1) * SECOND;
        let (times, bytes) = found(&steady, &range);
        assert!(second == 250 || times.len() as u64 >= PER_SECOND, "{}", times.len());
        // The pieces with the range, the last one, and for each of some dozen looks one window.
        assert!(bytes < 9 * GRID, "{second}: {bytes}");
    }
}

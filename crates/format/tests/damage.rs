//! Broken streams: nothing altered is ever delivered, what is missing is said, nothing panics.

#![allow(clippy::unwrap_used)]

mod sim;

use fsmon_format::error::Error;
use fsmon_format::number::to_u32;
use fsmon_format::record::SLOT;
use fsmon_format::stream::layout::{BlockHeader, FileHeader, HEADER_LEN, block_kind, codec};
use fsmon_format::stream::{Codec, Fault, Reader};
use sim::{CODECS, Decoded, Host, Random, decode, decode_salvaging, decode_strict, record_as};
use zerocopy::{FromBytes, IntoBytes};

/// A small stream of several blocks, and what a reader prints after each.
struct Sample {
    bytes: Vec<u8>,
    lines: Vec<String>,
    after_block: Vec<usize>,
    /// Where each block begins, and the end.
    starts: Vec<usize>,
}

fn sample() -> Sample {
    sample_as(Codec::None)
}

fn sample_as(codec: Codec) -> Sample {
    let mut random = Random(3);
    let mut host = Host::new();
    for n in 0..24 {
        // Short names: every bit of this will be flipped.
        match random.op() {
            sim::Op::Fork { parent, exe } => host.step(&sim::Op::Fork { parent, exe: exe % 9 }),
            sim::Op::Rename { from, to, len, .. } => {
                host.step(&sim::Op::Rename { from, to, len, len2: 20 });
            }
            other => host.step(&other),
        }
        if n % 6 == 5 {
            host.step(&sim::Op::Flush);
        }
    }
    host.end();
    let (_, bytes) = record_as(&host, codec);
    let decoded = decode_strict(&bytes);
    assert!(decoded.error.is_none());
    let mut starts = vec![HEADER_LEN];
    while *starts.last().unwrap() < bytes.len() {
        let at = *starts.last().unwrap();
        starts.push(at + BlockHeader::ref_from_prefix(&bytes[at..]).unwrap().0.total_len());
    }
    Sample { lines: decoded.lines, after_block: decoded.after_block, bytes, starts }
}

impl Sample {
    fn block(&self, n: usize) -> &[u8] {
        &self.bytes[self.starts[n]..self.starts[n + 1]]
    }

    fn blocks(&self) -> usize {
        self.starts.len() - 1
    }

    fn block_header(&self, n: usize) -> &BlockHeader {
        BlockHeader::ref_from_prefix(self.block(n)).unwrap().0
    }

    fn events(&self, n: usize) -> u64 {
        self.block_header(n).events.get().into()
    }

    /// Whether damage in the block before number `hit` costs block `n`. No frame begins but with the first.
    fn costs(&self, hit: usize, n: usize) -> bool {
        let is_window = self.block_header(n).codec == codec::ZSTD_WINDOW;
        n + 1 == hit || (is_window && n + 1 > hit && hit > 0)
    }

    fn lines_of(&self, n: usize) -> &[String] {
        let start = if n == 0 { 0 } else { self.after_block[n - 1] };
        &self.lines[start..self.after_block[n]]
    }

    /// The header and these blocks.
    fn of_blocks(&self, order: &[usize]) -> Vec<u8> {
        let blocks = order.iter().flat_map(|&n| self.block(n).iter().copied());
        self.bytes[..HEADER_LEN].iter().copied().chain(blocks).collect()
    }

    fn lines_of_blocks(&self, order: &[usize]) -> Vec<String> {
        order.iter().flat_map(|&n| self.lines_of(n).to_vec()).collect()
    }
}

fn fault(decoded: &Decoded) -> Fault {
    let damage = decoded.error.as_ref().and_then(Error::damage);
    damage.unwrap_or_else(|| panic!("{:?}", decoded.error)).fault
}

#[test]
fn cut_anywhere_a_prefix_is_left_and_said_to_be_one() {
    CODECS.iter().for_each(|&codec| cut_anywhere(&sample_as(codec)));
}

fn cut_anywhere(sample: &Sample) {
    for len in 0..sample.bytes.len() {
        let whole = sample.starts.iter().filter(|&&start| start <= len).count();
        let blocks = whole.saturating_sub(1);
        let prefix = sample.lines_of_blocks(&(0..blocks).collect::<Vec<_>>());
        let strict = decode_strict(&sample.bytes[..len]);
        assert_eq!(strict.lines, prefix, "cut at {len}");
        let between = sample.starts.contains(&len);
        match fault(&strict) {
            Fault::NoEnd => assert!(between, "cut at {len}"),
            Fault::Cut => assert!(!between, "cut at {len}"),
            Fault::NotAStream => assert_eq!(len, 0),
            other => panic!("cut at {len}: {other:?}"),
        }
        let salvaged = decode_salvaging(&sample.bytes[..len]);
        assert_eq!((salvaged.lines, salvaged.gaps.len()), (prefix.clone(), 1), "cut at {len}");
        let following = decode(Reader::new(&sample.bytes[..len]).follow(true));
        assert!(following.error.is_none() && following.lines == prefix, "cut at {len}");
    }
}

#[test]
fn no_flipped_bit_alters_a_record() {
    CODECS.iter().for_each(|&codec| flip_every_bit(&sample_as(codec)));
}

fn flip_every_bit(sample: &Sample) {
    let all: Vec<usize> = (0..sample.blocks()).collect();
    let mut bytes = sample.bytes.clone();
    for bit in 0..bytes.len() * 8 {
        // The header is mostly zeros; its own test flips all of its bits.
        if (300 * 8..HEADER_LEN * 8 - 64).contains(&bit) {
            continue;
        }
        bytes[bit / 8] ^= 1 << (bit % 8);
        let hit = sample.starts.iter().filter(|&&start| start <= bit / 8).count();
        let strict = decode_strict(&bytes);
        assert!(strict.error.is_some(), "bit {bit}");
        let before = hit.saturating_sub(1);
        assert_eq!(strict.lines, sample.lines_of_blocks(&all[..before]), "bit {bit}");
        let salvaged = decode_salvaging(&bytes);
        let left: Vec<usize> = all.iter().copied().filter(|n| !sample.costs(hit, *n)).collect();
        assert!(salvaged.error.is_none(), "bit {bit}: {:?}", salvaged.error);
        assert!(salvaged.lines == sample.lines_of_blocks(&left), "bit {bit}");
        let [gap] = salvaged.gaps[..] else { panic!("bit {bit}: {:?}", salvaged.gaps) };
        // What is behind the last header that is sound nobody knows.
        if (1..sample.blocks()).contains(&hit) {
            let lost = all.iter().filter(|n| sample.costs(hit, **n));
            let events: u64 = lost.map(|n| sample.events(*n)).sum();
            assert_eq!(gap.events, Some(events), "bit {bit}");
        }
        bytes[bit / 8] ^= 1 << (bit % 8);
    }
}

#[test]
fn a_lost_block_is_counted() {
    let sample = sample();
    let stream = sample.of_blocks(&[0, 2, 3, 4]);
    assert_eq!(fault(&decode_strict(&stream)), Fault::Missing(2));
    let salvaged = decode_salvaging(&stream);
    assert_eq!(salvaged.lines, sample.lines_of_blocks(&[0, 2, 3, 4]));
    let [gap] = salvaged.gaps[..] else { panic!("one gap") };
    let events = BlockHeader::ref_from_prefix(sample.block(1)).unwrap().0.events.get();
    assert_eq!((gap.blocks, gap.events, gap.bytes), (Some(1), Some(u64::from(events)), 0));
    assert!(events > 0);
}

#[test]
fn a_doubled_block_is_delivered_once() {
    let sample = sample();
    let stream = sample.of_blocks(&[0, 1, 1, 2, 3, 4]);
    assert_eq!(fault(&decode_strict(&stream)), Fault::Stale(1));
    let salvaged = decode_salvaging(&stream);
    assert_eq!(salvaged.lines, sample.lines);
    assert_eq!(salvaged.gaps[0].events, Some(0));
}

#[test]
fn swapped_blocks_are_never_out_of_order() {
    let sample = sample();
    let stream = sample.of_blocks(&[0, 2, 1, 3, 4]);
    assert_eq!(fault(&decode_strict(&stream)), Fault::Missing(2));
    let salvaged = decode_salvaging(&stream);
    assert_eq!(salvaged.lines, sample.lines_of_blocks(&[0, 2, 3, 4]));
    assert_eq!(salvaged.gaps.len(), 2);
}

/// Blocks that go on from those before them are not taken behind one that is missing, and a copy changes nothing.
#[cfg(feature = "zstd")]
#[test]
fn out_of_order_no_block_goes_on_from_a_wrong_one() {
    let sample = sample_as(Codec::ZstdWindow);
    let events = |blocks: std::ops::Range<usize>| blocks.map(|n| sample.events(n)).sum::<u64>();
    for (order, fault_of_it, left, missing) in [
        (&[0, 2, 3, 4][..], Fault::Missing(2), &[0][..], (4, events(1..5))),
        (&[0, 2, 1, 3, 4], Fault::Missing(2), &[0, 1], (3, events(2..5))),
        (&[0, 1, 1, 2, 3, 4], Fault::Stale(1), &[0, 1, 2, 3, 4], (0, 0)),
        (&[0, 1, 0, 2, 3, 4], Fault::Stale(0), &[0, 1, 2, 3, 4], (0, 0)),
    ] {
        let stream = sample.of_blocks(order);
        assert_eq!(fault(&decode_strict(&stream)), fault_of_it, "{order:?}");
        let salvaged = decode_salvaging(&stream);
        assert_eq!(salvaged.lines, sample.lines_of_blocks(left), "{order:?}");
        let counts = salvaged.gaps.iter().map(|gap| (gap.blocks.unwrap(), gap.events.unwrap()));
        let sum = counts.fold((0, 0), |sum, gap| (sum.0 + gap.0, sum.1 + gap.1));
        assert_eq!(sum, missing, "{order:?}");
    }
}

#[test]
fn a_block_of_another_stream_is_turned_away() {
    let sample = sample();
    let mut foreign = sample.block(1).to_vec();
    let mut header = *BlockHeader::ref_from_prefix(&foreign).unwrap().0;
    header.stream_tag = *b"else";
    header.seal(&foreign[SLOT..]);
    foreign[..SLOT].copy_from_slice(header.as_bytes());
    let mut stream = sample.of_blocks(&[0]);
    stream.extend_from_slice(&foreign);
    stream.extend_from_slice(&sample.bytes[sample.starts[1]..]);
    assert_eq!(fault(&decode_strict(&stream)), Fault::OtherStream);
    let salvaged = decode_salvaging(&stream);
    assert_eq!((salvaged.lines, salvaged.gaps.len()), (sample.lines, 1));
}

#[test]
fn bytes_put_in_or_taken_out_cost_the_block_they_hit() {
    let sample = sample();
    for at in [sample.starts[2], sample.starts[2] + 1, sample.starts[2] + 100] {
        for by in [1, 5, 63, 64, 1000] {
            let mut more = sample.bytes.clone();
            more.splice(at..at, vec![0xAA; by]);
            let salvaged = decode_salvaging(&more);
            assert!(salvaged.lines.starts_with(&sample.lines[..sample.after_block[1]]));
            assert!(salvaged.lines.ends_with(&sample.lines_of_blocks(&[4])), "{at} {by}");
            assert!(!salvaged.gaps.is_empty());
            let mut less = sample.bytes.clone();
            less.drain(at..at + by.min(70));
            let salvaged = decode_salvaging(&less);
            assert!(salvaged.lines.starts_with(&sample.lines[..sample.after_block[1]]));
            assert!(salvaged.lines.ends_with(&sample.lines_of_blocks(&[4])), "{at} {by}");
        }
    }
}

#[test]
fn zeros_and_garbage_after_the_end_are_told() {
    let sample = sample();
    for tail in [vec![0; 100_000], vec![0xF5; 100_000], sample.block(0).to_vec(), vec![7]] {
        let stream = [&sample.bytes[..], &tail[..]].concat();
        let strict = decode_strict(&stream);
        assert_eq!(strict.lines, sample.lines);
        assert!(strict.error.is_some());
        let salvaged = decode_salvaging(&stream);
        assert_eq!((salvaged.lines, salvaged.gaps.len()), (sample.lines.clone(), 1));
        assert_eq!(salvaged.gaps[0].events, Some(0));
    }
}

#[test]
fn space_never_written_is_the_end_of_a_stream_cut_short() {
    let sample = sample();
    let mut stream = sample.of_blocks(&[0, 1]);
    stream.resize(stream.len() + 300_000, 0);
    assert_eq!(fault(&decode_strict(&stream)), Fault::Unwritten);
    let salvaged = decode_salvaging(&stream);
    assert_eq!(salvaged.lines, sample.lines_of_blocks(&[0, 1]));
    assert_eq!((salvaged.gaps[0].bytes, salvaged.gaps[0].events), (300_000, None));
}

#[test]
fn garbage_is_no_stream() {
    let mut random = Random(11);
    for len in [0, 1, 8, 64, 5000, 300_000] {
        let garbage: Vec<u8> = (0..len).map(|_| u8::try_from(random.below(256)).unwrap()).collect();
        let strict = decode_strict(&garbage);
        assert!(strict.lines.is_empty() && fault(&strict) == Fault::NotAStream);
        let salvaged = decode_salvaging(&garbage);
        assert!(salvaged.lines.is_empty() && salvaged.error.is_none());
    }
}

/// A stream whose only block holds this payload, with checksums that match.
fn with_payload(payload: &[u8], change: impl Fn(&mut BlockHeader)) -> Vec<u8> {
    let mut stream = sim::header().encode();
    let mut header = BlockHeader::read_from_bytes(&[0; SLOT]).unwrap();
    header.sync = fsmon_format::stream::layout::SYNC;
    header.kind = block_kind::RECORDS;
    header.stream_tag = sim::header().stream_tag();
    header.flags = fsmon_format::stream::layout::block_flag::FINAL.into();
    header.stored_len = to_u32(payload.len()).into();
    header.raw_len = header.stored_len;
    header.payload_crc = crc32c::crc32c(payload).into();
    change(&mut header);
    header.header_crc = header.computed_crc().into();
    stream.extend_from_slice(header.as_bytes());
    stream.extend_from_slice(payload);
    stream
}

#[test]
fn a_newer_stream_is_read_as_far_as_it_is_known() {
    // A record of an unknown kind, two slots long, then a clock and a loss, and another unknown one.
    let mut payload = vec![0; 5 * SLOT];
    payload[..2].copy_from_slice(&[200, 2]);
    payload[SLOT] = 77;
    for (slot, record) in [(2, [8, 1]), (3, [5, 1]), (4, [201, 1])] {
        payload[slot * SLOT..slot * SLOT + 2].copy_from_slice(&record);
    }
    let decoded = decode_strict(&with_payload(&payload, |_| {}));
    assert!(decoded.error.is_none());
    assert_eq!(decoded.lines, ["loss 0 0"]);
    // Flags and a block kind that are not known.
    let decoded = decode_strict(&with_payload(&payload, |header| header.flags |= 0xff00));
    assert_eq!(decoded.lines, ["loss 0 0"]);
    let decoded = decode_strict(&with_payload(&payload, |header| header.kind = 9));
    assert!(decoded.error.is_none() && decoded.lines.is_empty());
}

#[test]
fn what_is_required_and_not_known_is_refused() {
    let decoded = decode_strict(&with_payload(&[0; SLOT], |header| header.codec = 9));
    assert_eq!(fault(&decoded), Fault::Codec(9));
    let incompatible = std::mem::offset_of!(FileHeader, incompatible);
    let major = std::mem::offset_of!(FileHeader, major);
    for (at, message) in [
        (incompatible, "byte 0: the stream needs features 0x4; a newer fsmon reads it"),
        (major, "byte 0: format version 4 is not known; a newer fsmon reads it"),
    ] {
        let mut stream = sample().bytes;
        stream[at] = 4;
        let crc = FileHeader::computed_crc(&stream[..HEADER_LEN]);
        stream[20..24].copy_from_slice(&crc.to_le_bytes());
        for decoded in [decode_strict(&stream), decode_salvaging(&stream)] {
            assert!(decoded.lines.is_empty());
            assert_eq!(decoded.error.unwrap().to_string(), message);
        }
    }
}

#[test]
fn other_sizes_are_of_a_newer_stream() {
    for field in [16, 128, 132] {
        let mut stream = sample().bytes;
        stream[field] ^= 4;
        assert!(matches!(fault(&decode_strict(&stream)), Fault::FileHeader(_)));
        let crc = FileHeader::computed_crc(&stream[..HEADER_LEN]);
        stream[20..24].copy_from_slice(&crc.to_le_bytes());
        for decoded in [decode_strict(&stream), decode_salvaging(&stream)] {
            assert!(decoded.lines.is_empty() && fault(&decoded) == Fault::Sizes);
        }
    }
}

/// A last block that is damaged in its payload still says how much is missing.
#[test]
fn a_lost_last_block_is_counted() {
    let sample = sample();
    let last = sample.blocks() - 1;
    let events = BlockHeader::ref_from_prefix(sample.block(last)).unwrap().0.events.get();
    for tail in [&[][..], &[7; 300]] {
        let mut stream = [&sample.bytes[..], tail].concat();
        stream[sample.starts[last] + SLOT + 20] ^= 1;
        let salvaged = decode_salvaging(&stream);
        let [gap] = salvaged.gaps[..] else { panic!("one gap") };
        assert_eq!((gap.blocks, gap.events), (Some(1), Some(u64::from(events))));
        let following = decode(Reader::new(&stream[..]).salvage(true).follow(true));
        assert_eq!(following.gaps.len(), 1, "it waits no longer");
    }
    // Not the last: what comes behind nobody knows.
    let mut stream = sample.of_blocks(&[0, 1]);
    stream[sample.starts[1] + SLOT + 20] ^= 1;
    assert_eq!(decode_salvaging(&stream).gaps[0].events, None);
}

/// A stream behind the torn beginning of a file header is found whole.
#[test]
fn a_header_is_found_within_a_broken_one() {
    let sample = sample();
    for len in [8, 24, 100, 192, 4000] {
        let stream = [&sample.bytes[..len], &sample.bytes[..]].concat();
        let salvaged = decode_salvaging(&stream);
        assert_eq!((salvaged.gaps.len(), salvaged.headers), (1, 1), "{len}");
        assert_eq!(salvaged.gaps[0].bytes, len as u64);
        assert!(salvaged.lines == sample.lines, "{len}");
    }
}

#[test]
fn lengths_out_of_bounds_are_refused() {
    for len in [1 << 16, u32::MAX, u32::MAX - 63] {
        let decoded = decode_strict(&with_payload(&[0; SLOT], |header| {
            header.stored_len = len.into();
            header.raw_len = len.into();
        }));
        assert_eq!(fault(&decoded), Fault::Length);
    }
}

/// Records by their bytes: each piece goes to its place in a slot.
fn slots(pieces: &[&[(usize, u32)]]) -> Vec<u8> {
    let mut payload = vec![0; pieces.len() * SLOT];
    for (slot, piece) in pieces.iter().enumerate() {
        payload[slot * SLOT + 1] = 1;
        for &(at, value) in *piece {
            let bytes = value.to_le_bytes();
            let len = if at == 0 { 1 } else { 4 };
            payload[slot * SLOT + at..slot * SLOT + at + len].copy_from_slice(&bytes[..len]);
        }
    }
    payload
}

#[test]
fn records_that_break_the_rules_are_refused() {
    let dir = |id, parent| [(0, 2), (4, id), (8, parent)];
    let clock = [(0, 8)];
    let end = |events| [(0, 7), (16, events)];
    let check = |pieces: &[&[(usize, u32)]], slot: usize, rule: &str| {
        let decoded = decode_strict(&with_payload(&slots(pieces), |_| {}));
        match fault(&decoded) {
            Fault::Record(at, said) => assert!(at == slot && said.contains(rule), "{at}: {said}"),
            other => panic!("{other:?}"),
        }
    };
    check(&[&dir(0, 0)], 0, "id 0");
    check(&[&dir(1, 2)], 0, "parent");
    check(&[&dir(1, 1)], 0, "parent");
    // A cycle by a rename.
    check(&[&dir(1, 0), &dir(2, 1), &dir(3, 2), &dir(1, 3)], 3, "below itself");
    check(&[&[(0, 2), (4, 1), (20, 33)]], 0, "longer than its record");
    check(&[&[(0, 4), (4, 1)], &[(0, 4), (4, 1)]], 1, "twice");
    check(&[&clock, &[(0, 1), (4, 9)]], 1, "directory");
    check(&[&clock, &[(0, 1), (20, 9)]], 1, "process");
    // Without a clock nobody knows when.
    for tag in [1, 5, 6, 7, 9, 10] {
        check(&[&[(0, tag)], &clock], 0, "before the block's first clock");
    }
    // A note whose path or text goes on behind its record.
    check(&[&clock, &[(0, 10), (20, 41)]], 1, "longer than its record");
    check(&[&clock, &[(0, 10), (20, 20 | 21 << 16)]], 1, "longer than its record");
    check(&[&clock, &end(0), &[(0, 9)]], 2, "behind the end");
    check(&[&clock, &end(0), &[(0, 10)]], 2, "behind the end");
    check(&[&clock, &end(0), &[(0, 200)], &clock], 3, "behind the end");
    check(&[&clock, &[(0, 1)], &end(2)], 2, "the end counts");
    let decoded = decode_strict(&with_payload(&slots(&[&clock, &[(0, 1)]]), |_| {}));
    assert_eq!(fault(&decoded), Fault::EventCount);
    // A record beyond the block.
    let mut payload = slots(&[&[]]);
    payload[1] = 2;
    assert!(matches!(fault(&decode_strict(&with_payload(&payload, |_| {}))), Fault::Record(0, _)));
    payload[1] = 0;
    assert!(matches!(fault(&decode_strict(&with_payload(&payload, |_| {}))), Fault::Record(0, _)));
}

#[test]
fn a_block_inside_a_damaged_block_is_never_taken() {
    // A whole block of this stream as the text of a string.
    let sample = sample();
    let inner = sample.block(3);
    let mut payload = vec![0; 64 + inner.len()];
    payload[..2].copy_from_slice(&[77, 1]);
    payload[64..].copy_from_slice(inner);
    payload[1] = u8::try_from(payload.len() / SLOT).unwrap();
    let mut stream = with_payload(&payload, |header| header.flags = 0.into());
    let last = stream.len() - 1;
    stream[last] ^= 1;
    let salvaged = decode_salvaging(&stream);
    assert!(salvaged.lines.is_empty());
    assert_eq!(salvaged.gaps[0].bytes, 64 + payload.len() as u64);
}

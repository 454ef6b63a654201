//! A ring between two real threads, also under ThreadSanitizer (`.ci/run`).

use super::{Consumer, Producer, exactly, ring};
use fsmon_format::record::{Body, Build, Records, Slot, TEXT_MAX};
use std::time::Duration;

#[test]
fn a_full_ring_takes_nothing_until_room_is_given_back() {
    let (mut producer, mut consumer) = ring(0);
    let mut build = Build::default();
    let mut pushed = 0;
    while producer.push(build.str(pushed + 1, b"x")) {
        pushed += 1;
    }
    producer.publish();
    assert_eq!(u64::from(pushed), producer.len());
    assert_eq!(consumer.peek().len(), pushed as usize);
    consumer.release(1);
    assert!(producer.push(build.str(9, b"y")) && !producer.push(build.str(9, b"y")));
}

/// xorshift64: any seed but 0.
struct Random(u64);

impl Random {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % limit
    }

    /// Now and then a pause: none, a turn for others, or a nap.
    fn pause(&mut self) {
        match self.below(1000) {
            0 => std::thread::sleep(Duration::from_micros(self.below(200))),
            1..10 => std::thread::yield_now(),
            _ => {}
        }
    }
}

/// The text of the record with this id: any length, and bytes that identify the record.
fn text(id: u32, room: &mut [u8; TEXT_MAX]) -> &[u8] {
    let mixed = id.wrapping_mul(0x9e37_79b9);
    // Mostly short, as real ones are.
    let len =
        if mixed.is_multiple_of(16) { (mixed >> 8) as usize % TEXT_MAX } else { id as usize % 70 };
    room[..len].fill(mixed as u8);
    &room[..len]
}

fn produce(mut producer: Producer, count: u32, seed: u64) {
    let (mut random, mut build, mut room) = (Random(seed), Build::default(), [0; TEXT_MAX]);
    for id in 1..=count {
        let record = build.str(id, text(id, &mut room));
        while !producer.push(record) {
            producer.publish();
            std::thread::yield_now();
        }
        if random.below(8) == 0 {
            producer.publish();
        }
        random.pause();
    }
}

/// Looks at each record whole; gives how many came.
fn consume(mut consumer: Consumer, seed: u64) -> u32 {
    let (mut random, mut room, mut last) = (Random(seed), [0; TEXT_MAX], 0);
    loop {
        let closed = consumer.closed();
        // Not always all that is there.
        let limit = if random.below(2) == 0 { usize::MAX } else { random.below(64) as usize + 1 };
        let count = look(consumer.peek(), limit, &mut last, &mut room, seed);
        consumer.release(count);
        random.pause();
        if count == 0 {
            if closed {
                return last;
            }
            consumer.sleep(Duration::from_secs(10));
        }
    }
}

/// Looks at records of up to `limit` slots and one more; gives how many slots they take.
fn look(
    slots: &[Slot],
    limit: usize,
    last: &mut u32,
    room: &mut [u8; TEXT_MAX],
    seed: u64,
) -> usize {
    let mut count = 0;
    for record in Records(slots) {
        if count > limit {
            break;
        }
        count += record.slots().len();
        if let Body::Str(head, bytes) = record.body() {
            *last += 1;
            assert_eq!(head.id.get(), *last, "seed {seed}");
            assert!(bytes == text(*last, room), "seed {seed}: record {last}");
        }
    }
    count
}

#[test]
fn records_arrive_whole_and_in_order_across_threads() {
    let started = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    let first = started.map_or(1, |time| time.as_nanos() as u64) | 1;
    for (round, len) in [256, 512, 4096, 1 << 16].into_iter().enumerate() {
        let seed = first.wrapping_add(2 * round as u64);
        let (producer, consumer) = exactly(len);
        let thread = std::thread::spawn(move || produce(producer, COUNT, seed));
        assert_eq!(consume(consumer, seed), COUNT, "seed {seed}, {len} slots");
        thread.join().expect("the producer");
    }
}

/// Records for each ring.
const COUNT: u32 = 150_000;

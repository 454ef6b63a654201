//! Every order in which the two threads may meet: loom reports a slot that is touched by both, and a
//! sleep that nobody ends as a deadlock. At most two preemptions, seconds; with three it takes a minute.
//!
//! ```text
//! LOOM_MAX_PREEMPTIONS=3 RUSTFLAGS="--cfg loom" \
//!   cargo test --release -p fsmon-engine --lib --target-dir target/loom ring::model
//! ```

use super::{Consumer, Producer, exactly};
use fsmon_format::record::{SLOT, Slot, tag};
use loom::thread;
use std::time::Duration;

const LEN: usize = 4;
/// No timeout: what is waited for must come.
const EVER: Duration = Duration::MAX;

fn check(model: impl Fn() + Send + Sync + 'static) {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound.get_or_insert(2);
    builder.check(model);
}

/// A record of `slots` slots that says which it is.
fn record(number: u8, slots: u8) -> [Slot; 3] {
    let mut bytes = [number; SLOT];
    (bytes[0], bytes[1]) = (tag::EVENT, slots);
    [Slot(bytes); 3]
}

/// Takes everything that comes until the producer is gone; gives the records' numbers.
fn drain(mut consumer: Consumer) -> Vec<u8> {
    let mut numbers = Vec::new();
    loop {
        let closed = consumer.closed();
        let slots = consumer.peek();
        let (count, mut at) = (slots.len(), 0);
        while at < count {
            let Slot(bytes) = slots[at];
            if bytes[0] == tag::EVENT {
                assert!(slots[at..at + usize::from(bytes[1])].iter().all(|slot| slot.0 == bytes));
                numbers.push(bytes[2]);
            }
            at += usize::from(bytes[1]);
        }
        consumer.release(count);
        if count == 0 {
            if closed {
                return numbers;
            }
            consumer.sleep(EVER);
        }
    }
}

fn push(producer: &mut Producer, number: u8, slots: u8) {
    let record = record(number, slots);
    while !producer.push(&record[..usize::from(slots)]) {
        producer.publish();
        thread::yield_now();
    }
}

#[test]
fn records_come_whole_and_in_order_round_the_end() {
    check(|| {
        let (mut producer, consumer) = exactly(LEN);
        let thread = thread::spawn(move || {
            // The second leaves one slot at the end, which is filled up before the third.
            for (number, slots) in [(1, 1), (2, 2), (3, 2)] {
                push(&mut producer, number, slots);
                producer.publish();
            }
        });
        assert_eq!(drain(consumer), [1, 2, 3]);
        thread.join().expect("the producer");
    });
}

#[test]
fn room_that_is_given_back_is_used_again() {
    check(|| {
        let (mut producer, consumer) = exactly(2);
        let thread = thread::spawn(move || (1..=4).for_each(|i| push(&mut producer, i, 1)));
        assert_eq!(drain(consumer), [1, 2, 3, 4]);
        thread.join().expect("the producer");
    });
}

#[test]
fn nobody_sleeps_through_what_is_published() {
    check(|| {
        let (mut producer, mut consumer) = exactly(LEN);
        let thread = thread::spawn(move || {
            for number in 1..=2 {
                push(&mut producer, number, 1);
                producer.publish();
            }
            // Alive until the end: it is not its end that wakes.
            producer
        });
        for _ in 0..2 {
            while !consumer.has_more() {
                consumer.sleep(EVER);
            }
            consumer.peek();
            consumer.release(1);
        }
        thread.join().expect("the producer");
    });
}

#[test]
fn the_end_wakes_whoever_sleeps_and_hides_nothing() {
    check(|| {
        let (mut producer, consumer) = exactly(LEN);
        let thread = thread::spawn(move || push(&mut producer, 1, 1));
        assert_eq!(drain(consumer), [1]);
        thread.join().expect("the producer");
    });
}

#[test]
fn a_producer_without_consumer_finds_out() {
    check(|| {
        let (mut producer, mut consumer) = exactly(LEN);
        let thread = thread::spawn(move || {
            consumer.peek();
        });
        push(&mut producer, 1, 1);
        producer.publish();
        while !producer.abandoned() {
            thread::yield_now();
        }
        thread.join().expect("the consumer");
    });
}

//! The ring, both ends in one thread: each record is pushed, and taken again with those of its turn.

use crate::Group;
use crate::records::{count_events, recording, records};
use criterion::Throughput;
use fsmon_engine::replay::Ring;
use fsmon_format::record::{Records, Slot, tag};

/// Records that are published at a time.
const BATCH: usize = 256;

/// Takes the published records, and returns the sum of the bytes that differ between records.
fn take(ring: &mut Ring) -> u64 {
    let mut sum = 0;
    loop {
        let slots = ring.peek();
        let len = slots.len();
        if len == 0 {
            return sum;
        }
        sum += fingerprint(slots);
        ring.release(len);
    }
}

/// The padding at the end of the ring, with whatever lay there before, does not change it.
fn fingerprint(slots: &[Slot]) -> u64 {
    let records =
        Records(slots).map(|record| record.slots()).filter(|slots| slots[0].0[0] != tag::PAD);
    let of = |slot: &Slot| u64::from(slot.0[0]) * 257 + u64::from(slot.0[32]);
    records.map(|slots| slots.iter().map(of).sum::<u64>()).sum()
}

pub(crate) fn bench(group: &mut Group<'_>) {
    let slots = records(&recording()).concat();
    let events = count_events(&slots);
    let expected = fingerprint(&slots);
    let all: Vec<&[Slot]> = Records(&slots).map(|record| record.slots()).collect();
    let mut ring = Ring::new(1 << 12);
    group.throughput(Throughput::Elements(events as u64));
    group.bench_function("ring", |bencher| {
        bencher.iter(|| {
            let mut sum = 0;
            for batch in all.chunks(BATCH) {
                for record in batch {
                    assert!(ring.push(record));
                }
                ring.publish();
                sum += take(&mut ring);
            }
            assert_eq!(sum, expected);
        });
    });
}

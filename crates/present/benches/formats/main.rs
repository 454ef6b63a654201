//! What each format costs by itself, in ns a line, on the records that the engine makes of what the kernel
//! said while sources were unpacked, made and removed, and files came and went
//! (`engine/benches/recorded`): the whole way of a record but ring and sink, so mirror, names, filters and
//! format.
//!
//! Run with `cargo bench -p fsmon-present --bench formats`; with `-- --test` all of it runs once.
//!
//! The same records come again and again, so definitions repeat, and each round's output is the first's.

#![allow(clippy::cast_possible_truncation, reason = "benchmarks count in small numbers")]
#![allow(missing_docs, clippy::unwrap_used)]

#[path = "../../../../engine/benches/stages/plain.rs"]
#[allow(dead_code, reason = "the engine's benchmark uses all of it")]
mod plain;
#[path = "../../../../engine/benches/stages/records.rs"]
#[allow(dead_code, reason = "the engine's benchmark uses all of it")]
mod records;
mod shown;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use fsmon_engine::limits::STRING_IDS;
use fsmon_format::mirror::Capacity;
use fsmon_format::record::{Build, Slot};
use fsmon_present::Format;
use fsmon_present::formats::Formats;
use records::{CAPACITY, recording, records};
use std::time::{Duration, Instant};

/// Wall time of the recording.
const REAL_NS: u64 = 1_700_000_000_000_000_000;

/// What is formatted at a time, and what comes of it.
struct Batch {
    slots: Vec<Slot>,
    out: Vec<u8>,
}

/// The records turn by turn, after one that sets the clock.
fn batches() -> Vec<Batch> {
    let recording = recording();
    let clock = Build::default().clock(recording.start_ns, REAL_NS).to_vec();
    let all = std::iter::once(clock).chain(records(&recording));
    all.map(|slots| Batch { slots, out: Vec::new() }).collect()
}

/// Formats all batches; how long that takes. `taken` is given what came of each.
fn round(
    formats: &mut Formats,
    batches: &mut [Batch],
    mut taken: impl FnMut(&mut Batch, &[u8]),
) -> Duration {
    let (mut sum, mut out) = (Duration::ZERO, Vec::with_capacity(1 << 18));
    let last = batches.len() - 1;
    for (number, batch) in batches.iter_mut().enumerate() {
        let start = Instant::now();
        formats.take(&batch.slots, &mut out);
        if number == last {
            formats.flush(&mut out);
        }
        sum += start.elapsed();
        taken(batch, &out);
        out.clear();
    }
    sum
}

fn bench(criterion: &mut Criterion, name: &str, format: Format) {
    let mut batches = batches();
    let mut formats = Formats::new(format, Capacity { strings: STRING_IDS, ..CAPACITY }).unwrap();
    let mut begin = Vec::new();
    formats.begin(&mut begin);
    round(&mut formats, &mut batches, |batch, out| batch.out = out.to_vec());
    let lines = formats.lines();
    let slots: Vec<Slot> = batches.iter().flat_map(|batch| batch.slots.clone()).collect();
    let outs: Vec<u8> = batches.iter().flat_map(|batch| batch.out.clone()).collect();
    assert_eq!(shown::check(format, &begin, &outs, &slots), lines);
    let mut group = criterion.benchmark_group("formats");
    group.throughput(Throughput::Elements(lines));
    group.bench_function(name, |bencher| {
        bencher.iter_custom(|times| {
            let before = formats.lines();
            let time = (0..times)
                .map(|_| {
                    round(&mut formats, &mut batches, |batch, out| {
                        // Blocks are numbered.
                        assert!(format == Format::Binary || out == batch.out);
                    })
                })
                .sum();
            assert_eq!(formats.lines() - before, times * lines);
            time
        });
    });
}

fn formats(criterion: &mut Criterion) {
    bench(criterion, "human", Format::Human);
    bench(criterion, "json", Format::Json);
    bench(criterion, "csv", Format::Csv);
    bench(criterion, "binary", Format::Binary);
}

criterion_group!(benches, formats);
criterion_main!(benches);

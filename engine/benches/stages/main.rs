//! What each stage of the engine costs by itself, in ns an event, on what the kernel said while sources
//! were unpacked, made and removed, and files came and went (`benches/recorded`). Every stage is held
//! against what `plain.rs` makes of the same bytes.
//!
//! Run with `cargo bench -p fsmon-engine --features internals --bench stages`; with `-- --test` all of it runs once.
//!
//! The recording is played again and again, each time as if its command were run once more: later, and on
//! new files. It is small, so all of it stays in a near cache.

#![allow(clippy::cast_possible_truncation, reason = "benchmarks count in small numbers")]
#![allow(missing_docs, clippy::unwrap_used)]

mod parse;
mod plain;
mod processes;
mod reader;
mod records;
mod ring;
mod tree;
mod writer;

use criterion::measurement::WallTime;
use criterion::{BenchmarkGroup, Criterion, Throughput, criterion_group, criterion_main};
use fsmon_engine::replay::Recording;
use records::recording;
use std::time::Duration;

type Group<'a> = BenchmarkGroup<'a, WallTime>;

/// Times `round` on one round of the recording after the other; each lasts as long as it says, and is of
/// `count` of what is counted.
fn rounds(
    group: &mut Group<'_>,
    name: &str,
    count: usize,
    mut round: impl FnMut(&Recording) -> Duration,
) {
    let mut recording = recording();
    group.throughput(Throughput::Elements(count as u64));
    group.bench_function(name, |bencher| {
        bencher.iter_custom(|times| {
            let mut sum = Duration::ZERO;
            for _ in 0..times {
                sum += round(&recording);
                recording.advance();
            }
            sum
        });
    });
}

fn stages(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("engine");
    group.measurement_time(Duration::from_secs(3)).warm_up_time(Duration::from_secs(1));
    parse::bench(&mut group);
    tree::bench(&mut group);
    processes::bench(&mut group);
    reader::bench(&mut group);
    ring::bench(&mut group);
    writer::bench(&mut group);
    group.finish();
}

criterion_group!(benches, stages);
criterion_main!(benches);

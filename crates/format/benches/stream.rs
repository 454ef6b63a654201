//! What the stream costs: ns and bytes an event, writing and reading, on made-up histories.
//!
//! Run with `cargo bench -p fsmon-format`. A build: it moves through 2,000 directories, with a new
//! process for every ten events. A service: it stays in 40 directories, with a new process for
//! every thousand. Both: processes with an ancestry of six, names of 4 to 36 bytes, now and then a
//! rename.

#![allow(missing_docs, clippy::unwrap_used)]

use fsmon_format::mirror::{Capacity, Mirror};
use fsmon_format::number::to_u32;
use fsmon_format::record::{Body, Build, Dir, Event, Proc, Record, Records, Slot};
use fsmon_format::stream::{BLOCK_CAPACITY, Header, Item, Reader, Writer};
use std::hint::black_box;
use std::io::{self, Write};
use std::time::Instant;
use zerocopy::FromZeros;

/// Events in the ring: some 4 MiB, as the engine's has, so that they come from the cache.
const RING: usize = 40_000;
/// Times the ring goes round.
const ROUNDS: usize = 25;
const EVENTS: usize = RING * ROUNDS;
const PROCESSES: u32 = 4096;
const CAPACITY: Capacity = Capacity { dirs: 4096, processes: 8192, strings: 1024, text: 1 << 22 };

struct Random(u64);

impl Random {
    fn below(&mut self, n: u32) -> u32 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        u32::try_from((self.0 >> 11) % u64::from(n)).unwrap()
    }
}

/// The records of a history: what comes first, and what comes round after round.
fn history(dirs: u32, events_per_process: u32) -> (Vec<Slot>, Vec<Slot>) {
    let (mut first, mut ring) = (Vec::new(), Vec::new());
    let (mut build, mut random) = (Build::default(), Random(42));
    for id in 1..=dirs {
        let mut head = Dir::new_zeroed();
        head.id = id.into();
        head.parent = if id == 1 { 0 } else { 1 + id / 5 }.min(id - 1).into();
        head.object = u64::from(id).into();
        let name = if id == 1 { "/srv/build".into() } else { format!("directory{id}") };
        first.extend_from_slice(build.dir(head, name.as_bytes()));
    }
    for id in 1..=64 {
        first.extend_from_slice(build.str(id, format!("/usr/lib/gcc/{id}/cc1").as_bytes()));
    }
    let mut proc = 0;
    for n in 0..to_u32(RING) {
        if n % events_per_process == 0 {
            // Process ids are used again; the first six stay and are everyone's ancestors.
            let serial = n / events_per_process;
            proc = if serial < 6 { serial + 1 } else { 7 + serial % (PROCESSES - 7) };
            let mut head = Proc::new_zeroed();
            head.id = proc.into();
            head.pid = (n + 100).into();
            head.parent = proc.min(7).saturating_sub(1).into();
            head.exe = (1 + n / events_per_process % 48).into();
            head.cgroup = 63.into();
            head.user = 64.into();
            ring.extend_from_slice(build.proc(head));
        }
        let mut head = Event::new_zeroed();
        // A compiler works for a while in one place.
        head.dir = (1 + (n / 8 + random.below(3)) % dirs).into();
        head.time_ns = (u64::from(n) * 10_000).into();
        head.mask = 0x108.into();
        head.proc = proc.into();
        head.object = u64::from(n).into();
        let name = [b'n'; 64];
        let len = 4 + random.below(33) as usize;
        let rename = n % 16 == 0;
        head.dir2 = if rename { head.dir } else { 0.into() };
        let len2 = if rename { 12 } else { 0 };
        ring.extend_from_slice(build.event(head, &name[..len], &name[..len2]));
    }
    (first, ring)
}

/// Every record, in order.
fn records(history: &(Vec<Slot>, Vec<Slot>)) -> impl Iterator<Item = Record<'_>> {
    let (first, ring) = history;
    Records(first).chain((0..ROUNDS).flat_map(|_| Records(ring)))
}

/// The best of fifteen, per event: other work on the machine only adds.
fn measure(what: &str, mut run: impl FnMut() -> u64) {
    let best = (0..15)
        .map(|_| {
            let start = Instant::now();
            let bytes = run();
            (start.elapsed(), bytes)
        })
        .min()
        .unwrap();
    let ns = best.0.as_nanos() as f64 / EVENTS as f64;
    let per_event = best.1 as f64 / EVENTS as f64;
    println!("{what:34} {ns:6.1} ns/event {per_event:6.1} bytes/event");
}

fn write(history: &(Vec<Slot>, Vec<Slot>), out: impl Write) -> u64 {
    let mut mirror = Mirror::new(CAPACITY);
    let mut writer = Writer::new(out, &Header::default(), CAPACITY).unwrap();
    for record in records(history) {
        mirror.define(&record.body());
        writer.push(&record, &mirror).unwrap();
    }
    writer.flush().unwrap();
    assert_eq!((writer.events(), writer.unresolved()), (EVENTS as u64, 0));
    writer.bytes()
}

fn read(stream: &[u8]) -> u64 {
    let mut reader = Reader::new(stream);
    let mut mirror = Mirror::new(BLOCK_CAPACITY);
    let mut events = 0;
    while let Some(item) = reader.next().unwrap() {
        if let Item::Block(block) = item {
            mirror.clear();
            for record in block.records() {
                let body = record.body();
                mirror.define(&body);
                events += usize::from(matches!(body, Body::Event(_)));
            }
        }
    }
    assert_eq!(events, EVENTS);
    stream.len() as u64
}

fn main() {
    for (name, dirs, events_per_process) in [("build", 2000, 10), ("service", 40, 1000)] {
        println!("{name}:");
        run(&history(dirs, events_per_process));
    }
}

fn run(history: &(Vec<Slot>, Vec<Slot>)) {
    let slots = history.0.len() + history.1.len() * ROUNDS;
    measure("mirror alone", || {
        let mut mirror = Mirror::new(CAPACITY);
        records(history).for_each(|record| {
            black_box(mirror.define(&record.body()));
        });
        slots as u64 * 64
    });
    measure("mirror and writer, to nowhere", || write(history, io::sink()));
    let path = std::env::temp_dir().join(format!("fsmon-bench-{}", std::process::id()));
    measure("mirror and writer, to a file", || {
        write(history, std::fs::File::create(&path).unwrap())
    });
    // The floor for the line above: what the kernel takes for as many bytes.
    measure("as many bytes, to a file", || {
        let mut file = std::fs::File::create(&path).unwrap();
        let block = vec![7; 65536];
        let blocks = slots / 1024;
        (0..blocks).for_each(|_| file.write_all(&block).unwrap());
        blocks as u64 * 65536
    });
    std::fs::remove_file(&path).unwrap();
    let mut stream = Vec::new();
    let mut mirror = Mirror::new(CAPACITY);
    let mut writer = Writer::new(&mut stream, &Header::default(), CAPACITY).unwrap();
    for record in records(history) {
        mirror.define(&record.body());
        writer.push(&record, &mirror).unwrap();
    }
    writer.finish().unwrap();
    measure("reader and mirror, from memory", || read(&stream));
}

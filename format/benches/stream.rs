//! What the stream costs: ns and bytes an event, writing and reading, on a made-up build.
//!
//! Run with `cargo bench -p fsmon-format`. The mix: 2,000 directories five deep, a process with
//! an ancestry of six for every ten events, names of 4 to 36 bytes, now and then a rename.

#![allow(missing_docs, clippy::unwrap_used)]

use fsmon_format::mirror::{Capacity, Mirror};
use fsmon_format::record::{Body, Build, Dir, Event, Proc, Record, Records, Slot};
use fsmon_format::stream::{BLOCK_CAPACITY, Header, Item, Reader, Writer};
use std::hint::black_box;
use std::io::{self, Write};
use std::time::Instant;
use zerocopy::FromZeros;

const EVENTS: usize = 1_000_000;
const DIRS: u32 = 2000;
const PROCESSES: u32 = 4096;
const CAPACITY: Capacity = Capacity { dirs: 4096, processes: 8192, strings: 1024, text: 1 << 22 };

struct Random(u64);

impl Random {
    fn below(&mut self, n: u32) -> u32 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        ((self.0 >> 11) % u64::from(n)) as u32
    }
}

/// The ring's records of a build.
fn ring() -> Vec<Slot> {
    let (mut ring, mut build, mut random) = (Vec::new(), Build::default(), Random(42));
    for id in 1..=DIRS {
        let mut head = Dir::new_zeroed();
        head.id = id.into();
        head.parent = if id == 1 { 0 } else { 1 + id / 5 }.min(id - 1).into();
        head.object = u64::from(id).into();
        let name = if id == 1 { "/srv/build".into() } else { format!("directory{id}") };
        ring.extend_from_slice(build.dir(head, name.as_bytes()));
    }
    for id in 1..=64 {
        ring.extend_from_slice(build.str(id, format!("/usr/lib/gcc/{id}/cc1").as_bytes()));
    }
    let mut proc = 0;
    for n in 0..EVENTS as u32 {
        if n % 10 == 0 {
            // Process ids are used again; the first six stay and are everyone's ancestors.
            proc = if n < 60 { n / 10 + 1 } else { 7 + (n / 10) % (PROCESSES - 7) };
            let mut head = Proc::new_zeroed();
            head.id = proc.into();
            head.pid = (n + 100).into();
            head.parent = proc.min(7).saturating_sub(1).into();
            head.exe = (1 + n / 10 % 48).into();
            head.cgroup = 63.into();
            head.user = 64.into();
            ring.extend_from_slice(build.proc(head));
        }
        let mut head = Event::new_zeroed();
        // A compiler works for a while in one place.
        head.dir = (1 + (n / 8 + random.below(3)) % DIRS).into();
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
    ring
}

/// The best of five, per event.
fn measure(what: &str, mut run: impl FnMut() -> u64) {
    let best = (0..5)
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

fn write(ring: &[Slot], out: impl Write) -> u64 {
    let mut mirror = Mirror::new(CAPACITY);
    let mut writer = Writer::new(out, &Header::default(), CAPACITY).unwrap();
    for record in Records(ring) {
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
    let ring = ring();
    measure("mirror alone", || {
        let mut mirror = Mirror::new(CAPACITY);
        Records(&ring).for_each(|record: Record<'_>| {
            black_box(mirror.define(&record.body()));
        });
        ring.len() as u64 * 64
    });
    measure("mirror and writer, to nowhere", || write(&ring, io::sink()));
    let dir = std::path::Path::new(if std::path::Path::new("/dev/shm").is_dir() {
        "/dev/shm"
    } else {
        "/tmp"
    });
    let path = dir.join(format!("fsmon-bench-{}", std::process::id()));
    measure("mirror and writer, to a file", || write(&ring, std::fs::File::create(&path).unwrap()));
    let _ = std::fs::remove_file(&path);
    let mut stream = Vec::new();
    let mut mirror = Mirror::new(CAPACITY);
    let mut writer = Writer::new(&mut stream, &Header::default(), CAPACITY).unwrap();
    for record in Records(&ring) {
        mirror.define(&record.body());
        writer.push(&record, &mirror).unwrap();
    }
    writer.finish().unwrap();
    measure("reader and mirror, from memory", || read(&stream));
}

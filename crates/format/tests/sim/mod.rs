//! A made-up host: what the engine would put on its ring, and what a reader must make of it,
//! worked out the slow and plain way.

#![allow(dead_code, unreachable_pub, reason = "each test uses its part")]

use fsmon_format::error::Error;
use fsmon_format::mirror::{Capacity, Mirror};
use fsmon_format::number::{to_u32, to_usize};
use fsmon_format::record::{
    self, Body, Build, Dir, End, Event, EventRef, Gap as GapRecord, Loss, Note, Proc, Record,
    Records, Slot, Stats,
};
use fsmon_format::stream::{BLOCK_CAPACITY, Codec, Gap, Header, Item, Reader, Writer};
use std::collections::HashMap;
use zerocopy::FromZeros;

pub const CAPACITY: Capacity =
    Capacity { dirs: 4096, processes: 4096, strings: 4096, text: 1 << 22 };

/// A step of the host's history. Numbers pick among what there is.
#[derive(Clone, Debug)]
pub enum Op {
    Mkdir { parent: usize, len: usize },
    RenameDir { dir: usize, parent: usize, len: usize },
    Rmdir { dir: usize },
    Event { dir: usize, proc: usize, len: usize },
    Rename { from: usize, to: usize, len: usize, len2: usize },
    Fork { parent: usize, exe: usize },
    Exit { proc: usize },
    Loss,
    Stats,
    Clock,
    Gap,
    Note { len: usize, len2: usize },
    Flush,
}

struct Node {
    id: u32,
    parent: u32,
    name: Vec<u8>,
    generation: u32,
    object: u64,
}

/// The ring's side and the plain model.
pub struct Host {
    pub ring: Vec<Step>,
    /// What a reader must print.
    pub lines: Vec<String>,
    dirs: Vec<Node>,
    processes: Vec<Proc>,
    strings: HashMap<u32, Vec<u8>>,
    free_dirs: Vec<u32>,
    free_processes: Vec<u32>,
    time_ns: u64,
    clock: (u64, u64),
    serial: u64,
    build: Build,
}

/// What the writer is told.
pub enum Step {
    Record(Vec<Slot>),
    Flush,
}

pub fn header() -> Header {
    Header {
        stream_id: *b"a stream of test",
        boot_id: *b"the boot of test",
        machine_id: *b"a machine o'test",
        time_ns: 1_000_000_000,
        realtime_ns: 1_700_000_000_000_000_000,
        version: b"1.0.0".to_vec(),
        kernel: b"6.18.0".to_vec(),
        host: b"builder".to_vec(),
        types: fsmon_format::kind::DEFAULT,
        roots: vec![b"/srv/build".to_vec()],
        ..Header::default()
    }
}

impl Host {
    pub fn new() -> Self {
        let header = header();
        let mut host = Host {
            ring: Vec::new(),
            lines: Vec::new(),
            dirs: Vec::new(),
            processes: Vec::new(),
            strings: HashMap::new(),
            free_dirs: (1..=to_u32(CAPACITY.dirs)).rev().collect(),
            free_processes: (1..=to_u32(CAPACITY.processes)).rev().collect(),
            time_ns: header.time_ns,
            clock: (header.time_ns, header.realtime_ns),
            serial: 0,
            build: Build::default(),
        };
        let id = host.free_dirs.pop().expect("room");
        host.define_dir(id, 0, b"/srv/build".to_vec(), 0, 7);
        host.fork(0, 0);
        host
    }

    /// A host that went through all of `ops`.
    pub fn after(ops: &[Op]) -> Self {
        let mut host = Host::new();
        for op in ops {
            host.step(op);
        }
        host
    }

    pub fn step(&mut self, op: &Op) {
        self.serial += 1;
        self.time_ns += 1000;
        match *op {
            Op::Mkdir { parent, len } => self.mkdir(parent, len),
            Op::RenameDir { dir, parent, len } => self.rename_dir(dir, parent, len),
            Op::Rmdir { dir } => self.rmdir(dir),
            Op::Event { dir, proc, len } => {
                let (dir, proc) = (self.pick_dir(dir), self.pick_proc(proc));
                let name = self.name(len);
                self.event(dir, &name, None, proc);
            }
            Op::Rename { from, to, len, len2 } => {
                let (from, to) = (self.pick_dir(from), self.pick_dir(to));
                let (name, name2) = (self.name(len), self.name(len2));
                self.event(to, &name, Some((from, &name2)), 0);
            }
            Op::Fork { parent, exe } => self.fork(parent, exe),
            Op::Exit { proc } => self.exit(proc),
            Op::Loss => self.loss(),
            Op::Stats => self.stats(),
            Op::Clock => {
                self.clock = (self.time_ns, 1_700_000_000_000_000_000 + self.time_ns + self.serial);
                let slots = self.build.clock(self.clock.0, self.clock.1).to_vec();
                self.ring.push(Step::Record(slots));
            }
            Op::Gap => self.gap(),
            Op::Note { len, len2 } => self.note(len, len2),
            Op::Flush => self.ring.push(Step::Flush),
        }
    }

    pub fn end(&mut self) {
        let mut end = End::new_zeroed();
        end.time_ns = self.time_ns.into();
        let slots = self.build.end(end).to_vec();
        self.ring.push(Step::Record(slots));
        self.lines.push("end".to_string());
    }

    fn pick_dir(&self, n: usize) -> u32 {
        self.dirs[n % self.dirs.len()].id
    }

    fn pick_proc(&self, n: usize) -> u32 {
        self.processes[n % self.processes.len()].id.get()
    }

    /// Any bytes but zero and the slash, as the kernel has it.
    fn name(&self, len: usize) -> Vec<u8> {
        let byte = |i: usize| match (i as u64 * 31 + self.serial * 7).to_le_bytes()[0] {
            0 | b'/' => b'x',
            other => other,
        };
        (0..len.min(record::NAME_MAX)).map(byte).collect()
    }

    fn node(&self, id: u32) -> &Node {
        self.dirs.iter().find(|node| node.id == id).expect("a directory that is there")
    }

    fn is_below(&self, mut at: u32, top: u32) -> bool {
        while at != 0 && at != top {
            at = self.node(at).parent;
        }
        at == top
    }

    fn mkdir(&mut self, parent: usize, len: usize) {
        let Some(id) = self.free_dirs.pop() else { return };
        let parent = self.pick_dir(parent);
        let name = self.name(len.max(1));
        self.define_dir(id, parent, name.clone(), 0, 1000 + self.serial);
        self.event(parent, &name, None, 0);
    }

    fn rename_dir(&mut self, dir: usize, parent: usize, len: usize) {
        let (id, parent) = (self.pick_dir(dir), self.pick_dir(parent));
        if self.node(id).parent == 0 || self.is_below(parent, id) {
            return;
        }
        let name = self.name(len.max(1));
        let (object, generation) = (self.node(id).object, self.node(id).generation + 1);
        self.dirs.retain(|node| node.id != id);
        self.define_dir(id, parent, name, generation, object);
    }

    fn rmdir(&mut self, dir: usize) {
        let id = self.pick_dir(dir);
        if self.node(id).parent == 0 || self.dirs.iter().any(|node| node.parent == id) {
            return;
        }
        self.dirs.retain(|node| node.id != id);
        self.free_dirs.push(id);
    }

    fn define_dir(&mut self, id: u32, parent: u32, name: Vec<u8>, generation: u32, object: u64) {
        let mut head = Dir::new_zeroed();
        head.id = id.into();
        head.parent = parent.into();
        head.generation = generation.into();
        head.object = object.into();
        let slots = self.build.dir(head, &name).to_vec();
        self.ring.push(Step::Record(slots));
        self.dirs.push(Node { id, parent, name, generation, object });
    }

    fn fork(&mut self, parent: usize, exe: usize) {
        let Some(id) = self.free_processes.pop() else { return };
        let parent = self.processes.get(parent % self.processes.len().max(1)).copied();
        let mut head = Proc::new_zeroed();
        head.id = id.into();
        head.pid = u32::try_from(1000 + self.serial).unwrap().into();
        if let Some(parent) = parent {
            head.ppid = parent.pid;
            head.parent = parent.id;
        }
        head.start_ns = self.time_ns.into();
        head.uid = (to_u32(exe) % 3).into();
        head.comm[..4].copy_from_slice(b"cc1\0");
        let exe_id = 1 + to_u32(exe) % 64;
        let cgroup_id = 2000 + to_u32(exe) % 3;
        self.string(exe_id, format!("/usr/bin/{}", "e".repeat(exe % 700)).into_bytes());
        self.string(cgroup_id, format!("/job/{}", exe % 3).into_bytes());
        self.string(3000, b"builder".to_vec());
        head.exe = exe_id.into();
        let exec_id = 100 + to_u32(exe) % 7;
        self.string(exec_id, format!("./{}", exe % 7).into_bytes());
        head.exec = exec_id.into();
        head.exe_root = (to_u32(exe) % 5).into();
        head.cgroup = cgroup_id.into();
        head.user = 3000.into();
        self.processes.push(head);
        let slots = self.build.proc(head).to_vec();
        self.ring.push(Step::Record(slots));
    }

    /// An image may go once nothing refers to it.
    fn exit(&mut self, proc: usize) {
        let at = proc % self.processes.len();
        let id = self.processes[at].id.get();
        if self.processes.len() > 1 && self.processes.iter().all(|p| p.parent.get() != id) {
            self.processes.remove(at);
            self.free_processes.push(id);
        }
    }

    /// The engine keeps a string while a process has it; here the first meaning stays.
    fn string(&mut self, id: u32, text: Vec<u8>) {
        if self.strings.contains_key(&id) {
            return;
        }
        let slots = self.build.str(id, &text).to_vec();
        self.ring.push(Step::Record(slots));
        self.strings.insert(id, text);
    }

    fn event(&mut self, dir: u32, name: &[u8], old: Option<(u32, &[u8])>, proc: u32) {
        let mut head = Event::new_zeroed();
        head.dir = dir.into();
        head.time_ns = self.time_ns.into();
        head.mask = if old.is_some() { 0x1000_0000 } else { 0x100 }.into();
        head.proc = proc.into();
        head.object = self.serial.into();
        let (dir2, name2) = old.unwrap_or((0, b""));
        head.dir2 = dir2.into();
        let slots = self.build.event(head, name, name2).to_vec();
        self.ring.push(Step::Record(slots));
        let line = format!(
            "{} {:x} {} {} {:?} {:?} {} {}",
            self.wall_time(),
            head.mask.get(),
            escaped(&self.path(dir)),
            escaped(&self.path(dir2)),
            escaped(name),
            escaped(name2),
            self.serial,
            self.who(proc),
        );
        self.lines.push(line);
    }

    fn wall_time(&self) -> u64 {
        self.clock.1 + (self.time_ns - self.clock.0)
    }

    fn path(&self, id: u32) -> Vec<u8> {
        if id == 0 {
            return b"-".to_vec();
        }
        let node = self.node(id);
        if node.parent == 0 {
            return node.name.clone();
        }
        let mut path = self.path(node.parent);
        path.push(b'/');
        path.extend_from_slice(&node.name);
        path
    }

    fn who(&self, id: u32) -> String {
        let Some(proc) = self.processes.iter().find(|proc| proc.id.get() == id) else {
            return String::from(".");
        };
        let text = |id: u32| escaped(self.strings.get(&id).map_or(&[][..], |text| text));
        format!(
            "{}:{} {} {} {} {} {} {} < {}",
            proc.pid.get(),
            proc.ppid.get(),
            proc.uid.get(),
            text(proc.exe.get()),
            text(proc.exec.get()),
            proc.exe_root.get(),
            text(proc.cgroup.get()),
            text(proc.user.get()),
            self.who(proc.parent.get()),
        )
    }

    fn loss(&mut self) {
        let mut loss = Loss::new_zeroed();
        loss.reason = 1.into();
        loss.first_ns = (self.time_ns - 500).into();
        loss.last_ns = self.time_ns.into();
        loss.count = self.serial.into();
        // Every other one concerns a directory.
        let dir =
            if self.serial.is_multiple_of(2) { self.pick_dir(to_usize(self.serial)) } else { 0 };
        loss.dir = dir.into();
        let slots = self.build.loss(loss).to_vec();
        self.ring.push(Step::Record(slots));
        let place = if dir == 0 { String::new() } else { format!(" {}", escaped(&self.path(dir))) };
        self.lines.push(format!("loss 1 {}{place}", self.serial));
    }

    fn stats(&mut self) {
        let mut stats = Stats::new_zeroed();
        stats.time_ns = self.time_ns.into();
        stats.kernel_events = self.serial.into();
        let slots = self.build.stats(stats).to_vec();
        self.ring.push(Step::Record(slots));
        self.lines.push(format!("stats {} {}", self.time_ns, self.serial));
    }
}

impl Host {
    fn gap(&mut self) {
        let mut gap = GapRecord::new_zeroed();
        gap.cause = (to_u32(to_usize(self.serial)) % 6).into();
        gap.time_ns = self.time_ns.into();
        (gap.from_ns, gap.to_ns) = (self.serial.into(), self.wall_time().into());
        gap.stream_id = header().stream_id;
        gap.events = self.serial.into();
        self.ring.push(Step::Record(self.build.gap(gap).to_vec()));
        let (cause, serial) = (gap.cause.get(), self.serial);
        self.lines.push(format!("gap {cause} {serial} {} {serial}", self.wall_time()));
    }

    fn note(&mut self, len: usize, len2: usize) {
        let (path, text) = (vec![b'p'; len], vec![b't'; len2]);
        let mut note = Note::new_zeroed();
        note.what = (to_u32(to_usize(self.serial)) % 7).into();
        note.time_ns = self.time_ns.into();
        self.ring.push(Step::Record(self.build.note(note, &path, &text).to_vec()));
        self.lines.push(format!("note {} {} {len} {len2}", note.what, self.time_ns));
    }
}

pub fn escaped(bytes: &[u8]) -> String {
    bytes.escape_ascii().to_string()
}

/// The consumer: the same for the ring and for a stream.
#[derive(Default)]
pub struct Consumer {
    pub lines: Vec<String>,
    clock: (u64, u64),
}

impl Consumer {
    pub fn take(&mut self, record: &Record<'_>, mirror: &mut Mirror) {
        let body = record.body();
        mirror.define(&body);
        match body {
            Body::Event(event) => self.event(&event, mirror),
            Body::Loss(loss) => {
                let (reason, count) = (loss.reason.get(), loss.count.get());
                let place = match loss.dir.get() {
                    0 => String::new(),
                    dir => format!(" {}", path(mirror, dir)),
                };
                self.lines.push(format!("loss {reason} {count}{place}"));
            }
            Body::Stats(stats) => self.lines.push(format!(
                "stats {} {}",
                stats.time_ns.get(),
                stats.kernel_events.get()
            )),
            Body::End(_) => self.lines.push("end".to_string()),
            Body::Clock(clock) => self.clock = (clock.time_ns.get(), clock.realtime_ns.get()),
            Body::Gap(gap) => {
                assert_eq!(gap.stream_before(), Some(header().stream_id));
                self.lines.push(format!(
                    "gap {} {} {} {}",
                    gap.cause, gap.from_ns, gap.to_ns, gap.events
                ));
            }
            Body::Note(note) => {
                let (head, len, len2) = (note.head, note.path.len(), note.text.len());
                assert!(note.path.iter().all(|byte| *byte == b'p'));
                assert!(note.text.iter().all(|byte| *byte == b't'));
                self.lines.push(format!("note {} {} {len} {len2}", head.what, head.time_ns));
            }
            _ => {}
        }
    }

    fn event(&mut self, event: &EventRef<'_>, mirror: &Mirror) {
        let head = event.head;
        let line = format!(
            "{} {:x} {} {} {:?} {:?} {} {}",
            self.clock.1 + (head.time_ns.get() - self.clock.0),
            head.mask.get(),
            path(mirror, head.dir.get()),
            path(mirror, head.dir2.get()),
            escaped(event.name),
            escaped(event.name2),
            head.object.get(),
            who(mirror, head.proc.get(), 0),
        );
        self.lines.push(line);
    }
}

fn path(mirror: &Mirror, dir: u32) -> String {
    let mut path = Vec::new();
    if dir == 0 || !mirror.append_dir_path(dir, &mut path) {
        path = b"-".to_vec();
    }
    escaped(&path)
}

fn who(mirror: &Mirror, id: u32, depth: usize) -> String {
    let Some(proc) = mirror.proc(id).filter(|_| depth < 1000) else { return String::from(".") };
    let text = |id: u32| escaped(mirror.string(id).unwrap_or_default());
    format!(
        "{}:{} {} {} {} {} {} {} < {}",
        proc.pid.get(),
        proc.ppid.get(),
        proc.uid.get(),
        text(proc.exe.get()),
        text(proc.exec.get()),
        proc.exe_root.get(),
        text(proc.cgroup.get()),
        text(proc.user.get()),
        who(mirror, proc.parent.get(), depth + 1),
    )
}

/// Every way to store blocks that was built in.
pub const CODECS: &[Codec] = &[
    Codec::None,
    #[cfg(feature = "lz4")]
    Codec::Lz4,
    #[cfg(feature = "zstd")]
    Codec::Zstd,
    #[cfg(feature = "zstd")]
    Codec::ZstdWindow,
];

/// Runs the ring through a mirror, a consumer and a writer. The lines printed live, and the stream.
pub fn record_all(host: &Host) -> (Vec<String>, Vec<u8>) {
    record_as(host, Codec::None)
}

pub fn record_as(host: &Host, codec: Codec) -> (Vec<String>, Vec<u8>) {
    let (lines, mut segments) = record_segments(host, codec, u64::MAX);
    (lines, segments.remove(0))
}

/// The same in segments of `bytes` bytes, or up to a block more.
pub fn record_segments(host: &Host, codec: Codec, bytes: u64) -> (Vec<String>, Vec<Vec<u8>>) {
    let mut header = header();
    let mut mirror = Mirror::new(CAPACITY);
    let mut live = Consumer { lines: Vec::new(), clock: (header.time_ns, header.realtime_ns) };
    let writer = Writer::new(Vec::new(), &header, CAPACITY).expect("a Vec takes all");
    let (mut writer, mut segments) = (writer.compress(codec), Vec::new());
    for step in &host.ring {
        match step {
            Step::Record(slots) => {
                for record in Records(slots) {
                    live.take(&record, &mut mirror);
                    writer.push(&record, &mirror).expect("a Vec takes all");
                }
            }
            Step::Flush => writer.flush().expect("a Vec takes all"),
        }
        if writer.bytes() >= bytes {
            writer.end_segment().expect("a Vec takes all");
            segments.push(std::mem::take(writer.get_mut()));
            writer.begin_segment(&mut header).expect("a Vec takes all");
        }
    }
    segments.push(writer.finish().expect("a Vec takes all"));
    (live.lines, segments)
}

/// What a reader made of a stream.
#[derive(Default)]
pub struct Decoded {
    pub lines: Vec<String>,
    pub gaps: Vec<Gap>,
    pub headers: usize,
    /// Lines after each block.
    pub after_block: Vec<usize>,
    pub error: Option<Error>,
}

/// The lines of what is left.
pub fn take_all<R: std::io::Read>(reader: &mut Reader<R>) -> Vec<String> {
    let decoded = decode_on(reader);
    assert!(decoded.error.is_none() && decoded.gaps.is_empty(), "{:?}", decoded.error);
    decoded.lines
}

/// Reads until the end, an error, or nothing more for now.
pub fn decode<R: std::io::Read>(mut reader: Reader<R>) -> Decoded {
    decode_on(&mut reader)
}

fn decode_on<R: std::io::Read>(reader: &mut Reader<R>) -> Decoded {
    let mut mirror = Mirror::new(BLOCK_CAPACITY);
    let (mut consumer, mut decoded) = (Consumer::default(), Decoded::default());
    loop {
        match reader.next() {
            Ok(None | Some(Item::Pending)) => break,
            Ok(Some(Item::Header(_))) => decoded.headers += 1,
            Ok(Some(Item::Gap(gap))) => decoded.gaps.push(gap),
            Ok(Some(Item::Block(block))) => {
                mirror.clear();
                for record in block.records() {
                    consumer.take(&record, &mut mirror);
                }
                decoded.after_block.push(consumer.lines.len());
            }
            Err(error) => {
                decoded.error = Some(error);
                break;
            }
        }
    }
    decoded.lines = consumer.lines;
    decoded
}

pub fn decode_strict(bytes: &[u8]) -> Decoded {
    decode(Reader::new(bytes))
}

pub fn decode_salvaging(bytes: &[u8]) -> Decoded {
    decode(Reader::new(bytes).salvage(true))
}

/// A pseudo-random sequence (xorshift), the same on every run.
pub struct Random(pub u64);

impl Random {
    pub fn below(&mut self, n: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) as usize % n
    }

    /// Mostly events, as a build has them.
    pub fn op(&mut self) -> Op {
        let (a, b, len) = (self.below(1 << 30), self.below(1 << 30), self.below(40));
        match self.below(100) {
            0..3 => Op::Mkdir { parent: a, len },
            3..5 => Op::RenameDir { dir: a, parent: b, len },
            5..6 => Op::Rmdir { dir: a },
            6..10 => Op::Fork { parent: a, exe: b },
            10..13 => Op::Exit { proc: a },
            13..20 => Op::Rename { from: a, to: b, len, len2: self.below(256) },
            20 => Op::Loss,
            21 => Op::Stats,
            22 => Op::Clock,
            23 => Op::Gap,
            24 => Op::Note { len, len2: self.below(60) },
            _ => Op::Event { dir: a, proc: b, len },
        }
    }
}

//! Streams of every version of the format, kept for ever, and what is in them.
//!
//! A golden file that is missing is written, and the test fails once so that it is looked at and
//! kept. A file that is there is never written again: today's reader must read it as it is.

#![allow(clippy::unwrap_used)]

use fsmon_format::kind;
use fsmon_format::mirror::{Capacity, Mirror};
use fsmon_format::number::to_u32;
use fsmon_format::record::{
    self, Body, Build, COUNT_UNKNOWN, Cause, Dir, End, Event, Gap, Loss, Note, Proc, Record, SLOT,
    Stats, What, event_flag, note_flag, proc_flag, tag,
};
use fsmon_format::stream::layout::{BlockHeader, HEADER_LEN, MINOR};
use fsmon_format::stream::{Codec, Filesystem, Header, Item, Reader, StreamIds, Writer};
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use zerocopy::{FromBytes, FromZeros, IntoBytes};

const CAPACITY: Capacity = Capacity { dirs: 64, processes: 64, strings: 64, text: 1 << 16 };

/// The engine and the consumer that fills in names, in one hand.
struct Ring {
    mirror: Mirror,
    writer: Writer<Vec<u8>>,
    build: Build,
}

impl Ring {
    fn new(header: &Header, codec: Codec) -> Self {
        Ring {
            mirror: Mirror::new(CAPACITY),
            writer: Writer::new(Vec::new(), header, CAPACITY).unwrap().compress(codec),
            build: Build::default(),
        }
    }

    fn push(&mut self, make: impl FnOnce(&mut Build) -> &[record::Slot]) {
        let (record, _) = Record::split_first(make(&mut self.build)).unwrap();
        self.mirror.define(&record.body());
        self.writer.push(&record, &self.mirror).unwrap();
    }

    fn dir(&mut self, id: u32, parent: u32, generation: u32, name: &[u8]) {
        let mut head = Dir::new_zeroed();
        head.id = id.into();
        head.parent = parent.into();
        head.fs = 1.into();
        head.generation = generation.into();
        head.object = (0xd1d1_0000 + u64::from(id)).into();
        self.push(|build| build.dir(head, name));
    }

    fn proc(&mut self, id: u32, pid: u32, parent: (u32, u32), comm: &[u8], strings: [u32; 4]) {
        let mut head = Proc::new_zeroed();
        head.flags = (proc_flag::COMM | proc_flag::CRED).into();
        head.id = id.into();
        head.pid = pid.into();
        head.ppid = parent.0.into();
        head.parent = parent.1.into();
        head.start_ns = (5_000_000_000 + u64::from(pid)).into();
        head.uid = 1000.into();
        head.gid = 100.into();
        head.comm[..comm.len()].copy_from_slice(comm);
        [head.exe, head.cgroup, head.user, head.cmdline] = strings.map(Into::into);
        head.cgroup_id = 4711.into();
        self.push(|build| build.proc(head));
    }

    fn str(&mut self, id: u32, text: &[u8]) {
        self.push(|build| build.str(id, text));
    }

    fn event(&mut self, time: u64, mask: u32, flags: u16, dir: u32, name: &[u8], proc: u32) {
        self.rename(time, mask, flags, (dir, name), (0, b""), proc);
    }

    fn rename(
        &mut self,
        time: u64,
        mask: u32,
        flags: u16,
        (dir, name): (u32, &[u8]),
        (dir2, name2): (u32, &[u8]),
        proc: u32,
    ) {
        let mut head = Event::new_zeroed();
        head.flags = flags.into();
        head.dir = dir.into();
        head.time_ns = (10_000_000_000 + time).into();
        head.mask = mask.into();
        head.proc = proc.into();
        head.object = (0x0b0b_0000 + time).into();
        head.dir2 = dir2.into();
        self.push(|build| build.event(head, name, name2));
    }
}

fn header() -> Header {
    Header {
        stream_id: *b"\x01\x02\x03\x04stream of v1",
        boot_id: *b"boot boot boot b",
        machine_id: *b"machine machine ",
        time_ns: 10_000_000_000,
        realtime_ns: 1_767_225_600_000_000_000,
        version: b"1.0.0".to_vec(),
        kernel: b"6.18.1".to_vec(),
        host: b"builder".to_vec(),
        types: kind::DEFAULT,
        filesystems: vec![Filesystem {
            index: 1,
            fsid: 0x1122_3344_5566_7788,
            fs_type: b"ext4".to_vec(),
            mount: b"/srv".to_vec(),
        }],
        roots: vec![b"/srv/b".to_vec()],
        ..Header::default()
    }
}

fn end(ring: &mut Ring) {
    let mut end = End::new_zeroed();
    end.time_ns = 10_000_000_900u64.into();
    ring.push(|build| build.end(end));
}

/// One event, for the specification.
fn small() -> Vec<u8> {
    let mut ring = Ring::new(&header(), Codec::None);
    ring.dir(1, 0, 0, b"/srv/b");
    ring.str(1, b"/usr/bin/cc");
    ring.str(2, b"builder");
    ring.proc(1, 4242, (4200, 0), b"cc", [1, 0, 2, 0]);
    ring.event(500, kind::CREATE | kind::CLOSE_WRITE, 0, 1, b"main.o", 1);
    end(&mut ring);
    ring.writer.finish().unwrap()
}

/// What runs, and what exec was given.
fn executed() -> Vec<u8> {
    let mut ring = Ring::new(&header(), Codec::None);
    ring.dir(1, 0, 0, b"/srv/b");
    let texts = [&b"/usr/bin/dash"[..], b"./configure", b"memfd:\xff", b"/dev/fd/3", b"end/of/it"];
    for (id, text) in texts.into_iter().enumerate() {
        ring.str(to_u32(id) + 1, text);
    }
    let (late, unsure, cut) = (proc_flag::EXE_LATE, proc_flag::EXE_UNSURE, proc_flag::EXE_CUT);
    let images = [
        (1, 2, 0, 0),
        (3, 4, 4_026_532_201, 0),
        (5, 0, 0, proc_flag::EXE_READ | late | cut),
        (1, 1, 0, unsure),
        (0, 2, 0, 0),
    ];
    for (id, (exe, exec, root, flags)) in (1..).zip(images) {
        let mut head = Proc::new_zeroed();
        head.flags = (proc_flag::COMM | proc_flag::CRED | flags).into();
        (head.id, head.pid, head.ppid) = (id.into(), (4000 + id).into(), 1.into());
        head.comm[..2].copy_from_slice(b"sh");
        (head.exe, head.exec, head.exe_root) = (exe.into(), exec.into(), root.into());
        ring.push(|build| build.proc(head));
        ring.event(id.into(), kind::CREATE, 0, 1, b"f", id);
    }
    end(&mut ring);
    ring.writer.finish().unwrap()
}

impl Ring {
    fn gap(&mut self, cause: Cause, stream_id: [u8; 16], events: u64, time: u64) {
        let mut gap = Gap::new_zeroed();
        gap.cause = cause.code().into();
        gap.time_ns = (10_000_000_000 + time).into();
        gap.from_ns = 1_767_225_000_123_456_789_u64.into();
        gap.to_ns = (1_767_225_600_000_000_000 + time).into();
        gap.stream_id = stream_id;
        gap.events = events.into();
        self.push(|build| build.gap(gap));
    }

    fn note(&mut self, what: What, flags: u16, time: u64, path: &[u8], text: &[u8]) {
        let mut note = Note::new_zeroed();
        note.what = what.code().into();
        note.flags = flags.into();
        note.time_ns = (10_000_000_000 + time).into();
        if what.is_of_watch() {
            note.types = kind::DEFAULT.into();
        }
        self.push(|build| build.note(note, path, text));
    }
}

/// A stream of a history, with all that its recorder may say besides changes.
fn history(codec: Codec) -> Vec<u8> {
    let mut ring = Ring::new(&Header { minor: MINOR, ..header() }, codec);
    ring.gap(Cause::Killed, *b"the stream befor", 1234, 1);
    ring.note(What::WatchBegan, note_flag::RECURSIVE, 2, b"/srv/b", b"");
    // A block without an event, a loss or counters.
    ring.writer.flush().unwrap();
    ring.dir(1, 0, 0, b"/srv/b");
    ring.str(1, b"/usr/bin/cc");
    ring.str(2, b"builder");
    ring.proc(1, 4242, (4200, 0), b"cc", [1, 0, 2, 0]);
    ring.note(What::WatchPending, 0, 3, b"/srv/not yet", b"");
    ring.event(4, kind::CREATE | kind::CLOSE_WRITE, 0, 1, b"main.o", 1);
    let text = b"not enough inotify watches, or: \xff\n";
    ring.note(What::WatchFailed, note_flag::RECURSIVE, 5, b"/srv/\xfe", text);
    ring.event(6, kind::DELETE, 0, 1, b"main.o", 1);
    let segment = b"20260101T000000Z-01020304-000000.fsmon";
    ring.note(What::SegmentDeleted, 0, 7, segment, b"cc wrote 97 % of it");
    ring.gap(Cause::Disk, header().stream_id, 2, 8);
    ring.gap(Cause::Other(77), [0; 16], COUNT_UNKNOWN, 9);
    ring.event(10, kind::CREATE, 0, 1, b"after.o", 1);
    ring.note(What::Other(99), 0, 11, b"", b"of a later version");
    ring.note(What::WatchEnded, note_flag::RECURSIVE, 12, b"/srv/b", b"");
    ring.note(What::WatchEnded, 0, 13, &[b'p'; 4000], &[b't'; 96]);
    let mut loss = Loss::new_zeroed();
    (loss.reason, loss.count, loss.total) = (1.into(), COUNT_UNKNOWN.into(), 1.into());
    (loss.first_ns, loss.last_ns) = (10_000_000_013_u64.into(), 10_000_000_014_u64.into());
    ring.push(|build| build.loss(loss));
    end(&mut ring);
    ring.writer.finish().unwrap()
}

/// Every kind of record, and what is unusual about each.
fn all(codec: Codec) -> Vec<u8> {
    let (before, last) = all_in_segments(codec, false);
    [before, last].concat()
}

/// The same, with the second block in another segment.
fn all_in_segments(codec: Codec, is_apart: bool) -> (Vec<u8>, Vec<u8>) {
    let mut header = header();
    let mut ring = Ring::new(&header, codec);
    ring.dir(1, 0, 0, b"/srv/b");
    ring.dir(2, 1, 0, b"src");
    ring.dir(3, 2, 0, b"not UTF-8: \xff\xfe");
    for (id, text) in
        [&b"/usr/bin/make"[..], b"/usr/bin/cc", b"/user.slice", b"builder"].into_iter().enumerate()
    {
        ring.str(to_u32(id) + 1, text);
    }
    ring.str(5, b"cc\0-c\0main.c");
    ring.proc(1, 4200, (1, 0), b"make", [1, 3, 4, 0]);
    ring.proc(2, 4242, (4200, 1), b"cc", [2, 3, 4, 5]);
    ring.event(1, kind::CREATE, 0, 3, b"main.o", 2);
    ring.event(2, kind::CLOSE_WRITE | kind::MODIFY, 1, 3, b"main.o", 2);
    ring.event(3, kind::CREATE, event_flag::FOUND, 1, &[b'n'; 24], 0);
    ring.event(4, kind::CREATE, 3, 1, &[b'n'; 25], 0);
    ring.event(5, kind::DELETE, 2, 1, &[b'l'; 255], 1);
    ring.rename(6, kind::RENAME, 0, (3, b"new"), (2, b"old"), 2);
    ring.rename(7, kind::RENAME, 0, (0, b""), (2, b"moved out"), 2);
    ring.rename(8, kind::RENAME, 0, (2, b"moved in"), (0, b""), 2);
    ring.rename(9, kind::RENAME, 0, (2, &[b'a'; 255]), (2, &[b'b'; 255]), 2);
    ring.rename(10, kind::RENAME | kind::ONDIR, 0, (1, b"lib"), (1, b"src"), 1);
    ring.dir(2, 1, 1, b"lib");
    ring.event(11, kind::ATTRIB | kind::ONDIR, 0, 3, b"", 1);
    let mut loss = Loss::new_zeroed();
    loss.reason = 1.into();
    loss.first_ns = 10_000_000_011u64.into();
    loss.last_ns = 10_000_000_020u64.into();
    loss.count = COUNT_UNKNOWN.into();
    loss.total = 1.into();
    ring.push(|build| build.loss(loss));
    ring.push(|build| build.clock(10_000_000_030, 1_767_225_600_000_000_031));
    let mut stats = Stats::new_zeroed();
    stats.time_ns = 10_000_000_030u64.into();
    stats.realtime_ns = 1_767_225_600_000_000_031u64.into();
    stats.events = 11.into();
    stats.kernel_events = 12.into();
    ring.push(|build| build.stats(stats));
    let mut before = Vec::new();
    if is_apart {
        ring.writer.end_segment().unwrap();
        before = std::mem::take(ring.writer.get_mut());
        header.time_ns += 1000;
        header.realtime_ns += 1000;
        ring.writer.begin_segment(&mut header).unwrap();
    }
    ring.writer.flush().unwrap();
    // A new block defines anew; the ids of the stream stay, save for a directory that is new.
    ring.event(40, kind::CREATE, 0, 3, b"after.o", 2);
    let mut head = Dir::new_zeroed();
    head.id = 3.into();
    head.parent = 1.into();
    head.object = 99.into();
    ring.push(|build| build.dir(head, b"another directory"));
    ring.event(41, kind::CREATE, 0, 3, b"in it", 2);
    end(&mut ring);
    (before, ring.writer.finish().unwrap())
}

/// Everything that is in a stream, a line each.
fn dump(stream: &[u8]) -> String {
    let mut text = String::new();
    let mut reader = Reader::new(stream);
    while let Some(item) = reader.next().unwrap() {
        match item {
            Item::Header(header) => head(&mut text, header),
            Item::Block(block) => {
                let (first, last) = block.times();
                writeln!(
                    text,
                    "block {} at {}: events {}+{}, times {first}..{last}, loss {}",
                    block.number(),
                    block.offset(),
                    block.first_event(),
                    block.events(),
                    block.has_loss(),
                )
                .unwrap();
                block.records().for_each(|record| line(&mut text, &record.body()));
            }
            Item::Gap(_) | Item::Pending => unreachable!("strict, and not following"),
        }
    }
    text
}

fn head(text: &mut String, header: &Header) {
    let shown = |bytes: &[u8]| bytes.escape_ascii().to_string();
    writeln!(
        text,
        "stream {} boot {} machine {} segment {} time {} {} first event {} block {}\n\
         version {} kernel {} host {} types {:#x} left out {}",
        shown(&header.stream_id),
        shown(&header.boot_id),
        shown(&header.machine_id),
        header.segment,
        header.time_ns,
        header.realtime_ns,
        header.first_event,
        header.first_block,
        shown(&header.version),
        shown(&header.kernel),
        shown(&header.host),
        header.types,
        header.left_out,
    )
    .unwrap();
    if header.minor != 0 {
        writeln!(text, "minor version {}", header.minor).unwrap();
    }
    for fs in &header.filesystems {
        let (fs_type, mount) = (shown(&fs.fs_type), shown(&fs.mount));
        writeln!(text, "filesystem {} {:#x} {fs_type} {mount}", fs.index, fs.fsid).unwrap();
    }
    for root in &header.roots {
        writeln!(text, "root {}", shown(root)).unwrap();
    }
}

fn line(text: &mut String, body: &Body<'_>) {
    let line = match body {
        Body::Event(e) => format!(
            "EVENT {:?} {:?} {} {:#x} found {} dir {} {:?} dir2 {} {:?} proc {} object {:#x}",
            kind::in_causal_order(e.head.mask.get()).map(|k| k.name).collect::<Vec<_>>(),
            e.attribution(),
            e.head.time_ns,
            e.head.mask.get(),
            e.found(),
            e.head.dir,
            e.name.escape_ascii().to_string(),
            e.head.dir2,
            e.name2.escape_ascii().to_string(),
            e.head.proc,
            e.head.object.get(),
        ),
        Body::Dir(d, name) => format!(
            "DIR {} parent {} fs {} generation {} object {:#x} {:?}",
            d.id,
            d.parent,
            d.fs,
            d.generation,
            d.object.get(),
            name.escape_ascii().to_string()
        ),
        Body::Proc(p) => format!(
            "PROC {} pid {} ppid {} parent {} prev {} start {} uid {} gid {} comm {:?} exe {} \
             cgroup {} ({}) user {} cmdline {} flags {:#x}{}",
            p.id,
            p.pid,
            p.ppid,
            p.parent,
            p.prev,
            p.start_ns,
            p.uid,
            p.gid,
            p.comm.escape_ascii().to_string(),
            p.exe,
            p.cgroup,
            p.cgroup_id,
            p.user,
            p.cmdline,
            p.flags.get(),
            executed_as(p),
        ),
        Body::Str(s, bytes) => format!("STR {} {:?}", s.id, bytes.escape_ascii().to_string()),
        Body::Loss(l) => format!(
            "LOSS {:?} {}..{} count {} total {}",
            record::Reason::from_code(l.reason.get()),
            l.first_ns,
            l.last_ns,
            l.count,
            l.total
        ),
        Body::Stats(s) => format!(
            "STATS {} {} kernel {} events {} losses {}",
            s.time_ns, s.realtime_ns, s.kernel_events, s.events, s.losses
        ),
        Body::End(e) => {
            format!("END {} reason {} events {} losses {}", e.time_ns, e.reason, e.events, e.losses)
        }
        Body::Clock(c) => format!("CLOCK {} {}", c.time_ns, c.realtime_ns),
        Body::Gap(g) => format!(
            "GAP {:?} {} from {} to {} stream {:?} events {}",
            Cause::from_code(g.cause.get()),
            g.time_ns,
            g.from_ns,
            g.to_ns,
            g.stream_id.escape_ascii().to_string(),
            g.events
        ),
        Body::Note(n) => format!(
            "NOTE {:?} {} types {:#x} recursive {} {:?} {:?}",
            n.what(),
            n.head.time_ns,
            n.head.types.get(),
            n.is_recursive(),
            n.path.escape_ascii().to_string(),
            n.text.escape_ascii().to_string(),
        ),
        Body::Answer(_) | Body::Skip => "skipped".to_string(),
        Body::Malformed => unreachable!("the reader refuses it"),
    };
    text.push_str(&line);
    text.push('\n');
}

/// Nothing in streams from before there was such a field.
fn executed_as(image: &Proc) -> String {
    match (image.exec.get(), image.exe_root.get()) {
        (0, 0) => String::new(),
        (exec, root) => format!(" exec {exec} root {root}"),
    }
}

fn golden(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden").join(name)
}

#[track_caller]
fn check(name: &str, today: &[u8]) {
    let kept = keep(name, today);
    assert!(today == kept, "today's writer writes other bytes for the same records");
}

/// The golden stream of that name, which holds what it is said to hold.
#[track_caller]
fn keep(name: &str, today: &[u8]) -> Vec<u8> {
    let (stream, text) = (golden(&format!("{name}.fsmon")), golden(&format!("{name}.txt")));
    if !stream.exists() {
        std::fs::write(&stream, today).unwrap();
        std::fs::write(&text, dump(today)).unwrap();
        panic!("{} was missing and is written now: look at it and keep it", stream.display());
    }
    let kept = std::fs::read(&stream).unwrap();
    assert_eq!(dump(&kept), std::fs::read_to_string(&text).unwrap());
    kept
}

#[test]
fn the_small_stream_of_the_specification() {
    check("v1-small", &small());
}

#[test]
fn every_kind_of_record() {
    check("v1-all", &all(Codec::None));
}

#[test]
fn what_runs_and_what_exec_was_given() {
    check("v1-exe", &executed());
}

#[test]
fn what_the_recorder_of_a_history_says() {
    check("v1-history", &history(Codec::None));
    let kept = std::fs::read(golden("v1-history.fsmon")).unwrap();
    let mut reader = Reader::new(&kept[..]);
    let mut gaps = Vec::new();
    while let Some(item) = reader.next().unwrap() {
        if let Item::Block(block) = item {
            gaps.push((block.has_gap(), block.times().0 == 0, block.wall_times().is_none()));
        }
    }
    assert_eq!(gaps, [(true, true, true), (true, false, false)]);
}

/// A stream in which the records of these tags are of one that nobody knows, as they are to a reader of format 1.0.
fn unknown(stream: &[u8], tags: &[u8]) -> Vec<u8> {
    let mut stream = stream.to_vec();
    let mut at = HEADER_LEN;
    while at < stream.len() {
        let mut header = BlockHeader::read_from_prefix(&stream[at..]).unwrap().0;
        let (payload, end) = (at + SLOT, at + header.total_len());
        let mut record = payload;
        while record < end {
            if tags.contains(&stream[record]) {
                stream[record] = 200;
            }
            record += usize::from(stream[record + 1]) * SLOT;
        }
        header.seal(&stream[payload..end]);
        stream[at..payload].copy_from_slice(header.as_bytes());
        at = end;
    }
    stream
}

#[test]
fn readers_of_format_1_0_see_the_same_in_a_history() {
    let stream = history(Codec::None);
    let old = unknown(&stream, &[tag::GAP, tag::NOTE]);
    let without = |text: String, prefixes: &[&str]| {
        let lines = text.lines().filter(|line| !prefixes.iter().any(|tag| line.starts_with(tag)));
        lines.map(str::to_owned).collect::<Vec<_>>()
    };
    let seen = without(dump(&old), &["skipped"]);
    assert_eq!(seen, without(dump(&stream), &["GAP ", "NOTE "]));
    assert_eq!(seen.iter().filter(|line| line.starts_with("EVENT ")).count(), 3);
    assert_eq!(dump(&old).matches("skipped").count(), 10);
}

#[test]
fn the_same_in_segments() {
    let (first, second) = all_in_segments(Codec::None, true);
    check("v1-segment-0", &first);
    check("v1-segment-1", &second);
    let whole = dump(&all(Codec::None));
    let (_, last) = whole.split_once("events 11+2").unwrap();
    assert!(dump(&[first, second].concat()).ends_with(last));
}

/// Other bytes may come of a newer compressor; what was kept must be read.
#[cfg(all(feature = "lz4", feature = "zstd"))]
#[test]
fn the_same_compressed() {
    for (name, codec) in
        [("v1-lz4", Codec::Lz4), ("v1-zstd", Codec::Zstd), ("v1-zstd-window", Codec::ZstdWindow)]
    {
        let today = all(codec);
        let kept = keep(name, &today);
        assert!(kept.len() < all(Codec::None).len(), "compressed");
        let records = |stream: &[u8]| {
            let dump = dump(stream);
            let lines = dump.lines().filter(|line| !line.starts_with("block "));
            lines.map(str::to_owned).collect::<Vec<_>>()
        };
        assert_eq!(records(&kept), records(&all(Codec::None)));
        assert_eq!(records(&today), records(&kept));
    }
}

/// The bytes that a line of a hex dump shows: from the offset to the first two spaces.
fn shown(line: &str) -> Option<(usize, Vec<u8>)> {
    let (at, rest) = line.split_once(": ")?;
    let at = usize::from_str_radix(at, 16).ok().filter(|_| at.len() == 8)?;
    let hex: String = rest.split("  ").next()?.split(' ').collect();
    let byte = |i| u8::from_str_radix(hex.get(i..i + 2)?, 16).ok();
    (0..hex.len()).step_by(2).map(byte).collect::<Option<_>>().map(|bytes| (at, bytes))
}

#[test]
fn the_specification_shows_these_bytes() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/format.md");
    let text = std::fs::read_to_string(path).unwrap();
    let stream = std::fs::read(golden("v1-small.fsmon")).unwrap();
    let mut explained = vec![false; stream.len()];
    for (at, bytes) in text.lines().filter_map(shown) {
        assert_eq!(stream[at..at + bytes.len()], bytes, "at {at:#x}");
        explained[at..at + bytes.len()].fill(true);
    }
    for (at, byte) in stream.iter().enumerate() {
        assert!(explained[at] || *byte == 0, "{byte:#x} at {at:#x} is not explained");
    }
}

#[test]
fn an_image_keeps_its_stream_id_from_block_to_block() {
    let stream = std::fs::read(golden("v1-all.fsmon")).unwrap();
    let (mut reader, mut seen) = (Reader::new(&stream[..]), Vec::new());
    while let Some(item) = reader.next().unwrap() {
        let Item::Block(block) = item else { continue };
        assert!(!block.is_renumbered());
        assert_eq!(block.stream_ids(0), None);
        for record in block.records() {
            if let Body::Proc(image) = record.body() {
                seen.push((image.pid.get(), block.stream_ids(image.id.get()).unwrap()));
            }
        }
    }
    let make = StreamIds { id: seen[0].1.id, ..StreamIds::default() };
    let cc = StreamIds { id: seen[1].1.id, parent: make.id, ..StreamIds::default() };
    assert_ne!(make.id, cc.id);
    assert_eq!(seen, [(4200, make), (4242, cc), (4200, make), (4242, cc)]);
}

//! Hand-made records for tests, and a pipeline to send them through.

use super::{LineFormat, Lines};
use crate::filter::Criteria;
use crate::filter::{Filter, Source};
use crate::pipeline::{Output, Pipeline};
use crate::world::World;
use fsmon_format::kind;
use fsmon_format::mirror::Capacity;
use fsmon_format::record::{
    Build, Cause, Dir, Event, Gap, Loss, Note, Proc, Record, Slot, Stats, What, event_flag,
    note_flag, proc_flag, tag,
};
use fsmon_format::stream::{BLOCK_CAPACITY, Item, Reader};
use zerocopy::FromZeros;

/// Strings that the engine may define in a test.
pub const ENGINE_STRINGS: usize = 1 << 12;

pub fn capacity() -> Capacity {
    Capacity {
        dirs: 64,
        processes: 64,
        strings: ENGINE_STRINGS + crate::names::STRINGS,
        text: 4 << 20,
    }
}

pub fn image(id: u32, pid: u32, cmd: &str) -> Proc {
    let mut image = Proc::new_zeroed();
    image.tag = tag::PROC;
    image.slots = 2;
    image.id = id.into();
    image.pid = pid.into();
    image.comm[..cmd.len()].copy_from_slice(cmd.as_bytes());
    image.flags = (proc_flag::COMM | proc_flag::CRED).into();
    image
}

/// An event by `proc` in `dir`; tests set the other fields themselves.
pub fn event(mask: u32, dir: u32, proc: u32) -> Event {
    let mut event = Event::new_zeroed();
    event.mask = mask.into();
    event.dir = dir.into();
    event.proc = proc.into();
    event
}

/// A pipeline of a recorded source, and what came out of it.
pub struct Bench<O> {
    pub pipeline: Pipeline<O>,
    pub out: Vec<u8>,
    build: Build,
}

impl<F: LineFormat> Bench<Lines<F>> {
    pub fn lines(format: F) -> Self {
        Bench::new(Lines(format), &Criteria::default(), None)
    }
}

impl<O: Output> Bench<O> {
    pub fn new(output: O, args: &Criteria, count: Option<u64>) -> Self {
        let filter = Filter::new(args, kind::EVERY, Source::Recorded, capacity()).expect("valid");
        let pipeline = Pipeline::new(World::recorded(capacity()), filter, output, count);
        Bench { pipeline, out: Vec::new(), build: Build::default() }
    }

    pub fn take(&mut self, slots: &[Slot]) {
        let (record, rest) = Record::split_first(slots).expect("a record");
        assert!(rest.is_empty());
        self.pipeline.take(&record, &mut self.out);
    }

    pub fn clock(&mut self, mono_ns: u64, real_ns: u64) {
        let slots = self.build.clock(mono_ns, real_ns).to_vec();
        self.take(&slots);
    }

    pub fn dir(&mut self, id: u32, parent: u32, name: &[u8]) {
        self.dir_again(id, parent, 0, u64::from(id), name);
    }

    pub fn dir_again(&mut self, id: u32, parent: u32, raised: u32, object: u64, name: &[u8]) {
        let mut dir = Dir::new_zeroed();
        dir.id = id.into();
        dir.parent = parent.into();
        dir.generation = raised.into();
        dir.object = object.into();
        let slots = self.build.dir(dir, name).to_vec();
        self.take(&slots);
    }

    pub fn string(&mut self, id: u32, text: &[u8]) {
        let slots = self.build.str(id, text).to_vec();
        self.take(&slots);
    }

    pub fn image(&mut self, image: Proc) {
        let slots = self.build.proc(image).to_vec();
        self.take(&slots);
    }

    pub fn event(&mut self, event: Event, name: &[u8], old: &[u8]) {
        let slots = self.build.event(event, name, old).to_vec();
        self.take(&slots);
    }

    pub fn stats(&mut self, mono_ns: u64, real_ns: u64) {
        let mut stats = Stats::new_zeroed();
        stats.time_ns = mono_ns.into();
        stats.realtime_ns = real_ns.into();
        let slots = self.build.stats(stats).to_vec();
        self.take(&slots);
    }

    pub fn loss(&mut self, reason: u32, count: u64) {
        let mut loss = Loss::new_zeroed();
        loss.reason = reason.into();
        loss.count = count.into();
        let slots = self.build.loss(loss).to_vec();
        self.take(&slots);
    }

    /// A gap by the code of its cause, between two wall times. Its stream before had 7 events.
    pub fn gap(&mut self, cause: u32, from_ns: u64, to_ns: u64) {
        let mut gap = Gap::new_zeroed();
        (gap.cause, gap.time_ns) = (cause.into(), 1_000_000_000.into());
        (gap.from_ns, gap.to_ns) = (from_ns.into(), to_ns.into());
        (gap.stream_id, gap.events) = (*b"\x01\xabream b4 it was", 7.into());
        let slots = self.build.gap(gap).to_vec();
        self.take(&slots);
    }

    /// A note; one about a watch is of a recursive one of the default types.
    pub fn note(&mut self, what: What, time_ns: u64, path: &[u8], text: &[u8]) {
        let mut note = Note::new_zeroed();
        (note.what, note.time_ns) = (what.code().into(), time_ns.into());
        if what.is_of_watch() {
            (note.flags, note.types) = (note_flag::RECURSIVE.into(), kind::DEFAULT.into());
        }
        let slots = self.build.note(note, path, text).to_vec();
        self.take(&slots);
    }

    /// The gaps and notes that the tests of all text formats share.
    pub fn tell(&mut self) {
        let (from, to) = (1_699_999_000_123_456_789, 1_700_000_000_000_000_001);
        for cause in [Cause::Unknown, Cause::Killed, Cause::Other(99)] {
            self.gap(cause.code(), from, to);
        }
        let now = 1_000_000_002;
        self.note(What::WatchBegan, now, b"/srv", b"");
        self.note(What::WatchEnded, now, b"/srv", b"");
        self.note(What::WatchPending, now, b"/srv/later", b"");
        self.note(What::WatchFailed, now, b"/srv/\xff\n,\"", b"no\x1b[31m, it is \"full\"");
        self.note(What::WatchFailed, now, b"/srv", b"");
        self.note(What::SegmentDeleted, now, b"old.fsmon", b"cc wrote 97 % of it");
        self.note(What::Other(99), now, b"", b"");
        self.note(What::Other(99), now, b"/srv", b"as never before");
    }

    /// What came out since the last call.
    pub fn text(&mut self) -> String {
        String::from_utf8(std::mem::take(&mut self.out)).expect("UTF-8")
    }

    /// The world that the tests of all formats share: `/srv/b`, in it `sub`, and a compiler that
    /// make started, that a shell started.
    pub fn furnish(&mut self) {
        self.clock(1_000_000_000, 1_700_000_000_000_000_000);
        self.dir(1, 0, b"/srv/b");
        self.dir(2, 1, b"sub");
        self.string(1, b"/usr/bin/cc");
        self.string(2, b"builder");
        self.string(3, b"/job/7");
        self.image(image(1, 10, "sh"));
        self.image(Proc { parent: 1.into(), ppid: 10.into(), ..image(2, 11, "make") });
        self.image(Proc {
            parent: 2.into(),
            ppid: 11.into(),
            uid: 1000.into(),
            gid: 100.into(),
            exe: 1.into(),
            user: 2.into(),
            cgroup: 3.into(),
            cgroup_id: 77.into(),
            ..image(3, 12, "cc")
        });
    }

    /// The events that the tests of all text formats share: plain, merged, renames in and out, inexact
    /// attributions, a name that is not UTF-8, errors and losses.
    pub fn play(&mut self) {
        self.furnish();
        let at = |mut event: Event, time_ns: u64| {
            event.time_ns = time_ns.into();
            event
        };
        let merged = kind::CLOSE_WRITE | kind::CREATE;
        self.event(at(event(merged, 2, 3), 1_000_000_042), b"a.o", b"");
        let mut rename = event(kind::RENAME | kind::ONDIR, 1, 3);
        rename.dir2 = 2.into();
        rename.flags = event_flag::UNSURE.into();
        self.event(rename, b"new", b"old");
        rename.dir2 = 0.into();
        rename.flags = 2.into();
        self.event(rename, b"in", b"");
        rename = event(kind::RENAME, 0, 2);
        rename.dir2 = 2.into();
        rename.flags = 1.into();
        self.event(rename, b"", b"out");
        let mut found = event(kind::CREATE, 1, 0);
        found.flags = (event_flag::FOUND | 3).into();
        self.event(found, b"\xffx\n", b"");
        let mut error = event(kind::FS_ERROR, 0, 0);
        error.object = (5 << 32 | 117).into();
        self.event(error, b"", b"");
        self.event(event(kind::ATTRIB | kind::ONDIR, 2, 1), b"", b"");
        self.loss(1, u64::MAX);
        self.loss(2, 12);
    }
}

/// The text of a stream; for a damaged one, the text that there is and the number of gaps.
pub fn decode<O: Output>(stream: &[u8], output: O) -> Result<String, (String, u64)> {
    let args = Criteria::default();
    let filter = Filter::new(&args, kind::EVERY, Source::Recorded, BLOCK_CAPACITY);
    let world = World::recorded(BLOCK_CAPACITY);
    let mut pipeline = Pipeline::new(world, filter.expect("valid"), output, None);
    let mut reader = Reader::new(stream).salvage(true);
    let (mut out, mut gaps) = (Vec::new(), 0);
    pipeline.begin(&mut out);
    while let Some(item) = reader.next().expect("readable") {
        match item {
            Item::Block(block) => {
                pipeline.forget(&mut out);
                block.records().for_each(|record| pipeline.take(&record, &mut out));
            }
            Item::Gap(_) => gaps += 1,
            Item::Header(_) | Item::Pending => {}
        }
    }
    let text = String::from_utf8(out).expect("UTF-8");
    if gaps == 0 { Ok(text) } else { Err((text, gaps)) }
}

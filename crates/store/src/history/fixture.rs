//! Streams for the tests of this module.

use super::{Now, SegmentWriter};
use fsmon_format::kind;
use fsmon_format::mirror::{Capacity, Mirror};
use fsmon_format::record::{self, Build, Record, Slot, proc_flag};
use fsmon_format::stream::{Codec, Header, Writer};
use zerocopy::FromZeros;

pub(super) const SECOND: u64 = 1_000_000_000;
pub(super) const HOUR: u64 = 3600 * SECOND;
pub(super) const DAY: u64 = 24 * HOUR;
/// 2026-01-01.
pub(super) const NEW_YEAR: u64 = 1_767_225_600 * SECOND;
pub(super) const BOOT: [u8; 16] = *b"boot of the test";

const CAPACITY: Capacity = Capacity { dirs: 8, processes: 128, strings: 128, text: 1 << 16 };

/// A moment of the boot [`BOOT`], which began at [`NEW_YEAR`].
pub(super) fn at(ns: u64) -> Now {
    Now {
        boot_id: BOOT,
        boottime_ns: ns,
        monotonic_ns: ns,
        realtime_ns: NEW_YEAR + ns,
        is_synchronised: true,
    }
}

/// A recorder without an engine.
pub(super) struct Stream {
    pub(super) mirror: Mirror,
    pub(super) writer: Writer<Vec<u8>>,
    header: Header,
    build: Build,
}

impl Stream {
    pub(super) fn new(id: u8, now: &Now, codec: Codec) -> Self {
        let header = Header {
            stream_id: [id; 16],
            boot_id: now.boot_id,
            time_ns: now.monotonic_ns,
            realtime_ns: now.realtime_ns,
            ..Header::default()
        };
        let writer = Writer::new(Vec::new(), &header, CAPACITY).expect("memory");
        let writer = writer.compress(codec).count_clock_steps();
        let mut stream =
            Stream { mirror: Mirror::new(CAPACITY), writer, header, build: Build::default() };
        let mut root = record::Dir::new_zeroed();
        root.id = 1.into();
        let slots = stream.build.dir(root, b"/srv").to_vec();
        stream.push(&slots, None);
        stream
    }

    /// A process `id` of a user, in a control group of the same number.
    pub(super) fn process(&mut self, id: u32, uid: u32) {
        let path = format!("/user.slice/user-{uid}.slice");
        let text = self.build.str(id, path.as_bytes()).to_vec();
        self.push(&text, None);
        let mut image = record::Proc::new_zeroed();
        (image.id, image.pid, image.uid) = (id.into(), (1000 + id).into(), uid.into());
        (image.cgroup, image.cgroup_id) = (id.into(), u64::from(uid).into());
        image.flags = (proc_flag::COMM | proc_flag::CRED).into();
        let slots = self.build.proc(image).to_vec();
        self.push(&slots, None);
    }

    pub(super) fn push(&mut self, slots: &[Slot], segment: Option<&mut SegmentWriter>) {
        let (record, _) = Record::split_first(slots).expect("a record");
        self.mirror.define(&record.body());
        self.writer.push(&record, &self.mirror).expect("memory");
        if let Some(segment) = segment {
            segment.note(&record, &self.mirror);
        }
    }

    pub(super) fn event(&mut self, segment: &mut SegmentWriter, process: u32, time_ns: u64) {
        let mut head = record::Event::new_zeroed();
        (head.dir, head.proc) = (1.into(), process.into());
        head.mask = kind::CREATE.into();
        head.time_ns = time_ns.into();
        let name = format!("file-{time_ns}");
        let slots = self.build.event(head, name.as_bytes(), b"").to_vec();
        self.push(&slots, Some(segment));
    }

    pub(super) fn loss(&mut self, segment: &mut SegmentWriter, time_ns: u64) {
        let mut head = record::Loss::new_zeroed();
        (head.first_ns, head.last_ns) = (time_ns.into(), time_ns.into());
        let slots = self.build.loss(head).to_vec();
        self.push(&slots, Some(segment));
    }

    pub(super) fn clock(&mut self, segment: &mut SegmentWriter, time_ns: u64, realtime_ns: u64) {
        let slots = self.build.clock(time_ns, realtime_ns).to_vec();
        self.push(&slots, Some(segment));
    }

    /// Nothing was recorded between these wall times.
    pub(super) fn gap(&mut self, segment: &mut SegmentWriter, time_ns: u64, wall_ns: (u64, u64)) {
        let mut head = record::Gap::new_zeroed();
        head.time_ns = time_ns.into();
        (head.from_ns, head.to_ns) = (wall_ns.0.into(), wall_ns.1.into());
        let slots = self.build.gap(head).to_vec();
        self.push(&slots, Some(segment));
    }

    pub(super) fn note(&mut self, segment: &mut SegmentWriter, time_ns: u64) {
        let mut head = record::Note::new_zeroed();
        head.time_ns = time_ns.into();
        let slots = self.build.note(head, b"/srv", b"").to_vec();
        self.push(&slots, Some(segment));
    }

    pub(super) fn end(&mut self, segment: &mut SegmentWriter, time_ns: u64) {
        let mut head = record::End::new_zeroed();
        head.time_ns = time_ns.into();
        let slots = self.build.end(head).to_vec();
        self.push(&slots, Some(segment));
    }

    /// What was written since the last call, the open block included.
    pub(super) fn take(&mut self) -> Vec<u8> {
        self.writer.flush().expect("memory");
        std::mem::take(self.writer.get_mut())
    }

    /// The last bytes of a segment.
    pub(super) fn end_segment(&mut self) -> Vec<u8> {
        self.writer.end_segment().expect("memory");
        std::mem::take(self.writer.get_mut())
    }

    /// The header of the next segment.
    pub(super) fn next_segment(&mut self, now: &Now) -> Vec<u8> {
        (self.header.time_ns, self.header.realtime_ns) = (now.monotonic_ns, now.realtime_ns);
        self.writer.begin_segment(&mut self.header).expect("memory");
        std::mem::take(self.writer.get_mut())
    }
}

/// Numbers that look random, and are the same each time.
pub(super) struct Rng(u64);

impl Rng {
    pub(super) fn new(seed: u64) -> Self {
        Rng(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    /// From 0 up to, but without, `end`.
    pub(super) fn below(&mut self, end: u64) -> u64 {
        // xorshift64*, Vigna 2016.
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 11) % end
    }
}

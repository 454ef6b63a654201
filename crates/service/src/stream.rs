//! The stream that is recorded: blocks, and which segment of the history they belong to.

use crate::handover::Piece;
use crate::limits::WRITE_BYTES;
use crate::recorder::Said;
use crate::watches::Wanted;
use fsmon_format::record::{
    Body, Build, Cause, EventRef, Gap, Loss, NOTE_TEXT_MAX, Note, Record, Slot, What, note_flag,
};
use fsmon_present::binary::Binary;
use fsmon_present::pipeline::Output;
use fsmon_present::wall::Wall;
use fsmon_present::world::{Change, World};
use fsmon_store::cursor::Place;
use fsmon_store::history::{Last, Tally};
use std::time::{Duration, Instant};
use zerocopy::FromZeros;

/// When a segment ends: whichever comes first.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Rotate {
    pub(crate) size: Option<u64>,
    pub(crate) age: Option<Duration>,
}

/// Makes blocks of records, and says where a segment ends and the next begins. The writer's thread puts that into files.
pub(crate) struct Stream {
    id: [u8; 16],
    binary: Binary,
    build: Box<Build>,
    /// What was not handed over yet: whole blocks, before them perhaps a file header.
    out: Vec<u8>,
    rotate: Rotate,
    /// The segment that is being made.
    segment: Segment,
    /// The segment ends with the next piece.
    must_rotate: bool,
    /// What was written of the segment may not be durable.
    is_distrusted: bool,
    /// The END record was taken: nothing may come after it.
    has_end: bool,
    /// Blocks were dropped: what comes after them must not be written, as readers would miss them.
    is_broken_off: bool,
}

/// What is known of a segment while it is made.
struct Segment {
    began: Instant,
    /// Bytes that were handed over.
    bytes: u64,
    /// EVENT records of the stream before it.
    first_event: u64,
    tally: Box<Tally>,
}

impl Segment {
    fn new(binary: &Binary) -> Self {
        let (monotonic_ns, realtime_ns) = binary.began();
        let tally = Box::new(Tally::new(monotonic_ns, realtime_ns));
        Segment { began: Instant::now(), bytes: 0, first_event: binary.events(), tally }
    }
}

impl Stream {
    /// Begins a stream.
    pub(crate) fn begin(id: [u8; 16], mut binary: Binary, rotate: Rotate) -> Self {
        let mut out = Vec::with_capacity(2 * WRITE_BYTES);
        binary.begin(&mut out);
        let segment = Segment::new(&binary);
        let build = Box::default();
        Stream {
            id,
            binary,
            build,
            out,
            rotate,
            segment,
            must_rotate: false,
            is_distrusted: false,
            has_end: false,
            is_broken_off: false,
        }
    }

    pub(crate) fn event(
        &mut self,
        world: &World,
        event: &EventRef<'_>,
        Wanted { types, cmdline }: Wanted,
        record: &Record<'_>,
    ) {
        self.binary.set_cmdlines(cmdline);
        self.binary.event(world, event, types, record, &mut self.out);
        self.tally(world, record);
    }

    pub(crate) fn loss(&mut self, world: &World, loss: &Loss, record: &Record<'_>) {
        self.binary.loss(world, loss, record, &mut self.out);
        self.tally(world, record);
    }

    pub(crate) fn changed(&mut self, world: &World, change: Change) {
        self.binary.changed(world, change, &mut self.out);
    }

    pub(crate) fn other(&mut self, world: &World, record: &Record<'_>) {
        self.has_end |= matches!(record.body(), Body::End(_));
        self.binary.other(world, record, &mut self.out);
        self.tally(world, record);
    }

    /// Counts a record for the catalogue.
    #[inline]
    fn tally(&mut self, world: &World, record: &Record<'_>) {
        self.segment.tally.take(record, world.mirror());
    }

    /// Writes a NOTE.
    pub(crate) fn note(&mut self, world: &World, what: What, said: &Said) {
        let mut head = Note::new_zeroed();
        head.what = what.code().into();
        head.time_ns = Wall::of_this_host().moment().0.into();
        head.types = said.types.into();
        head.flags = if said.is_recursive { note_flag::RECURSIVE } else { 0 }.into();
        let path = &said.path[..said.path.len().min(NOTE_TEXT_MAX)];
        let text = said.text.as_bytes();
        let text = &text[..text.len().min(NOTE_TEXT_MAX - path.len())];
        let slots = self.build.note(head, path, text).to_vec();
        self.push(world, &slots);
    }

    /// Writes the GAP between the stream before and this one.
    pub(crate) fn gap_since(&mut self, world: &World, last: &Last, cause: Cause) {
        let (time_ns, to_ns) = Wall::of_this_host().moment();
        let mut gap = Gap::new_zeroed();
        gap.cause = cause.code().into();
        (gap.time_ns, gap.from_ns, gap.to_ns) =
            (time_ns.into(), last.last_wall_ns.into(), to_ns.into());
        gap.stream_id = last.stream_id;
        gap.events = last.events.into();
        let slots = self.build.gap(gap).to_vec();
        self.push(world, &slots);
    }

    /// Writes the GAP of a pause that ends now. `from_ns`: wall time of the last record before it.
    pub(crate) fn gap_of_disk(&mut self, world: &World, from_ns: u64) {
        let last = Last {
            stream_id: self.id,
            events: self.binary.events(),
            last_wall_ns: from_ns,
            boot_id: [0; 16],
            how: fsmon_store::history::How::Open,
        };
        self.gap_since(world, &last, Cause::Disk);
    }

    fn push(&mut self, world: &World, slots: &[Slot]) {
        let Some((record, _)) = Record::split_first(slots).filter(|_| !self.has_end) else {
            return;
        };
        match record.body() {
            Body::Gap(gap) => self.binary.gap(world, gap, &record, &mut self.out),
            Body::Note(note) => self.binary.note(world, &note, &record, &mut self.out),
            _ => {}
        }
        self.tally(world, &record);
    }

    /// Whether records wait for their block to be full.
    pub(crate) fn holds_back(&self) -> bool {
        self.binary.holds_back()
    }

    /// Ends the block that is being filled.
    pub(crate) fn end_block(&mut self) {
        self.binary.flush(&mut self.out);
    }

    /// Whether so much waits that it should be handed over before more comes.
    pub(crate) fn is_full(&self) -> bool {
        self.out.len() >= WRITE_BYTES && !self.has_end
    }

    /// Bytes that wait to be handed over.
    pub(crate) fn len(&self) -> usize {
        self.out.len()
    }

    /// Whether there is something to hand over.
    pub(crate) fn has_piece(&mut self) -> bool {
        !self.out.is_empty() || self.is_due()
    }

    /// Makes the segment end with the next piece, whatever is in it: it may not be durable.
    pub(crate) fn end_segment(&mut self) {
        self.is_distrusted = true;
    }

    /// Makes the segment end with the next piece, if it has events.
    pub(crate) fn make_old(&mut self) {
        self.must_rotate = true;
    }

    /// Whether the segment must end although it is not full. One without events does not end, as the next would be
    /// empty, too: its age counts from now.
    pub(crate) fn is_old(&mut self) -> bool {
        if self.is_distrusted {
            return true;
        }
        let age = self.rotate.age;
        let is_old = self.must_rotate || age.is_some_and(|age| self.segment.began.elapsed() >= age);
        if is_old && !self.has_events() {
            (self.must_rotate, self.segment.began) = (false, Instant::now());
            return false;
        }
        is_old
    }

    fn has_events(&self) -> bool {
        self.binary.events() > self.segment.first_event
    }

    fn is_due(&mut self) -> bool {
        let bytes = self.segment.bytes + self.out.len() as u64;
        let is_full = self.rotate.size.is_some_and(|size| bytes >= size);
        self.is_old() || is_full && self.has_events()
    }

    /// Takes what waits, and ends the segment with it if that is due; then what waits is the header of the next. `spare`
    /// is an empty buffer.
    pub(crate) fn piece(&mut self, world: &World, spare: Vec<u8>) -> Piece {
        if !self.is_due() {
            return self.take(world, spare);
        }
        self.binary.end_file(&mut self.out);
        let mut piece = self.take(world, spare);
        self.binary.begin_file(&mut self.out);
        let next = Segment::new(&self.binary);
        piece.ends = Some(std::mem::replace(&mut self.segment, next).tally);
        (self.must_rotate, self.is_distrusted) = (false, false);
        piece
    }

    /// All that waits.
    fn take(&mut self, world: &World, mut spare: Vec<u8>) -> Piece {
        spare.reserve(2 * WRITE_BYTES);
        let until_ns = self.last_wall_ns(world);
        let blocks = std::mem::replace(&mut self.out, spare);
        self.segment.bytes += blocks.len() as u64;
        Piece { blocks, ends: None, until_ns, waiting: None }
    }

    /// Ends the stream: the last piece. `None` if blocks were dropped; the segment is then one of a recorder that was
    /// killed, and the next daemon closes it.
    pub(crate) fn end(mut self, world: &World) -> Option<Piece> {
        if self.is_broken_off {
            return None;
        }
        self.binary.end(world, &mut self.out);
        let mut piece = self.take(world, Vec::new());
        piece.ends = Some(self.segment.tally);
        Some(piece)
    }

    /// What waits will never be written, nor what comes after it.
    pub(crate) fn break_off(&mut self) {
        self.is_broken_off = true;
        self.out.clear();
    }

    /// Whether blocks were dropped.
    pub(crate) fn is_broken_off(&self) -> bool {
        self.is_broken_off
    }

    /// Where the next record will be: text for clients.
    pub(crate) fn cursor(&self) -> String {
        let (segment, block) = (self.binary.segment(), self.binary.next_block());
        Place { stream_id: self.id, segment, block, record: 0, line: 0 }.to_string()
    }

    /// The wall time of the last record that was taken, or of now if there is none.
    pub(crate) fn last_wall_ns(&self, world: &World) -> u64 {
        self.binary
            .last_ns()
            .map_or_else(|| Wall::of_this_host().moment().1, |at| world.real_ns(at))
    }
}

//! The stream that is recorded, and the segment of the history that it is written to.

use crate::clocks::Clocks;
use crate::limits::WRITE_BYTES;
use crate::recorder::Said;
use crate::shared::Written;
use fsmon_format::error::Error;
use fsmon_format::record::{
    Body, Build, Cause, EventRef, Gap, Loss, NOTE_TEXT_MAX, Note, Record, Slot, What, note_flag,
};
use fsmon_present::binary::Binary;
use fsmon_present::message;
use fsmon_present::pipeline::Output;
use fsmon_present::wall::Wall;
use fsmon_present::world::{Change, World};
use fsmon_store::history::{History, Last, SegmentWriter};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use zerocopy::FromZeros;

/// When a segment ends: whichever comes first.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Rotate {
    pub(crate) size: Option<u64>,
    pub(crate) age: Option<Duration>,
}

/// Makes blocks of records, and segments of blocks.
pub(crate) struct Stream {
    id: [u8; 16],
    binary: Binary,
    build: Box<Build>,
    /// What is not in the file yet: whole blocks, before them perhaps a file header.
    out: Vec<u8>,
    /// `None` before the first is made, and while the next cannot be made.
    segment: Option<SegmentWriter>,
    history: Arc<Mutex<History>>,
    clocks: Clocks,
    rotate: Rotate,
    began: Instant,
    /// The segment ends with the next write.
    must_rotate: bool,
    /// Bytes of the stream in segments that were closed.
    closed_bytes: u64,
}

impl Stream {
    /// Begins a stream and its first segment.
    ///
    /// # Errors
    /// The segment cannot be made.
    pub(crate) fn begin(
        id: [u8; 16],
        mut binary: Binary,
        history: Arc<Mutex<History>>,
        clocks: Clocks,
        rotate: Rotate,
    ) -> Result<Self, Error> {
        let mut out = Vec::with_capacity(2 * WRITE_BYTES);
        binary.begin(&mut out);
        let mut stream = Stream {
            id,
            binary,
            build: Box::default(),
            out,
            segment: None,
            history,
            clocks,
            rotate,
            began: Instant::now(),
            must_rotate: false,
            closed_bytes: 0,
        };
        stream.write()?;
        Ok(stream)
    }

    fn history(&self) -> MutexGuard<'_, History> {
        self.history.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn event(
        &mut self,
        world: &World,
        event: &EventRef<'_>,
        types: u32,
        record: &Record<'_>,
    ) {
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
        self.binary.other(world, record, &mut self.out);
        self.tally(world, record);
    }

    /// Counts a record for the catalogue.
    #[inline]
    fn tally(&mut self, world: &World, record: &Record<'_>) {
        if let Some(segment) = &mut self.segment {
            segment.note(record, world.mirror());
        }
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
        let Some((record, _)) = Record::split_first(slots) else { return };
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

    /// Whether so much waits that it should be written.
    pub(crate) fn is_full(&self) -> bool {
        self.out.len() >= WRITE_BYTES
    }

    /// Whether everything that was made is in the file.
    pub(crate) fn is_written(&self) -> bool {
        self.out.is_empty()
    }

    /// Makes the segment end with the next write.
    pub(crate) fn make_old(&mut self) {
        self.must_rotate = true;
    }

    /// Whether the segment must end for its age, and has something in it.
    pub(crate) fn is_old(&self) -> bool {
        self.must_rotate || self.rotate.age.is_some_and(|age| self.began.elapsed() >= age)
    }

    fn is_due(&self) -> bool {
        let bytes = self.segment.as_ref().map_or(0, SegmentWriter::bytes);
        self.is_old() || self.rotate.size.is_some_and(|size| bytes >= size)
    }

    /// Writes what waits, and turns to the next segment if it is due.
    ///
    /// # Errors
    /// Something could not be written: it waits on, and the call can be repeated.
    pub(crate) fn write(&mut self) -> Result<(), Error> {
        self.append()?;
        if self.is_due() {
            self.turn_over()?;
        }
        Ok(())
    }

    fn append(&mut self) -> Result<(), Error> {
        if self.out.is_empty() {
            return Ok(());
        }
        match &mut self.segment {
            None => {
                let segment = self.history().begin_segment(&self.out)?;
                self.segment = Some(segment);
                self.out.clear();
            }
            Some(segment) => match segment.append(&self.out) {
                Ok(()) => self.out.clear(),
                Err(failure) => {
                    self.out.drain(..failure.written);
                    return Err(failure.error);
                }
            },
        }
        Ok(())
    }

    /// Ends the segment and begins the next. A segment without events does not end: the next would be empty, too.
    fn turn_over(&mut self) -> Result<(), Error> {
        let has_events =
            |segment: &SegmentWriter| self.binary.events() > segment.header().first_event;
        self.must_rotate = false;
        if !self.segment.as_ref().is_some_and(has_events) {
            self.began = Instant::now();
            return Ok(());
        }
        self.binary.end_file(&mut self.out);
        if let Err(error) = self.append() {
            // Its last block waits: once it is written, the segment is closed.
            self.must_rotate = true;
            return Err(error);
        }
        self.close();
        self.binary.begin_file(&mut self.out);
        self.began = Instant::now();
        self.append()
    }

    /// Closes the segment, durably. What fails is said: the data are there, if not on the disk.
    pub(crate) fn close(&mut self) {
        let Some(segment) = self.segment.take() else { return };
        self.closed_bytes += segment.bytes();
        let now = self.clocks.now();
        if let Err(error) = self.history().close_segment(segment, &now) {
            message::print(error);
        }
    }

    /// Makes the segment durable.
    ///
    /// # Errors
    /// It may not be.
    pub(crate) fn sync(&mut self) -> Result<(), Error> {
        let synced = self.segment.as_ref().map_or(Ok(()), SegmentWriter::sync_data);
        // What failed once is not trusted again: the next sync is that of another segment.
        self.must_rotate |= synced.is_err();
        synced
    }

    /// The end of the stream: an END record, and the final block.
    pub(crate) fn end(&mut self, world: &World) {
        self.binary.end(world, &mut self.out);
    }

    /// What waits will never be written.
    pub(crate) fn drop_what_waits(&mut self) {
        self.out.clear();
    }

    /// Where the next record will be: text for clients.
    pub(crate) fn cursor(&self) -> String {
        let segment = self.segment.as_ref().map_or(0, |segment| segment.header().segment);
        let id = u128::from_be_bytes(self.id);
        format!("1-{id:032x}-{segment}-{}-0-0", self.binary.next_block())
    }

    /// The wall time of the last record that was taken, or of now if there is none.
    pub(crate) fn last_wall_ns(&self, world: &World) -> u64 {
        self.binary
            .last_ns()
            .map_or_else(|| Wall::of_this_host().moment().1, |at| world.real_ns(at))
    }

    pub(crate) fn written(&self) -> Written {
        let segment = self.segment.as_ref();
        Written {
            segment: segment.map(|segment| segment.name().to_owned()),
            segment_bytes: segment.map_or(0, SegmentWriter::bytes),
            closed_bytes: self.closed_bytes,
        }
    }
}

//! The stream that is recorded, and the segment of the history that it is written to.

use crate::clocks::Clocks;
use crate::limits::WRITE_BYTES;
use crate::recorder::Said;
use crate::shared::Written;
use fsmon_format::error::{Error, ErrorKind};
use fsmon_format::record::{
    Body, Build, Cause, EventRef, Gap, Loss, NOTE_TEXT_MAX, Note, Record, Slot, What, note_flag,
};
use fsmon_present::binary::Binary;
use fsmon_present::message;
use fsmon_present::pipeline::Output;
use fsmon_present::wall::Wall;
use fsmon_present::world::{Change, World};
use fsmon_store::history::{History, Last, SegmentWriter};
use nix::errno::Errno;
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
    /// The segment's last block was made, and is in `out` or in the file already.
    is_ending: bool,
    /// Blocks were dropped: what comes after them must not be written, as readers would miss them.
    is_broken_off: bool,
    /// Why a segment that was closed may not be durable; nobody who waited for that was told yet.
    unsynced: Option<Error>,
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
            is_ending: false,
            is_broken_off: false,
            unsynced: None,
            closed_bytes: 0,
        };
        match stream.write() {
            // The recorder pauses with its first write, and goes on once it can.
            Err(error) if !is_of_disk(&error) => Err(error),
            _ => Ok(stream),
        }
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
        if self.is_broken_off {
            self.out.clear();
            return Ok(());
        }
        self.append()?;
        if self.is_ending || self.is_due() {
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
        if !self.is_ending {
            self.must_rotate = false;
            let has_events =
                |segment: &SegmentWriter| self.binary.events() > segment.header().first_event;
            if !self.segment.as_ref().is_some_and(has_events) {
                self.began = Instant::now();
                return Ok(());
            }
            self.binary.end_file(&mut self.out);
            self.is_ending = true;
            self.append()?;
        }
        self.close();
        self.is_ending = false;
        self.binary.begin_file(&mut self.out);
        self.began = Instant::now();
        self.append()
    }

    /// Closes the segment, whose last block is written, durably. If that fails the next sync says so.
    fn close(&mut self) {
        let Some(segment) = self.segment.take() else { return };
        self.closed_bytes += segment.bytes();
        let now = self.clocks.now();
        let closed = self.history().close_segment(segment, &now);
        if let Err(error) = closed {
            message::print(&error);
            self.unsynced = Some(error);
        }
    }

    /// Makes durable what was written.
    ///
    /// # Errors
    /// It may not be; nor what a segment has that was closed since the last sync.
    pub(crate) fn sync(&mut self) -> Result<(), Error> {
        let synced = self.segment.as_ref().map_or(Ok(()), SegmentWriter::sync_data);
        // What failed once is not trusted again: the next sync is that of another segment.
        self.must_rotate |= synced.is_err();
        synced.and(self.unsynced.take().map_or(Ok(()), Err))
    }

    /// Ends the stream and its last segment. What cannot be written is left out; the segment is then one of a recorder
    /// that was killed, and the next daemon closes it.
    ///
    /// # Errors
    /// Something could not be written.
    pub(crate) fn finish(&mut self, world: &World) -> Result<(), Error> {
        if self.is_broken_off || self.is_ending {
            if self.is_ending && self.out.is_empty() {
                // Its last block is there: only the next segment could not begin.
                self.close();
            }
            return Err(Error::new(ErrorKind::Busy, "recording was paused"));
        }
        self.binary.end(world, &mut self.out);
        self.append()?;
        self.close();
        self.unsynced.take().map_or(Ok(()), Err)
    }

    /// What waits will never be written, nor what comes after it.
    pub(crate) fn break_off(&mut self) {
        self.is_broken_off |= !self.out.is_empty();
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

/// Whether it is the disk that is full, over quota, read-only or failing: that may pass.
fn is_of_disk(error: &Error) -> bool {
    const OF_DISK: [Errno; 4] = [Errno::ENOSPC, Errno::EDQUOT, Errno::EROFS, Errno::EIO];
    error.raw_os_error().is_some_and(|errno| OF_DISK.contains(&Errno::from_raw(errno)))
}

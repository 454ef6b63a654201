//! The writer: takes records of the ring, writes blocks.

use super::block::{Block, BlockLabel, to_grid};
use super::clock::ClockInForce;
use super::codec::{Codec, Compressor, Stored};
use super::definitions::Definitions;
use super::header::Header;
use super::kept::Kept;
use super::layout::{BLOCK_MAX, BlockHeader, GRID, MAGIC, block_flag};
use crate::mirror::{Capacity, Mirror};
use crate::record::{
    Body, Build, Dir, EVENT_SLOTS_MAX, End, Event, EventRef, Gap, Loss, NOTE_HEAD, NoteRef, Record,
    SLOT, Slot, slots_for,
};
use std::io::{self, Write};
use zerocopy::{FromBytes, FromZeros, IntoBytes};

/// Writes a stream to a file, a pipe or a socket: it never seeks.
///
/// It takes the records in the order of the engine's ring, each after the [`Mirror`] took it. It writes a
/// definition when a block first needs it, not when it comes. It buffers one block, 64 KiB, and allocates
/// nothing once it is made.
///
/// After an error it writes nothing more, and every later call that would write fails too.
pub struct Writer<W> {
    out: W,
    block: Block,
    compressor: Compressor,
    /// What [`Writer::begin_again`] needs, if blocks go on from those before them.
    kept: Option<Kept>,
    /// The payload of pads.
    zeros: Vec<u8>,
    definitions: Definitions,
    tag: [u8; 4],
    /// Bytes written to this segment: where the next block begins.
    offset: u64,
    /// The number of the next block.
    number: u64,
    /// EVENT records of the stream before the open block.
    events: u64,
    losses: u64,
    /// The last time in a record, ns.
    last_ns: u64,
    clock: ClockInForce,
    ended: bool,
    broken: bool,
}

impl<W: Write> Writer<W> {
    /// Writes the file header. `capacity` is the mirror's.
    ///
    /// # Errors
    /// Those of `out`.
    pub fn new(out: W, header: &Header, capacity: Capacity) -> io::Result<Self> {
        let mut writer = Writer {
            out,
            block: Block::new(),
            compressor: Compressor::new(Codec::None),
            kept: None,
            zeros: vec![0; BLOCK_MAX],
            definitions: Definitions::new(capacity),
            tag: header.stream_tag(),
            offset: 0,
            number: header.first_block,
            events: header.first_event,
            losses: 0,
            last_ns: header.time_ns,
            clock: ClockInForce::new(header.time_ns, header.realtime_ns),
            ended: false,
            broken: false,
        };
        writer.header(header)?;
        Ok(writer)
    }

    /// Compresses the blocks from here on.
    #[must_use]
    pub fn compress(mut self, codec: Codec) -> Self {
        self.compressor = Compressor::new(codec);
        self
    }

    /// Makes [`Writer::begin_again`] work with any codec: keeps the last blocks, 2 MiB, if they go on from one another. Call
    /// after [`Writer::compress`].
    #[must_use]
    pub fn keep_for_a_cut(mut self) -> Self {
        self.kept = self.compressor.goes_on().then(Kept::new);
        self
    }

    /// Whether the next events show the command lines of their processes. An image has two ids then, with its command line and
    /// without, and ancestors have none. Without this call all images have theirs.
    pub fn set_cmdlines(&mut self, on: bool) {
        self.definitions.set_cmdlines(on);
    }

    /// Makes CLOCK records count how often the wall clock was set ([`crate::record::Clock::steps`]), so that a
    /// search by time need not read every clock. Call before the first record.
    #[must_use]
    pub fn count_clock_steps(mut self) -> Self {
        self.clock.steps = 1;
        self
    }

    fn header(&mut self, header: &Header) -> io::Result<()> {
        let header = header.encode();
        write(&mut self.out, &header, &mut self.broken)?;
        self.begin_file();
        self.offset = header.len() as u64;
        Ok(())
    }

    fn begin_file(&mut self) {
        self.compressor.begin_file();
        if let Some(kept) = &mut self.kept {
            kept.begin_file();
        }
    }

    /// Ends this file, not the stream: call [`Writer::begin_segment`] next. In between, take what was written
    /// out of the buffer, see [`Writer::get_mut`].
    ///
    /// # Errors
    /// Those of the output.
    pub fn end_segment(&mut self) -> io::Result<()> {
        self.open_block()?;
        self.close_block(block_flag::FINAL)?;
        self.out.flush()
    }

    /// Writes the header of the next segment. `header` is the previous segment's, with the current time; its
    /// numbers are updated.
    ///
    /// # Errors
    /// Those of the output.
    pub fn begin_segment(&mut self, header: &mut Header) -> io::Result<()> {
        header.segment = header.segment.wrapping_add(1);
        (header.first_event, header.first_block) = (self.events, self.number);
        // The clock in force stays: wall times are the same as in one file.
        self.header(header)
    }

    /// The file was truncated to nothing while it was written, as by `truncate -s 0`. `carried` are whole blocks,
    /// perhaps none, that were taken from the buffer and are not in the file yet. Inserts the header of another
    /// segment before them, so that the file is a valid one.
    ///
    /// # Errors
    /// None with an output in memory. With `Codec::ZstdWindow` it needs [`Writer::keep_for_a_cut`].
    pub fn begin_again(&mut self, header: &mut Header, carried: &mut Vec<u8>) -> io::Result<()> {
        check(self.broken)?;
        if carried.starts_with(&MAGIC) {
            return Ok(());
        }
        (header.first_event, header.first_block) = match BlockHeader::ref_from_prefix(carried) {
            Ok((first, _)) => (first.first_event.get(), first.number.get()),
            Err(_) => (self.events, self.number),
        };
        header.segment = header.segment.wrapping_add(1);
        if self.compressor.goes_on() {
            self.store_again(header.first_block, carried)?;
        }
        let encoded = header.encode();
        carried.splice(0..0, encoded);
        self.offset = carried.len() as u64;
        // The open block is limited by the grid of the previous file. The new grid must not be nearer.
        debug_assert!(self.offset + BLOCK_MAX as u64 <= GRID);
        Ok(())
    }

    /// Compresses what is carried anew: it goes on from blocks of the file as it was.
    fn store_again(&mut self, first: u64, carried: &mut Vec<u8>) -> io::Result<()> {
        let Some(kept) = &mut self.kept else {
            return Err(io::Error::other("the blocks before are not kept: call `keep_for_a_cut`"));
        };
        let kept = std::mem::replace(kept, Kept::new());
        self.compressor.begin_file();
        carried.clear();
        kept.store_again(first, &mut self.compressor, carried);
        if let Some(now_kept) = &mut self.kept {
            now_kept.take(carried, 0);
        }
        Ok(())
    }

    /// Takes a record that `mirror` has taken already.
    ///
    /// # Errors
    /// Errors of `out`, when a block is full; a malformed record.
    #[inline]
    pub fn push(&mut self, record: &Record<'_>, mirror: &Mirror) -> io::Result<()> {
        match record.body() {
            Body::Event(event) => self.event(record.slots(), &event, mirror),
            other => self.other(record.slots(), &other, mirror),
        }
    }

    #[inline]
    fn event(&mut self, slots: &[Slot], event: &EventRef<'_>, mirror: &Mirror) -> io::Result<()> {
        let ids = match self.definitions.of_event(event.head) {
            Some(ids) if slots.len() <= self.block.room() => ids,
            _ => self.define(slots, event, mirror)?,
        };
        let time_ns = event.head.time_ns.get();
        self.block.append_event(slots, ids, time_ns);
        self.last_ns = time_ns;
        Ok(())
    }

    /// Makes the block define all that the event needs, with room for the event itself. Uses the next block if
    /// this one is full.
    #[cold]
    fn define(
        &mut self,
        slots: &[Slot],
        event: &EventRef<'_>,
        mirror: &Mirror,
    ) -> io::Result<super::block::EventIds> {
        if slots.len() > EVENT_SLOTS_MAX {
            return Err(malformed());
        }
        loop {
            self.open_block()?;
            let ids = self.definitions.define(event.head, mirror, &mut self.block);
            if let Some(ids) = ids
                && slots.len() <= self.block.room()
            {
                return Ok(ids);
            }
            // A block of full length has room for any event: see the assertions in `limits.rs`.
            self.leave_block()?;
        }
    }

    /// The open block has too little room for what comes next: closes it, or drops it and fills up to the grid if
    /// nothing is in it.
    fn leave_block(&mut self) -> io::Result<()> {
        if self.block.is_empty() && self.block.is_short() {
            self.definitions.next_block();
            self.block.abandon();
            self.pad()
        } else {
            self.close_block(0)
        }
    }

    fn other(&mut self, slots: &[Slot], body: &Body<'_>, mirror: &Mirror) -> io::Result<()> {
        match *body {
            Body::Dir(head, _) => return self.dir(head, mirror),
            Body::Proc(head) => self.definitions.forget_proc(head.id.get()),
            Body::Str(head, _) => self.definitions.forget_string(head.id.get()),
            Body::Loss(loss) => self.loss(slots, loss, mirror)?,
            Body::Stats(stats) => self.timed(slots, stats.time_ns.get())?,
            Body::Clock(clock) => {
                self.clock.set(clock.time_ns.get(), clock.realtime_ns.get());
                self.ensure(1)?;
                self.block.clock(self.clock);
            }
            Body::End(end) => self.end(*end)?,
            Body::Gap(gap) => self.gap(slots, gap)?,
            Body::Note(note) => self.note(slots, &note)?,
            Body::Malformed => return Err(malformed()),
            Body::Event(_) | Body::Answer(_) | Body::Skip => {}
        }
        Ok(())
    }

    fn dir(&mut self, head: &Dir, mirror: &Mirror) -> io::Result<()> {
        let id = head.id.get();
        let matters = self.definitions.dir_changed(id, head.object.get());
        if !matters || !self.block.is_open() {
            return Ok(());
        }
        if self.definitions.dir_again(id, mirror, &mut self.block).is_none() {
            self.close_block(0)?;
        }
        Ok(())
    }

    fn loss(&mut self, slots: &[Slot], loss: &Loss, mirror: &Mirror) -> io::Result<()> {
        let mut head = *loss;
        if head.dir.get() != 0 {
            let mut needs = Event::new_zeroed();
            needs.dir = head.dir;
            let needs = EventRef { head: &needs, name: b"", name2: b"" };
            head.dir =
                self.define(slots.get(..1).ok_or_else(malformed)?, &needs, mirror)?.dir.into();
        }
        let mut slot = Slot::ZERO;
        slot.0.copy_from_slice(head.as_bytes());
        self.timed(&[slot], loss.last_ns.get())?;
        self.block.note_time(loss.first_ns.get().min(loss.last_ns.get()));
        self.block.note_flag(block_flag::LOSS);
        self.losses += 1;
        Ok(())
    }

    /// The END record gets the stream's own counts.
    fn end(&mut self, mut end: End) -> io::Result<()> {
        end.events = self.events().into();
        end.losses = self.losses.into();
        self.ended = true;
        self.timed(Build::default().end(end), end.time_ns.get())
    }

    fn timed(&mut self, slots: &[Slot], time_ns: u64) -> io::Result<()> {
        let first = slots.first().map(std::slice::from_ref).ok_or_else(malformed)?;
        self.ensure(first.len())?;
        // One slot, whatever the record says.
        self.block.append(first)[0].0[1] = 1;
        self.block.note_time(time_ns);
        self.last_ns = time_ns;
        Ok(())
    }

    fn gap(&mut self, slots: &[Slot], gap: &Gap) -> io::Result<()> {
        self.untimed(slots, 1, gap.time_ns.get())
    }

    fn note(&mut self, slots: &[Slot], note: &NoteRef<'_>) -> io::Result<()> {
        let len = slots_for(NOTE_HEAD + note.path.len() + note.text.len());
        self.untimed(slots, len, note.head.time_ns.get())
    }

    /// Appends a record of `len` slots, whatever the record says. Its time does not count among those of the block,
    /// as readers of format 1.0 skip the record.
    fn untimed(&mut self, slots: &[Slot], len: usize, time_ns: u64) -> io::Result<()> {
        let record = slots.get(..len).ok_or_else(malformed)?;
        self.ensure(len)?;
        self.block.append(record)[0].0[1] =
            u8::try_from(len).expect("a note is at most TEXT_SLOTS_MAX slots");
        self.last_ns = time_ns;
        Ok(())
    }

    /// Opens a block with room for so many slots, at most what a block of full length has: see the assertion in
    /// `limits.rs`.
    fn ensure(&mut self, slots: usize) -> io::Result<()> {
        loop {
            self.open_block()?;
            if slots <= self.block.room() {
                return Ok(());
            }
            self.leave_block()?;
        }
    }

    fn open_block(&mut self) -> io::Result<()> {
        if self.block.is_open() {
            return Ok(());
        }
        if Block::wants_pad(self.offset) {
            self.pad()?;
        }
        let renumbered = self.definitions.renumber_if_due();
        let flags = if renumbered { block_flag::RENUMBERED } else { 0 };
        // A compressed block becomes shorter; whether it fits is known when it is closed.
        let room = if self.compressor.is_on() { BLOCK_MAX } else { to_grid(self.offset) };
        self.block.open(room, flags, self.clock);
        Ok(())
    }

    /// Writes a pad up to the grid. The open block comes behind it.
    #[cold]
    fn pad(&mut self) -> io::Result<()> {
        let bytes = to_grid(self.offset);
        debug_assert!(bytes <= BLOCK_MAX);
        let zeros = &self.zeros[SLOT..bytes];
        let header = self.label().pad(zeros);
        write(&mut self.out, header.as_bytes(), &mut self.broken)?;
        write(&mut self.out, zeros, &mut self.broken)?;
        if let Some(kept) = &mut self.kept {
            kept.take(header.as_bytes(), self.offset / GRID);
            kept.take(zeros, self.offset / GRID);
        }
        self.offset += bytes as u64;
        self.number += 1;
        Ok(())
    }

    /// Compresses the open block for the place where it would stand now.
    fn compressed(&mut self) -> Option<Stored> {
        self.compressor.compress(self.block.payload(), self.offset / GRID)
    }

    fn label(&self) -> BlockLabel {
        BlockLabel { number: self.number, first_event: self.events, tag: self.tag }
    }

    #[cold]
    fn close_block(&mut self, flags: u16) -> io::Result<()> {
        self.definitions.next_block();
        self.block.note_flag(flags);
        let mut compressed = self.compressed();
        let stored = compressed.map_or(self.block.payload().len(), |stored| stored.len);
        if SLOT + stored > to_grid(self.offset) {
            self.pad()?;
            if compressed.is_some_and(|stored| stored.is_bound_to_its_cell()) {
                compressed = self.compressed();
            }
        }
        let (position, events) = (self.label(), self.block.events());
        let bytes = match compressed {
            None => self.block.close(position),
            Some(stored) => {
                self.block.note_flag(stored.flags);
                let payload = self.compressor.stored(stored.len);
                let header = self.block.close_compressed(position, stored.codec, payload);
                self.compressor.block(header, stored.len)
            }
        };
        write(&mut self.out, bytes, &mut self.broken)?;
        if let Some(kept) = &mut self.kept {
            kept.take(bytes, self.offset / GRID);
        }
        self.offset += bytes.len() as u64;
        self.number += 1;
        self.events += events;
        Ok(())
    }

    /// Closes and writes the open block, so that a reader sees all that was pushed. Writes nothing if nothing was
    /// pushed.
    ///
    /// # Errors
    /// Those of `out`.
    pub fn flush(&mut self) -> io::Result<()> {
        if self.block.is_open() && !self.block.is_empty() {
            self.close_block(0)?;
        }
        check(self.broken)?;
        self.out.flush()
    }

    /// Ends the stream: an END record if none was pushed, and the final block.
    ///
    /// # Errors
    /// Those of `out`.
    pub fn finish(mut self) -> io::Result<W> {
        if !self.ended {
            let mut end = End::new_zeroed();
            end.time_ns = self.last_ns.into();
            self.end(end)?;
        }
        self.open_block()?;
        self.close_block(block_flag::FINAL)?;
        self.out.flush()?;
        Ok(self.out)
    }

    /// The output. Meant for taking written bytes out of a buffer; writing to it would damage the stream.
    #[must_use]
    pub fn get_mut(&mut self) -> &mut W {
        &mut self.out
    }

    /// Bytes written so far, without the open block.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.offset
    }

    /// The number of the block that is open, or that will be opened next.
    #[must_use]
    pub fn next_block(&self) -> u64 {
        self.number
    }

    /// The time of the last record that has one, `CLOCK_MONOTONIC` ns; of the header if there is none.
    #[must_use]
    pub fn last_ns(&self) -> u64 {
        self.last_ns
    }

    /// Event records taken, those of earlier segments included.
    #[must_use]
    pub fn events(&self) -> u64 {
        if self.block.is_open() { self.events + self.block.events() } else { self.events }
    }

    /// Events written without their directory: the mirror has no path for it, or a path that is longer than
    /// [`crate::record::TEXT_MAX`] and hundreds of levels deep.
    #[must_use]
    pub fn unresolved(&self) -> u64 {
        self.definitions.unresolved()
    }
}

fn write(out: &mut impl Write, bytes: &[u8], broken: &mut bool) -> io::Result<()> {
    check(*broken)?;
    // Part of the block may be written: readers would not find what follows.
    out.write_all(bytes).inspect_err(|_| *broken = true)
}

fn check(broken: bool) -> io::Result<()> {
    if broken {
        return Err(io::Error::other("the stream was broken off by an earlier error"));
    }
    Ok(())
}

fn malformed() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidInput, "a malformed record was given to the stream")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::{self, Event, Proc};
    use crate::stream::{BLOCK_CAPACITY, Fault, Item, Reader};

    const CAPACITY: Capacity = Capacity { dirs: 16, processes: 16, strings: 16, text: 1 << 16 };

    /// A writer and its mirror.
    struct Rig<W> {
        mirror: Mirror,
        writer: Writer<W>,
    }

    impl<W: Write> Rig<W> {
        fn new(out: W) -> Self {
            let writer = Writer::new(out, &Header::default(), CAPACITY).expect("room");
            Rig { mirror: Mirror::new(CAPACITY), writer }
        }

        fn push(&mut self, slots: &[Slot]) -> io::Result<()> {
            let (record, _) = Record::split_first(slots).expect("a record");
            self.mirror.define(&record.body());
            self.writer.push(&record, &self.mirror)
        }

        fn dir(&mut self, id: u32, parent: u32, name: &[u8]) {
            let mut head = record::Dir::new_zeroed();
            head.id = id.into();
            head.parent = parent.into();
            head.object = u64::from(id).into();
            self.push(Build::default().dir(head, name)).expect("room");
        }

        fn event(&mut self, dir: u32, name: &[u8]) -> io::Result<()> {
            let mut head = Event::new_zeroed();
            head.dir = dir.into();
            head.proc = 1.into();
            self.push(Build::default().event(head, name, b""))
        }
    }

    /// The stream ids of directories in events, and the paths.
    fn read(stream: &[u8]) -> (Vec<String>, Option<Fault>) {
        let mut reader = Reader::new(stream);
        let mut mirror = Mirror::new(BLOCK_CAPACITY);
        let mut paths = Vec::new();
        loop {
            match reader.next() {
                Ok(Some(Item::Block(block))) => {
                    mirror.clear();
                    for record in block.records() {
                        mirror.define(&record.body());
                        if let Body::Event(event) = record.body() {
                            let mut path = Vec::new();
                            mirror.append_dir_path(event.head.dir.get(), &mut path);
                            paths.push(String::from_utf8(path).expect("UTF-8"));
                        }
                    }
                }
                Ok(Some(_)) => {}
                Ok(None) => return (paths, None),
                Err(error) => {
                    let damage = error.damage().unwrap_or_else(|| panic!("{error}"));
                    return (paths, Some(damage.fault));
                }
            }
        }
    }

    /// Takes a limited number of bytes, like a full disk.
    struct Full(Vec<u8>, usize);

    impl Write for Full {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            let len = bytes.len().min(self.1 - self.0.len());
            self.0.extend_from_slice(&bytes[..len]);
            if len == 0 { Err(io::ErrorKind::StorageFull.into()) } else { Ok(len) }
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn an_answer_is_left_out_and_one_in_a_stream_changes_nothing() {
        let written = |answer: bool| {
            let mut rig = Rig::new(Vec::new());
            rig.dir(1, 0, b"/srv");
            rig.event(1, b"before").expect("memory");
            if answer {
                let mut build = Build::default();
                let slots = build.answer(crate::record::Answer::new_zeroed());
                let (record, _) = Record::split_first(slots).expect("one");
                assert!(matches!(record.body(), Body::Answer(_)));
                rig.writer.push(&record, &rig.mirror).expect("memory");
            }
            rig.event(1, b"after").expect("memory");
            rig.writer.finish().expect("memory")
        };
        let stream = written(false);
        assert_eq!(stream, written(true));
        assert_eq!(read(&stream).0, ["/srv", "/srv"]);
    }

    /// The command line that a reader has for the process of each event; empty: none.
    fn cmdlines(stream: &[u8]) -> Vec<String> {
        let mut reader = Reader::new(stream);
        let mut mirror = Mirror::new(BLOCK_CAPACITY);
        let mut found = Vec::new();
        while let Some(item) = reader.next().expect("whole") {
            let Item::Block(block) = item else { continue };
            mirror.clear();
            for record in block.records() {
                mirror.define(&record.body());
                if let Body::Event(event) = record.body() {
                    let image = mirror.proc(event.head.proc.get()).expect("defined");
                    let text = mirror.string(image.cmdline.get()).unwrap_or_default();
                    let is_flagged = image.flags.get() & record::proc_flag::CMDLINE_CUT != 0;
                    assert_eq!(is_flagged, !text.is_empty());
                    found.push(String::from_utf8(text.to_vec()).expect("UTF-8"));
                }
            }
        }
        found
    }

    #[test]
    fn an_event_shows_a_command_line_if_it_is_to() {
        let mut rig = Rig::new(Vec::new());
        rig.dir(1, 0, b"/srv");
        rig.push(Build::default().str(7, b"cc")).expect("room");
        let mut image = Proc::new_zeroed();
        (image.id, image.cmdline) = (1.into(), 7.into());
        image.flags = record::proc_flag::CMDLINE_CUT.into();
        rig.push(Build::default().proc(image)).expect("room");
        for (name, on, ends) in [
            ("a", false, false),
            ("b", true, false),
            ("c", false, true),
            ("d", false, true),
            ("e", true, false),
        ] {
            rig.writer.set_cmdlines(on);
            rig.event(1, name.as_bytes()).expect("room");
            if ends {
                rig.writer.flush().expect("memory");
            }
        }
        let stream = rig.writer.finish().expect("memory");
        assert_eq!(cmdlines(&stream), ["", "cc", "", "", "cc"]);
    }

    #[test]
    fn a_full_disk_is_an_error_and_what_is_there_is_a_prefix() {
        let mut rig = Rig::new(Full(Vec::new(), 150_000));
        rig.dir(1, 0, b"/srv");
        let error = (0..10_000).find_map(|_| rig.event(1, b"name").err()).expect("an error");
        assert_eq!(error.kind(), io::ErrorKind::StorageFull);
        // Nothing goes behind the broken block, whoever may have made room since.
        rig.writer.get_mut().1 = 1 << 20;
        assert!((0..10_000).any(|_| rig.event(1, b"name").is_err()));
        assert!(rig.writer.flush().is_err());
        let stream = &rig.writer.get_mut().0;
        assert_eq!(stream.len(), 150_000);
        let (paths, fault) = read(stream);
        assert_eq!(fault, Some(Fault::Cut));
        assert!(paths.len() > 1000 && paths.iter().all(|path| path == "/srv"));
    }

    #[test]
    fn ids_begin_anew_when_they_run_out() {
        for use_up in [Definitions::use_up_ids, Definitions::use_up_marks] {
            let mut rig = Rig::new(Vec::new());
            rig.dir(1, 0, b"/srv");
            rig.dir(2, 1, b"a");
            rig.event(2, b"x").expect("room");
            use_up(&mut rig.writer.definitions);
            rig.writer.flush().expect("room");
            // Changes between the blocks find nothing amiss.
            rig.dir(2, 1, b"b");
            rig.dir(3, 2, b"c");
            rig.event(3, b"y").expect("room");
            rig.writer.flush().expect("room");
            rig.event(2, b"z").expect("room");
            let stream = rig.writer.finish().expect("room");
            // Header, clock, two directories, event.
            let blocks = [&stream[4096..], &stream[4096 + 5 * 64..]];
            let flags = blocks.map(|block| u16::from_le_bytes([block[6], block[7]]));
            assert_eq!(flags.map(|flags| flags & block_flag::RENUMBERED), [0, 8]);
            let (paths, fault) = read(&stream);
            assert_eq!(fault, None);
            assert_eq!(paths, ["/srv/a", "/srv/b/c", "/srv/b"]);
        }
    }

    #[test]
    fn a_file_that_was_cut_begins_again() {
        for (codec, flushed) in codecs().flat_map(|codec| [(codec, false), (codec, true)]) {
            let mut rig = Rig::new(Vec::new());
            rig.writer = rig.writer.compress(codec).keep_for_a_cut();
            rig.dir(1, 0, b"/srv");
            rig.event(1, b"before").expect("room");
            rig.writer.flush().expect("room");
            // That much was written, and cut away.
            rig.writer.get_mut().clear();
            rig.event(1, b"carried").expect("room");
            if flushed {
                rig.writer.flush().expect("room");
            }
            let mut file = std::mem::take(rig.writer.get_mut());
            let mut header = Header::default();
            rig.writer.begin_again(&mut header, &mut file).expect("in memory");
            assert_eq!((header.segment, header.first_event, header.first_block), (1, 1, 1));
            rig.event(1, b"after").expect("room");
            file.append(&mut rig.writer.finish().expect("room"));
            assert_eq!(read(&file), (vec!["/srv".to_owned(); 2], None));
        }
    }

    fn codecs() -> impl Iterator<Item = Codec> {
        Codec::NAMES.iter().map(|&(_, codec)| codec)
    }

    /// Whichever blocks are not in the file yet when it is cut, none is lost: not at the grid, nor if it is cut again.
    #[test]
    fn what_is_carried_over_a_cut_goes_on_from_nothing() {
        for codec in codecs() {
            let mut rig = Rig::new(Vec::new());
            rig.writer = rig.writer.compress(codec).keep_for_a_cut();
            rig.dir(1, 0, b"/srv");
            let (mut state, mut header, mut file) = (7u32, Header::default(), Vec::new());
            let (mut events, mut parts, mut at_the_grid) = (0, Vec::new(), 0);
            for n in 0..3000 {
                for _ in 0..20 {
                    let name = [0; 50].map(|_: u32| {
                        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                        state
                    });
                    rig.event(1, name.as_bytes()).expect("memory");
                    events += 1;
                }
                rig.writer.flush().expect("memory");
                if n % 7 == 0 && rig.writer.offset + 20_000 < GRID {
                    file.append(rig.writer.get_mut());
                } else if n % 500 == 50 || rig.writer.offset > GRID {
                    let begun = rig.writer.offset - rig.writer.get_mut().len() as u64;
                    at_the_grid += usize::from(begun < GRID && rig.writer.offset > GRID);
                    let mut carried = std::mem::take(rig.writer.get_mut());
                    rig.writer.begin_again(&mut header, &mut carried).expect("kept");
                    parts.push(std::mem::replace(&mut file, carried));
                }
            }
            file.append(&mut rig.writer.finish().expect("memory"));
            parts.push(file);
            let mut found = 0;
            for (at, part) in parts.iter().enumerate() {
                let (paths, fault) = read(part);
                let is_last = at + 1 == parts.len();
                assert_eq!(fault, (!is_last).then_some(Fault::NoEnd), "{codec}: part {at}");
                found += paths.len();
            }
            assert_eq!((found, parts.len() > 10), (events, true), "{codec}");
            assert!(at_the_grid > 2, "{codec}: {at_the_grid}");
        }
    }

    #[test]
    fn what_has_no_path_is_counted() {
        let mut rig = Rig::new(Vec::new());
        rig.dir(2, 1, b"orphan");
        rig.event(2, b"x").expect("room");
        rig.event(15, b"x").expect("room");
        rig.event(0, b"x").expect("room");
        assert_eq!((rig.writer.events(), rig.writer.unresolved()), (3, 2));
        let (paths, fault) = read(&rig.writer.finish().expect("room"));
        assert_eq!((paths.len(), fault), (3, None));
    }

    #[test]
    fn a_line_of_parents_that_bites_its_tail_ends() {
        let mut rig = Rig::new(Vec::new());
        for (id, parent) in [(1, 2), (2, 3), (3, 1)] {
            let mut head = Proc::new_zeroed();
            head.id = id.into();
            head.parent = parent.into();
            rig.push(Build::default().proc(head)).expect("room");
        }
        rig.dir(1, 2, b"a");
        rig.dir(2, 1, b"b");
        rig.event(1, b"x").expect("room");
        assert_eq!(rig.writer.unresolved(), 1);
        assert_eq!(read(&rig.writer.finish().expect("room")).1, None);
    }

    #[test]
    fn nothing_is_written_while_nothing_comes() {
        let mut rig = Rig::new(Vec::new());
        for _ in 0..3 {
            rig.writer.flush().expect("room");
        }
        assert_eq!(rig.writer.bytes(), 4096);
        rig.event(0, b"x").expect("room");
        rig.writer.flush().expect("room");
        let bytes = rig.writer.bytes();
        rig.writer.flush().expect("room");
        assert_eq!((bytes, rig.writer.bytes()), (4096 + 3 * 64, bytes));
    }
}

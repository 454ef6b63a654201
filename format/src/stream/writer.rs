//! The writer: records of the ring in, blocks out.

use super::block::Block;
use super::definitions::Definitions;
use super::header::Header;
use super::layout::block_flag;
use crate::mirror::{Capacity, Mirror};
use crate::record::{Body, Build, Dir, EVENT_SLOTS_MAX, End, EventRef, Loss, Record, Slot};
use std::io::{self, Write};
use zerocopy::FromZeros;

/// Writes a stream to a file, a pipe or a socket: it never seeks.
///
/// It is fed the records in the order of the engine's ring, each after the [`Mirror`] took it.
/// Definitions are written where a block first needs them, not when they come. One block is
/// buffered, 64 KiB; nothing is allocated once it is made.
///
/// After an error nothing more is written, and every later call that would write fails too.
pub struct Writer<W> {
    out: W,
    block: Block,
    definitions: Definitions,
    tag: [u8; 4],
    /// Bytes written: where the next block begins.
    offset: u64,
    /// The number of the next block.
    number: u64,
    /// EVENT records of the stream before the open block.
    events: u64,
    losses: u64,
    /// The last time in a record, ns.
    last_ns: u64,
    clock: (u64, u64),
    ended: bool,
    broken: bool,
}

impl<W: Write> Writer<W> {
    /// Writes the file header. `capacity` is that of the mirror.
    ///
    /// # Errors
    /// Those of `out`.
    pub fn new(out: W, header: &Header, capacity: Capacity) -> io::Result<Self> {
        let mut writer = Writer {
            out,
            block: Block::new(),
            definitions: Definitions::new(capacity),
            tag: header.stream_tag(),
            offset: 0,
            number: header.first_block,
            events: header.first_event,
            losses: 0,
            last_ns: header.time_ns,
            clock: (header.time_ns, header.realtime_ns),
            ended: false,
            broken: false,
        };
        let header = header.encode();
        writer.out.write_all(&header)?;
        writer.offset = header.len() as u64;
        Ok(writer)
    }

    /// Takes a record that `mirror` has taken already.
    ///
    /// # Errors
    /// Those of `out`, when a block is full; a malformed record.
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

    /// Makes the block define all that the event needs, with room for the event itself; in the
    /// next block where this one is full.
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
            // A block of full length holds any event, see the asserts beside the limits.
            if self.block.is_empty() && self.block.is_short() {
                self.pad()?;
            } else {
                self.close_block(0)?;
            }
        }
    }

    fn other(&mut self, slots: &[Slot], body: &Body<'_>, mirror: &Mirror) -> io::Result<()> {
        match *body {
            Body::Dir(head, _) => return self.dir(head, mirror),
            Body::Proc(head) => self.definitions.forget_proc(head.id.get()),
            Body::Str(head, _) => self.definitions.forget_string(head.id.get()),
            Body::Loss(loss) => self.loss(slots, loss)?,
            Body::Stats(stats) => self.timed(slots, stats.time_ns.get())?,
            Body::Clock(clock) => {
                self.clock = (clock.time_ns.get(), clock.realtime_ns.get());
                self.ensure(1)?;
                self.block.clock(self.clock);
            }
            Body::End(end) => self.end(*end)?,
            Body::Malformed => return Err(malformed()),
            Body::Event(_) | Body::Skip => {}
        }
        Ok(())
    }

    fn dir(&mut self, head: &Dir, mirror: &Mirror) -> io::Result<()> {
        let id = head.id.get();
        let matters = self.definitions.dir_changed(id, head.object.get());
        if !matters || !self.block.is_open() {
            return Ok(());
        }
        let stale = self.definitions.holds_whole_path();
        if stale || self.definitions.dir(id, mirror, &mut self.block).is_none() {
            self.close_block(0)?;
        }
        Ok(())
    }

    fn loss(&mut self, slots: &[Slot], loss: &Loss) -> io::Result<()> {
        self.timed(slots, loss.last_ns.get())?;
        self.block.note_time(loss.first_ns.get().min(loss.last_ns.get()));
        self.block.note_flag(block_flag::LOSS);
        self.losses += 1;
        Ok(())
    }

    /// The stream's own counts stand in its end record.
    fn end(&mut self, mut end: End) -> io::Result<()> {
        end.events = self.events().into();
        end.losses = self.losses.into();
        self.ended = true;
        self.timed(Build::default().end(end), end.time_ns.get())
    }

    fn timed(&mut self, slots: &[Slot], time_ns: u64) -> io::Result<()> {
        let first = slots.first().map(std::slice::from_ref).ok_or_else(malformed)?;
        self.ensure(first.len())?;
        // One slot whatever the record says of itself.
        self.block.append(first)[0].0[1] = 1;
        self.block.note_time(time_ns);
        self.last_ns = time_ns;
        Ok(())
    }

    fn ensure(&mut self, slots: usize) -> io::Result<()> {
        if self.block.is_open() && self.block.room() < slots {
            self.close_block(0)?;
        }
        self.open_block()
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
        self.block.open(self.offset, flags, self.clock);
        Ok(())
    }

    #[cold]
    fn pad(&mut self) -> io::Result<()> {
        self.definitions.next_block();
        let bytes = self.block.pad(self.offset, self.number, self.events, self.tag);
        write(&mut self.out, bytes, &mut self.broken)?;
        self.offset += bytes.len() as u64;
        self.number += 1;
        Ok(())
    }

    #[cold]
    fn close_block(&mut self, flags: u16) -> io::Result<()> {
        self.definitions.next_block();
        let events = self.block.events();
        self.block.note_flag(flags);
        let bytes = self.block.close(self.number, self.events, self.tag);
        write(&mut self.out, bytes, &mut self.broken)?;
        self.offset += bytes.len() as u64;
        self.number += 1;
        self.events += events;
        Ok(())
    }

    /// Closes the block as it is, so that a reader sees all that was pushed. Nothing is written
    /// where nothing was pushed.
    ///
    /// # Errors
    /// Those of `out`.
    pub fn flush(&mut self) -> io::Result<()> {
        if self.block.is_open() && !self.block.is_empty() {
            self.close_block(0)?;
        }
        self.out.flush()
    }

    /// Ends the stream: an END record where none was pushed, and the final block.
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

    /// What is written to. Bytes of one's own in it would spoil the stream; taking away what was
    /// written to a buffer is what this is for.
    #[must_use]
    pub fn get_mut(&mut self) -> &mut W {
        &mut self.out
    }

    /// Bytes written so far; what is in the open block is not among them.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.offset
    }

    /// Event records taken, those of earlier segments included.
    #[must_use]
    pub fn events(&self) -> u64 {
        if self.block.is_open() { self.events + self.block.events() } else { self.events }
    }

    /// Events that stand in the stream without their directory: the mirror has no path for it, or
    /// one longer than [`crate::record::TEXT_MAX`] and hundreds of levels deep.
    #[must_use]
    pub fn unresolved(&self) -> u64 {
        self.definitions.unresolved()
    }
}

fn write(out: &mut impl Write, bytes: &[u8], broken: &mut bool) -> io::Result<()> {
    if *broken {
        return Err(io::Error::other("the stream was broken off by an earlier error"));
    }
    // Part of the block may be out: what follows would not be where readers look for it.
    out.write_all(bytes).inspect_err(|_| *broken = true)
}

fn malformed() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidInput, "a malformed record was given to the stream")
}

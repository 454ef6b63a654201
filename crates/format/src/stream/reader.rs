//! The reader: bytes in, checked blocks out.

use super::error::{Damage, Fault};
use super::frame::{Found, Frames};
use super::header::Header;
use super::layout::{BlockHeader, block_flag};
use super::translate::StreamIds;
use crate::error::Error;
use crate::record::{Body, Clock, End, Record, Records, Slot};
use std::fmt;
use std::io::Read;

/// What a stream holds, in order.
pub enum Item<'a> {
    /// The file header; again where another stream or segment follows in the same input.
    Header(&'a Header),
    /// Records.
    Block(Block<'a>),
    /// Something is missing here. Only when salvaging.
    Gap(Gap),
    /// Nothing more for now: ask again later. Only when following.
    Pending,
}

/// A block that passed every check.
#[derive(Clone, Copy)]
pub struct Block<'a> {
    header: BlockHeader,
    offset: u64,
    slots: &'a [Slot],
    images: &'a [StreamIds],
    has_end: bool,
}

impl<'a> Block<'a> {
    /// The records. Their ids are dense and hold within this block only.
    #[must_use]
    pub fn records(&self) -> Records<'a> {
        Records(self.slots)
    }

    /// The same, as the slots of a batch from the engine's ring.
    #[must_use]
    pub fn slots(&self) -> &'a [Slot] {
        self.slots
    }

    /// The block's number in the stream.
    #[must_use]
    pub fn number(&self) -> u64 {
        self.header.number.get()
    }

    /// Where it begins, in bytes from the beginning of the input.
    #[must_use]
    pub fn offset(&self) -> u64 {
        self.offset
    }

    /// Events of the stream before it.
    #[must_use]
    pub fn first_event(&self) -> u64 {
        self.header.first_event.get()
    }

    /// Events in it.
    #[must_use]
    pub fn events(&self) -> u32 {
        self.header.events.get()
    }

    /// The earliest and the latest time in it, `CLOCK_MONOTONIC` ns; 0 where it has none.
    #[must_use]
    pub fn times(&self) -> (u64, u64) {
        (self.header.first_ns.get(), self.header.last_ns.get())
    }

    /// The earliest and the latest wall time of a record in it, ns since 1970, each by the clock in
    /// force at that record; `None` where no record has a time.
    #[must_use]
    pub fn wall_times(&self) -> Option<(u64, u64)> {
        let mut times: Option<(u64, u64)> = None;
        for wall_ns in self.walls().map(|(wall_ns, _)| wall_ns) {
            let (first, last) = times.unwrap_or((wall_ns, wall_ns));
            times = Some((first.min(wall_ns), last.max(wall_ns)));
        }
        times
    }

    /// The wall time of each record that has a time, and the clock in force.
    pub(super) fn walls(&self) -> impl Iterator<Item = (u64, &'a Clock)> {
        let mut clock = None;
        self.records().filter_map(move |record| {
            let time_ns = match record.body() {
                Body::Clock(now) => {
                    clock = Some(now);
                    return None;
                }
                Body::Event(event) => event.head.time_ns,
                Body::Loss(loss) => loss.last_ns,
                Body::Stats(stats) => stats.time_ns,
                Body::End(end) => end.time_ns,
                _ => return None,
            };
            let clock = clock?;
            let since_ns = time_ns.get().wrapping_sub(clock.time_ns.get());
            Some((clock.realtime_ns.get().wrapping_add(since_ns), clock))
        })
    }

    /// The ids in the stream of the process image that is `proc` in this block: what tells that an
    /// image of one block is that of another.
    #[must_use]
    pub fn stream_ids(&self, proc: u32) -> Option<StreamIds> {
        self.images.get((proc as usize).checked_sub(1)?).copied()
    }

    /// The first four bytes of its stream's id.
    pub(super) fn tag(&self) -> [u8; 4] {
        self.header.stream_tag
    }

    /// Whether ids in the stream begin anew with this block.
    #[must_use]
    pub fn is_renumbered(&self) -> bool {
        self.header.flags.get() & block_flag::RENUMBERED != 0
    }

    /// Whether it holds a loss.
    #[must_use]
    pub fn has_loss(&self) -> bool {
        self.header.flags.get() & block_flag::LOSS != 0
    }

    /// The record that says that the stream ends, which need not stand in the final block; `None` where
    /// this block has none.
    #[must_use]
    pub fn end(&self) -> Option<&'a End> {
        let end = |record: Record<'a>| match record.body() {
            Body::End(end) => Some(end),
            _ => None,
        };
        // Most blocks need not be looked through.
        self.has_end.then(|| self.records().find_map(end)).flatten()
    }
}

/// What a salvaging reader had to leave out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Gap {
    /// Where and why it begins.
    pub damage: Damage,
    /// Bytes passed over.
    pub bytes: u64,
    /// Blocks missing, by their numbers; `None` where that cannot be told.
    pub blocks: Option<u64>,
    /// Events missing; `None` where that cannot be told.
    pub events: Option<u64>,
}

impl fmt::Display for Gap {
    /// In one line: where, why, and how much.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let bytes = if self.bytes == 1 { "byte" } else { "bytes" };
        write!(f, "{}; {} {bytes} passed over, ", self.damage, self.bytes)?;
        match self.events {
            Some(1) => f.write_str("1 event is missing"),
            Some(events) => write!(f, "{events} events are missing"),
            None => f.write_str("an unknown number of events is missing"),
        }
    }
}

/// What the numbers must go on with.
#[derive(Clone, Copy)]
struct Expected {
    block: u64,
    event: u64,
}

/// What [`Reader::next`] will hand out; owned, so that the search for it can go on and on.
enum Step {
    Header,
    Block(BlockHeader),
    Gap(Gap),
    Pending,
    End,
}

/// Reads a stream from anything that can be read, in memory of a fixed size.
///
/// As it is made it is strict: the first thing wrong is an error. See the module for an example.
pub struct Reader<R> {
    pub(super) frames: Frames<R>,
    salvage: bool,
    follow: bool,
    header: Option<Header>,
    expected: Option<Expected>,
    /// Where the stream of the source before left off.
    before: Option<([u8; 16], Expected)>,
    /// The last block taken said that it is the last.
    closed: bool,
    /// Where damage began that no sound block has followed yet.
    gap: Option<Damage>,
    /// Up to where it was told what is missing, be it that it comes yet, in a copy of the stream.
    told: Option<Expected>,
    /// What comes behind the last block that was passed over although its header was sound, if it was
    /// the final one.
    behind_final: Option<Expected>,
    /// What lies behind a gap that was just reported.
    held: Option<Found>,
    /// Bytes of the item handed out last.
    taken: usize,
    done: bool,
}

impl<R: Read> Reader<R> {
    /// A strict reader; nothing is read yet.
    #[must_use]
    pub fn new(source: R) -> Self {
        Reader {
            frames: Frames::new(source),
            salvage: false,
            follow: false,
            header: None,
            expected: None,
            before: None,
            closed: false,
            gap: None,
            told: None,
            behind_final: None,
            held: None,
            taken: 0,
            done: false,
        }
    }

    /// Goes on with another source, from its beginning: the next segment, or another stream. What is
    /// missing between two segments of one stream is damage as it is within one. Gives back the source
    /// before.
    pub fn continue_with(&mut self, source: R) -> R {
        if let Some((header, expected)) = self.header.take().zip(self.expected.take()) {
            self.before = Some((header.stream_id, expected));
        }
        let told = self.told;
        self.go_on_at(0);
        self.told = told;
        self.frames.tag = None;
        std::mem::replace(self.frames.input.source(), source)
    }

    /// The same where segments in between are passed over on purpose: what is missing is no damage.
    pub fn skip_to(&mut self, source: R) -> R {
        self.expected = None;
        let before = self.continue_with(source);
        (self.before, self.told) = (None, None);
        before
    }

    /// Goes on where the source now stands. Nothing is known of what comes next.
    pub(super) fn go_on_at(&mut self, offset: u64) {
        self.frames.input.reset(offset);
        (self.expected, self.told, self.gap, self.held) = (None, None, None, None);
        (self.taken, self.closed, self.done) = (0, false, false);
        self.behind_final = None;
    }

    /// Where the next item begins, in bytes from the beginning of the source.
    #[must_use]
    pub fn offset(&self) -> u64 {
        self.frames.input.offset() + self.taken as u64
    }

    /// Whether to go on past damage, reporting each gap.
    #[must_use]
    pub fn salvage(mut self, on: bool) -> Self {
        self.salvage = on;
        self
    }

    /// Whether the input may grow: its end before the final block is [`Item::Pending`].
    #[must_use]
    pub fn follow(mut self, on: bool) -> Self {
        self.follow = on;
        self
    }

    /// The same for a reader at work: an input that grows no more, or the next one.
    pub fn set_follow(&mut self, on: bool) {
        self.follow = on;
    }

    /// The file header, once it was read; none where it was damaged.
    #[must_use]
    pub fn header(&self) -> Option<&Header> {
        self.header.as_ref()
    }

    /// Whether the last block read ended its file in order.
    #[must_use]
    pub fn closed(&self) -> bool {
        self.closed
    }

    /// The next thing in the stream; `None` at its end, and after damage was an error.
    ///
    /// # Errors
    /// A failing input, which may be tried again; damage, unless salvaging; a version or features
    /// that are not known.
    // Not an iterator: items borrow from the reader.
    #[allow(clippy::should_implement_trait)]
    pub fn next(&mut self) -> Result<Option<Item<'_>>, Error> {
        if self.done {
            return Ok(None);
        }
        self.frames.input.consume(std::mem::take(&mut self.taken));
        let step = self.step()?;
        Ok(match step {
            Step::Header => self.header.as_ref().map(Item::Header),
            Step::Block(header) => {
                let offset = self.frames.input.offset();
                let (slots, translator) = self.frames.payload(&header);
                let (images, has_end) = (translator.images(), translator.has_end());
                Some(Item::Block(Block { header, offset, slots, images, has_end }))
            }
            Step::Gap(gap) => Some(Item::Gap(gap)),
            Step::Pending => Some(Item::Pending),
            Step::End => None,
        })
    }

    fn step(&mut self) -> Result<Step, Error> {
        loop {
            let found = match self.held.take() {
                Some(found) => found,
                None => self.find()?,
            };
            match found {
                Found::Pending => return Ok(Step::Pending),
                Found::End => return self.end(),
                Found::Broken(fault, skip) => self.broken(fault, skip)?,
                Found::Bad(fault, block) => {
                    self.broken(fault, block.total_len())?;
                    self.note_bad(&block);
                }
                Found::Header(header, len) => match self.gap_before(None) {
                    Some(gap) => {
                        self.held = Some(Found::Header(header, len));
                        return Ok(Step::Gap(gap));
                    }
                    None => {
                        self.take_header(*header);
                        self.taken = len;
                        return Ok(Step::Header);
                    }
                },
                Found::Block(block) => match self.gap_before(Some(&block)) {
                    Some(gap) => {
                        self.held = Some(Found::Block(block));
                        return Ok(Step::Gap(gap));
                    }
                    None if self.take_block(&block) => return Ok(Step::Block(block)),
                    None => {}
                },
            }
        }
    }

    /// What lies next, looked at in the light of what came before.
    fn find(&mut self) -> Result<Found, Error> {
        let found = self.frames.find(self.follow)?;
        let fault = match &found {
            Found::Header(..) if self.expected.is_some() && !self.closed && self.gap.is_none() => {
                if self.salvage {
                    self.gap = Some(self.damage(Fault::NoEnd));
                    return Ok(found);
                }
                Fault::NoEnd
            }
            Found::Block(_) if self.closed => Fault::Trailing,
            Found::Block(_) if self.header.is_none() && !self.salvage => Fault::NotAStream,
            Found::Block(block) => match self.out_of_sequence(block) {
                Some(fault) => fault,
                None => match self.frames.translate(block) {
                    Ok(()) => return Ok(found),
                    // Then what its header says does not hold.
                    Err(Fault::EventCount) => Fault::EventCount,
                    Err(fault) => return Ok(Found::Bad(fault, *block)),
                },
            },
            Found::End if self.follow && !self.has_ended() => return Ok(Found::Pending),
            _ => return Ok(found),
        };
        let skip = match &found {
            Found::Header(_, len) => *len,
            Found::Block(block) => block.total_len(),
            _ => 0,
        };
        Ok(Found::Broken(fault, skip))
    }

    /// Whether the numbers of a block keep it out. Missing blocks before it do so only for a
    /// strict reader.
    fn out_of_sequence(&self, block: &BlockHeader) -> Option<Fault> {
        let expected = self.expected?;
        let (number, event) = (block.number.get(), block.first_event.get());
        if number < expected.block {
            return Some(Fault::Stale(number));
        }
        if number > expected.block && !self.salvage {
            return Some(Fault::Missing(number));
        }
        let off =
            if number == expected.block { event != expected.event } else { event < expected.event };
        off.then_some(Fault::EventNumber(event))
    }

    fn damage(&self, fault: Fault) -> Damage {
        let block = self.expected.map(|expected| expected.block);
        Damage { offset: self.frames.input.offset(), block, fault }
    }

    /// Damage ends a strict reader; a salvaging one passes over it. A sound header that asks for
    /// more than this version knows ends both.
    fn broken(&mut self, fault: Fault, skip: usize) -> Result<(), Error> {
        let start = self.expected.is_none() && self.frames.input.offset() == 0;
        let fault = match fault {
            Fault::NoBlock if self.closed => Fault::Trailing,
            Fault::NoBlock | Fault::Unwritten if start => Fault::NotAStream,
            other => other,
        };
        let damage = self.damage(fault);
        if fault.is_newer() || !self.salvage {
            self.done = true;
            return Err(damage.into());
        }
        self.gap.get_or_insert(damage);
        self.frames.skip(skip);
        Ok(())
    }

    /// A block that is passed over for its payload's sake still tells what is missing.
    fn note_bad(&mut self, block: &BlockHeader) {
        if self.expected.is_none_or(|expected| expected.block <= block.number.get()) {
            self.behind_final = is_final(block).then(|| Expected::behind(block));
        }
    }

    /// Whether nothing comes any more, be it that the final block was passed over.
    fn has_ended(&self) -> bool {
        self.closed || self.behind_final.is_some()
    }

    /// The gap that ends here, where there is one: bytes passed over, or numbers missing.
    fn gap_before(&mut self, block: Option<&BlockHeader>) -> Option<Gap> {
        let missing = match block {
            Some(block) => self.missing_before(Expected::at(block)),
            None if self.gap.is_some() => self.missing_at_end(),
            None => None,
        };
        let damage = match (self.gap.take(), missing, block) {
            (Some(damage), ..) => damage,
            (None, Some((1.., _)), Some(block)) => self.damage(Fault::Missing(block.number.get())),
            _ => return None,
        };
        if let Some(block) = block {
            self.expected = Some(Expected::at(block));
        }
        Some(self.gap_from(damage, missing))
    }

    /// Blocks and events that are missing before a place, but for those that were told.
    fn missing_before(&self, at: Expected) -> Option<(u64, u64)> {
        let expected = self.expected?;
        let told = self.told.unwrap_or(expected);
        let block = at.block.saturating_sub(expected.block.max(told.block));
        Some((block, at.event.saturating_sub(expected.event.max(told.event))))
    }

    /// The same at the end of a file. What follows a closed one was never counted; what follows an
    /// open one nobody knows.
    fn missing_at_end(&mut self) -> Option<(u64, u64)> {
        let at = if self.closed { self.expected } else { self.behind_final };
        let missing = self.missing_before(at?);
        self.told = at;
        missing
    }

    fn gap_from(&self, damage: Damage, missing: Option<(u64, u64)>) -> Gap {
        let bytes = self.frames.input.offset() - damage.offset;
        let (blocks, events) = missing.unzip();
        Gap { damage, bytes, blocks, events }
    }

    /// The numbers go on from the segment before, or begin anew with another stream.
    fn take_header(&mut self, header: Header) {
        // Where the header before was damaged, its blocks still had the tag.
        let is_own = match (&self.header, self.frames.tag) {
            (Some(old), _) => old.stream_id == header.stream_id,
            (None, Some(tag)) => tag == header.stream_tag(),
            (None, None) => false,
        };
        let before = self.before.take().filter(|(id, _)| *id == header.stream_id);
        let before = self.expected.filter(|_| is_own).or(before.map(|(_, expected)| expected));
        let begun = Expected { block: header.first_block, event: header.first_event };
        if before.is_none() {
            self.told = None;
        }
        self.expected = Some(before.unwrap_or(begun));
        self.frames.tag = Some(header.stream_tag());
        self.header = Some(header);
        (self.closed, self.behind_final) = (false, None);
    }

    /// Goes past a block; false where there is nothing in it for the caller.
    fn take_block(&mut self, block: &BlockHeader) -> bool {
        self.expected = Some(Expected::behind(block));
        self.frames.tag = Some(block.stream_tag);
        (self.closed, self.behind_final) = (is_final(block), None);
        if Frames::<R>::holds_records(block) {
            self.taken = block.total_len();
            return true;
        }
        self.frames.input.consume(block.total_len());
        false
    }

    fn end(&mut self) -> Result<Step, Error> {
        self.done = true;
        if self.gap.is_none() && self.closed {
            return Ok(Step::End);
        }
        let fault = if self.expected.is_none() { Fault::NotAStream } else { Fault::NoEnd };
        let damage = self.gap.take().unwrap_or_else(|| self.damage(fault));
        if !self.salvage {
            return Err(damage.into());
        }
        let missing = self.missing_at_end();
        Ok(Step::Gap(self.gap_from(damage, missing)))
    }
}

impl Expected {
    fn at(block: &BlockHeader) -> Self {
        Expected { block: block.number.get(), event: block.first_event.get() }
    }

    fn behind(block: &BlockHeader) -> Self {
        Expected {
            block: block.number.get().saturating_add(1),
            event: block.first_event.get().saturating_add(block.events.get().into()),
        }
    }
}

fn is_final(block: &BlockHeader) -> bool {
    block.flags.get() & block_flag::FINAL != 0
}

//! The reader: bytes in, checked blocks out.

use super::error::{Damage, Fault};
use super::frame::{Frames, Front};
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
    /// No more data for now: call again later. Only when following.
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
    has_gap: bool,
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

    /// Its offset in the input, in bytes.
    #[must_use]
    pub fn offset(&self) -> u64 {
        self.offset
    }

    /// The number of events in the stream before it.
    #[must_use]
    pub fn first_event(&self) -> u64 {
        self.header.first_event.get()
    }

    /// The number of events in it.
    #[must_use]
    pub fn events(&self) -> u32 {
        self.header.events.get()
    }

    /// The earliest and the latest time in it, `CLOCK_MONOTONIC` ns; 0 if it has none. Those of GAP and NOTE records
    /// do not count.
    #[must_use]
    pub fn times(&self) -> (u64, u64) {
        (self.header.first_ns.get(), self.header.last_ns.get())
    }

    /// The earliest and the latest wall time of its records, ns since 1970, each by the clock in force at that
    /// record; `None` if no record has a time. Those of GAP and NOTE records do not count: a block without other
    /// records has no times, and must not be passed over in a search by time.
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

    /// The ids in the stream of the process image that is `proc` in this block. They identify the same image in
    /// other blocks.
    #[must_use]
    pub fn stream_ids(&self, proc: u32) -> Option<StreamIds> {
        self.images.get((proc as usize).checked_sub(1)?).copied()
    }

    /// The first four bytes of its stream's id.
    pub(super) fn tag(&self) -> [u8; 4] {
        self.header.stream_tag
    }

    /// Whether this block starts the numbering of ids in the stream anew.
    #[must_use]
    pub fn is_renumbered(&self) -> bool {
        self.header.flags.get() & block_flag::RENUMBERED != 0
    }

    /// Whether it holds a loss.
    #[must_use]
    pub fn has_loss(&self) -> bool {
        self.header.flags.get() & block_flag::LOSS != 0
    }

    /// Whether it holds a GAP record, which may be about times far before those of the block.
    #[must_use]
    pub fn has_gap(&self) -> bool {
        self.has_gap
    }

    /// The END record, which need not be in the final block; `None` if this block has none.
    #[must_use]
    pub fn end(&self) -> Option<&'a End> {
        let end = |record: Record<'a>| match record.body() {
            Body::End(end) => Some(end),
            _ => None,
        };
        // Most blocks have none and need no search.
        self.has_end.then(|| self.records().find_map(end)).flatten()
    }
}

/// A part of the stream that a salvaging reader had to skip.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Gap {
    /// Where the gap begins, and why.
    pub damage: Damage,
    /// Bytes skipped.
    pub bytes: u64,
    /// Blocks missing, by their numbers; `None` if that is not known.
    pub blocks: Option<u64>,
    /// Events missing; `None` if that is not known.
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

/// Where a block ends whose checksums are right.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WholeEnd {
    /// Bytes from the beginning of the source.
    pub offset: u64,
    /// The number of the next block.
    pub next_block: u64,
    /// Events of the stream up to there.
    pub events: u64,
    /// It is the final block of its file.
    pub is_final: bool,
}

/// The numbers of the next block and event.
#[derive(Clone, Copy)]
struct Expected {
    block: u64,
    event: u64,
}

/// What [`Reader::next`] will return. Owns its data, so that the search for it can loop.
enum Step {
    Header,
    Block(BlockHeader),
    Gap(Gap),
    Pending,
    End,
}

/// Reads a stream from anything that can be read, in memory of a fixed size.
///
/// Strict by default: the first damage is an error. See the module for an example.
pub struct Reader<R> {
    pub(super) frames: Frames<R>,
    salvage: bool,
    follow: bool,
    header: Option<Header>,
    expected: Option<Expected>,
    /// The stream of the previous source, and where it ended.
    before: Option<([u8; 16], Expected)>,
    /// The last block taken was a final one.
    closed: bool,
    /// Damage after which no sound block has come yet.
    gap: Option<Damage>,
    /// Blocks and events before these were reported as missing already. A copy of the stream may still contain
    /// them.
    reported: Option<Expected>,
    /// The numbers behind the last skipped block whose header was sound, if it was the final block.
    behind_final: Option<Expected>,
    /// Behind the last block that is whole.
    whole: Option<WholeEnd>,
    /// What follows a gap that was just reported.
    held: Option<Front>,
    /// Bytes of the item returned last.
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
            reported: None,
            behind_final: None,
            whole: None,
            held: None,
            taken: 0,
            done: false,
        }
    }

    /// Continues with another source, from its beginning: the next segment, or another stream. Blocks missing
    /// between two segments of one stream are damage, as within one. Returns the previous source.
    pub fn continue_with(&mut self, source: R) -> R {
        if let Some((header, expected)) = self.header.take().zip(self.expected.take()) {
            self.before = Some((header.stream_id, expected));
        }
        let reported = self.reported;
        self.go_on_at(0);
        self.reported = reported;
        self.frames.tag = None;
        std::mem::replace(self.frames.input.source(), source)
    }

    /// The same if segments in between are skipped on purpose: missing blocks are no damage.
    pub fn skip_to(&mut self, source: R) -> R {
        self.expected = None;
        let before = self.continue_with(source);
        (self.before, self.reported) = (None, None);
        before
    }

    /// Continues at `offset`, the source's position. Any block may come next.
    pub(super) fn go_on_at(&mut self, offset: u64) {
        self.frames.input.reset(offset);
        self.frames.leave();
        (self.expected, self.reported, self.gap, self.held) = (None, None, None, None);
        (self.taken, self.closed, self.done) = (0, false, false);
        (self.behind_final, self.whole) = (None, None);
    }

    /// Leaves the item returned last, and the numbers before: any block may come next. Returns false if another item is held
    /// back, so that the blocks cannot be read on from here.
    pub(super) fn leave_item(&mut self) -> bool {
        if self.held.is_some() {
            return false;
        }
        self.frames.input.consume(std::mem::take(&mut self.taken));
        (self.expected, self.reported, self.gap, self.behind_final) = (None, None, None, None);
        (self.closed, self.done) = (false, false);
        true
    }

    /// The offset of the next item in the source, in bytes.
    #[must_use]
    pub fn offset(&self) -> u64 {
        self.frames.input.offset() + self.taken as u64
    }

    /// Whether to continue behind damage and report each gap.
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

    /// The same for a reader in use, when the input stops growing or another input begins.
    pub fn set_follow(&mut self, on: bool) {
        self.follow = on;
    }

    /// The file header, once it was read; `None` if it was damaged.
    #[must_use]
    pub fn header(&self) -> Option<&Header> {
        self.header.as_ref()
    }

    /// The end of the last block that is whole, even if a salvaging reader could not decompress it, as blocks before it in
    /// its MiB are damaged; `None` before the first.
    #[must_use]
    pub fn whole_end(&self) -> Option<WholeEnd> {
        self.whole
    }

    /// Whether the last block read was the final block of its file.
    #[must_use]
    pub fn closed(&self) -> bool {
        self.closed
    }

    /// The next item of the stream; `None` at its end, and after damage was returned as an error.
    ///
    /// # Errors
    /// Reading the input fails (the call can be repeated); damage, unless salvaging; a version or features that
    /// are not known.
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
                let has_gap = translator.has_gap();
                Some(Item::Block(Block { header, offset, slots, images, has_end, has_gap }))
            }
            Step::Gap(gap) => Some(Item::Gap(gap)),
            Step::Pending => Some(Item::Pending),
            Step::End => None,
        })
    }

    fn step(&mut self) -> Result<Step, Error> {
        loop {
            let front = match self.held.take() {
                Some(front) => front,
                None => self.find()?,
            };
            match front {
                Front::Pending => return Ok(Step::Pending),
                Front::End => return self.end(),
                Front::Broken(fault, skip) => self.broken(fault, skip)?,
                Front::Bad(fault, block) => {
                    let whole = matches!(fault, Fault::Continues | Fault::Missing(_));
                    let whole = whole.then(|| self.end_of(&block));
                    self.broken(fault, block.total_len())?;
                    self.note_bad(&block);
                    self.whole = whole.or(self.whole);
                }
                Front::Header(header, len) => match self.gap_before(None) {
                    Some(gap) => {
                        self.held = Some(Front::Header(header, len));
                        return Ok(Step::Gap(gap));
                    }
                    None => {
                        self.take_header(*header);
                        self.taken = len;
                        return Ok(Step::Header);
                    }
                },
                Front::Block(block) => match self.gap_before(Some(&block)) {
                    Some(gap) => {
                        self.held = Some(Front::Block(block));
                        return Ok(Step::Gap(gap));
                    }
                    None if self.take_block(&block) => return Ok(Step::Block(block)),
                    None => {}
                },
            }
        }
    }

    /// What comes next, checked against what came before.
    fn find(&mut self) -> Result<Front, Error> {
        let front = self.frames.find(self.follow)?;
        let fault = match &front {
            Front::Header(..) if self.expected.is_some() && !self.closed && self.gap.is_none() => {
                if self.salvage {
                    self.gap = Some(self.damage(Fault::NoEnd));
                    return Ok(front);
                }
                Fault::NoEnd
            }
            Front::Block(_) if self.closed => Fault::Trailing,
            Front::Block(_) if self.header.is_none() && !self.salvage => Fault::NotAStream,
            Front::Block(block) => match self.out_of_sequence(block) {
                Some(fault) => fault,
                None => match self.frames.translate(block) {
                    Ok(()) => return Ok(front),
                    // Then its header is wrong.
                    Err(Fault::EventCount) => Fault::EventCount,
                    Err(Fault::Continues) => {
                        return Ok(Front::Bad(self.why_unread(block), *block));
                    }
                    Err(fault) => return Ok(Front::Bad(fault, *block)),
                },
            },
            Front::End if self.follow && !self.has_ended() => return Ok(Front::Pending),
            _ => return Ok(front),
        };
        let skip = match &front {
            Front::Header(_, len) => *len,
            Front::Block(block) => block.total_len(),
            _ => 0,
        };
        Ok(Front::Broken(fault, skip))
    }

    /// The fault of a block's numbers, if there is one. Missing blocks before it are a fault for a strict reader
    /// only.
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

    /// The end of the block at the front.
    fn end_of(&self, block: &BlockHeader) -> WholeEnd {
        let Expected { block: next_block, event: events } = Expected::behind(block);
        let offset = self.frames.input.offset() + block.total_len() as u64;
        WholeEnd { offset, next_block, events, is_final: is_final(block) }
    }

    /// Why a block cannot go on from the one before it.
    fn why_unread(&self, block: &BlockHeader) -> Fault {
        let number = block.number.get();
        let is_gap = self.expected.is_some_and(|expected| expected.block < number);
        if is_gap { Fault::Missing(number) } else { Fault::Continues }
    }

    fn damage(&self, fault: Fault) -> Damage {
        let block = self.expected.map(|expected| expected.block);
        Damage { offset: self.frames.input.offset(), block, fault }
    }

    /// Handles damage: an error for a strict reader; a salvaging reader skips it. A sound header that needs a newer
    /// version is an error for both.
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

    /// The header of a block with a damaged payload still shows what is missing.
    fn note_bad(&mut self, block: &BlockHeader) {
        if self.expected.is_none_or(|expected| expected.block <= block.number.get()) {
            self.behind_final = is_final(block).then(|| Expected::behind(block));
        }
    }

    /// Whether the file has ended, even if its final block was skipped.
    fn has_ended(&self) -> bool {
        self.closed || self.behind_final.is_some()
    }

    /// The gap that ends here, if there is one: skipped bytes, or missing numbers.
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

    /// The number of blocks and events missing before `at`, without those reported already.
    fn missing_before(&self, at: Expected) -> Option<(u64, u64)> {
        let expected = self.expected?;
        let reported = self.reported.unwrap_or(expected);
        let block = at.block.saturating_sub(expected.block.max(reported.block));
        Some((block, at.event.saturating_sub(expected.event.max(reported.event))))
    }

    /// The same at the end of a file. `None` if the final block was not seen: nobody knows how many should
    /// follow.
    fn missing_at_end(&mut self) -> Option<(u64, u64)> {
        let at = if self.closed { self.expected } else { self.behind_final };
        let missing = self.missing_before(at?);
        self.reported = at;
        missing
    }

    fn gap_from(&self, damage: Damage, missing: Option<(u64, u64)>) -> Gap {
        let bytes = self.frames.input.offset() - damage.offset;
        let (blocks, events) = missing.unzip();
        Gap { damage, bytes, blocks, events }
    }

    /// The numbers continue those of the previous segment, or start anew with another stream.
    fn take_header(&mut self, header: Header) {
        // If the header before was damaged, its blocks still had the tag.
        let is_own = match (&self.header, self.frames.tag) {
            (Some(old), _) => old.stream_id == header.stream_id,
            (None, Some(tag)) => tag == header.stream_tag(),
            (None, None) => false,
        };
        let before = self.before.take().filter(|(id, _)| *id == header.stream_id);
        let before = self.expected.filter(|_| is_own).or(before.map(|(_, expected)| expected));
        let begun = Expected { block: header.first_block, event: header.first_event };
        if before.is_none() {
            self.reported = None;
        }
        self.expected = Some(before.unwrap_or(begun));
        self.frames.tag = Some(header.stream_tag());
        self.header = Some(header);
        self.frames.leave();
        (self.closed, self.behind_final) = (false, None);
    }

    /// Takes a block. Returns false if it has nothing for the caller.
    fn take_block(&mut self, block: &BlockHeader) -> bool {
        self.expected = Some(Expected::behind(block));
        self.whole = Some(self.end_of(block));
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

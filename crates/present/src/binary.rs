//! The binary stream as the end of a pipeline.

use crate::limits::{BLOCK, BLOCK_EVENTS, BLOCKS_KNOWN, BUFFER_BYTES, GATHER_BLOCK, SMALL_BLOCK};
use crate::pipeline::{Output, Patience};
use crate::wall::Wall;
use crate::world::{Change, World};
use fsmon_format::error::Error;
use fsmon_format::mirror::Capacity;
use fsmon_format::record::{
    Body, Build, Dir, EventRef, Gap, Loss, NoteRef, Record, Slot, end_flag,
};
use fsmon_format::stream::layout::{BlockHeader, FileHeader, MAGIC, block_kind};
use fsmon_format::stream::{Codec, Header, Writer};
use std::collections::VecDeque;
use std::time::Duration;
use zerocopy::{FromBytes, FromZeros};

/// Writes blocks.
pub struct Binary {
    blocks: Blocks,
    /// Of the current file.
    header: Header,
    build: Box<Build>,
    /// Events held back; a loss counts as [`BLOCK_EVENTS`].
    held: u32,
}

/// The writer, and how many lines a decoder makes of the blocks that it gave out.
struct Blocks {
    /// `None` once the stream has ended.
    writer: Option<Writer<Vec<u8>>>,
    /// Lines so far: all, and those in blocks that were given out.
    lines: u64,
    given_out: u64,
    /// Lines of each of the blocks given out last.
    recent: VecDeque<u64>,
}

impl Binary {
    /// A writer; [`Output::begin`] appends the file header. `capacity` is the world's.
    ///
    /// # Errors
    /// None that can happen with a buffer in memory.
    pub fn new(header: Header, codec: Codec, capacity: Capacity) -> Result<Self, Error> {
        let buffer = Vec::with_capacity(BUFFER_BYTES);
        let writer = Writer::new(buffer, &header, capacity)
            .map_err(|error| Error::os("cannot begin the stream", error))?
            .compress(codec)
            .count_clock_steps();
        let recent = VecDeque::with_capacity(BLOCKS_KNOWN);
        let blocks = Blocks { writer: Some(writer), lines: 0, given_out: 0, recent };
        Ok(Binary { blocks, header, build: Box::default(), held: 0 })
    }
}

impl Binary {
    /// Makes [`Output::begin_again`] work with any codec: [`Writer::keep_for_a_cut`].
    #[must_use]
    pub fn keep_for_a_cut(mut self) -> Self {
        self.blocks.writer = self.blocks.writer.map(Writer::keep_for_a_cut);
        self
    }

    /// EVENT records of the stream so far; 0 once it has ended.
    pub fn events(&self) -> u64 {
        self.blocks.writer.as_ref().map_or(0, Writer::events)
    }

    /// When the current file began: `CLOCK_MONOTONIC` ns, and ns since 1970. As in its header.
    pub fn began(&self) -> (u64, u64) {
        (self.header.time_ns, self.header.realtime_ns)
    }

    /// The number of the file in the stream.
    pub fn segment(&self) -> u32 {
        self.header.segment
    }

    /// The number of the block that the next record goes into, unless the open block has room for it.
    pub fn next_block(&self) -> u64 {
        self.blocks.writer.as_ref().map_or(0, Writer::next_block)
    }

    /// Whether the next events show the command lines of their processes: [`Writer::set_cmdlines`].
    pub fn set_cmdlines(&mut self, on: bool) {
        if let Some(writer) = &mut self.blocks.writer {
            writer.set_cmdlines(on);
        }
    }

    /// The time of the last record that has one, `CLOCK_MONOTONIC` ns: at first, of the header.
    pub fn last_ns(&self) -> Option<u64> {
        self.blocks.writer.as_ref().map(Writer::last_ns)
    }
}

impl Blocks {
    /// Pushes a record of which a decoder makes `lines` lines.
    #[inline]
    fn push_lines(&mut self, lines: u32, record: &Record<'_>, world: &World, out: &mut Vec<u8>) {
        self.push(record, world, out);
        self.lines += u64::from(lines);
    }

    #[inline]
    fn push(&mut self, record: &Record<'_>, world: &World, out: &mut Vec<u8>) {
        let Some(writer) = &mut self.writer else { return };
        in_memory(writer.push(record, &world.mirror));
        if !writer.get_mut().is_empty() {
            self.deliver(out);
        }
    }

    fn push_slots(&mut self, slots: &[Slot], world: &World, out: &mut Vec<u8>) {
        if let Some((record, _)) = Record::split_first(slots) {
            self.push(&record, world, out);
        }
    }

    /// Moves to `out` what the writer has written: with that, all lines so far are in the output.
    #[cold]
    fn deliver(&mut self, out: &mut Vec<u8>) {
        let Some(mut writer) = self.writer.take() else { return };
        self.note(writer.get_mut());
        out.append(writer.get_mut());
        self.writer = Some(writer);
    }

    fn note(&mut self, written: &[u8]) {
        for _ in Units(written).filter(|unit| unit.has_records) {
            self.recent.truncate(BLOCKS_KNOWN - 1);
            self.recent.push_front(self.lines - self.given_out);
            self.given_out = self.lines;
        }
    }
}

/// Iterates over the whole file headers and blocks at the beginning of some bytes.
struct Units<'a>(&'a [u8]);

struct Unit {
    len: usize,
    has_records: bool,
}

impl Iterator for Units<'_> {
    type Item = Unit;

    fn next(&mut self) -> Option<Unit> {
        let (len, has_records) = if self.0.starts_with(&MAGIC) {
            let (header, _) = FileHeader::ref_from_prefix(self.0).ok()?;
            (header.header_len.get() as usize, false)
        } else {
            let (header, _) = BlockHeader::ref_from_prefix(self.0).ok()?;
            (header.total_len(), header.kind == block_kind::RECORDS)
        };
        self.0 = self.0.get(len..)?;
        Some(Unit { len, has_records })
    }
}

impl Output for Binary {
    const GATHER: Duration = GATHER_BLOCK;
    const IS_TEXT: bool = false;

    fn whole(part: &[u8]) -> usize {
        Units(part).map(|unit| unit.len).sum()
    }

    fn lines_lost_with(&self, rest: &[u8]) -> u64 {
        let blocks = Units(rest).filter(|unit| unit.has_records).count();
        let in_blocks: u64 = self.blocks.recent.iter().take(blocks).sum();
        in_blocks + self.blocks.lines - self.blocks.given_out
    }

    fn begin(&mut self, out: &mut Vec<u8>) {
        self.blocks.deliver(out);
    }

    fn changed(&mut self, world: &World, change: Change, out: &mut Vec<u8>) {
        let slots = match change {
            Change::Dir(id) | Change::Renamed(id) => {
                let mut head = Dir::new_zeroed();
                head.id = id.into();
                head.object = world.mirror.dir(id).map_or(0, |dir| dir.object).into();
                self.build.dir(head, b"")
            }
            Change::Proc(id) => match world.mirror.proc(id) {
                Some(image) => self.build.proc(*image),
                None => return,
            },
            Change::Str(id) => self.build.str(id, b""),
            Change::Nothing | Change::Everything => return,
        };
        self.blocks.push_slots(slots, world, out);
    }

    #[inline]
    fn event(
        &mut self,
        world: &World,
        event: &EventRef<'_>,
        types: u32,
        record: &Record<'_>,
        out: &mut Vec<u8>,
    ) {
        self.held = self.held.saturating_add(1);
        let lines = types.count_ones();
        let mask = event.head.mask.get() & !fsmon_format::kind::EVERY | types;
        if mask == event.head.mask.get() {
            return self.blocks.push_lines(lines, record, world, out);
        }
        let mut head = *event.head;
        head.mask = mask.into();
        let slots = self.build.event(head, event.name, event.name2);
        if let Some((record, _)) = Record::split_first(slots) {
            self.blocks.push_lines(lines, &record, world, out);
        }
    }

    fn loss(&mut self, world: &World, _: &Loss, record: &Record<'_>, out: &mut Vec<u8>) {
        self.held = BLOCK_EVENTS;
        self.blocks.push_lines(1, record, world, out);
    }

    fn gap(&mut self, world: &World, _: &Gap, record: &Record<'_>, out: &mut Vec<u8>) {
        self.held = BLOCK_EVENTS;
        self.blocks.push_lines(1, record, world, out);
    }

    fn note(&mut self, world: &World, _: &NoteRef<'_>, record: &Record<'_>, out: &mut Vec<u8>) {
        self.held = self.held.saturating_add(1);
        self.blocks.push_lines(1, record, world, out);
    }

    fn other(&mut self, world: &World, record: &Record<'_>, out: &mut Vec<u8>) {
        match record.body() {
            // The engine cannot know that a definition found no room here.
            Body::End(end) if world.refused() > 0 => {
                let mut head = *end;
                head.flags |= end_flag::INCOMPLETE;
                self.blocks.push_slots(self.build.end(head), world, out);
            }
            // Readers use CLOCK records only, and each block repeats the last one: so times are the same
            // live and decoded.
            Body::Stats(stats) => {
                self.blocks.push(record, world, out);
                let slots = self.build.clock(stats.time_ns.get(), stats.realtime_ns.get());
                self.blocks.push_slots(slots, world, out);
            }
            _ => self.blocks.push(record, world, out),
        }
    }

    fn holds_back(&self) -> bool {
        self.held > 0
    }

    fn patience(&self, to_file: bool) -> Patience {
        if to_file && self.held < BLOCK_EVENTS { SMALL_BLOCK } else { BLOCK }
    }

    fn flush(&mut self, out: &mut Vec<u8>) {
        if let Some(writer) = &mut self.blocks.writer {
            in_memory(writer.flush());
        }
        self.held = 0;
        self.blocks.deliver(out);
    }

    fn end_file(&mut self, out: &mut Vec<u8>) {
        if let Some(writer) = &mut self.blocks.writer {
            in_memory(writer.end_segment());
        }
        self.held = 0;
        self.blocks.deliver(out);
    }

    fn begin_file(&mut self, out: &mut Vec<u8>) {
        (self.header.time_ns, self.header.realtime_ns) = Wall::of_this_host().moment();
        if let Some(writer) = &mut self.blocks.writer {
            in_memory(writer.begin_segment(&mut self.header));
        }
        self.blocks.deliver(out);
    }

    fn begin_again(&mut self, carried: &mut Vec<u8>) {
        (self.header.time_ns, self.header.realtime_ns) = Wall::of_this_host().moment();
        if let Some(writer) = &mut self.blocks.writer {
            in_memory(writer.begin_again(&mut self.header, carried));
        }
    }

    fn end(&mut self, _: &World, out: &mut Vec<u8>) {
        if let Some(writer) = self.blocks.writer.take() {
            let rest = writer.finish().expect("a buffer in memory takes everything");
            self.blocks.note(&rest);
            out.extend_from_slice(&rest);
        }
    }
}

/// Cannot fail: the pipeline drops malformed records, and a buffer in memory has no limit.
fn in_memory(result: std::io::Result<()>) {
    result.expect("a well-formed record and a buffer in memory");
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::filter::Criteria;
    use crate::text::fixture::{Bench, capacity, decode, event, image};
    use crate::text::{Lines, json::Json};
    use fsmon_format::kind;
    use fsmon_format::record::{SLOT, tag};
    use zerocopy::IntoBytes;

    fn binary(args: &Criteria, count: Option<u64>) -> Bench<Binary> {
        let output = Binary::new(Header::default(), Codec::None, capacity()).expect("a writer");
        Bench::new(output, args, count)
    }

    fn stream(mut bench: Bench<Binary>, play: impl FnOnce(&mut Bench<Binary>)) -> Vec<u8> {
        bench.pipeline.begin(&mut bench.out);
        play(&mut bench);
        bench.pipeline.end(&mut bench.out);
        bench.out
    }

    #[test]
    fn decoded_lines_are_those_that_were_live() {
        let mut live = Bench::lines(Json::new(true));
        live.play();
        let stream = stream(binary(&Criteria::default(), None), Bench::play);
        assert_eq!(decode(&stream, Lines(Json::new(true))).expect("sound"), live.text());
    }

    #[test]
    fn gaps_and_notes_pass_and_those_left_out_are_not_written() {
        let of = |with_notes| {
            let mut bench = binary(&Criteria::default(), None);
            if with_notes {
                bench.pipeline = bench.pipeline.with_notes();
            }
            stream(bench, |bench| {
                bench.furnish();
                bench.tell();
                assert!(bench.pipeline.holds_back());
                assert_eq!(bench.pipeline.patience(true).first, BLOCK.first);
            })
        };
        let tags = |stream: &[u8]| {
            let mut reader = fsmon_format::stream::Reader::new(stream);
            let (mut gaps, mut notes) = (0, 0);
            while let Some(item) = reader.next().expect("sound") {
                let fsmon_format::stream::Item::Block(block) = item else { continue };
                for record in block.records() {
                    gaps += usize::from(matches!(record.body(), Body::Gap(_)));
                    notes += usize::from(matches!(record.body(), Body::Note(_)));
                }
            }
            (gaps, notes)
        };
        assert_eq!((tags(&of(true)), tags(&of(false))), ((3, 8), (3, 0)));
        let mut live = Bench::lines(Json::new(true));
        live.furnish();
        live.tell();
        assert_eq!(decode(&of(true), Lines(Json::new(true))).expect("sound"), live.text());
    }

    /// The stream as it is to a reader of format 1.0: the tags of gaps and notes are ones that nobody knows.
    fn to_an_old_reader(mut stream: Vec<u8>) -> Vec<u8> {
        let mut at = fsmon_format::stream::layout::HEADER_LEN;
        while at < stream.len() {
            let mut header = BlockHeader::read_from_prefix(&stream[at..]).expect("a block").0;
            let (payload, end) = (at + SLOT, at + header.total_len());
            let mut record = payload;
            while record < end {
                if [tag::GAP, tag::NOTE].contains(&stream[record]) {
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
    fn an_old_reader_prints_the_same_events_of_a_history() {
        let play = |bench: &mut Bench<Binary>| {
            bench.furnish();
            bench.tell();
            bench.play();
            bench.tell();
        };
        let mut bench = binary(&Criteria::default(), None);
        bench.pipeline = bench.pipeline.with_notes();
        let stream = stream(bench, play);
        let lines = |stream: &[u8]| decode(stream, Lines(Json::new(true))).expect("sound");
        let whole = lines(&stream);
        let events: Vec<_> = whole.lines().filter(|line| !line.contains("\"GAP\"")).collect();
        assert_eq!(events.len() + 6, whole.lines().count());
        assert_eq!(lines(&to_an_old_reader(stream)).lines().collect::<Vec<_>>(), events);
    }

    #[test]
    fn so_are_they_across_blocks_clock_steps_and_ids_used_again() {
        fn play<O: Output>(bench: &mut Bench<O>) {
            bench.furnish();
            for step in 0..3000u32 {
                bench.event(event(kind::CREATE, 2, 3), step.to_string().as_bytes(), b"");
                match step % 500 {
                    100 => bench.image(image(3, 1000 + step, "again")),
                    200 => bench.dir_again(1, 0, step, 1, step.to_string().as_bytes()),
                    300 => bench.dir_again(2, 1, 0, step.into(), b"reused"),
                    400 => bench.stats(1_000_000_000, 1_700_000_000_000_000_000 + u64::from(step)),
                    _ => {}
                }
            }
        }
        let mut live = Bench::lines(Json::new(true));
        play(&mut live);
        let stream = stream(binary(&Criteria::default(), None), play);
        assert!(stream.len() > 2 * fsmon_format::stream::layout::BLOCK_MAX);
        assert_eq!(decode(&stream, Lines(Json::new(true))).expect("sound"), live.text());
    }

    #[test]
    fn filters_and_the_count_hold_for_the_stream() {
        let args = Criteria {
            types: vec!["create".into(), "modify".into(), "close_write".into()],
            ..Criteria::default()
        };
        let stream = stream(binary(&args, Some(2)), |bench| {
            bench.furnish();
            let merged = kind::CREATE | kind::ATTRIB | kind::MODIFY | kind::CLOSE_WRITE;
            bench.event(event(merged, 1, 3), b"f", b"");
            bench.event(event(merged, 1, 3), b"g", b"");
        });
        let text = decode(&stream, Lines(Json::new(false))).expect("sound");
        let types: Vec<_> = text.lines().filter_map(|line| line.split('"').nth(7)).collect();
        assert_eq!(types, ["CREATE", "MODIFY"]);
    }

    #[test]
    fn a_flushed_block_can_be_read_at_once() {
        let mut bench = binary(&Criteria::default(), None);
        bench.pipeline.begin(&mut bench.out);
        bench.furnish();
        assert!(!bench.pipeline.holds_back());
        bench.event(event(kind::CREATE, 1, 3), b"f", b"");
        assert!(bench.pipeline.holds_back());
        bench.pipeline.flush(&mut bench.out);
        assert!(!bench.pipeline.holds_back());
        let error = decode(&bench.out, Lines(Json::new(false))).expect_err("no end yet");
        assert!(error.0.contains("/srv/b/f"), "{}", error.0);
    }
}

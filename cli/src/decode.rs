//! `fsmon decode`: from a binary stream to lines, by the pipeline that serves live changes.

use crate::args::{DecodeArgs, TextFormat};
use crate::filter::{Filter, Source as Origin};
use crate::limits::BUFFER_BYTES;
use crate::moment::Range;
use crate::pipeline::{Output, Pipeline};
use crate::recording::{Recording, Source, Wait, recordings};
use crate::sink::{Reader as Pipe, Sink};
use crate::summary::counted;
use crate::target::Target;
use crate::tell::tell;
use crate::text::{Format, Lines, csv, human, human::Human, json::Json};
use crate::world::World;
use fsmon_engine::Error;
use fsmon_format::kind;
use fsmon_format::record::{Body, End, end_flag};
use fsmon_format::stream::{self, BLOCK_CAPACITY, Block, Damage, Error as Fault, Item, Reader};
use std::collections::VecDeque;
use std::path::Path;

/// By so much, in ns, the wall clock may have been set back within a recording for `--since` and
/// `--until` to find all that they ask for.
const SLACK_NS: u64 = 2_000_000_000;

/// Prints a stream, up to the first damage or, with `--salvage`, past it.
///
/// # Errors
/// The stream cannot be read or is damaged, standard output cannot be written to.
pub(crate) fn run(args: &DecodeArgs) -> Result<(), Error> {
    let range = Range { since: args.since, until: args.until };
    let filter =
        Filter::new(&args.filter, kind::EVERY, Origin::Recorded, BLOCK_CAPACITY)?.within(range);
    let recordings = recordings(&args.file, args.follow, early(range.since))?;
    let target = Target::new(Path::new("-"))?;
    let is_terminal = target.is_terminal();
    let job = Job { recordings, range, salvage: args.salvage, sink: target.open()?, filter };
    let (chain, cmdline) = (args.chain, args.cmdline);
    match args.format {
        TextFormat::Human => {
            let human = Human::new(chain, human::wants_colours(is_terminal));
            job.run(human.with_cmdline(cmdline))
        }
        TextFormat::Json => job.run(Json::new(chain).with_cmdline(cmdline)),
        TextFormat::Csv if is_terminal => job.run(csv::Terminal::new(chain).with_cmdline(cmdline)),
        TextFormat::Csv => job.run(csv::Plain::new(chain).with_cmdline(cmdline)),
    }
}

/// What is given out.
struct Job {
    recordings: VecDeque<Recording>,
    range: Range,
    salvage: bool,
    sink: Sink,
    filter: Filter,
}

impl Job {
    fn run<F: Format>(self, format: F) -> Result<(), Error> {
        let world = World::recorded(BLOCK_CAPACITY);
        let decoder = Decoder {
            streams: Vec::new(),
            unopened: self.recordings,
            pipeline: Pipeline::new(world, self.filter, Lines(format), None),
            range: self.range,
            salvage: self.salvage,
            sink: self.sink.breaking_at(Lines::<F>::whole),
            buffer: Vec::with_capacity(BUFFER_BYTES),
            gaps: 0,
            found_some: false,
        };
        decoder.run()
    }
}

/// A stream that is being read.
struct Stream {
    reader: Reader<Source>,
    recording: Recording,
    /// It said that it ends here.
    has_ended: bool,
    /// It was told if its beginning is missing.
    is_told: bool,
}

/// Reads one stream after the other; one that nothing more is in for now waits beside the others.
struct Decoder<O> {
    streams: Vec<Stream>,
    unopened: VecDeque<Recording>,
    pipeline: Pipeline<O>,
    range: Range,
    salvage: bool,
    sink: Sink,
    buffer: Vec<u8>,
    gaps: u64,
    /// Something was a stream.
    found_some: bool,
}

/// What to do after an item.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Then {
    Next,
    /// The header was read: now is the time to go elsewhere in the file.
    Seek,
    Wait,
    NextFile,
    Stop,
}

impl Stream {
    /// Begins with the first file; `None` where there is none.
    fn open(mut recording: Recording, salvage: bool) -> Result<Option<Self>, Error> {
        let Some(source) = recording.open_next()? else { return Ok(None) };
        let reader = Reader::new(source).salvage(salvage).follow(recording.may_grow());
        Ok(Some(Stream { reader, recording, has_ended: false, is_told: false }))
    }

    fn seek(&mut self, range: Range) -> Result<(), Error> {
        let Some(since) = early(range.since).filter(|_| self.recording.is_regular()) else {
            return Ok(());
        };
        let sought = self.reader.seek_to_time(since);
        sought.map_err(|fault| explained(self.recording.name(), &fault))
    }

    /// Goes on in the next file, if there is one.
    fn open_next(&mut self) -> Result<bool, Error> {
        if let Some(header) =
            self.reader.header().filter(|_| !self.has_ended && self.reader.closed())
        {
            self.recording.find_successor(header)?;
        }
        let next = self.recording.open_next()?;
        let there = next.is_some();
        if let Some(source) = next {
            self.reader.continue_with(source);
            self.reader.set_follow(self.recording.may_grow());
        }
        Ok(there)
    }

    /// Nothing more is there for now: waits, where that is asked for. Whether there may be more.
    fn wait(&mut self) -> Result<bool, Error> {
        match self.recording.wait(self.reader.offset())? {
            Wait::Over => {}
            Wait::InVain => self.reader.set_follow(false),
            Wait::NotAsked => {
                let name = self.recording.name();
                tell(format_args!("{name} is still being written; --follow goes on as it grows"));
                return Ok(false);
            }
        }
        Ok(true)
    }
}

impl<O: Output> Decoder<O> {
    fn run(mut self) -> Result<(), Error> {
        self.pipeline.begin(&mut self.buffer);
        let mut at = 0;
        let mut last = String::new();
        while self.there_is_one()? {
            at %= self.streams.len();
            let then = self.take_item(at);
            // One block's lines, and not more, so that a live stream comes through as it comes in;
            // and what was sound before an error.
            if self.sink.put(&mut self.buffer)? == Pipe::Gone {
                return Ok(());
            }
            let stream = &mut self.streams[at];
            let goes_on = match then? {
                Then::Next => true,
                Then::Seek => {
                    stream.seek(self.range)?;
                    true
                }
                Then::Wait => {
                    let goes_on = stream.wait()?;
                    at += usize::from(goes_on);
                    self.open_another()?;
                    goes_on
                }
                Then::NextFile => stream.open_next()?,
                Then::Stop => false,
            };
            if !goes_on {
                last = self.close(at);
            }
        }
        self.finish(&last)
    }

    fn there_is_one(&mut self) -> Result<bool, Error> {
        while self.streams.is_empty() && !self.unopened.is_empty() {
            self.open_another()?;
        }
        Ok(!self.streams.is_empty())
    }

    /// Begins with a stream that nobody reads yet.
    fn open_another(&mut self) -> Result<(), Error> {
        let Some(recording) = self.unopened.pop_front() else { return Ok(()) };
        self.streams.extend(Stream::open(recording, self.salvage)?);
        Ok(())
    }

    /// Done with a stream; its name.
    fn close(&mut self, at: usize) -> String {
        let stream = self.streams.remove(at);
        self.found_some |= stream.reader.header().is_some();
        stream.recording.name().to_owned()
    }

    fn take_item(&mut self, at: usize) -> Result<Then, Error> {
        let stream = &mut self.streams[at];
        let name = stream.recording.name();
        match stream.reader.next().map_err(|fault| explained(name, &fault))? {
            None => Ok(Then::NextFile),
            Some(Item::Pending) => Ok(Then::Wait),
            Some(Item::Header(header)) => {
                stream.has_ended = false;
                if header.first_event > 0 && self.range.since.is_none() && !stream.is_told {
                    tell(format_args!("{name} {}", begins_late(header.first_event)));
                }
                stream.is_told = true;
                Ok(Then::Seek)
            }
            Some(Item::Gap(gap)) => {
                self.gaps += 1;
                if !matches!(gap.damage.fault, stream::Fault::NotAStream) {
                    tell(format_args!("{name}: {gap}"));
                }
                Ok(Then::Next)
            }
            Some(Item::Block(block)) => {
                stream.recording.came();
                let is_late = is_late(self.range, &block);
                if !is_late {
                    self.pipeline.forget(&mut self.buffer);
                    for record in block.records() {
                        if let Body::End(end) = record.body() {
                            stream.has_ended = true;
                            tell_incomplete(stream.recording.name(), end);
                        }
                        self.pipeline.take(&record, &mut self.buffer);
                    }
                }
                Ok(if is_late { Then::Stop } else { Then::Next })
            }
        }
    }

    /// All were read; the last of them has that name.
    fn finish(self, last: &str) -> Result<(), Error> {
        if self.gaps == 0 {
            return Ok(());
        }
        if !self.found_some && self.pipeline.passed().told() == 0 {
            return Err(no_stream(last));
        }
        Err(Error::new(format!(
            "damaged in {}; everything else was printed",
            counted(self.gaps, "place", "places")
        )))
    }
}

/// Where reading begins for what is asked for from that time on.
fn early(since: Option<u64>) -> Option<u64> {
    since.map(|since| since.saturating_sub(SLACK_NS))
}

/// Whether a block and all that follow are later than what is asked for.
fn is_late(range: Range, block: &Block<'_>) -> bool {
    let first = block.wall_times().map(|(first, _)| first);
    first.zip(range.until).is_some_and(|(first, until)| first > until.saturating_add(SLACK_NS))
}

fn explained(name: &str, fault: &Fault) -> Error {
    match fault {
        Fault::Damaged(Damage { fault: stream::Fault::NotAStream, .. }) => no_stream(name),
        Fault::Damaged(damage) if damage.fault.is_newer() => Error::new(format!("{name}: {fault}")),
        Fault::Io(_) => Error::new(format!("{name}: {fault}")),
        Fault::Damaged(_) => Error::new(format!(
            "{name}: {fault}; what is before was printed, --salvage prints what is behind, too"
        )),
    }
}

/// As of a stream whose first files were deleted, or whose file was cut while it was written.
fn begins_late(events: u64) -> String {
    let events = counted(events, "event", "events");
    format!("is not the beginning of its stream: {events} before it are in other files, or lost")
}

/// What the writer said at the end of its stream.
fn tell_incomplete(name: &str, end: &End) {
    if end.flags.get() & end_flag::INCOMPLETE != 0 {
        let why = if end.reason.get() == 0 { "" } else { ": the watch failed" };
        tell(format_args!("{name}: the recording was NOT complete when it ended{why}"));
    }
}

fn no_stream(name: &str) -> Error {
    Error::new(format!("{name} is not an fsmon stream; make one with fsmon -f binary -o FILE"))
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::args::FilterArgs;

    /// The text of a stream; what there is of it and the number of gaps where it is damaged.
    pub(crate) fn decode<O: Output>(stream: &[u8], output: O) -> Result<String, (String, u64)> {
        let args = FilterArgs::default();
        let filter = Filter::new(&args, kind::EVERY, Origin::Recorded, BLOCK_CAPACITY);
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

    #[test]
    fn what_is_no_stream_is_refused_with_the_remedy() {
        let dir = tempfile::tempdir().expect("a directory");
        for content in [&b""[..], b"hello", &[0; 8192]] {
            let file = dir.path().join("file");
            std::fs::write(&file, content).expect("written");
            for salvage in [false, true] {
                let args = DecodeArgs { file: file.clone(), salvage, ..DecodeArgs::default() };
                let line = run(&args).expect_err("no stream").to_string();
                assert!(line.contains("not an fsmon stream"), "{line}");
            }
        }
    }
}

//! `fsmon decode`: from a binary stream to lines, by the pipeline that serves live changes.

use crate::args::DecodeArgs;
use crate::limits::BUFFER_BYTES;
use crate::remedies;
use crate::sink::{Reader as Pipe, Sink};
use crate::target::Target;
use fsmon_engine::{Error, ErrorKind};
use fsmon_format::kind;
use fsmon_format::record::End;
use fsmon_format::stream::{self, BLOCK_CAPACITY, Item, Reader};
use fsmon_present::Format;
use fsmon_present::filter::{Filter, Roots, Source};
use fsmon_present::message;
use fsmon_present::message::counted;
use fsmon_present::moment::Range;
use fsmon_present::pipeline::{Output, Pipeline};
use fsmon_present::text::{LineFormat, Lines, csv, human, human::Human, json::Json};
use fsmon_present::world::World;
use fsmon_store::recording::{Input, Recording, Wait, recordings};
use std::collections::VecDeque;
use std::path::Path;

/// Prints a stream, up to the first damage or, with `--salvage`, past it.
///
/// # Errors
/// The stream cannot be read or is damaged, standard output cannot be written to.
pub(crate) fn run(args: &DecodeArgs) -> Result<(), Error> {
    let range = Range { since: args.since, until: args.until };
    let filter =
        Filter::new(&(&args.filter).into(), kind::EVERY, Source::Recorded, BLOCK_CAPACITY)?;
    let mut filter = filter.within(range);
    let (recordings, roots) = recordings(&args.file, args.follow, range.to_search())?;
    filter.set_roots(&roots)?;
    let target = Target::new(Path::new("-"))?;
    let is_terminal = target.is_terminal();
    let sink = target.open()?;
    let job = Job { recordings, roots, range, salvage: args.salvage, sink, filter };
    let (chain, cmdline) = (args.chain, args.cmdline);
    match args.format {
        Format::Human => {
            let human = Human::new(chain, human::wants_colours(is_terminal));
            let human = human.with_time(args.time).with_names(remedies::option);
            job.run(human.with_cmdline(cmdline))
        }
        Format::Json => job.run(Json::new(chain).with_cmdline(cmdline)),
        Format::Csv if is_terminal => job.run(csv::Terminal::new(chain).with_cmdline(cmdline)),
        Format::Binary => {
            Err(Error::invalid("decode prints lines; copy the file to have the stream"))
        }
        Format::Csv => job.run(csv::Plain::new(chain).with_cmdline(cmdline)),
    }
}

/// What is given out.
struct Job {
    recordings: VecDeque<Recording>,
    roots: Roots,
    range: Range,
    salvage: bool,
    sink: Sink,
    filter: Filter,
}

impl Job {
    fn run<F: LineFormat>(self, format: F) -> Result<(), Error> {
        let world = World::recorded(BLOCK_CAPACITY);
        let decoder = Decoder {
            streams: Vec::new(),
            unopened: self.recordings,
            roots: self.roots,
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
    reader: Reader<Input>,
    recording: Recording,
    /// It said that it ends here.
    has_ended: bool,
    /// It was told if its beginning is missing.
    is_told: bool,
    /// Up to this offset of the file there may be something of the time that is asked for.
    chosen: u64,
    /// The last block was later than all that is asked for.
    is_late: bool,
}

/// Reads one stream after the other; one that nothing more is in for now waits beside the others.
struct Decoder<O> {
    streams: Vec<Stream>,
    unopened: VecDeque<Recording>,
    /// Of all streams that are known.
    roots: Roots,
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
    /// Now is the time to go elsewhere in the file: the header was read, or what lies here is not asked for.
    Seek,
    Wait,
    NextFile,
}

impl Stream {
    /// Begins with the first file; `None` where there is none.
    fn open(mut recording: Recording, salvage: bool) -> Result<Option<Self>, Error> {
        recording.skip();
        let Some(source) = recording.open_next()? else { return Ok(None) };
        let reader = Reader::new(source).salvage(salvage).follow(recording.may_grow());
        let (has_ended, is_told, chosen, is_late) = (false, false, 0, false);
        Ok(Some(Stream { reader, recording, has_ended, is_told, chosen, is_late }))
    }

    /// Passes over what is not of that time.
    fn seek(&mut self, range: Range) -> Result<(), Error> {
        self.chosen = u64::MAX;
        let Some(wanted) = range.to_search().filter(|_| self.recording.is_regular()) else {
            return Ok(());
        };
        let sought = self.reader.seek_to_times(&wanted);
        self.chosen = sought.map_err(|error| explained(self.recording.name(), error))?;
        Ok(())
    }

    /// Goes on in the next file, if there is one.
    fn open_next(&mut self) -> Result<bool, Error> {
        if let Some(header) =
            self.reader.header().filter(|_| !self.has_ended && self.reader.closed())
        {
            self.recording.find_successor(header)?;
        }
        let skipped = self.recording.skip();
        let Some(source) = self.recording.open_next()? else { return Ok(false) };
        if skipped > 0 {
            self.reader.skip_to(source);
        } else {
            self.reader.continue_with(source);
        }
        self.reader.set_follow(self.recording.may_grow());
        Ok(true)
    }

    /// Nothing more is there for now: waits, where that is asked for. Whether there may be more.
    fn wait(&mut self) -> Result<bool, Error> {
        // What comes is later still. The clock may yet be set back, but for that nobody waits.
        if self.is_late {
            return Ok(false);
        }
        match self.recording.wait(self.reader.offset())? {
            Wait::Over => {}
            Wait::InVain => self.reader.set_follow(false),
            Wait::NotFollowed => {
                let name = self.recording.name();
                message::print(format_args!(
                    "{name} is still being written; --follow goes on as it grows"
                ));
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
        match stream.reader.next().map_err(|error| explained(name, error))? {
            None => Ok(Then::NextFile),
            Some(Item::Pending) => Ok(Then::Wait),
            Some(Item::Header(header)) => {
                stream.has_ended = false;
                if header.first_event > 0 && self.range.since.is_none() && !stream.is_told {
                    message::print(format_args!("{name} {}", begins_late(header.first_event)));
                }
                stream.is_told = true;
                if self.roots.add(&header.roots, header.left_out > 0) {
                    self.pipeline.set_roots(&self.roots)?;
                }
                Ok(Then::Seek)
            }
            Some(Item::Gap(gap)) => {
                self.gaps += 1;
                if !matches!(gap.damage.fault, stream::Fault::NotAStream) {
                    message::print(format_args!("{name}: {gap}"));
                }
                Ok(Then::Next)
            }
            Some(Item::Block(block)) => {
                stream.recording.has_grown();
                if let Some(end) = block.end() {
                    stream.has_ended = true;
                    tell_incomplete(stream.recording.name(), end);
                }
                let times = self.range.to_search().and_then(|_| block.wall_times());
                let is_wanted = times.is_none_or(|times| self.range.meets(times));
                let is_late = |(first, _)| self.range.until.is_some_and(|until| until < first);
                stream.is_late = times.is_some_and(is_late);
                if is_wanted {
                    self.pipeline.forget(&mut self.buffer);
                    for record in block.records() {
                        self.pipeline.take(&record, &mut self.buffer);
                    }
                }
                let is_over = !is_wanted && block.offset() >= stream.chosen;
                Ok(if is_over { Then::Seek } else { Then::Next })
            }
        }
    }

    /// All were read; the last of them has that name.
    fn finish(self, last: &str) -> Result<(), Error> {
        if self.gaps == 0 {
            return Ok(());
        }
        if !self.found_some && self.pipeline.passed().lines() == 0 {
            return Err(no_stream(last));
        }
        Err(Error::new(
            ErrorKind::Damaged,
            format!(
                "damaged in {}; everything else was printed",
                counted(self.gaps, "place", "places")
            ),
        ))
    }
}

/// Why a stream could not be read on.
fn explained(name: &str, error: Error) -> Error {
    match error.damage().map(|_| error.kind()) {
        Some(ErrorKind::Invalid) => no_stream(name),
        Some(ErrorKind::Damaged) => error.map_message(|what| {
            format!(
                "{name}: {what}; what is before was printed, --salvage prints what is behind, too"
            )
        }),
        _ => error.map_message(|what| format!("{name}: {what}")),
    }
}

/// As of a stream whose first files were deleted, or whose file was cut while it was written.
fn begins_late(events: u64) -> String {
    let events = counted(events, "event", "events");
    format!("is not the beginning of its stream: {events} before it are in other files, or lost")
}

/// What the writer said at the end of its stream.
fn tell_incomplete(name: &str, end: &End) {
    if end.is_incomplete() {
        let why = if end.reason.get() == 0 { "" } else { ": the watch failed" };
        message::print(format_args!("{name}: the recording was NOT complete when it ended{why}"));
    }
}

fn no_stream(name: &str) -> Error {
    Error::invalid(format!("{name} is not an fsmon stream; make one with fsmon -f binary -o FILE"))
}

#[cfg(test)]
mod tests {
    use super::*;

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

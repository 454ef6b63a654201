//! `fsmon decode`: prints a binary stream as lines, by the same pipeline as live changes.

use crate::args::DecodeArgs;
use crate::limits::BUFFER_BYTES;
use crate::lines::LineOptions;
use crate::reading::{Reading, damaged, in_format};
use crate::sink::{Pipe, Sink};
use crate::target::Target;
use fsmon_engine::Error;
use fsmon_format::kind;
use fsmon_format::record::End;
use fsmon_format::stream::{BLOCK_CAPACITY, Fault, Item, Reader};
use fsmon_present::filter::{Filter, Roots, Source};
use fsmon_present::message::{self, counted};
use fsmon_present::moment::Range;
use fsmon_present::pipeline::{Output, Pipeline};
use fsmon_present::text::{LineFormat, Lines};
use fsmon_present::world::World;
use fsmon_store::recording::{Input, Recording, Wait, recordings};
use fsmon_store::within::Within;
use std::collections::VecDeque;
use std::path::Path;

/// Prints a stream up to the first damage or, with `--salvage`, past it.
///
/// # Errors
/// The stream cannot be read or is damaged, standard output cannot be written to.
pub(crate) fn run(args: &DecodeArgs) -> Result<(), Error> {
    let range = Range { since: args.since, until: args.until };
    let filter =
        Filter::new(&(&args.filter).into(), kind::EVERY, Source::Recorded, BLOCK_CAPACITY)?;
    let mut filter = filter.within(range).with_notes(args.notes);
    let (recordings, roots) = recordings(&args.file, args.follow, range.to_search())?;
    filter.set_roots(&roots)?;
    let target = Target::new(Path::new("-"))?;
    let is_terminal = target.is_terminal();
    let sink = target.open()?;
    let job = Job { recordings, roots, range, salvage: args.salvage, sink, filter };
    let lines = LineOptions::from(args);
    in_format(job, args.format, lines, is_terminal)
}

/// The arguments, checked and opened.
struct Job {
    recordings: VecDeque<Recording>,
    roots: Roots,
    range: Range,
    salvage: bool,
    sink: Sink,
    filter: Filter,
}

impl Reading for Job {
    type Answer = ();

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
            has_stream: false,
        };
        decoder.run()
    }
}

/// A stream that is being read.
struct Stream {
    reader: Reader<Input>,
    recording: Recording,
    /// It had an END record in the current file.
    has_ended: bool,
    /// The beginning of the stream was looked for; if it is missing, that was reported.
    beginning_checked: bool,
    within: Within,
    /// The last block was later than all wanted times.
    is_late: bool,
}

/// Reads one stream after the other. A stream without more data for now waits while others are read.
struct Decoder<O> {
    streams: Vec<Stream>,
    unopened: VecDeque<Recording>,
    /// The roots of all known streams.
    roots: Roots,
    pipeline: Pipeline<O>,
    range: Range,
    salvage: bool,
    sink: Sink,
    buffer: Vec<u8>,
    gaps: u64,
    /// At least one input was a stream.
    has_stream: bool,
}

/// What to do after an item.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Then {
    Next,
    /// Search for wanted records: the header was just read, or no wanted records are here.
    Seek,
    Wait,
    NextFile,
}

impl Stream {
    /// Opens the first file; `None` if there is none.
    fn open(mut recording: Recording, salvage: bool, range: Range) -> Result<Option<Self>, Error> {
        recording.skip();
        let Some(source) = recording.open_next()? else { return Ok(None) };
        let reader = Reader::new(source).salvage(salvage).follow(recording.may_grow());
        let (has_ended, beginning_checked, is_late) = (false, false, false);
        let within = Within::new(range);
        Ok(Some(Stream { reader, recording, has_ended, beginning_checked, within, is_late }))
    }

    /// Skips to records of the wanted times.
    fn seek(&mut self) -> Result<(), Error> {
        if !self.recording.is_regular() {
            self.within.read_all();
            return Ok(());
        }
        let sought = self.within.search(&mut self.reader);
        sought.map_err(|error| explained(&self.recording, error))
    }

    /// Continues in the next file. Returns false if there is none.
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

    /// There is no more data for now: waits if the stream is followed. Returns whether there may be more.
    fn wait(&mut self) -> Result<bool, Error> {
        // Later blocks are even later, unless the clock is set back; that is not worth waiting for.
        if self.is_late {
            return Ok(false);
        }
        match self.recording.wait(self.reader.offset())? {
            Wait::Over => {}
            Wait::InVain => self.reader.set_follow(false),
            Wait::NotFollowed => {
                let name = self.recording.name();
                message::print(format_args!(
                    "{name} is still being written; --follow keeps reading as it grows"
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
            // Write after each block: a live stream is shown as it arrives, and everything before an error is
            // printed.
            if self.sink.put(&mut self.buffer)? == Pipe::Closed {
                return Ok(());
            }
            let stream = &mut self.streams[at];
            let goes_on = match then? {
                Then::Next => true,
                Then::Seek => {
                    stream.seek()?;
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

    /// Opens the next stream that is not read yet.
    fn open_another(&mut self) -> Result<(), Error> {
        let Some(recording) = self.unopened.pop_front() else { return Ok(()) };
        self.streams.extend(Stream::open(recording, self.salvage, self.range)?);
        Ok(())
    }

    /// Removes a stream that was read. Returns its name.
    fn close(&mut self, at: usize) -> String {
        let stream = self.streams.remove(at);
        self.has_stream |= stream.reader.header().is_some();
        stream.recording.name().to_owned()
    }

    fn take_item(&mut self, at: usize) -> Result<Then, Error> {
        let stream = &mut self.streams[at];
        let name = stream.recording.name();
        match stream.reader.next().map_err(|error| explained(&stream.recording, error))? {
            None => Ok(Then::NextFile),
            Some(Item::Pending) => Ok(Then::Wait),
            Some(Item::Header(header)) => {
                stream.has_ended = false;
                if header.first_event > 0 && self.range.since.is_none() && !stream.beginning_checked
                {
                    message::print(format_args!("{name} {}", begins_late(header.first_event)));
                }
                stream.beginning_checked = true;
                let then = if stream.within.begin(header) { Then::Seek } else { Then::Next };
                if self.roots.add(&header.roots, header.left_out > 0) {
                    self.pipeline.set_roots(&self.roots)?;
                }
                Ok(then)
            }
            Some(Item::Gap(gap)) => {
                self.gaps += 1;
                if !matches!(gap.damage.fault, Fault::NotAStream) {
                    message::print(format_args!("{name}: {gap}"));
                }
                Ok(Then::Next)
            }
            Some(Item::Block(block)) => {
                stream.recording.has_grown();
                if let Some(end) = block.end() {
                    stream.has_ended = true;
                    report_incomplete(stream.recording.name(), end);
                }
                let taken = stream.within.take(&block);
                stream.is_late = taken.is_late;
                if taken.is_wanted {
                    self.pipeline.forget(&mut self.buffer);
                    for record in block.records() {
                        self.pipeline.take(&record, &mut self.buffer);
                    }
                }
                Ok(if taken.must_search { Then::Seek } else { Then::Next })
            }
        }
    }

    /// All streams were read; `last` is the name of the last one.
    fn finish(self, last: &str) -> Result<(), Error> {
        if self.gaps == 0 {
            return Ok(());
        }
        if !self.has_stream && self.pipeline.passed().lines() == 0 {
            return Err(no_stream(last));
        }
        Err(damaged(self.gaps))
    }
}

/// The error of a stream that cannot be read further.
fn explained(recording: &Recording, error: Error) -> Error {
    let name = recording.name();
    let name_first = format!("{name}: ");
    match error.damage().map(|damage| damage.fault) {
        Some(Fault::NotAStream) if recording.is_empty() => is_empty(name),
        Some(Fault::NotAStream) => no_stream(name),
        Some(fault) if !fault.is_newer() => error
            .after(name_first)
            .and("; everything before it was printed; --salvage prints what follows, too"),
        _ => error.after(name_first),
    }
}

/// For a stream whose first files were deleted, or whose file was truncated while it was written.
fn begins_late(events: u64) -> String {
    let events = counted(events, "event", "events");
    format!("is not the beginning of its stream: {events} before it are in other files, or lost")
}

/// Reports a recording whose END record says that something is missing.
fn report_incomplete(name: &str, end: &End) {
    if end.is_incomplete() {
        let why = if end.reason.get() == 0 { "" } else { ": the watch failed" };
        message::print(format_args!("{name}: the recording was NOT complete when it ended{why}"));
    }
}

/// A full disk or a loss of power leaves a file without a byte where more of a stream was to be.
fn is_empty(name: &str) -> Error {
    let line = "is empty, so it is not an fsmon stream: what was to be written to it is missing";
    Error::invalid(format!("{name} {line}"))
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

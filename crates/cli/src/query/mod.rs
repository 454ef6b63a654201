//! `fsmon query`: prints the events of a history, by the same pipeline as `decode`.

mod bookmark;
mod judge;
mod paths;
mod printer;
mod tracked;

use crate::args::query::QueryArgs;
use crate::history;
use crate::limits::{BUFFER_BYTES, QUERY_WRITE_BYTES, QUERY_WRITE_EVERY};
use crate::lines::LineOptions;
use crate::reading::{Reading, damaged, in_format};
use crate::sink::{Pipe, Sink};
use crate::target::Target;
use bookmark::Bookmark;
use fsmon_engine::Error;
use fsmon_format::kind;
use fsmon_format::stream::BLOCK_CAPACITY;
use fsmon_present::filter::{Criteria, Filter, Source};
use fsmon_present::moment::Range;
use fsmon_present::pipeline::{Output, Pipeline};
use fsmon_present::text::{LineFormat, Lines};
use fsmon_present::world::World;
use fsmon_store::timeline::{Consumer, Progress, Timeline, Wanted};
use judge::Judge;
use printer::Printer;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Instant;
use tracked::Tracked;

/// Nothing was found.
const NOTHING: u8 = 3;
/// Something is missing in the record of the time that is asked for.
const INCOMPLETE: u8 = 4;

/// Prints what is asked for.
///
/// # Errors
/// The history cannot be read or is damaged, standard output cannot be written to.
pub(crate) fn run(args: &QueryArgs) -> Result<ExitCode, Error> {
    let range = Range { since: args.since, until: args.until };
    let paths = paths::named(&args.paths)?;
    let all_names: Vec<PathBuf> = paths.iter().flatten().cloned().collect();
    let criteria =
        Criteria { paths: all_names.clone(), max_depth: args.max_depth, ..(&args.filter).into() };
    let filter = Filter::new(&criteria, kind::EVERY, Source::Recorded, BLOCK_CAPACITY)?;
    let filter = filter.within(range).with_notes(args.notes);
    let bookmark = Bookmark::open(&args.cursors)?;
    let dir = history::open(&args.history)?.dir;
    let target = Target::new(Path::new("-"))?;
    let is_terminal = target.is_terminal();
    let query = Query {
        dir,
        range,
        wanted: Wanted { paths: all_names },
        judge: Judge::new(paths, range),
        filter,
        bookmark,
        limit: args.limit,
        has_cursors: args.cursors.cursors,
        sink: target.open()?,
    };
    in_format(query, args.format, LineOptions::from(args), is_terminal)
}

/// The arguments, checked.
struct Query {
    dir: PathBuf,
    range: Range,
    wanted: Wanted,
    judge: Judge,
    filter: Filter,
    bookmark: Bookmark,
    limit: Option<u64>,
    has_cursors: bool,
    sink: Sink,
}

impl Reading for Query {
    type Answer = ExitCode;

    fn run<F: LineFormat>(self, format: F) -> Result<ExitCode, Error> {
        let output = Tracked::new(Lines(format), self.has_cursors, self.limit);
        let world = World::recorded(BLOCK_CAPACITY);
        let pipeline = Pipeline::new(world, self.filter, output, None);
        let mut printer = Printer::new(pipeline, self.judge, Vec::with_capacity(BUFFER_BYTES));
        printer.pipeline.begin(&mut printer.buffer);
        let after = self.bookmark.after();
        let timeline = Timeline::open(&self.dir, self.range, self.wanted, after, &mut printer)?;
        let sink = self.sink.breaking_at(Tracked::<F>::whole);
        Run { timeline, printer, sink, bookmark: self.bookmark, written: Instant::now() }.run()
    }
}

/// A query under way.
struct Run<F> {
    timeline: Timeline,
    printer: Printer<F>,
    sink: Sink,
    bookmark: Bookmark,
    /// When something was written last.
    written: Instant,
}

impl<F: LineFormat> Run<F> {
    fn run(mut self) -> Result<ExitCode, Error> {
        let mut has_looked = false;
        loop {
            let progress = self.timeline.turn(&mut self.printer);
            let is_over = self.printer.is_full() || !matches!(progress, Ok(Progress::More));
            if self.write(is_over)? == Pipe::Closed {
                return Ok(ExitCode::SUCCESS);
            }
            progress?;
            if !is_over {
                continue;
            }
            // A segment that was read may have been closed meanwhile, and go on in another.
            let must_look = !self.printer.is_full() && !std::mem::replace(&mut has_looked, true);
            if !(must_look && self.timeline.look_again(&mut self.printer)?) {
                return self.finish();
            }
        }
    }

    /// Writes what waits, if that is much, or has waited for long.
    fn write(&mut self, must: bool) -> Result<Pipe, Error> {
        let buffer = &mut self.printer.buffer;
        let is_due = || self.written.elapsed() >= QUERY_WRITE_EVERY;
        if buffer.is_empty() || !(must || buffer.len() >= QUERY_WRITE_BYTES || is_due()) {
            return Ok(Pipe::Open);
        }
        let pipe = self.sink.put(buffer)?;
        self.written = Instant::now();
        Ok(pipe)
    }

    fn finish(mut self) -> Result<ExitCode, Error> {
        let stopped = self.printer.stopped.take();
        let is_stopped = stopped.is_some();
        if let Some(cursor) = stopped.or_else(|| self.timeline.cursor()) {
            self.bookmark.keep(&cursor)?;
        }
        if self.printer.damaged > 0 {
            return Err(damaged(self.printer.damaged));
        }
        if !is_stopped {
            self.printer.judge.finish(self.timeline.oldest_ns());
        }
        Ok(
            match (
                self.printer.judge.is_incomplete(),
                self.printer.pipeline.output_mut().has_found(),
            ) {
                (true, _) => ExitCode::from(INCOMPLETE),
                (false, false) => ExitCode::from(NOTHING),
                (false, true) => ExitCode::SUCCESS,
            },
        )
    }
}

//! `fsmon query`: prints the events of a history, by the same pipeline as `decode`.

mod bookmark;
mod judge;
mod paths;
mod printer;
mod tracked;

use crate::args::query::QueryArgs;
use crate::history;
use crate::limits::{BUFFER_BYTES, FOLLOW_PAUSE, QUERY_WRITE_BYTES, QUERY_WRITE_EVERY};
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
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::flag;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
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
        ends: args.follow.then(end_by_signal).transpose()?,
        sink: target.open()?,
    };
    in_format(query, args.format, LineOptions::from(args), is_terminal)
}

/// A flag that the usual signals set, so that a query which follows ends in order. A second one kills it.
fn end_by_signal() -> Result<Arc<AtomicBool>, Error> {
    let ends = Arc::new(AtomicBool::new(false));
    for signal in [SIGINT, SIGTERM, SIGHUP] {
        let taken = flag::register_conditional_default(signal, ends.clone())
            .and_then(|_| flag::register(signal, ends.clone()));
        taken.map_err(|error| Error::os("cannot take signals", error))?;
    }
    Ok(ends)
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
    ends: Option<Arc<AtomicBool>>,
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
        let (bookmark, ends, written) = (self.bookmark, self.ends, Instant::now());
        Run { timeline, printer, sink, bookmark, ends, written }.run()
    }
}

/// A query under way.
struct Run<F> {
    timeline: Timeline,
    printer: Printer<F>,
    sink: Sink,
    bookmark: Bookmark,
    /// Set by a signal; `None` if nothing is followed.
    ends: Option<Arc<AtomicBool>>,
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
            if self.printer.is_full() {
                return self.finish();
            }
            // A segment that was read may have been closed meanwhile, and go on in another.
            let must_look = !std::mem::replace(&mut has_looked, true) || self.ends.is_some();
            let has_more = must_look && self.timeline.look_again(&mut self.printer)?;
            if !has_more && !self.wait()? {
                return self.finish();
            }
        }
    }

    /// There is no more for now. Returns false if nothing is to be waited for, or a signal came.
    fn wait(&mut self) -> Result<bool, Error> {
        let Some(ends) = &self.ends else { return Ok(false) };
        if let Some(cursor) = self.timeline.cursor() {
            self.bookmark.keep(&cursor)?;
        }
        thread::sleep(FOLLOW_PAUSE);
        Ok(!ends.load(Ordering::Relaxed))
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

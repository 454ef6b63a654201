//! The formatter thread: takes batches from the engine's ring, formats and writes them.

use crate::control::FormatterHandle;
use crate::limits::{
    BUFFER_BYTES, GATHER_FILE, IDLE, SINK_CHECK, STORM_GAP, STORM_SLOTS, WRITE_BYTES,
};
use crate::sink::{Cut, Pipe, Sink};
use crate::summary::Formatted;
use fsmon_engine::limits::STRING_IDS;
use fsmon_engine::privileges::{self, Task};
use fsmon_engine::{Call, Error, Next, Receiver, refused};
use fsmon_format::mirror::Capacity;
use fsmon_format::number::to_ns;
use fsmon_format::record::Records;
use fsmon_present::filter::Filter;
use fsmon_present::message;
use fsmon_present::names::Names;
use fsmon_present::pipeline::{Output, Patience, Pipeline};
use fsmon_present::redact::Redactor;
use fsmon_present::wall::Wall;
use fsmon_present::world::World;
use nix::time::{ClockId, clock_gettime};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

/// The input of the thread.
pub(crate) struct Job {
    pub(crate) receiver: Receiver,
    pub(crate) sink: Sink,
    pub(crate) filter: Filter,
    pub(crate) redactor: Redactor,
    pub(crate) capacity: Capacity,
    /// Wall time until the first CLOCK record.
    pub(crate) wall: Wall,
    /// End after this many events.
    pub(crate) count: Option<u64>,
    pub(crate) handle: FormatterHandle,
}

/// What the thread did, and the error that stopped it, if any.
pub(crate) type Outcome = (Formatted, Result<(), Error>);

/// Starts the thread.
///
/// # Errors
/// The kernel gives no thread.
pub(crate) fn spawn<O: Output + Send + 'static>(
    job: Job,
    output: O,
) -> Result<JoinHandle<Outcome>, Error> {
    thread::Builder::new()
        .name("fsmon-format".into())
        .spawn(move || Formatter::new(job, output).run())
        .map_err(|error| refused("cannot start the formatter's thread", Call::Thread, error))
}

/// The pipeline and its sink.
struct Outlet<O> {
    pipeline: Pipeline<O>,
    sink: Sink,
    /// Output that is not written yet.
    buffer: Vec<u8>,
    /// Lines before the current file.
    lines_before: u64,
}

struct Formatter<O> {
    receiver: Receiver,
    outlet: Outlet<O>,
    handle: FormatterHandle,
    /// Since when output waits to be written.
    waiting: Option<Instant>,
    /// When the last batch came.
    came: Instant,
    /// Large batches come close together.
    storm: bool,
    /// In a storm: the thread has slept since the last batch, to let more batches gather.
    rested: bool,
    /// When the sink was checked.
    checked: Instant,
}

impl<O: Output> Outlet<O> {
    /// How long held back events may wait.
    fn patience(&self) -> Patience {
        self.pipeline.patience(self.sink.is_file())
    }

    /// Writes the lines that are ready, and turns to the next file if it is due.
    fn write(&mut self) -> Result<Pipe, Error> {
        let pipe = self.put()?;
        if pipe == Pipe::Open && self.sink.is_due() { self.turn_over() } else { Ok(pipe) }
    }

    /// Writes the buffer. If somebody truncated the file, writes a header first.
    fn put(&mut self) -> Result<Pipe, Error> {
        let Outlet { pipeline, sink, buffer, .. } = self;
        sink.put_after_cut(buffer, |name, cut, buffer| begin_again(pipeline, name, cut, buffer))
    }

    /// Lines that were formatted but not written, after an error or when the pipe is closed.
    fn unwritten(&self) -> u64 {
        self.pipeline.lines_lost_with(&self.buffer).min(self.pipeline.passed().lines())
    }

    /// Turns to the next file. A file without lines does not end: the next would be empty, too.
    #[cold]
    fn turn_over(&mut self) -> Result<Pipe, Error> {
        let lines = self.pipeline.passed().lines();
        if lines == self.lines_before {
            return Ok(Pipe::Open);
        }
        self.lines_before = lines;
        self.pipeline.end_file(&mut self.buffer);
        if self.put()? == Pipe::Closed {
            return Ok(Pipe::Closed);
        }
        self.sink.turn_over()?;
        self.pipeline.begin_file(&mut self.buffer);
        self.sink.put(&mut self.buffer)
    }
}

/// Somebody truncated the file, such as logrotate with `copytruncate`: output written between the copy and the
/// truncation is lost.
#[cold]
fn begin_again<O: Output>(pipeline: &mut Pipeline<O>, name: &str, cut: Cut, buffer: &mut Vec<u8>) {
    message::print(format_args!(
        "{name} was cut while it was written: if it was copied before, output between the copy and the cut is lost; \
         -o DIR/ with --rotate loses nothing",
    ));
    pipeline.begin_again(buffer);
    if cut == Cut::InLine && O::IS_TEXT {
        buffer.insert(0, b'\n');
    }
}

impl<O: Output> Formatter<O> {
    fn new(job: Job, output: O) -> Self {
        let names = Names::of_this_host(STRING_IDS, Box::new(fsmon_engine::cgroup_path));
        let world = World::live(job.capacity, job.wall, names).redacted_by(job.redactor);
        let outlet = Outlet {
            pipeline: Pipeline::new(world, job.filter, output, job.count),
            sink: job.sink.breaking_at(O::whole),
            buffer: Vec::with_capacity(BUFFER_BYTES),
            lines_before: 0,
        };
        Formatter {
            receiver: job.receiver,
            outlet,
            handle: job.handle,
            waiting: None,
            came: Instant::now(),
            storm: false,
            rested: false,
            checked: Instant::now(),
        }
    }

    fn run(mut self) -> Outcome {
        // It names control groups by their handles, and turns to the next file wherever that is.
        let tasks: &[Task] = match self.outlet.sink.is_file() {
            true => &[Task::Read, Task::WriteFiles],
            false => &[Task::Read],
        };
        let result = privileges::keep(tasks).and_then(|()| self.format());
        if !matches!(result, Ok(End::Engine)) {
            self.handle.enough();
        }
        let result = result.and_then(|end| self.finish(end));
        let mut formatted = Formatted::default();
        match &result {
            // Take the rest from the ring: the engine ends only when it has delivered everything.
            Ok(End::Engine | End::Count) => {
                while !matches!(self.receiver.next(IDLE), Next::Ended) {}
            }
            Ok(End::Hurried) => formatted.hurried = 1,
            Ok(End::ClosedPipe) | Err(_) => formatted.unwritten = self.count_the_rest(),
        }
        formatted.failed = u64::from(result.is_err());
        formatted.passed = self.outlet.pipeline.passed();
        formatted.bytes_out = self.outlet.sink.written();
        formatted.cpu_ns = thread_cpu_ns();
        (formatted, result.map(drop))
    }

    /// Nothing can be written any more: counts lines that were not written, including those that the engine still
    /// delivers.
    fn count_the_rest(&mut self) -> u64 {
        let unwritten = self.outlet.unwritten();
        let before = self.outlet.pipeline.passed().lines();
        loop {
            match self.receiver.next(IDLE) {
                Next::Batch(slots) => {
                    for record in Records(slots) {
                        self.outlet.buffer.clear();
                        self.outlet.pipeline.take(&record, &mut self.outlet.buffer);
                    }
                }
                Next::Idle => {}
                Next::Ended => break,
            }
            if self.handle.is_hurried() {
                break;
            }
        }
        unwritten + self.outlet.pipeline.passed().lines() - before
    }

    fn format(&mut self) -> Result<End, Error> {
        self.outlet.pipeline.begin(&mut self.outlet.buffer);
        // Write the header at once, for readers that follow the file.
        if self.outlet.sink.begin(&mut self.outlet.buffer)? == Pipe::Closed {
            return Ok(End::ClosedPipe);
        }
        loop {
            if self.handle.is_hurried() {
                return Ok(End::Hurried);
            }
            self.note_waiting();
            let wait = if self.storm { Duration::ZERO } else { self.time_left() };
            match self.receiver.next(wait) {
                Next::Batch(slots) => {
                    let before = std::mem::replace(&mut self.came, Instant::now());
                    let is_close = self.came.duration_since(before) < STORM_GAP;
                    self.storm = slots.len() >= STORM_SLOTS && (is_close || self.storm);
                    self.rested = false;
                    self.outlet.pipeline.tick(self.came);
                    for record in Records(slots) {
                        self.outlet.pipeline.take(&record, &mut self.outlet.buffer);
                        if self.outlet.buffer.len() >= WRITE_BYTES {
                            if self.outlet.write()? == Pipe::Closed {
                                return Ok(End::ClosedPipe);
                            }
                            if self.handle.is_hurried() {
                                return Ok(End::Hurried);
                            }
                        }
                        if self.outlet.pipeline.is_full() {
                            return Ok(End::Count);
                        }
                    }
                }
                Next::Idle => self.rest(),
                Next::Ended => return Ok(End::Engine),
            }
            self.note_waiting();
            if self.time_left().is_zero() && self.flush()? == Pipe::Closed {
                return Ok(End::ClosedPipe);
            }
            if self.checked.elapsed() > SINK_CHECK {
                self.checked = Instant::now();
                self.outlet.sink.check()?;
                // A file that is due by its age ends even if no event comes.
                if self.outlet.sink.is_due() && self.outlet.write()? == Pipe::Closed {
                    return Ok(End::ClosedPipe);
                }
            }
        }
    }

    /// No batch is ready. In a storm: sleep once to let batches gather; the storm is over if none came meanwhile.
    fn rest(&mut self) {
        self.storm &= !self.rested;
        if self.storm {
            thread::sleep(self.gather());
            self.rested = true;
        }
    }

    fn gather(&self) -> Duration {
        if self.outlet.sink.is_file() { GATHER_FILE } else { O::GATHER }
    }

    fn note_waiting(&mut self) {
        if self.outlet.buffer.is_empty() && !self.outlet.pipeline.holds_back() {
            self.waiting = None;
        } else if self.waiting.is_none() {
            self.waiting = Some(Instant::now());
        }
    }

    /// How long to wait for more before writing the lines that are ready.
    fn time_left(&self) -> Duration {
        let Some(since) = self.waiting else { return IDLE };
        let Patience { first, last } = self.outlet.patience();
        first.saturating_sub(since.elapsed()).min(last.saturating_sub(self.came.elapsed()))
    }

    fn flush(&mut self) -> Result<Pipe, Error> {
        self.outlet.pipeline.flush(&mut self.outlet.buffer);
        self.waiting = None;
        self.outlet.write()
    }

    /// Writes the end of the output. Returns the reason for the end, which may change to a closed pipe.
    fn finish(&mut self, end: End) -> Result<End, Error> {
        let Outlet { pipeline, buffer, .. } = &mut self.outlet;
        match end {
            End::ClosedPipe => return self.outlet.sink.check().map(|()| end),
            // No END record: more records would have followed.
            End::Hurried => pipeline.flush(buffer),
            End::Engine | End::Count => pipeline.end(buffer),
        }
        let pipe = self.outlet.put()?;
        self.outlet.sink.check()?;
        Ok(if pipe == Pipe::Closed && end != End::Hurried { End::ClosedPipe } else { end })
    }
}

/// Why formatting ended.
#[derive(Clone, Copy, PartialEq, Eq)]
enum End {
    /// The engine has ended and all records were taken.
    Engine,
    /// `--count` events were shown.
    Count,
    /// The pipe is closed.
    ClosedPipe,
    /// The user does not want to wait for the rest.
    Hurried,
}

fn thread_cpu_ns() -> u64 {
    clock_gettime(ClockId::CLOCK_THREAD_CPUTIME_ID).map_or(0, |time| to_ns(time.into()))
}

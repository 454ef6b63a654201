//! The formatter thread: takes batches from the engine's ring, and writes what comes of them.

use crate::control::Voice;
use crate::limits::{
    BUFFER_BYTES, GATHER_FILE, IDLE, SINK_CHECK, STORM_GAP, STORM_SLOTS, WRITE_BYTES,
};
use crate::sink::{Cut, Reader, Sink};
use crate::summary::Formatted;
use fsmon_engine::limits::STRING_IDS;
use fsmon_engine::{Call, Error, Next, Receiver, refused};
use fsmon_format::mirror::Capacity;
use fsmon_format::number::to_ns;
use fsmon_format::record::Records;
use fsmon_present::filter::Filter;
use fsmon_present::message;
use fsmon_present::names::Names;
use fsmon_present::pipeline::{Output, Patience, Pipeline};
use fsmon_present::wall::Wall;
use fsmon_present::world::World;
use nix::time::{ClockId, clock_gettime};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

/// What the thread is given.
pub(crate) struct Job {
    pub(crate) receiver: Receiver,
    pub(crate) sink: Sink,
    pub(crate) filter: Filter,
    pub(crate) capacity: Capacity,
    /// Wall time until the engine tells it.
    pub(crate) wall: Wall,
    /// Events after which to end.
    pub(crate) count: Option<u64>,
    pub(crate) voice: Voice,
}

/// What it did, and what stopped it where that was an error.
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

/// From records to the file.
struct Outlet<O> {
    pipeline: Pipeline<O>,
    sink: Sink,
    /// What was not written yet.
    buffer: Vec<u8>,
    /// What had been told before the current file.
    told: u64,
}

struct Formatter<O> {
    receiver: Receiver,
    outlet: Outlet<O>,
    voice: Voice,
    /// Since when something waits to be written.
    waiting: Option<Instant>,
    /// When the last batch came.
    came: Instant,
    /// Large batches come close together; and since the last one was taken more were let gather.
    storm: bool,
    rested: bool,
    /// When the sink was looked at.
    checked: Instant,
}

impl<O: Output> Outlet<O> {
    /// For how long what is held back may wait.
    fn patience(&self) -> Patience {
        self.pipeline.patience(self.sink.is_file())
    }

    /// Writes the lines that are ready, and goes on in another file where it is time for it.
    fn write(&mut self) -> Result<Reader, Error> {
        let reader = self.put()?;
        if reader == Reader::There && self.sink.is_due() { self.turn_over() } else { Ok(reader) }
    }

    /// Writes the buffer. A file that somebody cut begins anew with it.
    fn put(&mut self) -> Result<Reader, Error> {
        let Outlet { pipeline, sink, buffer, .. } = self;
        sink.put_after_cut(buffer, |name, cut, buffer| begin_again(pipeline, name, cut, buffer))
    }

    /// Lines that were made and did not get out, after an error or where nobody reads any more.
    fn unwritten(&self) -> u64 {
        self.pipeline.lines_lost_with(&self.buffer).min(self.pipeline.passed().lines())
    }

    /// A file that nothing was told in does not end: the next would be as empty.
    #[cold]
    fn turn_over(&mut self) -> Result<Reader, Error> {
        let told = self.pipeline.passed().lines();
        if told == self.told {
            return Ok(Reader::There);
        }
        self.told = told;
        self.pipeline.end_file(&mut self.buffer);
        if self.put()? == Reader::Gone {
            return Ok(Reader::Gone);
        }
        self.sink.turn_over()?;
        self.pipeline.begin_file(&mut self.buffer);
        self.sink.put(&mut self.buffer)
    }
}

/// `copytruncate` of logrotate cuts a file, and what was written between its copy and its cut is in neither
/// file.
#[cold]
fn begin_again<O: Output>(pipeline: &mut Pipeline<O>, name: &str, cut: Cut, buffer: &mut Vec<u8>) {
    message::print(format_args!(
        "{name} was cut while it was written: what was written between a copy and the cut is in neither; \
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
        let world = World::live(job.capacity, job.wall, names);
        let outlet = Outlet {
            pipeline: Pipeline::new(world, job.filter, output, job.count),
            sink: job.sink.breaking_at(O::whole),
            buffer: Vec::with_capacity(BUFFER_BYTES),
            told: 0,
        };
        Formatter {
            receiver: job.receiver,
            outlet,
            voice: job.voice,
            waiting: None,
            came: Instant::now(),
            storm: false,
            rested: false,
            checked: Instant::now(),
        }
    }

    fn run(mut self) -> Outcome {
        let result = self.format();
        if !matches!(result, Ok(End::Engine)) {
            self.voice.enough();
        }
        let result = result.and_then(|end| self.finish(end));
        let mut formatted = Formatted::default();
        match &result {
            // The engine delivers what it has before it ends, and more than was asked for.
            Ok(End::Engine | End::Count) => {
                while !matches!(self.receiver.next(IDLE), Next::Ended) {}
            }
            Ok(End::Hurry) => formatted.hurried = 1,
            Ok(End::Reader) | Err(_) => formatted.unwritten = self.count_the_rest(),
        }
        formatted.failed = u64::from(result.is_err());
        formatted.passed = self.outlet.pipeline.passed();
        formatted.bytes_out = self.outlet.sink.written();
        formatted.cpu_ns = thread_cpu_ns();
        (formatted, result.map(drop))
    }

    /// Nothing can be written any more: counts what did not get out, and what the engine still has.
    fn count_the_rest(&mut self) -> u64 {
        let unwritten = self.outlet.unwritten();
        let told = self.outlet.pipeline.passed().lines();
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
            if self.voice.is_hurried() {
                break;
            }
        }
        unwritten + self.outlet.pipeline.passed().lines() - told
    }

    fn format(&mut self) -> Result<End, Error> {
        self.outlet.pipeline.begin(&mut self.outlet.buffer);
        // Whoever follows sees at once what this is.
        if self.outlet.sink.begin(&mut self.outlet.buffer)? == Reader::Gone {
            return Ok(End::Reader);
        }
        loop {
            if self.voice.is_hurried() {
                return Ok(End::Hurry);
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
                            if self.outlet.write()? == Reader::Gone {
                                return Ok(End::Reader);
                            }
                            if self.voice.is_hurried() {
                                return Ok(End::Hurry);
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
            if self.time_left().is_zero() && self.flush()? == Reader::Gone {
                return Ok(End::Reader);
            }
            if self.checked.elapsed() > SINK_CHECK {
                self.checked = Instant::now();
                self.outlet.sink.check()?;
                // A file that is old enough ends although nothing comes.
                if self.outlet.sink.is_due() && self.outlet.write()? == Reader::Gone {
                    return Ok(End::Reader);
                }
            }
        }
    }

    /// Nothing has come: in a storm some gathers, and if none does it is over.
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

    /// For how long to wait for more before the lines that are ready are written.
    fn time_left(&self) -> Duration {
        let Some(since) = self.waiting else { return IDLE };
        let Patience { first, last } = self.outlet.patience();
        first.saturating_sub(since.elapsed()).min(last.saturating_sub(self.came.elapsed()))
    }

    fn flush(&mut self) -> Result<Reader, Error> {
        self.outlet.pipeline.flush(&mut self.outlet.buffer);
        self.waiting = None;
        self.outlet.write()
    }

    /// What is to come at the end; whether it got there.
    fn finish(&mut self, end: End) -> Result<End, Error> {
        let Outlet { pipeline, buffer, .. } = &mut self.outlet;
        match end {
            End::Reader => return self.outlet.sink.check().map(|()| end),
            // No end record: more was to come.
            End::Hurry => pipeline.flush(buffer),
            End::Engine | End::Count => pipeline.end(buffer),
        }
        let reader = self.outlet.put()?;
        self.outlet.sink.check()?;
        Ok(if reader == Reader::Gone && end != End::Hurry { End::Reader } else { end })
    }
}

/// Why no more is formatted.
#[derive(Clone, Copy, PartialEq, Eq)]
enum End {
    /// The engine has ended and everything was taken.
    Engine,
    /// As many events were shown as were asked for.
    Count,
    /// The pipe is closed.
    Reader,
    /// The user does not want to wait for the rest.
    Hurry,
}

fn thread_cpu_ns() -> u64 {
    clock_gettime(ClockId::CLOCK_THREAD_CPUTIME_ID).map_or(0, |time| to_ns(time.into()))
}

//! `fsmon-bench cores`: fsmon on more cores than this machine has. Measures what queueing, reading and formatting an
//! event costs, and simulates many writers with these costs.
//!
//! Each writer works, then queues its event under the lock of the fanotify group; the one reader takes
//! events out under the same lock, one by one. Nobody waits for the reader: its queue has no limit.
//! With `--per-filesystem` each filesystem has its own group, lock and reader.

use crate::area::Area;
use crate::args::Program;
use crate::monitor::{self, Format, Monitor, Programs};
use crate::results::keep::Keep;
use crate::results::{Figures, Measured, Verdict};
use crate::sys;
use crate::table::{self, Spread, Table, show};
use crate::workload::churn::Churn;
use crate::workload::{self, Asks};
use clap::Args;
use serde::{Deserialize, Serialize};
use std::io::{ErrorKind, Read};
use std::time::Instant;

/// Measure what an event costs, and simulate many cores
#[derive(Args)]
pub(crate) struct CoresArgs {
    /// Runs of each measurement
    #[arg(long, value_name = "N", default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..))]
    runs: u32,
    #[command(flatten)]
    pub(crate) keep: Keep,
    #[command(flatten)]
    program: Program,
}

/// Iterations of churn by each writer.
const ITERATIONS: u64 = 20_000;
/// Events of an iteration: create with close, rename, delete, change of the link count.
const EVENTS: f64 = 4.0;
/// How long a writer holds the lock to queue an event (perf on 6.18: fsnotify_insert_event, fanotify_merge and the
/// lock itself), ns.
const HOLD: f64 = 200.0;
/// How long the reader holds the lock to take an event off the list, ns.
const HOLD_READING: f64 = 80.0;
/// From this length of the queue on, a writer compares its event with 128 others, under the lock: the queue has 128
/// buckets of 128 events (fs/notify/fanotify/fanotify.h).
const MERGE_FULL: f64 = 128.0 * 128.0;
/// The cost of taking a lock that another core had last, whose cache line must be transferred, ns.
const HANDOVER: f64 = 100.0;
/// Simulated time, ns.
const SPAN: f64 = 1e8;
/// The number of filesystems in the simulation of `--per-filesystem`.
const FILESYSTEMS: usize = 4;
/// The numbers of writers in the simulation.
const WRITERS: [usize; 7] = [1, 2, 4, 8, 16, 32, 64];

/// The costs of an event on this machine, run by run, ns.
#[derive(Default, Serialize, Deserialize)]
pub(crate) struct Cores {
    /// The writer's own work.
    work_ns: Vec<f64>,
    /// Queueing it, while the queue is read every millisecond.
    queue_ns: Vec<f64>,
    /// Additional cost of queueing if nobody reads the queue.
    merge_ns: Vec<f64>,
    /// Reading and dropping it, while nobody writes.
    drop_ns: Vec<f64>,
    reader_ns: Vec<f64>,
    formatter_ns: Vec<f64>,
}

/// The costs of an event, ns.
#[derive(Clone, Copy, Debug)]
struct Costs {
    /// The writer's own work.
    work: f64,
    /// The writer's cost to queue it while the queue is short.
    queue: f64,
    /// Additional cost when the queue is long.
    merge: f64,
    /// The reader.
    read: f64,
}

/// The result of a simulation, events a second.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Flow {
    queued: f64,
    read: f64,
}

/// Measures, simulates and prints.
pub(crate) fn measure(args: &CoresArgs) -> Result<Measured, String> {
    let fsmon = args.program.find()?;
    let area = Area::new().map_err(|e| format!("mounting a tmpfs: {e}; it must be run as root"))?;
    let programs = Programs::only(fsmon);
    let mut cores = Cores::default();
    for run in 0..args.runs {
        eprintln!("cores: {} of {}", run + 1, args.runs);
        cores.add_run(&programs, &area)?;
    }
    let figures = Figures { cores: Some(cores), ..Figures::default() };
    table::print(&figures.tables());
    Ok(Measured { figures, verdict: Verdict::Right })
}

impl Cores {
    /// Measures once. Rounds to a tenth of a nanosecond.
    fn add_run(&mut self, programs: &Programs, area: &Area) -> Result<(), String> {
        let tenths = |ns: f64| (ns * 10.0).round() / 10.0;
        let (alone, (unread, dropped)) = (alone(area)?, unread(area)?);
        let queued = beside_floor(programs, area)?;
        let (reader, formatter) = beside(Format::Json, programs, area)?;
        self.work_ns.push(tenths(alone));
        self.queue_ns.push(tenths(queued - alone));
        self.merge_ns.push(tenths(unread - queued));
        self.drop_ns.push(tenths(dropped));
        self.reader_ns.push(tenths(reader));
        self.formatter_ns.push(tenths(formatter));
        Ok(())
    }

    /// What was measured, and what is simulated from it.
    pub(crate) fn tables(&self) -> [Table; 2] {
        [self.measured(), simulated(self.costs())]
    }

    fn measured(&self) -> Table {
        let rows = [
            ("the writer's own work", &self.work_ns),
            ("queueing it, the queue read every millisecond", &self.queue_ns),
            ("more than that if the queue is not read", &self.merge_ns),
            ("reading it and dropping it, nobody writing", &self.drop_ns),
            ("fsmon's reader", &self.reader_ns),
            ("fsmon's formatter, JSON", &self.formatter_ns),
        ];
        let mut table = Table::new("cores", &["", "per event"]);
        for (name, figures) in rows {
            table.push(vec![name.to_owned(), show(Spread::of(figures.clone()), 0, " ns")]);
        }
        table
    }

    fn costs(&self) -> Costs {
        let median = |figures: &Vec<f64>| Spread::of(figures.clone()).map_or(0.0, |s| s.median);
        Costs {
            work: median(&self.work_ns),
            queue: median(&self.queue_ns).max(HOLD),
            merge: median(&self.merge_ns).max(0.0),
            read: median(&self.reader_ns),
        }
    }
}

fn simulated(costs: Costs) -> Table {
    let head = [
        "cores that do nothing but churn",
        "events a second",
        "read a second",
        "queue grows by",
        "on 4 filesystems with a reader each",
        "read a second",
    ];
    let mut table = Table::new("simulated", &head);
    for writers in WRITERS {
        let flow = simulate(costs, writers);
        let grows = (flow.queued - flow.read).max(0.0);
        let million = |events: f64| format!("{:.2} million", events / 1e6);
        let grows = if grows < flow.queued / 100.0 { "–".into() } else { million(grows) };
        let apart = simulate_apart(costs, writers);
        let (queued, read) = (million(flow.queued), million(flow.read));
        let (queued_apart, read_apart) = (million(apart.queued), million(apart.read));
        table.push(vec![writers.to_string(), queued, read, grows, queued_apart, read_apart]);
    }
    table
}

/// Simulates writers that are distributed among filesystems, whose groups and readers share nothing.
fn simulate_apart(costs: Costs, writers: usize) -> Flow {
    let shares = (0..FILESYSTEMS).map(|i| (writers + i) / FILESYSTEMS);
    let flows = shares.map(|share| simulate(costs, share));
    flows.fold(Flow { queued: 0.0, read: 0.0 }, |sum, flow| Flow {
        queued: sum.queued + flow.queued,
        read: sum.read + flow.read,
    })
}

/// Simulates one group. The first thread that waits for the lock gets it. The reader waits for it while events are queued.
fn simulate(costs: Costs, writers: usize) -> Flow {
    let mut writers: Vec<f64> = (0..writers).map(|i| i as f64 * 7.0).collect();
    let mut reader = 0.0_f64;
    let (mut free, mut last, mut waiting, mut queued, mut read) =
        (0.0_f64, usize::MAX, 0u64, 0u64, 0u64);
    loop {
        let first = writers.iter().enumerate().min_by(|a, b| a.1.total_cmp(b.1));
        let Some((writer, at)) = first.map(|(writer, at)| (writer, *at)) else { break };
        let is_reader = waiting > 0 && reader <= at;
        let (who, at) = if is_reader { (writers.len(), reader) } else { (writer, at) };
        let start = free.max(at) + if who == last { 0.0 } else { HANDOVER };
        if start > SPAN {
            break;
        }
        last = who;
        if is_reader {
            free = start + HOLD_READING;
            reader = free + costs.read - HOLD_READING;
            (waiting, read) = (waiting - 1, read + 1);
        } else {
            free = start + HOLD + costs.merge * (waiting as f64 / MERGE_FULL).min(1.0);
            writers[writer] = free + costs.work + costs.queue - HOLD;
            (waiting, queued) = (waiting + 1, queued + 1);
            reader = reader.max(if waiting == 1 { free } else { 0.0 });
        }
    }
    Flow { queued: queued as f64 * 1e9 / SPAN, read: read as f64 * 1e9 / SPAN }
}

/// ns of an event without a fanotify group.
fn alone(area: &Area) -> Result<f64, String> {
    area.renew().map_err(|error| error.to_string())?;
    churn(area)
}

/// ns of an event.
fn churn(area: &Area) -> Result<f64, String> {
    let failed = |error: std::io::Error| error.to_string();
    Churn::USUAL.prepare(&area.watched).map_err(failed)?;
    let (spent, _) =
        workload::run_churn(Churn::USUAL, &area.watched, 1, ITERATIONS).map_err(failed)?;
    Ok(spent.elapsed_ns as f64 / ITERATIONS as f64 / EVENTS)
}

/// The same with a queue that is read only afterwards, and the cost of reading an event.
fn unread(area: &Area) -> Result<(f64, f64), String> {
    let failed = |error: std::io::Error| error.to_string();
    area.renew().map_err(failed)?;
    let mut queue = sys::fanotify(&area.mount, false).map_err(failed)?;
    let queued = churn(area)?;
    let (begun, mut buffer) = (Instant::now(), vec![0; 256 << 10]);
    loop {
        match queue.read(&mut buffer) {
            Ok(_) => {}
            Err(error) if error.kind() == ErrorKind::WouldBlock => break,
            Err(error) => return Err(failed(error)),
        }
    }
    Ok((queued, begun.elapsed().as_nanos() as f64 / ITERATIONS as f64 / EVENTS))
}

/// The same while the floor reads.
fn beside_floor(programs: &Programs, area: &Area) -> Result<f64, String> {
    area.renew().map_err(|error| error.to_string())?;
    let running = monitor::start(Monitor::Floor, programs, area, Asks::default())?;
    let queued = churn(area)?;
    running.map(monitor::Running::stop).transpose()?;
    Ok(queued)
}

/// CPU of fsmon's reader and formatter for an event, ns.
fn beside(format: Format, programs: &Programs, area: &Area) -> Result<(f64, f64), String> {
    let monitor = Monitor::Fsmon(format, "uring");
    area.renew().map_err(|error| error.to_string())?;
    let running = monitor::start(monitor, programs, area, Asks::default())?.ok_or("no fsmon")?;
    churn(area)?;
    let watched = running.stop()?;
    let (reader, formatter) = watched.reader_formatter_ns.ok_or("no counters")?;
    let events = watched.kernel_events.unwrap_or(1).max(1) as f64;
    Ok((reader as f64 / events, formatter as f64 / events))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn few_writers_are_kept_up_with_and_many_are_not() {
        let costs = Costs { work: 4000.0, queue: 1000.0, merge: 1500.0, read: 900.0 };
        let one = simulate(costs, 1);
        assert!((one.queued - 2e5).abs() < 2e4 && one.queued - one.read < 1e4, "{one:?}");
        let many = simulate(costs, 64);
        // The lock allows at most one event in this time.
        assert!(many.queued < 1e9 / (HOLD + HANDOVER) && many.queued > 0.5e6, "{many:?}");
        assert!(many.read < many.queued, "{many:?}");
        let apart = simulate_apart(costs, 16);
        assert!((apart.queued - 16.0 * 2e5).abs() < 2e5, "{apart:?}");
    }
}

//! `fsmon-bench cores`: what happens with more cores than this machine has. What telling, reading and
//! formatting an event takes is measured here; how that goes with many writers is simulated.
//!
//! Each writer works, then queues its event under the lock of the fanotify group; the one reader takes
//! events out under the same lock, one by one. Nobody waits for the reader: its queue has no limit.
//! With `--per-filesystem` there is that once for each filesystem, and nothing between them.

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

/// Measures what an event takes, and simulates that with many cores.
#[derive(Args)]
pub(crate) struct CoresArgs {
    /// How often each is run
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
/// Of telling, so much is under the lock (perf on 6.18: fsnotify_insert_event, fanotify_merge and the
/// lock itself), ns.
const HOLD: f64 = 200.0;
/// And of reading: an event is taken off the list.
const HOLD_READING: f64 = 80.0;
/// Events in a queue from which on a writer looks at 128 of them for one to merge with, under the lock:
/// as many in each of 128 buckets (fs/notify/fanotify/fanotify.h).
const MERGE_FULL: f64 = 128.0 * 128.0;
/// A lock that another core had last comes with its cache line: what that takes, ns.
const HANDOVER: f64 = 100.0;
/// Simulated time, ns.
const SPAN: f64 = 1e8;
/// Filesystems, with a group and a reader each, that are simulated beside a single one.
const FILESYSTEMS: usize = 4;
/// Writers that are simulated.
const WRITERS: [usize; 7] = [1, 2, 4, 8, 16, 32, 64];

/// What an event takes on this machine, run by run, ns.
#[derive(Default, Serialize, Deserialize)]
pub(crate) struct Cores {
    /// The writer's own work.
    work_ns: Vec<f64>,
    /// Telling of it, the queue read every millisecond.
    tell_ns: Vec<f64>,
    /// More than that where nobody reads the queue.
    merge_ns: Vec<f64>,
    /// Reading it and dropping it, nobody writing.
    drop_ns: Vec<f64>,
    reader_ns: Vec<f64>,
    formatter_ns: Vec<f64>,
}

/// What an event takes, ns.
#[derive(Clone, Copy, Debug)]
struct Costs {
    /// The writer's own work.
    work: f64,
    /// What it takes the writer to tell of it while the queue is short.
    tell: f64,
    /// What it takes more when it is long.
    merge: f64,
    /// The reader.
    read: f64,
}

/// What came of it, events a second.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Flow {
    told: f64,
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
    /// To a tenth of a nanosecond, as that is how they are kept.
    fn add_run(&mut self, programs: &Programs, area: &Area) -> Result<(), String> {
        let tenths = |ns: f64| (ns * 10.0).round() / 10.0;
        let (alone, (unread, dropped)) = (alone(area)?, unread(area)?);
        let told = beside_floor(programs, area)?;
        let (reader, formatter) = beside(Format::Json, programs, area)?;
        self.work_ns.push(tenths(alone));
        self.tell_ns.push(tenths(told - alone));
        self.merge_ns.push(tenths(unread - told));
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
            ("telling of it, the queue read every millisecond", &self.tell_ns),
            ("more than that where nobody reads the queue", &self.merge_ns),
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
            tell: median(&self.tell_ns).max(HOLD),
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
        let grows = (flow.told - flow.read).max(0.0);
        let million = |events: f64| format!("{:.2} million", events / 1e6);
        let grows = if grows < flow.told / 100.0 { "–".into() } else { million(grows) };
        let apart = simulate_apart(costs, writers);
        let (told, read) = (million(flow.told), million(flow.read));
        let (told_apart, read_apart) = (million(apart.told), million(apart.read));
        table.push(vec![writers.to_string(), told, read, grows, told_apart, read_apart]);
    }
    table
}

/// The writers are shared out among filesystems, whose groups and readers share nothing.
fn simulate_apart(costs: Costs, writers: usize) -> Flow {
    let shares = (0..FILESYSTEMS).map(|i| (writers + i) / FILESYSTEMS);
    let flows = shares.map(|share| simulate(costs, share));
    flows.fold(Flow { told: 0.0, read: 0.0 }, |sum, flow| Flow {
        told: sum.told + flow.told,
        read: sum.read + flow.read,
    })
}

/// Whoever comes first gets the lock next; the reader comes while something is queued.
fn simulate(costs: Costs, writers: usize) -> Flow {
    let mut writers: Vec<f64> = (0..writers).map(|i| i as f64 * 7.0).collect();
    let mut reader = 0.0_f64;
    let (mut free, mut last, mut queued, mut told, mut read) =
        (0.0_f64, usize::MAX, 0u64, 0u64, 0u64);
    loop {
        let first = writers.iter().enumerate().min_by(|a, b| a.1.total_cmp(b.1));
        let Some((writer, at)) = first.map(|(writer, at)| (writer, *at)) else { break };
        let is_reader = queued > 0 && reader <= at;
        let (who, at) = if is_reader { (writers.len(), reader) } else { (writer, at) };
        let start = free.max(at) + if who == last { 0.0 } else { HANDOVER };
        if start > SPAN {
            break;
        }
        last = who;
        if is_reader {
            free = start + HOLD_READING;
            reader = free + costs.read - HOLD_READING;
            (queued, read) = (queued - 1, read + 1);
        } else {
            free = start + HOLD + costs.merge * (queued as f64 / MERGE_FULL).min(1.0);
            writers[writer] = free + costs.work + costs.tell - HOLD;
            (queued, told) = (queued + 1, told + 1);
            reader = reader.max(if queued == 1 { free } else { 0.0 });
        }
    }
    Flow { told: told as f64 * 1e9 / SPAN, read: read as f64 * 1e9 / SPAN }
}

/// ns of an event where nobody is told.
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

/// The same with a queue that is read afterwards only, and what that takes an event.
fn unread(area: &Area) -> Result<(f64, f64), String> {
    let failed = |error: std::io::Error| error.to_string();
    area.renew().map_err(failed)?;
    let mut queue = sys::fanotify(&area.mount, false).map_err(failed)?;
    let told = churn(area)?;
    let (begun, mut buffer) = (Instant::now(), vec![0; 256 << 10]);
    loop {
        match queue.read(&mut buffer) {
            Ok(_) => {}
            Err(error) if error.kind() == ErrorKind::WouldBlock => break,
            Err(error) => return Err(failed(error)),
        }
    }
    Ok((told, begun.elapsed().as_nanos() as f64 / ITERATIONS as f64 / EVENTS))
}

/// The same while the floor reads.
fn beside_floor(programs: &Programs, area: &Area) -> Result<f64, String> {
    area.renew().map_err(|error| error.to_string())?;
    let running = monitor::start(Monitor::Floor, programs, area, Asks::default())?;
    let told = churn(area)?;
    running.map(monitor::Running::stop).transpose()?;
    Ok(told)
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
        let costs = Costs { work: 4000.0, tell: 1000.0, merge: 1500.0, read: 900.0 };
        let one = simulate(costs, 1);
        assert!((one.told - 2e5).abs() < 2e4 && one.told - one.read < 1e4, "{one:?}");
        let many = simulate(costs, 64);
        // The lock alone allows no more than one event in so long.
        assert!(many.told < 1e9 / (HOLD + HANDOVER) && many.told > 0.5e6, "{many:?}");
        assert!(many.read < many.told, "{many:?}");
        let apart = simulate_apart(costs, 16);
        assert!((apart.told - 16.0 * 2e5).abs() < 2e5, "{apart:?}");
    }
}

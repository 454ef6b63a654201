//! Workloads beside monitors, repeated and interleaved.

use crate::area::Area;
use crate::args::{Args, Command, Placing};
use crate::comparison::{Comparison, Row, Sample};
use crate::correctness::Output;
use crate::latency::{self, Latency};
use crate::monitor::{self, Monitor, Programs, Watched};
use crate::results::keep::Otherwise;
use crate::results::{Figures, Measured, Verdict};
use crate::table;
use crate::workload::untar::{self, Packed};
use crate::workload::{Size, Workload};
use crate::{codecs, cores, forks, report, series, soak, start, streams, tree, workload};
use clap::Parser;
use std::process::ExitCode;

/// The command for people.
pub(crate) fn main() -> ExitCode {
    let args = Args::parse();
    match run(&args) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("fsmon-bench: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Runs a command. Returns whether all results were right.
fn run(args: &Args) -> Result<bool, String> {
    const NOWHERE: Otherwise = Otherwise::Nowhere;
    match &args.command {
        Some(Command::Who(args)) => series::main(args),
        Some(Command::Forks(args)) => args.keep.run(NOWHERE, || forks::measure(args)),
        Some(Command::Start(args)) => args.keep.run(NOWHERE, || start::measure(args)),
        Some(Command::Tree(args)) => args.keep.run(NOWHERE, || tree::measure(args)),
        Some(Command::Cores(args)) => args.keep.run(NOWHERE, || cores::measure(args)),
        Some(Command::Soak(args)) => args.keep.run(NOWHERE, || soak::measure(args)),
        Some(Command::Streams(args)) => args.keep.run(NOWHERE, || streams::measure(args)),
        Some(Command::Codecs(args)) => codecs::main(args),
        Some(Command::Report(args)) => report::main(args),
        None => args.keep.run(args.otherwise(), || compare(args)),
    }
}

/// Runs the workloads beside the monitors. The verdict is right if every existing monitor could be run.
fn compare(args: &Args) -> Result<Measured, String> {
    let (workloads, monitors) = (args.workloads()?, args.monitors()?);
    let programs = args.programs()?;
    let size = if args.quick { Size::QUICK } else { Size::FULL };
    let mut figures = Figures::default();
    let area = Area::new().map_err(|e| format!("mounting a tmpfs: {e}; it must be run as root"))?;
    let cpus = Cpus::new(args.place).map_err(|e| format!("the CPUs: {e}"))?;
    let packed = pack(args, &area, size).map_err(|e| format!("packing a tree: {e}"))?;
    let (there, absent): (Vec<_>, Vec<_>) =
        monitors.into_iter().partition(|monitor| programs.of(*monitor).is_some());
    for monitor in absent {
        eprintln!("SKIP {}: no such program here", monitor.name());
    }
    for workload in workloads {
        let bench = Bench { cpus: &cpus, area: &area, programs: &programs, size, packed: &packed };
        let comparison = bench.comparison(workload, &there, args.repeat())?;
        table::print(&[comparison.table()]);
        figures.workloads.push(comparison);
    }
    if args.latency() {
        figures.latency = latency::measure(&there, &programs, &area, args.quick)?;
        table::print(&[latency::table(&figures.latency)]);
    }
    println!("{} runs each.", args.repeat());
    let is_whole = figures.workloads.iter().all(Comparison::is_whole)
        && figures.latency.iter().all(Latency::is_whole);
    Ok(Measured { figures, verdict: Verdict::of(is_whole) })
}

fn pack(args: &Args, area: &Area, size: Size) -> std::io::Result<Packed> {
    let tree = args.tree.clone().or_else(untar::default_tree);
    let tree = tree.ok_or_else(|| std::io::Error::other("found none; name one with --tree"))?;
    untar::pack(&tree, area.out.join("tree.tar"), size.entries)
}

/// The CPUs for monitors, for the workload, and those that this process may use.
struct Cpus([Vec<usize>; 3]);

impl Cpus {
    fn new(place: Option<Placing>) -> std::io::Result<Self> {
        let all = crate::sys::cpus()?;
        let (first, last) = (all[..1].to_vec(), all[all.len() - 1..].to_vec());
        Ok(Cpus(match place {
            None => [all.clone(), all.clone(), all],
            Some(Placing::Apart) => [last, first, all],
            Some(Placing::Together) => [last.clone(), last, all],
        }))
    }
}

struct Bench<'a> {
    cpus: &'a Cpus,
    area: &'a Area,
    programs: &'a Programs,
    size: Size,
    packed: &'a Packed,
}

impl Bench<'_> {
    /// One workload beside all monitors, in rounds: each round runs every monitor once and begins with another, so
    /// that changes on the machine affect all of them alike. A first run without a monitor warms the machine up and
    /// is not counted.
    fn comparison(
        &self,
        workload: Workload,
        there: &[Monitor],
        n: u32,
    ) -> Result<Comparison, String> {
        let mut rows: Vec<Row> = there.iter().map(|monitor| Row::new(monitor.name())).collect();
        let _ = self.sample(workload, Monitor::None);
        for round in 0..n {
            for i in 0..there.len() {
                let i = (i + round as usize) % there.len();
                let (row, monitor) = (&mut rows[i], there[i]);
                if row.error.is_some() {
                    continue;
                }
                eprintln!("{} beside {}, {} of {n}", workload.name(), row.monitor, round + 1);
                match self.sample(workload, monitor) {
                    Ok(sample) => row.runs.push(sample),
                    Err(Failure::Monitor(error)) => {
                        eprintln!("{}: {error}", row.monitor);
                        row.error = Some(error);
                    }
                    Err(Failure::Workload(error)) => {
                        return Err(format!("{}: {error}", workload.name()));
                    }
                }
            }
        }
        Ok(Comparison {
            workload: workload.name(),
            operation: workload.operation().into(),
            monitors: rows,
        })
    }

    fn sample(&self, workload: Workload, monitor: Monitor) -> Result<Sample, Failure> {
        let failed = |error: std::io::Error| Failure::Workload(error.to_string());
        self.area.renew().map_err(failed)?;
        workload.prepare(self.area).map_err(failed)?;
        let Cpus([monitors, workers, all]) = self.cpus;
        crate::sys::run_on(monitors).map_err(failed)?;
        let running = monitor::start(monitor, self.programs, self.area, workload.asks())
            .map_err(Failure::Monitor)?;
        crate::sys::run_on(workers).map_err(failed)?;
        let done = workload.run(self.area, self.size, self.packed).map_err(failed)?;
        crate::sys::run_on(all).map_err(failed)?;
        let watched = match running {
            Some(running) => running.stop().map_err(Failure::Monitor)?,
            None => Watched::default(),
        };
        Ok(sample(&done, watched))
    }
}

enum Failure {
    Monitor(String),
    Workload(String),
}

fn sample(done: &workload::Done, watched: Watched) -> Sample {
    let lost = watched.seen.as_ref().map(|seen| done.expected.missing_from(seen.counts));
    let workload::Done { elapsed_ns, cpu_ns: workload_cpu_ns, operations, .. } = *done;
    let Watched { cpu_ns, rss_kib, kernel_events, stats, seen, .. } = watched;
    let seen = seen.as_ref().map(Output::from);
    Sample {
        elapsed_ns,
        workload_cpu_ns,
        operations,
        cpu_ns,
        rss_kib,
        kernel_events,
        lost,
        stats,
        seen,
    }
}

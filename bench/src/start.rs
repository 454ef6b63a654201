//! `fsmon-bench start`: the time from the start of fsmon until it is ready, in a small tree.

use crate::area::Area;
use crate::args::Program;
use crate::monitor::{self, Plan, Ready};
use crate::results::keep::Keep;
use crate::results::{Figures, Measured, Verdict};
use crate::table::{self, Spread, Table, not_run, show};
use clap::Args;
use fsmon_format::number::to_ns;
use serde::{Deserialize, Serialize};
use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Instant;

/// Measures the time until fsmon is ready in a tree of a hundred directories.
#[derive(Args)]
pub(crate) struct StartArgs {
    /// How often each is started
    #[arg(long, value_name = "N", default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..))]
    runs: u32,
    #[command(flatten)]
    pub(crate) keep: Keep,
    #[command(flatten)]
    program: Program,
}

/// Directories of the tree, beside its top.
const DIRS: u32 = 100;
/// How fsmon is started. The last needs neither BPF nor perf: what it takes is the rest of the start.
const WAYS: [&[&str]; 4] = [
    &["--who", "bpf"],
    &["--who", "bpf", "--cmdline"],
    &["--who", "tracepoint"],
    &["--who", "proc"],
];

/// What the start takes.
#[derive(Serialize, Deserialize)]
pub(crate) struct Starts {
    rows: Vec<Row>,
}

/// All runs of one way to start.
#[derive(Serialize, Deserialize)]
struct Row {
    name: String,
    samples: Vec<Sample>,
    error: Option<String>,
}

/// Until one program was ready or done.
#[derive(Serialize, Deserialize)]
pub(crate) struct Sample {
    pub(crate) elapsed_ns: u64,
    pub(crate) cpu_ns: u64,
}

impl Sample {
    /// Starts fsmon, and ends it as soon as it is ready.
    pub(crate) fn of(plan: Plan) -> Result<Self, String> {
        let begun = Instant::now();
        let running = monitor::launch(plan, Stdio::null())?;
        let elapsed_ns = to_ns(begun.elapsed());
        let cpu_ns = running.cpu_ready_ns;
        running.stop()?;
        Ok(Sample { elapsed_ns, cpu_ns })
    }
}

/// Measures and prints the table.
pub(crate) fn measure(args: &StartArgs) -> Result<Measured, String> {
    let fsmon = args.program.find()?;
    let area = Area::new().map_err(|e| format!("mounting a tmpfs: {e}; it must be run as root"))?;
    area.renew().map_err(|error| error.to_string())?;
    for i in 0..DIRS {
        fs::create_dir(area.watched.join(i.to_string())).map_err(|error| error.to_string())?;
    }
    let row = |words: &&[&str]| Row { name: name(words), samples: vec![], error: None };
    let mut rows: Vec<Row> = WAYS.iter().map(row).collect();
    for run in 1..=args.runs {
        eprintln!("start: {run} of {}", args.runs);
        for (row, words) in rows.iter_mut().zip(WAYS).filter(|(row, _)| row.error.is_none()) {
            match Sample::of(plan(&fsmon, words, &area.watched)) {
                Ok(sample) => row.samples.push(sample),
                Err(error) => row.error = Some(error),
            }
        }
    }
    let verdict = Verdict::of(rows.iter().all(|row| row.error.is_none()));
    let figures = Figures { starts: Some(Starts { rows }), ..Figures::default() };
    table::print(&figures.tables());
    Ok(Measured { figures, verdict })
}

fn name(words: &[&str]) -> String {
    format!("fsmon {}", words.join(" "))
}

fn plan(fsmon: &Path, words: &[&str], top: &Path) -> Plan {
    let mut command = Command::new(fsmon);
    command.args(words).arg(top);
    Plan::new(command, Ready::Line("fsmon: ready"), None)
}

impl Starts {
    /// The table of it.
    pub(crate) fn table(&self) -> Table {
        let mut table = Table::new("ready", &["", "time", "CPU"]);
        table.note = Some(format!("Until fsmon is ready, {DIRS} directories."));
        for Row { name, samples, error } in &self.rows {
            let figure = |of: fn(&Sample) -> u64| {
                show(Spread::of(samples.iter().map(|s| of(s) as f64 / 1e6)), 1, " ms")
            };
            table.push(match error {
                Some(error) => not_run(name, error),
                None => vec![name.clone(), figure(|s| s.elapsed_ns), figure(|s| s.cpu_ns)],
            });
        }
        table
    }
}

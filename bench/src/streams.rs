//! `fsmon-bench streams`: what a change takes in each kind of file, of real builds, and how quickly a
//! stream is read again.

use crate::area::Area;
use crate::args::Program;
use crate::monitor::{self, Plan, Ready};
use crate::report::{Spread, lay_out, show};
use crate::workload::build::Build;
use crate::workload::churn::Churn;
use crate::workload::{self};
use clap::Args;
use fsmon_format::stream::{Item, Reader};
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Instant;

/// Records builds in every way at once, then a long churn to be read again.
#[derive(Args)]
pub(crate) struct StreamsArgs {
    /// How often each stream is read
    #[arg(long, value_name = "N", default_value_t = 7, value_parser = clap::value_parser!(u32).range(1..))]
    runs: u32,
    #[command(flatten)]
    program: Program,
}

/// A name, and the arguments that make it so.
const WAYS: [(&str, &[&str]); 5] = [
    ("binary", &["-f", "binary"]),
    ("binary, lz4", &["-f", "binary", "--compress", "lz4"]),
    ("binary, zstd", &["-f", "binary", "--compress", "zstd"]),
    ("JSON", &["-f", "json"]),
    ("CSV", &["-f", "csv"]),
];
const BUILDS: [(&str, Build); 2] = [("make", Build::Make), ("cargo", Build::Cargo)];
/// Iterations of the churn that is read again.
const ITERATIONS: u64 = 150_000;

/// Measures and prints.
pub(crate) fn main(args: &StreamsArgs) -> Result<bool, String> {
    let fsmon = args.program.find()?;
    let area = Area::new().map_err(|e| format!("mounting a tmpfs: {e}; it must be run as root"))?;
    let mut sizes = vec![header(&["bytes an event"], &BUILDS.map(|(name, _)| name))];
    let mut columns = Vec::new();
    for (_, build) in BUILDS {
        area.renew()
            .and_then(|()| build.prepare(&area.watched, &area.out))
            .map_err(|error| error.to_string())?;
        columns.push(recorded(&fsmon, &area, || build.run(&area.watched).map(drop))?);
    }
    for (at, (name, _)) in WAYS.iter().enumerate() {
        let mut row = vec![(*name).to_owned()];
        row.extend(columns.iter().map(|column| format!("{:.1}", column.bytes[at])));
        sizes.push(row);
    }
    let events = columns.iter().map(|column| column.events.to_string());
    sizes.push(["events".to_owned()].into_iter().chain(events).collect());
    println!("### streams: sizes\n\n{}", lay_out(&sizes));
    area.renew()
        .and_then(|()| Churn::USUAL.prepare(&area.watched))
        .map_err(|error| error.to_string())?;
    let churned = recorded(&fsmon, &area, || {
        workload::run_churn(Churn::USUAL, &area.watched, 1, ITERATIONS).map(drop)
    })?;
    println!("### streams: reading\n\n{}", lay_out(&speeds(args, &fsmon, &area, churned.events)?));
    Ok(true)
}

fn header(first: &[&str], rest: &[&str]) -> Vec<String> {
    first.iter().chain(rest).map(|cell| (*cell).to_owned()).collect()
}

/// What came of one workload.
struct Recorded {
    events: u64,
    /// By way.
    bytes: Vec<f64>,
}

/// Runs a workload beside one fsmon for each way.
fn recorded(
    fsmon: &Path,
    area: &Area,
    workload: impl FnOnce() -> io::Result<()>,
) -> Result<Recorded, String> {
    let mut running = Vec::new();
    for (name, args) in WAYS {
        let stats = area.fresh("stats").map_err(|error| error.to_string())?.with_extension(name);
        let mut command = Command::new(fsmon);
        command.args(args).arg("-o").arg(file(area, name)).arg("--stats").arg(&stats);
        let mut plan = Plan::new(command, Ready::Line("fsmon: ready"), None);
        plan.command.arg(&area.watched);
        plan.stats = Some(stats);
        running.push(monitor::launch(plan, Stdio::null())?);
    }
    workload().map_err(|error| error.to_string())?;
    let mut recorded = Recorded { events: 0, bytes: Vec::new() };
    for (running, (name, _)) in running.into_iter().zip(WAYS) {
        let events = running.stop()?.stats["events"].as_u64().unwrap_or_default();
        let bytes = fs::metadata(file(area, name)).map_err(|error| error.to_string())?.len();
        recorded.events = events;
        recorded.bytes.push(bytes as f64 / events as f64);
    }
    Ok(recorded)
}

fn file(area: &Area, way: &str) -> PathBuf {
    area.out.join(way.replace(", ", "-"))
}

/// Million events a second, and MB of the file, by the reader alone and as lines.
fn speeds(
    args: &StreamsArgs,
    fsmon: &Path,
    area: &Area,
    events: u64,
) -> Result<Vec<Vec<String>>, String> {
    let mut rows =
        vec![header(&["stream", "MB"], &["reader alone, GB/s", "reader", "to JSON", "to CSV"])];
    for (name, _) in &WAYS[..3] {
        let path = file(area, name);
        let bytes = fs::metadata(&path).map_err(|error| error.to_string())?.len() as f64;
        let (mut alone, mut json, mut csv) = (Vec::new(), Vec::new(), Vec::new());
        for _ in 0..args.runs {
            alone.push(timed(|| read(&path, events))?);
            json.push(timed(|| decode(fsmon, &path, "json"))?);
            csv.push(timed(|| decode(fsmon, &path, "csv"))?);
        }
        let rate = |times: &[f64]| {
            let rates = times.iter().map(|seconds| events as f64 / seconds / 1e6).collect();
            show(Spread::of(rates), 1, " M/s")
        };
        let gigabytes = alone.iter().map(|seconds| bytes / seconds / 1e9).collect();
        rows.push(vec![
            (*name).to_owned(),
            format!("{:.1}", bytes / 1e6),
            show(Spread::of(gigabytes), 2, ""),
            rate(&alone),
            rate(&json),
            rate(&csv),
        ]);
    }
    Ok(rows)
}

fn timed(work: impl FnOnce() -> Result<(), String>) -> Result<f64, String> {
    let begun = Instant::now();
    work()?;
    Ok(begun.elapsed().as_secs_f64())
}

/// All of it, every check made; as many events as there are.
fn read(path: &Path, expected: u64) -> Result<(), String> {
    let mut reader = Reader::new(File::open(path).map_err(|error| error.to_string())?);
    let mut types = 0;
    while let Some(item) = reader.next().map_err(|error| error.to_string())? {
        if let Item::Block(block) = item {
            for record in block.records() {
                if let fsmon_format::record::Body::Event(event) = record.body() {
                    let shown = event.head.mask.get() & fsmon_format::kind::EVERY;
                    types += u64::from(shown.count_ones());
                }
            }
        }
    }
    if types == expected { Ok(()) } else { Err(format!("{types} events of {expected}")) }
}

fn decode(fsmon: &Path, path: &Path, format: &str) -> Result<(), String> {
    let mut command = Command::new(fsmon);
    command.args(["decode", "-f", format]).arg(path).stdin(Stdio::null()).stdout(Stdio::null());
    let status = command.status().map_err(|error| error.to_string())?;
    if status.success() { Ok(()) } else { Err(format!("fsmon decode: {status}")) }
}

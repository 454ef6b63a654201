//! `fsmon-bench streams`: the bytes of a change in each kind of file, for real builds, and the speed of reading a
//! stream.

use crate::area::Area;
use crate::args::Program;
use crate::monitor::{self, Plan, Ready};
use crate::results::keep::Keep;
use crate::results::{Figures, Measured, Verdict};
use crate::table::{self, Spread, Table, show};
use crate::workload::build::Build;
use crate::workload::churn::Churn;
use crate::workload::{self};
use clap::Args;
use fsmon_format::number::to_ns;
use fsmon_format::stream::{Item, Reader};
use serde::{Deserialize, Serialize};
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
    pub(crate) keep: Keep,
    #[command(flatten)]
    program: Program,
}

/// The kinds of files: a name, and fsmon's arguments.
const WAYS: [(&str, &[&str]); 5] = [
    ("binary", &["-f", "binary"]),
    ("binary, lz4", &["-f", "binary", "--compress", "lz4"]),
    ("binary, zstd", &["-f", "binary", "--compress", "zstd"]),
    ("JSON", &["-f", "json"]),
    ("CSV", &["-f", "csv"]),
];
/// How many of [`WAYS`], from the first, are streams, which can be read again.
const STREAMS: usize = 3;
const BUILDS: [(&str, Build); 2] = [("make", Build::Make), ("cargo", Build::Cargo)];
/// Iterations of the churn that is read again.
const ITERATIONS: u64 = 150_000;

/// Sizes and speeds.
#[derive(Serialize, Deserialize)]
pub(crate) struct Streams {
    builds: Vec<Recorded>,
    reading: Vec<Reading>,
}

/// What came of one workload.
#[derive(Serialize, Deserialize)]
struct Recorded {
    workload: String,
    /// In the order of [`WAYS`].
    files: Vec<Made>,
}

/// A file of one kind.
#[derive(Serialize, Deserialize)]
struct Made {
    kind: String,
    bytes: u64,
    events: u64,
}

/// How long it took to read a stream, run by run.
#[derive(Serialize, Deserialize)]
struct Reading {
    kind: String,
    bytes: u64,
    events: u64,
    alone_ns: Vec<u64>,
    to_json_ns: Vec<u64>,
    to_csv_ns: Vec<u64>,
}

/// Measures and prints.
pub(crate) fn measure(args: &StreamsArgs) -> Result<Measured, String> {
    let fsmon = args.program.find()?;
    let area = Area::new().map_err(|e| format!("mounting a tmpfs: {e}; it must be run as root"))?;
    let streams =
        Streams { builds: builds(&fsmon, &area)?, reading: reading(args.runs, &fsmon, &area)? };
    let figures = Figures { streams: Some(streams), ..Figures::default() };
    table::print(&figures.tables());
    Ok(Measured { figures, verdict: Verdict::Right })
}

fn builds(fsmon: &Path, area: &Area) -> Result<Vec<Recorded>, String> {
    let mut builds = Vec::new();
    for (name, build) in BUILDS {
        area.renew()
            .and_then(|()| build.prepare(&area.watched, &area.out))
            .map_err(|error| error.to_string())?;
        builds.push(recorded(name, fsmon, area, || build.run(&area.watched).map(drop))?);
    }
    Ok(builds)
}

/// Records a churn, and reads the files.
fn reading(runs: u32, fsmon: &Path, area: &Area) -> Result<Vec<Reading>, String> {
    area.renew()
        .and_then(|()| Churn::USUAL.prepare(&area.watched))
        .map_err(|error| error.to_string())?;
    let churned = recorded("churn", fsmon, area, || {
        workload::run_churn(Churn::USUAL, &area.watched, 1, ITERATIONS).map(drop)
    })?;
    let streams = churned.files.into_iter().take(STREAMS);
    streams.map(|made| read_often(runs, fsmon, area, made)).collect()
}

fn read_often(runs: u32, fsmon: &Path, area: &Area, made: Made) -> Result<Reading, String> {
    let path = file(area, &made.kind);
    let Made { kind, bytes, events } = made;
    let (mut alone_ns, mut to_json_ns, mut to_csv_ns) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..runs {
        alone_ns.push(timed(|| read(&path, events))?);
        to_json_ns.push(timed(|| decode(fsmon, &path, "json"))?);
        to_csv_ns.push(timed(|| decode(fsmon, &path, "csv"))?);
    }
    Ok(Reading { kind, bytes, events, alone_ns, to_json_ns, to_csv_ns })
}

impl Streams {
    /// Sizes, and speeds.
    pub(crate) fn tables(&self) -> [Table; 2] {
        [self.sizes(), self.speeds()]
    }

    fn sizes(&self) -> Table {
        let builds = self.builds.iter().map(|build| &build.workload[..]);
        let head: Vec<&str> = ["bytes an event"].into_iter().chain(builds).collect();
        let mut table = Table::new("sizes", &head);
        let mut push = |name: &str, cell: &dyn Fn(&Recorded) -> String| {
            table.push([name.to_owned()].into_iter().chain(self.builds.iter().map(cell)).collect());
        };
        let kinds = self.builds.first().map_or(&[][..], |build| &build.files);
        for (at, Made { kind, .. }) in kinds.iter().enumerate() {
            push(kind, &|build| format!("{:.1}", build.files[at].bytes_an_event()));
        }
        push("events", &|build| build.files.last().map_or(0, |made| made.events).to_string());
        table
    }

    /// Million events a second, and MB of the file, by the reader alone and as lines.
    fn speeds(&self) -> Table {
        let head = ["stream", "MB", "reader alone, GB/s", "reader", "to JSON", "to CSV"];
        let mut table = Table::new("reading", &head);
        for Reading { kind, bytes, events, alone_ns, to_json_ns, to_csv_ns } in &self.reading {
            let rates = |amount: u64, times_ns: &[u64]| {
                Spread::of(times_ns.iter().map(|ns| amount as f64 / *ns as f64))
            };
            let millions = |times_ns| {
                let rates = rates(events * 1000, times_ns);
                show(rates, 1, " M/s")
            };
            table.push(vec![
                kind.clone(),
                format!("{:.1}", *bytes as f64 / 1e6),
                show(rates(*bytes, alone_ns), 2, ""),
                millions(alone_ns),
                millions(to_json_ns),
                millions(to_csv_ns),
            ]);
        }
        table
    }
}

impl Made {
    fn bytes_an_event(&self) -> f64 {
        self.bytes as f64 / self.events as f64
    }
}

/// Runs a workload beside one fsmon for each way.
fn recorded(
    name: &str,
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
    let mut files = Vec::new();
    for (running, (kind, _)) in running.into_iter().zip(WAYS) {
        let events = running.stop()?.stats["events"].as_u64().unwrap_or_default();
        let bytes = fs::metadata(file(area, kind)).map_err(|error| error.to_string())?.len();
        files.push(Made { kind: kind.into(), bytes, events });
    }
    Ok(Recorded { workload: name.into(), files })
}

fn file(area: &Area, way: &str) -> PathBuf {
    area.out.join(way.replace(", ", "-"))
}

/// ns.
fn timed(work: impl FnOnce() -> Result<(), String>) -> Result<u64, String> {
    let begun = Instant::now();
    work()?;
    Ok(to_ns(begun.elapsed()))
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_and_speeds_come_from_what_is_kept() {
        let kept = serde_json::json!({
            "builds": [
                { "workload": "make", "files": [{ "kind": "JSON", "bytes": 30, "events": 4 }] },
                { "workload": "cargo", "files": [{ "kind": "JSON", "bytes": 9, "events": 3 }] },
            ],
            "reading": [{
                "kind": "binary", "bytes": 2_000_000, "events": 40_000, "alone_ns": [1_000_000],
                "to_json_ns": [2_000_000, 4_000_000], "to_csv_ns": [8_000_000],
            }],
        });
        let streams: Streams = serde_json::from_value(kept).expect("streams");
        let [sizes, speeds] = streams.tables();
        assert_eq!(sizes.rows[0], ["bytes an event", "make", "cargo"]);
        assert_eq!(sizes.rows[1..], [["JSON", "7.5", "3.0"], ["events", "4", "3"]]);
        let row = ["binary", "2.0", "2.00", "40.0 M/s", "15.0 M/s (10.0–20.0)", "5.0 M/s"];
        assert_eq!(speeds.rows[1], row);
    }
}

//! `fsmon-bench soak`: the heaviest churn for minutes, JSON to a file. Nothing is lost, and nothing grows.

use crate::area::Area;
use crate::args::Program;
use crate::monitor::{self, Plan, Ready};
use crate::results::keep::Keep;
use crate::results::{Figures, Measured, Verdict};
use crate::table::{self, Spread, Table, show};
use crate::workload::churn::Churn;
use crate::workload::{self, Counts};
use clap::Args;
use fsmon_format::number::to_ns;
use serde::{Deserialize, Serialize};
use std::fs::{self, File};
use std::io::{self, BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// Make, rename and remove files with two processes beside fsmon, and watch its memory
#[derive(Args)]
pub(crate) struct SoakArgs {
    /// For how long
    #[arg(long, value_name = "N", default_value_t = 10)]
    minutes: u64,
    /// Where the JSON goes, some 40 MB a second; removed in the end
    #[arg(long, value_name = "DIR", default_value = "/var/tmp")]
    out: PathBuf,
    #[command(flatten)]
    pub(crate) keep: Keep,
    #[command(flatten)]
    program: Program,
}

/// Iterations between two looks at the memory.
const ROUND: u64 = 200_000;

/// The results.
#[derive(Serialize, Deserialize)]
pub(crate) struct Soak {
    elapsed_ns: u64,
    iterations: u64,
    /// Lines that are missing, or too many.
    differences: u64,
    json_bytes: u64,
    /// After each round.
    resident_kib: Vec<u64>,
    peak_kib: u64,
    /// Slots of the ring that were in use at one time.
    ring_peak: u64,
}

/// Measures and prints; fails when a line is missing or one too many.
pub(crate) fn measure(args: &SoakArgs) -> Result<Measured, String> {
    let fsmon = args.program.find()?;
    let area = Area::new().map_err(|e| format!("mounting a tmpfs: {e}; it must be run as root"))?;
    let out = args.out.join(format!("fsmon-bench-soak-{}.json", std::process::id()));
    let done = soak(args, &fsmon, &area, &out);
    let _ = fs::remove_file(&out);
    let soak = done?;
    let verdict = Verdict::of(soak.differences == 0);
    let figures = Figures { soak: Some(soak), ..Figures::default() };
    table::print(&figures.tables());
    Ok(Measured { figures, verdict })
}

fn soak(args: &SoakArgs, fsmon: &Path, area: &Area, out: &Path) -> Result<Soak, String> {
    let failed = |error: io::Error| error.to_string();
    area.renew().map_err(failed)?;
    Churn::USUAL.prepare(&area.watched).map_err(failed)?;
    let stats = area.fresh("fsmon.stats").map_err(failed)?;
    let mut command = Command::new(fsmon);
    command.args(["--format", "json", "--output"]).arg(out).arg("--stats").arg(&stats);
    command.arg(&area.watched);
    let mut plan = Plan::new(command, Ready::Line("fsmon: ready"), None);
    plan.stats = Some(stats);
    let running = monitor::launch(plan, Stdio::null())?;
    let (begun, mut made, mut resident_kib) = (Instant::now(), 0, Vec::new());
    while begun.elapsed() < Duration::from_secs(60 * args.minutes) {
        let churned = workload::run_churn(Churn::USUAL, &area.watched, 2, ROUND);
        made += churned.map_err(failed)?.1;
        let kib = running.resident_kib();
        resident_kib.push(kib);
        eprintln!("soak: {made} iterations, {:.1} MiB", mib(kib));
    }
    let elapsed_ns = to_ns(begun.elapsed());
    let watched = running.stop()?;
    let counted = count(out).map_err(failed)?;
    Ok(Soak {
        elapsed_ns,
        iterations: made,
        differences: Churn::USUAL.counts(made).differ_from(counted),
        json_bytes: fs::metadata(out).map_err(failed)?.len(),
        resident_kib,
        peak_kib: watched.rss_kib,
        ring_peak: watched.stats["ring_peak"].as_u64().ok_or("no counter of the ring")?,
    })
}

fn mib(kib: u64) -> f64 {
    kib as f64 / 1024.0
}

impl Soak {
    /// The table of it.
    pub(crate) fn table(&self) -> Table {
        let minutes = self.elapsed_ns as f64 / 60e9;
        let gib = self.json_bytes as f64 / f64::from(1 << 30);
        let rounds = self.resident_kib.len();
        let early = rounds.min(5);
        let spread = |kib: &[u64]| show(Spread::of(kib.iter().map(|kib| mib(*kib))), 1, " MiB");
        let mut table = Table::new("soak", &["", "measured"]);
        let mut push = |what: &str, figure: String| table.push(vec![what.to_owned(), figure]);
        push("time", format!("{minutes:.1} min"));
        push("iterations (create, write, close, rename, unlink)", self.iterations.to_string());
        push("lines missing or too many", self.differences.to_string());
        push("JSON", format!("{gib:.1} GiB"));
        push("resident in the first rounds", spread(&self.resident_kib[..early]));
        push("resident in the last rounds", spread(&self.resident_kib[rounds - early..]));
        push("peak memory", format!("{:.1} MiB", mib(self.peak_kib)));
        push("most slots of the ring in use", self.ring_peak.to_string());
        table
    }
}

/// Lines of each kind: by their words alone, as there are a hundred million.
fn count(path: &Path) -> io::Result<Counts> {
    let (mut counts, mut line) = (Counts::default(), Vec::new());
    let mut lines = BufReader::with_capacity(1 << 20, File::open(path)?);
    while lines.read_until(b'\n', &mut line)? > 0 {
        // The type is the second key.
        let head = &line[..line.len().min(100)];
        let has = |word: &str| head.windows(word.len()).any(|window| window == word.as_bytes());
        if has("\"CREATE\"") {
            counts.creates += 1;
        } else if has("\"RENAME\"") {
            counts.renames += 1;
        } else if has("\"DELETE\"") {
            counts.deletes += 1;
        }
        line.clear();
    }
    Ok(counts)
}

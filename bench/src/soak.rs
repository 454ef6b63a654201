//! `fsmon-bench soak`: the heaviest churn for minutes, JSON to a file. Nothing is lost, and nothing grows.

use crate::area::Area;
use crate::args::Program;
use crate::monitor::{self, Plan, Ready};
use crate::report::{Spread, lay_out, show};
use crate::workload::churn::Churn;
use crate::workload::{self, Counts};
use clap::Args;
use std::fs::{self, File};
use std::io::{self, BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// Keeps two processes making, renaming and removing files beside fsmon, and looks at its memory.
#[derive(Args)]
pub(crate) struct SoakArgs {
    /// For how long
    #[arg(long, value_name = "N", default_value_t = 10)]
    minutes: u64,
    /// Where the JSON goes, some 40 MB a second; removed in the end
    #[arg(long, value_name = "DIR", default_value = "/var/tmp")]
    out: PathBuf,
    #[command(flatten)]
    program: Program,
}

/// Iterations between two looks at the memory.
const ROUND: u64 = 200_000;

/// Measures and prints; fails when a line is missing or one too many.
pub(crate) fn main(args: &SoakArgs) -> Result<bool, String> {
    let fsmon = args.program.find()?;
    let area = Area::new().map_err(|e| format!("mounting a tmpfs: {e}; it must be run as root"))?;
    let out = args.out.join(format!("fsmon-bench-soak-{}.json", std::process::id()));
    let done = soak(args, &fsmon, &area, &out);
    let _ = fs::remove_file(&out);
    done
}

fn soak(args: &SoakArgs, fsmon: &Path, area: &Area, out: &Path) -> Result<bool, String> {
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
    let (begun, mut made, mut memory) = (Instant::now(), 0, Vec::new());
    while begun.elapsed() < Duration::from_secs(60 * args.minutes) {
        let churned = workload::run_churn(Churn::USUAL, &area.watched, 2, ROUND);
        made += churned.map_err(failed)?.1;
        memory.push(running.resident_kib() as f64 / 1024.0);
        eprintln!("soak: {made} iterations, {:.1} MiB", memory.last().unwrap_or(&0.0));
    }
    let minutes = begun.elapsed().as_secs_f64() / 60.0;
    let watched = running.stop()?;
    let told = count(out).map_err(failed)?;
    let expected = Churn::USUAL.counts(made);
    let size = fs::metadata(out).map_err(failed)?.len() as f64 / f64::from(1 << 30);
    let early = memory.len().min(5);
    let spread = |memory: &[f64]| show(Spread::of(memory.to_vec()), 1, " MiB");
    let rows = [
        ["time", &format!("{minutes:.1} min")],
        ["iterations (create, write, close, rename, unlink)", &made.to_string()],
        ["lines missing or too many", &expected.differ_from(told).to_string()],
        ["JSON", &format!("{size:.1} GiB")],
        ["resident in the first rounds", &spread(&memory[..early])],
        ["resident in the last rounds", &spread(&memory[memory.len() - early..])],
        ["peak memory", &format!("{:.1} MiB", watched.rss_kib as f64 / 1024.0)],
        ["most slots of the ring in use", &watched.stats["ring_peak"].to_string()],
    ];
    let rows: Vec<Vec<String>> =
        rows.iter().map(|row| row.iter().map(|cell| (*cell).to_owned()).collect()).collect();
    println!("### soak\n\n{}", lay_out(&rows));
    Ok(told == expected)
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

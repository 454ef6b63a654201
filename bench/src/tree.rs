//! `fsmon-bench tree`: how long fsmon takes to know a large tree, beside find(1), and how much
//! memory it takes when something has happened in each of its directories.

use crate::area::Area;
use crate::args::Program;
use crate::monitor::{self, Plan, Ready};
use crate::report::{Spread, lay_out, show};
use crate::sys;
use clap::Args;
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Instant;

/// Measures the start in a large tree beside `find -type d`, and the memory that the tree takes.
#[derive(Args)]
pub(crate) struct TreeArgs {
    /// Directories
    #[arg(long, value_name = "N", default_value_t = 1_000_000, value_parser = clap::value_parser!(u64).range(1..))]
    dirs: u64,
    /// Where to make them; they are removed in the end [default: a tmpfs of its own]
    #[arg(long, value_name = "WHERE")]
    dir: Option<PathBuf>,
    /// How often each is timed
    #[arg(long, value_name = "N", default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..))]
    runs: u32,
    #[command(flatten)]
    program: Program,
}

/// Subdirectories of each directory: a million are six levels deep.
const FAN_OUT: usize = 10;
/// Names begin so, as they do in real trees; with the number behind, 13 bytes on average.
const NAMES: [&str; 6] = ["src", "include", "node_modules", "test-data", "x86_64-linux-gnu", "lib"];

/// Seconds.
struct Sample {
    elapsed: f64,
    cpu: f64,
}

/// Measures and prints the tables.
pub(crate) fn main(args: &TreeArgs) -> Result<bool, String> {
    let fsmon = args.program.find()?;
    let area = Area::new().map_err(|e| format!("mounting a tmpfs: {e}; it must be run as root"))?;
    let top = args.dir.as_deref().unwrap_or(&area.mount);
    let top = top.join(format!("fsmon-bench-tree-{}", std::process::id()));
    eprintln!("tree: making {} directories in {}", args.dirs, top.display());
    let done = measure(args, &fsmon, &top);
    let removed = fs::remove_dir_all(&top).map_err(|error| format!("{}: {error}", top.display()));
    done.and(removed).map(|()| true)
}

fn measure(args: &TreeArgs, fsmon: &Path, top: &Path) -> Result<(), String> {
    let dirs = make(top, args.dirs).map_err(|error| format!("{}: {error}", top.display()))?;
    let mut rows: [(&str, Vec<Sample>); 2] =
        [("find -type d", vec![]), ("fsmon, to ready", vec![])];
    find(top)?;
    for round in 0..args.runs {
        for (name, samples) in &mut rows {
            eprintln!("tree: {name}, {} of {}", round + 1, args.runs);
            samples.push(if name.starts_with("find") { find(top)? } else { start(fsmon, top)? });
        }
    }
    let figure = |samples: &[Sample], of: fn(&Sample) -> f64| {
        show(Spread::of(samples.iter().map(of).collect()), 2, " s")
    };
    let mut table = vec![["", "time", "CPU"].map(str::to_owned).to_vec()];
    for (name, samples) in &rows {
        let time = figure(samples, |sample| sample.elapsed);
        table.push(vec![(*name).into(), time, figure(samples, |sample| sample.cpu)]);
    }
    println!("### tree\n\n{} directories, {FAN_OUT} in each.\n\n{}", args.dirs, lay_out(&table));
    let mut table = vec![
        ["format", "peak memory, a file made and removed in each"].map(str::to_owned).to_vec(),
    ];
    for format in ["json", "binary"] {
        eprintln!("tree: a file in each directory, beside fsmon --format {format}");
        let running = monitor::launch(plan(fsmon, format, top), Stdio::null())?;
        touch(&dirs).map_err(|error| error.to_string())?;
        let watched = running.stop()?;
        table.push(vec![format.into(), format!("{:.0} MiB", watched.rss_kib as f64 / 1024.0)]);
    }
    println!("{}", lay_out(&table));
    Ok(())
}

/// Makes so many directories, the top one included.
fn make(top: &Path, count: u64) -> io::Result<Vec<PathBuf>> {
    fs::create_dir(top)?;
    let mut dirs = vec![top.to_path_buf()];
    for i in 1..usize::try_from(count).map_err(io::Error::other)? {
        let dir = dirs[(i - 1) / FAN_OUT].join(format!("{}{i:x}", NAMES[i % NAMES.len()]));
        fs::create_dir(&dir)?;
        dirs.push(dir);
    }
    Ok(dirs)
}

fn touch(dirs: &[PathBuf]) -> io::Result<()> {
    for dir in dirs {
        let file = dir.join("file");
        drop(File::create(&file)?);
        fs::remove_file(&file)?;
    }
    Ok(())
}

fn find(top: &Path) -> Result<Sample, String> {
    let (begun, cpu_ns) = (Instant::now(), sys::family_cpu_ns());
    let mut command = Command::new("find");
    command.arg(top).args(["-type", "d"]).stdin(Stdio::null()).stdout(Stdio::null());
    let status = command.status().map_err(|error| format!("find: {error}"))?;
    let cpu = (sys::family_cpu_ns() - cpu_ns) as f64 / 1e9;
    let sample = Sample { elapsed: begun.elapsed().as_secs_f64(), cpu };
    if status.success() { Ok(sample) } else { Err(format!("find: {status}")) }
}

fn start(fsmon: &Path, top: &Path) -> Result<Sample, String> {
    let begun = Instant::now();
    let running = monitor::launch(plan(fsmon, "json", top), Stdio::null())?;
    let elapsed = begun.elapsed().as_secs_f64();
    let cpu = running.cpu_ready_ns as f64 / 1e9;
    running.stop()?;
    Ok(Sample { elapsed, cpu })
}

fn plan(fsmon: &Path, format: &str, top: &Path) -> Plan {
    let mut command = Command::new(fsmon);
    command.args(["--format", format]).arg(top);
    Plan::new(command, Ready::Line("fsmon: ready"), None)
}

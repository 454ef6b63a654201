//! `fsmon-bench tree`: how long fsmon takes to know a large tree, beside find(1), and how much
//! memory it takes when something has happened in each of its directories.

use crate::area::Area;
use crate::args::Program;
use crate::monitor::{self, Plan, Ready};
use crate::results::keep::Keep;
use crate::results::{Figures, Measured, Verdict};
use crate::start::Sample;
use crate::sys;
use crate::table::{self, Spread, Table, show};
use clap::Args;
use fsmon_format::number::to_ns;
use serde::{Deserialize, Serialize};
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
    /// Where to make them; they are removed in the end [default: a new tmpfs]
    #[arg(long, value_name = "WHERE")]
    dir: Option<PathBuf>,
    /// How often each is timed
    #[arg(long, value_name = "N", default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..))]
    runs: u32,
    #[command(flatten)]
    pub(crate) keep: Keep,
    #[command(flatten)]
    program: Program,
}

/// Subdirectories of each directory: a million are six levels deep.
const FAN_OUT: usize = 10;
/// Names begin so, as they do in real trees; with the number behind, 13 bytes on average.
const NAMES: [&str; 6] = ["src", "include", "node_modules", "test-data", "x86_64-linux-gnu", "lib"];

/// What a large tree takes.
#[derive(Serialize, Deserialize)]
pub(crate) struct Tree {
    dirs: u64,
    /// In each directory.
    fan_out: usize,
    starts: Vec<Start>,
    memory: Vec<Memory>,
}

/// How long it takes to get through the tree.
#[derive(Serialize, Deserialize)]
struct Start {
    name: String,
    samples: Vec<Sample>,
}

/// What fsmon needs when something has happened in each directory.
#[derive(Serialize, Deserialize)]
struct Memory {
    format: String,
    peak_kib: u64,
}

/// Measures and prints the tables.
pub(crate) fn measure(args: &TreeArgs) -> Result<Measured, String> {
    let fsmon = args.program.find()?;
    let area = Area::new().map_err(|e| format!("mounting a tmpfs: {e}; it must be run as root"))?;
    let top = args.dir.as_deref().unwrap_or(&area.mount);
    let top = top.join(format!("fsmon-bench-tree-{}", std::process::id()));
    eprintln!("tree: making {} directories in {}", args.dirs, top.display());
    let done = tree(args, &fsmon, &top);
    let removed = fs::remove_dir_all(&top).map_err(|error| format!("{}: {error}", top.display()));
    let tree = done?;
    removed?;
    let figures = Figures { tree: Some(tree), ..Figures::default() };
    table::print(&figures.tables());
    Ok(Measured { figures, verdict: Verdict::Right })
}

fn tree(args: &TreeArgs, fsmon: &Path, top: &Path) -> Result<Tree, String> {
    let dirs = make(top, args.dirs).map_err(|error| format!("{}: {error}", top.display()))?;
    let starts = starts(args.runs, fsmon, top)?;
    let mut memory = Vec::new();
    for format in ["json", "binary"] {
        eprintln!("tree: a file in each directory, beside fsmon --format {format}");
        let running = monitor::launch(plan(fsmon, format, top), Stdio::null())?;
        touch(&dirs).map_err(|error| error.to_string())?;
        memory.push(Memory { format: format.into(), peak_kib: running.stop()?.rss_kib });
    }
    Ok(Tree { dirs: args.dirs, fan_out: FAN_OUT, starts, memory })
}

/// Times find(1) and fsmon in turn. A first find(1) warms the cache up and is not counted.
fn starts(runs: u32, fsmon: &Path, top: &Path) -> Result<Vec<Start>, String> {
    let (mut by_find, mut by_fsmon) = (Vec::new(), Vec::new());
    find(top)?;
    for run in 1..=runs {
        eprintln!("tree: find and fsmon, {run} of {runs}");
        by_find.push(find(top)?);
        by_fsmon.push(Sample::of(plan(fsmon, "json", top))?);
    }
    let start = |name: &str, samples| Start { name: name.to_owned(), samples };
    Ok(vec![start("find -type d", by_find), start("fsmon, to ready", by_fsmon)])
}

impl Tree {
    /// The start, and the memory.
    pub(crate) fn tables(&self) -> [Table; 2] {
        let Tree { dirs, fan_out, .. } = self;
        let mut start = Table::new("start", &["", "time", "CPU"]);
        start.note = Some(format!("{dirs} directories, {fan_out} in each."));
        for Start { name, samples } in &self.starts {
            let figure = |of: fn(&Sample) -> u64| {
                show(Spread::of(samples.iter().map(|s| of(s) as f64 / 1e9)), 2, " s")
            };
            start.push(vec![name.clone(), figure(|s| s.elapsed_ns), figure(|s| s.cpu_ns)]);
        }
        let mut memory =
            Table::new("memory", &["format", "peak memory, a file made and removed in each"]);
        for Memory { format, peak_kib } in &self.memory {
            memory.push(vec![format.clone(), format!("{:.0} MiB", *peak_kib as f64 / 1024.0)]);
        }
        [start, memory]
    }
}

/// Makes `count` directories, the top one included.
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
    let cpu_ns = sys::family_cpu_ns() - cpu_ns;
    let sample = Sample { elapsed_ns: to_ns(begun.elapsed()), cpu_ns };
    if status.success() { Ok(sample) } else { Err(format!("find: {status}")) }
}

fn plan(fsmon: &Path, format: &str, top: &Path) -> Plan {
    let mut command = Command::new(fsmon);
    command.args(["--format", format]).arg(top);
    Plan::new(command, Ready::Line("fsmon: ready"), None)
}

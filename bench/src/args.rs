//! The command line.

use crate::codecs::CodecsArgs;
use crate::cores::CoresArgs;
use crate::forks::ForksArgs;
use crate::latency;
use crate::monitor::{self, Format, Monitor, Programs};
use crate::report::ReportArgs;
use crate::results::keep::{Keep, Otherwise};
use crate::series::args::WhoArgs;
use crate::soak::SoakArgs;
use crate::start::StartArgs;
use crate::streams::StreamsArgs;
use crate::tree::TreeArgs;
use crate::workload::{self, Workload};
use clap::{Parser, Subcommand};
use std::path::{Path, PathBuf};
use std::process;

/// Run workloads beside monitors on this machine and print a table of the costs
#[derive(Parser)]
#[command(name = "fsmon-bench", version, args_conflicts_with_subcommands = true)]
pub(crate) struct Args {
    #[command(subcommand)]
    pub(crate) command: Option<Command>,
    /// Small workloads, once: to see that everything works
    #[arg(long)]
    pub(crate) quick: bool,
    /// Only workloads whose name begins so; repeatable
    #[arg(long, value_name = "NAME")]
    workload: Vec<String>,
    /// Only monitors whose name begins so; repeatable; none and floor are always there
    #[arg(long, value_name = "NAME")]
    monitor: Vec<String>,
    /// How often each is run [default: 5; 1 with --quick]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    repeat: Option<u32>,
    #[command(flatten)]
    pub(crate) keep: Keep,
    /// The tree to unpack [default: the sources cargo has fetched, or Python's library]
    #[arg(long, value_name = "DIR")]
    pub(crate) tree: Option<PathBuf>,
    /// Workload and monitors on a CPU each, or on the same one: what the scheduler does is no part of
    /// the figures then
    #[arg(long, value_enum)]
    pub(crate) place: Option<Placing>,
    #[command(flatten)]
    program: Program,
    /// fsmon with other arguments, too, as a monitor of its own: `--with 'json --batch-window 4ms'`
    #[arg(long, value_name = "FORMAT ARGS")]
    with: Vec<String>,
    /// A fsmon 0.2.6 to compare with (`cargo install fsmon --version 0.2.6 --root DIR`)
    #[arg(long, value_name = "PATH")]
    fsmon_old: Option<PathBuf>,
}

/// The CPUs of workload and monitors.
#[derive(Clone, Copy, PartialEq, Eq, Debug, clap::ValueEnum)]
pub(crate) enum Placing {
    /// The workload on the first, monitors on the last
    Apart,
    /// All on the last
    Together,
}

/// The other commands.
#[derive(Subcommand)]
pub(crate) enum Command {
    /// Compare every record with what short-lived processes know about themselves, in many runs
    Who(WhoArgs),
    /// Measure the cost of attribution: CPU per fork, exec and exit, without and with fsmon
    Forks(ForksArgs),
    /// Measure the start in a small tree: the time until fsmon is ready, with each kind of source of names
    Start(StartArgs),
    /// Measure a large tree: the start beside `find -type d`, and the memory that it takes
    Tree(TreeArgs),
    /// Simulate more cores than there are, with the costs of an event measured here
    Cores(CoresArgs),
    /// Minutes of the heaviest churn: whether something is lost or grows
    Soak(SoakArgs),
    /// Binary streams: bytes an event in real builds, and how quickly they are read
    Streams(StreamsArgs),
    /// What each codec makes of recorded streams: bytes and CPU time for an event
    Codecs(CodecsArgs),
    /// Make the tables of PERF.md and docs/perf from bench/results
    Report(ReportArgs),
}

/// The fsmon to measure.
#[derive(clap::Args)]
pub(crate) struct Program {
    /// The fsmon to measure [default: the one of this workspace, built first]
    #[arg(long, value_name = "PATH")]
    fsmon: Option<PathBuf>,
}

impl Program {
    /// Its path.
    pub(crate) fn find(&self) -> Result<PathBuf, String> {
        self.fsmon.as_deref().map_or_else(build, existing)
    }
}

impl Args {
    pub(crate) fn repeat(&self) -> u32 {
        self.repeat.unwrap_or(if self.quick { 1 } else { 5 })
    }

    /// The file of results if the command line names none.
    pub(crate) fn otherwise(&self) -> Otherwise {
        if self.quick { Otherwise::Nowhere } else { Otherwise::Unnamed }
    }

    /// The requested workloads.
    pub(crate) fn workloads(&self) -> Result<Vec<Workload>, String> {
        let names: Vec<String> = self
            .workload
            .iter()
            .filter(|name| !latency::NAME.starts_with(name.as_str()))
            .cloned()
            .collect();
        if names.is_empty() && !self.workload.is_empty() {
            return Ok(vec![]);
        }
        chosen(&workload::ALL, Workload::name, &names, "workload")
    }

    /// Whether the time from a change to its line is to be measured.
    pub(crate) fn latency(&self) -> bool {
        self.workload.is_empty()
            || self.workload.iter().any(|name| latency::NAME.starts_with(name.as_str()))
    }

    /// The requested monitors, whether their programs exist or not.
    pub(crate) fn monitors(&self) -> Result<Vec<Monitor>, String> {
        let mut names = self.monitor.clone();
        if !names.is_empty() {
            names.extend(["none".into(), "floor".into()]);
        }
        let mut monitors = chosen(&monitor::ALL, Monitor::name, &names, "monitor")?;
        for words in &self.with {
            monitors.push(with(words)?);
        }
        Ok(monitors)
    }

    /// Finds the programs, fsmon by building it.
    pub(crate) fn programs(&self) -> Result<Programs, String> {
        Ok(Programs {
            fsmon: Some(self.program.find()?),
            fatrace: on_path("fatrace"),
            inotifywait: on_path("inotifywait"),
            fsnotifywait: on_path("fsnotifywait"),
            auditd: on_path("auditctl").and(on_path("auditd")),
            bpftrace: on_path("bpftrace"),
            fsmon_old: self.fsmon_old.as_deref().map(existing).transpose()?,
        })
    }
}

/// The words stay in memory for as long as this runs.
fn with(words: &str) -> Result<Monitor, String> {
    let (format, words) = words.split_once(' ').unwrap_or((words, ""));
    let format = Format::named(format).ok_or_else(|| {
        format!("--with begins with json, csv, binary or human, not with {format}")
    })?;
    Ok(Monitor::With(format, words.to_owned().leak()))
}

fn chosen<T: Copy>(
    all: &[T],
    name: impl Fn(T) -> String,
    beginnings: &[String],
    what: &str,
) -> Result<Vec<T>, String> {
    if let Some(beginning) =
        beginnings.iter().find(|b| !all.iter().any(|one| name(*one).starts_with(b.as_str())))
    {
        let names: Vec<String> = all.iter().map(|one| name(*one)).collect();
        return Err(format!("no {what} begins with {beginning}; there are {}", names.join(", ")));
    }
    let wanted = |one: &T| {
        beginnings.is_empty() || beginnings.iter().any(|b| name(*one).starts_with(b.as_str()))
    };
    Ok(all.iter().copied().filter(wanted).collect())
}

fn existing(path: &Path) -> Result<PathBuf, String> {
    path.canonicalize().map_err(|error| format!("{}: {error}", path.display()))
}

/// Builds fsmon as it is released and gives its path.
fn build() -> Result<PathBuf, String> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().ok_or("no workspace")?;
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let status = process::Command::new(cargo)
        .args(["build", "--release", "--quiet", "--package", "fsmon", "--bin", "fsmon"])
        .current_dir(root)
        .status()
        .map_err(|error| format!("cargo: {error}; name a built fsmon with --fsmon"))?;
    if !status.success() {
        return Err("fsmon could not be built".into());
    }
    let target = std::env::var_os("CARGO_TARGET_DIR").map(PathBuf::from);
    let target = target.map_or_else(|| root.join("target"), |target| root.join(target));
    existing(&target.join("release/fsmon"))
}

fn on_path(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    let sbin = [PathBuf::from("/usr/sbin"), PathBuf::from("/sbin")];
    let dirs = std::env::split_paths(&path).chain(sbin);
    dirs.map(|dir| dir.join(name)).find(|file| file.is_file())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_definitions_hold_together() {
        <Args as clap::CommandFactory>::command().debug_assert();
    }

    #[test]
    fn names_choose_by_their_beginning() {
        let args = Args::parse_from(["fsmon-bench", "--workload", "churn", "--monitor", "fatrace"]);
        assert_eq!(args.workloads().expect("there are some").len(), 3);
        let expected = vec![Monitor::None, Monitor::Floor, Monitor::Fatrace];
        assert_eq!(args.monitors().expect("there are some"), expected);
        let wrong = Args::parse_from(["fsmon-bench", "--workload", "chrun"]);
        assert!(wrong.workloads().expect_err("no such workload").contains("churn-1"));
    }
}

//! The arguments of the commands that talk to a running daemon.

use super::{condition, help, number};
use crate::limits::DEPTH_MAX;
use clap::{Args, ValueEnum};
use fsmon_present::duration;
use fsmon_present::size::{self, Size};
use std::path::PathBuf;
use std::time::Duration;

/// Which daemon, and how its answer is printed.
#[derive(Args, Debug)]
pub(crate) struct ClientArgs {
    /// Output format [default: human]
    #[arg(short, long, value_enum, default_value_t, hide_default_value = true)]
    pub(crate) format: Shape,
    /// The daemon's control socket
    #[arg(long, value_name = "PATH", env = "FSMON_SOCKET", hide_env_values = true,
          default_value = fsmon_service::control::DEFAULT_SOCKET)]
    pub(crate) socket: PathBuf,
}

/// How an answer is printed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum Shape {
    /// Lines for people
    #[default]
    Human,
    /// JSON
    Json,
}

#[derive(Args, Debug)]
#[command(after_help = help::add())]
pub(crate) struct AddArgs {
    /// Directories to watch; one that does not exist yet is watched from when it appears
    #[arg(value_name = "PATH", required = true)]
    pub(crate) paths: Vec<PathBuf>,
    /// Record only these event types, and MODIFY, which is always recorded
    #[arg(short, long, value_name = "TYPE", value_delimiter = ',')]
    pub(crate) types: Vec<String>,
    /// Record only paths that match
    #[arg(long, value_name = "GLOB")]
    pub(crate) include: Vec<String>,
    /// Leave out paths that match, and everything below them
    #[arg(long, value_name = "GLOB")]
    pub(crate) exclude: Vec<String>,
    /// Record only paths in which this regular expression is found
    #[arg(long, value_name = "REGEX")]
    pub(crate) include_regex: Vec<String>,
    /// Leave out paths in which this regular expression is found
    #[arg(long, value_name = "REGEX")]
    pub(crate) exclude_regex: Vec<String>,
    /// Leave out what commands of this name do
    #[arg(long, value_name = "GLOB")]
    pub(crate) exclude_cmd: Vec<String>,
    /// Watch direct children only
    #[arg(long)]
    pub(crate) no_recursive: bool,
    /// Watch no deeper than N names below each PATH; 1 is what is directly in it
    #[arg(long, value_name = "N", conflicts_with = "no_recursive", allow_hyphen_values = true,
          value_parser = number(1..=DEPTH_MAX))]
    pub(crate) max_depth: Option<u32>,
    /// Leave out regular files whose size does not meet COND when the change is recorded: >=1M, <64K, =0
    #[arg(long, value_name = "COND", allow_hyphen_values = true, value_parser = condition)]
    pub(crate) size: Option<Size>,
    /// End the watch with the daemon: do not keep it in the daemon's state file
    #[arg(long)]
    pub(crate) runtime: bool,
    #[command(flatten)]
    pub(crate) client: ClientArgs,
}

#[derive(Args, Debug)]
pub(crate) struct RemoveArgs {
    /// Paths as they were added
    #[arg(value_name = "PATH", required = true)]
    pub(crate) paths: Vec<PathBuf>,
    #[command(flatten)]
    pub(crate) client: ClientArgs,
}

#[derive(Args, Debug)]
#[command(after_help = help::IMPORT)]
pub(crate) struct ImportArgs {
    /// Files of fsmon 0.2.6 or 0.5: fsmon.toml, managed.jsonl, monitored.jsonl [default: those in the home directory]
    #[arg(value_name = "FILE")]
    pub(crate) files: Vec<PathBuf>,
    /// Write to FILE, which must not exist yet [default: `-`, standard output]
    #[arg(short, long, value_name = "FILE", default_value = "-", hide_default_value = true)]
    pub(crate) output: PathBuf,
    /// With -o FILE: replace FILE if it exists
    #[arg(long)]
    pub(crate) force: bool,
}

#[derive(Args, Debug)]
#[command(after_help = help::clean())]
pub(crate) struct CleanArgs {
    /// Only say what would be deleted
    #[arg(long)]
    pub(crate) dry_run: bool,
    /// Delete segments whose last record is older than this [default: as the configuration says]
    #[arg(long, value_name = "TIME", value_parser = duration::parse)]
    pub(crate) age: Option<Duration>,
    /// Delete the oldest segments until all together are at most this large [default: as the configuration says]
    #[arg(long, value_name = "SIZE", value_parser = size)]
    pub(crate) size: Option<u64>,
    #[command(flatten)]
    pub(crate) client: ClientArgs,
}

fn size(text: &str) -> Result<u64, String> {
    size::bytes(text).ok_or_else(|| "write a size like 10G".to_owned())
}

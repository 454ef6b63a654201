//! The arguments.

use clap::{Parser, ValueEnum};
use fsmon_present::arguments::print_help;
use fsmon_present::message;
use std::path::PathBuf;
use std::process::ExitCode;

const AFTER_HELP: &str = "\
A directory stands for its *.fsmon files. Files are read in the order of their headers: segments of a \
stream one after the other.

Damaged parts of the input are skipped and reported; everything else is converted, and the exit status \
is 1.";

/// The command line.
#[derive(Debug, Parser)]
#[command(name = "fsmon-convert", bin_name = "fsmon convert", version, after_help = AFTER_HELP)]
#[command(about = "Convert binary streams for other programs", max_term_width = 100)]
pub(crate) struct Args {
    /// Output format
    #[arg(long, value_name = "FORMAT", value_enum)]
    pub(crate) to: Format,
    /// Write to FILE, which appears once it is whole; `-` is standard output. With --partition, the
    /// directory to write into
    #[arg(short, long, value_name = "FILE|DIR", default_value = "-", hide_default_value = true)]
    pub(crate) output: PathBuf,
    /// Parquet: a file for each day (UTC) and host, in directories day=2026-11-23/host=build7
    #[arg(long, value_name = "day,host", value_enum, value_delimiter = ',')]
    pub(crate) partition: Vec<Key>,
    /// Binary streams: files, directories of segments, `-` for standard input
    #[arg(value_name = "INPUT", required = true)]
    pub(crate) inputs: Vec<PathBuf>,
}

/// The output formats.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    /// Columns, for DuckDB, pandas and other readers of Parquet
    Parquet,
    /// A trace, for ui.perfetto.dev
    Perfetto,
    /// Lines, as `fsmon decode -f csv --cmdline` prints them
    Csv,
    /// Lines, as `fsmon decode -f json --cmdline` prints them
    Json,
}

/// Keys of partitions.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Key {
    /// The day in UTC
    Day,
    /// The host's name
    Host,
}

/// Prints help and version unchanged, and any error as one line. Returns the exit code.
pub(crate) fn explain(error: &clap::Error) -> ExitCode {
    if let Some(code) = print_help(error) {
        return code;
    }
    let rendered = error.to_string();
    let lines = rendered.lines().take_while(|line| !line.starts_with("Usage"));
    let words: Vec<_> = lines.map(str::trim).filter(|line| !line.is_empty()).collect();
    let line = words.join(" ");
    message::print(format_args!(
        "{}; see fsmon convert --help",
        line.trim_start_matches("error: ")
    ));
    ExitCode::from(2)
}

//! The arguments.

use clap::{Parser, ValueEnum};
use fsmon_present::arguments::{one_line, print_help};
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
    message::print(one_line(error, "fsmon convert --help"));
    ExitCode::from(2)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_are_one_line_with_the_remedy() {
        for (args, line) in [
            (
                &[][..],
                "arguments were not provided: --to <FORMAT> <INPUT>...; see fsmon convert --help",
            ),
            (&["--to", "pdf", "x"], "'--to <FORMAT>'; write one of parquet, perfetto, csv, json"),
            (&["--nonsense"], "unexpected argument '--nonsense' found; see fsmon convert --help"),
            (&["--too", "csv", "x"], "unexpected argument '--too' found; did you mean --to?"),
        ] {
            let error = Args::try_parse_from([&["fsmon-convert"], args].concat());
            let said = one_line(&error.expect_err("invalid"), "fsmon convert --help");
            assert!(said.ends_with(line), "{args:?}: {said}");
        }
    }
}

//! The command line of fsmon.
//!
//! ```text
//!  engine ═ ring ═► pipeline: define → filter → output ──► sink ──► file, pipe, terminal
//!  file ──► reader ─┘                          human · json · csv · binary
//! ```
//!
//! Live and recorded changes take the same way: the pipeline is fed records, and neither it nor
//! what comes after it knows where they come from.

mod args;
mod binary;
#[doc(hidden)]
pub mod control;
mod convert;
mod decode;
mod doctor;
mod duration;
mod filter;
#[doc(hidden)]
pub mod formats;
mod formatter;
mod generate;
mod limits;
mod moment;
mod names;
mod outputs;
mod parts;
mod pipeline;
mod recording;
mod segments;
mod sink;
mod stats;
mod summary;
mod target;
#[doc(hidden)]
pub mod tell;
mod text;
mod usage;
mod users;
mod wall;
mod watch;
mod world;

use args::{Cli, Command};
use clap::Parser;
use fsmon_engine::Error;
use std::process::ExitCode;
use tell::tell;

/// Runs `fsmon` with the arguments of this process and says with which code to exit:
/// 0 done, 1 an error that a line on standard error explains, 2 wrong usage, 130 a second signal.
#[must_use]
pub fn main() -> ExitCode {
    tell::tell_panics();
    control::survive_file_limit();
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => return args::explain(&tell::with_arguments_escaped(error)),
    };
    if let Err(wrong) = usage::check(&cli) {
        tell(wrong);
        return ExitCode::from(2);
    }
    match run(&cli) {
        Ok(code) => code,
        Err(error) => {
            tell(&error);
            ExitCode::FAILURE
        }
    }
}

fn run(cli: &Cli) -> Result<ExitCode, Error> {
    match &cli.command {
        None => watch::run(&cli.watch),
        Some(Command::Decode(args)) => decode::run(args).map(|()| ExitCode::SUCCESS),
        Some(Command::Convert(args)) => convert::run(args).map(|()| ExitCode::SUCCESS),
        Some(Command::Doctor(args)) => doctor::run(args),
        Some(Command::Generate(args)) => generate::run(args).map(|()| ExitCode::SUCCESS),
    }
}

//! The command line of fsmon.
//!
//! ```text
//!  engine ═ ring ═► pipeline: define → filter → output ──► sink ──► file, pipe, terminal
//!  file ──► reader ─┘                          human · json · csv · binary
//! ```
//!
//! Live and recorded changes take the same path: the pipeline takes records, and neither it nor what follows knows
//! where they come from.

mod args;
mod changes;
mod client;
mod control;
mod convert;
mod daemon;
mod decode;
mod doctor;
mod formatter;
mod generate;
mod header;
mod history;
mod import;
mod index;
mod limits;
mod lines;
mod outputs;
mod parts;
mod query;
mod reading;
mod remedies;
mod sink;
mod skip;
mod stats;
mod summary;
mod target;
mod usage;
mod watch;
mod who;

use args::{Cli, Command};
use clap::Parser;
use fsmon_engine::Error;
use fsmon_present::arguments::with_arguments_escaped;
use fsmon_present::message::{self, print_panics};
use fsmon_service::control::protocol::Command as ToDaemon;
use std::process::ExitCode;

/// Runs `fsmon` with the arguments of this process. Returns the exit code: 0 done, 1 an error that a line on
/// standard error explains, 2 wrong usage, 130 a second signal.
#[must_use]
pub fn main() -> ExitCode {
    print_panics();
    fsmon_store::survive_file_limit();
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => return args::explain(&with_arguments_escaped(error)),
    };
    if let Err(wrong) = usage::check(&cli) {
        message::print(wrong);
        return ExitCode::from(2);
    }
    match run(&cli) {
        Ok(code) => code,
        Err(error) => {
            message::print(remedies::error(&error));
            ExitCode::FAILURE
        }
    }
}

fn run(cli: &Cli) -> Result<ExitCode, Error> {
    match &cli.command {
        None => watch::run(&cli.watch),
        Some(Command::Decode(args)) => decode::run(args).map(|()| ExitCode::SUCCESS),
        Some(Command::Convert(args)) => convert::run(args).map(|()| ExitCode::SUCCESS),
        Some(Command::Who(args)) => who::run(args),
        Some(Command::Index(args)) => index::run(args).map(|()| ExitCode::SUCCESS),
        Some(Command::Changes(args)) => changes::run(args),
        Some(Command::Query(args)) => query::run(args),
        Some(Command::Daemon(args)) => daemon::run(args),
        Some(Command::Add(args)) => client::add(args),
        Some(Command::Remove(args)) => client::remove(args),
        Some(Command::List(args)) => client::list(args),
        Some(Command::Status(args)) => client::status(args),
        Some(Command::Clean(args)) => client::clean(args),
        Some(Command::Flush(args)) => client::cursor(args, &ToDaemon::Flush),
        Some(Command::Sync(args)) => client::cursor(args, &ToDaemon::Sync),
        Some(Command::Import(args)) => import::run(args),
        Some(Command::Doctor(args)) => doctor::run(args),
        Some(Command::Generate(args)) => generate::run(args).map(|()| ExitCode::SUCCESS),
    }
}

//! `fsmon daemon`: reads the configuration, and runs the daemon or says what it would do.

use crate::args::DaemonArgs;
use crate::watch::keep_pages_small;
use fsmon_engine::{Error, ErrorKind};
use fsmon_present::message::{self, shown};
use fsmon_service::preview::Preview;
use fsmon_service::{Config, State};
use std::io::{self, Write};
use std::process::ExitCode;

/// The exit code of a configuration that is wrong, as of wrong usage.
const WRONG: u8 = 2;

/// Runs the daemon, or with `--check` prints what it would watch. A wrong configuration is a line, and exit code 2.
///
/// # Errors
/// The configuration cannot be read, or must not be believed; the daemon fails.
pub(crate) fn run(args: &DaemonArgs) -> Result<ExitCode, Error> {
    if args.recorder {
        keep_pages_small();
        return fsmon_service::record().map(|()| ExitCode::SUCCESS);
    }
    let config = match Config::load(&args.config) {
        Ok(config) => config,
        Err(error) if error.kind() == ErrorKind::Invalid => return Ok(wrong(&error)),
        Err(error) => return Err(error),
    };
    if args.check {
        return check(args, &config);
    }
    match fsmon_service::run(&args.config, &config) {
        Ok(()) => Ok(ExitCode::SUCCESS),
        // Another start would fail in the same way.
        Err(error) if is_for_good(error.kind()) => Ok(wrong(&error)),
        Err(error) => Err(error),
    }
}

/// Whether no restart can mend it.
fn is_for_good(kind: ErrorKind) -> bool {
    matches!(kind, ErrorKind::Permission | ErrorKind::Unsupported | ErrorKind::Invalid)
}

fn check(args: &DaemonArgs, config: &Config) -> Result<ExitCode, Error> {
    let notes = match config.check_host() {
        Ok(notes) => notes,
        Err(error) => {
            let name = shown(&args.config);
            return Ok(wrong(&error.after(format!("{name}: "))));
        }
    };
    notes.iter().for_each(message::print);
    let state = State::load(&config.state.file).unwrap_or_else(|error| {
        message::print(format_args!("{error}; without what was added"));
        State::default()
    });
    let text = Preview::new(config, &state).to_string();
    match io::stdout().write_all(text.as_bytes()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            Err(Error::os("cannot write to standard output", error))
        }
        _ => Ok(ExitCode::SUCCESS),
    }
}

fn wrong(error: &Error) -> ExitCode {
    message::print(error);
    ExitCode::from(WRONG)
}

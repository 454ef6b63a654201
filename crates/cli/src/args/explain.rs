//! Errors in the arguments, for users.

use super::Cli;
use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::{Command, CommandFactory};
use fsmon_present::arguments::{one_line, print_help};
use fsmon_present::message;
use std::ffi::OsStr;
use std::process::ExitCode;

/// The command that watches: the program without a subcommand.
const WATCH: &str = "fsmon";

/// Prints help and version unchanged, and any error as one line. Returns the exit code.
pub(crate) fn explain(error: &clap::Error) -> ExitCode {
    if let Some(code) = print_help(error) {
        return code;
    }
    message::print(line(error, std::env::args_os().nth(1).as_deref()));
    ExitCode::from(2)
}

/// The line of an error. `first` is the first argument: a subcommand is possible only there.
pub(super) fn line(error: &clap::Error, first: Option<&OsStr>) -> String {
    let command = Cli::command();
    let used = first.and_then(|word| command.find_subcommand(word)).unwrap_or(&command);
    let name = full_name(used);
    match elsewhere(error, &command) {
        Some((option, owner)) if owner == WATCH => {
            format!("{name} has no option {option}, which only fsmon PATH has; see {name} --help")
        }
        Some((option, owner)) => {
            format!("{name} has no option {option}, but {owner} has; see {owner} --help")
        }
        None => one_line(error, &format!("{name} --help")),
    }
}

/// If an unknown option exists in another command: the option and that command. clap would suggest one of
/// similar spelling.
fn elsewhere<'a>(error: &'a clap::Error, command: &Command) -> Option<(&'a str, String)> {
    let (ErrorKind::UnknownArgument, Some(ContextValue::String(option))) =
        (error.kind(), error.get(ContextKind::InvalidArg))
    else {
        return None;
    };
    let all = std::iter::once(command).chain(command.get_subcommands());
    let owner = all.into_iter().find(|command| has(command, option))?;
    Some((option, full_name(owner)))
}

fn has(command: &Command, option: &str) -> bool {
    command.get_arguments().any(|argument| match option.strip_prefix("--") {
        Some(long) => argument.get_long() == Some(long),
        None => argument.get_short().is_some_and(|short| option == format!("-{short}")),
    })
}

/// What a user types to run a command.
fn full_name(command: &Command) -> String {
    match command.get_name() {
        WATCH => WATCH.to_owned(),
        name => format!("fsmon {name}"),
    }
}

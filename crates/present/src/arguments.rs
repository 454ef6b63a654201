//! What the programs of fsmon do alike with errors of their arguments.

use crate::tell::{line, tell};
use clap::error::{ContextValue, ErrorKind};
use std::io;
use std::process::ExitCode;

/// Escapes the arguments that an error is about: rendered as they are they would lose what is in
/// them of escape sequences, and break the line.
#[must_use]
pub fn with_arguments_escaped(mut error: clap::Error) -> clap::Error {
    let strings = error.context().filter_map(|(kind, value)| match value {
        ContextValue::String(text) if line(text) != *text => Some((kind, line(text))),
        _ => None,
    });
    for (kind, text) in strings.collect::<Vec<_>>() {
        error.insert(kind, ContextValue::String(text));
    }
    error
}

/// What was asked for is help or the version: prints that as it is and says how to exit; `None` for an error.
#[must_use]
pub fn print_help(error: &clap::Error) -> Option<ExitCode> {
    if !matches!(error.kind(), ErrorKind::DisplayHelp | ErrorKind::DisplayVersion) {
        return None;
    }
    Some(match error.print() {
        // A reader that closed the pipe has read enough of the help.
        Err(failed) if failed.kind() != io::ErrorKind::BrokenPipe => {
            tell(format_args!("cannot write to standard output: {failed}"));
            ExitCode::FAILURE
        }
        _ => ExitCode::SUCCESS,
    })
}

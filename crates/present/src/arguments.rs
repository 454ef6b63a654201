//! How all programs of fsmon handle errors in their arguments.

use crate::message::{self, line};
use clap::error::{ContextValue, ErrorKind};
use std::io;
use std::process::ExitCode;

/// Escapes the arguments that an error is about. Rendered unescaped they would lose their escape
/// sequences and break the line.
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

/// If the user asked for help or the version: prints it and returns the exit code. `None` for an error.
#[must_use]
pub fn print_help(error: &clap::Error) -> Option<ExitCode> {
    if !matches!(error.kind(), ErrorKind::DisplayHelp | ErrorKind::DisplayVersion) {
        return None;
    }
    Some(match error.print() {
        // A pager may close the pipe early: that is no error.
        Err(failed) if failed.kind() != io::ErrorKind::BrokenPipe => {
            message::print(format_args!("cannot write to standard output: {failed}"));
            ExitCode::FAILURE
        }
        _ => ExitCode::SUCCESS,
    })
}

//! How all programs of fsmon handle errors in their arguments.

use crate::message::{self, line};
use clap::error::{ContextKind, ContextValue, ErrorKind};
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

/// An error as one line. `help` is the command that prints the help: what to type where the line has no better remedy.
#[must_use]
pub fn one_line(error: &clap::Error, help: &str) -> String {
    let what = what(error);
    if let Some(suggestion) = suggestion(error) {
        return format!("{what}; did you mean {suggestion}?");
    }
    match (error.kind(), error.get(ContextKind::ValidValue)) {
        (_, Some(ContextValue::Strings(values))) if !values.is_empty() => {
            format!("{what}; write one of {}", values.join(", "))
        }
        (ErrorKind::ArgumentConflict, _) => format!("{what}; leave one out, or see {help}"),
        _ => format!("{what}; see {help}"),
    }
}

/// What is wrong, without remedies: the first line of what clap prints, and the arguments that it lists below.
fn what(error: &clap::Error) -> String {
    let rendered = error.to_string();
    let mut lines = rendered.lines();
    let first = lines.next().unwrap_or_default();
    let mut what = first.strip_prefix("error: ").unwrap_or(first).trim_end().to_owned();
    if what.ends_with(':') {
        for argument in lines.take_while(|line| !line.is_empty()) {
            what = format!("{what} {}", argument.trim());
        }
    }
    what
}

/// What the user may have meant.
fn suggestion(error: &clap::Error) -> Option<&str> {
    let kinds = [ContextKind::SuggestedArg, ContextKind::SuggestedValue];
    kinds.into_iter().find_map(|kind| match error.get(kind) {
        Some(ContextValue::String(text)) => Some(text.as_str()),
        Some(ContextValue::Strings(texts)) => texts.first().map(String::as_str),
        _ => None,
    })
}

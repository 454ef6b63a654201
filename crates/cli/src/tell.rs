//! Lines for the user, on standard error. All of fsmon's messages pass through here, and no byte of
//! a name in them reaches a terminal as it is.

use crate::text::escape;
use clap::error::{ContextValue, ErrorKind};
use std::fmt::Display;
use std::io::{self, Write};
use std::os::unix::ffi::OsStrExt;
use std::panic::PanicHookInfo;
use std::path::Path;
use std::process::ExitCode;

/// Prints one line, as [`line`] makes it. That standard error is closed is no reason to fail.
pub fn tell(message: impl Display) {
    // In one write, so that it stays whole among the lines of others.
    let _ = io::stderr().write_all(format!("fsmon: {}\n", line(&message.to_string())).as_bytes());
}

/// A message as one line: control characters, line breaks and what changes how the text around it
/// looks (the Unicode categories Cc, Cf, Zl, Zp) are escaped as in human output.
#[must_use]
pub fn line(message: &str) -> String {
    escape::message(message)
}

/// A path for a message: exact, also where it is not UTF-8.
#[must_use]
pub fn shown(path: &Path) -> String {
    escape::shown(path.as_os_str().as_bytes())
}

/// The path of an input for a message; `-` is standard input.
#[must_use]
pub fn shown_input(path: &Path) -> String {
    if path == Path::new("-") { "standard input".into() } else { shown(path) }
}

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

/// Has a panic told as one line, too: a name can be part of its message.
pub fn tell_panics() {
    std::panic::set_hook(Box::new(|info: &PanicHookInfo<'_>| {
        let thread = std::thread::current();
        let name = thread.name().unwrap_or("unnamed").to_owned();
        tell(format_args!("the thread {name} failed; please report this: {info}"));
        let backtrace = std::backtrace::Backtrace::capture();
        if backtrace.status() == std::backtrace::BacktraceStatus::Captured {
            let _ = write!(io::stderr(), "{backtrace}");
        }
    }));
}

/// Shows how far something is, where a person looks on, in place of what was shown before.
pub(crate) fn progress(line: impl Display) {
    let _ = io::stderr().write_all(format!("\rfsmon: {line}\x1b[K").as_bytes());
}

/// Takes away what [`progress`] showed.
pub(crate) fn end_progress() {
    let _ = io::stderr().write_all(b"\r\x1b[K");
}

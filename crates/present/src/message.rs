//! Lines for the user, on standard error. All of fsmon's messages pass through here, and every name in them
//! is escaped.

use crate::text::escape;
use std::fmt::Display;
use std::io::{self, Write};
use std::os::unix::ffi::OsStrExt;
use std::panic::PanicHookInfo;
use std::path::Path;

/// Prints one line, as [`line()`] makes it. Ignores errors: standard error may be closed.
pub fn print(message: impl Display) {
    // One write, so that the lines of other threads and programs do not split it.
    let _ = io::stderr().write_all(format!("fsmon: {}\n", line(&message.to_string())).as_bytes());
}

/// A message as one line: control characters, line breaks and what changes how the text around it
/// looks (the Unicode categories Cc, Cf, Zl, Zp) are escaped as in human output.
#[must_use]
pub fn line(message: &str) -> String {
    escape::message(message)
}

/// A JSON text for a terminal: also escapes control characters beyond ASCII, which JSON allows unescaped.
#[must_use]
pub fn json_line(text: &str) -> String {
    let mut out = Vec::with_capacity(text.len());
    for c in text.chars() {
        match c {
            // Printable ASCII: quotes and backslashes are JSON's own here.
            ' '..='~' => out.push(c as u8),
            c => {
                escape::escape::<escape::Json>(c.encode_utf8(&mut [0; 4]).as_bytes(), &mut out);
            }
        }
    }
    String::from_utf8(out).expect("made of characters")
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

/// A number and what it counts.
#[must_use]
pub fn counted(count: u64, one: &str, many: &str) -> String {
    format!("{count} {}", if count == 1 { one } else { many })
}

/// Prints the message of a panic as one line, too: it can contain a file name.
pub fn print_panics() {
    std::panic::set_hook(Box::new(|info: &PanicHookInfo<'_>| {
        let thread = std::thread::current();
        let name = thread.name().unwrap_or("unnamed").to_owned();
        print(format_args!("the thread {name} failed; please report this: {info}"));
        let backtrace = std::backtrace::Backtrace::capture();
        if backtrace.status() == std::backtrace::BacktraceStatus::Captured {
            let _ = write!(io::stderr(), "{backtrace}");
        }
    }));
}

/// Shows progress on a terminal, in place of the progress shown before.
pub fn progress(line: impl Display) {
    let _ = io::stderr().write_all(format!("\rfsmon: {line}\x1b[K").as_bytes());
}

/// Erases what [`progress`] showed.
pub fn end_progress() {
    let _ = io::stderr().write_all(b"\r\x1b[K");
}

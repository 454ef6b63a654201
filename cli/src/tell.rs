//! Lines for the user, on standard error.

use std::fmt::Display;
use std::io::{self, Write};

/// Prints one line. That standard error is closed is no reason to fail.
pub(crate) fn tell(line: impl Display) {
    // In one write, so that it stays whole among the lines of others.
    let _ = io::stderr().write_all(format!("fsmon: {line}\n").as_bytes());
}

/// Shows how far something is, where a person looks on, in place of what was shown before.
pub(crate) fn progress(line: impl Display) {
    let _ = io::stderr().write_all(format!("\rfsmon: {line}\x1b[K").as_bytes());
}

/// Takes away what [`progress`] showed.
pub(crate) fn end_progress() {
    let _ = io::stderr().write_all(b"\r\x1b[K");
}

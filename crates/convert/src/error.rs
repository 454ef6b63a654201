//! What ends a conversion.

use std::fmt;
use std::io;

/// A line for the user.
#[derive(Debug)]
pub(crate) enum Error {
    /// What cannot be done, and what to do.
    Told(String),
    /// Whoever read the output has read enough.
    Gone,
}

pub(crate) type Result<T> = std::result::Result<T, Error>;

impl Error {
    pub(crate) fn new(line: impl Into<String>) -> Self {
        Error::Told(line.into())
    }

    /// What a write came to.
    pub(crate) fn writing(name: &str, error: &io::Error) -> Self {
        if error.kind() == io::ErrorKind::BrokenPipe {
            return Error::Gone;
        }
        Error::new(format!("cannot write {name}: {error}"))
    }
}

impl From<fsmon_format::error::Error> for Error {
    fn from(error: fsmon_format::error::Error) -> Self {
        Error::Told(error.to_string())
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Error::Told(line) => f.write_str(line),
            Error::Gone => f.write_str("nobody reads the output"),
        }
    }
}

impl std::error::Error for Error {}

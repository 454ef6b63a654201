//! Reasons for the end of a conversion.

use std::fmt;
use std::io;

/// Why a conversion ends.
#[derive(Debug)]
pub(crate) enum Error {
    /// A line for the user: what failed, and the remedy.
    Message(String),
    /// The reader of the output closed the pipe: no failure.
    ClosedPipe,
}

pub(crate) type Result<T> = std::result::Result<T, Error>;

impl Error {
    pub(crate) fn new(line: impl Into<String>) -> Self {
        Error::Message(line.into())
    }

    /// The error of a write.
    pub(crate) fn writing(name: &str, error: &io::Error) -> Self {
        if error.kind() == io::ErrorKind::BrokenPipe {
            return Error::ClosedPipe;
        }
        Error::new(format!("cannot write {name}: {error}"))
    }
}

impl From<fsmon_format::error::Error> for Error {
    fn from(error: fsmon_format::error::Error) -> Self {
        Error::Message(error.to_string())
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Error::Message(line) => f.write_str(line),
            Error::ClosedPipe => f.write_str("nobody reads the output"),
        }
    }
}

impl std::error::Error for Error {}

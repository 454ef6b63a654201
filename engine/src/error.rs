//! Why the engine could not start, or had to stop: one line with the remedy.

use std::fmt;

/// An error a user can act on: what went wrong and what to do about it, in one line.
#[derive(Debug)]
pub struct Error {
    message: String,
    source: Option<std::io::Error>,
}

impl Error {
    /// An error of our own finding.
    pub fn new(message: impl Into<String>) -> Self {
        Error { message: message.into(), source: None }
    }

    /// What the kernel refused; its words follow the message.
    pub fn os(message: impl Into<String>, source: std::io::Error) -> Self {
        Error { message: message.into(), source: Some(source) }
    }

    /// The kernel's error, where there was one.
    #[must_use]
    pub fn raw_os_error(&self) -> Option<i32> {
        self.source.as_ref()?.raw_os_error()
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.source {
            Some(source) => write!(f, "{}: {source}", self.message),
            None => f.write_str(&self.message),
        }
    }
}

impl std::error::Error for Error {}

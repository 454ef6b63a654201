//! The daemon of fsmon: what it is told to record, and how.

#![forbid(unsafe_code)]

pub mod config;
mod limits;
pub mod preview;

pub use config::{Config, State, Watch};
use fsmon_format::error::{Error, ErrorKind};
use fsmon_format::kind;

/// What is recorded of every watch, whatever it asks for: without it nobody could say who wrote a file last.
pub const ALWAYS_RECORDED: u32 = kind::MODIFY;

/// Runs the daemon until it is told to end.
///
/// # Errors
/// It is not built yet.
pub fn run(_config: &Config) -> Result<(), Error> {
    Err(Error::new(ErrorKind::Unsupported, "the daemon is not built yet; --check works"))
}

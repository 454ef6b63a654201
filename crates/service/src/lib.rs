//! The daemon of fsmon: records what is configured into a history, for years, and is changed while it runs.
//!
//! `config` says what; `daemon` carries it out; `control` is how others talk to it. `import` reads what older versions had
//! configured.

#![forbid(unsafe_code)]

mod ask;
mod clocks;
pub mod config;
pub mod control;
mod daemon;
mod engine;
mod flush;
mod http;
pub mod import;
mod keeper;
mod limits;
mod metrics;
mod notify;
pub mod preview;
mod recorder;
mod shared;
mod skip;
mod start;
mod status;
mod stream;
mod table;
mod textfile;
mod watches;

pub use config::{Config, State, Watch};
pub use daemon::run;
use fsmon_format::kind;

/// What is recorded of every watch, whatever it asks for: without it nobody could say who wrote a file last.
pub const ALWAYS_RECORDED: u32 = kind::MODIFY;

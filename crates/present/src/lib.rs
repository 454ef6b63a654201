//! Turns the records of fsmon into output for people and programs.
//!
//! ```text
//!  records ──► pipeline: define → filter → output ──► bytes
//!                 │                          human · json · csv · binary
//!                 └─ world: paths, processes, strings, clocks, names of users
//! ```
//!
//! This crate does not know the engine: live and recorded events take the same path. It needs no privilege.

#![forbid(unsafe_code)]

#[cfg(feature = "clap")]
pub mod arguments;
pub mod binary;
pub mod duration;
pub mod filter;
mod format;
#[doc(hidden)]
pub mod formats;
pub mod limits;
pub mod message;
pub mod moment;
pub mod names;
pub mod pipeline;
pub mod redact;
pub mod size;
pub mod text;
pub mod wall;
pub mod world;

pub use format::Format;
pub use text::when::TimeFormat;

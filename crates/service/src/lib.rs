//! The daemon of fsmon: what it is told to record, and how.

#![forbid(unsafe_code)]

pub mod config;
mod limits;

pub use config::{Config, State, Watch};

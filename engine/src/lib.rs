//! The engine of fsmon: from the kernel to records, on one pinned thread.

mod cold;
pub mod config;
mod counters;
mod error;
#[doc(hidden)]
pub mod hot;
pub mod limits;
mod monitor;
pub mod plan;
mod ring;
mod sys;

pub use cold::cgroup::cgroup_path;
pub use config::Config;
pub use counters::Counters;
pub use error::Error;
pub use monitor::{Monitor, Next, Receiver, start};

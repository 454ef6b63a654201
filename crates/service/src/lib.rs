//! The daemon of fsmon: records what is configured into a history, for years, and is changed while it runs.
//!
//! It is two processes. `front` reads the configuration (`config`) and talks to clients (`control`), without any
//! capability; `daemon` records. `link` is what they say to each other. `import` reads what older versions had configured.

#![forbid(unsafe_code)]

mod ask;
mod clocks;
pub mod config;
pub mod control;
mod daemon;
mod engine;
mod flush;
mod front;
mod handover;
mod http;
pub mod import;
mod indexer;
mod keeper;
mod limits;
mod link;
mod metrics;
mod notify;
pub mod preview;
mod recorder;
mod seccomp;
mod shared;
mod shed;
mod skip;
mod start;
mod status;
mod stream;
mod table;
mod textfile;
mod usage;
mod watches;
mod writer;

pub use config::{Config, State, Watch};
pub use daemon::record;
pub use front::run;
use fsmon_format::kind;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// What is recorded of every watch, whatever it asks for: without it nobody could say who wrote a file last.
pub const ALWAYS_RECORDED: u32 = kind::MODIFY;

/// Locks a mutex. After a panic in another thread the value is taken as it is: each is whole at all times.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What takes bytes from others, for fuzz targets.
#[cfg(feature = "internals")]
#[doc(hidden)]
pub mod internals {
    use std::sync::Arc;

    /// The response to the head of an HTTP request.
    #[must_use]
    pub fn http_response(head: &[u8]) -> String {
        let metrics: crate::http::Metrics = Arc::new(|| "fsmon_events_total 1\n".to_owned());
        crate::http::respond(head, &metrics)
    }

    /// Whether the bytes are orders to the recorder process.
    #[must_use]
    pub fn are_orders(mut bytes: &[u8]) -> bool {
        while !bytes.is_empty() {
            if !matches!(crate::link::receive::<crate::link::Asked>(&mut bytes), Ok(Some(_))) {
                return false;
            }
        }
        true
    }
}

//! The engine of fsmon: from the kernel to records, on one pinned thread.
//!
//! Start it with a [`Config`], take batches of records from the [`Receiver`], [`Monitor::stop`]
//! it, read the [`Counters`]. Records are those of `fsmon_format`; a
//! [`Mirror`](fsmon_format::mirror::Mirror) shows what the ids in them stand for.
//!
//! ```
//! use fsmon_engine::{Config, Next, start};
//! use fsmon_format::record::{Body, Records};
//! use std::time::Duration;
//!
//! let dir = tempfile::tempdir()?;
//! let (monitor, mut records) = match start(Config::new(vec![dir.path().to_owned()])) {
//!     Ok(started) => started,
//!     // Without root there is nothing to show.
//!     Err(error) => return Ok(println!("SKIP: {error}")),
//! };
//! // Our own changes are never reported, so somebody else makes the file.
//! std::process::Command::new("touch").arg(dir.path().join("hello")).status()?;
//! monitor.stop();
//!
//! let mut names = Vec::new();
//! loop {
//!     match records.next(Duration::from_secs(1)) {
//!         Next::Batch(batch) => {
//!             for record in Records(batch) {
//!                 if let Body::Event(event) = record.body() {
//!                     names.push(String::from_utf8_lossy(event.name).into_owned());
//!                 }
//!             }
//!         }
//!         Next::Idle => {}
//!         Next::Ended => break,
//!     }
//! }
//! assert!(names.contains(&"hello".to_owned()));
//! println!("{:?}", monitor.join()?);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

#![cfg_attr(
    test,
    allow(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        clippy::cast_possible_wrap,
        reason = "tests and the simulator count in small numbers; all else is linted without them"
    )
)]

mod cold;
mod command;
pub mod config;
mod counters;
mod degradation;
#[cfg(not(feature = "internals"))]
mod hot;
#[cfg(feature = "internals")]
#[doc(hidden)]
pub mod hot;
pub mod limits;
mod monitor;
mod num;
pub mod plan;
pub mod privileges;
#[cfg(any(test, feature = "internals"))]
#[doc(hidden)]
pub mod replay;
mod ring;
#[cfg(test)]
mod sim;
mod sync;
mod sys;

pub use cold::cgroup::cgroup_path;
pub use cold::mounts::may_hang;
pub use cold::objects::objects_of;
pub use cold::remedy::{Call, Cause, refused};
pub use cold::roots::not_a_directory;
pub use command::Command;
pub use config::Config;
pub use counters::{Counters, Missing};
pub use fsmon_format::error::{Error, ErrorKind, Message, Names, Setting};
pub use monitor::{Monitor, Next, Queue, Receiver, start};
pub use sys::clock::is_synchronised as is_clock_synchronised;
pub use sys::thread::yield_to_all;

//! The records of fsmon: what a change, a directory, a process and a loss are, and how they are
//! written to and read from a stream.
//!
//! This crate does not depend on the kernel and has no unsafe code. The records in the engine's ring are the same
//! that [`stream`] writes to a file or a pipe:
//!
//! * [`record`]: the fixed 64-byte layouts and the cursor that walks them;
//! * [`kind`]: the event types, their names and their causal order;
//! * [`object`]: the hash by which records identify files and directories;
//! * [`mirror`]: the meaning of the ids in events (paths, processes, strings);
//! * [`stream`]: the binary stream: blocks, checksums, writer and reader;
//! * [`error`]: the error type of all crates.

#![forbid(unsafe_code)]

#[doc(hidden)]
pub mod arena;
pub mod error;
pub mod kind;
mod limits;
pub mod mirror;
pub mod named;
#[doc(hidden)]
pub mod number;
pub mod object;
pub mod record;
mod setting;
pub mod stream;

//! The index of a segment: which of its cells can have a name, what is below a directory, or something of a process.
//! docs/index.md specifies the file. An index is never needed and never trusted: without one, or where its checksums are
//! wrong, the segment itself is read.
//!
//! ```text
//! blocks ─► keys ─► build ─┬─► part    NAME.idx.part: a record for each finished cell
//!                          └─► write   NAME.idx: when the segment is closed
//! hash of a key ─► read ─► cells ─► the blocks that begin there
//! ```

mod build;
mod follow;
pub(crate) mod hash;
mod keys;
mod kind;
mod layout;
mod make;
mod part;
mod read;
mod rice;
mod runs;
mod write;

#[cfg(test)]
mod tests;

pub use follow::{Follower, Progress};
pub use kind::{Kind, Trouble};
pub use layout::Cell;
pub use make::{Made, make, missing, seed, sweep};
pub use part::Part;
pub use read::{Damaged, Index, Posting};

pub(crate) use keys::without_slash;

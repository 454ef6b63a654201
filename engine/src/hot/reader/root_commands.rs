//! Commands that change what is watched, while the reader runs: a root comes, a root goes, other types are reported.
//!
//! Each has a place in the queue, that of a flush which carries it (`hot/reader/flushes.rs`): it is done after all that
//! happened before the call, and before all that happened after it. So lines are about exactly what came later. A
//! directory that is added is read in steps between the batches.

use crate::hot::reader::flushes::{FLUSHES_MAX, Flushed};
use crate::hot::r#where::above::Way;
use arrayvec::ArrayVec;
use fsmon_format::record::Outcome;
use std::ffi::CString;

/// What is to be done.
pub(crate) enum RootCommand {
    /// Watch a directory.
    Add(Box<NewRoot>),
    /// End the root with that number.
    Remove(usize),
    /// Report these types, for which these events are requested.
    Types { types: u32, mask: u64 },
}

/// A root that is to be added.
pub(crate) struct NewRoot {
    pub(crate) at: usize,
    pub(crate) way: Way,
    pub(crate) path: CString,
    /// The filesystem on which a mark was set for it; `None` if each directory needs a mark.
    pub(crate) covers: Option<u64>,
}

impl NewRoot {
    /// The directory at `path`, absolute, as the root with that number.
    pub(crate) fn new(at: usize, path: CString, covers: Option<u64>) -> Self {
        NewRoot { at, way: Way::new(path.as_bytes()), path, covers }
    }
}

/// A command that was done and is not answered yet.
#[derive(Clone, Copy)]
pub(crate) struct Obeyed {
    pub(crate) flushed: Flushed,
    pub(crate) outcome: Outcome,
    pub(crate) errno: i32,
    /// The root that was added.
    pub(crate) root: Option<usize>,
}

/// As many as flushes can be under way: the answer ends the flush.
pub(crate) type AllObeyed = ArrayVec<Obeyed, FLUSHES_MAX>;

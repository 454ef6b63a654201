//! Events that the kernel is asked not to queue: policy only. A wrong decision costs time but no correctness.

pub(crate) mod busy;
pub(crate) mod rename_events;

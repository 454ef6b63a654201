//! Events that the kernel is asked not to queue: policy only. It may be wrong without harm.

pub(crate) mod busy;
pub(crate) mod rename_events;

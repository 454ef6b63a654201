//! What may allocate, fail and take its time: set-up and look-ups. `hot` never calls it.

pub(crate) mod cgroup;

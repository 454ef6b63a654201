//! Where: from the kernel's queue to the path of every event. See ARCHITECTURE.md, "Where".

pub(crate) mod above;
pub(crate) mod disk;
pub(crate) mod mounts;
pub(crate) mod mute;
pub(crate) mod overlay;
pub(crate) mod resolve;
pub(crate) mod tables;
pub mod tree;
pub(crate) mod watch;

#[cfg(test)]
mod merge_test;

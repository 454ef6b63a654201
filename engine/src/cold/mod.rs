//! Set-up: may allocate, fail and say why. Nothing here runs once events are read.

pub(crate) mod below;
mod bpf;
pub(crate) mod cgroup;
pub(crate) mod command;
pub(crate) mod containers;
mod diagnosis;
mod facts;
pub(crate) mod host;
pub(crate) mod kernel_memory;
pub(crate) mod marks;
pub(crate) mod mount_watch;
pub(crate) mod mounts;
pub(crate) mod objects;
pub(crate) mod overlay;
pub(crate) mod procfs;
pub(crate) mod remedy;
pub(crate) mod roots;
pub(crate) mod start;
pub(crate) mod who;

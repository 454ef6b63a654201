//! Every raw system call and mapping of the engine. Unsafe code lives here and in `ring.rs`;
//! each block says what was checked and what is assumed of the kernel.

#![allow(unsafe_code)]

pub(crate) mod admin;
pub(crate) mod bpf;
pub(crate) mod buffers;
pub(crate) mod capabilities;
pub(crate) mod cgroup;
pub(crate) mod clock;
pub(crate) mod connector;
pub(crate) mod detached;
pub(crate) mod dirents;
pub(crate) mod fanotify;
pub(crate) mod fd;
#[cfg(not(loom))]
pub(crate) mod futex;
pub(crate) mod gauge;
pub(crate) mod handle;
pub(crate) mod identity;
pub(crate) mod limit;
pub(crate) mod mount;
pub(crate) mod overlay;
pub(crate) mod perf;
pub(crate) mod poll;
pub(crate) mod procdir;
#[cfg(test)]
pub(crate) mod test_group;
pub(crate) mod thread;
pub(crate) mod uring;

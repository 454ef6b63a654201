//! Every raw system call and mapping. Unsafe code is let in here, module by module.

#[allow(unsafe_code, reason = "clock_gettime")]
pub mod clock;
#[allow(unsafe_code, reason = "a netlink socket")]
pub mod connector;
#[allow(unsafe_code, reason = "fsopen and fsmount have no safe wrapper")]
pub mod detached;
#[allow(unsafe_code, reason = "perf_event_open and its mapped rings")]
pub mod perf;
#[allow(unsafe_code, reason = "/proc read into fixed buffers, without allocation")]
pub mod procdir;
#[cfg(test)]
#[allow(unsafe_code, reason = "fanotify for tests of the process table")]
pub(crate) mod test_group;

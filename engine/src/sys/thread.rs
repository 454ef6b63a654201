//! Where a thread runs and how it sleeps.

use super::fd::check;
use std::io;
use std::time::Duration;

/// CPUs that a set can hold (`CPU_SETSIZE`).
pub(crate) const CPUS_MAX: usize = libc::CPU_SETSIZE as usize;

/// Lets the calling thread run on `cpu` only.
pub(crate) fn pin(cpu: usize) -> io::Result<()> {
    if cpu >= CPUS_MAX {
        return Err(io::Error::from_raw_os_error(libc::EINVAL));
    }
    // SAFETY: an all-zero set is valid, CPU_SET stays inside it (checked above), and the kernel
    // reads no more than the size given.
    unsafe {
        let mut set: libc::cpu_set_t = std::mem::zeroed();
        libc::CPU_SET(cpu, &mut set);
        check(libc::sched_setaffinity(0, size_of_val(&set), &raw const set))?;
    }
    Ok(())
}

/// The CPUs that the calling thread may run on, in order.
pub(crate) fn allowed_cpus() -> Vec<usize> {
    // SAFETY: as in `pin`; the kernel writes no more than the size given.
    unsafe {
        let mut set: libc::cpu_set_t = std::mem::zeroed();
        if libc::sched_getaffinity(0, size_of_val(&set), &raw mut set) != 0 {
            return Vec::new();
        }
        (0..CPUS_MAX).filter(|&cpu| libc::CPU_ISSET(cpu, &set)).collect()
    }
}

/// Sleeps for `time`, or less when a signal comes.
pub(crate) fn sleep(time: Duration) {
    let spec = timespec(time);
    // SAFETY: reads one timespec; no remainder is asked for.
    unsafe {
        libc::clock_nanosleep(libc::CLOCK_MONOTONIC, 0, &raw const spec, std::ptr::null_mut())
    };
}

pub(crate) fn timespec(time: Duration) -> libc::timespec {
    libc::timespec {
        tv_sec: time.as_secs().try_into().unwrap_or(libc::time_t::MAX),
        tv_nsec: time.subsec_nanos().into(),
    }
}

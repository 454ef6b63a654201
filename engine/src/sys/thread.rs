//! Where a thread runs and how it sleeps.

use super::fd::check;
use std::io;
use std::time::Duration;

/// CPUs that a set can hold (`CPU_SETSIZE`).
pub(crate) const CPUS_MAX: usize = libc::CPU_SETSIZE as usize;

/// Lets the calling thread run on these CPUs only; it is on one of them afterwards.
///
/// # Errors
/// EINVAL where it may run on none of them.
pub(crate) fn run_on(cpus: impl IntoIterator<Item = usize>) -> io::Result<()> {
    // SAFETY: an all-zero set is valid, CPU_SET stays inside it (checked), and the kernel reads no
    // more than the size given.
    unsafe {
        let mut set: libc::cpu_set_t = std::mem::zeroed();
        for cpu in cpus.into_iter().filter(|&cpu| cpu < CPUS_MAX) {
            libc::CPU_SET(cpu, &mut set);
        }
        check(libc::sched_setaffinity(0, size_of_val(&set), &raw const set))?;
    }
    Ok(())
}

/// The CPU that the calling thread runs on; `None` on a kernel that does not say.
pub(crate) fn current_cpu() -> Option<usize> {
    // SAFETY: takes nothing and touches no memory of ours.
    usize::try_from(unsafe { libc::sched_getcpu() }).ok()
}

/// The CPUs that the calling thread may run on, in order.
pub(crate) fn allowed_cpus() -> Vec<usize> {
    // SAFETY: as in `run_on`; the kernel writes no more than the size given.
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

/// The calling thread as BPF's `bpf_get_current_pid_tgid` has it: process above thread.
pub(crate) fn pid_and_tid() -> u64 {
    // SAFETY: no argument, no failure.
    let tid = unsafe { libc::gettid() };
    u64::from(std::process::id()) << 32 | u64::from(tid.cast_unsigned())
}

/// Lets nothing but real-time threads interrupt the calling thread, if it may (`CAP_SYS_NICE`); else
/// puts it before others as far as it may.
pub(crate) fn hurry() {
    let first = libc::sched_param { sched_priority: 1 };
    // SAFETY: reads one sched_param; 0 is the calling thread (sched_setscheduler(2); for
    // setpriority(2) see NOTES there).
    unsafe {
        if libc::sched_setscheduler(
            0,
            libc::SCHED_FIFO | libc::SCHED_RESET_ON_FORK,
            &raw const first,
        ) != 0
        {
            libc::setpriority(libc::PRIO_PROCESS, 0, -20);
        }
    }
}

/// Lets the calling thread run only while nothing else wants its CPU, and read and write only while no other does.
pub fn yield_to_all() {
    /// `IOPRIO_WHO_PROCESS`, and `IOPRIO_CLASS_IDLE` in its place (ioprio_set(2)).
    const WHO: libc::c_int = 1;
    const IDLE: libc::c_int = 3 << 13;
    let none = libc::sched_param { sched_priority: 0 };
    // SAFETY: reads one sched_param; 0 is the calling thread in both calls. Where one fails the thread is as others are.
    unsafe {
        libc::sched_setscheduler(0, libc::SCHED_IDLE, &raw const none);
        libc::syscall(libc::SYS_ioprio_set, WHO, 0, IDLE);
    }
}

/// Gives the calling thread the name that it has: the kernel takes that for a change.
pub(crate) fn rename_to_same() -> io::Result<()> {
    let mut name = [0u8; 16];
    // SAFETY: PR_GET_NAME writes 16 bytes with a NUL, PR_SET_NAME reads as much (prctl(2)).
    unsafe {
        check(libc::prctl(libc::PR_GET_NAME, name.as_mut_ptr()))?;
        check(libc::prctl(libc::PR_SET_NAME, name.as_ptr()))?;
    }
    Ok(())
}

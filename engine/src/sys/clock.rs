//! The clocks, in nanoseconds.

fn read(clock: libc::clockid_t) -> u64 {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: `time` is valid for writes; the kernel writes one timespec. The clocks used here
    // exist on every Linux, so the call cannot fail; if it did, `time` stays 0.
    unsafe { libc::clock_gettime(clock, &raw mut time) };
    (time.tv_sec as u64).wrapping_mul(1_000_000_000).wrapping_add(time.tv_nsec as u64)
}

/// `CLOCK_MONOTONIC`, ns: the clock of every time in a record.
#[inline]
#[must_use]
pub fn monotonic_ns() -> u64 {
    read(libc::CLOCK_MONOTONIC)
}

/// `CLOCK_REALTIME`, ns since 1970.
#[must_use]
pub fn realtime_ns() -> u64 {
    read(libc::CLOCK_REALTIME)
}

/// `CLOCK_BOOTTIME`, ns: the monotonic clock and the time spent asleep; that of /proc/PID/stat.
#[must_use]
pub fn boottime_ns() -> u64 {
    read(libc::CLOCK_BOOTTIME)
}

/// CPU time of the calling thread, ns.
#[must_use]
pub fn thread_cpu_ns() -> u64 {
    read(libc::CLOCK_THREAD_CPUTIME_ID)
}

#[cfg(test)]
mod tests {
    #[test]
    fn clocks_go_forward() {
        let first = super::monotonic_ns();
        assert!(super::monotonic_ns() >= first && first > 0);
        assert!(super::realtime_ns() > 1_600_000_000_000_000_000);
        assert!(super::thread_cpu_ns() > 0);
    }
}

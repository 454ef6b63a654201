//! The clocks, in nanoseconds.

use crate::limits::sys::{CLOCK_MOMENT_NS, CLOCK_TRIES};

fn read(clock: libc::clockid_t) -> u64 {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: `time` is valid for writes; the kernel writes one timespec. The clocks used here
    // exist on every Linux, so the call cannot fail; if it did, `time` stays 0.
    unsafe { libc::clock_gettime(clock, &raw mut time) };
    let (seconds, ns) = (time.tv_sec.cast_unsigned(), time.tv_nsec.cast_unsigned());
    seconds.wrapping_mul(1_000_000_000).wrapping_add(ns)
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

/// Whether the kernel takes its wall clock for synchronised, by NTP or PTP: not STA_UNSYNC, adjtimex(2). Setting the
/// clock makes it unsynchronised.
#[must_use]
pub fn is_synchronised() -> bool {
    // SAFETY: all zeros is a valid `timex`, a structure of integers; with `modes` 0 the kernel only fills it in, and no
    // privilege is needed.
    let mut state: libc::timex = unsafe { std::mem::zeroed() };
    // SAFETY: `state` is valid for writes.
    let result = unsafe { libc::adjtimex(&raw mut state) };
    result >= 0 && state.status & libc::STA_UNSYNC == 0
}

/// `CLOCK_MONOTONIC` and `CLOCK_REALTIME` at one moment, ns.
#[derive(Clone, Copy, Debug)]
pub struct Clocks {
    /// As [`monotonic_ns`].
    pub monotonic_ns: u64,
    /// As [`realtime_ns`].
    pub realtime_ns: u64,
}

impl Clocks {
    /// By how much wall time is ahead, ns, modulo 2⁶⁴. It stays the same until the wall clock is set, a
    /// leap second comes, or the host wakes from suspend: NTP speeds up or slows down both clocks
    /// alike (`timekeeping_adjust()` in kernel/time/timekeeping.c).
    #[must_use]
    pub fn ahead_ns(&self) -> u64 {
        self.realtime_ns.wrapping_sub(self.monotonic_ns)
    }
}

/// Both clocks, as near to each other as a few tries bring them.
#[must_use]
pub fn both() -> Clocks {
    let mut best = (u64::MAX, Clocks { monotonic_ns: 0, realtime_ns: 0 });
    for _ in 0..CLOCK_TRIES {
        let monotonic_ns = monotonic_ns();
        let realtime_ns = realtime_ns();
        let apart_ns = self::monotonic_ns().saturating_sub(monotonic_ns);
        if apart_ns < best.0 {
            best = (apart_ns, Clocks { monotonic_ns, realtime_ns });
        }
        if apart_ns < CLOCK_MOMENT_NS {
            break;
        }
    }
    best.1
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

    #[test]
    fn both_clocks_stay_as_far_apart() {
        let (first, second) = (super::both(), super::both());
        assert!(second.monotonic_ns >= first.monotonic_ns && first.monotonic_ns > 0);
        let moved = second.ahead_ns().wrapping_sub(first.ahead_ns()).cast_signed();
        assert!(moved.abs() < 100_000_000, "{moved}");
    }
}

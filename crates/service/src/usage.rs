//! What this process uses of the host, as the standard metrics of Prometheus' clients have it (`process_*`).

use nix::sys::resource::{Resource, UsageWho, getrlimit, getrusage};
use nix::time::{ClockId, clock_gettime};
use nix::unistd::{SysconfVar, sysconf};
use std::fs;
use std::time::Duration;

/// What a process uses. What cannot be read is 0.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Usage {
    /// User and system time of all threads.
    pub(crate) cpu: Duration,
    /// Bytes.
    pub(crate) resident: u64,
    /// Bytes.
    pub(crate) virtual_memory: u64,
    pub(crate) descriptors: u64,
    /// The soft limit.
    pub(crate) descriptors_max: u64,
}

impl Usage {
    /// That of this process.
    pub(crate) fn of_this_process() -> Self {
        let used = getrusage(UsageWho::RUSAGE_SELF).ok();
        let time = |time: nix::sys::time::TimeVal| {
            let micros = u64::try_from(time.tv_usec()).unwrap_or(0);
            Duration::from_secs(u64::try_from(time.tv_sec()).unwrap_or(0))
                + Duration::from_micros(micros)
        };
        let page = sysconf(SysconfVar::PAGE_SIZE).ok().flatten().unwrap_or(0);
        let page = u64::try_from(page).unwrap_or(0);
        // proc(5): the first two numbers are of the whole program and of what is resident, in pages.
        let pages = fs::read_to_string("/proc/self/statm").unwrap_or_default();
        let mut pages = pages.split_whitespace().map(|number| number.parse().unwrap_or(0));
        let mut bytes = || page.saturating_mul(pages.next().unwrap_or(0));
        Usage {
            cpu: used
                .map_or(Duration::ZERO, |used| time(used.user_time()) + time(used.system_time())),
            virtual_memory: bytes(),
            resident: bytes(),
            descriptors: fs::read_dir("/proc/self/fd").map_or(0, |open| open.count() as u64),
            descriptors_max: getrlimit(Resource::RLIMIT_NOFILE).map_or(0, |(soft, _)| soft),
        }
    }
}

/// CPU time of the calling thread, ns.
pub(crate) fn thread_cpu_ns() -> u64 {
    let time = clock_gettime(ClockId::CLOCK_THREAD_CPUTIME_ID).map(Duration::from);
    time.map_or(0, |time| u64::try_from(time.as_nanos()).unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_that_runs_uses_something() {
        let usage = Usage::of_this_process();
        assert!(usage.resident > 0 && usage.virtual_memory >= usage.resident, "{usage:?}");
        assert!(usage.descriptors >= 3 && usage.descriptors <= usage.descriptors_max, "{usage:?}");
        assert!(thread_cpu_ns() > 0 && usage.cpu > Duration::ZERO, "{usage:?}");
    }
}

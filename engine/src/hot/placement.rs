//! Which CPU the reader runs on, where nobody has said so.
//!
//! At real-time priority it takes its CPU from whoever is there, and the kernel wakes such a thread where
//! it slept, also while another CPU is idle. So now and then in a storm it looks whether somebody else
//! wants this CPU while another is idle, and goes there. Where all are busy it stays.

use crate::sys::clock;
use crate::sys::thread::pin;
use std::fs::File;
use std::os::unix::fs::FileExt;

/// Between two looks, ns, and batches: where little comes nobody is in anybody's way.
const PAUSE_NS: u64 = 100_000_000;
const BATCHES: u32 = 20;
/// Looks further apart tell too little of now.
const PAUSE_MOST_NS: u64 = 1_000_000_000;
/// A tick of /proc/stat, ns (`USER_HZ`, the same on all architectures but alpha and ia64; proc_stat(5)).
const TICK_NS: u64 = 10_000_000;
/// Bytes for a CPU's line: ten numbers of 20 digits at the most.
const LINE: usize = 224;

/// A CPU: how long it has been idle in all, in ticks, and since the look before, in ns.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Idle {
    cpu: usize,
    ticks: u64,
    span_ns: u64,
}

/// The reader's place.
pub(crate) struct Placement {
    stat: File,
    text: Vec<u8>,
    /// Those that it may run on, by number.
    cpus: Vec<Idle>,
    own: usize,
    batches: u32,
    looked_ns: u64,
    own_ns: u64,
}

impl Placement {
    /// For a thread that is pinned to `own`, and may run on `cpus`. `None` where it is not to be known
    /// who is idle.
    pub(crate) fn new(own: usize, cpus: &[usize]) -> Option<Self> {
        let stat = File::open("/proc/stat").ok()?;
        let text = vec![0; LINE * (cpus.iter().max()? + 2)];
        let cpus = cpus.iter().map(|&cpu| Idle { cpu, ..Idle::default() }).collect();
        Some(Placement { stat, text, cpus, own, batches: 0, looked_ns: 0, own_ns: 0 })
    }

    /// After a batch of events.
    #[inline]
    pub(crate) fn note_batch(&mut self, now_ns: u64) {
        self.batches += 1;
        if self.batches >= BATCHES && now_ns >= self.looked_ns + PAUSE_NS {
            self.look(now_ns);
        }
    }

    #[cold]
    fn look(&mut self, now_ns: u64) {
        let own_ns = clock::thread_cpu_ns();
        let (span_ns, own_span_ns) = (now_ns - self.looked_ns, own_ns.saturating_sub(self.own_ns));
        (self.batches, self.looked_ns, self.own_ns) = (0, now_ns, own_ns);
        let Ok(len) = self.stat.read_at(&mut self.text, 0) else { return };
        update(&mut self.cpus, &self.text[..len]);
        if span_ns <= PAUSE_MOST_NS
            && let Some(cpu) = better(&self.cpus, self.own, span_ns, own_span_ns)
            && pin(cpu).is_ok()
        {
            self.own = cpu;
        }
    }
}

/// Takes in what /proc/stat says. A CPU that is off has no line, and was not idle.
fn update(cpus: &mut [Idle], stat: &[u8]) {
    let mut lines = stat.split(|&byte| byte == b'\n').filter_map(idle).peekable();
    for known in cpus {
        while lines.next_if(|&(cpu, _)| cpu < known.cpu).is_some() {}
        let ticks =
            lines.next_if(|&(cpu, _)| cpu == known.cpu).map_or(known.ticks, |(_, ticks)| ticks);
        known.span_ns = ticks.saturating_sub(known.ticks).saturating_mul(TICK_NS);
        known.ticks = ticks;
    }
}

/// The number of a CPU and for how many ticks it has been idle, also for want of a disk: `cpu3 user nice
/// system idle iowait ...` (proc_stat(5)).
fn idle(line: &[u8]) -> Option<(usize, u64)> {
    let mut words = line.strip_prefix(b"cpu")?.split(|&byte| byte == b' ');
    let cpu = number(words.next()?)?;
    let mut times = words.skip(3).map_while(number);
    Some((usize::try_from(cpu).ok()?, times.next()?.saturating_add(times.next()?)))
}

/// `None` where that is no number, or too large.
fn number(word: &[u8]) -> Option<u64> {
    str::from_utf8(word).ok()?.parse().ok()
}

/// Where to go from `own`: others have it for a quarter of the time, and that one is mostly idle.
fn better(cpus: &[Idle], own: usize, span_ns: u64, own_span_ns: u64) -> Option<usize> {
    let here = cpus.iter().find(|idle| idle.cpu == own)?;
    let others_ns = span_ns.saturating_sub(here.span_ns).saturating_sub(own_span_ns);
    let idlest = cpus.iter().max_by_key(|idle| idle.span_ns)?;
    let is_better = others_ns >= span_ns / 4 && idlest.span_ns >= span_ns / 8 * 5;
    is_better.then_some(idlest.cpu).filter(|&cpu| cpu != own)
}

#[cfg(test)]
mod tests {
    use super::*;

    const STAT: &[u8] = b"cpu  30 0 20 400 10 0 1 2 0 0\ncpu0 10 0 10 100 5 0 1 2 0 0\n\
        cpu2 20 0 10 300 5 0 0 0 0 0\ncpu10 1 2 3 4 5\nintr 13811331 0 0\nctxt 5\n";

    #[test]
    fn how_long_each_was_idle_is_read_by_number() {
        let mut cpus = [0, 2, 5].map(|cpu| Idle { cpu, ticks: 50, span_ns: 7 });
        update(&mut cpus, STAT);
        assert_eq!(cpus.map(|idle| idle.ticks), [105, 305, 50]);
        assert_eq!(cpus.map(|idle| idle.span_ns), [55 * TICK_NS, 255 * TICK_NS, 0]);
    }

    #[test]
    fn whatever_it_says_it_is_read_to_its_end() {
        for end in 0..STAT.len() {
            let mut cpus = [0, 2, 10].map(|cpu| Idle { cpu, ..Idle::default() });
            update(&mut cpus, &STAT[..end]);
        }
        for bad in [&b"cpu"[..], b"cpu1", b"cpu1 1 2 3 x 5", b"cpu99999999999999999999 1 2 3 4 5"] {
            assert_eq!(idle(bad), None);
        }
        let max = u64::MAX;
        let line = format!("cpu1 0 0 0 {max} {max}");
        assert_eq!(idle(line.as_bytes()), Some((1, max)));
    }

    #[test]
    fn it_goes_where_nobody_is_if_somebody_is_here() {
        let cpus =
            |spans: [u64; 3]| [0, 1, 2].map(|cpu| Idle { cpu, ticks: 0, span_ns: spans[cpu] });
        assert_eq!(better(&cpus([90, 0, 95]), 1, 100, 30), Some(2));
        assert_eq!(better(&cpus([90, 0, 95]), 1, 100, 90), None, "it is here alone");
        assert_eq!(better(&cpus([90, 70, 95]), 1, 100, 20), None, "hardly anybody is here");
        assert_eq!(better(&cpus([50, 0, 55]), 1, 100, 30), None, "all are busy");
        assert_eq!(better(&cpus([0, 0, 95]), 2, 100, 0), None, "it is there");
        assert_eq!(better(&cpus([0, 0, 95]), 7, 100, 0), None);
    }

    #[test]
    fn the_first_look_only_begins_to_count() {
        let cpus = crate::sys::thread::allowed_cpus();
        let Some(mut placement) = Placement::new(cpus[0], &cpus) else { return };
        placement.look(clock::monotonic_ns());
        assert_eq!(placement.own, cpus[0]);
        assert!(placement.cpus.iter().any(|idle| idle.ticks > 0));
    }
}

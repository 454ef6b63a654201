//! Which CPU the reader runs on, where nobody has said so.
//!
//! At real-time priority it takes its CPU from whoever is there, and the kernel wakes such a thread where
//! it slept, also while another CPU is idle. So now and then in a storm it looks whether somebody else
//! wants this CPU while another is idle, and goes there. Where all are busy it goes round, so that no
//! process gives more than the others: of several that do one work the slowest is waited for.

use crate::sys::clock;
use crate::sys::thread::pin;
use std::fs::File;
use std::os::unix::fs::FileExt;

/// Between two looks, ns, and batches: where little comes nobody is in anybody's way.
const PAUSE_NS: u64 = 50_000_000;
const BATCHES: u32 = 8;
/// Looks further apart tell too little of now.
const PAUSE_MOST_NS: u64 = 1_000_000_000;
/// For how long it stays where it goes round, ns: its caches are to be filled anew each time, which takes
/// some tens of microseconds.
const STAY_NS: u64 = 40_000_000;
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
    /// All were busy at the last look.
    goes_round: bool,
    came_ns: u64,
}

/// What is best where somebody else wants the reader's CPU, or not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Advice {
    Stay,
    /// That one is mostly idle.
    Go(usize),
    /// All are busy.
    GoRound,
}

impl Placement {
    /// For a thread that is pinned to `own`, and may run on `cpus`. `None` where it is not to be known
    /// who is idle.
    pub(crate) fn new(own: usize, cpus: &[usize]) -> Option<Self> {
        let stat = File::open("/proc/stat").ok()?;
        let text = vec![0; LINE * (cpus.iter().max()? + 2)];
        let cpus = cpus.iter().map(|&cpu| Idle { cpu, ..Idle::default() }).collect();
        let (looked_ns, own_ns, came_ns) = (0, 0, 0);
        let goes_round = false;
        Some(Placement {
            stat,
            text,
            cpus,
            own,
            batches: 0,
            looked_ns,
            own_ns,
            goes_round,
            came_ns,
        })
    }

    /// After a batch of events.
    #[inline]
    pub(crate) fn note_batch(&mut self, now_ns: u64) {
        self.batches += 1;
        if self.batches >= BATCHES && now_ns >= self.looked_ns + PAUSE_NS {
            self.look(now_ns);
        }
        if self.goes_round && now_ns >= self.came_ns + STAY_NS {
            self.go(following(&self.cpus, self.own), now_ns);
        }
    }

    #[cold]
    fn look(&mut self, now_ns: u64) {
        let own_ns = clock::thread_cpu_ns();
        let (span_ns, own_span_ns) = (now_ns - self.looked_ns, own_ns.saturating_sub(self.own_ns));
        (self.batches, self.looked_ns, self.own_ns) = (0, now_ns, own_ns);
        self.goes_round = false;
        let Ok(len) = self.stat.read_at(&mut self.text, 0) else { return };
        update(&mut self.cpus, &self.text[..len]);
        if span_ns > PAUSE_MOST_NS {
            return;
        }
        match advice(&self.cpus, self.own, span_ns, own_span_ns) {
            Advice::Stay => {}
            Advice::Go(cpu) => self.go(cpu, now_ns),
            Advice::GoRound => self.goes_round = true,
        }
    }

    #[cold]
    fn go(&mut self, cpu: usize, now_ns: u64) {
        self.came_ns = now_ns;
        if pin(cpu).is_ok() {
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

/// Whether others have `own` for a quarter of the time, and then who is mostly idle, or whether nobody is.
fn advice(cpus: &[Idle], own: usize, span_ns: u64, own_span_ns: u64) -> Advice {
    let Some(here) = cpus.iter().find(|idle| idle.cpu == own) else { return Advice::Stay };
    let others_ns = span_ns.saturating_sub(here.span_ns).saturating_sub(own_span_ns);
    let Some(idlest) = cpus.iter().max_by_key(|idle| idle.span_ns) else { return Advice::Stay };
    match others_ns >= span_ns / 4 {
        true if idlest.span_ns >= span_ns / 8 * 5 && idlest.cpu != own => Advice::Go(idlest.cpu),
        true if idlest.span_ns < span_ns / 4 && cpus.len() > 1 => Advice::GoRound,
        _ => Advice::Stay,
    }
}

/// The CPU after `own`; after the last the first.
fn following(cpus: &[Idle], own: usize) -> usize {
    let at = cpus.iter().position(|idle| idle.cpu == own).map_or(0, |at| at + 1);
    cpus.get(at).or(cpus.first()).map_or(own, |idle| idle.cpu)
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

    fn cpus<const N: usize>(spans: [u64; N]) -> [Idle; N] {
        std::array::from_fn(|cpu| Idle { cpu, ticks: 0, span_ns: spans[cpu] })
    }

    #[test]
    fn it_goes_where_nobody_is_if_somebody_is_here() {
        let advice = |spans, own, own_span| advice(&cpus(spans), own, 100, own_span);
        assert_eq!(advice([90, 0, 95], 1, 30), Advice::Go(2));
        assert_eq!(advice([90, 0, 95], 1, 90), Advice::Stay, "it is here alone");
        assert_eq!(advice([90, 70, 95], 1, 20), Advice::Stay, "hardly anybody is here");
        assert_eq!(advice([50, 0, 55], 1, 30), Advice::Stay, "nobody is mostly idle");
        assert_eq!(advice([0, 0, 95], 2, 0), Advice::Stay, "it is there");
        assert_eq!(advice([0, 0, 95], 7, 0), Advice::Stay);
    }

    #[test]
    fn it_goes_round_if_somebody_is_everywhere() {
        let advice_of_two = |spans, own_span| advice(&cpus(spans), 1, 100, own_span);
        assert_eq!(advice_of_two([0, 0], 30), Advice::GoRound);
        assert_eq!(advice_of_two([20, 20], 50), Advice::GoRound);
        assert_eq!(advice_of_two([30, 0], 30), Advice::Stay, "one has some time");
        assert_eq!(advice_of_two([0, 0], 80), Advice::Stay, "others have left this one to it");
        assert_eq!(advice(&cpus([0]), 0, 100, 30), Advice::Stay, "there is no other");
        let some = [1, 4, 9].map(|cpu| Idle { cpu, ..Idle::default() });
        assert_eq!([1, 4, 9, 7].map(|own| following(&some, own)), [4, 9, 1, 1]);
        assert_eq!(following(&[], 3), 3);
    }

    #[test]
    fn while_it_goes_round_it_stays_a_while_each_time() {
        let cpus = crate::sys::thread::allowed_cpus();
        let (Some(mut placement), true) = (Placement::new(cpus[0], &cpus), cpus.len() > 1) else {
            return eprintln!("SKIP: one CPU alone");
        };
        placement.goes_round = true;
        let places = [1, 2, 3].map(|half| {
            placement.note_batch(STAY_NS * half / 2);
            placement.own
        });
        assert_eq!(places, [cpus[0], cpus[1], cpus[1]]);
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

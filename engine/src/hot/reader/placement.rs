//! The CPU that the reader runs on, if the user has not chosen one.
//!
//! At real-time priority the reader takes its CPU from the thread that runs there. The kernel wakes it on the CPU
//! on which it slept, even if another is idle. So during a storm it checks from time to time whether another thread
//! wants this CPU while some CPU is idle, and moves there. If all are busy it moves from one to the next, so that
//! no process loses more time than the others: if several share a task, the slowest determines when it ends.
//!
//! If there are several readers they move only to idle CPUs: of two readers on one CPU the second would wait until
//! the first sleeps.

use crate::limits::reader::{
    CPU_BATCHES, CPU_LINE_BYTES, CPU_PAUSE_MANY_NS, CPU_PAUSE_MAX_NS, CPU_PAUSE_NS, CPU_ROUND_MAX,
    CPU_STAY_NS,
};
use crate::sys::clock;
use crate::sys::thread::{current_cpu, run_on};
use std::fs::File;
use std::os::unix::fs::FileExt;

/// A tick of /proc/stat, ns (`USER_HZ`, the same on all architectures but alpha and ia64; proc_stat(5)).
const TICK_NS: u64 = 10_000_000;

/// A CPU: its total idle time, in ticks, and its idle time since the last check, in ns.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Idle {
    cpu: usize,
    ticks: u64,
    span_ns: u64,
}

/// Where the reader runs.
pub(crate) struct Placement {
    stat: File,
    text: Vec<u8>,
    /// Numbers of the CPUs that it may run on.
    cpus: Vec<Idle>,
    /// Whether it may move when all are busy.
    may_go_round: bool,
    batches: u32,
    looked_ns: u64,
    own_ns: u64,
    /// All were busy at the last check.
    goes_round: bool,
    came_ns: u64,
}

/// What the reader should do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Advice {
    Stay,
    /// Move to this CPU, which is mostly idle.
    Go(usize),
    /// All are busy: move to another.
    GoRound,
}

/// What a check is based on.
#[derive(Clone, Copy)]
struct Look {
    /// The CPU of the reader.
    here: usize,
    /// Time since the last check, ns, and how much of it the reader ran.
    span_ns: u64,
    own_span_ns: u64,
    /// It moved in that time because all were busy.
    went_round: bool,
}

impl Placement {
    /// For the calling thread, which may run on `cpus`, and is `alone` or one of several readers. `None` if idle
    /// times cannot be read.
    pub(crate) fn new(cpus: &[usize], alone: bool) -> Option<Self> {
        let stat = File::open("/proc/stat").ok()?;
        let text = vec![0; CPU_LINE_BYTES * (cpus.iter().max()? + 2)];
        let may_go_round = alone && (2..=CPU_ROUND_MAX).contains(&cpus.len());
        let cpus = cpus.iter().map(|&cpu| Idle { cpu, ..Idle::default() }).collect();
        Some(Placement {
            stat,
            text,
            cpus,
            may_go_round,
            batches: 0,
            looked_ns: 0,
            own_ns: 0,
            goes_round: false,
            came_ns: 0,
        })
    }

    /// Records a batch of events, and checks from time to time.
    #[inline]
    pub(crate) fn note_batch(&mut self, now_ns: u64) {
        self.batches += 1;
        let pause_ns =
            if self.cpus.len() > CPU_ROUND_MAX { CPU_PAUSE_MANY_NS } else { CPU_PAUSE_NS };
        if self.batches >= CPU_BATCHES && now_ns >= self.looked_ns + pause_ns {
            self.look(now_ns);
        }
        if self.goes_round && now_ns >= self.came_ns + CPU_STAY_NS {
            self.go_on(now_ns);
        }
    }

    #[cold]
    fn look(&mut self, now_ns: u64) {
        // Set even if the check fails, or it would be repeated after each batch.
        self.batches = 0;
        let Ok(len) = self.stat.read_at(&mut self.text, 0) else { return };
        update(&mut self.cpus, &self.text[..len]);
        let Some(here) = current_cpu() else { return };
        self.decide(here, now_ns, clock::thread_cpu_ns());
    }

    /// Moves by idle times: the reader is on `here`, and has run for `own_ns` in total.
    fn decide(&mut self, here: usize, now_ns: u64, own_ns: u64) {
        let span_ns = now_ns - self.looked_ns;
        let own_span_ns = own_ns.saturating_sub(self.own_ns);
        let went_round = std::mem::take(&mut self.goes_round);
        (self.looked_ns, self.own_ns) = (now_ns, own_ns);
        if span_ns > CPU_PAUSE_MAX_NS {
            return;
        }
        match advice(&self.cpus, Look { here, span_ns, own_span_ns, went_round }) {
            // If that fails it stays.
            Advice::Go(cpu) => _ = run_on([cpu]),
            Advice::GoRound => self.goes_round = self.may_go_round,
            Advice::Stay => {}
        }
    }

    /// Moves to any other CPU; the kernel chooses one. It may move the thread again, if a thread of higher priority
    /// keeps it from running there.
    #[cold]
    fn go_on(&mut self, now_ns: u64) {
        self.came_ns = now_ns;
        // An earlier result may be out of date.
        if now_ns > self.looked_ns + CPU_PAUSE_MAX_NS {
            self.goes_round = false;
        } else if let Some(here) = current_cpu() {
            let others = self.cpus.iter().map(|idle| idle.cpu).filter(|&cpu| cpu != here);
            // If it may run on none of them it stays.
            _ = run_on(others);
        }
    }
}

/// Reads /proc/stat. A CPU that is offline has no line, and counts as busy.
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

/// The number of a CPU and its idle time in ticks, waiting for a disk included: `cpu3 user nice system idle iowait
/// ...` (proc_stat(5)).
fn idle(line: &[u8]) -> Option<(usize, u64)> {
    let mut words = line.strip_prefix(b"cpu")?.split(|&byte| byte == b' ');
    let cpu = number(words.next()?)?;
    let mut times = words.skip(3).map_while(number);
    Some((usize::try_from(cpu).ok()?, times.next()?.saturating_add(times.next()?)))
}

/// `None` if that is no number, or too large.
fn number(word: &[u8]) -> Option<u64> {
    str::from_utf8(word).ok()?.parse().ok()
}

/// Whether other threads have the CPU of the reader for a quarter of the time; and then which CPU is mostly idle,
/// or whether all are busy. Any value in ticks may be one too small.
fn advice(cpus: &[Idle], look: Look) -> Advice {
    let Look { here, span_ns, own_span_ns, went_round } = look;
    let idle_here = cpus.iter().find(|idle| idle.cpu == here);
    let Some((here, idlest)) = idle_here.zip(cpus.iter().max_by_key(|idle| idle.span_ns)) else {
        return Advice::Stay;
    };
    let others_ns = span_ns.saturating_sub(here.span_ns + TICK_NS).saturating_sub(own_span_ns);
    let is_wanted = others_ns >= span_ns / 4;
    if is_wanted && idlest.span_ns >= span_ns / 8 * 5 && idlest.cpu != here.cpu {
        return Advice::Go(idlest.cpu);
    }
    // What it used on other CPUs in that time says nothing about this one; and a little time disturbs no other
    // thread.
    let is_in_the_way = (is_wanted || went_round) && own_span_ns >= span_ns / 16;
    match is_in_the_way && idlest.span_ns + TICK_NS < span_ns / 4 {
        true => Advice::GoRound,
        false => Advice::Stay,
    }
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

    const MS: u64 = 1_000_000;

    /// The decision for CPUs that were idle for `idle` ms of 200, and a reader that ran for `own` ms.
    fn advice_of<const N: usize>(
        idle: [u64; N],
        here: usize,
        own: u64,
        went_round: bool,
    ) -> Advice {
        let cpus: [_; N] =
            std::array::from_fn(|cpu| Idle { cpu, ticks: 0, span_ns: idle[cpu] * MS });
        let (span_ns, own_span_ns) = (200 * MS, own * MS);
        advice(&cpus, Look { here, span_ns, own_span_ns, went_round })
    }

    #[test]
    fn it_goes_where_nobody_is_if_somebody_is_here() {
        assert_eq!(advice_of([180, 0, 190], 1, 60, false), Advice::Go(2));
        assert_eq!(advice_of([180, 0, 190], 1, 180, false), Advice::Stay, "it is here alone");
        assert_eq!(advice_of([180, 140, 190], 1, 40, false), Advice::Stay, "hardly anybody is");
        assert_eq!(advice_of([100, 0, 110], 1, 60, false), Advice::Stay, "nobody is mostly idle");
        assert_eq!(advice_of([0, 0, 130], 2, 0, false), Advice::Stay, "it is there");
        assert_eq!(advice_of([0, 0, 190], 7, 0, false), Advice::Stay);
    }

    #[test]
    fn it_goes_round_if_somebody_is_everywhere() {
        assert_eq!(advice_of([0, 0], 1, 60, false), Advice::GoRound);
        assert_eq!(advice_of([30, 30], 1, 90, false), Advice::GoRound);
        assert_eq!(advice_of([40, 0], 1, 60, false), Advice::Stay, "one may have some time");
        assert_eq!(advice_of([0, 0], 1, 160, false), Advice::Stay, "others have left it this one");
        assert_eq!(advice_of([0, 0], 1, 160, true), Advice::GoRound, "it ran elsewhere, too");
        assert_eq!(advice_of([0, 0], 1, 10, true), Advice::Stay, "it is in nobody's way");
    }

    /// Runs on the real CPUs, with all busy or all idle; `None` if there is only one, or too many.
    fn placement(alone: bool) -> Option<(Placement, Vec<usize>)> {
        let cpus = crate::sys::thread::allowed_cpus();
        let placement = Placement::new(&cpus, alone)?;
        if !(2..=CPU_ROUND_MAX).contains(&cpus.len()) {
            eprintln!("SKIP: {} CPUs", cpus.len());
            return None;
        }
        Some((placement, cpus))
    }

    #[test]
    fn it_goes_on_while_all_are_busy_and_stays_for_a_while_each_time() {
        let Some((mut placement, cpus)) = placement(true) else { return };
        run_on([cpus[0]]).expect("it may be there");
        let here = |placement: &mut Placement, ms: u64| {
            placement.note_batch(ms * MS);
            current_cpu()
        };
        placement.decide(cpus[0], 1000 * MS, 0);
        assert!(!placement.goes_round, "the first look only begins to count");
        placement.decide(cpus[0], 1200 * MS, 60 * MS);
        assert!(placement.goes_round);
        let next = here(&mut placement, 1201);
        assert_ne!(next, Some(cpus[0]));
        assert_eq!(here(&mut placement, 1280), next);
        assert_ne!(here(&mut placement, 1281), next);
        placement.cpus.iter_mut().for_each(|idle| idle.span_ns = 100 * MS);
        placement.decide(cpus[0], 1400 * MS, 120 * MS);
        assert!(!placement.goes_round);
    }

    #[test]
    fn what_was_seen_long_ago_counts_no_more() {
        let Some((mut placement, cpus)) = placement(true) else { return };
        run_on([cpus[0]]).expect("it may be there");
        (placement.looked_ns, placement.goes_round) = (1000 * MS, true);
        placement.note_batch(3000 * MS);
        assert_eq!((current_cpu(), placement.goes_round), (Some(cpus[0]), false));
    }

    #[test]
    fn one_of_several_readers_never_goes_round() {
        let Some((mut placement, cpus)) = placement(false) else { return };
        placement.decide(cpus[0], 1000 * MS, 0);
        placement.decide(cpus[0], 1200 * MS, 60 * MS);
        assert!(!placement.goes_round);
    }

    #[test]
    fn a_look_reads_what_the_kernel_says() {
        let cpus = crate::sys::thread::allowed_cpus();
        let Some(mut placement) = Placement::new(&cpus, true) else { return };
        placement.batches = CPU_BATCHES;
        placement.look(clock::monotonic_ns());
        assert!(placement.cpus.iter().any(|idle| idle.ticks > 0));
        assert_eq!(placement.batches, 0);
    }
}

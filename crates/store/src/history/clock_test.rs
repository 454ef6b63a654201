//! The history clock beside the truth, on a host whose wall clock is set and which is booted at random.

use super::fixture::{DAY, HOUR, Rng, SECOND};
use super::{Catalogue, Entry, HistoryClock, Now};

/// A host, and what really happens.
struct Host {
    rng: Rng,
    /// The true time, ns since 1970.
    true_ns: u64,
    /// The wall clock minus the true time, ns.
    off_ns: i64,
    is_synchronised: bool,
    boot: u8,
    up_ns: u64,
}

const BEGAN: u64 = 1_767_225_600 * SECOND;
/// From 1970 to 2099.
const WRONG: i64 = 70 * 365 * DAY.cast_signed();

impl Host {
    fn new(seed: u64) -> Self {
        let up_ns = HOUR;
        Host {
            rng: Rng::new(seed),
            true_ns: BEGAN,
            off_ns: 0,
            is_synchronised: true,
            boot: 1,
            up_ns,
        }
    }

    fn now(&self) -> Now {
        Now {
            boot_id: [self.boot; 16],
            boottime_ns: self.up_ns,
            monotonic_ns: self.up_ns,
            realtime_ns: self.true_ns.saturating_add_signed(self.off_ns),
            is_synchronised: self.is_synchronised,
        }
    }

    fn run(&mut self, ns: u64) {
        self.true_ns += ns;
        self.up_ns += ns;
    }

    fn set(&mut self, off_ns: i64) {
        (self.off_ns, self.is_synchronised) = (off_ns, false);
    }

    fn synchronise(&mut self) {
        (self.off_ns, self.is_synchronised) = (0, true);
    }

    fn boot(&mut self, pause_ns: u64) {
        self.boot += 1;
        self.true_ns += pause_ns;
        (self.up_ns, self.is_synchronised) = (0, false);
        self.run(SECOND);
    }

    fn any(&mut self) {
        match self.rng.below(5) {
            0 | 1 => {
                let ns = self.rng.below(2 * DAY);
                self.run(ns);
            }
            2 => {
                let off_ns = self.rng.below(2 * WRONG.cast_unsigned());
                self.set(off_ns.cast_signed() - WRONG);
            }
            3 => self.synchronise(),
            _ => {
                let ns = self.rng.below(20 * DAY);
                self.boot(ns);
            }
        }
    }
}

/// What docs/history.md says, from all moments that were seen.
fn naive(seen: &[Now]) -> u64 {
    let mut total_ns = 0;
    let mut open: Option<(u64, Now)> = None;
    for pair in seen.windows(2) {
        let (then, now) = (&pair[0], &pair[1]);
        let wall_ns = now.realtime_ns.saturating_sub(then.realtime_ns);
        if then.boot_id == now.boot_id {
            total_ns += now.boottime_ns - then.boottime_ns;
        } else {
            open = (then.is_synchronised && !now.is_synchronised).then_some((total_ns, *then));
            let is_sure = then.is_synchronised && now.is_synchronised;
            let wall_ns = if is_sure { wall_ns } else { wall_ns.min(DAY) };
            total_ns += wall_ns.max(now.boottime_ns);
        }
        if let Some((before_ns, before)) = open.filter(|_| now.is_synchronised) {
            let sure_ns = before_ns + now.realtime_ns.saturating_sub(before.realtime_ns);
            total_ns = total_ns.max(sure_ns);
            open = None;
        }
    }
    total_ns
}

#[test]
fn it_follows_the_rules_and_is_never_more_than_a_day_a_boot_ahead_of_the_truth() {
    for seed in 0..500 {
        let mut host = Host::new(seed);
        let mut clock = HistoryClock::begin(&host.now());
        let (began_ns, mut seen) = (clock.ns(), vec![host.now()]);
        for _ in 0..60 {
            let before_ns = clock.ns();
            host.any();
            clock.advance(&host.now());
            seen.push(host.now());
            assert!(clock.ns() >= before_ns);
            let passed_ns = clock.ns() - began_ns;
            assert_eq!(passed_ns, naive(&seen), "seed {seed}: {seen:#?}");
            let boots = u64::from(host.boot) - 1;
            assert!(passed_ns <= host.true_ns - BEGAN + boots * DAY, "seed {seed}");
        }
    }
}

#[test]
fn a_host_that_synchronises_its_clock_gets_it_exactly() {
    for seed in 0..100 {
        let mut host = Host::new(seed);
        let mut clock = HistoryClock::begin(&host.now());
        let began_ns = clock.ns();
        for _ in 0..10 {
            let (up_ns, off_ns) = (host.rng.below(9 * DAY), host.rng.below(90 * DAY));
            host.run(up_ns);
            clock.advance(&host.now());
            host.boot(off_ns);
            clock.advance(&host.now());
            host.run(HOUR);
            host.synchronise();
            clock.advance(&host.now());
            assert_eq!(clock.ns() - began_ns, host.true_ns - BEGAN);
        }
    }
}

#[test]
fn a_clock_that_is_set_to_2099_makes_nothing_older() {
    let mut host = Host::new(1);
    let mut clock = HistoryClock::begin(&host.now());
    let began_ns = clock.ns();
    host.set(WRONG);
    host.run(SECOND);
    clock.advance(&host.now());
    assert_eq!(clock.ns() - began_ns, SECOND);
    host.boot(60 * SECOND);
    clock.advance(&host.now());
    assert_eq!(clock.ns() - began_ns, 62 * SECOND);
    // Its clock is put right, 70 years back.
    host.synchronise();
    host.run(HOUR);
    clock.advance(&host.now());
    assert_eq!(clock.ns() - began_ns, HOUR + 62 * SECOND);
    // It is set again, and the next that is seen of it is after a boot.
    let before_ns = clock.ns();
    host.set(WRONG);
    host.boot(60 * SECOND);
    clock.advance(&host.now());
    assert_eq!(clock.ns() - before_ns, DAY);
}

#[test]
fn what_was_closed_before_the_clock_was_synchronised_does_not_become_too_old() {
    let mut host = Host::new(1);
    let mut catalogue = Catalogue::default();
    let entry = |catalogue: &mut Catalogue, host: &Host, name: &str| {
        let clock_ns = catalogue.advance(&host.now());
        let boot_id = host.now().boot_id;
        let entry = Entry { file: name.into(), boot_id, clock_ns, ..Entry::default() };
        catalogue.insert(vec![entry]);
    };
    entry(&mut catalogue, &host, "before");
    host.boot(10 * DAY);
    entry(&mut catalogue, &host, "after");
    let ages = |catalogue: &mut Catalogue, host: &Host| -> Vec<u64> {
        let now_ns = catalogue.advance(&host.now());
        catalogue.entries.iter().map(|entry| entry.age_ns(now_ns)).collect()
    };
    host.run(HOUR);
    assert_eq!(ages(&mut catalogue, &host), [DAY + HOUR, HOUR]);
    host.synchronise();
    assert_eq!(ages(&mut catalogue, &host), [10 * DAY + SECOND + HOUR, HOUR]);
    let saved = Catalogue::decode(&catalogue.encode());
    // Names of segments are checked, and those are none.
    assert_eq!(saved, Err("an entry has a name that no segment has"));
}

#[test]
fn a_time_of_this_boot_or_the_one_before_is_found_and_no_other() {
    let mut host = Host::new(1);
    let mut clock = HistoryClock::begin(&host.now());
    host.run(HOUR);
    clock.advance(&host.now());
    let (first, first_ns) = (host.now(), clock.ns());
    host.boot(HOUR);
    host.run(HOUR);
    clock.advance(&host.now());
    let second = host.now();
    let at = |now: &Now, ns| clock.at_monotonic(&now.boot_id, ns);
    assert_eq!(at(&first, first.monotonic_ns - SECOND), Some(first_ns - SECOND));
    // Recorded after the clock was saved last.
    assert_eq!(at(&first, first.monotonic_ns + SECOND), Some(first_ns + SECOND));
    assert_eq!(at(&second, 2 * SECOND), Some(clock.ns() - HOUR + SECOND));
    // Never in the future.
    assert_eq!(at(&second, u64::MAX), Some(clock.ns()));
    assert_eq!(clock.at_monotonic(&[9; 16], 0), None);
}

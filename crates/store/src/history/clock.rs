//! The history clock: how much time has passed, whatever the wall clock says. docs/history.md, Age.

use crate::limits::{CLOCK_BEGINS_AT_NS, UNSURE_NS_MAX};
use fsmon_format::number::to_ns;
use nix::time::{ClockId, clock_gettime};

/// All clocks at one moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Now {
    /// `/proc/sys/kernel/random/boot_id`, as in the header of a stream.
    pub boot_id: [u8; 16],
    /// `CLOCK_BOOTTIME`, ns.
    pub boottime_ns: u64,
    /// `CLOCK_MONOTONIC`, ns: the clock of records.
    pub monotonic_ns: u64,
    /// `CLOCK_REALTIME`, ns since 1970.
    pub realtime_ns: u64,
    /// Whether the kernel takes its wall clock for synchronised: adjtimex(2), not STA_UNSYNC. Setting the clock clears
    /// it.
    pub is_synchronised: bool,
}

impl Now {
    /// The clocks of this host. What this crate cannot read is given.
    #[must_use]
    pub fn of_this_host(boot_id: [u8; 16], is_synchronised: bool) -> Self {
        let read = |clock| clock_gettime(clock).map_or(0, |time| to_ns(time.into()));
        Now {
            boot_id,
            boottime_ns: read(ClockId::CLOCK_BOOTTIME),
            monotonic_ns: read(ClockId::CLOCK_MONOTONIC),
            realtime_ns: read(ClockId::CLOCK_REALTIME),
            is_synchronised,
        }
    }
}

/// Counts the time that passed since a history was begun.
///
/// Within a boot it goes with `CLOCK_BOOTTIME`. From one boot to the next it goes on by the difference of the wall
/// clocks, by at most [`UNSURE_NS_MAX`] where one of them was not synchronised, and never backwards. Where the wall
/// clock becomes synchronised only after the boot, what was left out is added then.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct HistoryClock {
    /// The time at `at`, ns.
    pub(crate) ns: u64,
    /// The latest moment. A boot id of zeros: there was none yet.
    pub(crate) at: Now,
    /// The end of the boot before, as far as it is known.
    pub(crate) before: Option<Before>,
    /// Whether the time between `before` and the boot of `at` was limited, and can be known once the wall clock is
    /// synchronised.
    pub(crate) is_limited: bool,
}

/// The last moment that was saved in an earlier boot.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Before {
    pub(crate) boot_id: [u8; 16],
    /// The history clock then.
    pub(crate) ns: u64,
    pub(crate) monotonic_ns: u64,
    pub(crate) realtime_ns: u64,
}

impl HistoryClock {
    /// The clock of a history that begins now.
    pub(crate) fn begin(now: &Now) -> Self {
        HistoryClock { ns: CLOCK_BEGINS_AT_NS, at: *now, before: None, is_limited: false }
    }

    /// The time when it was advanced last, ns. Meaningful only in differences.
    #[must_use]
    pub fn ns(&self) -> u64 {
        self.ns
    }

    /// Goes on to `now`. Returns the time by which everything that was dated since the boot must be moved on: the part
    /// of the time before the boot that is known only now. Mostly 0.
    pub(crate) fn advance(&mut self, now: &Now) -> u64 {
        if now.boot_id != self.at.boot_id {
            self.begin_boot(now);
            return 0;
        }
        let passed_ns = now.boottime_ns.saturating_sub(self.at.boottime_ns);
        self.ns = self.ns.saturating_add(passed_ns);
        let boottime_ns = now.boottime_ns.max(self.at.boottime_ns);
        let monotonic_ns = now.monotonic_ns.max(self.at.monotonic_ns);
        self.at = Now { boottime_ns, monotonic_ns, ..*now };
        self.settle()
    }

    fn begin_boot(&mut self, now: &Now) {
        let then = std::mem::replace(&mut self.at, *now);
        self.before = Some(Before {
            boot_id: then.boot_id,
            ns: self.ns,
            monotonic_ns: then.monotonic_ns,
            realtime_ns: then.realtime_ns,
        });
        let is_sure = then.is_synchronised && now.is_synchronised;
        let most_ns = if is_sure { u64::MAX } else { UNSURE_NS_MAX };
        let passed_ns = now.realtime_ns.saturating_sub(then.realtime_ns).min(most_ns);
        // The time since the boot has passed for certain.
        self.ns = self.ns.saturating_add(passed_ns.max(now.boottime_ns));
        self.is_limited = then.is_synchronised && !now.is_synchronised;
    }

    /// Adds what [`UNSURE_NS_MAX`] left out, once the wall clock is synchronised.
    fn settle(&mut self) -> u64 {
        let Some(before) = self.before.filter(|_| self.is_limited && self.at.is_synchronised)
        else {
            return 0;
        };
        self.is_limited = false;
        let passed_ns = self.at.realtime_ns.saturating_sub(before.realtime_ns);
        let missing_ns = before.ns.saturating_add(passed_ns).saturating_sub(self.ns);
        self.ns = self.ns.saturating_add(missing_ns);
        missing_ns
    }

    /// The history clock at a time of `CLOCK_MONOTONIC` in a boot, no later than now; `None` if that boot is neither
    /// this one nor the one before.
    pub(crate) fn at_monotonic(&self, boot_id: &[u8; 16], monotonic_ns: u64) -> Option<u64> {
        let from = |ns: u64, at_ns: u64| {
            let before_ns = at_ns.saturating_sub(monotonic_ns);
            let after_ns = monotonic_ns.saturating_sub(at_ns);
            ns.saturating_sub(before_ns).saturating_add(after_ns).min(self.ns)
        };
        if *boot_id == self.at.boot_id {
            return Some(from(self.ns, self.at.monotonic_ns));
        }
        let before = self.before.filter(|before| before.boot_id == *boot_id)?;
        Some(from(before.ns, before.monotonic_ns))
    }
}

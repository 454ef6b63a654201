//! For how long the reader gathers events before it reads them, after what the last batches were.

use std::time::Duration;

/// After so many batches of so many events each of which nothing was told, as in a storm where nobody
/// watches, so many windows are gathered for: a wake-up costs as much as some twenty such events. Not while
/// few come, as when programs are started elsewhere: what comes in is to be read soon.
const DULL: u32 = 8;
const DULL_EVENTS: u64 = 32;
const DULL_WINDOWS: u32 = 4;

/// After a batch of which so many events were told two windows are gathered for, if that is no longer than
/// this: waking is a tenth and more of what the events of one window cost. Beyond, what waits falls out of
/// the caches, and nothing is won.
const STORM_EVENTS: u64 = 64;
const STORM_WINDOW_MAX: Duration = Duration::from_millis(2);

/// What the last batches were.
#[derive(Default)]
pub(crate) struct Pace {
    /// Batches in a row of which nothing was told.
    dull: u32,
    /// Whether the last was that of a storm.
    storm: bool,
}

impl Pace {
    /// For how long to gather, where the user wants `window`.
    pub(crate) fn gather_for(&self, window: Duration) -> Duration {
        match self.storm {
            _ if self.dull >= DULL => window * DULL_WINDOWS,
            true => window.max((window * 2).min(STORM_WINDOW_MAX)),
            false => window,
        }
    }

    /// A batch of that many events, of which so many were told. Storms are gathered for only where they
    /// may be.
    pub(crate) fn note(&mut self, events: u64, told: u64, may_gather: bool) {
        let is_dull = events >= DULL_EVENTS && told == 0;
        self.dull = if is_dull { self.dull.saturating_add(1) } else { 0 };
        self.storm = may_gather && told >= STORM_EVENTS;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn ms(count: u64) -> Duration {
        Duration::from_millis(count)
    }

    #[test]
    fn a_storm_is_gathered_for_while_it_lasts() {
        let mut pace = Pace::default();
        assert_eq!(pace.gather_for(ms(1)), ms(1));
        pace.note(STORM_EVENTS, STORM_EVENTS, true);
        assert_eq!(pace.gather_for(ms(1)), ms(2));
        assert_eq!(pace.gather_for(Duration::from_micros(250)), Duration::from_micros(500));
        pace.note(STORM_EVENTS, STORM_EVENTS - 1, true);
        assert_eq!(pace.gather_for(ms(1)), ms(1));
        pace.note(9 * STORM_EVENTS, 9 * STORM_EVENTS, false);
        assert_eq!(pace.gather_for(ms(1)), ms(1));
    }

    #[test]
    fn a_long_window_is_long_enough() {
        let mut pace = Pace::default();
        pace.note(STORM_EVENTS, STORM_EVENTS, true);
        assert_eq!([0, 2, 3, 16].map(|count| pace.gather_for(ms(count))), [0, 2, 3, 16].map(ms));
    }

    #[test]
    fn what_nobody_is_told_of_is_read_seldom_after_a_while() {
        let mut pace = Pace::default();
        for _ in 0..DULL {
            assert_eq!(pace.gather_for(ms(1)), ms(1));
            pace.note(DULL_EVENTS, 0, true);
        }
        assert_eq!(pace.gather_for(ms(1)), ms(u64::from(DULL_WINDOWS)));
        pace.note(DULL_EVENTS - 1, 0, true);
        assert_eq!(pace.gather_for(ms(1)), ms(1));
    }
}

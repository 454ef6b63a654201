//! How long the reader gathers events before it reads them, from the last batches.

use crate::limits::reader::{
    DULL_BATCHES, DULL_EVENTS, DULL_WINDOWS, STORM_BATCH_EVENTS, STORM_EVENTS, STORM_WINDOW_MAX,
};
use std::time::Duration;

/// How long to gather in a storm.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
pub(crate) enum Reach {
    /// For one window.
    #[default]
    Window,
    /// Until there are about `STORM_BATCH_EVENTS` events, two windows at most.
    Batch,
    /// For two windows.
    Windows,
}

/// The last batches.
#[derive(Default)]
pub(crate) struct Pace {
    /// Batches in a row of which nothing was reported.
    dull: u32,
    /// Events of the last batch, how long they were gathered, and what applies after it.
    events: u32,
    gathered: Duration,
    reach: Reach,
}

impl Pace {
    /// How long to gather now, if the user wants `window`.
    pub(crate) fn gather_for(&mut self, window: Duration) -> Duration {
        let longest = window.max((window * 2).min(STORM_WINDOW_MAX));
        self.gathered = match self.reach {
            _ if self.dull >= DULL_BATCHES => window * DULL_WINDOWS,
            Reach::Window => window,
            Reach::Batch => {
                (self.gathered * STORM_BATCH_EVENTS / self.events).clamp(window, longest)
            }
            Reach::Windows => longest,
        };
        self.gathered
    }

    /// Records a batch of `events` events, of which `reported` were reported; in a storm `reach` applies.
    pub(crate) fn note(&mut self, events: u64, reported: u64, reach: Reach) {
        let is_dull = events >= DULL_EVENTS && reported == 0;
        self.dull = if is_dull { self.dull.saturating_add(1) } else { 0 };
        self.events = u32::try_from(events).unwrap_or(u32::MAX).max(1);
        self.reach = if reported >= STORM_EVENTS { reach } else { Reach::Window };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn ms(count: u64) -> Duration {
        Duration::from_millis(count)
    }

    /// After a batch of so many events, gathered for so long, where processes come and go or not.
    fn after(events: u64, gathered: Duration, window: Duration) -> [Duration; 2] {
        [Reach::Batch, Reach::Windows].map(|reach| {
            let mut pace = Pace { gathered, ..Pace::default() };
            pace.note(events, events, reach);
            pace.gather_for(window)
        })
    }

    #[test]
    fn a_storm_is_gathered_for_while_it_lasts() {
        let mut pace = Pace::default();
        assert_eq!(pace.gather_for(ms(1)), ms(1));
        for reach in [Reach::Batch, Reach::Windows] {
            pace.note(STORM_EVENTS, STORM_EVENTS, reach);
            assert_eq!(pace.gather_for(ms(1)), ms(2));
            pace.note(STORM_EVENTS, STORM_EVENTS - 1, reach);
            assert_eq!(pace.gather_for(ms(1)), ms(1));
        }
        pace.note(2 * STORM_EVENTS, 2 * STORM_EVENTS, Reach::Window);
        assert_eq!(pace.gather_for(ms(1)), ms(1));
    }

    #[test]
    fn where_processes_come_and_go_as_many_gather_as_make_a_batch() {
        assert_eq!(after(320, ms(1), ms(1)), [Duration::from_micros(1250), ms(2)]);
        assert_eq!(after(400, ms(2), ms(1)), [ms(2), ms(2)]);
        assert_eq!(after(500, ms(2), ms(1)), [ms(2) * 4 / 5, ms(2)]);
        assert_eq!(after(500, ms(1), ms(1)), [ms(1), ms(2)]);
        assert_eq!(after(u64::MAX, ms(2), ms(1)), [ms(1), ms(2)]);
    }

    #[test]
    fn a_short_window_is_doubled_and_a_long_one_is_long_enough() {
        let half = Duration::from_micros(500);
        assert_eq!(after(100, half, half), [ms(1); 2]);
        for window in [0, 2, 3, 16, 1000].map(ms) {
            assert_eq!(after(100, window, window), [window; 2]);
        }
    }

    #[test]
    fn batches_without_reports_are_read_seldom_after_a_while() {
        let mut pace = Pace::default();
        for _ in 0..DULL_BATCHES {
            assert_eq!(pace.gather_for(ms(1)), ms(1));
            pace.note(DULL_EVENTS, 0, Reach::Windows);
        }
        assert_eq!(pace.gather_for(ms(1)), ms(u64::from(DULL_WINDOWS)));
        pace.note(DULL_EVENTS - 1, 0, Reach::Windows);
        assert_eq!(pace.gather_for(ms(1)), ms(1));
    }
}

//! Whether renames are ignored, too, in busy directories that are not watched.
//!
//! A mark that ignores RENAME on one of the two directories suppresses the event, so a move between such a
//! directory and a watched one would be missed. But the kernel can also report the two sides: MOVED_FROM where a
//! name goes, and MOVED_TO where one comes. Of these a mark suppresses only its own side (seen on 6.18). They are
//! two more events for each reported rename, so fsmon asks for them only while most renames are outside the watched
//! paths.

use crate::limits::tables::{
    RENAME_RATE_LEAST, RENAME_RATE_MOST, RENAMES_LOOKED_AT, RENAMES_OUTSIDE_PER_REPORT,
    RENAMES_PAUSE_ROUNDS_MAX, SIDES_LINGER_ROUNDS,
};

/// What is due at the end of a round.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Due {
    Nothing,
    /// Renames must be reported again.
    HearRenames,
    /// The sides are no longer needed.
    DropSides,
}

/// Counts renames, and decides whether to ignore those outside.
pub(crate) struct Renames {
    /// Renames of files outside the watched paths, the first of them at `since_ns`, and all other renames; while it
    /// is on, those of this round.
    outside: u32,
    reported: u32,
    since_ns: u64,
    /// Renames per second outside the watched paths when it began.
    rate: u64,
    is_on: bool,
    /// Rounds since it began.
    rounds: u32,
    /// Rounds for which the sides are still reported.
    lingers: u32,
    /// Rounds until it may begin again, and how many that will be the next time.
    wait: u32,
    pause: u32,
}

impl Renames {
    pub(crate) fn new() -> Self {
        Renames {
            outside: 0,
            reported: 0,
            since_ns: 0,
            rate: 0,
            is_on: false,
            rounds: 0,
            lingers: 0,
            wait: 0,
            pause: 1,
        }
    }

    /// Whether renames may be ignored.
    #[inline]
    pub(crate) fn is_on(&self) -> bool {
        self.is_on
    }

    /// Counts a rename within or across the watched paths.
    #[inline]
    pub(crate) fn note_reported(&mut self) {
        self.reported = self.reported.saturating_add(1);
    }

    /// Counts a rename of a file outside the watched paths. Returns whether to begin.
    pub(crate) fn note_outside(&mut self, now_ns: u64) -> bool {
        if self.outside == 0 {
            self.since_ns = now_ns;
        }
        self.outside = self.outside.saturating_add(1);
        if self.is_on || self.outside.saturating_add(self.reported) < RENAMES_LOOKED_AT {
            return false;
        }
        let span_ns = now_ns.saturating_sub(self.since_ns).max(1);
        self.rate = (u64::from(self.outside) * 1_000_000_000 / span_ns).min(RENAME_RATE_MOST);
        let begins = self.wait == 0
            && self.outside / RENAMES_OUTSIDE_PER_REPORT >= self.reported
            && self.rate >= RENAME_RATE_LEAST;
        (self.outside, self.reported) = (0, 0);
        begins
    }

    /// The sides are reported from now on.
    pub(crate) fn begin(&mut self) {
        (self.is_on, self.rounds, self.reported, self.outside) = (true, 0, 0, 0);
    }

    /// Ends a round. The phase ends if the sides cost more than they save.
    pub(crate) fn end_round(&mut self) -> Due {
        if !self.is_on {
            self.wait = self.wait.saturating_sub(1);
            let lingered = self.lingers == 1;
            self.lingers = self.lingers.saturating_sub(1);
            return if lingered { Due::DropSides } else { Due::Nothing };
        }
        self.rounds = self.rounds.saturating_add(1);
        // In the first two rounds `outside` also has renames that are about to be ignored, so it does not count.
        let counted = if self.rounds > 2 {
            self.reported.saturating_add(self.outside)
        } else {
            self.reported
        };
        (self.reported, self.outside) = (0, 0);
        let is_old =
            self.rounds >= RENAMES_PAUSE_ROUNDS_MAX && u64::from(counted) >= RENAME_RATE_LEAST;
        if is_old || u64::from(counted) > self.rate / 4 { Due::HearRenames } else { Due::Nothing }
    }

    /// Renames of all directories are reported.
    pub(crate) fn end(&mut self) {
        self.is_on = false;
        if self.rounds >= RENAMES_PAUSE_ROUNDS_MAX {
            self.pause = 1;
        }
        self.lingers = SIDES_LINGER_ROUNDS;
        self.wait = self.pause + SIDES_LINGER_ROUNDS;
        self.pause = (2 * self.pause).min(RENAMES_PAUSE_ROUNDS_MAX);
        (self.outside, self.reported) = (0, 0);
    }

    /// The sides could not be turned off everywhere: that is due again after a round.
    pub(crate) fn linger(&mut self) {
        self.lingers = 1;
    }

    /// The kernel does not support it: never begin.
    pub(crate) fn give_up(&mut self) {
        self.wait = u32::MAX;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: u64 = 1_000_000_000;

    /// As many as it takes, within a second.
    fn begins(renames: &mut Renames, now_ns: u64) -> bool {
        let times = (0..RENAMES_LOOKED_AT)
            .map(|i| now_ns + SECOND * u64::from(i) / u64::from(RENAMES_LOOKED_AT));
        times.filter(|&now_ns| renames.note_outside(now_ns)).count() > 0
    }

    #[test]
    fn it_begins_where_most_renames_are_outside_and_many() {
        let mut renames = Renames::new();
        let few = |i: u32| SECOND * u64::from(i) * 2 / u64::from(RENAMES_LOOKED_AT);
        (0..RENAMES_LOOKED_AT).for_each(|i| assert!(!renames.note_outside(few(i)), "few"));
        assert!(begins(&mut renames, 9 * SECOND));
        let mut renames = Renames::new();
        (0..RENAMES_LOOKED_AT / 4).for_each(|_| renames.note_reported());
        assert!(!begins(&mut renames, 1), "many are reported");
        renames.give_up();
        renames.end_round();
        assert!(!begins(&mut renames, 2));
    }

    #[test]
    fn it_ends_where_it_costs_more_than_it_saves() {
        let mut renames = Renames::new();
        assert!(begins(&mut renames, SECOND));
        renames.begin();
        (0..2 * RENAMES_LOOKED_AT).for_each(|_| assert!(!renames.note_outside(SECOND)));
        assert_eq!(renames.end_round(), Due::Nothing, "those are about to be ignored");
        (0..=RENAMES_LOOKED_AT / 2).for_each(|_| renames.note_reported());
        assert_eq!(renames.end_round(), Due::HearRenames);
    }

    #[test]
    fn it_ends_also_where_all_came_at_once() {
        let mut renames = Renames::new();
        assert!((0..RENAMES_LOOKED_AT).any(|_| renames.note_outside(SECOND)));
        renames.begin();
        (0..RENAME_RATE_MOST).for_each(|_| renames.note_reported());
        assert_eq!(renames.end_round(), Due::HearRenames);
    }

    #[test]
    fn after_long_it_is_seen_anew_what_it_is_worth() {
        let mut renames = Renames::new();
        assert!((0..RENAMES_LOOKED_AT).any(|_| renames.note_outside(SECOND)));
        renames.begin();
        for round in 1..=RENAMES_PAUSE_ROUNDS_MAX {
            (0..RENAME_RATE_LEAST).for_each(|_| renames.note_reported());
            assert_eq!(renames.end_round() == Due::HearRenames, round == RENAMES_PAUSE_ROUNDS_MAX);
        }
    }

    #[test]
    fn it_ends_where_those_outside_are_not_ignored_and_waits_longer_each_time() {
        let (mut renames, mut now_ns) = (Renames::new(), 0);
        for pause in [1, 2, 4] {
            now_ns += SECOND;
            assert!(begins(&mut renames, now_ns));
            renames.begin();
            for round in 0..3 {
                (0..=RENAMES_LOOKED_AT / 2).for_each(|_| assert!(!renames.note_outside(now_ns)));
                assert_eq!(renames.end_round() == Due::HearRenames, round == 2);
            }
            renames.end();
            for round in 1..=pause + SIDES_LINGER_ROUNDS {
                now_ns += SECOND;
                assert!(!begins(&mut renames, now_ns) && !renames.is_on());
                assert_eq!(renames.end_round() == Due::DropSides, round == SIDES_LINGER_ROUNDS);
            }
        }
        renames.begin();
        (0..RENAMES_PAUSE_ROUNDS_MAX).for_each(|_| assert_eq!(renames.end_round(), Due::Nothing));
        renames.end();
        (0..=SIDES_LINGER_ROUNDS).for_each(|_| assert_ne!(renames.end_round(), Due::HearRenames));
        assert!(begins(&mut renames, now_ns), "it was worth it for long");
    }
}

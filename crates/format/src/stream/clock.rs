//! The clock in force while a stream is written, and how often it was set.

use crate::limits::CLOCK_STEP_NS;

/// Both clocks at one moment, and the count that CLOCK records carry.
#[derive(Clone, Copy)]
pub(super) struct ClockInForce {
    pub(super) time_ns: u64,
    pub(super) realtime_ns: u64,
    /// [`crate::record::Clock::steps`]
    pub(super) steps: u32,
    /// Wall time minus `time_ns` when `steps` last changed, modulo 2⁶⁴.
    ahead_ns: u64,
}

impl ClockInForce {
    /// The clock at the beginning of a stream, without counting.
    pub(super) fn new(time_ns: u64, realtime_ns: u64) -> Self {
        let ahead_ns = realtime_ns.wrapping_sub(time_ns);
        ClockInForce { time_ns, realtime_ns, steps: 0, ahead_ns }
    }

    /// The clocks were read again.
    pub(super) fn set(&mut self, time_ns: u64, realtime_ns: u64) {
        (self.time_ns, self.realtime_ns) = (time_ns, realtime_ns);
        let ahead_ns = realtime_ns.wrapping_sub(time_ns);
        if is_step(self.ahead_ns, ahead_ns) {
            self.ahead_ns = ahead_ns;
            // 0: not counted, or no longer after 2³² steps.
            self.steps = if self.steps == 0 { 0 } else { self.steps.wrapping_add(1) };
        }
    }
}

/// Whether the wall clock was set between two moments. The arguments are how far it was ahead of the monotonic
/// clock at each.
pub(super) fn is_step(one_ns: u64, other_ns: u64) -> bool {
    one_ns.wrapping_sub(other_ns).cast_signed().unsigned_abs() > CLOCK_STEP_NS
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn steps_are_counted_and_drift_is_not() {
        let second = CLOCK_STEP_NS;
        let mut clock = ClockInForce { steps: 1, ..ClockInForce::new(second, 100 * second) };
        let mut steps_after = |time_s: u64, realtime_s: u64| {
            clock.set(time_s * second, realtime_s * second);
            clock.steps
        };
        assert_eq!(steps_after(2, 101), 1);
        assert_eq!(steps_after(3, 103), 1, "a second is a leap second");
        assert_eq!(steps_after(4, 105), 2, "and another one adds up to a step");
        assert_eq!(steps_after(5, 3), 3, "set back");
        assert_eq!(steps_after(6, 4), 3);
    }

    #[test]
    fn a_count_that_is_full_says_nothing_any_more() {
        let mut clock = ClockInForce { steps: u32::MAX, ..ClockInForce::new(0, 0) };
        clock.set(0, 2 * CLOCK_STEP_NS);
        assert_eq!(clock.steps, 0);
        clock.set(0, 9 * CLOCK_STEP_NS);
        assert_eq!(clock.steps, 0);
    }
}

//! Wall time: from the monotonic clock of the events to what is printed.

use crate::text::number;
use fsmon_format::number::to_ns;
use jiff::Timestamp;
use jiff::tz::TimeZone;
use nix::time::{ClockId, clock_gettime};
use std::fmt::Display;
use std::io::Write;

const SECOND_NS: u64 = 1_000_000_000;

/// The two clocks at one moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Wall {
    mono_ns: u64,
    real_ns: u64,
}

impl Wall {
    /// Both clocks of this host now, read one right after the other.
    pub fn of_this_host() -> Self {
        let now_ns = |clock| clock_gettime(clock).map_or(0, |time| to_ns(time.into()));
        let mono_ns = now_ns(ClockId::CLOCK_MONOTONIC);
        Wall { mono_ns, real_ns: now_ns(ClockId::CLOCK_REALTIME) }
    }

    /// The moment by both clocks: monotonic, and since 1970.
    pub fn moment(&self) -> (u64, u64) {
        (self.mono_ns, self.real_ns)
    }

    /// Sets the anchor: `mono_ns` was at `real_ns` (since 1970).
    pub fn anchor(&mut self, mono_ns: u64, real_ns: u64) {
        *self = Wall { mono_ns, real_ns };
    }

    /// ns since 1970 at `mono_ns`, which may lie on either side of the anchor.
    #[inline]
    pub fn real_ns(&self, mono_ns: u64) -> u64 {
        self.real_ns.wrapping_add(mono_ns.wrapping_sub(self.mono_ns))
    }
}

/// Times as text. Caches the last one, as all events of a batch have the same time, and so the part of it
/// that changes once a second.
pub struct Stamp<const LEN: usize> {
    at_ns: u64,
    text: [u8; LEN],
    layout: TimeLayout<LEN>,
    zone: TimeZone,
}

/// `2026-01-31T23:59:59.123456789Z`
pub type Utc = Stamp<30>;

/// How a time is written.
#[derive(Clone, Copy)]
struct TimeLayout<const LEN: usize> {
    /// The whole second, with zeros for the fraction.
    second: fn(&TimeZone, Timestamp) -> [u8; LEN],
    /// Start and end of the fraction's digits.
    fraction: (usize, usize),
    /// The unit of the last digit, in ns.
    unit_ns: u64,
}

impl Utc {
    /// RFC 3339 in UTC, with nanoseconds.
    pub fn utc() -> Self {
        let second = |zone: &TimeZone, at| {
            laid_out(zone.to_datetime(at).strftime("%Y-%m-%dT%H:%M:%S.000000000Z"))
        };
        Stamp::new(TimeZone::UTC, TimeLayout { second, fraction: (20, 29), unit_ns: 1 })
    }
}

impl Stamp<12> {
    /// `23:59:59.123` in a zone.
    pub fn time_of_day(zone: TimeZone) -> Self {
        let second = |zone: &TimeZone, at| laid_out(zone.to_datetime(at).strftime("%H:%M:%S.000"));
        Stamp::new(zone, TimeLayout { second, fraction: (9, 12), unit_ns: 1_000_000 })
    }
}

impl Stamp<24> {
    /// `2026-01-31T23:59:59.123Z`
    pub fn utc_millis() -> Self {
        let second =
            |zone: &TimeZone, at| laid_out(zone.to_datetime(at).strftime("%Y-%m-%dT%H:%M:%S.000Z"));
        Stamp::new(TimeZone::UTC, TimeLayout { second, fraction: (20, 23), unit_ns: 1_000_000 })
    }
}

impl Stamp<29> {
    /// `2026-01-31T23:59:59.123+01:00` in a zone.
    pub fn local_with_date(zone: TimeZone) -> Self {
        let second = |zone: &TimeZone, at: Timestamp| {
            laid_out(at.to_zoned(zone.clone()).strftime("%Y-%m-%dT%H:%M:%S.000%:z"))
        };
        Stamp::new(zone, TimeLayout { second, fraction: (20, 23), unit_ns: 1_000_000 })
    }
}

impl<const LEN: usize> Stamp<LEN> {
    fn new(zone: TimeZone, layout: TimeLayout<LEN>) -> Self {
        let text = (layout.second)(&zone, Timestamp::UNIX_EPOCH);
        Stamp { at_ns: 0, text, layout, zone }
    }

    /// The text of a time, in ns since 1970.
    #[inline]
    pub fn text(&mut self, real_ns: u64) -> &[u8; LEN] {
        if real_ns != self.at_ns {
            self.turn(real_ns);
        }
        &self.text
    }

    /// Renders another time: once a batch. The whole second is rendered once a second.
    #[cold]
    fn turn(&mut self, real_ns: u64) {
        let TimeLayout { second, fraction: (start, end), unit_ns } = self.layout;
        let seconds = real_ns / SECOND_NS;
        if seconds != self.at_ns / SECOND_NS {
            let at = i64::try_from(seconds).ok().and_then(|at| Timestamp::from_second(at).ok());
            self.text = second(&self.zone, at.unwrap_or(Timestamp::MAX));
        }
        number::fill(real_ns % SECOND_NS / unit_ns, &mut self.text[start..end]);
        self.at_ns = real_ns;
    }
}

/// `text` in exactly `LEN` bytes; question marks if it does not fit. Allocates nothing.
fn laid_out<const LEN: usize>(text: impl Display) -> [u8; LEN] {
    let mut room = [0; LEN];
    let mut left = &mut room[..];
    match write!(left, "{text}") {
        Ok(()) if left.is_empty() => room,
        _ => [b'?'; LEN],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nanoseconds_in_utc() {
        let mut utc = Stamp::utc();
        for (real_ns, text) in [
            (1_700_000_000_000_000_042, "2023-11-14T22:13:20.000000042Z"),
            (1_700_000_000_000_000_042, "2023-11-14T22:13:20.000000042Z"),
            (1_700_000_000_999_999_999, "2023-11-14T22:13:20.999999999Z"),
            (0, "1970-01-01T00:00:00.000000000Z"),
            (u64::MAX, "2554-07-21T23:34:33.709551615Z"),
        ] {
            assert_eq!(utc.text(real_ns), text.as_bytes());
        }
        assert_eq!(Stamp::utc().text(0), b"1970-01-01T00:00:00.000000000Z");
    }

    #[test]
    fn milliseconds_of_the_day() {
        let zone = TimeZone::fixed(jiff::tz::offset(2));
        let mut local = Stamp::time_of_day(zone);
        assert_eq!(local.text(1_700_000_000_987_654_321), b"00:13:20.987");
    }

    #[test]
    fn the_anchor_serves_both_sides() {
        let mut wall = Wall::default();
        wall.anchor(1000, 5000);
        assert_eq!([wall.real_ns(999), wall.real_ns(1001)], [4999, 5001]);
    }
}

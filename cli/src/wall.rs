//! Wall time: from the monotonic clock of the events to what is printed.

use jiff::Timestamp;
use jiff::tz::TimeZone;
use nix::time::{ClockId, clock_gettime};
use std::fmt::Display;
use std::io::Write;
use std::time::Duration;

const SECOND_NS: u64 = 1_000_000_000;

/// Where the two clocks stood at one moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Wall {
    mono_ns: u64,
    real_ns: u64,
}

impl Wall {
    /// Both clocks of this host now, as near to each other as two calls are.
    pub(crate) fn of_this_host() -> Self {
        let now_ns =
            |clock| clock_gettime(clock).map_or(0, |time| Duration::from(time).as_nanos() as u64);
        let mono_ns = now_ns(ClockId::CLOCK_MONOTONIC);
        Wall { mono_ns, real_ns: now_ns(ClockId::CLOCK_REALTIME) }
    }

    /// The moment by both clocks: monotonic, and since 1970.
    pub(crate) fn moment(&self) -> (u64, u64) {
        (self.mono_ns, self.real_ns)
    }

    /// From now on, `mono_ns` was at `real_ns` (since 1970).
    pub(crate) fn anchor(&mut self, mono_ns: u64, real_ns: u64) {
        *self = Wall { mono_ns, real_ns };
    }

    /// ns since 1970 at `mono_ns`, which may lie on either side of the anchor.
    #[inline]
    pub(crate) fn real_ns(&self, mono_ns: u64) -> u64 {
        self.real_ns.wrapping_add(mono_ns.wrapping_sub(self.mono_ns))
    }
}

/// Writes times; the part that changes once a second is kept.
pub(crate) struct Stamp<const LEN: usize> {
    second: u64,
    text: [u8; LEN],
    render: fn(&TimeZone, Timestamp) -> [u8; LEN],
    zone: TimeZone,
}

/// `2026-01-31T23:59:59.`
pub(crate) type Utc = Stamp<20>;
/// `23:59:59.`
pub(crate) type Local = Stamp<9>;

impl Utc {
    /// RFC 3339 in UTC.
    pub(crate) fn utc() -> Self {
        Stamp::new(TimeZone::UTC, |zone, at| {
            laid_out(zone.to_datetime(at).strftime("%Y-%m-%dT%H:%M:%S."))
        })
    }

    /// Appends the time with its nanoseconds.
    #[inline]
    pub(crate) fn append(&mut self, real_ns: u64, out: &mut Vec<u8>) {
        self.append_second(real_ns / SECOND_NS, out);
        crate::text::number::append_padded::<9>(real_ns % SECOND_NS, out);
        out.push(b'Z');
    }
}

impl Local {
    /// The time of day where this runs.
    pub(crate) fn local() -> Self {
        Stamp::in_zone(TimeZone::system())
    }

    fn in_zone(zone: TimeZone) -> Self {
        Stamp::new(zone, |zone, at| laid_out(zone.to_datetime(at).strftime("%H:%M:%S.")))
    }

    /// Appends the time of day with its milliseconds.
    pub(crate) fn append(&mut self, real_ns: u64, out: &mut Vec<u8>) {
        self.append_second(real_ns / SECOND_NS, out);
        crate::text::number::append_padded::<3>(real_ns % SECOND_NS / 1_000_000, out);
    }
}

impl<const LEN: usize> Stamp<LEN> {
    fn new(zone: TimeZone, render: fn(&TimeZone, Timestamp) -> [u8; LEN]) -> Self {
        Stamp { second: u64::MAX, text: [0; LEN], render, zone }
    }

    #[inline]
    fn append_second(&mut self, second: u64, out: &mut Vec<u8>) {
        if second != self.second {
            self.turn(second);
        }
        out.extend_from_slice(&self.text);
    }

    /// A new second: once a second at the most while time goes on.
    #[cold]
    fn turn(&mut self, second: u64) {
        let at = i64::try_from(second).ok().and_then(|second| Timestamp::from_second(second).ok());
        self.text = (self.render)(&self.zone, at.unwrap_or(Timestamp::MAX));
        self.second = second;
    }
}

/// Where it does not fit, question marks. Allocates nothing.
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
        let (mut utc, mut out) = (Stamp::utc(), Vec::new());
        utc.append(1_700_000_000_000_000_042, &mut out);
        utc.append(0, &mut out);
        assert_eq!(
            String::from_utf8(out).expect("UTF-8"),
            "2023-11-14T22:13:20.000000042Z1970-01-01T00:00:00.000000000Z"
        );
    }

    #[test]
    fn milliseconds_of_the_day() {
        let zone = TimeZone::fixed(jiff::tz::offset(2));
        let (mut local, mut out) = (Local::in_zone(zone), Vec::new());
        local.append(1_700_000_000_987_654_321, &mut out);
        assert_eq!(String::from_utf8(out).expect("UTF-8"), "00:13:20.987");
    }

    #[test]
    fn the_anchor_serves_both_sides() {
        let mut wall = Wall::default();
        wall.anchor(1000, 5000);
        assert_eq!([wall.real_ns(999), wall.real_ns(1001)], [4999, 5001]);
    }
}

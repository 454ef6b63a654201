//! Moments on the command line: `2026-01-31T23:59:59Z`, `2026-01-31 23:59`, `23:59`, `10m` ago.

use crate::duration;
use jiff::civil::{DateTime, Time};
use jiff::{Timestamp, Zoned};

/// A part of the time: from a moment on, and up to another, both included. ns since 1970.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Range {
    pub(crate) since: Option<u64>,
    pub(crate) until: Option<u64>,
}

impl Range {
    #[inline]
    pub(crate) fn has(&self, realtime_ns: u64) -> bool {
        self.since.is_none_or(|since| since <= realtime_ns)
            && self.until.is_none_or(|until| realtime_ns <= until)
    }
}

/// Parses a moment, to ns since 1970. Where no zone is told it is that of this host.
pub(crate) fn parse(text: &str) -> Result<u64, String> {
    moment(text, &Zoned::now()).ok_or_else(|| {
        "write 2026-01-31T23:59:59Z, or 2026-01-31 23:59 or 23:59 in this zone, or 10m for ten \
         minutes ago"
            .to_owned()
    })
}

fn moment(text: &str, now: &Zoned) -> Option<u64> {
    // `10` is ten seconds, and no hour.
    let time = || text.parse::<Time>().ok().filter(|_| text.contains(':'));
    let zoned = |civil: DateTime| civil.to_zoned(now.time_zone().clone()).ok();
    let moment = text
        .parse::<Timestamp>()
        .ok()
        .or_else(|| Some(zoned(text.parse::<DateTime>().ok()?)?.timestamp()))
        .or_else(|| Some(zoned(now.date().to_datetime(time()?))?.timestamp()))
        .or_else(|| now.timestamp().checked_sub(duration::parse(text).ok()?).ok())?;
    moment.as_nanosecond().try_into().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use jiff::tz::{TimeZone, offset};

    #[test]
    fn moments_are_understood_as_they_are_written() {
        let zone = TimeZone::fixed(offset(2));
        let now = Timestamp::from_second(1_767_225_600).expect("a time").to_zoned(zone);
        let second = |text: &str| moment(text, &now).map(|ns| ns / 1_000_000_000);
        assert_eq!(now.to_string(), "2026-01-01T02:00:00+02:00[+02:00]");
        assert_eq!(second("2026-01-01T00:00:05Z"), Some(1_767_225_605));
        assert_eq!(second("2026-01-01T02:00:05+02:00"), Some(1_767_225_605));
        assert_eq!(second("2026-01-01 02:00:05"), Some(1_767_225_605));
        assert_eq!(second("2026-01-01T02:00"), Some(1_767_225_600));
        assert_eq!(second("2026-01-01"), Some(1_767_225_600 - 7200));
        assert_eq!(second("01:30"), Some(1_767_225_600 - 1800));
        assert_eq!(second("01:30:10"), Some(1_767_225_600 - 1790));
        assert_eq!(second("10m"), Some(1_767_225_600 - 600));
        assert_eq!(second("10"), Some(1_767_225_600 - 10));
        assert_eq!(second("2d"), Some(1_767_225_600 - 172_800));
        for text in ["", "soon", "25:00", "2026-13-01", "1900-01-01", "-5m"] {
            assert_eq!(second(text), None, "{text}");
        }
    }

    #[test]
    fn both_ends_are_within() {
        let range = Range { since: Some(5), until: Some(7) };
        assert_eq!([4, 5, 7, 8].map(|ns| range.has(ns)), [false, true, true, false]);
        let all = Range { since: None, until: None };
        assert!(all.has(0) && all.has(u64::MAX));
    }
}

//! The times in lines for people.

use super::number;
use crate::wall::{Stamp, Utc};
use fsmon_format::named;
use jiff::civil::Date;
use jiff::tz::{Offset, TimeZone};
use jiff::{Timestamp, Zoned};
use std::io::Write;

/// The beginning of a line that [`NewDate`] writes.
pub const DATE_PREFIX: &[u8] = b"-- ";

const SECOND_NS: u64 = 1_000_000_000;
/// Width of a time since the line before: the same as the time of day.
const DELTA_WIDTH: usize = 12;

/// Time formats other than the time of day.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum TimeFormat {
    /// As in JSON: 2026-01-31T23:59:59.123456789Z
    Rfc3339,
    /// Of this zone, with date and offset: 2026-02-01T00:59:59.123+01:00
    Local,
    /// The same in UTC: 2026-01-31T23:59:59.123Z
    Utc,
    /// Seconds since the line before
    Delta,
}

named!(TimeFormat { Rfc3339 = "rfc3339", Local = "local", Utc = "utc", Delta = "delta" });

/// Writes the times of lines.
pub(crate) enum When {
    /// The time of day in this zone, and a separate line whenever another day begins.
    Day(Box<Day>),
    Rfc3339(Utc),
    Local(Stamp<29>),
    Utc(Stamp<24>),
    /// With the time of the line before, ns since 1970.
    Delta(Option<u64>),
}

/// The time of day, and the date and offset that it leaves out.
pub(crate) struct Day {
    stamp: Stamp<12>,
    zone: TimeZone,
    /// The date and offset printed last, or those at the start: the reader assumes them.
    date: Date,
    offset: Offset,
    /// The second that was checked last, since 1970.
    second: u64,
}

impl When {
    /// With `None` the time of day.
    pub fn new(format: Option<TimeFormat>) -> Self {
        match format {
            None => When::Day(Box::new(Day::from(&Zoned::now()))),
            Some(TimeFormat::Rfc3339) => When::Rfc3339(Stamp::utc()),
            Some(TimeFormat::Local) => When::Local(Stamp::local_with_date(TimeZone::system())),
            Some(TimeFormat::Utc) => When::Utc(Stamp::utc_millis()),
            Some(TimeFormat::Delta) => When::Delta(None),
        }
    }

    /// If lines have the time of day only: the date to print before a line of that time (ns since 1970), if it
    /// changed.
    #[inline]
    pub fn new_date(&mut self, real_ns: u64) -> Option<NewDate> {
        match self {
            When::Day(day) if real_ns / SECOND_NS != day.second => day.new_date(real_ns),
            _ => None,
        }
    }

    /// Appends the time of a line, ns since 1970.
    #[inline]
    pub fn append(&mut self, real_ns: u64, out: &mut Vec<u8>) {
        match self {
            When::Day(day) => out.extend_from_slice(day.stamp.text(real_ns)),
            When::Rfc3339(stamp) => out.extend_from_slice(stamp.text(real_ns)),
            When::Local(stamp) => out.extend_from_slice(stamp.text(real_ns)),
            When::Utc(stamp) => out.extend_from_slice(stamp.text(real_ns)),
            When::Delta(before) => {
                let before = before.replace(real_ns).unwrap_or(real_ns);
                append_delta(before, real_ns, out);
            }
        }
    }
}

impl When {
    /// Appends a time, ns since 1970, with its date, whatever lines have. Rare, so it may allocate.
    #[cold]
    pub fn append_with_date(&mut self, real_ns: u64, out: &mut Vec<u8>) {
        match self {
            When::Day(day) => {
                out.extend_from_slice(Stamp::local_with_date(day.zone.clone()).text(real_ns));
            }
            When::Delta(_) => out.extend_from_slice(Stamp::utc().text(real_ns)),
            When::Rfc3339(_) | When::Local(_) | When::Utc(_) => self.append(real_ns, out),
        }
    }
}

/// Another day, or the same day with another offset from UTC.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NewDate {
    date: Date,
    /// `None`: the same as before.
    offset: Option<Offset>,
}

impl NewDate {
    /// Appends `-- 2026-11-01 --`, or `-- 2026-11-01 UTC-05:00 --`. No event begins like that.
    pub fn append(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(DATE_PREFIX);
        let date = self.date;
        // A buffer in memory takes everything.
        let _ = match self.offset {
            None => write!(out, "{date} --"),
            Some(offset) => {
                let seconds = offset.seconds();
                let (sign, minutes) = (if seconds < 0 { '-' } else { '+' }, seconds.abs() / 60);
                write!(out, "{date} UTC{sign}{:02}:{:02} --", minutes / 60, minutes % 60)
            }
        };
    }
}

impl Day {
    fn from(now: &Zoned) -> Self {
        let zone = now.time_zone().clone();
        Day {
            stamp: Stamp::time_of_day(zone.clone()),
            zone,
            date: now.date(),
            offset: now.offset(),
            second: u64::MAX,
        }
    }

    /// Checks another second: at most once a second, or once a line of an old recording.
    #[cold]
    fn new_date(&mut self, real_ns: u64) -> Option<NewDate> {
        self.second = real_ns / SECOND_NS;
        let at = Timestamp::from_second(i64::try_from(self.second).ok()?).ok()?;
        let offset = self.zone.to_offset(at);
        let date = offset.to_datetime(at).date();
        if (date, offset) == (self.date, self.offset) {
            return None;
        }
        let moved = (offset != self.offset).then_some(offset);
        (self.date, self.offset) = (date, offset);
        Some(NewDate { date, offset: moved })
    }
}

/// Seconds from one line to the next, with microseconds. Negative if the clock was set back.
fn append_delta(before_ns: u64, real_ns: u64, out: &mut Vec<u8>) {
    let micros = before_ns.abs_diff(real_ns) / 1000;
    let start = out.len();
    if real_ns < before_ns {
        out.push(b'-');
    }
    number::append(micros / 1_000_000, out);
    out.push(b'.');
    let fraction = out.len();
    out.resize(fraction + 6, b'0');
    number::fill(micros % 1_000_000, &mut out[fraction..]);
    let missing = DELTA_WIDTH.saturating_sub(out.len() - start);
    out.splice(start..start, std::iter::repeat_n(b' ', missing));
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(write: impl FnOnce(&mut Vec<u8>)) -> String {
        let mut out = Vec::new();
        write(&mut out);
        String::from_utf8(out).expect("ASCII")
    }

    #[test]
    fn each_format_has_its_columns() {
        let at = 1_767_225_599_123_456_789;
        for (format, expected) in [
            (TimeFormat::Rfc3339, "2025-12-31T23:59:59.123456789Z"),
            (TimeFormat::Utc, "2025-12-31T23:59:59.123Z"),
            (TimeFormat::Delta, "    0.000000"),
        ] {
            let mut when = When::new(Some(format));
            assert_eq!(when.new_date(at), None);
            assert_eq!(text(|out| when.append(at, out)), expected);
        }
        let zone = TimeZone::fixed(jiff::tz::offset(1));
        let mut local = When::Local(Stamp::local_with_date(zone));
        assert_eq!(text(|out| local.append(at, out)), "2026-01-01T00:59:59.123+01:00");
    }

    #[test]
    fn deltas_go_both_ways() {
        let mut delta = When::new(Some(TimeFormat::Delta));
        for (at, expected) in [
            (5_000_000_000, "    0.000000"),
            (5_000_123_999, "    0.000123"),
            (65_000_123_999, "   60.000000"),
            (60_000_123_999, "   -5.000000"),
            (60_000_123_998, "   -0.000000"),
            (12_345_678_060_000_123_998, "12345678000.000000"),
        ] {
            assert_eq!(text(|out| delta.append(at, out)), expected);
        }
    }

    #[test]
    fn another_day_or_offset_is_printed_once() {
        let zone = TimeZone::posix("EST5EDT,M3.2.0,M11.1.0").expect("a rule");
        let at = |text: &str| text.parse::<Timestamp>().expect("a time");
        let mut day = Box::new(Day::from(&at("2026-10-31T12:00:00Z").to_zoned(zone)));
        day.second = 0;
        let mut when = When::Day(day);
        let mut new_date = |moment: &str| {
            let ns = u64::try_from(at(moment).as_nanosecond()).expect("after 1970");
            when.new_date(ns).map(|new_date| text(|out| new_date.append(out)))
        };
        assert_eq!(new_date("2026-10-31T20:00:00Z"), None);
        assert_eq!(new_date("2026-11-01T04:30:00Z"), Some("-- 2026-11-01 --".into()));
        assert_eq!(new_date("2026-11-01T05:30:00Z"), None);
        assert_eq!(new_date("2026-11-01T06:30:00Z"), Some("-- 2026-11-01 UTC-05:00 --".into()));
        assert_eq!(new_date("2026-11-01T06:30:00.5Z"), None);
        assert_eq!(new_date("2026-10-31T05:30:00Z"), Some("-- 2026-10-31 UTC-04:00 --".into()));
    }
}

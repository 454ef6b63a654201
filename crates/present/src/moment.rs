//! Parses the moments at which a range of time begins and ends, as people write them.
//!
//! | written | meant |
//! |---|---|
//! | `2026-01-31T23:59:59Z`, `2026-01-31 23:59:59,123 +0100` | that moment; any offset, `.` or `,` |
//! | `2026-01-31 23:59`, `2026-01-31`, `23:59`, `23:59:59.123` | in this zone, of today, at midnight |
//! | `now`, `today`, `yesterday`, `tomorrow`, `yesterday 23:59` | in this zone; a day alone is its beginning |
//! | `10m`, `1h 30m`, `-10m`, `10 minutes ago`, `90` | that long ago; a bare number is seconds |
//! | `+10m` | in ten minutes |
//! | `@1767225600`, `1767225600.5`, `1767225600500` | Unix time: s, and bare also ms, µs and ns |

use crate::duration;
use fsmon_format::stream::CLOCK_STEP_NS;
use jiff::civil::{Date, DateTime, Time};
use jiff::fmt::rfc2822;
use jiff::tz::{AmbiguousOffset, TimeZone};
use jiff::{Timestamp, ToSpan, Zoned};
use std::ops::RangeInclusive;

/// A range of time, both ends included. ns since 1970.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Range {
    /// The first moment; `None`: from the beginning.
    pub since: Option<u64>,
    /// The last moment; `None`: to the end.
    pub until: Option<u64>,
}

impl Range {
    /// Whether a moment is in it.
    #[inline]
    #[must_use]
    pub fn has(&self, realtime_ns: u64) -> bool {
        self.meets((realtime_ns, realtime_ns))
    }

    /// Whether it overlaps the range between two times, both included.
    #[inline]
    pub fn meets(&self, (first_ns, last_ns): (u64, u64)) -> bool {
        self.since.is_none_or(|since| since <= last_ns)
            && self.until.is_none_or(|until| first_ns <= until)
    }

    /// The times to search a stream for; `None` for all. Wider than the range: clock steps below
    /// [`CLOCK_STEP_NS`] are not counted in a stream.
    pub fn to_search(self) -> Option<RangeInclusive<u64>> {
        const SLACK_NS: u64 = 2 * CLOCK_STEP_NS;
        let since = self.since.map_or(0, |since| since.saturating_sub(SLACK_NS));
        let until = self.until.map_or(u64::MAX, |until| until.saturating_add(SLACK_NS));
        (self.since.is_some() || self.until.is_some()).then_some(since..=until)
    }
}

/// Which end of a range a moment is. Of several possible instants, `Since` means the first and `Until` the
/// last.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    Since,
    Until,
}

/// Parses the first moment of a range, to ns since 1970.
pub fn parse_since(text: &str) -> Result<u64, String> {
    moment(text, End::Since, &Zoned::now())
}

/// Parses the last moment of a range, to ns since 1970.
pub fn parse_until(text: &str) -> Result<u64, String> {
    moment(text, End::Until, &Zoned::now())
}

fn moment(text: &str, end: End, now: &Zoned) -> Result<u64, String> {
    let text = text.trim();
    let at_once = unix_time(text).or_else(|| with_offset(text)).or_else(|| relative(text, now));
    let at = match at_once {
        Some(at) => at,
        None => civil(text, end, now)?.ok_or_else(|| not_understood(text))?.as_nanosecond(),
    };
    // A time with milliseconds was cut to them: as the last moment it means all of that millisecond.
    let fraction = if end == End::Until { unwritten_ns(text) } else { 0 };
    u64::try_from(at + fraction).map_err(|_| {
        let limit = if at < 0 { "before 1970" } else { "after the year 2554" };
        format!("it is {limit}; write a moment like 2026-01-31T23:59:59Z")
    })
}

fn not_understood(text: &str) -> String {
    // 0 can mean now or 1970.
    if matches!(text, "0" | "0s") {
        return "zero is no length of time; write now, or @0 for 1970".to_owned();
    }
    if !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit()) {
        return format!(
            "a Unix time has 10 digits, and seconds ago at most 7; write @{text} or {text}s"
        );
    }
    "write 2026-01-31T23:59:59Z, or 2026-01-31 23:59 or 23:59 in this zone, yesterday, 10m for ten \
     minutes ago, or @1767225600"
        .to_owned()
}

/// `@` and seconds since 1970, or a number whose count of digits allows no other meaning. ns.
fn unix_time(text: &str) -> Option<i128> {
    let (number, is_marked) = match text.strip_prefix('@') {
        Some(number) => (number, true),
        None => (text, false),
    };
    let (whole, fraction) = number.split_once(['.', ',']).unwrap_or((number, "0"));
    let is_number = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    if !is_number(whole.strip_prefix('-').filter(|_| is_marked).unwrap_or(whole))
        || !is_number(fraction)
    {
        return None;
    }
    let unit_ns: i128 = match (whole.len(), number.len() == whole.len()) {
        _ if is_marked => 1_000_000_000,
        (10, _) => 1_000_000_000,
        (13, true) => 1_000_000,
        (16, true) => 1000,
        (19, true) => 1,
        _ => return None,
    };
    let digits: String = fraction.chars().chain("000000000".chars()).take(9).collect();
    let fraction: i128 = digits.parse().ok()?;
    let whole_ns = whole.parse::<i128>().ok()?.checked_mul(unit_ns)?;
    // Small enough for later additions not to overflow.
    (whole_ns.unsigned_abs() < 1 << 100).then_some(whole_ns + fraction)
}

/// A time with an offset from UTC. ns.
fn with_offset(text: &str) -> Option<i128> {
    let joined = match text.rsplit_once(' ') {
        Some((moment, "UTC" | "GMT")) => format!("{moment}Z"),
        // As written by `ls --full-time` and `stat`.
        Some((moment, offset)) if offset.starts_with(['+', '-']) && moment.contains(':') => {
            format!("{moment}{offset}")
        }
        _ => text.to_owned(),
    };
    let at = joined.parse::<Timestamp>().ok();
    let at = at.or_else(|| Some(text.parse::<Zoned>().ok()?.timestamp()));
    // `date -R`
    let at = at.or_else(|| rfc2822::DateTimeParser::new().parse_timestamp(text).ok());
    at.map(Timestamp::as_nanosecond)
}

/// A time relative to now. ns.
fn relative(text: &str, now: &Zoned) -> Option<i128> {
    let (length, is_to_come) = match (text.strip_prefix('+'), text.strip_suffix(" ago")) {
        (Some(length), None) => (length, true),
        (None, Some(length)) => (length, false),
        (None, None) if text.starts_with('-') => (&text[1..], false),
        // `10:30` would parse as a length, too.
        (None, None) if text.contains(':') => return None,
        (None, None) => (text, false),
        (Some(_), Some(_)) => return None,
    };
    if length.len() > 7 && length.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let length = i128::try_from(duration::parse(length).ok()?.as_nanos()).ok()?;
    let now = now.timestamp().as_nanosecond();
    Some(if is_to_come { now + length } else { now - length })
}

/// A date or time in this zone; `None` if it is neither.
fn civil(text: &str, end: End, now: &Zoned) -> Result<Option<Timestamp>, String> {
    let (day, rest) = text.split_once(' ').unwrap_or((text, ""));
    let day = match day {
        "now" if rest.is_empty() => return Ok(Some(now.timestamp())),
        "today" => Some(now.date()),
        "yesterday" => now.date().yesterday().ok(),
        "tomorrow" => now.date().tomorrow().ok(),
        _ => None,
    };
    // jiff would parse an offset or a zone behind the time, and ignore it.
    let is_plain = |text: &str| {
        text.contains(':')
            && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b':' | b'.' | b','))
    };
    let date_time = |text: &str| text.parse::<DateTime>().ok().filter(|_| !text.contains('['));
    let time = |text: &str| text.parse::<Time>().ok().filter(|_| is_plain(text));
    let at = match day {
        Some(day) if rest.is_empty() => Civil::Day(day),
        Some(day) => match time(rest) {
            Some(time) => Civil::Moment(day.to_datetime(time)),
            None => return Ok(None),
        },
        // `10` is ten seconds, not an hour.
        None => match (time(text), date_time(text)) {
            (Some(time), _) => Civil::Moment(now.date().to_datetime(time)),
            (_, Some(at)) if text.contains(':') || text.contains('T') => Civil::Moment(at),
            (_, Some(at)) => Civil::Day(at.date()),
            _ => return Ok(None),
        },
    };
    at.in_zone(text, end, now.time_zone()).map(Some)
}

/// A local time, without zone.
enum Civil {
    /// The beginning of a day. Not always midnight: clocks can be put forward then.
    Day(Date),
    Moment(DateTime),
}

impl Civil {
    fn in_zone(&self, text: &str, end: End, zone: &TimeZone) -> Result<Timestamp, String> {
        zone_is_known()?;
        let outside = |_| "it is out of range; write a moment like 2026-01-31T23:59:59Z".to_owned();
        let at = match self {
            Civil::Day(day) => {
                let day = day.to_zoned(zone.clone()).map_err(outside)?;
                return day.start_of_day().map(|day| day.timestamp()).map_err(outside);
            }
            Civil::Moment(at) => *at,
        };
        let ambiguous = zone.to_ambiguous_timestamp(at);
        let instant = match (ambiguous.offset(), end) {
            (AmbiguousOffset::Gap { before, .. }, _) => {
                let behind = before.to_timestamp(at).map_err(outside)?;
                return Err(not_there(text, behind, zone));
            }
            (_, End::Since) => ambiguous.earlier(),
            (_, End::Until) => ambiguous.later(),
        };
        instant.map_err(outside)
    }
}

/// The error for a local time that does not exist, because clocks were put forward just before `behind`.
fn not_there(text: &str, behind: Timestamp, zone: &TimeZone) -> String {
    let change = zone.preceding(behind + 1.nanosecond()).next().map(|change| change.timestamp());
    let local = |at: Timestamp| zone.to_datetime(at).strftime("%Y-%m-%d %H:%M:%S").to_string();
    let Some(change) = change else { return format!("{text} does not exist in this zone") };
    let (before, after) = (local(change - 1.second()), local(change));
    let name = zone.iana_name().unwrap_or("this zone");
    format!(
        "{text} does not exist in {name}, where the clocks go forward then; write {before} or {after}"
    )
}

/// Refuses an unknown TZ, which jiff would take for UTC.
fn zone_is_known() -> Result<(), String> {
    let Ok(name) = std::env::var("TZ") else { return Ok(()) };
    if name.is_empty() || TimeZone::try_system().is_ok() {
        return Ok(());
    }
    let name = name.escape_debug();
    Err(format!("TZ={name} is not a time zone of this host; write an offset, or Z for UTC"))
}

/// The length of time that the fraction of a second in `text` leaves open, less 1: for `.123` it is a
/// millisecond. ns.
fn unwritten_ns(text: &str) -> i128 {
    let fraction = text.split_once(['.', ',']).map_or("", |(_, fraction)| fraction);
    let digits = fraction.bytes().take_while(u8::is_ascii_digit).take(9).count();
    let is_time = text.contains(':') || unix_time(text).is_some();
    if (1..9).contains(&digits) && is_time {
        (digits..9).fold(1, |unit_ns, _| unit_ns * 10) - 1
    } else {
        0
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use jiff::tz::offset;

    const NOW: u64 = 1_767_225_600;

    fn at_two() -> Zoned {
        let now = Timestamp::from_second(NOW.cast_signed()).expect("a time");
        now.to_zoned(TimeZone::fixed(offset(2)))
    }

    fn ns(text: &str, end: End) -> Option<u64> {
        moment(text, end, &at_two()).ok()
    }

    #[test]
    fn moments_are_understood_as_they_are_written() {
        assert_eq!(at_two().to_string(), "2026-01-01T02:00:00+02:00[+02:00]");
        for (text, seconds) in [
            ("2026-01-01T00:00:05Z", 5),
            ("2026-01-01 00:00:05Z", 5),
            ("2026-01-01 00:00:05 UTC", 5),
            ("2026-01-01T02:00:05+02:00", 5),
            ("2026-01-01T02:00:05+0200", 5),
            ("2026-01-01 02:00:05.000 +0200", 5),
            ("2026-01-01T02:00:05,000000000+02:00", 5),
            ("2026-01-01T02:00+02:00", 0),
            ("2026-01-01T01:00:05+01:00[Europe/Berlin]", 5),
            ("2026-01-01T09:00:05[Asia/Tokyo]", 5),
            ("2026-01-01[Asia/Tokyo]", -9 * 3600),
            ("Thu, 01 Jan 2026 00:00:05 +0000", 5),
            ("2026-01-01 02:00:05", 5),
            ("2026-01-01T02:00", 0),
            ("2026-01-01", -7200),
            ("20260101", -7200),
            ("01:30", -1800),
            ("01:30:10", -1790),
            (" 01:30:10 ", -1790),
            ("today", -7200),
            ("yesterday", -7200 - 86_400),
            ("tomorrow", -7200 + 86_400),
            ("yesterday 23:59", -7260),
            ("now", 0),
            ("10m", -600),
            ("-10m", -600),
            ("10m ago", -600),
            ("10 minutes ago", -600),
            ("1 min ago", -60),
            ("+10m", 600),
            ("1h 30m", -5400),
            ("10", -10),
            ("2d", -172_800),
            ("2w", -14 * 86_400),
            ("@1767225605", 5),
            ("1767225605", 5),
            ("1767225605000", 5),
            ("1767225605000000", 5),
            ("1767225605000000000", 5),
        ] {
            let expected = Some(NOW.wrapping_add_signed(seconds) * 1_000_000_000);
            for end in [End::Since, End::Until] {
                // A fraction is written to the millisecond, so `End::Until` means all of that.
                let found = ns(text, end).map(|ns| ns / 1_000_000 * 1_000_000);
                assert_eq!(found, expected, "{text}");
            }
        }
    }

    #[test]
    fn what_is_no_moment_is_refused_with_an_example() {
        for text in [
            "",
            "soon",
            "25:00",
            "2026-13-01",
            "2026-02-29 10:00",
            "1900-01-01",
            "-@5",
            "@",
            "@-5",
            "@1.2.3",
            "5m ago ago",
            "+5m ago",
            "today 10",
            "now 10:00",
            "9999-12-31T23:59:59Z",
            "123456789",
            "12345678901",
            "99999999999999999999999999999999999999999",
            "@9999999999999",
            "2026-01-01T10:00:00+99:00",
            "1mo",
            "10:00 pm",
            "-",
            "+",
            "@1767225600.x",
            "12:00+05:00",
            "12:00Z",
            "T12:00",
            "12:00[Asia/Tokyo]",
            "yesterday 23:59+01:00",
            "2026-01-01+05:00",
            "2026-01-01 12:00[No/Where]",
            "2026-01-01 12:00[u-ca=hebrew]",
            "0",
            "0s",
        ] {
            let error = moment(text, End::Since, &at_two()).expect_err(text);
            assert!(error.contains("; write ") || error.starts_with("write "), "{text}: {error}");
            // What is to be written instead is understood.
            let is_now = error.ends_with("; write now, or @0 for 1970");
            assert_eq!(is_now, matches!(text, "0" | "0s"), "{text}: {error}");
        }
    }

    #[test]
    fn until_includes_what_a_fraction_leaves_open() {
        let ms = NOW * 1_000_000_000 + 123_000_000;
        for text in ["2026-01-01T00:00:00.123Z", "02:00:00.123", "@1767225600.123"] {
            assert_eq!(ns(text, End::Since), Some(ms), "{text}");
            assert_eq!(ns(text, End::Until), Some(ms + 999_999), "{text}");
        }
        assert_eq!(ns("2026-01-01T00:00:00.123000000Z", End::Until), Some(ms));
        assert_eq!(ns("02:00:00", End::Until), Some(NOW * 1_000_000_000));
        assert_eq!(ns("0.5", End::Until), Some((NOW - 1) * 1_000_000_000 + 500_000_000));
    }

    #[test]
    fn in_the_hour_that_comes_twice_nothing_is_left_out() {
        let zone = TimeZone::posix("EST5EDT,M3.2.0,M11.1.0").expect("a rule");
        let now = Timestamp::from_second(NOW.cast_signed()).expect("a time").to_zoned(zone);
        let utc = |text: &str, end| moment(text, end, &now);
        let at = |text: &str| Ok(ns(text, End::Since).expect("a moment"));
        assert_eq!(utc("2026-11-01 01:30", End::Since), at("2026-11-01T05:30:00Z"));
        assert_eq!(utc("2026-11-01 01:30", End::Until), at("2026-11-01T06:30:00Z"));
        assert_eq!(utc("2026-11-01 02:30", End::Since), at("2026-11-01T07:30:00Z"));
        for end in [End::Since, End::Until] {
            let error = utc("2026-03-08 02:30", end).expect_err("it does not exist");
            for words in ["2026-03-08 02:30 does not", "2026-03-08 01:59:59", "2026-03-08 03:00:00"]
            {
                assert!(error.contains(words), "{error}");
            }
        }
    }

    #[test]
    fn a_day_begins_when_its_first_hour_is_there() {
        // Clocks go from 24:00 to 01:00.
        let zone = TimeZone::posix("AAA0BBB,M4.5.5/0,M10.5.4/24").expect("a rule");
        let now = Timestamp::from_second(NOW.cast_signed()).expect("a time").to_zoned(zone);
        let day = moment("2026-04-24", End::Since, &now);
        assert_eq!(day, Ok(ns("2026-04-24T00:00:00Z", End::Since).expect("a moment")));
    }

    #[test]
    fn both_ends_are_within() {
        let range = Range { since: Some(5), until: Some(7) };
        assert_eq!([4, 5, 7, 8].map(|ns| range.has(ns)), [false, true, true, false]);
        assert!(range.meets((0, 5)) && range.meets((7, 9)) && range.meets((0, 9)));
        assert!(!range.meets((0, 4)) && !range.meets((8, 9)));
        let all = Range { since: None, until: None };
        assert!(all.has(0) && all.has(u64::MAX) && all.to_search().is_none());
    }
}

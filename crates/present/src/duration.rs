//! Lengths of time as people write them: `10s`, `1ms`, `2h 30m`; a bare number is seconds.

use jiff::SpanRelativeTo;
use jiff::fmt::friendly::SpanParser;
use std::time::Duration;

/// Parses a length of time.
///
/// # Errors
/// The text is zero, no length of time, or too long to be counted. The error says what to write instead.
pub fn parse(text: &str) -> Result<Duration, String> {
    let duration = match text.parse() {
        Ok(seconds) => Duration::try_from_secs_f64(seconds).ok(),
        Err(_) => friendly(text),
    };
    let wrong = match duration {
        Some(duration) if !duration.is_zero() => return Ok(duration),
        Some(_) => "must be more than zero",
        None => "not a time that fsmon can count",
    };
    Err(format!("{wrong}; write 10s, 500ms, 2h 30m or a number of seconds"))
}

/// A length of time for people, rounded down: its largest unit, and the next smaller one if there is any of it. `3h 5m`.
#[must_use]
pub fn rounded(time: Duration) -> String {
    let seconds = time.as_secs();
    let units = [(86_400, "d"), (3600, "h"), (60, "m"), (1, "s")];
    let first = units.iter().position(|(unit, _)| seconds >= *unit).unwrap_or(units.len() - 1);
    let (unit, name) = units[first];
    let (count, rest) = (seconds / unit, seconds % unit);
    match units.get(first + 1) {
        Some((unit, smaller)) if rest >= *unit => format!("{count}{name} {}{smaller}", rest / unit),
        _ => format!("{count}{name}"),
    }
}

/// Days are of 24 hours.
fn friendly(text: &str) -> Option<Duration> {
    let span = SpanParser::new().parse_span(text).ok()?;
    let duration = span.to_duration(SpanRelativeTo::days_are_24_hours()).ok()?;
    Duration::try_from(duration).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn units_and_bare_seconds() {
        assert_eq!(parse("10s"), Ok(Duration::from_secs(10)));
        assert_eq!(parse("1ms"), Ok(Duration::from_millis(1)));
        assert_eq!(parse("90"), Ok(Duration::from_secs(90)));
        assert_eq!(parse("0.5"), Ok(Duration::from_millis(500)));
        assert_eq!(parse("1h 30m"), Ok(Duration::from_secs(5400)));
        assert_eq!(parse("7d"), Ok(Duration::from_secs(7 * 24 * 3600)));
    }

    #[test]
    fn two_units_are_enough_for_people() {
        let text = |seconds| rounded(Duration::from_secs(seconds));
        let all = [0, 59, 60, 61, 3600, 3659, 3660, 86_400, 90_000, 86_460, 30 * 86_400].map(text);
        let expected =
            ["0s", "59s", "1m", "1m 1s", "1h", "1h", "1h 1m", "1d", "1d 1h", "1d", "30d"];
        assert_eq!(all, expected);
        assert_eq!(rounded(Duration::from_millis(1999)), "1s");
    }

    #[test]
    fn nonsense_is_refused_with_a_remedy() {
        let too_long = ["1e30", "99999999999999999999ms"];
        for text in ["", "soon", "-1", "-1s", "0", "0s", "inf", "nan"].into_iter().chain(too_long) {
            let line = parse(text).expect_err(text);
            assert!(line.contains("; write 10s, 500ms"), "{text}: {line}");
        }
    }
}

//! The types of values: how each is written, and what to write instead of one that is wrong.

use super::document::Value;
use crate::limits::{PATH_BYTES, PATTERNS_MAX, SOCKET_PATH_BYTES, TIME_MAX};
use fsmon_format::error::Error;
use fsmon_present::duration;
use fsmon_present::message::shown;
use fsmon_present::size::bytes;
use std::ops::RangeInclusive;
use std::path::{Component, Path, PathBuf};
use std::time::Duration;
use toml::de::DeValue;

/// Turns a limit off.
const NONE: &str = "none";

impl<'a> Value<'a> {
    /// A string.
    pub(super) fn string(&self, expected: &str) -> Result<&'a str, Error> {
        match self.get() {
            DeValue::String(text) => Ok(text),
            _ => Err(self.not(expected)),
        }
    }

    /// `true` or `false`.
    pub(super) fn bool(&self) -> Result<bool, Error> {
        match self.get() {
            DeValue::Boolean(value) => Ok(*value),
            _ => Err(self.not("true or false, without quotes")),
        }
    }

    /// A whole number in `range`.
    pub(super) fn number(&self, range: RangeInclusive<usize>) -> Result<usize, Error> {
        let expected = format!("a number from {} to {}", range.start(), range.end());
        let DeValue::Integer(number) = self.get() else { return Err(self.not(&expected)) };
        let parsed = usize::from_str_radix(number.as_str(), number.radix());
        let parsed = parsed.ok().filter(|number| range.contains(number));
        parsed.ok_or_else(|| self.wrong(format_args!("is {number}; write {expected}")))
    }

    /// A list of strings.
    pub(super) fn strings(&self, example: &str) -> Result<Vec<String>, Error> {
        let expected = format!("a list such as [\"{example}\"]");
        let one = |value: Value<'_>| value.string(&expected).map(str::to_owned);
        self.list(&expected, PATTERNS_MAX)?.map(one).collect()
    }

    /// A size in bytes, such as "64M".
    pub(super) fn size(&self) -> Result<u64, Error> {
        let expected = "a size such as \"64M\" or \"10G\"";
        let text = self.string(expected)?;
        bytes(text).ok_or_else(|| self.bad(text, expected))
    }

    /// A size, or "none".
    pub(super) fn size_or_none(&self) -> Result<Option<u64>, Error> {
        self.or_none(Value::size)
    }

    /// A length of time, such as "1d".
    pub(super) fn time(&self) -> Result<Duration, Error> {
        let expected = "a time such as \"10s\", \"24h\" or \"30d\"";
        let text = self.string(expected)?;
        let time = duration::parse(text).map_err(|_| self.bad(text, expected))?;
        match time > TIME_MAX {
            false => Ok(time),
            true => Err(self.wrong(format_args!("is more than a century; write {expected}"))),
        }
    }

    /// A length of time, or "none".
    pub(super) fn time_or_none(&self) -> Result<Option<Duration>, Error> {
        self.or_none(Value::time)
    }

    fn or_none<T>(&self, read: impl FnOnce(&Self) -> Result<T, Error>) -> Result<Option<T>, Error> {
        match self.get() {
            DeValue::String(text) if text == NONE => Ok(None),
            _ => read(self).map(Some),
        }
    }

    /// Reads any value that is written as one word of a few.
    pub(super) fn one_of<T: Copy>(&self, choices: &[(&str, T)]) -> Result<T, Error> {
        let names: Vec<_> = choices.iter().map(|(name, _)| format!("\"{name}\"")).collect();
        let expected = format!("one of {}", names.join(", "));
        let text = self.string(&expected)?;
        let choice = choices.iter().find(|(name, _)| *name == text).map(|(_, choice)| *choice);
        choice.ok_or_else(|| self.bad(text, &expected))
    }

    /// An absolute path, in its shortest spelling.
    pub(super) fn path(&self) -> Result<PathBuf, Error> {
        let expected = "an absolute path";
        let text = self.string(expected)?;
        normal(text).map_err(|why| self.wrong(why))
    }

    /// The path of a unix socket.
    pub(super) fn socket(&self) -> Result<PathBuf, Error> {
        self.socket_at(self.string("an absolute path")?)
    }

    /// The path of a unix socket, which is this part of the value.
    pub(super) fn socket_at(&self, text: &str) -> Result<PathBuf, Error> {
        let path = normal(text).map_err(|why| self.wrong(why))?;
        match path.as_os_str().len() {
            0..=SOCKET_PATH_BYTES => Ok(path),
            len => Err(self.wrong(format_args!(
                "has {len} bytes; the path of a socket has at most {SOCKET_PATH_BYTES}"
            ))),
        }
    }

    /// Reads a string, of which an empty one stands for nothing.
    pub(super) fn unless_empty<T>(
        &self,
        read: impl FnOnce(&Self) -> Result<T, Error>,
    ) -> Result<Option<T>, Error> {
        match self.get() {
            DeValue::String(text) if text.is_empty() => Ok(None),
            _ => read(self).map(Some),
        }
    }

    /// The error of a string that means nothing.
    pub(super) fn bad(&self, text: &str, expected: &str) -> Error {
        self.wrong(format_args!("is \"{}\"; write {expected}", text.escape_debug()))
    }
}

/// An absolute path without what changes nothing: slashes at the end, doubled ones, and `.`.
///
/// # Errors
/// It can be no path, or is not plain.
pub(crate) fn normal(text: &str) -> Result<PathBuf, String> {
    let path = Path::new(text);
    let name = shown(path);
    if !path.is_absolute() {
        return Err(format!("is \"{name}\"; write an absolute path, which begins with /"));
    }
    if text.contains('\0') {
        return Err(format!("is \"{name}\"; a path contains no NUL"));
    }
    if path.components().any(|part| part == Component::ParentDir) {
        return Err(format!("is \"{name}\"; write the path that its .. leads to"));
    }
    let path: PathBuf = path.components().collect();
    match path.as_os_str().len() {
        0..=PATH_BYTES => Ok(path),
        len => Err(format!("has {len} bytes; a path has at most {PATH_BYTES}")),
    }
}

/// A length of time as it is written.
pub(super) fn time_text(time: Duration) -> String {
    let seconds = time.as_secs();
    let units = [(86_400, "d"), (3600, "h"), (60, "m")];
    let unit = units.iter().find(|(unit, _)| seconds >= *unit && seconds.is_multiple_of(*unit));
    match unit {
        Some((unit, name)) if time.subsec_nanos() == 0 => format!("{}{name}", seconds / unit),
        _ => format!("{time:?}"),
    }
}

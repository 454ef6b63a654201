//! `fsmon.toml` of fsmon 0.2.6 and 0.5. It has no watches: only where they are, and what the new configuration has for
//! the rest.

use super::lines::short;
use super::{Notes, Place, Store, Version};
use crate::config::document::Document;
use fsmon_format::error::Error;
use toml::Spanned;
use toml::de::{DeTable, DeValue};

/// What becomes of a key.
#[derive(Clone, Copy)]
enum Fate {
    /// It names the file with the watches.
    Store(Version),
    /// There is something else for it: the words of the note.
    Else(&'static str),
    /// `keep_days`.
    KeepDays,
    /// A size that `key` in `[history]` can have.
    Keep(&'static str),
}

const NOTHING: &str = "has no counterpart; leave it out";
const CACHE: &str = "has no counterpart; leave it out, as tables have fixed sizes, of which `engine.max_dirs` and \
                     `engine.max_processes` can be changed";
const WATCHDOG: &str =
    "has no counterpart; leave it out, as the interval is WatchdogSec= of the unit";

/// The sections, their keys, and what becomes of each.
const KEYS: [(&str, &[(&str, Fate)]); 7] = [
    ("managed", &[("path", Fate::Store(Version::Managed))]),
    ("monitored", &[("path", Fate::Store(Version::Monitored))]),
    (
        "logging",
        &[
            (
                "path",
                Fate::Else(
                    "is where logs of JSON lines are, which stay as they are; what is recorded from now on is in \
                     `history.dir`",
                ),
            ),
            ("keep_days", Fate::KeepDays),
            ("size", Fate::Keep("size")),
            ("disk_min_free", Fate::Keep("free")),
            (
                "local_time",
                Fate::Else("is of the reader: fsmon decode --time local DIR; leave it out"),
            ),
        ],
    ),
    (
        "socket",
        &[(
            "path",
            Fate::Else(
                "is of another protocol; the new socket is `control.socket`, and scripts need other messages",
            ),
        )],
    ),
    (
        "daemon",
        &[
            ("debug", Fate::Else(NOTHING)),
            (
                "metrics_interval",
                Fate::Else("is gone; use fsmon status, or `metrics.listen` or `metrics.textfile`"),
            ),
        ],
    ),
    (
        "cache",
        &[
            ("dir_capacity", Fate::Else(CACHE)),
            ("dir_ttl_secs", Fate::Else(CACHE)),
            ("file_size_capacity", Fate::Else(CACHE)),
            ("proc_ttl_secs", Fate::Else(CACHE)),
            ("channel_capacity", Fate::Else(CACHE)),
            ("subscribe_buf", Fate::Else(CACHE)),
            ("buffer_size", Fate::Else(CACHE)),
        ],
    ),
    ("watchdog", &[("interval_secs", Fate::Else(WATCHDOG)), ("multiplier", Fate::Else(WATCHDOG))]),
];

/// Days for which both older and newer versions keep what they recorded, unless told otherwise.
const KEEP_DAYS: u64 = 30;

/// Reads a configuration. Returns the files with watches that it names.
///
/// # Errors
/// It is no TOML, or none that an older version has.
pub(super) fn read(bytes: &[u8], name: &str, notes: &mut Notes) -> Result<Vec<Store>, Error> {
    let neither = |why: String| {
        Error::invalid(format!(
            "{name} is no fsmon.toml, managed.jsonl or monitored.jsonl of fsmon 0.2.6 or 0.5: {why}"
        ))
    };
    let text = std::str::from_utf8(bytes).map_err(|_| neither("it is not UTF-8".into()))?;
    // A configuration that has comments only.
    if text.lines().all(|line| line.trim().is_empty() || line.trim().starts_with('#')) {
        return Ok(Vec::new());
    }
    let document = Document::new(text, name)?;
    let parsed = document.parse().map_err(|error| neither(short(&error.to_string())))?;
    let known = |key: &str| KEYS.iter().find(|(section, _)| *section == key);
    if !parsed.get_ref().keys().any(|key| known(key.get_ref()).is_some()) {
        return Err(neither("it has none of their sections".into()));
    }
    let mut reading = Reading { text, name, notes, stores: Vec::new() };
    for (section, value) in in_order(parsed.get_ref()) {
        let word = section.get_ref();
        match (known(word), value.get_ref()) {
            (Some((_, keys)), DeValue::Table(table)) => reading.section(word, keys, table),
            (Some(_), _) => reading.note(section, format!("`{word}` is no table; it is left out")),
            (None, _) => reading.unknown(section, word),
        }
    }
    Ok(reading.stores)
}

/// A configuration that is being read.
struct Reading<'a> {
    text: &'a str,
    name: &'a str,
    notes: &'a mut Notes,
    stores: Vec<Store>,
}

impl Reading<'_> {
    fn place<T>(&self, of: &Spanned<T>) -> Place {
        let before = &self.text.as_bytes()[..of.span().start.min(self.text.len())];
        let line = before.iter().filter(|byte| **byte == b'\n').count() + 1;
        Place { file: self.name.to_owned(), line }
    }

    fn note<T>(&mut self, of: &Spanned<T>, text: String) {
        let at = self.place(of);
        self.notes.add(&at, text);
    }

    fn unknown<T>(&mut self, of: &Spanned<T>, key: &str) {
        let key = short(key);
        self.note(of, format!("`{key}` is no key of fsmon 0.2.6 or 0.5; it is left out"));
    }

    fn section(&mut self, section: &str, keys: &[(&str, Fate)], table: &DeTable<'_>) {
        for (key, value) in in_order(table) {
            let word = key.get_ref().as_ref();
            let full = format!("{section}.{word}");
            match keys.iter().find(|(known, _)| *known == word) {
                None => self.unknown(key, &full),
                Some((_, fate)) => self.key(&full, *fate, key, value),
            }
        }
    }

    fn key<T>(&mut self, key: &str, fate: Fate, at: &Spanned<T>, value: &Spanned<DeValue<'_>>) {
        match (fate, value.get_ref()) {
            (Fate::Store(version), DeValue::String(path)) => {
                let at = self.place(at);
                self.stores.push(Store { path: path.as_ref().into(), at, version });
            }
            (Fate::Else(words), _) => self.note(at, format!("`{key}` {words}")),
            (Fate::KeepDays, DeValue::Integer(days)) => self.keep_days(key, at, days),
            (Fate::Keep(limit), DeValue::String(size)) => self.keep(key, limit, at, size),
            _ => self.note(at, format!("`{key}` is not understood; it is left out")),
        }
    }

    /// What is kept is deleted by the daemon itself now. Both keep 30 days by default.
    fn keep_days<T>(&mut self, key: &str, at: &Spanned<T>, days: &toml::de::DeInteger<'_>) {
        match u64::from_str_radix(days.as_str(), days.radix()) {
            Ok(KEEP_DAYS) => {}
            Ok(days) => self.note(
                at,
                format!(
                    "`{key}` is history.keep.age = \"{days}d\" now, which the daemon applies itself"
                ),
            ),
            Err(_) => self.note(at, format!("`{key}` is not understood; it is left out")),
        }
    }

    fn keep<T>(&mut self, key: &str, limit: &str, at: &Spanned<T>, size: &str) {
        let of = match limit {
            "size" => "of all files together, not of each; write such as \"10G\"",
            _ => "below which the oldest files are deleted; write such as \"10%\" or \"5G\"",
        };
        let size = short(size);
        self.note(at, format!("`{key}` {size} is history.keep.{limit} now: {of}"));
    }
}

/// The entries of a table from the top of the file on.
fn in_order<'a, 'b>(
    table: &'a DeTable<'b>,
) -> Vec<(&'a Spanned<toml::de::DeString<'b>>, &'a Spanned<DeValue<'b>>)> {
    let mut entries: Vec<_> = table.iter().collect();
    entries.sort_by_key(|(key, _)| key.span().start);
    entries
}

//! One path of an older version, as a watch of this one.

use super::lines::short;
use super::{Notes, Place, commands, refusal};
use crate::config::Watch;
use crate::config::values::normal;
use crate::limits::DEPTH_MAX;
use fsmon_format::kind;
use fsmon_present::size::{Comparison, Size};
use serde::Deserialize;
use serde_json::{Map, Value};

/// What 0.2.6 and 0.5 keep of a path. Each has some of these.
#[derive(Deserialize)]
pub(super) struct Entry {
    recursive: Option<bool>,
    types: Option<Vec<String>>,
    size: Option<String>,
    max_depth: Option<u32>,
    exclude: Option<Vec<String>>,
    exclude_cmd: Option<Vec<String>>,
    #[serde(flatten)]
    unknown: Map<String, Value>,
}

/// A watch that is being made: what this version does not take is left out, and noted.
struct Making<'a> {
    watch: Watch,
    at: &'a Place,
    notes: &'a mut Notes,
}

/// The watch of a path; `None` if there can be none.
pub(super) fn watch(path: &str, entry: Entry, at: &Place, notes: &mut Notes) -> Option<Watch> {
    let shown = short(path);
    let refused = |why: String| format!("{shown}: left out: `path` {why}");
    let path = match normal(path) {
        Ok(path) => path,
        Err(why) => {
            notes.add(at, refused(why));
            return None;
        }
    };
    let watch = Watch { recursive: entry.recursive.unwrap_or(false), ..Watch::new(path) };
    if let Some(why) = refusal(&watch) {
        notes.add(at, format!("{shown}: left out: {why}"));
        return None;
    }
    note_unknown(&entry.unknown, at, notes);
    let mut making = Making { watch, at, notes };
    making.types(&entry.types.unwrap_or_default());
    making.size(entry.size.as_deref());
    making.depth(entry.max_depth);
    making.exclude(&entry.exclude.unwrap_or_default());
    making.exclude_cmd(&entry.exclude_cmd.unwrap_or_default());
    Some(making.watch)
}

/// Says which keys no older version has.
pub(super) fn note_unknown(unknown: &Map<String, Value>, at: &Place, notes: &mut Notes) {
    for key in unknown.keys() {
        let key = short(key);
        notes.add(at, format!("`{key}` is no key of fsmon 0.2.6 or 0.5; it is left out"));
    }
}

impl Making<'_> {
    fn note(&mut self, text: &str) {
        let path = short(&self.watch.path.to_string_lossy());
        self.notes.add(self.at, format!("{path}: {text}"));
    }

    /// Changes the watch, unless this version does not take it then.
    fn set(&mut self, key: &str, change: impl FnOnce(&mut Watch)) {
        let mut changed = self.watch.clone();
        change(&mut changed);
        match refusal(&changed) {
            None => self.watch = changed,
            Some(why) => self.note(&format!("`{key}` is left out: {why}")),
        }
    }

    fn types(&mut self, names: &[String]) {
        let mut types = Vec::new();
        for name in names {
            match kind::by_name(name.trim()) {
                Some(kind) if types.iter().any(|known| known == kind.name) => {}
                Some(kind) => types.push(kind.name.to_owned()),
                None => {
                    let name = short(name);
                    self.note(&format!("`types`: there is no event type {name}; it is left out"));
                }
            }
        }
        if !types.is_empty() {
            self.set("types", |watch| watch.types = types);
        }
    }

    fn size(&mut self, text: Option<&str>) {
        let Some(text) = text else { return };
        let shown = short(text);
        match condition(text) {
            Ok(Some(size)) => self.set("size", |watch| watch.size = Some(size)),
            Ok(None) => self.note(&format!("`size` {shown} holds for every file; it is left out")),
            Err(()) => self.note(&format!(
                "`size` {shown} is left out, and every size recorded; write a condition such as size = \">=1M\""
            )),
        }
    }

    /// Levels of directories below the path become levels of names.
    fn depth(&mut self, levels: Option<u32>) {
        match levels {
            None => {}
            Some(_) if !self.watch.recursive => {
                self.note("`max_depth` means nothing without `recursive`; it is left out");
            }
            Some(levels) if levels < DEPTH_MAX => {
                self.set("max_depth", |watch| watch.max_depth = Some(levels + 1));
            }
            Some(_) => {}
        }
    }

    /// Regular expressions on the whole path stay what they are.
    fn exclude(&mut self, patterns: &[String]) {
        let Some((is_inverted, patterns)) = inverted(patterns) else { return };
        let joined = patterns.join("|");
        // Parts that are expressions only together, or have flags that hold for those behind them, stay together.
        let is_each_whole = !joined.contains("(?") && patterns.iter().all(|part| is_regex(part));
        let list = if is_each_whole { patterns } else { vec![joined.clone()] };
        if !is_regex(&joined) {
            let shown = short(&joined);
            return self.note(&format!(
                "`exclude` {shown} is left out, as it is no regular expression for this version; a glob is written \
                 exclude = [\"{shown}\"]"
            ));
        }
        let key = if is_inverted { "include_regex" } else { "exclude_regex" };
        if list.iter().any(String::is_empty) {
            return self.empty_exclude(is_inverted);
        }
        self.set(key, |watch| match is_inverted {
            true => watch.include_regex = list,
            false => watch.exclude_regex = list,
        });
    }

    /// An empty expression is found in every path.
    fn empty_exclude(&mut self, is_inverted: bool) {
        if !is_inverted {
            self.note("`exclude` matched every path, and is left out; remove the [[watch]] if nothing is wanted");
        }
    }

    /// Regular expressions on commands become globs.
    fn exclude_cmd(&mut self, patterns: &[String]) {
        let Some((is_inverted, patterns)) = inverted(patterns) else { return };
        let joined = patterns.join("|");
        let shown = short(&joined);
        let globs = commands::globs(&joined);
        match (is_inverted, globs) {
            (true, globs) => {
                let globs = globs.unwrap_or_else(|| vec!["GLOB".to_owned()]);
                let options: Vec<_> =
                    globs.iter().map(|glob| format!("--cmd '{}'", short(glob))).collect();
                let options = options.join(" ");
                self.note(&format!(
                    "`exclude_cmd` !{shown}: a watch cannot be of some commands only, and records what all do; \
                     choose when you read the history: fsmon decode {} DIR",
                    short(&options)
                ));
            }
            (false, Some(globs)) => self.set("exclude_cmd", |watch| watch.exclude_cmd = globs),
            (false, None) => self.note(&format!(
                "`exclude_cmd` {shown} is left out: commands are excluded by globs, and none means the same; write \
                 what comes near, such as exclude_cmd = [\"name*\"]"
            )),
        }
    }
}

/// The patterns without the exclamation mark that each may begin with, and whether that of the first inverts them all.
/// `None` if there are none.
fn inverted(patterns: &[String]) -> Option<(bool, Vec<String>)> {
    let is_inverted = patterns.first()?.starts_with('!');
    let bare = patterns.iter().map(|part| part.strip_prefix('!').unwrap_or(part).to_owned());
    Some((is_inverted, bare.collect()))
}

fn is_regex(pattern: &str) -> bool {
    regex_syntax::Parser::new().parse(pattern).is_ok()
}

/// A condition on sizes as the older versions have it: `>1.5KB`, and in 0.5 `100MB` for at least that much. `None`: it
/// holds for every file.
fn condition(text: &str) -> Result<Option<Size>, ()> {
    let text = text.trim();
    let found = Comparison::ALL
        .iter()
        .find_map(|comparison| Some((*comparison, text.strip_prefix(comparison.name())?)));
    let (comparison, number) = found.unwrap_or((Comparison::AtLeast, text));
    let bytes = signed_bytes(number).ok_or(())?;
    match (u64::try_from(bytes), comparison) {
        (Ok(bytes), _) => Ok(Some(Size { comparison, bytes })),
        (Err(_), Comparison::AtLeast | Comparison::Larger) => Ok(None),
        // No file has a negative size, so nothing was recorded.
        (Err(_), _) => Err(()),
    }
}

/// A number of bytes with a unit, as the older versions read it: fractions are cut off.
fn signed_bytes(text: &str) -> Option<i64> {
    let text = text.trim().to_ascii_uppercase();
    let unit_at = text.find(|letter: char| letter.is_ascii_alphabetic()).unwrap_or(text.len());
    let (number, unit) = text.split_at(unit_at);
    let shift = match unit.trim() {
        "" | "B" => 0,
        "K" | "KB" => 10,
        "M" | "MB" => 20,
        "G" | "GB" => 30,
        "T" | "TB" => 40,
        "P" | "PB" => 50,
        "E" | "EB" => 60,
        _ => return None,
    };
    let (is_negative, number) = match number.trim().strip_prefix('-') {
        Some(number) => (true, number),
        None => (false, number.trim()),
    };
    let (whole, part) = number.split_once('.').unwrap_or((number, ""));
    let is_number = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    if whole.is_empty() && part.is_empty() || !is_number(whole) || !is_number(part) {
        return None;
    }
    let whole: i128 = if whole.is_empty() { 0 } else { whole.parse().ok()? };
    // Beyond 18 digits nothing changes by a byte.
    let part = &part[..part.len().min(18)];
    let digits = u32::try_from(part.len()).ok()?;
    let part: i128 = if part.is_empty() { 0 } else { part.parse().ok()? };
    let bytes = whole.checked_mul(1 << shift)? + (part << shift) / 10i128.pow(digits);
    i64::try_from(if is_negative { -bytes } else { bytes }).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn conditions_on_sizes_are_read_as_the_older_versions_did() {
        let at = |comparison, bytes| Ok(Some(Size { comparison, bytes }));
        for (text, expected) in [
            (">=1KB", at(Comparison::AtLeast, 1024)),
            ("> 1.5K", at(Comparison::Larger, 1536)),
            ("<100mb", at(Comparison::Smaller, 100 << 20)),
            ("=0", at(Comparison::Equal, 0)),
            ("100MB", at(Comparison::AtLeast, 100 << 20)),
            (" <= .5TB ", at(Comparison::AtMost, 1 << 39)),
            (">=1.0000000000000000000009G", at(Comparison::AtLeast, 1 << 30)),
            (">=7EB", at(Comparison::AtLeast, 7 << 60)),
            (">-1KB", Ok(None)),
            ("<-1", Err(())),
            ("=-1", Err(())),
            (">=8EB", Err(())),
            (">=99999999999999999999999999999999999999T", Err(())),
            ("", Err(())),
            (">", Err(())),
            (">.", Err(())),
            (">1e5", Err(())),
            (">inf", Err(())),
            (">1QB", Err(())),
            (">1 2K", Err(())),
            (">--1", Err(())),
        ] {
            assert_eq!(condition(text), expected, "{text}");
        }
    }
}

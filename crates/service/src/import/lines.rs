//! `managed.jsonl` of fsmon 0.2.6 and `monitored.jsonl` of 0.5: a JSON object a line.
//!
//! ```text
//!  0.2.6  {"path":"/srv","recursive":true,"types":null,"size":">=1MB","exclude":["\\.swp$"],"exclude_cmd":["rsync"]}
//!  0.5    {"cmd":"_global","paths":{"/srv":{"recursive":true,"types":["CREATE"],"size":"1MB","max_depth":2}}}
//! ```

use super::entry::{self, Entry};
use super::{Found, Notes, Place};
use crate::limits::{IMPORT_LINE_BYTES, IMPORT_PATHS_MAX};
use fsmon_format::error::Error;
use fsmon_present::message::counted;
use serde::Deserialize;
use serde_json::{Map, Value};
use std::collections::BTreeMap;

/// The group of 0.5 that is of no command.
const GLOBAL: &str = "_global";

/// A line of 0.2.6.
#[derive(Deserialize)]
struct Managed {
    path: String,
    #[serde(flatten)]
    entry: Entry,
}

/// A line of 0.5: paths that are watched for what a command and its descendants do there.
#[derive(Deserialize)]
struct Group {
    cmd: String,
    paths: BTreeMap<String, Entry>,
    #[serde(flatten)]
    unknown: Map<String, Value>,
}

/// Reads all lines.
///
/// # Errors
/// There are lines, and none can be understood.
pub(super) fn read(
    bytes: &[u8],
    name: &str,
    found: &mut Vec<Found>,
    notes: &mut Notes,
) -> Result<(), Error> {
    let (mut good, mut bad) = (0u64, 0u64);
    let before = found.len();
    for (index, line) in bytes.split(|byte| *byte == b'\n').enumerate() {
        let line = line.trim_ascii();
        if line.is_empty() {
            continue;
        }
        let at = Place { file: name.to_owned(), line: index + 1 };
        if found.len() >= IMPORT_PATHS_MAX {
            notes.add(&at, format!("from here on left out: more than {IMPORT_PATHS_MAX} paths; watch directories above them"));
            break;
        }
        match read_line(line, &at, before, found, notes) {
            Ok(()) => good += 1,
            Err(why) => {
                bad += 1;
                notes.add(&at, format!("left out: {why}"));
            }
        }
    }
    if good > 0 {
        return Ok(());
    }
    let lines = counted(bad, "line is", "lines are");
    Err(Error::invalid(format!(
        "{name}: none of {lines} as fsmon 0.2.6 or 0.5 wrote them; name their managed.jsonl or monitored.jsonl"
    )))
}

/// # Errors
/// The line is not as one of the older versions wrote it: what is wrong.
fn read_line(
    line: &[u8],
    at: &Place,
    before: usize,
    found: &mut Vec<Found>,
    notes: &mut Notes,
) -> Result<(), String> {
    if line.len() > IMPORT_LINE_BYTES {
        return Err(format!("the line has more than {IMPORT_LINE_BYTES} bytes"));
    }
    let fields: Map<String, Value> = serde_json::from_slice(line)
        .map_err(|error| format!("it is no JSON object: {}", short(&error.to_string())))?;
    let not_understood = |error: serde_json::Error| short(&error.to_string());
    if fields.contains_key("paths") {
        let group: Group = serde_json::from_value(Value::Object(fields)).map_err(not_understood)?;
        take_group(group, at, found, notes);
    } else {
        let managed: Managed =
            serde_json::from_value(Value::Object(fields)).map_err(not_understood)?;
        take_managed(managed, at, before, found, notes);
    }
    Ok(())
}

/// 0.2.6 has one entry a path: the last line counts.
fn take_managed(
    managed: Managed,
    at: &Place,
    before: usize,
    found: &mut Vec<Found>,
    notes: &mut Notes,
) {
    let Some(watch) = entry::watch(&managed.path, managed.entry, at, notes) else { return };
    let own = &mut found[before..];
    match own.iter_mut().find(|earlier| earlier.watch.path == watch.path) {
        Some(earlier) => *earlier = Found { watch, at: at.clone() },
        None => found.push(Found { watch, at: at.clone() }),
    }
}

fn take_group(group: Group, at: &Place, found: &mut Vec<Found>, notes: &mut Notes) {
    entry::note_unknown(&group.unknown, at, notes);
    if group.cmd != GLOBAL && !group.paths.is_empty() {
        let cmd = short(&group.cmd);
        notes.add(
            at,
            format!(
                "group {cmd}: a watch is of no command, and records what every process does; choose when you read \
                 the history: fsmon decode --cmd '{cmd}' DIR"
            ),
        );
    }
    for (path, entry) in group.paths {
        if let Some(watch) = entry::watch(&path, entry, at, notes) {
            found.push(Found { watch, at: at.clone() });
        }
    }
}

/// A text for a message, cut if it is long. Messages escape it.
pub(super) fn short(text: &str) -> String {
    const CHARS: usize = 200;
    match text.char_indices().nth(CHARS) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}

//! One line of JSON, taken apart.

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use serde_json::{Map, Value};
use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};

/// A line.
#[derive(Clone, Debug, PartialEq)]
pub struct Event(pub Map<String, Value>);

/// All lines of an output; each must be an object.
pub fn parse(output: &[u8]) -> Vec<Event> {
    let text = std::str::from_utf8(output).expect("JSON is UTF-8");
    assert!(text.is_empty() || text.ends_with('\n'), "the last line is whole");
    text.lines().map(Event::parse).collect()
}

/// The same of an output that is being written: its last line may not be whole.
pub fn parse_whole(output: &[u8]) -> Vec<Event> {
    let end = output.iter().rposition(|&byte| byte == b'\n').map_or(0, |at| at + 1);
    parse(&output[..end])
}

impl Event {
    fn parse(line: &str) -> Self {
        match serde_json::from_str(line) {
            Ok(Value::Object(object)) => Event(object),
            other => panic!("not an object: {line}: {other:?}"),
        }
    }

    /// A text, where the field is there.
    pub fn text(&self, key: &str) -> Option<&str> {
        self.0.get(key).map(|value| value.as_str().unwrap_or_else(|| panic!("{key}: {self:?}")))
    }

    /// A number, where the field is there.
    pub fn number(&self, key: &str) -> Option<u64> {
        self.0.get(key).map(|value| value.as_u64().unwrap_or_else(|| panic!("{key}: {self:?}")))
    }

    /// A flag: true where the field is there, and it is then nothing but true.
    pub fn flag(&self, key: &str) -> bool {
        self.0
            .get(key)
            .is_some_and(|value| *value == Value::Bool(true) || panic!("{key}: {self:?}"))
    }

    /// `CREATE` and so on.
    pub fn kind(&self) -> &str {
        self.text("event_type").unwrap_or_else(|| panic!("no event_type: {self:?}"))
    }

    /// The path's very bytes.
    pub fn path(&self) -> Option<PathBuf> {
        self.bytes("path").map(|bytes| OsString::from_vec(bytes).into())
    }

    /// Those of the old path.
    pub fn old_path(&self) -> Option<PathBuf> {
        self.bytes("old_path").map(|bytes| OsString::from_vec(bytes).into())
    }

    /// A text's very bytes, where the field is there.
    pub fn bytes(&self, key: &str) -> Option<Vec<u8>> {
        let text = self.text(key)?;
        let Some(encoded) = self.text(&format!("{key}_b64")) else { return Some(text.into()) };
        let bytes = BASE64_STANDARD.decode(encoded).expect("base64");
        assert!(std::str::from_utf8(&bytes).is_err(), "only where it is not UTF-8");
        assert_eq!(String::from_utf8_lossy(&bytes), text, "the lossy form of the same");
        Some(bytes)
    }

    /// The last part of the path, or of the old one, lossy.
    pub fn name(&self) -> String {
        let path = self.path().or_else(|| self.old_path()).unwrap_or_default();
        path.file_name().unwrap_or_default().to_string_lossy().into_owned()
    }

    /// `RENAME a -> b/` and the like, relative to `dir`: what a test can be read by.
    pub fn brief(&self, dir: &Path) -> String {
        let show = |path: Option<PathBuf>| {
            let path = path.map_or_else(|| "?".into(), |path| relative(&path, dir));
            if self.flag("is_dir") { format!("{path}/") } else { path }
        };
        let found = if self.flag("found") { " (found)" } else { "" };
        match self.kind() {
            "RENAME" => format!("RENAME {} -> {}{found}", show(self.old_path()), show(self.path())),
            "LOSS" => format!("LOSS {}", self.text("reason").unwrap_or("?")),
            kind => format!("{kind} {}{found}", show(self.path())),
        }
    }
}

fn relative(path: &Path, dir: &Path) -> String {
    path.strip_prefix(dir).unwrap_or(path).to_string_lossy().into_owned()
}

/// [`Event::brief`] of all.
pub fn briefs(events: &[Event], dir: &Path) -> Vec<String> {
    events.iter().map(|event| event.brief(dir)).collect()
}

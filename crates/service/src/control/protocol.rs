//! The messages of the control socket: one JSON object a line, one answer a line, version 1.
//!
//! ```text
//! → {"v":1,"cmd":"flush"}
//! ← {"v":1,"ok":true,"cursor":"…"}
//! → {"v":1,"cmd":"remove","path":"/srv"}
//! ← {"v":1,"ok":false,"kind":"not_found","error":"/srv is not watched; fsmon list shows what is"}
//! ```

use fsmon_format::error::{Error, ErrorKind};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use std::path::PathBuf;

/// The version of the messages.
pub const VERSION: u64 = 1;

/// What a client asks for.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(tag = "cmd", rename_all = "snake_case", deny_unknown_fields)]
#[non_exhaustive]
pub enum Command {
    /// How the daemon is, as one object.
    Status,
    /// The watches, as an array.
    List,
    /// Watch one more path; returns once the watch is active or pending.
    Add {
        /// The watch, with the keys of `[[watch]]`.
        watch: Fields,
        /// Whether it ends with the daemon; else it is kept in the state file.
        #[serde(default)]
        runtime: bool,
    },
    /// End the watch of a path.
    Remove {
        /// As it was added.
        path: PathBuf,
    },
    /// What happened before the call can be read from the history.
    Flush,
    /// The same, and it survives a loss of power.
    Sync,
    /// Begin another segment.
    Rotate,
    /// Read the configuration again.
    Reload,
    /// Delete segments beyond limits.
    Clean {
        /// Only say which.
        #[serde(default)]
        dry_run: bool,
        /// The limits, as `keep` in the configuration has them; `None`: those of the configuration.
        #[serde(default)]
        keep: Option<Value>,
    },
    /// Metrics as Prometheus reads them.
    Metrics,
}

/// The fields of an answer.
pub type Fields = Map<String, Value>;

impl Command {
    /// The name in a message.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Command::Status => "status",
            Command::List => "list",
            Command::Add { .. } => "add",
            Command::Remove { .. } => "remove",
            Command::Flush => "flush",
            Command::Sync => "sync",
            Command::Rotate => "rotate",
            Command::Reload => "reload",
            Command::Clean { .. } => "clean",
            Command::Metrics => "metrics",
        }
    }

    /// Parses a line. Hostile input gives an error, never a panic.
    ///
    /// # Errors
    /// It is no JSON object, of another version, of an unknown command, or has unknown fields.
    pub fn parse(line: &[u8]) -> Result<Command, Error> {
        let mut object: Fields = serde_json::from_slice(line)
            .map_err(|error| Error::invalid(format!("the message is no JSON object: {error}")))?;
        match object.remove("v").and_then(|version| version.as_u64()) {
            Some(VERSION) => {}
            Some(other) => {
                return Err(Error::new(
                    ErrorKind::Unsupported,
                    format!("version {other} of the messages is not known; send {VERSION}"),
                ));
            }
            None => return Err(Error::invalid(format!("the message lacks \"v\":{VERSION}"))),
        }
        serde_json::from_value(Value::Object(object))
            .map_err(|error| Error::invalid(format!("the message is not understood: {error}")))
    }

    /// The line that [`Command::parse`] reads, with its line break.
    #[must_use]
    pub fn line(&self) -> Vec<u8> {
        let mut value = serde_json::to_value(self).unwrap_or_default();
        if let Value::Object(fields) = &mut value {
            fields.insert("v".into(), VERSION.into());
        }
        to_line(&value)
    }
}

/// The line of an answer.
#[must_use]
pub fn answer(result: Result<Fields, Error>) -> Vec<u8> {
    let fields = match result {
        Ok(mut fields) => {
            fields.insert("ok".into(), true.into());
            fields.insert("v".into(), VERSION.into());
            Value::Object(fields)
        }
        Err(error) => json!({
            "v": VERSION, "ok": false, "kind": error.kind().name(), "error": error.to_string(),
        }),
    };
    to_line(&fields)
}

/// Reads the line of an answer.
///
/// # Errors
/// What the daemon answered, or that it is no answer.
pub fn parse_answer(line: &[u8]) -> Result<Fields, Error> {
    let no_answer = || Error::new(ErrorKind::Damaged, "the daemon's answer is not understood");
    let mut fields: Fields = serde_json::from_slice(line).map_err(|_| no_answer())?;
    fields.remove("v");
    match fields.remove("ok") {
        Some(Value::Bool(true)) => Ok(fields),
        Some(Value::Bool(false)) => {
            let text = fields.get("error").and_then(Value::as_str).unwrap_or("refused");
            let kind = fields.get("kind").and_then(Value::as_str);
            let kind = kind.and_then(|name| name.parse().ok()).unwrap_or(ErrorKind::Internal);
            Err(Error::new(kind, text))
        }
        _ => Err(no_answer()),
    }
}

fn to_line(value: &Value) -> Vec<u8> {
    let mut line = serde_json::to_vec(value).unwrap_or_default();
    line.push(b'\n');
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_is_read_as_it_was_written() {
        let all = [
            Command::Status,
            Command::List,
            Command::Remove { path: "/srv".into() },
            Command::Flush,
            Command::Sync,
            Command::Rotate,
            Command::Reload,
            Command::Clean { dry_run: true, keep: None },
            Command::Metrics,
        ];
        for command in all {
            let line = command.line();
            assert!(line.ends_with(b"\n") && !line[..line.len() - 1].contains(&b'\n'));
            assert_eq!(Command::parse(&line).expect("understood"), command);
        }
    }

    #[test]
    fn what_is_not_understood_is_refused_with_the_reason() {
        for (line, why) in [
            (&b""[..], "no JSON object"),
            (b"[1]", "no JSON object"),
            (b"\xff", "no JSON object"),
            (b"{}", "lacks \"v\":1"),
            (br#"{"v":2,"cmd":"status"}"#, "version 2"),
            (br#"{"v":1}"#, "cmd"),
            (br#"{"v":1,"cmd":"format_disk"}"#, "format_disk"),
            (br#"{"v":1,"cmd":"remove"}"#, "path"),
            (br#"{"v":1,"cmd":"remove","path":"/x","force":true}"#, "force"),
            (br#"{"v":1,"cmd":"clean","dry_run":"yes"}"#, "boolean"),
        ] {
            let error = Command::parse(line).expect_err("refused").to_string();
            assert!(error.contains(why), "{error}");
        }
    }

    #[test]
    fn answers_carry_the_kind_of_an_error() {
        let mut fields = Fields::new();
        fields.insert("cursor".into(), "c".into());
        let back = parse_answer(&answer(Ok(fields.clone()))).expect("an answer");
        assert_eq!(back, fields);
        for kind in [ErrorKind::Permission, ErrorKind::Busy, ErrorKind::NotFound, ErrorKind::Io] {
            let line = answer(Err(Error::new(kind, "why")));
            let error = parse_answer(&line).expect_err("refused");
            assert_eq!((error.kind(), error.to_string().as_str()), (kind, "why"));
        }
        assert!(parse_answer(b"hello").is_err());
    }
}

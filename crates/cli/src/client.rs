//! `fsmon add`, `remove`, `list`, `status`, `clean`, `flush`, `sync`: asks the daemon, and prints what it answers.

use crate::args::client::{AddArgs, CleanArgs, ClientArgs, RemoveArgs, Shape};
use fsmon_engine::{Error, ErrorKind};
use fsmon_present::message;
use fsmon_service::config::FILTERS;
use fsmon_service::control::client::Client;
use fsmon_service::control::protocol::{Command, Fields};
use fsmon_service::preview::WIDENS;
use serde_json::{Map, Value, json};
use std::io::{self, Write};
use std::path::{Component, Path, PathBuf};
use std::process::ExitCode;

/// `status`: no daemon answers.
const NOT_RUNNING: u8 = 3;
/// `status`: it does less than it should.
const DEGRADED: u8 = 4;

/// Adds watches, one after the other; ends at the first that is refused.
///
/// # Errors
/// The daemon does not answer, or refuses.
pub(crate) fn add(args: &AddArgs) -> Result<ExitCode, Error> {
    each(&args.client, &args.paths, |path| Command::Add {
        watch: watch(args, path),
        runtime: args.runtime,
    })
}

/// The watch of a path, with the keys of `[[watch]]`.
fn watch(args: &AddArgs, path: &Path) -> Map<String, Value> {
    let mut watch = Map::new();
    watch.insert("path".into(), path.to_string_lossy().into());
    for (key, list) in [
        ("types", &args.types),
        ("include", &args.include),
        ("exclude", &args.exclude),
        ("include_regex", &args.include_regex),
        ("exclude_regex", &args.exclude_regex),
        ("exclude_cmd", &args.exclude_cmd),
    ] {
        if !list.is_empty() {
            watch.insert(key.into(), list.clone().into());
        }
    }
    if args.no_recursive {
        watch.insert("recursive".into(), false.into());
    }
    if let Some(depth) = args.max_depth {
        watch.insert("max_depth".into(), depth.into());
    }
    if let Some(size) = args.size {
        watch.insert("size".into(), size.to_string().into());
    }
    watch
}

/// Removes watches, one after the other; ends at the first that is refused.
///
/// # Errors
/// The daemon does not answer, or refuses.
pub(crate) fn remove(args: &RemoveArgs) -> Result<ExitCode, Error> {
    each(&args.client, &args.paths, |path| Command::Remove { path: path.to_owned() })
}

fn each(
    args: &ClientArgs,
    paths: &[PathBuf],
    command: impl Fn(&Path) -> Command,
) -> Result<ExitCode, Error> {
    let mut client = Client::connect(&args.socket)?;
    let mut answers = Vec::new();
    for path in paths {
        let path = absolute(path)?;
        let answer = client.ask(&command(&path))?;
        let shown = message::shown(&path);
        let state = answer.get("state").and_then(Value::as_str).unwrap_or("removed").to_owned();
        if args.format == Shape::Human {
            print(&format!("{state} {shown}{}\n", widening(&answer)))?;
        }
        answers.push(Value::Object(answer));
    }
    if args.format == Shape::Json {
        print_json(&Value::Array(answers))?;
    }
    Ok(ExitCode::SUCCESS)
}

/// For which types of a watch the kernel reports more, and of what.
fn widening(watch: &Fields) -> String {
    match names(watch, "widens") {
        types if types.is_empty() => String::new(),
        types => format!("  {}: {WIDENS}", types.join(",")),
    }
}

/// What else a watch has that is not as by default: `exclude *.o,*.tmp`.
fn filters(watch: &Fields) -> String {
    let mut text = String::new();
    for key in FILTERS {
        match names(watch, key) {
            list if list.is_empty() => {}
            list => text += &format!("  {key} {}", message::line(&list.join(","))),
        }
    }
    for key in ["max_depth", "size", "hard_links", "follow_mounts", "cmdline"] {
        match watch.get(key) {
            Some(Value::Bool(true)) => text += &format!("  {key}"),
            Some(Value::String(value)) => text += &format!("  {key} {}", message::line(value)),
            Some(Value::Number(value)) => text += &format!("  {key} {value}"),
            _ => {}
        }
    }
    text
}

/// The texts of a list.
fn names<'a>(watch: &'a Fields, key: &str) -> Vec<&'a str> {
    let list = watch.get(key).and_then(Value::as_array);
    list.into_iter().flatten().filter_map(Value::as_str).collect()
}

/// A path as the daemon takes it: absolute, without `.`, `..` and a slash at the end.
fn absolute(path: &Path) -> Result<PathBuf, Error> {
    let shown = message::shown(path);
    if path.to_str().is_none() {
        return Err(Error::invalid(format!(
            "{shown} is not UTF-8, so that it cannot be kept in a configuration; name the directory above it"
        )));
    }
    if path.components().any(|part| part == Component::ParentDir) {
        return path.canonicalize().map_err(|error| {
            Error::os(format!("cannot find {shown}; write it without .."), error)
        });
    }
    let absolute = std::path::absolute(path)
        .map_err(|error| Error::os("cannot find the current directory", error))?;
    Ok(absolute.components().collect())
}

/// Prints the watches.
///
/// # Errors
/// The daemon does not answer, or refuses.
pub(crate) fn list(args: &ClientArgs) -> Result<ExitCode, Error> {
    let mut answer = ask(args, &Command::List)?;
    let watches = answer.remove("watches").unwrap_or_else(|| json!([]));
    if args.format == Shape::Json {
        return print_json(&watches).map(|()| ExitCode::SUCCESS);
    }
    let mut lines = String::new();
    for watch in watches.as_array().into_iter().flatten().filter_map(Value::as_object) {
        let text = |key: &str| watch.get(key).and_then(Value::as_str).unwrap_or_default();
        let depth = match watch.get("recursive").and_then(Value::as_bool) {
            Some(false) => "  direct children only",
            _ => "",
        };
        let reason = match text("reason") {
            "" => String::new(),
            reason => format!("  {}", message::line(reason)),
        };
        lines.push_str(&format!(
            "{:<8} {}  {}{depth}{}{reason}{}\n",
            text("state"),
            message::line(text("path")),
            names(watch, "types").join(","),
            filters(watch),
            widening(watch),
        ));
    }
    print(&lines).map(|()| ExitCode::SUCCESS)
}

/// Prints how the daemon is: exit code 0 recording, 3 not running, 4 degraded.
///
/// # Errors
/// This user may not ask; the output cannot be written.
pub(crate) fn status(args: &ClientArgs) -> Result<ExitCode, Error> {
    let status = match ask(args, &Command::Status) {
        Ok(status) => status,
        Err(error) if error.kind() == ErrorKind::NotFound => {
            match args.format {
                Shape::Json => print_json(&json!({ "state": "not running" }))?,
                Shape::Human => message::print(&error),
            }
            return Ok(ExitCode::from(NOT_RUNNING));
        }
        Err(error) => return Err(error),
    };
    let is_recording = status.get("state").and_then(Value::as_str) == Some("recording");
    match args.format {
        Shape::Json => print_json(&Value::Object(status))?,
        Shape::Human => print(&for_people(&status))?,
    }
    Ok(if is_recording { ExitCode::SUCCESS } else { ExitCode::from(DEGRADED) })
}

fn for_people(status: &Fields) -> String {
    let of = |value: &Value, key: &str| match value.get(key) {
        Some(Value::String(text)) => message::line(text),
        Some(value) => value.to_string(),
        None => String::new(),
    };
    let status = Value::Object(status.clone());
    let mut lines = format!("{}; running since {}\n", of(&status, "state"), of(&status, "since"));
    for reason in status["reasons"].as_array().into_iter().flatten().filter_map(Value::as_str) {
        lines.push_str(&format!("  {}\n", message::line(reason)));
    }
    let watches = status["watches"].as_array().map_or(0, Vec::len);
    lines.push_str(&format!(
        "watching {} with {}\n",
        message::counted(watches as u64, "path", "paths"),
        message::counted(
            status["directories"].as_u64().unwrap_or_default(),
            "directory",
            "directories"
        ),
    ));
    for watch in status["watches"].as_array().into_iter().flatten() {
        let reason = match &watch["reason"] {
            Value::String(reason) => format!(": {}", message::line(reason)),
            _ => String::new(),
        };
        lines.push_str(&format!("  {:<8} {}{reason}\n", of(watch, "state"), of(watch, "path")));
    }
    let history = &status["history"];
    lines.push_str(&format!(
        "history {}: {} bytes in {} since {}\n",
        of(history, "dir"),
        of(history, "bytes"),
        message::counted(history["segments"].as_u64().unwrap_or_default(), "segment", "segments"),
        of(history, "oldest")
    ));
    let complete = match status["complete"].as_bool() {
        Some(true) => "complete",
        _ => "NOT complete",
    };
    lines.push_str(&format!(
        "{}, {} lost: {complete}; process names from {}\n",
        message::counted(status["events"].as_u64().unwrap_or_default(), "event", "events"),
        of(&status, "lost"),
        of(&status, "rung")
    ));
    for loss in status["losses"].as_array().into_iter().flatten() {
        lines.push_str(&format!("  {}: {}\n", of(loss, "reason"), of(loss, "lost")));
    }
    lines
}

/// Deletes segments, and prints which.
///
/// # Errors
/// The daemon does not answer, or refuses.
pub(crate) fn clean(args: &CleanArgs) -> Result<ExitCode, Error> {
    let keep = (args.age.is_some() || args.size.is_some()).then(|| {
        let mut keep = Map::new();
        if let Some(age) = args.age {
            keep.insert("age".into(), format!("{}ms", age.as_millis()).into());
        }
        if let Some(size) = args.size {
            keep.insert("size".into(), format!("{}K", size / 1024).into());
        }
        Value::Object(keep)
    });
    let answer = ask(&args.client, &Command::Clean { dry_run: args.dry_run, keep })?;
    if args.client.format == Shape::Json {
        return print_json(&Value::Object(answer)).map(|()| ExitCode::SUCCESS);
    }
    let deleted = answer.get("deleted").and_then(Value::as_array).cloned().unwrap_or_default();
    let verb = if args.dry_run { "would delete" } else { "deleted" };
    let mut lines = String::new();
    for segment in &deleted {
        let text = |key: &str| match &segment[key] {
            Value::String(text) => message::line(text),
            other => other.to_string(),
        };
        lines.push_str(&format!(
            "{verb} {}: {} bytes, {} events ({})\n",
            text("file"),
            text("bytes"),
            text("events"),
            text("why")
        ));
    }
    if deleted.is_empty() {
        lines.push_str("nothing to delete; the segment that is being written stays\n");
    }
    print(&lines).map(|()| ExitCode::SUCCESS)
}

/// `flush` or `sync`: prints the cursor behind all that happened before.
///
/// # Errors
/// The daemon does not answer, or recording is paused.
pub(crate) fn cursor(args: &ClientArgs, command: &Command) -> Result<ExitCode, Error> {
    let answer = ask(args, command)?;
    match args.format {
        Shape::Json => print_json(&Value::Object(answer))?,
        Shape::Human => {
            let cursor = answer.get("cursor").and_then(Value::as_str).unwrap_or_default();
            print(&format!("{}\n", message::line(cursor)))?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn ask(args: &ClientArgs, command: &Command) -> Result<Fields, Error> {
    Client::connect(&args.socket)?.ask(command)
}

fn print_json(value: &Value) -> Result<(), Error> {
    print(&format!("{value}\n"))
}

fn print(text: &str) -> Result<(), Error> {
    match io::stdout().write_all(text.as_bytes()).and_then(|()| io::stdout().flush()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            Err(Error::os("cannot write to standard output", error))
        }
        _ => Ok(()),
    }
}

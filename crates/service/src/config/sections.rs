//! The tables of the configuration: their keys, types and defaults.

use super::Config;
use super::document::{Table, Value};
use super::keys;
use super::watch;
use super::wire;
use crate::limits::{CPU_MAX, NAME_BYTES, SESSIONS_MAX};
use fsmon_engine::config::{Cpu, Who};
use fsmon_engine::limits::{
    BATCH_WINDOW_MAX_MS, DIRS_DEFAULT, DIRS_MAX, PROCESSES_DEFAULT, PROCESSES_MAX,
};
use fsmon_format::error::Error;
use fsmon_format::stream::Codec;
use fsmon_present::redact::Redactor;
use fsmon_present::size::bytes;
use serde::{Deserialize, Serialize};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;
use toml::de::DeValue;

const MIB: u64 = 1 << 20;
const GIB: u64 = 1 << 30;
const HOUR: Duration = Duration::from_secs(3600);
const DAY: Duration = Duration::from_secs(24 * 3600);

/// `[history]`: the files of what was recorded.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct History {
    /// The directory of the files. Absolute.
    pub dir: PathBuf,
    /// When a file ends.
    pub rotate: Rotate,
    /// What is deleted.
    pub keep: Keep,
    /// How blocks are compressed.
    #[serde(with = "wire::codec")]
    pub compress: Codec,
}

impl Default for History {
    fn default() -> Self {
        History {
            dir: "/var/lib/fsmon/history".into(),
            rotate: Rotate::default(),
            keep: Keep::default(),
            compress: Codec::Zstd,
        }
    }
}

/// When a file of the history ends: at the first of these.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Rotate {
    /// When it has this many bytes. `None`: at any size.
    pub size: Option<u64>,
    /// When it is this old. `None`: at any age.
    pub age: Option<Duration>,
}

impl Default for Rotate {
    fn default() -> Self {
        Rotate { size: Some(64 * MIB), age: Some(DAY) }
    }
}

/// What of the history is deleted: the oldest files, as long as one of these limits is exceeded.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Keep {
    /// The most bytes of all files together. `None`: any number.
    pub size: Option<u64>,
    /// The greatest age. `None`: any.
    pub age: Option<Duration>,
    /// What must stay free of the filesystem. `None`: nothing.
    pub free: Option<Free>,
    /// `size` and `free` delete nothing that is younger than this; recording pauses instead. `None`: nothing is too young.
    /// If the file does not say, it is 24 hours, or `age` if that is less.
    pub at_least: Option<Duration>,
}

impl Default for Keep {
    fn default() -> Self {
        Keep {
            size: Some(10 * GIB),
            age: Some(30 * DAY),
            free: Some(Free::Percent(5)),
            at_least: Some(24 * HOUR),
        }
    }
}

/// What must stay free of a filesystem.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub enum Free {
    /// This part of its size: 1 to 99 percent.
    Percent(u8),
    /// This many bytes.
    Bytes(u64),
}

/// `[control]`: the socket by which the daemon is asked and told.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Control {
    /// The path of the socket. Absolute, at most 107 bytes.
    pub socket: PathBuf,
    /// The group whose members may ask, by name. `None`: only root and the daemon's user.
    pub group: Option<String>,
}

/// The group that packages make.
pub(super) const DEFAULT_GROUP: &str = "fsmon";

impl Default for Control {
    fn default() -> Self {
        Control { socket: "/run/fsmon/control.sock".into(), group: Some(DEFAULT_GROUP.to_owned()) }
    }
}

/// `[sessions]`: `fsmon run` for users without rights.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Sessions {
    /// Whether there are any.
    pub enabled: bool,
    /// The path of the socket. Absolute, at most 107 bytes.
    pub socket: PathBuf,
    /// The most sessions at one time, 1 to 4096.
    pub max: usize,
    /// The most sessions of one user at one time, 1 to `max`.
    pub max_per_user: usize,
    /// Whether a session may record what is read.
    pub reads: bool,
}

impl Default for Sessions {
    fn default() -> Self {
        Sessions {
            enabled: false,
            socket: "/run/fsmon/session.sock".into(),
            max: 64,
            max_per_user: 4,
            reads: false,
        }
    }
}

/// `[state]`: where watches are that were added while the daemon ran.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct StateFile {
    /// The path of the file. Absolute.
    pub file: PathBuf,
}

impl Default for StateFile {
    fn default() -> Self {
        StateFile { file: "/var/lib/fsmon/watches.toml".into() }
    }
}

/// `[metrics]`: where metrics can be read. Nowhere, if the file does not say.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Metrics {
    /// A file for the textfile collector of node_exporter. Absolute.
    pub textfile: Option<PathBuf>,
    /// An address that is listened at.
    pub listen: Option<Listen>,
}

/// An address to listen at.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub enum Listen {
    /// An IP address and a port.
    Tcp(SocketAddr),
    /// The path of a unix socket. Absolute, at most 107 bytes.
    Unix(PathBuf),
}

/// `[queue]`: the kernel's queue of events.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Queue {
    /// The most bytes of kernel memory that it may take while the disk does not keep up. Beyond, events are lost.
    pub max_bytes: u64,
}

impl Default for Queue {
    fn default() -> Self {
        Queue { max_bytes: 256 * MIB }
    }
}

/// `[engine]`: how events are read. The fields are those of the engine's configuration.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Engine {
    /// Where the readers run.
    #[serde(with = "wire::cpu")]
    pub cpu: Cpu,
    /// How long events are gathered before they are read; at most a second.
    pub batch_window: Duration,
    /// Whether each filesystem has a reader of its own.
    pub per_filesystem: bool,
    /// Directories that can be known at one time.
    pub max_dirs: usize,
    /// Process images that can be known at one time.
    pub max_processes: usize,
    /// Globs on words of command lines that are hidden, beside the values of well-known names.
    pub redact: Vec<String>,
    /// The least source of process names with which the daemon is not degraded. `None`: any.
    #[serde(with = "wire::rung")]
    pub require: Option<Who>,
}

impl Default for Engine {
    fn default() -> Self {
        Engine {
            cpu: Cpu::Auto,
            batch_window: Duration::from_millis(1),
            per_filesystem: false,
            max_dirs: DIRS_DEFAULT,
            max_processes: PROCESSES_DEFAULT,
            redact: Vec::new(),
            require: None,
        }
    }
}

/// Reads all tables.
///
/// # Errors
/// An unknown key or a wrong value.
pub(super) fn config(top: &Table<'_>) -> Result<Config, Error> {
    Ok(Config {
        history: section(top, "history", &keys::HISTORY, history)?,
        control: section(top, "control", &keys::CONTROL, control)?,
        sessions: section(top, "sessions", &keys::SESSIONS, sessions)?,
        state: section(top, "state", &keys::STATE, state)?,
        metrics: section(top, "metrics", &keys::METRICS, metrics)?,
        queue: section(top, "queue", &keys::QUEUE, queue)?,
        engine: section(top, "engine", &keys::ENGINE, engine)?,
        watches: watch::watches(top)?,
    })
}

/// Reads a table that may be missing.
fn section<T: Default>(
    top: &Table<'_>,
    key: &'static str,
    section: &'static keys::Section,
    read: impl FnOnce(&Table<'_>) -> Result<T, Error>,
) -> Result<T, Error> {
    Ok(top.read(key, |value| read(&value.table(section)?))?.unwrap_or_default())
}

fn history(table: &Table<'_>) -> Result<History, Error> {
    let default = History::default();
    Ok(History {
        dir: table.read_or("dir", default.dir, Value::path)?,
        rotate: table.read_or("rotate", default.rotate, rotate)?,
        keep: table.read_or("keep", default.keep, keep)?,
        compress: table
            .read_or("compress", default.compress, |value| value.one_of(Codec::NAMES))?,
    })
}

/// A size alone, or a table.
fn rotate(value: &Value<'_>) -> Result<Rotate, Error> {
    let default = Rotate::default();
    if let DeValue::String(_) = value.get() {
        return Ok(Rotate { size: value.size_or_none()?, ..default });
    }
    let table = value.table(&keys::ROTATE)?;
    Ok(Rotate {
        size: table.read_or("size", default.size, Value::size_or_none)?,
        age: table.read_or("age", default.age, Value::time_or_none)?,
    })
}

/// A size alone, or a table.
fn keep(value: &Value<'_>) -> Result<Keep, Error> {
    let default = Keep::default();
    if let DeValue::String(_) = value.get() {
        return Ok(Keep { size: value.size_or_none()?, ..default });
    }
    let table = value.table(&keys::KEEP)?;
    let age = table.read_or("age", default.age, Value::time_or_none)?;
    let at_least = default.at_least.map(|time| age.map_or(time, |age| time.min(age)));
    Ok(Keep {
        size: table.read_or("size", default.size, Value::size_or_none)?,
        age,
        free: table.read_or("free", default.free, free)?,
        at_least: table.read_or("at_least", at_least, Value::time_or_none)?,
    })
}

fn free(value: &Value<'_>) -> Result<Option<Free>, Error> {
    let expected = "a part such as \"5%\", a size such as \"10G\", or \"none\"";
    let text = value.string(expected)?;
    if text == "none" {
        return Ok(None);
    }
    let percent = text.strip_suffix('%').map(str::parse::<u8>);
    let free = match percent {
        Some(Ok(percent @ 1..=99)) => Some(Free::Percent(percent)),
        Some(_) => None,
        None => bytes(text).map(Free::Bytes),
    };
    free.map(Some).ok_or_else(|| value.bad(text, expected))
}

fn control(table: &Table<'_>) -> Result<Control, Error> {
    let default = Control::default();
    Ok(Control {
        socket: table.read_or("socket", default.socket, Value::socket)?,
        group: table
            .read_or("group", default.group, |value| value.unless_empty(|value| group(value)))?,
    })
}

fn group(value: &Value<'_>) -> Result<String, Error> {
    let expected = "the name of a group, or \"\" for none";
    let text = value.string(expected)?;
    let is_name = text.len() <= NAME_BYTES
        && !text.contains(|letter: char| letter.is_whitespace() || letter.is_control())
        && !text.contains([':', ',']);
    if is_name { Ok(text.to_owned()) } else { Err(value.bad(text, expected)) }
}

fn sessions(table: &Table<'_>) -> Result<Sessions, Error> {
    let default = Sessions::default();
    let number = |value: &Value<'_>| value.number(1..=SESSIONS_MAX);
    let max = table.read_or("max", default.max, number)?;
    Ok(Sessions {
        enabled: table.read_or("enabled", default.enabled, Value::bool)?,
        socket: table.read_or("socket", default.socket, Value::socket)?,
        max,
        max_per_user: table.read_or("max_per_user", default.max_per_user.min(max), number)?,
        reads: table.read_or("reads", default.reads, Value::bool)?,
    })
}

fn state(table: &Table<'_>) -> Result<StateFile, Error> {
    Ok(StateFile { file: table.read_or("file", StateFile::default().file, Value::path)? })
}

fn metrics(table: &Table<'_>) -> Result<Metrics, Error> {
    let path = |value: &Value<'_>| value.unless_empty(Value::path);
    let address = |value: &Value<'_>| value.unless_empty(listen);
    Ok(Metrics {
        textfile: table.read_or("textfile", None, path)?,
        listen: table.read_or("listen", None, address)?,
    })
}

fn listen(value: &Value<'_>) -> Result<Listen, Error> {
    let expected = "\"127.0.0.1:9477\", \"unix:/run/fsmon/metrics.sock\", or \"\" for none";
    let text = value.string(expected)?;
    if let Some(path) = text.strip_prefix("unix:") {
        return value.socket_at(path).map(Listen::Unix);
    }
    let address = text.parse().ok().filter(|address: &SocketAddr| address.port() != 0);
    address.map(Listen::Tcp).ok_or_else(|| value.bad(text, expected))
}

fn queue(table: &Table<'_>) -> Result<Queue, Error> {
    Ok(Queue { max_bytes: table.read_or("max_bytes", Queue::default().max_bytes, Value::size)? })
}

fn engine(table: &Table<'_>) -> Result<Engine, Error> {
    let default = Engine::default();
    let dirs = |value: &Value<'_>| value.number(1..=DIRS_MAX);
    let processes = |value: &Value<'_>| value.number(1..=PROCESSES_MAX);
    Ok(Engine {
        cpu: table.read_or("cpu", default.cpu, cpu)?,
        batch_window: table.read_or("batch_window", default.batch_window, batch_window)?,
        per_filesystem: table.read_or("per_filesystem", default.per_filesystem, Value::bool)?,
        max_dirs: table.read_or("max_dirs", default.max_dirs, dirs)?,
        max_processes: table.read_or("max_processes", default.max_processes, processes)?,
        redact: table.read_or("redact", default.redact, redact)?,
        require: table.read_or("require", default.require, require)?,
    })
}

fn redact(value: &Value<'_>) -> Result<Vec<String>, Error> {
    let globs = value.strings("-p?*")?;
    Redactor::new(&globs)
        .map_err(|error| value.wrong(format_args!("has {}", keys::without(&error))))?;
    Ok(globs)
}

fn cpu(value: &Value<'_>) -> Result<Cpu, Error> {
    match value.get() {
        DeValue::Integer(_) => value.number(0..=CPU_MAX).map(Cpu::Pin),
        DeValue::String(_) => value.one_of(&[("auto", Cpu::Auto), ("none", Cpu::None)]),
        _ => Err(value.not("\"auto\", \"none\" or the number of a CPU")),
    }
}

fn batch_window(value: &Value<'_>) -> Result<Duration, Error> {
    let window = value.time()?;
    match window > Duration::from_millis(BATCH_WINDOW_MAX_MS) {
        false => Ok(window),
        true => {
            Err(value
                .wrong(format_args!("is {window:?}; write at most \"{BATCH_WINDOW_MAX_MS}ms\"")))
        }
    }
}

fn require(value: &Value<'_>) -> Result<Option<Who>, Error> {
    let rungs = Who::ALL.iter().filter(|rung| **rung != Who::Auto);
    let choices: Vec<_> =
        [("any", None)].into_iter().chain(rungs.map(|rung| (rung.name(), Some(*rung)))).collect();
    value.one_of(&choices)
}

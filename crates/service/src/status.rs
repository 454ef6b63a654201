//! What the daemon says of itself.

use crate::config::{State as StateFile, Watch};
use crate::control::protocol::Fields;
use crate::shared::Shared;
use crate::table::{Entry, Origin, State};
use fsmon_engine::Counters;
use fsmon_engine::config::Who;
use fsmon_format::error::Error;
use fsmon_format::kind;
use fsmon_present::duration;
use fsmon_present::message::{counted, shown};
use fsmon_store::history::{Deletion, History, Now, OpenSegment, Reach};
use jiff::Timestamp;
use serde_json::{Map, Value, json};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

/// How long a loss counts as recent.
const RECENT_LOSS: Duration = Duration::from_secs(3600);

/// What is known of the closed segments.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Closed {
    pub(crate) bytes: u64,
    pub(crate) segments: usize,
    /// When the oldest begins, ns since 1970.
    pub(crate) oldest_ns: Option<u64>,
    /// How far back the history goes, with the open segment, if that is known.
    pub(crate) reach: Option<Reach>,
}

impl Closed {
    pub(crate) fn of(history: &mut History, now: &Now, open: Option<OpenSegment>) -> Self {
        let reach = history.reach(now, open);
        let entries = history.catalogue().entries();
        let oldest_ns = entries.iter().map(|entry| entry.wall_ns.0).min();
        Closed { bytes: history.bytes(), segments: entries.len(), oldest_ns, reach }
    }
}

/// All that is known at one moment.
pub(crate) struct View {
    pub(crate) entries: Vec<Entry>,
    pub(crate) closed: Closed,
    pub(crate) dir: PathBuf,
    /// `history.keep.at_least`
    pub(crate) at_least: Duration,
    /// `queue.max_bytes`
    pub(crate) queue_max_bytes: u64,
    pub(crate) required: Option<Who>,
    pub(crate) rung: Who,
    pub(crate) counters: Counters,
    pub(crate) shared: Arc<Shared>,
    pub(crate) since_ns: u64,
    pub(crate) ring_slots: usize,
}

impl View {
    /// Directories that the engine knows. It counts them once a second: until then, as many as watches had when they began,
    /// without those within another watch.
    fn directories(&self) -> u64 {
        let is_within = |entry: &Entry| {
            let is_around = |other: &Entry| {
                other.number != entry.number && entry.watch.path.starts_with(&other.watch.path)
            };
            self.entries.iter().any(is_around)
        };
        let outer = self.entries.iter().filter(|entry| !is_within(entry));
        self.counters.dirs.max(outer.map(|entry| u64::from(entry.directories)).sum())
    }

    /// Why the daemon does less than it should; empty if it does not.
    fn reasons(&self) -> Vec<String> {
        let mut reasons = Vec::new();
        for entry in &self.entries {
            if let State::Failed(why) = &entry.state {
                reasons.push(format!("{} is not watched: {why}", shown(&entry.watch.path)));
            }
        }
        if let Some(why) = self.shared.paused() {
            reasons.push(format!("recording is paused: {why}"));
        }
        if let Some(dropped) = self.shared.dropped() {
            reasons.push(format!(
                "the kernel's queue is at queue.max_bytes: {} dropped so far",
                counted(dropped, "event was", "events were")
            ));
        }
        if let Some(required) = self.required
            && self.rung > required
        {
            reasons.push(format!(
                "process names come from {}, which is less than engine.require asks for ({})",
                self.rung, required
            ));
        }
        // The LOSS record of it comes once; what is below these directories is missing until a restart.
        match self.counters.dirs_refused {
            0 => {}
            refused => reasons.push(format!(
                "{} and all below, as no more are known at a time: raise engine.max_dirs and restart",
                counted(refused, "directory is not watched", "directories are not watched")
            )),
        }
        if let (_, Some(at)) = self.shared.losses()
            && at.elapsed() < RECENT_LOSS
        {
            reasons.push("something was lost within the last hour; see losses".to_owned());
        }
        reasons.extend(self.is_short());
        reasons
    }

    /// Why the history goes back less far than it should. One that began a moment ago, and lost nothing, is not at fault.
    fn is_short(&self) -> Option<String> {
        let reach = self.closed.reach.filter(|reach| reach.age < self.at_least)?;
        let why = match (reach.is_cut, reach.was_paused || self.shared.was_paused()) {
            (true, _) => "what was recorded before that is deleted",
            (false, true) => "recording was paused",
            (false, false) => return None,
        };
        let [age, at_least] = [reach.age, self.at_least].map(duration::rounded);
        Some(format!(
            "the history goes back {age} only, less than history.keep.at_least ({at_least}): {why}"
        ))
    }

    fn state(&self) -> &'static str {
        match self.shared.paused() {
            Some(_) => "paused",
            None if self.reasons().is_empty() => "recording",
            None => "degraded",
        }
    }

    fn is_complete(&self) -> bool {
        let is_all_known = self.shared.malformed() == 0 && self.shared.unwritten().is_none();
        is_all_known
            && self.shared.losses().0.is_empty()
            && self.counters.missing().next().is_none()
    }
}

/// ns since 1970 as RFC 3339.
fn time(ns: u64) -> Value {
    let time = Timestamp::from_nanosecond(ns.into());
    time.map_or(Value::Null, |time| time.to_string().into())
}

/// `status`.
pub(crate) fn fields(view: &View) -> Fields {
    let lines: u64 = kind::ALL.iter().map(|kind| view.shared.lines_of(kind.bit)).sum();
    let (losses, _) = view.shared.losses();
    let lost: u64 = losses.iter().map(|(_, losses)| losses.lost).fold(0, u64::saturating_add);
    let by_reason: Vec<_> = losses
        .iter()
        .map(|(reason, losses)| {
            json!({"reason": reason.name(), "records": losses.records, "lost": losses.lost})
        })
        .collect();
    let written = view.shared.written();
    let fields = json!({
        "state": view.state(),
        "reasons": view.reasons(),
        "since": time(view.since_ns),
        "version": env!("CARGO_PKG_VERSION"),
        "pid": std::process::id(),
        "rung": view.rung.name(),
        "watches": view.entries.iter().map(|entry| {
            let reason = match &entry.state {
                State::Failed(why) => Value::from(why.as_str()),
                State::Pending => "the path does not exist yet".into(),
                State::Active => Value::Null,
            };
            json!({
                "path": text(&entry.watch.path),
                "state": entry.state.name(),
                "reason": reason,
                "directories": entry.directories,
            })
        }).collect::<Vec<_>>(),
        "directories": view.directories(),
        "history": {
            "dir": text(&view.dir),
            "bytes": view.closed.bytes + written.segment_bytes,
            "segments": view.closed.segments + usize::from(written.segment.is_some()),
            "oldest": view.closed.oldest_ns.map_or_else(|| time(view.since_ns), time),
            "segment": written.segment,
        },
        "queue": {
            // Unknown: no file says it, and it is long.
            "bytes": Some(view.counters.queue_bytes).filter(|bytes| *bytes != u64::MAX),
            "max_bytes": view.queue_max_bytes,
        },
        "events": view.shared.events(),
        "lines": lines,
        "kernel_events": view.counters.kernel_events,
        "lost": lost,
        "losses": by_reason,
        "complete": view.is_complete(),
    });
    object(fields)
}

fn text(path: &std::path::Path) -> Value {
    path.to_string_lossy().into()
}

fn object(value: Value) -> Fields {
    match value {
        Value::Object(fields) => fields,
        _ => Map::new(),
    }
}

/// `list`.
pub(crate) fn list(view: &View) -> Fields {
    let watches: Vec<_> =
        view.entries.iter().map(|entry| Value::Object(watch_fields(entry))).collect();
    object(json!({ "watches": watches }))
}

/// A watch in full.
pub(crate) fn watch_fields(entry: &Entry) -> Fields {
    let mut fields = object(serde_json::to_value(&entry.watch).unwrap_or_default());
    let types: Vec<_> = kind::in_causal_order(entry.watch.types()).map(|kind| kind.name).collect();
    fields.insert("path".into(), text(&entry.watch.path));
    fields.insert("state".into(), entry.state.name().into());
    fields.insert("recursive".into(), entry.watch.recursive.into());
    fields.insert("types".into(), types.into());
    let widens = kind::in_causal_order(entry.watch.widens()).map(|kind| kind.name);
    fields.insert("widens".into(), widens.collect::<Vec<_>>().into());
    fields.insert("directories".into(), entry.directories.into());
    let origin = match entry.origin {
        Origin::Config => "config",
        Origin::Added => "added",
        Origin::Runtime => "runtime",
    };
    fields.insert("origin".into(), origin.into());
    if let State::Failed(why) = &entry.state {
        fields.insert("reason".into(), why.as_str().into());
    }
    fields
}

/// The watch in a message: the same keys and rules as in the configuration.
///
/// # Errors
/// A key or a value is wrong.
pub(crate) fn watch_of(fields: &Map<String, Value>) -> Result<Watch, Error> {
    let text = toml::to_string(&json!({ "watch": [fields] }))
        .map_err(|error| Error::invalid(format!("the watch is not understood: {error}")))?;
    let watches = StateFile::from_toml(&text, "the watch")?.watches;
    watches.into_iter().next().ok_or_else(|| Error::invalid("the message has no watch"))
}

/// `clean`.
pub(crate) fn deleted(deletions: &[Deletion], bytes_left: u64) -> Fields {
    let each: Vec<_> = deletions
        .iter()
        .map(|deletion| {
            json!({
                "file": deletion.entry.file,
                "bytes": deletion.entry.bytes,
                "events": deletion.entry.events,
                "oldest": time(deletion.entry.wall_ns.0),
                "newest": time(deletion.entry.wall_ns.1),
                "why": deletion.why.name(),
                "early": deletion.is_early,
            })
        })
        .collect();
    object(json!({ "deleted": each, "bytes_left": bytes_left }))
}

/// One line.
pub(crate) fn summary(view: &View) -> String {
    let count = |name: &str| view.entries.iter().filter(|entry| entry.state.name() == name).count();
    let mut parts = vec![
        counted(view.entries.len() as u64, "watch", "watches"),
        counted(view.directories(), "directory", "directories"),
        counted(view.shared.events(), "event", "events"),
    ];
    for state in ["pending", "failed"] {
        match count(state) {
            0 => {}
            some => parts.push(format!("{some} {state}")),
        }
    }
    parts.push(if view.is_complete() { "complete" } else { "NOT complete" }.to_owned());
    format!("{}: {}", view.state(), parts.join(", "))
}

//! Metrics, as Prometheus reads them: text format 0.0.4. No label has an unbounded number of values: no path, no
//! command, no user.

use crate::control::protocol::Fields;
use crate::status::View;
use crate::usage::Usage;
use fsmon_format::kind;
use fsmon_format::record::Reason;
use std::fmt::{Display, Write};

/// All reasons of losses: each is there from the start, at 0.
const REASONS: [Reason; 12] = [
    Reason::QueueOverflow,
    Reason::ProcessMessages,
    Reason::DirsMax,
    Reason::ProcessesMax,
    Reason::Walk,
    Reason::Unmarked,
    Reason::Mount,
    Reason::Unmount,
    Reason::FilesMax,
    Reason::TablesFull,
    Reason::NameTooLong,
    Reason::Disk,
];

/// The names of [`fsmon_format::record::Attribution`], in its order.
const QUALITIES: [&str; 4] = ["exact", "ambiguous", "late", "unknown"];

/// The answer to `metrics`.
pub(crate) fn fields(view: &View) -> Fields {
    [("text".to_owned(), text(view).into())].into_iter().collect()
}

/// A text of metrics that grows.
struct Text(String);

impl Text {
    /// The name, the help and the type of what follows.
    fn head(&mut self, name: &str, kind: &str, help: &str) {
        let _ = write!(self.0, "# HELP {name} {help}\n# TYPE {name} {kind}\n");
    }

    fn one(&mut self, name: &str, kind: &str, help: &str, value: impl Display) {
        self.head(name, kind, help);
        let _ = writeln!(self.0, "{name} {value}");
    }

    fn labelled(&mut self, name: &str, (label, of): (&str, &str), value: impl Display) {
        let _ = writeln!(self.0, "{name}{{{label}=\"{of}\"}} {value}");
    }
}

/// All metrics.
pub(crate) fn text(view: &View) -> String {
    let mut text = Text(String::with_capacity(1 << 13));
    let (version, rung) = (env!("CARGO_PKG_VERSION"), view.rung.name());
    text.head("fsmon_build_info", "gauge", "The version, and the source of process names.");
    let _ = writeln!(text.0, "fsmon_build_info{{version=\"{version}\",who_rung=\"{rung}\"}} 1");
    of_events(&mut text, view);
    of_losses(&mut text, view);
    of_watches(&mut text, view);
    of_history(&mut text, view);
    of_process(&mut text, view);
    text.0
}

/// The metrics of the recorder, and how the last reload of the configuration ended, which the front process knows.
pub(crate) fn with_reload(of_recorder: &str, is_successful: bool, succeeded: u64) -> String {
    let mut text = Text(of_recorder.to_owned());
    text.one(
        "fsmon_config_last_reload_successful",
        "gauge",
        "1 if the configuration could be applied when it was read last.",
        u8::from(is_successful),
    );
    text.one(
        "fsmon_config_last_reload_success_timestamp_seconds",
        "gauge",
        "When that last happened, seconds since 1970.",
        succeeded,
    );
    text.0
}

/// ns as seconds.
fn seconds(ns: u64) -> String {
    format!("{}.{:09}", ns / 1_000_000_000, ns % 1_000_000_000)
}

/// The standard metrics of a process: of the one that records.
fn of_process(text: &mut Text, view: &View) {
    let usage = Usage::of_this_process();
    let cpu = u64::try_from(usage.cpu.as_nanos()).unwrap_or(u64::MAX);
    text.one("process_cpu_seconds_total", "counter", "CPU time.", seconds(cpu));
    let gauges = [
        ("process_resident_memory_bytes", "Resident memory.", usage.resident),
        ("process_virtual_memory_bytes", "Virtual memory.", usage.virtual_memory),
        ("process_open_fds", "Open descriptors.", usage.descriptors),
        ("process_max_fds", "The most descriptors.", usage.descriptors_max),
        (
            "process_start_time_seconds",
            "When recording began, seconds since 1970.",
            view.since_ns / 1_000_000_000,
        ),
    ];
    for (name, help, value) in gauges {
        text.one(name, "gauge", help, value);
    }
}

fn of_events(text: &mut Text, view: &View) {
    let (counters, shared) = (&view.counters, &view.shared);
    let kernel = counters.kernel_events;
    text.one("fsmon_kernel_events_total", "counter", "Events read from the kernel.", kernel);
    text.head("fsmon_events_total", "counter", "Events recorded, by type.");
    for kind in kind::ALL {
        text.labelled("fsmon_events_total", ("event", kind.name), shared.lines_of(kind.bit));
    }
    let name = "fsmon_attributed_events_total";
    text.head(name, "counter", "Event records, by how well their process is known.");
    for (quality, count) in QUALITIES.into_iter().zip(shared.attributed()) {
        text.labelled(name, ("quality", quality), count);
    }
    text.one(
        "fsmon_unresolved_paths_total",
        "counter",
        "Event records of which no path is known.",
        shared.without_path(),
    );
    let queue = match counters.queue_bytes {
        u64::MAX => "NaN".to_owned(),
        bytes => bytes.to_string(),
    };
    let help = "Kernel memory of the events that wait to be read.";
    text.one("fsmon_queue_bytes", "gauge", help, queue);
    text.one("fsmon_processes", "gauge", "Process images known.", counters.processes);
    text.one(
        "fsmon_ring_peak_slots",
        "gauge",
        "The most slots of the ring to the recorder in use at a time.",
        counters.ring_peak,
    );
    text.one("fsmon_ring_slots", "gauge", "Slots of that ring.", view.ring_slots);
    text.one(
        "fsmon_writer_cpu_seconds_total",
        "counter",
        "CPU time of the threads that make blocks and write them.",
        seconds(shared.writing_cpu_ns()),
    );
    text.one(
        "fsmon_reader_cpu_seconds_total",
        "counter",
        "CPU time of the thread that reads events.",
        seconds(counters.reader_cpu_ns),
    );
}

fn of_losses(text: &mut Text, view: &View) {
    let (losses, _) = view.shared.losses();
    let of = |reason: Reason| {
        let found = losses.iter().find(|(known, _)| *known == reason);
        found.map(|(_, losses)| *losses).unwrap_or_default()
    };
    let name = "fsmon_losses_total";
    text.head(name, "counter", "LOSS records, by reason.");
    for reason in REASONS {
        text.labelled(name, ("reason", reason.name()), of(reason).records);
    }
    let name = "fsmon_lost_events_total";
    text.head(
        name,
        "counter",
        "What the LOSS records count, by reason; an unknown number counts as 1.",
    );
    for reason in REASONS {
        text.labelled(name, ("reason", reason.name()), of(reason).lost);
    }
}

fn of_watches(text: &mut Text, view: &View) {
    text.head("fsmon_watches", "gauge", "Watches, by state.");
    for state in ["active", "pending", "failed"] {
        let count = view.entries.iter().filter(|entry| entry.state.name() == state).count();
        text.labelled("fsmon_watches", ("state", state), count);
    }
    text.one("fsmon_directories", "gauge", "Directories known.", view.counters.dirs);
}

fn of_history(text: &mut Text, view: &View) {
    let written = view.shared.written();
    let is_paused = u8::from(view.shared.paused().is_some());
    text.one("fsmon_recording_paused", "gauge", "1 while recording is paused.", is_paused);
    text.one(
        "fsmon_written_bytes_total",
        "counter",
        "Bytes written to the history.",
        written.closed_bytes + written.segment_bytes,
    );
    text.one(
        "fsmon_write_failures_total",
        "counter",
        "Writes to the history that failed. Each is tried again.",
        view.shared.write_failures(),
    );
    text.one(
        "fsmon_last_write_timestamp_seconds",
        "gauge",
        "When the history was written to last, seconds since 1970.",
        written.at_ns / 1_000_000_000,
    );
    text.one(
        "fsmon_history_bytes",
        "gauge",
        "Bytes of all segments.",
        view.closed.bytes + written.segment_bytes,
    );
    text.one(
        "fsmon_history_segments",
        "gauge",
        "Segments, the open one included.",
        view.closed.segments + usize::from(written.segment.is_some()),
    );
    let oldest = view.closed.oldest_ns.unwrap_or(view.since_ns) / 1_000_000_000;
    text.one(
        "fsmon_history_oldest_timestamp_seconds",
        "gauge",
        "When the oldest segment begins, seconds since 1970.",
        oldest,
    );
}

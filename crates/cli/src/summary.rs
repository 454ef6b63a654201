//! The lines at the beginning and at the end of a watch.

use crate::remedies;
use fsmon_engine::config::Who;
use fsmon_engine::plan::Plan;
use fsmon_engine::{Counters, Missing};
use fsmon_present::message::{counted, shown};
use fsmon_present::pipeline::Passed;
use std::fmt::Write;

/// What the formatter thread did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Formatted {
    pub(crate) passed: Passed,
    /// Events and losses that could not be written.
    pub(crate) unwritten: u64,
    /// Formatters that a second signal ended before everything was written.
    pub(crate) hurried: u64,
    /// Readers and outputs that failed.
    pub(crate) failed: u64,
    pub(crate) bytes_out: u64,
    pub(crate) cpu_ns: u64,
}

impl Formatted {
    /// The sum of two formatters.
    pub(crate) fn and(&self, other: &Formatted) -> Formatted {
        let (a, b) = (&self.passed, &other.passed);
        let passed = Passed {
            events: a.events + b.events,
            losses: a.losses + b.losses,
            gaps: a.gaps + b.gaps,
            notes: a.notes + b.notes,
            refused: a.refused + b.refused,
        };
        Formatted {
            passed,
            unwritten: self.unwritten + other.unwritten,
            hurried: self.hurried + other.hurried,
            failed: self.failed + other.failed,
            bytes_out: self.bytes_out + other.bytes_out,
            cpu_ns: self.cpu_ns + other.cpu_ns,
        }
    }
}

/// The `ready` line: from now on the readers see every change.
pub(crate) fn ready(plans: &[&Plan], dirs: u64) -> String {
    let of_all = |each: &dyn Fn(&Plan) -> Vec<String>| {
        let mut all: Vec<_> = plans.iter().flat_map(|plan| each(plan)).collect();
        all.dedup();
        all.join(", ")
    };
    let roots = of_all(&|plan| plan.roots.iter().map(|root| shown(&root.path)).collect());
    let backend = of_all(&|plan| vec![plan.backend.to_owned()]);
    let cpus = of_all(&|plan| plan.cpu.iter().map(ToString::to_string).collect());
    let cpus = if cpus.is_empty() { "not pinned".to_owned() } else { format!("on CPU {cpus}") };
    let names = of_all(&|plan| vec![source_of_names(plan.who).to_owned()]);
    let dirs = counted(dirs, "directory", "directories");
    format!("ready: watching {roots}: {dirs}; {backend}, {cpus}; names from {names}")
}

/// The source of process names, in words.
pub(crate) fn source_of_names(who: Who) -> &'static str {
    match who {
        Who::Auto => "nowhere",
        Who::Bpf => "BPF",
        Who::Tracepoint => "the exec tracepoint",
        Who::Comm => "perf records",
        Who::Connector => "the proc connector",
        Who::Proc => "/proc at the time of the change",
        other => other.name(),
    }
}

/// What is missing in the record, because of the engine or the output; empty if it is complete. Only this function
/// decides that: the last line and `--stats` use it. The END record of a stream has what is known when it ends.
pub(crate) fn missing(counters: &Counters, formatted: &Formatted) -> Vec<Missing> {
    let of_output = [
        (
            "definitions_refused",
            formatted.passed.refused,
            "definition without room",
            "definitions without room",
        ),
        ("events_unwritten", formatted.unwritten, "event not written", "events not written"),
        (
            "outputs_interrupted",
            formatted.hurried,
            "output interrupted by a second signal",
            "outputs interrupted by a second signal",
        ),
        ("failures", formatted.failed, "failure", "failures"),
    ];
    let of_output = of_output
        .map(|(name, count, one, many)| Missing { name, count, one, many, beyond: None })
        .into_iter();
    counters.missing().chain(of_output.filter(|missing| missing.count != 0)).collect()
}

/// The last line.
pub(crate) fn end(counters: &Counters, formatted: &Formatted) -> String {
    let mut line = format!(
        "{} ({} from the kernel)",
        counted(formatted.passed.events, "event", "events"),
        counters.kernel_events
    );
    let missing = missing(counters, formatted);
    if missing.is_empty() {
        line.push_str("; complete");
    } else {
        let words = missing.iter().map(remedies::missing);
        let _ = write!(line, "; NOT complete: {}", words.collect::<Vec<_>>().join(", "));
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn complete_or_why_not() {
        let mut counters = Counters::default();
        counters.kernel_events = 12;
        let mut formatted = Formatted::default();
        formatted.passed.events = 1;
        assert_eq!(end(&counters, &formatted), "1 event (12 from the kernel); complete");
        counters.lost_queue_overflows = 2;
        counters.losses = 2;
        counters.unattributed = 1;
        assert_eq!(
            end(&counters, &formatted),
            "1 event (12 from the kernel); NOT complete: 2 queue overflows, 1 event without process"
        );
        let failed = Formatted { unwritten: 7, failed: 1, ..formatted };
        assert_eq!(
            end(&Counters::default(), &failed.and(&formatted)),
            "2 events (0 from the kernel); NOT complete: 7 events not written, 1 failure"
        );
    }
}

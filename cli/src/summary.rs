//! What is said when a watch begins and when it has ended.

use crate::pipeline::Passed;
use crate::tell::shown;
use fsmon_engine::Counters;
use fsmon_engine::config::Who;
use fsmon_engine::plan::Plan;
use std::fmt::Write;

/// What the formatter thread did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Formatted {
    pub(crate) passed: Passed,
    pub(crate) bytes_out: u64,
    pub(crate) cpu_ns: u64,
}

impl Formatted {
    /// Of two formatters together.
    pub(crate) fn and(&self, other: &Formatted) -> Formatted {
        let (a, b) = (&self.passed, &other.passed);
        let passed = Passed {
            events: a.events + b.events,
            losses: a.losses + b.losses,
            refused: a.refused + b.refused,
        };
        let bytes_out = self.bytes_out + other.bytes_out;
        Formatted { passed, bytes_out, cpu_ns: self.cpu_ns + other.cpu_ns }
    }
}

/// The line that says that every change from now on is seen, by each of the readers.
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

/// In words, where the names of processes come from.
pub(crate) fn source_of_names(who: Who) -> &'static str {
    match who {
        Who::Auto => "nowhere",
        Who::Bpf => "BPF",
        Who::Tracepoint => "the exec tracepoint",
        Who::Comm => "perf records",
        Who::Connector => "the proc connector",
        Who::Proc => "/proc at the time of the change",
    }
}

/// What keeps the record from being complete; nothing where it is.
pub(crate) fn flaws(counters: &Counters, formatted: &Formatted) -> Vec<String> {
    [
        (counters.lost_queue_overflows, "queue overflow", "queue overflows"),
        (counters.lost_process_messages, "lost process message", "lost process messages"),
        (counters.unresolved_paths, "unresolved path", "unresolved paths"),
        (counters.unattributed, "event without process", "events without process"),
        (counters.dirs_refused, "directory beyond --max-dirs", "directories beyond --max-dirs"),
        (counters.dirs_unreadable, "unreadable directory", "unreadable directories"),
        (
            counters.dirs_unheard,
            "busy directory brought in from outside",
            "busy directories brought in from outside",
        ),
        (
            counters.processes_evicted,
            "process beyond --max-processes",
            "processes beyond --max-processes",
        ),
        (formatted.passed.refused, "definition without room", "definitions without room"),
    ]
    .into_iter()
    .filter(|(count, _, _)| *count != 0)
    .map(|(count, one, many)| counted(count, one, many))
    .collect()
}

/// The last line.
pub(crate) fn end(counters: &Counters, formatted: &Formatted) -> String {
    let mut line = format!(
        "{} ({} from the kernel)",
        counted(formatted.passed.events, "event", "events"),
        counters.kernel_events
    );
    let flaws = flaws(counters, formatted);
    if flaws.is_empty() {
        line.push_str("; complete");
    } else {
        let _ = write!(line, "; NOT complete: {}", flaws.join(", "));
    }
    line
}

pub(crate) fn counted(count: u64, one: &str, many: &str) -> String {
    format!("{count} {}", if count == 1 { one } else { many })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn complete_or_why_not() {
        let mut counters = Counters { kernel_events: 12, ..Counters::default() };
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
    }
}

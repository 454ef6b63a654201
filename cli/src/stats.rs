//! `--stats FILE`: the counters as one JSON object.

use crate::summary::{Formatted, flaws};
use fsmon_engine::Counters;
use serde_json::json;
use std::io;
use std::path::Path;

/// Writes the object. `events` counts what the output shows: each type of a merged event.
///
/// # Errors
/// Those of the file.
pub(crate) fn write(path: &Path, counters: &Counters, formatted: &Formatted) -> io::Result<()> {
    std::fs::write(path, format!("{}\n", object(counters, formatted)))
}

fn object(counters: &Counters, formatted: &Formatted) -> serde_json::Value {
    json!({
        "kernel_events": counters.kernel_events,
        "events": formatted.passed.events,
        "lost_queue_overflows": counters.lost_queue_overflows,
        "lost_process_messages": counters.lost_process_messages,
        "unresolved_paths": counters.unresolved_paths,
        "unattributed": counters.unattributed,
        "reads": counters.reads,
        "bytes_out": formatted.bytes_out,
        "reader_cpu_ns": counters.reader_cpu_ns,
        "formatter_cpu_ns": formatted.cpu_ns,
        "ring_peak": counters.ring_peak,
        "dirs": counters.dirs,
        "processes": counters.processes,
        "complete": flaws(counters, formatted).is_empty(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exactly_the_keys_that_are_promised() {
        let object = object(&Counters::default(), &Formatted::default());
        let mut keys: Vec<_> = object.as_object().expect("an object").keys().cloned().collect();
        keys.sort();
        assert_eq!(
            keys.join(" "),
            "bytes_out complete dirs events formatter_cpu_ns kernel_events \
             lost_process_messages lost_queue_overflows processes reader_cpu_ns reads ring_peak \
             unattributed unresolved_paths"
        );
        assert_eq!(object["complete"], true);
    }
}

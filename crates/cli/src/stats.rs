//! `--stats FILE`: the counters as one JSON object.

use crate::summary::{Formatted, missing};
use crate::target::open_for_writing;
use fsmon_engine::{Counters, Error};
use fsmon_present::message::shown;
use serde_json::json;
use std::fs::File;
use std::io::{self, Write};
use std::path::Path;

/// The open file.
pub(crate) struct Stats {
    file: File,
    name: String,
}

impl Stats {
    /// Opens the file without changing it.
    ///
    /// # Errors
    /// It cannot be opened.
    pub(crate) fn open(path: &Path) -> Result<Self, Error> {
        Ok(Stats { file: open_for_writing(path)?, name: shown(path) })
    }

    /// Empties the file.
    ///
    /// # Errors
    /// It cannot be emptied.
    pub(crate) fn empty(&self) -> Result<(), Error> {
        let is_file = self.file.metadata().is_ok_and(|data| data.is_file());
        let emptied = if is_file { self.file.set_len(0) } else { Ok(()) };
        emptied.map_err(|error| self.failed(error))
    }

    /// Writes the object. `events` counts as the output does: each type of a merged event.
    ///
    /// # Errors
    /// It cannot be written; then the file is empty.
    pub(crate) fn write(&self, counters: &Counters, formatted: &Formatted) -> Result<(), Error> {
        let text = format!("{}\n", object(counters, formatted));
        (&self.file).write_all(text.as_bytes()).map_err(|error| {
            let _ = self.empty();
            self.failed(error)
        })
    }

    fn failed(&self, error: io::Error) -> Error {
        Error::os(format!("cannot write the counters to {}", self.name), error)
    }
}

fn object(counters: &Counters, formatted: &Formatted) -> serde_json::Value {
    let missing = missing(counters, formatted);
    let mut object = json!({
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
        "complete": missing.is_empty(),
    });
    // Counts of everything else that is missing.
    for missing in missing {
        object[missing.name] = missing.count.into();
    }
    object
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_complete_record_has_exactly_these_keys() {
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

    #[test]
    fn what_is_missing_has_keys_of_its_own() {
        let mut counters = Counters::default();
        (counters.dirs_refused, counters.unattributed) = (3, 2);
        let formatted = Formatted { unwritten: 5, failed: 1, ..Formatted::default() };
        let object = object(&counters, &formatted);
        assert_eq!(object["complete"], false);
        for (key, count) in [("dirs_refused", 3), ("unattributed", 2), ("events_unwritten", 5)] {
            assert_eq!(object[key], count, "{key}");
        }
        assert_eq!(object["failures"], 1);
        assert_eq!(object.get("dirs_unreadable"), None);
    }
}

//! The counters of the reader, readable from any thread at any time, and which of them mean that something is
//! missing.

use crate::{Names, Setting};
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};

/// One way in which a record is not complete, and how often.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Missing {
    /// The counter's name: that of the field of [`Counters`].
    pub name: &'static str,
    /// The count; not 0.
    pub count: u64,
    /// The noun for one of them.
    pub one: &'static str,
    /// The noun for several.
    pub many: &'static str,
    /// The setting that limits them, if one does.
    pub beyond: Option<Setting>,
}

impl Missing {
    /// The count and the noun, with these names of settings. `Display` has [`Setting::words`].
    #[must_use]
    pub fn line(&self, names: Names) -> String {
        let words = if self.count == 1 { self.one } else { self.many };
        match self.beyond {
            Some(setting) => format!("{} {words} beyond {}", self.count, names(setting)),
            None => format!("{} {words}", self.count),
        }
    }
}

impl fmt::Display for Missing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.line(Setting::words))
    }
}

/// A counter with words in brackets counts something that is missing, `beyond` a setting if one limits it. Whether
/// a record is complete, and the message if it is not, follow from these words: a new counter needs nothing else.
macro_rules! counters {
    ($($(#[$doc:meta])* $name:ident $([$one:literal, $many:literal $(,)?] $(beyond $limit:ident)?)?,)*) => {
        /// A snapshot of the counters since the start.
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
        #[non_exhaustive]
        pub struct Counters { $($(#[$doc])* pub $name: u64,)* }

        impl Counters {
            fn sum(&self, other: &Counters) -> Counters {
                Counters { $($name: self.$name.saturating_add(other.$name),)* }
            }

            /// Every way in which the record is not complete, in the order of the fields; empty if it is complete.
            pub fn missing(&self) -> impl Iterator<Item = Missing> + use<> {
                let all = [$($(Missing {
                    name: stringify!($name),
                    count: self.$name,
                    one: $one,
                    many: $many,
                    beyond: [$(Setting::$limit)?].first().copied(),
                },)?)*];
                all.into_iter().filter(|missing| missing.count != 0)
            }
        }

        /// The reader stores, any thread loads. Each value is correct by itself; in a snapshot while the reader
        /// runs, fields can be a batch apart.
        #[derive(Default)]
        pub(crate) struct Shared { $($name: AtomicU64,)* }

        impl Shared {
            /// Publishes the reader's own copy. Relaxed: no other memory depends on it.
            pub(crate) fn store(&self, own: &Counters) {
                $(self.$name.store(own.$name, Ordering::Relaxed);)*
            }

            /// Publishes this one alone.
            pub(crate) fn set_queue_bytes(&self, bytes: u64) {
                self.queue_bytes.store(bytes, Ordering::Relaxed);
            }

            pub(crate) fn queue_bytes(&self) -> u64 {
                self.queue_bytes.load(Ordering::Relaxed)
            }

            pub(crate) fn load(&self) -> Counters {
                Counters { $($name: self.$name.load(Ordering::Relaxed),)* }
            }
        }
    };
}

impl Counters {
    /// Whether nothing is missing. Allocates nothing.
    #[must_use]
    pub fn is_complete(&self) -> bool {
        self.missing().next().is_none()
    }

    /// The counters of two readers together: the sums, and for the ring peak the larger one.
    #[must_use]
    pub fn and(&self, other: &Counters) -> Counters {
        Counters { ring_peak: self.ring_peak.max(other.ring_peak), ..self.sum(other) }
    }
}

counters! {
    /// Events read from the kernel's queue, those outside the watched paths included.
    kernel_events,
    /// Event records handed to the consumer.
    events,
    /// Times the kernel's queue overflowed.
    lost_queue_overflows["queue overflow", "queue overflows"],
    /// Process messages that the kernel said were lost.
    lost_process_messages["lost process message", "lost process messages"],
    /// Events below a watched root whose directory was unknown.
    unresolved_paths["unresolved path", "unresolved paths"],
    /// Event records without a process.
    unattributed["event without process", "events without process"],
    /// Reads of the fanotify queue that brought events.
    reads,
    /// Bytes of kernel memory that the queue takes, estimated: at most 10 ms old while it is long, otherwise a second.
    /// `u64::MAX` while it is long and nothing says how long.
    queue_bytes,
    /// CPU time of the reader thread, ns.
    reader_cpu_ns,
    /// Peak of the slots in use in the ring.
    ring_peak,
    /// Directories known.
    dirs,
    /// Process images known.
    processes,
    /// Loss records handed to the consumer.
    losses,
    /// Directories refused for lack of room; those below them are not counted.
    dirs_refused["directory", "directories"] beyond DirsMax,
    /// Names of files refused for lack of room: changes of these through hard links are not reported.
    files_refused["file that there was no room for", "files that there was no room for"],
    /// Directories that could not be read.
    dirs_unreadable["unreadable directory", "unreadable directories"],
    /// Directories that were moved into the watched paths while they were muted.
    dirs_unheard["busy directory brought in from outside", "busy directories brought in from outside"],
    /// Directories that have the same handle as another one: their events are reported for that one.
    dirs_alike["directory with another's handle", "directories with another's handle"],
    /// Entries that were made in a new directory before it had its own mark (overlayfs, FUSE): other changes of
    /// them until then are not known.
    entries_unmarked[
        "entry made before its directory had its mark",
        "entries made before their directories had their marks"
    ],
    /// Times that a filesystem was mounted below or on a root and is not watched; those from before the start
    /// included.
    mounts_unwatched["mount not watched", "mounts not watched"],
    /// Times that such a mount was unmounted.
    mounts_gone,
    /// Names, events and executables that fsmon forgot because a table was full, so that a line may be missing or
    /// wrong.
    tables_full["thing that a full table forgot", "things that full tables forgot"],
    /// Changes of names longer than 255 bytes, which the kernel leaves out of its events.
    names_too_long["change of a name beyond 255 bytes", "changes of names beyond 255 bytes"],
    /// Reads that the kernel refused for the rename of such a name: the events that they had taken are lost.
    reads_refused["read lost for a name beyond 255 bytes", "reads lost for names beyond 255 bytes"],
    /// Process images evicted for lack of room.
    processes_evicted["process", "processes"] beyond ProcessesMax,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn complete_or_what_is_missing() {
        let mut counters = Counters { kernel_events: 7, dirs: 3, ..Counters::default() };
        assert!(counters.is_complete());
        counters.dirs_refused = 2;
        counters.lost_queue_overflows = 1;
        assert!(!counters.is_complete());
        let missing: Vec<_> = counters.missing().map(|one| (one.name, one.count)).collect();
        assert_eq!(missing, [("lost_queue_overflows", 1), ("dirs_refused", 2)]);
        let words: Vec<_> = counters.missing().map(|one| one.to_string()).collect();
        assert_eq!(words, ["1 queue overflow", "2 directories beyond the limit of directories"]);
    }
}

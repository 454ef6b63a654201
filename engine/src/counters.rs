//! What the reader counts, readable from any thread at any time.

use std::sync::atomic::{AtomicU64, Ordering};

macro_rules! counters {
    ($($(#[$doc:meta])* $name:ident,)*) => {
        /// A snapshot of what was counted since the start.
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
        pub struct Counters { $($(#[$doc])* pub $name: u64,)* }

        impl Counters {
            fn sum(&self, other: &Counters) -> Counters {
                Counters { $($name: self.$name + other.$name,)* }
            }
        }

        /// The reader stores, anyone loads. Each value is true by itself; a snapshot taken while
        /// the reader runs can be a batch apart from one field to the next.
        #[derive(Default)]
        pub(crate) struct Shared { $($name: AtomicU64,)* }

        impl Shared {
            /// The reader's own copy becomes visible. Relaxed: no other memory hangs on it.
            pub(crate) fn store(&self, own: &Counters) {
                $(self.$name.store(own.$name, Ordering::Relaxed);)*
            }

            pub(crate) fn load(&self) -> Counters {
                Counters { $($name: self.$name.load(Ordering::Relaxed),)* }
            }
        }
    };
}

impl Counters {
    /// Of two readers together: the sums, and of the rings the one that was fuller.
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
    lost_queue_overflows,
    /// Process messages that the kernel said were lost.
    lost_process_messages,
    /// Events below a watched root whose directory was not known.
    unresolved_paths,
    /// Event records without a process.
    unattributed,
    /// Reads of the fanotify queue that brought events.
    reads,
    /// CPU time of the reader thread, ns.
    reader_cpu_ns,
    /// Slots of the ring in use at the most.
    ring_peak,
    /// Directories known.
    dirs,
    /// Process images known.
    processes,
    /// Loss records handed to the consumer.
    losses,
    /// Directories refused for want of room: those below them are not counted.
    dirs_refused,
    /// Directories that could not be read.
    dirs_unreadable,
    /// Directories that were brought in while the kernel was told to be silent of them.
    dirs_unheard,
    /// Process images forgotten for want of room.
    processes_evicted,
}

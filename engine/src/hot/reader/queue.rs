//! How much memory the kernel's queue of file events takes: for a consumer that must keep it within bounds, as the queue
//! has none of its own.
//!
//! FIONREAD would say how long the queue is, but walks it under the lock that writers need: 27 ms for 230,000 events
//! (seen on 6.18). So the length comes from
//!
//! 1. a BPF program that reads the kernel's count of the events (`cold/bpf/programs.rs`); else
//! 2. how much more memory of the kind that the queue is made of the kernel uses than when the queue was empty
//!    (`cold/kernel_memory.rs`).
//!
//! A queue that was just seen empty takes nothing. It becomes long only while the ring is full, so it is looked at
//! often from then on until it is empty again, and otherwise once a second.

use crate::counters::Shared;
use crate::hot::who::Processes;
use crate::limits::reader::{
    MEMORY_TEXT_BYTES, QUEUE_EVENT_BYTES, QUEUE_LOOK_NS, QUEUE_MEAN_EVENTS,
};
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::sync::Arc;

/// What the kernel says of its own use of memory: a number in a file.
pub(crate) struct KernelMemory {
    file: File,
    /// What stands before the number in its line.
    key: &'static str,
    /// Bytes that 1 stands for.
    unit: u64,
    text: Box<[u8; MEMORY_TEXT_BYTES]>,
}

impl KernelMemory {
    /// `None` if `file` does not say it now.
    pub(crate) fn new(file: File, key: &'static str, unit: u64) -> Option<Self> {
        let mut memory = KernelMemory { file, key, unit, text: Box::new([0; MEMORY_TEXT_BYTES]) };
        // 0: the file is one that a container manager has made up.
        memory.bytes().filter(|bytes| *bytes > 0).map(|_| memory)
    }

    /// One read: some 50 µs.
    fn bytes(&mut self) -> Option<u64> {
        let len = self.file.read_at(&mut self.text[..], 0).ok()?;
        number(&self.text[..len], self.key)?.checked_mul(self.unit)
    }
}

/// The number in the line that begins with `key`.
fn number(text: &[u8], key: &str) -> Option<u64> {
    let mut lines = text.split(|byte| *byte == b'\n');
    let line = lines.find_map(|line| line.strip_prefix(key.as_bytes()))?;
    let digits = line.trim_ascii_start();
    let len = digits.iter().take_while(|byte| byte.is_ascii_digit()).count();
    std::str::from_utf8(&digits[..len]).ok()?.parse().ok()
}

/// The mean length of events as they are read, and from it the kernel's memory for one.
#[derive(Default)]
struct Mean {
    bytes: u64,
    events: u64,
}

impl Mean {
    #[inline]
    fn note(&mut self, bytes: u64, events: u64) {
        self.bytes += bytes;
        self.events += events;
        if self.events > 2 * QUEUE_MEAN_EVENTS {
            self.bytes /= 2;
            self.events /= 2;
        }
    }

    /// The kernel takes memory in pieces of 128, 192, 256, 512 and 1,024 bytes, and has 8 more for each piece. For names
    /// of 8 to 250 bytes that is 1.03 to 1.9 times what is read of the event (seen on 6.18).
    fn kernel_bytes(&self, events: u64) -> u64 {
        if self.events == 0 {
            return events.saturating_mul(QUEUE_EVENT_BYTES);
        }
        events.saturating_mul(self.bytes) / self.events / 4 * 7
    }
}

/// Follows the length of the queue, and publishes it. By default it follows nothing.
#[derive(Default)]
pub(crate) struct QueueGauge {
    shared: Option<Arc<Shared>>,
    memory: Option<KernelMemory>,
    /// The kernel's memory when the queue was empty.
    memory_without: u64,
    mean: Mean,
    bytes: u64,
    is_long: bool,
    looked_ns: u64,
}

impl QueueGauge {
    /// The queue is empty now.
    pub(crate) fn new(shared: Arc<Shared>, mut memory: Option<KernelMemory>) -> Self {
        let memory_without = memory.as_mut().and_then(KernelMemory::bytes).unwrap_or(u64::MAX);
        QueueGauge { shared: Some(shared), memory, memory_without, ..QueueGauge::default() }
    }

    /// Bytes of kernel memory; `u64::MAX` if it is long, and nothing says how long.
    pub(crate) fn bytes(&self) -> u64 {
        self.bytes
    }

    /// So many events were read, of so many bytes together.
    #[inline]
    pub(crate) fn note_read(&mut self, bytes: usize, events: u64) {
        self.mean.note(bytes as u64, events);
    }

    /// The queue was seen empty.
    #[inline]
    pub(crate) fn note_empty(&mut self) {
        self.is_long = false;
        self.set(0);
    }

    /// The ring is full, so that nothing is read from the queue.
    #[cold]
    pub(crate) fn note_stall(&mut self, now_ns: u64, who: &Processes) {
        self.is_long = true;
        self.look_if_due(now_ns, who);
    }

    /// A batch was read, and the queue has more.
    #[inline]
    pub(crate) fn note_batch(&mut self, now_ns: u64, who: &Processes) {
        if self.is_long {
            self.look_if_due(now_ns, who);
        }
    }

    /// Once a second. `is_empty`: the queue was seen empty after the last batch.
    pub(crate) fn tick(&mut self, now_ns: u64, who: &Processes, is_empty: bool) {
        if !is_empty {
            self.look_if_due(now_ns, who);
        } else if let Some(bytes) = self.memory.as_mut().and_then(KernelMemory::bytes) {
            self.memory_without = bytes;
        }
    }

    #[cold]
    fn look_if_due(&mut self, now_ns: u64, who: &Processes) {
        if self.shared.is_none() || now_ns < self.looked_ns.saturating_add(QUEUE_LOOK_NS) {
            return;
        }
        self.looked_ns = now_ns;
        let by_length = who.queue_length().map(|events| self.mean.kernel_bytes(events));
        let bytes = by_length.or_else(|| self.by_memory());
        self.set(bytes.unwrap_or(if self.is_long { u64::MAX } else { 0 }));
    }

    fn by_memory(&mut self) -> Option<u64> {
        let bytes = self.memory.as_mut()?.bytes()?;
        Some(bytes.saturating_sub(self.memory_without))
    }

    #[inline]
    fn set(&mut self, bytes: u64) {
        if self.bytes != bytes {
            self.bytes = bytes;
            if let Some(shared) = &self.shared {
                shared.set_queue_bytes(bytes);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_number_is_that_of_the_whole_key() {
        let stat = b"anon 4096\nslab_reclaimable 7\nslab_unreclaimable 123456\nslab 8\n";
        assert_eq!(number(stat, "slab_unreclaimable "), Some(123_456));
        assert_eq!(number(stat, "slab "), Some(8));
        assert_eq!(
            number(b"MemFree: 1 kB\nSUnreclaim:        38416 kB\n", "SUnreclaim:"),
            Some(38_416)
        );
        for text in ["", "slab", "slab ", "slab x", "slab 99999999999999999999999", "xslab 1"] {
            assert_eq!(number(text.as_bytes(), "slab "), None, "{text}");
        }
    }

    #[test]
    fn an_event_takes_more_of_the_kernel_than_what_is_read_of_it() {
        let mut mean = Mean::default();
        assert_eq!(mean.kernel_bytes(1000), 200_000);
        mean.note(92_000, 1000);
        assert_eq!(mean.kernel_bytes(1000), 161_000);
        // What was read long ago counts for little.
        for _ in 0..1000 {
            mean.note(284_000, 1000);
        }
        assert!(
            (490_000..=497_000).contains(&mean.kernel_bytes(1000)),
            "{}",
            mean.kernel_bytes(1000)
        );
        assert_eq!(mean.kernel_bytes(u64::MAX), u64::MAX / mean.events / 4 * 7);
    }
}

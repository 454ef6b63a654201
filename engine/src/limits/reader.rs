//! Of the reader's thread and of the ring (`hot/reader`, `hot/output.rs`, `ring.rs`).

use super::sys::{COMPLETIONS, DATAGRAM_MAX, EVENT_LEN_MAX, FILE_BUFFERS_MAX};
use super::{BATCH_WINDOW_MAX_MS, RING_SLOTS};
use crate::sys::thread::CPUS_MAX;
use std::time::Duration;

/// Buffers for file events.
pub(crate) const FILES_BUFFERS: u16 = 16;
/// The bytes of each: a read brings some 400 events, as many as are gathered for in a storm.
pub(crate) const FILES_BUFFER_BYTES: u32 = 64 << 10;
/// Buffers for process messages.
pub(crate) const CONNECTOR_BUFFERS: u16 = 512;
/// The bytes of each; a message of the proc connector is 76 bytes.
pub(crate) const CONNECTOR_BUFFER_BYTES: u32 = 512;

/// How often counters become visible and a STATS record is written.
pub(crate) const STATS_EVERY_NS: u64 = 1_000_000_000;
/// The longest sleep. With the consumer's own, one wake-up a second at most while nothing happens.
pub(crate) const SLEEP_MAX: Duration = Duration::from_secs(2);
/// The longest sleep while something waits until nothing is left to read.
pub(crate) const SLEEP_NOT_IDLE: Duration = Duration::from_millis(5);
/// How long the reader sleeps after a step of a walk, unless something comes. A real-time thread that never sleeps is
/// stopped for 50 ms in each second, for the sake of others (`sched_rt_runtime_us`, or the deadline server of fair
/// tasks).
pub(crate) const SLEEP_IN_WALK: Duration = Duration::from_micros(125);
/// The same while the consumer is behind.
pub(crate) const SLEEP_IN_WALK_BEHIND: Duration = Duration::from_millis(1);
/// Looks at the filesystem after the last event: others may go on changing it.
pub(crate) const LAST_LOOKS: u32 = 20;

/// After this many batches in a row of at least [`DULL_EVENTS`] events of which none was reported, the reader
/// gathers for [`DULL_WINDOWS`] windows: a wake-up costs as much as about twenty such events. It does not with few
/// events, as when programs are started elsewhere: then events should be read soon.
pub(crate) const DULL_BATCHES: u32 = 8;
/// Events in each of these batches.
pub(crate) const DULL_EVENTS: u64 = 32;
/// Windows that are gathered for then.
pub(crate) const DULL_WINDOWS: u32 = 4;
/// After a batch with this number of reported events, the reader gathers for two windows.
pub(crate) const STORM_EVENTS: u64 = 64;
/// The limit for that: a wake-up costs a tenth or more of what the events of one window cost. Beyond, waiting events fall out
/// of the caches, and nothing is gained.
pub(crate) const STORM_WINDOW_MAX: Duration = Duration::from_millis(2);
/// If process messages come, it gathers at most for the time in which this number of events comes. For a process
/// that changes, BPF looks through this much of the queue, from its end, to find out what is merged later
/// ([`super::start::QUEUE_STEPS`]).
pub(crate) const STORM_BATCH_EVENTS: u32 = 400;

/// Between two checks of CPU use, ns: with few events the reader disturbs no other thread.
pub(crate) const CPU_PAUSE_NS: u64 = 50_000_000;
/// Batches between two checks.
pub(crate) const CPU_BATCHES: u32 = 8;
/// The same on hosts with many CPUs, ns: each check makes the kernel write a line for each CPU.
pub(crate) const CPU_PAUSE_MANY_NS: u64 = 100_000_000;
/// Checks further apart than this, ns, say too little about the present.
pub(crate) const CPU_PAUSE_MAX_NS: u64 = 1_000_000_000;
/// The most CPUs between which the reader moves when all are busy: with more, the next one may be far from the
/// reader's caches, and one CPU is a small part of all.
pub(crate) const CPU_ROUND_MAX: usize = 8;
/// How long the reader stays on each, ns: its caches must be filled again there.
pub(crate) const CPU_STAY_NS: u64 = 80_000_000;
/// Bytes for a CPU's line of /proc/stat: ten numbers of 20 digits at the most.
pub(crate) const CPU_LINE_BYTES: usize = 224;

/// Flushes under way at one time. Each has a descriptor and a mark. One is answered within a turn or two, so a caller
/// that waits for its answers never has more than a few; one that does not is told that it is too fast.
pub(crate) const FLUSHES_MAX: usize = 16;
/// How long the answer to a flush waits for what is held back until the queue is empty, ns: two or three looks at the
/// filesystem ([`SLEEP_NOT_IDLE`]). On a host where nothing pauses the queue may never be empty.
pub(crate) const FLUSH_PATIENCE_NS: u64 = 20_000_000;

/// How long the reader sleeps between two looks for room, while the consumer stalls. Process messages are taken in at
/// this pace meanwhile: their rings hold a hundred times as much.
pub(crate) const STALL_SLEEP: Duration = Duration::from_millis(1);
/// How often the length of a long queue is looked at, ns. At the pace of the fastest writers, a million events a second,
/// 10,000 come in between: 2 MB.
pub(crate) const QUEUE_LOOK_NS: u64 = 10_000_000;
/// Kernel memory of an event as long as none was read, bytes.
pub(crate) const QUEUE_EVENT_BYTES: u64 = 200;
/// The mean length of events is that of about so many that were read last.
pub(crate) const QUEUE_MEAN_EVENTS: u64 = 1 << 16;
/// Bytes that are read of a file with the kernel's use of memory: /proc/meminfo has some 1,500, memory.stat 2,500.
pub(crate) const MEMORY_TEXT_BYTES: usize = 1 << 13;
/// By how much the wall clock must move against the monotonic one to be sent before the next STATS record, ns.
/// Times of events are no more precise: they are those of a batch.
pub(crate) const CLOCK_MOVED_NS: u64 = 1_000_000;
/// Slots in the ring with which the consumer counts as behind: a thousand lines.
pub(crate) const BEHIND_SLOTS: u64 = 1 << 11;
/// Slots that the producer fills before it publishes by itself, so that the consumer can begin.
pub(crate) const PUBLISH_SLOTS: u64 = 1024;
/// The most slots that the consumer is handed at a time, so that room comes back piece by piece.
pub(crate) const BATCH_SLOTS_MAX: u64 = 4096;

const _: () = {
    // A buffer takes the longest event, and a datagram.
    assert!(FILES_BUFFER_BYTES >= 2 * EVENT_LEN_MAX);
    assert!(CONNECTOR_BUFFER_BYTES as usize >= DATAGRAM_MAX);
    assert!(FILES_BUFFERS as usize <= FILE_BUFFERS_MAX);
    // io_uring hands out buffers of a group by a ring of a power of two.
    assert!(FILES_BUFFERS.is_power_of_two() && CONNECTOR_BUFFERS.is_power_of_two());
    // Each buffer and the poll of each CPU can be done at once.
    assert!(FILES_BUFFERS as usize + CONNECTOR_BUFFERS as usize + CPUS_MAX <= COMPLETIONS as usize);
    assert!(DULL_BATCHES > 0 && DULL_WINDOWS > 0);
    assert!(STORM_WINDOW_MAX.as_millis() <= BATCH_WINDOW_MAX_MS as u128);
    // A bit for each.
    assert!(FLUSHES_MAX < u32::BITS as usize);
    assert!(FLUSH_PATIENCE_NS as u128 >= 3 * SLEEP_NOT_IDLE.as_nanos());
    // From the shortest to the longest.
    assert!(SLEEP_IN_WALK.as_micros() < SLEEP_IN_WALK_BEHIND.as_micros());
    assert!(SLEEP_IN_WALK_BEHIND.as_micros() <= SLEEP_NOT_IDLE.as_micros());
    assert!(SLEEP_NOT_IDLE.as_micros() < SLEEP_MAX.as_micros());
    assert!(STALL_SLEEP.as_nanos() < STATS_EVERY_NS as u128);
    assert!(CPU_PAUSE_NS <= CPU_PAUSE_MANY_NS && CPU_PAUSE_MANY_NS < CPU_PAUSE_MAX_NS);
    assert!(QUEUE_LOOK_NS as u128 >= STALL_SLEEP.as_nanos() && QUEUE_LOOK_NS < STATS_EVERY_NS);
    // Some of the ring is free while the consumer works on what it was handed.
    assert!(PUBLISH_SLOTS <= BATCH_SLOTS_MAX && 2 * BATCH_SLOTS_MAX <= RING_SLOTS as u64);
    assert!(BEHIND_SLOTS < RING_SLOTS as u64);
};

//! What the recorder's thread and the others know of each other.

use crate::limits::{DISK_STALLS, END_PATIENCE};
use crate::usage::thread_cpu_ns;
use fsmon_format::record::{EventRef, Loss, Reason};
use fsmon_store::history::OpenSegment;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// Counts and states. The recorder counts; everybody reads.
#[derive(Default)]
pub(crate) struct Shared {
    /// EVENT records in the history, of this stream.
    events: AtomicU64,
    /// Lines by event type: by the number of its bit in [`fsmon_format::kind`].
    lines: [AtomicU64; u32::BITS as usize],
    /// Events by how well their process is known: [`fsmon_format::record::Attribution`].
    attributed: [AtomicU64; 4],
    malformed: AtomicU64,
    /// Event records of which no path is known.
    without_path: AtomicU64,
    /// Writes to the disk that failed.
    write_failures: AtomicU64,
    /// CPU time of the threads that make blocks and that write them, ns.
    recorder_cpu_ns: AtomicU64,
    writer_cpu_ns: AtomicU64,
    /// The daemon ends although recording is paused.
    given_up: AtomicBool,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    losses: Vec<(Reason, Losses)>,
    last_loss: Option<Instant>,
    /// Why recording is paused.
    paused: Option<String>,
    /// Whether the recorder waits for the disk, and takes nothing from the engine.
    is_held: bool,
    /// Events that were dropped since the disk does not keep up; `None` if none are.
    dropped: Option<u64>,
    /// Whether it ever was.
    was_paused: bool,
    /// Why there is no room for more.
    no_room: Option<String>,
    /// Since when the disk is being written to.
    writing: Option<Instant>,
    /// Why the end of the stream was not written.
    unwritten: Option<String>,
    written: Written,
    /// Wakes the indexer.
    indexer: Option<flume::Sender<()>>,
}

/// Losses of one reason.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Losses {
    /// LOSS records.
    pub(crate) records: u64,
    /// What they count; a loss that nobody could count is 1.
    pub(crate) lost: u64,
}

/// What is in the files of this stream.
#[derive(Clone, Debug, Default)]
pub(crate) struct Written {
    /// The name of the open segment.
    pub(crate) segment: Option<String>,
    pub(crate) segment_bytes: u64,
    /// Its number in the stream, and when it began.
    pub(crate) open: Option<OpenSegment>,
    /// Bytes of the stream's closed segments.
    pub(crate) closed_bytes: u64,
    /// When something was written last, ns since 1970; 0 if nothing was.
    pub(crate) at_ns: u64,
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    #[inline]
    pub(crate) fn count_event(&self, event: &EventRef<'_>, types: u32) {
        // One thread counts: no other addition can come between.
        let add = |counter: &AtomicU64, more| {
            counter.store(counter.load(Ordering::Relaxed) + more, Ordering::Relaxed);
        };
        add(&self.events, 1);
        let mut left = types;
        while left != 0 {
            add(&self.lines[left.trailing_zeros() as usize], 1);
            left &= left - 1;
        }
        add(&self.attributed[event.attribution() as usize], 1);
        if event.head.dir.get() == 0 && event.head.dir2.get() == 0 {
            add(&self.without_path, 1);
        }
    }

    pub(crate) fn count_loss(&self, loss: &Loss) {
        let reason = Reason::from_code(loss.reason.get());
        let count = match loss.count.get() {
            fsmon_format::record::COUNT_UNKNOWN => 1,
            count => count,
        };
        let mut state = self.state();
        state.last_loss = Some(Instant::now());
        let at = match state.losses.iter().position(|(known, _)| *known == reason) {
            Some(at) => at,
            None => {
                state.losses.push((reason, Losses::default()));
                state.losses.len() - 1
            }
        };
        let losses = &mut state.losses[at].1;
        losses.records += 1;
        losses.lost = losses.lost.saturating_add(count);
    }

    pub(crate) fn count_write_failure(&self) {
        self.write_failures.fetch_add(1, Ordering::Relaxed);
    }

    /// Writes that failed.
    pub(crate) fn write_failures(&self) -> u64 {
        self.write_failures.load(Ordering::Relaxed)
    }

    /// Event records of which no path is known.
    pub(crate) fn without_path(&self) -> u64 {
        self.without_path.load(Ordering::Relaxed)
    }

    /// The recorder's thread says how much CPU time it has used.
    pub(crate) fn set_recorder_cpu(&self) {
        self.recorder_cpu_ns.store(thread_cpu_ns(), Ordering::Relaxed);
    }

    /// The writer's thread does so.
    pub(crate) fn set_writer_cpu(&self) {
        self.writer_cpu_ns.store(thread_cpu_ns(), Ordering::Relaxed);
    }

    /// CPU time of both, ns.
    pub(crate) fn writing_cpu_ns(&self) -> u64 {
        let of = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        of(&self.recorder_cpu_ns) + of(&self.writer_cpu_ns)
    }

    pub(crate) fn count_malformed(&self) {
        self.malformed.fetch_add(1, Ordering::Relaxed);
    }

    /// EVENT records.
    pub(crate) fn events(&self) -> u64 {
        self.events.load(Ordering::Relaxed)
    }

    /// Lines of an event type: one bit of [`fsmon_format::kind`].
    pub(crate) fn lines_of(&self, kind: u32) -> u64 {
        let counter = self.lines.get(kind.trailing_zeros() as usize);
        counter.map_or(0, |counter| counter.load(Ordering::Relaxed))
    }

    /// Events by [`fsmon_format::record::Attribution`].
    pub(crate) fn attributed(&self) -> [u64; 4] {
        self.attributed.each_ref().map(|counter| counter.load(Ordering::Relaxed))
    }

    /// By reason, and when the last one was.
    pub(crate) fn losses(&self) -> (Vec<(Reason, Losses)>, Option<Instant>) {
        let state = self.state();
        (state.losses.clone(), state.last_loss)
    }

    /// What the LOSS records of this reason count.
    pub(crate) fn lost_by(&self, reason: Reason) -> u64 {
        let state = self.state();
        let found = state.losses.iter().find(|(known, _)| *known == reason);
        found.map_or(0, |(_, losses)| losses.lost)
    }

    pub(crate) fn set_paused(&self, why: Option<String>) {
        let mut state = self.state();
        state.was_paused |= why.is_some();
        state.paused = why;
    }

    /// Why recording is paused, if it is; also while the disk does not answer, or events are dropped.
    pub(crate) fn paused(&self) -> Option<String> {
        let state = self.state();
        let stalled = state.stalled().filter(|time| *time > DISK_STALLS);
        let stalled =
            stalled.map(|time| format!("the disk has not answered for {} s", time.as_secs()));
        let slow = state.dropped.map(|_| "the disk does not keep up".to_owned());
        state.paused.clone().or(stalled).or(slow)
    }

    /// Why the recorder takes nothing from the engine, so that no command of the engine is answered.
    pub(crate) fn held(&self) -> Option<String> {
        let is_held = self.state().is_held;
        self.paused().filter(|_| is_held)
    }

    pub(crate) fn set_held(&self, is_held: bool) {
        self.state().is_held = is_held;
    }

    /// Events that are dropped, so far, as the disk does not keep up; `None`: none are.
    pub(crate) fn dropped(&self) -> Option<u64> {
        self.state().dropped
    }

    pub(crate) fn set_dropped(&self, count: Option<u64>) {
        self.state().dropped = count;
    }

    /// Whether recording was ever paused.
    pub(crate) fn was_paused(&self) -> bool {
        self.state().was_paused
    }

    pub(crate) fn set_writing(&self, is_writing: bool) {
        self.state().writing = is_writing.then(Instant::now);
    }

    /// The daemon ends, and not everything is in the history.
    pub(crate) fn set_unwritten(&self, why: String) {
        self.state().unwritten.get_or_insert(why);
    }

    pub(crate) fn unwritten(&self) -> Option<String> {
        self.state().unwritten.clone()
    }

    /// Records that could not be read.
    pub(crate) fn malformed(&self) -> u64 {
        self.malformed.load(Ordering::Relaxed)
    }

    /// Makes the recorder pause with its next write, or go on.
    pub(crate) fn set_no_room(&self, why: Option<String>) {
        self.state().no_room = why;
    }

    pub(crate) fn no_room(&self) -> Option<String> {
        self.state().no_room.clone()
    }

    pub(crate) fn set_written(&self, written: Written) {
        let mut state = self.state();
        state.written = written;
        if let Some(indexer) = &state.indexer {
            // Where it was told already it will look.
            let _ = indexer.try_send(());
        }
    }

    /// From now on the indexer is woken when something was written; `None`: it ends.
    pub(crate) fn set_indexer(&self, indexer: Option<flume::Sender<()>>) {
        self.state().indexer = indexer;
    }

    pub(crate) fn written(&self) -> Written {
        self.state().written.clone()
    }

    /// The daemon ends: nobody waits any longer for a disk that refuses to be written to.
    pub(crate) fn give_up(&self) {
        self.given_up.store(true, Ordering::Relaxed);
    }

    /// Whether the daemon ends, and the disk refuses to be written to or has not answered for long.
    pub(crate) fn is_given_up(&self) -> bool {
        if !self.given_up.load(Ordering::Relaxed) {
            return false;
        }
        let is_paused = self.state().paused.is_some();
        is_paused || self.is_stalled()
    }

    /// Whether the disk has not answered for so long that the end does not wait for it.
    pub(crate) fn is_stalled(&self) -> bool {
        self.state().stalled().is_some_and(|time| time > END_PATIENCE)
    }
}

impl State {
    /// For how long the disk has not answered.
    fn stalled(&self) -> Option<Duration> {
        self.writing.map(|since| since.elapsed())
    }
}

//! What becomes of events while the disk does not keep up and the kernel's queue is at its limit: they are dropped, and
//! counted.
//!
//! The queue has no end of its own, and what is in it is the kernel's memory. So beyond `queue.max_bytes` the recorder
//! goes on taking records out of the ring, by which the reader goes on reading the queue. It follows all definitions,
//! so that paths and processes are right afterwards, and drops the events. Once the queue is empty it waits again, and
//! keeps what comes from then on. Not earlier, as the reader forgets processes that have exited, and looks at the
//! filesystem where the queue leaves a doubt, only when the queue is empty.
//!
//! All that is dropped lies in a row, so one LOSS record tells it.

use crate::limits::HELD_LOSSES;
use fsmon_format::record::{COUNT_UNKNOWN, Event, Loss, Reason};
use zerocopy::FromZeros;

/// The kernel's queue, and how long it may become.
pub(crate) struct Limit {
    /// Bytes of kernel memory that it takes.
    pub(crate) bytes: Box<dyn Fn() -> u64 + Send>,
    /// `queue.max_bytes`
    pub(crate) max_bytes: u64,
}

impl Limit {
    /// Whether it is too long.
    pub(crate) fn is_beyond(&self) -> bool {
        (self.bytes)() > self.max_bytes
    }

    /// Whether its length is known; where it is not, it counts as too long.
    pub(crate) fn is_known(&self) -> bool {
        (self.bytes)() != u64::MAX
    }

    /// Whether the queue is empty: enough was dropped.
    pub(crate) fn is_empty(&self) -> bool {
        (self.bytes)() == 0
    }
}

/// What was dropped, and what is told of it afterwards.
pub(crate) struct Shed {
    /// EVENT records that a watch wanted.
    pub(crate) dropped: u64,
    /// The times of the first and the last of them, `CLOCK_MONOTONIC` ns.
    span_ns: (u64, u64),
    /// The wall time of the last record before, ns since 1970.
    since_ns: u64,
    /// Whether the disk refused to be written to meanwhile.
    was_paused: bool,
    /// Both clocks as they were set last, ns: monotonic, and since 1970.
    pub(crate) clocks: Option<(u64, u64)>,
    /// LOSS records of the engine.
    losses: Vec<Loss>,
}

impl Shed {
    /// `since_ns`: the wall time of the last record before.
    pub(crate) fn new(since_ns: u64) -> Self {
        let (span_ns, was_paused) = ((0, 0), false);
        Shed { dropped: 0, span_ns, since_ns, was_paused, clocks: None, losses: Vec::new() }
    }

    /// The disk refused to be written to, from that wall time on, and no longer does.
    pub(crate) fn note_pause(&mut self, since_ns: u64) {
        self.was_paused = true;
        self.since_ns = self.since_ns.min(since_ns);
    }

    /// Since when there is a gap, by the wall clock; `None` if nothing was dropped, nor recording paused.
    pub(crate) fn gap_since_ns(&self) -> Option<u64> {
        (self.dropped > 0 || self.was_paused).then_some(self.since_ns)
    }

    /// Counts an event that a watch wanted.
    #[inline]
    pub(crate) fn note_event(&mut self, event: &Event) {
        let time_ns = event.time_ns.get();
        if self.dropped == 0 {
            self.span_ns.0 = time_ns;
        }
        self.span_ns.1 = time_ns;
        self.dropped += 1;
    }

    /// Keeps a loss that the engine reports: one of each reason and directory, and beyond [`HELD_LOSSES`] of each reason.
    pub(crate) fn note_loss(&mut self, loss: &Loss) {
        let is_same = |known: &Loss| (known.reason, known.dir) == (loss.reason, loss.dir);
        let is_alike = |known: &Loss| known.reason == loss.reason;
        let alike = self.losses.iter().position(is_same);
        let is_full = self.losses.len() >= HELD_LOSSES;
        let alike = alike.or_else(|| self.losses.iter().position(is_alike).filter(|_| is_full));
        let Some(at) = alike else { return self.losses.push(*loss) };
        let known = &mut self.losses[at];
        if known.dir != loss.dir {
            known.dir = 0.into();
        }
        known.last_ns = loss.last_ns;
        known.total = loss.total;
        known.count = match (known.count.get(), loss.count.get()) {
            (COUNT_UNKNOWN, _) | (_, COUNT_UNKNOWN) => COUNT_UNKNOWN,
            (known, more) => known.saturating_add(more).min(COUNT_UNKNOWN - 1),
        }
        .into();
    }

    /// The id stands for another directory from now on.
    pub(crate) fn forget_dir(&mut self, id: u32) {
        for loss in self.losses.iter_mut().filter(|loss| loss.dir.get() == id) {
            loss.dir = 0.into();
        }
    }

    /// What is told. `before`: events that were dropped at earlier times.
    pub(crate) fn losses(mut self, before: u64) -> Vec<Loss> {
        if self.dropped > 0 {
            let mut loss = Loss::new_zeroed();
            loss.reason = Reason::Disk.code().into();
            (loss.first_ns, loss.last_ns) = (self.span_ns.0.into(), self.span_ns.1.into());
            loss.count = self.dropped.into();
            loss.total = before.saturating_add(self.dropped).into();
            self.losses.push(loss);
        }
        self.losses
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn loss(reason: Reason, dir: u32, count: u64, total: u64) -> Loss {
        let mut loss = Loss::new_zeroed();
        (loss.reason, loss.dir) = (reason.code().into(), dir.into());
        (loss.count, loss.total) = (count.into(), total.into());
        (loss.first_ns, loss.last_ns) = (total.into(), total.into());
        loss
    }

    fn brief(loss: &Loss) -> (u32, u32, u64, u64, (u64, u64)) {
        let span = (loss.first_ns.get(), loss.last_ns.get());
        (loss.reason.get(), loss.dir.get(), loss.count.get(), loss.total.get(), span)
    }

    #[test]
    fn what_was_dropped_is_one_loss() {
        let mut shed = Shed::new(3);
        for time_ns in [5, 5, 9] {
            let mut event = Event::new_zeroed();
            event.time_ns = time_ns.into();
            shed.note_event(&event);
        }
        let losses = shed.losses(10);
        assert_eq!(losses.iter().map(brief).collect::<Vec<_>>(), [(12, 0, 3, 13, (5, 9))]);
        assert!(Shed::new(3).losses(10).is_empty());
    }

    #[test]
    fn there_is_a_gap_where_something_was_dropped_or_the_disk_refused() {
        let mut shed = Shed::new(5);
        assert_eq!(shed.gap_since_ns(), None);
        shed.note_event(&Event::new_zeroed());
        assert_eq!(shed.gap_since_ns(), Some(5));
        let mut shed = Shed::new(5);
        shed.note_pause(3);
        assert_eq!(shed.gap_since_ns(), Some(3));
    }

    #[test]
    fn losses_of_the_engine_are_kept_together_by_reason_and_directory() {
        let mut shed = Shed::new(0);
        shed.note_loss(&loss(Reason::Walk, 0, 1, 1));
        shed.note_loss(&loss(Reason::Mount, 7, 1, 1));
        shed.note_loss(&loss(Reason::Walk, 0, 2, 3));
        shed.note_loss(&loss(Reason::Mount, 8, 1, 2));
        shed.note_loss(&loss(Reason::ProcessMessages, 0, 4, 4));
        shed.note_loss(&loss(Reason::ProcessMessages, 0, COUNT_UNKNOWN, 5));
        shed.forget_dir(7);
        let losses = shed.losses(0);
        let expected = [
            (5, 0, 3, 3, (1, 3)),
            (7, 0, 1, 1, (1, 1)),
            (7, 8, 1, 2, (2, 2)),
            (2, 0, COUNT_UNKNOWN, 5, (4, 5)),
        ];
        assert_eq!(losses.iter().map(brief).collect::<Vec<_>>(), expected);
    }

    #[test]
    fn however_many_directories_they_are_about_their_number_is_bounded() {
        let mut shed = Shed::new(0);
        for dir in 1..=10_000 {
            shed.note_loss(&loss(Reason::Mount, dir, 1, u64::from(dir)));
        }
        shed.note_loss(&loss(Reason::Walk, 0, 1, 1));
        let losses = shed.losses(0);
        assert_eq!(losses.len(), HELD_LOSSES + 1);
        assert_eq!(losses.iter().map(|loss| loss.count.get()).sum::<u64>(), 10_001);
    }
}

//! The last reads of the event queue. They give the position of a message: from the progress of the reader at the
//! time when it was sent, to the number of events that had been queued by then.

use super::message::Progress;
use crate::hot::containers::last::LastN;
use crate::limits::who::READS_KEPT;

#[derive(Clone, Copy, Default)]
struct QueueRead {
    /// Its number, as the BPF programs count reads.
    number: u32,
    /// The turn of the reader in which it was made.
    turn: u32,
    /// Events that were taken from the queue before it.
    first: u64,
    /// Events that it took. For a refused read 1, for the event that reports the refusal.
    count: u32,
    /// The kernel dropped the events that it took; their number is unknown.
    is_refused: bool,
}

/// The last reads.
pub(super) struct Reads {
    reads: LastN<QueueRead>,
    /// Number of reads recorded.
    noted: usize,
    /// Events taken from the queue.
    taken: u64,
    /// Value of `noted` at the last refused read; 0 for none.
    refused_at: usize,
}

impl Default for Reads {
    fn default() -> Self {
        Reads { reads: LastN::new(READS_KEPT), noted: 0, taken: 0, refused_at: 0 }
    }
}

impl Reads {
    /// Records that read `number`, in turn `turn`, took `count` events.
    pub(super) fn note(&mut self, number: u32, turn: u32, count: u32) {
        self.keep(QueueRead { number, turn, first: self.taken, count, is_refused: false });
    }

    /// Records that read `number`, in turn `turn`, was refused: one event stands for what it took.
    pub(super) fn note_refused(&mut self, number: u32, turn: u32) {
        self.keep(QueueRead { number, turn, first: self.taken, count: 1, is_refused: true });
        self.refused_at = self.noted;
    }

    fn keep(&mut self, read: QueueRead) {
        self.reads.push(read);
        self.noted += 1;
        self.taken += u64::from(read.count);
    }

    /// The least and the largest number of events that had been queued when the reader was at `at`.
    pub(super) fn position(&self, at: Progress) -> (u64, u64) {
        let length = u64::from(at.length);
        if self.is_forgotten(at.reads) {
            return (0, self.taken + length);
        }
        let least = self.not_before(at.reads).map_or(self.taken, |read| read.first);
        if self.any_refused(at.reads) {
            // The events that waited may all have been dropped.
            return (least, self.taken + length);
        }
        if at.settled {
            return (least + length, least + length);
        }
        // During a read, if one was made in that turn: it may have taken any part of its events.
        let most = match self.not_before(at.reads_after) {
            Some(read) if at.has_turn(read.turn) => read.first + u64::from(read.count),
            Some(read) => read.first,
            None => self.taken,
        };
        (least + length, most.max(least) + length)
    }

    /// Whether the read `number`, or a later one, was overwritten.
    fn is_forgotten(&self, number: u32) -> bool {
        let is_newer = |oldest: &QueueRead| oldest.number.wrapping_sub(number).cast_signed() > 0;
        self.noted > READS_KEPT && self.reads.overwritten_next().is_some_and(is_newer)
    }

    /// Whether the read `number`, or a later one, was refused.
    fn any_refused(&self, number: u32) -> bool {
        let is_near = self.refused_at != 0 && self.noted - self.refused_at < READS_KEPT;
        is_near && self.from(number).any(|read| read.is_refused)
    }

    /// The first read that is not older than `number`.
    fn not_before(&self, number: u32) -> Option<&QueueRead> {
        self.from(number).last()
    }

    /// The reads that are not older than `number`, newest first: a message is rarely older than the previous turn.
    fn from(&self, number: u32) -> impl Iterator<Item = &QueueRead> {
        let is_not_older = move |read: &&QueueRead| read.number.wrapping_sub(number) < u32::MAX / 2;
        self.reads.newest_first().take_while(is_not_older)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(reads: u32, reads_after: u32, length: u32, turn: u32, settled: bool) -> Progress {
        Progress { reads, reads_after, length, turn, turn_after: turn, settled }
    }

    /// Two reads in turn 1 with 10 and 5 events, numbered 3 and 5, and one in turn 3 with 7.
    fn reads() -> Reads {
        let mut reads = Reads::default();
        reads.note(3, 1, 10);
        reads.note(5, 1, 5);
        reads.note(6, 3, 7);
        reads
    }

    #[test]
    fn what_was_read_and_what_was_queued_add_up() {
        let reads = reads();
        assert_eq!(reads.position(at(0, 0, 2, 0, true)), (2, 2));
        assert_eq!(reads.position(at(4, 4, 2, 1, true)), (12, 12));
        assert_eq!(reads.position(at(6, 6, 0, 2, true)), (15, 15));
        assert_eq!(reads.position(at(7, 7, 1, 3, true)), (23, 23));
        assert_eq!(reads.position(at(9, 9, 1, 3, true)), (23, 23));
    }

    #[test]
    fn in_the_midst_of_a_read_it_lies_between() {
        let reads = reads();
        assert_eq!(reads.position(at(5, 5, 1, 1, false)), (11, 16));
        assert_eq!(reads.position(at(3, 4, 1, 1, false)), (1, 16));
        // No read was made any more in that turn.
        assert_eq!(reads.position(at(6, 6, 1, 1, false)), (16, 16));
        assert_eq!(reads.position(at(7, 7, 1, 3, false)), (23, 23));
    }

    #[test]
    fn what_a_refused_read_took_is_not_known() {
        let mut reads = reads();
        reads.note_refused(7, 4);
        reads.note(8, 4, 3);
        // 50 events waited before the refused read: it may have taken any of them, and others after it the rest.
        assert_eq!(reads.position(at(7, 7, 50, 3, true)), (22, 76));
        assert_eq!(reads.position(at(6, 6, 2, 2, true)), (15, 28), "in reads before it, too");
        assert_eq!(reads.position(at(8, 8, 1, 4, true)), (24, 24), "after it");
    }

    #[test]
    fn of_what_is_forgotten_no_more_is_said_than_is_known() {
        let mut reads = Reads::default();
        for number in 0..100 {
            reads.note(number, 1, 10);
        }
        assert_eq!(reads.position(at(35, 35, 3, 1, true)), (0, 1003));
        assert_eq!(reads.position(at(36, 36, 3, 1, true)), (363, 363));
    }

    #[test]
    fn numbers_run_over() {
        let mut reads = Reads::default();
        reads.note(u32::MAX - 1, 1, 4);
        reads.note(1, 3, 4);
        assert_eq!(reads.position(at(u32::MAX, u32::MAX, 0, 2, true)), (4, 4));
        assert_eq!(reads.position(at(2, 2, 0, 3, true)), (8, 8));
    }
}

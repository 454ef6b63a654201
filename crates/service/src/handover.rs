//! Between the recorder, which makes blocks, and the thread that writes them: pieces one way, in order; the other way
//! only what became of them.
//!
//! ```text
//!  recorder ─ put ─► pieces, bounded ─ next ─► writer
//!           ◄─ room, the end of a pause, an empty buffer ─
//! ```
//!
//! So a disk that does not answer holds up the writer alone. The recorder sees that there is no room, and decides what
//! to do about it.

use crate::flush::Wanted;
use crate::limits::{HANDOVER_BYTES, HANDOVER_PIECES, SPARE_BUFFERS};
use crate::recorder::{Reply, paused};
use fsmon_format::error::Error;
use fsmon_store::history::Tally;
use std::collections::VecDeque;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// What is written at once.
#[derive(Default)]
pub(crate) struct Piece {
    /// Whole blocks, before them perhaps the header of a segment. Empty where only a request waits for what is before.
    pub(crate) blocks: Vec<u8>,
    /// Set if the segment ends with them.
    pub(crate) ends: Option<Box<Tally>>,
    /// The wall time of the last record in it, ns since 1970.
    pub(crate) until_ns: u64,
    /// Who waits until it is written.
    pub(crate) waiting: Option<Waiting>,
}

/// A client that waits for what it asked for.
pub(crate) struct Waiting {
    pub(crate) wanted: Wanted,
    pub(crate) answer: Reply,
    pub(crate) reply: flume::Sender<Result<Reply, Error>>,
}

impl Waiting {
    /// Nobody may wait any more, if it took too long.
    fn end(self, result: Result<(), Error>) {
        let _ = self.reply.send(result.map(|()| self.answer));
    }
}

/// What the writer has to say.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct News {
    /// A pause has ended: the wall time of the last record that was written before it.
    pub(crate) paused_since_ns: Option<u64>,
    /// The segment should end: a sync of it failed.
    pub(crate) must_rotate: bool,
    /// Whether something waits, or is being written.
    pub(crate) is_busy: bool,
}

/// What both threads have.
#[derive(Default)]
pub(crate) struct Handover {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    pieces: VecDeque<Piece>,
    /// Who waits for the piece that is being written.
    waiting: Option<Waiting>,
    is_writing: bool,
    paused_since_ns: Option<u64>,
    must_rotate: bool,
    /// Buffers to be used again.
    spare: Vec<Vec<u8>>,
    end: End,
}

#[derive(Clone, Copy, Default, PartialEq, Eq)]
enum End {
    /// More pieces may come.
    #[default]
    Open,
    /// No more come.
    Closed,
    /// The writer has ended.
    Ended,
}

impl State {
    fn has_room(&self, len: usize) -> bool {
        let bytes: usize = self.pieces.iter().map(|piece| piece.blocks.len()).sum();
        let fits = bytes + len <= HANDOVER_BYTES && self.pieces.len() < HANDOVER_PIECES;
        fits || self.pieces.is_empty() || self.end == End::Ended
    }
}

impl Handover {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether a piece of `len` bytes can be put. As only the recorder puts, there is room until it does.
    pub(crate) fn has_room(&self, len: usize) -> bool {
        self.state().has_room(len)
    }

    /// Waits for that, `time` at the most.
    pub(crate) fn wait_for_room(&self, len: usize, time: Duration) {
        let is_full = |state: &mut State| !state.has_room(len);
        let waited = self.changed.wait_timeout_while(self.state(), time, is_full);
        drop(waited.unwrap_or_else(PoisonError::into_inner));
    }

    /// Hands a piece over, whether there is room or not. A writer that has ended takes nothing.
    pub(crate) fn put(&self, piece: Piece) {
        let mut state = self.state();
        match state.end {
            End::Ended => end_all(piece.waiting),
            End::Open | End::Closed => state.pieces.push_back(piece),
        }
        self.changed.notify_all();
    }

    /// An empty buffer.
    pub(crate) fn spare(&self) -> Vec<u8> {
        self.state().spare.pop().unwrap_or_default()
    }

    /// What the writer has said since the last call.
    pub(crate) fn news(&self) -> News {
        let mut state = self.state();
        News {
            paused_since_ns: state.paused_since_ns.take(),
            must_rotate: std::mem::take(&mut state.must_rotate),
            is_busy: state.is_writing || !state.pieces.is_empty(),
        }
    }

    /// Tells all who wait that recording is paused. What they wait for is written all the same, once that is possible.
    pub(crate) fn refuse(&self, why: &str) {
        let mut state = self.state();
        let waiting = state.waiting.take();
        let others = state.pieces.iter_mut().filter_map(|piece| piece.waiting.take());
        for waiting in waiting.into_iter().chain(others) {
            waiting.end(Err(paused(why)));
        }
    }

    /// No more pieces come: the writer ends after the last one.
    pub(crate) fn close(&self) {
        self.state().end = End::Closed;
        self.changed.notify_all();
    }

    /// The same, and what waits is dropped.
    pub(crate) fn break_off(&self) {
        let mut state = self.state();
        end_all(std::mem::take(&mut state.pieces).into_iter().filter_map(|piece| piece.waiting));
        drop(state);
        self.close();
    }

    /// Waits until the writer has ended, `time` at the most. Returns whether it has.
    pub(crate) fn wait_for_end(&self, time: Duration) -> bool {
        let runs = |state: &mut State| state.end != End::Ended;
        let waited = self.changed.wait_timeout_while(self.state(), time, runs);
        waited.unwrap_or_else(PoisonError::into_inner).0.end == End::Ended
    }

    /// For the writer: the next piece; `None` after the last one.
    pub(crate) fn next(&self) -> Option<Piece> {
        let is_idle = |state: &mut State| state.pieces.is_empty() && state.end == End::Open;
        let waited = self.changed.wait_while(self.state(), is_idle);
        let mut state = waited.unwrap_or_else(PoisonError::into_inner);
        let mut piece = state.pieces.pop_front()?;
        state.waiting = piece.waiting.take();
        state.is_writing = true;
        self.changed.notify_all();
        Some(piece)
    }

    /// For the writer: whether somebody waits for the piece to be durable.
    pub(crate) fn wants_sync(&self) -> bool {
        self.state().waiting.as_ref().is_some_and(|waiting| waiting.wanted == Wanted::Durable)
    }

    /// For the writer: the piece is written, and durable if that was wanted, unless `result` is an error.
    pub(crate) fn done(&self, mut buffer: Vec<u8>, result: Result<(), Error>) {
        let mut state = self.state();
        state.is_writing = false;
        if let Some(waiting) = state.waiting.take() {
            waiting.end(result);
        }
        buffer.clear();
        if state.spare.len() < SPARE_BUFFERS {
            state.spare.push(buffer);
        }
        self.changed.notify_all();
    }

    /// For the writer: it was paused, and what it has is written now.
    pub(crate) fn note_pause(&self, since_ns: u64) {
        let mut state = self.state();
        let earlier = state.paused_since_ns.unwrap_or(u64::MAX);
        state.paused_since_ns = Some(earlier.min(since_ns));
    }

    /// For the writer: a sync failed.
    pub(crate) fn note_failed_sync(&self) {
        self.state().must_rotate = true;
    }

    /// For the writer: it ends.
    pub(crate) fn end(&self) {
        self.break_off();
        let mut state = self.state();
        (state.end, state.is_writing) = (End::Ended, false);
        end_all(state.waiting.take());
        self.changed.notify_all();
    }
}

/// Tells them that what they wait for will not be.
fn end_all(waiting: impl IntoIterator<Item = Waiting>) {
    waiting.into_iter().for_each(|waiting| waiting.end(Err(paused("the daemon ends"))));
}

#[cfg(test)]
mod tests {
    use super::*;
    use fsmon_format::record::Outcome;

    fn piece(len: usize) -> Piece {
        Piece { blocks: vec![0; len], ..Piece::default() }
    }

    fn waiting(wanted: Wanted) -> (Waiting, flume::Receiver<Result<Reply, Error>>) {
        let (reply, answered) = flume::bounded(1);
        let answer = Reply { cursor: "c".into(), directories: 0, outcome: Outcome::Done, errno: 0 };
        (Waiting { wanted, answer, reply }, answered)
    }

    #[test]
    fn there_is_room_for_one_long_piece_or_several_short_ones() {
        let handover = Handover::default();
        assert!(handover.has_room(10 * HANDOVER_BYTES), "nothing waits");
        handover.put(piece(HANDOVER_BYTES / 2));
        assert!(handover.has_room(HANDOVER_BYTES / 2));
        assert!(!handover.has_room(HANDOVER_BYTES / 2 + 1));
        let taken = handover.next().expect("a piece");
        assert!(handover.has_room(HANDOVER_BYTES + 1), "one is written, none waits");
        assert!(handover.news().is_busy);
        for _ in 0..HANDOVER_PIECES {
            assert!(handover.has_room(0));
            handover.put(piece(0));
        }
        assert!(!handover.has_room(0));
        handover.done(taken.blocks, Ok(()));
        let spare = handover.spare();
        assert!(spare.is_empty() && spare.capacity() >= HANDOVER_BYTES / 2, "it is used again");
    }

    #[test]
    fn who_waits_is_answered_when_the_piece_is_written_or_refused_before() {
        let handover = Handover::default();
        let (first, of_first) = waiting(Wanted::Durable);
        let (second, of_second) = waiting(Wanted::Readable);
        handover.put(Piece { waiting: Some(first), ..piece(1) });
        handover.put(Piece { waiting: Some(second), ..piece(1) });
        let taken = handover.next().expect("a piece");
        assert!(handover.wants_sync() && of_first.is_empty());
        handover.done(taken.blocks, Ok(()));
        assert!(of_first.recv().expect("answered").is_ok());
        handover.refuse("full");
        let refused = of_second.recv().expect("answered").expect_err("refused").to_string();
        assert_eq!(refused, "recording is paused: full");
        assert!(handover.next().is_some(), "it is written all the same");
        assert!(!handover.wants_sync());
    }

    #[test]
    fn the_writer_ends_after_the_last_piece_and_takes_nothing_then() {
        let handover = Handover::default();
        handover.put(piece(1));
        handover.close();
        assert!(handover.next().is_some() && handover.next().is_none());
        assert!(!handover.wait_for_end(Duration::ZERO));
        handover.end();
        assert!(handover.wait_for_end(Duration::ZERO));
        let (late, of_late) = waiting(Wanted::Readable);
        handover.put(Piece { waiting: Some(late), ..piece(HANDOVER_BYTES) });
        assert!(of_late.recv().expect("answered").is_err());
        assert!(handover.has_room(HANDOVER_BYTES), "so that nobody waits for it");
    }

    #[test]
    fn of_two_pauses_that_nobody_heard_of_the_earlier_counts() {
        let handover = Handover::default();
        assert_eq!(handover.news(), News::default());
        handover.note_pause(7);
        handover.note_pause(9);
        handover.note_failed_sync();
        let news = News { paused_since_ns: Some(7), must_rotate: true, is_busy: false };
        assert_eq!(handover.news(), news);
        assert_eq!(handover.news(), News::default());
    }
}

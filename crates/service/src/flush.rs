//! `flush` and `sync` for many clients at a time: those that come while others wait share one block, and one
//! fdatasync. Otherwise each flush would end a block, and 1,000 small blocks a second would fill the history.

use crate::limits::{FLUSH_BURST, FLUSH_EVERY, FLUSH_REFILL};
use crate::lock;
use fsmon_format::error::Error;
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread;
use std::time::Instant;

/// What a client wants of a flush. The later one includes the earlier.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Wanted {
    /// That readers can read it.
    Readable,
    /// That it survives a loss of power.
    Durable,
}

/// One flush, for all that joined before it began.
struct Round {
    wanted: Mutex<Wanted>,
    result: Mutex<Option<Result<String, Error>>>,
    done: Condvar,
}

/// Lets clients share flushes.
#[derive(Default)]
pub(crate) struct Flusher(Mutex<Rounds>);

#[derive(Default)]
struct Rounds {
    /// The round that has not begun.
    next: Option<Arc<Round>>,
    /// When the last one began.
    began: Option<Instant>,
    /// What the last one answered.
    cursor: Option<String>,
    pace: Pace,
}

/// How many blocks flushes may end early: [`FLUSH_BURST`], and one more after each [`FLUSH_REFILL`].
struct Pace {
    left: u32,
    /// When `left` was right.
    at: Instant,
}

impl Default for Pace {
    fn default() -> Self {
        Pace { left: FLUSH_BURST, at: Instant::now() }
    }
}

impl Pace {
    fn refill(&mut self, now: Instant) {
        while self.left < FLUSH_BURST && self.at + FLUSH_REFILL <= now {
            (self.left, self.at) = (self.left + 1, self.at + FLUSH_REFILL);
        }
        if self.left == FLUSH_BURST {
            self.at = now;
        }
    }

    /// When the next block may end.
    fn next(&mut self, now: Instant) -> Instant {
        self.refill(now);
        if self.left > 0 { now } else { self.at + FLUSH_REFILL }
    }

    fn take(&mut self, now: Instant) {
        self.refill(now);
        self.left = self.left.saturating_sub(1);
    }

    fn give_back(&mut self) {
        self.left = (self.left + 1).min(FLUSH_BURST);
    }
}

impl Flusher {
    /// Waits until everything that happened before the call is in the file, or durable. `flush` does it, for this
    /// call or another. Returns the cursor behind it.
    ///
    /// # Errors
    /// Those of `flush`.
    pub(crate) fn flush(
        &self,
        wanted: Wanted,
        flush: impl FnOnce(Wanted) -> Result<String, Error>,
    ) -> Result<String, Error> {
        let mut rounds = lock(&self.0);
        if let Some(round) = rounds.next.clone() {
            let mut of_round = lock(&round.wanted);
            *of_round = wanted.max(*of_round);
            drop(of_round);
            drop(rounds);
            return round.wait();
        }
        let round = Arc::new(Round {
            wanted: Mutex::new(wanted),
            result: Mutex::new(None),
            done: Condvar::new(),
        });
        rounds.next = Some(round.clone());
        let now = Instant::now();
        let due = rounds.began.map_or(now, |began| began + FLUSH_EVERY).max(rounds.pace.next(now));
        drop(rounds);
        thread::sleep(due.saturating_duration_since(now));
        // A client that comes from here on waits for the next round: this one may begin too early for it.
        let mut rounds = lock(&self.0);
        rounds.next = None;
        let now = Instant::now();
        rounds.began = Some(now);
        rounds.pace.take(now);
        drop(rounds);
        let wanted = *lock(&round.wanted);
        let result = flush(wanted);
        if let Ok(cursor) = &result {
            let mut rounds = lock(&self.0);
            // Nothing happened since the last one, so no block ended.
            if rounds.cursor.as_ref() == Some(cursor) {
                rounds.pace.give_back();
            }
            rounds.cursor = Some(cursor.clone());
        }
        *lock(&round.result) = Some(result.clone());
        round.done.notify_all();
        result
    }
}

impl Round {
    fn wait(&self) -> Result<String, Error> {
        let mut result = lock(&self.result);
        loop {
            if let Some(result) = &*result {
                return result.clone();
            }
            result = self.done.wait(result).unwrap_or_else(PoisonError::into_inner);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use fsmon_format::error::ErrorKind;
    use std::sync::Barrier;
    use std::sync::atomic::{AtomicUsize, Ordering};

    #[test]
    fn clients_that_wait_together_share_a_flush_and_each_gets_what_it_wants() {
        let (flusher, flushes) = (Flusher::default(), AtomicUsize::new(0));
        let (start, durable) = (Barrier::new(32), AtomicUsize::new(0));
        thread::scope(|scope| {
            for client in 0..32 {
                let (flusher, flushes, start, durable) = (&flusher, &flushes, &start, &durable);
                scope.spawn(move || {
                    start.wait();
                    let wanted = if client % 8 == 0 { Wanted::Durable } else { Wanted::Readable };
                    let before = durable.load(Ordering::SeqCst);
                    let flush = |wanted| {
                        flushes.fetch_add(1, Ordering::SeqCst);
                        if wanted == Wanted::Durable {
                            durable.fetch_add(1, Ordering::SeqCst);
                        }
                        Ok("cursor".to_owned())
                    };
                    assert_eq!(flusher.flush(wanted, flush).expect("done"), "cursor");
                    if wanted == Wanted::Durable {
                        assert!(durable.load(Ordering::SeqCst) > before, "it was not made durable");
                    }
                });
            }
        });
        let flushes = flushes.load(Ordering::SeqCst);
        // Each round lets all that wait join.
        assert!((1..32).contains(&flushes), "{flushes}");
    }

    #[test]
    fn a_burst_may_end_blocks_and_then_one_at_a_time() {
        let mut now = Instant::now();
        let mut pace = Pace { left: FLUSH_BURST, at: now };
        for _ in 0..FLUSH_BURST {
            assert_eq!(pace.next(now), now);
            pace.take(now);
        }
        for _ in 0..3 {
            assert_eq!(pace.next(now), now + FLUSH_REFILL);
            now += FLUSH_REFILL;
            assert_eq!(pace.next(now), now);
            pace.take(now);
        }
        // What ended no block costs nothing.
        pace.give_back();
        assert_eq!(pace.next(now), now);
        pace.take(now);
        // After a while of rest it is as before, and no more than that.
        now += FLUSH_REFILL * (3 * FLUSH_BURST);
        pace.refill(now);
        assert_eq!((pace.left, pace.at), (FLUSH_BURST, now));
    }

    #[test]
    fn an_error_reaches_everybody_and_the_next_flush_begins_anew() {
        let flusher = Flusher::default();
        let fail = |_| Err(Error::new(ErrorKind::Busy, "full"));
        assert!(flusher.flush(Wanted::Readable, fail).is_err());
        assert_eq!(flusher.flush(Wanted::Readable, |_| Ok("c".into())).expect("done"), "c");
    }
}

//! The two halves of an exchange of names.
//!
//! `RENAME_EXCHANGE` queues two events: `a` to `b`, then `b` to `a` of the other object (`vfs_rename()` in
//! fs/namei.c). Taken as two renames, the first would replace the object that the second moves. So fsmon remembers
//! a rename if the reverse rename follows in the queue, or if it is the last event that was read, as the reverse
//! may be about to come. A rename in reverse, by the same process and of another object, is the second half, unless
//! another event of one of the two names comes in between.
//!
//! A program that replays the output must not lose the contents of a directory: if one takes part, the object that
//! the first half would replace is first renamed to a temporary name (`.exchange-…`), and then from there.

use crate::hot::containers::last::LastN;
use crate::limits::tables::{EVENTS_DONE_KEPT, EXCHANGE_EVENTS_BETWEEN, EXCHANGE_HALVES_KEPT};
use crate::sys::handle::KEY_MAX;

/// The temporary name that an object has between the halves, made of its hash.
#[derive(Default)]
pub(crate) struct AsideName([u8; ASIDE.len() + 16]);

const ASIDE: &[u8] = b".exchange-";

impl AsideName {
    /// The temporary name of the object with that hash.
    pub(crate) fn of(object: u64) -> Self {
        let mut name = AsideName::default();
        let (prefix, digits) = name.0.split_at_mut(ASIDE.len());
        prefix.copy_from_slice(ASIDE);
        for (at, digit) in digits.iter_mut().enumerate() {
            *digit = b"0123456789abcdef"[((object >> (60 - 4 * at)) & 15) as usize];
        }
        name
    }

    pub(crate) fn bytes(&self) -> &[u8] {
        &self.0
    }

    /// Whether a name has the form of a temporary name.
    pub(crate) fn is(name: &[u8]) -> bool {
        name.len() == ASIDE.len() + 16 && name.starts_with(ASIDE)
    }
}

/// The object that the second half moves.
pub(crate) struct Other {
    /// The hash of its handle, and the handle.
    pub(crate) object: u64,
    key: [u8; KEY_MAX],
    key_len: usize,
    pub(crate) is_dir: bool,
}

impl Other {
    /// `None` if the handle is longer than any that exists.
    pub(crate) fn new(object: u64, handle: &[u8], is_dir: bool) -> Option<Self> {
        let (mut key, key_len) = ([0; KEY_MAX], handle.len());
        key.get_mut(..key_len)?.copy_from_slice(handle);
        Some(Other { object, key, key_len, is_dir })
    }

    pub(crate) fn key(&self) -> &[u8] {
        &self.key[..self.key_len]
    }
}

/// A rename, with the places of both names.
#[derive(Clone, Copy, Default)]
pub(crate) struct Half {
    pub(crate) pid: u32,
    pub(crate) old: u64,
    pub(crate) new: u64,
    /// The hash of its object; 0 if the rename is no longer a candidate.
    pub(crate) object: u64,
    /// The index of the event in the queue.
    pub(crate) index: u64,
}

/// Renames that are, or may be, first halves.
pub(crate) struct ExchangeHalves {
    halves: LastN<Half>,
    /// No event from this index on can be a second half.
    end: u64,
    /// Indices of events that were resolved ahead of their turn. Several processes may exchange at once, so their
    /// halves can alternate in the queue.
    done: LastN<u64>,
    /// No event from this index on was resolved ahead.
    done_end: u64,
}

impl ExchangeHalves {
    pub(crate) fn new() -> Self {
        ExchangeHalves {
            halves: LastN::new(EXCHANGE_HALVES_KEPT),
            end: 0,
            done: LastN::new(EVENTS_DONE_KEPT),
            done_end: 0,
        }
    }

    /// Whether the event with this index can be a second half.
    #[inline]
    pub(crate) fn any(&self, index: u64) -> bool {
        index < self.end
    }

    /// Records a rename that may be the first half.
    pub(crate) fn put(&mut self, first: Half) {
        if !self.any(first.index) {
            self.halves.clear();
        }
        self.end = first.index + EXCHANGE_EVENTS_BETWEEN;
        let oldest = self.halves.push(first);
        debug_assert!(
            oldest.is_none_or(|one| one.index + EXCHANGE_EVENTS_BETWEEN <= first.index),
            "out of reach"
        );
    }

    /// Records that the event with this index was resolved ahead of its turn.
    pub(crate) fn set_done(&mut self, index: u64) {
        self.done.push(index);
        self.done_end = self.done_end.max(index + 1);
    }

    /// Whether the event with this index was resolved ahead of its turn.
    #[inline]
    pub(crate) fn is_done(&self, index: u64) -> bool {
        index < self.done_end && self.done.iter().any(|done| *done == index)
    }

    /// Records another event of the entry at `place`.
    pub(crate) fn touch(&mut self, place: u64) {
        for half in self.halves.iter_mut().filter(|half| half.old == place || half.new == place) {
            half.object = 0;
        }
    }

    /// Whether a rename is the second half of an exchange.
    pub(crate) fn is_second(&mut self, this: Half) -> bool {
        let first = self.halves.iter_mut().find(|first| {
            first.pid == this.pid
                && (first.old, first.new) == (this.new, this.old)
                && first.object != 0
                && first.object != this.object
                && this.index.wrapping_sub(first.index) < EXCHANGE_EVENTS_BETWEEN
        });
        if let Some(first) = first {
            first.object = 0;
            return true;
        }
        self.touch(this.old);
        self.touch(this.new);
        false
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::limits::tables::EXCHANGE_EVENTS_AHEAD;

    fn half(pid: u32, old: u64, new: u64, object: u64) -> Half {
        Half { pid, old, new, object, index: 0 }
    }

    fn mirror(pid: u32, old: u64, new: u64, object: u64) -> Half {
        Half { pid, old, new, object, index: 9 }
    }

    #[test]
    fn the_mirror_of_another_object_is_the_second_half() {
        let mut exchange = ExchangeHalves::new();
        assert!(!exchange.any(0));
        exchange.put(half(1, 10, 20, 5));
        assert!(exchange.any(9) && !exchange.any(99));
        assert!(!exchange.is_second(mirror(2, 20, 10, 6)), "another process");
        exchange.put(half(1, 10, 20, 5));
        assert!(exchange.is_second(mirror(1, 20, 10, 6)));
        assert!(!exchange.is_second(mirror(1, 20, 10, 6)), "reported once");
        exchange.put(half(1, 10, 20, 5));
        assert!(!exchange.is_second(mirror(1, 20, 10, 5)), "the same back again");
        exchange.put(half(1, 10, 20, 5));
        assert!(!exchange.is_second(Half { index: 99, ..mirror(1, 20, 10, 6) }), "too late");
    }

    /// Events after a first half, each of which may be another's.
    #[test]
    fn no_half_within_reach_is_forgotten() {
        let mut exchange = ExchangeHalves::new();
        for index in 0..10 * EXCHANGE_EVENTS_BETWEEN {
            exchange.put(Half { index, ..half(1, 2 * index, 2 * index + 1, 5) });
            if let Some(first) = (index + 1).checked_sub(EXCHANGE_EVENTS_BETWEEN - 1) {
                let second = mirror(1, 2 * first + 1, 2 * first, 6);
                assert!(exchange.is_second(Half { index: index + 1, ..second }), "{first}");
            }
        }
    }

    #[test]
    fn an_event_that_is_reported_ahead_of_its_turn_is_known_at_its_turn() {
        let mut exchange = ExchangeHalves::new();
        let ahead = EXCHANGE_EVENTS_AHEAD as u64;
        for index in 1..100 {
            assert_eq!(exchange.is_done(index), index > ahead);
            exchange.set_done(index + ahead);
        }
    }

    #[test]
    fn a_name_aside_is_of_the_whole_hash() {
        let name = AsideName::of(0x0123_4567_89ab_cdef);
        assert_eq!(name.bytes(), b".exchange-0123456789abcdef");
    }

    #[test]
    fn what_comes_between_speaks_against_it() {
        let mut exchange = ExchangeHalves::new();
        exchange.put(half(1, 10, 20, 5));
        exchange.touch(30);
        assert!(exchange.is_second(mirror(1, 20, 10, 6)));
        exchange.put(half(1, 10, 20, 5));
        exchange.touch(20);
        assert!(!exchange.is_second(mirror(1, 20, 10, 6)));
    }
}

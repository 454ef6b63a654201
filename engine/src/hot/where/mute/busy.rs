//! Busy directories that are not watched, which fsmon mutes.
//!
//! With a mark on the filesystem, events outside the watched paths or in excluded directories cost their process
//! and the reader nearly as much as reported ones. So a busy directory gets a mark that ignores its events
//! (`Group::mute`). The mark is evictable: the kernel may drop it, and then events of the directory come again.
//! Renames of directories still come, so fsmon notices if the directory is moved into the watched paths; the walk
//! that reads it removes the mark, and reports that something may have been lost in between. Renames of files are
//! ignored as well while that is worth it (`rename_events.rs`).
//!
//! A directory that is filled outside the watched paths is often moved in as a whole, and then nothing may be lost.
//! So filling or emptying a directory does not make it busy. It is busy if names come again and again after others
//! went, as in a directory for temporary files; or if any events go on for a long time.

use crate::hot::containers::last::LastN;
use crate::hot::containers::ways::SetCache;
use crate::hot::event::Key;
use crate::limits::tables::{
    BUSY_EVENTS, BUSY_NAMES_AGAIN, BUSY_ROUNDS, BUSY_SETS, BUSY_WAYS, MUTED_EACH_ROUND, MUTED_MAX,
};
use crate::sys::handle::KEY_MAX;
use fsmon_format::kind;

/// What the kernel reports of a directory that is not watched.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Muting {
    /// Everything.
    No,
    /// Renames, and changes of link counts.
    Entries,
    /// Only renames of directories.
    Renames,
}

/// A directory in one round.
#[derive(Clone, Copy, Default)]
struct Seen {
    hash: u64,
    round: u32,
    /// Rounds in a row before this one with many events.
    rounds: u32,
    events: u32,
    /// Names that were removed, less those that were made after them.
    removed: u32,
    again: u32,
    /// Files renamed since the last event of another type.
    renames: u32,
    /// Whether files were renamed.
    renamed: bool,
}

impl Seen {
    /// The entry in a new round, for the same directory or another one.
    fn next(self, hash: u64, round: u32) -> Self {
        let goes_on =
            self.hash == hash && self.round.wrapping_add(1) == round && self.events >= BUSY_EVENTS;
        let rounds = if goes_on { self.rounds.saturating_add(1) } else { 0 };
        Seen { hash, round, rounds, ..Seen::default() }
    }

    /// Whether an event of these types makes it busy: true once for each such number of events, as the kernel may
    /// have dropped the mark.
    #[inline]
    fn note(&mut self, types: u32) -> bool {
        self.events = self.events.saturating_add(1);
        self.renames = 0;
        self.removed = self.removed.saturating_add(u32::from(types & kind::DELETE != 0));
        if types & kind::CREATE != 0 && self.removed > 0 {
            self.removed -= 1;
            self.again = self.again.saturating_add(1);
            if self.again.is_multiple_of(BUSY_NAMES_AGAIN) {
                return true;
            }
        }
        self.rounds >= BUSY_ROUNDS && self.events.is_multiple_of(BUSY_EVENTS)
    }
}

/// A muted directory.
#[derive(Clone, Copy)]
pub(crate) struct Muted {
    /// Renames of files are ignored, too.
    renames: bool,
    fsid: u64,
    len: u8,
    handle: [u8; KEY_MAX],
}

impl Muted {
    pub(crate) fn key(&self) -> Key<'_> {
        Key { fsid: self.fsid, handle: &self.handle[..usize::from(self.len)] }
    }

    /// Records that renames of files are reported again.
    pub(crate) fn hear_renames(&mut self) {
        self.renames = false;
    }
}

/// The counted directories, and the muted ones.
pub(crate) struct Busy {
    seen: SetCache<Seen, BUSY_SETS, BUSY_WAYS>,
    round: u32,
    /// Directories that may still be muted in this round.
    left: u32,
    muted: LastN<Muted>,
    /// The kernel does not support it.
    off: bool,
}

impl Busy {
    pub(crate) fn new() -> Self {
        Busy {
            seen: SetCache::new(Seen::default()),
            round: 1,
            left: MUTED_EACH_ROUND,
            muted: LastN::new(MUTED_MAX),
            off: false,
        }
    }

    /// Begins a round: directories are counted from 0.
    pub(crate) fn begin_round(&mut self) {
        self.round = self.round.wrapping_add(1);
        self.left = MUTED_EACH_ROUND;
    }

    /// Counts an event of these types in the directory with that hash. Returns whether it makes the directory busy.
    #[inline]
    pub(crate) fn note(&mut self, hash: u64, types: u32) -> bool {
        self.seen(hash).note(types) && !self.off && self.left > 0
    }

    /// Counts a rename of a file in it. Returns whether renames come again and again without other events, as in a
    /// directory that is already muted.
    pub(crate) fn note_rename(&mut self, hash: u64) -> bool {
        let seen = self.seen(hash);
        (seen.renames, seen.renamed) = (seen.renames.saturating_add(1), true);
        seen.renames.is_multiple_of(BUSY_NAMES_AGAIN) && !self.off && self.left > 0
    }

    /// How to mute a busy directory if renames may be ignored.
    pub(crate) fn how(&mut self, hash: u64) -> Muting {
        if self.seen(hash).renamed { Muting::Renames } else { Muting::Entries }
    }

    #[inline]
    fn seen(&mut self, hash: u64) -> &mut Seen {
        let round = self.round;
        let measure = |seen: &Seen| {
            if seen.round == round {
                seen.events.saturating_add(seen.renames).saturating_add(1)
            } else {
                0
            }
        };
        let known = self.seen.find(hash, |seen| seen.hash == hash);
        let at = known.unwrap_or_else(|| self.seen.least(hash, measure));
        let seen = self.seen.get_mut(at);
        if (seen.hash, seen.round) != (hash, round) {
            *seen = seen.next(hash, round);
        }
        seen
    }

    /// The directories in which renames of files are ignored. The caller stops that for each.
    pub(crate) fn without_renames(&mut self) -> impl Iterator<Item = &mut Muted> {
        self.muted.iter_mut().filter(|muted| muted.renames)
    }

    /// Records a muted directory. Returns the oldest if there are too many; it must be unmuted.
    pub(crate) fn put(&mut self, key: Key<'_>, how: Muting) -> Option<Muted> {
        self.left -= 1;
        let renames = how == Muting::Renames;
        let mut muted = Muted { renames, fsid: key.fsid, len: 0, handle: [0; KEY_MAX] };
        muted.handle.get_mut(..key.handle.len())?.copy_from_slice(key.handle);
        muted.len = u8::try_from(key.handle.len()).ok()?;
        self.muted.push(muted)
    }

    /// The kernel does not support muting: do not try again.
    pub(crate) fn give_up(&mut self) {
        self.off = true;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CHURN: u32 = kind::CREATE | kind::DELETE;

    fn times(busy: &mut Busy, hash: u64, types: u32, count: u32) -> usize {
        (0..count).filter(|_| busy.note(hash, types)).count()
    }

    #[test]
    fn busy_is_where_names_come_again_and_again_within_a_round() {
        let mut busy = Busy::new();
        assert_eq!(times(&mut busy, 5, CHURN, BUSY_NAMES_AGAIN - 1), 0);
        busy.begin_round();
        assert_eq!(times(&mut busy, 5, CHURN, BUSY_NAMES_AGAIN - 1), 0);
        assert!(!busy.note(5, kind::DELETE) && !busy.note(5, kind::RENAME));
        assert!(busy.note(5, kind::CREATE) && !busy.note(5, kind::CREATE));
        let others = (1..=BUSY_WAYS).map(|other| (5 + other * BUSY_SETS) as u64);
        others.for_each(|other| assert_eq!(times(&mut busy, other, CHURN, BUSY_NAMES_AGAIN), 1));
        busy.give_up();
        assert_eq!(times(&mut busy, 6, CHURN, 2 * BUSY_NAMES_AGAIN), 0);
    }

    #[test]
    fn filling_and_emptying_are_not_busy() {
        let mut busy = Busy::new();
        for types in [kind::CREATE, kind::MODIFY, kind::RENAME, kind::DELETE] {
            assert_eq!(times(&mut busy, 5, types, 100 * BUSY_EVENTS), 0);
        }
        assert_eq!(times(&mut busy, 5, kind::CREATE, BUSY_NAMES_AGAIN), 1, "and filled again");
    }

    #[test]
    fn busy_is_what_goes_on_for_long() {
        let mut busy = Busy::new();
        for gap in [BUSY_ROUNDS, 0] {
            for round in 0..BUSY_ROUNDS {
                assert_eq!(times(&mut busy, 5, kind::MODIFY, 2 * BUSY_EVENTS), 0, "{round}");
                busy.begin_round();
            }
            if gap > 0 {
                assert_eq!(times(&mut busy, 5, kind::MODIFY, BUSY_EVENTS - 1), 0);
                busy.begin_round();
            }
        }
        assert_eq!(times(&mut busy, 5, kind::MODIFY, 2 * BUSY_EVENTS), 2);
    }

    #[test]
    fn renames_count_while_only_renames_are_reported() {
        let mut busy = Busy::new();
        for _ in 0..3 {
            assert!((1..BUSY_NAMES_AGAIN).all(|_| !busy.note_rename(5)));
            busy.note(5, kind::CLOSE_WRITE);
        }
        assert_eq!((busy.how(5), busy.how(6)), (Muting::Renames, Muting::Entries));
        assert!((1..BUSY_NAMES_AGAIN).all(|_| !busy.note_rename(5)) && busy.note_rename(5));
    }

    #[test]
    fn the_number_is_bounded_in_a_round_and_in_all() {
        let mut busy = Busy::new();
        let handle = |number: usize| (number as u64).to_ne_bytes();
        for number in 0..MUTED_MAX {
            if number % MUTED_EACH_ROUND as usize == 0 {
                busy.begin_round();
            }
            assert_eq!(times(&mut busy, number as u64, CHURN, BUSY_NAMES_AGAIN), 1);
            let key = Key { fsid: 1, handle: &handle(number) };
            assert!(busy.put(key, Muting::Entries).is_none());
        }
        assert_eq!(times(&mut busy, 1 << 40, CHURN, BUSY_NAMES_AGAIN), 0, "enough for this round");
        busy.begin_round();
        for number in 0..2 {
            let new = Key { fsid: 1, handle: b"new" };
            let oldest = busy.put(new, Muting::Renames).expect("one too many");
            assert_eq!(oldest.key(), Key { fsid: 1, handle: &handle(number) });
        }
        assert_eq!(busy.without_renames().count(), 2);
        busy.without_renames().for_each(Muted::hear_renames);
        assert_eq!(busy.without_renames().count(), 0);
    }
}

//! Entries that walks have reported and that events may report again.
//!
//! A directory that comes in is read when its event comes up. What happened in it between the event and the walk is
//! still in the queue. So fsmon remembers what a walk has reported until the queue was empty once after it: the
//! CREATE of an entry is not reported again, and an entry that was gone at the time of the walk is reported as
//! found before its removal is reported.

use crate::hot::r#where::tables::rounds::Rounds;
use crate::limits::tables::{ENTRY_LATE_NS, WALK_DIRS_MAX, WALK_NAME_SLOTS, WALK_NAMES_MANY};

/// The entries and directories.
pub(crate) struct ReportedByWalks {
    /// The places of entries.
    names: Rounds,
    /// Directories that were read in this round, and whether there are more.
    dirs: Vec<u32>,
    any_more_dirs: bool,
    /// Whether a name was not added in this round.
    is_full: bool,
    /// Changes in the directories that were read, of entries that may have been reported.
    forgotten: u64,
    /// When the last walk ended.
    walked_ns: u64,
}

impl ReportedByWalks {
    pub(crate) fn new() -> Self {
        ReportedByWalks {
            names: Rounds::new(WALK_NAME_SLOTS),
            dirs: Vec::with_capacity(WALK_DIRS_MAX),
            any_more_dirs: false,
            is_full: false,
            forgotten: 0,
            walked_ns: 0,
        }
    }

    /// Whether anything is remembered.
    #[inline]
    pub(crate) fn any(&self) -> bool {
        !self.dirs.is_empty()
    }

    /// Records that a directory was read.
    pub(crate) fn read(&mut self, dir: u32, now_ns: u64) {
        self.walked_ns = now_ns;
        match self.dirs.len() < WALK_DIRS_MAX {
            true => self.dirs.push(dir),
            false => self.any_more_dirs = true,
        }
    }

    /// Records that the walk has reported the entry at `place`.
    pub(crate) fn put(&mut self, place: u64) {
        self.is_full |= !self.names.put(place);
    }

    /// Records an event of an unknown entry in a directory that was read. Counts it if a walk may have reported the
    /// entry.
    pub(crate) fn note_unknown(&mut self) {
        self.forgotten += u64::from(self.is_full);
    }

    /// The count of [`Self::note_unknown`].
    pub(crate) fn forgotten(&self) -> u64 {
        self.forgotten
    }

    /// Whether the entry was reported and still exists.
    pub(crate) fn has(&self, place: u64) -> bool {
        self.names.has(place)
    }

    /// Removes an entry. Returns whether it was there.
    pub(crate) fn take(&mut self, place: u64) -> bool {
        self.names.take(place)
    }

    /// Like [`Self::on_queue_empty`], but during a walk: if many directories are remembered, returns those that were read before. Their
    /// entries stay, as do entries that events report before the walk reaches them.
    pub(crate) fn drain_dirs(&mut self, empty_ns: u64) -> Option<impl Iterator<Item = u32>> {
        let are_many = self.dirs.len() > WALK_DIRS_MAX / 2;
        // One directory stays, so that the entries are forgotten in the end.
        (are_many && empty_ns > self.walked_ns).then(|| self.dirs.drain(1..))
    }

    /// The queue was seen empty at `empty_ns`, and everything before is resolved. If that is long enough after the
    /// last walk, forgets everything and returns the directories that were read.
    pub(crate) fn on_queue_empty(
        &mut self,
        empty_ns: u64,
    ) -> Option<ReadDirs<impl Iterator<Item = u32>>> {
        let late_ns = if self.names.used() < WALK_NAMES_MANY { ENTRY_LATE_NS } else { 0 };
        if self.dirs.is_empty() || empty_ns <= self.walked_ns + late_ns {
            return None;
        }
        self.names.clear();
        self.is_full = false;
        let any_more = std::mem::take(&mut self.any_more_dirs);
        Some(ReadDirs { dirs: self.dirs.drain(..), any_more })
    }
}

/// Directories that were read.
pub(crate) struct ReadDirs<T> {
    pub(crate) dirs: T,
    /// Whether more directories were read.
    pub(crate) any_more: bool,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(number: u64) -> u64 {
        number.wrapping_mul(0x9e37_79b9_7f4a_7c15)
    }

    #[test]
    fn it_is_remembered_until_the_queue_was_empty_after_the_walk() {
        let mut found = ReportedByWalks::new();
        assert!(!found.any());
        found.read(3, 100);
        assert!(found.any());
        found.put(place(1));
        found.put(place(1));
        assert!(found.has(place(1)) && !found.has(place(2)));
        assert!(found.on_queue_empty(100 + ENTRY_LATE_NS).is_none() && found.has(place(1)));
        let read = found.on_queue_empty(101 + ENTRY_LATE_NS);
        assert!(read.is_some_and(|read| !read.any_more && read.dirs.eq([3])));
        assert!(!found.any() && !found.has(place(1)));
    }

    #[test]
    fn when_it_is_full_no_more_is_remembered() {
        let mut found = ReportedByWalks::new();
        (0..WALK_NAME_SLOTS as u64).for_each(|number| found.put(place(number)));
        assert!(
            found.has(place(WALK_NAME_SLOTS as u64 / 2))
                && !found.has(place(WALK_NAME_SLOTS as u64 - 1))
        );
        found.note_unknown();
        assert_eq!(found.forgotten(), 1);
        (0..=WALK_DIRS_MAX as u32).for_each(|dir| found.read(dir, 1));
        assert!(
            found
                .on_queue_empty(2)
                .is_some_and(|read| read.any_more && read.dirs.count() == WALK_DIRS_MAX)
        );
        found.read(1, 3);
        found.put(place(1));
        found.note_unknown();
        assert_eq!(found.forgotten(), 1, "there is room again");
        assert!(found.on_queue_empty(4 + ENTRY_LATE_NS).is_some_and(|read| !read.any_more));
    }

    #[test]
    fn many_names_do_not_wait_for_what_is_late() {
        let mut found = ReportedByWalks::new();
        found.read(1, 100);
        (0..WALK_NAMES_MANY as u64).for_each(|number| found.put(place(number)));
        assert!(found.on_queue_empty(100).is_none() && found.on_queue_empty(101).is_some());
    }

    #[test]
    fn directories_of_a_long_walk_make_room() {
        let mut found = ReportedByWalks::new();
        (0..=WALK_DIRS_MAX as u32).for_each(|dir| found.read(dir, 100));
        found.put(place(1));
        assert!(found.drain_dirs(100).is_none());
        assert_eq!(found.drain_dirs(101).map(Iterator::count), Some(WALK_DIRS_MAX - 1));
        assert!(found.drain_dirs(101).is_none() && found.any() && found.has(place(1)));
        found.read(0, 200);
        assert_eq!(
            found.on_queue_empty(201 + ENTRY_LATE_NS).map(|read| read.dirs.count()),
            Some(2)
        );
        assert!(!found.has(place(1)));
    }
}

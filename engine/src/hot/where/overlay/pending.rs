//! Renames for which the upper layer may show work of overlayfs instead of what a process did.
//!
//! If a directory is moved to a name at which a file was deleted, it is exchanged with the whiteout there (seen on
//! 6.18; `ovl_rename()` in fs/overlayfs/dir.c), and the whiteout is removed. An exchange of a directory and a file
//! looks the same at first. The file that comes back is reported by the mark on the directory that it leaves, or by
//! no mark if it is a whiteout.

use crate::hot::containers::last::LastN;
use crate::hot::event::{Event, Key, Location};
use crate::limits::tables::OVERLAY_RENAMES_KEPT;
use crate::sys::handle::KEY_MAX;
use arrayvec::ArrayVec;
use fsmon_format::record::NAME_MAX;

/// A process moved a directory to one with a mark: the places of both entries.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Gone {
    pub(super) pid: u32,
    pub(super) from: u64,
    pub(super) to: u64,
}

/// A rename that a mark will report: the process, the directory with the mark, and the place of the entry.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Expected {
    pid: u32,
    dir: u32,
    at: u64,
}

/// The object that came back.
#[derive(Clone, Copy)]
pub(super) struct Back {
    how: Gone,
    /// The hash of the key of the object; 0: empty.
    object: u64,
    fsid: u64,
    key_len: u8,
    name_len: u8,
    key: [u8; KEY_MAX],
    name: [u8; NAME_MAX],
}

impl Back {
    const NONE: Back = Back {
        how: Gone { pid: 0, from: 0, to: 0 },
        object: 0,
        fsid: 0,
        key_len: 0,
        name_len: 0,
        key: [0; KEY_MAX],
        name: [0; NAME_MAX],
    };

    fn new(how: Gone, object: u64, at: Location<'_>) -> Option<Self> {
        let mut back = Back { how, object, fsid: at.dir.fsid, ..Self::NONE };
        back.key.get_mut(..at.dir.handle.len())?.copy_from_slice(at.dir.handle);
        back.name.get_mut(..at.name.len())?.copy_from_slice(at.name);
        back.key_len = u8::try_from(at.dir.handle.len()).ok()?;
        back.name_len = u8::try_from(at.name.len()).ok()?;
        Some(back)
    }

    fn location(&self) -> Location<'_> {
        let handle = &self.key[..usize::from(self.key_len)];
        let dir = Key { fsid: self.fsid, handle };
        Location { dir, name: &self.name[..usize::from(self.name_len)] }
    }
}

/// Room for an event whose second side was added.
pub(crate) struct FilledRoom(Back);

impl FilledRoom {
    pub(crate) fn new() -> Self {
        FilledRoom(Back::NONE)
    }
}

/// All pending renames.
pub(super) struct Pending {
    gone: LastN<Gone>,
    back: LastN<Back>,
    /// The oldest first. Not a [`LastN`]: an entry is removed from the middle, and the others keep their order.
    expected: ArrayVec<Expected, OVERLAY_RENAMES_KEPT>,
}

impl Pending {
    pub(super) fn new(count: usize) -> Self {
        Pending { gone: LastN::new(count), back: LastN::new(count), expected: ArrayVec::new() }
    }

    /// Records that a mark will report a rename by `pid` from or to the entry at place `at` in `dir`.
    pub(super) fn expect(&mut self, pid: u32, dir: u32, at: u64) {
        if self.expected.is_full() {
            self.expected.remove(0);
        }
        self.expected.push(Expected { pid, dir, at });
    }

    /// The upper layer reports another rename from or to `dir`: the expected event has come, or was merged into an
    /// earlier one. The directory is locked from the event of the upper layer until the event of the mark
    /// (`vfs_rename()` in fs/namei.c), so both events of one rename come before those of the next. An empty queue
    /// does not show that: the process may sleep between the two.
    ///
    /// `but`: keeps a rename of that process and entry, which may be the other half of the same exchange; the upper
    /// layer reports both halves first.
    pub(super) fn forget_expected(&mut self, dir: u32, but: Option<(u32, u64)>) {
        self.expected.retain(|one| one.dir != dir || but == Some((one.pid, one.at)));
    }

    /// A mark on `dir` reports a rename. Returns whether it was expected.
    pub(super) fn is_expected(&mut self, pid: u32, dir: u32, at: u64) -> bool {
        let found = self.expected.iter().position(|one| *one == Expected { pid, dir, at });
        found.map(|which| self.expected.remove(which)).is_some()
    }

    /// Records that a directory was moved to one with a mark.
    pub(super) fn go(&mut self, gone: Gone) {
        self.gone.push(gone);
    }

    /// A file comes to `at`. Records it and returns true if it comes from where a directory went that was at `at`.
    pub(super) fn comes_back(&mut self, how: Gone, object: u64, at: Location<'_>) -> bool {
        if !self.gone.iter().any(|gone| *gone == how) {
            return false;
        }
        Back::new(how, object, at).map(|back| self.back.push(back)).is_some()
    }

    /// `pid` removes a file at place `at`. Returns whether it is the one that came back: a whiteout.
    pub(super) fn is_whiteout(&mut self, pid: u32, at: u64, object: u64) -> bool {
        let is_it =
            |back: &&mut Back| (back.how.pid, back.how.from, back.object) == (pid, at, object);
        let found = self.back.iter_mut().find(is_it);
        found.map(|back| *back = Back::NONE).is_some()
    }

    /// A mark reports that an object left the entry `from`: returns the event with both sides if that object came
    /// back.
    pub(super) fn fill<'a>(
        &mut self,
        event: &Event<'a>,
        from: u64,
        room: &'a mut FilledRoom,
    ) -> Option<Event<'a>> {
        let is_it =
            |back: &&mut Back| back.object != 0 && (back.how.pid, back.how.to) == (event.pid, from);
        let back = self.back.iter_mut().find(is_it)?;
        room.0 = std::mem::replace(back, Back::NONE);
        Some(Event { location: Some(room.0.location()), ..*event })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_expected_in_a_directory_is_forgotten_with_the_next_rename_there() {
        let mut pending = Pending::new(2);
        pending.expect(7, 1, 10);
        pending.expect(7, 2, 20);
        assert!(!pending.is_expected(8, 1, 10) && !pending.is_expected(7, 1, 20));
        assert!(pending.is_expected(7, 1, 10) && !pending.is_expected(7, 1, 10));
        pending.forget_expected(1, None);
        assert!(pending.is_expected(7, 2, 20));
        pending.expect(7, 2, 20);
        pending.forget_expected(2, None);
        assert!(!pending.is_expected(7, 2, 20));
        // Both halves of an exchange.
        pending.expect(7, 2, 20);
        pending.forget_expected(2, Some((7, 20)));
        pending.expect(7, 2, 20);
        assert!(pending.is_expected(7, 2, 20) && pending.is_expected(7, 2, 20));
    }

    #[test]
    fn a_whiteout_goes_and_a_file_stays() {
        let mut pending = Pending::new(3);
        let dir = Key { fsid: 1, handle: b"dir" };
        let (at, how) = (Location { dir, name: b"name" }, Gone { pid: 7, from: 20, to: 10 });
        assert!(!pending.comes_back(how, 2, at));
        pending.go(how);
        assert!(pending.comes_back(how, 2, at) && pending.comes_back(how, 4, at));
        assert!(!pending.is_whiteout(8, 20, 2) && !pending.is_whiteout(7, 20, 6));
        assert!(pending.is_whiteout(7, 20, 2) && !pending.is_whiteout(7, 20, 2));
        let event = Event {
            mask: 0,
            pid: 7,
            location: None,
            old: None,
            object: None,
            error: None,
            raw: &[],
        };
        let mut room = FilledRoom::new();
        assert!(pending.fill(&event, 11, &mut room).is_none());
        let mut room = FilledRoom::new();
        assert_eq!(pending.fill(&event, 10, &mut room).and_then(|event| event.location), Some(at));
        let mut room = FilledRoom::new();
        assert!(pending.fill(&event, 10, &mut room).is_none());
    }
}

//! Renames of which the upper layer may show what overlayfs did, and not what was asked of it.
//!
//! A directory that goes to where a file was deleted changes places with the whiteout there (seen on 6.18;
//! `ovl_rename()` in fs/overlayfs/dir.c), which is removed then. An exchange of a directory and a file looks
//! the same at first. What comes back is told by the mark on the directory that it comes from, or by nobody.

use crate::hot::containers::last::LastN;
use crate::hot::event::{Event, Key, Location};
use crate::limits::tables::OVERLAY_RENAMES_KEPT;
use crate::sys::handle::KEY_MAX;
use arrayvec::ArrayVec;
use fsmon_format::record::NAME_MAX;

/// A directory that went to one with a mark, by that process: both entries, as [`super::Tree::place`] has them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Gone {
    pub(super) pid: u32,
    pub(super) from: u64,
    pub(super) to: u64,
}

/// A rename that a mark will tell: the process, the directory with the mark, and the entry as
/// [`super::Tree::place`] has it.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Expected {
    pid: u32,
    dir: u32,
    at: u64,
}

/// What came back from there.
#[derive(Clone, Copy)]
pub(super) struct Back {
    how: Gone,
    /// The hash of the object's key; 0: there is nothing here.
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

/// Room for an event that got its second side.
pub(crate) struct FilledRoom(Back);

impl FilledRoom {
    pub(crate) fn new() -> Self {
        FilledRoom(Back::NONE)
    }
}

/// All of them.
pub(super) struct Pending {
    gone: LastN<Gone>,
    back: LastN<Back>,
    /// The oldest first. No [`LastN`]: what comes is taken out of the middle, and the rest keeps its order.
    expected: ArrayVec<Expected, OVERLAY_RENAMES_KEPT>,
}

impl Pending {
    pub(super) fn new(count: usize) -> Self {
        Pending { gone: LastN::new(count), back: LastN::new(count), expected: ArrayVec::new() }
    }

    /// A mark will tell that this process renamed something from or to that entry of `dir`.
    pub(super) fn expect(&mut self, pid: u32, dir: u32, at: u64) {
        if self.expected.is_full() {
            self.expected.remove(0);
        }
        self.expected.push(Expected { pid, dir, at });
    }

    /// The upper layer tells another rename from or to `dir`: what was expected there came, or was merged into
    /// an event that came before. The directory is locked from the event of the upper layer until that of the
    /// mark (`vfs_rename()` in fs/namei.c), so the two of one rename come before the two of the next. That the
    /// queue is empty says nothing: the process may be put to sleep between them.
    ///
    /// `but` a rename of that process and entry: it may be the other half of the same exchange, both of which the upper
    /// layer tells first.
    pub(super) fn forget_expected(&mut self, dir: u32, but: Option<(u32, u64)>) {
        self.expected.retain(|one| one.dir != dir || but == Some((one.pid, one.at)));
    }

    /// A mark on `dir` tells it. Whether it was expected.
    pub(super) fn is_expected(&mut self, pid: u32, dir: u32, at: u64) -> bool {
        let found = self.expected.iter().position(|one| *one == Expected { pid, dir, at });
        found.map(|which| self.expected.remove(which)).is_some()
    }

    /// A directory went to one with a mark.
    pub(super) fn go(&mut self, gone: Gone) {
        self.gone.push(gone);
    }

    /// A file comes to `at` from where a directory went that was there. Whether that is so; then it is kept.
    pub(super) fn comes_back(&mut self, how: Gone, object: u64, at: Location<'_>) -> bool {
        let is_from_there = self.gone.iter().any(|gone| *gone == how);
        let back = Back::new(how, object, at).filter(|_| is_from_there);
        back.map(|back| self.back.push(back)).is_some()
    }

    /// A file is removed at that entry, by that process: whether that is what came back, a whiteout.
    pub(super) fn is_whiteout(&mut self, pid: u32, at: u64, object: u64) -> bool {
        let is_it =
            |back: &&mut Back| (back.how.pid, back.how.from, back.object) == (pid, at, object);
        let found = self.back.iter_mut().find(is_it);
        found.map(|back| *back = Back::NONE).is_some()
    }

    /// The mark tells that something left the entry `from`: the event with both sides, if that came back.
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

//! Walks: directories are read into the tree.
//!
//! A walk uses the tree itself as its work list, and buffers that are allocated once. There is a walk at the start,
//! and one whenever a directory comes in.

use super::{Watch, is_gone};
use crate::hot::event::Key;
use crate::hot::r#where::disk::Disk;
use crate::hot::r#where::tree::{Full, Inserted, NAME_ROOM, Tree, flag};
use crate::limits::walks::DIRS_PASSED;
use crate::sys::dirents::{Entries, Entry};
use crate::sys::handle::{Handle, is_shared};
use std::ffi::CStr;
use std::io;

/// What a walk has met.
pub(crate) enum Met<'a> {
    /// A directory was opened, and marked if needed: its entries follow.
    Read(u32),
    /// An entry of directory `dir`, with its handle if it is a directory that the walk enters.
    Entry { dir: u32, name: &'a [u8], is_dir: bool, key: Option<&'a [u8]> },
    /// A directory that is new in the tree.
    Added(u32),
    /// A directory that moved within the tree, or was dead.
    Moved(u32),
    /// A directory, by its handle, that the tree has elsewhere: an event may be about to move it here.
    Elsewhere { dir: u32, name: &'a [u8], key: &'a [u8] },
    /// A directory that there is no room for.
    Full,
    /// A directory was opened that was muted: until now some of its events were not queued.
    Unheard,
    /// A directory that could not be read, and not because it is gone.
    Unreadable(io::Error),
}

/// What happens to an entry that a walk met.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Visit {
    /// It is taken as it is.
    Take,
    /// Later events say how it came there: its directory is read again.
    Later,
}

/// The result of reading a directory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ReadOutcome {
    /// It was read, or cannot be read, or must be read again.
    Done,
    /// It is not a directory, and is to be forgotten.
    NoDir,
}

impl<D: Disk> Watch<D> {
    /// Reads the directory `top` and everything below it into the tree. Calls `visit` for everything that it meets.
    pub(crate) fn walk(
        &mut self,
        tree: &mut Tree,
        top: u32,
        visit: &mut impl FnMut(&D, &mut Tree, Met<'_>) -> Visit,
    ) {
        tree.set(top, flag::UNREAD);
        self.walk_some(tree, (top, top), u64::MAX, visit);
    }

    /// Reads what is unread, from `from` on, down to the end of what is below `top`. If that takes longer than
    /// `until_ns`, it stops after a directory and returns the next one.
    ///
    /// A directory that is not where the tree has it was moved meanwhile, by an event that is still in the queue:
    /// it stays unread until that event comes up.
    pub(crate) fn walk_some(
        &mut self,
        tree: &mut Tree,
        (top, from): (u32, u32),
        until_ns: u64,
        visit: &mut impl FnMut(&D, &mut Tree, Met<'_>) -> Visit,
    ) -> Option<u32> {
        let (mut at, mut left, mut passed) = (from, None, 0u32);
        while at != 0 && left.is_none() {
            let was_unread = tree.node(at).flags & flag::UNREAD != 0;
            if was_unread && self.read_one(tree, at, visit) == ReadOutcome::NoDir {
                let next = tree.past(at, top);
                tree.forget(at);
                at = next;
            } else {
                at = tree.following(at, top);
            }
            passed += 1;
            let may_end = at != 0 && (was_unread || passed.is_multiple_of(DIRS_PASSED));
            left = Some(at).filter(|_| may_end && self.disk.now_ns() >= until_ns);
        }
        if left.is_none() {
            self.trail.clear();
        }
        left
    }

    /// Reads an unread directory, without those below it.
    pub(crate) fn read_one(
        &mut self,
        tree: &mut Tree,
        id: u32,
        visit: &mut impl FnMut(&D, &mut Tree, Met<'_>) -> Visit,
    ) -> ReadOutcome {
        tree.clear(id, flag::UNREAD);
        match self.read(tree, id, visit) {
            Ok(()) => {}
            Err(error) if self.is_no_dir(tree, id, &error) => return ReadOutcome::NoDir,
            Err(error) if is_gone(&error) => tree.set(id, flag::UNREAD),
            Err(error) => {
                visit(&self.disk, tree, Met::Unreadable(error));
            }
        }
        ReadOutcome::Done
    }

    fn read(
        &mut self,
        tree: &mut Tree,
        id: u32,
        visit: &mut impl FnMut(&D, &mut Tree, Met<'_>) -> Visit,
    ) -> io::Result<()> {
        let (fd, root) = self.open(tree, id)?;
        if self.roots[root].inode_marks && !self.layers.is_heard(tree, id) {
            self.disk.mark_dir(self.mask, &fd)?;
            self.note_upper(tree, id, root);
        } else if self.mutes && self.unmute(tree, id, &fd) {
            visit(&self.disk, tree, Met::Unheard);
        }
        visit(&self.disk, tree, Met::Read(id));
        // Then only entries that were excluded before are reported.
        let again = tree.node(id).flags & flag::PARTIAL != 0;
        tree.clear(id, flag::PARTIAL);
        let mut entries = std::mem::take(&mut self.entries);
        let result = loop {
            match self.disk.read_dir(&fd, &mut entries) {
                Ok(0) => break Ok(()),
                Ok(len) => {
                    for entry in Entries(&entries[..len]) {
                        self.meet(tree, (id, root, again), &fd, entry, visit);
                    }
                }
                Err(error) => break Err(error),
            }
        };
        self.entries = entries;
        if tree.node(id).child != 0 {
            self.trail.push(tree, id, fd);
        }
        result
    }

    /// Whether a directory could not be opened because it is not one: another object was exchanged for it after its
    /// handle was read.
    fn is_no_dir(&mut self, tree: &Tree, id: u32, error: &io::Error) -> bool {
        let node = tree.node(id);
        error.raw_os_error() == Some(libc::ENOTDIR)
            && node.flags & flag::ROOT == 0
            && self.holds(tree, node.parent, tree.name(id), tree.key_of(id)) == Some(true)
    }

    fn meet(
        &mut self,
        tree: &mut Tree,
        (id, root, again): (u32, usize, bool),
        fd: &D::Dir,
        entry: Entry<'_>,
        visit: &mut impl FnMut(&D, &mut Tree, Met<'_>) -> Visit,
    ) {
        let name = entry.name.to_bytes();
        if name == b"." || name == b".." {
            return;
        }
        let is_dir = match entry.kind {
            libc::DT_UNKNOWN => self.disk.is_dir(fd, entry.name),
            kind => kind == libc::DT_DIR,
        };
        if !is_dir {
            self.note_file(tree, (id, root), fd, entry.name);
        }
        if is_dir && name.len() > NAME_ROOM {
            let too_long = io::Error::from_raw_os_error(libc::ENAMETOOLONG);
            visit(&self.disk, tree, Met::Unreadable(too_long));
            return;
        }
        let left_out = !is_dir || self.skips(tree, id, name);
        let how = self.roots[root].handles;
        let handle = (!left_out).then(|| self.disk.handle_of_entry(fd, entry.name, how));
        if self.is_awaited && matches!(&handle, Some(Err(error)) if is_gone(error)) {
            // It went after its name was read: the event is still to come, or the name was of something that came
            // later.
            return self.read_again(tree, id, again);
        }
        let hidden = handle.as_ref().and_then(|found| self.hides(root, found));
        if let Some(error) = hidden.filter(|_| !again) {
            visit(&self.disk, tree, Met::Unreadable(error));
        }
        let is_dir_of_its_own = |(handle, _): &(Handle, i32)| !is_shared(handle.key());
        let is_here = |&(_, mount_id): &(Handle, i32)| mount_id == self.roots[root].mount_id;
        let Some((handle, _)) =
            handle.and_then(Result::ok).filter(is_here).filter(is_dir_of_its_own)
        else {
            let met = Met::Entry { dir: id, name, is_dir, key: None };
            if !again && visit(&self.disk, tree, met) == Visit::Later {
                self.read_again(tree, id, again);
            }
            return;
        };
        if self.is_awaited && !self.disk.is_dir(fd, entry.name) {
            // Another object was exchanged for it after the name was read.
            return self.read_again(tree, id, again);
        }
        let key = Key { fsid: tree.fsid(id), handle: handle.key() };
        if is_elsewhere(tree, id, name, key) {
            if self.roots[root].inode_marks && !self.layers.is_heard(tree, id) {
                self.arrivals.put(tree.hash(key), id, tree.node(id).hash(), name);
            }
            visit(&self.disk, tree, Met::Elsewhere { dir: id, name, key: key.handle });
            return;
        }
        let is_seen = |known| tree.node(known).flags & flag::UNSEEN == 0;
        let is_known = tree.find_live(key).is_some_and(is_seen);
        if again && is_known {
            return;
        }
        let met = Met::Entry { dir: id, name, is_dir, key: Some(key.handle) };
        if visit(&self.disk, tree, met) == Visit::Later {
            return self.read_again(tree, id, again);
        }
        match tree.insert(id, name, key) {
            // Events brought it, and report everything in it; or it was already read.
            Ok(Inserted::Same(_)) if is_known => {}
            Ok(inserted) => {
                let child = inserted.id();
                tree.clear(child, flag::UNSEEN);
                self.take_up(tree, child);
                visit(&self.disk, tree, Met::Added(child));
                if let Inserted::Moved(_) = inserted {
                    visit(&self.disk, tree, Met::Moved(child));
                }
            }
            Err(Full) => {
                visit(&self.disk, tree, Met::Full);
            }
        }
    }

    /// Why a directory cannot be read although it is there: EXDEV if something is mounted on it. The walk sees no such mounts,
    /// unless the kernel gave it none of its own ([`Disk::open_without_mounts`]).
    fn hides(&self, root: usize, found: &io::Result<(Handle, i32)>) -> Option<io::Error> {
        if !self.recursive {
            return None;
        }
        match found {
            Ok((_, mount_id)) if *mount_id == self.roots[root].mount_id => None,
            Ok(_) => Some(io::Error::from_raw_os_error(libc::EXDEV)),
            Err(error) if is_gone(error) => None,
            Err(error) => Some(
                error
                    .raw_os_error()
                    .map_or_else(|| error.kind().into(), io::Error::from_raw_os_error),
            ),
        }
    }

    /// Keeps the name of a file, if names are kept.
    fn note_file(&mut self, tree: &Tree, (dir, root): (u32, usize), fd: &D::Dir, name: &CStr) {
        let Some(names) = &mut self.file_names else { return };
        let root = &self.roots[root];
        if root.inode_marks {
            // The kernel reports no other names here.
            return;
        }
        // The queue reports that it is gone.
        let Ok((handle, mount_id)) = self.disk.handle_of_entry(fd, name, root.handles) else {
            return;
        };
        if mount_id == root.mount_id && !is_shared(handle.key()) {
            let key = Key { fsid: tree.fsid(dir), handle: handle.key() };
            names.put(tree, tree.hash(key), dir, name.to_bytes());
        }
    }

    /// Decides what to do with a directory that came up: read it, or not enter it.
    fn take_up(&self, tree: &mut Tree, id: u32) {
        if tree.node(id).flags & flag::ROOT != 0 {
            return;
        }
        tree.set(id, if self.recursive { flag::UNREAD } else { flag::LEAF });
    }

    /// Reads a directory again: what was excluded before, or everything.
    fn read_again(&self, tree: &mut Tree, id: u32, again: bool) {
        // After a loss, or once the queue is empty, no event is to come that would say more.
        if self.is_awaited {
            tree.set(id, flag::UNREAD | if again { flag::PARTIAL } else { 0 });
        }
    }

    /// Closes the directories that are kept open for those below.
    pub(crate) fn end_reading(&mut self) {
        self.trail.clear();
    }
}

/// Whether a directory is known elsewhere. Then it moved after the events that were resolved so far. It stays where
/// it is until that event comes up, as earlier events may still come. After a loss ([`flag::UNSEEN`]) the event may
/// never come.
fn is_elsewhere(tree: &Tree, parent: u32, name: &[u8], key: Key<'_>) -> bool {
    let Some(known) = tree.find_live(key) else { return false };
    let node = tree.node(known);
    node.flags & (flag::UNSEEN | flag::ROOT) == 0
        && (node.parent != parent || tree.name(known) != name)
}

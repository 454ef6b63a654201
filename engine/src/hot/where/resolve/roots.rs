//! Roots that are added and removed, and other types, by command: see `hot/reader/root_commands.rs`.

use super::Resolver;
use super::batch::Batch;
use super::tell::dirs_full;
use super::walk::Contradicted;
use crate::hot::event::Key;
use crate::hot::reader::flushes::Flushed;
use crate::hot::reader::root_commands::{NewRoot, Obeyed, RootCommand};
use crate::hot::r#where::above::Reached;
use crate::hot::r#where::disk::Disk;
use crate::hot::r#where::tree::flag;
use crate::hot::r#where::watch::SIDES;
use crate::limits::sys::PATH_MAX;
use arrayvec::ArrayVec;
use fsmon_format::kind;
use fsmon_format::record::Outcome;

impl<D: Disk> Resolver<D> {
    /// The place in the queue of a flush: does what it carries.
    #[cold]
    pub(crate) fn obey(&mut self, flushed: Flushed, batch: &mut Batch<'_, '_>) {
        let Some(command) = self.flushes.command(flushed) else { return };
        // It comes after what fsmon has to say of before, and is no event itself.
        batch.silent = false;
        let mut root = None;
        let (outcome, errno) = match *command {
            RootCommand::Add(added) => {
                root = Some(added.at);
                self.add_root(*added, batch)
            }
            RootCommand::Remove(at) => {
                self.remove_root_at(at, batch);
                (Outcome::Done, 0)
            }
            RootCommand::Types { types, mask } => self.set_types(types, mask),
        };
        // There is room for each flush that is under way, and the answer ends this one.
        let _ = self.obeyed.try_push(Obeyed { flushed, outcome, errno, root });
    }

    /// Watches one more root. Nothing is reported of what is in it. [`Outcome::Active`]: it is being read.
    fn add_root(&mut self, added: NewRoot, batch: &mut Batch<'_, '_>) -> (Outcome, i32) {
        let NewRoot { at, way, path, covers } = added;
        let at = self.put_root(at, way, path);
        let mut is_new = false;
        if let Some(fsid) = covers.filter(|fsid| self.tree.add_filesystem(*fsid)) {
            is_new = !self.above.covers(fsid);
            self.above.cover(fsid);
        }
        let ended = self.take_in(at, batch);
        if is_new && let Some(fd) = &self.watch.roots[at].fd {
            // The mark may have been removed with the last root on the filesystem, after it was set for this one. One
            // that can be set through the top of a btrfs only is refused here, and is there.
            let sides = if self.renames.is_on() { SIDES } else { 0 };
            let mask = self.watch.mask | u64::from(sides | self.types & kind::FS_ERROR);
            let _ = self.watch.disk.mark_filesystem(mask, fd);
        }
        ended
    }

    /// Looks for a root on disk and reads what is there, without a line.
    fn take_in(&mut self, at: usize, batch: &mut Batch<'_, '_>) -> (Outcome, i32) {
        let Ok(reached) = self.above.go_down(at, &self.watch.disk, &self.tree) else {
            return (Outcome::Pending, 0);
        };
        let key = Key { fsid: reached.fsid, handle: reached.handle.key() };
        if self.is_within_another(key) {
            // The other one may have left out what this one wants.
            self.read_again(at, batch);
            return (Outcome::Active, 0);
        }
        self.take_over_below(at, &reached, batch);
        let inode_marks = !self.above.covers(reached.fsid) && self.needs_inode_marks(&reached);
        let key = Key { fsid: reached.fsid, handle: reached.handle.key() };
        self.identify(&reached);
        let Ok(node) = self.tree.insert_root(&self.above.ways[at].named, key) else {
            dirs_full(batch);
            return (Outcome::Failed, libc::ENOSPC);
        };
        self.watch.roots[at].set(node, reached, inode_marks);
        self.unsure.put(node, self.watch.disk.now_ns());
        self.tree.set_met(node, true);
        if self.watch.recursive || inode_marks {
            self.read_silently(node, batch);
        }
        (Outcome::Active, 0)
    }

    /// Roots within a new one become a part of it: it reads their directories anew.
    fn take_over_below(&mut self, at: usize, reached: &Reached<D::Dir>, batch: &mut Batch<'_, '_>) {
        if !self.watch.recursive {
            return;
        }
        for other in 0..self.watch.roots.len() {
            let root = &self.watch.roots[other];
            let node = root.node;
            if other == at || node == 0 || self.tree.fsid(node) != reached.fsid {
                continue;
            }
            let (outer, inner) = (self.above.real_path(at), self.above.real_path(other));
            if is_below(outer, inner) && !self.watch.leaves_out(outer, inner) {
                self.tell_gone_below(node, batch);
                self.drop_root(node);
            }
        }
    }

    /// Ends a root: no line is about it from now on.
    fn remove_root_at(&mut self, at: usize, batch: &mut Batch<'_, '_>) {
        let Some(node) = self.watch.roots.get(at).map(|root| root.node) else { return };
        let mut is_uncovered = false;
        if node != 0 {
            self.tell_gone_below(node, batch);
            is_uncovered = self.unmark_with(at);
            self.drop_root(node);
        }
        let path = self.copy_of_path(at);
        self.above.give_up(at);
        if !path.is_empty() {
            self.read_what_held(&path, batch);
        }
        for other in 0..self.watch.roots.len() {
            if self.above.is_given_up(other) {
                continue;
            }
            let is_free = self.watch.roots[other].node == 0;
            if is_free && is_below(&path, self.above.real_path(other)) {
                self.take_in(other, batch);
            } else if is_uncovered {
                // Its steps may need marks of their own now.
                let _ = self.above.go_down(other, &self.watch.disk, &self.tree);
            }
        }
    }

    /// The path of a root; empty if it is too long.
    fn copy_of_path(&self, at: usize) -> ArrayVec<u8, PATH_MAX> {
        let mut path = ArrayVec::new();
        let _ = path.try_extend_from_slice(self.above.real_path(at));
        path
    }

    /// Reads what is at the path of a root that is part of another one.
    fn read_again(&mut self, at: usize, batch: &mut Batch<'_, '_>) {
        let path = self.copy_of_path(at);
        if !path.is_empty() {
            self.read_what_held(&path, batch);
        }
    }

    /// Another root may have left the directory to the one that goes: its own is read again.
    fn read_what_held(&mut self, path: &[u8], batch: &mut Batch<'_, '_>) {
        let parent = self.nearest_known(path);
        if parent != 0 && self.tree.node(parent).flags & flag::LEAF == 0 {
            self.read_silently(parent, batch);
        }
    }

    /// Removes the mark on the filesystem of a root, unless another root is on it. Whether it did. Marks on single
    /// directories stay: an event of one is of no directory that is known.
    fn unmark_with(&mut self, at: usize) -> bool {
        let (fsid, has_mark) =
            (self.tree.fsid(self.watch.roots[at].node), !self.watch.roots[at].inode_marks);
        if self.is_beside_another(at) {
            return false;
        }
        self.watch.layers.remove(fsid);
        if has_mark {
            // Openings of programs may have been requested for the sake of processes.
            let all = self.watch.mask | u64::from(SIDES | kind::FS_ERROR);
            let mask = all & !u64::from(kind::OPEN_EXEC);
            // What comes nevertheless is of no directory that is known.
            let _ = self.watch.change_mask(&self.tree, at, mask, false);
            self.above.uncover(fsid);
        }
        has_mark
    }

    /// Reports other types from now on.
    fn set_types(&mut self, types: u32, mask: u64) -> (Outcome, i32) {
        let of_dirs = mask & !u64::from(kind::FS_ERROR);
        let before = self.watch.mask | u64::from(self.types & kind::FS_ERROR);
        let (more, less) = (mask & !before, before & !mask & !u64::from(kind::OPEN_EXEC));
        if more & !u64::from(kind::FS_ERROR) != 0 && self.watch.any_inode_marks() {
            return (Outcome::Failed, libc::EOPNOTSUPP);
        }
        for at in 0..self.watch.roots.len() {
            if let Err(error) = self.watch.change_mask(&self.tree, at, more, true) {
                return (Outcome::Failed, error.raw_os_error().unwrap_or(libc::EIO));
            }
        }
        for at in 0..self.watch.roots.len() {
            // What comes nevertheless is not reported.
            let _ = self.watch.change_mask(&self.tree, at, less, false);
        }
        if !self.watch.any_inode_marks() {
            self.watch.mask = of_dirs;
        }
        self.types = types;
        (Outcome::Done, 0)
    }

    /// Reads a directory in steps, and reports nothing of what is in it.
    fn read_silently(&mut self, id: u32, batch: &mut Batch<'_, '_>) {
        self.tree.set(id, flag::UNREAD);
        let is_whole = self.watch.has_inode_marks(&self.tree, id) || !self.walks.has_room();
        let until_ns = if is_whole { u64::MAX } else { self.step_end() };
        let how = (None, Contradicted::Wait);
        let (left, _) = self.walk_some((id, id), until_ns, how, batch);
        let Some(next) = left else { return };
        if !self.watch.opens_by_handle(&self.tree, id) {
            // Nothing could be read ahead.
            self.walk_some((id, next), u64::MAX, how, batch);
            return;
        }
        let before = self.walks.put(&self.tree, (id, next), None);
        before.into_iter().for_each(|who| batch.sources.who.release(who.image));
    }

    /// Whether a directory is part of a walk of which nothing is reported.
    pub(super) fn is_read_silently(&self, dir: u32) -> bool {
        self.walks.of(&self.tree, dir).is_some_and(|walk| walk.report_as.is_none())
    }

    /// The number of directories that are known in the root with that number, itself included. It counts them: about
    /// 10 ns for each.
    #[cold]
    pub(crate) fn dirs_of_root(&self, at: usize) -> u32 {
        let Some(root) = self.watch.roots.get(at) else { return 0 };
        let top = match root.node {
            0 => self.nearest_known(self.above.real_path(at)),
            node => node,
        };
        let (mut id, mut count) = (top, 0);
        while id != 0 {
            count += 1;
            id = self.tree.following(id, top);
        }
        count
    }
}

/// Whether a path is that of a directory below another; both are absolute and without symbolic links.
fn is_below(outer: &[u8], inner: &[u8]) -> bool {
    let rest = inner.strip_prefix(outer);
    rest.is_some_and(|rest| rest.first() == Some(&b'/') || outer == b"/" && !rest.is_empty())
}

#[cfg(test)]
mod tests {
    use super::is_below;

    #[test]
    fn a_path_is_below_another_by_whole_names() {
        assert!(is_below(b"/a", b"/a/b") && is_below(b"/", b"/a"));
        assert!(!is_below(b"/a", b"/ab") && !is_below(b"/a", b"/a") && !is_below(b"/", b"/"));
        assert!(!is_below(b"/a/b", b"/a"));
    }
}

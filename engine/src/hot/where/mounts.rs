//! What the reader does when mounts change: see `cold/mount_watch.rs`.

use crate::hot::r#where::above::Way;
use crate::hot::r#where::disk::Disk;
use crate::hot::r#where::resolve::{Batch, Resolver};
use crate::hot::r#where::watch::Root;
use crate::hot::who::Answer;
use fsmon_format::record::Reason;
use std::ffi::CString;
use std::os::fd::OwnedFd;

/// What happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Happened {
    /// A filesystem that is not watched was mounted, or was mounted when the watch began.
    Mounted,
    /// It was unmounted: the directory below it is watched as before.
    Unmounted,
    /// The filesystem of a root was unmounted: its path leads to another directory, or none.
    Gone,
}

/// A directory below a root, or a root itself, whose mount changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Change {
    /// Absolute, without symbolic links.
    pub(crate) point: Box<[u8]>,
    pub(crate) happened: Happened,
    /// The number of the root whose path leads elsewhere now.
    pub(crate) root: Option<usize>,
}

/// A mount that becomes a root which the user has not named.
pub(crate) struct Followed<F = OwnedFd> {
    /// The number of the root: the next one, or the number of a root that was given up.
    pub(crate) at: usize,
    way: Way,
    root: Root<F>,
}

impl<F> Followed<F> {
    /// What is mounted at `point`, absolute and without symbolic links.
    pub(crate) fn new(at: usize, point: CString) -> Self {
        let way = Way::new(point.as_bytes());
        Followed { at, way, root: Root::nowhere(point) }
    }
}

impl<D: Disk> Resolver<D> {
    /// Watches a mount: reports its contents as found.
    #[cold]
    pub(crate) fn follow_mount(&mut self, followed: Followed<D::Dir>, batch: &mut Batch<'_, '_>) {
        let Followed { at, way, root } = followed;
        let at = self.put_root(at, way, root.path);
        self.look_again(at, Answer::default().into(), batch);
    }

    /// Takes in a root of which nothing is known but its path. Returns its number.
    pub(super) fn put_root(&mut self, at: usize, way: Way, path: CString) -> usize {
        // A root whose command is still in the queue may have a lower number.
        while self.watch.roots.len() < at {
            self.above.ways.push(Way::new(b"/"));
            self.watch.roots.push(Root::nowhere(CString::default()));
            self.above.give_up(self.watch.roots.len() - 1);
        }
        let root = Root::nowhere(path);
        if at < self.watch.roots.len() {
            (self.above.ways[at], self.watch.roots[at]) = (way, root);
        } else {
            self.above.ways.push(way);
            self.watch.roots.push(root);
        }
        at.min(self.watch.roots.len() - 1)
    }

    /// Ends the root of a mount that is gone.
    #[cold]
    pub(crate) fn unfollow_mount(&mut self, at: usize, batch: &mut Batch<'_, '_>) {
        let Some(node) = self.watch.roots.get(at).map(|root| root.node) else { return };
        if node != 0 {
            self.uncover_from(at);
            self.tell_away(node, Answer::default().into(), batch);
            self.drop_root(node);
        }
        self.above.give_up(at);
    }

    /// Reports a mount as a loss, with the path of the directory that it hides. Earlier events are resolved by now,
    /// or happened at the same time.
    ///
    /// A root that is hidden stays watched, so that nothing is missing when the mount goes. If there was no
    /// directory at its path, or the directory was on the filesystem that went, fsmon looks for it.
    #[cold]
    pub(crate) fn mount_changed(&mut self, change: &Change, batch: &mut Batch<'_, '_>) {
        let Some(at) = change.root else { return self.report_mount(change, batch) };
        // A root whose command still waits is looked for when its turn comes.
        if at >= self.watch.roots.len() {
            return;
        }
        let node = self.watch.roots[at].node;
        let hides = change.happened == Happened::Mounted && node != 0;
        // If nothing was hidden, the renames that follow report everything.
        if hides != self.above.ways[at].is_hidden {
            self.above.ways[at].is_hidden = hides;
            self.report_mount(change, batch);
        }
        if change.happened == Happened::Gone && node != 0 {
            self.uncover_from(at);
        }
        if node == 0 || change.happened != Happened::Mounted {
            // No event reports the directories that are on the way now.
            self.above.ways[at].hashes.fill(0);
            self.look_again(at, Answer::default().into(), batch);
        }
    }

    /// The filesystem of a root was unmounted, and its mark may be gone. If another root is on the filesystem, it
    /// is still mounted there and keeps its mark. (That matters for btrfs: a second mark cannot be set through a
    /// subvolume, see `cold/marks.rs`.)
    fn uncover_from(&mut self, at: usize) {
        if !self.is_beside_another(at) {
            let fsid = self.tree.fsid(self.watch.roots[at].node);
            self.above.uncover(fsid);
            self.watch.layers.remove(fsid);
        }
    }

    /// Whether another root is on the filesystem of a root, which has a directory.
    pub(super) fn is_beside_another(&self, at: usize) -> bool {
        let fsid = self.tree.fsid(self.watch.roots[at].node);
        let is_beside = |(other, root): (usize, &Root<D::Dir>)| {
            other != at && root.node != 0 && self.tree.fsid(root.node) == fsid
        };
        self.watch.roots.iter().enumerate().any(is_beside)
    }

    fn report_mount(&mut self, change: &Change, batch: &mut Batch<'_, '_>) {
        let counters = &mut batch.output.counters;
        let (reason, total) = match change.happened {
            Happened::Unmounted | Happened::Gone => (Reason::Unmount, &mut counters.mounts_gone),
            Happened::Mounted => (Reason::Mount, &mut counters.mounts_unwatched),
        };
        *total += 1;
        let (total, span) = (*total, batch.window.span());
        let dir = self.nearest_known(&change.point);
        batch.output.loss_at(&mut self.tree, batch.sources, (reason, dir), span, (None, total));
    }

    /// The directory at a path, or the nearest known one above it; 0 if it is below no root.
    pub(super) fn nearest_known(&self, path: &[u8]) -> u32 {
        let below = |at: usize| {
            let (root, node) = (self.above.real_path(at), self.watch.roots[at].node);
            let rest = path.strip_prefix(root).filter(|_| node != 0)?;
            let is_whole = rest.is_empty() || rest[0] == b'/' || root.ends_with(b"/");
            is_whole.then_some((root.len(), node, rest))
        };
        let innermost = (0..self.watch.roots.len()).filter_map(below).max_by_key(|found| found.0);
        let Some((_, mut dir, rest)) = innermost else { return 0 };
        for name in rest.split(|&byte| byte == b'/').filter(|name| !name.is_empty()) {
            match self.tree.child_named(dir, name, None) {
                Some(child) => dir = child,
                None => break,
            }
        }
        dir
    }
}

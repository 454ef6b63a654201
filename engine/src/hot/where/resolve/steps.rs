//! Roots that come and go, and the directories above them: see `hot/where/above.rs`.

use super::batch::{Actor, Batch, Known, Told, who};
use super::tell::dirs_full;
use super::walk::unreadable;
use super::{FROM_RENAME, Resolver};
use crate::hot::event::{Event, Key};
use crate::hot::r#where::above::{Reached, TYPES};
use crate::hot::r#where::disk::Disk;
use crate::hot::r#where::tables::deferred::Gone;
use crate::hot::r#where::tree::flag;
use crate::hot::r#where::watch::Watch;
use crate::hot::r#where::watch::descent::Missed;
use crate::hot::who::Answer;
use fsmon_format::kind;
use fsmon_format::record::event_flag;

/// How a root came to be where it is.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Came {
    /// By an event that was told already, from the directory that it is in.
    Known,
    /// This event made it.
    Made,
    /// This event made a directory above it.
    MadeAbove,
    /// It, or a directory above it, was renamed.
    Renamed,
    /// The same, by an event that was merged into another.
    Back,
}

impl<D: Disk> Resolver<D> {
    /// Whether an event may be of a step, or of a root.
    #[inline]
    pub(super) fn concerns_steps(&self, event: &Event<'_>) -> bool {
        if !event.is_dir() || event.types() & TYPES == 0 {
            return false;
        }
        let places = [event.location, event.old].into_iter().flatten().map(|place| place.dir);
        let mut keys = places.chain(event.object);
        keys.any(|key| self.above.may_be_step(self.tree.hash(key)))
    }

    /// Before an event of a directory is resolved: a step that it takes away.
    #[cold]
    pub(super) fn leave_steps(&mut self, event: &Event<'_>, batch: &mut Batch<'_, '_>) {
        let Some(object) = event.object else { return };
        let hash = self.tree.hash(object);
        if let Some(old) = event.old {
            let dir = self.tree.hash(old.dir);
            for at in 0..self.above.ways.len() {
                let way = &self.above.ways[at];
                // In an exchange the other half may have come before.
                let is_root = |step: usize| {
                    let node = self.watch.roots[at].node;
                    step == way.last() && node != 0 && self.tree.node(node).hash() == hash
                };
                if let Some(step) = way.step_at(dir, old.name)
                    && (way.hashes[step] == hash || is_root(step))
                {
                    self.depart(at, (step, hash), event, batch);
                }
            }
        }
        if event.types() & (kind::CREATE | kind::DELETE) == kind::DELETE && !batch.merged {
            self.root_removed(event, object, batch);
        }
    }

    /// After it: a step that it brings.
    #[cold]
    pub(super) fn reach_steps(&mut self, event: &Event<'_>, batch: &mut Batch<'_, '_>) {
        let Some((object, place)) = event.object.zip(event.location) else { return };
        let (hash, dir) = (self.tree.hash(object), self.tree.hash(place.dir));
        if event.types() & (kind::CREATE | kind::RENAME) != 0 {
            for at in 0..self.above.ways.len() {
                let way = &self.above.ways[at];
                // What a cut way ends with is no root: it is followed by `..`, anew on disk (`relook.rs`).
                let is_cut_at = |step: usize| way.is_cut && step == way.last();
                let is_known = |step: usize| {
                    let is_made = event.types() & kind::RENAME == 0;
                    way.hashes[step] == hash && (is_made || self.watch.roots[at].node != 0)
                };
                if let Some(step) = way.step_at(dir, place.name)
                    && !is_known(step)
                    && !is_cut_at(step)
                {
                    self.arrive(at, step, event, object, batch);
                }
            }
        }
        let is_merged = batch.merged || event.types() & kind::CREATE != 0;
        if event.types() & kind::DELETE != 0 && is_merged {
            self.root_removed(event, object, batch);
        }
    }

    /// A step was renamed: the root is no longer at its path.
    fn depart(
        &mut self,
        at: usize,
        (step, hash): (usize, u64),
        event: &Event<'_>,
        batch: &mut Batch<'_, '_>,
    ) {
        // Where the directory that it was in is watched, its rename is told from there.
        let told = step == self.above.ways[at].last() && self.known(event.old).is_some();
        if self.above.ways[at].hashes[step] == hash {
            self.above.set(at, step, 0);
        }
        let node = self.watch.roots[at].node;
        if node != 0 {
            if !told {
                self.tell_departure(node, event, batch);
            }
            self.drop_root(node);
        }
        self.above.request_look(at);
    }

    /// Nothing is left to read: looks once more for roots that were renamed away.
    #[cold]
    pub(crate) fn look_for_roots(&mut self, batch: &mut Batch<'_, '_>) {
        for at in 0..self.watch.roots.len() {
            if !self.above.is_due(at) {
                continue;
            }
            if self.watch.roots[at].node == 0 {
                // The process that moved it away need not be the one that brought it back.
                self.look(at, Came::Back, Answer::default().into(), batch);
            }
        }
    }

    fn tell_departure(&mut self, node: u32, event: &Event<'_>, batch: &mut Batch<'_, '_>) {
        let wanted = self.types & FROM_RENAME & !kind::MOVED_TO;
        if wanted != 0 {
            let hash = self.tree.node(node).hash();
            let who = who(event.pid, batch);
            let old = Some(Known::new(&self.tree, node, &[]));
            self.emit(Told { at: None, old, wanted, flags: 0, object: hash, who }, event, batch);
        }
    }

    /// The directory is watched no longer, with all below it.
    pub(crate) fn drop_root(&mut self, node: u32) {
        self.tree.forget_root(node);
        self.watch.no_root(node);
    }

    /// A root was removed, by whatever path.
    fn root_removed(&mut self, event: &Event<'_>, object: Key<'_>, batch: &mut Batch<'_, '_>) {
        let Some(node) = self.tree.find_live(object) else { return };
        if self.tree.node(node).flags & flag::ROOT == 0 {
            return;
        }
        let who = who(event.pid, batch);
        // Where the directory that it was in is watched, this is told from there.
        let tell = !batch.silent && self.known(event.location).is_none();
        if event.types() & kind::CREATE != 0 || batch.merged {
            // What happened in it comes after this event.
            let who = self.who_did(kind::DELETE, event, who, batch);
            batch.sources.who.hold(who.image);
            let hash = self.tree.node(node).hash();
            if let Some(again) = self.deferred.take(node) {
                batch.sources.who.release(again.who.image);
            }
            if let Some(first) = self.deferred.make_room() {
                self.tell_one(first, batch);
            }
            let gone = Gone { dir: node, hash, is_reported: tell, who, stamp: 0, is_unsure: false };
            return self.deferred.put(gone, batch.window.until_ns);
        }
        self.tell_gone_below(node, batch);
        self.remove_root(node, tell.then_some(who), batch);
    }

    /// A root is gone, and that is told where it is known by whom.
    pub(super) fn remove_root(&mut self, node: u32, by: Option<Actor>, batch: &mut Batch<'_, '_>) {
        let wanted = self.types & kind::DELETE;
        if let Some(who) = by.filter(|_| wanted != 0) {
            let at = Some(Known::new(&self.tree, node, &[]));
            let object = self.tree.node(node).hash();
            self.tell(Told { at, old: None, wanted, flags: 0, object, who }, true, batch);
        }
        for (way, root) in self.above.ways.iter_mut().zip(&self.watch.roots) {
            if root.node == node {
                way.set(way.last(), 0);
            }
        }
        self.above.sift();
        self.tree.remove(node);
        self.watch.no_root(node);
    }

    /// A directory came to be at a step.
    fn arrive(
        &mut self,
        at: usize,
        step: usize,
        event: &Event<'_>,
        object: Key<'_>,
        batch: &mut Batch<'_, '_>,
    ) {
        let hash = self.tree.hash(object);
        let is_root = step == self.above.ways[at].last();
        let renamed = event.types() & kind::RENAME != 0;
        self.replace((at, step), renamed, event, batch);
        self.above.set(at, step, hash);
        if self.watch.recursive && is_root && self.known(event.location).is_some() {
            // All of it is watched from above.
            return;
        }
        if renamed || !self.above.covers(object.fsid) {
            let came = match (renamed, is_root) {
                (_, true) if self.known(event.location).is_some() => Came::Known,
                (true, _) => Came::Renamed,
                (false, true) => Came::Made,
                (false, false) => Came::MadeAbove,
            };
            let who = who(event.pid, batch);
            self.look(at, came, who, batch);
            if renamed && self.watch.roots[at].node == 0 {
                self.above.request_look(at);
            }
        } else if is_root {
            self.root_made(at, event, object, batch);
        }
        if self.orphans.any() {
            self.second_look(hash, !renamed, batch);
        }
    }

    /// Something else comes to be where a root is, or above it. A rename replaces an empty directory,
    /// and the kernel tells no DELETE of it. One that is still there was exchanged for it.
    fn replace(
        &mut self,
        (at, step): (usize, usize),
        renamed: bool,
        event: &Event<'_>,
        batch: &mut Batch<'_, '_>,
    ) {
        let node = self.watch.roots[at].node;
        if let Some(gone) = self.deferred.take(node).filter(|_| node != 0) {
            return self.tell_one(gone, batch);
        }
        let root = &self.watch.roots[at];
        if node == 0 {
            return;
        }
        // What is above a root, or has something in it, is not empty.
        let is_full = step != self.above.ways[at].last() || self.tree.node(node).child != 0;
        let is_there = is_full || root.fd.as_ref().is_some_and(|fd| self.watch.disk.has_name(fd));
        if renamed && is_there {
            self.tell_departure(node, event, batch);
        }
        self.drop_root(node);
    }

    /// A root was made on a filesystem with a mark: everything in it comes by events of its own.
    fn root_made(
        &mut self,
        at: usize,
        event: &Event<'_>,
        object: Key<'_>,
        batch: &mut Batch<'_, '_>,
    ) {
        let path = &self.above.ways[at].named;
        let Ok(node) = self.tree.insert_root(path, object) else {
            return dirs_full(batch);
        };
        let root = &mut self.watch.roots[at];
        (root.node, root.fd, root.inode_marks) = (node, None, false);
        let came = if self.known(event.location).is_some() { Came::Known } else { Came::Made };
        let who = who(event.pid, batch);
        self.tell_arrival(node, came, who, batch);
    }

    /// Looks for a root on disk, and takes in what is there.
    fn look(&mut self, at: usize, came: Came, who: Actor, batch: &mut Batch<'_, '_>) {
        let reached = match self.above.go_down(at, &self.watch.disk, &self.tree) {
            Ok(reached) => reached,
            Err(Missed::Refused) => return unreadable(batch),
            Err(_) => return,
        };
        let inode_marks = self.needs_inode_marks(&reached);
        self.adopt(at, (reached, inode_marks), came, who, batch);
    }

    /// Watches the directory that was found at a root's path, and tells what is in it.
    pub(super) fn adopt(
        &mut self,
        at: usize,
        (reached, inode_marks): (Reached<D::Dir>, bool),
        came: Came,
        who: Actor,
        batch: &mut Batch<'_, '_>,
    ) {
        let key = Key { fsid: reached.fsid, handle: reached.handle.key() };
        if self.is_within_another(key) {
            return;
        }
        self.identify(&reached);
        let Ok(node) = self.tree.insert_root(&self.above.ways[at].named, key) else {
            return dirs_full(batch);
        };
        self.watch.roots[at].set(node, reached, inode_marks);
        self.tell_arrival(node, came, who, batch);
        // What happened in it before it came there is told under the path that it has by now.
        self.unsure.put(node, self.watch.disk.now_ns());
        self.tree.set_met(node, true);
        if self.watch.recursive || inode_marks {
            let late = matches!(came, Came::Made | Came::MadeAbove);
            self.walk(node, Some(if late { who.late() } else { who }), batch);
        }
    }

    /// Finds out what the filesystem of a root that was just reached is known by.
    pub(super) fn identify(&mut self, reached: &Reached<D::Dir>) {
        let identity = self.watch.disk.identity(&reached.fd, reached.fsid);
        self.tree.identify(reached.fsid, identity);
    }

    /// Whether a directory is another root, or all of it is watched as part of one.
    pub(super) fn is_within_another(&self, key: Key<'_>) -> bool {
        let known = self.tree.find_live(key).map(|id| self.tree.node(id).flags);
        known.is_some_and(|flags| {
            flags & flag::ROOT != 0 || self.watch.recursive && flags & flag::LEAF == 0
        })
    }

    fn tell_arrival(&mut self, node: u32, came: Came, who: Actor, batch: &mut Batch<'_, '_>) {
        let (wanted, flags) = match came {
            Came::Known => return,
            Came::Made => (kind::CREATE, 0),
            Came::MadeAbove => (kind::CREATE, event_flag::FOUND),
            Came::Renamed | Came::Back => (FROM_RENAME & !kind::MOVED_FROM, 0),
        };
        let wanted = self.types & wanted;
        if wanted != 0 && !batch.silent {
            let at = Some(Known::new(&self.tree, node, &[]));
            let who = if came == Came::MadeAbove { who.late() } else { who };
            let object = self.tree.node(node).hash();
            self.tell(Told { at, old: None, wanted, flags, object, who }, true, batch);
        }
    }

    /// After a loss: where every root is now, by the disk. A root that is another is read by
    /// the walk that makes the tree true again.
    #[cold]
    pub(super) fn find_roots(&mut self, batch: &mut Batch<'_, '_>) {
        for at in 0..self.watch.roots.len() {
            self.above.ways[at].hashes.fill(0);
            let reached = self.above.go_down(at, &self.watch.disk, &self.tree);
            if reached.as_ref().is_err_and(|missed| *missed == Missed::Refused) {
                unreadable(batch);
                continue;
            }
            let reached = reached.ok();
            let node = self.watch.roots[at].node;
            let found = reached.as_ref().map(|found| (found.fsid, found.handle));
            let key =
                found.as_ref().map(|(fsid, handle)| Key { fsid: *fsid, handle: handle.key() });
            if node != 0 && key.and_then(|key| self.tree.find_live(key)) == Some(node) {
                continue;
            }
            if node != 0 {
                self.drop_root(node);
            }
            let Some((reached, key)) = reached.zip(key) else { continue };
            if self.is_within_another(key) {
                continue;
            }
            let inode_marks = self.needs_inode_marks(&reached);
            let key = Key { fsid: reached.fsid, handle: reached.handle.key() };
            match self.tree.insert_root(&self.above.ways[at].named, key) {
                Ok(node) => {
                    self.watch.roots[at].set(node, reached, inode_marks);
                }
                Err(_) => dirs_full(batch),
            }
        }
    }
}

impl<D: Disk> Watch<D> {
    /// The directory is gone from the roots that it was.
    fn no_root(&mut self, node: u32) {
        for root in self.roots.iter_mut().filter(|root| root.node == node) {
            (root.node, root.fd) = (0, None);
        }
    }
}

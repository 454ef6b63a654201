//! Watched roots are paths: whatever directory is at that path is watched.
//!
//! The steps that lead to each root (`/`, `/srv`, `/srv/www` for `/srv/www`) are known by handle, so
//! that the queue itself tells when a root, or a directory above it, is made, removed or renamed. An
//! event of another directory costs one look at a sieve of hashes.
//!
//! Events of a step come with the mark on its filesystem where a root put one there, else with a mark
//! on the step's directory; where the kernel refuses that too, the step is not followed.
//!
//! A step that a mkdir made on a filesystem with a mark is taken as the event tells it, and the disk
//! is not asked: everything that happens below comes as events of its own. What a rename brought, and
//! what was made where only single directories are marked, is looked up step by step, and what is in
//! it is told as found.
//!
//! The kernel merges a rename into an identical one that is still pending (see `shuffled.rs`), so the
//! last of several to and fro may be missing: a root that was renamed away is looked for once more
//! when nothing is left to read.
//!
//! What cannot be known: a filesystem that is mounted on one of the steps gives no event.

use super::event::{Event, Key};
use super::resolve::{Actor, Batch, FROM_RENAME, Known, Resolver, head, who};
use super::tree::{Tree, flag};
use super::watch::Watch;
use super::who::{Answer, Who};
use crate::sys::fanotify::Group;
use crate::sys::handle::{
    Handle, Handles, btrfs_whole, filesystem, has_name, open_path, open_step,
};
use fsmon_format::kind;
use fsmon_format::record::{Attribution, NAME_MAX, event_flag};
use std::ffi::CStr;
use std::os::fd::{AsFd, OwnedFd};

/// What can happen to a step.
pub(crate) const TYPES: u32 = kind::CREATE | kind::DELETE | kind::RENAME;
/// What the mark on a step's directory asks for.
pub(crate) const STEP_MASK: u64 = (TYPES | kind::ONDIR) as u64;
/// A rename shows on disk an instant before its event is queued.
const LOOKS: u8 = 2;
/// Bits of the sieve.
const SIEVE_BITS: usize = 1024;

/// The way to one root.
struct Way {
    path: Box<[u8]>,
    /// Where the name of each step ends in the path; that of `/` is 1.
    ends: Box<[usize]>,
    /// The hash of the handle at each step, the root's included; 0 where none is known.
    hashes: Box<[u64]>,
    /// Who renamed a step last, held while `looks` is not 0; 0 where that is not known.
    mover: u32,
    /// How often nothing must be left to read before the root is looked for once more.
    looks: u8,
}

impl Way {
    fn new(path: &[u8]) -> Self {
        let mut ends = vec![1];
        if path.len() > 1 {
            ends.extend(memchr::memchr_iter(b'/', &path[1..]).map(|at| at + 1));
            ends.push(path.len());
        }
        let hashes = vec![0; ends.len()].into();
        Way { path: path.into(), ends: ends.into(), hashes, mover: 0, looks: 0 }
    }

    /// The root's own step.
    fn last(&self) -> usize {
        self.ends.len() - 1
    }

    /// The name of a step that is not the first.
    fn name(&self, step: usize) -> &[u8] {
        let from = self.ends[step - 1];
        &self.path[if step == 1 { 1 } else { from + 1 }..self.ends[step]]
    }

    /// The step that is `name` in the directory of that hash.
    fn step_at(&self, dir: u64, name: &[u8]) -> Option<usize> {
        (1..=self.last()).find(|&step| self.hashes[step - 1] == dir && self.name(step) == name)
    }

    /// What a step is now, and nothing is known of what follows.
    fn set(&mut self, step: usize, hash: u64) {
        self.hashes[step..].fill(0);
        self.hashes[step] = hash;
    }
}

/// A root that was found on disk.
pub(crate) struct Reached {
    pub(crate) fd: OwnedFd,
    pub(crate) handle: Handle,
    pub(crate) handles: Handles,
    pub(crate) mount_id: i32,
    pub(crate) fsid: u64,
}

/// The ways to all roots, in the order of [`Watch::roots`].
pub(crate) struct Above {
    ways: Vec<Way>,
    /// Filesystems with a mark.
    covered: Vec<u64>,
    /// Ways that are to be looked at again.
    doubts: usize,
    sieve: [u64; SIEVE_BITS / 64],
}

impl Above {
    /// No ways as yet, on filesystems of which these have a mark.
    pub(crate) fn new(covered: Vec<u64>) -> Self {
        Above { ways: Vec::new(), covered, doubts: 0, sieve: [0; SIEVE_BITS / 64] }
    }

    /// Adds the way to a root: its absolute path.
    pub(crate) fn add(&mut self, path: &[u8]) {
        self.ways.push(Way::new(path));
    }

    /// Whether events of every directory of a filesystem come.
    pub(crate) fn covers(&self, fsid: u64) -> bool {
        self.covered.contains(&fsid)
    }

    /// Whether a directory may be one of the steps.
    #[inline]
    fn may_be_step(&self, hash: u64) -> bool {
        let bit = (hash >> 54) as usize;
        self.sieve[bit / 64] >> (bit % 64) & 1 != 0
    }

    /// Whether it is one.
    pub(crate) fn is_step(&self, hash: u64) -> bool {
        self.may_be_step(hash) && self.ways.iter().any(|way| way.hashes.contains(&hash))
    }

    /// Whether a root may be where the queue does not tell.
    #[inline]
    pub(crate) fn in_doubt(&self) -> bool {
        self.doubts != 0
    }

    /// A root was renamed away, or not found where it was renamed to, by `image`.
    fn doubt(&mut self, at: usize, image: u32, who: &mut Who) {
        let way = &mut self.ways[at];
        if image != 0 {
            who.hold(image);
        }
        if way.looks == 0 {
            self.doubts += 1;
        } else if way.mover != 0 {
            who.release(way.mover);
        }
        (way.mover, way.looks) = (image, LOOKS);
    }

    /// Nothing is left to read. Whether a root is to be looked for now.
    fn is_due(&mut self, at: usize) -> bool {
        let way = &mut self.ways[at];
        let was = way.looks;
        way.looks = was.saturating_sub(1);
        self.doubts -= usize::from(was == 1);
        was == 1
    }

    #[cold]
    fn sift(&mut self) {
        self.sieve.fill(0);
        for &hash in self.ways.iter().flat_map(|way| &way.hashes).filter(|&&hash| hash != 0) {
            let bit = (hash >> 54) as usize;
            self.sieve[bit / 64] |= 1 << (bit % 64);
        }
    }

    fn set(&mut self, way: usize, step: usize, hash: u64) {
        self.ways[way].set(step, hash);
        self.sift();
    }

    /// Goes down the way to a root on disk, as far as it leads, marking and noting each step. A step
    /// that is another than the queue has told so far ends it: what happened to it is still to come.
    pub(crate) fn go_down(&mut self, at: usize, group: &Group, tree: &Tree) -> Option<Reached> {
        let covered = &self.covered;
        let way = &mut self.ways[at];
        let mut fd = open_path(c"/").ok()?;
        let mut reached = None;
        for step in 0..=way.last() {
            if step > 0 {
                fd = match open_named(&fd, way.name(step)) {
                    Some(fd) => fd,
                    None => break,
                };
            }
            let Ok((fsid, _)) = filesystem(fd.as_fd()) else { break };
            let Some((handles, handle, mount_id)) = handle_of(&fd) else { continue };
            // Events of a btrfs subvolume carry the id of the filesystem that was marked.
            let whole = btrfs_whole(fsid, handle.key()).filter(|whole| covered.contains(whole));
            let fsid = whole.unwrap_or(fsid);
            let hash = tree.hash(Key { fsid, handle: handle.key() });
            if way.hashes[step] != 0 && way.hashes[step] != hash {
                break;
            }
            if step == way.last() {
                way.hashes[step] = hash;
                reached = Some(Reached { fd, handle, handles, mount_id, fsid });
                break;
            }
            if covered.contains(&fsid) || group.mark_step(STEP_MASK, fd.as_fd()).is_ok() {
                way.hashes[step] = hash;
            }
        }
        self.sift();
        reached
    }
}

fn open_named(dir: &OwnedFd, name: &[u8]) -> Option<OwnedFd> {
    let mut room = [0; NAME_MAX + 1];
    room.get_mut(..name.len())?.copy_from_slice(name);
    open_step(dir.as_fd(), CStr::from_bytes_until_nul(&room).ok()?).ok()
}

fn handle_of(fd: &OwnedFd) -> Option<(Handles, Handle, i32)> {
    let handles = Handles::probe(fd.as_fd()).ok()?;
    let (handle, mount_id) = handles.of_fd(fd.as_fd()).ok()?;
    Some((handles, handle, mount_id))
}

/// How a root came to be where it is.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Came {
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

impl Resolver {
    /// Whether an event may be of a step, or of a root.
    #[inline]
    pub(crate) fn concerns_steps(&self, event: &Event<'_>) -> bool {
        if !event.is_dir() || event.types() & TYPES == 0 {
            return false;
        }
        let places = [event.place, event.old].into_iter().flatten().map(|place| place.dir);
        let mut keys = places.chain(event.object);
        keys.any(|key| self.above.may_be_step(self.tree.hash(key)))
    }

    /// Before an event of a directory is resolved: a step that it takes away.
    #[cold]
    pub(crate) fn leave_steps(&mut self, event: &Event<'_>, batch: &mut Batch<'_, '_>) {
        let Some(object) = event.object else { return };
        let hash = self.tree.hash(object);
        if let Some(old) = event.old {
            let dir = self.tree.hash(old.dir);
            for at in 0..self.above.ways.len() {
                let way = &self.above.ways[at];
                if let Some(step) = way.step_at(dir, old.name)
                    && way.hashes[step] == hash
                {
                    self.depart(at, step, event, batch);
                }
            }
        }
        if event.types() & (kind::CREATE | kind::DELETE) == kind::DELETE {
            self.root_removed(event, object, batch);
        }
    }

    /// After it: a step that it brings.
    #[cold]
    pub(crate) fn reach_steps(&mut self, event: &Event<'_>, batch: &mut Batch<'_, '_>) {
        let Some((object, place)) = event.object.zip(event.place) else { return };
        let (hash, dir) = (self.tree.hash(object), self.tree.hash(place.dir));
        if event.types() & (kind::CREATE | kind::RENAME) != 0 {
            for at in 0..self.above.ways.len() {
                let way = &self.above.ways[at];
                let is_known = |step: usize| {
                    let is_made = event.types() & kind::RENAME == 0;
                    way.hashes[step] == hash && (is_made || self.watch.roots[at].node != 0)
                };
                if let Some(step) = way.step_at(dir, place.name)
                    && !is_known(step)
                {
                    self.arrive(at, step, event, object, batch);
                }
            }
        }
        if event.types() & (kind::CREATE | kind::DELETE) == kind::CREATE | kind::DELETE {
            self.root_removed(event, object, batch);
        }
    }

    /// A step was renamed: the root is no longer at its path.
    fn depart(&mut self, at: usize, step: usize, event: &Event<'_>, batch: &mut Batch<'_, '_>) {
        // Where the directory that it was in is watched, its rename is told from there.
        let told = step == self.above.ways[at].last() && self.known(event.old).is_some();
        self.above.set(at, step, 0);
        let node = self.watch.roots[at].node;
        if node != 0 {
            if !told {
                self.tell_departure(node, event, batch);
            }
            self.drop_root(node);
        }
        let image = who(event.pid, batch).image;
        self.above.doubt(at, image, &mut batch.sources.who);
    }

    /// Nothing is left to read: looks once more for roots that were renamed away.
    #[cold]
    pub(crate) fn look_for_roots(&mut self, batch: &mut Batch<'_, '_>) {
        for at in 0..self.watch.roots.len() {
            if !self.above.is_due(at) {
                continue;
            }
            let image = std::mem::take(&mut self.above.ways[at].mover);
            if self.watch.roots[at].node == 0 {
                let attribution = if image == 0 { Attribution::Unknown } else { Attribution::Late };
                let who = Answer::new(image, attribution).into();
                self.look(at, Came::Back, who, batch);
            }
            if image != 0 {
                batch.sources.who.release(image);
            }
        }
    }

    fn tell_departure(&mut self, node: u32, event: &Event<'_>, batch: &mut Batch<'_, '_>) {
        let wanted = self.types & FROM_RENAME & !kind::MOVED_TO;
        if wanted != 0 {
            let hash = self.tree.node(node).hash();
            let who = who(event.pid, batch);
            let old = Some(Known { dir: node, name: &[] });
            self.emit(None, old, event, wanted, hash, who, batch);
        }
    }

    /// The directory is watched no longer, with all below it.
    fn drop_root(&mut self, node: u32) {
        self.tree.forget_root(node);
        self.watch.no_root(node);
    }

    /// A root was removed, by whatever path.
    fn root_removed(&mut self, event: &Event<'_>, object: Key<'_>, batch: &mut Batch<'_, '_>) {
        let Some(node) = self.tree.find_live(object) else { return };
        if self.tree.node(node).flags & flag::ROOT == 0 {
            return;
        }
        // Where the directory that it was in is watched, this is told from there.
        let wanted = self.types & kind::DELETE;
        if wanted != 0 && self.known(event.place).is_none() {
            let who = who(event.pid, batch);
            let root = Some(Known { dir: node, name: &[] });
            self.emit(root, None, event, wanted, 0, who, batch);
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
        self.replace(at, renamed, event, batch);
        self.above.set(at, step, hash);
        if self.watch.recursive && is_root && self.known(event.place).is_some() {
            // All of it is watched from above.
            return;
        }
        if renamed || !self.above.covers(object.fsid) {
            let came = match (renamed, is_root) {
                (_, true) if self.known(event.place).is_some() => Came::Known,
                (true, _) => Came::Renamed,
                (false, true) => Came::Made,
                (false, false) => Came::MadeAbove,
            };
            let who = who(event.pid, batch);
            self.look(at, came, who, batch);
            if renamed && self.watch.roots[at].node == 0 {
                self.above.doubt(at, who.image, &mut batch.sources.who);
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
    fn replace(&mut self, at: usize, renamed: bool, event: &Event<'_>, batch: &mut Batch<'_, '_>) {
        let root = &self.watch.roots[at];
        let node = root.node;
        if node == 0 {
            return;
        }
        if renamed && root.fd.as_ref().is_some_and(|fd| has_name(fd.as_fd())) {
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
        let path = &self.above.ways[at].path;
        let Ok(node) = self.tree.insert_root(path, object) else {
            return super::resolve::dirs_full(batch);
        };
        let root = &mut self.watch.roots[at];
        (root.node, root.fd, root.inode_marks) = (node, None, false);
        let came = if self.known(event.place).is_some() { Came::Known } else { Came::Made };
        let who = who(event.pid, batch);
        self.tell_arrival(node, came, who, batch);
    }

    /// Looks for a root on disk, and takes in what is there.
    fn look(&mut self, at: usize, came: Came, who: Actor, batch: &mut Batch<'_, '_>) {
        let Some(reached) = self.above.go_down(at, &self.watch.group, &self.tree) else { return };
        let key = Key { fsid: reached.fsid, handle: reached.handle.key() };
        if self.is_within_another(key) {
            return;
        }
        let Ok(node) = self.tree.insert_root(&self.above.ways[at].path, key) else {
            return super::resolve::dirs_full(batch);
        };
        let inode_marks = !self.above.covers(reached.fsid);
        self.watch.roots[at].set(node, reached, inode_marks);
        self.tell_arrival(node, came, who, batch);
        if self.watch.recursive || inode_marks {
            let late = matches!(came, Came::Made | Came::MadeAbove);
            self.walk(node, Some(if late { who.late() } else { who }), batch);
        }
    }

    /// Whether all of a directory is watched as part of another root.
    fn is_within_another(&self, key: Key<'_>) -> bool {
        let known = self.tree.find_live(key).map(|id| self.tree.node(id).flags);
        known.is_some_and(|flags| self.watch.recursive && flags & (flag::ROOT | flag::LEAF) == 0)
    }

    fn tell_arrival(&mut self, node: u32, came: Came, who: Actor, batch: &mut Batch<'_, '_>) {
        let (wanted, flags) = match came {
            Came::Known => return,
            Came::Made => (kind::CREATE, 0),
            Came::MadeAbove => (kind::CREATE, event_flag::FOUND),
            Came::Renamed | Came::Back => (FROM_RENAME & !kind::MOVED_FROM, 0),
        };
        let wanted = self.types & wanted;
        if wanted == 0 || batch.own {
            return;
        }
        let mut head = head(if came == Came::MadeAbove { who.late() } else { who }, batch);
        head.flags |= flags;
        head.mask = (wanted | kind::ONDIR).into();
        head.object = self.tree.node(node).hash().into();
        head.dir = node.into();
        batch.output.event(&mut self.tree, batch.sources, head, &[], &[]);
    }

    /// After a loss: where every root is now, by the disk. A root that is another is walked by whoever
    /// makes the tree true again.
    #[cold]
    pub(crate) fn find_roots(&mut self, batch: &mut Batch<'_, '_>) {
        for at in 0..self.watch.roots.len() {
            self.above.ways[at].hashes.fill(0);
            let reached = self.above.go_down(at, &self.watch.group, &self.tree);
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
            match self.tree.insert_root(&self.above.ways[at].path, key) {
                Ok(node) => {
                    let inode_marks = !self.above.covers(reached.fsid);
                    self.watch.roots[at].set(node, reached, inode_marks);
                }
                Err(_) => super::resolve::dirs_full(batch),
            }
        }
    }
}

impl Watch {
    /// The directory is gone from the roots that it was.
    fn no_root(&mut self, node: u32) {
        for root in self.roots.iter_mut().filter(|root| root.node == node) {
            (root.node, root.fd) = (0, None);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_way_has_a_step_for_each_directory() {
        let way = Way::new(b"/srv/www/a");
        assert_eq!((way.last(), way.name(1), way.name(3)), (3, &b"srv"[..], &b"a"[..]));
        assert_eq!(Way::new(b"/").last(), 0);
    }

    #[test]
    fn what_changes_at_a_step_makes_the_rest_unknown() {
        let mut above = Above::new(vec![]);
        above.add(b"/srv/www");
        above.ways[0].hashes.copy_from_slice(&[1 << 60, 2 << 60, 3 << 60]);
        above.sift();
        assert_eq!(above.ways[0].step_at(2 << 60, b"www"), Some(2));
        assert_eq!(above.ways[0].step_at(2 << 60, b"ww"), None);
        above.set(0, 1, 4 << 60);
        assert_eq!(*above.ways[0].hashes, [1 << 60, 4 << 60, 0]);
        assert!(above.is_step(4 << 60) && !above.is_step(3 << 60));
    }
}

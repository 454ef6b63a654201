//! Watched roots are paths: whatever directory is at that path is watched.
//!
//! The steps that lead to each root (`/`, `/srv`, `/srv/www` for `/srv/www`) are known by handle. So the queue
//! shows when a root, or a directory above it, is made, removed or renamed. For an event of another directory this
//! costs one look-up in a sieve of hashes.
//!
//! Events of a step come from the mark on its filesystem if a root put one there, or else from a mark on the
//! directory of the step. If the kernel refuses that too, the step is not followed.
//!
//! A step that was made by mkdir on a filesystem with a mark is taken from the event, without a look at the disk:
//! everything that happens below comes as events. What was moved in by a rename, and what was made where only
//! single directories have marks, is looked up step by step, and its contents are reported as found.
//!
//! The kernel merges a rename into an identical one that is still queued, so after `mv a b; mv b a; mv a b` the
//! last one may be missing: fsmon looks for a root that was renamed away again once the queue is empty.
//!
//! A symbolic link on the way is known by its name and the directory that it is in. If an event is about that
//! entry, or a link may have come where a step is missing, the way is followed on disk again (`descent.rs`): a root
//! is what its path leads to. Lines have the path as the user named it.
//!
//! Mounting a filesystem on one of the steps gives no event: see `cold/mount_watch.rs`.

use crate::hot::r#where::disk::Disk;
use crate::hot::r#where::tree::Tree;
use crate::hot::r#where::watch::descent::{Descent, Link, place_of};
use crate::limits::walks::{
    FILESYSTEMS_MAX, LINKS_MAX, SIEVE_BITS, STEP_LOOKS, STEPS_PATH_BYTES, STEPS_ROOM,
};
use crate::sys::handle::{Handle, Handles};
use arrayvec::ArrayVec;
use fsmon_format::kind;
use std::io;

/// What can happen to a step.
pub(crate) const TYPES: u32 = kind::CREATE | kind::DELETE | kind::RENAME;
/// What the mark on a step's directory asks for.
pub(crate) const STEP_MASK: u64 = (TYPES | kind::ONDIR) as u64;

/// The way to one root.
pub(crate) struct Way {
    /// The path as the user named it: absolute, and without `..`.
    pub(super) named: Box<[u8]>,
    /// Where that leads: the same without symbolic links, as far as it exists. Its room grows only for a link that
    /// leads to a longer path than any before.
    pub(super) path: Vec<u8>,
    /// Where the name of each step ends in `path`; that of `/` is 1.
    ends: Vec<usize>,
    /// The hash of the handle of each step, the root included; 0 if unknown.
    pub(super) hashes: Vec<u64>,
    /// The symbolic links on the way.
    pub(super) links: ArrayVec<Link, LINKS_MAX>,
    /// Whether `path` ends before the root, because `..` follows a missing name.
    pub(super) is_cut: bool,
    /// Whether a filesystem is mounted over the root; the root stays watched.
    pub(super) is_hidden: bool,
    /// Whether the root was given up: see [`Above::give_up`].
    pub(super) is_given_up: bool,
    /// How often the queue must be empty before the next look for the root.
    looks: u8,
}

impl Way {
    pub(crate) fn new(named: &[u8]) -> Self {
        let mut way = Way {
            named: named.into(),
            path: Vec::with_capacity(named.len() + STEPS_PATH_BYTES),
            ends: Vec::with_capacity(STEPS_ROOM),
            hashes: Vec::with_capacity(STEPS_ROOM),
            links: ArrayVec::new(),
            is_cut: false,
            is_hidden: false,
            is_given_up: false,
            looks: 0,
        };
        way.restart();
        for name in named.split(|&byte| byte == b'/').filter(|name| !name.is_empty()) {
            way.push(name, 0);
        }
        way
    }

    /// Shortens the way to `/`; the links stay.
    pub(super) fn restart(&mut self) {
        self.path.clear();
        self.path.push(b'/');
        self.ends.clear();
        self.ends.push(1);
        self.hashes.clear();
        self.hashes.push(0);
        self.is_cut = false;
    }

    /// Adds a step.
    pub(super) fn push(&mut self, name: &[u8], hash: u64) {
        if self.path != b"/" {
            self.path.push(b'/');
        }
        self.path.extend_from_slice(name);
        self.ends.push(self.path.len());
        self.hashes.push(hash);
    }

    /// Removes the last step; from `/` there is no way up.
    pub(super) fn pop(&mut self) {
        if self.ends.len() > 1 {
            self.ends.pop();
            self.hashes.pop();
            self.path.truncate(self.ends[self.ends.len() - 1]);
        }
    }

    pub(super) fn last_hash(&self) -> u64 {
        self.hashes[self.last()]
    }

    pub(super) fn set_last(&mut self, hash: u64) {
        let last = self.last();
        self.hashes[last] = hash;
    }

    /// Whether the last step of `found` has this hash, and the way has another one there.
    pub(super) fn is_another(&self, found: &Way, hash: u64) -> bool {
        let last = found.last();
        let is_same_path = self.ends.get(last) == found.ends.get(last)
            && self.path.starts_with(&found.path[..found.ends[last]]);
        is_same_path && !matches!(self.hashes[last], 0) && self.hashes[last] != hash
    }

    /// Copies hashes from `found` for steps whose hash is unknown.
    pub(super) fn learn(&mut self, found: &Way) {
        for step in 0..found.last().min(self.hashes.len()) {
            let end = found.ends[step];
            if self.ends[step] != end || self.path[..end] != found.path[..end] {
                return;
            }
            if found.hashes[step] != 0 {
                self.hashes[step] = found.hashes[step];
            }
        }
    }

    /// Replaces the way by `found`, and leaves its own room to `found` for the next search.
    pub(super) fn take_over(&mut self, found: &mut Way) {
        std::mem::swap(&mut self.path, &mut found.path);
        std::mem::swap(&mut self.ends, &mut found.ends);
        std::mem::swap(&mut self.hashes, &mut found.hashes);
        std::mem::swap(&mut self.links, &mut found.links);
        self.is_cut = found.is_cut;
    }

    /// The index of the step that is the root.
    pub(super) fn last(&self) -> usize {
        self.ends.len() - 1
    }

    /// The name of a step other than the first.
    pub(super) fn name(&self, step: usize) -> &[u8] {
        let from = self.ends[step - 1];
        &self.path[if step == 1 { 1 } else { from + 1 }..self.ends[step]]
    }

    /// The step that is `name` in the directory with that hash.
    pub(super) fn step_at(&self, dir: u64, name: &[u8]) -> Option<usize> {
        (1..=self.last()).find(|&step| self.hashes[step - 1] == dir && self.name(step) == name)
    }

    /// Whether one of the links is `name` in the directory with that hash.
    pub(super) fn has_link(&self, tree: &Tree, dir: u64, name: &[u8]) -> bool {
        let is_it = |link: &Link| link.dir == dir && link.place == place_of(tree, dir, name);
        self.links.iter().any(is_it)
    }

    /// Whether the root is missing, and that name is a step on the way to it. The known hashes may be of
    /// directories that were removed.
    pub(super) fn misses(&self, dir: u64, name: &[u8]) -> bool {
        (self.last_hash() == 0 || self.is_cut) && self.step_at(dir, name).is_some()
    }

    /// Sets the hash of a step; the hashes of the later steps become unknown.
    pub(super) fn set(&mut self, step: usize, hash: u64) {
        self.hashes[step..].fill(0);
        self.hashes[step] = hash;
    }
}

/// A root that was found on disk.
pub(crate) struct Reached<F> {
    pub(crate) fd: F,
    pub(crate) handle: Handle,
    pub(crate) handles: Handles,
    pub(crate) mount_id: i32,
    pub(crate) fsid: u64,
}

impl<F> Reached<F> {
    /// The same through a mount of its own, so that mounts below hide nothing from a walk; unchanged if that is not
    /// possible.
    pub(crate) fn without_mounts(self, disk: &impl Disk<Dir = F>) -> Self {
        match open_without_mounts(disk, &self.fd, self.handles) {
            Ok((fd, mount_id)) => Reached { fd, mount_id, ..self },
            Err(_) => self,
        }
    }
}

/// See [`Disk::open_without_mounts`]; with the id of the mount.
///
/// # Errors
/// Those of that, and of [`Disk::handle_of`].
pub(crate) fn open_without_mounts<D: Disk>(
    disk: &D,
    dir: &D::Dir,
    handles: Handles,
) -> io::Result<(D::Dir, i32)> {
    let fd = disk.open_without_mounts(dir)?;
    let (_, mount_id) = disk.handle_of(&fd, handles)?;
    Ok((fd, mount_id))
}

/// A callback that gets the number of a root, and where its path leads now.
pub(crate) type Moved = Box<dyn Fn(usize, &[u8]) + Send>;

/// The ways to all roots, in the order of [`Watch::roots`].
pub(crate) struct Above {
    pub(super) ways: Vec<Way>,
    /// Filesystems with a mark.
    covered: Vec<u64>,
    /// Mount points of filesystems that may not answer; the reader does not look at them.
    pub(crate) slow: Box<[Box<[u8]>]>,
    /// Number of ways that must be looked at again.
    looks_due: usize,
    /// Hashes of steps, and of directories with links in them.
    sieve: Sieve,
    /// Hashes of directories in which a symbolic link matters, or could come.
    links: Sieve,
    any_links: bool,
    /// Called when the path of a root leads elsewhere: its number, and the path.
    pub(crate) moved: Option<Moved>,
    /// Room for [`Above::go_down`]; none while it is in use.
    pub(super) descent: Option<Box<Descent>>,
}

/// A set of hashes that may say yes for one that is not in it.
#[derive(Default)]
struct Sieve([u64; SIEVE_BITS / 64]);

impl Sieve {
    fn put(&mut self, hash: u64) {
        let bit = (hash >> 54) as usize;
        self.0[bit / 64] |= 1 << (bit % 64);
    }

    #[inline]
    fn has(&self, hash: u64) -> bool {
        let bit = (hash >> 54) as usize;
        self.0[bit / 64] >> (bit % 64) & 1 != 0
    }
}

impl Above {
    /// Without ways; the filesystems in `covered` have a mark.
    pub(crate) fn new(covered: Vec<u64>) -> Self {
        Above {
            ways: Vec::new(),
            covered,
            slow: Box::default(),
            looks_due: 0,
            sieve: Sieve::default(),
            links: Sieve::default(),
            any_links: false,
            moved: None,
            descent: Some(Box::new(Descent::new())),
        }
    }

    /// Makes room for that many more roots.
    pub(crate) fn reserve(&mut self, roots: usize) {
        self.ways.reserve(roots);
        self.covered.reserve(FILESYSTEMS_MAX.saturating_sub(self.covered.len()));
    }

    /// Adds the way to a root: its absolute path.
    pub(crate) fn add(&mut self, path: &[u8]) {
        self.ways.push(Way::new(path));
    }

    /// The path of a root, without symbolic links.
    pub(super) fn real_path(&self, at: usize) -> &[u8] {
        &self.ways[at].path
    }

    /// Whether events of every directory of a filesystem come.
    pub(crate) fn covers(&self, fsid: u64) -> bool {
        self.covered.contains(&fsid)
    }

    /// Whether a directory may be one of the steps.
    #[inline]
    pub(super) fn may_be_step(&self, hash: u64) -> bool {
        self.sieve.has(hash)
    }

    /// Whether the directory is a step, or has a link of a way in it.
    pub(crate) fn is_step(&self, hash: u64) -> bool {
        let is_of =
            |way: &Way| way.hashes.contains(&hash) || way.links.iter().any(|link| link.dir == hash);
        self.may_be_step(hash) && self.ways.iter().any(is_of)
    }

    /// Whether events of files matter in some directories: there are links on a way, or a root is missing and could
    /// come as a link.
    #[inline]
    pub(super) fn any_links(&self) -> bool {
        self.any_links
    }

    /// Whether a directory may be one of those.
    #[inline]
    pub(super) fn may_have_links(&self, hash: u64) -> bool {
        self.links.has(hash)
    }

    /// The mark on that filesystem may be gone.
    pub(super) fn uncover(&mut self, fsid: u64) {
        self.covered.retain(|covered| *covered != fsid);
    }

    /// That filesystem has a mark from now on.
    pub(super) fn cover(&mut self, fsid: u64) {
        if !self.covers(fsid) {
            self.covered.push(fsid);
        }
    }

    /// Whether a look for a root is due.
    #[inline]
    pub(crate) fn is_look_due(&self) -> bool {
        self.looks_due != 0
    }

    /// A root was renamed away, or not found where it was renamed to: look for it.
    pub(super) fn request_look(&mut self, at: usize) {
        let way = &mut self.ways[at];
        self.looks_due += usize::from(way.looks == 0);
        way.looks = STEP_LOOKS;
    }

    /// Ends the root with that number.
    pub(super) fn give_up(&mut self, at: usize) {
        let way = &mut self.ways[at];
        self.looks_due -= usize::from(way.looks != 0);
        *way = Way { is_given_up: true, ..Way::new(b"/") };
        self.sift();
    }

    /// Whether the root with that number was given up: it was a followed mount that is gone.
    pub(super) fn is_given_up(&self, at: usize) -> bool {
        self.ways[at].is_given_up
    }

    /// The queue is empty. Returns whether to look for the root now.
    pub(super) fn is_due(&mut self, at: usize) -> bool {
        let way = &mut self.ways[at];
        let was = way.looks;
        way.looks = was.saturating_sub(1);
        self.looks_due -= usize::from(was == 1);
        was == 1
    }

    #[cold]
    pub(super) fn sift(&mut self) {
        (self.sieve, self.links) = (Sieve::default(), Sieve::default());
        self.any_links = false;
        for way in self.ways.iter().filter(|way| !way.is_given_up) {
            let is_missing = way.last_hash() == 0 || way.is_cut;
            self.any_links |= is_missing || !way.links.is_empty();
            let steps = way.hashes.iter().enumerate().filter(|(_, hash)| **hash != 0);
            for (step, &hash) in steps {
                self.sieve.put(hash);
                if is_missing && step < way.last() {
                    self.links.put(hash);
                }
            }
            for link in way.links.iter().filter(|link| link.dir != 0) {
                self.sieve.put(link.dir);
                self.links.put(link.dir);
            }
        }
    }

    pub(super) fn set(&mut self, way: usize, step: usize, hash: u64) {
        self.ways[way].set(step, hash);
        self.sift();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_way_has_a_step_for_each_directory() {
        let way = Way::new(b"/srv/www/a");
        assert_eq!((way.last(), way.name(1), way.name(3)), (3, &b"srv"[..], &b"a"[..]));
        assert_eq!(way.path, b"/srv/www/a");
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
        assert_eq!(above.ways[0].hashes, [1 << 60, 4 << 60, 0]);
        assert!(above.is_step(4 << 60) && !above.is_step(3 << 60));
    }
}

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

use super::disk::Disk;
use super::event::Key;
use super::tree::Tree;
use super::who::Who;
use crate::sys::handle::{Handle, Handles, btrfs_whole};
use fsmon_format::kind;
use fsmon_format::record::NAME_MAX;
use std::ffi::CStr;
use std::io;

/// What can happen to a step.
pub(crate) const TYPES: u32 = kind::CREATE | kind::DELETE | kind::RENAME;
/// What the mark on a step's directory asks for.
pub(crate) const STEP_MASK: u64 = (TYPES | kind::ONDIR) as u64;
/// A rename shows on disk an instant before its event is queued.
const LOOKS: u8 = 2;
/// Bits of the sieve.
const SIEVE_BITS: usize = 1024;

/// The way to one root.
pub(super) struct Way {
    pub(super) path: Box<[u8]>,
    /// Where the name of each step ends in the path; that of `/` is 1.
    ends: Box<[usize]>,
    /// The hash of the handle at each step, the root's included; 0 where none is known.
    pub(super) hashes: Box<[u64]>,
    /// Who renamed a step last, held while `looks` is not 0; 0 where that is not known.
    pub(super) mover: u32,
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
    pub(super) fn last(&self) -> usize {
        self.ends.len() - 1
    }

    /// The name of a step that is not the first.
    pub(super) fn name(&self, step: usize) -> &[u8] {
        let from = self.ends[step - 1];
        &self.path[if step == 1 { 1 } else { from + 1 }..self.ends[step]]
    }

    /// The step that is `name` in the directory of that hash.
    pub(super) fn step_at(&self, dir: u64, name: &[u8]) -> Option<usize> {
        (1..=self.last()).find(|&step| self.hashes[step - 1] == dir && self.name(step) == name)
    }

    /// What a step is now, and nothing is known of what follows.
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
    /// The same through a mount of its own, so that what is mounted below hides nothing from a walk; the
    /// same as it was where that cannot be had.
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

/// The ways to all roots, in the order of [`Watch::roots`].
pub(crate) struct Above {
    pub(super) ways: Vec<Way>,
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
    pub(super) fn doubt(&mut self, at: usize, image: u32, who: &mut Who) {
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
    pub(super) fn is_due(&mut self, at: usize) -> bool {
        let way = &mut self.ways[at];
        let was = way.looks;
        way.looks = was.saturating_sub(1);
        self.doubts -= usize::from(was == 1);
        was == 1
    }

    #[cold]
    pub(super) fn sift(&mut self) {
        self.sieve.fill(0);
        for &hash in self.ways.iter().flat_map(|way| &way.hashes).filter(|&&hash| hash != 0) {
            let bit = (hash >> 54) as usize;
            self.sieve[bit / 64] |= 1 << (bit % 64);
        }
    }

    pub(super) fn set(&mut self, way: usize, step: usize, hash: u64) {
        self.ways[way].set(step, hash);
        self.sift();
    }

    /// Goes down the way to a root on disk, as far as it leads, marking and noting each step. A step
    /// that is another than the queue has told so far ends it: what happened to it is still to come.
    pub(crate) fn go_down<D: Disk>(
        &mut self,
        at: usize,
        disk: &D,
        tree: &Tree,
    ) -> Option<Reached<D::Dir>> {
        let covered = &self.covered;
        let way = &mut self.ways[at];
        let mut fd = disk.open_absolute(c"/").ok()?;
        let mut reached = None;
        for step in 0..=way.last() {
            if step > 0 {
                fd = match open_named(disk, &fd, way.name(step)) {
                    Some(fd) => fd,
                    None => break,
                };
            }
            let Ok(fsid) = disk.filesystem(&fd) else { break };
            let Some((handles, handle, mount_id)) = handle_of(disk, &fd) else { continue };
            // Events of a btrfs subvolume carry the id of the filesystem that was marked.
            let whole = btrfs_whole(fsid, handle.key()).filter(|whole| covered.contains(whole));
            let fsid = whole.unwrap_or(fsid);
            let hash = tree.hash(Key { fsid, handle: handle.key() });
            if way.hashes[step] != 0 && way.hashes[step] != hash {
                break;
            }
            if step == way.last() {
                way.hashes[step] = hash;
                let here = Reached { fd, handle, handles, mount_id, fsid };
                reached = Some(here.without_mounts(disk));
                break;
            }
            // It may come from where it was busy, and of no interest.
            disk.unmute(STEP_MASK, &fd);
            if covered.contains(&fsid) || disk.mark_step(STEP_MASK, &fd).is_ok() {
                way.hashes[step] = hash;
            }
        }
        self.sift();
        reached
    }
}

fn open_named<D: Disk>(disk: &D, dir: &D::Dir, name: &[u8]) -> Option<D::Dir> {
    let mut room = [0; NAME_MAX + 1];
    room.get_mut(..name.len())?.copy_from_slice(name);
    disk.open_step(dir, CStr::from_bytes_until_nul(&room).ok()?).ok()
}

fn handle_of<D: Disk>(disk: &D, fd: &D::Dir) -> Option<(Handles, Handle, i32)> {
    let handles = disk.probe_handles(fd).ok()?;
    let (handle, mount_id) = disk.handle_of(fd, handles).ok()?;
    Some((handles, handle, mount_id))
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

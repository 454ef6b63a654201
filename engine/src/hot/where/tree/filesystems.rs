//! The filesystems of the tree, and what records identify their objects by.
//!
//! The tables go by [`Tree::hash`], which is of the filesystem's id in events and changes for nothing as long as fsmon
//! runs. Records have [`Tree::object`], which is of what the filesystem is known by ([`identity`]) also after it was
//! mounted again. Each filesystem has the difference between the two.
//!
//! [`identity`]: crate::sys::identity::identity

use super::{Node, Tree, flag};
use crate::limits::walks::FILESYSTEMS_MAX;
use fsmon_format::number::to_u8;
use fsmon_format::object::ObjectHash;

/// A filesystem.
pub(super) struct Filesystem {
    pub(super) fsid: u64,
    identity: u64,
    /// The object of a record is the hash of a handle, exclusive-or this.
    shift: u64,
    /// Live directories on it.
    pub(super) live: u32,
}

impl Filesystem {
    /// One that is known by its id.
    pub(super) fn new(fsid: u64, objects: &ObjectHash) -> Self {
        let mut filesystem = Filesystem { fsid, identity: fsid, shift: 0, live: 0 };
        filesystem.identify(fsid, objects);
        filesystem
    }

    fn identify(&mut self, identity: u64, objects: &ObjectHash) {
        self.identity = identity;
        self.shift = (objects.of_filesystem(identity) ^ self.fsid) & !1;
    }
}

impl Tree {
    #[inline]
    pub(super) fn filesystem(&self, node: &Node) -> &Filesystem {
        &self.filesystems[usize::from(node.fs)]
    }

    #[inline]
    pub(super) fn filesystem_mut(&mut self, id: u32) -> &mut Filesystem {
        let fs = self.node(id).fs;
        &mut self.filesystems[usize::from(fs)]
    }

    /// The index of a filesystem. There are at most as many as roots: a handful.
    #[inline]
    pub(super) fn fs_index(&self, fsid: u64) -> Option<u8> {
        self.filesystems.iter().position(|known| known.fsid == fsid).map(to_u8)
    }

    /// Accepts directories of another filesystem. False if there is no room, as a node has one byte for the index.
    #[cold]
    pub(crate) fn add_filesystem(&mut self, fsid: u64) -> bool {
        if self.fs_index(fsid).is_some() {
            return true;
        }
        let added = Filesystem::new(fsid, &self.objects);
        if self.filesystems.len() < FILESYSTEMS_MAX {
            self.filesystems.push(added);
            return true;
        }
        let unused = self.unused_filesystem();
        unused.map(|at| self.filesystems[at] = added).is_some()
    }

    /// The index of a filesystem without directories: filesystems of followed mounts come and go.
    fn unused_filesystem(&self) -> Option<usize> {
        let mut is_used = [false; FILESYSTEMS_MAX];
        let used = self.nodes[1..self.fresh as usize].iter();
        for node in used.filter(|node| node.flags & flag::LIVE != 0) {
            is_used[usize::from(node.fs)] = true;
        }
        is_used.iter().position(|is_used| !is_used)
    }

    /// Says what a filesystem is known by, before its first directory is watched. As long as one is watched it stays
    /// what it was. Of two filesystems that are known by the same at one time, such as a disk and its image, the second
    /// is known by its id.
    #[cold]
    pub(crate) fn identify(&mut self, fsid: u64, identity: u64) {
        let Some(at) = self.fs_index(fsid).map(usize::from) else { return };
        if self.filesystems[at].live > 0 {
            return;
        }
        let is_its = |other: &Filesystem| other.live > 0 && other.identity == identity;
        let identity = if self.filesystems.iter().any(is_its) { fsid } else { identity };
        if self.filesystems[at].identity != identity {
            self.filesystems[at].identify(identity, &self.objects);
            // What the consumer knows are the objects of before.
            for id in 1..self.fresh {
                if usize::from(self.node(id).fs) == at {
                    self.clear(id, flag::DEFINED);
                }
            }
        }
    }

    /// The filesystem id of a node.
    pub fn fsid(&self, id: u32) -> u64 {
        self.filesystem(self.node(id)).fsid
    }

    /// What records identify an object by that has this hash and is on the filesystem of a node. 0 stays 0: unknown.
    #[inline]
    pub(crate) fn object(&self, beside: u32, hash: u64) -> u64 {
        let shift = self.filesystem(self.node(beside)).shift;
        if hash == 0 { 0 } else { hash ^ shift }
    }

    /// The same on the filesystem with that id.
    #[cold]
    pub(crate) fn object_on(&self, fsid: u64, hash: u64) -> u64 {
        let shift = match self.fs_index(fsid) {
            Some(at) => self.filesystems[usize::from(at)].shift,
            None => Filesystem::new(fsid, &self.objects).shift,
        };
        hash ^ shift
    }
}

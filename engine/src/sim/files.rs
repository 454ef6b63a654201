//! A model filesystem: inodes, names, hard links, open files, files without a name, handles.
//!
//! Paths are absolute, below `/`, which always exists. If the real kernel would refuse an operation (`ENOENT`,
//! `EEXIST`, `ENOTEMPTY`, …), the model does nothing and returns `None`. Otherwise the operation returns the
//! notifications that the kernel would queue for it, in the kernel's order: fs/namei.c and include/linux/fsnotify.h of
//! Linux 6.18.

use crate::sys::handle::is_shared;
use fsmon_format::kind;
use std::collections::BTreeMap;

/// Identifies an inode in the model. It is never used again, while another inode may have the same handle earlier or
/// later.
pub(super) type Inode = usize;
/// Identifies a name that an inode has or had.
pub(super) type Dentry = usize;

/// A notification of the kernel, before it checks the marks.
#[derive(Clone, Debug)]
pub(super) enum Notice {
    /// CREATE, DELETE, MOVED_FROM or MOVED_TO of the entry `name` of `dir`.
    Entry { kind: u32, dir: Inode, name: String, child: Inode },
    /// RENAME.
    Rename { old: (Inode, String), new: (Inode, String), child: Inode },
    /// CLOSE_WRITE, ATTRIB or another type of a file, with the name through which it was opened.
    File { kind: u32, dir: Inode, name: String, child: Inode },
    /// ATTRIB of a directory itself. `parent`: the directory through which it was reached.
    Dir { kind: u32, dir: Inode, parent: Option<Inode> },
    /// ATTRIB of a file whose link count changed (`fsnotify_link_count()`). It has no name, so a mark on a directory
    /// does not report it.
    Links { file: Inode },
}

impl Notice {
    /// The directories whose locks the kernel holds when it queues the notification. It also locks what it removes
    /// (`vfs_rmdir()`).
    pub(super) fn dirs(&self) -> Vec<Inode> {
        match self {
            Notice::Entry { kind: kind::DELETE, dir, child, .. } => vec![*dir, *child],
            Notice::Entry { dir, .. } | Notice::File { dir, .. } | Notice::Dir { dir, .. } => {
                vec![*dir]
            }
            Notice::Rename { old, new, .. } => vec![old.0, new.0],
            Notice::Links { .. } => Vec::new(),
        }
    }
}

/// One inode.
#[derive(Clone)]
struct Node {
    handle: Vec<u8>,
    is_dir: bool,
    links: usize,
    /// The entries of a directory, and its own name. Empty for a file.
    entries: BTreeMap<String, Dentry>,
    own: Option<Dentry>,
    open: usize,
    number: u32,
    /// Created by `O_TMPFILE`, and has had no name so far: `I_LINKABLE`.
    is_linkable: bool,
}

#[derive(Clone)]
struct Named {
    dir: Inode,
    name: String,
    inode: Inode,
}

/// Whether a handle can be used again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Reuse {
    /// Never: an inode number is used again with another generation, as on ext4, xfs and btrfs.
    Never,
    /// Soon: an inode number is used again as soon as it is free, with generation 0, so the handle is the same. FUSE
    /// and other simple filesystems do this.
    Soon,
}

/// The filesystem.
#[derive(Clone)]
pub(super) struct Files {
    nodes: Vec<Node>,
    names: Vec<Named>,
    /// Open files by slot, with the name through which each was opened.
    slots: BTreeMap<u8, Dentry>,
    reuse: Reuse,
    free: Vec<u32>,
    next: u32,
    generation: u32,
}

/// The inode of `/`.
pub(super) const TOP: Inode = 0;

/// `FILEID_INO32_GEN` of include/linux/exportfs.h.
const INO32_GEN: u32 = 1;
/// `FILEID_BTRFS_WITHOUT_PARENT`.
const BTRFS: u32 = 0x4d;

impl Files {
    pub(super) fn new(reuse: Reuse) -> Self {
        let mut files = Files {
            nodes: Vec::new(),
            names: Vec::new(),
            slots: BTreeMap::new(),
            reuse,
            free: Vec::new(),
            next: 1,
            generation: 0,
        };
        files.node(true);
        files.nodes[TOP].links = 1;
        files
    }

    fn node(&mut self, is_dir: bool) -> Inode {
        let number = match self.free.pop() {
            Some(number) => number,
            None => {
                self.next += 1;
                self.next
            }
        };
        if self.reuse == Reuse::Never {
            self.generation += 1;
        }
        let parts = [INO32_GEN, number, self.generation];
        self.node_with(parts.into_iter().flat_map(u32::to_ne_bytes).collect(), is_dir, number)
    }

    fn node_with(&mut self, handle: Vec<u8>, is_dir: bool, number: u32) -> Inode {
        let (entries, own) = (BTreeMap::new(), None);
        self.nodes.push(Node {
            handle,
            is_dir,
            links: 0,
            entries,
            own,
            open: 0,
            number,
            is_linkable: false,
        });
        self.nodes.len() - 1
    }

    /// Frees the number of an inode that has no link and is not open.
    fn put(&mut self, inode: Inode) {
        let node = &self.nodes[inode];
        if node.links == 0 && node.open == 0 && node.number != 0 {
            self.free.push(node.number);
        }
    }

    /// The handle as in an event: type, then bytes.
    pub(super) fn handle(&self, inode: Inode) -> &[u8] {
        &self.nodes[inode].handle
    }

    pub(super) fn is_dir(&self, inode: Inode) -> bool {
        self.nodes[inode].is_dir
    }

    pub(super) fn has_name(&self, inode: Inode) -> bool {
        self.nodes[inode].links > 0
    }

    /// The directory that has this handle and a name.
    pub(super) fn by_handle(&self, handle: &[u8]) -> Option<Inode> {
        (0..self.nodes.len())
            .find(|&at| self.is_dir(at) && self.has_name(at) && self.handle(at) == handle)
    }

    /// The entries of a directory, in the order of their names.
    pub(super) fn entries(&self, dir: Inode) -> impl Iterator<Item = (&str, Inode)> {
        let all = self.nodes[dir].entries.iter();
        all.map(|(name, &at)| (name.as_str(), self.names[at].inode))
    }

    pub(super) fn child(&self, dir: Inode, name: &str) -> Option<Inode> {
        self.dentry(dir, name).map(|at| self.names[at].inode)
    }

    fn dentry(&self, dir: Inode, name: &str) -> Option<Dentry> {
        self.nodes[dir].entries.get(name).copied()
    }

    /// The inode at an absolute path.
    pub(super) fn at(&self, path: &str) -> Option<Inode> {
        self.below(TOP, path)
    }

    /// The parent of a directory; `/` is its own parent.
    pub(super) fn above(&self, dir: Inode) -> Option<Inode> {
        let has_it =
            |at: &Inode| self.is_dir(*at) && self.entries(*at).any(|(_, entry)| entry == dir);
        if dir == TOP { Some(TOP) } else { (0..self.nodes.len()).find(has_it) }
    }

    pub(super) fn below(&self, dir: Inode, path: &str) -> Option<Inode> {
        let mut at = dir;
        for part in path.split('/').filter(|part| !part.is_empty()) {
            at = self.child(at, part)?;
        }
        Some(at)
    }

    /// Whether this is the empty directory that replaces a nested subvolume in a snapshot.
    fn is_stub(&self, inode: Inode) -> bool {
        is_shared(self.handle(inode))
    }

    /// Everything below a directory: its path below `top`, and whether it is a directory.
    pub(super) fn listing(&self, top: &str) -> BTreeMap<String, bool> {
        let mut all = BTreeMap::new();
        let mut todo: Vec<_> = self.at(top).map(|at| (top.to_owned(), at)).into_iter().collect();
        while let Some((path, dir)) = todo.pop() {
            for (name, inode) in self.entries(dir) {
                let path = format!("{path}/{name}");
                if self.is_dir(inode) {
                    todo.push((path.clone(), inode));
                }
                all.insert(path, self.is_dir(inode));
            }
        }
        all
    }

    /// The directory in which the last name of a path is, and that name.
    fn locate<'a>(&self, path: &'a str) -> Option<(Inode, &'a str)> {
        let (dir, name) = path.rsplit_once('/')?;
        // btrfs refuses to create an entry in such a directory (`btrfs_dir_ro_inode_operations`).
        let dir = self.at(dir).filter(|&dir| self.is_dir(dir) && !self.is_stub(dir))?;
        Some((dir, name))
    }

    fn link_in(&mut self, dir: Inode, name: &str, inode: Inode) -> Dentry {
        self.names.push(Named { dir, name: name.into(), inode });
        let at = self.names.len() - 1;
        self.nodes[dir].entries.insert(name.into(), at);
        self.nodes[inode].links += 1;
        if self.is_dir(inode) {
            self.nodes[inode].own = Some(at);
        }
        at
    }

    fn entry(&self, kind: u32, at: Dentry) -> Notice {
        let Named { dir, name, inode } = self.names[at].clone();
        Notice::Entry { kind, dir, name, child: inode }
    }

    fn file(&self, kind: u32, at: Dentry) -> Notice {
        let Named { dir, name, inode } = self.names[at].clone();
        Notice::File { kind, dir, name, child: inode }
    }

    /// Makes an entry. `None` if the name exists.
    fn make(&mut self, path: &str, is_dir: bool) -> Option<Dentry> {
        let (dir, name) = self.locate(path)?;
        if self.dentry(dir, name).is_some() {
            return None;
        }
        let inode = self.node(is_dir);
        Some(self.link_in(dir, name, inode))
    }

    /// open(2) with `O_CREAT`, then close(2).
    pub(super) fn create(&mut self, path: &str) -> Option<Vec<Notice>> {
        let at = self.make(path, false)?;
        Some(vec![self.entry(kind::CREATE, at), self.file(kind::CLOSE_WRITE, at)])
    }

    /// symlink(2): opens no file, so no CLOSE_WRITE follows.
    pub(super) fn symlink(&mut self, path: &str) -> Option<Vec<Notice>> {
        let at = self.make(path, false)?;
        Some(vec![self.entry(kind::CREATE, at)])
    }

    pub(super) fn mkdir(&mut self, path: &str) -> Option<Vec<Notice>> {
        let at = self.make(path, true)?;
        Some(vec![self.entry(kind::CREATE, at)])
    }

    /// open(2) for writing, with `O_CREAT`.
    pub(super) fn open(&mut self, slot: u8, path: &str) -> Option<Vec<Notice>> {
        if self.slots.contains_key(&slot) {
            return None;
        }
        let (dir, name) = self.locate(path)?;
        let (at, notices) = match self.dentry(dir, name) {
            Some(at) if self.is_dir(self.names[at].inode) => return None,
            Some(at) => (at, Vec::new()),
            None => {
                let at = self.make(path, false)?;
                (at, vec![self.entry(kind::CREATE, at)])
            }
        };
        self.slots.insert(slot, at);
        self.nodes[self.names[at].inode].open += 1;
        Some(notices)
    }

    /// open(2) with `O_TMPFILE`: the file has a name that is in no directory (`d_mark_tmpfile()` in fs/dcache.c).
    pub(super) fn tmpfile(&mut self, slot: u8, path: &str) -> Option<Vec<Notice>> {
        let dir = self.at(path).filter(|&dir| self.is_dir(dir) && self.has_name(dir))?;
        if self.slots.contains_key(&slot) {
            return None;
        }
        let inode = self.node(false);
        let name = format!("#{}", self.nodes[inode].number);
        self.nodes[inode].is_linkable = true;
        self.names.push(Named { dir, name, inode });
        self.slots.insert(slot, self.names.len() - 1);
        self.nodes[inode].open += 1;
        Some(Vec::new())
    }

    /// linkat(2) of an open file.
    pub(super) fn link_slot(&mut self, slot: u8, path: &str) -> Option<Vec<Notice>> {
        let open = *self.slots.get(&slot)?;
        self.link_inode(self.names[open].inode, path)
    }

    fn link_inode(&mut self, inode: Inode, path: &str) -> Option<Vec<Notice>> {
        let (dir, name) = self.locate(path)?;
        let node = &self.nodes[inode];
        let is_gone = node.links == 0 && !node.is_linkable;
        if self.dentry(dir, name).is_some() || node.is_dir || is_gone {
            return None;
        }
        self.nodes[inode].is_linkable = false;
        let at = self.link_in(dir, name, inode);
        Some(vec![Notice::Links { file: inode }, self.entry(kind::CREATE, at)])
    }

    pub(super) fn link(&mut self, old: &str, new: &str) -> Option<Vec<Notice>> {
        let inode = self.at(old)?;
        self.link_inode(inode, new)
    }

    pub(super) fn close(&mut self, slot: u8) -> Option<Vec<Notice>> {
        let at = self.slots.remove(&slot)?;
        let inode = self.names[at].inode;
        let notices = vec![self.file(kind::CLOSE_WRITE, at)];
        self.nodes[inode].open -= 1;
        self.put(inode);
        Some(notices)
    }

    pub(super) fn chmod(&mut self, path: &str) -> Option<Vec<Notice>> {
        let (dir, name) = self.locate(path)?;
        let at = self.dentry(dir, name)?;
        let inode = self.names[at].inode;
        Some(vec![match self.is_dir(inode) {
            true => Notice::Dir { kind: kind::ATTRIB, dir: inode, parent: Some(dir) },
            false => self.file(kind::ATTRIB, at),
        }])
    }

    fn take_out(&mut self, at: Dentry) {
        let Named { dir, name, inode } = self.names[at].clone();
        self.nodes[dir].entries.remove(&name);
        self.nodes[inode].links -= 1;
        if self.is_dir(inode) {
            self.nodes[inode].own = None;
        }
    }

    /// unlink(2) or rmdir(2).
    pub(super) fn remove(&mut self, path: &str) -> Option<Vec<Notice>> {
        let (dir, name) = self.locate(path)?;
        let at = self.dentry(dir, name)?;
        let inode = self.names[at].inode;
        if !self.nodes[inode].entries.is_empty() {
            return None;
        }
        self.take_out(at);
        let mut notices = vec![self.entry(kind::DELETE, at)];
        if !self.is_dir(inode) {
            notices.insert(0, Notice::Links { file: inode });
        }
        self.put(inode);
        Some(notices)
    }

    fn is_below(&self, dir: Inode, above: Inode) -> bool {
        let mut at = dir;
        loop {
            if at == above {
                return true;
            }
            match self.nodes[at].own {
                Some(own) => at = self.names[own].dir,
                None => return false,
            }
        }
    }

    /// rename(2).
    pub(super) fn rename(&mut self, old: &str, new: &str) -> Option<Vec<Notice>> {
        let ((old_dir, old_name), (new_dir, new_name)) = (self.locate(old)?, self.locate(new)?);
        let at = self.dentry(old_dir, old_name)?;
        let inode = self.names[at].inode;
        let replaced = self.dentry(new_dir, new_name);
        // `btrfs_rename()`: ENOTEMPTY.
        if self.is_stub(inode) {
            return None;
        }
        if let Some(replaced) = replaced {
            let other = self.names[replaced].inode;
            let fits =
                self.is_dir(other) == self.is_dir(inode) && self.nodes[other].entries.is_empty();
            // If both are names of one file, rename(2) does nothing.
            if other == inode || !fits {
                return None;
            }
        }
        if self.is_dir(inode) && self.is_below(new_dir, inode) {
            return None;
        }
        let mut gone = None;
        if let Some(replaced) = replaced {
            let inode = self.names[replaced].inode;
            self.take_out(replaced);
            self.put(inode);
            // `fsnotify_link_count()`
            gone = Some(match self.is_dir(inode) {
                true => Notice::Dir { kind: kind::ATTRIB, dir: inode, parent: None },
                false => Notice::Links { file: inode },
            });
        }
        let mut notices = self.move_to(at, new_dir, new_name);
        notices.extend(gone);
        Some(notices)
    }

    fn move_to(&mut self, at: Dentry, dir: Inode, name: &str) -> Vec<Notice> {
        let Named { dir: old_dir, name: old_name, inode } = self.names[at].clone();
        self.nodes[old_dir].entries.remove(&old_name);
        self.nodes[dir].entries.insert(name.into(), at);
        (self.names[at].dir, self.names[at].name) = (dir, name.into());
        Self::moved((old_dir, old_name), (dir, name.into()), inode)
    }

    /// `fsnotify_move()`.
    fn moved(old: (Inode, String), new: (Inode, String), child: Inode) -> Vec<Notice> {
        let side = |kind, (dir, name): &(Inode, String)| Notice::Entry {
            kind,
            dir: *dir,
            name: name.clone(),
            child,
        };
        let sides = [side(kind::MOVED_FROM, &old), side(kind::MOVED_TO, &new)];
        std::iter::once(Notice::Rename { old, new, child }).chain(sides).collect()
    }

    /// renameat2(2) with `RENAME_EXCHANGE`.
    pub(super) fn exchange(&mut self, a: &str, b: &str) -> Option<Vec<Notice>> {
        let (a, b) = (self.locate(a)?, self.locate(b)?);
        let (at_a, at_b) = (self.dentry(a.0, a.1)?, self.dentry(b.0, b.1)?);
        let (in_a, in_b) = (self.names[at_a].inode, self.names[at_b].inode);
        let loops = |inode, dir| self.is_dir(inode) && self.is_below(dir, inode);
        if self.is_stub(in_a) || self.is_stub(in_b) {
            return None;
        }
        if in_a == in_b || loops(in_a, b.0) || loops(in_b, a.0) {
            return None;
        }
        self.nodes[a.0].entries.insert(a.1.into(), at_b);
        self.nodes[b.0].entries.insert(b.1.into(), at_a);
        (self.names[at_a].dir, self.names[at_a].name) = (b.0, b.1.into());
        (self.names[at_b].dir, self.names[at_b].name) = (a.0, a.1.into());
        let (a, b) = ((a.0, a.1.to_owned()), (b.0, b.1.to_owned()));
        let mut notices = Self::moved(a.clone(), b.clone(), in_a);
        notices.extend(Self::moved(b, a, in_b));
        Some(notices)
    }

    /// mkdir(2). The new directory gets the handle of the existing directory `of`.
    pub(super) fn twin(&mut self, path: &str, of: &str) -> Option<Vec<Notice>> {
        let of = self.at(of).filter(|&of| self.is_dir(of) && of != TOP)?;
        let at = self.make(path, true)?;
        self.nodes[self.names[at].inode].handle = self.handle(of).to_vec();
        Some(vec![self.entry(kind::CREATE, at)])
    }

    /// A btrfs snapshot of a subvolume that has nested subvolumes. All its entries appear at once. Each nested
    /// subvolume is replaced by an empty directory, and these share one handle (object id 2; seen on 6.18).
    pub(super) fn snapshot(&mut self, path: &str, stubs: usize) -> Option<Vec<Notice>> {
        let (dir, name) = self.locate(path)?;
        if self.dentry(dir, name).is_some() {
            return None;
        }
        self.generation += 1;
        let volume = 256 + u64::from(self.generation);
        let handle = |object: u64| {
            let ids = [object, volume].map(u64::to_ne_bytes).concat();
            [&BTRFS.to_ne_bytes()[..], &ids, &0u32.to_ne_bytes()].concat()
        };
        let top = self.node_with(handle(256), true, 0);
        let at = self.link_in(dir, name, top);
        for stub in 0..stubs {
            let inode = self.node_with(handle(2), true, 0);
            self.link_in(top, &format!("n{stub}"), inode);
        }
        let file = self.node(false);
        self.link_in(top, "a", file);
        Some(vec![self.entry(kind::CREATE, at)])
    }
}

//! Which keys the records of a block have.

use super::hash::{State, hash};
use super::kind::{Kind, Trouble};
use crate::limits::{CELL_POSTINGS, CHAIN_MAX};
use fsmon_format::kind::{CLOSE_WRITE, CREATE, MODIFY, RENAME};
use fsmon_format::mirror::{Defined, Mirror};
use fsmon_format::record::{Body, EventRef, Records};
use fsmon_format::stream::BLOCK_CAPACITY;
use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};

/// The postings of a cell while it is read: for each kind hashes, with repetitions.
pub(super) struct Collector {
    seed: u64,
    mirror: Mirror,
    dirs: Dirs,
    /// For each process image of the block, whether its keys are there.
    processes: Vec<bool>,
    /// Files that got a name in this cell, by object: the pid that made it, and whether it wrote to the file since.
    made: HashMap<u64, Made, BuildHasherDefault<ObjectHasher>>,
    pub(super) found: [Vec<u64>; Kind::ALL.len()],
}

#[derive(Clone, Copy)]
struct Made {
    pid: u32,
    /// It had a name before, in this cell.
    was_known: bool,
    is_written: bool,
}

/// An `object` is a hash already.
#[derive(Default)]
struct ObjectHasher(u64);

impl Hasher for ObjectHasher {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        self.0 = State::new(self.0).with(bytes).finish();
    }

    fn write_u64(&mut self, object: u64) {
        // A hostile segment can have any objects: they must not all fall into one bucket for free.
        self.0 = object.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    }
}

/// What is known of the directories of a block.
struct Dirs {
    known: Vec<Known>,
    /// Raised where a directory is renamed within the block: what was known of those below it is over.
    epoch: u32,
}

#[derive(Clone, Copy)]
struct Known {
    epoch: u32,
    state: State,
    /// Its keys as one above a path are there.
    is_above: bool,
    /// Its key as one directly above a path is there.
    is_parent: bool,
}

impl Collector {
    pub(super) fn new(seed: u64) -> Self {
        let unknown =
            Known { epoch: 0, state: State::new(seed), is_above: false, is_parent: false };
        Collector {
            seed,
            mirror: Mirror::new(BLOCK_CAPACITY),
            dirs: Dirs { known: vec![unknown; BLOCK_CAPACITY.dirs + 1], epoch: 0 },
            processes: vec![false; BLOCK_CAPACITY.processes + 1],
            made: HashMap::default(),
            found: Default::default(),
        }
    }

    /// Takes the records of a block.
    pub(super) fn take(&mut self, records: Records<'_>) {
        self.mirror.clear();
        self.dirs.epoch += 1;
        self.processes.fill(false);
        for record in records {
            let body = record.body();
            if let Defined::DirAgain(_) = self.mirror.define(&body) {
                self.dirs.epoch += 1;
            }
            match body {
                Body::Event(event) => self.event(&event),
                Body::Loss(_) => self.trouble(Trouble::Loss),
                Body::Gap(_) => self.trouble(Trouble::Gap),
                Body::Note(_) => self.trouble(Trouble::Note),
                _ => {}
            }
        }
        for found in &mut self.found {
            // What compresses well has the same keys again and again.
            if found.len() > CELL_POSTINGS {
                once_each(found);
            }
        }
    }

    /// The cell ends: adds what is known only then, and leaves each posting once, in order.
    pub(super) fn end_cell(&mut self) {
        let links = &mut self.found[Kind::Link.place()];
        for (object, made) in self.made.drain() {
            if made.was_known || !made.is_written {
                links.push(hash(self.seed, &object.to_le_bytes()));
            }
        }
        self.found.iter_mut().for_each(once_each);
        // What is directly in a directory is below it.
        let below = &mut self.found[Kind::Below.place()];
        let mut direct = None;
        below.reverse();
        below.retain(|key| {
            let is_said = direct == Some(key | 1) && key & 1 == 0;
            direct = Some(*key);
            !is_said
        });
        below.reverse();
    }

    fn trouble(&mut self, trouble: Trouble) {
        self.found[Kind::Trouble.place()].push(hash(self.seed, trouble.key()));
    }

    fn event(&mut self, event: &EventRef<'_>) {
        let is_dir_rename = event.is_dir() && event.head.mask.get() & RENAME != 0;
        self.path(event.head.dir.get(), event.name, is_dir_rename);
        self.path(event.head.dir2.get(), event.name2, is_dir_rename);
        self.process(event.head.proc.get());
        if !event.is_dir() && event.head.object.get() != 0 {
            self.making(event);
        }
    }

    /// Adds the keys of a path; none if its directory is not known.
    fn path(&mut self, dir: u32, name: &[u8], is_dir_rename: bool) {
        let Some(state) = self.state(dir) else { return };
        if name.is_empty() {
            self.directory_itself(dir);
            return;
        }
        self.found[Kind::Name.place()].push(hash(self.seed, name));
        if is_dir_rename {
            let path = state.with(b"/").with(name);
            self.found[Kind::DirRename.place()].push(path.finish());
        }
        self.above(dir, true);
    }

    /// The keys of a directory's own path.
    fn directory_itself(&mut self, id: u32) {
        let Some(dir) = self.mirror.dir(id) else { return };
        let text = self.mirror.dir_name(dir);
        let name = text.rsplit(|byte| *byte == b'/').next().unwrap_or(text);
        self.found[Kind::Name.place()].push(hash(self.seed, name));
        match dir.parent {
            0 => {
                // The directories above a root are known by its text alone.
                let text = text.to_owned();
                let end = text.len() - name.len();
                self.above_text(&text[..end.saturating_sub(1)], true);
            }
            parent => self.above(parent, true),
        }
    }

    /// The hash of a directory's path under way; `None` if it is not known.
    fn state(&mut self, id: u32) -> Option<State> {
        let known = self.dirs.known.get(id as usize)?;
        if known.epoch == self.dirs.epoch {
            return Some(known.state);
        }
        let dir = self.mirror.dir(id)?;
        let parent = dir.parent;
        let state = match parent {
            0 => State::new(self.seed).with(without_slash(self.mirror.dir_name(dir))),
            // A block's parents are defined before, and never form a cycle.
            parent => {
                let above = self.state(parent)?;
                let dir = self.mirror.dir(id)?;
                above.with(b"/").with(self.mirror.dir_name(dir))
            }
        };
        let epoch = self.dirs.epoch;
        self.dirs.known[id as usize] = Known { epoch, state, is_above: false, is_parent: false };
        Some(state)
    }

    /// Adds a directory and all above it; `is_parent`: something directly in it changed.
    fn above(&mut self, id: u32, is_parent: bool) {
        let (mut id, mut is_parent) = (id, is_parent);
        loop {
            let Some(state) = self.state(id) else { return };
            let known = &mut self.dirs.known[id as usize];
            if is_parent && !known.is_parent {
                known.is_parent = true;
                self.found[Kind::Below.place()].push(state.finish() << 1 | 1);
            }
            if known.is_above {
                return;
            }
            known.is_above = true;
            self.found[Kind::Below.place()].push(state.finish() << 1);
            let Some(dir) = self.mirror.dir(id) else { return };
            if dir.parent == 0 {
                let text = without_slash(self.mirror.dir_name(dir)).to_owned();
                let end = text.iter().rposition(|byte| *byte == b'/');
                if let Some(end) = end {
                    self.above_text(&text[..end], false);
                }
                return;
            }
            (id, is_parent) = (dir.parent, false);
        }
    }

    /// Adds the directory of this path, and all above it.
    fn above_text(&mut self, path: &[u8], is_parent: bool) {
        let below = &mut self.found[Kind::Below.place()];
        let mut end = path.len();
        if is_parent {
            below.push(hash(self.seed, path) << 1 | 1);
        }
        loop {
            below.push(hash(self.seed, &path[..end]) << 1);
            match path[..end].iter().rposition(|byte| *byte == b'/') {
                Some(slash) => end = slash,
                None => return,
            }
        }
    }

    fn process(&mut self, id: u32) {
        let Some(seen) = self.processes.get_mut(id as usize) else { return };
        if std::mem::replace(seen, true) {
            return;
        }
        let Some(process) = self.mirror.proc(id) else { return };
        let comm = process.comm.split(|byte| *byte == 0).next().unwrap_or_default();
        self.found[Kind::Comm.place()].push(hash(self.seed, comm));
        let uid = process.uid.get().to_le_bytes();
        self.found[Kind::Uid.place()].push(hash(self.seed, &uid));
        for (kind, text) in [(Kind::Exe, process.exe.get()), (Kind::Cgroup, process.cgroup.get())] {
            let text = self.mirror.string(text).unwrap_or_default();
            self.found[kind.place()].push(hash(self.seed, text));
        }
    }

    /// Follows who made a file, and whether that process, or one that it started, wrote to it.
    fn making(&mut self, event: &EventRef<'_>) {
        let (mask, process) = (event.head.mask.get(), event.head.proc.get());
        let writes = mask & (MODIFY | CLOSE_WRITE) != 0;
        let object = event.head.object.get();
        if mask & CREATE != 0 {
            let pid = self.mirror.proc(process).map_or(0, |process| process.pid.get());
            let was_known = self.made.contains_key(&object);
            self.made.insert(object, Made { pid, was_known, is_written: writes });
        } else if writes && let Some(made) = self.made.get_mut(&object) {
            made.is_written = made.is_written || descends(&self.mirror, process, made.pid);
        }
    }
}

/// Whether a process has this pid, or an ancestor has.
fn descends(mirror: &Mirror, process: u32, pid: u32) -> bool {
    let mut id = process;
    for _ in 0..CHAIN_MAX {
        let Some(process) = mirror.proc(id) else { return false };
        if process.pid.get() == pid {
            return true;
        }
        id = process.parent.get();
    }
    false
}

fn once_each(found: &mut Vec<u64>) {
    found.sort_unstable();
    found.dedup();
}

/// The path of a directory as it stands before a slash and a name: that of `/` is empty.
pub(crate) fn without_slash(path: &[u8]) -> &[u8] {
    path.strip_suffix(b"/").unwrap_or(path)
}

//! Keeps track of what the open block defines, and writes missing definitions.

use super::block::{Block, EventIds};
use crate::limits::{DIR_LEVELS_MAX, DIR_SLOTS_MAX, IDS_SPARE, PROC_LEVELS_MAX, PROC_SLOTS_MAX};
use crate::mirror::{Capacity, Mirror};
use crate::number::to_u32;
use crate::record::{
    self, Build, DIR_HEAD, Event, Proc, STR_HEAD, TEXT_MAX, dir_flag, proc_flag, slots_for,
};
use zerocopy::FromZeros;
use zerocopy::little_endian::U32;

/// Strings that an image refers to.
const STRINGS: usize = 5;

// One image with its longest strings fits its share.
const _: () = assert!(2 + STRINGS * slots_for(STR_HEAD + TEXT_MAX) <= PROC_SLOTS_MAX);

#[derive(Clone, Copy, FromZeros)]
struct Entry {
    /// The id in the stream; 0 if it has none yet.
    stream: u32,
    /// The mark of the block that defined it last.
    mark: u32,
}

/// From the ring's dense ids to the stream's ids, which are never used again.
struct Table {
    entries: Vec<Entry>,
    next: u32,
}

impl Table {
    fn new(capacity: usize) -> Self {
        let entries = Entry::new_vec_zeroed(capacity + 1).expect("address space for the ids");
        Table { entries, next: 1 }
    }

    /// The stream id, if the block of `mark` defines it; 0 stays 0.
    #[inline]
    fn defined(&self, id: u32, mark: u32) -> Option<u32> {
        if id == 0 {
            return Some(0);
        }
        let entry = self.entries.get(id as usize)?;
        (entry.mark == mark).then_some(entry.stream)
    }

    /// The stream id, a new one if there is none; 0 for an id beyond the capacity.
    fn stream_id(&mut self, id: u32) -> u32 {
        let Some(entry) = self.entries.get_mut(id as usize) else { return 0 };
        if entry.stream == 0 && id != 0 {
            entry.stream = self.next;
            self.next += 1;
        }
        entry.stream
    }

    /// `known`, unless `id` is beyond the capacity.
    fn within<T>(&self, id: u32, known: Option<T>) -> Option<T> {
        known.filter(|_| (id as usize) < self.entries.len())
    }

    fn set_mark(&mut self, id: u32, mark: u32) {
        if let Some(entry) = self.entries.get_mut(id as usize) {
            entry.mark = mark;
        }
    }

    fn forget(&mut self, id: u32) {
        if let Some(entry) = self.entries.get_mut(id as usize) {
            *entry = Entry { stream: 0, mark: 0 };
        }
    }

    fn renumber(&mut self) {
        self.entries.fill(Entry { stream: 0, mark: 0 });
        self.next = 1;
    }
}

/// Whose command lines the stream has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Cmdlines {
    /// Of all processes.
    All,
    /// Of the processes of events, but not of their ancestors.
    Events,
    None,
}

/// Process images with or without their command lines.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Images {
    Whole,
    Bare,
}

impl Cmdlines {
    #[inline]
    fn of_events(self) -> Images {
        if self == Cmdlines::None { Images::Bare } else { Images::Whole }
    }

    fn of_ancestors(self) -> Images {
        if self == Cmdlines::All { Images::Whole } else { Images::Bare }
    }
}

pub(super) struct Definitions {
    dirs: Table,
    /// By directory id: hash of the handle for which it got its stream id.
    objects: Vec<u64>,
    /// By directory id: the number of its definition in the open block, counted from 1.
    numbers: Vec<u16>,
    /// By that number: the parent's number, as a reader of the block will see it; the mirror may differ by now.
    parents: Vec<u16>,
    /// Process images, with and without their command lines: see [`Definitions::image`].
    images: Table,
    processes_max: u32,
    cmdlines: Cmdlines,
    strings: Table,
    /// Marks the open block; never 0.
    mark: u32,
    /// The open block defines a directory by its whole path.
    whole_path: bool,
    /// Ids from a wanted one up to, but without, the first that is defined.
    chain: Vec<u32>,
    path: Vec<u8>,
    build: Box<Build>,
    unresolved: u64,
}

impl Definitions {
    pub(super) fn new(capacity: Capacity) -> Self {
        Definitions {
            dirs: Table::new(capacity.dirs),
            objects: vec![0; capacity.dirs + 1],
            numbers: vec![0; capacity.dirs + 1],
            parents: with_root(),
            images: Table::new(2 * capacity.processes + 1),
            processes_max: to_u32(capacity.processes),
            cmdlines: Cmdlines::All,
            strings: Table::new(capacity.strings),
            mark: 1,
            whole_path: false,
            chain: Vec::with_capacity(DIR_LEVELS_MAX),
            path: Vec::with_capacity(TEXT_MAX),
            build: Box::default(),
            unresolved: 0,
        }
    }

    /// Events whose directory had no path in the mirror, or a path too long for a block.
    pub(super) fn unresolved(&self) -> u64 {
        self.unresolved
    }

    /// Begins a new block, which defines nothing yet.
    pub(super) fn next_block(&mut self) {
        self.mark = self.mark.wrapping_add(1);
        self.whole_path = false;
        self.parents.truncate(1);
    }

    #[cfg(test)]
    pub(super) fn use_up_ids(&mut self) {
        self.dirs.next = u32::MAX - IDS_SPARE;
    }

    #[cfg(test)]
    pub(super) fn use_up_marks(&mut self) {
        self.mark = u32::MAX;
    }

    /// Starts numbering anew if ids or marks run out. Call between blocks only.
    pub(super) fn renumber_if_due(&mut self) -> bool {
        let next = self.dirs.next.max(self.images.next).max(self.strings.next);
        if next < u32::MAX - IDS_SPARE && self.mark != 0 {
            return false;
        }
        self.dirs.renumber();
        self.images.renumber();
        self.strings.renumber();
        self.mark = 1;
        true
    }

    /// Whether the next events show the command lines of their processes.
    pub(super) fn set_cmdlines(&mut self, on: bool) {
        self.cmdlines = if on { Cmdlines::Events } else { Cmdlines::None };
    }

    /// The index of an image in the table: those without their command lines come behind the others, and so have other stream
    /// ids.
    #[inline]
    fn image(&self, of: Images, id: u32) -> u32 {
        match of {
            _ if id > self.processes_max => u32::MAX,
            Images::Bare if id != 0 => id + self.processes_max,
            _ => id,
        }
    }

    pub(super) fn forget_proc(&mut self, id: u32) {
        for of in [Images::Whole, Images::Bare] {
            self.images.forget(self.image(of, id));
        }
    }

    pub(super) fn forget_string(&mut self, id: u32) {
        self.strings.forget(id);
    }

    /// Directory `id` was defined again. Returns whether the open block must define it again at once: it is the
    /// same directory under another name, and the block may define directories below it already.
    pub(super) fn dir_changed(&mut self, id: u32, object: u64) -> bool {
        let Some(old) = self.objects.get_mut(id as usize) else { return false };
        let same = object != 0 && *old == object;
        *old = object;
        if !same {
            self.dirs.forget(id);
        }
        same && (self.whole_path || self.dirs.defined(id, self.mark).is_some())
    }

    /// Defines a directory again that the open block defines. `None` if the block cannot: there is no room, no
    /// path, or another path in it would become wrong.
    pub(super) fn dir_again(&mut self, id: u32, mirror: &Mirror, block: &mut Block) -> Option<()> {
        let dir = mirror.dir(id).filter(|_| !self.whole_path)?;
        let stream = self.dir(dir.parent, mirror, block)?;
        let number = |id: u32| self.numbers.get(id as usize).copied().unwrap_or(0);
        let (here, parent) = (number(id), if stream == 0 { 0 } else { number(dir.parent) });
        let lost = stream == 0 && dir.parent != 0;
        let room = slots_for(DIR_HEAD + mirror.dir_name(dir).len()) <= block.room();
        if lost || !room || self.is_below(parent, here) {
            return None;
        }
        self.parents[usize::from(here)] = parent;
        self.append_dir(id, stream, dir, None, mirror, block);
        Some(())
    }

    /// Whether directory number `at` of the open block is number `top`, or below it.
    fn is_below(&self, mut at: u16, top: u16) -> bool {
        while at != 0 && at != top {
            at = self.parents[usize::from(at)];
        }
        at == top
    }

    /// The ids for an event; `None` unless the open block defines all of them.
    #[inline]
    pub(super) fn of_event(&self, event: &Event) -> Option<EventIds> {
        Some(EventIds {
            dir: self.dirs.defined(event.dir.get(), self.mark)?,
            dir2: self.dirs.defined(event.dir2.get(), self.mark)?,
            proc: {
                let image = self.image(self.cmdlines.of_events(), event.proc.get());
                self.images.defined(image, self.mark)?
            },
        })
    }

    /// Defines what the event needs; `None` if the block has no room.
    #[cold]
    pub(super) fn define(
        &mut self,
        event: &Event,
        mirror: &Mirror,
        block: &mut Block,
    ) -> Option<EventIds> {
        Some(EventIds {
            dir: self.dir(event.dir.get(), mirror, block)?,
            dir2: self.dir(event.dir2.get(), mirror, block)?,
            proc: self.proc(event.proc.get(), mirror, block)?,
        })
    }

    /// Makes the block define a directory. Returns its stream id; 0 if it has no path, `None` if there is no room.
    pub(super) fn dir(&mut self, id: u32, mirror: &Mirror, block: &mut Block) -> Option<u32> {
        if let Some(stream) = self.dirs.defined(id, self.mark) {
            return Some(stream);
        }
        self.chain.clear();
        let (mut at, mut slots) = (id, 0);
        while self.dirs.defined(at, self.mark).is_none() {
            let Some(dir) = self.dirs.within(at, mirror.dir(at)) else {
                return Some(self.no_path());
            };
            slots += slots_for(DIR_HEAD + mirror.dir_name(dir).len());
            if self.chain.len() == DIR_LEVELS_MAX || slots > DIR_SLOTS_MAX {
                return self.dir_by_whole_path(id, mirror, block);
            }
            self.chain.push(at);
            at = dir.parent;
        }
        if slots > block.room() {
            return None;
        }
        while let Some(id) = self.chain.pop() {
            let dir = mirror.dir(id).expect("found on the way up");
            let parent = self.dirs.stream_id(dir.parent);
            self.take_number(id, dir.parent);
            self.append_dir(id, parent, dir, None, mirror, block);
        }
        self.dirs.defined(id, self.mark)
    }

    /// The same for a directory so deep that its parents would fill the block.
    fn dir_by_whole_path(&mut self, id: u32, mirror: &Mirror, block: &mut Block) -> Option<u32> {
        let Some(len) = path_len(mirror, id) else { return Some(self.no_path()) };
        if slots_for(DIR_HEAD + len) > block.room() {
            return None;
        }
        let mut path = std::mem::take(&mut self.path);
        path.clear();
        if let (true, Some(dir)) = (mirror.append_dir_path(id, &mut path), mirror.dir(id)) {
            self.take_number(id, 0);
            self.append_dir(id, 0, dir, Some(&path), mirror, block);
            self.whole_path = true;
        }
        self.path = path;
        self.dirs.defined(id, self.mark)
    }

    /// Gives a directory the next number in the open block.
    fn take_number(&mut self, id: u32, parent: u32) {
        let number = u16::try_from(self.parents.len()).expect("a block has at most 1023 slots");
        self.numbers[id as usize] = number;
        let parent = if parent == 0 { 0 } else { self.numbers[parent as usize] };
        self.parents.push(parent);
    }

    fn append_dir(
        &mut self,
        id: u32,
        parent: u32,
        dir: &crate::mirror::Dir,
        whole_path: Option<&[u8]>,
        mirror: &Mirror,
        block: &mut Block,
    ) {
        let mut head = record::Dir::new_zeroed();
        head.id = self.dirs.stream_id(id).into();
        head.parent = parent.into();
        head.fs = dir.fs().into();
        head.generation = dir.generation.into();
        head.object = dir.object.into();
        if whole_path.is_some() || dir.is_whole_path() {
            head.flags = dir_flag::WHOLE_PATH.into();
        }
        block.append(self.build.dir(head, whole_path.unwrap_or(mirror.dir_name(dir))));
        self.dirs.set_mark(id, self.mark);
    }

    fn no_path(&mut self) -> u32 {
        self.unresolved += 1;
        0
    }

    /// Makes the block define a process image, and its ancestors as far as they are known and fit.
    fn proc(&mut self, id: u32, mirror: &Mirror, block: &mut Block) -> Option<u32> {
        let (of_events, of_ancestors) = (self.cmdlines.of_events(), self.cmdlines.of_ancestors());
        if let Some(stream) = self.defined_image(of_events, id) {
            return Some(stream);
        }
        self.chain.clear();
        let (mut at, mut slots, mut child, mut of) = (id, 0, Proc::new_zeroed(), of_events);
        while self.defined_image(of, at).is_none() {
            let Some(proc) = mirror.proc(at).filter(|_| at <= self.processes_max) else { break };
            slots += self.proc_slots(proc, &child, mirror);
            if self.chain.len() == PROC_LEVELS_MAX || slots > PROC_SLOTS_MAX {
                break;
            }
            self.chain.push(at);
            (at, child, of) = (proc.parent.get(), *proc, of_ancestors);
        }
        if slots > block.room() {
            return None;
        }
        while let Some(next) = self.chain.pop() {
            let of = if self.chain.is_empty() { of_events } else { of_ancestors };
            // A cycle has an image twice.
            if let (None, Some(proc)) = (self.defined_image(of, next), mirror.proc(next)) {
                self.append_proc(next, of, *proc, mirror, block);
            }
        }
        Some(self.defined_image(of_events, id).unwrap_or(0))
    }

    /// The stream id of an image, if the open block defines it.
    fn defined_image(&self, of: Images, id: u32) -> Option<u32> {
        self.images.defined(self.image(of, id), self.mark)
    }

    /// The most slots for `proc` and those of its strings that neither the block nor `child` has.
    fn proc_slots(&self, proc: &Proc, child: &Proc, mirror: &Mirror) -> usize {
        let shared = strings_of(child);
        let new = strings_of(proc)
            .into_iter()
            .zip(shared)
            .filter(|(id, shared)| id != shared && self.strings.defined(*id, self.mark).is_none());
        let text = new.filter_map(|(id, _)| mirror.string(id));
        2 + text.map(|text| slots_for(STR_HEAD + text.len())).sum::<usize>()
    }

    fn append_proc(
        &mut self,
        id: u32,
        of: Images,
        mut proc: Proc,
        mirror: &Mirror,
        block: &mut Block,
    ) {
        if of == Images::Bare {
            proc.cmdline = 0.into();
            let none = proc_flag::CMDLINE_READ | proc_flag::CMDLINE_CUT;
            proc.flags = (proc.flags.get() & !none).into();
        }
        let [exe, exec, cgroup, user, cmdline] =
            strings_of(&proc).map(|id| self.string(id, mirror, block));
        proc.exec = exec.into();
        proc.exe = exe.into();
        proc.cgroup = cgroup.into();
        proc.user = user.into();
        proc.cmdline = cmdline.into();
        let of_ancestors = self.cmdlines.of_ancestors();
        // Not necessarily defined in this block: the ancestry may have been cut.
        for other in [&mut proc.parent, &mut proc.prev] {
            let known = mirror.proc(other.get()).is_some();
            let image = self.image(of_ancestors, other.get());
            *other = if known { self.images.stream_id(image) } else { 0 }.into();
        }
        let image = self.image(of, id);
        proc.id = self.images.stream_id(image).into();
        self.images.set_mark(image, self.mark);
        block.append(self.build.proc(proc));
    }

    fn string(&mut self, id: u32, mirror: &Mirror, block: &mut Block) -> u32 {
        if let Some(stream) = self.strings.defined(id, self.mark) {
            return stream;
        }
        let Some(text) = mirror.string(id) else { return 0 };
        let stream = self.strings.stream_id(id);
        if stream != 0 {
            block.append(self.build.str(stream, text));
            self.strings.set_mark(id, self.mark);
        }
        stream
    }
}

fn strings_of(proc: &Proc) -> [u32; STRINGS] {
    [proc.exe, proc.exec, proc.cgroup, proc.user, proc.cmdline].map(U32::get)
}

/// Number 0 stands for no directory. Has capacity for all directories of a block.
fn with_root() -> Vec<u16> {
    let mut parents = Vec::with_capacity(super::layout::BLOCK_SLOTS);
    parents.push(0);
    parents
}

/// Bytes of a directory's path at the most; `None` beyond [`TEXT_MAX`], or in a cycle.
fn path_len(mirror: &Mirror, id: u32) -> Option<usize> {
    let (mut len, mut at) = (0, id);
    while at != 0 {
        let dir = mirror.dir(at)?;
        len += mirror.dir_name(dir).len() + usize::from(dir.parent != 0);
        if len > TEXT_MAX {
            return None;
        }
        at = dir.parent;
    }
    Some(len)
}

//! Checks the records of a block and replaces the stream's ids with dense ids, in place.

use super::layout::BLOCK_SLOTS;
use crate::limits::ID_SLOTS;
use crate::record::{Body, Dir, Event, Loss, Proc, Record, Slot, Str};
use zerocopy::FromBytes;
use zerocopy::little_endian::U32;

/// Bits of the number of a slot.
const SLOT_BITS: u32 = ID_SLOTS.trailing_zeros();

/// A violation: the record's slot in the payload, and the rule that it breaks.
pub(super) type Broken = (usize, &'static str);

/// A process image's ids in the stream. They keep their meaning across blocks, up to a block that is
/// [`super::Block::is_renumbered`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct StreamIds {
    /// The image's id.
    pub id: u32,
    /// The id of the parent at the fork; 0 unknown. The block need not define it.
    pub parent: u32,
    /// The id of the process's previous image; 0 none. The block need not define it.
    pub prev: u32,
}

/// A hash table from stream ids of one sort to dense ids, which are numbered from 1 in order of definition.
/// Like the engine's `ProbeTable` without removal: all entries go at once, with the block.
struct Table {
    /// 0 is a free slot.
    keys: Vec<u32>,
    dense: Vec<u16>,
    len: u16,
}

impl Table {
    fn new() -> Self {
        Table { keys: vec![0; ID_SLOTS], dense: vec![0; ID_SLOTS], len: 0 }
    }

    fn clear(&mut self) {
        self.keys.fill(0);
        self.len = 0;
    }

    /// The index of `id`, or of the free slot where it belongs. There always is one: a block has at most half
    /// as many definitions as the table has slots.
    #[inline]
    fn index(&self, id: u32) -> usize {
        let mut at = (id.wrapping_mul(0x9E37_79B9) >> (32 - SLOT_BITS)) as usize;
        while self.keys[at] != id && self.keys[at] != 0 {
            at = (at + 1) % ID_SLOTS;
        }
        at
    }

    /// The dense id of a stream id; 0 for 0, `None` if the block does not define it.
    #[inline]
    fn get(&self, id: u32) -> Option<u32> {
        if id == 0 {
            return Some(0);
        }
        let index = self.index(id);
        (self.keys[index] == id).then(|| u32::from(self.dense[index]))
    }

    /// The dense id of a defined stream id, and whether this is its first definition.
    fn define(&mut self, id: u32) -> (u32, bool) {
        let index = self.index(id);
        let new = self.keys[index] == 0;
        if new {
            self.len += 1;
            self.keys[index] = id;
            self.dense[index] = self.len;
        }
        (u32::from(self.dense[index]), new)
    }
}

pub(super) struct Translator {
    dirs: Table,
    processes: Table,
    strings: Table,
    /// By dense process id minus 1.
    images: Vec<StreamIds>,
    /// By dense directory id: the dense id of the parent.
    parents: Vec<u32>,
    /// The block so far has a CLOCK, an END, and a GAP.
    has_clock: bool,
    ended: bool,
    has_gap: bool,
}

impl Translator {
    pub(super) fn new() -> Self {
        Translator {
            dirs: Table::new(),
            processes: Table::new(),
            strings: Table::new(),
            images: Vec::with_capacity(BLOCK_SLOTS / 2),
            parents: vec![0; BLOCK_SLOTS + 1],
            has_clock: false,
            ended: false,
            has_gap: false,
        }
    }

    /// The stream ids of the process images in the last block.
    pub(super) fn images(&self) -> &[StreamIds] {
        &self.images
    }

    /// Whether the last block has an END record.
    pub(super) fn has_end(&self) -> bool {
        self.ended
    }

    /// Whether the last block has a GAP record.
    pub(super) fn has_gap(&self) -> bool {
        self.has_gap
    }

    /// Replaces the ids in all records of a block's payload. `before` is the number of events in the stream
    /// before the block. Returns the number of events in it.
    pub(super) fn block(&mut self, slots: &mut [Slot], before: u64) -> Result<u32, Broken> {
        self.dirs.clear();
        self.processes.clear();
        self.strings.clear();
        self.images.clear();
        (self.has_clock, self.ended, self.has_gap) = (false, false, false);
        let (mut at, mut events) = (0, 0);
        while at < slots.len() {
            let len = usize::from(slots[at].0[1]);
            let record = slots.get_mut(at..at + len).filter(|record| !record.is_empty());
            let record = record.ok_or((at, "a record of no slots, or beyond the block"))?;
            let so_far = before.wrapping_add(events.into());
            events += u32::from(self.record(record, so_far).map_err(|rule| (at, rule))?);
            at += len;
        }
        Ok(events)
    }

    /// Checks and translates one record. `events` is the number of events before it. Returns whether it is an
    /// event.
    #[inline]
    fn record(&mut self, slots: &mut [Slot], events: u64) -> Result<bool, &'static str> {
        const SHORT: &str = "a record of too few slots";
        let (record, _) = Record::split_first(slots).ok_or(SHORT)?;
        let body = record.body();
        if self.ended && !matches!(body, Body::Skip | Body::Answer(_)) {
            return Err("a record behind the end of the stream");
        }
        let has_time = matches!(
            body,
            Body::Event(_)
                | Body::Loss(_)
                | Body::Stats(_)
                | Body::End(_)
                | Body::Gap(_)
                | Body::Note(_)
        );
        if has_time && !self.has_clock {
            return Err("a record with a time before the block's first clock");
        }
        match body {
            Body::Clock(_) => self.has_clock = true,
            Body::End(end) if end.events.get() != events => {
                return Err("the end counts other events than the blocks");
            }
            Body::End(_) => self.ended = true,
            Body::Gap(_) => self.has_gap = true,
            Body::Event(_) => {
                let event = Event::mut_from_bytes(&mut slots[0].0).map_err(|_| SHORT)?;
                self.event(event)?;
                return Ok(true);
            }
            Body::Loss(_) => {
                const DIR: &str = "a loss in a directory that the block does not define";
                let loss = Loss::mut_from_bytes(&mut slots[0].0).map_err(|_| SHORT)?;
                loss.dir = self.dirs.get(loss.dir.get()).ok_or(DIR)?.into();
            }
            Body::Dir(..) => self.dir(Dir::mut_from_bytes(&mut slots[0].0).map_err(|_| SHORT)?)?,
            Body::Str(..) => {
                let head = Str::mut_from_bytes(&mut slots[0].0).map_err(|_| SHORT)?;
                head.id = define_once(&mut self.strings, head.id)?;
            }
            Body::Proc(_) => {
                let [first, second, ..] = slots else { return Err(SHORT) };
                let mut whole = [0; 128];
                whole[..64].copy_from_slice(&first.0);
                whole[64..].copy_from_slice(&second.0);
                self.proc(Proc::mut_from_bytes(&mut whole).map_err(|_| SHORT)?)?;
                first.0.copy_from_slice(&whole[..64]);
                second.0.copy_from_slice(&whole[64..]);
            }
            Body::Malformed => return Err("a name is longer than its record, or than allowed"),
            _ => {}
        }
        Ok(false)
    }

    #[inline]
    fn event(&self, event: &mut Event) -> Result<(), &'static str> {
        const DIR: &str = "an event in a directory that the block does not define";
        event.dir = self.dirs.get(event.dir.get()).ok_or(DIR)?.into();
        event.dir2 = self.dirs.get(event.dir2.get()).ok_or(DIR)?.into();
        let proc = self.processes.get(event.proc.get());
        event.proc = proc.ok_or("an event of a process that the block does not define")?.into();
        Ok(())
    }

    fn dir(&mut self, dir: &mut Dir) -> Result<(), &'static str> {
        let parent = self.dirs.get(dir.parent.get());
        let parent = parent.ok_or("a directory whose parent the block does not define before")?;
        if dir.id.get() == 0 {
            return Err("a definition of id 0");
        }
        let (id, new) = self.dirs.define(dir.id.get());
        if !new && self.is_below(parent, id) {
            return Err("a directory below itself");
        }
        self.parents[id as usize] = parent;
        dir.id = id.into();
        dir.parent = parent.into();
        Ok(())
    }

    /// Whether `at` is `top` or below it. Terminates, as earlier definitions with a cycle were refused.
    fn is_below(&self, mut at: u32, top: u32) -> bool {
        while at != 0 && at != top {
            at = self.parents[at as usize];
        }
        at == top
    }

    fn proc(&mut self, proc: &mut Proc) -> Result<(), &'static str> {
        let ids = StreamIds { id: proc.id.get(), parent: proc.parent.get(), prev: proc.prev.get() };
        // The parent and the previous image may be undefined: an ancestry can be cut.
        proc.parent = self.processes.get(proc.parent.get()).unwrap_or(0).into();
        proc.prev = self.processes.get(proc.prev.get()).unwrap_or(0).into();
        let strings =
            [&mut proc.exe, &mut proc.exec, &mut proc.cgroup, &mut proc.user, &mut proc.cmdline];
        for string in strings {
            let dense = self.strings.get(string.get());
            *string = dense.ok_or("a process with a string that the block does not define")?.into();
        }
        proc.id = define_once(&mut self.processes, proc.id)?;
        self.images.push(ids);
        Ok(())
    }
}

fn define_once(table: &mut Table, id: U32) -> Result<U32, &'static str> {
    if id.get() == 0 {
        return Err("a definition of id 0");
    }
    match table.define(id.get()) {
        (dense, true) => Ok(dense.into()),
        (_, false) => Err("an id defined twice"),
    }
}

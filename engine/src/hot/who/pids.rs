//! The process cache: a [`ProbeTable`] keyed by pid, a cache line an entry.
//!
//! Rules:
//! * Capacity is a power of two, fixed at start; at most three quarters are used.
//! * A pid's home is found by blocks of 64 entries (a page): the block by multiplication, the slot in the block by
//!   the low bits of the pid. The kernel gives out pids in a row, so processes that start one after the other share
//!   pages; blocks are scattered, so that rows do not run into each other.
//! * Pid 0 is no process and marks an empty slot.

use crate::hot::containers::probing::{ProbeTable, Slot};
use crate::limits::who::OPENED_MAX;
use fsmon_format::number::to_u32;
use zerocopy::FromZeros;

/// Between the first and the last sign of an exec.
pub const IN_EXEC: u8 = 1;
/// More executables were opened than fit.
pub const OPENED_OVER: u8 = 2;

/// What is known of the latest process of a pid. All zero is the empty slot.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromZeros)]
#[repr(C, align(64))]
pub struct Entry {
    /// The process; 0 in an empty slot.
    pub pid: u32,
    /// Its latest image.
    pub image: u32,
    /// An event known to be no older than this is the latest image's without another look;
    /// `u64::MAX` asks for one always. In ns, or with BPF in events queued.
    pub since: u64,
    /// When it ended; 0 while it runs.
    pub exit_ns: u64,
    /// How far its file events have come: an image, and that image's serial number.
    pub at: u32,
    /// See `at`.
    pub at_serial: u32,
    /// Until when at the latest the last executable was opened.
    pub opened_until_ns: u64,
    /// Hashes of the names of executables opened, oldest first.
    pub opened: [u32; OPENED_MAX],
    /// How many of them.
    pub opened_len: u8,
    /// How many of those were matched to execs, or found to lead to none. They are kept as later
    /// openings may have been merged into them.
    pub opened_done: u8,
    /// [`super::message::Source::bit`]s of the sources that reported its fork.
    pub forked_by: u8,
    /// [`IN_EXEC`] and [`OPENED_OVER`].
    pub flags: u8,
}

const _: () = assert!(size_of::<Entry>() == 64);

impl Slot for Entry {
    #[inline]
    fn is_empty(&self) -> bool {
        self.pid == 0
    }
}

/// The array.
pub struct Pids {
    entries: ProbeTable<Entry>,
    shift: u32,
}

/// Entries of a page: what a block is.
const BLOCK: usize = 64;
/// 2^32 divided by the golden ratio, odd: scatters neighbouring blocks.
const SCATTER: u32 = 0x9e37_79b1;

impl Entry {
    /// Whether a flag is set.
    #[must_use]
    pub fn is(&self, flag: u8) -> bool {
        self.flags & flag != 0
    }

    /// Sets or clears a flag.
    pub fn set(&mut self, flag: u8, on: bool) {
        self.flags = if on { self.flags | flag } else { self.flags & !flag };
    }

    /// What was opened and is not matched yet.
    #[must_use]
    pub fn opened_pending(&self) -> &[u32] {
        &self.opened[usize::from(self.opened_done)..usize::from(self.opened_len)]
    }

    /// What was matched.
    #[must_use]
    pub fn opened_before(&self) -> &[u32] {
        &self.opened[..usize::from(self.opened_done)]
    }

    /// Forgets what was matched.
    pub fn drop_opened_before(&mut self) {
        let done = usize::from(self.opened_done);
        self.opened.copy_within(done.., 0);
        self.opened_len -= self.opened_done;
        self.opened_done = 0;
        self.set(OPENED_OVER, false);
    }

    /// Discards the openings, which cannot be matched any more: an exec up to `until_ns` may have left no trace.
    pub fn give_up_opened(&mut self, until_ns: u64) {
        (self.opened_len, self.opened_done, self.opened_until_ns) = (0, 0, until_ns);
        self.set(OPENED_OVER, true);
    }

    /// One more executable was opened; the oldest gives way when there are too many.
    pub fn push_opened(&mut self, name: u32) {
        if usize::from(self.opened_len) == OPENED_MAX {
            self.opened.copy_within(1.., 0);
            self.opened_len -= 1;
            self.opened_done = self.opened_done.saturating_sub(1);
            self.set(OPENED_OVER, true);
        }
        self.opened[usize::from(self.opened_len)] = name;
        self.opened_len += 1;
    }
}

impl Pids {
    /// Reserves room for `max` processes; pages are taken as they are used.
    #[must_use]
    pub fn with_capacity(max: usize) -> Self {
        let slots = (max + max / 3 + 1).next_power_of_two().max(2 * BLOCK);
        let blocks = to_u32(slots / BLOCK);
        Pids { entries: ProbeTable::new(slots), shift: 32 - blocks.trailing_zeros() }
    }

    /// Processes in it.
    #[cfg(test)]
    #[must_use]
    pub(crate) fn len(&self) -> usize {
        self.entries.used()
    }

    /// The slot of `pid`, or the empty slot where it would go.
    #[inline]
    fn slot(&self, pid: u32) -> Result<usize, usize> {
        self.entries.find(home(pid, self.shift), |entry| entry.pid == pid)
    }

    /// The entry of `pid`.
    #[inline]
    #[must_use]
    pub fn get(&self, pid: u32) -> Option<&Entry> {
        self.slot(pid).ok().map(|at| self.entries.get(at))
    }

    /// The same, to change; its pid must stay.
    #[inline]
    pub fn get_mut(&mut self, pid: u32) -> Option<&mut Entry> {
        self.slot(pid).ok().map(|at| self.entries.get_mut(at))
    }

    /// Puts `entry` into the slot of its pid, over the previous entry. Returns false, and changes nothing, if the
    /// table is full or the pid is 0.
    pub fn insert(&mut self, entry: Entry) -> bool {
        if entry.pid == 0 {
            return false;
        }
        match self.slot(entry.pid) {
            Ok(at) => *self.entries.get_mut(at) = entry,
            Err(_) if self.entries.used() >= self.entries.slots() / 4 * 3 => return false,
            Err(at) => self.entries.fill(at, entry),
        }
        true
    }

    /// Takes `pid` out.
    pub fn remove(&mut self, pid: u32) -> Option<Entry> {
        let at = self.slot(pid).ok()?;
        let removed = *self.entries.get(at);
        let shift = self.shift;
        self.entries.remove(at, |entry| home(entry.pid, shift));
        Some(removed)
    }

    /// The next process at or after slot `at`, and the slot after it, for a walk over all. Nothing may be inserted
    /// or removed during the walk.
    #[must_use]
    pub fn next_from(&self, at: usize) -> Option<(&Entry, usize)> {
        self.entries.next_from(at)
    }
}

/// Where a pid is looked for first.
#[inline]
fn home(pid: u32, shift: u32) -> usize {
    let block = (pid / const { to_u32(BLOCK) }).wrapping_mul(SCATTER) >> shift;
    block as usize * BLOCK + pid as usize % BLOCK
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::HashMap;

    fn entry(pid: u32, image: u32) -> Entry {
        Entry { pid, image, ..Entry::default() }
    }

    #[test]
    fn it_fills_up_to_three_quarters() {
        let mut pids = Pids::with_capacity(1);
        let fitted = (1..=200).filter(|&pid| pids.insert(entry(pid, 1))).count();
        assert_eq!((fitted, pids.len()), (96, 96));
        assert!(pids.insert(entry(5, 2)) && !pids.insert(entry(150, 1)));
        assert!(!pids.insert(entry(0, 1)) && pids.get(0).is_none() && pids.remove(0).is_none());
    }

    proptest! {
        /// Few pids in a small array: long probes, wraps and shifts all happen.
        #[test]
        fn agrees_with_a_map(ops in proptest::collection::vec((0u8..4, 1u32..300, 1u32..9), 1..600)) {
            let mut pids = Pids::with_capacity(90);
            let mut model: HashMap<u32, u32> = HashMap::new();
            for (op, pid, image) in ops {
                // Far pids share homes with near ones.
                let pid = if pid % 3 == 0 { pid * 8192 } else { pid };
                if op == 0 {
                    prop_assert_eq!(pids.remove(pid).map(|entry| entry.image), model.remove(&pid));
                } else if pids.insert(entry(pid, image)) {
                    model.insert(pid, image);
                } else {
                    prop_assert!(model.len() == 96 && !model.contains_key(&pid));
                }
                prop_assert_eq!(pids.len(), model.len());
                for (&pid, &image) in &model {
                    prop_assert_eq!(pids.get(pid).map(|entry| entry.image), Some(image));
                }
            }
            let (mut at, mut seen) = (0, 0);
            while let Some((entry, next)) = pids.next_from(at) {
                prop_assert_eq!(model.get(&entry.pid), Some(&entry.image));
                (at, seen) = (next, seen + 1);
            }
            prop_assert_eq!(seen, model.len());
        }
    }
}

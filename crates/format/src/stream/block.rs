//! The block being filled: one buffer, used over and over.

use super::clock::ClockInForce;
use super::layout::{BLOCK_SLOTS, BlockHeader, GRID, SYNC, block_flag, block_kind};
use crate::limits::PAD_BELOW_BYTES;
use crate::number::to_usize;
use crate::record::{Build, Clock, Event, SLOT, Slot};
use zerocopy::{FromBytes, FromZeros, IntoBytes};

/// Stream ids for an event.
#[derive(Clone, Copy)]
pub(super) struct EventIds {
    pub(super) dir: u32,
    pub(super) dir2: u32,
    pub(super) proc: u32,
}

pub(super) struct Block {
    /// The header's slot, then records.
    slots: Vec<Slot>,
    /// Slots in use, the header's included; 0 while no block is open.
    used: usize,
    /// The maximum number of slots of this block: up to the grid.
    limit: usize,
    /// Zero but for the numbers and times, until the block is closed.
    header: BlockHeader,
    timed: bool,
}

impl Block {
    pub(super) fn new() -> Self {
        Block {
            slots: vec![Slot::ZERO; BLOCK_SLOTS],
            used: 0,
            limit: 0,
            header: BlockHeader::new_zeroed(),
            timed: false,
        }
    }

    pub(super) fn is_open(&self) -> bool {
        self.used > 0
    }

    /// Whether it contains only the clock.
    pub(super) fn is_empty(&self) -> bool {
        self.used <= 2
    }

    /// Whether the grid limits its length.
    pub(super) fn is_short(&self) -> bool {
        self.limit < BLOCK_SLOTS
    }

    /// Slots that can be appended; none while no block is open.
    #[inline]
    pub(super) fn room(&self) -> usize {
        self.limit - self.used
    }

    /// Whether a pad should come at `offset`, rather than a block.
    pub(super) fn wants_pad(offset: u64) -> bool {
        to_grid(offset) < PAD_BELOW_BYTES
    }

    /// Begins a block of at most `bytes` bytes, with the clock.
    pub(super) fn open(&mut self, bytes: usize, flags: u16, clock: ClockInForce) {
        self.header = BlockHeader::new_zeroed();
        self.header.kind = block_kind::RECORDS;
        self.header.flags = flags.into();
        self.timed = false;
        self.limit = BLOCK_SLOTS.min(bytes / SLOT);
        self.used = 1;
        self.clock(clock);
    }

    /// Appends a clock, or replaces the one that the block began with.
    pub(super) fn clock(&mut self, clock: ClockInForce) {
        if self.is_empty() {
            self.used = 1;
        }
        let ClockInForce { time_ns, realtime_ns, steps, .. } = clock;
        self.append(Build::default().counted_clock(time_ns, realtime_ns, steps));
    }

    /// Appends a record; the caller has checked [`Block::room`].
    #[inline]
    pub(super) fn append(&mut self, record: &[Slot]) -> &mut [Slot] {
        let appended = &mut self.slots[self.used..self.used + record.len()];
        match (&mut *appended, record) {
            // The usual length: copied inline, without a call.
            ([to], [from]) => *to = *from,
            (to, from) => to.copy_from_slice(from),
        }
        self.used += record.len();
        appended
    }

    /// Appends an event with its ids replaced.
    #[inline]
    pub(super) fn append_event(&mut self, record: &[Slot], ids: EventIds, time_ns: u64) {
        let appended = self.append(record);
        let event = Event::mut_from_bytes(&mut appended[0].0).expect("an event's head is a slot");
        event.dir = ids.dir.into();
        event.dir2 = ids.dir2.into();
        event.proc = ids.proc.into();
        self.header.events += 1;
        self.note_time(time_ns);
    }

    pub(super) fn note_flag(&mut self, flag: u16) {
        self.header.flags |= flag;
    }

    #[inline]
    pub(super) fn note_time(&mut self, time_ns: u64) {
        if time_ns >= self.header.last_ns.get() && self.timed {
            self.header.last_ns = time_ns.into();
            return;
        }
        if !self.timed {
            self.timed = true;
            self.header.first_ns = time_ns.into();
            self.header.last_ns = time_ns.into();
            return;
        }
        self.header.flags |= block_flag::UNORDERED;
        self.header.first_ns = self.header.first_ns.get().min(time_ns).into();
    }

    /// The records, without the header.
    pub(super) fn payload(&self) -> &[u8] {
        self.slots[1..self.used].as_bytes()
    }

    /// Closes the block. Returns all of it, with its header.
    pub(super) fn close(&mut self, label: BlockLabel) -> &[u8] {
        let used = self.used;
        self.abandon();
        label.write_to(&mut self.header);
        let (first, payload) = self.slots[..used].split_at_mut(1);
        self.header.seal(payload.as_bytes());
        first[0].0.copy_from_slice(self.header.as_bytes());
        self.slots[..used].as_bytes()
    }

    /// Closes the block. Returns its header, for `stored` as its compressed payload.
    pub(super) fn close_compressed(
        &mut self,
        label: BlockLabel,
        codec: u8,
        stored: &[u8],
    ) -> &BlockHeader {
        let raw_len = self.payload().len();
        self.abandon();
        label.write_to(&mut self.header);
        self.header.seal_stored(codec, stored, raw_len);
        &self.header
    }

    /// Drops the open block.
    pub(super) fn abandon(&mut self) {
        (self.used, self.limit) = (0, 0);
    }

    /// Events in the open block.
    pub(super) fn events(&self) -> u64 {
        self.header.events.get().into()
    }
}

/// The fields of a header that say which block of which stream it is.
#[derive(Clone, Copy)]
pub(super) struct BlockLabel {
    pub(super) number: u64,
    /// Events of the stream before it.
    pub(super) first_event: u64,
    pub(super) tag: [u8; 4],
}

impl BlockLabel {
    fn write_to(self, header: &mut BlockHeader) {
        header.sync = SYNC;
        header.number = self.number.into();
        header.first_event = self.first_event.into();
        header.stream_tag = self.tag;
    }

    /// The header of a pad whose payload is `zeros`.
    pub(super) fn pad(self, zeros: &[u8]) -> BlockHeader {
        let mut header = BlockHeader::new_zeroed();
        header.kind = block_kind::PAD;
        self.write_to(&mut header);
        header.seal(zeros);
        header
    }
}

/// Bytes from `offset` of a file to the next multiple of the grid.
pub(super) fn to_grid(offset: u64) -> usize {
    to_usize(GRID - offset % GRID)
}

/// The end of a file whose writer was killed: a block that is final and has nothing but a clock, and a pad before it if
/// the grid needs one. `offset` is where the file ends now, behind a whole block or the header; `number` and
/// `first_event` are those of the next block; `clock` is the CLOCK in force.
///
/// Behind it the file is one that was ended in order and goes on in another, so that a strict reader reads it to its
/// end. It has no END record.
#[must_use]
pub fn closing(
    offset: u64,
    (number, first_event, tag): (u64, u64, [u8; 4]),
    clock: &Clock,
) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut label = BlockLabel { number, first_event, tag };
    let room = to_grid(offset);
    if room < 2 * SLOT {
        // Whole slots: only a header fits.
        bytes.extend_from_slice(label.pad(&[]).as_bytes());
        label.number += 1;
    }
    let mut block = Block::new();
    let mut in_force = ClockInForce::new(clock.time_ns.get(), clock.realtime_ns.get());
    in_force.steps = clock.steps.get();
    block.open(2 * SLOT, block_flag::FINAL, in_force);
    bytes.extend_from_slice(block.close(label));
    bytes
}

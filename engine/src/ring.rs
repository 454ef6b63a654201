//! The SPSC ring between the reader and its one consumer: 64-byte slots, whole records, no lock.
//!
//! ```text
//!            head (consumer stores)          tail (producer stores)
//!               ▼                               ▼
//!   ┌──────┬────┬──────────────────────────────┬────┬─────────┐
//!   │ free │    │ published: the consumer reads │    │ free    │
//!   └──────┴────┴──────────────────────────────┴────┴─────────┘
//! ```
//! Head and tail count slots since the start and never wrap (2^64 slots). A record never runs
//! over the end of the buffer: the producer fills up with a PAD record first, so every record is
//! one slice. Each side caches the other's index and looks again only when the cache says that
//! there is no room, or nothing to read.
//!
//! Sleeping: the consumer stores 1 to `asleep`, looks at the tail again, and waits on the futex
//! while it is 1. The producer publishes the tail, then looks at `asleep`. Both fence in between
//! (SeqCst), so one of them sees the other: no wake-up is lost.

#![allow(unsafe_code)]

use crate::limits::reader::{BATCH_SLOTS_MAX, PUBLISH_SLOTS};
use crate::sync::{Arc, AtomicBool, AtomicU64, Ordering, fence, futex};
use crossbeam_utils::CachePadded;
use fsmon_format::number::to_usize;
use fsmon_format::record::{SLOT, SLOTS_MAX, Slot, tag};
use slots::Slots;
use std::time::Duration;

mod slots;

struct Shared {
    slots: Slots,
    /// Written by the consumer: everything before is free. Never above `tail`.
    head: CachePadded<AtomicU64>,
    /// Written by the producer: everything before is published. At most `head` + slots.
    tail: CachePadded<AtomicU64>,
    /// 1 while the consumer sleeps or is about to.
    asleep: CachePadded<futex::Word>,
    /// Set when one end is dropped.
    closed: AtomicBool,
}

/// The reader's end.
pub(crate) struct Producer {
    shared: Arc<Shared>,
    tail: u64,
    published: u64,
    head_seen: u64,
    peak: u64,
}

/// The consumer's end.
pub(crate) struct Consumer {
    shared: Arc<Shared>,
    head: u64,
    tail_seen: u64,
}

/// A ring of at least `slots` slots (a power of two, and room for some records).
pub(crate) fn ring(slots: usize) -> (Producer, Consumer) {
    exactly(slots.max(4 * SLOTS_MAX).next_power_of_two())
}

/// A ring of `len` slots, a power of two.
fn exactly(len: usize) -> (Producer, Consumer) {
    let shared = Arc::new(Shared {
        slots: Slots::new(len),
        head: CachePadded::new(AtomicU64::new(0)),
        tail: CachePadded::new(AtomicU64::new(0)),
        asleep: CachePadded::new(futex::Word::new(0)),
        closed: AtomicBool::new(false),
    });
    let producer =
        Producer { shared: Arc::clone(&shared), tail: 0, published: 0, head_seen: 0, peak: 0 };
    (producer, Consumer { shared, head: 0, tail_seen: 0 })
}

impl Producer {
    fn len(&self) -> u64 {
        self.shared.slots.len() as u64
    }

    fn slot_at(&self, at: u64) -> usize {
        to_usize(at & (self.len() - 1))
    }

    /// Takes a whole record; false when there is no room for it now. Not yet seen by the
    /// consumer: see [`Producer::publish`].
    #[inline]
    pub(crate) fn push(&mut self, record: &[Slot]) -> bool {
        self.push_with(record.len(), |room| room.copy_from_slice(record))
    }

    /// The same for a record of `count` slots that `fill` lays out in its place. It finds there
    /// whatever was there before.
    #[inline]
    pub(crate) fn push_with(&mut self, count: usize, fill: impl FnOnce(&mut [Slot])) -> bool {
        let slots = count as u64;
        let to_end = self.len() - self.slot_at(self.tail) as u64;
        let pad = if to_end < slots { to_end } else { 0 };
        if !self.has_room(pad + slots) {
            return false;
        }
        if pad > 0 {
            self.pad(pad);
        }
        // SAFETY: the slots from tail on are free (has_room) and not published: only this producer
        // touches them, and the borrow ends before they are published.
        fill(unsafe { self.shared.slots.room(self.slot_at(self.tail), count) });
        self.tail += slots;
        if self.tail - self.published >= PUBLISH_SLOTS {
            self.publish();
        }
        true
    }

    /// Fills the end of the buffer, so that the next record begins at its start.
    #[cold]
    fn pad(&mut self, count: u64) {
        let mut left = count;
        while left > 0 {
            let piece = left.min(SLOTS_MAX as u64);
            let mut bytes = [0; SLOT];
            bytes[0] = tag::PAD;
            bytes[1] = u8::try_from(piece).expect("a record's slots fit a byte");
            // SAFETY: as in `push_with`.
            unsafe { self.shared.slots.room(self.slot_at(self.tail), 1)[0] = Slot(bytes) };
            self.tail += piece;
            left -= piece;
        }
    }

    #[inline]
    fn has_room(&mut self, count: u64) -> bool {
        if self.tail + count - self.head_seen <= self.len() {
            return true;
        }
        // Acquire: the consumer has finished reading what lies before the head it stored.
        self.head_seen = self.shared.head.load(Ordering::Acquire);
        self.tail + count - self.head_seen <= self.len()
    }

    /// Shows the consumer everything pushed so far, and wakes it if it sleeps.
    pub(crate) fn publish(&mut self) {
        if self.published == self.tail {
            return;
        }
        self.published = self.tail;
        // Release: the slots are written before the tail that covers them is seen.
        self.shared.tail.store(self.tail, Ordering::Release);
        let used = self.tail - self.shared.head.load(Ordering::Relaxed);
        self.peak = self.peak.max(used);
        self.wake();
    }

    /// Slots that the consumer has not given back.
    pub(crate) fn backlog(&self) -> u64 {
        self.tail - self.shared.head.load(Ordering::Relaxed)
    }

    /// Slots in use at the most.
    pub(crate) fn peak(&self) -> u64 {
        self.peak
    }

    /// Whether the consumer is gone: nothing that is pushed will be read.
    pub(crate) fn abandoned(&self) -> bool {
        self.shared.closed.load(Ordering::Relaxed)
    }

    fn wake(&self) {
        // Pairs with the fence in `Consumer::sleep`: either we see it asleep, or it sees the tail.
        fence(Ordering::SeqCst);
        if self.shared.asleep.load(Ordering::Relaxed) == 1
            && self.shared.asleep.swap(0, Ordering::Relaxed) == 1
        {
            futex::wake(&self.shared.asleep);
        }
    }
}

impl Drop for Producer {
    fn drop(&mut self) {
        self.publish();
        // Release: whoever sees `closed` sees the last tail.
        self.shared.closed.store(true, Ordering::Release);
        self.wake();
    }
}

impl Consumer {
    /// Whether something is published that was not released yet.
    pub(crate) fn has_more(&mut self) -> bool {
        if self.tail_seen == self.head {
            // Acquire: pairs with the producer's release of the tail.
            self.tail_seen = self.shared.tail.load(Ordering::Acquire);
        }
        self.tail_seen != self.head
    }

    /// What is published and not yet released: whole records, a piece that lies in one run.
    #[inline]
    pub(crate) fn peek(&mut self) -> &[Slot] {
        self.has_more();
        let len = self.shared.slots.len() as u64;
        let start = self.head & (len - 1);
        let count = (self.tail_seen - self.head).min(len - start);
        // SAFETY: published slots: the producer does not write them before they are released, and
        // releasing takes `&mut self`, which ends this borrow.
        let run = unsafe { self.shared.slots.run(to_usize(start), to_usize(count)) };
        whole_records(run)
    }

    /// Gives the first `count` slots of the last [`Consumer::peek`] back to the producer.
    pub(crate) fn release(&mut self, count: usize) {
        #[cfg(loom)]
        self.shared.slots.note_read((self.head as usize) & (self.shared.slots.len() - 1), count);
        self.head += count as u64;
        assert!(self.head <= self.tail_seen, "released no more than was handed out");
        // Release: we are done reading before the producer sees the room.
        self.shared.head.store(self.head, Ordering::Release);
    }

    /// Whether the producer is gone. What it published before can still be read.
    pub(crate) fn closed(&self) -> bool {
        self.shared.closed.load(Ordering::Acquire)
    }

    /// Sleeps until something is published or the producer is gone, `timeout` at the most.
    pub(crate) fn sleep(&mut self, timeout: Duration) {
        // Swapped, not stored: loom keeps no one order of a store and another's swap.
        self.shared.asleep.swap(1, Ordering::Relaxed);
        // Pairs with the fence in `Producer::wake`.
        fence(Ordering::SeqCst);
        if self.shared.tail.load(Ordering::Relaxed) == self.head && !self.closed() {
            futex::wait(&self.shared.asleep, 1, timeout);
        }
        self.shared.asleep.swap(0, Ordering::Relaxed);
    }
}

impl Drop for Consumer {
    fn drop(&mut self) {
        self.shared.closed.store(true, Ordering::Release);
    }
}

/// The front of `run`, at most [`BATCH_SLOTS_MAX`] slots and a record.
fn whole_records(run: &[Slot]) -> &[Slot] {
    if run.len() as u64 <= BATCH_SLOTS_MAX {
        return run;
    }
    let mut end = 0;
    while (end as u64) < BATCH_SLOTS_MAX {
        end += usize::from(run[end].0[1]).max(1);
    }
    &run[..end]
}

#[cfg(all(test, loom))]
mod model_test;
#[cfg(all(test, not(loom)))]
mod ring_test;

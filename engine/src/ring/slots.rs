//! The slots of the ring: written by one thread, read by another, never both at a time.

use fsmon_format::record::Slot;
use std::cell::UnsafeCell;
use zerocopy::IntoBytes;

/// The smallest page of any processor that Linux runs on, in bytes.
const PAGE: usize = 4096;

pub(super) struct Slots {
    slots: Box<[UnsafeCell<Slot>]>,
    /// A cell that the model checker watches in place of the slots themselves.
    #[cfg(loom)]
    accesses: Vec<loom::cell::UnsafeCell<()>>,
}

// SAFETY: a slot is written only by the one producer between head and head+len at positions not
// yet published, and read only by the one consumer at published positions; the indices hand it
// over with release/acquire. Slot is plain bytes.
unsafe impl Sync for Slots {}
// SAFETY: as above.
unsafe impl Send for Slots {}

impl Slots {
    /// Zeroed slots. All of them are used in turn, so each page is touched now: the writer takes no page fault, of which one costs
    /// as much as ten records.
    pub(super) fn new(len: usize) -> Self {
        let slots = <[Slot] as zerocopy::FromZeros>::new_box_zeroed_with_elems(len);
        let mut slots: Box<[Slot]> = slots.expect("address space for the ring");
        for slot in slots.iter_mut().step_by(PAGE / size_of::<Slot>()) {
            std::hint::black_box(slot.as_mut_bytes()).fill(0);
        }
        Slots {
            // SAFETY: UnsafeCell<Slot> has the layout of Slot (repr(transparent)), so the
            // allocation is the same; the box is given up here and taken up there.
            slots: unsafe { Box::from_raw(Box::into_raw(slots) as *mut [UnsafeCell<Slot>]) },
            #[cfg(loom)]
            accesses: (0..len).map(|_| loom::cell::UnsafeCell::new(())).collect(),
        }
    }

    pub(super) fn len(&self) -> usize {
        self.slots.len()
    }

    /// `count` slots from `start` on, to be written.
    ///
    /// # Safety
    /// Nobody else touches them for as long as they are borrowed.
    #[allow(clippy::mut_from_ref, reason = "the caller's promise")]
    #[inline]
    pub(super) unsafe fn room(&self, start: usize, count: usize) -> &mut [Slot] {
        #[cfg(loom)]
        self.accesses[start..start + count].iter().for_each(|access| access.with_mut(|_| ()));
        let cells = &self.slots[start..start + count];
        // SAFETY: the caller's promise; the cells lie next to each other and are Slots in memory.
        unsafe { std::slice::from_raw_parts_mut(UnsafeCell::raw_get(cells.as_ptr()), count) }
    }

    /// `count` slots from `start` on.
    ///
    /// # Safety
    /// Nobody writes them for as long as they are borrowed.
    #[inline]
    pub(super) unsafe fn run(&self, start: usize, count: usize) -> &[Slot] {
        #[cfg(loom)]
        self.note_read(start, count);
        let cells = &self.slots[start..start + count];
        // SAFETY: the caller's promise; the cells lie next to each other and are Slots in memory.
        unsafe { std::slice::from_raw_parts(UnsafeCell::raw_get(cells.as_ptr()), count) }
    }

    /// For the model: these are read now. Slots that are handed out are, for as long as they are.
    #[cfg(loom)]
    pub(super) fn note_read(&self, start: usize, count: usize) {
        self.accesses[start..start + count].iter().for_each(|access| access.with(|_| ()));
    }
}

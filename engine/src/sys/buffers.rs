//! The slabs that the kernel reads into: equal buffers in one mapping, made once.
//!
//! A buffer is either lent to the kernel (or free) or taken by us; [`Taken`] is the proof of the
//! latter. It cannot be copied, only a backend makes one, when a read into the buffer has ended,
//! and giving it back is what lets the buffer be read into again.

use super::fanotify::flag::Q_OVERFLOW;
use fsmon_format::number::{to_u16, to_u32};
use std::io;
use std::ptr::NonNull;

/// `struct fanotify_event_metadata`, and the version of it.
const METADATA_LEN: usize = 24;
const METADATA_VERSION: u8 = 3;
/// The process that an event of an overflow is of, where that is no overflow: events could not be read. No process has
/// that number.
pub(crate) const UNREADABLE: u32 = u32::MAX;

/// `count` buffers of `size` bytes.
pub(crate) struct Buffers {
    start: NonNull<u8>,
    count: u16,
    size: u32,
}

/// A buffer that holds `len` bytes of data and that the kernel does not write to.
pub(crate) struct Taken {
    index: u16,
    len: u32,
    /// The read was refused in its midst: more may be left to read.
    is_refused: bool,
}

impl Taken {
    /// Only for backends: the kernel has filled `len` bytes of buffer `index` and let go of it.
    pub(super) fn new(buffers: &Buffers, index: u16, len: u32) -> Self {
        assert!(index < buffers.count && len <= buffers.size, "the kernel stays in its buffers");
        Taken { index, len, is_refused: false }
    }

    /// Only for backends: a read into buffer `index` was refused, and what it had taken from the queue is lost. The
    /// buffer says so in place of that: see [`UNREADABLE`].
    pub(super) fn refused(buffers: &Buffers, index: u16) -> Self {
        let taken = Taken {
            is_refused: true,
            ..Taken::new(buffers, index, const { to_u32(METADATA_LEN) })
        };
        let mut event = [0; METADATA_LEN];
        // `struct fanotify_event_metadata`: length, version, its own length, mask, no descriptor, pid.
        event[..4].copy_from_slice(&const { to_u32(METADATA_LEN) }.to_ne_bytes());
        event[4] = METADATA_VERSION;
        event[6..8].copy_from_slice(&const { to_u16(METADATA_LEN) }.to_ne_bytes());
        event[8..16].copy_from_slice(&Q_OVERFLOW.to_ne_bytes());
        event[16..20].copy_from_slice(&(-1i32).to_ne_bytes());
        event[20..24].copy_from_slice(&UNREADABLE.to_ne_bytes());
        // SAFETY: the buffer is inside the mapping and longer than an event; the caller has it, so nobody else reads or
        // writes it.
        unsafe { buffers.address(index).copy_from_nonoverlapping(event.as_ptr(), METADATA_LEN) };
        taken
    }

    /// See [`Taken::refused`].
    pub(crate) fn is_refused(&self) -> bool {
        self.is_refused
    }

    /// Whether `room` bytes more would have fit.
    pub(crate) fn had_room(&self, buffers: &Buffers, room: u32) -> bool {
        !self.is_refused && self.len + room <= buffers.size
    }

    /// Gives the buffer up: the proof is gone, and its index may be lent again.
    pub(super) fn into_index(self) -> u16 {
        self.index
    }
}

impl Buffers {
    /// Maps them; pages are taken as they are used.
    pub(crate) fn new(count: u16, size: u32) -> io::Result<Self> {
        let len = usize::from(count) * size as usize;
        Ok(Buffers { start: map(len)?, count, size })
    }

    pub(super) fn count(&self) -> u16 {
        self.count
    }

    pub(super) fn size(&self) -> u32 {
        self.size
    }

    /// Where a buffer begins: for reads by the kernel.
    pub(super) fn address(&self, index: u16) -> *mut u8 {
        assert!(index < self.count);
        // SAFETY: checked to be inside the mapping.
        unsafe { self.start.as_ptr().add(usize::from(index) * self.size as usize) }
    }

    /// What was read.
    pub(crate) fn bytes<'a>(&'a self, taken: &'a Taken) -> &'a [u8] {
        // SAFETY: index and length were checked against the mapping when `taken` was made (a
        // reader has one set of each kind of buffers); the mapping lives as long as `self`; while
        // `taken` lives nobody writes to the buffer, as backends lend it only when it is given
        // back. Mapped pages are initialised.
        unsafe { std::slice::from_raw_parts(self.address(taken.index), taken.len as usize) }
    }
}

impl Drop for Buffers {
    fn drop(&mut self) {
        unmap(self.start, usize::from(self.count) * self.size as usize);
    }
}

// SAFETY: the mapping belongs to this value alone; access is as for a Vec.
unsafe impl Send for Buffers {}

/// Private zeroed pages.
pub(super) fn map(len: usize) -> io::Result<NonNull<u8>> {
    let protection = libc::PROT_READ | libc::PROT_WRITE;
    let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS;
    // SAFETY: a new anonymous mapping at an address of the kernel's choice.
    let start = unsafe { libc::mmap(std::ptr::null_mut(), len, protection, flags, -1, 0) };
    if start == libc::MAP_FAILED {
        return Err(io::Error::last_os_error());
    }
    NonNull::new(start.cast()).ok_or_else(|| io::Error::other("mapped at address zero"))
}

/// Ends a mapping of [`map`].
pub(super) fn unmap(start: NonNull<u8>, len: usize) {
    // SAFETY: the caller owns the mapping, made by `map` with this length, and drops it.
    unsafe { libc::munmap(start.as_ptr().cast(), len) };
}

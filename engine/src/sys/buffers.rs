//! The buffers into which the kernel reads events and messages: equal parts of one mapping that is made once.
//!
//! A buffer is either lent to the kernel (or free), or taken by the reader. A [`Taken`] proves the latter. Only a
//! backend makes one, after a read into the buffer has ended. A `Taken` cannot be copied, and the kernel gets the
//! buffer for another read only when the `Taken` is given back.

use super::fanotify::flag::Q_OVERFLOW;
use fsmon_format::number::{to_u16, to_u32};
use std::io;
use std::ptr::NonNull;

/// Bytes of `struct fanotify_event_metadata`, and its version.
const METADATA_LEN: usize = 24;
const METADATA_VERSION: u8 = 3;
/// The pid of a made-up `Q_OVERFLOW` event, which stands for events that could not be read. No process has this pid.
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
    /// The read failed after it had taken events from the queue: more may be left to read.
    is_refused: bool,
}

impl Taken {
    /// Only for backends: the kernel has filled `len` bytes of buffer `index`, and no longer uses it.
    pub(super) fn new(buffers: &Buffers, index: u16, len: u32) -> Self {
        assert!(index < buffers.count && len <= buffers.size, "the kernel stays in its buffers");
        Taken { index, len, is_refused: false }
    }

    /// Only for backends: a read into buffer `index` failed, and the events that it had taken from the queue are lost.
    /// Puts an event into the buffer that stands for them: see [`UNREADABLE`].
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
        // SAFETY: the buffer is inside the mapping and longer than the event (`Taken::new` has checked both). The
        // caller has the buffer, so nothing else reads or writes it.
        unsafe { buffers.address(index).copy_from_nonoverlapping(event.as_ptr(), METADATA_LEN) };
        taken
    }

    /// Whether it was made by [`Taken::refused`].
    pub(crate) fn is_refused(&self) -> bool {
        self.is_refused
    }

    /// Whether `room` more bytes would have fit into the buffer.
    pub(crate) fn had_room(&self, buffers: &Buffers, room: u32) -> bool {
        !self.is_refused && self.len + room <= buffers.size
    }

    /// Consumes the `Taken`, so that the buffer with this index can be lent to the kernel again.
    pub(super) fn into_index(self) -> u16 {
        self.index
    }
}

impl Buffers {
    /// Maps `count` buffers of `size` bytes. The kernel provides pages as they are used.
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

    /// The address of a buffer, for reads by the kernel.
    pub(super) fn address(&self, index: u16) -> *mut u8 {
        assert!(index < self.count);
        // SAFETY: checked to be inside the mapping.
        unsafe { self.start.as_ptr().add(usize::from(index) * self.size as usize) }
    }

    /// The bytes that were read.
    pub(crate) fn bytes<'a>(&'a self, taken: &'a Taken) -> &'a [u8] {
        // SAFETY: `Taken::new` checked index and length against the mapping (a reader has one `Buffers` of each kind).
        // The mapping lives as long as `self`. While `taken` lives nothing writes to the buffer, because backends lend
        // it only after it was given back. Mapped pages are initialised.
        unsafe { std::slice::from_raw_parts(self.address(taken.index), taken.len as usize) }
    }
}

impl Drop for Buffers {
    fn drop(&mut self) {
        unmap(self.start, usize::from(self.count) * self.size as usize);
    }
}

// SAFETY: only this value has the mapping, and the rules of access are those of a Vec.
unsafe impl Send for Buffers {}

/// Maps private pages, filled with zeros.
pub(super) fn map(len: usize) -> io::Result<NonNull<u8>> {
    let protection = libc::PROT_READ | libc::PROT_WRITE;
    let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS;
    // SAFETY: a new anonymous mapping, at an address that the kernel chooses.
    let start = unsafe { libc::mmap(std::ptr::null_mut(), len, protection, flags, -1, 0) };
    if start == libc::MAP_FAILED {
        return Err(io::Error::last_os_error());
    }
    NonNull::new(start.cast()).ok_or_else(|| io::Error::other("mapped at address zero"))
}

/// Unmaps a mapping that [`map`] made.
pub(super) fn unmap(start: NonNull<u8>, len: usize) {
    // SAFETY: the caller owns the mapping, which `map` made with this length, and no longer uses it.
    unsafe { libc::munmap(start.as_ptr().cast(), len) };
}

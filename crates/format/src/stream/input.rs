//! The reader's window on its input.

use super::error::unreadable;
use super::layout::{MAGIC, SYNC};
use crate::error::Error;
use crate::limits::WINDOW_BYTES;
use crate::record::{SLOT, Slot};
use std::io::{ErrorKind, Read};
use zerocopy::IntoBytes;

pub(super) struct Input<R> {
    source: R,
    /// Slots, so that blocks can be handed out as such.
    window: Vec<Slot>,
    /// The bytes that were read and are not used yet: `start..end` of the window.
    start: usize,
    end: usize,
    /// Where `start` is in the input.
    offset: u64,
}

impl<R: Read> Input<R> {
    pub(super) fn new(source: R) -> Self {
        Input { source, window: vec![Slot::ZERO; WINDOW_BYTES / SLOT], start: 0, end: 0, offset: 0 }
    }

    /// Forgets what was read: the source stands at that offset.
    pub(super) fn reset(&mut self, offset: u64) {
        (self.start, self.end, self.offset) = (0, 0, offset);
    }

    pub(super) fn source(&mut self) -> &mut R {
        &mut self.source
    }

    pub(super) fn offset(&self) -> u64 {
        self.offset
    }

    /// What was read and is not used yet.
    pub(super) fn bytes(&self) -> &[u8] {
        &self.window.as_bytes()[self.start..self.end]
    }

    /// Reads until `len` bytes are in the window, and no further than one read brings.
    /// False where the input ends before, for now or for good.
    pub(super) fn fill(&mut self, len: usize) -> Result<bool, Error> {
        if self.start + len > WINDOW_BYTES {
            self.move_to_front();
        }
        while self.end - self.start < len {
            match self.source.read(&mut self.window.as_mut_bytes()[self.end..]) {
                Ok(0) => return Ok(false),
                Ok(n) => self.end += n,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(unreadable(error)),
            }
        }
        Ok(true)
    }

    pub(super) fn consume(&mut self, len: usize) {
        let len = len.min(self.end - self.start);
        self.start += len;
        self.offset += len as u64;
        if self.start == self.end {
            (self.start, self.end) = (0, 0);
        }
    }

    /// The slots from byte `from` to `to` of what was read; both are multiples of the slot.
    pub(super) fn slots(&mut self, from: usize, to: usize) -> &mut [Slot] {
        if !self.start.is_multiple_of(SLOT) {
            self.move_to_front();
        }
        let first = self.start / SLOT;
        &mut self.window[first + from / SLOT..first + to / SLOT]
    }

    /// Passes over bytes until a header may begin, or all that was read was looked at.
    pub(super) fn skip_to_candidate(&mut self) {
        let bytes = self.bytes();
        let at = bytes.iter().enumerate().position(|(at, &byte)| {
            (byte == SYNC[0] || byte == MAGIC[0]) && may_begin(&bytes[at..])
        });
        self.consume(at.unwrap_or(bytes.len()));
    }

    fn move_to_front(&mut self) {
        self.window.as_mut_bytes().copy_within(self.start..self.end, 0);
        (self.start, self.end) = (0, self.end - self.start);
    }
}

/// Whether `bytes` begin as a header does, as far as they go.
fn may_begin(bytes: &[u8]) -> bool {
    let alike = |mark: &[u8]| bytes.iter().zip(mark).all(|(a, b)| a == b);
    alike(&SYNC) || alike(&MAGIC)
}

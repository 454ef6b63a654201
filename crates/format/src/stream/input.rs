//! The reader's window into its input.

use super::error::unreadable;
use super::layout::{MAGIC, SYNC};
use crate::error::Error;
use crate::limits::WINDOW_BYTES;
use crate::record::{SLOT, Slot};
use std::io::{ErrorKind, Read};
use zerocopy::IntoBytes;

pub(super) struct Input<R> {
    source: R,
    /// Slots, as callers get blocks as slices of slots.
    window: Vec<Slot>,
    /// `start..end` of the window: bytes that were read and not consumed yet.
    start: usize,
    end: usize,
    /// The offset of `start` in the input.
    offset: u64,
}

impl<R: Read> Input<R> {
    pub(super) fn new(source: R) -> Self {
        Input { source, window: vec![Slot::ZERO; WINDOW_BYTES / SLOT], start: 0, end: 0, offset: 0 }
    }

    /// Forgets what was read: the source is at `offset` now.
    pub(super) fn reset(&mut self, offset: u64) {
        (self.start, self.end, self.offset) = (0, 0, offset);
    }

    pub(super) fn source(&mut self) -> &mut R {
        &mut self.source
    }

    pub(super) fn offset(&self) -> u64 {
        self.offset
    }

    /// The bytes that were read and not consumed yet.
    pub(super) fn bytes(&self) -> &[u8] {
        &self.window.as_bytes()[self.start..self.end]
    }

    /// Reads until at least `len` bytes are in the window. Returns false if the input ends before, for now or
    /// finally.
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

    /// The slots from byte `from` to `to` of [`Input::bytes`]; both are multiples of the slot size.
    pub(super) fn slots(&mut self, from: usize, to: usize) -> &mut [Slot] {
        if !self.start.is_multiple_of(SLOT) {
            self.move_to_front();
        }
        let first = self.start / SLOT;
        &mut self.window[first + from / SLOT..first + to / SLOT]
    }

    /// Consumes bytes up to where a header may begin, or all that were read.
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

/// Whether `bytes` begin like a header, or are the beginning of one.
fn may_begin(bytes: &[u8]) -> bool {
    let alike = |mark: &[u8]| bytes.iter().zip(mark).all(|(a, b)| a == b);
    alike(&SYNC) || alike(&MAGIC)
}

//! The position of the reader in the queue, for our BPF programs, which put it into each message.

use super::bpf::Globals;
use std::sync::Arc;

/// Indices of the numbers that we share with the programs.
pub(crate) mod global {
    /// Address of our fanotify group in the kernel.
    pub(crate) const GROUP: usize = 0;
    /// Address of the sock of our connector.
    pub(crate) const SOCK: usize = 1;
    /// Incremented when the reader enters a call that may take events from the queue, and when it returns: odd
    /// while it is inside.
    pub(crate) const TURN: usize = 2;
    /// Reads made.
    pub(crate) const READS: usize = 3;
    /// Messages that were dropped because there was no room.
    pub(crate) const LOST: usize = 4;
    /// The process and thread that searches for an address in the kernel.
    pub(crate) const SEEKER: usize = 5;
    /// The descriptor that it asks about: eight times its number.
    pub(crate) const SEEK_AT: usize = 6;
    /// Offset of the wanted address behind the address found there; 0: the address found there is wanted.
    pub(crate) const SEEK_INTO: usize = 7;
    /// The result.
    pub(crate) const SOUGHT: usize = 8;
    /// The turn in which a program waited in vain for a read to end; later programs do not wait.
    pub(crate) const STUCK: usize = 9;
    /// Offset in the `struct file` of the descriptor.
    pub(crate) const SEEK_MEMBER: usize = 10;
    /// Our root: mount and dentry, and the namespace of that mount.
    pub(crate) const ROOT_MNT: usize = 11;
    /// See [`ROOT_MNT`].
    pub(crate) const ROOT_DENTRY: usize = 12;
    /// See [`ROOT_MNT`].
    pub(crate) const ROOT_NS: usize = 13;
    /// The process and thread that asks for the length of the queue; 0: none.
    pub(crate) const MEASURER: usize = 14;
    /// The answer: events in the queue.
    pub(crate) const LENGTH: usize = 15;
    pub(crate) const COUNT: usize = 16;
}

/// Held by the backend, which publishes its position; without BPF it does nothing.
#[derive(Clone, Default)]
pub(crate) struct Gauge {
    globals: Option<Arc<Globals>>,
    turn: u64,
}

impl Gauge {
    pub(crate) fn new(globals: Arc<Globals>) -> Self {
        Gauge { globals: Some(globals), turn: 0 }
    }

    /// Call it before a call that may take events from the queue. Until that ends the turn is odd.
    #[inline]
    pub(crate) fn enter(&mut self) {
        self.step();
    }

    /// Call it after that; `reads` is the total number of reads.
    #[inline]
    pub(crate) fn leave(&mut self, reads: u32) {
        if let Some(globals) = &self.globals {
            globals.set(global::READS, reads.into());
        }
        self.step();
    }

    fn step(&mut self) {
        if let Some(globals) = &self.globals {
            self.turn += 1;
            globals.set(global::TURN, self.turn);
        }
    }

    /// The turn of the last call, as programs that ran during it saw it.
    #[expect(clippy::cast_possible_truncation, reason = "messages have the lower half")]
    pub(crate) fn last(&self) -> u32 {
        // Only neighbouring turns are ever compared.
        self.turn.wrapping_sub(1) as u32
    }

    /// Whether a program waited in vain for a read to end: something stopped the reader in the middle of it.
    #[cfg(test)]
    pub(crate) fn was_stopped(&self) -> bool {
        self.globals.as_ref().is_some_and(|globals| globals.get(global::STUCK) != 0)
    }

    /// Whether BPF programs use it.
    pub(crate) fn is_on(&self) -> bool {
        self.globals.is_some()
    }
}

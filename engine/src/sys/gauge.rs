//! How far the reader is with the queue, told to our BPF programs: they note it in each message.

use super::bpf::Globals;
use std::sync::Arc;

/// The numbers that programs and we share, by their place.
pub(crate) mod global {
    /// Address of our fanotify group in the kernel.
    pub(crate) const GROUP: usize = 0;
    /// Address of the sock of our connector.
    pub(crate) const SOCK: usize = 1;
    /// Raised when the reader goes into a call that may take events from the queue, and when it
    /// comes out: odd while it is inside.
    pub(crate) const TURN: usize = 2;
    /// Reads made.
    pub(crate) const READS: usize = 3;
    /// Messages that found no room.
    pub(crate) const LOST: usize = 4;
    /// Process and thread that look for something in the kernel.
    pub(crate) const SEEKER: usize = 5;
    /// Which of its descriptors: eight times the number.
    pub(crate) const SEEK_AT: usize = 6;
    /// How far into what is found there the address wanted lies; 0: it is itself wanted.
    pub(crate) const SEEK_INTO: usize = 7;
    /// What was found.
    pub(crate) const SOUGHT: usize = 8;
    /// The turn in which a program waited in vain for a read to end; the next ones wait no more.
    pub(crate) const STUCK: usize = 9;
    /// Where in what the descriptor stands for (`struct file`) the address lies that is sought.
    pub(crate) const SEEK_MEMBER: usize = 10;
    /// Our root: mount and dentry, and the namespace of that mount.
    pub(crate) const ROOT_MNT: usize = 11;
    /// See [`ROOT_MNT`].
    pub(crate) const ROOT_DENTRY: usize = 12;
    /// See [`ROOT_MNT`].
    pub(crate) const ROOT_NS: usize = 13;
    pub(crate) const COUNT: usize = 14;
}

/// Held by the backend, which tells by it; without BPF it does nothing.
#[derive(Clone, Default)]
pub(crate) struct Gauge {
    globals: Option<Arc<Globals>>,
    turn: u64,
}

impl Gauge {
    pub(crate) fn new(globals: Arc<Globals>) -> Self {
        Gauge { globals: Some(globals), turn: 0 }
    }

    /// Before a call that may take events from the queue. Until it ends the turn is odd.
    #[inline]
    pub(crate) fn enter(&mut self) {
        self.step();
    }

    /// After it; `reads` were made in all.
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
        // Only those of neighbouring turns are ever compared.
        self.turn.wrapping_sub(1) as u32
    }

    /// Whether anybody listens.
    pub(crate) fn is_on(&self) -> bool {
        self.globals.is_some()
    }
}

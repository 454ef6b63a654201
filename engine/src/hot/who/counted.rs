//! The running BPF programs and their counters.

use crate::sys::bpf::{self, Globals};
use crate::sys::gauge::{Gauge, global};
use crate::sys::thread;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;

/// The BPF programs, which run until this is dropped, and their counters.
pub struct Counted {
    globals: Arc<Globals>,
    programs: Vec<OwnedFd>,
    /// Closing them detaches the programs, and takes the rings out of their map.
    _links: Vec<OwnedFd>,
    lost_taken: u64,
    exec_details: ExecDetails,
    measures_queue: bool,
}

/// What the programs send with an exec.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ExecDetails {
    /// The arguments given to exec.
    pub args: bool,
    /// The path of the file that runs.
    pub path: bool,
    /// A message when the exec begins, before /proc shows its results; only if command lines are requested.
    pub exec_begins: bool,
}

impl Counted {
    pub(crate) fn new(
        globals: Arc<Globals>,
        programs: Vec<OwnedFd>,
        links: Vec<OwnedFd>,
        (exec_details, measures_queue): (ExecDetails, bool),
    ) -> Self {
        Counted { globals, programs, _links: links, lost_taken: 0, exec_details, measures_queue }
    }

    /// What the programs send with an exec.
    pub(super) fn exec_details(&self) -> ExecDetails {
        self.exec_details
    }

    /// For the backend.
    pub(crate) fn gauge(&self) -> Gauge {
        Gauge::new(Arc::clone(&self.globals))
    }

    /// Whether a program measures the queue.
    pub(super) fn measures_queue(&self) -> bool {
        self.measures_queue
    }

    /// Events that wait in the queue, `None` if no program said so. Two system calls, some 2 µs; the kernel tells those
    /// who listen for it that this thread has a new name.
    pub(super) fn queue_length(&self) -> Option<u64> {
        if !self.measures_queue {
            return None;
        }
        self.globals.set(global::LENGTH, u64::MAX);
        self.globals.set(global::MEASURER, thread::pid_and_tid());
        let renamed = thread::rename_to_same();
        self.globals.set(global::MEASURER, 0);
        let length = self.globals.get(global::LENGTH);
        renamed.ok().and((length != u64::MAX).then_some(length))
    }

    /// Messages lost since the last call.
    pub(crate) fn take_lost(&mut self) -> u64 {
        let total = self.globals.get(global::LOST);
        let lost = total.wrapping_sub(self.lost_taken);
        self.lost_taken = total;
        lost
    }

    /// How often a program did not run because it was already running on that CPU (`recursion_misses`): each is a
    /// message that was not sent. One system call for each program.
    pub(crate) fn misses(&self) -> u64 {
        self.programs.iter().filter_map(|program| bpf::misses(program.as_fd()).ok()).sum()
    }
}

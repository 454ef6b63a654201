//! The BPF programs at work, and what they count.

use crate::sys::bpf::{self, Globals};
use crate::sys::gauge::{Gauge, global};
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;

/// The programs at work, until dropped, and what they count.
pub struct Counted {
    globals: Arc<Globals>,
    programs: Vec<OwnedFd>,
    /// Closing them takes the programs off, and the rings from them.
    _links: Vec<OwnedFd>,
    lost_taken: u64,
    exec_details: ExecDetails,
}

/// What the programs tell of an exec.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ExecDetails {
    /// The arguments given to exec.
    pub args: bool,
    /// The path of the file that runs.
    pub path: bool,
    /// That it began, where command lines are asked for, before what comes of it shows in /proc.
    pub exec_begins: bool,
}

impl Counted {
    pub(crate) fn new(
        globals: Arc<Globals>,
        programs: Vec<OwnedFd>,
        links: Vec<OwnedFd>,
        exec_details: ExecDetails,
    ) -> Self {
        Counted { globals, programs, _links: links, lost_taken: 0, exec_details }
    }

    /// What the programs tell.
    pub(super) fn exec_details(&self) -> ExecDetails {
        self.exec_details
    }

    /// For the backend.
    pub(crate) fn gauge(&self) -> Gauge {
        Gauge::new(Arc::clone(&self.globals))
    }

    /// Messages lost since the last call.
    pub(crate) fn take_lost(&mut self) -> u64 {
        let total = self.globals.get(global::LOST);
        let lost = total.wrapping_sub(self.lost_taken);
        self.lost_taken = total;
        lost
    }

    /// How often a program was left out since it was set to work, because it was running on that
    /// CPU already (`recursion_misses`): a message that was not sent. A call into the kernel for
    /// each program.
    pub(crate) fn misses(&self) -> u64 {
        self.programs.iter().filter_map(|program| bpf::misses(program.as_fd()).ok()).sum()
    }
}

//! What goes on beside a run, to make it hard.

use crate::workload::Pids;
use clap::ValueEnum;
use std::time::Duration;

/// What goes on beside a run.
#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
pub(crate) enum Beside {
    /// Nothing
    Quiet,
    /// As many processes that only compute as there are CPUs
    Busy,
    /// Nobody reads fsmon's output until all is done, and not for three seconds; its ring is filled
    /// first, so that it is all one batch
    Stalled,
    /// All processes that a chain forks get the same pid, one after the other
    Reused,
}

impl Beside {
    /// The name on the command line.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Beside::Quiet => "quiet",
            Beside::Busy => "busy",
            Beside::Stalled => "stalled",
            Beside::Reused => "reused",
        }
    }

    /// The minimum time without a reader of the output, if there is one.
    pub(crate) fn stall(self) -> Option<Duration> {
        (self == Beside::Stalled).then_some(Duration::from_secs(3))
    }

    pub(crate) fn pids(self) -> Pids {
        if self == Beside::Reused { Pids::Reused } else { Pids::Fresh }
    }
}

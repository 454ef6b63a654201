//! The command line of a series.

use super::beside::Beside;
use crate::args::Program;
use crate::results::keep::Keep;
use crate::workload::spawn::Mode;
use clap::{Args, ValueEnum};

/// Compare every record of a series of runs with what short-lived processes know about themselves
#[derive(Args)]
pub(crate) struct WhoArgs {
    /// Runs in a row of each kind
    #[arg(long, value_name = "N", default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) runs: u32,
    /// How many chains of processes at a time
    #[arg(long, value_name = "N", value_delimiter = ',', default_values_t = [1, 4, 16],
          value_parser = clap::value_parser!(u64).range(1..))]
    pub(crate) chains: Vec<u64>,
    /// Processes in a run, by all chains together
    #[arg(long, value_name = "N", default_value_t = 4000)]
    pub(crate) processes: u64,
    /// What goes on beside it [default: each in turn]
    #[arg(long, value_name = "WHAT", value_enum, value_delimiter = ',')]
    beside: Vec<Beside>,
    /// Where a record may say that it is not exact
    #[arg(long, value_name = "WHERE", value_enum, default_value_t = MayFlag::Between)]
    pub(crate) flagged: MayFlag,
    /// Best source of process names that fsmon may use
    #[arg(long, value_name = "RUNG", default_value = "auto")]
    pub(crate) who: String,
    /// How fsmon reads the kernel's queue
    #[arg(long, value_name = "BACKEND", default_value = "auto")]
    pub(crate) backend: String,
    /// Force each source in turn instead, and print what share of the fields it gets right
    #[arg(long)]
    pub(crate) rungs: bool,
    /// Lower kernel.pid_max of this pid namespace meanwhile, so that pids are reused soon
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(301..))]
    pub(crate) pid_max: Option<u32>,
    /// Run everything in a new pid namespace, with its own /proc
    #[arg(long)]
    pub(crate) namespace: bool,
    #[command(flatten)]
    pub(crate) keep: Keep,
    #[command(flatten)]
    pub(crate) program: Program,
}

impl WhoArgs {
    pub(crate) fn beside(&self) -> Vec<Beside> {
        if self.beside.is_empty() { Beside::value_variants().to_vec() } else { self.beside.clone() }
    }
}

/// Where a record may be flagged as `ambiguous`.
#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
pub(crate) enum MayFlag {
    /// Nowhere
    Nowhere,
    /// Where a process changes its user or its name between two of its files
    Between,
    /// Where a process changes its user or its name at all
    Change,
    /// Anywhere and in any way (`late` and `unknown` too): only what is not flagged must be right
    Anywhere,
}

impl MayFlag {
    /// Whether `ambiguous` is allowed in this mode.
    pub(crate) fn allows(self, mode: Mode) -> bool {
        match self {
            MayFlag::Nowhere => false,
            MayFlag::Between => mode.changes_between_files(),
            MayFlag::Change => mode.changes(),
            MayFlag::Anywhere => true,
        }
    }
}

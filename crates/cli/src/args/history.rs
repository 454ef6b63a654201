//! The arguments that all commands have which read a history.

use clap::Args;
use std::path::PathBuf;

/// Which history is read, and which daemon is asked to flush it first.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "History")]
pub(crate) struct HistoryArgs {
    /// The history: a directory of segments [default: that of the daemon]
    #[arg(long, value_name = "DIR", env = "FSMON_HISTORY", hide_env_values = true)]
    pub(crate) history: Option<PathBuf>,
    /// The control socket of the daemon, which writes out what happened until now before the history is read
    #[arg(long, value_name = "PATH", env = "FSMON_SOCKET", hide_env_values = true,
          default_value = fsmon_service::control::DEFAULT_SOCKET, hide_default_value = true)]
    pub(crate) socket: PathBuf,
}

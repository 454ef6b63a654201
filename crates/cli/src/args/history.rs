//! The arguments of the commands that read a history.

use super::client::Shape;
use super::{help, number, times};
use clap::Args;
use fsmon_present::{TimeFormat, moment};
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

#[derive(Args, Debug)]
#[command(after_help = help::who())]
pub(crate) struct WhoArgs {
    /// Files, also ones that are gone. A symbolic link is itself asked about, not what it leads to
    #[arg(value_name = "PATH", required = true)]
    pub(crate) paths: Vec<PathBuf>,
    /// Output format [default: human]
    #[arg(short, long, value_enum, default_value_t, hide_default_value = true)]
    pub(crate) format: Shape,
    /// How many writers to show of each file, newest first [default: 1]
    #[arg(short = 'n', long, value_name = "N", default_value = "1", hide_default_value = true,
          allow_hyphen_values = true, value_parser = number(1..=u64::MAX))]
    pub(crate) limit: u64,
    /// Show all writers, also of earlier files of that name
    #[arg(long, conflicts_with = "limit")]
    pub(crate) all: bool,
    /// Look no further back than this moment; see Moments below
    #[arg(long, value_name = "MOMENT", allow_hyphen_values = true,
          value_parser = moment::parse_since)]
    pub(crate) since: Option<u64>,
    /// Who had written it at this moment; see Moments below [default: now]
    #[arg(long, value_name = "MOMENT", allow_hyphen_values = true,
          value_parser = moment::parse_until)]
    pub(crate) until: Option<u64>,
    /// How human lines give the time [default: local]
    #[arg(long, value_name = "FORMAT", value_parser = times())]
    pub(crate) time: Option<TimeFormat>,
    #[command(flatten)]
    pub(crate) history: HistoryArgs,
}

#[derive(Args, Debug)]
#[command(after_help = help::INDEX)]
pub(crate) struct IndexArgs {
    /// A directory of segments, such as a copy of a history
    #[arg(value_name = "DIR")]
    pub(crate) dir: PathBuf,
}

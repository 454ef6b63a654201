//! The arguments of `fsmon query`.

use super::history::HistoryArgs;
use super::{FilterArgs, LINES, help, number, one_of, times};
use crate::limits::DEPTH_MAX;
use clap::Args;
use fsmon_present::{Format, TimeFormat, moment};
use fsmon_store::cursor::Cursor;
use std::path::PathBuf;

#[derive(Args, Clone, Debug)]
#[command(after_help = help::query())]
pub(crate) struct QueryArgs {
    /// Show only what happened to these files, and in and below these directories, whether or not they still exist
    #[arg(value_name = "PATH")]
    pub(crate) paths: Vec<PathBuf>,
    /// Output format [default: human]
    #[arg(short, long, default_value = "human", hide_default_value = true,
          value_parser = one_of(Format::name, LINES))]
    pub(crate) format: Format,
    /// How human lines give the time [default: the local time of day, and a line when the date changes]
    #[arg(long, value_name = "FORMAT", value_parser = times())]
    pub(crate) time: Option<TimeFormat>,
    /// Show only events at this moment or later: 2026-01-31T23:59:59Z, 23:59, 10m (ago); see Moments below
    #[arg(long, value_name = "MOMENT", allow_hyphen_values = true,
          value_parser = moment::parse_since)]
    pub(crate) since: Option<u64>,
    /// Show only events at this moment or earlier; see Moments below
    #[arg(long, value_name = "MOMENT", allow_hyphen_values = true,
          value_parser = moment::parse_until)]
    pub(crate) until: Option<u64>,
    /// End after this many events
    #[arg(long, value_name = "N", allow_hyphen_values = true, value_parser = number(1..=u64::MAX))]
    pub(crate) limit: Option<u64>,
    /// Keep reading as the history grows, until Ctrl-C
    #[arg(short = 'F', long)]
    pub(crate) follow: bool,
    /// Add the ancestors of each process (its parent, the parent of that, and so on)
    #[arg(long)]
    pub(crate) chain: bool,
    /// Add the command line of each process, where it was recorded
    #[arg(long)]
    pub(crate) cmdline: bool,
    /// Add lines about what was watched, and what the recorder did
    #[arg(long)]
    pub(crate) notes: bool,
    /// Show no deeper than N names below each PATH; 1 is what is directly in it [default: any depth]
    #[arg(long, value_name = "N", allow_hyphen_values = true, value_parser = number(1..=DEPTH_MAX))]
    pub(crate) max_depth: Option<u32>,
    #[command(flatten)]
    pub(crate) filter: FilterArgs,
    #[command(flatten)]
    pub(crate) cursors: CursorArgs,
    #[command(flatten)]
    pub(crate) history: HistoryArgs,
}

/// Where to go on.
#[derive(Args, Clone, Debug, Default)]
#[command(next_help_heading = "Cursors")]
pub(crate) struct CursorArgs {
    /// Show only what comes after this cursor: of a line (--cursors), or of fsmon flush or fsmon sync
    #[arg(long, value_name = "CURSOR", conflicts_with = "cursor_file")]
    pub(crate) after: Option<Cursor>,
    /// Go on after the cursor in FILE, if FILE exists, and write the new one to FILE once the output is written
    #[arg(long, value_name = "FILE")]
    pub(crate) cursor_file: Option<PathBuf>,
    /// With -f json: add to each line the cursor for what follows it
    #[arg(long)]
    pub(crate) cursors: bool,
}

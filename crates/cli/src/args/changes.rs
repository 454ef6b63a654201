//! The arguments of `fsmon changes`.

use super::client::Shape;
use super::help;
use super::history::HistoryArgs;
use clap::Args;
use fsmon_present::moment;
use fsmon_store::changes::{Cursor, Since};
use std::path::PathBuf;

#[derive(Args, Debug)]
#[command(after_help = help::changes())]
pub(crate) struct ChangesArgs {
    /// Only changes at these paths and below [default: all that is recorded]
    #[arg(value_name = "PATH")]
    pub(crate) paths: Vec<PathBuf>,
    /// What is different since this moment, or since a cursor that fsmon flush printed [default: since the history begins]
    #[arg(long, value_name = "MOMENT|@CURSOR", allow_hyphen_values = true, value_parser = since)]
    pub(crate) since: Option<Since>,
    /// What was different at this moment [default: now]
    #[arg(long, value_name = "MOMENT", allow_hyphen_values = true,
          value_parser = moment::parse_until)]
    pub(crate) until: Option<u64>,
    /// Also print what was made and is gone again
    #[arg(long)]
    pub(crate) all: bool,
    /// Print nothing but paths, each with a zero byte behind it: of a RENAME both
    #[arg(short = '0', long = "null", conflicts_with = "format")]
    pub(crate) null: bool,
    /// Output format [default: human]
    #[arg(short, long, value_enum, default_value_t, hide_default_value = true)]
    pub(crate) format: Shape,
    /// Write to FILE [default: `-`, standard output]
    #[arg(short, long, value_name = "FILE", default_value = "-", hide_default_value = true)]
    pub(crate) output: PathBuf,
    /// Show only paths that match; see Globs below
    #[arg(long, value_name = "GLOB")]
    pub(crate) include: Vec<String>,
    /// Leave out paths that match, and everything below them
    #[arg(long, value_name = "GLOB")]
    pub(crate) exclude: Vec<String>,
    #[command(flatten)]
    pub(crate) history: HistoryArgs,
}

/// A moment, or `@` and a cursor. `@1767225600` is a Unix time.
fn since(text: &str) -> Result<Since, String> {
    match text.strip_prefix('@').filter(|cursor| cursor.starts_with("1-")) {
        Some(cursor) => Cursor::parse_all(cursor)
            .map(Since::Cursor)
            .ok_or_else(|| "it is no cursor; write @ and what fsmon flush printed".to_owned()),
        None => moment::parse_since(text).map(Since::Moment),
    }
}

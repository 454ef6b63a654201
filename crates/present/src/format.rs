//! The formats in which events are written.

use fsmon_format::named;

/// How events are written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Format {
    /// One aligned line an event, for people.
    #[default]
    Human,
    /// One JSON object a line.
    Json,
    /// RFC 4180, with a header.
    Csv,
    /// The binary stream of docs/format.md.
    Binary,
}

impl Format {
    /// What the names of files in this format end with, without the dot.
    #[must_use]
    pub const fn extension(self) -> &'static str {
        match self {
            Format::Human => "txt",
            Format::Json => "json",
            Format::Csv => "csv",
            Format::Binary => "fsmon",
        }
    }
}

named!(Format { Human = "human", Json = "json", Csv = "csv", Binary = "binary" });

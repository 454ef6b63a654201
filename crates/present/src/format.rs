//! The formats in which events are written.

use fsmon_format::error::UnknownName;
use std::fmt;
use std::str::FromStr;

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
    /// Every format.
    pub const ALL: [Format; 4] = [Format::Human, Format::Json, Format::Csv, Format::Binary];

    /// As options and configuration write it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Format::Human => "human",
            Format::Json => "json",
            Format::Csv => "csv",
            Format::Binary => "binary",
        }
    }

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

impl fmt::Display for Format {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl FromStr for Format {
    type Err = UnknownName;

    fn from_str(name: &str) -> Result<Self, UnknownName> {
        let known = Format::ALL.into_iter().find(|format| format.name() == name);
        known.ok_or(UnknownName("human, json, csv or binary"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::TimeFormat;

    #[test]
    fn each_name_is_read_as_it_is_written() {
        for format in Format::ALL {
            assert_eq!(format.to_string().parse(), Ok(format));
        }
        for format in TimeFormat::ALL {
            assert_eq!(format.to_string().parse(), Ok(format));
        }
        let refused = "JSON".parse::<Format>().expect_err("names are in lower case");
        assert_eq!(refused.to_string(), "write human, json, csv or binary");
    }
}

//! What `decode` and `query` have in common: they print records in one of the formats of lines, and say at the end what was
//! damaged.

use crate::lines::LineOptions;
use fsmon_engine::{Error, ErrorKind};
use fsmon_present::Format;
use fsmon_present::message::counted;
use fsmon_present::text::LineFormat;

/// What prints lines, whatever their format is.
pub(crate) trait Reading {
    /// What it comes to.
    type Answer;

    /// Prints all lines.
    ///
    /// # Errors
    /// What it reads is damaged, or the output cannot be written to.
    fn run<F: LineFormat>(self, format: F) -> Result<Self::Answer, Error>;
}

/// Prints lines in a format.
///
/// # Errors
/// Those of the reading; a format that has no lines.
pub(crate) fn in_format<R: Reading>(
    reading: R,
    format: Format,
    lines: LineOptions,
    is_terminal: bool,
) -> Result<R::Answer, Error> {
    match format {
        Format::Human => reading.run(lines.human(is_terminal)),
        Format::Json => reading.run(lines.json()),
        Format::Csv if is_terminal => reading.run(lines.csv_of_terminal()),
        Format::Csv => reading.run(lines.csv()),
        Format::Binary => {
            Err(Error::invalid("this prints lines; copy the files to get the binary stream"))
        }
    }
}

/// All was printed but for what is damaged in so many places.
pub(crate) fn damaged(places: u64) -> Error {
    let places = counted(places, "place", "places");
    Error::new(ErrorKind::Damaged, format!("damaged in {places}; everything else was printed"))
}

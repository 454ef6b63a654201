//! Where a query goes on, and where the next one will.

use crate::args::query::CursorArgs;
use fsmon_engine::Error;
use fsmon_present::message::shown;
use fsmon_store::cursor::{self, Cursor};
use std::path::PathBuf;

/// The cursor, and the file for the next one.
pub(super) struct Bookmark {
    after: Option<Cursor>,
    file: Option<PathBuf>,
    kept: Option<Cursor>,
}

impl Bookmark {
    /// # Errors
    /// The file has no cursor, or cannot be read.
    pub(super) fn open(args: &CursorArgs) -> Result<Self, Error> {
        let file = args.cursor_file.clone();
        let read = match &file {
            Some(file) => cursor::read(file).map_err(|error| {
                error
                    .after(format!("{}: ", shown(file)))
                    .and(", or remove the file to begin with the oldest")
            })?,
            None => None,
        };
        Ok(Bookmark { after: args.after.clone().or(read), file, kept: None })
    }

    pub(super) fn after(&self) -> Option<Cursor> {
        self.after.clone()
    }

    /// Writes the cursor for the next query. All before it must have been written.
    ///
    /// # Errors
    /// The file cannot be replaced.
    pub(super) fn keep(&mut self, cursor: &Cursor) -> Result<(), Error> {
        let Some(file) = self.file.as_ref().filter(|_| self.kept.as_ref() != Some(cursor)) else {
            return Ok(());
        };
        cursor::write(file, cursor)?;
        self.kept = Some(cursor.clone());
        Ok(())
    }
}

//! What the user is told, line by line.

use super::Place;
use crate::limits::IMPORT_NOTES_MAX;
use fsmon_present::message::counted;
use std::fmt;

/// Something that could not be taken over, or is different now, with the remedy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Note {
    /// What it is about.
    pub at: Place,
    /// One line.
    pub text: String,
}

impl fmt::Display for Note {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.at, self.text)
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.file, self.line)
    }
}

/// The first notes, and how many there were.
#[derive(Debug, Default)]
pub struct Notes {
    kept: Vec<Note>,
    more: u64,
}

impl Notes {
    /// Adds a note. A thousand are kept.
    pub fn add(&mut self, at: &Place, text: impl Into<String>) {
        if self.kept.len() < IMPORT_NOTES_MAX {
            self.kept.push(Note { at: at.clone(), text: text.into() });
        } else {
            self.more += 1;
        }
    }

    /// Puts the notes of each file in the order of its lines.
    pub(super) fn sort(&mut self) {
        self.kept.sort_by(|one, other| {
            (&one.at.file, one.at.line).cmp(&(&other.at.file, other.at.line))
        });
    }

    /// The notes that were kept.
    #[must_use]
    pub fn kept(&self) -> &[Note] {
        &self.kept
    }

    /// A line about those that were not kept; `None` if all were.
    #[must_use]
    pub fn about_more(&self) -> Option<String> {
        let more = || counted(self.more, "line like these", "lines like these");
        (self.more > 0).then(|| format!("{} more; the files may not be what they seem", more()))
    }
}

//! The records of all streams of a directory in the order of their times, oldest first, also while they grow.
//!
//! ```text
//!  directory ─► streams: what to open, in which order ─► track (one a stream): segments → blocks ─┐
//!                         parts: which ranges of a segment                                        │
//!                        consumer ◄── records, the earliest first ◄── merge of the open tracks ◄──┘
//! ```
//!
//! Streams of a boot are merged by monotonic time, the boots of a host follow each other, and hosts are merged by wall
//! time. Within a stream the order is that of the stream. Streams are opened when their time comes, so that the first
//! record needs nothing of later ones.

mod held;
mod merge;
mod parts;
mod streams;
#[cfg(test)]
mod tests;
mod track;

pub use merge::{Progress, Timeline};
pub use parts::Wanted;

use crate::cursor::{Cursor, Place};
use fsmon_format::error::Error;
use fsmon_format::record::{self, Record};
use fsmon_format::stream::{Gap, Header};
use zerocopy::FromZeros;

/// Takes what a timeline has.
pub trait Consumer {
    /// Records from a file with this header follow.
    ///
    /// # Errors
    /// It refuses what the header says.
    fn header(&mut self, header: &Header) -> Result<(), Error>;
    /// All ids stand for something else from now on.
    fn forget(&mut self);
    /// The next record. Definitions may come again.
    fn record(&mut self, record: &Record<'_>, at: &At<'_>);
    /// Something is not as it should be.
    fn said(&mut self, said: &Said<'_>);
    /// Whether it takes no more.
    fn is_full(&self) -> bool;
}

/// Where a record is.
pub struct At<'a> {
    /// The record. `line`: so many types of its event are not to be taken.
    pub place: Place,
    /// What is next in the other streams.
    others: &'a [Place],
}

impl At<'_> {
    /// The cursor for this record and what follows; its own place is the last.
    #[must_use]
    pub fn cursor(&self) -> Cursor {
        Cursor::new(self.others.iter().copied().chain([self.place]).collect())
    }
}

/// What makes the records fewer than they were.
#[derive(Debug)]
pub enum Said<'a> {
    /// A part of a segment is damaged.
    Damaged(&'a str, &'a Gap),
    /// A file cannot be read, or is no segment.
    Unreadable(&'a str, &'a str),
    /// A segment ends where its recorder was killed, and no recorder went on.
    CutOff(&'a str),
    /// Segments are gone.
    Lost(Lost),
    /// More streams were written at the same time than are merged: their order is not exact.
    TooMany(usize),
}

/// Segments that were deleted before they were read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lost {
    /// Their stream.
    pub stream_id: [u8; 16],
    /// The wall time of the last record before them; `None` if that is not known.
    pub from_ns: Option<u64>,
    /// The wall time at which the next segment begins; `None` if none is there.
    pub to_ns: Option<u64>,
}

impl Lost {
    /// The record that says so; `None` where it is not known from when to when.
    #[must_use]
    pub fn gap(&self) -> Option<record::Gap> {
        let mut gap = record::Gap::new_zeroed();
        (gap.from_ns, gap.to_ns) = (self.from_ns?.into(), self.to_ns?.into());
        (gap.stream_id, gap.events) = (self.stream_id, record::COUNT_UNKNOWN.into());
        Some(gap)
    }
}

//! Search by time: reads a dozen blocks at the grid instead of everything before.
//!
//! Wall time grows along a stream, except where the clock was set. CLOCK records count how often it was set
//! ([`crate::record::Clock::steps`]). Between two positions with the same count times only grow, and a binary
//! search works. If the counts differ, both halves are searched, down to the piece with the step, which is
//! read:
//!
//! ```text
//!  piece      0      1      2      3      4      5      6      7
//!  wall       10:00  10:20  10:40  11:00  10:10  10:30  10:50  11:10
//!  steps      1      1      1      1      2      2      2      2
//!  10:25..10:35 → piece 1, then piece 3 (it has the step), then piece 5
//! ```
//!
//! Older streams do not count. In these each piece is compared with the next, see [`grows`].

use super::clock::is_step;
use super::error::unreadable;
use super::layout::GRID;
use super::reader::{Item, Reader};
use crate::error::Error;
use crate::limits::UNCOUNTED_READ_BYTES;
use std::io::{Read, Seek, SeekFrom};
use std::ops::{Range, RangeInclusive};

/// Whether wall time only grows in these pieces, from the first mark to the second, apart from
/// [`super::CLOCK_STEP_NS`] in both directions. `bytes` is the length of the stream.
///
/// Without counts, one piece of a long stream is assumed to grow if the clock was not set between its beginning
/// and its end.
#[must_use]
pub fn grows(pieces: &Range<u64>, bytes: u64, from: &Mark, to: &Mark) -> bool {
    from.grows_to(to).unwrap_or_else(|| {
        let is_one = pieces.end - pieces.start == 1;
        is_one && bytes > UNCOUNTED_READ_BYTES && !is_step(from.ahead_ns, to.ahead_ns)
    })
}

/// The clocks at the beginning of a piece of a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mark {
    /// The wall time of the first record that has a time, ns since 1970.
    pub wall_ns: u64,
    /// Wall time minus `CLOCK_MONOTONIC`, ns, modulo 2⁶⁴.
    ahead_ns: u64,
    /// [`crate::record::Clock::steps`]
    steps: u32,
    /// The stream's tag.
    tag: [u8; 4],
}

impl Mark {
    /// The mark at the position of a source; `None` if nothing from there on has a time. Skips damage.
    ///
    /// # Errors
    /// Those of the source; a stream that is newer than this crate.
    pub fn of(source: impl Read) -> Result<Option<Self>, Error> {
        let mut reader = Reader::new(source).salvage(true);
        while let Some(item) = reader.next()? {
            if let Item::Block(block) = item
                && let Some((wall_ns, clock)) = block.walls().next()
            {
                let ahead_ns = clock.realtime_ns.get().wrapping_sub(clock.time_ns.get());
                let (steps, tag) = (clock.steps.get(), block.tag());
                return Ok(Some(Mark { wall_ns, ahead_ns, steps, tag }));
            }
        }
        Ok(None)
    }

    /// Whether wall time only grows from here to `next`; `None` if the stream has no counts.
    fn grows_to(&self, next: &Mark) -> Option<bool> {
        let is_counted = self.steps != 0 && next.steps != 0;
        let is_one_stream = self.tag == next.tag;
        (is_counted || !is_one_stream).then_some(is_one_stream && self.steps == next.steps)
    }
}

/// [`grows`], with the length of the stream bound.
pub type Grows<'a> = &'a dyn Fn(&Range<u64>, &Mark, &Mark) -> bool;

/// A search in consecutive pieces of a stream, by number.
struct Pieces<'a, E> {
    wanted: &'a RangeInclusive<u64>,
    mark: &'a mut dyn FnMut(u64) -> Result<Option<Mark>, E>,
    grows: Grows<'a>,
}

/// The first of the pieces `first` to `last` of a stream that may have records of the wanted times (ns since
/// 1970). The last piece always may.
///
/// The times are accurate to [`super::CLOCK_STEP_NS`] in both directions: extend `wanted` by twice that. `mark`
/// returns the mark of a piece.
///
/// # Errors
/// Those of `mark`.
pub fn first_within<E>(
    (first, last): (u64, u64),
    wanted: &RangeInclusive<u64>,
    mark: &mut dyn FnMut(u64) -> Result<Option<Mark>, E>,
    grows: Grows<'_>,
) -> Result<u64, E> {
    if first >= last {
        return Ok(last);
    }
    let (low, high) = (mark(first)?, mark(last)?);
    let mut pieces = Pieces { wanted, mark, grows };
    Ok(pieces.search((first, low), (last, high))?.unwrap_or(last))
}

impl<E> Pieces<'_, E> {
    /// The first wanted piece from `low` up to, but without, `high`.
    fn search(
        &mut self,
        low: (u64, Option<Mark>),
        high: (u64, Option<Mark>),
    ) -> Result<Option<u64>, E> {
        let is_one = high.0 - low.0 == 1;
        match (low.1, high.1) {
            (Some(from), Some(to)) if (self.grows)(&(low.0..high.0), &from, &to) => {
                if to.wall_ns < *self.wanted.start() || from.wall_ns > *self.wanted.end() {
                    return Ok(None);
                }
                self.halve(low.0, high.0).map(Some)
            }
            _ if is_one => Ok(Some(low.0)),
            _ => {
                let at = low.0 + (high.0 - low.0) / 2;
                let middle = (at, (self.mark)(at)?);
                match self.search(low, middle)? {
                    Some(piece) => Ok(Some(piece)),
                    None => self.search(middle, high),
                }
            }
        }
    }

    /// The last piece from `low` up to, but without, `high` before which all records are too early. Requires that
    /// times only grow.
    fn halve(&mut self, mut low: u64, high: u64) -> Result<u64, E> {
        let mut high = high - 1;
        while low < high {
            let middle = low + (high - low).div_ceil(2);
            if (self.mark)(middle)?.is_some_and(|mark| mark.wall_ns < *self.wanted.start()) {
                low = middle;
            } else {
                high = middle - 1;
            }
        }
        Ok(low)
    }
}

impl<R: Read + Seek> Reader<R> {
    /// Skips forward to a block shortly before that wall time (ns since 1970): everything before the block is
    /// earlier. Stays where it is if there is none. What is skipped is no gap.
    ///
    /// Unlike [`Reader::seek_to_times`] this assumes that the clock was never set in a stream without counts. If it
    /// was set back, give an earlier time.
    ///
    /// Call between items, once the header was read.
    ///
    /// # Errors
    /// Those of the input.
    pub fn seek_to_time(&mut self, realtime_ns: u64) -> Result<(), Error> {
        let grows = |_: &_, _, from: &Mark, to: &Mark| from.grows_to(to).unwrap_or(true);
        self.seek_within(&(realtime_ns..=u64::MAX), grows).map(|_| ())
    }

    /// Skips forward to the first piece that may have records of the wanted wall times (ns since 1970), and stays
    /// where it is if that is the current one. What is skipped is no gap. Returns the offset up to which there may
    /// be such records: there, call it again. Extend `wanted` by twice [`super::CLOCK_STEP_NS`] on both sides.
    ///
    /// Call between items, once the header was read.
    ///
    /// # Errors
    /// Those of the input.
    pub fn seek_to_times(&mut self, wanted: &RangeInclusive<u64>) -> Result<u64, Error> {
        self.seek_within(wanted, grows)
    }

    /// Goes to `offset`, where a block or the file header begins. What is skipped is no gap.
    ///
    /// Call between items, once the header was read.
    ///
    /// # Errors
    /// Those of the input.
    pub fn seek_to(&mut self, offset: u64) -> Result<(), Error> {
        self.frames.input.source().seek(SeekFrom::Start(offset)).map_err(unreadable)?;
        self.go_on_at(offset);
        Ok(())
    }

    fn seek_within(
        &mut self,
        wanted: &RangeInclusive<u64>,
        grows: impl Fn(&Range<u64>, u64, &Mark, &Mark) -> bool,
    ) -> Result<u64, Error> {
        let here = self.offset();
        let source = self.frames.input.source();
        let len = source.seek(SeekFrom::End(0)).map_err(unreadable)?;
        let mut mark = |piece: u64| {
            source.seek(SeekFrom::Start(piece * GRID)).map_err(unreadable)?;
            Mark::of(&mut *source)
        };
        let ends = (here / GRID, len.saturating_sub(1) / GRID);
        let grows = |pieces: &Range<u64>, from: &Mark, to: &Mark| grows(pieces, len, from, to);
        let piece = first_within(ends, wanted, &mut mark, &grows)?;
        let to = piece * GRID;
        if to > here {
            self.frames.input.source().seek(SeekFrom::Start(to)).map_err(unreadable)?;
            self.go_on_at(to);
        } else {
            // The reader continues with the bytes that it has read already; the source goes behind them.
            let behind = self.frames.input.offset() + self.frames.input.bytes().len() as u64;
            self.frames.input.source().seek(SeekFrom::Start(behind)).map_err(unreadable)?;
        }
        Ok(to.max(here) / GRID * GRID + GRID)
    }
}

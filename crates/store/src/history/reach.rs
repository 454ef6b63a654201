//! How far back a history goes, and why not further.

use super::entry::Entry;
use super::{History, Now};
use crate::files::header_of;
use fsmon_format::stream::Header;
use std::time::Duration;

/// How far back a history goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reach {
    /// Since how long ago something is recorded, by the history clock.
    pub age: Duration,
    /// Whether there was more before that, which is deleted.
    pub is_cut: bool,
    /// Whether recording was paused since then, as closed segments show.
    pub was_paused: bool,
}

/// The segment that is being written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OpenSegment {
    /// Its number in the stream.
    pub number: u32,
    /// When it began: `CLOCK_MONOTONIC`, ns.
    pub began_ns: u64,
}

/// How the oldest segment begins. Kept with the name of its file, so that this is read once.
#[derive(Clone, Debug, Default)]
pub(super) struct Begin {
    file: String,
    /// From there to its last record.
    span_ns: u64,
    /// Whether its stream has a GAP record about a stream before.
    follows: bool,
}

impl History {
    /// How far back the history goes; `None` while that is not known, as segments are [`History::unlisted`]. `open` is the
    /// segment that is being written.
    ///
    /// That something was deleted shows in the oldest segment: it is not the first of its stream, or that stream has a GAP
    /// record about one before. So it is known after a restart, too, and of segments that somebody else deleted.
    pub fn reach(&mut self, now: &Now, open: Option<OpenSegment>) -> Option<Reach> {
        let clock_ns = self.catalogue.advance(now);
        if !self.unlisted.is_empty() {
            return None;
        }
        self.look_at_oldest();
        let since = |began_ns, now_ns: u64| Duration::from_nanos(now_ns.saturating_sub(began_ns));
        let Some((oldest, others)) = self.catalogue.entries().split_first() else {
            return open.map(|open| Reach {
                age: since(open.began_ns, now.monotonic_ns),
                is_cut: open.number > 0 || self.last.is_some(),
                was_paused: false,
            });
        };
        let Begin { span_ns, follows, .. } = self.oldest;
        let began_ns = oldest.clock_ns.saturating_sub(span_ns);
        let pauses = oldest.gaps.saturating_sub(follows.into());
        Some(Reach {
            age: since(began_ns, clock_ns),
            is_cut: oldest.segment > 0 || follows,
            // Each stream that is not the first begins with a GAP.
            was_paused: pauses > 0
                || others.iter().any(|entry| entry.gaps > u64::from(entry.segment == 0)),
        })
    }

    fn look_at_oldest(&mut self) {
        if let Some(oldest) =
            self.catalogue.entries().first().filter(|entry| entry.file != self.oldest.file)
        {
            self.oldest = Begin::of(oldest, header_of(&self.dir.join(&oldest.file)).as_ref());
        }
    }
}

impl Begin {
    /// Without the header, what is before the first record with a time is not known.
    fn of(entry: &Entry, header: Option<&Header>) -> Self {
        let (first_ns, last_ns) = entry.monotonic_ns;
        let began_ns = header.map_or(first_ns, |header| header.time_ns);
        // A pause is later than the header.
        let is_before = |header: &Header| entry.wall_ns.0 < header.realtime_ns;
        Begin {
            file: entry.file.clone(),
            span_ns: last_ns.saturating_sub(began_ns),
            follows: entry.segment == 0 && entry.gaps > 0 && header.is_none_or(is_before),
        }
    }
}

//! The streams of a trace: scopes of their ids, and one time for all of them.

use fsmon_format::stream::{Block, Header};
use std::collections::HashMap;

/// A stream.
pub(super) struct Stream {
    pub(super) host: String,
    /// How far the trace's time is ahead of the stream's.
    shift: u64,
    /// Whether its monotonic clock is the trace's.
    pub(super) sets_time: bool,
}

/// All streams read so far. Both readings produce the same states.
#[derive(Default)]
pub(super) struct Streams {
    pub(super) all: Vec<Stream>,
    by_id: HashMap<[u8; 16], (usize, u32)>,
    /// The boot whose monotonic clock is the trace's time, and how far wall time was ahead of it.
    first: Option<([u8; 16], u64)>,
    current: usize,
    scope: u32,
    scopes: u32,
    id: [u8; 16],
}

impl Streams {
    /// The following blocks are of this stream.
    pub(super) fn header(&mut self, header: &Header) {
        let ahead = header.realtime_ns.wrapping_sub(header.time_ns);
        let (boot, first_ahead) = *self.first.get_or_insert((header.boot_id, ahead));
        if !self.by_id.contains_key(&header.stream_id) {
            let sets_time = boot == header.boot_id;
            let shift = if sets_time { 0 } else { ahead.wrapping_sub(first_ahead) };
            let host = String::from_utf8_lossy(&header.host).into_owned();
            self.all.push(Stream { host, shift, sets_time });
            self.scopes += 1;
            self.by_id.insert(header.stream_id, (self.all.len() - 1, self.scopes));
        }
        self.id = header.stream_id;
        (self.current, self.scope) = self.by_id[&header.stream_id];
    }

    /// Begins a block: a renumbered one begins a new scope.
    pub(super) fn block(&mut self, block: &Block<'_>) {
        if self.all.is_empty() {
            // The file header is damaged.
            self.header(&Header::default());
        }
        if block.is_renumbered() {
            self.scopes += 1;
            self.scope = self.scopes;
            self.by_id.insert(self.id, (self.current, self.scope));
        }
    }

    /// Index of the stream being read.
    pub(super) fn current(&self) -> usize {
        self.current
    }

    /// The current scope: within a scope an id of the stream has one meaning.
    pub(super) fn scope(&self) -> u32 {
        self.scope
    }

    /// Converts a time of the current stream to the trace's.
    pub(super) fn time(&self, ns: u64) -> u64 {
        self.shifted(self.current, ns)
    }

    /// Converts a time of any stream to the trace's.
    pub(super) fn shifted(&self, stream: usize, ns: u64) -> u64 {
        self.all.get(stream).map_or(ns, |stream| ns.wrapping_add(stream.shift))
    }
}

/// Assigns unique moments to the events of each track. Events read from the kernel together have the same time, and
/// Perfetto draws simultaneous events of a track in several rows: so each gets a moment 1 ns after the previous.
#[derive(Default)]
pub(super) struct Moments {
    /// By track: the time of the last event, and its moment.
    last: Vec<(u64, u64)>,
}

impl Moments {
    /// The moment for the next event of that time.
    pub(super) fn next(&mut self, track: usize, ns: u64) -> u64 {
        if self.last.len() <= track {
            self.last.resize(track + 1, (0, 0));
        }
        let (time, moment) = self.last[track];
        // An event that is reported late keeps its earlier time.
        let next = if ns >= time { ns.max(moment + 1) } else { ns };
        self.last[track] = (ns, next);
        next
    }
}

#[cfg(test)]
mod tests {
    use super::Moments;

    #[test]
    fn events_of_one_time_get_consecutive_moments() {
        let mut moments = Moments::default();
        let next = [5, 5, 5, 6, 9, 2, 2].map(|ns| moments.next(1, ns));
        assert_eq!(next, [5, 6, 7, 8, 9, 2, 3]);
        assert_eq!(moments.next(0, 5), 5);
    }
}

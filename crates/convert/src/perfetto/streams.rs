//! The streams of a trace: whose ids hold where, and one time for all of them.

use fsmon_format::stream::{Block, Header};
use std::collections::HashMap;

/// A stream.
pub(super) struct Stream {
    pub(super) host: String,
    /// What the trace's time is ahead of the stream's.
    shift: u64,
    /// Whether its monotonic clock is that of the trace.
    pub(super) sets_time: bool,
}

/// All streams read so far. Both readings go through the same states.
#[derive(Default)]
pub(super) struct Streams {
    pub(super) all: Vec<Stream>,
    by_id: HashMap<[u8; 16], (usize, u32)>,
    /// The boot whose monotonic clock is the trace's time, and what wall time was ahead of it.
    first: Option<([u8; 16], u64)>,
    current: usize,
    scope: u32,
    scopes: u32,
    id: [u8; 16],
}

impl Streams {
    /// What follows is of that stream.
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

    /// Ids may begin anew with a block.
    pub(super) fn block(&mut self, block: &Block<'_>) {
        if self.all.is_empty() {
            // Its file header is damaged.
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

    /// Within it, an id in the stream stands for one thing.
    pub(super) fn scope(&self) -> u32 {
        self.scope
    }

    /// The trace's time for one of the stream being read.
    pub(super) fn time(&self, ns: u64) -> u64 {
        self.shifted(self.current, ns)
    }

    /// The same for any stream.
    pub(super) fn shifted(&self, stream: usize, ns: u64) -> u64 {
        self.all.get(stream).map_or(ns, |stream| ns.wrapping_add(stream.shift))
    }
}

/// Moments on tracks, none used twice. Events read from the kernel together have one time, and the
/// reader draws what is on one track at one time in as many rows: so each comes 1 ns after the one
/// before.
#[derive(Default)]
pub(super) struct Moments {
    /// By track: the time of the last event, and the moment that it got.
    last: Vec<(u64, u64)>,
}

impl Moments {
    /// The moment for the next event of that time.
    pub(super) fn next(&mut self, track: usize, ns: u64) -> u64 {
        if self.last.len() <= track {
            self.last.resize(track + 1, (0, 0));
        }
        let (time, moment) = self.last[track];
        // What is told late stays where it was.
        let next = if ns >= time { ns.max(moment + 1) } else { ns };
        self.last[track] = (ns, next);
        next
    }
}

#[cfg(test)]
mod tests {
    use super::Moments;

    #[test]
    fn what_has_one_time_follows_each_other() {
        let mut moments = Moments::default();
        let next = [5, 5, 5, 6, 9, 2, 2].map(|ns| moments.next(1, ns));
        assert_eq!(next, [5, 6, 7, 8, 9, 2, 3]);
        assert_eq!(moments.next(0, 5), 5);
    }
}

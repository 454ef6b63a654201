//! What the catalogue says of a segment's records: their times, losses, and who caused most of them.

use crate::limits::{TALLIED, TOP_NAME_MAX, TOPS};
use fsmon_format::mirror::Mirror;
use fsmon_format::record::{Body, Event, Gap, Record, end_flag, proc_flag};
use fsmon_present::message::shown;
use std::ffi::OsStr;
use std::fmt;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

/// A user or a control group, and how many events of a segment are its.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Top<T> {
    /// Which one.
    pub who: T,
    /// Events. Exact unless a segment has events of more than 64 different ones; then it may be too high by 1/64 of the
    /// segment's events.
    pub events: u64,
}

/// A control group.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Cgroup {
    /// The kernel's id; never 0.
    pub id: u64,
    /// Its path, at most [`TOP_NAME_MAX`] bytes of it; empty if unknown.
    pub path: Vec<u8>,
}

impl fmt::Display for Cgroup {
    /// The path, without what a terminal would obey; the id where it is not known.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.path.as_slice() {
            [] => write!(f, "number {}", self.id),
            path => f.write_str(&shown(Path::new(OsStr::from_bytes(path)))),
        }
    }
}

/// What the catalogue says of the records of one segment, counted in memory of a fixed size: some 10 KiB.
pub struct Tally {
    /// The CLOCK in force: monotonic and wall time, ns.
    clock: (u64, u64),
    /// EVENT records.
    pub(crate) events: u64,
    /// LOSS records.
    pub(crate) losses: u64,
    /// GAP records.
    pub(crate) gaps: u64,
    /// The least and the greatest wall time, those of which gaps are included.
    pub(crate) wall_ns: (u64, u64),
    /// The wall time of the last record that has a time.
    pub(crate) wall_end_ns: u64,
    /// Whether an END record came.
    pub(crate) has_end: bool,
    /// Whether the END record says that something is missing.
    pub(crate) is_incomplete: bool,
    uids: Counters<u32>,
    cgroups: Counters<u64>,
    /// Those of `cgroups`, by index.
    paths: Vec<Vec<u8>>,
}

impl Tally {
    /// Nothing yet, in a segment that began at these times, ns: those of its header.
    #[must_use]
    pub fn new(monotonic_ns: u64, realtime_ns: u64) -> Self {
        Tally {
            clock: (monotonic_ns, realtime_ns),
            events: 0,
            losses: 0,
            gaps: 0,
            wall_ns: (realtime_ns, realtime_ns),
            wall_end_ns: realtime_ns,
            has_end: false,
            is_incomplete: false,
            uids: Counters::new(),
            cgroups: Counters::new(),
            paths: Vec::with_capacity(TALLIED),
        }
    }

    /// Takes a record: each that goes into the stream's writer, GAP and NOTE too, after `mirror` took it. What the mirror
    /// knows of users and control groups is what the catalogue will name.
    #[inline]
    pub fn take(&mut self, record: &Record<'_>, mirror: &Mirror) {
        match record.body() {
            Body::Event(event) => self.event(event.head, mirror),
            Body::Clock(clock) => self.clock = (clock.time_ns.get(), clock.realtime_ns.get()),
            Body::Stats(stats) => self.at(stats.time_ns.get()),
            Body::Loss(loss) => {
                self.losses += 1;
                self.at(loss.last_ns.get());
            }
            Body::Gap(gap) => self.gap(gap),
            Body::Note(note) => self.at(note.head.time_ns.get()),
            Body::End(end) => {
                self.has_end = true;
                self.is_incomplete = end.flags.get() & end_flag::INCOMPLETE != 0;
                self.at(end.time_ns.get());
            }
            _ => {}
        }
    }

    fn event(&mut self, event: &Event, mirror: &Mirror) {
        self.events += 1;
        self.at(event.time_ns.get());
        let Some(image) = mirror.proc(event.proc.get()) else { return };
        if image.flags.get() & proc_flag::CRED != 0 {
            self.uids.add(image.uid.get());
        }
        let cgroup = image.cgroup_id.get();
        if cgroup != 0
            && let Some(index) = self.cgroups.add(cgroup)
        {
            let path = mirror.string(image.cgroup.get()).unwrap_or_default();
            let path = path[..path.len().min(TOP_NAME_MAX)].to_vec();
            match self.paths.get_mut(index) {
                Some(known) => *known = path,
                None => self.paths.push(path),
            }
        }
    }

    fn gap(&mut self, gap: &Gap) {
        self.gaps += 1;
        self.at(gap.time_ns.get());
        // Who asks for a time within the gap finds it in this segment.
        self.widen(gap.from_ns.get());
        self.widen(gap.to_ns.get());
    }

    fn at(&mut self, time_ns: u64) {
        let (monotonic_ns, realtime_ns) = self.clock;
        let wall_ns = realtime_ns.wrapping_add(time_ns.wrapping_sub(monotonic_ns));
        self.widen(wall_ns);
        self.wall_end_ns = wall_ns;
    }

    fn widen(&mut self, wall_ns: u64) {
        self.wall_ns = (self.wall_ns.0.min(wall_ns), self.wall_ns.1.max(wall_ns));
    }

    /// The users with most events, most first.
    pub(crate) fn uids(&self) -> Vec<Top<u32>> {
        let top = |index: usize| self.uids.list[index];
        let named = |(who, events)| Top { who, events };
        self.uids.most().into_iter().map(top).map(named).collect()
    }

    /// The control groups with most events, most first.
    pub(crate) fn cgroups(&self) -> Vec<Top<Cgroup>> {
        let top = |index: usize| {
            let (id, events) = self.cgroups.list[index];
            let path = self.paths.get(index).cloned().unwrap_or_default();
            Top { who: Cgroup { id, path }, events }
        };
        self.cgroups.most().into_iter().map(top).collect()
    }
}

/// The most frequent keys, by the algorithm Space-Saving (Metwally and others, 2005): where all counters are taken, a
/// new key takes over the lowest one, with its count.
struct Counters<K> {
    list: Vec<(K, u64)>,
    /// The one that was counted last: events of one process come in a row.
    last: usize,
}

impl<K: Copy + PartialEq> Counters<K> {
    fn new() -> Self {
        Counters { list: Vec::with_capacity(TALLIED), last: 0 }
    }

    /// Counts the key. Returns its index if it was not counted before.
    #[inline]
    fn add(&mut self, key: K) -> Option<usize> {
        match self.list.get_mut(self.last) {
            Some((known, count)) if *known == key => {
                *count += 1;
                None
            }
            _ => self.find(key),
        }
    }

    fn find(&mut self, key: K) -> Option<usize> {
        if let Some(index) = self.list.iter().position(|(known, _)| *known == key) {
            self.last = index;
            self.list[index].1 += 1;
            return None;
        }
        if self.list.len() < TALLIED {
            self.last = self.list.len();
            self.list.push((key, 1));
            return Some(self.last);
        }
        let lowest = self.list.iter().enumerate().min_by_key(|(_, (_, count))| *count);
        self.last = lowest.map_or(0, |(index, _)| index);
        self.list[self.last] = (key, self.list[self.last].1 + 1);
        Some(self.last)
    }

    /// The indexes of the highest counts, at most [`TOPS`].
    fn most(&self) -> Vec<usize> {
        let mut order: Vec<usize> = (0..self.list.len()).collect();
        order.sort_by_key(|&index| std::cmp::Reverse(self.list[index].1));
        order.truncate(TOPS);
        order
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_most_frequent_are_found_among_many_more_than_are_counted() {
        let mut counters = Counters::new();
        for round in 0..100_000u32 {
            counters.add(1000 + round);
            if round % 4 == 0 {
                counters.add(1);
            }
            if round % 8 == 0 {
                counters.add(2);
            }
        }
        assert_eq!(counters.list.len(), TALLIED);
        let found: Vec<_> = counters.most().into_iter().map(|index| counters.list[index]).collect();
        let (events, tallied) = (137_500, TALLIED as u64);
        for (key, exact) in [(1, 25_000), (2, 12_500)] {
            let count = found.iter().find(|(known, _)| *known == key).expect("frequent").1;
            assert!((exact..=exact + events / tallied).contains(&count), "{key}: {count}");
        }
    }

    #[test]
    fn who_comes_late_and_often_is_found() {
        let mut counters = Counters::new();
        for round in 0..1000u32 {
            counters.add(1000 + round % 64);
        }
        for round in 0..20_000u32 {
            counters.add(2000 + round);
            counters.add(1);
        }
        let most = counters.list[counters.most()[0]];
        assert!(most.0 == 1 && most.1 >= 20_000, "{most:?}");
    }

    #[test]
    fn few_are_counted_exactly() {
        let mut counters = Counters::new();
        for key in 0..TALLIED as u64 {
            for _ in 0..=key {
                counters.add(key);
            }
        }
        let found: Vec<_> = counters.most().into_iter().map(|index| counters.list[index]).collect();
        assert_eq!(found, [(63, 64), (62, 63), (61, 62), (60, 61)]);
    }
}

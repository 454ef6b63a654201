//! The reads of the queue to events.

use crate::records::recording;
use crate::{Group, plain, rounds};
use fsmon_engine::hot::event::{Event, Events, Key};
use std::time::Instant;

/// What a parser finds, in one number for each field.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Sums {
    events: usize,
    masks: u64,
    pids: u64,
    names: usize,
    handles: usize,
}

impl Sums {
    fn add(&mut self, event: &Event<'_>) {
        self.events += 1;
        self.masks += event.mask;
        self.pids += u64::from(event.pid);
        for location in [event.location, event.old].into_iter().flatten() {
            self.names += location.name.len();
            self.handles += len(location.dir);
        }
        self.handles += event.object.map_or(0, len);
    }
}

/// A key of the plain kind has both.
fn len(key: Key<'_>) -> usize {
    8 + key.handle.len()
}

fn plainly() -> Sums {
    let mut sums = Sums::default();
    for event in plain::events(&recording()) {
        sums.events += 1;
        sums.masks += event.mask;
        sums.pids += u64::from(event.pid);
        for (dir, name) in [event.location, event.old].into_iter().flatten() {
            sums.names += name.len();
            sums.handles += dir.len();
        }
        sums.handles += event.object.map_or(0, |key| key.len());
    }
    sums
}

pub(crate) fn bench(group: &mut Group<'_>) {
    let expected = plainly();
    rounds(group, "parse", expected.events, |recording| {
        let start = Instant::now();
        let mut sums = Sums::default();
        for read in recording.reads() {
            Events(&read.bytes).for_each(|event| sums.add(&event));
        }
        let time = start.elapsed();
        assert_eq!(sums, expected);
        time
    });
}

//! Whole turns of the reader: parser, tree, process table, resolver, and records into the ring. All but the
//! calls into the kernel.

use crate::plain::{self, Reported};
use crate::records::{ROOM, count_events, play, recording, reported};
use crate::{Group, rounds};
use fsmon_engine::hot::event::Events;
use fsmon_engine::replay::{Recording, Replay, Room, Turn};
use std::time::{Duration, Instant};

/// Events of a turn amid a storm.
const FULL: usize = 100;

/// The records report the same as [`plain::reported`]. One event may give several records, if its process changed
/// while the event was in the queue.
fn check(recording: &Recording) -> usize {
    Room::with(recording, ROOM, |replay| {
        let all = reported(&play(replay, recording).concat());
        let mut records = all.iter();
        for expected in plain::reported(recording) {
            let mut mask = 0;
            while mask != expected.mask {
                let part = records.next().unwrap_or_else(|| panic!("missing: {expected:?}"));
                mask |= part.mask;
                // What came after the change is another's, or the process under another name.
                let is_first = part.mask == mask;
                let by = if is_first { &expected } else { part };
                let (comm, exec) = (by.comm.clone(), by.exec.clone());
                let whole = Reported { mask: expected.mask, ..part.clone() };
                assert_eq!(whole, Reported { comm, exec, ..expected.clone() });
            }
        }
        assert_eq!(records.next(), None);
        assert_eq!(replay.counters().unattributed, 0);
        all.len()
    })
    .unwrap()
}

/// How turns are played, and which of them are timed.
#[derive(Clone, Copy)]
struct Way {
    /// Sleep before each: between two turns of a host's reader others have its caches.
    rest: Duration,
    /// Events that a timed turn has at the least.
    events_min: usize,
}

fn events_of(turn: &Turn) -> usize {
    turn.reads.iter().map(|read| Events(&read.bytes).count()).sum()
}

/// One round: the time that it takes, and the number of reported events.
fn round(replay: &mut Replay<'_>, recording: &Recording, way: Way) -> (Duration, usize) {
    let (mut sum, mut reported) = (Duration::ZERO, 0);
    for turn in &recording.turns {
        let is_timed = events_of(turn) >= way.events_min;
        if !way.rest.is_zero() && is_timed {
            std::thread::sleep(way.rest);
        }
        replay.put(turn).unwrap();
        let start = Instant::now();
        replay.turn(turn).unwrap();
        sum += if is_timed { start.elapsed() } else { Duration::ZERO };
        replay.records(|slots| reported += count_events(slots));
    }
    (sum, reported)
}

pub(crate) fn bench(group: &mut Group<'_>) {
    let first = recording();
    let expected = check(&first);
    for (name, rest_ms, events_min) in [
        ("reader", 0, 0),
        ("reader, full turns", 0, FULL),
        ("reader, rested", 1, 0),
        ("reader, rested, full turns", 1, FULL),
    ] {
        let way = Way { rest: Duration::from_millis(rest_ms), events_min };
        let timed = first.turns.iter().map(events_of).filter(|events| *events >= events_min).sum();
        Room::with(&first, ROOM, |replay| {
            rounds(group, name, timed, |recording| {
                let (time, reported) = round(replay, recording, way);
                assert_eq!(reported, expected);
                time
            });
            assert!(replay.is_idle());
            assert_eq!(replay.counters().processes_evicted, 0);
        })
        .unwrap();
    }
}

//! The process table: messages applied, and whose each event is looked up.

use crate::plain::{self, Images};
use crate::records::{ROOM, recording};
use crate::{Group, rounds};
use fsmon_engine::hot::event::Events;
use fsmon_engine::hot::who::{Answer, Interval, Processes};
use fsmon_engine::replay::{Recording, Turn, processes};
use fsmon_format::record::Attribution;
use std::time::{Duration, Instant};

/// A table, and how far it is.
struct Table {
    who: Processes,
    after_ns: u64,
    index: u64,
}

/// How long both halves of a turn, or of all, took.
#[derive(Default)]
struct Times {
    messages: Duration,
    lookups: Duration,
}

impl Table {
    fn new(recording: &Recording) -> Self {
        Table { who: processes(ROOM.1), after_ns: recording.start_ns, index: 0 }
    }

    /// As the reader does it. `answer` is given the number of each event, and whose it is.
    fn turn(&mut self, turn: &Turn, mut answer: impl FnMut(&Processes, u64, Answer)) -> Times {
        let mut pids = Vec::new();
        for read in &turn.reads {
            let events = Events(&read.bytes).map(|event| event.pid);
            let before = pids.len();
            pids.extend(events);
            self.who.note_read(read.number, read.turn, (pids.len() - before) as u32);
        }
        let start = Instant::now();
        turn.messages.iter().for_each(|message| self.who.feed_bpf(message));
        self.who.drain(turn.until_ns);
        let messages = start.elapsed();
        let start = Instant::now();
        for pid in pids {
            let (after_ns, until_ns) = (self.after_ns, turn.until_ns);
            let interval = Interval { after_ns, until_ns, index: self.index };
            let found = self.who.resolve(pid, interval);
            answer(&self.who, self.index, found);
            self.index += 1;
        }
        self.who.note_resolved(self.index);
        if let Some(empty_ns) = turn.empty_ns {
            self.after_ns = self.after_ns.max(empty_ns);
            self.who.retire(self.after_ns);
        }
        Times { messages, lookups: start.elapsed() }
    }

    /// All turns once; every event is to have an image that is sure.
    fn round(&mut self, recording: &Recording, count: usize) -> Times {
        let (mut times, mut exact) = (Times::default(), 0);
        for turn in &recording.turns {
            let took = self.turn(turn, |_, _, answer| {
                exact += usize::from(answer.image != 0 && answer.attribution == Attribution::Exact);
            });
            times.messages += took.messages;
            times.lookups += took.lookups;
        }
        assert_eq!(exact, count);
        times
    }
}

/// Every event's process is what it should be.
fn check(recording: &Recording) {
    let (mut table, images) = (Table::new(recording), Images::new(recording));
    let events = plain::events(recording);
    for turn in &recording.turns {
        table.turn(turn, |who, index, answer| {
            let (image, event) = (who.describe(answer.image), &events[index as usize]);
            let comm: Vec<u8> = image.comm.iter().copied().take_while(|byte| *byte != 0).collect();
            let expected = images.at(event.pid, index);
            let is = (image.pid.get(), &comm[..], who.exe(image.exec.get()));
            assert_eq!(is, (event.pid, &expected.comm[..], &expected.exec[..]), "event {index}");
        });
    }
    assert_eq!(table.index, events.len() as u64);
    let counters = table.who.counters();
    assert_eq!(counters.messages, recording.messages().count() as u64);
    assert_eq!((counters.malformed, counters.late_reads, counters.evicted), (0, 0, 0));
}

pub(crate) fn bench(group: &mut Group<'_>) {
    let first = recording();
    check(&first);
    let (events, messages) = (plain::events(&first).len(), first.messages().count());
    let mut table = Table::new(&first);
    rounds(group, "processes: lookups", events, |recording| table.round(recording, events).lookups);
    let mut table = Table::new(&first);
    rounds(group, "processes: messages", messages, |recording| {
        table.round(recording, events).messages
    });
    let counters = table.who.counters();
    assert!(counters.evicted == 0 && counters.images <= 2 * messages, "the ended are forgotten");
}

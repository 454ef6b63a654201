//! A block, from which records are taken one after the other.

use super::{At, Consumer};
use crate::cursor::Place;
use fsmon_format::record::{Body, Record, Slot};
use fsmon_format::stream::Block;

/// The block that a track has come to.
#[derive(Default)]
pub(super) struct Held {
    slots: Vec<Slot>,
    /// Slots that were taken.
    at: usize,
    /// Where the next record is.
    place: Place,
    /// What CLOCK said last: monotonic, and wall time.
    clock: (u64, u64),
    /// The latest time so far: a stream keeps its order where a record is older than one before it.
    latest_ns: u64,
    /// The time and the wall time of the next record that has one.
    next: Option<(u64, u64)>,
}

impl Held {
    /// Takes a block of a segment. `after`: records before it were taken.
    pub(super) fn load(&mut self, block: &Block<'_>, segment: u32, after: Option<&Place>) {
        self.slots.clear();
        self.slots.extend_from_slice(block.slots());
        self.at = 0;
        let (stream_id, block) = (self.place.stream_id, block.number());
        self.place = Place { stream_id, segment, block, record: 0, line: 0 };
        if let Some(after) = after.filter(|after| after.block == block) {
            self.pass_over(after);
        }
        self.look();
    }

    pub(super) fn set_stream(&mut self, stream_id: [u8; 16]) {
        self.place.stream_id = stream_id;
    }

    /// Passes over the records before a place in this block.
    fn pass_over(&mut self, after: &Place) {
        while self.place.record < after.record {
            let Some((record, _)) = Record::split_first(&self.slots[self.at..]) else { return };
            if let Body::Clock(clock) = record.body() {
                self.clock = (clock.time_ns.get(), clock.realtime_ns.get());
            }
            self.at += record.slots().len();
            self.place.record += 1;
        }
        self.place.line = after.line;
    }

    /// Finds the next record that has a time.
    fn look(&mut self) {
        let (mut clock, mut rest) = (self.clock, &self.slots[self.at..]);
        self.next = None;
        while let Some((record, behind)) = Record::split_first(rest) {
            let body = record.body();
            if let Body::Clock(now) = body {
                clock = (now.time_ns.get(), now.realtime_ns.get());
            }
            if let Some(time_ns) = time_of(&body) {
                let wall_ns = clock.1.wrapping_add(time_ns.wrapping_sub(clock.0));
                self.next = Some((self.latest_ns.max(time_ns), wall_ns));
                return;
            }
            rest = behind;
        }
    }

    /// The time and the wall time of the next record; `None` if none is left.
    pub(super) fn next(&self) -> Option<(u64, u64)> {
        self.next
    }

    /// Where the next record is.
    pub(super) fn place(&self) -> Place {
        self.place
    }

    /// Gives again what the records so far defined.
    pub(super) fn define(&self, consumer: &mut dyn Consumer, others: &[Place]) {
        let mut rest = &self.slots[..self.at];
        let mut place = Place { record: 0, line: 0, ..self.place };
        while let Some((record, behind)) = Record::split_first(rest) {
            if is_definition(&record.body()) {
                consumer.record(&record, &At { place, others });
            }
            place.record += 1;
            rest = behind;
        }
    }

    /// Gives the next record that has a time, and the definitions before it.
    pub(super) fn give(&mut self, consumer: &mut dyn Consumer, others: &[Place]) {
        let Some((time_ns, _)) = self.next else { return };
        self.latest_ns = time_ns;
        while let Some((record, _)) = Record::split_first(&self.slots[self.at..]) {
            let body = record.body();
            consumer.record(&record, &At { place: self.place, others });
            if let Body::Clock(clock) = body {
                self.clock = (clock.time_ns.get(), clock.realtime_ns.get());
            }
            self.at += record.slots().len();
            (self.place.record, self.place.line) = (self.place.record + 1, 0);
            if time_of(&body).is_some() {
                break;
            }
        }
        self.look();
    }
}

/// What ids and times that follow depend on.
fn is_definition(body: &Body<'_>) -> bool {
    matches!(body, Body::Dir(..) | Body::Proc(_) | Body::Str(..) | Body::Clock(_) | Body::Stats(_))
}

/// CLOCK_MONOTONIC ns; `None` if the record has no time of its own.
fn time_of(body: &Body<'_>) -> Option<u64> {
    Some(match body {
        Body::Event(event) => event.head.time_ns.get(),
        Body::Loss(loss) => loss.last_ns.get(),
        Body::Stats(stats) => stats.time_ns.get(),
        Body::End(end) => end.time_ns.get(),
        Body::Gap(gap) => gap.time_ns.get(),
        Body::Note(note) => note.head.time_ns.get(),
        _ => return None,
    })
}

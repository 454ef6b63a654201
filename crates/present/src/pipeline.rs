//! From records to output: definitions, filters, counting. The same for live and recorded.

use crate::filter::{Filter, Roots};
use crate::limits::GATHER;
use crate::world::{Change, World};
use fsmon_format::error::Error;
use fsmon_format::kind;
use fsmon_format::record::{Body, EventRef, Loss, Record};
use std::time::{Duration, Instant};

/// For how long something may wait, at the most: since the first of it came, and since the last.
#[derive(Clone, Copy, Default)]
pub struct Patience {
    /// Since the first of it came.
    pub first: Duration,
    /// Since the last of it came.
    pub last: Duration,
}

/// What comes out at the end of a pipeline. All append to `out`.
pub trait Output {
    /// For how long batches gather in a storm before they are looked at.
    const GATHER: Duration = GATHER;

    /// Whether what comes out is lines.
    const IS_TEXT: bool = true;

    /// How much of `part`, the beginning of what was appended, is whole lines or blocks, in bytes.
    fn whole(part: &[u8]) -> usize
    where
        Self: Sized;
    /// Lines that a reader lacks, if `rest` is all that did not get out of what was appended: those in
    /// there and those held back.
    fn told_in(&self, rest: &[u8]) -> u64;
    /// What comes before everything else.
    fn begin(&mut self, out: &mut Vec<u8>);
    /// A definition changed what an id stands for.
    fn changed(&mut self, world: &World, change: Change, out: &mut Vec<u8>);
    /// An event, of which these types are to be shown; at least one. `record` is the whole.
    fn event(
        &mut self,
        world: &World,
        event: &EventRef<'_>,
        types: u32,
        record: &Record<'_>,
        out: &mut Vec<u8>,
    );
    /// Something was lost.
    fn loss(&mut self, world: &World, loss: &Loss, record: &Record<'_>, out: &mut Vec<u8>);
    /// A record that is no event, definition or loss.
    fn other(&mut self, _world: &World, _record: &Record<'_>, _out: &mut Vec<u8>) {}
    /// Whether [`Output::flush`] would bring anything.
    fn holds_back(&self) -> bool {
        false
    }
    /// For how long what is held back may wait for company, on its way to a file or elsewhere.
    fn patience(&self, _to_file: bool) -> Patience {
        Patience::default()
    }
    /// What was held back is to be seen now.
    fn flush(&mut self, _out: &mut Vec<u8>) {}
    /// The current file ends, and what comes next goes into another.
    fn end_file(&mut self, _out: &mut Vec<u8>) {}
    /// What comes before everything else in that one.
    fn begin_file(&mut self, out: &mut Vec<u8>) {
        self.begin(out);
    }
    /// Somebody cut the open file. Puts before `carried`, which is whole lines or blocks that are not in
    /// it yet, what comes before everything else.
    fn begin_again(&mut self, carried: &mut Vec<u8>) {
        let mut all = Vec::new();
        self.begin(&mut all);
        carried.splice(0..0, all);
    }
    /// Nothing comes any more.
    fn end(&mut self, _world: &World, _out: &mut Vec<u8>) {}
}

/// The way that each record takes.
pub struct Pipeline<O> {
    world: World,
    filter: Filter,
    output: O,
    /// Events that may still be shown.
    left: u64,
    shown: u64,
    losses: u64,
    malformed: u64,
}

/// What went through a pipeline.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Passed {
    /// Events shown, each type of a merged one by itself.
    pub events: u64,
    /// Losses told.
    pub losses: u64,
    /// Records that could not be read, or definitions without room.
    pub refused: u64,
}

impl Passed {
    /// Lines, whatever of.
    pub fn told(&self) -> u64 {
        self.events + self.losses
    }
}

impl<O: Output> Pipeline<O> {
    /// With `count`, no more events than that are shown.
    pub fn new(world: World, filter: Filter, output: O, count: Option<u64>) -> Self {
        let left = count.unwrap_or(u64::MAX);
        Pipeline { world, filter, output, left, shown: 0, losses: 0, malformed: 0 }
    }

    /// Appends what comes before everything else: a header.
    pub fn begin(&mut self, out: &mut Vec<u8>) {
        self.output.begin(out);
    }

    /// What comes from here on was recorded below these roots.
    ///
    /// # Errors
    /// A pattern that can match nothing there.
    pub fn set_roots(&mut self, roots: &Roots) -> Result<(), Error> {
        self.filter.set_roots(roots)
    }

    /// Takes one record and appends to `out` what it gives.
    #[inline]
    pub fn take(&mut self, record: &Record<'_>, out: &mut Vec<u8>) {
        match record.body() {
            Body::Event(event) => self.take_event(&event, record, out),
            Body::Loss(loss) if !self.filter.is_in_time(&self.world, loss.last_ns.get()) => {}
            Body::Loss(loss) => {
                self.losses += 1;
                self.output.loss(&self.world, loss, record, out);
            }
            Body::Malformed => self.malformed += 1,
            Body::Skip => {}
            body => self.take_definition(&body, record, out),
        }
    }

    #[inline]
    fn take_event(&mut self, event: &EventRef<'_>, record: &Record<'_>, out: &mut Vec<u8>) {
        let mut types = self.filter.wanted(&self.world, event);
        if types == 0 || self.left == 0 {
            return;
        }
        if self.world.look_again(event.head.proc.get()) {
            self.side_changes(out);
        }
        let count = u64::from(types.count_ones());
        if count > self.left {
            types = first_types(types, self.left);
        }
        let count = count.min(self.left);
        self.left -= count;
        self.shown += count;
        self.output.event(&self.world, event, types, record, out);
    }

    fn take_definition(&mut self, body: &Body<'_>, record: &Record<'_>, out: &mut Vec<u8>) {
        match self.world.take(body) {
            Change::Nothing => {}
            change => {
                if let Change::Proc(_) = change {
                    self.side_changes(out);
                }
                self.filter.changed(&self.world, change);
                self.output.changed(&self.world, change, out);
            }
        }
        if matches!(body, Body::Stats(_) | Body::End(_) | Body::Clock(_)) {
            self.output.other(&self.world, record, out);
        }
    }

    /// What an image brought with it, or a look at one.
    #[cold]
    fn side_changes(&mut self, out: &mut Vec<u8>) {
        for change in self.world.side_changes() {
            self.filter.changed(&self.world, *change);
            self.output.changed(&self.world, *change, out);
        }
    }

    /// Time goes on: names that may have changed are looked at again.
    pub fn tick(&mut self, now: Instant) {
        self.world.tick(now);
    }

    /// Whether everything that was asked for was shown.
    pub fn is_full(&self) -> bool {
        self.left == 0
    }

    /// Forgets all ids; clocks and counts stay.
    pub fn forget(&mut self, out: &mut Vec<u8>) {
        self.world.forget();
        self.filter.changed(&self.world, Change::Everything);
        self.output.changed(&self.world, Change::Everything, out);
    }

    /// Whether [`Pipeline::flush`] would bring anything.
    pub fn holds_back(&self) -> bool {
        self.output.holds_back()
    }

    /// For how long what is held back may wait for company, on its way to a file or elsewhere.
    pub fn patience(&self, to_file: bool) -> Patience {
        self.output.patience(to_file)
    }

    /// Appends what was held back.
    pub fn flush(&mut self, out: &mut Vec<u8>) {
        self.output.flush(out);
    }

    /// The current file ends, and what comes next goes into another.
    pub fn end_file(&mut self, out: &mut Vec<u8>) {
        self.output.end_file(out);
    }

    /// Appends what comes before everything else in that one.
    pub fn begin_file(&mut self, out: &mut Vec<u8>) {
        self.output.begin_file(out);
    }

    /// The open file was cut: puts the header before `carried`, whole lines or blocks that are not in it yet.
    pub fn begin_again(&mut self, carried: &mut Vec<u8>) {
        self.output.begin_again(carried);
    }

    /// Lines that a reader lacks, if `rest` is all that did not get out of what was appended.
    pub fn told_in(&self, rest: &[u8]) -> u64 {
        self.output.told_in(rest)
    }

    /// Nothing comes any more: appends what closes the output.
    pub fn end(&mut self, out: &mut Vec<u8>) {
        self.output.end(&self.world, out);
    }

    /// What went through so far.
    pub fn passed(&self) -> Passed {
        let refused = self.malformed + self.world.refused();
        Passed { events: self.shown, losses: self.losses, refused }
    }
}

/// The first `count` of `types` in causal order.
fn first_types(types: u32, count: u64) -> u32 {
    let count = usize::try_from(count).unwrap_or(usize::MAX);
    kind::in_causal_order(types).take(count).fold(0, |first, kind| first | kind.bit)
}

#[cfg(test)]
mod tests {
    use crate::filter::Criteria;
    use crate::text::fixture::{Bench, event};
    use crate::text::{Lines, json::Json};
    use fsmon_format::kind;

    #[test]
    fn the_count_is_exact_in_the_middle_of_a_merged_event() {
        let merged = kind::CREATE | kind::MODIFY | kind::CLOSE_WRITE;
        for count in 1..=7 {
            let json = Lines(Json::new(false));
            let mut bench = Bench::new(json, &Criteria::default(), Some(count));
            bench.furnish();
            for _ in 0..3 {
                assert!(!bench.pipeline.is_full() || bench.pipeline.passed().events == count);
                bench.event(event(merged, 1, 3), b"f", b"");
            }
            bench.loss(1, 1);
            assert_eq!(bench.text().matches("\"path\"").count() as u64, count);
            assert_eq!(
                (bench.pipeline.passed().events, bench.pipeline.passed().losses),
                (count, 1)
            );
            assert!(bench.pipeline.is_full());
        }
    }

    #[test]
    fn definitions_without_room_are_counted() {
        let mut bench = Bench::lines(Json::new(false));
        bench.dir(1 << 30, 0, b"/too/many");
        assert_eq!(bench.pipeline.passed().refused, 1);
    }
}

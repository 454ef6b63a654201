//! Lines of text: what the three text formats have in common.

pub mod change;
pub mod csv;
pub(crate) mod escape;
mod exe;
#[cfg(test)]
pub(crate) mod fixture;
pub mod human;
pub mod json;
mod notes;
pub(crate) mod number;
mod pieces;
mod prefix;
pub(crate) mod when;
mod words;

use crate::filter::GONE;
use crate::limits::CHAIN_MAX;
use crate::pipeline::Output;
use crate::world::{Change, World};
use fsmon_format::kind::{self, Kind};
use fsmon_format::mirror::Mirror;
use fsmon_format::record::{Attribution, EventRef, Gap, Loss, NoteRef, Proc, Record};
use memchr::memchr;

/// A directory and a name in it; an empty name is the directory itself.
#[derive(Clone, Copy)]
pub struct Place<'a> {
    pub(crate) dir: u32,
    pub(crate) name: &'a [u8],
}

impl Place<'_> {
    /// The directory that a loss concerns.
    pub(crate) fn of_loss(loss: &Loss) -> Option<Self> {
        let dir = loss.dir.get();
        (dir != 0).then_some(Place { dir, name: b"" })
    }
}

/// One event type of one record: the content of one line.
#[derive(Clone, Copy)]
pub struct Line<'a> {
    pub(crate) event: EventRef<'a>,
    pub(crate) kind: Kind,
    /// Where it happened; for a rename the new name.
    pub(crate) place: Option<Place<'a>>,
    /// The old name of a RENAME.
    pub(crate) old: Option<Place<'a>>,
    /// The name through which the file was changed, if that name is not watched.
    pub(crate) via: Option<Place<'a>>,
    /// The size of the file in bytes, if that was asked for after the event.
    pub(crate) late_size: Option<u64>,
}

impl<'a> Line<'a> {
    fn new(world: &World, event: EventRef<'a>, kind: Kind) -> Self {
        let late_size = world.late_size.filter(|_| kind.bit & GONE == 0);
        let new = place(event.head.dir.get(), event.name);
        let old = place(event.head.dir2.get(), event.name2);
        let line = Line { event, kind, place: new, old: None, via: None, late_size };
        match kind.bit {
            kind::RENAME => Line { old, ..line },
            kind::MOVED_FROM => Line { place: old, ..line },
            _ => Line { via: old.filter(|_| event.is_via()), ..line },
        }
    }

    /// The object that joins lines about a file without a name: set on lines that have no path, and on
    /// the line that gives the file its first name.
    pub(crate) fn joined_by(&self) -> Option<u64> {
        let object = self.event.head.object.get();
        let is_nameless =
            self.place.is_none() && self.old.is_none() && self.kind.bit != kind::FS_ERROR;
        (object != 0 && (is_nameless || self.event.named())).then_some(object)
    }

    /// The errno that the filesystem reported, and how often; `None` for other events.
    pub(crate) fn fs_error(&self) -> Option<(u32, u32)> {
        (self.kind.bit == kind::FS_ERROR).then(|| self.event.errno_and_count())
    }
}

fn place(dir: u32, name: &[u8]) -> Option<Place<'_>> {
    (dir != 0).then_some(Place { dir, name })
}

/// A text format.
pub trait LineFormat {
    /// The end of the first line of `text`, if it is whole.
    fn line_end(text: &[u8]) -> Option<usize> {
        memchr(b'\n', text).map(|at| at + 1)
    }
    /// Whether a line is of an event, a loss, a gap or a note, not a header or a date.
    fn is_record(line: &[u8]) -> bool;
    /// Appends the header, if the format has one.
    fn begin(&mut self, out: &mut Vec<u8>);
    /// Cached text about an id may be out of date.
    fn changed(&mut self, change: Change);
    /// One event.
    fn event(&mut self, world: &World, line: &Line<'_>, out: &mut Vec<u8>);
    /// Something was lost.
    fn loss(&mut self, world: &World, loss: &Loss, out: &mut Vec<u8>);
    /// For a time nothing was recorded.
    fn gap(&mut self, gap: &Gap, out: &mut Vec<u8>);
    /// What is watched, or what the recorder did.
    fn note(&mut self, world: &World, note: &NoteRef<'_>, out: &mut Vec<u8>);
}

/// A [`LineFormat`] as the end of a pipeline: one line for each type of a merged event.
pub struct Lines<F>(pub F);

/// The whole lines at the beginning of some text.
fn whole_lines<F: LineFormat>(text: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut rest = text;
    std::iter::from_fn(move || {
        let (line, behind) = rest.split_at(F::line_end(rest)?);
        rest = behind;
        Some(line)
    })
}

impl<F: LineFormat> Output for Lines<F> {
    fn whole(part: &[u8]) -> usize {
        whole_lines::<F>(part).map(<[u8]>::len).sum()
    }

    fn lines_lost_with(&self, rest: &[u8]) -> u64 {
        whole_lines::<F>(rest).filter(|line| F::is_record(line)).count() as u64
    }

    fn begin(&mut self, out: &mut Vec<u8>) {
        self.0.begin(out);
    }

    fn changed(&mut self, _: &World, change: Change, _: &mut Vec<u8>) {
        self.0.changed(change);
    }

    #[inline]
    fn event(
        &mut self,
        world: &World,
        event: &EventRef<'_>,
        types: u32,
        _: &Record<'_>,
        out: &mut Vec<u8>,
    ) {
        for kind in kind::in_causal_order(types) {
            self.0.event(world, &Line::new(world, *event, kind), out);
        }
    }

    fn loss(&mut self, world: &World, loss: &Loss, _: &Record<'_>, out: &mut Vec<u8>) {
        self.0.loss(world, loss, out);
    }

    fn gap(&mut self, _: &World, gap: &Gap, _: &Record<'_>, out: &mut Vec<u8>) {
        self.0.gap(gap, out);
    }

    fn note(&mut self, world: &World, note: &NoteRef<'_>, _: &Record<'_>, out: &mut Vec<u8>) {
        self.0.note(world, note, out);
    }
}

/// The word for an attribution that is not exact; `None` if it is exact.
pub(crate) fn inexact(attribution: Attribution) -> Option<&'static str> {
    match attribution {
        Attribution::Exact => None,
        Attribution::Ambiguous => Some("ambiguous"),
        Attribution::Late => Some("late"),
        Attribution::Unknown => Some("unknown"),
    }
}

/// The kernel's name of a process (`comm`), without its padding.
pub(crate) fn comm(image: &Proc) -> &[u8] {
    let len = image.comm.iter().position(|byte| *byte == 0).unwrap_or(image.comm.len());
    &image.comm[..len]
}

/// The known ancestors of an image, nearest first. The list ends at a parent whose id stands for another
/// process by now.
pub(crate) fn ancestors<'a>(mirror: &'a Mirror, image: &'a Proc) -> impl Iterator<Item = &'a Proc> {
    let parent = |child: &&'a Proc| {
        let ppid = child.ppid;
        mirror.proc(child.parent.get()).filter(|parent| parent.pid == ppid)
    };
    std::iter::successors(parent(&image), parent).take(CHAIN_MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use fixture::Bench;
    use fsmon_format::number::to_usize;

    /// Headers, dates, and the line break after a truncated line do not count as records.
    fn assert_only_events_count<F: LineFormat>(format: F, others: usize) {
        let mut bench = Bench::lines(format);
        bench.out.push(b'\n');
        bench.pipeline.begin(&mut bench.out);
        bench.play();
        bench.pipeline = bench.pipeline.with_notes();
        bench.tell();
        let records = bench.pipeline.passed().lines();
        assert_eq!(bench.pipeline.lines_lost_with(&bench.out), records);
        let lines = whole_lines::<F>(&bench.out).count();
        assert_eq!(lines, to_usize(records) + 1 + others);
    }

    #[test]
    fn only_events_and_losses_count_as_lost_lines() {
        assert_only_events_count(json::Json::new(true), 0);
        assert_only_events_count(csv::Plain::new(true), 1);
        assert_only_events_count(human::Human::new(true, false), 1);
        assert_only_events_count(human::Human::new(true, true), 1);
    }
}

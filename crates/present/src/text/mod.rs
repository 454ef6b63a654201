//! Lines of text: what the three text formats have in common.

pub mod csv;
pub(crate) mod escape;
mod exe;
#[cfg(test)]
pub(crate) mod fixture;
pub mod human;
pub mod json;
pub(crate) mod number;
mod pieces;
mod prefix;
pub(crate) mod when;
mod words;

use crate::limits::CHAIN_MAX;
use crate::pipeline::Output;
use crate::world::{Change, World};
use fsmon_format::kind::{self, Kind};
use fsmon_format::mirror::Mirror;
use fsmon_format::record::{Attribution, EventRef, Loss, Proc, Record};
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

/// One event type of one record: what one line tells.
#[derive(Clone, Copy)]
pub struct Line<'a> {
    pub(crate) event: EventRef<'a>,
    pub(crate) kind: Kind,
    /// Where; the new place of a rename.
    pub(crate) place: Option<Place<'a>>,
    /// The old place of a RENAME.
    pub(crate) old: Option<Place<'a>>,
    /// The name through which a file was changed, where that is not watched.
    pub(crate) via: Option<Place<'a>>,
}

impl<'a> Line<'a> {
    fn new(event: EventRef<'a>, kind: Kind) -> Self {
        let new = place(event.head.dir.get(), event.name);
        let old = place(event.head.dir2.get(), event.name2);
        let line = Line { event, kind, place: new, old: None, via: None };
        match kind.bit {
            kind::RENAME => Line { old, ..line },
            kind::MOVED_FROM => Line { place: old, ..line },
            _ => Line { via: old.filter(|_| event.is_via()), ..line },
        }
    }

    /// What joins lines where a path does not: the object of a line that has none, and of the one that tells
    /// its first name.
    pub(crate) fn joined_by(&self) -> Option<u64> {
        let object = self.event.head.object.get();
        let is_nameless =
            self.place.is_none() && self.old.is_none() && self.kind.bit != kind::FS_ERROR;
        (object != 0 && (is_nameless || self.event.named())).then_some(object)
    }

    /// errno and how often, where the filesystem reported an error.
    pub(crate) fn fs_error(&self) -> Option<(u32, u32)> {
        (self.kind.bit == kind::FS_ERROR).then(|| self.event.errno_and_count())
    }
}

fn place(dir: u32, name: &[u8]) -> Option<Place<'_>> {
    (dir != 0).then_some(Place { dir, name })
}

/// A way to write lines.
pub trait LineFormat {
    /// Where the first line of `text` ends, if it is whole.
    fn line_end(text: &[u8]) -> Option<usize> {
        memchr(b'\n', text).map(|at| at + 1)
    }
    /// Whether a line tells an event or a loss, and is no header and the like.
    fn is_told(line: &[u8]) -> bool;
    /// What comes before the first line.
    fn begin(&mut self, out: &mut Vec<u8>);
    /// What was kept about an id may be out of date.
    fn changed(&mut self, change: Change);
    /// One event.
    fn event(&mut self, world: &World, line: &Line<'_>, out: &mut Vec<u8>);
    /// Something was lost.
    fn loss(&mut self, world: &World, loss: &Loss, out: &mut Vec<u8>);
}

/// A [`LineFormat`] as the end of a pipeline: a line for each type of a merged event.
pub struct Lines<F>(pub F);

/// The lines at the beginning of some text that are whole.
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

    fn told_in(&self, rest: &[u8]) -> u64 {
        whole_lines::<F>(rest).filter(|line| F::is_told(line)).count() as u64
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
            self.0.event(world, &Line::new(*event, kind), out);
        }
    }

    fn loss(&mut self, world: &World, loss: &Loss, _: &Record<'_>, out: &mut Vec<u8>) {
        self.0.loss(world, loss, out);
    }
}

/// The word for an attribution that is not exact.
pub(crate) fn doubt(attribution: Attribution) -> Option<&'static str> {
    match attribution {
        Attribution::Exact => None,
        Attribution::Ambiguous => Some("ambiguous"),
        Attribution::Late => Some("late"),
        Attribution::Unknown => Some("unknown"),
    }
}

/// The kernel's name of a process, without its padding.
pub(crate) fn comm(image: &Proc) -> &[u8] {
    let len = image.comm.iter().position(|byte| *byte == 0).unwrap_or(image.comm.len());
    &image.comm[..len]
}

/// The ancestors of an image as far as they are known, nearest first. A parent whose id stands
/// for another process by now ends them.
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

    /// Whether headers and dates are no events, nor the line break after a line that somebody cut.
    fn assert_only_events_count<F: LineFormat>(format: F, others: usize) {
        let mut bench = Bench::lines(format);
        bench.out.push(b'\n');
        bench.pipeline.begin(&mut bench.out);
        bench.play();
        let told = bench.pipeline.passed().told();
        assert_eq!(bench.pipeline.told_in(&bench.out), told);
        let lines = whole_lines::<F>(&bench.out).count();
        assert_eq!(lines, to_usize(told) + 1 + others);
    }

    #[test]
    fn of_what_did_not_get_out_events_are_counted() {
        assert_only_events_count(json::Json::new(true), 0);
        assert_only_events_count(csv::Plain::new(true), 1);
        assert_only_events_count(human::Human::new(true, false), 1);
        assert_only_events_count(human::Human::new(true, true), 1);
    }
}

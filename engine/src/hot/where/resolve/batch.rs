//! What goes with the events of a batch, and what is told of one.

use crate::hot::event::{Events, Key};
use crate::hot::output::{Inputs, Output};
use crate::hot::r#where::overlay::EventSource;
use crate::hot::r#where::tree::Tree;
use crate::hot::who::{Answer, Interval};
use fsmon_format::record::{self, Attribution};
use zerocopy::FromZeros;

/// What goes with every event of a batch.
pub(crate) struct Batch<'a, 's> {
    /// The time in which its events happened.
    pub(crate) window: Interval,
    pub(crate) sources: &'a mut Inputs<'s>,
    pub(crate) output: &'a mut Output,
    /// The events behind the current one: the rest of its buffer, and the next buffer.
    pub(crate) ahead: [Events<'a>; 2],
    /// The current event is fsmon's own, or of before it was ready: the tree follows it, and no record tells it.
    pub(super) silent: bool,
    /// Sides of renames are merged into the current event; its types may lack them by now.
    pub(super) merged: bool,
    /// Whether the current event is as it is in the queue.
    pub(super) source: EventSource,
    /// Who did this event, where that was asked already: once for each event.
    pub(super) settled: Option<Actor>,
    /// The directories that are renamed in what follows; looked for when it first matters.
    pub(super) moves: Option<Moves<'a>>,
}

/// Directories that are renamed by events which follow.
pub(super) struct Moves<'a> {
    /// The number of each event, and the directory.
    dirs: [(u64, Key<'a>); MOVES],
    len: usize,
}

/// Renames of directories ahead that are looked at.
const MOVES: usize = 64;

impl<'a> Moves<'a> {
    /// Those in two buffers, the first event of which has that number.
    #[cold]
    pub(super) fn new([here, next]: [Events<'a>; 2], first: u64) -> Self {
        let mut moves = Moves { dirs: [(0, Key { fsid: 0, handle: &[] }); MOVES], len: 0 };
        let second = first + u64::from(here.len());
        let next = next.renamed_dirs().map(|(at, key)| (second + at, key));
        let all = here.renamed_dirs().map(|(at, key)| (first + at, key)).chain(next);
        for (room, found) in moves.dirs.iter_mut().zip(all) {
            *room = found;
            moves.len += 1;
        }
        moves
    }

    /// Those of events after that number; `None` for more than were looked at: any directory.
    pub(super) fn after(&self, index: u64) -> impl Iterator<Item = Option<Key<'a>>> {
        let more = (self.len == MOVES).then_some(None);
        let dirs = self.dirs[..self.len].iter().filter(move |(at, _)| *at > index);
        dirs.map(|(_, key)| Some(*key)).chain(more)
    }
}

impl<'a, 's> Batch<'a, 's> {
    pub(crate) fn new(
        window: Interval,
        sources: &'a mut Inputs<'s>,
        output: &'a mut Output,
    ) -> Self {
        let ahead = [Events(&[]), Events(&[])];
        Batch {
            window,
            sources,
            output,
            ahead,
            silent: false,
            merged: false,
            source: EventSource::Queue,
            settled: None,
            moves: None,
        }
    }

    /// The next event becomes the current one; `ahead` is behind it.
    #[inline]
    pub(crate) fn begin(&mut self, ahead: [Events<'a>; 2]) {
        self.ahead = ahead;
        (self.silent, self.merged, self.settled) = (false, false, None);
    }
}

/// Who did it, as far as is known.
#[derive(Clone, Copy)]
pub(crate) struct Actor {
    pub(crate) image: u32,
    pub(super) attribution: Attribution,
    /// See [`Answer::later`].
    pub(super) later: u32,
}

impl From<Answer> for Actor {
    fn from(answer: Answer) -> Self {
        let Answer { image, attribution, later } = answer;
        Actor { image, attribution, later }
    }
}

impl From<Actor> for Answer {
    fn from(actor: Actor) -> Self {
        let Actor { image, attribution, later } = actor;
        Answer { image, attribution, later }
    }
}

impl Actor {
    /// Of what that process did, and fsmon found afterwards.
    pub(super) fn late(self) -> Self {
        Actor { attribution: self.attribution.max(Attribution::Late), ..self }
    }
}

/// What is to be told of an event.
#[derive(Clone, Copy)]
pub(super) struct Told<'a> {
    pub(super) at: Option<Known<'a>>,
    /// RENAME: the old place. VIA: the name that is not watched.
    pub(super) old: Option<Known<'a>>,
    /// Those of its types that are wanted.
    pub(super) wanted: u32,
    /// Beside the attribution.
    pub(super) flags: u16,
    /// The hash of the object, of its handle. Where neither place is known, and for FS_ERROR: what the record has.
    pub(super) object: u64,
    pub(super) who: Actor,
}

/// A place whose directory is watched. An empty name is the directory itself.
#[derive(Clone, Copy)]
pub(super) struct Known<'a> {
    pub(super) dir: u32,
    pub(super) name: &'a [u8],
    /// What the two go by: [`Tree::place`].
    pub(super) place: u64,
}

impl<'a> Known<'a> {
    #[inline]
    pub(super) fn new(tree: &Tree, dir: u32, name: &'a [u8]) -> Self {
        Known { dir, name, place: tree.place(dir, name) }
    }
}

#[inline]
pub(super) fn who(pid: u32, batch: &mut Batch<'_, '_>) -> Actor {
    if let Some(actor) = batch.settled.take() {
        return actor;
    }
    batch.sources.who.resolve(pid, batch.window).into()
}

#[inline]
pub(super) fn head(who: Actor, batch: &Batch<'_, '_>) -> record::Event {
    let mut head = record::Event::new_zeroed();
    head.flags = (who.attribution as u16).into();
    head.time_ns = batch.window.until_ns.into();
    head.proc = who.image.into();
    head
}

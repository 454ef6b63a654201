//! What makes an answer uncertain: losses, gaps, and watches that ended, between the answer and now.

use super::hit::{Position, path};
use super::units::Unit;
use super::walk::Search;
use super::wanted::is_below;
use crate::index::Trouble as Key;
use fsmon_format::error::Error;
use fsmon_format::mirror::Mirror;
use fsmon_format::record::{Body, Cause, Clock, Reason, What};
use fsmon_format::stream::Block;

/// The keys of all that is looked for.
pub(crate) const KEYS: [Key; 3] = [Key::Loss, Key::Gap, Key::Note];

/// Something that makes an answer uncertain.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Trouble {
    /// What it is.
    pub kind: TroubleKind,
    /// From when to when, wall time in ns since 1970.
    pub wall_ns: (u64, u64),
    pub(super) at: Position,
}

/// What makes an answer uncertain.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum TroubleKind {
    /// Events are missing; of this directory and what is below it, if it is about one.
    Loss(Reason, Option<Vec<u8>>),
    /// Nothing was recorded.
    Gap(Cause),
    /// The watch of this path ended, or failed.
    Unwatched(Vec<u8>),
}

impl Trouble {
    /// Whether it is about what happens to this path.
    #[must_use]
    pub fn concerns(&self, path: &[u8]) -> bool {
        match &self.kind {
            TroubleKind::Gap(_) | TroubleKind::Loss(_, None) => true,
            TroubleKind::Loss(_, Some(dir)) => path == dir || is_below(path, dir),
            TroubleKind::Unwatched(root) => path == root || is_below(path, root),
        }
    }
}

/// The troubles of a block.
pub(super) fn of_block(
    block: &Block<'_>,
    (unit, stream): (&Unit, u32),
    mirror: &mut Mirror,
    found: &mut Vec<Trouble>,
) {
    let is_one = |body: &Body<'_>| matches!(body, Body::Loss(_) | Body::Gap(_) | Body::Note(_));
    if !block.records().any(|record| is_one(&record.body())) {
        return;
    }
    mirror.clear();
    let mut clock: Option<&Clock> = None;
    for record in block.records() {
        let body = record.body();
        mirror.define(&body);
        if let Body::Clock(now) = body {
            clock = Some(now);
        }
        let Some((kind, time_ns, wall_ns)) = trouble(&body, clock, mirror) else { continue };
        let at = Position { boot: unit.boot, time_ns, stream, event: block.first_event() };
        let trouble = Trouble { kind, wall_ns, at };
        if !found.contains(&trouble) {
            found.push(trouble);
        }
    }
}

fn trouble(
    body: &Body<'_>,
    clock: Option<&Clock>,
    mirror: &Mirror,
) -> Option<(TroubleKind, u64, (u64, u64))> {
    let wall = |time_ns: u64| {
        let since_ns = |clock: &Clock| time_ns.wrapping_sub(clock.time_ns.get());
        clock.map_or(0, |clock| clock.realtime_ns.get().wrapping_add(since_ns(clock)))
    };
    match body {
        Body::Loss(loss) => {
            let dir = loss.dir.get();
            let dir = (dir != 0).then(|| path(mirror, dir, b"")).flatten();
            let reason = Reason::from_code(loss.reason.get());
            let (first_ns, last_ns) = (loss.first_ns.get(), loss.last_ns.get());
            Some((TroubleKind::Loss(reason, dir), last_ns, (wall(first_ns), wall(last_ns))))
        }
        Body::Gap(gap) => {
            let cause = Cause::from_code(gap.cause.get());
            let wall_ns = (gap.from_ns.get(), gap.to_ns.get());
            Some((TroubleKind::Gap(cause), gap.time_ns.get(), wall_ns))
        }
        Body::Note(note) if matches!(note.what(), What::WatchEnded | What::WatchFailed) => {
            let time_ns = note.head.time_ns.get();
            let root = note.path.to_owned();
            Some((TroubleKind::Unwatched(root), time_ns, (wall(time_ns), wall(time_ns))))
        }
        _ => None,
    }
}

impl Search {
    /// All troubles behind a position that are about a path, oldest first.
    ///
    /// # Errors
    /// A segment cannot be read.
    pub fn troubles(&mut self, after: Position, path: &[u8]) -> Result<Vec<Trouble>, Error> {
        for place in (0..self.segments.len()).rev() {
            if self.segments[place].end() < after.time() {
                break;
            }
            for unit in self.trouble_units(place) {
                if !self.is_read(&unit) {
                    self.blocks(&unit, &mut |_, _, _| {})?;
                }
            }
        }
        let is_wanted =
            |trouble: &&Trouble| trouble.at.time() > after.time() && trouble.concerns(path);
        let mut wanted: Vec<_> = self.found.iter().filter(is_wanted).cloned().collect();
        wanted.sort_by_key(|trouble| trouble.at);
        Ok(wanted)
    }
}

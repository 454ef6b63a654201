//! Renames of which only one side is told, as the other is in a busy directory that nobody watches: see
//! `hot/where/mute/rename_events.rs`.
//!
//! RENAME is queued before its sides, and merged with nothing but its like; a side is merged into whatever
//! waits of the same name, object and process. So a side can come up before its rename, and after it there
//! is nothing left to tell. What was told last of a name (`hot/where/tables/file_at_name.rs`) says whether a side is new.

use super::Resolver;
use super::batch::{Actor, Batch, Known, who};
use crate::hot::event::{Event, Events, Location};
use crate::hot::r#where::disk::Disk;
use crate::hot::r#where::mute::busy::Muting;
use crate::hot::r#where::mute::rename_events::Due;
use crate::hot::r#where::tables::in_doubt::Left;
use crate::hot::r#where::watch::SIDES;
use fsmon_format::kind;
use std::io;

/// Events ahead among which the rename is looked for that a side is of.
const REACH: usize = 64;
/// And the other side of an exchange, which follows at once but for what other processes do.
const BETWEEN: usize = 8;

impl<D: Disk> Resolver<D> {
    /// An event that says, perhaps beside other things, that something was renamed to or from a name.
    #[cold]
    pub(super) fn sides(&mut self, event: &Event<'_>, batch: &mut Batch<'_, '_>) {
        let rest = Event { mask: event.mask & !u64::from(SIDES), ..*event };
        let is_known = event.location.is_some_and(|place| self.tree.find(place.dir).is_some());
        // Renames of directories are always told.
        if !is_known || event.is_dir() {
            if rest.types() & !kind::ONDIR != 0 {
                self.place_in_tree(&rest, batch);
            }
            return;
        }
        let who = who(event.pid, batch);
        // What was made there had to be made before it could come back.
        let is_made = event.types() & kind::CREATE != 0;
        if !is_made && self.arrives(event, batch) {
            self.comes(event, who, batch);
        }
        if rest.types() != 0 {
            batch.settled = Some(who);
            self.place_in_tree(&rest, batch);
            batch.settled = None;
        }
        if is_made && self.arrives(event, batch) {
            self.comes(event, who, batch);
        }
        let is_twofold = event.types() & (kind::CREATE | kind::DELETE) != 0;
        if is_twofold && event.types() & kind::MOVED_TO != 0 {
            self.may_be_back(event, who, batch);
        }
        if event.types() & kind::MOVED_FROM != 0 {
            self.leaves(event, who, batch);
        }
    }

    /// Something comes from a muted directory. Where that is an exchange, what was there goes first.
    fn comes(&mut self, event: &Event<'_>, who: Actor, batch: &mut Batch<'_, '_>) {
        let [here, next] = batch.ahead;
        let other = here.chain(next).take(BETWEEN).find(|one| {
            one.types() == kind::MOVED_FROM
                && (one.pid, one.location) == (event.pid, event.location)
                && one.object != event.object
        });
        if let Some(other) = other {
            self.one_side(kind::MOVED_FROM, &other, who, batch);
        }
        self.one_side(kind::MOVED_TO, event, who, batch);
    }

    /// Whether something comes that the lines do not have there, nor will have by a rename that follows.
    fn arrives(&self, event: &Event<'_>, batch: &Batch<'_, '_>) -> bool {
        if event.types() & kind::MOVED_TO == 0 {
            return false;
        }
        let Some((object, at)) = self.side_of(event) else { return false };
        let has_left = self.doubts.left(at.place, object) != Left::No;
        let is_told = self.links.at(at.place) == Some(object) && !has_left;
        // Merged into another, it may be of later.
        let may_follow = event.types() != kind::MOVED_TO;
        let is_it = |one: &Event<'_>| (one.location, one.object) == (event.location, event.object);
        !(is_told || may_follow && is_ahead(event.pid, batch.ahead, is_it))
    }

    /// Something was made or removed, and came: it may have come last, or gone on.
    fn may_be_back(&mut self, event: &Event<'_>, who: Actor, batch: &mut Batch<'_, '_>) {
        let Some(((object, at), key)) = self.side_of(event).zip(event.object) else { return };
        if self.doubts.has_much_room_or_forgets() {
            let is_told = self.links.at(at.place) == Some(object);
            self.doubt((key, false), at, (is_told, true), who, batch);
        }
    }

    /// The object of a side, by hash, and the name.
    fn side_of<'a>(&self, event: &Event<'a>) -> Option<(u64, Known<'a>)> {
        let object = event.object.map(|key| self.tree.hash(key))?;
        Some((object, self.known(event.location)?))
    }

    /// Something leaves a name: at once, or, where the event may be of earlier, unless a rename comes that
    /// is this.
    fn leaves(&mut self, event: &Event<'_>, who: Actor, batch: &mut Batch<'_, '_>) {
        let Some(((object, at), key)) = self.side_of(event).zip(event.object) else { return };
        let comes_too = event.types() & kind::MOVED_TO != 0;
        // What came there was told, or is of earlier than where the lines have it.
        let is_told = self.links.at(at.place).map_or(!comes_too, |there| there == object);
        if event.types() == kind::MOVED_FROM {
            // Else it has left already.
            if is_told {
                self.one_side(kind::MOVED_FROM, event, who, batch);
            }
            return;
        }
        let is_it = |one: &Event<'_>| (one.old, one.object) == (event.location, event.object);
        if is_ahead(event.pid, batch.ahead, is_it) || comes_too && !is_told {
            return;
        }
        if !self.doubts.has_much_room() {
            self.end_sides();
        }
        let who = self.who_did(kind::MOVED_FROM, event, who, batch);
        if self.doubt((key, false), at, (is_told, true), who, batch) {
            // Also as another link, made after it had left.
            let may_be_back = event.types() & (kind::MOVED_TO | kind::CREATE) != 0;
            let left = if may_be_back { Left::Perhaps } else { Left::Surely };
            self.doubts.set_left(at.place, object, left);
        } else if is_told {
            self.one_side(kind::MOVED_FROM, event, who, batch);
        }
    }

    /// Tells of a rename of which that side alone is known.
    fn one_side(&mut self, side: u32, event: &Event<'_>, who: Actor, batch: &mut Batch<'_, '_>) {
        batch.settled = Some(self.who_did(side, event, who, batch));
        let mask = u64::from(kind::RENAME);
        let (place, old) = match side {
            kind::MOVED_TO => (event.location, None),
            _ => (None, event.location),
        };
        self.rename(&Event { mask, location: place, old, ..*event }, batch);
        batch.settled = None;
    }

    /// A rename is told that leads away from a name, or there: a side that came up before is that one's,
    /// or of before.
    pub(super) fn settle_side(&mut self, at: Known<'_>, object: u64, batch: &mut Batch<'_, '_>) {
        if self.doubts.left(at.place, object) == Left::Surely
            && let Some(at) = self.doubts.find(at.place, object)
        {
            batch.sources.who.release(self.doubts.remove(at));
        }
    }

    /// Every rename that was queued until now came up: what was not taken away by any went where nobody
    /// watches.
    #[cold]
    pub(crate) fn tell_left(&mut self, batch: &mut Batch<'_, '_>) {
        let mut at = 0;
        while let Some(doubt) = self.doubts.get(at).copied() {
            if !doubt.is_reported || doubt.left != Left::Surely {
                at += 1;
                continue;
            }
            self.tell_left_at(at, batch);
        }
        self.doubts.no_more_left();
    }

    /// Before something else is told to come to a name: what has surely left it went first.
    #[cold]
    pub(super) fn tell_left_before(
        &mut self,
        at: Known<'_>,
        object: u64,
        batch: &mut Batch<'_, '_>,
    ) {
        let there = self.doubts.reported_there(at.place);
        let there = there.filter(|other| other.object != object && other.left == Left::Surely);
        if let Some(at) = there.and_then(|other| self.doubts.find(other.place, other.object)) {
            let silent = batch.silent;
            self.tell_left_at(at, batch);
            batch.silent = silent;
        }
    }

    /// One of the doubts, by its number: it is none any more.
    fn tell_left_at(&mut self, at: usize, batch: &mut Batch<'_, '_>) {
        let Some(doubt) = self.doubts.get(at).copied() else { return };
        if self.is_dir_known(&doubt) {
            batch.silent = doubt.silent;
            self.tell_left_one(&doubt, batch);
        }
        batch.sources.who.release(self.doubts.remove(at));
    }

    /// A file was renamed where nobody watches.
    #[cold]
    pub(super) fn renamed_outside(&mut self, event: &Event<'_>, batch: &mut Batch<'_, '_>) {
        // With names of files nothing is muted, and sides serve that alone.
        if event.is_dir() || self.watch.file_names.is_some() {
            return;
        }
        if self.renames.note_outside(batch.window.until_ns) {
            self.begin_sides();
        }
        if !self.renames.is_on() {
            return;
        }
        self.renamed_in(event.location);
        if event.old.map(|old| old.dir) != event.location.map(|new| new.dir) {
            self.renamed_in(event.old);
        }
    }

    fn renamed_in(&mut self, place: Option<Location<'_>>) {
        // One whose entries alone are not watched is told of itself.
        let Some(place) = place.filter(|place| self.tree.find(place.dir).is_none()) else { return };
        let hash = self.tree.hash(place.dir);
        if !self.above.is_step(hash) && self.busy.note_rename(hash) {
            self.mute(place.dir, Muting::Renames);
        }
    }

    /// From now on each side is told, and renames in busy directories need not be.
    fn begin_sides(&mut self) {
        match self.watch.set_sides(&self.tree, &self.above, true) {
            Ok(()) => self.renames.begin(),
            Err(error) => {
                if error.kind() != io::ErrorKind::NotFound {
                    self.renames.give_up();
                }
                if self.watch.set_sides(&self.tree, &self.above, false).is_err() {
                    self.renames.linger();
                }
            }
        }
    }

    /// A second or more is over.
    pub(crate) fn end_round(&mut self) {
        self.busy.begin_round();
        match self.renames.end_round() {
            Due::Nothing => {}
            // Where that fails, it is due again after the next.
            Due::HearRenames => self.end_sides(),
            Due::DropSides => {
                // The filesystem of a root that is away goes on telling them until that is back.
                if self.watch.set_sides(&self.tree, &self.above, false).is_err() {
                    self.renames.linger();
                }
            }
        }
    }

    /// Renames need be told again, and are.
    fn end_sides(&mut self) {
        if self.renames.is_on() && self.hear_renames() {
            self.renames.end();
        }
    }

    /// Renames are told again of all directories. Whether that could be done.
    fn hear_renames(&mut self) -> bool {
        let mut all = true;
        for muted in self.busy.without_renames() {
            let dir = muted.key();
            // What came to be watched meanwhile is heard since then, and stays so.
            let is_watched =
                self.tree.find(dir).is_some() || self.above.is_step(self.tree.hash(dir));
            let how = if is_watched { Muting::No } else { Muting::Entries };
            match self.watch.mute(&self.tree, dir, how) {
                Err(error) if error.raw_os_error() != Some(libc::ESTALE) => all = false,
                _ => muted.hear_renames(),
            }
        }
        all
    }
}

/// Whether such a rename by that process follows closely.
fn is_ahead(pid: u32, [here, next]: [Events<'_>; 2], is_it: impl Fn(&Event<'_>) -> bool) -> bool {
    let (found, ahead) = here.rename_by((pid, None), REACH, &is_it);
    found.is_some() || next.rename_by((pid, None), REACH - ahead, &is_it).0.is_some()
}

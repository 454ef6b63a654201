//! Exchanges of two names, told so that a program which replays the lines ends with the same tree.
//!
//! Two files: `a` to `b`, then something comes to `a` from nowhere. Where a directory takes part: `b`
//! is set aside, `a` goes to `b`, and what was set aside to `a`.

use super::Resolver;
use super::batch::{Actor, Batch, Known, Told};
use super::doubt::copy;
use super::layers::as_queued;
use crate::hot::event::{Event, Key};
use crate::hot::r#where::disk::Disk;
use crate::hot::r#where::overlay::EventSource;
use crate::hot::r#where::tables::exchange_halves::{AsideName, Half, Other};
use crate::hot::r#where::tree::{NAME_ROOM, flag};
use crate::hot::r#where::watch::SIDES;
use crate::limits::tables::EXCHANGE_EVENTS_AHEAD;
use crate::sys::handle::may_recur;
use fsmon_format::kind;
use fsmon_format::record::event_flag;

/// Of what is set aside because no event told where it went.
pub(super) const LOST: u16 = event_flag::EXCHANGE | event_flag::FOUND;

impl<D: Disk> Resolver<D> {
    /// Whether a rename is the second half of an exchange whose first half went by.
    pub(super) fn is_second_half(
        &mut self,
        event: &Event<'_>,
        object: u64,
        old: Option<Known<'_>>,
        new: Option<Known<'_>>,
        batch: &Batch<'_, '_>,
    ) -> bool {
        let index = batch.window.index;
        if !self.exchange.any(index) {
            return false;
        }
        match (old, new) {
            (Some(old), Some(new)) => {
                self.exchange.is_second(half(event.pid, object, old, new, index))
            }
            _ => {
                old.or(new).into_iter().for_each(|at| self.exchange.touch(at.place));
                false
            }
        }
    }

    /// Where the lines have what is renamed from `old`: aside, if it was set aside; nowhere, if a first
    /// half replaced it.
    pub(super) fn told_old<'a>(
        &self,
        event: &Event<'_>,
        old: Known<'a>,
        is_second: bool,
        room: &'a mut AsideName,
    ) -> Option<Known<'a>> {
        let object = event.object.map_or(0, |key| self.tree.hash(key));
        if object != 0 && (is_second || event.is_dir()) {
            *room = AsideName::of(object);
            let aside = room.bytes();
            let known = event.object.filter(|_| event.is_dir());
            let is_aside = match known.and_then(|key| self.tree.find_live(key)) {
                Some(id) => self.tree.node(id).parent == old.dir && self.tree.name(id) == aside,
                None => self.doubts.reported(self.tree.place(old.dir, aside), object) == Some(true),
            };
            if is_aside {
                return Some(Known::new(&self.tree, old.dir, aside));
            }
        }
        (!is_second).then_some(old)
    }

    /// Before an object is told to come to `new`: what the lines have there, and what it does not
    /// replace, is set aside.
    pub(super) fn make_way(
        &mut self,
        event: &Event<'_>,
        object: u64,
        other: Option<&Other>,
        new: Known<'_>,
        who: Actor,
        batch: &mut Batch<'_, '_>,
    ) {
        if let Some(key) = event.object.filter(|_| event.is_dir()) {
            self.leave_subtree(key, new.dir, who, batch);
        }
        // Of a file that comes to a directory's place some rename was lost: then there are doubts. Or one
        // follows, where it comes from a muted directory.
        if event.is_dir() || other.is_some() || self.doubts.any() || batch.merged {
            self.clear_stale(event, object, other, new, who, batch);
        }
        let Some(other) = other else {
            if event.is_dir() {
                self.displace_file(new, who, batch);
            }
            return;
        };
        let key = Key { fsid: self.tree.fsid(new.dir), handle: other.key() };
        match other.is_dir {
            // That it came, or came back, was merged into something of before.
            true if self.tree.find_live(key).is_none() => {
                if !self.is_dir_told(new) {
                    self.tell_found(new, (other.object, true), batch);
                }
                // What is in it was never told.
                if let Some(id) = self.take_up(new, key, batch).filter(|_| self.watch.recursive) {
                    self.tree.set(id, flag::UNREAD);
                }
            }
            true => self.tell_lost_move(key, new, who, batch),
            // Its DELETE was told before its time.
            false if self.objects.was_deleted(other.object, new.place) => {
                self.tell_found(new, (other.object, false), batch);
            }
            false => self.tell_lost_arrival(new, other.object, false, who, batch),
        }
        if other.is_dir || event.is_dir() {
            self.set_aside(other, (new, new.dir), event_flag::EXCHANGE, who, batch);
        }
    }

    /// What the tree has at `new` and is neither replaced nor moved back is elsewhere.
    #[cold]
    fn clear_stale(
        &mut self,
        event: &Event<'_>,
        object: u64,
        other: Option<&Other>,
        new: Known<'_>,
        who: Actor,
        batch: &mut Batch<'_, '_>,
    ) {
        // An empty directory is replaced by another.
        let is_replaced = event.is_dir() && other.is_none();
        let but = [object, other.map_or(0, |other| other.object)];
        if let Some(stale) = self.dir_at(but, new, is_replaced) {
            self.set_aside(&stale, (new, new.dir), LOST, who, batch);
        }
        if is_replaced && self.doubts.any() {
            let this = event.object.and_then(|key| self.tree.find_live(key));
            if let Some(there) = self.tree.child_named(new.dir, new.name, this) {
                self.tell_emptied(there, batch);
            }
        }
    }

    /// Before a directory is told to go into `dir`: where the lines have that below itself, no event
    /// told that something between the two had left, and it is set aside.
    pub(super) fn leave_subtree(
        &mut self,
        key: Key<'_>,
        dir: u32,
        who: Actor,
        batch: &mut Batch<'_, '_>,
    ) {
        let Some(id) = self.tree.find_live(key) else { return };
        let out = self.tree.node(id).parent;
        if out == 0 || dir == id || !self.tree.is_below(dir, id) {
            return;
        }
        let (mut left, mut at) = (dir, dir);
        while at != id {
            // One that was renamed before, or else the uppermost.
            let is_likely = self.objects.is_renamed(self.tree.node(at).hash());
            left = at;
            if is_likely {
                break;
            }
            at = self.tree.node(at).parent;
        }
        let mut room = [0; NAME_ROOM];
        let node = self.tree.node(left);
        let at = Known::new(&self.tree, node.parent, copy(self.tree.name(left), &mut room));
        if let Some(left) = Other::new(node.hash(), self.tree.key_of(left), true) {
            let who = self.merged_by(left.object, who);
            self.set_aside(&left, (at, out), LOST, who, batch);
        }
    }

    /// A directory, `but` none of those, that the tree has at a place; `full`: with something in it.
    pub(super) fn dir_at(&self, but: [u64; 2], at: Known<'_>, full: bool) -> Option<Other> {
        let mut there = self.tree.child_named(at.dir, at.name, None)?;
        if but.contains(&self.tree.node(there).hash()) {
            there = self.tree.child_named(at.dir, at.name, Some(there))?;
        }
        let node = self.tree.node(there);
        // One that was renamed more than once can be elsewhere, with files in it; one that a walk read may
        // have files that it told of.
        let told = self.doubts.reported(at.place, node.hash());
        let is_full = node.child != 0 || told == Some(true) || self.tree.is_fresh(there);
        let is_meant = !but.contains(&node.hash()) && (is_full || !full);
        is_meant.then(|| Other::new(node.hash(), self.tree.key_of(there), true)).flatten()
    }

    /// Before an object is told to be at a place: the lines may have another there that is elsewhere.
    pub(super) fn clear_place(
        &mut self,
        at: Known<'_>,
        (this, is_dir): (u64, bool),
        who: Actor,
        batch: &mut Batch<'_, '_>,
    ) {
        let place = at.place;
        let known = self.doubts.reported_there(place).filter(|other| other.object != this);
        let other = match known {
            Some(other) => Other::new(other.object, other.key(), other.is_dir),
            None => self.dir_at([this, 0], at, is_dir),
        };
        if let Some(other) = other.filter(|other| other.is_dir || is_dir) {
            self.set_aside(&other, (at, at.dir), LOST, who, batch);
        } else if is_dir {
            self.displace_file(at, who, batch);
        }
    }

    /// What an exchange moves back, where this is its first half. The other half follows in the
    /// queue, or is queued in a moment: then the filesystem shows it, where it is a directory.
    pub(super) fn other_half(
        &mut self,
        event: &Event<'_>,
        object: u64,
        old: Known<'_>,
        new: Known<'_>,
        batch: &Batch<'_, '_>,
    ) -> Option<Other> {
        let (second, ahead) = mirrored(event, batch);
        // Far ahead it is looked for by the disk alone.
        let is_parted = second.is_some() && is_parted(event, batch, ahead);
        if is_parted || second.is_none() && ahead == EXCHANGE_EVENTS_AHEAD && !event.is_dir() {
            return None;
        }
        let half = half(event.pid, object, old, new, batch.window.index);
        self.exchange.put(half);
        if let Some(second) = second {
            return self.object_ahead(&second);
        }
        let this = event.object.and_then(|key| self.tree.find_live(key));
        let Some(there) = self.tree.child_named(new.dir, new.name, this) else {
            // No directory replaces a file.
            let file = self.links.at(new.place);
            let file = file.filter(|&file| event.is_dir() && file != 0);
            return file.and_then(|file| Other::new(file, &[], false));
        };
        let key = self.tree.key_of(there);
        let node = self.tree.node(there);
        // No file replaces a directory.
        let is_there = node.flags & flag::DEAD == 0 && !self.deferred.has(there);
        // A handle that may recur can be that of another directory there.
        let is_moved = is_there
            && (!event.is_dir()
                || !may_recur(key)
                    && self.watch.holds(&self.tree, old.dir, old.name, key) == Some(true));
        is_moved.then(|| Other::new(node.hash(), key, true)).flatten()
    }

    /// Something comes in. Where that is an exchange, what was there goes out, and is told first: its
    /// event is the next.
    pub(super) fn change_with_outside(&mut self, event: &Event<'_>, batch: &mut Batch<'_, '_>) {
        let (second, ahead) = mirrored(event, batch);
        let second = second.filter(|_| !is_parted(event, batch, ahead));
        if let Some(second) = second {
            self.rename_ahead(&second, batch);
            self.exchange.set_done(batch.window.index + 1 + ahead as u64);
        }
    }

    /// What the lines have at a place, and that is not what comes there, gets a name of its own in
    /// `dir` until it is told where it went.
    pub(super) fn set_aside(
        &mut self,
        other: &Other,
        (at, dir): (Known<'_>, u32),
        flags: u16,
        who: Actor,
        batch: &mut Batch<'_, '_>,
    ) {
        let name = AsideName::of(other.object);
        let aside = Known::new(&self.tree, dir, name.bytes());
        let key = Key { fsid: self.tree.fsid(at.dir), handle: other.key() };
        // Should no second half come, it is found out. Where there is no room for that, a file goes
        // away, and comes from nowhere; so does what no second half is awaited of.
        self.doubts.set_reported_gone(at.place, other.object);
        let object = (key, other.is_dir);
        let is_kept = self.doubt(object, aside, (true, true), who, batch);
        if flags & event_flag::FOUND != 0 {
            self.doubt(object, at, (false, true), who, batch);
        }
        let is_awaited = other.is_dir && flags & event_flag::FOUND == 0;
        let aside = (is_kept || is_awaited).then_some(aside);
        self.note_found(other.is_dir, Some(at), aside);
        self.note_links((other.object, other.is_dir), Some(at), aside);
        let wanted = self.rename_types(Some(at), aside);
        if wanted != 0 && !batch.silent {
            let (at, old) = (aside, Some(at));
            let told = Told { at, old, wanted, flags, object: other.object, who };
            self.tell(told, other.is_dir, batch);
        }
        let Some(id) = self.tree.find_live(key).filter(|_| other.is_dir) else { return };
        match aside {
            Some(aside) if self.tree.rename(id, aside.dir, aside.name) == Ok(true) => {
                batch.output.redefine_dir(&mut self.tree, batch.sources, id);
            }
            Some(_) => {}
            None => self.tree.forget(id),
        }
    }

    /// What was set aside comes from there.
    pub(super) fn come_from_aside(
        &mut self,
        at: Known<'_>,
        object: u64,
        batch: &mut Batch<'_, '_>,
    ) {
        if AsideName::is(at.name)
            && let Some(at) = self.doubts.find(at.place, object)
        {
            batch.sources.who.release(self.doubts.remove(at));
        }
    }

    /// Where the tree has a directory.
    pub(super) fn place_of<'a>(
        &self,
        key: Key<'_>,
        room: &'a mut [u8; NAME_ROOM],
    ) -> Option<Known<'a>> {
        let id = self.tree.find_live(key)?;
        let dir = self.tree.node(id).parent;
        // A root is nobody's entry.
        (dir != 0).then(|| Known::new(&self.tree, dir, copy(self.tree.name(id), room)))
    }
}

/// A rename between two watched places, as half of an exchange.
fn half(pid: u32, object: u64, old: Known<'_>, new: Known<'_>, index: u64) -> Half {
    Half { pid, old: old.place, new: new.place, object, index }
}

/// The other half of what may be the first half of an exchange, if it is close ahead; and how many
/// events come before it.
fn mirrored<'a>(event: &Event<'_>, batch: &Batch<'a, '_>) -> (Option<Event<'a>>, usize) {
    let (event, [here, next]) = (&as_queued(event, batch), batch.ahead);
    // What a mark told of one side alone has no like ahead.
    if batch.source == EventSource::Filled {
        return (None, 0);
    }
    // Of something that comes from a muted directory it is not told where it was.
    let mirrors = |second: &Event<'_>| {
        let is_back = event.old.is_none() || second.location == event.old;
        // It may be a whiteout that changed places with a directory: see `hot/where/overlay/pending.rs`.
        let may_be_none = batch.source == EventSource::Across && event.is_dir() && !second.is_dir();
        is_back && second.old == event.location && second.object != event.object && !may_be_none
    };
    let from = (event.pid, event.location);
    let (second, ahead) = here.rename_by(from, EXCHANGE_EVENTS_AHEAD, mirrors);
    if second.is_some() || ahead >= EXCHANGE_EVENTS_AHEAD {
        return (second, ahead);
    }
    let (second, more) = next.rename_by(from, EXCHANGE_EVENTS_AHEAD - ahead, mirrors);
    (second, ahead + more)
}

/// Whether an event of one of the two names comes before the event that far ahead: then these are two
/// renames.
fn is_parted(event: &Event<'_>, batch: &Batch<'_, '_>, ahead: usize) -> bool {
    let (event, [here, next]) = (&as_queued(event, batch), batch.ahead);
    let places = [event.location, event.old];
    let touches = |one: &Event<'_>| {
        [one.location, one.old].into_iter().flatten().any(|place| places.contains(&Some(place)))
    };
    // What was told of each side of the first half is nothing new.
    let is_own = |one: &Event<'_>| {
        let is_side = one.types() & !(SIDES | kind::ONDIR) == 0;
        is_side && (one.pid, one.object) == (event.pid, event.object)
    };
    here.chain(next).take(ahead).any(|one| touches(&one) && !is_own(&one))
}

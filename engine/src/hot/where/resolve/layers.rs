//! Overlays that are heard by their upper layer: which events count, and as what. See `hot/where/overlay/mod.rs`.

use super::Resolver;
use super::batch::Batch;
use crate::hot::event::{Event, Events, Key};
use crate::hot::r#where::disk::Disk;
use crate::hot::r#where::mute::busy::Muting;
use crate::hot::r#where::overlay::{EventSource, FilledRoom, Heard, OneSide, Room};
use crate::hot::r#where::tables::exchange_halves::Other;
use crate::sys::handle::Handle;
use fsmon_format::kind;

/// Events ahead among which the mark's event of a rename is looked for.
const REACH: usize = 32;

impl<D: Disk> Resolver<D> {
    /// An event, where there are such overlays.
    #[inline(never)]
    pub(super) fn place_in_layers(&mut self, event: &Event<'_>, batch: &mut Batch<'_, '_>) {
        let dir = event.location.or(event.old).map(|place| place.dir);
        match dir.or(event.object) {
            Some(key) if self.watch.layers.is_upper(key) => self.upper_event(event, key, batch),
            Some(key) if self.watch.layers.is_merged(key) => self.merged_event(event, batch),
            _ => self.place_as_told(event, batch),
        }
    }

    /// An event that a mark on a directory of the overlay tells.
    fn merged_event(&mut self, event: &Event<'_>, batch: &mut Batch<'_, '_>) {
        if self.watch.layers.is_duplicate(&self.tree, event) {
            return;
        }
        if event.types() & kind::RENAME != 0 && event.old.is_some() != event.location.is_some() {
            let mut room = FilledRoom::new();
            match self.watch.layers.one_side(&self.tree, event, &mut room) {
                OneSide::ByUpper => return,
                OneSide::Filled(event) => {
                    return self.place_from(EventSource::Filled, &event, batch);
                }
                OneSide::Alone => {}
            }
        }
        self.place_as_told(event, batch);
    }

    /// An event of an upper layer's filesystem. That may be watched itself, or be on the way to a root.
    fn upper_event(&mut self, event: &Event<'_>, key: Key<'_>, batch: &mut Batch<'_, '_>) {
        let mut room = Room::new();
        let Resolver { watch, tree, recent, .. } = self;
        let heard = watch.layers.hear(tree, event, |hash| recent.has(hash), &mut room);
        let mut dirs = [event.old, event.location].into_iter().flatten().map(|place| place.dir);
        let is_watched = dirs.any(|dir| self.tree.find(dir).is_some());
        let is_nobodys = matches!(heard, Heard::Stranger) || event.location.or(event.old).is_none();
        let settled = batch.settled;
        if is_watched || is_nobodys && self.above.covers(key.fsid) {
            self.place_as_told(event, batch);
        } else {
            self.pass_steps(event, batch);
            if matches!(heard, Heard::Stranger | Heard::Own) {
                self.note_unheard(event);
            }
        }
        match heard {
            Heard::Translated(told, source) => {
                batch.settled = settled;
                let mut told = told;
                let copy = match event.object.filter(|_| source == EventSource::Across) {
                    Some(upper) if !told.is_dir() => self.key_of_copy(upper, &told, batch),
                    _ => None,
                };
                if let Some(copy) = &copy {
                    self.note_alias(&mut told, copy.key());
                }
                self.place_from(source, &told, batch);
            }
            Heard::Stranger => self.keep_for_layers(event, batch),
            Heard::Own | Heard::Left => {}
        }
    }

    /// The key of a file on the overlay that goes to or from a directory with a mark, where that is not made of the
    /// key of its upper file. The mark's event of the same rename has it, if that is in the queue by now; a later
    /// rename from the same entry would say another. The upper file itself says of what it is a copy, but for copies of
    /// files with several names, and while it is there.
    fn key_of_copy(
        &self,
        upper: Key<'_>,
        told: &Event<'_>,
        batch: &Batch<'_, '_>,
    ) -> Option<Handle> {
        let wrapped = told.object.filter(|&key| self.watch.layers.is_wrapped(key))?;
        let ahead = told_ahead(told, batch.ahead);
        if ahead == Some(wrapped) {
            return None;
        }
        let copy = self.watch.handle_of_copy(wrapped.fsid, upper);
        // One that is made of the key of an upper file is another file's.
        let ahead = ahead.filter(|&key| !self.watch.layers.is_wrapped(key));
        copy.or_else(|| Handle::of(ahead?.handle))
    }

    /// From now on the upper file of that event has that key on the overlay.
    fn note_alias<'a>(&mut self, told: &mut Event<'a>, merged: &'a [u8]) {
        if let Some(upper) = told.object {
            self.watch.layers.note_alias(&self.tree, upper, merged);
            told.object = Some(Key { fsid: upper.fsid, handle: merged });
        }
    }

    fn place_from(&mut self, source: EventSource, event: &Event<'_>, batch: &mut Batch<'_, '_>) {
        let before = std::mem::replace(&mut batch.source, source);
        self.place_as_told(event, batch);
        batch.source = before;
    }

    /// Follows the ways to the roots alone.
    fn pass_steps(&mut self, event: &Event<'_>, batch: &mut Batch<'_, '_>) {
        if self.concerns_steps(event) {
            self.leave_steps(event, batch);
            self.reach_steps(event, batch);
        }
        if self.may_concern_links(event) {
            self.follow_links(event, batch);
        }
    }

    /// An event of a directory that is not told by the upper layer: if it is busy, the kernel is to be silent of
    /// it.
    fn note_unheard(&mut self, event: &Event<'_>) {
        let Some(place) = event.location.filter(|_| event.types() & kind::RENAME == 0) else {
            return;
        };
        let hash = self.tree.hash(place.dir);
        if !self.above.is_step(hash) && self.busy.note(hash, event.types()) {
            self.mute(place.dir, Muting::Entries);
        }
    }

    /// An event of a directory that is not known: it may be made by an event that is still to come, or have
    /// become a root's upper directory, as the root was copied up.
    fn keep_for_layers(&mut self, event: &Event<'_>, batch: &mut Batch<'_, '_>) {
        let Some(place) = event.location else { return };
        if event.types() & kind::RENAME == 0 {
            let Resolver { watch, tree, orphans, .. } = self;
            for hash in watch.layers.hashes(tree, place.dir) {
                orphans.keep(hash, batch.window.index, event);
            }
        } else if event.is_dir() {
            for at in 0..self.watch.roots.len() {
                let node = self.watch.roots[at].node;
                if node != 0 && self.watch.layers.is_root_named(at, place.dir.fsid, place.name) {
                    self.watch.note_upper(&self.tree, node, at);
                }
            }
        }
    }

    /// The directory of the tree that a key of an event is of.
    pub(super) fn dir_of(&self, key: Key<'_>) -> Option<u32> {
        self.tree.find(key).or_else(|| self.watch.layers.dir_of(&self.tree, key))
    }

    /// The object of an event ahead.
    pub(super) fn object_ahead(&mut self, event: &Event<'_>) -> Option<Other> {
        let key = event.object?;
        if self.watch.layers.any() && self.watch.layers.is_upper(key) {
            let mut room = Room::new();
            let key = self.watch.layers.object_of(&self.tree, event, &mut room)?;
            return Other::new(self.tree.hash(key), key.handle, event.is_dir());
        }
        Other::new(self.tree.hash(key), key.handle, event.is_dir())
    }

    /// An event ahead becomes the current one.
    pub(super) fn rename_ahead(&mut self, event: &Event<'_>, batch: &mut Batch<'_, '_>) {
        let is_upper = |key| self.watch.layers.is_upper(key);
        let is_one = event.old.is_some_and(|old| is_upper(old.dir));
        if !(self.watch.layers.any() && is_one) {
            return self.rename(event, batch);
        }
        let mut room = Room::new();
        if let Heard::Translated(told, _) =
            self.watch.layers.hear(&self.tree, event, |_| false, &mut room)
        {
            self.rename(&told, batch);
        }
    }
}

/// The object of a rename as the mark on one of its sides tells it, where that comes soon.
fn told_ahead<'a>(event: &Event<'_>, [here, next]: [Events<'a>; 2]) -> Option<Key<'a>> {
    let is_it = |one: &Event<'_>| match (one.old, one.location) {
        (None, place) => place.is_some() && place == event.location,
        (old, None) => old == event.old,
        _ => false,
    };
    let (found, ahead) = here.rename_by((event.pid, None), REACH, is_it);
    let found = found.or_else(|| next.rename_by((event.pid, None), REACH - ahead, is_it).0);
    found.and_then(|one| one.object)
}

/// The current event as it is in the queue, to be compared with those ahead.
pub(super) fn as_queued<'a>(event: &Event<'a>, batch: &Batch<'_, '_>) -> Event<'a> {
    match batch.source {
        EventSource::Queue => *event,
        _ => Events(event.raw).next().unwrap_or(*event),
    }
}

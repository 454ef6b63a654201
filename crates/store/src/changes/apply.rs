//! What each event changes.

use super::Changes;
use super::process::Who;
use super::thing::{Id, Last, Life, NONE, NOWHERE, Place, ROOT, Thing, mark};
use fsmon_format::kind::{ATTRIB, CLOSE_WRITE, CREATE, DELETE, MODIFY, RENAME};
use fsmon_format::record::event_flag::{EXCHANGE, FOUND};

/// The beginning of a name that the recorder made up for an exchange: docs/format.md, EVENT.
const MADE_UP: &[u8] = b".exchange-";
/// The types that change something.
const CHANGING: u32 = CREATE | RENAME | MODIFY | ATTRIB | CLOSE_WRITE | DELETE;

/// An event.
#[derive(Clone, Copy, Debug, Default)]
pub struct Event<'a> {
    /// Its types, bits as in the record.
    pub types: u32,
    /// Its flags, as in the record.
    pub flags: u16,
    /// Whether it is about a directory.
    pub is_dir: bool,
    /// The object, 0 unknown.
    pub object: u64,
    /// Where it happened, absolute; of a RENAME the new path. `None`: not in what is watched.
    pub path: Option<&'a [u8]>,
    /// The old path of a RENAME.
    pub old: Option<&'a [u8]>,
    /// Wall time, ns since 1970.
    pub time_ns: u64,
    /// Its process.
    pub who: Who,
}

impl Event<'_> {
    fn has(&self, flag: u16) -> bool {
        self.flags & flag != 0
    }

    fn last(&self) -> Last {
        Last { time_ns: self.time_ns, who: self.who }
    }
}

/// Whether something must have been at a name for an event to come.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Sure {
    /// It may be late: of a file that is open and has lost its name.
    MayBeLate,
    /// It happened.
    Happened,
}

impl Changes {
    /// Takes the next event.
    pub fn take(&mut self, event: &Event<'_>) {
        let displaced = self.displaced.take();
        let types = event.types & CHANGING;
        if types == 0 {
            return;
        }
        let has = |kind: u32| types & kind != 0;
        // What is outside of what is asked for is as good as not watched, but for a directory that is above that, or was.
        let is_above = has(RENAME) && event.is_dir && self.is_of_above(event);
        let path = event.path.filter(|path| is_above || self.concerns(path, event.is_dir));
        if has(CREATE)
            && let Some(path) = path
        {
            self.create(path, event);
        }
        if has(RENAME) {
            let old = event.old.filter(|old| is_above || self.concerns(old, event.is_dir));
            let back = displaced.filter(|_| event.has(EXCHANGE) && event.old.is_none());
            self.rename(path, old, back, event);
        }
        let Some(path) = path else { return };
        for (kind, marks) in
            [(MODIFY, mark::CONTENT), (ATTRIB, mark::ATTRIBUTES), (CLOSE_WRITE, mark::CONTENT)]
        {
            if has(kind) {
                self.touch(path, marks, event);
            }
        }
        if has(DELETE) {
            self.delete(path, event);
        }
    }

    /// Whether a path of an event is that of a directory above what is asked for.
    fn is_of_above(&self, event: &Event<'_>) -> bool {
        let is_above = |path: &&[u8]| {
            self.asked.paths.iter().any(|asked| asked != path && is_within(asked, path))
        };
        event.path.iter().chain(&event.old).any(is_above)
    }

    /// Whether a path is one that is asked for, below one, or a directory above one.
    fn concerns(&self, path: &[u8], is_dir: bool) -> bool {
        self.asked.paths.is_empty()
            || self
                .asked
                .paths
                .iter()
                .any(|asked| is_within(path, asked) || is_dir && is_within(asked, path))
    }

    /// The directory of a path, and the place that the path means; `None` if the directory is known to be gone.
    fn place(&mut self, path: &[u8], sure: Sure, event: &Event<'_>) -> Option<Place> {
        let mut names = path.split(|byte| *byte == b'/').filter(|name| !name.is_empty());
        let mut name = names.next()?;
        let mut dir = ROOT;
        for next in names {
            let place = Place { dir, name: self.tree.names.put(name) };
            dir = match self.tree.at(place) {
                Some(id) => id,
                None => self.imply(place, true, sure, event)?,
            };
            name = next;
        }
        Some(Place { dir, name: self.tree.names.put(name) })
    }

    /// Something is at a name of which nothing was heard yet: then it was there at the start. `None` if it is known
    /// to be gone.
    fn imply(&mut self, place: Place, is_dir: bool, sure: Sure, event: &Event<'_>) -> Option<Id> {
        let dir = *self.tree.get(place.dir);
        let spot = self.tree.spot(place);
        let starter = self.tree.at_start(place);
        let is_missed = starter.is_some_and(|id| self.tree.get(id).era != self.era);
        let is_known = starter.is_some() || self.tree.recent.is_absent(spot);
        let has_left = self.tree.recent.has_left(spot, event.object);
        let thing = self.thing(place, is_dir);
        if dir.is_old() && !is_known {
            return Some(self.tree.add(Thing { start: place, ..thing }));
        }
        let is_new = match sure {
            Sure::Happened => true,
            Sure::MayBeLate => !has_left && (!dir.is_old() || is_missed),
        };
        // Nobody saw it being made.
        let marks = thing.marks | mark::OPAQUE | mark::CONTENT;
        is_new.then(|| self.tree.add(Thing { marks, ..thing }))
    }

    /// A thing that is made here.
    fn thing(&self, place: Place, is_dir: bool) -> Thing {
        Thing {
            place,
            start: NOWHERE,
            object: 0,
            last: Last::default(),
            moved: Last::default(),
            events: 0,
            moved_events: 0,
            key: 0,
            kids: 0,
            life: Life::Here,
            marks: if is_dir { mark::DIR } else { 0 },
            era: self.era,
        }
    }

    /// Counts an event on a thing.
    fn count(&mut self, id: Id, event: &Event<'_>, marks: u8) {
        let era = self.era;
        let thing = self.tree.edit(id);
        thing.marks |= marks;
        thing.last = event.last();
        thing.events = thing.events.saturating_add(1);
        thing.era = era;
        if event.object != 0 {
            thing.object = event.object;
        }
    }

    fn touch(&mut self, path: &[u8], marks: u8, event: &Event<'_>) {
        let Some(place) = self.place(path, Sure::MayBeLate, event) else { return };
        if self.tree.recent.has_left(self.tree.spot(place), event.object) {
            return self.tidy_dir(place);
        }
        let found = self.tree.at(place);
        let id = found.or_else(|| self.imply(place, event.is_dir, Sure::MayBeLate, event));
        match id {
            Some(id) => self.count(id, event, marks),
            None => self.tidy_dir(place),
        }
    }

    /// A directory may have been met for nothing.
    fn tidy_dir(&mut self, place: Place) {
        self.tree.tidy(place.dir);
    }

    fn create(&mut self, path: &[u8], event: &Event<'_>) {
        let Some(place) = self.place(path, Sure::Happened, event) else { return };
        let there = self.tree.at(place);
        let is_same = |id: Id| {
            let object = self.tree.get(id).object;
            object != 0 && object == event.object
        };
        if let Some(id) = there.filter(|id| is_same(*id)) {
            return self.count(id, event, 0);
        }
        self.tree.hold(place.dir);
        if let Some(id) = there {
            self.replace(id, event);
        } else if event.has(FOUND) {
            self.perhaps(place, event);
        }
        let thing = self.thing(place, event.is_dir);
        let id = self.tree.add(Thing { marks: thing.marks | mark::CONTENT, ..thing });
        self.tree.is_back(place, event.object);
        self.count(id, event, 0);
        self.tree.lose_kid(place.dir);
    }

    /// Something else gets the name of a thing, which is gone.
    fn replace(&mut self, id: Id, event: &Event<'_>) {
        self.leave(id, Life::Gone, 0);
        self.tree.edit(id).last = event.last();
        self.tree.tidy(id);
    }

    /// A thing loses its name.
    fn leave(&mut self, id: Id, life: Life, object: u64) {
        let thing = *self.tree.get(id);
        let object = if object == 0 { thing.object } else { object };
        self.tree.left(thing.place, object);
        self.tree.take(id, life);
        let era = self.era;
        self.tree.edit(id).era = era;
    }

    /// Something may have been at a name at the start: what comes there now would have replaced it.
    fn perhaps(&mut self, place: Place, event: &Event<'_>) {
        let is_old = self.tree.get(place.dir).is_old();
        let is_known = self.tree.at_start(place).is_some()
            || self.tree.recent.is_absent(self.tree.spot(place));
        let is_made_up = self.tree.names.get(place.name).starts_with(MADE_UP);
        if !is_old || is_known || is_made_up && event.has(EXCHANGE) {
            return;
        }
        let thing = self.thing(place, event.is_dir);
        let last = event.last();
        self.tree.add(Thing { start: place, life: Life::Perhaps, last, ..thing });
    }

    fn delete(&mut self, path: &[u8], event: &Event<'_>) {
        let Some(place) = self.place(path, Sure::MayBeLate, event) else { return };
        let found = self.tree.at(place);
        let id = found.or_else(|| self.imply(place, event.is_dir, Sure::MayBeLate, event));
        let Some(id) = id else { return self.tidy_dir(place) };
        self.count(id, event, 0);
        self.leave(id, Life::Gone, event.object);
        self.tree.tidy(id);
    }

    /// `back` is what an exchange took from its name: if the event has no old path, that is what it is about.
    fn rename(
        &mut self,
        path: Option<&[u8]>,
        old: Option<&[u8]>,
        back: Option<Id>,
        event: &Event<'_>,
    ) {
        let moved = old.and_then(|old| self.depart(old, event)).or(back);
        let Some(path) = path else {
            if let Some(id) = moved {
                self.count(id, event, 0);
                self.tree.edit(id).life = Life::Out;
                self.tree.tidy(id);
            }
            return;
        };
        let Some(place) = self.place(path, Sure::Happened, event) else { return };
        self.tree.hold(place.dir);
        self.make_way(place, moved, event);
        // In a stream that is not hostile nothing comes into itself.
        let moved = moved.filter(|id| !self.tree.is_in(place.dir, *id));
        let id = match moved {
            Some(id) => {
                self.tree.put(id, place);
                id
            }
            None => {
                let thing = self.thing(place, event.is_dir);
                let marks = thing.marks | mark::CONTENT | mark::OPAQUE;
                self.tree.add(Thing { marks, ..thing })
            }
        };
        self.tree.is_back(place, event.object);
        self.count(id, event, 0);
        self.tree.tidy(id);
        self.tree.lose_kid(place.dir);
    }

    /// A thing loses its name by a rename. `None` if the name is that of nothing.
    fn depart(&mut self, old: &[u8], event: &Event<'_>) -> Option<Id> {
        let place = self.place(old, Sure::Happened, event)?;
        let id = match self.tree.at(place) {
            Some(id) => id,
            None => self.imply(place, event.is_dir, Sure::Happened, event)?,
        };
        let is_first = self.tree.get(id).start == place;
        self.leave(id, Life::Gone, event.object);
        if is_first {
            let thing = self.tree.edit(id);
            thing.moved = event.last();
            thing.moved_events = thing.events.saturating_add(1);
        }
        Some(id)
    }

    /// Clears a name for what is renamed to it.
    fn make_way(&mut self, place: Place, moved: Option<Id>, event: &Event<'_>) {
        // Both names of an exchange have something.
        let is_exchange = event.has(EXCHANGE) && event.old.is_some();
        let is_made_up = self.tree.names.get(place.name).starts_with(MADE_UP);
        let mut there = self.tree.at(place);
        if there.is_none() && is_exchange && !is_made_up && self.is_unheard_of(place) {
            there = self.imply(place, event.is_dir, Sure::Happened, event);
        }
        debug_assert!(moved.is_none() || there != moved, "it was taken away");
        let Some(id) = there else { return self.perhaps(place, event) };
        if is_exchange && !is_made_up {
            self.leave(id, Life::Gone, 0);
            self.displaced = Some(id);
        } else {
            self.replace(id, event);
        }
    }

    /// Whether no event was about a name.
    fn is_unheard_of(&self, place: Place) -> bool {
        self.tree.at_start(place).is_none()
            && !self.tree.recent.is_absent(self.tree.spot(place))
            && self.tree.get(place.dir).start.dir != NONE
    }
}

/// Whether `path` is `dir`, or below it. The empty `dir` is `/`.
pub(super) fn is_within(path: &[u8], dir: &[u8]) -> bool {
    path.strip_prefix(dir).is_some_and(|rest| rest.is_empty() || rest[0] == b'/')
}

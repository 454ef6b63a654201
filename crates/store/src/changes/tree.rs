//! What is where, and what was where when the time asked for began, as far as events tell.
//!
//! A thing is a file or a directory. It has a place now, and one at the start unless it was made since. A place is a
//! directory, itself a thing, and a name in it: so a directory that is renamed takes along what is below it.
//!
//! ```text
//! mv d e; echo >> e/f        d, now `e` below /, at the start `d` below /      R  e  from d
//!                            f, now and at the start `f` below that thing      M  e/f
//! ```

use super::names::{Name, Names};
use super::recent::{Recent, Spot};
use super::thing::{Id, Last, Life, NOWHERE, Place, ROOT, Side, Thing, mark};
use fsmon_format::number::{to_u32, to_usize};
use hashbrown::HashTable;
use std::hash::{BuildHasher, RandomState};

/// All things.
pub(super) struct Tree {
    pub(super) names: Names,
    pub(super) recent: Recent,
    things: Vec<Thing>,
    free: Vec<Id>,
    /// By place.
    now: HashTable<Id>,
    /// By place at the start.
    starts: HashTable<Id>,
    hasher: RandomState,
    /// Things that were added.
    added: u64,
    /// Things that were made since and are gone stay.
    keeps_all: bool,
}

impl Tree {
    pub(super) fn new(keeps_all: bool) -> Self {
        let root = Thing {
            place: NOWHERE,
            start: Place { dir: ROOT, name: Name::EMPTY },
            object: 0,
            last: Last::default(),
            moved: Last::default(),
            events: 0,
            moved_events: 0,
            key: 0,
            kids: 1,
            life: Life::Here,
            marks: mark::DIR,
            era: 0,
        };
        Tree {
            names: Names::default(),
            recent: Recent::default(),
            things: vec![root],
            free: Vec::new(),
            now: HashTable::new(),
            starts: HashTable::new(),
            hasher: RandomState::new(),
            added: 0,
            keeps_all,
        }
    }

    pub(super) fn get(&self, id: Id) -> &Thing {
        &self.things[to_usize(id.0.into())]
    }

    pub(super) fn edit(&mut self, id: Id) -> &mut Thing {
        &mut self.things[to_usize(id.0.into())]
    }

    /// All things but `/`.
    pub(super) fn ids(&self) -> impl Iterator<Item = Id> + use<'_> {
        (1..to_u32(self.things.len())).map(Id).filter(|id| self.get(*id).life != Life::Free)
    }

    /// What is at a place.
    pub(super) fn at(&self, place: Place) -> Option<Id> {
        let hash = self.hasher.hash_one(place);
        self.now.find(hash, |id| self.get(*id).place == place).copied()
    }

    /// What was at a place at the start, or may have been.
    pub(super) fn at_start(&self, place: Place) -> Option<Id> {
        let hash = self.hasher.hash_one(place);
        self.starts.find(hash, |id| self.get(*id).start == place).copied()
    }

    /// A place as [`Recent`] knows it.
    pub(super) fn spot(&self, place: Place) -> Spot<'_> {
        (self.get(place.dir).key, self.names.get(place.name))
    }

    /// Adds a thing. If it is here, it is at its place from now on.
    pub(super) fn add(&mut self, thing: Thing) -> Id {
        self.added += 1;
        let key = match thing.is_old() {
            true => self.hasher.hash_one(self.spot(thing.start)),
            false => self.hasher.hash_one(self.added),
        };
        let thing = Thing { key, ..thing };
        let id = match self.free.pop() {
            Some(id) => {
                *self.edit(id) = thing;
                id
            }
            None => {
                self.things.push(thing);
                Id(to_u32(self.things.len() - 1))
            }
        };
        self.edit(thing.place.dir).kids += 1;
        if thing.is_old() {
            self.edit(thing.start.dir).kids += 1;
            let Tree { starts, things, hasher, .. } = self;
            let hash = hasher.hash_one(thing.start);
            starts
                .insert_unique(hash, id, |id| hasher.hash_one(things[to_usize(id.0.into())].start));
        }
        if thing.life == Life::Here {
            self.list(id);
        }
        id
    }

    fn list(&mut self, id: Id) {
        debug_assert!(self.at(self.get(id).place).is_none(), "a place has one thing");
        let hash = self.hasher.hash_one(self.get(id).place);
        let Tree { now, things, hasher, .. } = self;
        now.insert_unique(hash, id, |id| hasher.hash_one(things[to_usize(id.0.into())].place));
    }

    fn unlist(&mut self, id: Id) {
        let hash = self.hasher.hash_one(self.get(id).place);
        if let Ok(entry) = self.now.find_entry(hash, |other| *other == id) {
            entry.remove();
        }
    }

    /// Takes a thing from its place, with what is below it. What is at the name at the start is known from here on.
    pub(super) fn take(&mut self, id: Id, life: Life) {
        debug_assert_eq!(self.get(id).life, Life::Here);
        let place = self.get(id).place;
        self.unlist(id);
        self.edit(id).life = life;
        if self.get(place.dir).is_old() && self.at_start(place).is_none() {
            let Tree { recent, names, things, .. } = self;
            let key = things[to_usize(place.dir.0.into())].key;
            recent.was_absent((key, names.get(place.name)));
        }
    }

    /// Puts a thing that was taken at a place, where nothing is.
    pub(super) fn put(&mut self, id: Id, place: Place) {
        debug_assert_ne!(self.get(id).life, Life::Here);
        let before = self.get(id).place;
        self.edit(place.dir).kids += 1;
        let thing = self.edit(id);
        (thing.place, thing.life) = (place, Life::Here);
        self.list(id);
        self.lose_kid(before.dir);
    }

    /// Forgets a thing if nothing is to be said of it: and then perhaps its directory.
    pub(super) fn tidy(&mut self, id: Id) {
        let thing = *self.get(id);
        if id == ROOT || thing.kids > 0 {
            return;
        }
        let is_untouched = thing.place == thing.start && thing.marks & !mark::DIR == 0;
        let is_needless = match thing.life {
            Life::Here => is_untouched,
            Life::Gone | Life::Out => !thing.is_old() && !self.keeps_all,
            Life::Perhaps | Life::Free => false,
        };
        if !is_needless {
            return;
        }
        if thing.life == Life::Here {
            self.unlist(id);
        }
        if thing.is_old() {
            let hash = self.hasher.hash_one(thing.start);
            if let Ok(entry) = self.starts.find_entry(hash, |other| *other == id) {
                entry.remove();
            }
        }
        self.edit(id).life = Life::Free;
        self.free.push(id);
        self.lose_kid(thing.place.dir);
        if thing.is_old() {
            self.lose_kid(thing.start.dir);
        }
    }

    /// Keeps a directory until [`Tree::lose_kid`], whatever goes from it.
    pub(super) fn hold(&mut self, dir: Id) {
        self.edit(dir).kids += 1;
    }

    /// A directory has one thing less, and is forgotten if nothing is to be said of it.
    pub(super) fn lose_kid(&mut self, dir: Id) {
        self.edit(dir).kids -= 1;
        self.tidy(dir);
    }

    /// An object no longer has a name.
    pub(super) fn left(&mut self, place: Place, object: u64) {
        let Tree { recent, names, things, .. } = self;
        let key = things[to_usize(place.dir.0.into())].key;
        recent.left((key, names.get(place.name)), object);
    }

    /// An object has a name again.
    pub(super) fn is_back(&mut self, place: Place, object: u64) {
        let Tree { recent, names, things, .. } = self;
        let key = things[to_usize(place.dir.0.into())].key;
        recent.is_back((key, names.get(place.name)), object);
    }

    /// Whether a thing is where its place says, with all directories above it.
    pub(super) fn is_here(&self, id: Id) -> bool {
        let mut at = id;
        while at != ROOT {
            if self.get(at).life != Life::Here {
                return false;
            }
            at = self.get(at).place.dir;
        }
        true
    }

    /// Whether a directory is `other`, or in it.
    pub(super) fn is_in(&self, id: Id, other: Id) -> bool {
        let mut at = id;
        while at != ROOT && at != other {
            at = self.get(at).place.dir;
        }
        at == other
    }

    /// Whether a directory, or one above it, was moved out.
    pub(super) fn is_out(&self, id: Id) -> bool {
        let mut at = id;
        while at != ROOT && self.get(at).life == Life::Here {
            at = self.get(at).place.dir;
        }
        self.get(at).life == Life::Out
    }

    /// The names of a place from `/` down.
    pub(super) fn names_of(&self, id: Id, side: Side, names: &mut Vec<Name>) {
        names.clear();
        let mut at = side.of(self.get(id));
        loop {
            names.push(at.name);
            if at.dir == ROOT {
                break;
            }
            at = side.above().of(self.get(at.dir));
        }
        names.reverse();
    }

    /// The path of a place.
    pub(super) fn path_of(&self, id: Id, side: Side, path: &mut Vec<u8>) {
        let mut names = Vec::new();
        self.names_of(id, side, &mut names);
        path.clear();
        for name in names {
            path.push(b'/');
            path.extend_from_slice(self.names.get(name));
        }
    }
}

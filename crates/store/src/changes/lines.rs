//! From things to lines: what a path is now, compared with what it was at the start.

use super::apply::is_within;
use super::entry::Entry;
use super::order::Order;
use super::past::{Answer, Past};
use super::thing::{Id, Last, Life, Place, ROOT, Side, Thing, mark};
use super::{Changes, Who};
use fsmon_format::mirror::Mirror;

/// What is different.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    /// It was not there, and is now.
    Added,
    /// Its content changed, or something else is there.
    Modified,
    /// It was there, and is gone.
    Deleted,
    /// It was at another path.
    Renamed,
    /// Only its attributes changed.
    Attributes,
}

/// One path that is different.
#[derive(Clone, Copy, Debug)]
pub struct Line<'a> {
    /// What is different.
    pub change: Change,
    /// The path as it is now; of what is gone as it was.
    pub path: &'a [u8],
    /// Where it was. Only of what was renamed.
    pub old_path: Option<&'a [u8]>,
    /// Nothing is at the old path now.
    pub is_old_free: bool,
    /// Whether it is a directory.
    pub is_dir: bool,
    /// Event types on it.
    pub events: u32,
    /// Nobody knows whether something was there before.
    pub is_unsure: bool,
    /// It is gone, and was made since, or perhaps so: nothing is different, as far as is known.
    pub is_temporary: bool,
    /// When the last process did something to it, wall time in ns since 1970.
    pub time_ns: u64,
    /// The last process.
    pub who: Who,
}

/// What is at a place now, compared with the start.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Before {
    /// A thing of which events tell.
    Thing(Id),
    Something,
    Nothing,
    Unknown,
}

/// The processes of lines.
#[derive(Clone, Copy)]
pub struct Processes<'a>(&'a Changes);

impl Processes<'_> {
    /// Defines a process with its strings in `mirror`, which forgets all else. Returns its id there; 0: it is not known.
    pub fn define(self, who: Who, mirror: &mut Mirror) -> u32 {
        self.0.processes.define(who, &self.0.tree.names, mirror)
    }
}

/// The lines, sorted by path: what is in a directory stands directly behind it.
pub struct Lines {
    changes: Changes,
    order: Order,
    /// Asked paths that left with a directory above them, with that directory.
    left: Vec<(Vec<u8>, Id)>,
}

impl Changes {
    /// Nothing more comes.
    #[must_use]
    pub fn finish(mut self, past: &mut dyn Past) -> Lines {
        let mut order = Order::default();
        let ids: Vec<Id> = self.tree.ids().collect();
        for id in &ids {
            let entry = match self.tree.get(*id).life {
                Life::Here if self.tree.is_here(*id) => self.of_here(*id, past),
                _ => None,
            };
            if let Some(entry) = entry {
                self.add(entry, &mut order);
            }
        }
        for id in &ids {
            let entry = match self.tree.get(*id).is_old() {
                true => self.of_start(*id, past),
                false => self.of_temporary(*id),
            };
            if let Some(entry) = entry {
                self.add(entry, &mut order);
            }
        }
        let left = self.left_with_others(&ids);
        order.sort(&self.tree.names);
        Lines { changes: self, order, left }
    }

    /// Keeps a line if its path is asked for.
    fn add(&mut self, entry: Entry, order: &mut Order) {
        let mut entry = entry;
        if !self.asked.paths.is_empty() {
            let is_wanted = |side| self.is_wanted(entry.id, side);
            entry = match (entry.change, is_wanted(entry.side)) {
                (Change::Renamed, true) if !is_wanted(Side::Start) => {
                    Entry { change: Change::Added, ..entry }
                }
                (Change::Renamed, false) if is_wanted(Side::Start) => {
                    Entry { change: Change::Deleted, side: Side::Start, ..entry }
                }
                (_, true) => entry,
                (_, false) => return,
            };
        }
        let mut names = Vec::new();
        self.tree.names_of(entry.id, entry.side, &mut names);
        order.add(&names, entry);
    }

    fn is_wanted(&self, id: Id, side: Side) -> bool {
        let mut path = Vec::new();
        self.tree.path_of(id, side, &mut path);
        self.asked.paths.iter().any(|asked| is_within(&path, asked))
    }

    /// The line of a thing that is there.
    fn of_here(&mut self, id: Id, past: &mut dyn Past) -> Option<Entry> {
        let thing = *self.tree.get(id);
        let entry =
            |change| Entry { id, change, side: Side::Now, is_unsure: false, is_temporary: false };
        let before = match thing.place == thing.start {
            true => Before::Thing(id),
            false => self.before(thing.place, past),
        };
        // It is where it was, or again: perhaps in another directory of the same path.
        if before == Before::Thing(id) {
            self.tree.edit(id).marks |= mark::TOLD;
            return match () {
                () if thing.has(mark::CONTENT) => Some(entry(Change::Modified)),
                () if thing.has(mark::ATTRIBUTES) => Some(entry(Change::Attributes)),
                () => None,
            };
        }
        let is_moved_dir = thing.is_dir() && thing.is_old();
        if let Before::Thing(other) = before {
            let other = self.tree.edit(other);
            other.marks |= mark::TOLD;
            if other.life != Life::Here {
                let before = other.events;
                let events = &mut self.tree.edit(id).events;
                *events = events.saturating_add(before);
            }
        }
        let change = match before {
            _ if is_moved_dir => Change::Renamed,
            Before::Nothing if thing.is_old() => Change::Renamed,
            Before::Nothing => Change::Added,
            Before::Thing(_) | Before::Something | Before::Unknown => Change::Modified,
        };
        if change == Change::Renamed {
            self.tree.edit(id).marks |= mark::TOLD;
        }
        Some(Entry { is_unsure: before == Before::Unknown, ..entry(change) })
    }

    /// What was at a place at the start.
    fn before(&mut self, place: Place, past: &mut dyn Past) -> Before {
        let Some(dir) = self.base(place.dir) else { return Before::Nothing };
        let at = Place { dir, name: place.name };
        let Some(id) = self.tree.at_start(at) else {
            // What was in a directory that left is not known; all else would have been heard of.
            return match self.tree.is_out(dir) {
                true => self.ask(at, past),
                false => Before::Nothing,
            };
        };
        match self.tree.get(id).life {
            Life::Perhaps => match self.ask(at, past) {
                Before::Something => Before::Thing(id),
                other => {
                    self.tree.edit(id).marks |= mark::TOLD;
                    other
                }
            },
            _ => Before::Thing(id),
        }
    }

    fn ask(&self, at: Place, past: &mut dyn Past) -> Before {
        let mut path = Vec::new();
        if at.dir != ROOT {
            self.tree.path_of(at.dir, Side::Start, &mut path);
        }
        path.push(b'/');
        path.extend_from_slice(self.tree.names.get(at.name));
        match past.was_there(&path) {
            Answer::There => Before::Something,
            Answer::NotThere => Before::Nothing,
            Answer::Unknown => Before::Unknown,
        }
    }

    /// The directory that was at the start where this one is: itself, or one that is gone.
    fn base(&self, dir: Id) -> Option<Id> {
        let mut above = Vec::new();
        let mut at = dir;
        while !self.tree.get(at).is_old() {
            above.push(self.tree.get(at).place.name);
            at = self.tree.get(at).place.dir;
        }
        while let Some(name) = above.pop() {
            at = self.tree.at_start(Place { dir: at, name })?;
            let thing = self.tree.get(at);
            if !thing.is_dir() || thing.life == Life::Perhaps || self.tree.is_here(at) {
                return None;
            }
        }
        Some(at)
    }

    /// The line of what was at a place at the start, if no other line tells of it.
    fn of_start(&self, id: Id, past: &mut dyn Past) -> Option<Entry> {
        let thing = self.tree.get(id);
        let is_still_there = thing.place == thing.start && self.tree.is_here(id);
        if is_still_there || thing.has(mark::TOLD) || self.left_with_its_dir(thing) {
            return None;
        }
        let before = match thing.life {
            Life::Perhaps => self.ask(thing.start, past),
            // A directory above was deleted, though something in it was not: something is missing.
            _ => Before::Something,
        };
        let is_unknown = before == Before::Unknown;
        let has_dir = self.tree.is_here(thing.start.dir);
        (before != Before::Nothing).then_some(Entry {
            id,
            change: Change::Deleted,
            side: if has_dir { Side::Left } else { Side::Start },
            is_unsure: is_unknown,
            is_temporary: is_unknown,
        })
    }

    /// Whether a directory in which it was at the start was moved out: the line of that says all.
    fn left_with_its_dir(&self, thing: &Thing) -> bool {
        let mut dir = thing.start.dir;
        while dir != ROOT {
            if self.tree.is_out(dir) {
                return true;
            }
            dir = self.tree.get(dir).start.dir;
        }
        false
    }

    /// The line of what was made and is gone.
    fn of_temporary(&self, id: Id) -> Option<Entry> {
        let thing = self.tree.get(id);
        let is_one = self.asked.all && !self.tree.is_here(id);
        let has_another =
            self.tree.at(thing.place).is_some() || self.tree.at_start(thing.place).is_some();
        (is_one && !has_another).then_some(Entry {
            id,
            change: Change::Deleted,
            side: Side::Now,
            is_unsure: false,
            is_temporary: true,
        })
    }

    /// The asked paths below a directory that was moved away.
    fn left_with_others(&self, ids: &[Id]) -> Vec<(Vec<u8>, Id)> {
        let mut left: Vec<(Vec<u8>, Id)> = Vec::new();
        let mut path = Vec::new();
        for id in ids {
            let thing = self.tree.get(*id);
            let has_left = thing.is_old()
                && thing.is_dir()
                && thing.life != Life::Gone
                && (thing.place != thing.start || thing.life == Life::Out);
            if !has_left || self.asked.paths.is_empty() {
                continue;
            }
            self.tree.path_of(*id, Side::Start, &mut path);
            let below = |asked: &&Vec<u8>| **asked != path && is_within(asked, &path);
            for asked in self.asked.paths.iter().filter(below) {
                if !self.is_there(asked) && left.iter().all(|(other, _)| other != asked) {
                    left.push((asked.clone(), *id));
                }
            }
        }
        left.sort_by(|one, other| one.0.cmp(&other.0));
        left
    }

    /// Whether something is known to be at a path.
    fn is_there(&self, path: &[u8]) -> bool {
        let mut dir = ROOT;
        for name in path.split(|byte| *byte == b'/').filter(|name| !name.is_empty()) {
            let Some(name) = self.tree.names.find(name) else { return false };
            let Some(id) = self.tree.at(Place { dir, name }) else { return false };
            dir = id;
        }
        true
    }
}

impl Lines {
    /// How many there are.
    #[must_use]
    pub fn count(&self) -> usize {
        self.order.count() + self.left.len()
    }

    /// Calls `take` for each line, until it fails.
    ///
    /// # Errors
    /// What `take` returns.
    pub fn each<E>(
        &self,
        mut take: impl FnMut(Processes<'_>, &Line<'_>) -> Result<(), E>,
    ) -> Result<(), E> {
        let processes = Processes(&self.changes);
        for (path, id) in &self.left {
            let last = self.changes.tree.get(*id).last;
            take(
                processes,
                &Line {
                    change: Change::Deleted,
                    path,
                    old_path: None,
                    is_old_free: false,
                    is_dir: true,
                    events: 1,
                    is_unsure: false,
                    is_temporary: false,
                    time_ns: last.time_ns,
                    who: last.who,
                },
            )?;
        }
        let (mut path, mut old) = (Vec::new(), Vec::new());
        let changes = &self.changes;
        self.order.each(&mut |entry: &Entry| {
            changes.tree.path_of(entry.id, entry.side, &mut path);
            let is_renamed = entry.change == Change::Renamed;
            if is_renamed {
                changes.tree.path_of(entry.id, Side::Start, &mut old);
            }
            take(processes, &changes.line(entry, &path, is_renamed.then_some(&old)))
        })
    }
}

impl Changes {
    fn line<'a>(&self, entry: &Entry, path: &'a [u8], old: Option<&'a Vec<u8>>) -> Line<'a> {
        let thing = self.tree.get(entry.id);
        let has_moved = entry.side != Side::Now && thing.moved != Last::default();
        let is_elsewhere = has_moved && self.tree.is_here(entry.id);
        let (last, events) = match is_elsewhere {
            true => (thing.moved, thing.moved_events),
            false => (thing.last, thing.events),
        };
        Line {
            change: entry.change,
            path,
            old_path: old.map(Vec::as_slice),
            is_old_free: old.is_some_and(|old| !self.is_there(old)),
            is_dir: thing.is_dir(),
            events: events.max(1),
            is_unsure: entry.is_unsure,
            is_temporary: entry.is_temporary,
            time_ns: last.time_ns,
            who: last.who,
        }
    }
}

//! The watches of a daemon over the records of one engine: which of them, if any, wants an event.
//!
//! Each watch has its own filter and types. Where one is inside of another, the innermost decides. A rename from one
//! to the other has two sides: the old name is the business of the watch that it is in, the new one likewise, and
//! the line is recorded if either wants it.

use fsmon_format::kind;
use fsmon_format::mirror::Capacity;
use fsmon_format::record::{Event, EventRef};
use fsmon_present::filter::{Filter, Owner, Owners};
use fsmon_present::world::{Change, World};

/// The types that are about the old name of a rename.
const OF_OLD_NAME: u32 = kind::RENAME | kind::MOVED_FROM;

/// A watch as the recorder needs it.
pub(crate) struct Watched {
    /// Its number, never used again.
    pub(crate) number: u32,
    /// Its path: absolute, without symbolic links.
    pub(crate) path: Vec<u8>,
    /// Levels of names below the path that are recorded: 1 is direct children only. `None`: all.
    pub(crate) levels: Option<u32>,
    pub(crate) filter: Filter,
}

/// All watches.
pub(crate) struct Watches {
    watches: Vec<Watched>,
    owners: Owners,
}

impl Watches {
    pub(crate) fn new(capacity: Capacity) -> Self {
        Watches { watches: Vec::new(), owners: Owners::new(capacity) }
    }

    pub(crate) fn add(&mut self, watched: Watched) {
        self.owners.add(&watched.path, watched.number);
        self.watches.push(watched);
    }

    pub(crate) fn remove(&mut self, number: u32) {
        self.owners.remove(number);
        self.watches.retain(|watched| watched.number != number);
    }

    /// A definition changed what an id stands for.
    pub(crate) fn changed(&mut self, world: &World, change: Change) {
        self.owners.changed(change);
        for watched in &mut self.watches {
            watched.filter.changed(world, change);
        }
    }

    /// The types of `event` that are recorded.
    #[inline]
    pub(crate) fn wanted(&mut self, world: &World, event: &EventRef<'_>) -> u32 {
        let head = event.head;
        let (dir, dir2) = (head.dir.get(), head.dir2.get());
        if dir == 0 && dir2 == 0 {
            return self.wanted_without_path(world, event);
        }
        let new = self.owners.of(world, dir).filter(|owner| self.is_within(*owner, event.name));
        if head.mask.get() & OF_OLD_NAME == 0 {
            return self.wanted_by(new, world, event);
        }
        let old = self.owners.of(world, dir2).filter(|owner| self.is_within(*owner, event.name2));
        if new.map(|owner| owner.watch) == old.map(|owner| owner.watch) {
            return self.wanted_by(new, world, event);
        }
        self.wanted_by_both(world, event, new, old)
    }

    /// A rename between two watches, or into or out of one.
    #[cold]
    fn wanted_by_both(
        &mut self,
        world: &World,
        event: &EventRef<'_>,
        new: Option<Owner>,
        old: Option<Owner>,
    ) -> u32 {
        let arrives = Event { dir2: 0.into(), ..*event.head };
        let leaves = Event { dir: 0.into(), ..*event.head };
        let arrival = EventRef { head: &arrives, name: event.name, name2: b"" };
        let departure = EventRef { head: &leaves, name: b"", name2: event.name2 };
        let of_new = self.wanted_by(new, world, &arrival) & !kind::MOVED_FROM;
        of_new | self.wanted_by(old, world, &departure) & OF_OLD_NAME
    }

    #[inline]
    fn wanted_by(&mut self, owner: Option<Owner>, world: &World, event: &EventRef<'_>) -> u32 {
        let Some(owner) = owner else { return 0 };
        let of_owner = |watched: &&mut Watched| watched.number == owner.watch;
        let watched = self.watches.iter_mut().find(of_owner);
        watched.map_or(0, |watched| watched.filter.wanted(world, event))
    }

    /// An event of a file that has no name, or of an unknown directory: recorded if any watch wants it.
    #[cold]
    fn wanted_without_path(&mut self, world: &World, event: &EventRef<'_>) -> u32 {
        let wanted = self.watches.iter_mut().map(|watched| watched.filter.wanted(world, event));
        wanted.fold(0, |all, one| all | one)
    }

    /// Whether a name in a directory is within the levels that its watch records.
    fn is_within(&self, owner: Owner, name: &[u8]) -> bool {
        let level = owner.depth + u32::from(!name.is_empty());
        let of_owner = |watched: &&Watched| watched.number == owner.watch;
        let watched = self.watches.iter().find(of_owner);
        watched.is_some_and(|watched| watched.levels.is_none_or(|levels| level <= levels))
    }
}

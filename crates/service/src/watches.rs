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
    /// Whether its events show the command lines of their processes.
    pub(crate) cmdline: bool,
    pub(crate) filter: Filter,
}

/// What is recorded of an event.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Wanted {
    /// Bits of [`kind`]; 0: nothing.
    pub(crate) types: u32,
    /// Whether one of the watches that want it asks for command lines.
    pub(crate) cmdline: bool,
}

impl Wanted {
    /// What two watches want.
    fn and(self, other: Wanted) -> Self {
        Wanted { types: self.types | other.types, cmdline: self.cmdline | other.cmdline }
    }

    /// The types that are in `types`.
    fn of(self, types: u32) -> Self {
        let types = self.types & types;
        Wanted { types, cmdline: self.cmdline && types != 0 }
    }
}

/// Whether conditions on the size of files count: to know the size takes a look at the file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Sizes {
    Asked,
    Ignored,
}

impl Watched {
    #[inline]
    fn wanted(&mut self, world: &World, event: &EventRef<'_>, sizes: Sizes) -> Wanted {
        let types = match sizes {
            Sizes::Asked => self.filter.wanted(world, event),
            Sizes::Ignored => self.filter.wanted_of_any_size(world, event),
        };
        Wanted { types, cmdline: self.cmdline && types != 0 }
    }
}

/// All watches.
pub(crate) struct Watches {
    watches: Vec<Watched>,
    /// The index of the watch that was looked for last: mostly it is the next one as well.
    last: usize,
    owners: Owners,
    sizes: Sizes,
}

impl Watches {
    pub(crate) fn new(capacity: Capacity) -> Self {
        Watches { watches: Vec::new(), last: 0, owners: Owners::new(capacity), sizes: Sizes::Asked }
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

    /// What of `event` is recorded.
    #[inline]
    pub(crate) fn wanted(&mut self, world: &World, event: &EventRef<'_>, sizes: Sizes) -> Wanted {
        self.sizes = sizes;
        let head = event.head;
        let (dir, dir2) = (head.dir.get(), head.dir2.get());
        if dir == 0 && dir2 == 0 {
            return self.wanted_without_path(world, event);
        }
        let new = self.owner(world, dir, event.name);
        if head.mask.get() & OF_OLD_NAME == 0 {
            return self.wanted_by(new, world, event);
        }
        let old = self.owner(world, dir2, event.name2);
        if new == old {
            return self.wanted_by(new, world, event);
        }
        self.wanted_by_both(world, event, new, old)
    }

    /// The index of the watch that a name in a directory belongs to, if the watch records names of that level.
    #[inline]
    fn owner(&mut self, world: &World, dir: u32, name: &[u8]) -> Option<usize> {
        let Owner { watch, depth } = self.owners.of(world, dir)?;
        let is_it = |watched: &Watched| watched.number == watch;
        if !self.watches.get(self.last).is_some_and(is_it) {
            self.last = self.watches.iter().position(is_it)?;
        }
        let level = depth + u32::from(!name.is_empty());
        let levels = self.watches[self.last].levels;
        levels.is_none_or(|levels| level <= levels).then_some(self.last)
    }

    /// A rename between two watches, or into or out of one.
    #[cold]
    fn wanted_by_both(
        &mut self,
        world: &World,
        event: &EventRef<'_>,
        new: Option<usize>,
        old: Option<usize>,
    ) -> Wanted {
        let arrives = Event { dir2: 0.into(), ..*event.head };
        let leaves = Event { dir: 0.into(), ..*event.head };
        let arrival = EventRef { head: &arrives, name: event.name, name2: b"" };
        let departure = EventRef { head: &leaves, name: b"", name2: event.name2 };
        let of_new = self.wanted_by(new, world, &arrival).of(!kind::MOVED_FROM);
        of_new.and(self.wanted_by(old, world, &departure).of(OF_OLD_NAME))
    }

    #[inline]
    fn wanted_by(&mut self, owner: Option<usize>, world: &World, event: &EventRef<'_>) -> Wanted {
        let sizes = self.sizes;
        owner.map_or(Wanted::default(), |at| self.watches[at].wanted(world, event, sizes))
    }

    /// An event of a file that has no name, or of an unknown directory: recorded if any watch wants it.
    #[cold]
    fn wanted_without_path(&mut self, world: &World, event: &EventRef<'_>) -> Wanted {
        let sizes = self.sizes;
        let wanted = self.watches.iter_mut().map(|watched| watched.wanted(world, event, sizes));
        wanted.fold(Wanted::default(), Wanted::and)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use fsmon_format::kind::{CREATE, DELETE, MOVED_FROM, MOVED_TO, RENAME};
    use fsmon_format::record::{Body, Dir};
    use fsmon_present::filter::{Criteria, Source};
    use fsmon_present::names::{self, Names};
    use fsmon_present::wall::Wall;
    use std::path::Path;
    use zerocopy::FromZeros;

    const CAPACITY: Capacity = Capacity { dirs: 8, processes: 8, strings: 8, text: 1 << 12 };

    fn world() -> World {
        let names = Names::from_lookups(8, Box::new(|_| None), Box::new(|_| None));
        World::live(names::room(CAPACITY), Wall::default(), names)
    }

    /// A watch that records these types, and leaves out paths that match.
    fn watched(number: u32, path: &str, types: u32, exclude: &[&str]) -> Watched {
        let criteria = Criteria {
            types: kind::in_causal_order(types).map(|kind| kind.name.to_owned()).collect(),
            exclude: exclude.iter().map(|glob| (*glob).to_owned()).collect(),
            ..Criteria::default()
        };
        let filter = Filter::new(&criteria, 0, Source::Live, CAPACITY);
        let filter = filter.and_then(|filter| filter.below(Path::new(path))).expect("valid");
        Watched { number, path: path.as_bytes().to_vec(), levels: None, cmdline: false, filter }
    }

    /// `/srv` is 1, `/srv/in` is 2, `/out` is 3.
    fn furnish(world: &mut World, watches: &mut Watches) {
        for (id, parent, name) in [(1, 0, &b"/srv"[..]), (2, 1, b"in"), (3, 0, b"/out")] {
            let mut head = Dir::new_zeroed();
            (head.id, head.parent, head.object) = (id.into(), parent.into(), u64::from(id).into());
            let change = world.take(&Body::Dir(&head, name));
            watches.changed(world, change);
        }
    }

    fn wanted(
        world: &World,
        watches: &mut Watches,
        mask: u32,
        new: (u32, &str),
        old: (u32, &str),
    ) -> u32 {
        wanted_of(world, watches, mask, new, old).types
    }

    fn wanted_of(
        world: &World,
        watches: &mut Watches,
        mask: u32,
        new: (u32, &str),
        old: (u32, &str),
    ) -> Wanted {
        let mut head = Event::new_zeroed();
        (head.mask, head.dir, head.dir2) = (mask.into(), new.0.into(), old.0.into());
        let event = EventRef { head: &head, name: new.1.as_bytes(), name2: old.1.as_bytes() };
        watches.wanted(world, &event, Sizes::Asked)
    }

    #[test]
    fn each_side_of_a_rename_is_the_business_of_the_watch_that_it_is_in() {
        let mut world = world();
        let mut watches = Watches::new(names::room(CAPACITY));
        let all = RENAME | MOVED_FROM | MOVED_TO;
        watches.add(watched(1, "/srv", all, &["*.tmp"]));
        watches.add(watched(2, "/srv/in", MOVED_FROM | CREATE, &[]));
        furnish(&mut world, &mut watches);
        let mut of = |new, old| wanted(&world, &mut watches, all, new, old);
        // Within one watch.
        assert_eq!(of((1, "b"), (1, "a")), all);
        assert_eq!(of((1, "b"), (1, "a.tmp")), all & !MOVED_FROM);
        // From the inner one to the outer one, and back.
        assert_eq!(of((1, "b"), (2, "a")), RENAME | MOVED_TO | MOVED_FROM);
        assert_eq!(of((1, "b.tmp"), (2, "a")), MOVED_FROM);
        assert_eq!(of((2, "b"), (1, "a")), RENAME | MOVED_FROM);
        assert_eq!(of((2, "b"), (1, "a.tmp")), 0);
        // From and to where nobody watches.
        assert_eq!(of((3, "b"), (1, "a")), RENAME | MOVED_FROM);
        assert_eq!(of((1, "b"), (3, "a")), RENAME | MOVED_TO);
        assert_eq!(of((3, "b"), (3, "a")), 0);
    }

    #[test]
    fn a_command_line_is_shown_if_a_watch_that_wants_the_event_asks_for_it() {
        let mut world = world();
        let mut watches = Watches::new(names::room(CAPACITY));
        watches.add(Watched { cmdline: true, ..watched(1, "/srv", RENAME | CREATE, &["*.tmp"]) });
        watches.add(watched(2, "/srv/in", RENAME | CREATE, &[]));
        furnish(&mut world, &mut watches);
        let mut of = |new, old| wanted_of(&world, &mut watches, RENAME | CREATE, new, old).cmdline;
        assert!(of((1, "b"), (0, "")));
        assert!(!of((1, "b.tmp"), (0, "")));
        assert!(!of((2, "b"), (0, "")));
        assert!(of((2, "b"), (1, "a")));
        assert!(of((1, "b"), (2, "a")));
        assert!(!of((2, "b"), (1, "a.tmp")));
    }

    #[test]
    fn a_watch_that_ends_gives_way_to_the_one_around_it() {
        let mut world = world();
        let mut watches = Watches::new(names::room(CAPACITY));
        watches.add(watched(1, "/srv", CREATE | DELETE, &[]));
        watches.add(Watched { levels: Some(1), ..watched(2, "/srv/in", DELETE, &[]) });
        furnish(&mut world, &mut watches);
        let of =
            |watches: &mut Watches| wanted(&world, watches, CREATE | DELETE, (2, "f"), (0, ""));
        assert_eq!(of(&mut watches), DELETE);
        watches.remove(2);
        assert_eq!(of(&mut watches), CREATE | DELETE);
        watches.remove(1);
        assert_eq!(of(&mut watches), 0);
    }
}

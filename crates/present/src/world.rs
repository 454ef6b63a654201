//! What the records so far have defined: paths, processes, strings and the time.

use crate::names::Names;
use crate::redact::Redactor;
use crate::wall::Wall;
use fsmon_format::mirror::{Capacity, Defined, Mirror};
use fsmon_format::record::{self, Body};
use std::time::Instant;
use zerocopy::{FromZeros, IntoBytes};

/// What a definition changed, for caches that are keyed by id.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    /// No id changed its meaning.
    Nothing,
    /// The id stands for a new directory; nothing below it was known.
    Dir(u32),
    /// This directory was renamed, so every path below it changed.
    Renamed(u32),
    /// The id stands for a new process image, or more is known about the same one.
    Proc(u32),
    /// The id stands for a new string.
    Str(u32),
    /// All ids were forgotten.
    Everything,
}

/// The definitions in force and the clocks.
pub struct World {
    pub(crate) mirror: Mirror,
    pub(crate) wall: Wall,
    names: Option<Names>,
    redactor: Option<Redactor>,
    refused: u64,
    /// The size of the current event's file in bytes, if it was looked up. The lookup is later than the event.
    pub(crate) late_size: Option<u64>,
}

impl World {
    /// A world for recorded streams: the first record with both clocks sets the time.
    pub fn recorded(capacity: Capacity) -> Self {
        World::new(capacity, Wall::default(), None)
    }

    /// A world for this host that begins now. `names` looks up users and control groups, which come as
    /// numbers.
    pub fn live(capacity: Capacity, wall: Wall, names: Names) -> Self {
        World::new(capacity, wall, Some(names))
    }

    fn new(capacity: Capacity, wall: Wall, names: Option<Names>) -> Self {
        let mirror = Mirror::new(capacity);
        World { mirror, wall, names, redactor: None, refused: 0, late_size: None }
    }

    /// Hides secrets in the command lines that are defined from now on.
    #[must_use]
    pub fn redacted_by(self, redactor: Redactor) -> Self {
        World { redactor: Some(redactor), ..self }
    }

    /// What the ids in records stand for.
    pub fn mirror(&self) -> &Mirror {
        &self.mirror
    }

    /// The wall time of a record, ns since 1970. `mono_ns`: `CLOCK_MONOTONIC`.
    pub fn real_ns(&self, mono_ns: u64) -> u64 {
        self.wall.real_ns(mono_ns)
    }

    /// Definitions that found no room.
    pub fn refused(&self) -> u64 {
        self.refused
    }

    /// Forgets all ids: in a stream they are valid within one block only.
    pub fn forget(&mut self) {
        self.mirror.clear();
    }

    /// What the last process image, or the last [`World::look_again`], changed besides the image itself.
    pub fn side_changes(&self) -> &[Change] {
        self.names.as_ref().map_or(&[], Names::changes)
    }

    /// Time goes on.
    pub fn tick(&mut self, now: Instant) {
        if let Some(names) = &mut self.names {
            names.tick(now);
        }
    }

    /// Call before an event of this image is shown. Returns whether the name of its user has changed;
    /// [`World::side_changes`] then has the consequences.
    #[inline]
    pub fn look_again(&mut self, image: u32) -> bool {
        self.names.as_mut().is_some_and(|names| names.look_again(image, &mut self.mirror))
    }

    /// Takes a definition or a clock. Other records change nothing.
    pub fn take(&mut self, body: &Body<'_>) -> Change {
        match body {
            Body::Dir(head, name) => self.take_dir(head, name),
            Body::Proc(head) => self.take_proc(**head),
            Body::Str(head, _) => {
                self.define(body);
                Change::Str(head.id.get())
            }
            Body::Clock(clock) => {
                self.wall.anchor(clock.time_ns.get(), clock.realtime_ns.get());
                Change::Nothing
            }
            Body::Stats(stats) => {
                self.wall.anchor(stats.time_ns.get(), stats.realtime_ns.get());
                Change::Nothing
            }
            _ => Change::Nothing,
        }
    }

    /// A directory is defined again when it is renamed, when its id is reused for another directory, and,
    /// in a stream, unchanged in every block. Only a rename changes the paths of other directories: a
    /// directory that loses its id has no children left.
    fn take_dir(&mut self, head: &record::Dir, name: &[u8]) -> Change {
        let id = head.id.get();
        let change = match self.mirror.dir(id) {
            Some(old) => {
                let same_object = old.object == head.object.get();
                let same_path = old.parent == head.parent.get()
                    && old.generation == head.generation.get()
                    && self.mirror.dir_name(old) == name;
                match (same_object, same_path) {
                    (true, true) => return Change::Nothing,
                    (true, false) => Change::Renamed(id),
                    (false, _) => Change::Dir(id),
                }
            }
            None => Change::Dir(id),
        };
        self.define(&Body::Dir(head, name));
        change
    }

    fn take_proc(&mut self, mut head: record::Proc) -> Change {
        if let Some(names) = &mut self.names {
            names.fill_in(&mut head, &mut self.mirror);
        }
        self.redact(head.cmdline.get());
        let id = head.id.get();
        // A command line's id may stand for another text whenever the image's id is reused.
        let same = |old: &record::Proc| old.as_bytes() == head.as_bytes();
        // `fill_in` may have found a new name for the user, of this image and of others.
        let is_alone = self.side_changes().is_empty();
        if is_alone && head.cmdline.get() == 0 && self.mirror.proc(id).is_some_and(same) {
            return Change::Nothing;
        }
        self.define(&Body::Proc(&head));
        Change::Proc(id)
    }

    /// Hides secrets in a command line. Its string was defined a moment ago, and nothing has shown it yet.
    fn redact(&mut self, cmdline: u32) {
        let Some(redactor) = &mut self.redactor else { return };
        let Some(hidden) = self.mirror.string(cmdline).and_then(|text| redactor.hide(text)) else {
            return;
        };
        let mut head = record::Str::new_zeroed();
        head.id = cmdline.into();
        if self.mirror.define(&Body::Str(&head, hidden)) == Defined::Full {
            self.refused += 1;
        }
    }

    fn define(&mut self, body: &Body<'_>) {
        if self.mirror.define(body) == Defined::Full {
            self.refused += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::text::fixture::{self, capacity, image};
    use std::sync::Arc;
    use std::sync::atomic::{AtomicBool, Ordering};

    #[test]
    fn an_image_that_is_defined_again_shows_that_its_user_has_another_name() {
        let is_new = Arc::new(AtomicBool::new(false));
        let asked = is_new.clone();
        let find = move |_| Some(if asked.load(Ordering::Relaxed) { "new" } else { "old" }.into());
        let names =
            Names::from_lookups(fixture::ENGINE_STRINGS, Box::new(find), Box::new(|_| None));
        let mut world = World::live(capacity(), Wall::default(), names);
        let image = image(1, 1001, "cc");
        for expected in [Change::Proc(1), Change::Nothing] {
            assert_eq!(world.take(&Body::Proc(&image)), expected);
        }
        is_new.store(true, Ordering::Relaxed);
        world.names.as_mut().expect("it is live").begin_epoch(Instant::now());
        assert_eq!(world.take(&Body::Proc(&image)), Change::Proc(1));
        assert!(world.side_changes().contains(&Change::Proc(1)), "{:?}", world.side_changes());
        assert_eq!(world.take(&Body::Proc(&image)), Change::Nothing);
    }
}

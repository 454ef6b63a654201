//! Things: files and directories, and where they are.

use super::names::Name;
use super::process::Who;

/// A thing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Id(pub(super) u32);

/// No thing.
pub(super) const NONE: Id = Id(u32::MAX);
/// The directory `/`.
pub(super) const ROOT: Id = Id(0);

/// A directory and a name in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Place {
    pub(super) dir: Id,
    pub(super) name: Name,
}

/// Nowhere.
pub(super) const NOWHERE: Place = Place { dir: NONE, name: Name::EMPTY };

/// Which place of a thing is meant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Side {
    /// Where it is.
    Now,
    /// Where it was at the start.
    Start,
    /// Where it would be if it were still in the directory in which it was at the start, wherever that is now.
    Left,
}

impl Side {
    /// The place on this side.
    pub(super) fn of(self, thing: &Thing) -> Place {
        match self {
            Side::Now => thing.place,
            Side::Start | Side::Left => thing.start,
        }
    }

    /// The side of the directories above.
    pub(super) fn above(self) -> Self {
        match self {
            Side::Now | Side::Left => Side::Now,
            Side::Start => Side::Start,
        }
    }
}

/// What has become of a thing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Life {
    /// It is at its place.
    Here,
    /// It was removed, or something was renamed onto it.
    Gone,
    /// It was moved out of what is watched, or asked for.
    Out,
    /// No event is about it: something was renamed onto its name, and it may have been there before.
    Perhaps,
    /// This entry of the table is free.
    Free,
}

/// What happened to a thing, in bits.
pub(super) mod mark {
    /// It is a directory.
    pub(crate) const DIR: u8 = 1;
    /// Its content may have changed.
    pub(crate) const CONTENT: u8 = 1 << 1;
    /// Its attributes changed.
    pub(crate) const ATTRIBUTES: u8 = 1 << 2;
    /// It came from elsewhere: what is in it need not have been seen.
    pub(crate) const OPAQUE: u8 = 1 << 3;
    /// A line tells what became of what was at its place at the start.
    pub(crate) const TOLD: u8 = 1 << 4;
}

/// Who did something last, and when. Packed, as there are two in each thing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C, packed(4))]
pub(super) struct Last {
    pub(super) time_ns: u64,
    pub(super) who: Who,
}

/// A file or a directory.
#[derive(Clone, Copy, Debug)]
pub(super) struct Thing {
    /// Where it is, or was last.
    pub(super) place: Place,
    /// Where it was at the start.
    pub(super) start: Place,
    pub(super) object: u64,
    pub(super) last: Last,
    /// Who moved it away from where it was at the start.
    pub(super) moved: Last,
    /// Event types on it, and until it was moved away from there.
    pub(super) events: u32,
    pub(super) moved_events: u32,
    /// What [`super::recent::Recent`] knows it by: the same whenever a thing that was there at the start is met.
    pub(super) key: u64,
    /// Things with a place in it, now or at the start.
    pub(super) kids: u32,
    pub(super) life: Life,
    pub(super) marks: u8,
    /// How often something was missing before its last event.
    pub(super) era: u8,
}

impl Thing {
    pub(super) fn has(&self, mark: u8) -> bool {
        self.marks & mark != 0
    }

    pub(super) fn is_dir(&self) -> bool {
        self.has(mark::DIR)
    }

    /// Whether it was there at the start.
    pub(super) fn is_old(&self) -> bool {
        self.start.dir != NONE
    }
}

const _: () = assert!(size_of::<Thing>() <= 72, "there may be millions");

//! Names of which the queue may not tell the truth.
//!
//! The kernel merges an event into an identical one that waits in the queue (seen on 6.18;
//! `fanotify_merge()` in fs/notify/fanotify/fanotify.c). Of `a` to `b`, `b` to `a`, `a` to `b`
//! two are left; of a hard link made, removed and made again one event that says CREATE and
//! DELETE; and the DELETE of a file that was renamed away and back comes with its CREATE, before
//! the renames. All these are two events of one object between two looks at an empty queue (`objects.rs`): then each
//! of its names is compared with the filesystem when nothing is left to read.

use crate::hot::r#where::tables::chains::Chains;
use crate::limits::tables::{DOUBT_LOOKS, DOUBT_MISSES, DOUBTS_MAX};
use crate::sys::handle::KEY_MAX;
use fsmon_format::record::{Attribution, NAME_MAX};

/// Whether the kernel said that the object was renamed away from that name, and no rename that it told
/// of was that.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Left {
    No,
    /// It may have come back.
    Perhaps,
    /// It has, if no such rename comes until the queue is empty.
    Surely,
}

/// A name, and whether the lines say that it is the object's.
#[derive(Clone, Copy)]
pub(crate) struct Doubt {
    /// The hash of the object's handle.
    pub(crate) object: u64,
    /// What the name goes by: `Tree::place`.
    pub(crate) place: u64,
    /// The directory, and the hash of its handle.
    pub(crate) dir: u32,
    pub(crate) dir_hash: u64,
    /// What the lines say.
    pub(crate) told: bool,
    /// Nobody is to be told of it.
    pub(crate) silent: bool,
    /// A rename put it in doubt.
    pub(crate) renamed: bool,
    pub(crate) is_dir: bool,
    /// How the object may have gone.
    pub(crate) left: Left,
    /// Who was last seen at it; held. And how surely.
    pub(crate) image: u32,
    pub(crate) attribution: Attribution,
    /// What the last looks showed, and how many that were.
    seen: bool,
    looks: u8,
    /// Looks that showed nothing.
    misses: u8,
    name_len: u8,
    key_len: u8,
    name: [u8; NAME_MAX],
    key: [u8; KEY_MAX],
}

impl Doubt {
    /// `None` where name or handle are longer than any can be.
    pub(crate) fn new(
        (object, place): (u64, u64),
        key: &[u8],
        (dir, dir_hash): (u32, u64),
        name: &[u8],
    ) -> Option<Self> {
        let mut doubt = Doubt {
            object,
            place,
            dir,
            dir_hash,
            told: false,
            silent: false,
            renamed: false,
            is_dir: false,
            left: Left::No,
            image: 0,
            attribution: Attribution::Unknown,
            seen: false,
            looks: 0,
            misses: 0,
            name_len: u8::try_from(name.len()).ok()?,
            key_len: u8::try_from(key.len()).ok()?,
            name: [0; NAME_MAX],
            key: [0; KEY_MAX],
        };
        doubt.name.get_mut(..name.len())?.copy_from_slice(name);
        doubt.key.get_mut(..key.len())?.copy_from_slice(key);
        Some(doubt)
    }

    /// The name.
    pub(crate) fn name(&self) -> &[u8] {
        &self.name[..usize::from(self.name_len)]
    }

    /// The object's handle.
    pub(crate) fn key(&self) -> &[u8] {
        &self.key[..usize::from(self.key_len)]
    }
}

/// What changes with a new doubt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Swap {
    /// The image that is to be held no longer; 0 for none.
    pub(crate) release: u32,
    /// Whether there was room: the doubt's own image is to be held.
    pub(crate) is_kept: bool,
}

/// The names in doubt.
pub(crate) struct InDoubt {
    /// Names that there was no room for.
    forgotten: u64,
    names: Vec<Doubt>,
    /// Any of them may have surely left.
    left: bool,
    /// What to look for them by.
    by_place: Chains,
    by_object: Chains,
    by_dir: Chains,
}

impl InDoubt {
    pub(crate) fn new() -> Self {
        InDoubt {
            forgotten: 0,
            names: Vec::with_capacity(DOUBTS_MAX),
            left: false,
            by_place: Chains::new(DOUBTS_MAX),
            by_object: Chains::new(DOUBTS_MAX),
            by_dir: Chains::new(DOUBTS_MAX),
        }
    }

    /// Names that fsmon could not check, as there was no room for them.
    pub(crate) fn forgotten(&self) -> u64 {
        self.forgotten
    }

    /// A name in doubt is longer than any that is kept.
    #[cold]
    pub(crate) fn note_too_long(&mut self) {
        self.forgotten += 1;
    }

    /// Whether any name is in doubt.
    #[inline]
    pub(crate) fn any(&self) -> bool {
        !self.names.is_empty()
    }

    /// Whether much of the room is left, for doubts that rarely prove true.
    pub(crate) fn has_much_room(&self) -> bool {
        self.names.len() < DOUBTS_MAX / 4 * 3
    }

    /// The same for a doubt that is dropped where it is not.
    pub(crate) fn has_much_room_or_forgets(&mut self) -> bool {
        let has_room = self.has_much_room();
        self.forgotten += u64::from(!has_room);
        has_room
    }

    /// The name of an object is in doubt.
    pub(crate) fn put(&mut self, doubt: Doubt) -> Swap {
        if let Some(at) = self.find(doubt.place, doubt.object) {
            let known = std::mem::replace(&mut self.names[at], doubt);
            return Swap { release: known.image, is_kept: true };
        }
        let is_kept = self.names.len() < DOUBTS_MAX;
        if is_kept {
            self.by_place.push(doubt.place);
            self.by_object.push(doubt.object);
            self.by_dir.push(doubt.dir.into());
            self.names.push(doubt);
        } else {
            self.forgotten += 1;
        }
        Swap { release: 0, is_kept }
    }

    /// A line says that the entry is of that object now; 0: of none.
    pub(crate) fn tell(&mut self, place: u64, object: u64) {
        for at in self.by_place.of(place) {
            let doubt = &mut self.names[at];
            if doubt.place == place {
                (doubt.told, doubt.looks) = (object == doubt.object, 0);
                if doubt.told {
                    doubt.left = Left::No;
                }
            }
        }
    }

    /// A line says that the entry is that object's no longer.
    pub(crate) fn tell_gone(&mut self, place: u64, object: u64) {
        if let Some(at) = self.find(place, object) {
            (self.names[at].told, self.names[at].looks) = (false, 0);
        }
    }

    /// What the lines say of an object's name, where that is in doubt.
    pub(crate) fn told(&self, place: u64, object: u64) -> Option<bool> {
        self.find(place, object).map(|at| self.names[at].told)
    }

    /// An object in doubt that the lines say is there.
    pub(crate) fn told_there(&self, place: u64) -> Option<&Doubt> {
        let mut there = self.by_place.of(place).map(|at| &self.names[at]);
        there.find(|doubt| doubt.told && doubt.place == place)
    }

    /// Where the lines say that an object was renamed to.
    pub(crate) fn renamed_to(&self, object: u64) -> Option<&Doubt> {
        self.of(object).find(|doubt| doubt.told && doubt.renamed)
    }

    /// All names of an object that are in doubt.
    pub(crate) fn of(&self, object: u64) -> impl Iterator<Item = &Doubt> {
        let all = self.by_object.of(object).map(|at| &self.names[at]);
        all.filter(move |doubt| doubt.object == object)
    }

    /// Several processes renamed an object: who did what no event told is not known. `release` is for each image that is
    /// held no longer.
    pub(crate) fn disown(&mut self, object: u64, mut release: impl FnMut(u32)) {
        for at in self.by_object.of(object) {
            let doubt = &mut self.names[at];
            if doubt.object == object && doubt.left == Left::No {
                release(std::mem::take(&mut doubt.image));
            }
        }
    }

    /// One of them; `None` beyond the last.
    pub(crate) fn get(&self, at: usize) -> Option<&Doubt> {
        self.names.get(at)
    }

    /// Notes what a look showed. Whether that was seen often enough to be true.
    pub(crate) fn note_look(&mut self, at: usize, is_there: bool) -> bool {
        let doubt = &mut self.names[at];
        doubt.looks = if doubt.seen == is_there { doubt.looks.saturating_add(1) } else { 1 };
        doubt.seen = is_there;
        doubt.looks >= DOUBT_LOOKS
    }

    /// A look showed nothing. Whether there were so many that none will.
    pub(crate) fn note_miss(&mut self, at: usize) -> bool {
        let doubt = &mut self.names[at];
        doubt.misses = doubt.misses.saturating_add(1);
        doubt.misses >= DOUBT_MISSES
    }

    /// A file that the lines say is in that directory; the hash of its handle.
    pub(crate) fn file_in(&self, dir: u32, hash: u64) -> Option<&Doubt> {
        let mut all = self.by_dir.of(dir.into()).map(|at| &self.names[at]);
        let is_in = |doubt: &Doubt| (doubt.dir, doubt.dir_hash) == (dir, hash);
        all.find(|doubt| doubt.told && !doubt.is_dir && is_in(doubt))
    }

    /// The kernel said that the object of a name in doubt was renamed away from there.
    pub(crate) fn set_left(&mut self, place: u64, object: u64, left: Left) {
        if let Some(at) = self.find(place, object) {
            self.names[at].left = left;
            self.left |= left == Left::Surely;
        }
    }

    /// Whether it said so.
    pub(crate) fn left(&self, place: u64, object: u64) -> Left {
        self.find(place, object).map_or(Left::No, |at| self.names[at].left)
    }

    /// Whether any may have surely left.
    #[inline]
    pub(crate) fn any_left(&self) -> bool {
        self.left
    }

    /// None has, of which the lines do not say so.
    pub(crate) fn no_more_left(&mut self) {
        self.left = false;
    }

    /// Where an object's name is in doubt.
    pub(crate) fn find(&self, place: u64, object: u64) -> Option<usize> {
        if !self.any() {
            return None;
        }
        let is_it = |at: &usize| {
            let doubt = &self.names[*at];
            (doubt.place, doubt.object) == (place, object)
        };
        self.by_place.of(place).find(is_it)
    }

    /// One whose name is at that place.
    pub(crate) fn at(&self, place: u64) -> Option<usize> {
        self.by_place.of(place).find(|&at| self.names[at].place == place)
    }

    /// Done with one; the last takes its place. The image it held.
    pub(crate) fn remove(&mut self, at: usize) -> u32 {
        let (last, this) = (self.names[self.names.len() - 1], self.names[at]);
        self.by_place.swap_remove(at, this.place, last.place);
        self.by_object.swap_remove(at, this.object, last.object);
        self.by_dir.swap_remove(at, this.dir.into(), last.dir.into());
        self.names.swap_remove(at).image
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: u64 = 1;
    const B: u64 = 2;

    fn doubt(object: u64, place: u64) -> Doubt {
        Doubt::new((object, place), b"key", (9, 90), b"name").expect("short")
    }

    #[test]
    fn each_name_has_one_doubt_and_lines_change_what_was_told() {
        let mut doubts = InDoubt::new();
        assert_eq!(
            doubts.put(Doubt { image: 3, ..doubt(5, A) }),
            Swap { release: 0, is_kept: true }
        );
        assert_eq!(
            doubts.put(Doubt { image: 4, told: true, ..doubt(5, A) }),
            Swap { release: 3, is_kept: true }
        );
        assert!(!doubts.note_look(0, false) && !doubts.note_look(0, true));
        assert!(doubts.note_look(0, true));
        doubts.tell(B, 5);
        assert!(doubts.get(0).is_some_and(|doubt| doubt.told));
        doubts.tell(A, 6);
        assert!(doubts.get(0).is_some_and(|doubt| !doubt.told && doubt.name() == b"name"));
        assert!(!doubts.note_look(0, true), "looked at anew");
        assert_eq!((doubts.remove(0), doubts.any()), (4, false));
    }

    #[test]
    fn there_is_an_end_to_doubt() {
        let mut doubts = InDoubt::new();
        for object in 0..DOUBTS_MAX as u64 {
            assert_eq!(doubts.put(doubt(object, A + object)), Swap { release: 0, is_kept: true });
        }
        assert_eq!(doubts.forgotten(), 0);
        assert_eq!(doubts.put(doubt(DOUBTS_MAX as u64, A)), Swap { release: 0, is_kept: false });
        assert!(!doubts.has_much_room_or_forgets());
        assert_eq!(doubts.forgotten(), 2);
        assert!(Doubt::new((1, 1), &[0; 300], (1, 1), b"a").is_none());
    }
}

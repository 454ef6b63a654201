//! Names for which the queue may be misleading.
//!
//! The kernel merges an event into an identical one that waits in the queue (seen on 6.18; `fanotify_merge()` in
//! fs/notify/fanotify/fanotify.c). Of `mv a b; mv b a; mv a b` two renames are left. Of `ln x a; rm a; ln x a` one
//! event is left, which says CREATE and DELETE. If a file is made, renamed away and back, and removed, its DELETE
//! comes with its CREATE, before the renames. In each case there are two events of one object while the queue was
//! never empty (`objects.rs`). Then each name of the object is put in doubt: fsmon compares it with the filesystem
//! once the queue is empty.

use crate::hot::r#where::tables::chains::Chains;
use crate::limits::tables::{DOUBT_LOOKS, DOUBT_MISSES, DOUBTS_MAX};
use crate::sys::handle::KEY_MAX;
use fsmon_format::record::{Attribution, NAME_MAX};

/// Whether the kernel reported that the object was renamed away from the name (`MOVED_FROM`) and no RENAME event
/// explains it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Left {
    No,
    /// Perhaps: it may have come back.
    Perhaps,
    /// Yes, unless a matching RENAME comes before the queue is empty.
    Surely,
}

/// A name in doubt, and whether the output has the object there.
#[derive(Clone, Copy)]
pub(crate) struct Doubt {
    /// The hash of the object's handle.
    pub(crate) object: u64,
    /// The place: [`Tree::place`](crate::hot::r#where::tree::Tree::place).
    pub(crate) place: u64,
    /// The directory, and the hash of its handle.
    pub(crate) dir: u32,
    pub(crate) dir_hash: u64,
    /// Whether the output has the object at this name.
    pub(crate) is_reported: bool,
    /// Changes of it are not reported.
    pub(crate) silent: bool,
    /// A rename put it in doubt.
    pub(crate) renamed: bool,
    pub(crate) is_dir: bool,
    /// Whether the object left the name.
    pub(crate) left: Left,
    /// The image that was last seen to change it, which is held; and how certain that is.
    pub(crate) image: u32,
    pub(crate) attribution: Attribution,
    /// What the last looks showed, and how many of them agreed.
    seen: bool,
    looks: u8,
    /// Looks without a result.
    misses: u8,
    name_len: u8,
    key_len: u8,
    name: [u8; NAME_MAX],
    key: [u8; KEY_MAX],
}

impl Doubt {
    /// `None` if the name or the handle is longer than any that exists.
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
            is_reported: false,
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

/// What adding a doubt changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Swap {
    /// The image to release; 0 for none.
    pub(crate) release: u32,
    /// Whether there was room. If so, the caller must hold the image of the new doubt.
    pub(crate) is_kept: bool,
}

/// The names in doubt.
pub(crate) struct InDoubt {
    /// Names that were not added because there was no room.
    forgotten: u64,
    names: Vec<Doubt>,
    /// Whether any name may have [`Left::Surely`].
    left: bool,
    /// Chains by place, by object and by directory.
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

    /// Number of names that fsmon could not check because there was no room for them.
    pub(crate) fn forgotten(&self) -> u64 {
        self.forgotten
    }

    /// Records that a name in doubt is too long to be kept.
    #[cold]
    pub(crate) fn note_too_long(&mut self) {
        self.forgotten += 1;
    }

    /// Whether any name is in doubt.
    #[inline]
    pub(crate) fn any(&self) -> bool {
        !self.names.is_empty()
    }

    /// Whether there is plenty of room: enough for doubts that are rarely confirmed.
    pub(crate) fn has_much_room(&self) -> bool {
        self.names.len() < DOUBTS_MAX / 4 * 3
    }

    /// The same, for a doubt that is dropped and counted if there is not.
    pub(crate) fn has_much_room_or_forgets(&mut self) -> bool {
        let has_room = self.has_much_room();
        self.forgotten += u64::from(!has_room);
        has_room
    }

    /// Puts a name of an object in doubt.
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

    /// Records that the output has `object` at `place` now; 0: nothing.
    pub(crate) fn set_reported(&mut self, place: u64, object: u64) {
        for at in self.by_place.of(place) {
            let doubt = &mut self.names[at];
            if doubt.place == place {
                (doubt.is_reported, doubt.looks) = (object == doubt.object, 0);
                if doubt.is_reported {
                    doubt.left = Left::No;
                }
            }
        }
    }

    /// Records that the output no longer has `object` at `place`.
    pub(crate) fn set_reported_gone(&mut self, place: u64, object: u64) {
        if let Some(at) = self.find(place, object) {
            (self.names[at].is_reported, self.names[at].looks) = (false, 0);
        }
    }

    /// Whether the output has `object` at `place`, if that name is in doubt.
    pub(crate) fn reported(&self, place: u64, object: u64) -> Option<bool> {
        self.find(place, object).map(|at| self.names[at].is_reported)
    }

    /// An object in doubt that the output has at `place`.
    pub(crate) fn reported_there(&self, place: u64) -> Option<&Doubt> {
        let mut there = self.by_place.of(place).map(|at| &self.names[at]);
        there.find(|doubt| doubt.is_reported && doubt.place == place)
    }

    /// The name to which the output has renamed an object.
    pub(crate) fn renamed_to(&self, object: u64) -> Option<&Doubt> {
        self.of(object).find(|doubt| doubt.is_reported && doubt.renamed)
    }

    /// All names of an object that are in doubt.
    pub(crate) fn of(&self, object: u64) -> impl Iterator<Item = &Doubt> {
        let all = self.by_object.of(object).map(|at| &self.names[at]);
        all.filter(move |doubt| doubt.object == object)
    }

    /// Removes the images of an object's doubts: several processes renamed it, so fsmon does not know which one
    /// made a change that no event reports. `release` gets each image that was held.
    pub(crate) fn disown(&mut self, object: u64, mut release: impl FnMut(u32)) {
        for at in self.by_object.of(object) {
            let doubt = &mut self.names[at];
            if doubt.object == object && doubt.left == Left::No {
                release(std::mem::take(&mut doubt.image));
            }
        }
    }

    /// The name at an index; `None` beyond the last.
    pub(crate) fn get(&self, at: usize) -> Option<&Doubt> {
        self.names.get(at)
    }

    /// Records what a look showed. Returns whether enough looks have agreed.
    pub(crate) fn note_look(&mut self, at: usize, is_there: bool) -> bool {
        let doubt = &mut self.names[at];
        doubt.looks = if doubt.seen == is_there { doubt.looks.saturating_add(1) } else { 1 };
        doubt.seen = is_there;
        doubt.looks >= DOUBT_LOOKS
    }

    /// Records a look without a result. Returns whether the doubt should be given up.
    pub(crate) fn note_miss(&mut self, at: usize) -> bool {
        let doubt = &mut self.names[at];
        doubt.misses = doubt.misses.saturating_add(1);
        doubt.misses >= DOUBT_MISSES
    }

    /// A file, by the hash of its handle, that the output has in directory `dir`.
    pub(crate) fn file_in(&self, dir: u32, hash: u64) -> Option<&Doubt> {
        let mut all = self.by_dir.of(dir.into()).map(|at| &self.names[at]);
        let is_in = |doubt: &Doubt| (doubt.dir, doubt.dir_hash) == (dir, hash);
        all.find(|doubt| doubt.is_reported && !doubt.is_dir && is_in(doubt))
    }

    /// Records that the kernel reported the object as renamed away from `place`.
    pub(crate) fn set_left(&mut self, place: u64, object: u64, left: Left) {
        if let Some(at) = self.find(place, object) {
            self.names[at].left = left;
            self.left |= left == Left::Surely;
        }
    }

    /// Whether it did.
    pub(crate) fn left(&self, place: u64, object: u64) -> Left {
        self.find(place, object).map_or(Left::No, |at| self.names[at].left)
    }

    /// Whether any name may have [`Left::Surely`].
    #[inline]
    pub(crate) fn any_left(&self) -> bool {
        self.left
    }

    /// Records that the output agrees for all of those.
    pub(crate) fn no_more_left(&mut self) {
        self.left = false;
    }

    /// The index of the name of `object` at `place`.
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

    /// The index of a name at `place`.
    pub(crate) fn at(&self, place: u64) -> Option<usize> {
        self.by_place.of(place).find(|&at| self.names[at].place == place)
    }

    /// Removes a name; the last one moves to its index. Returns the image that it held.
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
    fn each_name_has_one_doubt_and_lines_change_what_was_reported() {
        let mut doubts = InDoubt::new();
        assert_eq!(
            doubts.put(Doubt { image: 3, ..doubt(5, A) }),
            Swap { release: 0, is_kept: true }
        );
        assert_eq!(
            doubts.put(Doubt { image: 4, is_reported: true, ..doubt(5, A) }),
            Swap { release: 3, is_kept: true }
        );
        assert!(!doubts.note_look(0, false) && !doubts.note_look(0, true));
        assert!(doubts.note_look(0, true));
        doubts.set_reported(B, 5);
        assert!(doubts.get(0).is_some_and(|doubt| doubt.is_reported));
        doubts.set_reported(A, 6);
        assert!(doubts.get(0).is_some_and(|doubt| !doubt.is_reported && doubt.name() == b"name"));
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

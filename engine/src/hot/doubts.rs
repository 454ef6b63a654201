//! Names of which the queue may not tell the truth.
//!
//! The kernel merges an event into an identical one that waits in the queue (seen on 6.18;
//! `fanotify_merge()` in fs/notify/fanotify/fanotify.c). Of `a` to `b`, `b` to `a`, `a` to `b`
//! two are left; of a hard link made, removed and made again one event that says CREATE and
//! DELETE; and the DELETE of a file that was renamed away and back comes with its CREATE, before
//! the renames. All these befall one object twice between two looks at an empty queue: then each
//! of its names is held against the filesystem when nothing is left to read.

use super::chains::Chains;
use crate::sys::handle::KEY_MAX;
use fsmon_format::record::{Attribution, NAME_MAX};

/// Names remembered; fsmon cannot check more, and counts those ([`Doubts::forgotten`]).
const COUNT: usize = 1 << 13;
/// Sets of objects, each of a cache line; the neighbour of a full set takes what does not fit. While few objects
/// come, fsmon uses so few sets that they stay in a near cache.
const SETS: usize = 1 << 16;
const SETS_LEAST: usize = 1 << 5;
const WAYS: usize = 8;
/// Objects behind which the kernel merges nothing any more: it compares a new event with the newest 128 in one of 128
/// buckets (`FANOTIFY_MAX_MERGE_EVENTS` and `FANOTIFY_HTABLE_BITS` in fs/notify/fanotify), and the object says which bucket.
/// Events of 16,384 objects fill these if they are even, and they are far from twice as uneven. Many events of few
/// objects leave the other buckets empty.
pub(super) const MERGE_REACH: usize = 1 << 15;
/// An object is remembered for that many generations, its own included, however long the queue stays full.
const GENERATIONS: u64 = 3;
/// Objects of one generation: the older ones that are remembered are a reach at least.
const GENERATION: usize = MERGE_REACH / (GENERATIONS as usize - 1);

// So few are in use that a set and its neighbour are never both full, whatever the handles are.
const _: () = assert!(GENERATION * GENERATIONS as usize <= SETS);

/// Looks that must agree, whatever they show: a change is on disk an instant before its event is
/// queued.
const LOOKS: u8 = 2;
/// Looks in vain after which a name is given up.
const MISSES: u8 = 100;

/// What befell an object before, since the queue was empty.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Before {
    Nothing,
    Renamed,
    /// Its DELETE was merged into an event of that place, by hash.
    Deleted(u64),
}

/// Of an object's entry in the table the lower bits say when something befell it: the round, and
/// whether it was deleted. A round ends when the queue is empty, or with a generation.
const ROUND: u64 = (1 << 15) - 1;
const DELETED: u64 = 1 << 15;
const WHEN: u64 = ROUND | DELETED;

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

/// Objects that something befell, and names in doubt.
pub(crate) struct Doubts {
    /// By some of the upper bits of the hash; those, and when. Eight bytes each: each rename asks.
    objects: Vec<[u64; WAYS]>,
    /// Where those were deleted that were.
    places: Vec<[u64; WAYS]>,
    /// The sets that are used now, less one; and what befell objects in this round.
    mask: usize,
    came: usize,
    round: u64,
    /// Rounds since the queue was empty, this one included; at most [`GENERATIONS`].
    rounds: u64,
    /// Objects of this generation.
    young: usize,
    /// Whether any object is in the neighbour of its set.
    any_spilt: bool,
    /// Objects and names that there was no room for.
    forgotten: u64,
    names: Vec<Doubt>,
    /// Any of them may have surely left.
    left: bool,
    /// What to look for them by.
    by_place: Chains,
    by_object: Chains,
    by_dir: Chains,
}

impl Doubts {
    pub(crate) fn new() -> Self {
        Doubts {
            objects: vec![[0; WAYS]; SETS],
            places: vec![[0; WAYS]; SETS],
            mask: SETS_LEAST - 1,
            came: 0,
            round: 1,
            rounds: 1,
            young: 0,
            any_spilt: false,
            forgotten: 0,
            names: Vec::with_capacity(COUNT),
            left: false,
            by_place: Chains::new(COUNT),
            by_object: Chains::new(COUNT),
            by_dir: Chains::new(COUNT),
        }
    }

    /// An object is renamed; what befell it before.
    pub(crate) fn renamed(&mut self, object: u64) -> Before {
        self.note(object, 0)
    }

    /// A DELETE of it came merged with something else, at that place.
    pub(crate) fn deleted(&mut self, object: u64, place: u64) -> Before {
        let before = self.note(object, DELETED);
        if let Some((set, way)) = self.entry(object) {
            self.places[set][way] = place;
        }
        before
    }

    /// Whether the object's last event said that it was deleted at that place.
    pub(crate) fn was_deleted(&self, object: u64, place: u64) -> bool {
        self.before(object) == Before::Deleted(place)
    }

    /// Whether the object was renamed since the queue was empty.
    pub(crate) fn is_renamed(&self, object: u64) -> bool {
        self.before(object) == Before::Renamed
    }

    /// The set of an object: of bits that its entry keeps.
    fn set(&self, object: u64) -> usize {
        (object >> 32) as usize & self.mask
    }

    fn entry(&self, object: u64) -> Option<(usize, usize)> {
        let home = self.set(object);
        let is_it = |known: &u64| (known ^ object) & !WHEN == 0 && self.is_live(*known);
        let find = |set: usize| Some((set, self.objects[set].iter().position(is_it)?));
        find(home).or_else(|| if self.any_spilt { find(neighbour(home)) } else { None })
    }

    /// Whether an entry is of a round that is remembered.
    fn is_live(&self, known: u64) -> bool {
        let round = known & ROUND;
        round == self.round || round != 0 && (self.round + ROUND - round) % ROUND < self.rounds
    }

    fn before(&self, object: u64) -> Before {
        self.before_at(self.entry(object))
    }

    fn before_at(&self, entry: Option<(usize, usize)>) -> Before {
        match entry {
            None => Before::Nothing,
            Some((set, way)) if self.objects[set][way] & DELETED == 0 => Before::Renamed,
            Some((set, way)) => Before::Deleted(self.places[set][way]),
        }
    }

    fn note(&mut self, object: u64, what: u64) -> Before {
        self.came += 1;
        if self.came > self.capacity() && self.mask + 1 < SETS {
            self.grow();
        }
        let entry = self.entry(object);
        let before = self.before_at(entry);
        let is_of_round = |(set, way): (usize, usize)| self.objects[set][way] & ROUND == self.round;
        if !entry.is_some_and(is_of_round) {
            self.note_young();
        }
        let (set, way) = entry.unwrap_or_else(|| self.room(object));
        self.objects[set][way] = object & !WHEN | what | self.round;
        before
    }

    /// An object that is new in this generation.
    fn note_young(&mut self) {
        self.young += 1;
        if self.young > GENERATION {
            self.begin_round();
            self.rounds = (self.rounds + 1).min(GENERATIONS);
        }
    }

    /// What the sets that are used now are meant for: few sets are full then.
    fn capacity(&self) -> usize {
        (self.mask + 1) * WAYS / 4
    }

    /// Where an object can be put; in place of another only where there is no room at all.
    fn room(&mut self, object: u64) -> (usize, usize) {
        loop {
            match self.free(object) {
                Some(room) => return room,
                None if self.mask + 1 < SETS => self.grow(),
                None => break,
            }
        }
        self.forgotten += 1;
        (self.set(object), object as usize % WAYS)
    }

    /// The place of one of a round that is over, if there is any.
    fn free(&mut self, object: u64) -> Option<(usize, usize)> {
        let home = self.set(object);
        for set in [home, neighbour(home)] {
            if let Some(way) = self.objects[set].iter().position(|known| !self.is_live(*known)) {
                self.any_spilt |= set != home;
                return Some((set, way));
            }
        }
        None
    }

    /// Uses more sets: what is of this round goes where it is looked for from now on.
    #[cold]
    fn grow(&mut self) {
        let old = self.mask;
        self.mask = old * 2 + 1;
        for (from, way) in (0..=old).flat_map(|set| (0..WAYS).map(move |way| (set, way))) {
            let (known, place) = (self.objects[from][way], self.places[from][way]);
            if self.is_live(known) && self.set(known) != from {
                self.objects[from][way] = 0;
                // There is: its own place, or one in twice as many sets.
                let Some((set, free)) = self.free(known) else { continue };
                (self.objects[set][free], self.places[set][free]) = (known, place);
            }
        }
    }

    /// The queue was seen empty: what comes now is not merged with what was there before.
    #[inline]
    pub(crate) fn settle(&mut self) {
        self.begin_round();
        (self.rounds, self.any_spilt) = (1, false);
        // As much is expected to come as came.
        while self.came <= self.capacity() / 2 && self.mask + 1 > SETS_LEAST {
            self.mask /= 2;
        }
        self.came = 0;
    }

    fn begin_round(&mut self) {
        // Never 0: that is a free entry. What is of a round with the same number is doubted for nothing.
        self.round = self.round % ROUND + 1;
        self.young = 0;
    }

    /// Objects and names that fsmon could not check, as there was no room for them.
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
        self.names.len() < COUNT / 4 * 3
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
        let is_kept = self.names.len() < COUNT;
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

    /// One of them; `None` beyond the last.
    pub(crate) fn get(&self, at: usize) -> Option<&Doubt> {
        self.names.get(at)
    }

    /// Notes what a look showed. Whether that was seen often enough to be true.
    pub(crate) fn note_look(&mut self, at: usize, is_there: bool) -> bool {
        let doubt = &mut self.names[at];
        doubt.looks = if doubt.seen == is_there { doubt.looks.saturating_add(1) } else { 1 };
        doubt.seen = is_there;
        doubt.looks >= LOOKS
    }

    /// A look showed nothing. Whether there were so many that none will.
    pub(crate) fn note_miss(&mut self, at: usize) -> bool {
        let doubt = &mut self.names[at];
        doubt.misses = doubt.misses.saturating_add(1);
        doubt.misses >= MISSES
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

/// The set that takes what does not fit into one.
fn neighbour(set: usize) -> usize {
    set ^ 1
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
    fn what_befalls_an_object_twice_is_seen_until_the_queue_was_empty() {
        let mut doubts = Doubts::new();
        let [five, six] = [5 << 40, 6 << 40];
        assert_eq!(doubts.renamed(five), Before::Nothing);
        assert_eq!((doubts.renamed(five), doubts.renamed(six)), (Before::Renamed, Before::Nothing));
        doubts.settle();
        assert_eq!(doubts.deleted(five, 77), Before::Nothing);
        assert_eq!(
            (doubts.renamed(five), doubts.renamed(five)),
            (Before::Deleted(77), Before::Renamed)
        );
    }

    #[test]
    fn as_many_as_there_is_room_for_are_remembered_until_the_queue_was_empty() {
        let mut doubts = Doubts::new();
        let object = |number: u64| number.wrapping_mul(0x9e37_79b9_7f4a_7c15);
        for count in [10, 100, 1000, 2000, 4000, 10, 10, 4000] {
            for number in 0..count {
                assert_eq!(doubts.deleted(object(number), number), Before::Nothing);
            }
            assert!((0..count).all(|number| doubts.was_deleted(object(number), number)));
            doubts.settle();
            assert!((0..count).all(|number| !doubts.was_deleted(object(number), number)));
        }
        assert_eq!(doubts.forgotten(), 0);
    }

    /// However many follow, the kernel merges nothing into what came before them.
    #[test]
    fn an_object_is_remembered_for_as_long_as_the_kernel_merges() {
        let mut doubts = Doubts::new();
        let object = |number: usize| (number as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        for number in 0..10 * MERGE_REACH {
            assert_eq!(doubts.renamed(object(number)), Before::Nothing);
            if number % 1000 == 0 {
                let least = number.saturating_sub(MERGE_REACH);
                assert!(doubts.is_renamed(object(least)) && doubts.is_renamed(object(number)));
            }
        }
        assert!(!doubts.is_renamed(object(0)));
        let last = 10 * MERGE_REACH - 1;
        for _ in 0..10 * MERGE_REACH {
            assert_eq!(doubts.renamed(object(last)), Before::Renamed);
        }
        assert!(doubts.is_renamed(object(last - MERGE_REACH)), "one object alone counts once");
        assert_eq!(doubts.forgotten(), 0);
    }

    #[test]
    fn what_there_is_no_room_for_is_counted() {
        let mut doubts = Doubts::new();
        // All in one set, and its neighbour.
        let same = |number: u64| number << 56 | 1 << 20;
        for number in 0..2 * WAYS as u64 {
            assert_eq!(doubts.renamed(same(number)), Before::Nothing);
        }
        assert!((0..2 * WAYS as u64).all(|number| doubts.is_renamed(same(number))));
        assert_eq!(doubts.forgotten(), 0);
        doubts.renamed(same(99));
        assert_eq!(doubts.forgotten(), 1);
        doubts.settle();
        doubts.renamed(same(100));
        assert_eq!(doubts.forgotten(), 1);
    }

    #[test]
    fn each_name_has_one_doubt_and_lines_change_what_was_told() {
        let mut doubts = Doubts::new();
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
        let mut doubts = Doubts::new();
        for object in 0..COUNT as u64 {
            assert_eq!(doubts.put(doubt(object, A + object)), Swap { release: 0, is_kept: true });
        }
        assert_eq!(doubts.forgotten(), 0);
        assert_eq!(doubts.put(doubt(COUNT as u64, A)), Swap { release: 0, is_kept: false });
        assert!(!doubts.has_much_room_or_forgets());
        assert_eq!(doubts.forgotten(), 2);
        assert!(Doubt::new((1, 1), &[0; 300], (1, 1), b"a").is_none());
    }
}

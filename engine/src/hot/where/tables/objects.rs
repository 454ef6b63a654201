//! Objects that were renamed or removed since the queue was empty.
//!
//! The kernel merges an event into an identical one that waits in the queue. So if an object comes up a second
//! time, an event of it may be missing: its names are put in doubt (`in_doubt.rs`).
//!
//! It resembles a [`SetCache`] but is not one: no entry is overwritten while there is room. A full set spills into
//! its neighbour, the number of sets in use follows the number of objects, and a new round empties all entries at
//! once.
//!
//! [`SetCache`]: crate::hot::containers::ways::SetCache

use crate::limits::tables::{
    OBJECT_GENERATION, OBJECT_GENERATIONS, OBJECT_SETS, OBJECT_SETS_LEAST, OBJECT_WAYS,
};
use crate::num::low_bits;

/// The previous event of an object, since the queue was empty.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Before {
    Nothing,
    Renamed,
    /// Its DELETE was merged into an event of the entry at this place.
    Deleted(u64),
}

/// The lower bits of an object's entry say when its event was (the round), and whether it was a removal. A round
/// ends when the queue is empty, or with a generation.
const ROUND: u64 = (1 << 15) - 1;
const DELETED: u64 = 1 << 15;
const WHEN: u64 = ROUND | DELETED;
/// Stands for several images; no image has this number.
const SEVERAL: u64 = u64::MAX;

// Rounds that are remembered at the same time differ in these bits.
const _: () = assert!((OBJECT_GENERATIONS as u64) < ROUND);

/// The objects.
pub(crate) struct Objects {
    /// Some of the upper bits of the hash, and the round. Eight bytes each, as each rename looks one up.
    objects: Vec<[u64; OBJECT_WAYS]>,
    /// For a deleted object the place; for a renamed one the image that renamed it, or [`SEVERAL`].
    more: Vec<[u64; OBJECT_WAYS]>,
    /// The number of sets in use, less 1; and the events in this round.
    mask: usize,
    came: usize,
    round: u64,
    /// Rounds since the queue was empty, this one included; at most [`OBJECT_GENERATIONS`].
    rounds: u64,
    /// Objects of this generation.
    young: usize,
    /// Objects that were not added because there was no room.
    forgotten: u64,
}

impl Objects {
    pub(crate) fn new() -> Self {
        Objects {
            objects: vec![[0; OBJECT_WAYS]; OBJECT_SETS],
            more: vec![[0; OBJECT_WAYS]; OBJECT_SETS],
            mask: OBJECT_SETS_LEAST - 1,
            came: 0,
            round: 1,
            rounds: 1,
            young: 0,
            forgotten: 0,
        }
    }

    /// Records that a process of `image` renamed an object. Returns the previous event.
    pub(crate) fn renamed(&mut self, object: u64, image: u32) -> Before {
        let ((set, way), before) = self.note(object, 0);
        let more = &mut self.more[set][way];
        let is_one =
            before == Before::Nothing || before == Before::Renamed && *more == u64::from(image);
        *more = if is_one { u64::from(image) } else { SEVERAL };
        before
    }

    /// Records that a DELETE of an object at `place` came merged with other types. Returns the previous event.
    pub(crate) fn deleted(&mut self, object: u64, place: u64) -> Before {
        let ((set, way), before) = self.note(object, DELETED);
        self.more[set][way] = place;
        before
    }

    /// Whether the object was renamed since the queue was empty, and only by processes of `image`. The kernel
    /// merges a rename only into one of the same process, so a missing one is of that image, too.
    pub(crate) fn is_renamed_by(&self, object: u64, image: u32) -> bool {
        let is_it = |(set, way): (usize, usize)| {
            self.objects[set][way] & DELETED == 0 && self.more[set][way] == u64::from(image)
        };
        image != 0 && self.entry(object).is_some_and(is_it)
    }

    /// Whether the last event of the object was its DELETE at `place`.
    pub(crate) fn was_deleted(&self, object: u64, place: u64) -> bool {
        self.before(object) == Before::Deleted(place)
    }

    /// Whether the object was renamed since the queue was empty.
    pub(crate) fn is_renamed(&self, object: u64) -> bool {
        self.before(object) == Before::Renamed
    }

    /// The set of an object, by bits that its entry keeps.
    fn set(&self, object: u64) -> usize {
        (object >> 32) as usize & self.mask
    }

    fn entry(&self, object: u64) -> Option<(usize, usize)> {
        self.look(object).ok()
    }

    /// The entry of an object, or else the entry where it can be put, if there is room.
    #[inline]
    fn look(&self, object: u64) -> Result<(usize, usize), Option<(usize, usize)>> {
        if self.rounds > 1 {
            return self.look_everywhere(object);
        }
        let home = self.set(object);
        let wanted = object & !WHEN | self.round;
        for set in [home, neighbour(home)] {
            for (way, known) in self.objects[set].iter().enumerate() {
                if (known ^ wanted) & !DELETED == 0 {
                    return Ok((set, way));
                }
                // Each object of this round was put into the first free entry.
                if known & ROUND != self.round {
                    return Err(Some((set, way)));
                }
            }
        }
        Err(None)
    }

    /// The same if objects of older generations are remembered: any entry may have become free.
    #[cold]
    fn look_everywhere(&self, object: u64) -> Result<(usize, usize), Option<(usize, usize)>> {
        let home = self.set(object);
        let sets = [home, neighbour(home)];
        let places =
            || sets.into_iter().flat_map(|set| (0..OBJECT_WAYS).map(move |way| (set, way)));
        let known = |(set, way): (usize, usize)| self.objects[set][way];
        let is_it =
            |&at: &(usize, usize)| (known(at) ^ object) & !WHEN == 0 && self.is_live(known(at));
        places().find(is_it).ok_or_else(|| places().find(|&at| !self.is_live(known(at))))
    }

    /// Whether an entry is of a remembered round.
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
            Some((set, way)) => Before::Deleted(self.more[set][way]),
        }
    }

    fn note(&mut self, object: u64, what: u64) -> ((usize, usize), Before) {
        self.came += 1;
        if self.came > self.capacity() && self.mask + 1 < OBJECT_SETS {
            self.grow();
        }
        let found = self.look(object);
        let before = self.before_at(found.ok());
        let is_of_round = |(set, way): (usize, usize)| self.objects[set][way] & ROUND == self.round;
        if !found.is_ok_and(is_of_round) {
            self.note_young();
        }
        let (set, way) = match found {
            Ok(at) | Err(Some(at)) => at,
            Err(None) => self.room(object),
        };
        self.objects[set][way] = object & !WHEN | what | self.round;
        ((set, way), before)
    }

    /// Counts an object that is new in this generation.
    fn note_young(&mut self) {
        self.young += 1;
        if self.young > OBJECT_GENERATION {
            self.begin_round();
            self.rounds = (self.rounds + 1).min(OBJECT_GENERATIONS as u64);
        }
    }

    /// How many objects the sets in use are meant for: few sets are full at that number.
    fn capacity(&self) -> usize {
        (self.mask + 1) * OBJECT_WAYS / 4
    }

    /// An entry for an object whose sets are full. It replaces another only if there is no room at all.
    #[cold]
    fn room(&mut self, object: u64) -> (usize, usize) {
        while self.mask + 1 < OBJECT_SETS {
            self.grow();
            if let Err(Some(room)) = self.look(object) {
                return room;
            }
        }
        self.forgotten += 1;
        (self.set(object), low_bits(object) % OBJECT_WAYS)
    }

    /// Uses more sets, and moves the entries to their new sets.
    #[cold]
    fn grow(&mut self) {
        let old = self.mask;
        self.mask = old * 2 + 1;
        // Two neighbours at once: what spilled out of a full set goes back there first.
        for pair in (0..=old).step_by(2) {
            let known = [pair, pair + 1].map(|set| std::mem::take(&mut self.objects[set]));
            let more = [self.more[pair], self.more[pair + 1]];
            for (&known, &more) in known.as_flattened().iter().zip(more.as_flattened()) {
                if known != 0
                    && self.is_live(known)
                    // There is room: its own entry, or one in twice as many sets.
                    && let Err(Some((set, free))) = self.look(known)
                {
                    (self.objects[set][free], self.more[set][free]) = (known, more);
                }
            }
        }
    }

    /// The queue was seen empty: later events are not merged with earlier ones.
    #[inline]
    pub(crate) fn on_queue_empty(&mut self) {
        self.begin_round();
        self.rounds = 1;
        // The next round is expected to have as many objects.
        while self.came <= self.capacity() / 2 && self.mask + 1 > OBJECT_SETS_LEAST {
            self.mask /= 2;
        }
        self.came = 0;
    }

    fn begin_round(&mut self) {
        // Never 0, which is a free entry. An old entry with the same number only causes a needless doubt.
        self.round = self.round % ROUND + 1;
        self.young = 0;
    }

    /// Objects that there was no room for: fsmon does not notice if one of their events was merged away.
    pub(crate) fn forgotten(&self) -> u64 {
        self.forgotten
    }
}

/// The set that takes what does not fit into `set`.
fn neighbour(set: usize) -> usize {
    set ^ 1
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::limits::tables::MERGE_REACH;

    #[test]
    fn a_second_event_of_an_object_is_seen_until_the_queue_was_empty() {
        let mut objects = Objects::new();
        let [five, six] = [5 << 40, 6 << 40];
        assert_eq!(objects.renamed(five, 1), Before::Nothing);
        assert_eq!(
            (objects.renamed(five, 1), objects.renamed(six, 1)),
            (Before::Renamed, Before::Nothing)
        );
        objects.on_queue_empty();
        assert_eq!(objects.deleted(five, 77), Before::Nothing);
        assert_eq!(
            (objects.renamed(five, 1), objects.renamed(five, 1)),
            (Before::Deleted(77), Before::Renamed)
        );
    }

    #[test]
    fn as_many_as_there_is_room_for_are_remembered_until_the_queue_was_empty() {
        let mut objects = Objects::new();
        let object = |number: u64| number.wrapping_mul(0x9e37_79b9_7f4a_7c15);
        for count in [10, 100, 1000, 2000, 4000, 10, 10, 4000] {
            for number in 0..count {
                assert_eq!(objects.deleted(object(number), number), Before::Nothing);
            }
            assert!((0..count).all(|number| objects.was_deleted(object(number), number)));
            objects.on_queue_empty();
            assert!((0..count).all(|number| !objects.was_deleted(object(number), number)));
        }
        assert_eq!(objects.forgotten(), 0);
    }

    #[test]
    fn renames_of_one_process_differ_from_those_of_several() {
        let mut objects = Objects::new();
        let [five, six] = [5 << 40, 6 << 40];
        objects.renamed(five, 7);
        objects.renamed(five, 7);
        assert!(objects.is_renamed_by(five, 7) && !objects.is_renamed_by(five, 8));
        objects.renamed(five, 8);
        objects.renamed(five, 8);
        assert!(!objects.is_renamed_by(five, 7) && !objects.is_renamed_by(five, 8));
        objects.deleted(six, 7);
        assert!(!objects.is_renamed_by(six, 7) && !objects.is_renamed_by(6 << 41, 7));
        objects.on_queue_empty();
        objects.renamed(five, 0);
        assert!(!objects.is_renamed_by(five, 0), "no process is known");
    }

    #[test]
    fn what_is_in_the_neighbour_of_its_set_is_found_when_there_are_more_sets() {
        for home in [0, 1] {
            let mut objects = Objects::new();
            // Of nine of one set, eight go to another when there are twice as many.
            let object = |number: u64| number << 48 | (home | (number % 9).min(1) << 5) << 32;
            for number in 1..=9 {
                objects.renamed(object(number), 1);
            }
            for number in 10..100 {
                objects.renamed(number << 33 | 6 << 32, 1);
            }
            assert!(objects.mask + 1 > OBJECT_SETS_LEAST);
            assert!((1..=9).all(|number| objects.is_renamed(object(number))), "{home}");
        }
    }

    /// However many follow, the kernel merges nothing into what came before them.
    #[test]
    fn an_object_is_remembered_for_as_long_as_the_kernel_merges() {
        let mut objects = Objects::new();
        let object = |number: usize| (number as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        for number in 0..10 * MERGE_REACH {
            assert_eq!(objects.renamed(object(number), 1), Before::Nothing);
            if number % 1000 == 0 {
                let least = number.saturating_sub(MERGE_REACH);
                assert!(objects.is_renamed(object(least)) && objects.is_renamed(object(number)));
            }
        }
        assert!(!objects.is_renamed(object(0)));
        let last = 10 * MERGE_REACH - 1;
        for _ in 0..10 * MERGE_REACH {
            assert_eq!(objects.renamed(object(last), 1), Before::Renamed);
        }
        assert!(objects.is_renamed(object(last - MERGE_REACH)), "one object alone counts once");
        assert_eq!(objects.forgotten(), 0);
    }

    #[test]
    fn what_there_is_no_room_for_is_counted() {
        let mut objects = Objects::new();
        // All in one set, and its neighbour.
        let same = |number: u64| number << 56 | 1 << 20;
        for number in 0..2 * OBJECT_WAYS as u64 {
            assert_eq!(objects.renamed(same(number), 1), Before::Nothing);
        }
        assert!((0..2 * OBJECT_WAYS as u64).all(|number| objects.is_renamed(same(number))));
        assert_eq!(objects.forgotten(), 0);
        objects.renamed(same(99), 1);
        assert_eq!(objects.forgotten(), 1);
        objects.on_queue_empty();
        objects.renamed(same(100), 1);
        assert_eq!(objects.forgotten(), 1);
    }
}

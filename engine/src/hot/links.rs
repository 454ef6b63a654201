//! Which file has which name, as far as the queue told a short while ago.
//!
//! The kernel merges events that wait in the queue (see `doubts.rs`), so a hard link can come or go
//! unseen, and one event can say that a name was removed and made, and not in which order. What
//! was told of the name before shows it.

/// Names remembered, a power of two; each is forgotten for the next in its slot.
const COUNT: usize = 1 << 12;

/// By place (`Tree::place`).
pub(crate) struct Links {
    slots: Vec<Link>,
}

/// A place, and the hash of the file that is there; 0 for none.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
struct Link {
    place: u64,
    file: u64,
}

fn slot(place: u64) -> usize {
    place as usize % COUNT
}

impl Links {
    pub(crate) fn new() -> Self {
        Links { slots: vec![Link::default(); COUNT] }
    }

    /// A file is at that place from now on; 0: none is.
    #[inline]
    pub(crate) fn put(&mut self, place: u64, file: u64) {
        self.slots[slot(place)] = Link { place, file };
    }

    /// It is no longer known what is there.
    pub(crate) fn forget(&mut self, place: u64) {
        if self.slots[slot(place)].place == place {
            self.slots[slot(place)] = Link::default();
        }
    }

    /// Nothing is known any more.
    pub(crate) fn clear(&mut self) {
        self.slots.fill(Link::default());
    }

    /// The file that is known to be there; `Some(0)` where it is known that none is.
    #[inline]
    pub(crate) fn at(&self, place: u64) -> Option<u64> {
        let known = self.slots[slot(place)];
        (known.place == place).then_some(known.file)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_told_of_a_place_last() {
        let mut links = Links::new();
        links.put(70, 5);
        links.put(71, 5);
        links.put(70, 0);
        assert_eq!((links.at(70), links.at(71), links.at(72)), (Some(0), Some(5), None));
        links.forget(70 + COUNT as u64);
        assert_eq!(links.at(70), Some(0));
        links.forget(70);
        assert_eq!(links.at(70), None);
        links.put(71 + COUNT as u64, 6);
        assert_eq!(links.at(71), None, "forgotten for the next");
        links.clear();
        assert_eq!(links.at(71 + COUNT as u64), None);
    }
}

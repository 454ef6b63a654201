//! Directories that a walk met a moment ago.
//!
//! A directory that comes in is read when its event comes up, and shows what is in it by then: what moved in it
//! in between is met where it went later. Until the queue was empty, a path through a directory that was met
//! may be that of a moment later, and a line that has one says so.

/// Directories at one time; where there are more, all paths are unsure.
const COUNT: usize = 1 << 12;

/// Those directories; the tree has a mark at each ([`Tree::set_met`]).
///
/// [`Tree::set_met`]: super::tree::Tree::set_met
pub(crate) struct Unsure {
    dirs: Vec<u32>,
    is_full: bool,
    /// When the last one was met.
    met_ns: u64,
}

impl Unsure {
    pub(crate) fn new() -> Self {
        Unsure { dirs: Vec::with_capacity(COUNT), is_full: false, met_ns: 0 }
    }

    /// Whether there is any.
    #[inline]
    pub(crate) fn any(&self) -> bool {
        !self.dirs.is_empty()
    }

    /// Whether there are more than are known.
    pub(crate) fn is_full(&self) -> bool {
        self.is_full
    }

    /// A directory was met at that time. Whether there was room for it: it is to have a mark then.
    pub(crate) fn put(&mut self, dir: u32, now_ns: u64) -> bool {
        self.met_ns = now_ns;
        let has_room = self.dirs.len() < COUNT;
        match has_room {
            true => self.dirs.push(dir),
            false => self.is_full = true,
        }
        has_room
    }

    /// The queue was seen empty then: all that had happened before was told. The directories that were met
    /// until now: they are forgotten.
    #[inline]
    pub(crate) fn settle(&mut self, empty_ns: u64) -> Option<impl Iterator<Item = u32>> {
        if !self.any() || empty_ns <= self.met_ns {
            return None;
        }
        self.is_full = false;
        Some(self.dirs.drain(..))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn until_the_queue_was_empty_after_the_last_was_met() {
        let mut unsure = Unsure::new();
        assert!(unsure.put(5, 100) && unsure.put(6, 200));
        assert!(unsure.settle(150).is_none() && unsure.any());
        let settled: Vec<_> = unsure.settle(201).expect("empty after that").collect();
        assert_eq!((settled, unsure.any()), (vec![5, 6], false));
    }

    #[test]
    fn of_many_all() {
        let mut unsure = Unsure::new();
        assert!((0..COUNT as u32).all(|dir| unsure.put(dir, 1)) && !unsure.is_full());
        assert!(!unsure.put(9, 1) && unsure.is_full());
        assert_eq!(unsure.settle(2).map(Iterator::count), Some(COUNT));
        assert!(!unsure.is_full());
    }
}

//! Directories that came in a moment ago.
//!
//! Such a one is read when its event comes up, and shows what is in it by then: what moved in it
//! in between is met where it went later. Until the queue was empty a path through it may be that of
//! a moment later, and a line that has one says so.

use arrayvec::ArrayVec;

/// Directories at one time; where there are more, all paths are unsure.
const COUNT: usize = 16;

/// Those directories.
#[derive(Default)]
pub(crate) struct Unsure {
    dirs: ArrayVec<u32, COUNT>,
    is_full: bool,
    /// When the last one was read.
    read_ns: u64,
}

impl Unsure {
    /// Whether there is any.
    #[inline]
    pub(crate) fn any(&self) -> bool {
        !self.dirs.is_empty()
    }

    /// A directory came in, and was read until that time.
    pub(crate) fn put(&mut self, dir: u32, now_ns: u64) {
        self.is_full |= !self.dirs.contains(&dir) && self.dirs.try_push(dir).is_err();
        self.read_ns = now_ns;
    }

    /// What came in was read until that time.
    pub(crate) fn read(&mut self, now_ns: u64) {
        self.read_ns = now_ns;
    }

    /// Whether a path through that directory is unsure.
    pub(crate) fn has(&self, dir: u32) -> bool {
        self.is_full || self.dirs.contains(&dir)
    }

    /// The queue was seen empty then: all that had happened before was told.
    #[inline]
    pub(crate) fn settle(&mut self, empty_ns: u64) {
        if self.any() && empty_ns > self.read_ns {
            self.dirs.clear();
            self.is_full = false;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn until_the_queue_was_empty_after_the_last_was_read() {
        let mut unsure = Unsure::default();
        unsure.put(5, 100);
        unsure.put(6, 200);
        unsure.settle(150);
        assert!(unsure.has(5) && unsure.has(6) && !unsure.has(7));
        unsure.settle(201);
        assert!(!unsure.any() && !unsure.has(5));
    }

    #[test]
    fn of_many_all() {
        let mut unsure = Unsure::default();
        (1..=COUNT as u32 + 1).for_each(|dir| unsure.put(dir, 1));
        assert!(unsure.has(1000));
        unsure.settle(2);
        assert!(!unsure.has(1));
    }
}

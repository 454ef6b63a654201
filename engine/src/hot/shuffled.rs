//! Directories renamed to and fro between two looks at an empty queue.
//!
//! The kernel merges an event into an identical one that is still pending: of `a` to `b`, `b` to
//! `a`, `a` to `b` within one batch two are left (seen on 6.18), and the directory is not where the
//! queue says. So one that was renamed more than once is looked for when nothing is left to read.
//! The place it was last seen leaving is where the lost rename put it back.

use fsmon_format::record::NAME_MAX;

/// Directories remembered; beyond that the first to come is no longer looked for.
const COUNT: usize = 64;
/// Looks that must agree: a rename shows on disk an instant before its event is queued.
const LOOKS: u8 = 2;

/// A directory that was renamed.
#[derive(Clone, Copy)]
pub(crate) struct Moved {
    /// Its node, and the hash of its handle.
    pub(crate) id: u32,
    pub(crate) hash: u64,
    /// Who renamed it last; held while it is to be looked for.
    pub(crate) image: u32,
    /// The directory it was last seen leaving, with its hash, and the name it had there.
    pub(crate) dir: u32,
    pub(crate) dir_hash: u64,
    len: u8,
    name: [u8; NAME_MAX],
    again: bool,
    missed: u8,
}

impl Moved {
    /// The name it had.
    pub(crate) fn name(&self) -> &[u8] {
        &self.name[..usize::from(self.len)]
    }

    /// It is not where the tree has it. Whether that was seen often enough to be true.
    pub(crate) fn missed(&mut self) -> bool {
        self.missed += 1;
        self.missed >= LOOKS
    }
}

/// What is held of an image has to change.
pub(crate) struct Swap {
    pub(crate) hold: u32,
    pub(crate) release: u32,
}

/// The directories.
pub(crate) struct Shuffled {
    moved: Vec<Moved>,
}

impl Shuffled {
    pub(crate) fn new() -> Self {
        Shuffled { moved: Vec::with_capacity(COUNT) }
    }

    /// Whether there is nothing to look for.
    #[inline]
    pub(crate) fn is_empty(&self) -> bool {
        self.moved.is_empty()
    }

    /// Directory `id` with that hash left `name` in the directory `from` (node and hash) at the
    /// hands of `image`. Which images are to be held, and let go.
    pub(crate) fn note(
        &mut self,
        (id, hash): (u32, u64),
        (dir, dir_hash): (u32, u64),
        name: &[u8],
        image: u32,
    ) -> Swap {
        let mut swap = Swap { hold: 0, release: 0 };
        let Ok(len) = u8::try_from(name.len()) else { return swap };
        let mut new = Moved {
            id,
            hash,
            image,
            dir,
            dir_hash,
            len,
            name: [0; NAME_MAX],
            again: false,
            missed: 0,
        };
        new.name[..name.len()].copy_from_slice(name);
        if let Some(known) = self.moved.iter_mut().find(|known| known.hash == hash) {
            swap = Swap { hold: image, release: if known.again { known.image } else { 0 } };
            *known = Moved { again: true, ..new };
        } else if self.moved.len() < COUNT {
            self.moved.push(new);
        }
        swap
    }

    /// Forgets those that were renamed once only: nothing can have been merged into that.
    pub(crate) fn keep_repeated(&mut self) {
        self.moved.retain(|moved| moved.again);
    }

    /// One to look for; `None` beyond the last.
    pub(crate) fn get(&self, at: usize) -> Option<Moved> {
        self.moved.get(at).copied()
    }

    /// Changes what is known of one.
    pub(crate) fn set(&mut self, at: usize, moved: Moved) {
        self.moved[at] = moved;
    }

    /// Done with one; the last takes its place.
    pub(crate) fn remove(&mut self, at: usize) {
        self.moved.swap_remove(at);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_was_renamed_again_is_looked_for() {
        let mut shuffled = Shuffled::new();
        shuffled.note((1, 10), (9, 90), b"a", 5);
        let swap = shuffled.note((2, 20), (9, 90), b"x", 6);
        assert_eq!((swap.hold, swap.release), (0, 0));
        let swap = shuffled.note((1, 10), (9, 90), b"b", 7);
        assert_eq!((swap.hold, swap.release), (7, 0));
        let swap = shuffled.note((1, 10), (9, 90), b"c", 8);
        assert_eq!((swap.hold, swap.release), (8, 7));
        shuffled.keep_repeated();
        let mut moved = shuffled.get(0).expect("the first");
        assert_eq!((moved.id, moved.name(), shuffled.get(1).is_none()), (1, &b"c"[..], true));
        assert!(!moved.missed() && moved.missed());
        shuffled.remove(0);
        assert!(shuffled.is_empty());
    }
}

//! The two halves of an exchange of names.
//!
//! RENAME_EXCHANGE queues two events: `a` to `b`, then `b` to `a` of another object
//! (`vfs_rename()` in fs/namei.c). Taken for two renames, the first would replace what the second
//! moves. So the last renames are remembered: one that mirrors an earlier one of its process, of
//! another object, is its second half, unless something else befell one of the names meanwhile.

/// Renames remembered, and events between the halves: others can come between, a few for each
/// processor.
const COUNT: usize = 4;
const REACH: u64 = 64;

/// A place: its directory, and the hash of directory and name.
pub(crate) type Spot = (u32, u64);

/// A rename.
#[derive(Clone, Copy, Default)]
pub(crate) struct Half {
    pub(crate) pid: u32,
    pub(crate) old: Spot,
    pub(crate) new: Spot,
    /// The hash of its object; 0: it is of no use any more.
    pub(crate) object: u64,
    /// The event's number in the queue.
    pub(crate) index: u64,
}

/// The last renames.
#[derive(Default)]
pub(crate) struct Exchange {
    halves: [Half; COUNT],
    next: usize,
}

impl Exchange {
    /// Whether an entry of that directory can be one of those renamed.
    #[inline]
    pub(crate) fn concerns(&self, dir: u32, index: u64) -> bool {
        self.halves.iter().any(|half| {
            (half.old.0 == dir || half.new.0 == dir)
                && index.wrapping_sub(half.index) <= REACH
                && half.object != 0
        })
    }

    /// Something else befell an entry.
    pub(crate) fn touch(&mut self, spot: Spot) {
        for half in self.halves.iter_mut().filter(|half| half.old == spot || half.new == spot) {
            half.object = 0;
        }
    }

    /// A rename came up; whether it is the second half of an exchange.
    pub(crate) fn second(&mut self, this: Half) -> bool {
        let first = self.halves.iter_mut().find(|first| {
            first.pid == this.pid
                && (first.old, first.new) == (this.new, this.old)
                && first.object != 0
                && first.object != this.object
                && this.index.wrapping_sub(first.index) <= REACH
        });
        if let Some(first) = first {
            first.object = 0;
            return true;
        }
        self.touch(this.old);
        self.touch(this.new);
        self.halves[self.next] = this;
        self.next = (self.next + 1) % COUNT;
        false
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn half(pid: u32, old: u64, new: u64, object: u64) -> Half {
        Half { pid, old: (1, old), new: (2, new), object, index: 0 }
    }

    fn mirror(pid: u32, old: u64, new: u64, object: u64) -> Half {
        Half { pid, old: (2, old), new: (1, new), object, index: 9 }
    }

    #[test]
    fn the_mirror_of_another_object_is_the_second_half() {
        let mut exchange = Exchange::default();
        assert!(!exchange.second(half(1, 10, 20, 5)));
        assert!(exchange.concerns(2, 3) && !exchange.concerns(3, 3) && !exchange.concerns(2, 99));
        assert!(exchange.second(mirror(1, 20, 10, 6)));
        assert!(!exchange.second(mirror(1, 20, 10, 6)), "told once");
        exchange.second(half(1, 10, 20, 5));
        assert!(!exchange.second(mirror(1, 20, 10, 5)), "the same back again");
        exchange.second(half(1, 10, 20, 5));
        assert!(!exchange.second(Half { index: 99, ..mirror(1, 20, 10, 6) }), "too late");
    }

    #[test]
    fn what_comes_between_speaks_against_it() {
        let mut exchange = Exchange::default();
        exchange.second(half(1, 10, 20, 5));
        exchange.touch((1, 30));
        assert!(exchange.second(mirror(1, 20, 10, 6)));
        exchange.second(half(1, 10, 20, 5));
        exchange.touch((2, 20));
        assert!(!exchange.second(mirror(1, 20, 10, 6)));
    }
}

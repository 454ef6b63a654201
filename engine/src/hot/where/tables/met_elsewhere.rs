//! Directories that a walk met at another location than the tree has for them.
//!
//! If each directory has its own mark, a rename into a directory that has no mark yet gives an event with the old
//! location alone. The new parent was made before, so it is walked before that event comes up. What the walk met
//! there is kept here, and gives the new location.

use crate::hot::containers::last::LastN;
use crate::hot::r#where::tree::NAME_ROOM;
use crate::limits::tables::MET_ELSEWHERE_KEPT;
use fsmon_format::record::NAME_MAX;

#[derive(Clone, Copy)]
struct Arrival {
    /// The hash of the directory; 0 none.
    hash: u64,
    /// The parent, and the hash of the parent.
    dir: u32,
    dir_hash: u64,
    len: u8,
    name: [u8; NAME_MAX],
}

/// The table.
pub(crate) struct MetElsewhere {
    seen: LastN<Arrival>,
    /// Directories that were overwritten before their rename came up.
    forgotten: u64,
}

impl MetElsewhere {
    pub(crate) fn new() -> Self {
        MetElsewhere { seen: LastN::new(MET_ELSEWHERE_KEPT), forgotten: 0 }
    }

    /// Records that the directory `hash` was met as `name` in `dir`, whose own hash is `dir_hash`.
    pub(crate) fn put(&mut self, hash: u64, dir: u32, dir_hash: u64, name: &[u8]) {
        let Ok(len) = u8::try_from(name.len()) else {
            self.forgotten += 1;
            return;
        };
        let mut met = Arrival { hash, dir, dir_hash, len, name: [0; NAME_MAX] };
        met.name[..name.len()].copy_from_slice(name);
        let oldest = self.seen.push(met).map_or(0, |oldest| oldest.hash);
        self.forgotten += u64::from(oldest != 0 && !self.has(oldest));
    }

    /// Number of directories that were overwritten before their rename came up, or whose name is too long.
    pub(crate) fn forgotten(&self) -> u64 {
        self.forgotten
    }

    /// Whether the directory was met.
    pub(crate) fn has(&self, hash: u64) -> bool {
        hash != 0 && self.seen.iter().any(|seen| seen.hash == hash)
    }

    /// The queue was seen empty: everything that was met is reported.
    pub(crate) fn clear(&mut self) {
        self.seen.clear();
    }

    /// Where the directory was last met, and the hash of the parent; the entry is removed. The name is copied to
    /// `room`.
    pub(crate) fn take<'a>(
        &mut self,
        hash: u64,
        room: &'a mut [u8; NAME_ROOM],
    ) -> Option<(u32, u64, &'a [u8])> {
        let found = *self.seen.newest_first().find(|seen| hash != 0 && seen.hash == hash)?;
        for seen in self.seen.iter_mut().filter(|seen| seen.hash == hash) {
            seen.hash = 0;
        }
        let len = usize::from(found.len);
        room[..len].copy_from_slice(&found.name[..len]);
        Some((found.dir, found.dir_hash, &room[..len]))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_place_counts_and_is_returned_once() {
        let mut arrivals = MetElsewhere::new();
        arrivals.put(7, 3, 33, b"old");
        arrivals.put(8, 3, 33, b"other");
        arrivals.put(7, 4, 44, b"new");
        let mut room = [0; NAME_ROOM];
        assert_eq!(arrivals.take(7, &mut room), Some((4, 44, &b"new"[..])));
        assert_eq!((arrivals.take(7, &mut room), arrivals.has(7)), (None, false));
        assert_eq!(arrivals.take(8, &mut room), Some((3, 33, &b"other"[..])));
        arrivals.put(8, 3, 33, b"other");
        assert!(arrivals.has(8));
        arrivals.clear();
        assert!(!arrivals.has(8));
    }

    #[test]
    fn what_is_overwritten_before_it_is_taken_is_counted() {
        let mut arrivals = MetElsewhere::new();
        let mut room = [0; NAME_ROOM];
        (1..=MET_ELSEWHERE_KEPT as u64).for_each(|hash| arrivals.put(hash, 3, 33, b"name"));
        arrivals.take(1, &mut room).expect("met");
        arrivals.put(1000, 3, 33, b"name");
        assert_eq!(arrivals.forgotten(), 0);
        arrivals.put(1001, 3, 33, b"name");
        assert_eq!(arrivals.forgotten(), 1);
        arrivals.clear();
        (1..=MET_ELSEWHERE_KEPT as u64).for_each(|hash| arrivals.put(hash, 3, 33, b"name"));
        assert_eq!(arrivals.forgotten(), 1);
    }
}

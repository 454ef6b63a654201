//! Where objects were last seen by name.
//!
//! DELETE_SELF and MOVE_SELF of a file carry nothing but its handle, after the DELETE or RENAME
//! that carried its name (fs/namei.c: fsnotify runs before the inode is put). A file that was made
//! without a name (`O_TMPFILE`) and linked later is told under `#` and its inode's number for as long as
//! it is open. A small table, overwritten as it goes, ties both to a name.

use fsmon_format::record::NAME_MAX;

/// Objects remembered; a power of two.
const COUNT: usize = 1024;

#[derive(Clone, Copy)]
struct Seen {
    /// The directory's own hash: its node may be another's later.
    dir_hash: u64,
    dir: u32,
    len: u8,
    name: [u8; NAME_MAX],
}

/// The table.
pub(crate) struct Recent {
    /// Which object each entry is of; apart, as nearly all looks find that it is another.
    hashes: Vec<u64>,
    seen: Vec<Seen>,
}

impl Recent {
    pub(crate) fn new() -> Self {
        let none = Seen { dir_hash: 0, dir: 0, len: 0, name: [0; NAME_MAX] };
        Recent { hashes: vec![0; COUNT], seen: vec![none; COUNT] }
    }

    /// The object with that hash is, or was until now, `name` in the directory `dir`, whose own
    /// hash is `dir_hash`.
    pub(crate) fn put(&mut self, hash: u64, dir: u32, dir_hash: u64, name: &[u8]) {
        let Ok(len) = u8::try_from(name.len()) else { return };
        let at = slot(hash);
        self.hashes[at] = hash;
        let seen = &mut self.seen[at];
        (seen.dir, seen.dir_hash, seen.len) = (dir, dir_hash, len);
        seen.name[..name.len()].copy_from_slice(name);
    }

    /// Where it was: directory, the directory's hash, name; `None` where that was forgotten.
    pub(crate) fn get(&self, hash: u64) -> Option<(u32, u64, &[u8])> {
        let seen = &self.seen[slot(hash)];
        self.has(hash).then(|| (seen.dir, seen.dir_hash, &seen.name[..usize::from(seen.len)]))
    }

    /// Whether it is known where the object was.
    #[inline]
    pub(crate) fn has(&self, hash: u64) -> bool {
        self.hashes[slot(hash)] == hash && hash != 0
    }

    /// The object is gone.
    pub(crate) fn forget(&mut self, hash: u64) {
        if self.has(hash) {
            self.hashes[slot(hash)] = 0;
        }
    }
}

/// The lowest bit of a hash is 0 ([`super::tree::Tree::hash`]).
fn slot(hash: u64) -> usize {
    (hash >> 1) as usize % COUNT
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_place_is_known_until_forgotten() {
        let mut recent = Recent::new();
        recent.put(7, 3, 33, b"old");
        recent.put(7, 4, 44, b"new");
        assert_eq!(recent.get(7), Some((4, 44, &b"new"[..])));
        assert_eq!(recent.get(7 + 2 * COUNT as u64), None);
        recent.forget(7);
        assert_eq!(recent.get(7), None);
    }
}

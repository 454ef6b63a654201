//! Directories that are not watched, in which a watched file has another name (`--hard-links`): the consumer
//! is told their whole paths, under ids behind those of the tree. An id is the number of a place, and each directory has
//! one place: no `SetCache`, as there is nothing to choose what makes room.

use crate::hot::r#where::tree::Tree;
use crate::limits::OUTSIDE_MAX;

/// Which directory each id stands for, as the consumer has it.
pub(crate) struct Outside {
    told: [Told; OUTSIDE_MAX],
}

/// The hash of a directory's handle, and that of its path; 0 for none.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
struct Told {
    dir: u64,
    path: u64,
}

impl Outside {
    pub(crate) fn new() -> Self {
        Outside { told: [Told::default(); OUTSIDE_MAX] }
    }

    /// The id of a directory (the hash of its handle) with that path, and whether the consumer does not know
    /// it yet. Another directory, or path, may have had the id until now.
    pub(crate) fn id(&mut self, tree: &Tree, dir: u64, path: &[u8]) -> (u32, bool) {
        // The lowest bit of a hash is always 0.
        let at = (dir >> 1) as usize % OUTSIDE_MAX;
        let now = Told { dir, path: tree.text_hash(path) };
        let is_new = std::mem::replace(&mut self.told[at], now) != now;
        (tree.outside(at), is_new)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_new_is_told_once() {
        let tree = Tree::new(8, vec![1]);
        let mut outside = Outside::new();
        let (id, is_new) = outside.id(&tree, 10, b"/a");
        assert!(is_new && id > 8);
        assert_eq!(outside.id(&tree, 10, b"/a"), (id, false));
        assert_eq!(outside.id(&tree, 10, b"/b"), (id, true), "it was renamed");
        assert_ne!(outside.id(&tree, 12, b"/c").0, id);
        let again = 10 + 2 * OUTSIDE_MAX as u64;
        assert_eq!(outside.id(&tree, again, b"/b"), (id, true), "another directory");
    }
}

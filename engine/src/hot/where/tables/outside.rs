//! Directories that are not watched, in which a watched file has another name (`--hard-links`): the consumer gets
//! their whole paths, under ids after those of the tree. The id is the number of a slot, and each directory has one
//! slot. Not a `SetCache`, as each set has one entry.

use crate::hot::r#where::tree::Tree;
use crate::limits::OUTSIDE_MAX;

/// The directory that each id stands for at the consumer.
pub(crate) struct Outside {
    defined: [Defined; OUTSIDE_MAX],
}

/// Hashes of the handle and of the path of a directory; 0 for none.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
struct Defined {
    dir: u64,
    path: u64,
}

impl Outside {
    pub(crate) fn new() -> Self {
        Outside { defined: [Defined::default(); OUTSIDE_MAX] }
    }

    /// The id of a directory (by the hash of its handle) with that path, and whether it must be defined first.
    /// Until now the id may have been that of another directory or path.
    pub(crate) fn id(&mut self, tree: &Tree, dir: u64, path: &[u8]) -> (u32, bool) {
        // The lowest bit of a hash is always 0.
        let at = (dir >> 1) as usize % OUTSIDE_MAX;
        let now = Defined { dir, path: tree.text_hash(path) };
        let is_new = std::mem::replace(&mut self.defined[at], now) != now;
        (tree.outside(at), is_new)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_new_id_is_reported_as_new_once() {
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

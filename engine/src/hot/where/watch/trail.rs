//! The directories that a walk keeps open: some of those that lead to its current one. The next directory is opened
//! from the nearest open one, usually by a single name instead of its whole path.

use crate::hot::r#where::tree::Tree;
use crate::limits::walks::DIRS_OPEN_MAX;
use arrayvec::ArrayVec;

/// The open directories, the uppermost first. They stay open between the steps of a walk: in a tree of 60,000 levels each step
/// would begin with as many lookups of names.
pub(crate) struct Trail<F> {
    open: ArrayVec<Open<F>, DIRS_OPEN_MAX>,
}

struct Open<F> {
    id: u32,
    /// The hash of its handle: the id may stand for another directory in the next step.
    hash: u64,
    fd: F,
}

impl<F> Default for Trail<F> {
    fn default() -> Self {
        Trail { open: ArrayVec::new() }
    }
}

impl<F> Trail<F> {
    /// The nearest open directory that `id` is below. Closes those that do not lead there.
    pub(crate) fn nearest(&mut self, tree: &Tree, id: u32) -> Option<(u32, &F)> {
        let mut at = tree.node(id).parent;
        while at != 0 && !self.open.is_empty() {
            let hash = tree.node(at).hash();
            if let Some(index) =
                self.open.iter().rposition(|open| open.id == at && open.hash == hash)
            {
                self.open.truncate(index + 1);
                return self.open.last().map(|open| (open.id, &open.fd));
            }
            at = tree.node(at).parent;
        }
        self.open.clear();
        None
    }

    /// Keeps a directory open, below all others. If there are too many, every other one is closed: from any depth
    /// an open one is not far above.
    pub(crate) fn push(&mut self, tree: &Tree, id: u32, fd: F) {
        if self.open.is_full() {
            let mut keep = false;
            self.open.retain(|_| {
                keep = !keep;
                keep
            });
        }
        self.open.push(Open { id, hash: tree.node(id).hash(), fd });
    }

    /// The walk is over.
    pub(crate) fn clear(&mut self) {
        self.open.clear();
    }
}

//! The directories that a walk keeps open: some of those that lead to its current one. The next directory is opened
//! from the nearest open one, usually by a single name instead of its whole path.

use crate::hot::r#where::tree::Tree;
use crate::limits::walks::DIRS_OPEN_MAX;
use arrayvec::ArrayVec;

/// The open directories, the uppermost first.
pub(crate) struct Trail<F> {
    open: ArrayVec<(u32, F), DIRS_OPEN_MAX>,
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
            if let Some(index) = self.open.iter().rposition(|(open, _)| *open == at) {
                self.open.truncate(index + 1);
                return self.open.last().map(|(id, fd)| (*id, fd));
            }
            at = tree.node(at).parent;
        }
        self.open.clear();
        None
    }

    /// Keeps a directory open, below all others. If there are too many, every other one is closed: from any depth
    /// an open one is not far above.
    pub(crate) fn push(&mut self, id: u32, fd: F) {
        if self.open.is_full() {
            let mut keep = false;
            self.open.retain(|_| {
                keep = !keep;
                keep
            });
        }
        self.open.push((id, fd));
    }

    /// The walk is over.
    pub(crate) fn clear(&mut self) {
        self.open.clear();
    }
}

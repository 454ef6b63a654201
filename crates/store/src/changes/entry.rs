//! What becomes a line.

use super::lines::Change;
use super::thing::{Id, Side};

/// What a line is about.
#[derive(Clone, Copy)]
pub(super) struct Entry {
    pub(super) id: Id,
    pub(super) change: Change,
    pub(super) side: Side,
    pub(super) is_unsure: bool,
    pub(super) is_temporary: bool,
}

impl Entry {
    /// The one line of a path that has two: `rm a/x; rmdir a; mv b a`, and then `a/x` is made in what was `b`.
    pub(super) fn with(self, other: Entry) -> Entry {
        let is_behind = |entry: &Entry| {
            entry.change == Change::Deleted && (entry.side == Side::Start || entry.is_temporary)
        };
        let is_first = other.change == Change::Deleted
            && (self.change != Change::Deleted || !is_behind(&self));
        let (kept, left_out) = if is_first { (self, other) } else { (other, self) };
        let is_replaced = left_out.change == Change::Deleted && !left_out.is_temporary;
        match kept.change {
            Change::Added if is_replaced => Entry { change: Change::Modified, ..kept },
            _ => kept,
        }
    }
}

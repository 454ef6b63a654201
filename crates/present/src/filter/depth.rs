//! The filter on depth: how many names below a watched directory are shown.

use super::owners::Owners;
use super::roots::Roots;
use crate::world::{Change, World};
use fsmon_format::kind;
use fsmon_format::mirror::Capacity;
use fsmon_format::record::EventRef;
use std::os::unix::ffi::OsStrExt;

/// What is deeper than a number of levels below the innermost root is left out.
pub struct Depth {
    levels: u32,
    owners: Owners,
}

impl Depth {
    /// 1 level is what is directly in a root.
    pub fn new(levels: u32, roots: &Roots, capacity: Capacity) -> Self {
        let mut owners = Owners::new(capacity);
        for (given, recorded) in roots.given_and_recorded() {
            // All have the same number of levels, so it does not matter which root it is.
            owners.add(recorded.as_os_str().as_bytes(), 0);
            owners.add(given.as_os_str().as_bytes(), 0);
        }
        Depth { levels, owners }
    }

    pub fn changed(&mut self, change: Change) {
        self.owners.changed(change);
    }

    /// Those of `types` that pass. A RENAME passes if either of its paths does, MOVED_FROM if the old path does. What
    /// has no known path passes.
    pub fn wanted(&mut self, world: &World, event: &EventRef<'_>, types: u32) -> u32 {
        let of_old = types & (kind::RENAME | kind::MOVED_FROM);
        let (dir, dir2) = (event.head.dir.get(), event.head.dir2.get());
        let new = (dir != 0 || dir2 == 0) && self.passes(world, dir, event.name);
        let old = of_old != 0 && dir2 != 0 && self.passes(world, dir2, event.name2);
        let of_new = if new { types & !kind::MOVED_FROM } else { 0 };
        of_new | if old { of_old } else { 0 }
    }

    fn passes(&mut self, world: &World, dir: u32, name: &[u8]) -> bool {
        let owner = self.owners.of(world, dir);
        owner.is_none_or(|owner| owner.depth + u32::from(!name.is_empty()) <= self.levels)
    }
}

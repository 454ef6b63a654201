//! Which of several watched directories a directory belongs to, where one can be inside of another: the innermost.

use super::paths::rest_below;
use crate::world::{Change, World};
use fsmon_format::mirror::Capacity;
use fsmon_format::number::to_u32;

/// The watch of a directory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Owner {
    /// The number that was given with the watch.
    pub watch: u32,
    /// Directories from the watched one down to this one; 0 is the watched one itself.
    pub depth: u32,
}

/// No path is that deep: PATH_MAX is 4096.
const NOBODY: u32 = u32::MAX;

/// The watched directories, and the owner of each directory, decided when it is asked for first.
pub struct Owners {
    /// The watched paths, absolute, without symbolic links, and their numbers. Longest first.
    watches: Vec<(Vec<u8>, u32)>,
    /// By directory id: the epoch in which its owner was decided. These are plain numbers, so that memory that is not
    /// used is not touched.
    decided: Vec<u32>,
    /// By directory id: the owner's watch and depth; `NOBODY` if it has none.
    owners: Vec<[u32; 2]>,
    /// A renamed directory raises it, which invalidates what was decided before. Never 0.
    epoch: u32,
    path: Vec<u8>,
}

impl Owners {
    /// Without any watch. `capacity` is the world's.
    #[must_use]
    pub fn new(capacity: Capacity) -> Self {
        let (decided, owners) = (vec![0; capacity.dirs + 1], vec![[0; 2]; capacity.dirs + 1]);
        let path = Vec::with_capacity(1 << 13);
        Owners { watches: Vec::new(), decided, owners, epoch: 1, path }
    }

    /// Adds a watched path: absolute, without symbolic links.
    pub fn add(&mut self, path: &[u8], watch: u32) {
        self.watches.push((path.to_vec(), watch));
        self.watches.sort_by_key(|(path, _)| std::cmp::Reverse(path.len()));
        self.raise_epoch();
    }

    /// Removes the watch with this number.
    pub fn remove(&mut self, watch: u32) {
        self.watches.retain(|(_, known)| *known != watch);
        self.raise_epoch();
    }

    /// A definition changed what an id stands for.
    pub fn changed(&mut self, change: Change) {
        match change {
            Change::Dir(id) => {
                if let Some(decided) = self.decided.get_mut(id as usize) {
                    *decided = 0;
                }
            }
            Change::Renamed(_) | Change::Everything => self.raise_epoch(),
            Change::Nothing | Change::Proc(_) | Change::Str(_) => {}
        }
    }

    /// The owner of a directory; `None` if it is below no watched path, or its path is not known.
    #[inline]
    pub fn of(&mut self, world: &World, dir: u32) -> Option<Owner> {
        match self.decided.get(dir as usize) {
            Some(epoch) if *epoch == self.epoch => {
                let [watch, depth] = self.owners[dir as usize];
                (depth != NOBODY).then_some(Owner { watch, depth })
            }
            _ => self.decide(world, dir),
        }
    }

    #[cold]
    fn decide(&mut self, world: &World, dir: u32) -> Option<Owner> {
        self.path.clear();
        if dir == 0 || !world.mirror.append_dir_path(dir, &mut self.path) {
            return None;
        }
        let owner = self.watches.iter().find_map(|(path, watch)| {
            let rest = rest_below(&self.path, path)?;
            let depth = match rest {
                [] => 0,
                rest => memchr::memchr_iter(b'/', rest).count() + 1,
            };
            Some(Owner { watch: *watch, depth: to_u32(depth) })
        });
        if let Some(decided) = self.decided.get_mut(dir as usize) {
            *decided = self.epoch;
            self.owners[dir as usize] =
                owner.map_or([0, NOBODY], |owner| [owner.watch, owner.depth]);
        }
        owner
    }

    fn raise_epoch(&mut self) {
        self.epoch = self.epoch.wrapping_add(1);
        if self.epoch == 0 {
            self.decided.fill(0);
            self.epoch = 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::names::Names;
    use crate::text::fixture::{ENGINE_STRINGS, capacity};
    use crate::wall::Wall;
    use fsmon_format::record::{Body, Dir};
    use zerocopy::FromZeros;

    fn world() -> World {
        let names = Names::from_lookups(ENGINE_STRINGS, Box::new(|_| None), Box::new(|_| None));
        World::live(capacity(), Wall::default(), names)
    }

    fn define(world: &mut World, owners: &mut Owners, dir: (u32, u32, u32), name: &[u8]) {
        let mut head = Dir::new_zeroed();
        (head.id, head.parent, head.generation) = (dir.0.into(), dir.1.into(), dir.2.into());
        head.object = u64::from(dir.0).into();
        owners.changed(world.take(&Body::Dir(&head, name)));
    }

    #[test]
    fn the_innermost_watch_decides_and_renames_count() {
        let (mut world, mut owners) = (world(), Owners::new(capacity()));
        owners.add(b"/srv", 1);
        owners.add(b"/srv/a/b", 2);
        define(&mut world, &mut owners, (1, 0, 0), b"/srv");
        define(&mut world, &mut owners, (2, 1, 0), b"a");
        define(&mut world, &mut owners, (3, 2, 0), b"b");
        define(&mut world, &mut owners, (4, 3, 0), b"c");
        let owner = |watch, depth| Some(Owner { watch, depth });
        let all =
            |world: &World, owners: &mut Owners| [1, 2, 3, 4].map(|dir| owners.of(world, dir));
        assert_eq!(all(&world, &mut owners), [owner(1, 0), owner(1, 1), owner(2, 0), owner(2, 1)]);
        // `mv /srv/a /srv/x`: the path of watch 2 is gone.
        define(&mut world, &mut owners, (2, 1, 1), b"x");
        assert_eq!(all(&world, &mut owners), [owner(1, 0), owner(1, 1), owner(1, 2), owner(1, 3)]);
        owners.remove(1);
        assert_eq!(all(&world, &mut owners), [None; 4]);
        owners.add(b"/", 3);
        assert_eq!(all(&world, &mut owners), [owner(3, 1), owner(3, 2), owner(3, 3), owner(3, 4)]);
        assert_eq!(owners.of(&world, 0), None);
        assert_eq!(owners.of(&world, u32::MAX), None);
    }

    #[test]
    fn names_that_only_begin_alike_are_not_below() {
        for (path, base, rest) in [
            (&b"/srv/a"[..], &b"/srv"[..], Some(&b"a"[..])),
            (b"/srv", b"/srv", Some(b"")),
            (b"/srv2", b"/srv", None),
            (b"/", b"/srv", None),
            (b"/srv", b"/", Some(b"srv")),
            (b"/", b"/", Some(b"")),
        ] {
            assert_eq!(rest_below(path, base), rest);
        }
    }
}

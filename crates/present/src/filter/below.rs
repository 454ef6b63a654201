//! The filter on places: only what is at some paths, or below them.

use super::owners::Owners;
use crate::world::{Change, World};
use fsmon_format::kind;
use fsmon_format::mirror::Capacity;
use fsmon_format::record::EventRef;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

/// What is neither at one of some paths nor below it, or too deep below the innermost, is left out.
pub struct Below {
    /// Knows of each directory whether it is one of the paths, or below it.
    dirs: Owners,
    /// The directory and the name of each path: it may be no directory.
    places: Vec<(Vec<u8>, Vec<u8>)>,
    /// How many names below the innermost path.
    levels: u32,
    path: Vec<u8>,
}

impl Below {
    /// `None` if there is no path. `levels`: 1 is what is directly in a path; `None` any depth.
    pub fn new(paths: &[PathBuf], levels: Option<u32>, capacity: Capacity) -> Option<Self> {
        if paths.is_empty() {
            return None;
        }
        let mut dirs = Owners::new(capacity);
        paths.iter().for_each(|path| dirs.add(path.as_os_str().as_bytes(), 0));
        let places = paths.iter().filter_map(|path| place(path)).collect();
        let levels = levels.unwrap_or(u32::MAX);
        Some(Below { dirs, places, levels, path: Vec::new() })
    }

    pub fn changed(&mut self, change: Change) {
        self.dirs.changed(change);
    }

    /// Those of `types` that pass. A RENAME passes if either of its paths does, MOVED_FROM if the old path does. What has
    /// no known path does not.
    pub fn wanted(&mut self, world: &World, event: &EventRef<'_>, types: u32) -> u32 {
        let of_old = types & (kind::RENAME | kind::MOVED_FROM);
        let (dir, dir2) = (event.head.dir.get(), event.head.dir2.get());
        let new = self.passes(world, dir, event.name);
        let old = of_old != 0 && self.passes(world, dir2, event.name2);
        let of_new = if new { types & !kind::MOVED_FROM } else { 0 };
        of_new | if old { of_old } else { 0 }
    }

    fn passes(&mut self, world: &World, dir: u32, name: &[u8]) -> bool {
        let depth = self.dirs.of(world, dir).map(|owner| owner.depth + u32::from(!name.is_empty()));
        depth.is_some_and(|depth| depth <= self.levels) || self.is_place(world, dir, name)
    }

    /// Whether it is one of the paths itself.
    fn is_place(&mut self, world: &World, dir: u32, name: &[u8]) -> bool {
        if dir == 0 || name.is_empty() || self.places.iter().all(|(_, own)| own != name) {
            return false;
        }
        self.path.clear();
        world.mirror.append_dir_path(dir, &mut self.path)
            && self.places.iter().any(|(dir, own)| own == name && *dir == self.path)
    }
}

/// The directory of a path and its name in there; `None` for `/`.
fn place(path: &Path) -> Option<(Vec<u8>, Vec<u8>)> {
    let bytes = |part: &std::ffi::OsStr| part.as_bytes().to_vec();
    Some((bytes(path.parent()?.as_os_str()), bytes(path.file_name()?)))
}

//! Paths of events.

use fsmon_format::mirror::Mirror;

/// The paths of the last event.
#[derive(Default)]
pub(super) struct Paths {
    pub(super) new: OnePath,
    pub(super) old: OnePath,
}

impl Paths {
    /// Directories may have other paths, or ids, from here on.
    pub(super) fn forget(&mut self) {
        (self.new.dir, self.old.dir) = (0, 0);
    }
}

/// A path, whose directory is often that of the next event.
#[derive(Default)]
pub(super) struct OnePath {
    dir: u32,
    /// Bytes of the directory's path.
    len: usize,
    path: Vec<u8>,
}

impl OnePath {
    /// The path of a name in a directory; `None` if that is not known.
    pub(super) fn of(&mut self, mirror: &Mirror, dir: u32, name: &[u8]) -> Option<&[u8]> {
        if dir == 0 {
            return None;
        }
        if self.dir != dir {
            self.dir = 0;
            self.path.clear();
            if !mirror.append_dir_path(dir, &mut self.path) {
                return None;
            }
            (self.dir, self.len) = (dir, self.path.len());
        }
        self.path.truncate(self.len);
        if !name.is_empty() {
            self.path.push(b'/');
            self.path.extend_from_slice(name);
        }
        Some(&self.path)
    }
}

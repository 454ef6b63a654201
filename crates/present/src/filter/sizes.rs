//! The filter on sizes. Records have no sizes: it looks at the file after its event, so a size is that of then.

use crate::size::Size;
use fsmon_format::kind;
use fsmon_format::mirror::Mirror;
use fsmon_format::record::EventRef;
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

/// Types by which a name is gone: what has it now, if anything, is another file.
pub(crate) const GONE: u32 = kind::DELETE | kind::DELETE_SELF | kind::MOVED_FROM;

/// A condition on the size of regular files.
pub struct Sizes {
    wanted: Size,
    path: Vec<u8>,
    /// The size of the file of the last event, if it has one.
    found: Option<u64>,
}

impl Sizes {
    pub fn new(wanted: Size) -> Self {
        Sizes { wanted, path: Vec::with_capacity(1 << 13), found: None }
    }

    /// Those of `types` that pass. What has no size passes: directories, what is gone by now, and what is no regular
    /// file. It asks the filesystem, so ask it last.
    pub fn wanted(&mut self, mirror: &Mirror, event: &EventRef<'_>, types: u32) -> u32 {
        self.found = None;
        if types & !GONE == 0 || event.is_dir() || !self.set_path(mirror, event) {
            return types;
        }
        self.found = size_of_file(Path::new(OsStr::from_bytes(&self.path)));
        match self.found {
            Some(bytes) if !self.wanted.is_met(bytes) => types & GONE,
            _ => types,
        }
    }

    /// The size of the file of the last event, as it was when that was asked about.
    pub fn found(&self) -> Option<u64> {
        self.found
    }

    fn set_path(&mut self, mirror: &Mirror, event: &EventRef<'_>) -> bool {
        self.path.clear();
        let dir = event.head.dir.get();
        if dir == 0 || event.name.is_empty() || !mirror.append_dir_path(dir, &mut self.path) {
            return false;
        }
        self.path.push(b'/');
        self.path.extend_from_slice(event.name);
        true
    }
}

/// The size of a regular file. `None` if there is none at that path, or it cannot be looked at.
fn size_of_file(path: &Path) -> Option<u64> {
    let data = path.symlink_metadata().ok()?;
    data.is_file().then_some(data.len())
}

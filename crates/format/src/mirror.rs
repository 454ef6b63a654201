//! The meaning of the ids in events: directories, processes, strings.
//!
//! The consumer of records passes every definition to [`Mirror::define`] and then looks ids up. Ids are dense
//! (0 is none); a later definition replaces the earlier one. All memory is reserved when the mirror is made,
//! and paged in as it is used; nothing is allocated afterwards.

use crate::arena::{Arena, Text};
#[doc(hidden)]
pub use crate::limits::DEPTH_MAX;
use crate::record::{Body, Proc, dir_flag};
use zerocopy::FromZeros;

/// The maximum number of ids of each sort.
#[derive(Clone, Copy, Debug)]
pub struct Capacity {
    /// Directories.
    pub dirs: usize,
    /// Process images.
    pub processes: usize,
    /// Strings.
    pub strings: usize,
    /// Bytes for all names and strings.
    pub text: usize,
}

/// A directory as last defined: 24 bytes, as there may be millions.
#[derive(Clone, Copy, Debug, FromZeros)]
pub struct Dir {
    /// The parent's id; 0 for a watched root, whose name is its absolute path.
    pub parent: u32,
    /// Raised by each rename.
    pub generation: u32,
    /// Hash of the handle.
    pub object: u64,
    /// `spare` has the index of the filesystem plus 1, and [`WHOLE`]; it is 0 if the directory is not known.
    name: Text,
}

/// The bit of [`Dir::name`] for [`dir_flag::WHOLE_PATH`].
const WHOLE: u16 = 1 << 15;

const _: () = assert!(size_of::<Dir>() == 24);

impl Dir {
    /// Index of the filesystem. At most 32,766: more filesystems do not occur.
    #[must_use]
    pub fn fs(&self) -> u32 {
        u32::from((self.name.spare & !WHOLE).saturating_sub(1))
    }

    /// Whether its name is its whole path though it is no watched root.
    #[must_use]
    pub fn is_whole_path(&self) -> bool {
        self.name.spare & WHOLE != 0
    }

    fn is_known(&self) -> bool {
        self.name.spare != 0
    }
}

/// What a definition changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Defined {
    /// Not a definition.
    Nothing,
    /// A directory that was not known.
    Dir(u32),
    /// A directory whose id was known: it was renamed, or the id was reused. Paths below it changed.
    DirAgain(u32),
    /// A process image.
    Proc(u32),
    /// A string.
    Str(u32),
    /// Ignored: an id or a text beyond the capacity.
    Full,
}

/// The definitions in force.
pub struct Mirror {
    dirs: Vec<Dir>,
    processes: Vec<Proc>,
    strings: Vec<Text>,
    text: Arena,
    used: Used,
}

/// The first ids that were never defined since the last [`Mirror::clear`].
#[derive(Clone, Copy, Default)]
struct Used {
    dirs: usize,
    processes: usize,
    strings: usize,
}

impl Mirror {
    /// Reserves the memory.
    ///
    /// # Panics
    /// There is not enough address space.
    #[must_use]
    pub fn new(capacity: Capacity) -> Self {
        Mirror {
            dirs: zeroed(capacity.dirs + 1),
            processes: zeroed(capacity.processes + 1),
            strings: zeroed(capacity.strings + 1),
            text: Arena::with_capacity(capacity.text),
            used: Used::default(),
        }
    }

    /// Takes a definition. Other records change nothing.
    pub fn define(&mut self, body: &Body<'_>) -> Defined {
        match *body {
            Body::Dir(head, name) => self.define_dir(head, name),
            Body::Proc(head) => match self.processes.get_mut(head.id.get() as usize) {
                Some(slot) => {
                    *slot = *head;
                    self.used.processes = self.used.processes.max(head.id.get() as usize + 1);
                    Defined::Proc(head.id.get())
                }
                None => Defined::Full,
            },
            Body::Str(head, text) => self.define_str(head.id.get(), text),
            _ => Defined::Nothing,
        }
    }

    fn define_dir(&mut self, head: &crate::record::Dir, name: &[u8]) -> Defined {
        let id = head.id.get();
        let Some(dir) = self.dirs.get_mut(id as usize) else { return Defined::Full };
        self.used.dirs = self.used.dirs.max(id as usize + 1);
        let again = dir.is_known();
        if again {
            self.text.remove(dir.name);
        }
        *dir = Dir {
            parent: head.parent.get(),
            generation: head.generation.get(),
            object: head.object.get(),
            name: Text::default(),
        };
        let Some(text) = self.text.insert(name) else { return Defined::Full };
        dir.name = text;
        let fs = u16::try_from(head.fs.get()).map_or(!WHOLE, |fs| fs.saturating_add(1).min(!WHOLE));
        let is_whole = head.flags.get() & dir_flag::WHOLE_PATH != 0;
        dir.name.spare = fs | if is_whole { WHOLE } else { 0 };
        if again { Defined::DirAgain(id) } else { Defined::Dir(id) }
    }

    fn define_str(&mut self, id: u32, bytes: &[u8]) -> Defined {
        let Some(slot) = self.strings.get_mut(id as usize) else { return Defined::Full };
        self.used.strings = self.used.strings.max(id as usize + 1);
        self.text.remove(*slot);
        *slot = Text::default();
        let Some(text) = self.text.insert(bytes) else { return Defined::Full };
        *slot = text;
        Defined::Str(id)
    }

    /// Forgets all definitions; the memory stays reserved. The cost grows with the number of definitions, not with
    /// the capacity: a reader of a stream does this before every block.
    pub fn clear(&mut self) {
        self.dirs[..self.used.dirs].fill_with(Dir::new_zeroed);
        self.processes[..self.used.processes].fill_with(Proc::new_zeroed);
        self.strings[..self.used.strings].fill_with(Text::default);
        self.used = Used::default();
        self.text.clear();
    }

    /// A directory; `None` if it was never defined.
    #[inline]
    #[must_use]
    pub fn dir(&self, id: u32) -> Option<&Dir> {
        self.dirs.get(id as usize).filter(|dir| dir.is_known())
    }

    /// A directory's own name; a root's is its absolute path.
    #[must_use]
    pub fn dir_name(&self, dir: &Dir) -> &[u8] {
        self.text.get(dir.name)
    }

    /// A process image; `None` if it was never defined.
    #[inline]
    #[must_use]
    pub fn proc(&self, id: u32) -> Option<&Proc> {
        let slot = self.processes.get(id as usize)?;
        (slot.tag != 0).then_some(slot)
    }

    /// A string; `None` for id 0 and if it was never defined.
    #[inline]
    #[must_use]
    pub fn string(&self, id: u32) -> Option<&[u8]> {
        let text = *self.strings.get(id as usize)?;
        (!text.is_empty()).then(|| self.text.get(text))
    }

    /// Appends the absolute path of directory `id` to `out`.
    /// Returns false, with `out` unchanged, if the directory or an ancestor is not known.
    pub fn append_dir_path(&self, id: u32, out: &mut Vec<u8>) -> bool {
        let Some(len) = self.path_len(id) else { return false };
        let start = out.len();
        out.resize(start + len, b'/');
        let (mut end, mut at) = (out.len(), id);
        while let Some(dir) = self.dir(at) {
            let name = self.dir_name(dir);
            out[end - name.len()..end].copy_from_slice(name);
            if dir.parent == 0 {
                return true;
            }
            end -= name.len() + usize::from(!self.ends_in_slash(dir.parent));
            at = dir.parent;
        }
        unreachable!("path_len walked the same chain")
    }

    /// The length of a path. `append_dir_path` walks the chain from `id` to its root twice: here for the length,
    /// then to write the names from the end.
    fn path_len(&self, id: u32) -> Option<usize> {
        let (mut len, mut at) = (0, id);
        for _ in 0..DEPTH_MAX {
            let dir = self.dir(at)?;
            len += dir.name.len();
            if dir.parent == 0 {
                return Some(len);
            }
            len += usize::from(!self.ends_in_slash(dir.parent));
            at = dir.parent;
        }
        None
    }

    /// Whether the path ends in a slash: only the root `/` does.
    fn ends_in_slash(&self, id: u32) -> bool {
        self.dir(id).is_some_and(|dir| dir.parent == 0 && self.dir_name(dir) == b"/")
    }
}

fn zeroed<T: FromZeros>(len: usize) -> Vec<T> {
    T::new_vec_zeroed(len).expect("address space for the mirror")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::{self, Build, Record};

    fn mirror() -> Mirror {
        Mirror::new(Capacity { dirs: 8, processes: 4, strings: 4, text: 4096 })
    }

    fn define_dir(mirror: &mut Mirror, id: u32, parent: u32, name: &str) -> Defined {
        let mut build = Build::default();
        let mut head = record::Dir::new_zeroed();
        head.id = id.into();
        head.parent = parent.into();
        let (record, _) = Record::split_first(build.dir(head, name.as_bytes())).expect("a record");
        mirror.define(&record.body())
    }

    fn path(mirror: &Mirror, id: u32) -> Option<String> {
        let mut out = b"<".to_vec();
        let known = mirror.append_dir_path(id, &mut out);
        known.then(|| String::from_utf8(out[1..].to_vec()).expect("UTF-8"))
    }

    #[test]
    fn paths_follow_renames_of_ancestors() {
        let mut mirror = mirror();
        define_dir(&mut mirror, 1, 0, "/srv/b");
        define_dir(&mut mirror, 2, 1, "old");
        define_dir(&mut mirror, 3, 2, "sub");
        assert_eq!(path(&mirror, 3).as_deref(), Some("/srv/b/old/sub"));
        assert_eq!(define_dir(&mut mirror, 2, 1, "a longer new name"), Defined::DirAgain(2));
        assert_eq!(path(&mirror, 3).as_deref(), Some("/srv/b/a longer new name/sub"));
    }

    #[test]
    fn below_the_root_of_everything_there_is_one_slash() {
        let mut mirror = mirror();
        define_dir(&mut mirror, 1, 0, "/");
        define_dir(&mut mirror, 2, 1, "etc");
        assert_eq!(path(&mirror, 1).as_deref(), Some("/"));
        assert_eq!(path(&mirror, 2).as_deref(), Some("/etc"));
    }

    #[test]
    fn clear_forgets_all_that_was_defined() {
        let mut mirror = mirror();
        let mut build = Build::default();
        for id in [1, 4] {
            define_dir(&mut mirror, id, 0, "/srv");
            let mut head = record::Proc::new_zeroed();
            head.id = id.into();
            for slots in [build.proc(head).to_vec(), build.str(id, b"cc").to_vec()] {
                let (record, _) = Record::split_first(&slots).expect("a record");
                assert_ne!(mirror.define(&record.body()), Defined::Full);
            }
        }
        mirror.clear();
        for id in 0..9 {
            assert!(mirror.dir(id).is_none() && mirror.proc(id).is_none());
            assert!(mirror.string(id).is_none());
        }
        assert_eq!(define_dir(&mut mirror, 4, 0, "/new"), Defined::Dir(4));
    }

    #[test]
    fn cycles_and_strangers_have_no_path() {
        let mut mirror = mirror();
        define_dir(&mut mirror, 1, 2, "a");
        define_dir(&mut mirror, 2, 1, "b");
        define_dir(&mut mirror, 3, 7, "orphan");
        assert_eq!(path(&mirror, 1), None);
        assert_eq!(path(&mirror, 3), None);
        assert_eq!(path(&mirror, 99), None);
        assert_eq!(define_dir(&mut mirror, 9, 0, "/too many"), Defined::Full);
    }
}

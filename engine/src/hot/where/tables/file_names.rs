//! The names of files in the watched directories, for `--hard-links`: a change through a name outside of them is
//! reported under one of these names.
//!
//! ```text
//! ln d/a /tmp/b; echo >> /tmp/b      reported as a change of d/a
//! ```
//!
//! They are kept like the tree: walks read them, and events change them. When a directory is forgotten its names
//! stay; they are dropped when one of them is found, or when room is needed.
//!
//! A removal can be merged into an earlier event of the same name. Then the name stays until the queue was empty,
//! as one that may be gone:
//!
//! ```text
//! ln /tmp/b d/a; echo >> /tmp/b; rm d/a      CREATE|DELETE d/a, MODIFY /tmp/b
//! ```

use crate::hot::r#where::tables::forgotten::Forgotten;
use crate::hot::r#where::tables::index::Index;
use crate::hot::r#where::tree::{Full, Tree, flag};
use crate::limits::tables::NAMES_LEAVING_MAX;
use crate::limits::{FILES_BYTES, FILES_MAX};
use arrayvec::ArrayVec;
use fsmon_format::arena::{Arena, Text};
use fsmon_format::record::NAME_MAX;
use zerocopy::FromZeros;

/// A name of a file. Names of one file are chained.
#[derive(Clone, Copy, FromZeros)]
#[repr(C)]
struct Name {
    /// The hash of the file's handle; 0: not in use.
    file: u64,
    /// The place of the name, [`Tree::place`].
    place: u64,
    dir: u32,
    /// Neighbours among the names of the file; in an unused entry `next` is the next unused one. 0 none.
    next: u32,
    prev: u32,
    text: Text,
}

/// A name that was looked up.
#[derive(Clone, Copy, Debug)]
pub(crate) struct KnownName {
    pub(crate) dir: u32,
    /// Bytes of the name.
    pub(crate) len: usize,
    /// Whether it may be gone.
    pub(crate) is_leaving: bool,
}

/// The names. Room is reserved at the start, and paged in as it is used.
pub(crate) struct FileNames {
    names: Vec<Name>,
    /// The first name of each file.
    by_file: Index,
    by_place: Index,
    text: Arena,
    /// The first entry that is no longer in use; 0 none.
    free: u32,
    /// Entries from here on were never in use.
    fresh: u32,
    /// Places of names that may be gone, oldest first. Not a `LastN`: a name that comes back is removed from the
    /// middle, and the others keep their order.
    leaving: ArrayVec<u64, NAMES_LEAVING_MAX>,
    /// Files whose names were taken as gone since the queue was empty.
    taken: Forgotten,
    /// Changes of those files.
    forgotten: u64,
    /// Names that were refused because there was no room.
    refused: u64,
    /// Names to refuse before names of forgotten directories are searched again.
    patience: u32,
}

impl FileNames {
    /// Room for [`FILES_MAX`] names.
    pub(crate) fn new() -> Self {
        FileNames::with_room(FILES_MAX, FILES_BYTES)
    }

    fn with_room(count: usize, bytes: usize) -> Self {
        FileNames {
            names: Name::new_vec_zeroed(count + 1).expect("address space for names of files"),
            by_file: Index::new(count),
            by_place: Index::new(count),
            text: Arena::with_capacity(bytes),
            free: 0,
            fresh: 1,
            leaving: ArrayVec::new(),
            taken: Forgotten::new(),
            forgotten: 0,
            refused: 0,
            patience: 0,
        }
    }

    /// Number of names that were refused.
    pub(crate) fn refused(&self) -> u64 {
        self.refused
    }

    /// Number of changes of files whose names were taken as gone and may still exist.
    pub(crate) fn forgotten(&self) -> u64 {
        self.forgotten
    }

    /// Records that a file, by the hash of its handle, has the name `name` in `dir`.
    pub(crate) fn put(&mut self, tree: &Tree, file: u64, dir: u32, name: &[u8]) {
        debug_assert!(file != 0);
        let place = tree.place(dir, name);
        self.leaving.retain(|leaving| *leaving != place);
        match self.at(place) {
            Some(id) if self.name(id).file == file => return,
            Some(id) => self.drop_name(id),
            None => {}
        }
        let Some((id, text)) = self.room(tree, name) else {
            self.refused += 1;
            return;
        };
        let next = self.first_of(file);
        self.names[id as usize] = Name { file, place, dir, next, prev: 0, text };
        if next != 0 {
            self.names[next as usize].prev = id;
            self.by_file.remove(file, next);
        }
        self.by_file.insert(file, id);
        self.by_place.insert(place, id);
    }

    /// Records that no file is at `place`.
    pub(crate) fn remove(&mut self, place: u64) {
        if let Some(id) = self.at(place) {
            self.drop_name(id);
        }
    }

    /// Records that the file at `place` was removed at an unknown time.
    pub(crate) fn leave(&mut self, place: u64) {
        if self.leaving.is_full() {
            let first = self.leaving.remove(0);
            if let Some(id) = self.at(first) {
                self.taken.put(self.name(id).file);
                self.drop_name(id);
            }
        }
        self.leaving.push(place);
    }

    /// The queue was empty: names that may be gone are gone.
    #[inline]
    pub(crate) fn on_queue_empty(&mut self) {
        while let Some(place) = self.leaving.pop() {
            self.remove(place);
        }
        self.taken.clear();
    }

    /// A name of a file: the last one that came up, of those that still exist.
    pub(crate) fn find(
        &mut self,
        tree: &Tree,
        file: u64,
        room: &mut [u8; NAME_MAX],
    ) -> Option<KnownName> {
        loop {
            let id = self.first_of(file);
            if id == 0 {
                self.forgotten += u64::from(self.taken.has(file));
                return None;
            }
            if self.is_left(tree, id) {
                let name = self.text.get(self.name(id).text);
                room[..name.len()].copy_from_slice(name);
                let Name { dir, place, .. } = *self.name(id);
                return Some(KnownName {
                    dir,
                    len: name.len(),
                    is_leaving: self.leaving.contains(&place),
                });
            }
            self.drop_name(id);
        }
    }

    /// Forgets everything.
    pub(crate) fn clear(&mut self) {
        self.leaving.clear();
        for id in 1..self.fresh {
            if self.name(id).file != 0 {
                self.drop_name(id);
            }
        }
    }

    fn name(&self, id: u32) -> &Name {
        &self.names[id as usize]
    }

    fn at(&self, place: u64) -> Option<u32> {
        self.by_place.find(place, |id| self.name(id).place == place)
    }

    fn first_of(&self, file: u64) -> u32 {
        self.by_file.find(file, |id| self.name(id).file == file).unwrap_or(0)
    }

    /// Whether the directory of the name is the same as when the name was recorded.
    fn is_left(&self, tree: &Tree, id: u32) -> bool {
        let name = self.name(id);
        let is_live = tree.node(name.dir).flags & (flag::LIVE | flag::DEAD) == flag::LIVE;
        is_live && tree.place(name.dir, self.text.get(name.text)) == name.place
    }

    /// An entry for a name, and its text.
    fn room(&mut self, tree: &Tree, name: &[u8]) -> Option<(u32, Text)> {
        if name.is_empty() || name.len() > NAME_MAX {
            return None;
        }
        if let Ok(room) = self.take(name) {
            return Some(room);
        }
        if self.patience > 0 {
            self.patience -= 1;
            return None;
        }
        self.drop_forgotten(tree);
        self.take(name).ok()
    }

    fn take(&mut self, name: &[u8]) -> Result<(u32, Text), Full> {
        if self.free == 0 && self.fresh as usize == self.names.len() {
            return Err(Full);
        }
        let text = self.text.insert(name).ok_or(Full)?;
        let id = match self.free {
            0 => {
                self.fresh += 1;
                self.fresh - 1
            }
            id => {
                self.free = self.name(id).next;
                id
            }
        };
        Ok((id, text))
    }

    /// Makes room by dropping names in forgotten directories.
    #[cold]
    fn drop_forgotten(&mut self, tree: &Tree) {
        for id in 1..self.fresh {
            if self.name(id).file != 0 && !self.is_left(tree, id) {
                self.drop_name(id);
            }
        }
        // Searching all names for each new one would take longer and longer.
        self.patience = self.fresh / 8;
    }

    fn drop_name(&mut self, id: u32) {
        let Name { file, place, next, prev, text, .. } = *self.name(id);
        self.by_place.remove(place, id);
        if next != 0 {
            self.names[next as usize].prev = prev;
        }
        if prev != 0 {
            self.names[prev as usize].next = next;
        } else {
            self.by_file.remove(file, id);
            if next != 0 {
                self.by_file.insert(file, next);
            }
        }
        self.text.remove(text);
        self.names[id as usize] = Name { next: self.free, ..Name::new_zeroed() };
        self.free = id;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hot::event::Key;
    use proptest::prelude::*;
    use std::collections::BTreeMap;

    fn tree() -> (Tree, [u32; 3]) {
        let mut tree = Tree::new(64, vec![1]);
        let key = |handle| Key { fsid: 1, handle };
        let root = tree.insert_root(b"/root", key(b"root")).expect("room");
        let dirs =
            [&b"d"[..], b"e"].map(|name| tree.insert(root, name, key(name)).expect("room").id());
        (tree, [root, dirs[0], dirs[1]])
    }

    fn found(names: &mut FileNames, tree: &Tree, file: u64) -> Option<(u32, Vec<u8>)> {
        let mut room = [0; NAME_MAX];
        let KnownName { dir, len, .. } = names.find(tree, file, &mut room)?;
        Some((dir, room[..len].to_vec()))
    }

    #[test]
    fn one_of_its_names_as_long_as_there_is_any() {
        let (mut tree, [root, dir, other]) = tree();
        let mut names = FileNames::new();
        names.put(&tree, 10, root, b"a");
        names.put(&tree, 10, dir, b"b");
        names.put(&tree, 12, other, b"c");
        assert_eq!(found(&mut names, &tree, 10), Some((dir, b"b".to_vec())));
        // Another file replaces it.
        names.put(&tree, 12, dir, b"b");
        assert_eq!(found(&mut names, &tree, 10), Some((root, b"a".to_vec())));
        names.remove(tree.place(root, b"a"));
        assert_eq!(found(&mut names, &tree, 10), None);
        tree.remove(dir);
        assert_eq!(found(&mut names, &tree, 12), Some((other, b"c".to_vec())));
        tree.forget(other);
        assert_eq!(found(&mut names, &tree, 12), None);
    }

    #[test]
    fn what_may_be_gone_is_when_the_queue_was_empty() {
        let (tree, [root, ..]) = tree();
        let mut names = FileNames::new();
        let place = |name: &[u8]| tree.place(root, name);
        for (file, name) in [(10, b"a"), (12, b"b")] {
            names.put(&tree, file, root, name);
            names.leave(place(name));
        }
        let mut room = [0; NAME_MAX];
        assert!(names.find(&tree, 10, &mut room).is_some_and(|found| found.is_leaving));
        // It came back.
        names.put(&tree, 10, root, b"a");
        assert!(names.find(&tree, 10, &mut room).is_some_and(|found| !found.is_leaving));
        names.on_queue_empty();
        assert!(found(&mut names, &tree, 10).is_some() && found(&mut names, &tree, 12).is_none());
        for file in 1..=NAMES_LEAVING_MAX as u64 + 1 {
            let name = file.to_ne_bytes();
            names.put(&tree, 2 * file, root, &name);
            names.leave(place(&name));
        }
        assert_eq!(names.forgotten(), 0);
        assert!(found(&mut names, &tree, 2).is_none() && found(&mut names, &tree, 4).is_some());
        assert_eq!(names.forgotten(), 1);
        names.on_queue_empty();
        assert!(found(&mut names, &tree, 2).is_none());
        assert_eq!(names.forgotten(), 1, "it is gone by now");
    }

    #[test]
    fn room_is_made_of_names_in_forgotten_directories() {
        let (mut tree, [root, dir, _]) = tree();
        let mut names = FileNames::with_room(4, 1 << 12);
        for file in 1..=4 {
            names.put(&tree, 2 * file, dir, &[b'a' + file as u8]);
        }
        names.put(&tree, 20, root, b"x");
        assert_eq!((names.refused(), found(&mut names, &tree, 20)), (1, None));
        tree.forget(dir);
        names.put(&tree, 20, root, b"x");
        assert_eq!(found(&mut names, &tree, 20), Some((root, b"x".to_vec())));
        names.clear();
        assert_eq!(found(&mut names, &tree, 20), None);
    }

    proptest! {
        #[test]
        fn agrees_with_a_map(ops in proptest::collection::vec((0u8..4, 1u64..9, 0usize..3, 0u8..6), 1..300)) {
            let (tree, dirs) = tree();
            let mut names = FileNames::with_room(64, 1 << 14);
            let mut model: BTreeMap<(u32, Vec<u8>), u64> = BTreeMap::new();
            for (op, file, dir, name) in ops {
                let (file, dir, name) = (2 * file, dirs[dir], vec![b'a' + name]);
                match op {
                    0 => {
                        names.remove(tree.place(dir, &name));
                        model.remove(&(dir, name));
                    }
                    _ => {
                        names.put(&tree, file, dir, &name);
                        model.insert((dir, name), file);
                    }
                }
                for file in (1..9).map(|file| 2 * file) {
                    let is_known = model.values().any(|known| *known == file);
                    match found(&mut names, &tree, file) {
                        Some(at) => prop_assert_eq!(model.get(&at), Some(&file)),
                        None => prop_assert!(!is_known),
                    }
                }
            }
            prop_assert_eq!(names.refused(), 0);
        }
    }
}

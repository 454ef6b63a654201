//! How nodes are inserted into the tree, and moved in it.

use super::{Full, Inserted, KEY_INLINE, Node, Tree, flag};
use crate::hot::event::Key;
use fsmon_format::arena::Text;
use fsmon_format::number::to_u8;
use zerocopy::{FromZeros, IntoBytes};

impl Tree {
    /// Inserts a directory (parent 0: a root). A known one is moved instead.
    ///
    /// # Errors
    /// There is no room, or the location is impossible: a dead directory cannot come back below itself.
    pub fn insert(&mut self, parent: u32, name: &[u8], key: Key<'_>) -> Result<Inserted, Full> {
        if let Some(id) = self.find(key) {
            if self.node(id).flags & flag::DEAD != 0 {
                return self.revive(id, parent, name);
            }
            let moved = self.rename(id, parent, name)?;
            return Ok(if moved { Inserted::Moved(id) } else { Inserted::Same(id) });
        }
        let fs = self.fs_index(key.fsid).filter(|_| self.live < self.capacity).ok_or(Full)?;
        let name = self.text.insert(name).ok_or(Full)?;
        let Some((id, inline)) = self.take(parent).zip(self.inline_key(key.handle)) else {
            self.text.remove(name);
            return Err(Full);
        };
        let hash = self.hash(key);
        let root = if parent == 0 { flag::ROOT } else { 0 };
        *self.node_mut(id) = Node {
            hash,
            name,
            fs,
            key: inline,
            key_len: to_u8(key.handle.len()),
            flags: flag::LIVE | root,
            fresh: self.node(id).fresh,
            ..Node::new_zeroed()
        };
        self.index.insert(hash, id);
        self.hang(id, parent);
        self.live += 1;
        self.filesystem_mut(id).live += 1;
        Ok(Inserted::New(id))
    }

    /// Inserts a directory as a root. If it was known elsewhere it is forgotten first.
    pub(crate) fn insert_root(&mut self, path: &[u8], key: Key<'_>) -> Result<u32, Full> {
        if let Some(known) = self.find(key) {
            self.forget(known);
        }
        Ok(self.insert(0, path, key)?.id())
    }

    pub(super) fn inline_key(&mut self, handle: &[u8]) -> Option<[u8; KEY_INLINE]> {
        let mut inline = [0; KEY_INLINE];
        if handle.len() <= KEY_INLINE {
            inline[..handle.len()].copy_from_slice(handle);
        } else if handle.len() <= usize::from(u8::MAX) {
            let text = self.text.insert(handle)?;
            inline[..size_of::<Text>()].copy_from_slice(text.as_bytes());
        } else {
            return None;
        }
        Some(inline)
    }

    /// A free node. If there is none, dead ones are freed, but not `parent`, which will be its parent.
    pub(super) fn take(&mut self, parent: u32) -> Option<u32> {
        while self.free == 0 && self.fresh >= self.outside(0) {
            if self.dead == 0 || self.is_below(parent, self.dead_first) {
                return None;
            }
            self.forgotten += u64::from(self.dead <= self.young);
            self.bury_oldest();
        }
        if self.free != 0 {
            let id = self.free;
            self.free = self.node(id).next;
            return Some(id);
        }
        let id = self.fresh;
        self.fresh += 1;
        Some(id)
    }

    /// Moves a directory: another parent, another name, or both. False if it was there already, or cannot go there:
    /// a root, a dead one, or one into its own subtree.
    ///
    /// # Errors
    /// There is no room for the name.
    pub fn rename(&mut self, id: u32, parent: u32, name: &[u8]) -> Result<bool, Full> {
        let node = self.node(id);
        let same = node.parent == parent && self.name(id) == name;
        let stays = same || node.flags & (flag::ROOT | flag::DEAD) != 0;
        if stays || self.is_below(parent, id) {
            return Ok(false);
        }
        // The name is a part of the key in the index.
        self.unhang(id);
        let named = self.set_name(id, name);
        let parent = if named.is_ok() { parent } else { self.node(id).parent };
        self.hang(id, parent);
        named?;
        let node = self.node_mut(id);
        node.generation = node.generation.wrapping_add(1);
        Ok(true)
    }

    /// Renames a node that is in no list of a parent.
    pub(super) fn set_name(&mut self, id: u32, name: &[u8]) -> Result<(), Full> {
        if self.name(id) != name {
            let text = self.text.insert(name).ok_or(Full)?;
            self.text.remove(self.node(id).name);
            self.node_mut(id).name = text;
        }
        Ok(())
    }
}

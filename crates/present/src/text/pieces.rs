//! Cache of rendered text by id: the escaped path of a directory, the fields of a process.
//!
//! A direct-mapped cache in two arrays that are allocated once: each id has one slot, which it shares with
//! other ids; the last text put there stays. A miss only costs rendering the text again.

use crate::limits::{PIECE_BYTES, PIECES};

#[derive(Clone, Copy, Default)]
struct Entry<K> {
    id: u32,
    /// The cache's epoch when the text was put. Valid only while the epochs are equal; 0 never is.
    epoch: u32,
    len: u16,
    known: K,
}

/// A text, and what its owner keeps with it.
pub type Piece<'a, K> = (&'a [u8], K);

/// The cache.
pub struct Pieces<K> {
    entries: Vec<Entry<K>>,
    bytes: Vec<u8>,
    epoch: u32,
}

impl<K: Copy + Default> Default for Pieces<K> {
    fn default() -> Self {
        Pieces {
            entries: vec![Entry::default(); PIECES],
            bytes: vec![0; PIECES * PIECE_BYTES],
            epoch: 1,
        }
    }
}

impl<K: Copy + Default> Pieces<K> {
    /// The slot of the text for `id`, if it is cached.
    #[inline]
    pub fn find(&self, id: u32) -> Option<usize> {
        let index = slot_of(id);
        let entry = &self.entries[index];
        (entry.id == id && entry.epoch == self.epoch).then_some(index)
    }

    /// The text that [`Pieces::find`] found.
    #[inline]
    pub fn get(&self, index: usize) -> Piece<'_, K> {
        let (entry, start) = (&self.entries[index], index * PIECE_BYTES);
        (&self.bytes[start..start + usize::from(entry.len)], entry.known)
    }

    /// Caches a text, unless it is too long.
    pub fn put(&mut self, id: u32, text: &[u8], known: K) {
        let Ok(len) = u16::try_from(text.len()) else { return };
        let start = slot_of(id) * PIECE_BYTES;
        if text.len() > PIECE_BYTES {
            return;
        }
        self.bytes[start..start + text.len()].copy_from_slice(text);
        self.entries[slot_of(id)] = Entry { id, epoch: self.epoch, len, known };
    }

    /// The text for `id` is out of date.
    pub fn forget(&mut self, id: u32) {
        if self.find(id).is_some() {
            self.entries[slot_of(id)] = Entry::default();
        }
    }

    /// Every text is out of date.
    pub fn forget_all(&mut self) {
        self.epoch = self.epoch.wrapping_add(1);
        if self.epoch == 0 {
            self.entries.fill(Entry::default());
            self.epoch = 1;
        }
    }
}

/// Ids are dense, so their low bits spread them evenly.
#[inline]
fn slot_of(id: u32) -> usize {
    id as usize & (PIECES - 1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use fsmon_format::number::to_u32;

    fn text(pieces: &Pieces<bool>, id: u32) -> Option<Piece<'_, bool>> {
        pieces.find(id).map(|index| pieces.get(index))
    }

    #[test]
    fn kept_replaced_and_forgotten() {
        let mut pieces = Pieces::default();
        let rival = 7 + to_u32(PIECES);
        assert_eq!(text(&pieces, 0), None);
        pieces.put(7, b"seven", true);
        assert_eq!(text(&pieces, 7), Some((&b"seven"[..], true)));
        pieces.forget(rival);
        assert!(text(&pieces, 7).is_some());
        pieces.put(rival, b"rival", false);
        assert_eq!((text(&pieces, 7), text(&pieces, rival)), (None, Some((&b"rival"[..], false))));
        pieces.forget_all();
        assert_eq!(text(&pieces, rival), None);
        pieces.put(7, &[b'x'; PIECE_BYTES + 1], true);
        assert_eq!(text(&pieces, 7), None);
        pieces.put(7, &[b'x'; PIECE_BYTES], true);
        assert!(text(&pieces, 7).is_some());
    }
}

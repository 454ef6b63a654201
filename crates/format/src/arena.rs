//! An arena for names: byte strings of many lengths in one buffer, allocated once.
//!
//! Each piece belongs to one of a few size classes: multiples of 16 bytes, and beyond 256 bytes powers of
//! two, so that texts of ever new lengths cannot fragment the buffer. Freed pieces of a class form a chain and
//! are reused first. The buffer is zeroed memory from the allocator: pages that were never used cost nothing.

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// Sizes are rounded up to multiples of this, in bytes.
const GRAIN: usize = 16;
/// The longest text, in bytes.
pub const LEN_MAX: usize = crate::record::TEXT_MAX;
const CLASSES: usize = LEN_MAX / GRAIN + 1;
/// Up to this many grains each number of them is a class of its own.
const FINE: usize = 16;

/// Grains of the piece for a text of `len` bytes; the number is also its class.
const fn grains(len: usize) -> usize {
    let grains = len.div_ceil(GRAIN);
    if grains <= FINE { grains } else { grains.next_power_of_two() }
}

/// The capacity that suffices for `count` texts of any length, however often each is replaced. In the worst
/// case every class once had `count` pieces in use.
#[must_use]
pub const fn room_for(count: usize) -> usize {
    let (mut bytes, mut class) = (0, 1);
    while class < CLASSES {
        bytes += class * GRAIN;
        class = grains((class + 1) * GRAIN);
    }
    count * bytes
}

/// Where a text lies: offset in grains, and length. The default is the empty text. Two of its 8 bytes are
/// spare, for the owner to use.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout,
)]
#[repr(C)]
pub struct Text {
    grain: u32,
    len: u16,
    pub(crate) spare: u16,
}

const _: () = assert!(LEN_MAX <= u16::MAX as usize);

impl Text {
    /// Bytes of the text.
    #[must_use]
    pub fn len(self) -> usize {
        usize::from(self.len)
    }

    /// Whether the text is empty.
    #[must_use]
    pub fn is_empty(self) -> bool {
        self.len == 0
    }
}

/// The buffer. Grain 0 is never given out, so that 0 can end a chain.
pub struct Arena {
    bytes: Vec<u8>,
    next: u32,
    free: [u32; CLASSES],
}

impl Arena {
    /// Reserves `capacity` bytes of address space; the kernel provides pages as they are used.
    #[must_use]
    pub fn with_capacity(capacity: usize) -> Self {
        let grains = (capacity / GRAIN + 1).min(u32::MAX as usize);
        Arena { bytes: vec![0; grains * GRAIN], next: 1, free: [0; CLASSES] }
    }

    /// Keeps a copy of `text`; `None` when the arena is full or the text longer than [`LEN_MAX`].
    pub fn insert(&mut self, text: &[u8]) -> Option<Text> {
        let len = u16::try_from(text.len()).ok()?;
        if text.is_empty() {
            return Some(Text::default());
        }
        let grain = self.take(text.len())?;
        let start = grain as usize * GRAIN;
        self.bytes[start..start + text.len()].copy_from_slice(text);
        Some(Text { grain, len, spare: 0 })
    }

    /// Frees `text`. It must not be used again.
    pub fn remove(&mut self, text: Text) {
        if text.is_empty() {
            return;
        }
        let class = grains(text.len());
        let start = text.grain as usize * GRAIN;
        self.bytes[start..start + 4].copy_from_slice(&self.free[class].to_ne_bytes());
        self.free[class] = text.grain;
    }

    /// The bytes of `text`.
    #[inline]
    #[must_use]
    pub fn get(&self, text: Text) -> &[u8] {
        let start = text.grain as usize * GRAIN;
        &self.bytes[start..start + text.len()]
    }

    /// Forgets all texts; the buffer stays allocated.
    pub fn clear(&mut self) {
        self.next = 1;
        self.free = [0; CLASSES];
    }

    fn take(&mut self, len: usize) -> Option<u32> {
        let class = grains(len);
        let head = *self.free.get(class)?;
        if head != 0 {
            let start = head as usize * GRAIN;
            let link = self.bytes[start..start + 4].try_into().expect("four bytes");
            self.free[class] = u32::from_ne_bytes(link);
            return Some(head);
        }
        let grain = self.next;
        let next = grain.checked_add(u32::try_from(class).ok()?)?;
        if next as usize * GRAIN > self.bytes.len() {
            return None;
        }
        self.next = next;
        Some(grain)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn room_is_used_again_and_runs_out() {
        let mut arena = Arena::with_capacity(64);
        let texts: Vec<_> = std::iter::from_fn(|| arena.insert(b"0123456789abcdef")).collect();
        assert_eq!(texts.len(), 4);
        arena.remove(texts[2]);
        assert!(arena.insert(b"seventeen bytes..").is_none());
        assert_eq!(arena.insert(b"again"), Some(Text { grain: texts[2].grain, len: 5, spare: 0 }));
    }

    #[test]
    fn texts_replaced_by_others_of_any_length_find_room() {
        let mut arena = Arena::with_capacity(room_for(4));
        let mut kept = [Text::default(); 4];
        for len in (1..=LEN_MAX).chain((1..=LEN_MAX).rev()) {
            for text in &mut kept {
                arena.remove(*text);
                *text = arena.insert(&vec![7; len]).expect("room");
            }
        }
        let all: usize =
            (1..=16).map(|grains| 16 * grains).sum::<usize>() + 512 + 1024 + 2048 + 4096;
        assert_eq!(room_for(1), all);
    }

    #[test]
    fn too_long_is_refused() {
        assert!(Arena::with_capacity(1 << 20).insert(&vec![1; LEN_MAX + 16]).is_none());
    }

    proptest! {
        #[test]
        fn agrees_with_a_list(ops in proptest::collection::vec((any::<bool>(), 0usize..300), 1..400)) {
            let mut arena = Arena::with_capacity(1 << 20);
            let mut model: Vec<(Text, Vec<u8>)> = Vec::new();
            for (step, (add, n)) in ops.into_iter().enumerate() {
                if add || model.is_empty() {
                    let text: Vec<u8> = (0..n).map(|i| (i * 7 + step).to_le_bytes()[0]).collect();
                    model.push((arena.insert(&text).expect("room"), text));
                } else {
                    let (text, bytes) = model.swap_remove(n % model.len());
                    prop_assert_eq!(arena.get(text), &bytes[..]);
                    arena.remove(text);
                }
                for (text, bytes) in &model {
                    prop_assert_eq!(arena.get(*text), &bytes[..]);
                }
            }
        }
    }
}

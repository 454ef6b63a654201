//! Files that were made, or linked, a short while ago.
//!
//! The kernel merges the removal of a name and its making into one event that says both, and not in
//! which order (see `doubts.rs`). Where the lines have the name already, its removal came first.

/// Files remembered, a power of two; each is forgotten for the next in its slot.
const COUNT: usize = 1 << 10;

/// By the hash of the file, which name it got last.
pub(crate) struct Links {
    slots: Vec<(u64, u64)>,
}

/// Tells names apart that one file may have.
#[inline]
fn spot(dir: u32, name: &[u8]) -> u64 {
    let mix =
        |hash: u64, part: u64| (hash.rotate_left(5) ^ part).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let (parts, rest) = name.as_chunks::<8>();
    let hash = mix(u64::from(dir), name.len() as u64);
    let hash = parts.iter().fold(hash, |hash, part| mix(hash, u64::from_ne_bytes(*part)));
    rest.iter().fold(hash, |hash, &byte| mix(hash, byte.into()))
}

fn slot(file: u64) -> usize {
    file as usize % COUNT
}

impl Links {
    pub(crate) fn new() -> Self {
        Links { slots: vec![(0, 0); COUNT] }
    }

    /// A file got a name.
    #[inline]
    pub(crate) fn made(&mut self, file: u64, dir: u32, name: &[u8]) {
        self.slots[slot(file)] = (file, spot(dir, name));
    }

    /// A file lost a name, or changed it.
    #[inline]
    pub(crate) fn gone(&mut self, file: u64) {
        let known = &mut self.slots[slot(file)];
        if known.0 == file {
            *known = (0, 0);
        }
    }

    /// Whether this name is the last that a file got, and the file lost none since.
    pub(crate) fn has(&self, file: u64, dir: u32, name: &[u8]) -> bool {
        self.slots[slot(file)] == (file, spot(dir, name))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_name_until_one_is_gone() {
        let mut links = Links::new();
        links.made(5, 1, b"name");
        assert!(links.has(5, 1, b"name") && !links.has(6, 1, b"name"));
        assert!(!links.has(5, 2, b"name") && !links.has(5, 1, b"fame"));
        links.gone(5 + COUNT as u64);
        assert!(links.has(5, 1, b"name"));
        links.gone(5);
        assert!(!links.has(5, 1, b"name"));
        links.made(5, 1, b"");
        links.made(5 + COUNT as u64, 1, b"");
        assert!(!links.has(5, 1, b""));
    }
}

//! Names that files got a short while ago.
//!
//! The kernel merges the removal of a name and its making into one event that says both, and not in
//! which order (see `doubts.rs`). Where the lines have the name already, its removal came first.

/// Names remembered, a power of two; each is forgotten for the next in its slot.
const COUNT: usize = 1 << 12;

/// By the hash of the file and the place of the name (`Tree::place`).
pub(crate) struct Links {
    slots: Vec<u64>,
}

/// What a name goes by that is one of several that a file may have.
#[inline]
fn link(file: u64, place: u64) -> u64 {
    file.rotate_left(32) ^ place
}

fn slot(link: u64) -> usize {
    link as usize % COUNT
}

impl Links {
    pub(crate) fn new() -> Self {
        Links { slots: vec![0; COUNT] }
    }

    /// A file got a name.
    #[inline]
    pub(crate) fn made(&mut self, file: u64, place: u64) {
        let link = link(file, place);
        self.slots[slot(link)] = link;
    }

    /// A file lost a name, or changed it.
    #[inline]
    pub(crate) fn gone(&mut self, file: u64, place: u64) {
        let link = link(file, place);
        let known = &mut self.slots[slot(link)];
        if *known == link {
            *known = 0;
        }
    }

    /// Whether a file is known to have that name.
    pub(crate) fn has(&self, file: u64, place: u64) -> bool {
        let link = link(file, place);
        self.slots[slot(link)] == link
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_name_of_a_file_until_it_is_gone() {
        let mut links = Links::new();
        links.made(5, 70);
        links.made(5, 71);
        assert!(links.has(5, 70) && links.has(5, 71) && !links.has(6, 70) && !links.has(5, 72));
        links.gone(5, 70 + COUNT as u64);
        assert!(links.has(5, 70));
        links.gone(5, 70);
        assert!(!links.has(5, 70) && links.has(5, 71));
        links.made(5, 71 + COUNT as u64);
        assert!(!links.has(5, 71), "forgotten for the next");
    }
}

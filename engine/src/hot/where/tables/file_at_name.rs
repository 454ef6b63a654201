//! Which file has which name, as far as the queue told a short while ago.
//!
//! The kernel merges events that wait in the queue (see `in_doubt.rs`), so a hard link can come or go
//! unseen, and one event can say that a name was removed and made, and not in which order. What
//! was told of the name before shows it.

use crate::hot::containers::ways::SetCache;
use crate::limits::tables::{NAME_SETS, NAME_WAYS};

/// By place (`Tree::place`); in each set the last comes first.
pub(crate) struct FileAtName {
    links: SetCache<Link, NAME_SETS, NAME_WAYS>,
}

/// A place, and the hash of the file that is there, or was there and is gone ([`GONE`]); 0 for none.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
struct Link {
    place: u64,
    file: u64,
}

/// The bit that no file's hash has ([`crate::hot::r#where::tree::Tree::hash`]): it is there no longer.
const GONE: u64 = 1;

/// The last thing that was told of a place. 0 stands for no file, or one that is not known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Last {
    There(u64),
    Gone(u64),
}

impl Last {
    /// Whether a file is there.
    pub(crate) fn is_there(self) -> bool {
        matches!(self, Last::There(1..))
    }

    /// Whether that file was removed from there.
    pub(crate) fn was(self, file: u64) -> bool {
        self == Last::Gone(file)
    }
}

impl FileAtName {
    pub(crate) fn new() -> Self {
        FileAtName { links: SetCache::new(Link::default()) }
    }

    /// A file is at that place from now on; 0: none is.
    #[inline]
    pub(crate) fn put(&mut self, place: u64, file: u64) {
        debug_assert!(file & GONE == 0, "as `Tree::hash` has it");
        self.keep(place, file);
    }

    /// A file was removed from that place.
    #[inline]
    pub(crate) fn remove(&mut self, place: u64, file: u64) {
        self.keep(place, file | GONE);
    }

    #[inline]
    fn keep(&mut self, place: u64, file: u64) {
        self.links.put_first(place, Link { place, file }, |link| link.place == place);
    }

    /// It is no longer known what is there.
    pub(crate) fn forget(&mut self, place: u64) {
        if let Some(at) = self.links.find(place, |link| link.place == place) {
            self.links.forget(at);
        }
    }

    /// Nothing is known any more.
    pub(crate) fn clear(&mut self) {
        self.links.clear();
    }

    /// What is known of a place.
    #[inline]
    pub(crate) fn last(&self, place: u64) -> Option<Last> {
        let of = |file| if file & GONE == 0 { Last::There(file) } else { Last::Gone(file & !GONE) };
        self.find(place).map(of)
    }

    /// The file that is known to be there; `Some(0)` where it is known that none is.
    #[inline]
    pub(crate) fn at(&self, place: u64) -> Option<u64> {
        self.find(place).map(|file| if file & GONE == 0 { file } else { 0 })
    }

    /// Whether that file was removed from that place, and nothing came there since.
    #[inline]
    pub(crate) fn was_removed(&self, place: u64, file: u64) -> bool {
        self.find(place) == Some(file | GONE)
    }

    #[inline]
    fn find(&self, place: u64) -> Option<u64> {
        self.links.look(place, |link| link.place == place).map(|link| link.file)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_told_of_a_place_last() {
        let mut links = FileAtName::new();
        links.put(70, 4);
        links.put(71, 4);
        links.remove(70, 4);
        assert_eq!((links.at(70), links.at(71), links.at(72)), (Some(0), Some(4), None));
        assert!(links.was_removed(70, 4) && !links.was_removed(70, 6) && !links.was_removed(71, 4));
        links.forget(70 + NAME_SETS as u64);
        assert_eq!(links.at(70), Some(0));
        links.forget(70);
        assert_eq!(links.at(70), None);
        for time in 1..=NAME_WAYS as u64 {
            links.put(71, 4);
            links.put(71 + time * NAME_SETS as u64, 6);
        }
        assert_eq!(
            (links.at(71), links.at(71 + NAME_SETS as u64)),
            (Some(4), None),
            "the oldest goes"
        );
        links.clear();
        assert_eq!(links.at(71), None);
    }
}

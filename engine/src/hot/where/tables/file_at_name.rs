//! Which file has which name, by the last events.
//!
//! The kernel merges events that wait in the queue (see `in_doubt.rs`). So a hard link can be made or removed
//! without an event, and one event can say that a name was removed and made, without the order. What was last
//! reported of the name decides.

use crate::hot::containers::ways::SetCache;
use crate::limits::tables::{NAME_SETS, NAME_WAYS};

/// By place; in each set the last one comes first.
pub(crate) struct FileAtName {
    links: SetCache<Link, NAME_SETS, NAME_WAYS>,
}

/// A place, and the hash of the file there, or of the file that was removed from there ([`GONE`]); 0 for none.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
struct Link {
    place: u64,
    file: u64,
}

/// The bit that is clear in each hash of a file ([`crate::hot::r#where::tree::Tree::hash`]): the file was removed.
const GONE: u64 = 1;

/// What was last reported of a place. 0 stands for no file, or an unknown one.
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

    /// Records that `file` is at `place`; 0: no file.
    #[inline]
    pub(crate) fn put(&mut self, place: u64, file: u64) {
        debug_assert!(file & GONE == 0, "as `Tree::hash` has it");
        self.keep(place, file);
    }

    /// Records that `file` was removed from `place`.
    #[inline]
    pub(crate) fn remove(&mut self, place: u64, file: u64) {
        self.keep(place, file | GONE);
    }

    #[inline]
    fn keep(&mut self, place: u64, file: u64) {
        self.links.put_first(place, Link { place, file }, |link| link.place == place);
    }

    /// Forgets a place.
    pub(crate) fn forget(&mut self, place: u64) {
        if let Some(at) = self.links.find(place, |link| link.place == place) {
            self.links.forget(at);
        }
    }

    /// Forgets everything.
    pub(crate) fn clear(&mut self) {
        self.links.clear();
    }

    /// What is known of a place.
    #[inline]
    pub(crate) fn last(&self, place: u64) -> Option<Last> {
        let of = |file| if file & GONE == 0 { Last::There(file) } else { Last::Gone(file & !GONE) };
        self.find(place).map(of)
    }

    /// The file that is at `place`; `Some(0)` if no file is.
    #[inline]
    pub(crate) fn at(&self, place: u64) -> Option<u64> {
        self.find(place).map(|file| if file & GONE == 0 { file } else { 0 })
    }

    /// Whether `file` was removed from `place`, and nothing came there since.
    #[inline]
    pub(crate) fn was_removed(&self, place: u64, file: u64) -> bool {
        self.find(place) == Some(file | GONE)
    }

    #[inline]
    fn find(&self, place: u64) -> Option<u64> {
        self.links.get(place, |link| link.place == place).map(|link| link.file)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_file_at_a_place_is_known() {
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

//! Events that came before their directory was known, kept to be resolved again.
//!
//! Another process can use a new directory just before the event of its mkdir is queued. And the last event of an
//! object can come before the DELETE that has its name. The last few events of unknown objects are kept for two
//! batches, and resolved when the object comes up. Events outside the watched paths are kept as well, as fsmon
//! cannot distinguish them, and may overwrite an event in a new directory. Which directories that concerns is
//! remembered as long, and counted when one of them is made.

use crate::hot::containers::last::LastN;
use crate::hot::event::{Event, Events};
use crate::hot::r#where::tables::forgotten::Forgotten;
use crate::limits::tables::{ORPHAN_BATCHES, ORPHAN_BYTES, ORPHANS_KEPT};

struct Orphan {
    hash: u64,
    batch: u64,
    /// Its index in the queue.
    index: u64,
    len: u16,
    /// Whether it has a location: it is about a directory or its entries.
    has_location: bool,
    bytes: [u8; ORPHAN_BYTES],
}

impl Orphan {
    const NONE: Orphan = Orphan {
        hash: 0,
        batch: 0,
        index: 0,
        len: 0,
        has_location: false,
        bytes: [0; ORPHAN_BYTES],
    };
}

/// The kept events; the oldest is overwritten first.
pub(crate) struct Orphans {
    kept: LastN<Orphan>,
    batch: u64,
    /// The last batch in which one was kept: without one in this batch or the previous, a search is needless.
    last_kept: u64,
    /// Directories of which an event was overwritten.
    overwritten: Forgotten,
    /// How many of those were made shortly after.
    forgotten: u64,
}

impl Orphans {
    pub(crate) fn new() -> Self {
        Orphans {
            kept: LastN::new(ORPHANS_KEPT),
            batch: ORPHAN_BATCHES,
            last_kept: 0,
            overwritten: Forgotten::new(),
            forgotten: 0,
        }
    }

    /// Begins a new batch.
    pub(crate) fn begin_batch(&mut self) {
        self.batch += 1;
        self.overwritten.age();
    }

    /// Number of directories that were made after an event of theirs had been overwritten.
    pub(crate) fn forgotten(&self) -> u64 {
        self.forgotten
    }

    /// Keeps an event of the unknown object with that hash, and its index in the queue.
    pub(crate) fn keep(&mut self, hash: u64, index: u64, event: &Event<'_>) {
        let Some(len) =
            u16::try_from(event.raw.len()).ok().filter(|&len| len as usize <= ORPHAN_BYTES)
        else {
            self.overwritten.put(hash);
            self.last_kept = self.batch;
            return;
        };
        let Some(orphan) = self.kept.reuse(|| Orphan::NONE) else { return };
        // Only DELETE_SELF and MOVE_SELF of files come here, about a name that came up just before.
        if orphan.len > 0 && orphan.batch + ORPHAN_BATCHES > self.batch && orphan.has_location {
            self.overwritten.put(orphan.hash);
        }
        (orphan.hash, orphan.batch) = (hash, self.batch);
        (orphan.index, orphan.len) = (index, len);
        orphan.has_location = event.location.is_some();
        orphan.bytes[..event.raw.len()].copy_from_slice(event.raw);
        self.last_kept = self.batch;
    }

    /// Forgets the events of the object with that hash: they may be of another object that had its handle before.
    /// Returns whether there were any.
    pub(crate) fn forget(&mut self, hash: u64) -> bool {
        let mut any = self.overwritten.has(hash);
        for orphan in self.kept.iter_mut().filter(|orphan| orphan.hash == hash) {
            any |= std::mem::take(&mut orphan.len) > 0;
        }
        any
    }

    /// Whether [`Orphans::take`] may find an event.
    #[inline]
    pub(crate) fn any(&self) -> bool {
        self.last_kept + ORPHAN_BATCHES > self.batch
    }

    /// Records that the directory with that hash was made. Counts it if an event of it was overwritten.
    pub(crate) fn note_made(&mut self, hash: u64) {
        self.forgotten += u64::from(self.overwritten.has(hash));
    }

    /// Copies the oldest event of the object with that hash to `out`, and forgets it.
    pub(crate) fn take<'a>(
        &mut self,
        hash: u64,
        out: &'a mut [u8; ORPHAN_BYTES],
    ) -> Option<(u64, Event<'a>)> {
        let oldest = self.batch + 1 - ORPHAN_BATCHES;
        let orphan = self
            .kept
            .oldest_first_mut()
            .find(|orphan| orphan.len > 0 && orphan.hash == hash && orphan.batch >= oldest)?;
        let len = usize::from(std::mem::take(&mut orphan.len));
        out[..len].copy_from_slice(&orphan.bytes[..len]);
        Events(&out[..len]).next().map(|event| (orphan.index, event))
    }

    /// Room for [`Orphans::take`].
    pub(crate) fn room() -> [u8; ORPHAN_BYTES] {
        [0; ORPHAN_BYTES]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hot::event::tests::{event, info};

    #[test]
    fn what_is_forgotten_does_not_come_back() {
        let mut orphans = Orphans::new();
        let bytes = event(8, 1, &[info(2, b"dir", Some(b"first"))]);
        orphans.keep(5, 0, &Events(&bytes).next().expect("an event"));
        assert!(!orphans.forget(6) && orphans.forget(5) && !orphans.forget(5));
        assert!(orphans.take(5, &mut Orphans::room()).is_none());
    }

    #[test]
    fn events_come_back_in_order_and_only_for_two_batches() {
        let mut orphans = Orphans::new();
        let bytes = event(8, 1, &[info(2, b"dir", Some(b"first"))]);
        let later = event(8, 2, &[info(2, b"dir", Some(b"second"))]);
        for bytes in [&bytes, &later] {
            orphans.keep(5, 0, &Events(bytes).next().expect("an event"));
        }
        orphans.begin_batch();
        let mut room = Orphans::room();
        assert!(orphans.take(6, &mut room).is_none());
        assert_eq!(orphans.take(5, &mut room).map(|(_, event)| event.pid), Some(1));
        orphans.begin_batch();
        assert!(!orphans.any() && orphans.take(5, &mut room).is_none());
    }

    #[test]
    fn a_directory_whose_event_was_overwritten_is_counted_when_it_is_made() {
        let mut orphans = Orphans::new();
        let bytes = event(8, 1, &[info(2, b"dir", Some(b"name"))]);
        let event = Events(&bytes).next().expect("an event");
        let hash = |number: u64| number << 33;
        for number in 1..=ORPHANS_KEPT as u64 + 1 {
            orphans.keep(hash(number), 0, &event);
        }
        orphans.note_made(hash(2));
        orphans.note_made(hash(ORPHANS_KEPT as u64 + 1));
        assert_eq!(orphans.forgotten(), 0, "they are kept");
        orphans.begin_batch();
        orphans.note_made(hash(1));
        assert_eq!(orphans.forgotten(), 1);
        orphans.begin_batch();
        orphans.note_made(hash(1));
        assert_eq!(orphans.forgotten(), 1, "another, with the same handle");
        for number in 1..=ORPHANS_KEPT as u64 {
            orphans.keep(hash(number), 0, &event);
        }
        assert!(
            (1..999).all(|number| !orphans.overwritten.has(hash(number))),
            "those before are old"
        );
    }
}

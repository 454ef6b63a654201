//! Events that came before their directory was known, kept for a second look.
//!
//! Another process can use a new directory an instant before the event of its mkdir is queued,
//! and an object's last event can come before the DELETE that tells its name. The last few events
//! of unknown objects are kept for two batches, and looked at again when the object comes up. What happens outside
//! the watched paths is kept as well, as nobody can tell the two apart, and may take the place of an event in a new
//! directory: which directories that concerns is known for as long, and is counted when one of them is made.

use crate::hot::containers::last::LastN;
use crate::hot::event::{Event, Events};
use crate::hot::r#where::tables::forgotten::Forgotten;
use crate::limits::tables::{ORPHAN_BATCHES, ORPHAN_BYTES, ORPHANS_KEPT};

struct Orphan {
    hash: u64,
    batch: u64,
    /// Its number in the queue.
    index: u64,
    len: u16,
    /// Whether it is of a directory or its entries.
    has_place: bool,
    bytes: [u8; ORPHAN_BYTES],
}

impl Orphan {
    const NONE: Orphan =
        Orphan { hash: 0, batch: 0, index: 0, len: 0, has_place: false, bytes: [0; ORPHAN_BYTES] };
}

/// The kept events, oldest overwritten first.
pub(crate) struct Orphans {
    kept: LastN<Orphan>,
    batch: u64,
    /// Whether any was kept in this batch or the one before: else there is nothing to look for.
    last_kept: u64,
    /// Directories of which an event was overwritten.
    overwritten: Forgotten,
    /// How many of those were made a moment later.
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

    /// A new batch begins.
    pub(crate) fn begin_batch(&mut self) {
        self.batch += 1;
        self.overwritten.age();
    }

    /// Directories that were made, and of which an event had been overwritten.
    pub(crate) fn forgotten(&self) -> u64 {
        self.forgotten
    }

    /// Keeps an event of the unknown object with that hash, and its number in the queue.
    pub(crate) fn keep(&mut self, hash: u64, index: u64, event: &Event<'_>) {
        let Some(len) =
            u16::try_from(event.raw.len()).ok().filter(|&len| len as usize <= ORPHAN_BYTES)
        else {
            self.overwritten.put(hash);
            self.last_kept = self.batch;
            return;
        };
        let Some(orphan) = self.kept.reuse(|| Orphan::NONE) else { return };
        // Of a file only DELETE_SELF and MOVE_SELF come here: those of a name that went by just before.
        if orphan.len > 0 && orphan.batch + ORPHAN_BATCHES > self.batch && orphan.has_place {
            self.overwritten.put(orphan.hash);
        }
        (orphan.hash, orphan.batch) = (hash, self.batch);
        (orphan.index, orphan.len) = (index, len);
        orphan.has_place = event.location.is_some();
        orphan.bytes[..event.raw.len()].copy_from_slice(event.raw);
        self.last_kept = self.batch;
    }

    /// What was kept of the object with that hash may be of another that had its handle before. Whether anything
    /// was.
    pub(crate) fn forget(&mut self, hash: u64) -> bool {
        let mut any = self.overwritten.has(hash);
        for orphan in self.kept.iter_mut().filter(|orphan| orphan.hash == hash) {
            any |= std::mem::take(&mut orphan.len) > 0;
        }
        any
    }

    /// Whether there may be something to [`Orphans::take`].
    #[inline]
    pub(crate) fn any(&self) -> bool {
        self.last_kept + ORPHAN_BATCHES > self.batch
    }

    /// The directory of that hash was made. Counts it if an event of it was overwritten.
    pub(crate) fn note_made(&mut self, hash: u64) {
        self.forgotten += u64::from(self.overwritten.has(hash));
    }

    /// Copies the oldest event of the object with that hash into `out` and forgets it.
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

//! A directory of segments that a recorder keeps for years: durable, listed in a catalogue, and bounded by age, size and
//! free space. docs/history.md says what the files are and what is deleted when.
//!
//! ```no_run
//! use fsmon_store::history::{Disk, History, Keep, Now};
//! # fn record(writer: &mut fsmon_format::stream::Writer<Vec<u8>>, keep: Keep, boot_id: [u8; 16])
//! #     -> Result<(), fsmon_format::error::Error> {
//! let dir = "/var/lib/fsmon/history".as_ref();
//! let now = || Now::of_this_host(boot_id, false);
//! let mut history = History::open(dir, keep, &now())?;
//! let before = history.last(); // for the GAP
//! // The writer's buffer begins with the file header.
//! let mut segment = history.begin_segment(writer.get_mut())?;
//! writer.get_mut().clear();
//! // … records are pushed to the writer and noted: segment.note(&record, &mirror) …
//! if let Err(failure) = segment.append(writer.get_mut()) {
//!     writer.get_mut().drain(..failure.written); // paused; try again later
//! }
//! history.close_segment(segment, &now())?;
//! // Meanwhile, in another thread or now and then: what the last recorder left, and what is too old.
//! history.catch_up(&now())?;
//! let done = history.maintain(&now(), 0, Disk::of(dir).expect("mounted"));
//! # let _ = (before, done); Ok(())
//! # }
//! ```

mod catalogue;
mod clock;
mod directory;
mod entry;
mod mend;
mod reach;
mod retention;
mod scan;
mod segment;
mod tally;

#[cfg(test)]
mod clock_test;
#[cfg(test)]
mod fixture;
#[cfg(test)]
mod reach_test;
#[cfg(test)]
mod retention_test;
#[cfg(test)]
mod tests;

pub use catalogue::{Catalogue, Difference};
pub use clock::{HistoryClock, Now};
pub use directory::{CATALOGUE, KEY, LOCK, index_name, part_name};
pub(crate) use directory::{
    create as make_file, is_segment, open as open_file, replace as replace_file,
};
pub use entry::{Ending, Entry};
pub use mend::{Mended, mend};
pub use reach::{OpenSegment, Reach};
pub use retention::{Deletion, Disk, Free, Keep, Plan, Usage, Why, plan};
pub(crate) use scan::header_of;
pub use scan::scan;
pub use segment::{AppendError, SegmentWriter};
pub use tally::{Cgroup, Tally, Top};

use crate::files::{self, is_written};
use crate::limits::{CLOCK_SAVED_EVERY_NS, DELETE_RETRY_NS, FREE_MARGIN, KEY_BYTES, SHORT_FOR_NS};
use fsmon_format::error::{Error, ErrorKind};
use fsmon_format::stream::Header;
use fsmon_present::message::shown;
use std::collections::{HashMap, HashSet};
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};

/// How the last stream before this recorder ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum How {
    /// In order, with an END record.
    Closed,
    /// Anywhere: its recorder was killed, or the host went down.
    Open,
}

/// The last stream of a history.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Last {
    /// Its id.
    pub stream_id: [u8; 16],
    /// EVENT records in it.
    pub events: u64,
    /// The wall time of its last record, ns since 1970.
    pub last_wall_ns: u64,
    /// The boot in which it was recorded.
    pub boot_id: [u8; 16],
    /// How it ended.
    pub how: How,
}

/// A history that is open for recording. No other process can open it meanwhile.
pub struct History {
    dir: PathBuf,
    /// Held until this is dropped.
    _lock: File,
    key: [u8; KEY_BYTES],
    catalogue: Catalogue,
    keep: Keep,
    last: Option<Last>,
    /// Segments of earlier recorders that are not in the catalogue yet, with their lengths.
    unlisted: Vec<(String, u64)>,
    /// Those that cannot be read.
    unreadable: Vec<(String, u64)>,
    /// Entries of `unlisted` that were read, and wait for the others: only then their age is known.
    adopted: Vec<Entry>,
    /// Whether the file of the catalogue differs from `catalogue`.
    is_dirty: bool,
    /// The history clock when it was saved.
    saved_at_ns: u64,
    space: Space,
    oldest: reach::Begin,
    /// Segments that could not be deleted, and when to try again, by the history clock.
    undeletable: HashMap<String, u64>,
}

/// Whether there is room to record.
#[derive(Default)]
struct Space {
    /// Since when there is too little free space, by the history clock.
    short_since_ns: Option<u64>,
    paused: Option<Why>,
}

/// What [`History::maintain`] and [`History::delete`] did.
#[derive(Debug, Default)]
pub struct Outcome {
    /// What was deleted.
    pub deleted: Vec<Deletion>,
    /// What could not be deleted; each segment is reported once. A file that was gone already is no failure.
    pub failed: Vec<(String, Error)>,
    /// Why the catalogue could not be written. It will be tried again.
    pub not_saved: Option<Error>,
}

impl History {
    /// Opens the history in `dir`, and makes it if it is missing. Reads no segment from end to end: those of a recorder
    /// that was killed are [`History::unlisted`], all of them if the catalogue is lost.
    ///
    /// # Errors
    /// Another process records into it ([`ErrorKind::Busy`]); a file cannot be made or read; the key is damaged.
    pub fn open(dir: &Path, keep: Keep, now: &Now) -> Result<Self, Error> {
        let failed = |what: &str, error| Error::os(format!("cannot {what} {}", shown(dir)), error);
        directory::make(dir).map_err(|error| failed("make", error))?;
        let lock = directory::lock(dir)?;
        let key = directory::key(dir)?;
        let (mut catalogue, is_dirty) = match Catalogue::read(dir) {
            Ok(Some(catalogue)) => (catalogue, false),
            Ok(None) => (Catalogue::default(), true),
            // Or of a newer version. It is made again from the segments.
            Err(error) if error.kind() == ErrorKind::Damaged => (Catalogue::default(), true),
            Err(error) => return Err(error),
        };
        catalogue.advance(now);
        let difference = catalogue.compare(dir)?;
        let changed = difference.not_listed.iter().map(|(name, _)| name);
        let wrong: HashSet<&String> = difference.missing.iter().chain(changed).collect();
        let listed = catalogue.entries.len();
        catalogue.entries.retain(|entry| !wrong.contains(&entry.file));
        let is_dirty = is_dirty || catalogue.entries.len() < listed;
        let mut history = History {
            dir: dir.to_owned(),
            _lock: lock,
            key,
            catalogue,
            keep,
            last: None,
            unlisted: left_behind(dir, difference.not_listed),
            unreadable: Vec::new(),
            adopted: Vec::new(),
            is_dirty,
            saved_at_ns: 0,
            space: Space::default(),
            oldest: reach::Begin::default(),
            undeletable: HashMap::new(),
        };
        history.last = history.find_last();
        // Saves which boot this is. On a full disk that is tried again, once there is room.
        history.is_dirty |= history.save().is_err();
        Ok(history)
    }

    /// The directory.
    #[must_use]
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// The key with which objects are hashed: random, and the same for as long as the history exists.
    #[must_use]
    pub fn key(&self) -> &[u8; KEY_BYTES] {
        &self.key
    }

    /// What is known of the closed segments.
    #[must_use]
    pub fn catalogue(&self) -> &Catalogue {
        &self.catalogue
    }

    /// What is kept.
    #[must_use]
    pub fn keep(&self) -> &Keep {
        &self.keep
    }

    /// Keeps something else from now on.
    pub fn set_keep(&mut self, keep: Keep) {
        self.keep = keep;
    }

    /// The stream that was recorded last before this history was opened; `None` if it was empty.
    #[must_use]
    pub fn last(&self) -> Option<Last> {
        self.last
    }

    /// Bytes of all segments but those that are being written.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        let listed = self.catalogue.entries.iter().chain(&self.adopted).map(|entry| entry.bytes);
        let others = self.unlisted.iter().chain(&self.unreadable).map(|(_, bytes)| *bytes);
        listed.chain(others).fold(0, u64::saturating_add)
    }

    /// Makes the next segment. `first` is what the stream's writer wrote: a file header, and perhaps blocks. The file has
    /// its final name at once, which is durable when this returns, as the header is with the first
    /// [`SegmentWriter::sync_data`].
    ///
    /// # Errors
    /// It cannot be made; nothing is left of it. EEXIST ([`Error::raw_os_error`]): another file has its name, so that it needs
    /// another number. That is possible if its filesystem went away and came back.
    pub fn begin_segment(&mut self, first: &[u8]) -> Result<SegmentWriter, Error> {
        SegmentWriter::begin(&self.dir, first)
    }

    /// Closes a segment that was ended, and makes it durable: first its data, then its entry in the catalogue.
    ///
    /// # Errors
    /// Something is not durable, or the segment could not be read again. Its entry is in [`History::catalogue`] if its
    /// header can be read, and saving it is tried again.
    pub fn close_segment(&mut self, segment: SegmentWriter, now: &Now) -> Result<Entry, Error> {
        let synced = segment.sync_data();
        let entry = match segment.entry() {
            Some(entry) => Ok(entry),
            None => scan(&self.dir, segment.name()),
        };
        let mut entry = match entry {
            Ok(entry) => entry,
            Err(error) => {
                self.unreadable.push((segment.name().to_owned(), segment.bytes()));
                return Err(error);
            }
        };
        drop(segment);
        let now_ns = self.catalogue.advance(now);
        let clock = self.catalogue.clock.as_ref();
        let at = |clock: &HistoryClock| clock.at_monotonic(&entry.boot_id, entry.monotonic_ns.1);
        entry.clock_ns = clock.and_then(at).unwrap_or(now_ns);
        self.catalogue.insert(vec![entry.clone()]);
        self.is_dirty = true;
        synced.and(self.save())?;
        Ok(entry)
    }

    /// The segments of earlier recorders that are not in the catalogue. Nothing is deleted while there are some: it is not
    /// known how old they are. Each can be read with [`scan`], in any thread, and given to [`History::adopt`].
    #[must_use]
    pub fn unlisted(&self) -> Vec<String> {
        self.unlisted.iter().map(|(name, _)| name.clone()).collect()
    }

    /// Leaves out an unlisted segment that is gone: [`mend`] has deleted it.
    pub fn forget(&mut self, file: &str) {
        self.unlisted.retain(|(name, _)| name != file);
    }

    /// Takes what [`scan`] said of an unlisted segment.
    ///
    /// # Errors
    /// The catalogue cannot be saved; that is tried again. Or `scanned` is an error, and the segment is left alone from
    /// now on.
    pub fn adopt(
        &mut self,
        file: &str,
        scanned: Result<Entry, Error>,
        now: &Now,
    ) -> Result<(), Error> {
        let Some(index) = self.unlisted.iter().position(|(name, _)| name == file) else {
            return Ok(());
        };
        let unlisted = self.unlisted.swap_remove(index);
        let scanned = scanned.map(|entry| self.adopted.push(entry));
        if scanned.is_err() {
            self.unreadable.push(unlisted);
        }
        if !self.unlisted.is_empty() {
            return scanned;
        }
        self.catalogue.advance(now);
        let mut adopted = std::mem::take(&mut self.adopted);
        self.catalogue.date(&mut adopted, now);
        self.catalogue.insert(adopted);
        self.is_dirty = true;
        scanned.and(self.save())
    }

    /// Reads all unlisted segments, with [`scan`]; without a catalogue these are all segments.
    ///
    /// # Errors
    /// As [`History::adopt`]; the first error, after all of them.
    pub fn catch_up(&mut self, now: &Now) -> Result<(), Error> {
        let mut result = Ok(());
        for file in self.unlisted() {
            let scanned = scan(&self.dir, &file);
            result = result.and(self.adopt(&file, scanned, now));
        }
        result
    }

    /// What must be deleted to keep what `keep` says, such as that of `clean`. `open_bytes` are those of the segments that
    /// are being written. Nothing is to be deleted while segments are [`History::unlisted`].
    pub fn plan(&mut self, keep: &Keep, now: &Now, open_bytes: u64, disk: Disk) -> Plan {
        let clock_ns = self.catalogue.advance(now);
        let listed = self.catalogue.entries.iter().map(|entry| entry.bytes);
        let listed_bytes = listed.fold(0, u64::saturating_add);
        let open_bytes = open_bytes.saturating_add(self.bytes() - listed_bytes);
        let entries: &[Entry] =
            if self.unlisted.is_empty() { &self.catalogue.entries } else { &[] };
        plan(entries, &Usage { clock_ns, open_bytes, disk }, keep)
    }

    /// Deletes segments with their indexes, then their entries. What a reader has open stays readable.
    pub fn delete(&mut self, deletions: Vec<Deletion>) -> Outcome {
        let clock_ns = self.catalogue.clock.as_ref().map_or(0, HistoryClock::ns);
        let mut outcome = Outcome::default();
        for deletion in deletions {
            let file = &deletion.entry.file;
            if self.undeletable.get(file).is_some_and(|again_ns| clock_ns < *again_ns) {
                continue;
            }
            match remove(&self.dir, file) {
                Ok(()) => {
                    self.undeletable.remove(file);
                    outcome.deleted.push(deletion);
                }
                Err(error) => {
                    let again_ns = clock_ns.saturating_add(DELETE_RETRY_NS);
                    if self.undeletable.insert(file.clone(), again_ns).is_none() {
                        outcome.failed.push((file.clone(), error));
                    }
                }
            }
        }
        if !outcome.deleted.is_empty() {
            let deleted: HashSet<&str> =
                outcome.deleted.iter().map(|deletion| &*deletion.entry.file).collect();
            self.catalogue.entries.retain(|entry| !deleted.contains(&*entry.file));
            self.is_dirty = true;
            outcome.not_saved = self.save().err();
        }
        outcome
    }

    /// Deletes what is beyond the limits, saves the clock now and then, and decides whether recording must pause. Call it
    /// about once a second; nothing is written unless something changed.
    pub fn maintain(&mut self, now: &Now, open_bytes: u64, disk: Disk) -> Outcome {
        let clock_ns = self.catalogue.advance(now);
        let mut keep = self.keep;
        if !self.is_short_of_space(disk, clock_ns) {
            keep.free = None;
        }
        let plan = self.plan(&keep, now, open_bytes, disk);
        let mut outcome = self.delete(plan.deletions);
        let freed = outcome.deleted.iter().map(|deletion| deletion.entry.bytes);
        let free = freed.fold(disk.free, u64::saturating_add);
        let after = self.plan(&keep, now, open_bytes, Disk { free, ..disk });
        let stuck =
            after.deletions.iter().map(|deletion| deletion.why).find(|why| *why != Why::Age);
        // While it is paused for free space, `keep.free` is set until there is some more than is wanted.
        let is_waiting = keep.free.is_some() && outcome.deleted.is_empty();
        let waiting = self.space.paused.filter(|why| *why == Why::Free && is_waiting);
        // While the age of some is not known nothing goes, so that being too large is no reason to pause.
        let is_known = self.unlisted.is_empty();
        self.space.paused = stuck.or(after.is_short).or(waiting).filter(|_| is_known);
        let is_due = clock_ns.saturating_sub(self.saved_at_ns) >= CLOCK_SAVED_EVERY_NS;
        if (self.is_dirty || is_due) && outcome.not_saved.is_none() {
            outcome.not_saved = self.save().err();
        }
        outcome
    }

    /// Whether recording must pause, and why: all that could be deleted is younger than `at_least`, or cannot be deleted.
    /// As [`History::maintain`] found it last.
    #[must_use]
    pub fn is_paused_for_space(&self) -> Option<Why> {
        self.space.paused
    }

    /// Whether there has been too little free space for long enough.
    fn is_short_of_space(&mut self, disk: Disk, clock_ns: u64) -> bool {
        let Some(free) = self.keep.free else { return false };
        let mut wanted = free.bytes(disk.total);
        if self.space.paused == Some(Why::Free) {
            wanted = wanted.saturating_add(wanted / FREE_MARGIN);
        }
        if disk.free >= wanted {
            self.space.short_since_ns = None;
            return false;
        }
        let since_ns = *self.space.short_since_ns.get_or_insert(clock_ns);
        clock_ns.saturating_sub(since_ns) >= SHORT_FOR_NS
    }

    fn save(&mut self) -> Result<(), Error> {
        directory::replace(&self.dir, CATALOGUE, &self.catalogue.encode()).map_err(|error| {
            let path = self.dir.join(CATALOGUE);
            Error::os(format!("cannot write {}", shown(&path)), error)
        })?;
        self.is_dirty = false;
        self.saved_at_ns = self.catalogue.clock.as_ref().map_or(0, HistoryClock::ns);
        Ok(())
    }

    fn find_last(&self) -> Option<Last> {
        let mut files: Vec<(&str, Header)> = Vec::new();
        for (name, _) in &self.unlisted {
            files.extend(files::header_of(&self.dir.join(name)).map(|header| (&**name, header)));
        }
        Header::sort(&mut files, |(_, header)| Some(header));
        // What is not in the catalogue was written after what is.
        let unlisted = files.iter().rev().find_map(|(name, _)| {
            let tail = scan::tail(&self.dir.join(name)).ok().flatten()?;
            Some(Last {
                stream_id: tail.stream_id,
                events: tail.events,
                last_wall_ns: tail.wall_end_ns,
                boot_id: tail.boot_id,
                how: if tail.has_end { How::Closed } else { How::Open },
            })
        });
        unlisted.or_else(|| self.catalogue.entries.last().map(Last::of))
    }
}

impl Last {
    fn of(entry: &Entry) -> Self {
        Last {
            stream_id: entry.stream_id,
            events: entry.first_event.saturating_add(entry.events),
            last_wall_ns: entry.wall_end_ns,
            boot_id: entry.boot_id,
            how: if entry.ending == Ending::Ended { How::Closed } else { How::Open },
        }
    }
}

/// The segments that no process writes, without those that are empty, which are removed: their recorder was killed before it
/// wrote the header.
fn left_behind(dir: &Path, mut files: Vec<(String, u64)>) -> Vec<(String, u64)> {
    files.retain(|(name, bytes)| {
        let path = dir.join(name);
        let is_left = directory::open(&path).is_ok_and(|file| !is_written(&file));
        if is_left && *bytes == 0 {
            let _ = std::fs::remove_file(&path);
        }
        is_left && *bytes > 0
    });
    files
}

fn remove(dir: &Path, file: &str) -> Result<(), Error> {
    let path = dir.join(file);
    let removed = |path: &Path| match std::fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            Err(Error::os(format!("cannot delete {}", shown(path)), error))
        }
        _ => Ok(()),
    };
    removed(&path)?;
    // An index without its segment is ignored.
    let _ = removed(&dir.join(index_name(file)));
    let _ = removed(&dir.join(part_name(file)));
    Ok(())
}

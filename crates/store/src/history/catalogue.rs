//! The catalogue: what each closed segment has, in one file. docs/history.md specifies it.

use super::clock::{Before, HistoryClock, Now};
use super::directory::{self, CATALOGUE};
use super::entry::{Ending, Entry};
use super::scan::scan;
use super::tally::{Cgroup, Top};
use crate::limits::{CATALOGUE_BYTES_MAX, SEGMENTS_MAX, TOP_NAME_MAX, TOPS};
use fsmon_format::error::{Error, ErrorKind};
use fsmon_format::number::{to_u8, to_u16, to_u32};
use fsmon_format::stream::Header;
use fsmon_present::message::shown;
use std::collections::{HashMap, HashSet};
use std::io::{self, Read};
use std::path::Path;

const MAGIC: [u8; 8] = *b"\x89FSC\r\n\x1a\n";
const MAJOR: u16 = 1;
const HEADER_LEN: usize = 128;
const HEADER_CRC_AT: usize = HEADER_LEN - 4;
/// Bytes of an entry before its tops.
const ENTRY_FIXED: usize = 152;
const ALIGN: usize = 8;

/// Bits of the file header's flags.
mod file_flag {
    pub(super) const CLOCK: u32 = 1;
    pub(super) const SYNCHRONISED: u32 = 1 << 1;
    pub(super) const BEFORE: u32 = 1 << 2;
    pub(super) const LIMITED: u32 = 1 << 3;
}

/// Bits of an entry's flags.
mod entry_flag {
    pub(super) const FINAL: u16 = 1;
    pub(super) const ENDED: u16 = 1 << 1;
    pub(super) const INCOMPLETE: u16 = 1 << 2;
    pub(super) const DAMAGED: u16 = 1 << 3;
}

/// The closed segments of a history, oldest first, and its clock.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Catalogue {
    pub(crate) entries: Vec<Entry>,
    /// `None`: nothing was ever dated.
    pub(crate) clock: Option<HistoryClock>,
}

/// Where a catalogue and its directory differ.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Difference {
    /// Segments without an entry, or with another length than their entry says; with their lengths in bytes. A segment
    /// that is being written is among them.
    pub not_listed: Vec<(String, u64)>,
    /// Entries without a file.
    pub missing: Vec<String>,
}

impl Catalogue {
    /// The closed segments, oldest first by the history clock.
    #[must_use]
    pub fn entries(&self) -> &[Entry] {
        &self.entries
    }

    /// Reads the catalogue of a directory; `None` if it has none. Needs no lock: the file is replaced as a whole.
    ///
    /// # Errors
    /// It cannot be read; it is damaged, or newer than this version.
    pub fn read(dir: &Path) -> Result<Option<Self>, Error> {
        let path = dir.join(CATALOGUE);
        let failed = |error| Error::os(format!("cannot read {}", shown(&path)), error);
        let file = match directory::open(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            opened => opened.map_err(failed)?,
        };
        let mut bytes = Vec::new();
        file.take(CATALOGUE_BYTES_MAX as u64 + 1).read_to_end(&mut bytes).map_err(failed)?;
        let damaged = |what| {
            let message = format!("{} is damaged: {what}", shown(&path));
            Error::new(ErrorKind::Damaged, message)
        };
        Catalogue::decode(&bytes).map(Some).map_err(damaged)
    }

    /// Makes a catalogue from the segments of a directory, and reads all of them for it. Writes nothing. Also returns
    /// the segments that cannot be read, with the reason.
    ///
    /// # Errors
    /// The directory cannot be read.
    pub fn rebuild(dir: &Path, now: &Now) -> Result<(Self, Vec<(String, Error)>), Error> {
        let failed = |error| Error::os(format!("cannot read {}", shown(dir)), error);
        let mut catalogue =
            Catalogue { entries: Vec::new(), clock: Some(HistoryClock::begin(now)) };
        let (mut found, mut unreadable) = (Vec::new(), Vec::new());
        for (file, _) in directory::segments(dir).map_err(failed)?.into_iter().take(SEGMENTS_MAX) {
            match scan(dir, &file) {
                Ok(scanned) => found.push(scanned),
                Err(error) => unreadable.push((file, error)),
            }
        }
        catalogue.date(&mut found, now);
        catalogue.insert(found);
        Ok((catalogue, unreadable))
    }

    /// Compares the catalogue with the files of its directory, by name and length.
    ///
    /// # Errors
    /// The directory cannot be read.
    pub fn compare(&self, dir: &Path) -> Result<Difference, Error> {
        let failed = |error| Error::os(format!("cannot read {}", shown(dir)), error);
        let on_disk = directory::segments(dir).map_err(failed)?;
        let listed: HashMap<&str, u64> =
            self.entries.iter().map(|entry| (&*entry.file, entry.bytes)).collect();
        let is_listed = |(name, bytes): &(String, u64)| listed.get(&**name) == Some(bytes);
        let names: HashSet<&str> = on_disk.iter().map(|(name, _)| &**name).collect();
        let is_missing = |entry: &&Entry| !names.contains(&*entry.file);
        let missing =
            self.entries.iter().filter(is_missing).map(|entry| entry.file.clone()).collect();
        let not_listed = on_disk.iter().filter(|file| !is_listed(file)).cloned().collect();
        Ok(Difference { not_listed, missing })
    }

    /// Sets the age of entries that have none: by the clock where it knows their boot, else by how much time their own
    /// times show to have passed, which is no more than did.
    pub(crate) fn date(&self, entries: &mut [Entry], now: &Now) {
        let Some(clock) = self.clock else { return };
        sort_by_stream(entries);
        let Some(first) = entries.first() else { return };
        let moment = |entry: &Entry| Now {
            boot_id: entry.boot_id,
            // The time spent asleep is not in it: the entry is no older than this makes it.
            boottime_ns: entry.monotonic_ns.1,
            monotonic_ns: entry.monotonic_ns.1,
            realtime_ns: entry.wall_end_ns,
            is_synchronised: false,
        };
        let mut walked = HistoryClock::begin(&moment(first));
        for entry in &mut *entries {
            walked.advance(&moment(entry));
            entry.clock_ns = walked.ns;
        }
        // `moment` has no time spent asleep either.
        walked.advance(&Now { boottime_ns: now.monotonic_ns, ..*now });
        for entry in entries {
            let age_ns = walked.ns - entry.clock_ns;
            let known = clock.at_monotonic(&entry.boot_id, entry.monotonic_ns.1);
            entry.clock_ns = known.unwrap_or_else(|| clock.ns.saturating_sub(age_ns));
        }
    }

    /// Adds entries, in place of those of the same name.
    pub(crate) fn insert(&mut self, added: Vec<Entry>) {
        let names: HashSet<&str> = added.iter().map(|entry| &*entry.file).collect();
        self.entries.retain(|entry| !names.contains(&*entry.file));
        self.entries.extend(added);
        self.entries.sort_by_key(Entry::order);
    }

    /// Goes on to `now`, entries of this boot included.
    pub(crate) fn advance(&mut self, now: &Now) -> u64 {
        let clock = self.clock.get_or_insert_with(|| HistoryClock::begin(now));
        let moved_ns = clock.advance(now);
        if moved_ns > 0 {
            for entry in self.entries.iter_mut().filter(|entry| entry.boot_id == now.boot_id) {
                entry.clock_ns = entry.clock_ns.saturating_add(moved_ns).min(clock.ns);
            }
            self.entries.sort_by_key(Entry::order);
        }
        clock.ns
    }

    /// The bytes of the file.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut body = Vec::new();
        for entry in &self.entries {
            encode_entry(entry, &mut body);
        }
        let clock = self.clock.unwrap_or_default();
        let before = clock.before.unwrap_or_default();
        let flag = |is_set: bool, flag: u32| if is_set { flag } else { 0 };
        let flags = flag(self.clock.is_some(), file_flag::CLOCK)
            | flag(clock.at.is_synchronised, file_flag::SYNCHRONISED)
            | flag(clock.before.is_some(), file_flag::BEFORE)
            | flag(clock.is_limited, file_flag::LIMITED);
        let mut out = Vec::with_capacity(HEADER_LEN + body.len());
        out.extend(MAGIC);
        out.extend(MAJOR.to_le_bytes());
        out.extend(0u16.to_le_bytes());
        out.extend(to_u32(self.entries.len()).to_le_bytes());
        out.extend((body.len() as u64).to_le_bytes());
        out.extend(crc32c::crc32c(&body).to_le_bytes());
        out.extend(flags.to_le_bytes());
        out.extend(clock.ns.to_le_bytes());
        out.extend(clock.at.boot_id);
        for ns in [clock.at.boottime_ns, clock.at.monotonic_ns, clock.at.realtime_ns] {
            out.extend(ns.to_le_bytes());
        }
        out.extend(before.boot_id);
        for ns in [before.ns, before.monotonic_ns, before.realtime_ns] {
            out.extend(ns.to_le_bytes());
        }
        out.resize(HEADER_CRC_AT, 0);
        let crc = crc32c::crc32c(&out);
        out.extend(crc.to_le_bytes());
        out.extend(body);
        out
    }

    /// Parses the bytes of the file, which may be any.
    ///
    /// # Errors
    /// What is wrong with them.
    pub fn decode(bytes: &[u8]) -> Result<Self, &'static str> {
        if bytes.len() > CATALOGUE_BYTES_MAX {
            return Err("it is longer than any catalogue");
        }
        let (header, body) = bytes.split_at_checked(HEADER_LEN).ok_or("it is cut off")?;
        let mut fields = Fields(header);
        if fields.array()? != MAGIC {
            return Err("it does not begin like a catalogue");
        }
        let crc = u32::from_le_bytes(Fields(&header[HEADER_CRC_AT..]).array()?);
        if crc != crc32c::crc32c(&header[..HEADER_CRC_AT]) {
            return Err("its header does not match its checksum");
        }
        if fields.u16()? != MAJOR {
            return Err("a newer fsmon wrote it");
        }
        fields.u16()?;
        let count = fields.u32()?;
        if fields.u64()? != body.len() as u64 || fields.u32()? != crc32c::crc32c(body) {
            return Err("it does not match its checksum");
        }
        let clock = fields.clock()?;
        let mut body = Fields(body);
        let mut entries = Vec::new();
        while !body.0.is_empty() {
            if entries.len() == SEGMENTS_MAX {
                return Err("it has more entries than a history can have");
            }
            entries.push(body.entry()?);
        }
        let names: HashSet<&str> = entries.iter().map(|entry| &*entry.file).collect();
        if names.len() != entries.len() {
            return Err("it has a segment twice");
        }
        if entries.len() != count as usize {
            return Err("it does not have as many entries as its header says");
        }
        entries.sort_by_key(Entry::order);
        Ok(Catalogue { entries, clock })
    }
}

/// Streams by when they began, segments by number.
fn sort_by_stream(entries: &mut [Entry]) {
    let header = |entry: &Entry| Header {
        stream_id: entry.stream_id,
        segment: entry.segment,
        realtime_ns: entry.wall_ns.0,
        ..Header::default()
    };
    let mut order: Vec<(Header, Entry)> =
        entries.iter_mut().map(std::mem::take).map(|entry| (header(&entry), entry)).collect();
    Header::sort(&mut order, |(header, _)| Some(header));
    for (place, (_, entry)) in entries.iter_mut().zip(order) {
        *place = entry;
    }
}

fn encode_entry(entry: &Entry, out: &mut Vec<u8>) {
    let start = out.len();
    let flag = |is_set: bool, flag: u16| if is_set { flag } else { 0 };
    let flags = flag(entry.ending != Ending::Cut, entry_flag::FINAL)
        | flag(entry.ending == Ending::Ended, entry_flag::ENDED)
        | flag(entry.is_incomplete, entry_flag::INCOMPLETE)
        | flag(entry.is_damaged, entry_flag::DAMAGED);
    let uids = &entry.uids[..entry.uids.len().min(TOPS)];
    let cgroups = &entry.cgroups[..entry.cgroups.len().min(TOPS)];
    // The length, once it is known.
    out.extend([0; 2]);
    out.extend(flags.to_le_bytes());
    out.extend(entry.segment.to_le_bytes());
    out.extend(entry.stream_id);
    out.extend(entry.boot_id);
    out.extend(entry.header_crc.to_le_bytes());
    out.extend([to_u8(entry.file.len()), to_u8(uids.len()), to_u8(cgroups.len()), 0]);
    for number in [
        entry.first_event,
        entry.events,
        entry.first_block,
        entry.blocks,
        entry.wall_ns.0,
        entry.wall_ns.1,
        entry.wall_end_ns,
        entry.monotonic_ns.0,
        entry.monotonic_ns.1,
        entry.losses,
        entry.bytes,
        entry.clock_ns,
        entry.gaps,
    ] {
        out.extend(number.to_le_bytes());
    }
    debug_assert_eq!(out.len(), start + ENTRY_FIXED);
    for top in uids {
        out.extend(top.events.to_le_bytes());
        out.extend(top.who.to_le_bytes());
    }
    for top in cgroups {
        let path = &top.who.path[..top.who.path.len().min(TOP_NAME_MAX)];
        out.extend(top.events.to_le_bytes());
        out.extend(top.who.id.to_le_bytes());
        out.extend(to_u16(path.len()).to_le_bytes());
        out.extend(path);
    }
    out.extend(entry.file.as_bytes());
    let len = (out.len() - start).next_multiple_of(ALIGN);
    out.resize(start + len, 0);
    out[start..start + 2].copy_from_slice(&to_u16(len).to_le_bytes());
}

const CUT: &str = "an entry is cut off";

/// Takes fields from the front.
struct Fields<'a>(&'a [u8]);

impl<'a> Fields<'a> {
    fn bytes(&mut self, len: usize) -> Result<&'a [u8], &'static str> {
        let (taken, rest) = self.0.split_at_checked(len).ok_or(CUT)?;
        self.0 = rest;
        Ok(taken)
    }

    fn array<const LEN: usize>(&mut self) -> Result<[u8; LEN], &'static str> {
        let (taken, rest) = self.0.split_first_chunk().ok_or(CUT)?;
        self.0 = rest;
        Ok(*taken)
    }

    fn u16(&mut self) -> Result<u16, &'static str> {
        self.array().map(u16::from_le_bytes)
    }

    fn u32(&mut self) -> Result<u32, &'static str> {
        self.array().map(u32::from_le_bytes)
    }

    fn u64(&mut self) -> Result<u64, &'static str> {
        self.array().map(u64::from_le_bytes)
    }

    fn clock(&mut self) -> Result<Option<HistoryClock>, &'static str> {
        let flags = self.u32()?;
        let has = |flag: u32| flags & flag != 0;
        let ns = self.u64()?;
        let at = Now {
            boot_id: self.array()?,
            boottime_ns: self.u64()?,
            monotonic_ns: self.u64()?,
            realtime_ns: self.u64()?,
            is_synchronised: has(file_flag::SYNCHRONISED),
        };
        let before = Before {
            boot_id: self.array()?,
            ns: self.u64()?,
            monotonic_ns: self.u64()?,
            realtime_ns: self.u64()?,
        };
        let before = has(file_flag::BEFORE).then_some(before);
        let clock = HistoryClock { ns, at, before, is_limited: has(file_flag::LIMITED) };
        Ok(has(file_flag::CLOCK).then_some(clock))
    }

    fn entry(&mut self) -> Result<Entry, &'static str> {
        let len = usize::from(Fields(self.0).u16()?);
        if len < ENTRY_FIXED || !len.is_multiple_of(ALIGN) {
            return Err("the length of an entry is out of bounds");
        }
        let mut fields = Fields(self.bytes(len)?);
        fields.u16()?;
        let flags = fields.u16()?;
        let has = |flag: u16| flags & flag != 0;
        let mut entry = Entry {
            segment: fields.u32()?,
            stream_id: fields.array()?,
            boot_id: fields.array()?,
            header_crc: fields.u32()?,
            ending: match (has(entry_flag::FINAL), has(entry_flag::ENDED)) {
                (true, true) => Ending::Ended,
                (true, false) => Ending::Continued,
                (false, _) => Ending::Cut,
            },
            is_incomplete: has(entry_flag::INCOMPLETE),
            is_damaged: has(entry_flag::DAMAGED),
            ..Entry::default()
        };
        let [name_len, uids, cgroups, _] = fields.array()?;
        if usize::from(uids.max(cgroups)) > TOPS {
            return Err("an entry names too many users or control groups");
        }
        for number in [
            &mut entry.first_event,
            &mut entry.events,
            &mut entry.first_block,
            &mut entry.blocks,
            &mut entry.wall_ns.0,
            &mut entry.wall_ns.1,
            &mut entry.wall_end_ns,
            &mut entry.monotonic_ns.0,
            &mut entry.monotonic_ns.1,
            &mut entry.losses,
            &mut entry.bytes,
            &mut entry.clock_ns,
            &mut entry.gaps,
        ] {
            *number = fields.u64()?;
        }
        for _ in 0..uids {
            let events = fields.u64()?;
            entry.uids.push(Top { who: fields.u32()?, events });
        }
        for _ in 0..cgroups {
            entry.cgroups.push(fields.cgroup()?);
        }
        entry.file = segment_name(fields.bytes(name_len.into())?)?;
        Ok(entry)
    }

    fn cgroup(&mut self) -> Result<Top<Cgroup>, &'static str> {
        let (events, id) = (self.u64()?, self.u64()?);
        let len = usize::from(self.u16()?);
        if len > TOP_NAME_MAX {
            return Err("the path of a control group is too long");
        }
        Ok(Top { who: Cgroup { id, path: self.bytes(len)?.to_vec() }, events })
    }
}

/// A name that a segment can have: never a path that leads out of the directory, as what is named here is deleted.
fn segment_name(bytes: &[u8]) -> Result<String, &'static str> {
    let name = std::str::from_utf8(bytes).ok().filter(|name| directory::is_segment(name));
    name.map(str::to_owned).ok_or("an entry has a name that no segment has")
}

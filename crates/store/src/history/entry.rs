//! What the catalogue says of a closed segment.

use super::tally::{Cgroup, Tally, Top};
use fsmon_format::stream::Header;

/// How a segment ends.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Ending {
    /// Anywhere: its writer was killed.
    #[default]
    Cut,
    /// In order; the stream goes on in another segment.
    Continued,
    /// With an END record: the stream was closed.
    Ended,
}

/// A closed segment. docs/history.md says what each field means.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Entry {
    /// Its name in the directory.
    pub file: String,
    /// As in its header.
    pub stream_id: [u8; 16],
    /// As in its header.
    pub boot_id: [u8; 16],
    /// As in its header.
    pub segment: u32,
    /// The checksum of its header.
    pub header_crc: u32,
    /// EVENT records of the stream before it.
    pub first_event: u64,
    /// EVENT records in it.
    pub events: u64,
    /// Blocks of the stream before it.
    pub first_block: u64,
    /// Blocks in it, pads included; those that are missing in a damaged one too.
    pub blocks: u64,
    /// The least and the greatest wall time of its header and records, ns since 1970. The times that a GAP record is about
    /// are among them.
    pub wall_ns: (u64, u64),
    /// The wall time of its last record that has a time; of its header, if none has.
    pub wall_end_ns: u64,
    /// The least and the greatest time of its events, losses, counters and end, `CLOCK_MONOTONIC` ns of the boot; of its
    /// header, if it has none.
    pub monotonic_ns: (u64, u64),
    /// LOSS records in it.
    pub losses: u64,
    /// GAP records in it.
    pub gaps: u64,
    /// Bytes of the file.
    pub bytes: u64,
    /// The history clock at its last record, ns.
    pub clock_ns: u64,
    /// How it ends.
    pub ending: Ending,
    /// Whether its END record says that something is missing.
    pub is_incomplete: bool,
    /// Whether blocks in it are damaged or missing. What the end of a cut segment lacks is no damage.
    pub is_damaged: bool,
    /// The users with most events, at most [`crate::limits::TOPS`], most first.
    pub uids: Vec<Top<u32>>,
    /// The control groups with most events, at most [`crate::limits::TOPS`], most first.
    pub cgroups: Vec<Top<Cgroup>>,
}

impl Entry {
    /// For how long it has been closed when the history clock is at `now_ns`.
    #[must_use]
    pub fn age_ns(&self, now_ns: u64) -> u64 {
        now_ns.saturating_sub(self.clock_ns)
    }

    /// The order in which segments are deleted: by the history clock, then as the stream goes on.
    pub(crate) fn order(&self) -> impl Ord + use<> {
        (self.clock_ns, self.stream_id, self.segment)
    }
}

/// What is known of a segment from its file header and its blocks' headers, and what a tally knows of its records.
pub(crate) struct Parts<'a> {
    pub(crate) file: String,
    pub(crate) header: &'a Header,
    pub(crate) header_crc: u32,
    pub(crate) blocks: &'a Blocks,
    pub(crate) tally: &'a Tally,
    pub(crate) bytes: u64,
}

/// What the headers of blocks say.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Blocks {
    /// The number behind the last block.
    pub(crate) behind: u64,
    pub(crate) events: u64,
    pub(crate) monotonic_ns: Option<(u64, u64)>,
    pub(crate) is_final: bool,
}

impl Blocks {
    /// Takes a block's number, its count of events and its times; 0 and 0 if it has none.
    pub(crate) fn take(&mut self, number: u64, events: u32, (first_ns, last_ns): (u64, u64)) {
        self.behind = number.saturating_add(1);
        self.events = self.events.saturating_add(events.into());
        if last_ns > 0 {
            let (least, most) = self.monotonic_ns.unwrap_or((first_ns, last_ns));
            self.monotonic_ns = Some((least.min(first_ns), most.max(last_ns)));
        }
    }
}

impl Parts<'_> {
    /// The entry, but for its age and damage.
    pub(crate) fn entry(self) -> Entry {
        let Parts { header, blocks, tally, .. } = self;
        let ending = match (tally.has_end, blocks.is_final) {
            (true, true) => Ending::Ended,
            (false, true) => Ending::Continued,
            (_, false) => Ending::Cut,
        };
        Entry {
            file: self.file,
            stream_id: header.stream_id,
            boot_id: header.boot_id,
            segment: header.segment,
            header_crc: self.header_crc,
            first_event: header.first_event,
            events: blocks.events,
            first_block: header.first_block,
            blocks: blocks.behind.saturating_sub(header.first_block),
            wall_ns: tally.wall_ns,
            wall_end_ns: tally.wall_end_ns,
            monotonic_ns: blocks.monotonic_ns.unwrap_or((header.time_ns, header.time_ns)),
            losses: tally.losses,
            gaps: tally.gaps,
            bytes: self.bytes,
            clock_ns: 0,
            ending,
            is_incomplete: tally.is_incomplete,
            is_damaged: false,
            uids: tally.uids(),
            cgroups: tally.cgroups(),
        }
    }
}

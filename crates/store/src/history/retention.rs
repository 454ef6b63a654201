//! Which segments are deleted, and why. docs/history.md, What is deleted.

use super::entry::Entry;
use crate::limits::SEGMENTS_MAX;
use fsmon_format::number::to_ns;
use nix::sys::statvfs::statvfs;
use std::fmt;
use std::io;
use std::path::Path;
use std::time::Duration;

/// What is kept. `None`: no such limit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Keep {
    /// Bytes of all segments together, open ones included.
    pub size: Option<u64>,
    /// How long after its last record a segment is deleted.
    pub age: Option<Duration>,
    /// Free space of the filesystem.
    pub free: Option<Free>,
    /// `size` and `free` never delete what is younger than this.
    pub at_least: Duration,
}

/// Free space that is wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Free {
    /// In bytes.
    Bytes(u64),
    /// In percent of the filesystem's size, 0 to 100.
    Percent(u8),
}

impl Free {
    /// In bytes, on a filesystem of `total` bytes.
    #[must_use]
    pub fn bytes(self, total: u64) -> u64 {
        match self {
            Free::Bytes(bytes) => bytes,
            Free::Percent(percent) => total / 100 * u64::from(percent.min(100)),
        }
    }
}

/// The space of a filesystem, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Disk {
    /// What a user without privileges can still write.
    pub free: u64,
    /// All of it.
    pub total: u64,
}

impl Disk {
    /// The filesystem of a directory: statvfs(3).
    ///
    /// # Errors
    /// Those of the call.
    pub fn of(dir: &Path) -> io::Result<Self> {
        let data = statvfs(dir)?;
        let unit = data.fragment_size();
        let bytes = |blocks: u64| blocks.saturating_mul(unit);
        Ok(Disk { free: bytes(data.blocks_available()), total: bytes(data.blocks()) })
    }
}

/// What a history takes up now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Usage {
    /// The history clock, ns: [`super::HistoryClock::ns`].
    pub clock_ns: u64,
    /// Bytes of segments that are not in the catalogue: those that are being written, above all.
    pub open_bytes: u64,
    /// The filesystem.
    pub disk: Disk,
}

/// Why a segment is deleted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Why {
    /// All together are too large.
    Size,
    /// It is too old.
    Age,
    /// There is too little free space.
    Free,
    /// There are more segments than a history can have.
    Count,
}

fsmon_format::named!(Why { Size = "size", Age = "age", Free = "free", Count = "count" });

impl Why {
    /// The reason in words.
    #[must_use]
    pub fn words(self) -> &'static str {
        match self {
            Why::Size => "the history is larger than it may be",
            Why::Age => "it is older than what is kept",
            Why::Free => "the filesystem has too little free space",
            Why::Count => "the history has too many segments",
        }
    }
}

/// A segment to delete.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Deletion {
    /// Its entry.
    pub entry: Entry,
    /// Why.
    pub why: Why,
    /// Whether its age alone would still keep it.
    pub is_early: bool,
}

impl fmt::Display for Deletion {
    /// In one line: which file, how large, why.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Entry { file, bytes, events, .. } = &self.entry;
        write!(f, "{file}: {bytes} bytes, {events} events: {}", self.why.words())
    }
}

/// What to delete, and how it is then.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Plan {
    /// Oldest first.
    pub deletions: Vec<Deletion>,
    /// Bytes of the segments that stay, open ones included.
    pub bytes_left: u64,
    /// Free space, if all of it is freed at once.
    pub free_left: u64,
    /// Why more would have to go than may: what stays is younger than `at_least`.
    pub is_short: Option<Why>,
}

/// Which of the entries, oldest first, must go for `keep`. Changes nothing.
#[must_use]
pub fn plan(entries: &[Entry], usage: &Usage, keep: &Keep) -> Plan {
    let mut plan = Plan {
        bytes_left: entries
            .iter()
            .fold(usage.open_bytes, |sum, entry| sum.saturating_add(entry.bytes)),
        free_left: usage.disk.free,
        ..Plan::default()
    };
    let mut left = entries.len();
    for entry in entries {
        let age_ns = entry.age_ns(usage.clock_ns);
        let is_due = keep.age.is_some_and(|most| age_ns > to_ns(most));
        let too_much = plan.too_much(left, usage, keep);
        let why = match too_much {
            _ if is_due => Why::Age,
            Some(why) if age_ns >= to_ns(keep.at_least) => why,
            // The rest is younger still.
            _ => break,
        };
        plan.bytes_left = plan.bytes_left.saturating_sub(entry.bytes);
        plan.free_left = plan.free_left.saturating_add(entry.bytes);
        left -= 1;
        plan.deletions.push(Deletion { entry: entry.clone(), why, is_early: !is_due });
    }
    plan.is_short = plan.too_much(left, usage, keep);
    plan
}

impl Plan {
    /// Which limit is exceeded, other than that of age, with `left` entries.
    fn too_much(&self, left: usize, usage: &Usage, keep: &Keep) -> Option<Why> {
        let wanted = keep.free.map_or(0, |free| free.bytes(usage.disk.total));
        match keep.size {
            Some(most) if self.bytes_left > most => Some(Why::Size),
            _ if self.free_left < wanted => Some(Why::Free),
            // With room for one that is being written.
            _ if left >= SEGMENTS_MAX => Some(Why::Count),
            _ => None,
        }
    }
}

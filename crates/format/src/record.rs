//! The layouts of records, in slots of 64 bytes.
//!
//! A record is one or more slots: a fixed head, then for some kinds a tail of raw bytes (names) that begins
//! in the first slot and continues through the next ones, so that a name is always one slice. Everything is
//! little-endian. Writers set reserved fields to 0; readers ignore them.
//!
//! Ids: directories, processes and strings are referred to by a number; 0 is none. A definition
//! ([`Dir`], [`Proc`], [`Str`]) comes before the first use. In the engine's ring ids are small, dense and
//! reused: a later definition of the same id replaces the earlier one.

mod build;
mod read;

pub use build::{Build, event_slots, lay_event};
pub use read::{Body, EventRef, NoteRef, Record, Records};

use zerocopy::little_endian::{U16, U32, U64};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

/// Bytes in a slot.
pub const SLOT: usize = 64;
/// The longest record, in slots: the count is one byte.
pub const SLOTS_MAX: usize = 255;
/// The kernel's longest file name (`NAME_MAX`), in bytes.
pub const NAME_MAX: usize = 255;
/// The longest text in a definition, in bytes: `PATH_MAX` for roots, exe names and cgroups. Longer command
/// lines are cut.
pub const TEXT_MAX: usize = 4096;
/// The longest path and text of a note together, in bytes: a path of `PATH_MAX` bytes, or a shorter one and a
/// sentence.
pub const NOTE_TEXT_MAX: usize = 4096;

/// 64 bytes: the unit of the ring and of streams.
#[derive(Clone, Copy, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C, align(64))]
pub struct Slot(pub [u8; SLOT]);

impl Slot {
    /// All zero.
    pub const ZERO: Slot = Slot([0; SLOT]);
}

/// The first byte of a record.
pub mod tag {
    /// Nothing: fills a gap of `slots` slots.
    pub const PAD: u8 = 0;
    /// [`super::Event`]
    pub const EVENT: u8 = 1;
    /// [`super::Dir`]
    pub const DIR: u8 = 2;
    /// [`super::Proc`]
    pub const PROC: u8 = 3;
    /// [`super::Str`]
    pub const STR: u8 = 4;
    /// [`super::Loss`]
    pub const LOSS: u8 = 5;
    /// [`super::Stats`]
    pub const STATS: u8 = 6;
    /// [`super::End`]
    pub const END: u8 = 7;
    /// [`super::Clock`]
    pub const CLOCK: u8 = 8;
    /// [`super::Gap`]. Readers of format 1.0 skip it.
    pub const GAP: u8 = 9;
    /// [`super::Note`]. Readers of format 1.0 skip it.
    pub const NOTE: u8 = 10;
    /// [`super::Answer`]. Tags from 240 on are of the ring alone: no writer of streams writes them.
    pub const ANSWER: u8 = 240;
}

/// How certain the process of an event is: `flags & ATTRIBUTION` of an [`Event`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Attribution {
    /// The kernel reported the process with the event.
    Exact = 0,
    /// One of two images of the same process, whose order relative to the event is not known.
    Ambiguous = 1,
    /// Read from /proc after the event.
    Late = 2,
    /// Not known.
    Unknown = 3,
}

/// Flag bits of an [`Event`].
pub mod event_flag {
    /// Two bits: an [`super::Attribution`].
    pub const ATTRIBUTION: u16 = 0b11;
    /// Found by walking a directory; its creation was not seen.
    pub const FOUND: u16 = 1 << 2;
    /// RENAME: part of an exchange of two names. A RENAME without an old name brings back what the RENAME before it
    /// replaced. If a directory takes part, one of the names can be one that no process gave (`.exchange-…`).
    pub const EXCHANGE: u16 = 1 << 3;
    /// CREATE: earlier lines are about this file when it had no name; [`super::Event::object`] joins them.
    pub const NAMED: u16 = 1 << 5;
    /// The file was changed through another name, which is not watched: `dir2` and `name2`, if known.
    pub const VIA: u16 = 1 << 6;
    /// A directory in the path had just come in, or had just been renamed several times: the path may be from
    /// just before or after the event. Or the name may have been removed just before.
    pub const UNSURE: u16 = 1 << 4;
}

/// A change: `mask` says what happened, `dir` and the name where, `proc` who did it.
///
/// The tail is `name` then `name2`. An empty name with a directory means the directory itself.
/// For RENAME `dir`/`name` is the new name and `dir2`/`name2` the old one; directory 0 is outside the
/// watched paths. With [`event_flag::VIA`] `dir2`/`name2` is the name through which the file was changed.
#[derive(Clone, Copy, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub struct Event {
    /// [`tag::EVENT`]
    pub tag: u8,
    /// Slots of this record.
    pub slots: u8,
    /// [`event_flag`]
    pub flags: U16,
    /// Directory id.
    pub dir: U32,
    /// When the read that brought it returned: `CLOCK_MONOTONIC`, ns.
    pub time_ns: U64,
    /// [`crate::kind`] bits.
    pub mask: U32,
    /// Process image id; 0 unknown.
    pub proc: U32,
    /// Hash of the object's handle, 0 unknown; for FS_ERROR errno (low half) and count (high half).
    pub object: U64,
    /// RENAME: id of the old directory. VIA: id of the other name's directory.
    pub dir2: U32,
    /// Bytes of `name`.
    pub name_len: U16,
    /// Bytes of `name2`.
    pub name2_len: U16,
    /// The names begin here and continue in the next slots.
    pub tail: [u8; 24],
}

/// Flag bits of a [`Dir`].
pub mod dir_flag {
    /// The name is the whole path of a directory that is no watched root: in a stream, a directory that is too
    /// deep for its parents to be defined one by one; or an unwatched directory in which a watched file has
    /// another name.
    pub const WHOLE_PATH: u16 = 1;
}

/// A watched directory: its parent and its name.
///
/// Without a parent the name is its absolute path, and it is a watched root, unless
/// [`dir_flag::WHOLE_PATH`] is set. Defined again after a rename, with `generation` raised.
#[derive(Clone, Copy, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub struct Dir {
    /// [`tag::DIR`]
    pub tag: u8,
    /// Slots of this record.
    pub slots: u8,
    /// [`dir_flag`]
    pub flags: U16,
    /// Its id.
    pub id: U32,
    /// The parent directory's id; 0 for a watched root.
    pub parent: U32,
    /// Index of its filesystem.
    pub fs: U32,
    /// Raised by each rename.
    pub generation: U32,
    /// Bytes of the name.
    pub name_len: U16,
    /// Reserved.
    pub reserved: U16,
    /// Hash of its handle.
    pub object: U64,
    /// The name begins here.
    pub tail: [u8; 32],
}

/// Flag bits of a [`Proc`].
pub mod proc_flag {
    /// `comm` is known.
    pub const COMM: u16 = 1;
    /// uid and gid are known.
    pub const CRED: u16 = 1 << 1;
    /// `exe` was read from /proc, not sent with the exec.
    pub const EXE_READ: u16 = 1 << 2;
    /// `cmdline` was read from /proc, not sent with the exec.
    pub const CMDLINE_READ: u16 = 1 << 3;
    /// `cmdline` is the beginning of a longer one.
    pub const CMDLINE_CUT: u16 = 1 << 4;
    /// `exe` was read from /proc after the exec: it may be of another exec.
    pub const EXE_LATE: u16 = 1 << 5;
    /// A rename ran while `exe` was read: such a path may never have existed. Or the file is in a filesystem
    /// that is mounted nowhere any more, and the path begins there.
    pub const EXE_UNSURE: u16 = 1 << 6;
    /// `exe` is the end of a longer path.
    pub const EXE_CUT: u16 = 1 << 7;
    /// All flags about `exe`.
    pub const EXE_ALL: u16 = EXE_READ | EXE_LATE | EXE_UNSURE | EXE_CUT;
    /// The flags about `exe` that are shown, with their names in all formats.
    pub const EXE_NAMES: [(u16, &str); 3] =
        [(EXE_LATE, "exe_late"), (EXE_UNSURE, "exe_unsure"), (EXE_CUT, "exe_cut")];
}

/// A process image: one process between two changes of its identity (exec, credentials, cgroup).
#[derive(Clone, Copy, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub struct Proc {
    /// [`tag::PROC`]
    pub tag: u8,
    /// Slots of this record: 2.
    pub slots: u8,
    /// [`proc_flag`]
    pub flags: U16,
    /// Its id.
    pub id: U32,
    /// Process id (tgid) in the initial namespace of the watcher.
    pub pid: U32,
    /// The parent's pid when this process was forked; 0 unknown.
    pub ppid: U32,
    /// The parent's image id at the fork; 0 unknown.
    pub parent: U32,
    /// The previous image of the process; 0 none.
    pub prev: U32,
    /// When the process was forked, `CLOCK_MONOTONIC` ns; 0 before the watch began.
    pub start_ns: U64,
    /// Effective user id.
    pub uid: U32,
    /// Effective group id.
    pub gid: U32,
    /// The kernel's name of the process, NUL-padded.
    pub comm: [u8; 16],
    /// [`Str`] id: the path of the file that runs. Streams written before version 1.0 of fsmon have
    /// the file name given to exec here, and no `exec`.
    pub exe: U32,
    /// [`Str`] id: the cgroup's path; 0 unknown. Filled in by the consumer of the ring.
    pub cgroup: U32,
    /// Kernel id of the cgroup; 0 unknown.
    pub cgroup_id: U64,
    /// [`Str`] id: the user's name; 0 unknown. Filled in by the consumer of the ring.
    pub user: U32,
    /// [`Str`] id: the command line, words separated by NUL, at most [`TEXT_MAX`] bytes of it; 0
    /// unknown.
    pub cmdline: U32,
    /// [`Str`] id: the file name given to exec; 0 unknown.
    pub exec: U32,
    /// Number of the mount namespace in which `exe` is valid; 0 if that is the watcher's.
    pub exe_root: U32,
    /// Reserved.
    pub reserved: [u8; 40],
}

/// A string that processes refer to.
#[derive(Clone, Copy, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub struct Str {
    /// [`tag::STR`]
    pub tag: u8,
    /// Slots of this record.
    pub slots: u8,
    /// Reserved.
    pub flags: U16,
    /// Its id.
    pub id: U32,
    /// Bytes.
    pub len: U16,
    /// Reserved.
    pub reserved: U16,
    /// The bytes begin here.
    pub tail: [u8; 52],
}

/// Why something was lost: `reason` of a [`Loss`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    /// The kernel's fanotify queue overflowed: changes are missing here.
    QueueOverflow,
    /// Process messages were lost: names after this may be read late.
    ProcessMessages,
    /// More directories than the limit: changes below the rest are not seen.
    DirsMax,
    /// More processes than the limit: those that exited first were forgotten.
    ProcessesMax,
    /// A directory could not be walked: what lies below it is not known. Or it came in from unwatched paths and
    /// was muted until it was read.
    Walk,
    /// Something that is not watched was mounted on a directory: changes there are not seen.
    Mount,
    /// Entries were made in new directories before these were marked, on filesystems where each directory has a
    /// mark (overlayfs, FUSE): they are reported as found; earlier changes to them are not known.
    Unmarked,
    /// The mount was unmounted: the directory is watched again.
    Unmount,
    /// More names of files than the limit, where hard links are watched: changes to the rest through hard links are
    /// not seen.
    FilesMax,
    /// A table of the reader was full: some names could not be checked, so lines may be missing, wrong or
    /// incomplete.
    TablesFull,
    /// A name was longer than the kernel can report: its change is missing, or all changes that were queued with
    /// it. If it is a new directory's name, changes below it are not seen.
    NameTooLong,
    /// The recorder dropped events: the disk did not keep up, and the kernel's queue was at its limit.
    Disk,
    /// A reason this version does not know.
    Other(u32),
}

impl Reason {
    /// The number in the record.
    #[must_use]
    pub fn code(self) -> u32 {
        match self {
            Reason::QueueOverflow => 1,
            Reason::ProcessMessages => 2,
            Reason::DirsMax => 3,
            Reason::ProcessesMax => 4,
            Reason::Walk => 5,
            Reason::Unmarked => 6,
            Reason::Mount => 7,
            Reason::Unmount => 8,
            Reason::FilesMax => 9,
            Reason::TablesFull => 10,
            Reason::NameTooLong => 11,
            Reason::Disk => 12,
            Reason::Other(code) => code,
        }
    }

    /// The reason of that number.
    #[must_use]
    pub fn from_code(code: u32) -> Self {
        match code {
            1 => Reason::QueueOverflow,
            2 => Reason::ProcessMessages,
            3 => Reason::DirsMax,
            4 => Reason::ProcessesMax,
            5 => Reason::Walk,
            6 => Reason::Unmarked,
            7 => Reason::Mount,
            8 => Reason::Unmount,
            9 => Reason::FilesMax,
            10 => Reason::TablesFull,
            11 => Reason::NameTooLong,
            12 => Reason::Disk,
            other => Reason::Other(other),
        }
    }

    /// The name in every output format.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Reason::QueueOverflow => "queue_overflow",
            Reason::ProcessMessages => "process_messages",
            Reason::DirsMax => "max_dirs",
            Reason::ProcessesMax => "max_processes",
            Reason::Walk => "walk",
            Reason::Unmarked => "unmarked",
            Reason::Mount => "mount",
            Reason::Unmount => "unmount",
            Reason::FilesMax => "max_files",
            Reason::TablesFull => "tables_full",
            Reason::NameTooLong => "name_too_long",
            Reason::Disk => "disk",
            Reason::Other(_) => "other",
        }
    }
}

/// [`Loss::count`] if the kernel does not report it; [`Gap::events`] if nobody knows.
pub const COUNT_UNKNOWN: u64 = u64::MAX;

/// Something was lost between `first_ns` and `last_ns`.
#[derive(Clone, Copy, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub struct Loss {
    /// [`tag::LOSS`]
    pub tag: u8,
    /// Slots of this record: 1.
    pub slots: u8,
    /// Reserved.
    pub flags: U16,
    /// [`Reason::code`]
    pub reason: U32,
    /// `CLOCK_MONOTONIC` ns: nothing was lost before this time.
    pub first_ns: U64,
    /// `CLOCK_MONOTONIC` ns: when the loss was noticed.
    pub last_ns: U64,
    /// How many, or [`COUNT_UNKNOWN`].
    pub count: U64,
    /// Losses of this reason since the start, this one included.
    pub total: U64,
    /// DIR id: the directory concerned; 0 if there is none or it is not known.
    pub dir: U32,
    /// Reserved.
    pub reserved: [u8; 20],
}

/// Once a second: both clocks and the counters.
#[derive(Clone, Copy, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub struct Stats {
    /// [`tag::STATS`]
    pub tag: u8,
    /// Slots of this record: 1.
    pub slots: u8,
    /// Reserved.
    pub flags: U16,
    /// The most slots of the ring that were in use at a time.
    pub ring_peak: U32,
    /// `CLOCK_MONOTONIC`, ns.
    pub time_ns: U64,
    /// `CLOCK_REALTIME` at the same moment, ns since 1970.
    pub realtime_ns: U64,
    /// Events read from the kernel.
    pub kernel_events: U64,
    /// Event records written to the ring.
    pub events: U64,
    /// Loss records written to the ring.
    pub losses: U64,
    /// Directories known.
    pub dirs: U32,
    /// Process images known.
    pub processes: U32,
    /// Reserved.
    pub reserved: [u8; 8],
}

/// `flags` of an [`End`].
pub mod end_flag {
    /// Something is missing in the stream: a loss, or something without a LOSS record, such as the process of an
    /// event. Streams of fsmon 1.0.0-alpha.1 never have it.
    pub const INCOMPLETE: u16 = 1;
}

/// The last record of a stream that was closed in order.
#[derive(Clone, Copy, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub struct End {
    /// [`tag::END`]
    pub tag: u8,
    /// Slots of this record: 1.
    pub slots: u8,
    /// [`end_flag`]s.
    pub flags: U16,
    /// 0: stopped by the user; 1: the watch failed.
    pub reason: U32,
    /// `CLOCK_MONOTONIC`, ns: everything before is in the stream.
    pub time_ns: U64,
    /// Event records in the stream.
    pub events: U64,
    /// Loss records in the stream.
    pub losses: U64,
    /// Reserved.
    pub reserved: [u8; 32],
}

impl End {
    /// Whether something is missing in the stream: [`end_flag::INCOMPLETE`].
    #[must_use]
    pub fn is_incomplete(&self) -> bool {
        self.flags.get() & end_flag::INCOMPLETE != 0
    }
}

/// Ties the monotonic clock of the events to wall time.
#[derive(Clone, Copy, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub struct Clock {
    /// [`tag::CLOCK`]
    pub tag: u8,
    /// Slots of this record: 1.
    pub slots: u8,
    /// Reserved.
    pub flags: U16,
    /// In a stream: 1, plus 1 for each time that the wall clock was set since the stream began, see
    /// [`crate::stream::CLOCK_STEP_NS`]. 0 if it was not counted: in the ring, and in older streams.
    pub steps: U32,
    /// `CLOCK_MONOTONIC`, ns.
    pub time_ns: U64,
    /// `CLOCK_REALTIME` at the same moment, ns since 1970.
    pub realtime_ns: U64,
    /// Reserved.
    pub reserved: [u8; 40],
}

/// Why nothing was recorded for a time: `cause` of a [`Gap`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cause {
    /// Not known.
    Unknown,
    /// The recorder was stopped.
    Stopped,
    /// The recorder was killed, or crashed.
    Killed,
    /// The host was rebooted, or lost power.
    Reboot,
    /// The disk was full, or refused to be written to.
    Disk,
    /// A cause this version does not know.
    Other(u32),
}

impl Cause {
    /// The number in the record.
    #[must_use]
    pub fn code(self) -> u32 {
        match self {
            Cause::Unknown => 0,
            Cause::Stopped => 1,
            Cause::Killed => 2,
            Cause::Reboot => 3,
            Cause::Disk => 4,
            Cause::Other(code) => code,
        }
    }

    /// The cause of that number.
    #[must_use]
    pub fn from_code(code: u32) -> Self {
        match code {
            0 => Cause::Unknown,
            1 => Cause::Stopped,
            2 => Cause::Killed,
            3 => Cause::Reboot,
            4 => Cause::Disk,
            other => Cause::Other(other),
        }
    }

    /// The name in every output format.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Cause::Unknown => "unknown",
            Cause::Stopped => "stopped",
            Cause::Killed => "killed",
            Cause::Reboot => "reboot",
            Cause::Disk => "disk",
            Cause::Other(_) => "other",
        }
    }
}

/// For a time nothing was recorded. Stands at the start of every stream of a history but the first, and within a
/// stream where recording paused.
#[derive(Clone, Copy, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub struct Gap {
    /// [`tag::GAP`]
    pub tag: u8,
    /// Slots of this record: 1.
    pub slots: u8,
    /// Reserved.
    pub flags: U16,
    /// [`Cause::code`]
    pub cause: U32,
    /// When recording went on: `CLOCK_MONOTONIC` of this stream's boot, ns.
    pub time_ns: U64,
    /// The last moment that is known to be recorded: wall time, ns since 1970.
    pub from_ns: U64,
    /// When recording went on: wall time, ns since 1970.
    pub to_ns: U64,
    /// The id of the stream before; for a gap within a stream its own; 0 unknown.
    pub stream_id: [u8; 16],
    /// Event records of that stream before the gap, or [`COUNT_UNKNOWN`].
    pub events: U64,
    /// Reserved.
    pub reserved: [u8; 8],
}

impl Gap {
    /// The id of the stream before the gap; `None` if it is not known.
    #[must_use]
    pub fn stream_before(&self) -> Option<[u8; 16]> {
        (self.stream_id != [0; 16]).then_some(self.stream_id)
    }

    /// Event records of that stream before the gap; `None` if it is not known how many.
    #[must_use]
    pub fn events_before(&self) -> Option<u64> {
        Some(self.events.get()).filter(|events| *events != COUNT_UNKNOWN)
    }
}

/// What a [`Note`] says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum What {
    /// A watch began: changes below its path are recorded from here on.
    WatchBegan,
    /// A watch ended: changes below its path are not recorded from here on.
    WatchEnded,
    /// A watch waits for its path to exist.
    WatchPending,
    /// A watch failed; the text says why.
    WatchFailed,
    /// A file of the history was deleted before it reached its age; the text says who wrote most of it.
    SegmentDeleted,
    /// Something this version does not know.
    Other(u32),
}

impl What {
    /// The number in the record.
    #[must_use]
    pub fn code(self) -> u32 {
        match self {
            What::WatchBegan => 1,
            What::WatchEnded => 2,
            What::WatchPending => 3,
            What::WatchFailed => 4,
            What::SegmentDeleted => 5,
            What::Other(code) => code,
        }
    }

    /// What that number stands for.
    #[must_use]
    pub fn from_code(code: u32) -> Self {
        match code {
            1 => What::WatchBegan,
            2 => What::WatchEnded,
            3 => What::WatchPending,
            4 => What::WatchFailed,
            5 => What::SegmentDeleted,
            other => What::Other(other),
        }
    }

    /// The name in every output format.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            What::WatchBegan => "watch_began",
            What::WatchEnded => "watch_ended",
            What::WatchPending => "watch_pending",
            What::WatchFailed => "watch_failed",
            What::SegmentDeleted => "segment_deleted",
            What::Other(_) => "other",
        }
    }

    /// Whether the note is about a watch, so that its path is one that is watched.
    #[must_use]
    pub fn is_of_watch(self) -> bool {
        matches!(self, What::WatchBegan | What::WatchEnded | What::WatchPending | What::WatchFailed)
    }
}

/// Flag bits of a [`Note`].
pub mod note_flag {
    /// Of a watch: it includes everything below its path.
    pub const RECURSIVE: u16 = 1;
}

/// What is watched, and what the recorder did.
///
/// The tail is the path, then the text.
#[derive(Clone, Copy, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub struct Note {
    /// [`tag::NOTE`]
    pub tag: u8,
    /// Slots of this record.
    pub slots: u8,
    /// [`note_flag`]
    pub flags: U16,
    /// [`What::code`]
    pub what: U32,
    /// `CLOCK_MONOTONIC`, ns.
    pub time_ns: U64,
    /// Of a watch: the event types that are recorded, [`crate::kind`] bits; else 0.
    pub types: U32,
    /// Bytes of the path.
    pub path_len: U16,
    /// Bytes of the text. Both together are at most [`NOTE_TEXT_MAX`].
    pub text_len: U16,
    /// The path and the text begin here and continue in the next slots.
    pub tail: [u8; 40],
}

/// How a command to a running engine ended: `outcome` of an [`Answer`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It was done.
    Done,
    /// A root that was added is there, and is watched.
    Active,
    /// A root that was added is not there yet; it is watched from when it appears.
    Pending,
    /// It was not done: `errno` of the [`Answer`] says why.
    Failed,
    /// An outcome that this version does not know.
    Other(u32),
}

impl Outcome {
    /// The number in the record.
    #[must_use]
    pub fn code(self) -> u32 {
        match self {
            Outcome::Done => 1,
            Outcome::Active => 2,
            Outcome::Pending => 3,
            Outcome::Failed => 4,
            Outcome::Other(code) => code,
        }
    }

    /// The outcome of that number.
    #[must_use]
    pub fn from_code(code: u32) -> Self {
        match code {
            1 => Outcome::Done,
            2 => Outcome::Active,
            3 => Outcome::Pending,
            4 => Outcome::Failed,
            other => Outcome::Other(other),
        }
    }
}

/// The answer to a command to a running engine, in order with the events. It is in the ring alone: writers of streams
/// leave it out, and readers of streams skip it.
#[derive(Clone, Copy, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub struct Answer {
    /// [`tag::ANSWER`]
    pub tag: u8,
    /// Slots of this record: 1.
    pub slots: u8,
    /// Reserved.
    pub flags: U16,
    /// [`Outcome::code`]
    pub outcome: U32,
    /// The token that came with the command.
    pub token: U64,
    /// When the command was given: `CLOCK_MONOTONIC`, ns.
    pub time_ns: U64,
    /// Of a root: the directories that are known below it, itself included.
    pub dirs: U32,
    /// [`Outcome::Failed`]: the error number of Linux; 0 if there is none.
    pub errno: U32,
    /// Reserved.
    pub reserved: [u8; 32],
}

const _: () = {
    assert!(size_of::<Slot>() == SLOT && align_of::<Slot>() == SLOT);
    assert!(size_of::<Event>() == SLOT);
    assert!(size_of::<Dir>() == SLOT);
    assert!(size_of::<Proc>() == 2 * SLOT);
    assert!(size_of::<Str>() == SLOT);
    assert!(size_of::<Loss>() == SLOT);
    assert!(size_of::<Stats>() == SLOT);
    assert!(size_of::<End>() == SLOT);
    assert!(size_of::<Clock>() == SLOT);
    assert!(size_of::<Answer>() == SLOT);
    assert!(size_of::<Gap>() == SLOT);
    assert!(std::mem::offset_of!(Gap, from_ns) == 16);
    assert!(std::mem::offset_of!(Gap, stream_id) == 32);
    assert!(std::mem::offset_of!(Gap, events) == 48);
    assert!(size_of::<Note>() == SLOT);
    assert!(std::mem::offset_of!(Note, types) == 16);
    assert!(std::mem::offset_of!(Note, tail) == NOTE_HEAD);
    assert!(slots_for(NOTE_HEAD + NOTE_TEXT_MAX) <= TEXT_SLOTS_MAX);
    assert!(std::mem::offset_of!(Event, tail) == EVENT_HEAD);
    assert!(std::mem::offset_of!(Dir, tail) == DIR_HEAD);
    assert!(std::mem::offset_of!(Str, tail) == STR_HEAD);
    assert!(EVENT_HEAD + 2 * NAME_MAX <= EVENT_SLOTS_MAX * SLOT);
    assert!(STR_HEAD + TEXT_MAX <= SLOTS_MAX * SLOT);
};

/// Bytes of an [`Event`] before its names.
#[doc(hidden)]
pub const EVENT_HEAD: usize = 40;
/// Bytes of a [`Dir`] before its name.
#[doc(hidden)]
pub const DIR_HEAD: usize = 32;
/// Bytes of a [`Str`] before its bytes.
#[doc(hidden)]
pub const STR_HEAD: usize = 12;
/// Bytes of a [`Note`] before its path.
#[doc(hidden)]
pub const NOTE_HEAD: usize = 24;
/// The longest [`Event`], in slots.
#[doc(hidden)]
pub const EVENT_SLOTS_MAX: usize = 9;
/// The longest [`Dir`], [`Str`] or [`Note`], in slots.
#[doc(hidden)]
pub const TEXT_SLOTS_MAX: usize = slots_for(DIR_HEAD + TEXT_MAX);

/// Slots that hold `bytes` bytes; at least one.
#[must_use]
#[doc(hidden)]
pub const fn slots_for(bytes: usize) -> usize {
    if bytes <= SLOT { 1 } else { bytes.div_ceil(SLOT) }
}

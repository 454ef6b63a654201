//! Every limit of the engine, each with its reason and unit, and how they relate.
//!
//! This file has the limits that users see and those of more than one part; each part has a file of its own. The
//! limits of `hot/where/resolve` are there. What the kernel's ABI prescribes (sizes of structures, offsets, flags),
//! and how fsmon lays out its own structures, is no limit and is defined where it is used.

pub(crate) mod reader;
pub(crate) mod start;
pub(crate) mod sys;
pub(crate) mod tables;
pub(crate) mod walks;
pub(crate) mod who;

/// Directories known at one time, unless configured. Room is reserved, and paged in as used.
pub const DIRS_DEFAULT: usize = 1 << 20;
/// The configurable maximum: node ids and ring ids are 32 bits, with room to spare.
pub const DIRS_MAX: usize = 1 << 26;
/// Removed directories that stay known for late events; as many more ids are reserved.
pub(crate) const DIRS_DEAD_MAX: usize = 1 << 10;
/// Directories outside the watched paths that have other names of watched files and that the consumer knows at one
/// time; their ids come after those of all other directories.
pub(crate) const OUTSIDE_MAX: usize = 64;
/// Bytes that a mirror reserves per directory for its name: the mean of a large tree is 20.
pub(crate) const DIR_NAME_BYTES: usize = 64;
/// Names of files known at one time, if `--hard-links` is on.
pub(crate) const FILES_MAX: usize = 1 << 22;
/// Bytes for all of those together.
pub(crate) const FILES_BYTES: usize = FILES_MAX * 32;
/// Process images known at one time, unless configured. A consumer that stalls for ten seconds
/// at 10,000 short-lived processes a second, two images each, fits.
pub const PROCESSES_DEFAULT: usize = 1 << 18;
/// The most that can be configured.
pub const PROCESSES_MAX: usize = 1 << 22;
/// Slots of 64 bytes between reader and formatter: 4 MiB, some 60 ms of the heaviest churn.
pub const RING_SLOTS: usize = 1 << 16;
/// The longest batch window.
pub const BATCH_WINDOW_MAX_MS: u64 = 1000;
/// Distinct paths of executables, and names given to exec, known at one time; one without room is reported as
/// unknown.
pub(crate) const STRINGS_MAX: usize = 1 << 16;
/// Bytes for all of those together.
pub(crate) const STRINGS_BYTES: usize = 8 << 20;
/// Command lines known at one time, if requested: those of processes that run or have just ended, and changed a
/// file. One without room is left out.
pub(crate) const CMDLINES_MAX: usize = 1 << 12;
/// Bytes of a command line; of a longer one the beginning is reported, flagged as cut.
pub(crate) const CMDLINE_BYTES: usize = fsmon_format::record::TEXT_MAX;
/// Distinct command lines from messages that are known at one time, of all processes that run or have just ended.
/// One without room is read from /proc when it is needed.
pub(crate) const ARGS_MAX: usize = 1 << 14;
/// Bytes for all of those together: a thousand for each.
pub(crate) const ARGS_BYTES: usize = 16 << 20;
/// Room for the command lines at the consumer's; pages are taken as they are used.
pub(crate) const CMDLINES_BYTES: usize = fsmon_format::arena::room_for(CMDLINES_MAX + ARGS_MAX);
/// String ids that the engine gives out: names of executables, then command lines from /proc, then those from
/// messages.
pub const STRING_IDS: usize = STRINGS_MAX + CMDLINES_MAX + ARGS_MAX;
/// The ring of one CPU for process messages. By its layout (`hot/who/bpf_record.rs`) a fork, exec
/// and exit take some 600 bytes, the path of what runs included: 350 ms at 10,000 a second, all on one
/// CPU.
pub(crate) const PERF_RING_BYTES: usize = 2 << 20;
/// The least size that is useful.
pub(crate) const PERF_RING_BYTES_MIN: usize = 32 << 10;
/// For all rings together: kernel memory that cannot be swapped.
pub(crate) const PERF_RINGS_BYTES: usize = 64 << 20;
/// Room for messages of the proc connector. Each takes some 800 bytes of it: 10,000 forks a second
/// for two seconds.
pub(crate) const CONNECTOR_BYTES: usize = 16 << 20;
/// Process messages put in order at one time, some 100 bytes each: more than a full ring of each of
/// some ten CPUs; beyond that they are put in order a part at a time.
pub(crate) const MESSAGES_MAX: usize = 1 << 16;

const _: () = {
    // Ids are 32 bits, 0 is none, and those of dead and outside directories come on top.
    assert!(DIRS_DEFAULT <= DIRS_MAX);
    assert!(DIRS_MAX + DIRS_DEAD_MAX + OUTSIDE_MAX < u32::MAX as usize);
    assert!(PROCESSES_DEFAULT <= PROCESSES_MAX && PROCESSES_MAX < u32::MAX as usize);
    assert!(FILES_MAX < u32::MAX as usize);
    assert!(STRING_IDS < u32::MAX as usize);
    // A text fits, and so does the longest name of a file.
    assert!(CMDLINE_BYTES <= fsmon_format::arena::LEN_MAX && CMDLINE_BYTES <= ARGS_BYTES);
    assert!(fsmon_format::record::TEXT_MAX <= STRINGS_BYTES);
    assert!(fsmon_format::record::NAME_MAX <= FILES_BYTES);
    // A ring is a power of two, takes the longest message, and one is within what all may take.
    assert!(PERF_RING_BYTES.is_power_of_two() && PERF_RING_BYTES_MIN.is_power_of_two());
    assert!(PERF_RING_BYTES_MIN <= PERF_RING_BYTES && PERF_RING_BYTES <= PERF_RINGS_BYTES);
    assert!(PERF_RING_BYTES_MIN >= 2 * crate::hot::who::bpf_record::MESSAGE_MAX);
    // There is room for what one call receives.
    assert!(sys::DATAGRAMS_EACH_CALL < MESSAGES_MAX);
    // The longest record leaves room for others.
    assert!(RING_SLOTS.is_power_of_two());
    assert!(RING_SLOTS > 4 * fsmon_format::record::SLOTS_MAX);
};

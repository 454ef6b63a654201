//! Limits of the process table (`hot/who`).

use super::reader::FILES_BUFFERS;
use super::{CMDLINE_BYTES, CMDLINES_MAX};
use crate::hot::who::bpf_record::WITNESSES;

/// Reads of the queue that are remembered: four times the buffers of one turn of the reader.
pub(crate) const READS_KEPT: usize = 64;
/// Witnesses that are kept: those of a thousand changes and more, as they are needed within a batch.
pub(crate) const WITNESSES_KEPT: usize = 1 << 14;

/// Images of one pid that are searched for one event. More in one batch means a process that changes itself in a
/// loop; the answer is then ambiguous.
pub(crate) const IMAGES_LOOKED_AT: usize = 16;
/// Changes of one process that are considered while one event is in the queue.
pub(crate) const CHANGES_LOOKED_AT: usize = 8;
/// Execs of a name without a matching opening, and none with one, after which its file is taken to be on a
/// filesystem that is not watched.
pub(crate) const OPENINGS_MISSED: u8 = 4;
/// Names of opened executables that are remembered until an event shows which exec they belong to.
pub const OPENED_MAX: usize = 5;
/// Links of successive changes that are kept: a process that renames itself in a loop must not keep all its past.
pub(crate) const CHANGES_LINKED_MAX: u8 = 8;
/// Ancestors that are kept: a chain of processes that each fork the next and exit must not keep all its past.
pub const ANCESTRY_MAX: u16 = 1024;

/// Ticks of /proc/PID/stat (10 ms each) by which the start times of a forked process and of a process in /proc may
/// differ if they are the same process: /proc has whole ticks only, and times of another clock than messages.
pub(crate) const SAME_START_TICKS: u64 = 3;
/// How long fsmon waits before it checks again whether a process that has exited still exists, ns.
pub(crate) const EXITED_LOOK_AGAIN_NS: u64 = 100_000_000;
/// Processes that have exited and are checked by one call: a bound on the work between two batches.
pub(crate) const EXITED_LOOKS_MAX: usize = 4096;
/// Images that are evicted at one time.
pub(crate) const EVICTIONS_MAX: usize = 64;

/// Slots that are searched for the command line of an image, from its home on.
pub(crate) const CMDLINE_PROBES: usize = 16;
/// Images that are searched backwards for one with the same command line.
pub(crate) const CMDLINE_IMAGES_BACK: usize = 16;
/// Bytes that are read of a command line: one more than is kept, and the NUL after the last word. So it shows
/// whether there is more.
pub(crate) const CMDLINE_READ_BYTES: usize = CMDLINE_BYTES + 2;
/// Command lines that are kept until their images are defined, 1 MiB at most.
pub(crate) const CMDLINE_READS: usize = 256;
/// Simultaneous execs whose command lines are read; if there are more, the latest: the others are likely gone.
pub(crate) const EXECS_KEPT: usize = 32;

/// Bytes of directory entries of /proc that are read in one go, a few hundred processes at a time.
pub(crate) const PROC_ENTRIES_BYTES: usize = 16 << 10;
/// Bytes of the longest path of an executable: read from /proc, or given to exec (`PATH_MAX`).
pub(crate) const EXE_BYTES: usize = fsmon_format::record::TEXT_MAX;
/// Bytes read of a file of /proc.
pub(crate) const PROC_TEXT_BYTES: usize = 2048;
/// Bytes of the longest mount point of control groups that is used.
pub(crate) const CGROUP_MOUNT_BYTES: usize = 256;

const _: () = {
    assert!(READS_KEPT >= 4 * FILES_BUFFERS as usize);
    // Those of one change fit, and so do their numbers.
    assert!(WITNESSES <= WITNESSES_KEPT && WITNESSES_KEPT <= u32::MAX as usize);
    // Each slot is searched at most once.
    assert!(CMDLINE_PROBES <= CMDLINES_MAX);
    // Texts of execs that are read together need not share a slot.
    assert!(EXECS_KEPT < CMDLINE_READS);
    // The count is in one byte of the entry of a pid.
    assert!(OPENED_MAX <= u8::MAX as usize);
};

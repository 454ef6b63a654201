//! Of the process table (`hot/who`).

use super::reader::FILES_BUFFERS;
use super::{CMDLINE_BYTES, CMDLINES_MAX};
use crate::hot::who::bpf_record::WITNESSES;

/// Reads of the queue remembered: more than one turn of the reader has buffers for, four times over.
pub(crate) const READS_KEPT: usize = 64;
/// What events of a process were of when it changed: so many are kept, those of a thousand changes and more, as they are
/// asked for within a batch.
pub(crate) const WITNESSES_KEPT: usize = 1 << 14;

/// Images of one pid looked at for one event. More in one batch is one process that changes itself in a loop; the answer
/// is then ambiguous.
pub(crate) const IMAGES_LOOKED_AT: usize = 16;
/// Changes of one process looked at while one event is in the queue.
pub(crate) const CHANGES_LOOKED_AT: usize = 8;
/// Execs of a name not seen being opened, none seen, after which its file is taken to be on a filesystem that is not
/// watched.
pub(crate) const OPENINGS_MISSED: u8 = 4;
/// Names of opened executables that are remembered until an event tells what became of them.
pub const OPENED_MAX: usize = 5;
/// The links in a row of changes that are kept: a process that renames itself in a loop must not hold all its past.
pub(crate) const CHANGES_LINKED_MAX: u8 = 8;
/// Ancestors that are kept: a row of processes that each fork the next and end must not hold all its past.
pub const ANCESTRY_MAX: u16 = 1024;

/// How long a process that has exited and was still there is left alone, ns.
pub(crate) const EXITED_LOOK_AGAIN_NS: u64 = 100_000_000;
/// Processes that have exited looked at by one call: a bound on the work between two batches.
pub(crate) const EXITED_LOOKS_MAX: usize = 4096;
/// Images given up at one time to make room.
pub(crate) const EVICTIONS_MAX: usize = 64;

/// Places looked at for the command line of an image: those from its home on.
pub(crate) const CMDLINE_PROBES: usize = 16;
/// Images looked back through for one with the same command line.
pub(crate) const CMDLINE_IMAGES_BACK: usize = 16;
/// Bytes read of a command line: one more than is kept, and the NUL that ends the last word. It tells that there is more.
pub(crate) const CMDLINE_READ_BYTES: usize = CMDLINE_BYTES + 2;
/// Command lines kept until their images are handed on, 1 MiB at the most.
pub(crate) const CMDLINE_READS: usize = 256;
/// Execs heard of together that are looked after; of more, the latest: the others are likely gone.
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
    // Those of one change at the least, and their numbers fit.
    assert!(WITNESSES <= WITNESSES_KEPT && WITNESSES_KEPT <= u32::MAX as usize);
    // A place is looked at once at the most.
    assert!(CMDLINE_PROBES <= CMDLINES_MAX);
    // A place that was sent cannot be looked for behind the last id.
    assert!(CMDLINE_READS <= CMDLINES_MAX && EXECS_KEPT < CMDLINE_READS);
    // An entry of a pid has a byte for how many.
    assert!(OPENED_MAX <= u8::MAX as usize);
};

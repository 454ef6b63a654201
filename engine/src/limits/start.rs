//! Limits of the start, and of the BPF programs that are made then (`cold`).

use crate::hot::who::bpf_record;
use fsmon_format::number::to_u32;

/// Directories between two reports of progress.
pub(crate) const PROGRESS_DIRS: usize = 4096;
/// Directories between two readings of process messages: the rings must not fill up meanwhile.
pub(crate) const TAKE_IN_DIRS: u64 = 512;
/// File descriptors besides those for CPUs and roots: for the caller, programs and walks.
pub(crate) const DESCRIPTORS_BESIDES: u64 = 256;

/// Bytes of mountinfo that are read at most. A line is 100 to 300 bytes, and the kernel allows 100,000 mounts in a
/// namespace (`fs.mount-max`, Documentation/admin-guide/sysctl/fs.rst).
pub(crate) const MOUNTINFO_BYTES: u64 = 64 << 20;
/// Mounts on mounts, and directories of a path, that are followed. A path has at most 2,048 directories (PATH_MAX).
pub(crate) const MOUNT_DEPTH_MAX: usize = super::sys::PATH_MAX / 2;
/// Lines for one look at the mounts: more would hide other lines. Each change is in the record in any case.
pub(crate) const MOUNT_LINES_MAX: usize = 16;
/// Comparisons of the numbers of free blocks of two filesystems that are in use.
pub(crate) const FREE_BLOCKS_LOOKS: u32 = 100;
/// Processes that are examined for the roots of containers. One whose namespace was seen before costs one stat.
pub(crate) const CONTAINER_PROCESSES_MAX: usize = 100_000;

/// Looks at the queue by a program that needs the position: the number of looks, and the pauses of about 2 µs
/// ([`PAUSE_BYTES`]) after each. The first looks follow each other at about 0.1 µs, because most reads are short. The
/// last 100 looks last longer than the read of a full buffer, which takes 100 µs. If all fail, the program waits for
/// [`READER_PATIENCE_NS`].
pub(crate) const POSITION_LOOKS: [(u32, usize); 3] = [(50, 0), (50, 1), (100, 8)];
/// Looks of the second try, if a read began while the program searched the queue and so the first result is useless:
/// then reads follow each other, and each read of a contended queue takes longer. So the pauses are longer from the
/// start.
pub(crate) const POSITION_LOOKS_AGAIN: [(u32, usize); 2] = [(40, 1), (30, 16)];
/// Looks of a program that runs with interrupts off, and so may wait for about 5 µs only.
pub(crate) const POSITION_LOOKS_BRIEF: [(u32, usize); 1] = [(50, 0)];

/// Depth of unnamed structures that are searched in BTF.
pub(crate) const BTF_DEPTH_MAX: u32 = 8;
/// How long a program waits for a reader after its looks at the queue, ns: one processor of a virtual machine can
/// be suspended for many milliseconds.
pub(crate) const READER_PATIENCE_NS: i32 = 40_000_000;
/// Looks in that time at most: the verifier requires a number.
pub(crate) const READER_LOOKS_MAX: u32 = 300;
/// Bytes to copy for a pause of about 2 µs: programs have no other way to wait.
pub(crate) const PAUSE_BYTES: u32 = 32 << 10;
/// The same for a long pause, about 130 µs; longer if several programs wait, as they share the room.
pub(crate) const LONG_PAUSE_BYTES: u32 = 2 << 20;
/// Events of the queue, from its end back, that are searched for those of a process.
pub(crate) const QUEUE_STEPS: u32 = 400;
/// Names and mounts on the way to an executable at most: as many names as the longest path has, and some mounts.
pub(crate) const EXE_PATH_LEVELS: u32 = to_u32(bpf_record::PATH_MAX / 2 + 256);
/// Bytes of the longest name on that way: 255 UTF-16 units, the longest name of most filesystems, take at most 765
/// bytes in UTF-8. At a longer name, which FUSE allows, the path is cut off.
pub(crate) const EXE_NAME_MAX: u32 = 1023;
/// Walks of that way at most. The second agrees with the first unless a rename came in between.
pub(crate) const EXE_PATH_WALKS: usize = 4;

const _: () = {
    // A program can search all that a storm gathers.
    assert!(super::reader::STORM_BATCH_EVENTS <= QUEUE_STEPS);
    assert!(PAUSE_BYTES < LONG_PAUSE_BYTES);
    assert!(EXE_PATH_WALKS >= 2);
};

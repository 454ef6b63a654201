//! Of what is done at the start, and of the BPF programs that are made then (`cold`).

use crate::hot::who::bpf_record;
use crate::num::const_u32;

/// Directories between two reports of progress.
pub(crate) const PROGRESS_DIRS: usize = 4096;
/// Directories between two looks at what processes did: their rings must not fill up meanwhile.
pub(crate) const TAKE_IN_DIRS: u64 = 512;
/// File descriptors beside those for CPUs and roots, for what the caller has, programs, walks.
pub(crate) const DESCRIPTORS_BESIDES: u64 = 256;

/// The most bytes of mountinfo that are read. A line is 100 to 300 bytes, and the kernel allows 100,000 mounts in a
/// namespace (`fs.mount-max`, Documentation/admin-guide/sysctl/fs.rst).
pub(crate) const MOUNTINFO_BYTES: u64 = 64 << 20;
/// Mounts on mounts, and directories of a path, that are looked at. A path has at most 2,048 directories (PATH_MAX).
pub(crate) const MOUNT_DEPTH_MAX: usize = super::sys::PATH_MAX / 2;
/// Lines about one look at the mounts: more would hide other lines. Each change is in the record all the same.
pub(crate) const MOUNT_LINES_MAX: usize = 16;
/// Looks at the numbers of free blocks of two filesystems that others use.
pub(crate) const FREE_BLOCKS_LOOKS: u32 = 100;
/// Processes that are looked at for the roots of containers. One whose namespace was seen before costs one stat.
pub(crate) const CONTAINER_PROCESSES_MAX: usize = 100_000;

/// Structures in structures without a name that are looked into in BTF.
pub(crate) const BTF_DEPTH_MAX: u32 = 8;
/// How long a program waits for a reader after its looks at the queue, ns: one processor of a virtual machine can be held
/// up for many milliseconds.
pub(crate) const READER_PATIENCE_NS: i32 = 40_000_000;
/// Looks in that time at the most: the verifier wants a number.
pub(crate) const READER_LOOKS_MAX: u32 = 300;
/// A pause is the copying of so many bytes, 2 µs or so: programs have no other way to wait.
pub(crate) const PAUSE_BYTES: u32 = 32 << 10;
/// The same where it takes long anyhow, some 130 µs; more where several wait, as they share the room.
pub(crate) const LONG_PAUSE_BYTES: u32 = 2 << 20;
/// Events of the queue, from its end back, among which those of a process are looked for.
pub(crate) const QUEUE_STEPS: u32 = 400;
/// Names and mounts on the way to an executable at the most: as many as the longest path has names, and some mounts.
pub(crate) const EXE_PATH_LEVELS: u32 = const_u32::<{ bpf_record::PATH_MAX / 2 + 256 }>();
/// Walks of that way at the most. The second already agrees with the first unless a rename came between.
pub(crate) const EXE_PATH_WALKS: usize = 4;

const _: () = {
    // What a storm gathers a program can look through.
    assert!(super::reader::STORM_BATCH_EVENTS <= QUEUE_STEPS);
    assert!(PAUSE_BYTES < LONG_PAUSE_BYTES);
    assert!(EXE_PATH_WALKS >= 2);
};

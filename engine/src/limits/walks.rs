//! Of the tree and of what reads the filesystem (`hot/where/tree`, `watch`, `above.rs`).

use super::sys::PATH_MAX;

/// Filesystems that can be watched at one time: a node of the tree has a byte for which it is on.
pub(crate) const FILESYSTEMS_MAX: usize = u8::MAX as usize;
/// Bytes of names and long keys reserved for each directory in the tree, on average.
pub(crate) const TREE_TEXT_BYTES: usize = 64;
/// Bytes of the longest name of a directory that is taken in. Events have names of 255 bytes at most, but FUSE, vfat
/// and others have longer ones (`FUSE_NAME_MAX`, and 255 UTF-16 units), which walks meet.
pub(crate) const NAME_ROOM: usize = 1024;
/// Dead nodes that are given up by one call: a bound on the work between two batches.
pub(crate) const BURIALS_MAX: usize = 4096;

/// Looks at a step above a root that must agree: a rename shows on disk an instant before its event is queued.
pub(crate) const STEP_LOOKS: u8 = 2;
/// Bits of the sieve by which most events are known to be of no step.
pub(crate) const SIEVE_BITS: usize = 1024;
/// Bytes of a path beyond those that the user named that there is room for from the start: links seldom lead deeper.
pub(crate) const STEPS_PATH_BYTES: usize = 1024;
/// Steps that there is room for from the start.
pub(crate) const STEPS_ROOM: usize = 64;

/// Bytes of directory entries read in one go.
pub(crate) const DIR_ENTRIES_BYTES: usize = 64 << 10;
/// Bytes for paths; the deepest real trees stay far below, deeper ones make it grow.
pub(crate) const PATHS_BYTES: usize = 64 << 10;
/// Directories between one that is known and one that is not, of which handles are kept at one time.
pub(crate) const WAY_MAX: usize = 64;
/// Directories that a walk passes, as they are read already, before it looks at the clock: about 0.1 ms.
pub(crate) const DIRS_PASSED: u32 = 4096;
/// Directories that a walk holds open: deeper than most trees are, and few beside the 1,024 descriptors that a process
/// usually may have.
pub(crate) const DIRS_OPEN_MAX: usize = 64;

/// Symbolic links on one way: as many as the kernel follows (`MAXSYMLINKS`, include/linux/namei.h).
pub(crate) const LINKS_MAX: usize = 40;
/// Bytes of room for what is left of a path while it is followed: the path as it was named, and the text of a link.
pub(crate) const PATH_REST_BYTES: usize = 2 * PATH_MAX;
/// Names on one way, those of links and `..` included: as many as the longest path has. Each takes some calls into the
/// kernel, and the owner of a link on the way chooses its text.
pub(crate) const WAY_NAMES_MAX: usize = PATH_MAX / 2;

const _: () = {
    assert!(FILESYSTEMS_MAX <= u8::MAX as usize);
    assert!(SIEVE_BITS.is_power_of_two() && SIEVE_BITS.is_multiple_of(64));
    // One entry at the least: its head, and the longest name.
    assert!(DIR_ENTRIES_BYTES > 24 + NAME_ROOM && NAME_ROOM > fsmon_format::record::NAME_MAX);
    assert!(PATHS_BYTES > PATH_MAX && NAME_ROOM < PATH_MAX);
    // A tree's text holds the longest name of one directory.
    assert!(NAME_ROOM <= fsmon_format::arena::LEN_MAX);
    assert!(STEP_LOOKS > 0);
};

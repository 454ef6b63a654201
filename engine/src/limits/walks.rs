//! Limits of the tree and of reading the filesystem (`hot/where/tree`, `watch`, `above.rs`).

use super::sys::PATH_MAX;

/// Filesystems that can be watched at one time: a node of the tree has a byte for their index.
pub(crate) const FILESYSTEMS_MAX: usize = u8::MAX as usize;
/// Roots at one time, when further ones are added: an event of a step above a root is compared with each.
pub(crate) const ROOTS_MAX: usize = 1024;
/// Bytes of names and long keys reserved for each directory in the tree, on average.
pub(crate) const TREE_TEXT_BYTES: usize = 64;
/// Bytes for names and long keys that a small tree reserves at least: its few directories may have long names.
pub(crate) const TREE_TEXT_BYTES_MIN: usize = 1 << 20;
/// Bytes of the longest name of a directory in the tree. Events have names of 255 bytes at most, but walks meet
/// longer ones on FUSE, vfat and others (`FUSE_NAME_MAX`, and 255 UTF-16 units).
pub(crate) const NAME_ROOM: usize = 1024;
/// Dead nodes that are freed by one call: a bound on the work between two batches.
pub(crate) const BURIALS_MAX: usize = 4096;

/// Looks at a step above a root that must agree: a rename is on disk just before its event is queued.
pub(crate) const STEP_LOOKS: u8 = 2;
/// Bits of the sieve that shows for most events that they are not about a step.
pub(crate) const SIEVE_BITS: usize = 1024;
/// Bytes of a path, beyond those that the user named, for which there is room from the start: links seldom lead
/// deeper.
pub(crate) const STEPS_PATH_BYTES: usize = 1024;
/// Steps for which there is room from the start.
pub(crate) const STEPS_ROOM: usize = 64;

/// Bytes of directory entries read in one go.
pub(crate) const DIR_ENTRIES_BYTES: usize = 64 << 10;
/// Bytes for paths; real trees are far less deep, and for deeper ones it grows.
pub(crate) const PATHS_BYTES: usize = 64 << 10;
/// Directories between a known and an unknown one whose handles are kept at one time.
pub(crate) const WAY_MAX: usize = 64;
/// Directories that a walk skips, as they were already read, before it checks the clock: about 0.1 ms.
pub(crate) const DIRS_PASSED: u32 = 4096;
/// Directories that a walk holds open: more than the depth of most trees, and few compared with the 1,024
/// descriptors that a process usually may have.
pub(crate) const DIRS_OPEN_MAX: usize = 64;

/// Symbolic links on one way: as many as the kernel follows (`MAXSYMLINKS`, include/linux/namei.h).
pub(crate) const LINKS_MAX: usize = 40;
/// Bytes for the rest of a path while it is followed: the path as named, and the text of a link.
pub(crate) const PATH_REST_BYTES: usize = 2 * PATH_MAX;
/// Names on one way, those of links and `..` included: as many as the longest path has. Each takes some system
/// calls, and the owner of a link on the way chooses its text.
pub(crate) const WAY_NAMES_MAX: usize = PATH_MAX / 2;

const _: () = {
    assert!(SIEVE_BITS.is_power_of_two() && SIEVE_BITS.is_multiple_of(64));
    // At least one entry: its head, and the longest name.
    assert!(DIR_ENTRIES_BYTES > 24 + NAME_ROOM && NAME_ROOM > fsmon_format::record::NAME_MAX);
    assert!(PATHS_BYTES > PATH_MAX && NAME_ROOM < PATH_MAX);
    // A tree's text holds the longest name of one directory.
    assert!(NAME_ROOM <= fsmon_format::arena::LEN_MAX && NAME_ROOM <= TREE_TEXT_BYTES_MIN);
    assert!(STEP_LOOKS > 0);
};

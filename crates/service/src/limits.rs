//! Every limit of this crate, with its reason.

use std::time::Duration;

/// The largest configuration or state file, in bytes: ten thousand watches fit, and the daemon never reads a log or
/// an image that somebody put there.
pub(crate) const FILE_BYTES: u64 = 1 << 20;
/// The longest path that the kernel takes, in bytes (PATH_MAX less the NUL).
pub(crate) const PATH_BYTES: usize = 4095;
/// The longest path of a unix socket, in bytes (`sun_path` of unix(7) less the NUL).
pub(crate) const SOCKET_PATH_BYTES: usize = 107;
/// The longest name of a group or user, in bytes (useradd(8) takes 32; directories such as LDAP take more).
pub(crate) const NAME_BYTES: usize = 255;
/// Watches in one file. Each has a filter of its own that every event below it passes.
pub(crate) const WATCHES_MAX: usize = 1024;
/// Patterns in one list of a watch: they are compiled into one automaton.
pub(crate) const PATTERNS_MAX: usize = 1024;
/// The deepest `max_depth`: a path of PATH_MAX bytes has fewer names.
pub(crate) const DEPTH_MAX: u32 = 4096;
/// The longest time that can be configured: beyond, sums of times and clocks could overflow.
pub(crate) const TIME_MAX: Duration = Duration::from_secs(100 * 365 * 24 * 3600);
/// Sessions at one time: each has a kernel queue, and a user has 128 of these by default.
pub(crate) const SESSIONS_MAX: usize = 4096;
/// The highest number of a CPU: Linux is built for at most 8192.
pub(crate) const CPU_MAX: usize = 8191;

const _: () = {
    assert!(SOCKET_PATH_BYTES < PATH_BYTES);
    assert!(DEPTH_MAX as usize > PATH_BYTES / 2);
};

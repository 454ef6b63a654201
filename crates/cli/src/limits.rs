//! Every limit of the command line, with its reason.

pub(crate) use fsmon_present::limits::BUFFER_BYTES;
use std::time::Duration;

/// Bytes gathered before they are written: a pipe's default size, so that one write fills it.
pub(crate) const WRITE_BYTES: usize = 64 << 10;
/// Slots of the ring of batches that, when they come closer together than the gap, are a storm: then
/// it pays to let some gather. An event takes one or two.
pub(crate) const STORM_SLOTS: usize = 32;
pub(crate) const STORM_GAP: Duration = Duration::from_millis(5);
/// The same on the way to a file, for which nobody waits as for a pipe.
pub(crate) const GATHER_FILE: Duration = Duration::from_millis(16);
/// For how long the formatter sleeps when nothing happens; it looks after the output file then.
pub(crate) const IDLE: Duration = Duration::from_secs(4);
/// How often it is looked whether the output file is still there.
pub(crate) const SINK_CHECK: Duration = Duration::from_secs(1);

const _: () = assert!(WRITE_BYTES < BUFFER_BYTES);

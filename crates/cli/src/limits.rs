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
/// For how long to wait before a full pipe that does not block is tried again.
pub(crate) const PIPE_RETRY: Duration = Duration::from_millis(1);
/// How often it is looked whether a named pipe has a reader.
pub(crate) const READER_CHECK: Duration = Duration::from_millis(50);
/// How long a formatter may take after a second signal: what it is writing gets out in milliseconds, but for a pipe that
/// is full and whose reader has stopped reading.
pub(crate) const HURRY: Duration = Duration::from_secs(1);
/// Signals that come within this time are one: a shell or make passes on what the terminal has sent to all, and a
/// terminal that closes sends SIGHUP twice.
pub(crate) const SIGNALS_TOGETHER: Duration = Duration::from_millis(200);

const _: () = {
    assert!(WRITE_BYTES < BUFFER_BYTES);
    assert!(PIPE_RETRY.as_millis() < HURRY.as_millis());
    // A storm is gathered for longer than there is between its batches.
    assert!(STORM_GAP.as_millis() <= GATHER_FILE.as_millis());
    // The output file is looked at in its time where events come, and at the end of a sleep where none do.
    assert!(SINK_CHECK.as_millis() <= IDLE.as_millis());
};

//! Every limit of the command line, with its reason.

pub(crate) use fsmon_present::limits::BUFFER_BYTES;
use std::time::Duration;

/// The largest `--max-depth`: a path of PATH_MAX (4096) bytes has fewer names.
pub(crate) const DEPTH_MAX: u32 = 4096;

/// Write when this many bytes are ready: the default size of a pipe, so that one write fills it.
pub(crate) const WRITE_BYTES: usize = 64 << 10;
/// Batches of at least this many slots are a storm if they come closer together than `STORM_GAP`: then the
/// formatter lets batches gather. An event takes one or two slots.
pub(crate) const STORM_SLOTS: usize = 32;
pub(crate) const STORM_GAP: Duration = Duration::from_millis(5);
/// How long batches gather in a storm if the output is a file, for which nobody waits as for a pipe.
pub(crate) const GATHER_FILE: Duration = Duration::from_millis(16);
/// How long the formatter sleeps if nothing happens, before it checks the output file.
pub(crate) const IDLE: Duration = Duration::from_secs(4);
/// How often the formatter checks that the output file still exists.
pub(crate) const SINK_CHECK: Duration = Duration::from_secs(1);
/// How long to wait before writing again to a full pipe that does not block: short, so that a
/// fast reader does not wait for long; each try is one system call.
pub(crate) const PIPE_RETRY: Duration = Duration::from_millis(1);
/// How often to check whether a named pipe has a reader: a user does not notice the delay, and
/// each try is one system call.
pub(crate) const READER_CHECK: Duration = Duration::from_millis(50);
/// How long a formatter may take after a second signal. It needs milliseconds, unless the output is a full
/// pipe whose reader has stopped reading.
pub(crate) const HURRY: Duration = Duration::from_secs(1);
/// Signals within this time count as one: a shell or make forwards a signal that the terminal has sent to all,
/// and a closing terminal sends SIGHUP twice.
pub(crate) const SIGNALS_TOGETHER: Duration = Duration::from_millis(200);

/// Pieces of 1 MiB before the time asked for that `fsmon changes` reads at most to learn what was there: some 0.2 s.
pub(crate) const PAST_PIECES: usize = 32;
/// How long a query that follows waits before it looks for more: who watches it does not notice.
pub(crate) const FOLLOW_PAUSE: Duration = Duration::from_millis(100);
/// Lines of a query that are written at once: the same.
pub(crate) const QUERY_WRITE_BYTES: usize = WRITE_BYTES;
/// How long they wait for more: who reads them does not notice.
pub(crate) const QUERY_WRITE_EVERY: Duration = Duration::from_millis(20);

const _: () = {
    assert!(WRITE_BYTES < BUFFER_BYTES);
    assert!(PIPE_RETRY.as_millis() < HURRY.as_millis());
    // Batches gather for at least the gap between two batches of a storm, or none would.
    assert!(STORM_GAP.as_millis() <= GATHER_FILE.as_millis());
    // While events come, the formatter checks the output file at `SINK_CHECK`; while none come, at `IDLE`.
    assert!(SINK_CHECK.as_millis() <= IDLE.as_millis());
};

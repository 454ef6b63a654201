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
/// The longest line of a file that an older fsmon wrote, in bytes: a group of 0.5 is one line, and a thousand paths of
/// 200 bytes fit.
pub(crate) const IMPORT_LINE_BYTES: usize = 1 << 18;
/// Lines about what such files have that cannot be taken over: nobody reads more.
pub(crate) const IMPORT_NOTES_MAX: usize = 1000;
/// Paths in such files: four times as many as there can be watches, as a path can be in several groups.
pub(crate) const IMPORT_PATHS_MAX: usize = 4 * WATCHES_MAX;
/// Globs that one regular expression on commands may become: more say that globs are not what it means.
pub(crate) const IMPORT_GLOBS_MAX: usize = 64;
/// The longest of them, in bytes: a name of a command has at most 15.
pub(crate) const IMPORT_GLOB_BYTES: usize = 256;
/// The longest time that can be configured: beyond, sums of times and clocks could overflow.
pub(crate) const TIME_MAX: Duration = Duration::from_secs(100 * 365 * 24 * 3600);
/// Sessions at one time: each has a kernel queue, and a user has 128 of these by default.
pub(crate) const SESSIONS_MAX: usize = 4096;
/// The highest number of a CPU: Linux is built for at most 8192.
pub(crate) const CPU_MAX: usize = 8191;

/// The longest message to the control socket, in bytes: a watch with hundreds of patterns fits.
pub(crate) const MESSAGE_BYTES: usize = 1 << 16;
/// The longest answer that a client reads, in bytes: a list of 256 watches with all their patterns fits.
pub(crate) const ANSWER_BYTES: u64 = 1 << 26;
/// Clients of the control socket at a time. Each has a thread.
pub(crate) const CLIENTS_MAX: usize = 64;
/// Clients of one user other than root: a member of the group cannot shut out others.
pub(crate) const CLIENTS_OF_USER_MAX: usize = 8;
/// How long a client may stay connected between two messages.
pub(crate) const CLIENT_IDLE: Duration = Duration::from_secs(60);
/// How long a message may take to come in once it has begun, and an answer to be read.
pub(crate) const CLIENT_MESSAGE: Duration = Duration::from_secs(5);
/// How long a client waits for an answer: `add` may walk a large tree.
pub(crate) const CONNECT_ANSWER: Duration = Duration::from_secs(600);
/// Who may connect: the owner and the group. Rights are checked again at each command.
pub(crate) const SOCKET_MODE: u32 = 0o660;

/// The longest head of an HTTP request, in bytes: those of Prometheus have some 300.
pub(crate) const HTTP_HEAD_BYTES: usize = 1 << 13;
/// HTTP clients at a time. Each has a thread; Prometheus is one.
pub(crate) const HTTP_CLIENTS_MAX: usize = 16;
/// How long a request may take to come in, and its response to be read.
pub(crate) const HTTP_TIME: Duration = Duration::from_secs(5);
/// How often the textfile of metrics is written: as often as node_exporter is usually scraped.
pub(crate) const TEXTFILE_EVERY: Duration = Duration::from_secs(15);

/// How long the recorder sleeps when nothing waits to be written.
pub(crate) const IDLE: Duration = Duration::from_secs(10);
/// How long a block waits for more records: what happened reaches the file within a second.
pub(crate) const BLOCK_WAITS: Duration = Duration::from_millis(900);
/// Bytes that are written at once, at least: four blocks.
pub(crate) const WRITE_BYTES: usize = 1 << 18;
/// Bytes that wait for the writer's thread at most, but for one piece that is longer alone. Pieces need not gather: while
/// the disk pauses, the ring and the kernel's queue hold what happens.
pub(crate) const HANDOVER_BYTES: usize = WRITE_BYTES;
/// Pieces that wait at most: flushes make small ones.
pub(crate) const HANDOVER_PIECES: usize = 16;
/// Buffers that are kept to be used again: one that is written, one that waits.
pub(crate) const SPARE_BUFFERS: usize = 2;
/// While the recorder can hand nothing over: how often it looks how long the kernel's queue is. At the pace of the fastest
/// writers, a million events a second, 20,000 come in between: 4 MB.
pub(crate) const HOLD_LOOK: Duration = Duration::from_millis(20);
/// While something is being written: how often the recorder looks what became of it.
pub(crate) const WRITER_LOOK: Duration = Duration::from_millis(100);
/// Losses that the engine reported while events were dropped, each kept by itself.
pub(crate) const HELD_LOSSES: usize = 64;
/// How often a message says that events are dropped: a slow disk makes it begin and end many times.
pub(crate) const SHED_SAID_EVERY: Duration = Duration::from_secs(60);
/// How long the end of the daemon waits for a disk that does not answer: systemd kills after 90 s.
pub(crate) const END_PATIENCE: Duration = Duration::from_secs(30);
/// How long a command waits for the history to be free. Then it has the numbers from before.
pub(crate) const HISTORY_PATIENCE: Duration = Duration::from_millis(200);
/// Numbers that are tried for a segment at once, if files have its names. Each time that a disk goes away may leave one; the
/// recorder pauses after so many, and tries others.
pub(crate) const SEGMENT_NUMBERS: usize = 16;
/// A batch of this many slots is one of a storm.
pub(crate) const STORM_SLOTS: usize = 1 << 10;
/// In a storm, how long the recorder lets batches gather: fewer wake-ups, while the ring has room for 100 times as much.
pub(crate) const GATHER: Duration = Duration::from_millis(5);
/// While recording is paused: how long until the disk is tried for the first time.
pub(crate) const FIRST_RETRY: Duration = Duration::from_millis(100);
/// While recording is paused: how often the disk is tried, at least.
pub(crate) const RETRY_MAX: Duration = Duration::from_secs(2);
/// A disk that takes longer for one write is said to stall. A disk that only is busy answers within a second or two.
pub(crate) const DISK_STALLS: Duration = Duration::from_secs(5);
/// How often the keeper looks at the history and its filesystem.
pub(crate) const KEEP_EVERY: Duration = Duration::from_secs(2);
/// How long blocks gather before they are indexed. A question reads what is not indexed yet: in this time a storm writes some
/// two cells.
pub(crate) const INDEX_EVERY: Duration = Duration::from_millis(500);
/// Users and control groups that a NOTE about a deleted segment names.
pub(crate) const NOTE_NAMES: usize = 3;
/// How often a flush ends a block at most. Each block that ends early costs the history some 540 bytes: what the next one
/// defines again, and a worse compression.
pub(crate) const FLUSH_EVERY: Duration = Duration::from_millis(50);
/// Blocks that flushes may end at that pace: somebody who asks now and then is answered at once.
pub(crate) const FLUSH_BURST: u32 = 20;
/// After these, the time for each: clients that ask all the time make a busy history (180 KB a second) 0.6 % larger. A block
/// ends of itself after [`BLOCK_WAITS`].
pub(crate) const FLUSH_REFILL: Duration = Duration::from_millis(500);
/// The longest message between the two processes of the daemon, in bytes: a list of all watches with all their patterns,
/// as [`ANSWER_BYTES`].
pub(crate) const LINK_BYTES: u32 = 1 << 26;
/// Orders that are carried out at a time: one for each client of the control socket and of HTTP, and a few of the front
/// process's own.
pub(crate) const ORDERS_MAX: usize = CLIENTS_MAX + HTTP_CLIENTS_MAX + 8;
/// How long the front process waits for the recorder to end after its last answer, before it ends, too.
pub(crate) const EXIT_PATIENCE: Duration = Duration::from_secs(5);
/// How long the front process waits for a signal that may have ended the recorder before it began.
pub(crate) const SIGNAL_PATIENCE: Duration = Duration::from_millis(100);
/// How long a new daemon waits for the history of one that was just killed: the kernel frees the lock when it has taken
/// the process apart, whose maps of up to 2 GiB take a second at most.
pub(crate) const LOCK_PATIENCE: Duration = Duration::from_secs(5);
/// How often it tries.
pub(crate) const LOCK_RETRY: Duration = Duration::from_millis(20);
/// How long a command waits for the engine and the recorder. Both answer within milliseconds unless the disk stalls.
pub(crate) const ENGINE_PATIENCE: Duration = Duration::from_secs(30);
/// How long `add` waits for the walk of a large tree: of ten million directories, at 100,000 a second, and as long again.
pub(crate) const ADD_PATIENCE: Duration = Duration::from_secs(200);
/// How long opening what is to be watched may take: a server that does not answer makes a watch fail.
pub(crate) const OPEN_PATIENCE: Duration = Duration::from_secs(10);

const _: () = {
    assert!(SOCKET_PATH_BYTES < PATH_BYTES);
    assert!(IMPORT_LINE_BYTES as u64 <= FILE_BYTES);
    assert!(IMPORT_GLOBS_MAX <= PATTERNS_MAX);
    assert!(DEPTH_MAX as usize > PATH_BYTES / 2);
    assert!(BLOCK_WAITS.as_millis() < 1000);
    assert!(HOLD_LOOK.as_millis() <= WRITER_LOOK.as_millis());
    assert!(WRITER_LOOK.as_millis() < DISK_STALLS.as_millis());
    assert!(DISK_STALLS.as_millis() < END_PATIENCE.as_millis());
    assert!(FIRST_RETRY.as_millis() <= RETRY_MAX.as_millis());
    assert!(CLIENTS_OF_USER_MAX < CLIENTS_MAX);
    assert!(LINK_BYTES as u64 >= ANSWER_BYTES);
};

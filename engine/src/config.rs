//! The configuration of the engine.

use crate::limits::{
    CMDLINES_BYTES, DIR_NAME_BYTES, DIRS_DEAD_MAX, OUTSIDE_MAX, STRING_IDS, STRINGS_BYTES,
};
use fsmon_format::mirror::Capacity;
use fsmon_format::named;
use std::path::PathBuf;
use std::time::Duration;

/// How file events are read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Backend {
    /// io_uring if it works here, or else poll.
    #[default]
    Auto,
    /// io_uring with deferred task work and multishot receives (Linux 6.1).
    Uring,
    /// `poll` and `read`, at the same pace.
    Poll,
}

named!(Backend { Auto = "auto", Uring = "uring", Poll = "poll" });

/// Where the reader runs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Cpu {
    /// Pinned to a CPU of the engine's choice: at first the last allowed one. In a storm the reader moves to an
    /// idle CPU if other threads want its own, and from one to the next if none is idle.
    #[default]
    Auto,
    /// Not pinned.
    None,
    /// Pinned to this CPU.
    Pin(usize),
}

/// The sources of process attribution, best first. A rung includes what the lower ones give.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Who {
    /// The best that works here.
    #[default]
    Auto,
    /// BPF programs: everything, with the position in the queue of file events.
    Bpf,
    /// perf tracepoint `sched_process_exec`: the name as given to exec, and the cgroup.
    Tracepoint,
    /// perf COMM, FORK and EXIT records.
    Comm,
    /// proc connector, with the comm read from /proc at exec.
    Connector,
    /// /proc at event time.
    Proc,
}

named!(Who {
    Auto = "auto",
    Bpf = "bpf",
    Tracepoint = "tracepoint",
    Comm = "comm",
    Connector = "connector",
    Proc = "proc",
});

/// Decides which directories are excluded. A closure can do so by the path below the root only.
pub trait Skip {
    /// Whether to exclude the directory at `path` below the watched directory `root`, which is absolute.
    fn skips(&mut self, root: &[u8], path: &[u8]) -> bool;
}

impl<F: FnMut(&[u8]) -> bool> Skip for F {
    fn skips(&mut self, _: &[u8], path: &[u8]) -> bool {
        self(path)
    }
}

/// Called for each directory.
pub type Skips = Box<dyn Skip + Send>;

/// Called with a line for the user.
pub type Notice = Box<dyn FnMut(String) + Send>;

/// Directories to exclude, with everything below them.
pub struct SkipDir {
    /// Called when a directory comes up, on the reader thread: it must not allocate after a warm-up.
    pub skips: Skips,
    /// Whether it uses more than the last name. Then a rename can change the result for everything below, which is
    /// asked for again.
    pub by_path: bool,
}

/// What to watch and how. [`Config::new`] has the defaults.
#[non_exhaustive]
pub struct Config {
    /// The paths of the directories to watch; none is possible, as a running engine can be told to watch one. One that
    /// does not exist yet is watched from when it appears.
    pub roots: Vec<PathBuf>,
    /// Directories that another reader watches: for this reader they are no loss.
    pub elsewhere: Vec<PathBuf>,
    /// The event types to report: [`fsmon_format::kind`] bits.
    pub types: u32,
    /// Whether directories below the roots are watched too.
    pub recursive: bool,
    /// Whether filesystems that are mounted below the roots are watched too, at the start and later. Not followed
    /// are filesystems that may not answer (FUSE, network filesystems), an overlay that is the root of a container
    /// or that is mounted later, as it may become one, and mounts on files.
    pub follow_mounts: bool,
    /// Whether a change of a file in a watched directory through a hard link outside of it is reported, under the
    /// watched name. This keeps the names of all files.
    pub hard_links: bool,
    /// Directories to exclude.
    pub skip_dir: Option<SkipDir>,
    /// The same as `skip_dir`, for the thread that follows mounts: a mount in an excluded directory is not
    /// reported.
    pub skip_mount: Option<Skips>,
    /// Called when a mount hides something watched, or is unmounted, from a thread of its own.
    pub notice: Option<Notice>,
    /// How events are read.
    pub backend: Backend,
    /// Where the reader runs.
    pub cpu: Cpu,
    /// The number of this reader among several: with [`Cpu::Auto`] each takes another CPU, while there are enough.
    pub reader: usize,
    /// The best source of attribution to use.
    pub who: Who,
    /// Whether the command lines of processes are reported. With BPF they are as given to exec. Without, and for
    /// processes from before the start, they are read from /proc after the fact, if that is reliable; the reader
    /// then waits for the memory of each process.
    pub cmdline: bool,
    /// How long events are gathered before a batch is read; at most a second. Twice that in a storm, if it is at
    /// most 2 ms; four times if many events come and none is reported.
    pub batch_window: Duration,
    /// Whether the kernel queue is bounded by `fs.fanotify.max_queued_events`.
    pub bounded_queue: bool,
    /// The key of the hashes by which records identify objects (`object`): under one key a file has the same hash in
    /// each run, for as long as its filesystem has the same UUID. `None`: a random key.
    pub object_key: Option<[u8; fsmon_format::object::KEY_BYTES]>,
    /// Directories that can be known at one time.
    pub dirs_max: usize,
    /// Process images that can be known at one time.
    pub processes_max: usize,
    /// Slots in the ring to the consumer; rounded up to a power of two.
    pub ring_slots: usize,
    /// Called from time to time during the walk, with the number of directories known so far.
    pub progress: Option<Box<dyn FnMut(usize)>>,
}

impl Config {
    /// The defaults for these roots.
    #[must_use]
    pub fn new(roots: Vec<PathBuf>) -> Self {
        Config {
            roots,
            elsewhere: Vec::new(),
            types: fsmon_format::kind::DEFAULT,
            recursive: true,
            follow_mounts: false,
            hard_links: false,
            skip_dir: None,
            skip_mount: None,
            notice: None,
            backend: Backend::Auto,
            cpu: Cpu::Auto,
            reader: 0,
            who: Who::Auto,
            cmdline: false,
            batch_window: Duration::from_millis(1),
            bounded_queue: false,
            object_key: None,
            dirs_max: crate::limits::DIRS_DEFAULT,
            processes_max: crate::limits::PROCESSES_DEFAULT,
            ring_slots: crate::limits::RING_SLOTS,
            progress: None,
        }
    }

    /// The room that a [`Mirror`](fsmon_format::mirror::Mirror) needs for everything that the engine defines at one
    /// time.
    #[must_use]
    pub fn capacity(&self) -> Capacity {
        let cmdlines = if self.cmdline { CMDLINES_BYTES } else { 0 };
        Capacity {
            dirs: self.dirs_max + DIRS_DEAD_MAX + OUTSIDE_MAX,
            processes: self.processes_max,
            strings: STRING_IDS,
            text: self.dirs_max * DIR_NAME_BYTES + STRINGS_BYTES + cmdlines,
        }
    }
}

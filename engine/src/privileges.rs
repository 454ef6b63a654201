//! The capabilities that a thread keeps once what needed them is done.
//!
//! Capabilities belong to threads (capabilities(7)), and the threads of a process share their memory: to give them up keeps
//! a mistake small, and is no wall between threads. What each part of fsmon needs, and why, stands here.

use crate::sys::capabilities;
use fsmon_format::error::{Error, ErrorKind};
use std::io;

/// Numbers of linux/capability.h.
const DAC_OVERRIDE: u32 = 1;
const DAC_READ_SEARCH: u32 = 2;
const SETPCAP: u32 = 8;
const SYS_PTRACE: u32 = 19;
const SYS_ADMIN: u32 = 21;

/// What a thread still does that takes a capability.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Task {
    /// Reads directories of others, and opens files by their handles, also to name control groups:
    /// `CAP_DAC_READ_SEARCH`.
    Read,
    /// Reads which files the processes of others run (`/proc/PID/exe`): `CAP_SYS_PTRACE`.
    ReadProcesses,
    /// Sets marks on filesystems: `CAP_SYS_ADMIN`.
    Mark,
    /// Makes files in directories of others: `CAP_DAC_OVERRIDE`.
    WriteFiles,
}

impl Task {
    /// A bit for each capability.
    fn capability(self) -> u64 {
        1 << match self {
            Task::Read => DAC_READ_SEARCH,
            Task::ReadProcesses => SYS_PTRACE,
            Task::Mark => SYS_ADMIN,
            Task::WriteFiles => DAC_OVERRIDE,
        }
    }
}

/// Gives up all capabilities of the calling thread but those for `tasks`, as far as it has these. Threads that it starts
/// from now on have no more either. It can get none back, not even by executing a program as root, if it may lower its
/// bounding set (`CAP_SETPCAP`).
///
/// # Errors
/// The kernel refuses to change them; nothing that is given up then matters.
pub fn keep(tasks: &[Task]) -> Result<(), Error> {
    let failed = |error: io::Error| {
        Error::os("cannot give up capabilities", error).with_kind(ErrorKind::Internal)
    };
    let has = capabilities::permitted().map_err(failed)?;
    let wanted = tasks.iter().fold(0, |all, task| all | task.capability());
    let kept = has & wanted;
    if has & 1 << SETPCAP != 0 {
        capabilities::bound(kept).map_err(failed)?;
    }
    capabilities::clear_ambient().map_err(failed)?;
    capabilities::keep(kept).map_err(failed)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::thread;

    /// A set of the calling thread, as /proc has it.
    fn set(name: &str) -> u64 {
        let status = std::fs::read_to_string("/proc/thread-self/status").expect("read");
        let line = status.lines().find_map(|line| line.strip_prefix(name)).expect("there");
        u64::from_str_radix(line.trim_start_matches(':').trim(), 16).expect("a number")
    }

    #[test]
    fn a_thread_keeps_what_its_tasks_need_and_other_threads_what_they_have() {
        let before = set("CapPrm");
        let kept = |tasks: &'static [Task]| {
            let run = move || {
                keep(tasks).expect("given up");
                assert_eq!((set("CapInh"), set("CapAmb")), (0, 0));
                assert_eq!(set("CapEff"), set("CapPrm"));
                assert!(before & 1 << SETPCAP == 0 || set("CapBnd") == set("CapPrm"));
                let child = thread::spawn(|| set("CapPrm"));
                assert_eq!(child.join().expect("ended"), set("CapPrm"));
                set("CapEff")
            };
            thread::spawn(run).join().expect("ended")
        };
        assert_eq!(kept(&[]), 0);
        let of = |tasks: &[Task]| tasks.iter().fold(0, |all, task| all | task.capability());
        for tasks in [&[Task::Read][..], &[Task::Mark], &[Task::ReadProcesses, Task::WriteFiles]] {
            assert_eq!(kept(tasks), before & of(tasks), "{tasks:?}");
        }
        assert_eq!(set("CapPrm"), before);
    }
}

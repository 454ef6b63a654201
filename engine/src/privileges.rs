//! The capabilities that a thread keeps once what needed them is done.
//!
//! Capabilities belong to threads (capabilities(7)), and the threads of a process share their memory: to give them up keeps
//! a mistake small, and is no wall between threads. What each part of fsmon needs, and why, stands here.

use caps::{CapSet, Capability, CapsHashSet};
use fsmon_format::error::{Error, ErrorKind};
use std::io;

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
    fn capability(self) -> Capability {
        match self {
            Task::Read => Capability::CAP_DAC_READ_SEARCH,
            Task::ReadProcesses => Capability::CAP_SYS_PTRACE,
            Task::Mark => Capability::CAP_SYS_ADMIN,
            Task::WriteFiles => Capability::CAP_DAC_OVERRIDE,
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
    let failed = |error: caps::errors::CapsError| {
        Error::os("cannot give up capabilities", io::Error::other(error.to_string()))
            .with_kind(ErrorKind::Internal)
    };
    let has = caps::read(None, CapSet::Permitted).map_err(failed)?;
    let wanted = tasks.iter().map(|task| task.capability());
    let kept: CapsHashSet = wanted.filter(|cap| has.contains(cap)).collect();
    if has.contains(&Capability::CAP_SETPCAP) {
        for cap in caps::runtime::thread_all_supported().difference(&kept) {
            caps::drop(None, CapSet::Bounding, *cap).map_err(failed)?;
        }
    }
    caps::clear(None, CapSet::Ambient).map_err(failed)?;
    // What is effective must be permitted at any time.
    caps::set(None, CapSet::Effective, &kept).map_err(failed)?;
    caps::set(None, CapSet::Permitted, &kept).map_err(failed)?;
    caps::clear(None, CapSet::Inheritable).map_err(failed)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::thread;

    #[test]
    fn a_thread_keeps_what_its_tasks_need_and_other_threads_what_they_have() {
        let before = caps::read(None, CapSet::Effective).expect("read");
        let kept = |tasks: &'static [Task]| {
            let run = move || {
                keep(tasks).expect("given up");
                let of = |set| caps::read(None, set).expect("read");
                assert!(of(CapSet::Inheritable).is_empty() && of(CapSet::Ambient).is_empty());
                assert_eq!(of(CapSet::Effective), of(CapSet::Permitted));
                let child = thread::spawn(|| caps::read(None, CapSet::Permitted).expect("read"));
                assert_eq!(child.join().expect("ended"), of(CapSet::Permitted));
                of(CapSet::Effective)
            };
            thread::spawn(run).join().expect("ended")
        };
        assert!(kept(&[]).is_empty());
        for tasks in [&[Task::Read][..], &[Task::Mark], &[Task::ReadProcesses, Task::WriteFiles]] {
            let wanted = tasks.iter().map(|task| task.capability());
            let wanted = wanted.filter(|cap| before.contains(cap)).collect();
            assert_eq!(kept(tasks), wanted, "{tasks:?}");
        }
        assert_eq!(caps::read(None, CapSet::Effective).expect("read"), before);
    }
}

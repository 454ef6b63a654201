//! The capabilities that a thread keeps once what needed them is done.
//!
//! Capabilities belong to threads (capabilities(7)), and the threads of a process share their memory: to give them up keeps
//! a mistake small, and is no wall between threads. What each part of fsmon needs, and why, stands here.

use caps::{CapSet, Capability, CapsHashSet};
use fsmon_format::error::{Error, ErrorKind};
use std::io;

/// What a thread does from now on that takes capabilities.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Duty {
    /// Nothing that takes any.
    None,
    /// Reads directories of others, and opens files by their handles, also to name control groups:
    /// `CAP_DAC_READ_SEARCH`.
    Read,
    /// That, and it reads which files the processes of others run (`/proc/PID/exe`): `CAP_SYS_PTRACE`.
    ReadProcesses,
    /// Sets marks on filesystems: `CAP_SYS_ADMIN`.
    Mark,
    /// Opens directories of others, and sets marks on filesystems.
    ReadAndMark,
    /// Reads as [`Duty::Read`], and makes files in directories of others: `CAP_DAC_OVERRIDE`.
    WriteFiles,
}

impl Duty {
    fn capabilities(self) -> &'static [Capability] {
        use Capability::{CAP_DAC_OVERRIDE, CAP_DAC_READ_SEARCH, CAP_SYS_ADMIN, CAP_SYS_PTRACE};
        match self {
            Duty::None => &[],
            Duty::Read => &[CAP_DAC_READ_SEARCH],
            Duty::ReadProcesses => &[CAP_DAC_READ_SEARCH, CAP_SYS_PTRACE],
            Duty::Mark => &[CAP_SYS_ADMIN],
            Duty::ReadAndMark => &[CAP_DAC_READ_SEARCH, CAP_SYS_ADMIN],
            Duty::WriteFiles => &[CAP_DAC_READ_SEARCH, CAP_DAC_OVERRIDE],
        }
    }
}

/// Gives up all capabilities of the calling thread but those of `duty`, as far as it has these. Threads that it starts
/// from now on have no more either. It can get none back, not even by executing a program as root, if it may lower its
/// bounding set (`CAP_SETPCAP`).
///
/// # Errors
/// The kernel refuses to change them; nothing that is given up then matters.
pub fn keep(duty: Duty) -> Result<(), Error> {
    let failed = |error: caps::errors::CapsError| {
        Error::os("cannot give up capabilities", io::Error::other(error.to_string()))
            .with_kind(ErrorKind::Internal)
    };
    let has = caps::read(None, CapSet::Permitted).map_err(failed)?;
    let kept: CapsHashSet =
        duty.capabilities().iter().copied().filter(|cap| has.contains(cap)).collect();
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
    fn a_thread_keeps_what_its_duty_needs_and_other_threads_what_they_have() {
        let before = caps::read(None, CapSet::Effective).expect("read");
        let kept = |duty| {
            let run = move || {
                keep(duty).expect("given up");
                let of = |set| caps::read(None, set).expect("read");
                assert!(of(CapSet::Inheritable).is_empty() && of(CapSet::Ambient).is_empty());
                assert_eq!(of(CapSet::Effective), of(CapSet::Permitted));
                let child = thread::spawn(|| caps::read(None, CapSet::Permitted).expect("read"));
                assert_eq!(child.join().expect("ended"), of(CapSet::Permitted));
                of(CapSet::Effective)
            };
            thread::spawn(run).join().expect("ended")
        };
        assert!(kept(Duty::None).is_empty());
        for duty in [Duty::Read, Duty::ReadProcesses, Duty::Mark, Duty::ReadAndMark] {
            let wanted = duty.capabilities().iter().copied().filter(|cap| before.contains(cap));
            assert_eq!(kept(duty), wanted.collect(), "{duty:?}");
        }
        assert_eq!(caps::read(None, CapSet::Effective).expect("read"), before);
    }
}

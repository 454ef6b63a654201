//! Resource limits of this process: getrlimit(2), setrlimit(2).

use super::fd::check;
use std::io;

/// A limit that is none (`RLIM_INFINITY`).
pub(crate) const UNLIMITED: u64 = libc::RLIM_INFINITY;

/// A resource that setrlimit(2) limits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Resource {
    /// One more than the highest file descriptor.
    Descriptors,
    /// Bytes of memory that cannot be swapped out.
    LockedMemory,
    /// Processes and threads of the real user.
    Processes,
}

/// The soft limit, which is in force, and the hard one, up to which it can be raised.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Limit {
    pub(crate) soft: u64,
    pub(crate) hard: u64,
}

impl Resource {
    /// Its number. C libraries differ in the type.
    #[allow(clippy::unnecessary_cast, reason = "an i32 with musl")]
    fn number(self) -> u32 {
        match self {
            Resource::Descriptors => libc::RLIMIT_NOFILE as u32,
            Resource::LockedMemory => libc::RLIMIT_MEMLOCK as u32,
            Resource::Processes => libc::RLIMIT_NPROC as u32,
        }
    }

    /// The limits in force.
    ///
    /// # Errors
    /// EPERM or ENOSYS where a seccomp filter forbids the call.
    pub(crate) fn get(self) -> io::Result<Limit> {
        let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
        // SAFETY: the kernel writes one rlimit through the pointer to a live local.
        check(unsafe { libc::getrlimit(self.number() as _, &raw mut limit) })?;
        Ok(Limit { soft: limit.rlim_cur, hard: limit.rlim_max })
    }

    /// Sets the soft limit to `soft` and leaves the hard one.
    ///
    /// # Errors
    /// EINVAL above the hard limit; EPERM where a seccomp filter forbids the call.
    fn set_soft(self, soft: u64) -> io::Result<()> {
        let limit = libc::rlimit { rlim_cur: soft, rlim_max: self.get()?.hard };
        // SAFETY: the kernel reads one rlimit through the pointer to a live local.
        check(unsafe { libc::setrlimit(self.number() as _, &raw const limit) }).map(drop)
    }
}

/// Raises the soft limit of file descriptors to at least `need`, as far as the hard limit allows. A
/// limit that is high enough stays. Where the limit cannot be raised, the call that lacks a
/// descriptor says so.
pub(crate) fn raise_descriptors(need: u64) {
    let Ok(limit) = Resource::Descriptors.get() else { return };
    let soft = need.min(limit.hard);
    if soft > limit.soft {
        let _ = Resource::Descriptors.set_soft(soft);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_soft_limit_goes_no_higher_than_the_hard_one() {
        let before = Resource::Descriptors.get().expect("getrlimit succeeds");
        raise_descriptors(1);
        assert_eq!(Resource::Descriptors.get().expect("getrlimit succeeds"), before, "high enough");
        raise_descriptors(UNLIMITED);
        let after = Resource::Descriptors.get().expect("getrlimit succeeds");
        assert_eq!((after.soft, after.hard), (before.hard, before.hard));
        Resource::Descriptors.set_soft(before.soft).expect("lowered");
    }
}

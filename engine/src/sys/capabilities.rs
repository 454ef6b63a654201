//! The capabilities of the calling thread: capget(2), capset(2), and prctl(2) for the bounding and the ambient set.
//!
//! A library would do, but the known ones keep sets on the heap: what a thread frees at its start the allocator may give
//! back to the kernel at any later time, and nothing is to be asked of the kernel then.

use super::fd::check;
use std::io;

/// `struct __user_cap_header_struct` of linux/capability.h.
#[repr(C)]
struct Header {
    version: u32,
    /// 0: the calling thread.
    pid: i32,
}

/// `struct __user_cap_data_struct`: 32 capabilities.
#[repr(C)]
#[derive(Clone, Copy, Default)]
struct Data {
    effective: u32,
    permitted: u32,
    inheritable: u32,
}

/// `_LINUX_CAPABILITY_VERSION_3`: two `Data`, so 64 capabilities.
const VERSION: u32 = 0x2008_0522;

/// The permitted set, a bit for each capability.
///
/// # Errors
/// EPERM where a seccomp filter forbids the call.
pub(crate) fn permitted() -> io::Result<u64> {
    let header = Header { version: VERSION, pid: 0 };
    let mut data = [Data::default(); 2];
    // SAFETY: the kernel reads the header, and writes two `Data` for this version (capget(2)).
    check(unsafe { libc::syscall(libc::SYS_capget, &raw const header, data.as_mut_ptr()) })?;
    Ok(u64::from(data[0].permitted) | u64::from(data[1].permitted) << 32)
}

/// Makes `kept` the permitted and the effective set, and empties the inheritable one.
///
/// # Errors
/// EPERM if `kept` has more than is permitted.
pub(crate) fn keep(kept: u64) -> io::Result<()> {
    let header = Header { version: VERSION, pid: 0 };
    let [a, b, c, d, e, f, g, h] = kept.to_le_bytes();
    let half = |bytes| {
        let bits = u32::from_le_bytes(bytes);
        Data { effective: bits, permitted: bits, inheritable: 0 }
    };
    let data = [half([a, b, c, d]), half([e, f, g, h])];
    // SAFETY: the kernel reads the header and two `Data`, and keeps neither.
    check(unsafe { libc::syscall(libc::SYS_capset, &raw const header, data.as_ptr()) }).map(drop)
}

/// Removes all but `kept` from the bounding set: no program that the thread executes has more.
///
/// # Errors
/// EPERM without `CAP_SETPCAP`.
pub(crate) fn bound(kept: u64) -> io::Result<()> {
    for cap in (0..u64::BITS).filter(|cap| kept & 1 << cap == 0) {
        // SAFETY: both take and return numbers.
        let has = unsafe { libc::prctl(libc::PR_CAPBSET_READ, libc::c_ulong::from(cap)) };
        // The kernel knows no such capability, nor any after it.
        if has < 0 {
            break;
        }
        if has == 1 {
            // SAFETY: as above.
            check(unsafe { libc::prctl(libc::PR_CAPBSET_DROP, libc::c_ulong::from(cap)) })?;
        }
    }
    Ok(())
}

/// Empties the ambient set.
///
/// # Errors
/// EINVAL before Linux 4.3.
pub(crate) fn clear_ambient() -> io::Result<()> {
    let (clear, none) = (libc::PR_CAP_AMBIENT_CLEAR_ALL as libc::c_ulong, 0 as libc::c_ulong);
    // SAFETY: takes numbers only; those that are not used must be 0 (prctl(2)).
    check(unsafe { libc::prctl(libc::PR_CAP_AMBIENT, clear, none, none, none) }).map(drop)
}

//! Small calls on file descriptors.

use std::ffi::CStr;
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};

/// A system call's result: -1 becomes the thread's `errno`.
pub(crate) fn check(result: impl Into<libc::c_long>) -> io::Result<libc::c_int> {
    match result.into() {
        -1 => Err(io::Error::last_os_error()),
        // No call gives more than an int for what it is used here: descriptors and counts.
        result => libc::c_int::try_from(result).map_err(io::Error::other),
    }
}

/// The descriptor that a system call just made.
pub(crate) fn owned(result: impl Into<libc::c_long>) -> io::Result<OwnedFd> {
    let raw = check(result)?;
    // SAFETY: the kernel returned `raw` as a new descriptor; nobody else has it.
    Ok(unsafe { OwnedFd::from_raw_fd(raw) })
}

/// Reads into `buffer`; the number of bytes.
pub(crate) fn read(fd: BorrowedFd<'_>, buffer: &mut [u8]) -> io::Result<usize> {
    // SAFETY: the pointer and length are of one live slice, which the kernel fills.
    let count = unsafe { libc::read(fd.as_raw_fd(), buffer.as_mut_ptr().cast(), buffer.len()) };
    usize::try_from(count).map_err(|_| io::Error::last_os_error())
}

/// An eventfd: a wake-up that any thread can give.
pub(crate) fn eventfd() -> io::Result<OwnedFd> {
    // SAFETY: no pointers.
    owned(unsafe { libc::eventfd(0, libc::EFD_CLOEXEC | libc::EFD_NONBLOCK) })
}

/// Makes an eventfd readable. It can only fail when its counter is full: then it is readable.
pub(crate) fn signal(fd: BorrowedFd<'_>) {
    let one = 1u64;
    // SAFETY: eight bytes of a live local.
    unsafe { libc::write(fd.as_raw_fd(), (&raw const one).cast(), 8) };
}

/// An eventfd is no longer readable, until it is signalled again.
pub(crate) fn drain(fd: BorrowedFd<'_>) {
    // It does not block, and that it was not readable is as good.
    let _ = read(fd, &mut [0; 8]);
}

/// A file in memory, without a name in any directory: memfd_create(2). `name` is for `/proc/self/fd`.
///
/// # Errors
/// EMFILE and ENFILE without a descriptor, ENOMEM.
pub(crate) fn memory_file(name: &CStr) -> io::Result<OwnedFd> {
    // SAFETY: the name ends in NUL; the kernel only reads it.
    owned(unsafe { libc::memfd_create(name.as_ptr(), libc::MFD_CLOEXEC) })
}

/// Sets the mode of a file of our own to 0600, whatever it is: its attributes count as changed, also where they stay
/// the same.
pub(crate) fn change_mode(file: BorrowedFd<'_>) -> io::Result<()> {
    // SAFETY: no pointers.
    check(unsafe { libc::fchmod(file.as_raw_fd(), 0o600) }).map(drop)
}

/// Whether there is something to read now.
pub(crate) fn is_readable(fd: RawFd) -> bool {
    let mut one = libc::pollfd { fd, events: libc::POLLIN, revents: 0 };
    // SAFETY: one live pollfd; no wait.
    unsafe { libc::poll(&raw mut one, 1, 0) == 1 }
}

/// Bytes that wait to be read (`FIONREAD`); 0 where the kernel does not say.
pub(crate) fn pending_bytes(fd: BorrowedFd<'_>) -> usize {
    let mut count: libc::c_int = 0;
    // SAFETY: FIONREAD stores one int through the pointer (ioctl_tty(2); fanotify_ioctl()).
    unsafe { libc::ioctl(fd.as_raw_fd(), libc::FIONREAD, &raw mut count) };
    usize::try_from(count).unwrap_or(0)
}

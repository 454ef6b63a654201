//! futex(2): how the consumer sleeps until the reader has something.

use super::thread::timespec;
pub(crate) use std::sync::atomic::AtomicU32 as Word;
use std::time::Duration;

/// Sleeps while `word` is `expected`, `timeout` at the most. May return early.
pub(crate) fn wait(word: &Word, expected: u32, timeout: Duration) {
    let time = timespec(timeout);
    // SAFETY: `word` and `time` outlive the call; FUTEX_WAIT only reads them.
    unsafe {
        libc::syscall(
            libc::SYS_futex,
            word.as_ptr(),
            libc::FUTEX_WAIT | libc::FUTEX_PRIVATE_FLAG,
            expected,
            &raw const time,
        );
    }
}

/// Wakes one sleeper.
pub(crate) fn wake(word: &Word) {
    // SAFETY: FUTEX_WAKE uses the address as a key only.
    unsafe {
        libc::syscall(
            libc::SYS_futex,
            word.as_ptr(),
            libc::FUTEX_WAKE | libc::FUTEX_PRIVATE_FLAG,
            1,
        );
    }
}

//! What the ring shares between its two threads: the standard library's and the kernel's means, or,
//! where a model of it is checked (`--cfg loom`), loom's, which tries out every order in which they
//! may come to pass.

#[cfg(not(loom))]
pub(crate) use crate::sys::futex;
#[cfg(loom)]
pub(crate) use loom::sync::{
    Arc,
    atomic::{AtomicBool, AtomicU64, Ordering, fence},
};
#[cfg(not(loom))]
pub(crate) use std::sync::{
    Arc,
    atomic::{AtomicBool, AtomicU64, Ordering, fence},
};

/// A futex as futex(2) promises it, without its timeout: a wake-up that is lost is a deadlock.
#[cfg(loom)]
pub(crate) mod futex {
    use loom::sync::atomic::{AtomicU32, Ordering};
    use loom::sync::{Condvar, Mutex};
    use std::ops::Deref;
    use std::time::Duration;

    /// The word, and who sleeps on it.
    pub(crate) struct Word {
        value: AtomicU32,
        bucket: Mutex<()>,
        sleepers: Condvar,
    }

    impl Word {
        pub(crate) fn new(value: u32) -> Self {
            let value = AtomicU32::new(value);
            Word { value, bucket: Mutex::new(()), sleepers: Condvar::new() }
        }
    }

    impl Deref for Word {
        type Target = AtomicU32;

        fn deref(&self) -> &AtomicU32 {
            &self.value
        }
    }

    /// The kernel looks at the word with the lock of its bucket in hand, which a waker takes too.
    pub(crate) fn wait(word: &Word, expected: u32, _timeout: Duration) {
        let bucket = word.bucket.lock().expect("nobody panics");
        if word.load(Ordering::Relaxed) == expected {
            drop(word.sleepers.wait(bucket));
        }
    }

    pub(crate) fn wake(word: &Word) {
        let _bucket = word.bucket.lock().expect("nobody panics");
        word.sleepers.notify_one();
    }
}

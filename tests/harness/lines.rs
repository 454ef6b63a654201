//! The standard output of a fsmon that runs: collected by a thread, and parsed as it comes where a test waits for a
//! line.

use super::event::parse_whole;
use super::{Event, PATIENCE};
use std::io::Read;
use std::process::ChildStdout;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;

/// Standard output, from its first byte on.
pub(crate) struct Output {
    shared: Arc<Shared>,
    reader: JoinHandle<()>,
}

#[derive(Default)]
struct Shared {
    written: Mutex<Written>,
    more: Condvar,
}

#[derive(Default)]
struct Written {
    bytes: Vec<u8>,
    /// The lines of JSON in `bytes[..parsed]`.
    events: Vec<Event>,
    parsed: usize,
    is_over: bool,
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Written> {
        // A test that gave up while it looked has changed nothing.
        self.written.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Written {
    /// Parses the whole lines that are new.
    fn parse(&mut self) {
        let end = self.bytes.iter().rposition(|&byte| byte == b'\n').map_or(0, |at| at + 1);
        if end > self.parsed {
            self.events.extend(parse_whole(&self.bytes[self.parsed..end]));
            self.parsed = end;
        }
    }
}

impl Output {
    /// Collects until the other side closes the pipe.
    pub(crate) fn of(mut stdout: ChildStdout) -> Self {
        let shared = Arc::new(Shared::default());
        let of_reader = Arc::clone(&shared);
        let reader = std::thread::spawn(move || {
            let mut chunk = vec![0; 1 << 16];
            loop {
                let count = stdout.read(&mut chunk).expect("read");
                let mut written = of_reader.lock();
                written.bytes.extend_from_slice(&chunk[..count]);
                written.is_over = count == 0;
                of_reader.more.notify_all();
                if count == 0 {
                    return;
                }
            }
        });
        Output { shared, reader }
    }

    /// Waits until `look` finds something in the lines of JSON so far.
    #[track_caller]
    pub(crate) fn wait_for<T>(&self, what: &str, look: impl Fn(&[Event]) -> Option<T>) -> T {
        let deadline = std::time::Instant::now() + PATIENCE;
        let mut written = self.shared.lock();
        loop {
            written.parse();
            if let Some(found) = look(&written.events) {
                return found;
            }
            let left = deadline.saturating_duration_since(std::time::Instant::now());
            let last = &written.events[written.events.len().saturating_sub(20)..];
            assert!(
                !written.is_over && !left.is_zero(),
                "never: {what}; the last lines: {last:#?}"
            );
            let waited = self.shared.more.wait_timeout(written, left);
            written = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    /// Waits for the end; all that came.
    pub(crate) fn finish(self) -> Vec<u8> {
        self.reader.join().expect("read");
        std::mem::take(&mut self.shared.lock().bytes)
    }
}

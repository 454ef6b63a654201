//! The recorder process, as the front process sees it: it is started, gets orders, and answers.

use crate::control::protocol::Fields;
use crate::limits::EXIT_PATIENCE;
use crate::link::{Answered, Asked, Order, receive, send};
use crate::lock;
use fsmon_engine::privileges;
use fsmon_format::error::{Error, ErrorKind};
use std::collections::HashMap;
use std::net::Shutdown;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, ExitStatus};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

/// This program, also where its file was replaced meanwhile.
const SELF: &str = "/proc/self/exe";

/// A running recorder process.
pub(super) struct Recorder {
    child: Mutex<Child>,
    link: Arc<Link>,
}

/// The way to it.
struct Link {
    stream: UnixStream,
    /// Held while an order is sent, so that orders do not mix.
    sending: Mutex<()>,
    waiting: Mutex<Waiting>,
}

/// Those who wait for an answer, by the number of their order.
enum Waiting {
    Open {
        last: u64,
        answers: HashMap<u64, flume::Sender<Result<Fields, Error>>>,
    },
    /// The recorder has ended.
    Over,
}

fn ended() -> Error {
    Error::new(ErrorKind::Io, "the recorder has ended")
}

impl Recorder {
    /// Starts the process, with the capabilities of this one. `at_end` is called when it has ended.
    ///
    /// # Errors
    /// The kernel gives no process, socket or thread.
    pub(super) fn start(at_end: impl FnOnce() + Send + 'static) -> Result<Recorder, Error> {
        let failed = |error| Error::os("cannot start the recorder's process", error);
        let (stream, theirs) = UnixStream::pair().map_err(failed)?;
        let child = Command::new(SELF)
            .arg0("fsmon")
            .args(["daemon", "--recorder"])
            .stdin(OwnedFd::from(theirs))
            // They are this process's.
            .env_remove("NOTIFY_SOCKET")
            .env_remove("WATCHDOG_USEC")
            .env_remove("WATCHDOG_PID")
            .spawn()
            .map_err(failed)?;
        let waiting = Mutex::new(Waiting::Open { last: 0, answers: HashMap::new() });
        let link = Arc::new(Link { stream, sending: Mutex::new(()), waiting });
        let answers = link.clone();
        let take = move || {
            // With more than it needs it works as well.
            let _ = privileges::keep(&[]);
            answers.take();
            at_end();
        };
        thread::Builder::new().name("fsmon-link".into()).spawn(take).map_err(failed)?;
        Ok(Recorder { child: Mutex::new(child), link })
    }

    /// Gives an order, and waits for the answer, which the recorder gives in bounded time.
    ///
    /// # Errors
    /// What the recorder answers, or that it has ended.
    pub(super) fn ask(&self, order: Order) -> Result<Fields, Error> {
        self.link.ask(order)
    }

    /// Waits for the end of the process; `None` if that does not come soon, as one of its threads is in a call that does not
    /// return. The kernel kills it when this process ends.
    pub(super) fn wait(&self) -> std::io::Result<Option<ExitStatus>> {
        let mut child = lock(&self.child);
        let deadline = Instant::now() + EXIT_PATIENCE;
        while Instant::now() < deadline {
            if let Some(status) = child.try_wait()? {
                return Ok(Some(status));
            }
            thread::sleep(Duration::from_millis(5));
        }
        Ok(None)
    }
}

impl Link {
    fn ask(&self, order: Order) -> Result<Fields, Error> {
        let (reply, answer) = flume::bounded(1);
        let number = match &mut *lock(&self.waiting) {
            Waiting::Open { last, answers } => {
                *last += 1;
                answers.insert(*last, reply);
                *last
            }
            Waiting::Over => return Err(ended()),
        };
        let sent = {
            let _sending = lock(&self.sending);
            send(&mut &self.stream, &Asked { number, order })
        };
        if let Err(error) = sent {
            if let Waiting::Open { answers, .. } = &mut *lock(&self.waiting) {
                answers.remove(&number);
            }
            return Err(Error::os("the recorder takes no orders", error));
        }
        answer.recv().unwrap_or_else(|_| Err(ended()))
    }

    /// Hands out answers until the recorder has ended.
    fn take(&self) {
        while let Ok(Some(Answered { number, result })) = receive(&mut &self.stream) {
            let waiting = match &mut *lock(&self.waiting) {
                Waiting::Open { answers, .. } => answers.remove(&number),
                Waiting::Over => None,
            };
            if let Some(waiting) = waiting {
                // The client is gone.
                let _ = waiting.send(result.map_err(Error::from));
            }
        }
        // Those who wait get an error.
        *lock(&self.waiting) = Waiting::Over;
        let _ = self.stream.shutdown(Shutdown::Both);
    }
}

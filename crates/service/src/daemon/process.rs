//! The recorder process from its first order to its end.

use super::{Daemon, join_within};
use crate::control::protocol::Fields;
use crate::limits::{END_PATIENCE, ORDERS_MAX};
use crate::link::{Answered, Asked, Failure, Order, receive, send};
use crate::seccomp::{Process, confine};
use crate::start;
use fsmon_engine::privileges::{self, Task};
use fsmon_format::error::{Error, ErrorKind};
use fsmon_present::message;
use nix::sys::prctl;
use nix::sys::signal::Signal;
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use std::io;
use std::net::Shutdown;
use std::os::fd::AsFd;
use std::os::unix::fs::FileTypeExt;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};

/// What sets marks on filesystems that are not marked yet, and opens the directories.
const OF_CHANGES: &[Task] = &[Task::Read, Task::Mark];

/// The way back to the front process.
struct Answers {
    stream: Mutex<UnixStream>,
    /// Orders that are being carried out.
    under_way: AtomicUsize,
}

impl Answers {
    fn send(&self, number: u64, result: Result<Fields, Error>) {
        let result = result.map_err(|error| Failure::from(&error));
        let mut stream = self.stream.lock().unwrap_or_else(PoisonError::into_inner);
        let sent = send(&mut *stream, &Answered { number, result });
        if sent.is_err_and(|error| error.kind() == io::ErrorKind::InvalidData) {
            let error = Error::new(ErrorKind::Invalid, "the answer is too long");
            // The front process is gone: it needs no answer.
            let _ = send(&mut *stream, &Answered { number, result: Err(Failure::from(&error)) });
        }
    }
}

/// What runs from the first order to the last.
struct Running {
    daemon: Arc<Daemon>,
    recorder: JoinHandle<()>,
    keeper: JoinHandle<()>,
    /// Dropped when the keeper is to end.
    ends: flume::Sender<()>,
}

/// Runs the recorder process: carries out the orders that come on standard input, a socket, until it is told to stop or
/// the front process is gone.
///
/// # Errors
/// Standard input is no socket of a front process; or the engine failed.
pub fn record() -> Result<(), Error> {
    let stream = link()?;
    // Of its first thread, and so of the process where these are listed.
    let _ = prctl::set_name(c"fsmon-control");
    outlive_nothing()?;
    let failed = |error| Error::os("cannot take orders", error);
    let answers = Arc::new(Answers {
        stream: Mutex::new(stream.try_clone().map_err(failed)?),
        under_way: AtomicUsize::new(0),
    });
    let Some(Asked { number, order: Order::Begin { source, config } }) =
        receive(&mut &stream).map_err(failed)?
    else {
        return Err(Error::invalid("the first order is another than to begin"));
    };
    let end_of_engine = stream.try_clone().map_err(failed)?;
    let is_engine_over = Arc::new(AtomicBool::new(false));
    let over = is_engine_over.clone();
    let started = start::start(Path::new(&source), *config).and_then(|(daemon, recorder)| {
        let daemon = Arc::new(daemon);
        let tasks = daemon.tasks_of_files();
        let recorder = recorder.spawn(tasks, move || {
            over.store(true, Ordering::SeqCst);
            // No further order comes.
            let _ = end_of_engine.shutdown(Shutdown::Read);
        })?;
        let (ends, until) = flume::bounded(0);
        let keeper = daemon.start_keeper(until)?;
        daemon.start_indexer()?;
        daemon.begin_watches();
        Ok(Running { daemon, recorder, keeper, ends })
    });
    let running = match started {
        Ok(running) => running,
        // The front process says why.
        Err(error) => {
            answers.send(number, Err(error));
            return Ok(());
        }
    };
    let of_files = running.daemon.tasks_of_files();
    privileges::keep(&[OF_CHANGES, &of_files].concat())?;
    confine(Process::Recorder).unwrap_or_else(message::print);
    answers.send(number, Ok(Fields::new()));
    let stop = running.take_orders(&stream, &answers);
    let is_engine_over = is_engine_over.load(Ordering::SeqCst);
    let ended = running.end();
    match stop {
        Some(number) => {
            answers.send(number, ended.map(|()| Fields::new()));
            Ok(())
        }
        None if is_engine_over => Err(Error::new(ErrorKind::Io, "the engine failed")),
        None => ended,
    }
}

/// The socket on standard input.
fn link() -> Result<UnixStream, Error> {
    let no_link = || {
        Error::invalid(
            "this is a part of fsmon daemon, which starts it; run fsmon daemon without --recorder",
        )
    };
    let stdin = io::stdin().as_fd().try_clone_to_owned().map_err(|_| no_link())?;
    let file = std::fs::File::from(stdin);
    let is_socket = file.metadata().is_ok_and(|data| data.file_type().is_socket());
    if is_socket { Ok(UnixStream::from(std::os::fd::OwnedFd::from(file))) } else { Err(no_link()) }
}

/// The front process decides when this one ends: by an order, or by its own end, whatever that is. Signals go to both, by
/// a terminal or a service manager.
fn outlive_nothing() -> Result<(), Error> {
    prctl::set_pdeathsig(Signal::SIGKILL)
        .map_err(|error| Error::os("cannot follow the front process", error.into()))?;
    for signal in [SIGINT, SIGTERM, SIGHUP] {
        signal_hook::flag::register(signal, Arc::new(AtomicBool::new(false)))
            .map_err(|error| Error::os("cannot take signals", error))?;
    }
    Ok(())
}

impl Running {
    /// Carries out orders, each on a thread of its own, as some take long. Returns the number of the order to stop;
    /// `None` if the front process or the engine is gone.
    fn take_orders(&self, stream: &UnixStream, answers: &Arc<Answers>) -> Option<u64> {
        loop {
            let Asked { number, order } = match receive(&mut &*stream) {
                Ok(asked) => asked?,
                Err(error) => {
                    message::print(format_args!("an order is not understood: {error}"));
                    return None;
                }
            };
            if let Order::Stop = order {
                return Some(number);
            }
            if answers.under_way.fetch_add(1, Ordering::Relaxed) >= ORDERS_MAX {
                answers.under_way.fetch_sub(1, Ordering::Relaxed);
                let busy = Error::new(ErrorKind::Busy, "too many orders at a time; try again");
                answers.send(number, Err(busy));
                continue;
            }
            let (daemon, of_order) = (self.daemon.clone(), answers.clone());
            let obey = move || {
                let tasks = daemon.tasks_of(&order);
                let result = privileges::keep(&tasks).and_then(|()| daemon.obey(order));
                of_order.under_way.fetch_sub(1, Ordering::Relaxed);
                of_order.send(number, result);
            };
            if let Err(error) = thread::Builder::new().name("fsmon-order".into()).spawn(obey) {
                answers.under_way.fetch_sub(1, Ordering::Relaxed);
                answers.send(number, Err(Error::os("cannot start a thread", error)));
            }
        }
    }

    /// Records what happened until now, and ends.
    ///
    /// # Errors
    /// Not everything is in the history.
    fn end(self) -> Result<(), Error> {
        let Running { daemon, recorder, keeper, ends } = self;
        drop(ends);
        daemon.shared.give_up();
        daemon.shared.set_indexer(None);
        daemon.engine.monitor().stop();
        join_within(keeper, END_PATIENCE);
        recorder.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        message::print(format_args!("ended: {}", daemon.summary()));
        match daemon.shared.unwritten() {
            None => Ok(()),
            Some(why) => Err(Error::new(
                ErrorKind::Io,
                format!("the end of what was recorded is not in the history: {why}"),
            )),
        }
    }
}

impl Daemon {
    /// What an order takes.
    fn tasks_of(&self, order: &Order) -> Vec<Task> {
        match order {
            Order::Add { .. } | Order::Remove { .. } | Order::Reload { .. } => {
                [OF_CHANGES, &self.tasks_of_files()].concat()
            }
            Order::Clean { .. } => self.tasks_of_files(),
            _ => Vec::new(),
        }
    }

    /// What the files of the history take: where it belongs to another user, as it does if root starts a daemon on that of
    /// the service, rights of files are passed over.
    pub(super) fn tasks_of_files(&self) -> Vec<Task> {
        if self.is_history_own { Vec::new() } else { vec![Task::WriteFiles] }
    }
}

//! The front process: reads the configuration, starts the recorder process, and then gives up every capability. From then
//! on it talks to clients, Prometheus and the service manager, and to the recorder by the orders of `link.rs`.
//!
//! What others send is parsed here, so that a mistake in a parser meets a process that can do nothing. It is the main
//! process: signals and the service manager know it. If it ends, so does the recorder.

mod recorder;
mod serve;

use crate::config::Config;
use crate::control::protocol::Fields;
use crate::control::server::Server;
use crate::http;
use crate::limits::{SIGNAL_PATIENCE, TEXTFILE_EVERY};
use crate::link::Order;
use crate::lock;
use crate::metrics;
use crate::notify::Notifier;
use crate::seccomp::{Process, confine};
use crate::textfile;
use fsmon_engine::privileges;
use fsmon_format::error::{Error, ErrorKind};
use fsmon_present::message::{self, shown};
use nix::unistd::{Gid, Group};
use recorder::Recorder;
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::iterator::Signals;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{SystemTime, UNIX_EPOCH};

/// What clients reach.
pub(crate) struct Front {
    /// The file that `reload` reads.
    source: PathBuf,
    config: Mutex<Config>,
    recorder: Recorder,
    notifier: Notifier,
    last_reload: Mutex<Reloaded>,
}

/// How the last reload ended. The start counts as one that succeeded.
struct Reloaded {
    is_successful: bool,
    /// When one succeeded last.
    succeeded: SystemTime,
}

/// What the main thread waits for.
enum Happened {
    Signal(i32),
    /// The recorder records, or cannot.
    Begun(Result<Fields, Error>),
    /// The recorder's process has ended.
    RecorderEnded,
}

/// Runs the daemon until a signal ends it. `source` is the file that `config` was read from, which a reload reads again.
///
/// # Errors
/// It cannot begin; or its engine failed.
pub fn run(source: &Path, config: &Config) -> Result<(), Error> {
    config.check_host()?.iter().for_each(message::print);
    let (happened, happens) = flume::unbounded();
    // From here on a signal ends it in order.
    take_signals(happened.clone())?;
    let group = control_group(config)?;
    let ended = happened.clone();
    let front = Arc::new(Front {
        source: source.to_owned(),
        config: Mutex::new(config.clone()),
        recorder: Recorder::start(move || drop(ended.send(Happened::RecorderEnded)))?,
        notifier: Notifier::of_environment(),
        last_reload: Mutex::new(Reloaded { is_successful: true, succeeded: SystemTime::now() }),
    });
    front.begin(config, happened)?;
    match wait_until_begun(&happens) {
        Some(begun) => drop(begun?),
        // The recorder ends with this process.
        None => {
            message::print("stopped before it was ready");
            return Ok(());
        }
    }
    let server = match front.begin_serving(config, group) {
        Ok(server) => server,
        Err(error) => {
            // What is recorded ends in order: else each start that fails would leave a segment that is cut.
            front.end(true).unwrap_or_else(message::print);
            return Err(error);
        }
    };
    // It records, however busy it is.
    let ready = front.summary().unwrap_or_else(|error| error.to_string());
    message::print(format_args!("ready: {ready}"));
    front.notifier.ready(&ready);
    let is_asked = front.follow(&happens);
    front.notifier.stopping();
    drop(server);
    front.end(is_asked)
}

/// Sends the signals that end the daemon, or have it reload. A thread of its own.
fn take_signals(happened: flume::Sender<Happened>) -> Result<(), Error> {
    let mut signals = Signals::new([SIGINT, SIGTERM, SIGHUP])
        .map_err(|error| Error::os("cannot take signals", error))?;
    start("fsmon-signals", move || {
        // With more than it needs it works as well.
        let _ = privileges::keep(&[]);
        for signal in signals.forever() {
            if happened.send(Happened::Signal(signal)).is_err() {
                return;
            }
        }
    })
}

/// Waits until the recorder has begun, or cannot; `None` if a signal ends the daemon before.
fn wait_until_begun(happens: &flume::Receiver<Happened>) -> Option<Result<Fields, Error>> {
    let is_end =
        |happened: &Happened| matches!(happened, Happened::Signal(signal) if *signal != SIGHUP);
    loop {
        match happens.recv() {
            Ok(happened) if is_end(&happened) => return None,
            Ok(Happened::Begun(Err(error))) => {
                // A terminal sends its signal to both processes, and the other one may not handle signals yet.
                let mut more = std::iter::from_fn(|| happens.recv_timeout(SIGNAL_PATIENCE).ok());
                return if more.any(|happened| is_end(&happened)) {
                    None
                } else {
                    Some(Err(error))
                };
            }
            Ok(Happened::Begun(begun)) => return Some(begun),
            Ok(_) => {}
            Err(_) => return None,
        }
    }
}

fn control_group(config: &Config) -> Result<Option<Gid>, Error> {
    let Some(name) = &config.control.group else { return Ok(None) };
    match Group::from_name(name) {
        Ok(group) => Ok(group.map(|group| group.gid)),
        Err(error) => Err(Error::os(format!("cannot look up the group {name}"), error.into())),
    }
}

impl Front {
    /// Has the recorder begin, on a thread of its own: it walks what it is to watch, and signals are heard meanwhile.
    fn begin(
        self: &Arc<Self>,
        config: &Config,
        happened: flume::Sender<Happened>,
    ) -> Result<(), Error> {
        let order = Order::Begin { source: shown(&self.source), config: Box::new(config.clone()) };
        let front = self.clone();
        start("fsmon-begin", move || {
            // With more than it needs it works as well.
            let _ = privileges::keep(&[]);
            // Or the daemon ends.
            let _ = happened.send(Happened::Begun(front.recorder.ask(order)));
        })
    }

    /// Opens what clients and others connect to, gives up what the process no longer needs, and serves.
    fn begin_serving(
        self: &Arc<Self>,
        config: &Config,
        group: Option<Gid>,
    ) -> Result<Server, Error> {
        // What may take rights, before they are given up.
        let server = Server::bind(&config.control.socket, group)?;
        let http = config.metrics.listen.as_ref().map(http::bind).transpose()?;
        privileges::keep(&[])?;
        confine(Process::Front).unwrap_or_else(message::print);
        server.serve(group, self.clone())?;
        if let Some(listener) = http {
            let front = self.clone();
            http::serve(listener, Arc::new(move || front.metrics()))?;
        }
        self.start_textfile()?;
        self.start_watchdog()?;
        Ok(server)
    }

    /// Reloads with each SIGHUP. Returns whether a signal ended it; else the recorder has ended.
    fn follow(&self, happens: &flume::Receiver<Happened>) -> bool {
        while let Ok(happened) = happens.recv() {
            match happened {
                Happened::Signal(SIGHUP) => {
                    self.notifier.reloading();
                    if let Err(error) = self.reload() {
                        message::print(format_args!("the configuration stays as it was: {error}"));
                    }
                    if let Ok(summary) = self.summary() {
                        self.notifier.ready(&summary);
                    }
                }
                Happened::Signal(_) => return true,
                Happened::RecorderEnded => return false,
                Happened::Begun(_) => {}
            }
        }
        false
    }

    /// Has the recorder end, and waits for that.
    fn end(&self, is_asked: bool) -> Result<(), Error> {
        if is_asked {
            self.recorder.ask(Order::Stop)?;
        }
        let status = self
            .recorder
            .wait()
            .map_err(|error| Error::os("cannot wait for the recorder's process", error))?;
        match status {
            // All is written: what remains is the kernel's.
            None if is_asked => Ok(()),
            Some(status) if is_asked && status.success() => Ok(()),
            status => Err(Error::new(
                ErrorKind::Io,
                format!(
                    "the recorder's process ended ({}); start the daemon again",
                    status.map_or_else(|| "it hangs".to_owned(), |status| status.to_string())
                ),
            )),
        }
    }

    /// Goes over to what the configuration's file says now.
    ///
    /// # Errors
    /// The file is wrong, or recording is paused: nothing has changed.
    fn reload(&self) -> Result<(), Error> {
        let reloaded = self.try_to_reload();
        let mut last = lock(&self.last_reload);
        last.is_successful = reloaded.is_ok();
        if last.is_successful {
            last.succeeded = SystemTime::now();
        }
        reloaded
    }

    fn try_to_reload(&self) -> Result<(), Error> {
        let new = Config::load(&self.source)?;
        new.check_host()?.iter().for_each(message::print);
        self.recorder.ask(Order::Reload { config: Box::new(new.clone()) })?;
        *lock(&self.config) = new;
        Ok(())
    }

    /// One line about how it is.
    fn summary(&self) -> Result<String, Error> {
        let fields = self.recorder.ask(Order::Progress)?;
        Ok(fields.get("summary").and_then(|text| text.as_str()).unwrap_or_default().to_owned())
    }

    /// The text of metrics; empty while the recorder does not answer.
    fn metrics(&self) -> String {
        let fields = self.recorder.ask(Order::Metrics).unwrap_or_default();
        self.with_own_metrics(fields.get("text").and_then(|text| text.as_str()).unwrap_or_default())
    }

    fn with_own_metrics(&self, of_recorder: &str) -> String {
        let last = lock(&self.last_reload);
        let succeeded = last.succeeded.duration_since(UNIX_EPOCH).unwrap_or_default();
        metrics::with_reload(of_recorder, last.is_successful, succeeded.as_secs())
    }

    /// Writes the textfile of metrics now and then, if that is configured. A thread of its own.
    fn start_textfile(self: &Arc<Self>) -> Result<(), Error> {
        let front = self.clone();
        let write = move || {
            let mut has_failed = false;
            loop {
                let path = lock(&front.config).metrics.textfile.clone();
                let written = path.as_ref().map(|path| textfile::write(path, &front.metrics()));
                match (written, path) {
                    (Some(Err(error)), Some(path)) if !has_failed => {
                        has_failed = true;
                        message::print(format_args!("cannot write {}: {error}", shown(&path)));
                    }
                    (Some(Ok(())), _) => has_failed = false,
                    _ => {}
                }
                thread::sleep(TEXTFILE_EVERY);
            }
        };
        if lock(&self.config).metrics.textfile.is_none() {
            return Ok(());
        }
        start("fsmon-textfile", write)
    }

    /// Tells the service manager that the daemon makes progress, for as long as it does. A thread of its own.
    fn start_watchdog(self: &Arc<Self>) -> Result<(), Error> {
        let Some(period) = Notifier::watchdog() else { return Ok(()) };
        let front = self.clone();
        let watch = move || {
            loop {
                thread::sleep(period / 3);
                if let Ok(summary) = front.summary() {
                    front.notifier.alive();
                    front.notifier.status(&summary);
                }
            }
        };
        start("fsmon-watchdog", watch)
    }
}

/// Starts a thread.
fn start(name: &str, run: impl FnOnce() + Send + 'static) -> Result<(), Error> {
    let failed = |error| Error::os(format!("cannot start the thread {name}"), error);
    thread::Builder::new().name(name.to_owned()).spawn(run).map(drop).map_err(failed)
}

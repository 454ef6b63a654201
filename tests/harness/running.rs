//! A fsmon that runs: started, ready, told to stop, and what it left.

use super::lines::Output;
use super::{Event, briefs, is_marked_one_by_one, parse};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;
use std::fs;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, ChildStdout, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::{Duration, Instant};

/// How long anything may take before a test gives up. A limit on waiting, not a measurement.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// The names of the files that [`Fsmon::sync`] makes begin so. [`Ended::events`] leaves their lines out.
const SENTINEL: &str = ".fsmon-sync-";
/// So that no two of them have one name.
static SENTINELS: AtomicU32 = AtomicU32::new(0);

/// A fsmon that is ready. Dropping it ends it.
pub struct Fsmon {
    child: Child,
    stdout: Option<Output>,
    stderr: Receiver<String>,
    said: Vec<String>,
}

/// How a fsmon ended and what it wrote.
#[derive(Debug)]
pub struct Ended {
    /// Its exit status.
    pub status: ExitStatus,
    /// Standard output, where it was read.
    pub stdout: Vec<u8>,
    /// Lines of standard error.
    pub stderr: Vec<String>,
}

impl Fsmon {
    /// Watches `dir` and writes JSON to standard output.
    pub fn watch(dir: &Path, args: &[&str]) -> Self {
        Fsmon::start(super::fsmon(["-f", "json"]).args(args).arg(dir))
    }

    /// Runs a command line that is to end by itself.
    pub fn run(command: &mut Command) -> Ended {
        Fsmon::spawn_read(command).wait()
    }

    /// Starts a command line, ready or not, and reads its standard output.
    pub fn spawn_read(command: &mut Command) -> Self {
        let mut running = Fsmon::spawn(command.stdout(Stdio::piped()));
        running.stdout = Some(Output::of(running.child.stdout.take().expect("asked for")));
        running
    }

    /// Starts a command line and waits until it is ready.
    pub fn start(command: &mut Command) -> Self {
        let mut running = Fsmon::spawn_read(command);
        running.wait_ready();
        running
    }

    /// The same, but what is done with standard output is the caller's affair.
    pub fn start_with(command: &mut Command, stdout: Stdio) -> Self {
        let mut running = Fsmon::spawn(command.stdout(stdout));
        running.wait_ready();
        running
    }

    /// The same; standard output is a pipe that nobody has read yet.
    pub fn start_unread(command: &mut Command) -> (Self, ChildStdout) {
        let mut running = Fsmon::start_with(command, Stdio::piped());
        let stdout = running.child.stdout.take().expect("asked for");
        (running, stdout)
    }

    /// Starts a command line, ready or not. Its standard output is what the command says.
    pub fn spawn(command: &mut Command) -> Self {
        command.stdin(Stdio::null()).stderr(Stdio::piped());
        let mut child = command.spawn().expect("started");
        let (sender, stderr) = channel();
        let lines = BufReader::new(child.stderr.take().expect("asked for"));
        std::thread::spawn(move || {
            for line in lines.split(b'\n').map_while(Result::ok) {
                if sender.send(String::from_utf8_lossy(&line).into_owned()).is_err() {
                    break;
                }
            }
        });
        Fsmon { child, stdout: None, stderr, said: Vec::new() }
    }

    fn wait_ready(&mut self) {
        self.wait_said("fsmon: ready");
    }

    /// Waits until a line of standard error begins so.
    pub fn wait_said(&mut self, words: &str) {
        let deadline = Instant::now() + PATIENCE;
        loop {
            match self.stderr.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
                Ok(line) => {
                    self.said.push(line);
                    if self.said.last().is_some_and(|line| line.starts_with(words)) {
                        return;
                    }
                }
                Err(RecvTimeoutError::Timeout) => panic!("never said {words}: {:#?}", self.said),
                Err(RecvTimeoutError::Disconnected) => {
                    panic!("ended and never said {words}: {:#?}", self.said);
                }
            }
        }
    }

    /// Waits until `look` finds something in the lines of JSON on standard output so far.
    #[track_caller]
    pub fn wait_for<T>(&self, what: &str, look: impl Fn(&[Event]) -> Option<T>) -> T {
        self.stdout.as_ref().expect("standard output is read").wait_for(what, look)
    }

    /// Waits until `is_so` holds for the lines of JSON on standard output so far.
    #[track_caller]
    pub fn wait_until(&self, what: &str, is_so: impl Fn(&[Event]) -> bool) {
        self.wait_for(what, |events| is_so(events).then_some(()));
    }

    /// Waits until these lines have come, in any order; relative to `dir`, as [`Event::brief`] gives them.
    #[track_caller]
    pub fn wait_lines(&self, dir: &Path, lines: &[&str]) {
        self.wait_until(&format!("{lines:?}"), |events| {
            let come = briefs(events, dir);
            lines.iter().all(|line| come.iter().any(|one| one == line))
        });
    }

    /// Waits until fsmon has read and written all that was done before, by a file made and removed in `dir`. That must
    /// be a watched directory, and CREATE a type that is told. A walk through a directory that moved in may still go on:
    /// wait for its lines with [`Fsmon::wait_lines`].
    #[track_caller]
    pub fn sync(&self, dir: &Path) {
        let name = format!("{SENTINEL}{}", SENTINELS.fetch_add(1, Ordering::Relaxed));
        let path = dir.join(&name);
        fs::File::create(&path).expect("made");
        self.wait_until(&format!("a line of {name}"), |events| {
            events.iter().rev().any(|event| event.name() == name)
        });
        fs::remove_file(&path).expect("removed");
    }

    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Sends a signal.
    pub fn signal(&self, signal: Signal) {
        kill(Pid::from_raw(self.child.id().cast_signed()), signal).expect("it runs");
    }

    /// Stops it as SIGSTOP does, and waits until each of its threads has stopped: the signal itself does not wait.
    /// SIGCONT lets it go on.
    pub fn pause(&self) {
        self.signal(Signal::SIGSTOP);
        super::wait_until("each thread has stopped", || {
            let tasks = fs::read_dir(format!("/proc/{}/task", self.pid())).expect("it runs");
            tasks.flatten().all(|task| {
                let stat = fs::read_to_string(task.path().join("stat")).unwrap_or_default();
                // proc(5): pid (comm) state.
                stat.rsplit_once(") ").is_some_and(|(_, rest)| rest.starts_with('T'))
            })
        });
    }

    /// Whether it runs.
    pub fn is_running(&mut self) -> bool {
        self.child.try_wait().expect("a child").is_none()
    }

    /// Changes something in `dir` until it ends, as it does once nobody reads its output. One change is not always
    /// enough: a process that another test starts has a copy of the pipe until it runs its program.
    #[track_caller]
    pub fn change_until_it_ends(mut self, dir: &Path) -> Ended {
        super::wait_until("it ends, as nobody reads", || {
            fs::write(dir.join("nobody-reads"), "").expect("made");
            fs::remove_file(dir.join("nobody-reads")).expect("removed");
            !self.is_running()
        });
        self.wait()
    }

    /// Tells it to stop, and waits.
    pub fn stop(self) -> Ended {
        self.signal(Signal::SIGINT);
        self.wait()
    }

    /// Waits for its end.
    pub fn wait(mut self) -> Ended {
        let deadline = Instant::now() + PATIENCE;
        let status = loop {
            if let Some(status) = self.child.try_wait().expect("a child") {
                break status;
            }
            assert!(Instant::now() < deadline, "did not end: {:#?}", self.said);
            std::thread::sleep(Duration::from_millis(2));
        };
        let stdout = self.stdout.take().map(Output::finish);
        self.said.extend(self.stderr.iter());
        let stderr = std::mem::take(&mut self.said);
        Ended { status, stdout: stdout.unwrap_or_default(), stderr }
    }
}

impl Drop for Fsmon {
    fn drop(&mut self) {
        if matches!(self.child.try_wait(), Ok(None)) {
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
    }
}

impl Ended {
    /// Its lines of JSON, but for those of [`Fsmon::sync`].
    pub fn events(&self) -> Vec<Event> {
        let mut events = parse(&self.stdout);
        events.retain(|event| !event.name().starts_with(SENTINEL));
        events
    }

    /// The last line of standard error.
    pub fn last_words(&self) -> &str {
        self.stderr.last().map_or("", String::as_str)
    }

    /// It ended in order and said that nothing is missing.
    #[track_caller]
    pub fn assert_complete(&self) {
        assert!(self.status.success(), "{}: {:#?}", self.status, self.stderr);
        let last = self.last_words();
        assert!(last.contains("complete") && !last.contains("NOT"), "{:#?}", self.stderr);
    }

    /// The same; where every directory below `dir` has a mark of its own, some marks may have come late.
    #[track_caller]
    pub fn assert_complete_in(&self, dir: &Path) {
        match self.last_words().contains("NOT complete") && is_marked_one_by_one(dir) {
            true => self.assert_complete_but_for_marks(),
            false => self.assert_complete(),
        }
    }

    /// It is complete, or something was made in new directories before each of them had its mark, which is
    /// all that may be missing where every directory has one (overlayfs, FUSE).
    #[track_caller]
    pub fn assert_complete_but_for_marks(&self) {
        let last = self.last_words();
        match last.split_once("; NOT complete: ") {
            None => self.assert_complete(),
            Some((_, missing)) => {
                assert!(self.status.success(), "{}: {:#?}", self.status, self.stderr);
                let is_marks = missing.contains("made before") && !missing.contains(',');
                assert!(is_marks, "{:#?}", self.stderr);
            }
        }
    }

    /// It ended with that code and, at the end, one line that has all these words.
    #[track_caller]
    pub fn assert_failed(&self, code: i32, words: &[&str]) {
        assert_eq!(self.status.code(), Some(code), "{:#?}", self.stderr);
        let last = self.last_words();
        assert!(last.starts_with("fsmon: "), "{:#?}", self.stderr);
        for word in words {
            assert!(last.contains(word), "{word} is not in: {last}");
        }
    }
}

/// Reads the object that `--stats` wrote.
pub fn read_stats(path: &Path) -> Value {
    let text = std::fs::read_to_string(path).expect("the counters");
    serde_json::from_str(&text).expect("one JSON object")
}

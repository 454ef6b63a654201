//! Flushes on the real kernel: the answer comes after everything that happened before the call, whatever else goes on.
//! Needs root; says SKIP where it is not.

mod shared;

use fsmon_engine::config::Backend;
use fsmon_engine::{Command, Config, ErrorKind, Next, Receiver};
use fsmon_format::kind;
use fsmon_format::record::{Body, Outcome, Records};
use shared::watch;
use std::collections::HashSet;
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Stdio};
use std::time::{Duration, Instant};

fn sh(dir: &Path, script: &str) -> Child {
    let mut command = std::process::Command::new("sh");
    command.args(["-c", script]).current_dir(dir).stdin(Stdio::piped()).stdout(Stdio::piped());
    command.spawn().expect("sh")
}

/// A process that makes a file when it is told to: fsmon does not report its own changes.
struct Maker {
    child: Child,
    to: ChildStdin,
    from: BufReader<ChildStdout>,
}

impl Maker {
    fn new(dir: &Path) -> Self {
        let mut child = sh(dir, "while read name; do mkdir $name; : > $name/f; echo; done");
        let (to, from) = (child.stdin.take().expect("a pipe"), child.stdout.take());
        Maker { child, to, from: BufReader::new(from.expect("a pipe")) }
    }

    /// Returns when `name` and `name/f` are there.
    fn make(&mut self, name: &str) {
        writeln!(self.to, "{name}").expect("it reads");
        self.from.read_line(&mut String::new()).expect("it is done");
    }

    fn end(mut self) {
        drop(self.to);
        self.child.wait().expect("it ends");
    }
}

/// What came: the names of what was made, and the tokens of answers.
#[derive(Default)]
struct Seen {
    made: HashSet<Vec<u8>>,
    answers: Vec<u64>,
}

impl Seen {
    /// Takes what is there. Whether there may be more.
    fn take(&mut self, records: &mut Receiver) -> bool {
        self.take_until(u64::MAX, records)
    }

    /// Takes records until the answer with that token. Whether there may be more.
    fn take_until(&mut self, token: u64, records: &mut Receiver) -> bool {
        let batch = match records.next(Duration::from_secs(20)) {
            Next::Batch(batch) => batch,
            Next::Idle => panic!("no answer"),
            Next::Ended => return false,
        };
        for record in Records(batch) {
            match record.body() {
                Body::Event(event) if event.head.mask.get() & kind::CREATE != 0 => {
                    self.made.insert(event.name.to_vec());
                }
                Body::Answer(answer) => {
                    assert_eq!(Outcome::from_code(answer.outcome.get()), Outcome::Done);
                    self.answers.push(answer.token.get());
                    if answer.token.get() == token {
                        // The rest of the batch is left out: what comes behind the answer does not count.
                        return true;
                    }
                }
                _ => {}
            }
        }
        true
    }
}

/// Changes files as fast as it can until it is killed.
const STORM: &str = "exec /usr/bin/perl -e 'for (;;) { mkdir q(s); open F, q(>s/f); close F;
    rename q(s), q(t); unlink q(t/f); rmdir q(t) }'";

fn answers_come_after_what_was_before(backend: Backend, is_behind: bool, count: u64) {
    let dir = tempfile::tempdir().expect("a directory");
    let storm_dir = dir.path().join("storm");
    std::fs::create_dir(&storm_dir).expect("made");
    let change = |config: &mut Config| {
        config.backend = backend;
        config.ring_slots = if is_behind { 1 } else { config.ring_slots };
    };
    let Some((monitor, mut records)) = watch(dir.path(), change) else { return };
    let mut storm = sh(&storm_dir, STORM);
    let mut maker = Maker::new(dir.path());
    let (mut seen, mut waits) = (Seen::default(), Vec::new());
    for token in 0..count {
        if is_behind {
            std::thread::sleep(Duration::from_millis(100));
        }
        let name = format!("made{token}");
        maker.make(&name);
        let asked = Instant::now();
        monitor.command(&Command::Flush { token }).unwrap_or_else(|error| panic!("{error}"));
        while seen.answers.last() != Some(&token) {
            seen.take_until(token, &mut records);
        }
        waits.push(asked.elapsed());
        assert!(seen.made.contains(name.as_bytes()), "the answer to {token} came before its file");
    }
    storm.kill().expect("it runs");
    storm.wait().expect("it ended");
    maker.end();
    monitor.stop();
    while seen.take(&mut records) {}
    let counters = monitor.join().expect("an orderly end");
    assert_eq!((counters.losses, seen.answers.len() as u64), (0, count), "{counters:?}");
    waits.sort();
    let (half, last) = (waits[waits.len() / 2], waits[waits.len() - 1]);
    println!("{backend:?}, behind {is_behind}: answered within {half:?}, at most {last:?}");
}

#[test]
fn an_answer_comes_after_what_was_before_in_a_storm() {
    for backend in [Backend::Uring, Backend::Poll] {
        answers_come_after_what_was_before(backend, false, 200);
        // The ring is full while nobody takes records, so the queue is long when a flush begins.
        answers_come_after_what_was_before(backend, true, 15);
    }
}

#[test]
fn flushes_have_an_end_and_all_are_answered_when_the_engine_stops() {
    let dir = tempfile::tempdir().expect("a directory");
    let window = Duration::from_secs(1);
    let Some((monitor, mut records)) = watch(dir.path(), |config| config.batch_window = window)
    else {
        return;
    };
    let flush = |token| monitor.command(&Command::Flush { token });
    let refused = (0..1000).find_map(|token| flush(token).err().map(|error| (token, error)));
    let (count, error) = refused.expect("there is an end");
    assert_eq!((count, error.kind()), (16, ErrorKind::Busy), "{error}");
    let mut seen = Seen::default();
    monitor.stop();
    while seen.take(&mut records) {}
    seen.answers.sort_unstable();
    assert_eq!(seen.answers, (0..count).collect::<Vec<_>>());
    while monitor.command(&Command::Flush { token: 0 }).is_ok() {
        std::thread::sleep(Duration::from_millis(1));
    }
    monitor.join().expect("an orderly end");
}

//! Once it runs, the engine allocates nothing: neither the reader nor the consumer's end, new
//! directories, processes and flushes included. A test binary of its own, because it counts for the whole
//! process, and without the test runner, whose allocations would count too.

mod counting;

use fsmon_engine::{Command as Ask, Config, Next, start};
use fsmon_format::record::{Body, Record, Records};
use std::process::{Command, Stdio};
use std::time::Duration;

const SCRIPT: &str = "read go; i=0; while [ $i -lt 1000 ]; do
    mkdir -p d$i/sub; : > d$i/sub/file; mv d$i/sub d$i/other; rm -r d$i;
    mkdir -p $0/up/root/d; : > $0/up/root/d/f; mv $0/up $0/away; mv $0/away $0/up; rm -r $0/up;
    i=$((i + 1)); done";

/// The runner allocates when it says, after a minute, that a test takes long.
fn main() {
    // The thread that follows mounts allocates when any come or go, such as those of other tests.
    if let Err(error) = fsmon_harness::own_mount_namespace() {
        assert!(std::env::var_os("CI").is_none(), "{error}");
        return println!("SKIP: no mount namespace: {error}");
    }
    for cmdline in [false, true] {
        nothing_is_allocated(cmdline);
    }
}

/// While files and processes come and go.
fn nothing_is_allocated(cmdline: bool) {
    let dir = tempfile::tempdir().expect("a directory");
    // A root that comes and goes.
    let other = tempfile::tempdir().expect("a directory");
    let roots = vec![dir.path().to_owned(), other.path().join("up/root")];
    let mut config = Config::new(roots);
    config.cmdline = cmdline;
    let (monitor, mut records) = match start(config) {
        Ok(started) => started,
        Err(error) if std::env::var_os("CI").is_none() => return println!("SKIP: {error}"),
        Err(error) => panic!("{error}"),
    };
    let mut child = Command::new("sh")
        .args(["-c", SCRIPT])
        .arg(other.path())
        .current_dir(dir.path())
        .stdin(Stdio::piped())
        .spawn()
        .expect("sh");
    // The first flush makes what the others use again.
    let flush = || monitor.command(&Ask::Flush { token: 1 }).expect("one at a time");
    flush();
    while !matches!(records.next(Duration::from_millis(200)), Next::Idle) {}

    let before = counting::allocations();
    drop(child.stdin.take());
    let (mut slots, mut flushes) = (0, 0);
    flush();
    loop {
        match records.next(Duration::from_millis(500)) {
            Next::Batch(batch) => {
                slots += batch.len();
                let is_answer = |record: Record<'_>| matches!(record.body(), Body::Answer(_));
                if Records(batch).any(is_answer) && child.try_wait().expect("a child").is_none() {
                    flushes += 1;
                    flush();
                }
            }
            Next::Idle if child.try_wait().expect("a child").is_some() => break,
            _ => {}
        }
    }
    let allocations = counting::allocations() - before;
    assert_eq!(allocations, 0, "in {slots} slots of records");
    assert!(slots > 1000 * 10, "only {slots} slots: the workload did not run");
    assert!(flushes > 10, "only {flushes} flushes were answered");
    monitor.stop();
    drop(records);
    monitor.join().expect("it ran");
    println!("nothing was allocated in {slots} slots, command lines: {cmdline}");
}

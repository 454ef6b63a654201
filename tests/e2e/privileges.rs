//! What fsmon keeps of its rights once it is ready: capabilities by thread, system calls by process.

use crate::daemon::{Daemon, watch};
use fsmon_harness::{Area, Fsmon, fsmon, is_root, repeats, sh, wait_until};
use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;
use std::collections::BTreeMap;
use std::fs;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::Stdio;
use std::time::Duration;

/// Bits of capabilities (linux/capability.h).
const DAC_READ_SEARCH: u64 = 1 << 2;
const SYS_ADMIN: u64 = 1 << 21;

/// The sets of capabilities of a thread, as /proc names them.
const SETS: [&str; 5] = ["CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"];

fn field(status: &str, name: &str) -> String {
    let line = status.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
    line.unwrap_or_else(|| panic!("{name} is missing")).trim().to_owned()
}

/// The status of each thread, by its name.
fn threads(pid: u32) -> BTreeMap<String, String> {
    let tasks = fs::read_dir(format!("/proc/{pid}/task")).expect("it runs");
    let status = |task: std::io::Result<fs::DirEntry>| {
        // One that has just ended is no thread any more.
        fs::read_to_string(task.ok()?.path().join("status")).ok()
    };
    tasks.filter_map(status).map(|status| (field(&status, "Name"), status)).collect()
}

/// Asserts that each thread has the capabilities that stand beside its name, in the sets that count, and that there are no
/// other threads.
fn assert_capabilities(pid: u32, expected: &[(&str, u64)]) {
    let threads = threads(pid);
    let names: Vec<_> = threads.keys().map(String::as_str).collect();
    for (name, status) in &threads {
        let found = expected.iter().find(|(known, _)| known == name);
        let (_, capabilities) = found.unwrap_or_else(|| panic!("{name} of {names:?}"));
        for set in SETS {
            let has = u64::from_str_radix(&field(status, set), 16).expect("a number");
            let expected = match set {
                "CapInh" | "CapAmb" => 0,
                _ => *capabilities,
            };
            assert_eq!(has, expected, "{set} of {name}");
        }
    }
    for (name, _) in expected {
        assert!(threads.contains_key(*name), "{name} is missing: {names:?}");
    }
}

fn assert_confined(pid: u32) {
    for (name, status) in threads(pid) {
        assert_eq!(field(&status, "Seccomp"), "2", "{name}");
        assert_eq!(field(&status, "NoNewPrivs"), "1", "{name}");
    }
}

/// The only child of a process.
fn child(pid: u32) -> u32 {
    let processes = fs::read_dir("/proc").expect("/proc");
    let pids = processes.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok());
    let is_child = |child: &u32| {
        let status = fs::read_to_string(format!("/proc/{child}/status"));
        status.is_ok_and(|status| field(&status, "PPid") == pid.to_string())
    };
    let children: Vec<u32> = pids.filter(is_child).collect();
    assert_eq!(children.len(), 1, "{children:?}");
    children[0]
}

#[test]
fn a_watch_keeps_what_each_thread_needs() {
    if !is_root() {
        return;
    }
    let area = Area::new();
    let watched = area.watched();
    let running = Fsmon::watch(&watched, &[]);
    running.sync(&watched);
    let expected = [
        ("fsmon", 0),
        ("fsmon-signals", 0),
        ("fsmon-mounts", 0),
        ("fsmon-reader", DAC_READ_SEARCH),
        ("fsmon-admin", SYS_ADMIN | DAC_READ_SEARCH),
        ("fsmon-format", DAC_READ_SEARCH),
    ];
    assert_capabilities(running.pid(), &expected);
    // A directory of another user that nobody else may enter.
    sh(&watched, "mkdir -p ../out/a/b; chown -R 65534 ../out; chmod 700 ../out ../out/a");
    sh(&watched, "mv ../out in; setpriv --reuid 65534 --clear-groups touch in/a/b/f");
    let ended = running.stop();
    ended.assert_complete();
    let is_it = |path: &str| path.ends_with("/in/a/b/f");
    assert!(ended.events().iter().any(|event| event.text("path").is_some_and(is_it)));
}

#[test]
fn the_daemon_is_two_processes_and_only_one_has_any_capability() {
    if !is_root() {
        return;
    }
    let area = Area::new();
    let watched = area.watched();
    let mut daemon = Daemon::new(&area, &watch(&watched));
    daemon.start();
    daemon.ask(&["sync"]);
    let front = daemon.running().pid();
    let recorder = child(front);
    for (name, status) in threads(front) {
        for set in SETS {
            assert_eq!(field(&status, set), "0000000000000000", "{set} of {name}");
        }
    }
    let expected = [
        ("fsmon-control", SYS_ADMIN | DAC_READ_SEARCH),
        ("fsmon-reader", DAC_READ_SEARCH),
        ("fsmon-admin", SYS_ADMIN | DAC_READ_SEARCH),
        ("fsmon-mounts", 0),
        ("fsmon-record", DAC_READ_SEARCH),
        ("fsmon-writer", 0),
        ("fsmon-keeper", DAC_READ_SEARCH),
        ("fsmon-index", 0),
    ];
    assert_capabilities(recorder, &expected);
    assert_confined(front);
    assert_confined(recorder);
    // The end of one is that of the other.
    daemon.running().signal(Signal::SIGKILL);
    wait_until("the recorder ends", || !fs::exists(format!("/proc/{recorder}")).unwrap_or(true));
}

#[test]
fn a_recorder_that_dies_ends_the_daemon() {
    if !is_root() {
        return;
    }
    let area = Area::new();
    let mut daemon = Daemon::new(&area, &watch(&area.watched()));
    daemon.start();
    let recorder = child(daemon.running().pid());
    sh(&area.watched(), &format!("kill -9 {recorder}"));
    daemon.running.take().expect("it runs").wait().assert_failed(1, &["start the daemon again"]);
}

#[test]
fn a_private_directory_of_another_user_is_marked_by_a_thread_that_may() {
    if !is_root() {
        return;
    }
    let area = Area::new();
    let (watched, other) = (area.watched(), area.dir("other"));
    sh(&watched, "chown 65534 .; chmod 700 .");
    let mut daemon = Daemon::new(&area, &watch(&watched));
    daemon.start();
    // More types for the filesystem that both are on.
    let name = other.display().to_string();
    let added = daemon.ask(&["add", &name, "-t", "create,open"]);
    assert!(added.starts_with(&format!("active {name}  OPEN: ")), "{added}");
    sh(&watched, "setpriv --reuid 65534 --clear-groups touch f");
    sh(&other, ": > o; cat o");
    daemon.ask(&["sync"]);
    let events = daemon.decoded(&["-t", "create,open"]);
    let of = |kind: &str, name: &str| {
        events.iter().filter(|event| event.kind() == kind && event.name() == name).count()
    };
    assert_eq!((of("CREATE", "f"), of("CREATE", "o")), (1, 1), "{events:?}");
    assert!(of("OPEN", "o") > 0, "{events:?}");
    daemon.ask(&["remove", &name]);
    daemon.stop();
}

#[test]
fn a_signal_at_any_moment_of_the_start_ends_both_processes() {
    if !is_root() {
        return;
    }
    let area = Area::new();
    let daemon = Daemon::new(&area, &watch(&area.watched()));
    for step in 0..repeats(30) as u64 {
        let mut command = fsmon(["daemon", "--config"]);
        command.arg(&daemon.config).stderr(Stdio::null()).process_group(0);
        let mut child = command.spawn().expect("started");
        let group = Pid::from_raw(child.id().cast_signed());
        // Another moment of the start each time; none of them matters.
        std::thread::sleep(Duration::from_millis(2 * step));
        killpg(group, Signal::SIGINT).expect("there");
        let status = child.wait().expect("a child");
        // Until it takes signals, the kernel ends it.
        assert!(status.success() || status.signal() == Some(Signal::SIGINT as i32), "{status}");
        wait_until("both have ended", || killpg(group, None).is_err());
    }
}

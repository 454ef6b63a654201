//! What ends a watch, and that everything up to then was printed.

use fsmon_harness::{Area, Fsmon, briefs, fsmon, is_root, program, read_stats, sh, wait_until};
use nix::sys::signal::Signal;
use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

#[test]
fn signals_end_it_with_everything_printed() {
    if !is_root() {
        return;
    }
    let area = Area::new();
    for signal in [Signal::SIGINT, Signal::SIGTERM, Signal::SIGHUP] {
        for _ in 0..5 {
            // The tests themselves may run below nohup(1).
            let mut command = Command::new("env");
            command.arg("--default-signal").arg(program()).args(["-f", "json", "-t", "create"]);
            let running = Fsmon::start(command.arg(area.watched()));
            sh(&area.watched(), "for i in $(seq 200); do : > $i; done");
            running.signal(signal);
            let ended = running.wait();
            ended.assert_complete();
            assert_eq!(ended.events().len(), 200, "{signal}");
            sh(&area.watched(), "rm -f *");
        }
    }
}

#[test]
fn the_last_change_before_the_signal_is_there_with_a_wide_window() {
    if !is_root() {
        return;
    }
    let area = Area::new();
    let running = Fsmon::watch(&area.watched(), &["-t", "create", "--batch-window", "1s"]);
    sh(&area.watched(), "touch last");
    assert_eq!(briefs(&running.stop().events(), &area.watched()), ["CREATE last"]);
}

#[test]
fn count_ends_it_after_that_many_events() {
    if !is_root() {
        return;
    }
    let area = Area::new();
    for count in [1usize, 7] {
        let args = ["-t", "create", "--count", &count.to_string()];
        let running = Fsmon::watch(&area.watched(), &args);
        sh(&area.watched(), "for i in $(seq 500); do : > $i; done");
        let ended = running.wait();
        assert!(ended.status.success(), "{ended:?}");
        let expected: Vec<_> = (1..=count).map(|i| format!("CREATE {i}")).collect();
        assert_eq!(briefs(&ended.events(), &area.watched()), expected);
        sh(&area.watched(), "rm -f *");
    }
}

#[test]
fn duration_ends_it_after_that_time() {
    if !is_root() {
        return;
    }
    let area = Area::new();
    let began = Instant::now();
    let running = Fsmon::watch(&area.watched(), &["-t", "create", "--duration", "500ms"]);
    sh(&area.watched(), "touch a");
    let ended = running.wait();
    // A lower bound alone: how late it is depends on the machine.
    assert!(began.elapsed() >= Duration::from_millis(500));
    ended.assert_complete();
    assert_eq!(ended.events().len(), 1);
}

#[test]
fn the_counters_at_the_end() {
    if !is_root() {
        return;
    }
    let area = Area::new();
    let stats = area.path("stats");
    sh(&area.watched(), "mkdir -p a/b");
    let args = ["-t", "create", "--stats", stats.to_str().expect("UTF-8")];
    let running = Fsmon::watch(&area.watched(), &args);
    sh(&area.watched(), "for i in $(seq 100); do : > a/$i; done");
    let ended = running.stop();
    ended.assert_complete();
    let object = read_stats(&stats);
    let number = |key: &str| object[key].as_u64().unwrap_or_else(|| panic!("{key}: {object}"));
    assert_eq!(number("events"), 100);
    assert_eq!(number("bytes_out"), ended.stdout.len() as u64);
    for zero in
        ["lost_queue_overflows", "lost_process_messages", "unresolved_paths", "unattributed"]
    {
        assert_eq!(number(zero), 0, "{zero}");
    }
    assert!(number("kernel_events") >= 100);
    assert!((1..=number("kernel_events")).contains(&number("reads")));
    assert!(number("reader_cpu_ns") > 0 && number("formatter_cpu_ns") > 0);
    assert!(number("ring_peak") > 0 && number("processes") > 0);
    assert_eq!(number("dirs"), 3, "the watched directory and two below it");
    assert_eq!(object["complete"], true);
    assert_eq!(object.as_object().expect("an object").len(), 14);
}

#[test]
fn standard_error_has_the_counts_and_whether_the_record_is_complete() {
    if !is_root() {
        return;
    }
    let area = Area::new();
    let running = Fsmon::watch(&area.watched(), &["-t", "create"]);
    sh(&area.watched(), "touch a b c");
    let ended = running.stop();
    assert!(ended.last_words().starts_with("fsmon: 3 events"), "{:?}", ended.stderr);
    ended.assert_complete();
}

#[test]
fn lines_come_while_it_happens() {
    if !is_root() {
        return;
    }
    let area = Area::new();
    let (running, stdout) =
        Fsmon::start_unread(fsmon(["-f", "json", "-t", "create"]).arg(area.watched()));
    let mut lines = BufReader::new(stdout).lines();
    for i in 0..50 {
        sh(&area.watched(), &format!("touch f{i}"));
        let line = lines.next().expect("a line before the next file is made").expect("read");
        assert!(line.contains(&format!("/f{i}\"")), "{line}");
    }
    running.stop().assert_complete();
}

#[test]
fn a_closed_pipe_ends_it_quietly() {
    if !is_root() {
        return;
    }
    let area = Area::new();
    for format in ["json", "human", "csv", "binary"] {
        let (running, stdout) = Fsmon::start_unread(fsmon(["-f", format]).arg(area.watched()));
        drop(stdout);
        let ended = running.change_until_it_ends(&area.watched());
        assert_eq!(ended.status.code(), Some(0), "{format}: {:?}", ended.stderr);
        assert!(!ended.stderr.join("\n").contains("panic"), "{:?}", ended.stderr);
        assert!(ended.stderr.iter().all(|line| !line.to_lowercase().contains("broken pipe")));
    }
}

#[test]
fn a_reader_that_takes_its_fill_and_goes() {
    if !is_root() {
        return;
    }
    let area = Area::new();
    let (running, stdout) = Fsmon::start_unread(fsmon(["-f", "json"]).arg(area.watched()));
    let mut first = String::new();
    sh(&area.watched(), "touch a");
    let mut reader = BufReader::new(stdout);
    reader.read_line(&mut first).expect("a line");
    assert!(first.contains("CREATE"), "{first}");
    drop(reader);
    let ended = running.change_until_it_ends(&area.watched());
    assert_eq!(ended.status.code(), Some(0));
}

#[test]
fn nothing_is_left_behind() {
    if !is_root() {
        return;
    }
    let area = Area::new();
    let before = fsmon_harness::listing(&area.path(""));
    Fsmon::watch(&area.watched(), &[]).stop().assert_complete();
    assert_eq!(fsmon_harness::listing(&area.path("")), before);
}

#[test]
fn a_stopped_and_continued_fsmon_has_missed_nothing() {
    if !is_root() {
        return;
    }
    let area = Area::new();
    let running = Fsmon::watch(&area.watched(), &["-t", "create,delete"]);
    running.pause();
    sh(&area.watched(), "for i in $(seq 2000); do : > $i; done; rm -f *");
    running.signal(Signal::SIGCONT);
    let ended = running.stop();
    ended.assert_complete();
    assert_eq!(ended.events().len(), 4000);
}

#[test]
fn output_to_standard_output_by_its_name() {
    if !is_root() {
        return;
    }
    let area = Area::new();
    let (running, mut stdout) =
        Fsmon::start_unread(fsmon(["-f", "json", "-o", "-", "--count", "1"]).arg(area.watched()));
    sh(&area.watched(), "touch a");
    running.wait();
    let mut text = String::new();
    stdout.read_to_string(&mut text).expect("read");
    assert!(text.contains("CREATE"));
}

/// Starts fsmon by a shell that ignores a signal before, as nohup does.
fn start_ignoring(signal: &str, area: &Area) -> Fsmon {
    let script = format!("trap '' {signal}; exec \"$0\" \"$@\"");
    let mut command = Command::new("/bin/sh");
    command.args(["-c", &script]).arg(program()).args(["-f", "json", "-t", "create"]);
    Fsmon::start(command.arg(area.watched()))
}

/// Whether the kernel throws such a signal away: proc(5).
fn ignores(running: &Fsmon, signal: Signal) -> bool {
    let status = fs::read_to_string(format!("/proc/{}/status", running.pid())).expect("it runs");
    let ignored = status.lines().find_map(|line| line.strip_prefix("SigIgn:")).expect("a mask");
    let ignored = u64::from_str_radix(ignored.trim(), 16).expect("hexadecimal");
    ignored & (1 << (signal as i32 - 1)) != 0
}

#[test]
fn a_signal_that_is_ignored_stays_ignored() {
    if !is_root() {
        return;
    }
    for (signal, name) in [(Signal::SIGHUP, "HUP"), (Signal::SIGTERM, "TERM")] {
        let area = Area::new();
        let mut running = start_ignoring(name, &area);
        // A signal that is ignored goes nowhere: there is nothing to wait for.
        assert!(ignores(&running, signal), "{name}");
        running.signal(signal);
        sh(&area.watched(), "touch a");
        assert!(running.is_running(), "{name} ended it");
        let ended = running.stop();
        ended.assert_complete();
        assert_eq!(briefs(&ended.events(), &area.watched()), ["CREATE a"]);
    }
}

#[test]
fn an_interrupt_ends_what_a_script_started_in_the_background() {
    if !is_root() {
        return;
    }
    // Shells without job control ignore SIGINT in what they start with `&`.
    let area = Area::new();
    let running = start_ignoring("INT", &area);
    sh(&area.watched(), "touch a");
    let ended = running.stop();
    ended.assert_complete();
    assert_eq!(ended.events().len(), 1);
}

/// A fsmon whose output is a pipe that is full, told to end; and the other end of the pipe.
fn stalled(area: &Area) -> (Fsmon, std::process::ChildStdout) {
    let (running, stdout) = Fsmon::start_unread(fsmon(["-f", "json"]).arg(area.watched()));
    sh(&area.watched(), "for i in $(seq 3000); do : > $i; done");
    // As the kernel calls what the thread waits in: `pipe_write`, or `anon_pipe_write`.
    let is_full = |task: &Path| {
        fs::read_to_string(task.join("wchan")).is_ok_and(|call| call.ends_with("pipe_write"))
    };
    wait_until("the pipe is full", || has_task(&running, is_full));
    running.signal(Signal::SIGINT);
    (running, stdout)
}

/// Whether a thread is so; given is its directory in /proc.
fn has_task(running: &Fsmon, is_so: impl Fn(&Path) -> bool) -> bool {
    let tasks = fs::read_dir(format!("/proc/{}/task", running.pid()));
    tasks.is_ok_and(|tasks| tasks.flatten().any(|task| is_so(&task.path())))
}

/// Sends a second signal, and waits until it was taken. Of signals that come within 200 ms (`TOGETHER` in
/// crates/cli/src/control.rs) one is: none of those sent here is taken for the second too early, or for a third.
fn hurry(running: &Fsmon) {
    let is_hurried =
        |task: &Path| fs::read(task.join("comm")).is_ok_and(|name| name == b"fsmon-hurry\n");
    wait_until("the second signal was taken", || {
        running.signal(Signal::SIGINT);
        has_task(running, is_hurried)
    });
}

#[test]
fn a_second_signal_does_not_wait_for_a_reader_that_stalls() {
    if !is_root() {
        return;
    }
    let area = Area::new();
    let (running, stdout) = stalled(&area);
    hurry(&running);
    let ended = running.wait();
    assert_eq!(ended.status.code(), Some(130), "{ended:?}");
    assert!(!ended.stderr.iter().any(|line| line.ends_with("; complete")), "{ended:?}");
    drop(stdout);
}

#[test]
fn after_a_second_signal_what_a_reader_gets_are_whole_lines() {
    if !is_root() {
        return;
    }
    let area = Area::new();
    let (running, mut stdout) = stalled(&area);
    hurry(&running);
    let mut text = Vec::new();
    stdout.read_to_end(&mut text).expect("read");
    let ended = running.wait();
    assert_eq!(ended.status.code(), Some(130), "{ended:?}");
    assert!(text.ends_with(b"\n"), "half a line");
    assert!(fsmon_harness::parse(&text).len() > 100);
    let last = ended.last_words();
    assert!(last.contains("NOT complete: 1 output interrupted by a second signal"), "{last}");
}

#[test]
fn a_third_signal_kills() {
    if !is_root() {
        return;
    }
    let area = Area::new();
    let (mut running, stdout) = stalled(&area);
    hurry(&running);
    // One that comes too soon after the second is no third.
    wait_until("a third was taken", || {
        running.signal(Signal::SIGTERM);
        !running.is_running()
    });
    assert_eq!(running.wait().status.signal(), Some(Signal::SIGTERM as i32));
    drop(stdout);
}

#[test]
fn a_second_signal_that_make_passes_on_is_no_third() {
    if !is_root() {
        return;
    }
    let area = Area::new();
    let (running, stdout) = stalled(&area);
    hurry(&running);
    for signal in [Signal::SIGTERM, Signal::SIGHUP] {
        running.signal(signal);
    }
    let ended = running.wait();
    assert_eq!(ended.status.code(), Some(130), "{ended:?}");
    drop(stdout);
}

#[test]
fn signals_at_one_time_are_one() {
    if !is_root() {
        return;
    }
    let area = Area::new();
    let running = Fsmon::watch(&area.watched(), &["-t", "create"]);
    sh(&area.watched(), "for i in $(seq 2000); do : > $i; done");
    for signal in [Signal::SIGHUP, Signal::SIGINT, Signal::SIGTERM, Signal::SIGHUP] {
        running.signal(signal);
    }
    let ended = running.wait();
    ended.assert_complete();
    assert_eq!(ended.events().len(), 2000);
}

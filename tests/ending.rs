//! What ends a watch, and that everything up to then was printed.

mod harness;

use harness::{Area, Fsmon, briefs, fsmon, is_root, read_stats, sh};
use nix::sys::signal::Signal;
use std::io::{BufRead, BufReader, Read};
use std::time::{Duration, Instant};

#[test]
fn signals_end_it_with_everything_printed() {
    if !is_root() {
        return;
    }
    let area = Area::new();
    for signal in [Signal::SIGINT, Signal::SIGTERM, Signal::SIGHUP] {
        for _ in 0..5 {
            let running = Fsmon::watch(&area.watched(), &["-t", "create"]);
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
        sh(&area.watched(), "for i in $(seq 100); do : > $i; done; rm *");
        let ended = running.wait();
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
    sh(&area.watched(), "touch b c d");
    assert_eq!(running.wait().status.code(), Some(0));
}

#[test]
fn nothing_is_left_behind() {
    if !is_root() {
        return;
    }
    let area = Area::new();
    let before = harness::listing(&area.path(""));
    Fsmon::watch(&area.watched(), &[]).stop().assert_complete();
    assert_eq!(harness::listing(&area.path("")), before);
}

#[test]
fn a_stopped_and_continued_fsmon_has_missed_nothing() {
    if !is_root() {
        return;
    }
    let area = Area::new();
    let running = Fsmon::watch(&area.watched(), &["-t", "create,delete"]);
    running.signal(Signal::SIGSTOP);
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

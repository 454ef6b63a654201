//! Output to a named pipe: opened once, waited for where a signal ends it.

use fsmon_harness::{Area, Fsmon, fsmon, is_root, is_root_with, parse, program, sh, wait_until};
use nix::sys::signal::Signal;
use nix::sys::stat::Mode;
use nix::unistd::mkfifo;
use std::fs::{self, File};
use std::io::{BufRead, BufReader, Read};
use std::os::unix::process::ExitStatusExt;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::thread;

fn fifo(area: &Area) -> PathBuf {
    let path = area.path("pipe");
    mkfifo(&path, Mode::from_bits_truncate(0o600)).expect("made");
    path
}

#[test]
fn a_reader_that_is_there_first_gets_all_of_it() {
    if !is_root() {
        return;
    }
    let (area, dir) = (Area::new(), "watched");
    let pipe = fifo(&area);
    let path = pipe.clone();
    let reader = thread::spawn(move || fs::read(path).expect("read"));
    let running =
        Fsmon::start(fsmon(["-f", "json", "-t", "create", "-o"]).arg(&pipe).arg(area.path(dir)));
    sh(&area.watched(), "touch a b");
    running.stop().assert_complete();
    assert_eq!(parse(&reader.join().expect("read")).len(), 2);
}

#[test]
fn without_a_reader_it_says_that_it_waits() {
    if !is_root() {
        return;
    }
    let area = Area::new();
    let pipe = fifo(&area);
    let start = || {
        let mut command = fsmon(["-f", "json", "-t", "create", "-o"]);
        let mut running =
            Fsmon::spawn(command.arg(&pipe).arg(area.watched()).stdout(Stdio::null()));
        running
            .wait_said(&format!("fsmon: {} is a pipe that nobody reads; waiting", pipe.display()));
        running
    };
    for signal in [Signal::SIGTERM, Signal::SIGINT] {
        let running = start();
        running.signal(signal);
        let ended = running.wait();
        assert_eq!(ended.status.code(), Some(0), "{ended:?}");
        assert!(ended.last_words().contains("before it was ready"), "{ended:?}");
    }
    // Errors of other things are told at once, not once a reader has come.
    let missing = area.path("no/such/stats");
    let mut command = fsmon(["-o"]);
    let ended = Fsmon::run(command.arg(&pipe).arg("--stats").arg(missing).arg(area.watched()));
    ended.assert_failed(1, &["no/such/stats"]);
    let mut running = start();
    let path = pipe.clone();
    let reader = thread::spawn(move || fs::read(path).expect("read"));
    running.wait_said("fsmon: ready");
    sh(&area.watched(), "touch a");
    running.stop().assert_complete();
    assert_eq!(parse(&reader.join().expect("read")).len(), 1);
}

#[test]
fn a_reader_that_leaves_ends_it_unless_another_has_come() {
    if !is_root() {
        return;
    }
    let area = Area::new();
    let pipe = fifo(&area);
    let path = pipe.clone();
    let open = thread::spawn(move || BufReader::new(File::open(path).expect("opened")));
    let running =
        Fsmon::start(fsmon(["-f", "json", "-t", "create", "-o"]).arg(&pipe).arg(area.watched()));
    let mut first = open.join().expect("opened");
    let mut line = String::new();
    sh(&area.watched(), "touch a");
    first.read_line(&mut line).expect("a line");
    let mut second = BufReader::new(File::open(&pipe).expect("opened"));
    drop(first);
    sh(&area.watched(), "touch b");
    line.clear();
    second.read_line(&mut line).expect("a line");
    assert!(line.contains("/b\""), "{line}");
    drop(second);
    let ended = running.change_until_it_ends(&area.watched());
    assert_eq!(ended.status.code(), Some(0), "{ended:?}");
    let last = ended.last_words();
    assert!(last.contains("NOT complete: ") && last.contains("not written"), "{ended:?}");
}

#[test]
fn the_process_substitution_of_a_shell() {
    if !is_root_with(&["bash"]) {
        return;
    }
    let area = Area::new();
    let out = area.path("out");
    let script = r#"exec "$0" -f json -t create -o >(cat >"$1") "$2""#;
    let mut command = Command::new("bash");
    command.args(["-c", script]).arg(program()).arg(&out).arg(area.watched());
    let running = Fsmon::start(&mut command);
    sh(&area.watched(), "touch a");
    running.stop().assert_complete();
    wait_until("cat has written it", || fs::read(&out).is_ok_and(|text| parse(&text).len() == 1));
}

#[test]
fn standard_output_by_its_name_is_standard_output() {
    if !is_root() {
        return;
    }
    let area = Area::new();
    let (out, dir) = (area.path("out"), area.watched());
    fs::write(&out, "before\n").expect("written");
    let file = File::options().append(true).open(&out).expect("opened");
    let mut command = fsmon(["-f", "json", "-t", "create", "-o", "/dev/stdout"]);
    let running = Fsmon::start_with(command.arg(&dir), file.into());
    sh(&dir, "touch a");
    running.stop().assert_complete();
    let mut text = String::new();
    File::open(&out).and_then(|mut file| file.read_to_string(&mut text)).expect("read");
    assert!(text.starts_with("before\n{"), "{text}");
}

#[test]
fn what_is_no_output_is_refused_and_nothing_is_emptied() {
    if !is_root_with(&["mknod"]) {
        return;
    }
    let area = Area::new();
    let dir = area.watched();
    // A disk that is never opened.
    let made = Command::new("mknod").arg(area.path("disk")).args(["b", "7", "255"]).status();
    if !made.expect("started").success() {
        return fsmon_harness::skip("device nodes cannot be made");
    }
    let socket = std::os::unix::net::UnixListener::bind(area.path("socket")).expect("bound");
    for (name, word) in [("disk", "disk"), ("socket", "socket")] {
        let ended = Fsmon::run(fsmon(["-o"]).arg(area.path(name)).arg(&dir));
        ended.assert_failed(1, &[name, word]);
        assert_eq!(ended.stderr.len(), 1, "{ended:?}");
    }
    drop(socket);
    // Set-up that fails late: another fsmon has the file of the counters.
    let (out, stats) = (area.path("precious"), area.path("stats"));
    fs::write(&out, "precious").expect("written");
    let other = Fsmon::start(fsmon(["-f", "json", "--stats"]).arg(&stats).arg(&dir));
    let ended = Fsmon::run(fsmon(["-o"]).arg(&out).arg("--stats").arg(&stats).arg(&dir));
    ended.assert_failed(1, &["stats", "another fsmon"]);
    assert_eq!(fs::read(&out).expect("read"), b"precious");
    other.stop().assert_complete();
}

#[test]
fn decode_reads_a_pipe_and_a_signal_ends_its_waiting() {
    if !is_root() {
        return;
    }
    let area = Area::new();
    let (pipe, stream) = (fifo(&area), area.path("stream"));
    let running = Fsmon::start(
        fsmon(["-f", "binary", "-t", "create", "-o"]).arg(&stream).arg(area.watched()),
    );
    sh(&area.watched(), "touch a");
    running.stop().assert_complete();
    let decode = || {
        let mut command = fsmon(["decode", "-f", "json"]);
        Fsmon::spawn(command.arg(&pipe).stdout(Stdio::null()))
    };
    let waiting = decode();
    let call = format!("/proc/{}/wchan", waiting.pid());
    // In open(2) for somebody who writes: fifo(7). As the kernel calls it.
    let is_waiting = |call: String| call == "wait_for_partner";
    wait_until("it waits", || fs::read_to_string(&call).is_ok_and(is_waiting));
    waiting.signal(Signal::SIGTERM);
    assert_eq!(waiting.wait().status.signal(), Some(Signal::SIGTERM as i32));
    let reading = decode();
    fs::write(&pipe, fs::read(&stream).expect("read")).expect("it reads");
    let ended = reading.wait();
    assert!(ended.status.success() && ended.stderr.is_empty(), "{ended:?}");
}

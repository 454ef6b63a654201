//! A disk, a quota or a file that is full: an error, the counts of what is missing, and an output that ends
//! at a whole line or block.

use fsmon_harness::{Area, Fsmon, fsmon, is_root_with, parse, program, read_stats, sh};
use std::fs::{self, File};
use std::path::Path;
use std::process::{Command, Stdio};

/// Enough to fill some hundred KiB in each format.
fn churn(dir: &Path) {
    for i in 0..6000 {
        let made = dir.join(format!("a-file-with-a-rather-long-name-{i}"));
        fs::write(&made, "x").expect("made");
        fs::remove_file(&made).expect("removed");
    }
}

/// The number before these words.
#[track_caller]
fn counted(line: &str, words: &str) -> u64 {
    let before = line.split(words).next().expect("a part");
    let number = before.rsplit([' ', ',']).find(|word| !word.is_empty()).expect("a word");
    number.parse().unwrap_or_else(|_| panic!("no number before {words:?}: {line}"))
}

#[test]
fn the_output_ends_at_a_whole_line_or_block() {
    if !is_root_with(&["mount", "prlimit"]) {
        return;
    }
    let mut area = Area::new();
    let small = area.tmpfs("small", "size=256k");
    let dir = area.watched();
    for format in ["json", "csv", "human", "binary"] {
        for limit in ["disk", "file"] {
            let out = match limit {
                "disk" => small.join(format),
                _ => area.path(format),
            };
            let mut command = match limit {
                "disk" => fsmon([] as [&str; 0]),
                _ => {
                    // An odd one, within a line or block.
                    let mut command = Command::new("prlimit");
                    command.arg("--fsize=200001").arg(program());
                    command
                }
            };
            let stats = area.path("stats");
            command.args(["-f", format, "-o"]).arg(&out).arg("--stats").arg(&stats).arg(&dir);
            let running = Fsmon::start(&mut command);
            churn(&dir);
            let ended = running.wait();
            let errors = if limit == "disk" { "No space left" } else { "File too large" };
            ended.assert_failed(1, &[errors, "make room"]);
            let [.., summary, _] = &ended.stderr[..] else { panic!("{:?}", ended.stderr) };
            assert!(summary.contains("; NOT complete: "), "{format}: {summary}");
            let stats = read_stats(&stats);
            let number = |key: &str| stats[key].as_u64().unwrap_or(0);
            assert_eq!((&stats["complete"], number("failures")), (&false.into(), 1));
            assert_eq!(counted(summary, " event"), number("events"), "{summary}");
            let written = number("events") - number("events_unwritten");
            assert_eq!(fs::metadata(&out).expect("there").len(), number("bytes_out"));
            assert_eq!(lines_in(&out, format), written, "{format} {limit}: {summary}");
            fs::remove_file(&out).expect("removed");
        }
    }
}

/// Whole lines; the rest is none.
#[track_caller]
fn lines_in(out: &Path, format: &str) -> u64 {
    let text = match format {
        "binary" => {
            let output = fsmon(["decode", "-f", "json"]).arg(out).output().expect("started");
            let said = String::from_utf8_lossy(&output.stderr).into_owned();
            assert!(said.contains("without an end record"), "{said}");
            output.stdout
        }
        _ => fs::read(out).expect("read"),
    };
    assert!(text.ends_with(b"\n"), "{format}: half a line at the end");
    if matches!(format, "json" | "binary") {
        return parse(&text).len() as u64;
    }
    let lines = text.iter().filter(|byte| **byte == b'\n').count() as u64;
    lines - u64::from(format == "csv")
}

#[test]
fn counters_that_find_no_room() {
    if !is_root_with(&["mount"]) {
        return;
    }
    let area = Area::new();
    let mut command = fsmon(["-f", "json", "-t", "create", "--stats", "/dev/full"]);
    let running = Fsmon::start(command.arg(area.watched()));
    sh(&area.watched(), "touch a");
    let ended = running.stop();
    ended.assert_failed(1, &["cannot write the counters to /dev/full", "No space left"]);
    assert!(ended.stderr.iter().any(|line| line.contains("1 event (")), "{:?}", ended.stderr);
}

#[test]
fn every_command_says_that_it_could_not_write() {
    if !is_root_with(&["mount", "prlimit"]) {
        return;
    }
    let mut area = Area::new();
    let (dir, stream) = (area.watched(), area.path("stream"));
    let running = Fsmon::start(fsmon(["-f", "binary", "-o"]).arg(&stream).arg(&dir));
    churn(&dir);
    running.stop().assert_complete();
    let full = || Stdio::from(File::options().write(true).open("/dev/full").expect("there"));
    for format in ["human", "json", "csv"] {
        let mut command = fsmon(["decode", "-f", format]);
        let output = command.arg(&stream).stdout(full()).output().expect("started");
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(1), "{said}");
        assert!(said.contains("No space left") && said.lines().count() == 1, "{said}");
    }
    for args in
        [&["--help"][..], &["--version"], &["doctor"], &["generate", "man"], &["decode", "--help"]]
    {
        let output = fsmon(args).stdout(full()).stderr(Stdio::piped()).output().expect("started");
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(1), "{args:?}: {said}");
        assert!(said.contains("No space left"), "{args:?}: {said}");
    }
    // With a limit on the length of files: an error, not a death.
    let out = area.path("limited");
    let mut command = Command::new("prlimit");
    command.arg("--fsize=50001").arg(program()).args(["decode", "-f", "json"]).arg(&stream);
    let output = command.stdout(File::create(&out).expect("made")).output().expect("started");
    assert_eq!(output.status.code(), Some(1), "{}", output.status);
    assert!(lines_in(&out, "json") > 100);
    // To a file on a small disk: up to a whole line.
    let small = area.tmpfs("small", "size=64k");
    for format in ["human", "json", "csv"] {
        let out = small.join("out");
        let file = File::create(&out).expect("made");
        let output = fsmon(["decode", "-f", format]).arg(&stream).stdout(file).output();
        assert_eq!(output.expect("started").status.code(), Some(1));
        assert!(lines_in(&out, format) > 100, "{format}");
        fs::remove_file(&out).expect("removed");
    }
}

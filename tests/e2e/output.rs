//! Where the lines go: its own output, files that fill up or vanish, readers that stall.

use fsmon_harness::{Area, Fsmon, briefs, fsmon, is_root, is_root_with, parse, sh, wait_until};
use std::fs;
use std::io::Read;
use std::path::Path;
use std::time::Duration;

fn churn(dir: &Path, count: u32) {
    for i in 0..count {
        let (made, moved) = (dir.join(format!("{i}.tmp")), dir.join(i.to_string()));
        fs::write(&made, "x").expect("made");
        fs::rename(&made, &moved).expect("renamed");
        fs::remove_file(&moved).expect("removed");
    }
}

#[test]
fn its_own_output_in_the_watched_tree_is_never_reported() {
    if !is_root() {
        return;
    }
    let area = Area::new();
    let dir = area.watched();
    for format in ["json", "csv", "human", "binary"] {
        let (out, stats) = (dir.join("out"), dir.join("stats"));
        let mut command = fsmon(["-f", format, "-t", "all"]);
        let running =
            Fsmon::start(command.arg("-o").arg(&out).arg("--stats").arg(&stats).arg(&dir));
        sh(&dir, "touch a; rm a");
        wait_until("the first output", || {
            fs::metadata(&out).is_ok_and(|metadata| metadata.len() > 0)
        });
        sh(&dir, "touch b; rm b");
        running.stop().assert_complete();
        let text = if format == "binary" {
            fsmon_harness::succeed(fsmon(["decode", "-f", "json"]).arg(&out)).stdout
        } else {
            fs::read(&out).expect("read")
        };
        let text = String::from_utf8_lossy(&text);
        assert!(text.contains("/b"), "{text}");
        assert!(!text.contains("/out") && !text.contains("/stats"), "{format}: {text}");
    }
}

#[test]
fn an_output_file_is_truncated_and_complete() {
    if !is_root() {
        return;
    }
    let area = Area::new();
    let out = area.path("out");
    fs::write(&out, "old ".repeat(100_000)).expect("written");
    let mut command = fsmon(["-f", "json", "-t", "create"]);
    let running = Fsmon::start(command.arg("-o").arg(&out).arg(area.watched()));
    sh(&area.watched(), "touch a b");
    let ended = running.stop();
    ended.assert_complete();
    assert!(ended.stdout.is_empty());
    let events = parse(&fs::read(&out).expect("read"));
    assert_eq!(briefs(&events, &area.watched()), ["CREATE a", "CREATE b"]);
}

#[test]
fn a_full_disk() {
    if !is_root_with(&["mount"]) {
        return;
    }
    let mut area = Area::new();
    let small = area.tmpfs("small", "size=64k");
    for format in ["json", "binary"] {
        let mut command = fsmon(["-f", format, "-o"]);
        let running = Fsmon::start(command.arg(small.join(format)).arg(area.watched()));
        churn(&area.watched(), 5000);
        running.wait().assert_failed(1, &["small", "No space left", "make room"]);
        sh(&small, "rm *");
    }
}

#[test]
fn an_output_file_that_vanishes() {
    if !is_root() {
        return;
    }
    let area = Area::new();
    let out = area.path("out");
    let running = Fsmon::start(fsmon(["-f", "json", "-o"]).arg(&out).arg(area.watched()));
    churn(&area.watched(), 10);
    fs::remove_file(&out).expect("removed");
    churn(&area.watched(), 10);
    running.wait().assert_failed(1, &["out", "removed"]);
}

#[test]
fn a_reader_that_stalls_loses_nothing() {
    if !is_root() {
        return;
    }
    let area = Area::new();
    let dir = area.watched();
    let types = "create,delete,rename";
    // Far more than pipe, buffers and ring hold together.
    let count = 60_000;
    let (running, mut stdout) = Fsmon::start_unread(fsmon(["-f", "json", "-t", types]).arg(&dir));
    churn(&dir, count);
    // For how long nobody reads is what is tested.
    std::thread::sleep(Duration::from_secs(1));
    let last = std::thread::spawn(move || {
        let mut all = Vec::new();
        stdout.read_to_end(&mut all).expect("read");
        all
    });
    // Processes that came and went while nothing was taken are known as well.
    sh(&dir, "touch at-the-end");
    let ended = running.stop();
    ended.assert_complete();
    let events = parse(&last.join().expect("read"));
    assert_eq!(events.len(), 3 * count as usize + 1);
    let own = u64::from(std::process::id());
    let (end, churned) = events.split_last().expect("some");
    assert!(churned.iter().all(|event| event.number("pid") == Some(own)));
    assert_eq!((end.name().as_str(), end.text("cmd")), ("at-the-end", Some("touch")));
    let names: Vec<_> = churned
        .iter()
        .filter(|event| event.kind() == "CREATE")
        .map(fsmon_harness::Event::name)
        .collect();
    let expected: Vec<_> = (0..count).map(|i| format!("{i}.tmp")).collect();
    assert!(names == expected, "each once, in order");
}

#[test]
fn short_lived_processes_while_the_reader_stalls() {
    if !is_root() {
        return;
    }
    let area = Area::new();
    let dir = area.watched();
    let (running, mut stdout) =
        Fsmon::start_unread(fsmon(["-f", "json", "-t", "create"]).arg(&dir));
    churn(&dir, 30_000);
    sh(&dir, "for i in $(seq 300); do touch touch-$i; cp /dev/null cp-$i; done");
    let reader = std::thread::spawn(move || {
        let mut all = Vec::new();
        stdout.read_to_end(&mut all).expect("read");
        all
    });
    running.stop().assert_complete();
    let events = parse(&reader.join().expect("read"));
    let of = |cmd: &str| -> Vec<_> {
        let names = events.iter().filter(|event| event.name().starts_with(&format!("{cmd}-")));
        names.map(|event| event.text("cmd").unwrap_or("?").to_owned()).collect()
    };
    assert_eq!(of("touch"), vec!["touch"; 300]);
    assert_eq!(of("cp"), vec!["cp"; 300]);
}

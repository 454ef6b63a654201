//! Whether the record is complete: the last line, `--stats` and the stream say the same.

use fsmon_harness::{Area, Fsmon, fsmon, is_root, read_stats, sh, succeed};
use std::fs;

#[test]
fn all_three_say_the_same() {
    if !is_root() {
        return;
    }
    for is_complete in [true, false] {
        let area = Area::new();
        let (dir, out, stats) = (area.watched(), area.path("out"), area.path("stats"));
        sh(&dir, "mkdir -p a/b c/d e/f");
        let most = if is_complete { "1000" } else { "3" };
        let mut command = fsmon(["-f", "binary", "--max-dirs", most, "-o"]);
        let running = Fsmon::start(command.arg(&out).arg("--stats").arg(&stats).arg(&dir));
        sh(&dir, "touch x");
        let ended = running.stop();
        assert!(ended.status.success(), "{ended:?}");
        let last = ended.last_words();
        let decoded = succeed(fsmon(["decode", "-f", "json"]).arg(&out));
        let said = String::from_utf8_lossy(&decoded.stderr).into_owned();
        let object = read_stats(&stats);
        assert_eq!(object["complete"], is_complete);
        assert_eq!(last.ends_with("; complete"), is_complete, "{last}");
        assert_eq!(said.contains("NOT complete"), !is_complete, "{said}");
        if is_complete {
            assert!(said.is_empty(), "{said}");
            assert_eq!(object.get("dirs_refused"), None, "{object}");
        } else {
            let refused = object["dirs_refused"].as_u64().expect("a number");
            assert!(
                refused > 0 && last.contains(&format!("{refused} director")),
                "{last}: {object}"
            );
        }
    }
}

#[test]
fn a_reader_that_has_gone_leaves_the_record_incomplete() {
    if !is_root() {
        return;
    }
    let area = Area::new();
    let stats = area.path("stats");
    let mut command = fsmon(["-f", "json", "-t", "create", "--stats"]);
    let (running, stdout) = Fsmon::start_unread(command.arg(&stats).arg(area.watched()));
    drop(stdout);
    sh(&area.watched(), "touch a b c");
    let ended = running.wait();
    assert_eq!(ended.status.code(), Some(0), "{ended:?}");
    let object = read_stats(&stats);
    let unwritten = object["events_unwritten"].as_u64().expect("a number");
    assert_eq!((&object["complete"], &object["events"]), (&false.into(), &unwritten.into()));
    assert!(unwritten > 0 && ended.last_words().contains("NOT complete"), "{ended:?}");
    assert_eq!(fs::read_to_string(&stats).expect("read").lines().count(), 1);
}

//! `fsmon query` with the daemon on real files: the same lines as `decode`, by path, over restarts, with cursors.

use crate::daemon::{Daemon, watch};
use fsmon_harness::{Area, Ended, Fsmon, fsmon, is_root, sh, wait_until};
use serde_json::Value;
use std::fs;
use std::path::PathBuf;

struct Case {
    area: Area,
    daemon: Daemon,
    dir: PathBuf,
}

impl Case {
    fn new() -> Case {
        let area = Area::new();
        let dir = area.watched();
        let mut daemon = Daemon::new(&area, &watch(&dir));
        daemon.start();
        Case { area, daemon, dir }
    }

    fn sh(&self, script: &str) {
        sh(&self.dir, script);
    }

    fn at(&self, name: &str) -> String {
        self.dir.join(name).display().to_string()
    }

    fn history(&self) -> String {
        self.area.path("history").display().to_string()
    }

    fn query(&self, args: &[&str]) -> Ended {
        let history = self.history();
        let fixed = ["query", "-f", "json", "--history", &history];
        self.daemon.client(&[&fixed[..], args].concat())
    }

    fn lines(&self, args: &[&str], status: i32) -> Vec<Value> {
        let ended = self.query(args);
        assert_eq!(ended.status.code(), Some(status), "{args:?}: {:?}", ended.stderr);
        lines(&ended.stdout)
    }

    /// The lines of `decode` whose path, or old path, is one of these or below it.
    fn decoded(&self, names: &[&str]) -> Vec<Value> {
        let mut command = fsmon(["decode", "-f", "json"]);
        let ended = Fsmon::run(command.arg(self.history()));
        let paths: Vec<_> = names.iter().map(|name| self.at(name)).collect();
        let is_meant = |line: &Value| {
            ["path", "old_path"].iter().filter_map(|key| line[key].as_str()).any(|path| {
                paths.iter().any(|at| path == at || path.starts_with(&format!("{at}/")))
            })
        };
        lines(&ended.stdout).into_iter().filter(is_meant).collect()
    }
}

fn lines(text: &[u8]) -> Vec<Value> {
    let text = std::str::from_utf8(text).expect("UTF-8");
    text.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect()
}

/// Lines without what says how the record is.
fn of_files(lines: Vec<Value>) -> Vec<Value> {
    let is_event = |line: &Value| {
        !["GAP", "LOSS", "NOTE"].contains(&line["event_type"].as_str().unwrap_or_default())
    };
    lines.into_iter().filter(is_event).collect()
}

const STORM: &str = "for i in 1 2 3 4 5 6 7 8 9; do mkdir -p d$i/e; echo $i >d$i/e/f; cp d$i/e/f d$i/g; mv d$i/g g$i; \
                     mv d$i/e x$i; rm g$i; done";

#[test]
fn a_query_has_the_lines_of_decode_with_and_without_indexes() {
    if !is_root() {
        return;
    }
    let mut case = Case::new();
    case.sh(STORM);
    case.sh("mkdir many; i=0; while [ $i -lt 2000 ]; do echo $i >many/f$i; i=$((i + 1)); done");
    case.daemon.stop();
    case.daemon.start();
    case.sh("rm -r x1 x2; echo new >d3/n; mv many/f7 f7");
    case.daemon.ask(&["sync"]);
    let asked: [&[&str]; 7] =
        [&["x1"], &["d3"], &["g5"], &["many/f7"], &["f7", "d9"], &["many"], &["x1/f"]];
    let check = || {
        for names in asked {
            let paths: Vec<_> = names.iter().map(|name| case.at(name)).collect();
            let paths: Vec<_> = paths.iter().map(String::as_str).collect();
            // The daemon was stopped: there is a GAP.
            let found = of_files(case.lines(&paths, 4));
            assert_eq!(found, case.decoded(names), "{names:?}");
            assert!(!found.is_empty(), "{names:?}");
        }
    };
    check();
    for entry in fs::read_dir(case.history()).expect("listed").flatten() {
        let path = entry.path();
        if path.extension().is_some_and(|extension| extension == "idx" || extension == "part") {
            fs::remove_file(path).expect("removed");
        }
    }
    check();
}

#[test]
fn the_exit_status_says_whether_something_was_found() {
    if !is_root() {
        return;
    }
    let case = Case::new();
    case.sh("echo x >a; rm a");
    assert_eq!(case.lines(&["-t", "delete", &case.at("a")], 0).len(), 1);
    assert!(case.lines(&[&case.at("b")], 3).is_empty());
    // Never watched.
    assert!(case.lines(&["/nowhere/x"], 4).is_empty());
    assert_eq!(case.lines(&["--limit", "1", &case.at("a")], 0).len(), 1);
    assert_eq!(case.query(&["--after", "nonsense"]).status.code(), Some(2));
}

#[test]
fn a_cursor_goes_on_over_restarts() {
    if !is_root() {
        return;
    }
    let mut case = Case::new();
    let file = case.area.path("seen").display().to_string();
    let next = |case: &Case, status| of_files(case.lines(&["--cursor-file", &file], status));
    case.sh("echo x >a");
    let first = next(&case, 0);
    assert!(!first.is_empty());
    assert!(next(&case, 3).is_empty());
    case.sh("echo x >b");
    let paths = |lines: &[Value]| -> Vec<String> {
        lines.iter().map(|line| line["path"].as_str().unwrap_or_default().to_owned()).collect()
    };
    let second = next(&case, 0);
    assert!(!second.is_empty() && paths(&second).iter().all(|path| *path == case.at("b")));
    case.daemon.stop();
    case.daemon.start();
    case.sh("echo x >c");
    let third = next(&case, 4);
    assert!(!third.is_empty() && paths(&third).iter().all(|path| *path == case.at("c")));
    // Each line's cursor leads to the one behind it.
    let all = of_files(case.lines(&["--cursors"], 4));
    for (at, line) in all.iter().enumerate() {
        let cursor = line["cursor"].as_str().expect("a cursor");
        let ended = case.query(&["--cursors", "--after", cursor]);
        assert_eq!(of_files(lines(&ended.stdout)), all[at + 1..], "{at}");
    }
}

#[test]
fn what_is_followed_comes_as_it_happens() {
    if !is_root() {
        return;
    }
    let case = Case::new();
    case.sh("echo x >before");
    let mut command = fsmon(["query", "-f", "json", "--follow", "--history"]);
    let out = case.area.path("out");
    let mut following = command
        .arg(case.history())
        .stdout(fs::File::create(&out).expect("made"))
        .spawn()
        .expect("started");
    let has = |name: &str| {
        let text = fs::read_to_string(&out).unwrap_or_default();
        text.contains(&format!("{}\"", case.at(name)))
    };
    wait_until("the first line", || has("before"));
    case.sh("echo x >after");
    wait_until("the next line", || has("after"));
    let pid = following.id();
    case.sh(&format!("kill -INT {pid}"));
    assert_eq!(following.wait().expect("waited").code(), Some(0));
}

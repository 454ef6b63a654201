//! What is shown of what happens: paths, commands, users, processes; and who it was.

use fsmon_harness::{
    Area, Event, Fsmon, briefs, fsmon, is_root, is_root_with, record, record_with, sh, succeed,
    wait_until,
};
use std::fs;
use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};

fn creates(dir: &Path, args: &[&str], action: impl FnOnce()) -> Vec<String> {
    let args = [&["-t", "create"], args].concat();
    briefs(&record(dir, &args, action), dir)
}

/// To the second, as the lines have it.
fn utc_now() -> String {
    let date = succeed(Command::new("date").args(["-u", "+%Y-%m-%dT%H:%M:%S"])).stdout;
    String::from_utf8_lossy(&date).trim().to_owned()
}

#[test]
fn include_shows_only_what_matches() {
    if !is_root() {
        return;
    }
    let area = Area::new();
    let dir = area.watched();
    let lines = creates(&dir, &["--include", "*.o", "--include", "src/*.rs"], || {
        sh(&dir, "mkdir -p src/deep; touch a.o a.c src/a.rs src/deep/b.rs src/deep/c.o");
    });
    assert_eq!(lines, ["CREATE a.o", "CREATE src/a.rs", "CREATE src/deep/c.o"]);
}

#[test]
fn exclude_cuts_a_directory_with_all_that_is_below_it() {
    if !is_root() {
        return;
    }
    let area = Area::new();
    let dir = area.watched();
    sh(&dir, "mkdir -p target/debug");
    let lines = creates(&dir, &["--exclude", "target", "--exclude", "*.tmp"], || {
        sh(
            &dir,
            "touch target/a target/debug/b kept x.tmp; mkdir -p sub/target/deep; touch sub/target/deep/c sub/d",
        );
    });
    assert_eq!(lines, ["CREATE kept", "CREATE sub/", "CREATE sub/d"]);
}

#[test]
fn a_directory_that_is_renamed_out_of_the_exclusion_is_watched() {
    if !is_root() {
        return;
    }
    let area = Area::new();
    let dir = area.watched();
    sh(&dir, "mkdir -p target/debug");
    let events = record_with(&dir, &["-t", "create", "--exclude", "target"], |running| {
        sh(&dir, "mv target kept");
        running.wait_lines(&dir, &["CREATE kept/debug/ (found)"]);
        sh(&dir, "touch kept/debug/a; mv kept target; touch target/debug/b");
    });
    let lines = briefs(&events, &dir);
    assert!(lines.contains(&"CREATE kept/debug/a".into()), "{lines:#?}");
    assert!(!lines.iter().any(|line| line.ends_with("/b")), "{lines:#?}");
}

/// Makes what patterns choose from.
const PLACES: &str = "mkdir -p b/out sub/out; touch b/out/1 sub/out/2 3";

#[test]
fn a_pattern_with_the_path_of_its_root_is_meant_from_there_on() {
    if !is_root() {
        return;
    }
    let area = Area::new();
    let (dir, other) = (area.watched(), area.dir("other"));
    let link = area.path("link");
    std::os::unix::fs::symlink(&dir, &link).expect("made");
    let stream = area.path("stream");
    let mut command = fsmon(["-f", "binary", "-t", "create", "-o"]);
    let recorder = Fsmon::start(command.arg(&stream).args([&dir, &other]));
    let at = |root: &Path, name: &str| root.join(name).to_string_lossy().into_owned();
    let cases = [
        (
            ["--exclude".into(), at(&dir, "b/out")],
            &["3", "sub/out/2", "other/b/out/1", "other/sub/out/2", "other/3"][..],
        ),
        (
            ["--exclude".into(), at(&link, "b/out/")],
            &["3", "sub/out/2", "other/b/out/1", "other/sub/out/2", "other/3"],
        ),
        (["--exclude".into(), "./b".into()], &["3", "sub/out/2", "other/sub/out/2", "other/3"]),
        (["--include".into(), at(&dir, "*/out")], &["b/out/1", "sub/out/2"]),
        (["--include".into(), at(&other, "")], &["other/b/out/1", "other/sub/out/2", "other/3"]),
    ];
    let live = cases.iter().map(|(args, _)| {
        Fsmon::start(fsmon(["-f", "json", "-t", "create"]).args(args).args([&dir, &other]))
    });
    let live: Vec<_> = live.collect();
    [&dir, &other].map(|dir| sh(dir, PLACES)).iter().for_each(drop);
    recorder.stop().assert_complete();
    let files = |events: Vec<Event>| {
        let files = events.iter().filter(|event| !event.flag("is_dir"));
        let name = |event: &Event| {
            let path = event.path().expect("each has one");
            let below = path.strip_prefix(&dir).or(path.strip_prefix(area.path("")));
            below.expect("in there").to_string_lossy().into_owned()
        };
        let mut files: Vec<_> = files.map(name).collect();
        files.sort();
        files
    };
    for ((args, expected), live) in cases.iter().zip(live) {
        let mut expected: Vec<_> = expected.to_vec();
        expected.sort_unstable();
        assert_eq!(files(live.stop().events()), expected, "{args:?}");
        let link_is_known = !args[1].contains("/link/");
        if link_is_known {
            let decoded = succeed(fsmon(["decode", "-f", "json"]).args(args).arg(&stream));
            assert_eq!(files(fsmon_harness::parse(&decoded.stdout)), expected, "decode {args:?}");
        }
    }
    // Watching knows that this cannot be meant below what is watched; a stream may be of another host, where
    // nothing is called so.
    let wrong = ["--include", "/usr/bin/env"];
    let ended = Fsmon::run(fsmon(wrong).args([&dir, &other]));
    ended.assert_failed(1, &["/usr/bin/env", "./usr/bin/env"]);
    let decoded = succeed(fsmon(["decode", "-f", "json"]).args(wrong).arg(&stream));
    assert_eq!(fsmon_harness::parse(&decoded.stdout), []);
}

#[test]
fn exclude_wins_over_include() {
    if !is_root() {
        return;
    }
    let area = Area::new();
    let dir = area.watched();
    let args = ["--include", "*.o", "--exclude", "skip*"];
    let lines = creates(&dir, &args, || sh(&dir, "touch a.o skip.o b.c"));
    assert_eq!(lines, ["CREATE a.o"]);
}

#[test]
fn commands_by_name() {
    if !is_root() {
        return;
    }
    let area = Area::new();
    let dir = area.watched();
    let work = || sh(&dir, "touch by-touch; : > by-sh; cp by-sh by-cp");
    assert_eq!(
        creates(&dir, &["--cmd", "t?uch", "--cmd", "cp"], work),
        ["CREATE by-touch", "CREATE by-cp"]
    );
    sh(&dir, "rm *");
    assert_eq!(creates(&dir, &["--exclude-cmd", "touch"], work), ["CREATE by-sh", "CREATE by-cp"]);
}

#[test]
fn users_by_name_and_by_number() {
    if !is_root_with(&["setpriv"]) {
        return;
    }
    let area = Area::new();
    let dir = area.watched();
    sh(&dir, "chmod 777 .");
    let work = || {
        sh(
            &dir,
            "touch by-root; setpriv --reuid 1 --clear-groups touch by-1; setpriv --reuid 65534 --clear-groups touch by-65534",
        );
        sh(&dir, "rm *");
    };
    assert_eq!(creates(&dir, &["--user", "65534"], work), ["CREATE by-65534"]);
    assert_eq!(creates(&dir, &["--user", "root"], work), ["CREATE by-root"]);
    assert_eq!(
        creates(&dir, &["--user", "root", "--user", "1"], work),
        ["CREATE by-root", "CREATE by-1"]
    );
}

#[test]
fn a_process_and_all_its_descendants() {
    if !is_root() {
        return;
    }
    let area = Area::new();
    let dir = area.watched();
    // A shell that waits for its orders; what it starts is below it.
    let mut shell = Command::new("/bin/sh");
    let mut shell = shell.current_dir(&dir).stdin(Stdio::piped()).spawn().expect("started");
    let pid = shell.id().to_string();
    let lines = creates(&dir, &["--pid", &pid], || {
        sh(&dir, "touch by-another");
        // The orphan waits until the shell, its parent, is gone.
        let mut orders = shell.stdin.take().expect("asked for");
        let of_orphan = "(while kill -0 $$; do :; done; touch orphan) 2>/dev/null &\n";
        let orders_of_all =
            ": > itself; sh -c 'sh -c \"touch grandchild; :\"; :'; ".to_owned() + of_orphan;
        orders.write_all(orders_of_all.as_bytes()).expect("written");
        drop(orders);
        shell.wait().expect("a child");
        wait_until("the orphan has made its file", || dir.join("orphan").exists());
    });
    assert_eq!(lines, ["CREATE itself", "CREATE grandchild", "CREATE orphan"]);
}

#[test]
fn every_field_of_the_process() {
    if !is_root_with(&["setpriv"]) {
        return;
    }
    let area = Area::new();
    let dir = area.watched();
    sh(&dir, "chmod 777 .");
    let (mut pid, before) = (0, utc_now());
    let events = record(&dir, &["-t", "create"], || {
        let mut command = Command::new("setpriv");
        command.args(["--reuid", "65534", "--regid", "65533", "--clear-groups", "touch", "file"]);
        let mut child = command.current_dir(&dir).spawn().expect("started");
        pid = child.id();
        assert!(child.wait().expect("a child").success());
    });
    let [event] = &events[..] else { panic!("one event: {events:#?}") };
    assert_eq!(event.number("pid"), Some(pid.into()));
    assert_eq!(event.number("ppid"), Some(std::process::id().into()));
    assert_eq!(event.text("cmd"), Some("touch"));
    assert!(event.text("exe").is_some_and(|exe| exe.ends_with("touch")), "{event:?}");
    assert_eq!((event.number("uid"), event.number("gid")), (Some(65534), Some(65533)));
    let user = succeed(Command::new("id").args(["-nu", "65534"])).stdout;
    assert_eq!(event.text("user"), Some(String::from_utf8_lossy(&user).trim()));
    assert_eq!(event.text("attribution"), None, "{event:?}");
    let cgroup = fs::read_to_string("/proc/self/cgroup").expect("readable");
    if let Some(own) = cgroup.lines().find_map(|line| line.strip_prefix("0::")) {
        assert_eq!(event.text("cgroup"), Some(own));
    }
    let time = event.text("time").expect("a time");
    assert!(*before <= time[..19] && time[..19] <= *utc_now(), "{before} {time}");
    assert!(time.len() == "2026-01-02T03:04:05.123456789Z".len() && time.ends_with('Z'), "{time}");
}

#[test]
fn the_ancestry_of_a_process_whose_parents_are_gone() {
    if !is_root() {
        return;
    }
    let area = Area::new();
    let dir = area.watched();
    let events = record(&dir, &["--chain", "-t", "create"], || {
        sh(
            &dir,
            "sh -c 'touch direct; :'; (sh -c '(while kill -0 $$ 2>/dev/null; do :; done; touch late) & :'); :",
        );
        wait_until("the orphan has made its file", || dir.join("late").exists());
    });
    let chain = |event: &Event| -> Vec<(u64, String)> {
        let chain = event.0["chain"].as_array().expect("an array").iter();
        let part =
            |one: &serde_json::Value| Some((one["pid"].as_u64()?, one["cmd"].as_str()?.to_owned()));
        chain.map(|one| part(one).unwrap_or_else(|| panic!("pid and cmd: {one}"))).collect()
    };
    let direct = chain(&events[0]);
    assert_eq!(direct[0].0, events[0].number("ppid").expect("known"));
    assert_eq!([&*direct[0].1, &*direct[1].1], ["sh", "sh"], "{direct:?}");
    let own = u64::from(std::process::id());
    assert!(direct.iter().any(|(pid, _)| *pid == own), "the test itself is among {direct:?}");
    let late = chain(events.iter().find(|event| event.name() == "late").expect("it came"));
    assert!(late.iter().any(|(pid, _)| *pid == own), "also where parents are gone: {late:?}");
    let without = record(&dir, &["-t", "create"], || sh(&dir, "touch plain"));
    assert!(!without[0].0.contains_key("chain"));
}

#[test]
fn what_ran_before_the_watch_began_is_known() {
    if !is_root() {
        return;
    }
    let area = Area::new();
    let dir = area.watched();
    let mut shell = Command::new("/bin/sh");
    let mut shell = shell.current_dir(&dir).stdin(Stdio::piped()).spawn().expect("started");
    let events = record(&dir, &["-t", "create"], || {
        shell.stdin.take().expect("asked for").write_all(b": > file\n").expect("written");
        shell.wait().expect("a child");
    });
    assert_eq!(events[0].text("cmd"), Some("sh"));
    assert_eq!(events[0].number("pid"), Some(shell.id().into()));
    assert!(events[0].text("exe").is_some_and(|exe| exe.contains("sh")), "{:?}", events[0]);
    assert_eq!(events[0].number("uid"), Some(0));
}

#[test]
fn types_in_any_case_and_in_lists() {
    if !is_root() {
        return;
    }
    let area = Area::new();
    let dir = area.watched();
    let events = record(&dir, &["-t", "Create,dElEtE", "--types", "RENAME"], || {
        sh(&dir, "echo x > a; mv a b; rm b");
    });
    assert_eq!(briefs(&events, &dir), ["CREATE a", "RENAME a -> b", "DELETE b"]);
}

#[test]
fn the_current_directory_unless_another_is_named() {
    if !is_root() {
        return;
    }
    let area = Area::new();
    let dir = area.watched();
    let mut command = fsmon_harness::fsmon(["-f", "json", "-t", "create"]);
    let running = Fsmon::start(command.current_dir(&dir));
    sh(&dir, "touch a");
    assert_eq!(briefs(&running.stop().events(), &dir), ["CREATE a"]);
}

#[test]
fn nothing_deeper_than_asked_for_is_shown() {
    if !is_root() {
        return;
    }
    let area = Area::new();
    let dir = area.watched();
    sh(&dir, "mkdir -p a/b/c");
    let work = "touch x a/x a/b/x a/b/c/x; mkdir -p n/e/w; touch n/x n/e/x";
    let lines = creates(&dir, &["--max-depth", "2"], || sh(&dir, work));
    assert_eq!(lines, ["CREATE x", "CREATE a/x", "CREATE n/", "CREATE n/e/", "CREATE n/x"]);
    let lines =
        creates(&dir, &["--max-depth", "1"], || sh(&dir, "touch y a/y; mkdir m; touch m/y"));
    assert_eq!(lines, ["CREATE y", "CREATE m/"]);
}

#[test]
fn a_directory_that_moves_is_as_deep_as_where_it_is() {
    if !is_root() {
        return;
    }
    let area = Area::new();
    let dir = area.watched();
    sh(&dir, "mkdir -p a/b/c up");
    let args = ["-t", "create,rename", "--max-depth", "2"];
    let lines = briefs(
        &record(&dir, &args, || {
            sh(
                &dir,
                "mv a/b/c c; touch c/x; mkdir c/d; touch c/d/x; mv up a/b/up; touch a/b/up/x; mv c/d d; touch d/y",
            );
        }),
        &dir,
    );
    assert_eq!(
        lines,
        [
            "RENAME ?/ -> c/",
            "CREATE c/x",
            "CREATE c/d/",
            "RENAME up/ -> ?/",
            "RENAME c/d/ -> d/",
            "CREATE d/y"
        ]
    );
}

#[test]
fn a_root_within_another_has_a_depth_of_its_own() {
    if !is_root() {
        return;
    }
    let area = Area::new();
    let dir = area.watched();
    sh(&dir, "mkdir -p in/deep/er");
    for inner in ["in", "in/deep"] {
        let inner = dir.join(inner);
        let inner = inner.to_str().expect("UTF-8");
        let lines = creates(&dir, &["--max-depth", "1", inner], || {
            sh(&dir, "touch x in/x in/deep/x in/deep/er/x; rm -f x in/x in/deep/x in/deep/er/x");
        });
        let expected = if inner.ends_with("deep") { "CREATE in/deep/x" } else { "CREATE in/x" };
        assert_eq!(lines, ["CREATE x", expected], "{inner}");
    }
}

#[test]
fn a_file_of_another_size_is_left_out_and_what_has_no_size_is_not() {
    if !is_root() {
        return;
    }
    let area = Area::new();
    let dir = area.watched();
    for (name, bytes) in [("big", 4096), ("small", 10), ("watched/old", 4096)] {
        fs::write(area.path(name), vec![0; bytes]).expect("written");
    }
    let args = ["-t", "rename,create,delete", "--size", "<1K"];
    let events = record(&dir, &args, || {
        sh(&dir, "mv ../big ../small .; mkdir dir; ln -s big link; rm old");
    });
    let expected = ["RENAME ? -> small", "CREATE dir/", "CREATE link", "DELETE old"];
    assert_eq!(briefs(&events, &dir), expected);
    let sizes: Vec<_> = events.iter().map(|event| event.number("size")).collect();
    assert_eq!(sizes, [Some(10), None, None, None]);
    let is_late = |event: &Event| event.flag("size_late") == event.number("size").is_some();
    assert!(events.iter().all(is_late), "{events:?}");
}

//! Both ways of reading the kernel, and the options of the engine.

use fsmon_harness::{
    Area, Event, Fsmon, backends, briefs, fsmon, is_at_least, is_root, listing, read_stats, record,
    record_and_replay, repeats, sh,
};
use std::fs;

/// Makes that many files, and as many directories.
fn work(count: usize) -> String {
    let each = "mkdir -p d/$i; echo x > d/$i/f; mv d/$i/f d/g-$i";
    format!("for i in $(seq {count}); do {each}; done; rm -r d")
}

fn backend_of(ended: &fsmon_harness::Ended) -> &str {
    let ready = ended.stderr.iter().find(|line| line.starts_with("fsmon: ready"));
    let ready = ready.expect("it was ready");
    if ready.contains("io_uring") { "uring" } else { "poll" }
}

#[test]
fn every_backend_tells_the_same() {
    if !is_root() {
        return;
    }
    let area = Area::new();
    let (dir, count) = (area.watched(), repeats(100));
    let mut told = Vec::new();
    for backend in [backends(), &["auto"]].concat() {
        let running = Fsmon::watch(&dir, &["-t", "create,delete,rename", "--backend", backend]);
        let start = listing(&dir);
        sh(&dir, &work(count));
        let ended = running.stop();
        ended.assert_complete();
        if backend != "auto" {
            assert_eq!(backend_of(&ended), backend);
        }
        fsmon_harness::assert_follows(start, &ended.events(), &dir);
        let mut lines = briefs(&ended.events(), &dir);
        lines.sort();
        told.push(lines);
    }
    assert_eq!(told[0].len(), count * 3 + 1 + count * 2 + 1);
    assert!(told.iter().all(|lines| *lines == told[0]));
}

#[test]
fn every_rung_of_the_ladder_of_names() {
    if !is_root() {
        return;
    }
    let area = Area::new();
    let dir = area.watched();
    for who in ["bpf", "tracepoint", "comm", "connector", "proc"] {
        let running = Fsmon::watch(&dir, &["-t", "create", "--who", who]);
        // A process that lives on can be named by the lowest rung too.
        let own = dir.join("own");
        fs::write(&own, "x").expect("made");
        sh(&dir, "touch by-touch; :");
        let ended = running.stop();
        assert!(ended.status.success(), "{:?}", ended.stderr);
        let events = ended.events();
        assert_eq!(briefs(&events, &dir), ["CREATE own", "CREATE by-touch"], "{who}");
        let pid = u64::from(std::process::id());
        assert_eq!(events[0].number("pid"), Some(pid), "{who}");
        let touch = &events[1];
        // Named rightly, or said to be in doubt; never wrong in silence.
        let is_right = touch.text("cmd") == Some("touch");
        assert!(is_right || touch.text("attribution").is_some(), "{who}: {touch:?}");
        if matches!(who, "tracepoint" | "comm") {
            assert!(is_right && touch.text("attribution").is_none(), "{who}: {touch:?}");
        }
        sh(&dir, "rm *");
    }
}

#[test]
fn pinned_or_not() {
    if !is_root() {
        return;
    }
    let area = Area::new();
    for cpu in ["auto", "none", "0"] {
        let running = Fsmon::watch(&area.watched(), &["--cpu", cpu, "-t", "create,delete"]);
        let tasks = fs::read_dir(format!("/proc/{}/task", running.pid())).expect("it runs");
        let allowed = |task: fs::DirEntry| {
            let status = fs::read_to_string(task.path().join("status")).expect("readable");
            let line = status.lines().find(|line| line.starts_with("Cpus_allowed_list"));
            line.and_then(|line| line.split_whitespace().nth(1)).expect("a list").to_owned()
        };
        let lists: Vec<_> = tasks.map(|task| allowed(task.expect("a thread"))).collect();
        if cpu == "0" {
            assert!(lists.iter().any(|list| list == "0"), "{lists:?}");
        }
        if cpu == "none" {
            assert!(lists.iter().all(|list| *list == lists[0]), "{lists:?}");
        }
        sh(&area.watched(), "touch a; rm a");
        let ended = running.stop();
        ended.assert_complete();
        assert_eq!(ended.events().len(), 2);
    }
}

#[test]
fn every_batch_window() {
    if !is_root() {
        return;
    }
    let area = Area::new();
    let dir = area.watched();
    for backend in backends() {
        for window in ["1us", "100us", "4ms", "50ms", "1s"] {
            let args =
                ["-t", "create,delete,rename", "--backend", backend, "--batch-window", window];
            record_and_replay(&dir, &args, || {
                let each = "echo x > a; mv a b; rm b";
                sh(&dir, &format!("for i in $(seq {}); do {each}; done", repeats(50)));
            });
        }
    }
}

#[test]
fn no_process_message_is_lost_within_a_wide_window() {
    if !is_root() {
        return;
    }
    let area = Area::new();
    let (dir, processes) = (area.watched(), repeats(2500));
    for backend in backends() {
        let args = ["-t", "create", "--backend", backend, "--batch-window", "1s"];
        let events = record(&dir, &args, || {
            sh(&dir, &format!("for i in $(seq {processes}); do /bin/true; done; touch last"));
        });
        assert_eq!(briefs(&events, &dir), ["CREATE last"]);
        sh(&dir, "rm last");
    }
}

#[test]
fn more_directories_than_room() {
    if !is_root() {
        return;
    }
    let area = Area::new();
    let dir = area.watched();
    let running = Fsmon::watch(&dir, &["--max-dirs", "50", "-t", "create"]);
    sh(&dir, "for i in $(seq 100); do mkdir $i; echo x > $i/f; done; touch top");
    let ended = running.stop();
    assert!(ended.status.success(), "{:?}", ended.stderr);
    let events = ended.events();
    let losses: Vec<&Event> = events.iter().filter(|event| event.kind() == "LOSS").collect();
    assert!(losses.iter().any(|loss| loss.text("reason") == Some("max_dirs")), "{losses:?}");
    assert!(ended.last_words().contains("NOT complete"), "{:?}", ended.stderr);
    assert!(events.iter().any(|event| event.name() == "top"), "what fits is still told");
}

#[test]
fn more_processes_than_room() {
    if !is_root() {
        return;
    }
    let area = Area::new();
    let (dir, stats) = (area.watched(), area.path("stats"));
    // Enough of them, also where few are made.
    let count = repeats(1500).max(500);
    let args =
        ["--max-processes", "400", "-t", "create", "--stats", stats.to_str().expect("UTF-8")];
    let running = Fsmon::watch(&dir, &args);
    sh(&dir, &format!("for i in $(seq {count}); do touch $i; done"));
    let ended = running.stop();
    assert!(ended.status.success(), "{:?}", ended.stderr);
    let events = ended.events();
    let touched: Vec<_> = events.iter().filter(|event| event.kind() == "CREATE").collect();
    assert_eq!(touched.len(), count);
    // Never a wrong name in silence.
    for event in touched {
        let is_right = event.text("cmd") == Some("touch");
        assert!(is_right || event.text("attribution").is_some(), "{event:?}");
    }
    assert!(read_stats(&stats)["processes"].as_u64().is_some_and(|count| count <= 400));
}

#[test]
fn a_filesystem_of_each_sort() {
    if !fsmon_harness::is_root_with(&["mount", "mkfs.ext4"]) {
        return;
    }
    let mut area = Area::new();
    let mut dirs = vec![area.watched(), area.tmpfs("tmpfs", "size=64m")];
    for fs in ["ext4", "xfs", "btrfs"] {
        dirs.extend(area.image(fs));
    }
    sh(&area.path(""), "mkdir -p lower/d; echo x > lower/d/f");
    // Its own layers on a filesystem that can hold them.
    let scratch = area.tmpfs("scratch", "size=64m");
    match area.overlay("overlay", &area.path("lower"), &scratch, "redirect_dir=off") {
        None => {}
        // Handles that name but cannot be opened (AT_HANDLE_FID).
        Some(dir) if is_at_least(6, 5) => dirs.push(dir),
        Some(dir) => Fsmon::run(fsmon(["-t", "create"]).arg(dir))
            .assert_failed(1, &["overlay gives no file handles", "Linux 6.5"]),
    }
    for dir in dirs {
        record_and_replay(&dir, &["-t", "create,delete,rename,close_write"], || {
            sh(
                &dir,
                "mkdir -p a/b/c; echo x > a/b/c/f; mv a/b z; echo y > z/c/g; mv z a/y; rm -r a; mkdir e",
            );
        });
        let events = record(&dir, &["-t", "create"], || sh(&dir, "echo x > e/plain"));
        assert_eq!(briefs(&events, &dir), ["CREATE e/plain"]);
    }
}

#[test]
fn help_for_every_command() {
    for args in [&["--help"][..], &["-h"], &["decode", "--help"], &["doctor", "--help"]] {
        assert!(!fsmon_harness::succeed(&mut fsmon(args)).stdout.is_empty());
    }
}

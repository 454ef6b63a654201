//! `fsmon daemon` and its clients: what is recorded, what survives, and who may ask.

use fsmon_harness::{
    Area, Ended, Event, Fsmon, assert_follows, copy_program, fsmon, has_bpf, is_root, listing,
    own_mounts, parse, program, repeats, sh, succeed, wait_until,
};
use nix::sys::signal::Signal;
use serde_json::Value;
use std::fs;
use std::os::fd::AsRawFd;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// A configuration, and the daemon that runs with it.
pub(crate) struct Daemon {
    pub(crate) config: PathBuf,
    pub(crate) socket: PathBuf,
    pub(crate) history: PathBuf,
    pub(crate) running: Option<Fsmon>,
}

impl Daemon {
    /// Writes the configuration of an area; `text` is appended to it.
    pub(crate) fn new(area: &Area, text: &str) -> Daemon {
        Daemon::with_history(area, &area.path("history"), text)
    }

    pub(super) fn with_history(area: &Area, history: &Path, text: &str) -> Daemon {
        let daemon = Daemon {
            config: area.path("fsmon.toml"),
            socket: area.path("run/control.sock"),
            history: history.to_owned(),
            running: None,
        };
        daemon.configure(area, text);
        daemon
    }

    pub(crate) fn configure(&self, area: &Area, text: &str) {
        let (socket, history) = (self.socket.display(), self.history.display());
        let state = area.path("watches.toml").display().to_string();
        let own = format!(
            "history.dir = '{history}'\nstate.file = '{state}'\n\
             control = {{ socket = '{socket}', group = '' }}\n{text}"
        );
        fs::write(&self.config, own).expect("written");
    }

    pub(crate) fn start(&mut self) {
        let mut command = fsmon(["daemon", "--config"]);
        self.running = Some(Fsmon::start(command.arg(&self.config)));
    }

    pub(crate) fn running(&mut self) -> &mut Fsmon {
        self.running.as_mut().expect("it runs")
    }

    pub(crate) fn stop(&mut self) -> Ended {
        let ended = self.running.take().expect("it runs").stop();
        assert_eq!(ended.status.code(), Some(0), "{:?}", ended.stderr);
        ended
    }

    pub(crate) fn kill(&mut self) {
        let running = self.running.take().expect("it runs");
        running.signal(Signal::SIGKILL);
        running.wait();
    }

    /// Runs a client.
    pub(crate) fn client(&self, args: &[&str]) -> Ended {
        Fsmon::run(fsmon(args).env("FSMON_SOCKET", &self.socket))
    }

    /// The same; it must succeed. Gives what it printed.
    pub(crate) fn ask(&self, args: &[&str]) -> String {
        let ended = self.client(args);
        assert_eq!(ended.status.code(), Some(0), "{args:?}: {:?}", ended.stderr);
        String::from_utf8(ended.stdout).expect("UTF-8")
    }

    pub(crate) fn status(&self) -> Value {
        let ended = self.client(&["status", "-f", "json"]);
        serde_json::from_slice(&ended.stdout).expect("JSON")
    }

    /// What is in the history, as `decode` prints it with these arguments: strictly, so that damage fails.
    pub(crate) fn decoded(&self, args: &[&str]) -> Vec<Event> {
        let mut command = fsmon(["decode", "-f", "json"]);
        let ended = Fsmon::run(command.args(args).arg(&self.history));
        assert_eq!(ended.status.code(), Some(0), "{:?}", ended.stderr);
        parse(&ended.stdout)
    }
}

pub(crate) fn watch(path: &Path) -> String {
    format!("[[watch]]\npath = '{}'\n", path.display())
}

/// Lines of events, without what says how the record is.
pub(crate) fn of_files(events: Vec<Event>) -> Vec<Event> {
    events.into_iter().filter(|event| !matches!(event.kind(), "GAP" | "NOTE" | "LOSS")).collect()
}

/// Leaves nothing of a disk for the history. dd fails in the end: that is meant.
pub(super) fn fill(disk: &Path) {
    let _ = Command::new("dd")
        .args(["if=/dev/zero", "bs=4096", "oflag=append", "conv=notrunc"])
        .arg(format!("of={}", disk.join("full").display()))
        .stderr(Stdio::null())
        .status();
}

/// A small disk, and a history on it that may fill it.
fn on_a_small_disk(area: &mut Area) -> (PathBuf, Daemon) {
    let disk = area.mount("disk", &["-t", "tmpfs", "-o", "size=2M", "tmpfs"]);
    let watch = watch(&area.watched());
    let text = format!("history.keep = {{ size = '1G', free = '1K' }}\n{watch}");
    let daemon = Daemon::with_history(area, &disk.join("history"), &text);
    (disk, daemon)
}

/// The causes of the gaps.
pub(super) fn gaps(events: &[Event]) -> Vec<String> {
    let gaps = events.iter().filter(|event| event.kind() == "GAP");
    gaps.map(|gap| gap.text("cause").expect("a cause").to_owned()).collect()
}

#[test]
fn what_happened_before_a_sync_is_in_the_history() {
    if !is_root() {
        return;
    }
    let area = Area::new();
    let watched = area.watched();
    let mut daemon = Daemon::new(&area, &watch(&watched));
    daemon.start();
    assert_eq!(daemon.status()["history"]["segments"], 1);
    let start = listing(&watched);
    sh(&watched, "mkdir a; echo 1 > a/x; mv a b; rm b/x; echo 2 > b/y");
    assert!(daemon.ask(&["sync"]).starts_with("1-"));
    assert_follows(start, &of_files(daemon.decoded(&[])), &watched);
    let modified = daemon.decoded(&["-t", "modify"]);
    assert!(modified.iter().any(|event| event.path() == Some(watched.join("b/y"))), "{modified:?}");
    let status = daemon.status();
    assert_eq!(status["state"], "recording", "{status}");
    assert_eq!((&status["complete"], &status["lost"]), (&true.into(), &0.into()), "{status}");
    assert_eq!(status["watches"][0]["state"], "active", "{status}");
    daemon.stop();
    assert_eq!(gaps(&daemon.decoded(&[])), [""; 0]);
}

#[test]
fn each_start_says_since_when_nothing_was_recorded_and_why() {
    if !is_root() {
        return;
    }
    let area = Area::new();
    let watched = area.watched();
    let mut daemon = Daemon::new(&area, &watch(&watched));
    daemon.start();
    sh(&watched, "echo 1 > one");
    daemon.ask(&["sync"]);
    daemon.stop();
    daemon.start();
    sh(&watched, "echo 2 > two");
    daemon.ask(&["sync"]);
    daemon.kill();
    sh(&watched, "echo 3 > unseen");
    daemon.start();
    sh(&watched, "echo 4 > four");
    daemon.ask(&["sync"]);
    daemon.stop();
    let events = daemon.decoded(&["--notes"]);
    assert_eq!(gaps(&events), ["stopped", "killed"]);
    let created = events.iter().filter(|event| event.kind() == "CREATE");
    let names: Vec<_> = created.map(Event::name).collect();
    assert_eq!(names, ["one", "two", "four"]);
    for gap in events.iter().filter(|event| event.kind() == "GAP") {
        assert!(gap.text("from") < gap.text("to"), "{gap:?}");
        assert_eq!(gap.text("to"), gap.text("time"));
    }
    let begun = events.iter().filter(|event| event.text("what") == Some("watch_began"));
    assert_eq!(begun.filter(|note| note.path() == Some(watched.clone())).count(), 3);
}

#[test]
fn whatever_was_synced_survives_a_kill_in_a_storm() {
    if !is_root() {
        return;
    }
    let area = Area::new();
    let watched = area.watched();
    let text = format!("history.rotate = '1M'\n{}", watch(&watched));
    let mut daemon = Daemon::new(&area, &text);
    for round in 0..repeats(20) {
        daemon.start();
        let mut storm = Command::new("/bin/sh")
            .args(["-c", "i=0; while :; do i=$((i+1)); : > s$i; mv s$i t$i; rm t$i; done"])
            .current_dir(&watched)
            .stderr(Stdio::null())
            .spawn()
            .expect("started");
        let name = format!("synced-{round}");
        sh(&watched, &format!(": > {name}"));
        daemon.ask(&["sync"]);
        daemon.kill();
        storm.kill().expect("killed");
        storm.wait().expect("ended");
        sh(&watched, "rm -f s* t*");
    }
    daemon.start();
    // Segments that were cut off are closed by a thread of the daemon.
    wait_until("the segments are closed", || {
        let mut command = fsmon(["decode", "-f", "json", "-t", "create", "--include", "synced-*"]);
        let ended = Fsmon::run(command.arg(&daemon.history));
        let names = parse(&ended.stdout);
        let synced = names.iter().filter(|event| event.kind() == "CREATE").count();
        ended.status.code() == Some(0) && synced == repeats(20)
    });
    daemon.stop();
    assert_eq!(gaps(&daemon.decoded(&[])), vec!["killed"; repeats(20)]);
}

#[test]
fn each_watch_has_its_own_filter_and_the_innermost_decides() {
    if !is_root() {
        return;
    }
    let area = Area::new();
    let watched = area.watched();
    let (inner, flat) = (watched.join("inner"), area.dir("flat"));
    fs::create_dir_all(inner.join("target")).expect("made");
    fs::write(inner.join("target/x"), "").expect("made");
    let history = area.path("watched/history");
    let text = format!(
        "{}exclude = ['*.tmp', 'target']\n{}types = ['DELETE']\n{}recursive = false\n",
        watch(&watched),
        watch(&inner),
        watch(&flat)
    );
    let mut daemon = Daemon::with_history(&area, &history, &text);
    daemon.start();
    sh(
        &watched,
        "mkdir target; : > target/no; : > no.tmp; : > yes; : > inner/no; rm inner/no; rm inner/target/x",
    );
    sh(&flat, "mkdir sub; : > sub/no; : > yes");
    daemon.ask(&["sync"]);
    let brief = |event: &Event| {
        let path = event.path().unwrap_or_default();
        let path = path.strip_prefix(area.path("")).unwrap_or(&path).display().to_string();
        format!("{} {path}", event.kind())
    };
    let lines: Vec<_> = daemon.decoded(&["-t", "create,delete"]).iter().map(brief).collect();
    let expected = [
        "CREATE watched/yes",
        "DELETE watched/inner/no",
        "DELETE watched/inner/target/x",
        "CREATE flat/sub",
        "CREATE flat/yes",
    ];
    assert_eq!(lines, expected);
    let list: Value = serde_json::from_str(&daemon.ask(&["list", "-f", "json"])).expect("JSON");
    assert_eq!(list[1]["types"], serde_json::json!(["DELETE"]), "{list}");
    assert_eq!(list[2]["recursive"], false, "{list}");
    daemon.stop();
}

#[test]
fn a_full_disk_pauses_and_recording_goes_on_by_itself() {
    if !is_root() {
        return;
    }
    let mut area = Area::new();
    let watched = area.watched();
    let (disk, mut daemon) = on_a_small_disk(&mut area);
    daemon.start();
    let start = listing(&watched);
    for round in 0..5 {
        fill(&disk);
        sh(&watched, &format!("for i in $(seq 2000); do : > f{round}-$i; done"));
        wait_until("recording is paused", || daemon.status()["state"] == "paused");
        let refused = daemon.client(&["sync"]);
        refused.assert_failed(1, &["recording is paused"]);
        fs::remove_file(disk.join("full")).expect("there");
        wait_until("recording goes on", || daemon.status()["state"] != "paused");
        sh(&watched, &format!("rm f{round}-*"));
        daemon.ask(&["sync"]);
    }
    assert_was_paused(&daemon);
    daemon.stop();
    let events = daemon.decoded(&[]);
    assert_eq!(gaps(&events), vec!["disk"; 5]);
    assert!(events.iter().all(|event| event.kind() != "LOSS"));
    assert_follows(start, &of_files(events), &watched);
    daemon.start();
    assert_was_paused(&daemon);
    daemon.stop();
}

/// The history is younger than it should be, and that is not only because it began a moment ago.
fn assert_was_paused(daemon: &Daemon) {
    let (code, reasons) = health(daemon);
    assert_eq!((code, reasons.len()), (Some(4), 1), "{}", daemon.status());
    assert!(reasons[0].ends_with("(1d): recording was paused"), "{reasons:?}");
}

#[test]
fn directories_without_room_are_a_reason_for_as_long_as_it_lasts() {
    if !is_root() {
        return;
    }
    let area = Area::new();
    let watched = area.watched();
    let settings = format!("engine.max_dirs = 10\n{}", watch(&watched));
    let mut daemon = Daemon::new(&area, &settings);
    daemon.start();
    sh(&watched, "for i in $(seq 20); do mkdir $i; done");
    daemon.ask(&["sync"]);
    // The counters come once a second.
    wait_until("it is said", || health(&daemon).1.len() == 2);
    let (code, reasons) = health(&daemon);
    assert_eq!(code, Some(4));
    let expected = "11 directories are not watched and all below, as no more are known at a time: raise \
                    engine.max_dirs and restart";
    assert_eq!(reasons[0], expected);
    assert!(reasons[1].starts_with("something was lost"), "{reasons:?}");
    daemon.stop();
}

#[test]
fn others_may_not_ask_and_a_wrong_file_changes_nothing() {
    if !is_root() {
        return;
    }
    let area = Area::new();
    let watched = area.watched();
    let mut daemon = Daemon::new(&area, &watch(&watched));
    daemon.start();
    let public = area.path("fsmon");
    copy_program(&program(), &public);
    for command in ["status", "list", "flush", "sync", "clean"] {
        let mut nobody = Command::new("setpriv");
        nobody.args(["--reuid", "65534", "--regid", "65534", "--clear-groups"]);
        let ended =
            Fsmon::run(nobody.arg(&public).arg(command).arg("--socket").arg(&daemon.socket));
        ended.assert_failed(1, &["may not connect"]);
    }
    daemon.configure(&area, "history.rotate = 'often'");
    daemon.running().signal(Signal::SIGHUP);
    daemon.running().wait_said("fsmon: the configuration stays as it was");
    assert_eq!(daemon.status()["watches"][0]["state"], "active");
    daemon.configure(&area, "");
    daemon.running().signal(Signal::SIGHUP);
    daemon.running().wait_said("fsmon: the configuration was read again");
    assert_eq!(daemon.ask(&["list", "-f", "json"]).trim(), "[]");
    daemon.stop();
    let notes = daemon.decoded(&["--notes"]);
    assert!(notes.iter().any(|note| note.text("what") == Some("watch_ended")), "{notes:?}");
    daemon.client(&["status"]).assert_failed(3, &["no daemon answers"]);
}

#[test]
fn only_one_daemon_records_into_a_history() {
    if !is_root() {
        return;
    }
    let area = Area::new();
    let mut daemon = Daemon::new(&area, &watch(&area.watched()));
    daemon.start();
    let second = Fsmon::run(fsmon(["daemon", "--config"]).arg(&daemon.config));
    assert!(!second.status.success(), "{:?}", second.stderr);
    assert_eq!(second.stderr.len(), 1, "{:?}", second.stderr);
    succeed(fsmon(["status", "--socket"]).arg(&daemon.socket));
    daemon.stop();
}

#[test]
fn a_directory_is_added_and_removed_while_another_is_in_a_storm() {
    if !is_root() {
        return;
    }
    let area = Area::new();
    let (watched, other) = (area.watched(), area.dir("other"));
    let mut daemon = Daemon::new(&area, &watch(&watched));
    daemon.start();
    sh(&other, "for i in $(seq 500); do mkdir -p d$i/e; : > d$i/e/before; done; : > before.o");
    let start = listing(&watched);
    let storm = "i=0; while [ $i -lt 3000 ]; do i=$((i+1)); mkdir m$i; : > m$i/f; mv m$i n$i; \
                 [ $((i % 3)) = 0 ] || rm -r n$i; done";
    let mut storm = Command::new("/bin/sh")
        .args(["-ec", storm])
        .current_dir(&watched)
        .spawn()
        .expect("started");
    let name = other.display().to_string();
    let added = daemon.ask(&["add", &name, "--exclude", "*.o", "-t", "create,delete,rename,open"]);
    assert_eq!(
        added,
        format!("active {name}  OPEN: the kernel reports such events of all watched filesystems\n")
    );
    let status = daemon.status();
    assert_eq!(status["watches"][1]["directories"], 1001, "{status}");
    sh(&other, "mv d1 moved; : > moved/e/after; cat moved/e/before; rm d2/e/before; : > no.o");
    daemon.ask(&["flush"]);
    daemon.ask(&["remove", &name]);
    sh(&other, ": > unseen");
    assert!(storm.wait().expect("ended").success());
    daemon.ask(&["sync"]);
    daemon.client(&["remove", &name]).assert_failed(1, &["is not watched"]);
    daemon.stop();
    let events = daemon.decoded(&[]);
    assert!(events.iter().all(|event| event.kind() != "LOSS"), "{events:?}");
    let (of_other, of_watched): (Vec<_>, Vec<_>) = of_files(events)
        .into_iter()
        .partition(|event| event.path().is_some_and(|path| path.starts_with(&other)));
    assert_follows(start, &of_watched, &watched);
    let lines: Vec<_> = of_other
        .iter()
        .filter(|event| event.kind() != "MODIFY" && !event.flag("is_dir"))
        .map(|event| event.brief(&other))
        .collect();
    let expected =
        ["CREATE moved/e/after", "OPEN moved/e/after", "OPEN moved/e/before", "DELETE d2/e/before"];
    assert_eq!(lines, expected);
}

#[test]
fn what_was_added_is_kept_and_a_path_may_come_later() {
    if !is_root() {
        return;
    }
    let area = Area::new();
    let (kept, later, gone) = (area.dir("kept"), area.path("later/in"), area.dir("gone"));
    let mut daemon = Daemon::new(&area, "");
    daemon.start();
    let name = |path: &Path| path.display().to_string();
    assert_eq!(daemon.ask(&["add", &name(&kept)]), format!("active {}\n", name(&kept)));
    assert_eq!(daemon.ask(&["add", &name(&later)]), format!("pending {}\n", name(&later)));
    assert!(daemon.ask(&["add", "--runtime", &name(&gone)]).starts_with("active"));
    daemon.stop();
    daemon.start();
    let list: Value = serde_json::from_str(&daemon.ask(&["list", "-f", "json"])).expect("JSON");
    let states: Vec<_> = list.as_array().expect("an array").iter().map(|at| &at["state"]).collect();
    assert_eq!(states, ["active", "pending"], "{list}");
    sh(&area.path(""), "mkdir -p later/in; : > later/in/file; : > gone/no; : > kept/yes");
    wait_until("the path that came is active", || {
        daemon.status()["watches"][1]["state"] == "active"
    });
    daemon.ask(&["sync"]);
    daemon.stop();
    let created: Vec<_> = daemon
        .decoded(&["-t", "create"])
        .iter()
        .filter(|event| event.kind() == "CREATE")
        .map(Event::name)
        .collect();
    assert!(
        created.contains(&"file".to_owned()) && created.contains(&"yes".to_owned()),
        "{created:?}"
    );
    assert!(!created.contains(&"no".to_owned()), "{created:?}");
}

#[test]
fn a_watch_inside_of_another_comes_and_goes_with_what_the_other_leaves_out() {
    if !is_root() {
        return;
    }
    let area = Area::new();
    let watched = area.watched();
    sh(&watched, "mkdir -p in/target/deep in/cache/deep");
    let mut daemon = Daemon::new(&area, "");
    daemon.start();
    let (outer, inner) = (watched.display().to_string(), watched.join("in").display().to_string());
    daemon.ask(&["add", &outer, "--exclude", "target", "-t", "create"]);
    sh(&watched, ": > in/target/deep/no");
    daemon.ask(&["flush"]);
    daemon.ask(&["add", &inner, "--exclude", "cache", "-t", "create"]);
    sh(&watched, ": > in/target/deep/one; : > in/cache/deep/no");
    daemon.ask(&["flush"]);
    daemon.ask(&["remove", &inner]);
    sh(&watched, ": > in/cache/deep/two; : > in/target/deep/no2");
    daemon.ask(&["sync"]);
    daemon.stop();
    let created = daemon.decoded(&["-t", "create"]);
    let names: Vec<_> = created.iter().map(Event::name).collect();
    assert_eq!(names, ["one", "two"]);
}

#[test]
fn a_path_that_is_a_link_is_followed_when_it_leads_elsewhere() {
    if !is_root() {
        return;
    }
    let area = Area::new();
    let base = area.watched();
    sh(&base, "mkdir r1 r2; ln -s r1 now");
    let mut daemon = Daemon::new(&area, &watch(&base.join("now")));
    daemon.start();
    sh(&base, ": > now/one; ln -sfn r2 now; : > now/two; : > r1/no");
    daemon.ask(&["sync"]);
    daemon.stop();
    let created = daemon.decoded(&["-t", "create"]);
    let paths: Vec<_> =
        created.iter().filter_map(Event::path).filter(|path| !path.ends_with("now")).collect();
    assert_eq!(paths, [base.join("now/one"), base.join("now/two")]);
}

#[test]
fn limits_that_clean_does_not_name_are_those_of_the_configuration() {
    if !is_root() {
        return;
    }
    let area = Area::new();
    let watched = area.watched();
    let keep = "history.keep = { size = 'none', age = 'none', free = 'none', at_least = '7d' }\n";
    let mut daemon = Daemon::new(&area, &format!("{keep}{}", watch(&watched)));
    for _ in 0..3 {
        daemon.start();
        sh(&watched, ": > f; rm f");
        daemon.ask(&["sync"]);
        daemon.stop();
    }
    daemon.start();
    let deleted = |args: &[&str]| {
        let answer = daemon.ask(&[&["clean", "-f", "json", "--dry-run"], args].concat());
        let answer: Value = serde_json::from_str(&answer).expect("JSON");
        answer["deleted"].as_array().expect("an array").len()
    };
    assert_eq!(deleted(&["--age", "365d"]), 0);
    // All of it is younger than `at_least`.
    assert_eq!(deleted(&["--size", "1K"]), 0);
    wait_until("the segments are listed", || deleted(&["--age", "1ms"]) == 3);
    daemon.ask(&["clean", "--age", "1ms"]);
    assert_eq!(deleted(&["--age", "1ms"]), 0);
    daemon.stop();
    daemon.decoded(&[]);
}

#[test]
fn a_watch_for_which_others_pay_says_so() {
    if !is_root() {
        return;
    }
    let area = Area::new();
    let (watched, added) = (area.watched(), area.dir("added"));
    let mut daemon = Daemon::new(&area, &watch(&watched));
    daemon.start();
    let costs = "OPEN: the kernel reports such events of all watched filesystems";
    let path = added.display().to_string();
    assert_eq!(
        daemon.ask(&["add", "-t", "create,open", &path]),
        format!("active {path}  {costs}\n")
    );
    let answer = daemon.ask(&["add", "-t", "create,open", "-f", "json", &path]);
    let answer: Value = serde_json::from_str(&answer).expect("JSON");
    assert_eq!(answer[0]["widens"], serde_json::json!(["OPEN"]), "{answer}");
    let list: Value = serde_json::from_str(&daemon.ask(&["list", "-f", "json"])).expect("JSON");
    let widens: Vec<_> = list.as_array().expect("a list").iter().map(|it| &it["widens"]).collect();
    assert_eq!(widens, [&serde_json::json!([]), &serde_json::json!(["OPEN"])], "{list}");
    let lines = daemon.ask(&["list"]);
    let of = |dir: &Path| {
        let line = lines.lines().find(|line| line.contains(&format!("{}  ", dir.display())));
        line.unwrap_or_else(|| panic!("{lines}")).to_owned()
    };
    assert!(of(&added).ends_with(costs) && !of(&watched).contains("others"), "{lines}");
    daemon.stop();
}

#[test]
fn what_is_deeper_than_recorded_is_not_even_read() {
    if !is_root() {
        return;
    }
    let area = Area::new();
    let dir = |name: &str| area.dir(name).display().to_string();
    let [flat, deep, added] = [dir("flat"), dir("deep"), dir("added")];
    for top in [&flat, &deep, &added] {
        sh(Path::new(top), "mkdir -p $(seq 100) 1/2/3/4");
    }
    let mut daemon = Daemon::new(
        &area,
        &format!(
            "[[watch]]\npath = '{flat}'\nrecursive = false\n\
             [[watch]]\npath = '{deep}'\nmax_depth = 2\n"
        ),
    );
    daemon.start();
    daemon.ask(&["add", "--no-recursive", &added]);
    let directories = |daemon: &Daemon| {
        let status = daemon.status();
        let each = status["watches"].as_array().expect("a list").iter();
        let each: Vec<_> =
            each.map(|watch| watch["directories"].as_u64().expect("a number")).collect();
        (status["directories"].as_u64().expect("a number"), each)
    };
    // The engine counts once a second. It knows directories whose names are recorded, and reads none of the deepest.
    let expected = (101 + 102 + 101, vec![101, 102, 101]);
    wait_until("what was read is counted", || directories(&daemon) == expected);
    // Nor what comes, by mkdir or by a rename.
    for top in [&flat, &added] {
        sh(Path::new(top), "mkdir -p new/a; mv 1/2 in; echo x > in/3/f; echo x > f; rm -r new");
    }
    sh(Path::new(&deep), "mkdir -p new/a; mv 1/2 in; echo x > in/3/f; echo x > f; echo x > 5/f");
    daemon.ask(&["sync"]);
    // `in` twice; `new`, `new/a` and `in/3`.
    wait_until("what came is counted", || directories(&daemon).0 == expected.0 + 5);
    let events = of_files(daemon.decoded(&["-t", "create"]));
    let names = |top: &str| -> Vec<String> {
        let of = events.iter().filter_map(Event::path);
        let of = of.filter_map(|path| Some(path.strip_prefix(top).ok()?.display().to_string()));
        of.collect()
    };
    assert_eq!(names(&flat), ["new", "f"]);
    assert_eq!(names(&added), ["new", "f"]);
    // A name of the second level, found in what came there.
    assert_eq!(names(&deep), ["new", "new/a", "in/3", "f", "5/f"]);
    daemon.stop();
}

/// Files with the names that the daemon's next segment can have in the next seconds.
fn take_names(daemon: &Daemon) -> Vec<PathBuf> {
    let status = daemon.status();
    let name = status["history"]["segment"].as_str().expect("one is open").to_owned();
    let (_, tag, number) = (&name[..16], &name[17..25], &name[26..32]);
    let next = number.parse::<u32>().expect("digits") + 1;
    let now = succeed(Command::new("date").arg("+%s")).stdout;
    let now: u64 = String::from_utf8(now).expect("digits").trim().parse().expect("digits");
    (now..now + 60)
        .map(|second| {
            let at = format!("@{second}");
            let began = succeed(Command::new("date").args(["-u", "-d", &at, "+%Y%m%dT%H%M%SZ"]));
            let began = String::from_utf8(began.stdout).expect("digits");
            let path = daemon.history.join(format!("{}-{tag}-{next:06}.fsmon", began.trim()));
            fs::write(&path, "not a segment").expect("written");
            path
        })
        .collect()
}

#[test]
fn a_segment_whose_name_another_file_has_gets_the_next_number() {
    if !is_root() {
        return;
    }
    let area = Area::new();
    let watched = area.watched();
    let watch = watch(&watched);
    let mut daemon = Daemon::new(&area, &format!("history.rotate = '64K'\n{watch}"));
    daemon.start();
    let start = listing(&watched);
    let taken = take_names(&daemon);
    let number = || {
        let name = daemon.status()["history"]["segment"].as_str().map(str::to_owned);
        name.map_or(0, |name| name[26..32].parse::<u32>().expect("digits"))
    };
    wait_until("the segment after next began", || {
        sh(&watched, "for i in $(seq 400); do : > f$i; rm f$i; done");
        daemon.ask(&["sync"]);
        number() >= 3
    });
    taken.iter().for_each(|path| fs::remove_file(path).expect("nobody removed it"));
    let said = daemon.stop().stderr;
    let names =
        fs::read_dir(&daemon.history).expect("there").flatten().map(|entry| entry.file_name());
    let names = names.map(|name| name.into_string().expect("UTF-8"));
    let mut numbers: Vec<_> =
        names.filter(|name| name.ends_with(".fsmon")).map(|name| name[26..32].to_owned()).collect();
    numbers.sort();
    assert!(numbers.windows(2).all(|pair| pair[0] != pair[1]), "{numbers:?}");
    assert!(said.iter().any(|line| line.ends_with("it gets the next number")), "{said:?}");
    assert_follows(start, &of_files(daemon.decoded(&[])), &watched);
}

/// The exit status of `status`, and its reasons.
fn health(daemon: &Daemon) -> (Option<i32>, Vec<String>) {
    let ended = daemon.client(&["status", "-f", "json"]);
    let status: Value = serde_json::from_slice(&ended.stdout).expect("JSON");
    let reasons = status["reasons"].as_array().expect("a list").iter();
    (ended.status.code(), reasons.map(|why| why.as_str().expect("text").to_owned()).collect())
}

#[test]
fn a_history_that_was_cut_short_is_degraded_and_a_new_one_is_not() {
    if !is_root() {
        return;
    }
    let area = Area::new();
    let watched = area.watched();
    let at_least = |time: &str| {
        let watch = watch(&watched);
        format!("history.keep = {{ age = '2h', at_least = '{time}' }}\n{watch}")
    };
    let mut daemon = Daemon::new(&area, &at_least("1h"));
    daemon.start();
    sh(&watched, "echo 1 > one");
    daemon.ask(&["sync"]);
    assert_eq!(health(&daemon), (Some(0), vec![]), "it began a moment ago");
    daemon.stop();
    daemon.start();
    assert_eq!(health(&daemon), (Some(0), vec![]), "nothing is deleted");
    sh(&watched, "echo 2 > two");
    daemon.ask(&["clean", "--age", "1ms"]);
    let is_short = |(code, reasons): (Option<i32>, Vec<String>)| {
        assert_eq!((code, reasons.len()), (Some(4), 1), "{reasons:?}");
        let why = &reasons[0];
        assert!(why.starts_with("the history goes back ") && why.ends_with("is deleted"), "{why}");
        assert!(why.contains("history.keep.at_least (1h)"), "{why}");
    };
    is_short(health(&daemon));
    daemon.stop();
    daemon.start();
    is_short(health(&daemon));
    daemon.configure(&area, &at_least("none"));
    daemon.running().signal(Signal::SIGHUP);
    daemon.running().wait_said("fsmon: the configuration was read again");
    assert_eq!(health(&daemon), (Some(0), vec![]));
    daemon.stop();
}

#[test]
fn a_daemon_starts_and_ends_on_a_full_disk() {
    if !is_root() {
        return;
    }
    let mut area = Area::new();
    let watched = area.watched();
    let (disk, mut daemon) = on_a_small_disk(&mut area);
    daemon.start();
    sh(&watched, ": > before");
    daemon.ask(&["sync"]);
    daemon.kill();
    fill(&disk);
    let mut command = fsmon(["daemon", "--config"]);
    let mut running = Fsmon::spawn_read(command.arg(&daemon.config));
    running.wait_said("fsmon: recording is paused");
    fs::remove_file(disk.join("full")).expect("there");
    running.wait_said("fsmon: recording goes on");
    daemon.running = Some(running);
    wait_until("it is watched", || daemon.status()["watches"][0]["state"] == "active");
    sh(&watched, ": > after");
    daemon.ask(&["sync"]);
    fill(&disk);
    sh(&watched, "for i in $(seq 3000); do : > f$i; done");
    wait_until("recording is paused", || daemon.status()["state"] == "paused");
    let ended = daemon.running.take().expect("it runs").stop();
    assert_eq!(ended.status.code(), Some(1), "{:?}", ended.stderr);
    assert!(ended.stderr.iter().any(|line| line.contains("is not in the history")), "{ended:?}");
    fs::remove_file(disk.join("full")).expect("there");
    daemon.start();
    wait_until("the segments are closed", || {
        let mut command = fsmon(["decode", "-f", "json", "-t", "create"]);
        Fsmon::run(command.arg(&daemon.history)).status.code() == Some(0)
    });
    daemon.stop();
    let created = daemon.decoded(&["-t", "create"]);
    let names: Vec<_> = created.iter().map(Event::name).collect();
    assert!(names.contains(&"before".to_owned()) && names.contains(&"after".to_owned()));
}

#[test]
fn a_watch_leaves_out_files_of_another_size_and_what_is_too_deep() {
    if !is_root() {
        return;
    }
    let area = Area::new();
    let watched = area.watched();
    fs::write(area.path("big"), [0; 4096]).expect("written");
    fs::write(watched.join("old"), [0; 4096]).expect("written");
    let text = format!("{}size = '<1K'\nmax_depth = 2\n", watch(&watched));
    let mut daemon = Daemon::new(&area, &text);
    daemon.start();
    sh(&watched, "mv ../big .; rm old; mkdir -p a/b; touch a/x a/b/x; mv a/b a/c; touch a/c/y");
    daemon.ask(&["sync"]);
    let names = |types: &str| -> Vec<String> {
        let events = of_files(daemon.decoded(&["-t", types]));
        events.iter().map(|event| event.name().to_owned()).collect()
    };
    assert_eq!(names("rename"), ["c"]);
    assert_eq!(names("delete"), ["old"]);
    assert_eq!(names("create"), ["a", "b", "x"]);
    // The same by hand, with the options of `add`.
    let other = area.path("other");
    fs::create_dir(&other).expect("made");
    let path = other.to_str().expect("UTF-8");
    let args = ["add", "--size", "<1K", "--max-depth", "1", "--exclude-regex", r"\.swp$", path];
    daemon.ask(&args);
    sh(&other, "mkdir c; touch c/y d.swp e; truncate -s 4096 ../large; mv ../large .");
    daemon.ask(&["sync"]);
    let events = of_files(daemon.decoded(&["-t", "create,rename"]));
    let of_other =
        events.iter().filter(|event| event.path().is_some_and(|path| path.starts_with(&other)));
    assert_eq!(of_other.map(Event::name).collect::<Vec<_>>(), ["c", "e"]);
    daemon.stop();
}

#[test]
fn command_lines_are_those_of_processes_in_watches_that_ask_for_them() {
    if !is_root() || !has_bpf("not every process has its words") {
        return;
    }
    let area = Area::new();
    let (watched, other) = (area.watched(), area.dir("other"));
    let text =
        format!("history.compress = 'none'\n{}cmdline = true\n{}", watch(&watched), watch(&other));
    let mut daemon = Daemon::new(&area, &text);
    daemon.start();
    let make = |dir: &Path, word: &str| {
        let made = Command::new("touch").args(["--", word]).current_dir(dir).status();
        assert!(made.is_ok_and(|status| status.success()));
    };
    for round in 0..3 {
        make(&other, &format!("private{round}"));
        make(&watched, &format!("public{round}"));
    }
    // One process in both, before and after; and one whose child is in the other.
    sh(&area.path(""), "touch other/both watched/both other/later");
    sh(&other, "touch ../watched/of-a-child; : > parent # private");
    daemon.ask(&["sync"]);
    daemon.stop();
    let events = of_files(daemon.decoded(&["--cmdline", "-t", "create"]));
    assert_eq!(events.len(), 11, "{events:#?}");
    for event in &events {
        let cmdline = event.0.get("cmdline").map(ToString::to_string).unwrap_or_default();
        let path = event.path().expect("it has one");
        assert_eq!(!cmdline.is_empty(), path.starts_with(&watched), "{event:?}");
        if let name @ ("public0" | "public1" | "public2") = &*event.name() {
            assert!(cmdline.contains(name), "{event:?}");
        }
    }
    let recorded = |word: &str| -> usize {
        let files =
            fs::read_dir(&daemon.history).expect("there").map(|entry| entry.expect("read").path());
        let files = files.filter_map(|path| fs::read(path).ok());
        files
            .map(|bytes| bytes.windows(word.len()).filter(|part| *part == word.as_bytes()).count())
            .sum()
    };
    assert_eq!((recorded("--\0private"), recorded("--\0public")), (0, 3));
    // Nor that of the shell whose child is in a watch that asks.
    assert_eq!(recorded("# private"), 0);
}

/// Mounts a FUSE filesystem whose server never answers; it is gone once the file is closed.
fn mount_silent(at: &Path) -> Option<fs::File> {
    let server = fs::File::options().read(true).write(true).open("/dev/fuse").ok()?;
    let options = format!("fd={},rootmode=40000,user_id=0,group_id=0", server.as_raw_fd());
    let flags = nix::mount::MsFlags::empty();
    nix::mount::mount(Some("silent"), at, Some("fuse.silent"), flags, Some(&*options)).ok()?;
    Some(server)
}

#[test]
fn a_filesystem_that_never_answers_fails_and_disturbs_nobody() {
    let Some(area) = own_mounts() else { return };
    let (watched, silent) = (area.watched(), area.dir("silent"));
    let mut daemon = Daemon::new(&area, &watch(&watched));
    daemon.start();
    let Some(server) = mount_silent(&silent) else {
        return fsmon_harness::skip("FUSE cannot be mounted");
    };
    let said = "is on a filesystem that may not answer (FUSE, a server)";
    for path in [silent.clone(), silent.join("below")] {
        daemon.client(&["add", path.to_str().expect("UTF-8")]).assert_failed(1, &[said]);
    }
    sh(&watched, ": > beside");
    // By the configuration: it fails, and the others do not.
    let text = fs::read_to_string(&daemon.config).expect("there");
    fs::write(&daemon.config, format!("{text}{}", watch(&silent))).expect("written");
    daemon.running.as_mut().expect("it runs").signal(Signal::SIGHUP);
    let is_failed = |daemon: &Daemon| {
        let of_silent = daemon.status()["watches"][1].clone();
        of_silent["state"] == "failed" && of_silent["reason"].to_string().contains(said)
    };
    wait_until("it fails", || is_failed(&daemon));
    daemon.stop();
    daemon.start();
    assert!(is_failed(&daemon), "{}", daemon.status());
    sh(&watched, ": > after");
    daemon.ask(&["sync"]);
    daemon.stop();
    let names: Vec<_> = daemon.decoded(&["-t", "create"]).iter().map(Event::name).collect();
    assert!(
        ["beside", "after"].iter().all(|name| names.iter().any(|known| known == name)),
        "{names:?}"
    );
    drop(server);
}

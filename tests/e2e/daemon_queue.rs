//! `fsmon daemon` while its disk does not keep up: below `queue.max_bytes` nothing is lost, beyond it what is lost is
//! counted to the last event, and the kernel's queue stays short.

use super::daemon::{Daemon, fill, gaps, watch};
use fsmon_harness::{Area, Event, Fsmon, copy_program, fsmon, is_root, parse, sh, wait_until};
use std::collections::HashSet;
use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// Files of a storm that the daemon can hold in memory together with a queue of `SMALL`: in the ring, in the buffers
/// of the reader and in those of the recorder are some 25,000 with such names.
const STORM: usize = 60_000;
/// What a queue of `queue.max_bytes = '1M'` has at most: what comes between two looks is on top.
const SMALL: u64 = 16 << 20;

/// A daemon that records what is made below `watched`, into a history on `disk`.
fn daemon(area: &Area, watched: &Path, disk: &Path, queue: &str) -> Daemon {
    let text = format!(
        "history.keep = {{ size = '1G', free = '1K' }}\nhistory.compress = 'none'\nqueue.max_bytes = '{queue}'\n\
         {}types = ['CREATE']\n",
        watch(watched)
    );
    Daemon::with_history(area, &disk.join("history"), &text)
}

/// The names of a storm: so long that a few thousand fill the ring.
fn names(round: usize) -> impl Iterator<Item = String> {
    (0..STORM).map(move |at| format!("{}-{round}-{at:06}", "x".repeat(180)))
}

/// Makes a file of each name, by few processes.
fn storm(dir: &Path, round: usize) {
    let list: String = names(round).map(|name| name + "\n").collect();
    let mut xargs = Command::new("xargs");
    let mut xargs =
        xargs.arg("touch").current_dir(dir).stdin(Stdio::piped()).spawn().expect("started");
    xargs.stdin.take().expect("piped").write_all(list.as_bytes()).expect("it reads");
    assert!(xargs.wait().expect("ended").success());
}

/// A storm, while the daemon is asked again and again. Returns the longest queue that it had, in bytes.
fn storm_beside(daemon: &Daemon, dir: &Path, round: usize) -> u64 {
    std::thread::scope(|scope| {
        let storm = scope.spawn(|| storm(dir, round));
        let mut longest = 0;
        while !storm.is_finished() {
            longest = longest.max(queue_bytes(daemon));
        }
        longest
    })
}

/// What the history has, and what it says is missing.
struct Record {
    events: Vec<Event>,
    created: HashSet<PathBuf>,
    /// What the LOSS records count.
    lost: u64,
    /// Their number.
    losses: usize,
}

/// Everything; no loss may have another reason than the disk.
#[track_caller]
fn read(daemon: &Daemon) -> Record {
    let mut command = fsmon(["decode", "-f", "json"]);
    let ended = Fsmon::run(command.arg(&daemon.history));
    assert_eq!(ended.status.code(), Some(0), "{:?}", ended.stderr);
    let events = parse(&ended.stdout);
    let of = |kind| events.iter().filter(move |event| event.kind() == kind);
    let created: Vec<_> = of("CREATE").filter_map(Event::path).collect();
    let count = created.len();
    let created: HashSet<_> = created.into_iter().collect();
    assert_eq!(created.len(), count, "nothing is told twice");
    let (mut lost, mut losses) = (0, 0);
    for loss in of("LOSS") {
        assert_eq!(loss.text("reason"), Some("disk"), "{loss:?}");
        lost += loss.number("lost").expect("a number");
        losses += 1;
    }
    Record { events, created, lost, losses }
}

/// Every path that was made is there, or counted as lost.
#[track_caller]
fn assert_counted(record: &Record, made: &HashSet<PathBuf>) {
    let strange: Vec<_> = record.created.difference(made).take(3).collect();
    assert!(strange.is_empty(), "never made: {strange:?}");
    let missing = made.difference(&record.created).count() as u64;
    assert_eq!(missing, record.lost, "of {} events", made.len());
}

/// `status` and the metrics count the LOSS records that are in the history.
#[track_caller]
fn assert_losses_told(daemon: &Daemon, record: &Record) {
    let status = daemon.status();
    let of_disk =
        serde_json::json!([{"reason": "disk", "records": record.losses, "lost": record.lost}]);
    assert_eq!(status["losses"], of_disk, "{status}");
    assert_eq!(status["lost"], record.lost, "{status}");
}

/// Whether events are dropped now.
fn is_shedding(daemon: &Daemon) -> bool {
    let status = daemon.status();
    let reasons = status["reasons"].as_array().expect("an array");
    reasons.iter().any(|reason| reason.as_str().is_some_and(|text| text.contains("dropped so far")))
}

fn queue_bytes(daemon: &Daemon) -> u64 {
    daemon.status()["queue"]["bytes"].as_u64().expect("a number")
}

/// As Prometheus reads them.
fn metrics(daemon: &Daemon) -> String {
    let mut socket = UnixStream::connect(&daemon.socket).expect("it answers");
    socket.write_all(b"{\"v\":1,\"cmd\":\"metrics\"}\n").expect("it reads");
    let mut answer = String::new();
    BufReader::new(socket).read_line(&mut answer).expect("a line");
    let answer: serde_json::Value = serde_json::from_str(&answer).expect("JSON");
    answer["text"].as_str().unwrap_or_else(|| panic!("{answer}")).to_owned()
}

/// Makes room on a disk that `fill` has filled.
fn make_room(disk: &Path) {
    fs::remove_file(disk.join("full")).expect("there");
}

fn is_paused(daemon: &Daemon) -> bool {
    daemon.status()["state"] == "paused"
}

/// A disk of 64 MiB for the history, and one for what is watched.
fn disks(area: &mut Area) -> (PathBuf, PathBuf) {
    (area.tmpfs("storm", "size=2G"), area.tmpfs("disk", "size=64M"))
}

#[test]
fn below_the_limit_nothing_is_lost_and_the_gap_alone_tells_of_the_pause() {
    if !is_root() {
        return;
    }
    let mut area = Area::new();
    let (watched, disk) = disks(&mut area);
    let mut daemon = daemon(&area, &watched, &disk, "256M");
    daemon.start();
    fill(&disk);
    storm(&watched, 0);
    wait_until("recording is paused", || is_paused(&daemon));
    // More than 20,000 are left to the kernel's queue.
    wait_until("the queue is long", || queue_bytes(&daemon) > 20_000 * 300);
    assert!(!is_shedding(&daemon));
    make_room(&disk);
    wait_until("recording goes on", || !is_paused(&daemon));
    daemon.ask(&["sync"]);
    wait_until("the queue is empty", || queue_bytes(&daemon) == 0);
    let record = read(&daemon);
    assert_eq!((record.losses, gaps(&record.events)), (0, vec!["disk".to_owned()]));
    assert_counted(&record, &names(0).map(|name| watched.join(name)).collect());
    daemon.stop();
}

#[test]
fn beyond_the_limit_the_queue_stays_short_and_what_is_lost_is_counted() {
    if !is_root() {
        return;
    }
    let mut area = Area::new();
    let (watched, disk) = disks(&mut area);
    copy_program(Path::new("/bin/sh"), &area.path("latecomer"));
    sh(&area.path(""), "mkfifo go");
    sh(&watched, "mkdir -p old/in");
    let mut daemon = daemon(&area, &watched, &disk, "1M");
    daemon.start();
    sh(&watched, ": > old/in/before");
    let mut made: HashSet<_> = [watched.join("old/in/before")].into();
    daemon.ask(&["sync"]);
    fill(&disk);
    let mut longest = storm_beside(&daemon, &watched, 0);
    // The definitions of these are in the part that is dropped: a storm comes before them, and one behind.
    wait_until("events are dropped", || is_shedding(&daemon));
    sh(&watched, "mkdir new; mkdir new/in; mv new newer; mv old older");
    let go = area.path("go");
    let script = format!("read x < {}; : > newer/in/late; : > older/in/late", go.display());
    let mut late = Command::new(area.path("latecomer"));
    let mut late = late.args(["-c", &script]).current_dir(&watched).spawn().expect("started");
    longest = longest.max(storm_beside(&daemon, &watched, 1));
    make_room(&disk);
    wait_until("recording goes on", || !is_paused(&daemon));
    fs::write(go, "\n").expect("somebody reads");
    assert!(late.wait().expect("ended").success());
    daemon.ask(&["sync"]);
    assert!(longest < SMALL, "{longest} bytes");
    let made_by = |record: &Record, name: &str| {
        let path = Some(watched.join(name));
        let event =
            record.events.iter().find(|event| event.path() == path && event.kind() == "CREATE");
        event.unwrap_or_else(|| panic!("no {name}")).text("cmd").map(str::to_owned)
    };
    made.extend(["new", "new/in", "newer/in/late", "older/in/late"].map(|name| watched.join(name)));
    made.extend(names(0).chain(names(1)).map(|name| watched.join(name)));
    let record = read(&daemon);
    assert_counted(&record, &made);
    assert!(record.lost > 10_000, "{}", record.lost);
    assert!(!record.created.contains(&watched.join("new/in")), "it was to be dropped");
    for name in ["newer/in/late", "older/in/late"] {
        assert_eq!(made_by(&record, name).as_deref(), Some("latecomer"), "{name}");
    }
    assert_losses_told(&daemon, &record);
    assert!(gaps(&record.events).iter().all(|cause| cause == "disk"), "{:?}", gaps(&record.events));
    let metrics = metrics(&daemon);
    assert!(metrics.contains("\nfsmon_queue_bytes 0\n"), "{metrics}");
    let losses = format!("\nfsmon_losses_total{{reason=\"disk\"}} {}\n", record.losses);
    assert!(metrics.contains(&losses), "{metrics}");
    daemon.stop();
}

#[test]
fn a_disk_that_is_full_again_and_again_loses_what_it_says_and_no_more() {
    if !is_root() {
        return;
    }
    let mut area = Area::new();
    let (watched, disk) = disks(&mut area);
    let mut daemon = daemon(&area, &watched, &disk, "1M");
    daemon.start();
    let mut made = HashSet::new();
    for round in 0..5 {
        fill(&disk);
        storm(&watched, round);
        wait_until("events are dropped", || is_shedding(&daemon));
        make_room(&disk);
        wait_until("recording goes on", || !is_paused(&daemon));
        let last = format!("last-{round}");
        sh(&watched, &format!(": > {last}"));
        daemon.ask(&["sync"]);
        made.extend(names(round).chain([last]).map(|name| watched.join(name)));
        let record = read(&daemon);
        assert_counted(&record, &made);
        assert!(record.created.contains(&watched.join(format!("last-{round}"))));
        assert_losses_told(&daemon, &record);
        assert_eq!(gaps(&record.events).len(), record.losses);
        sh(&watched, "find . -type f -delete");
    }
    daemon.stop();
}

/// A filesystem on which every write waits, until this is dropped.
struct Frozen(PathBuf);

impl Frozen {
    fn new(path: &Path) -> Self {
        let frozen = Frozen(path.to_owned());
        assert!(
            Command::new("fsfreeze").arg("-f").arg(path).status().is_ok_and(|done| done.success())
        );
        frozen
    }
}

impl Drop for Frozen {
    fn drop(&mut self) {
        let _ = Command::new("fsfreeze").arg("-u").arg(&self.0).status();
    }
}

#[test]
fn while_writes_do_not_return_the_daemon_answers_and_counts_what_it_drops() {
    if !is_root() {
        return;
    }
    let mut area = Area::new();
    let Some(disk) = area.image("ext4") else { return };
    let watched = area.tmpfs("storm", "size=2G");
    let mut daemon = daemon(&area, &watched, &disk, "1M");
    daemon.start();
    sh(&watched, ": > synced");
    daemon.ask(&["sync"]);
    let frozen = Frozen::new(&disk);
    let longest = storm_beside(&daemon, &watched, 0);
    wait_until("events are dropped", || is_shedding(&daemon));
    let asked = Instant::now();
    assert!(is_paused(&daemon));
    assert!(asked.elapsed() < Duration::from_secs(5), "{:?}", asked.elapsed());
    assert!(longest < SMALL, "{longest} bytes");
    daemon.client(&["sync"]).assert_failed(1, &["recording is paused"]);
    drop(frozen);
    wait_until("recording goes on", || !is_paused(&daemon));
    sh(&watched, ": > after");
    daemon.ask(&["sync"]);
    let record = read(&daemon);
    let mut made: HashSet<_> = names(0).map(|name| watched.join(name)).collect();
    made.extend(["synced", "after"].map(|name| watched.join(name)));
    assert_counted(&record, &made);
    for name in ["synced", "after"] {
        assert!(record.created.contains(&watched.join(name)), "{name}");
    }
    assert_losses_told(&daemon, &record);
    assert!(record.lost > 0 && !gaps(&record.events).is_empty());
    daemon.stop();
}

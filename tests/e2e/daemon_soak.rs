//! A daemon for a while, with all that can happen to it while it records: watches come and go, its configuration changes,
//! segments rotate and are deleted, readers come and go. `FSMON_SOAK` is how many seconds.

use crate::daemon::{Daemon, watch};
use crate::storm::rng::Rng;
use fsmon_harness::{Area, Event, Fsmon, assert_follows, fsmon, is_root, listing, sh};
use nix::sys::signal::Signal;
use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::time::{Duration, Instant};

/// Makes, writes, renames, links and removes until `stop` is there. Each file has the number of its writer in its name.
const CHURN: &str = r#"
i=0
while [ ! -e ../stop ]; do
    i=$((i + 1)); d=d$0-$((i % 7))
    mkdir -p $d/sub; : > $d/$0-$i; mv $d/$0-$i $d/sub/$0-$i; mv $d m$0; mv m$0 $d
    [ $((i % 5)) -ne 0 ] || rm -r $d
done
"#;

fn churn(dir: &Path, number: usize) -> Child {
    let mut shell = Command::new("/bin/sh");
    shell.args(["-ec", CHURN, &number.to_string()]).current_dir(dir);
    shell.spawn().expect("started")
}

/// The configuration after a change: sometimes with one more watch, sometimes with another limit.
fn configuration(area: &Area, rng: &mut Rng) -> String {
    let mut text = String::from("history.rotate = '256K'\n");
    if rng.chance(1, 2) {
        text += "history.keep = { age = '7d' }\n";
    }
    text += &watch(&area.watched());
    if rng.chance(1, 2) {
        text += &watch(&area.path("more"));
        text += "types = ['CREATE', 'OPEN']\n";
    }
    text
}

/// What is done to the daemon in the meantime.
struct Company<'a> {
    area: &'a Area,
    daemon: &'a mut Daemon,
    rng: Rng,
    added: Vec<String>,
    followers: Vec<Fsmon>,
}

impl Company<'_> {
    fn step(&mut self) {
        match self.rng.below(8) {
            0 => self.add_or_remove(),
            1 => {
                let text = configuration(self.area, &mut self.rng);
                self.daemon.configure(self.area, &text);
                self.daemon.running().signal(Signal::SIGHUP);
                self.daemon.running().wait_said("fsmon: the configuration was read again");
            }
            2 => _ = self.daemon.ask(&["sync"]),
            3 => _ = self.daemon.ask(&["flush"]),
            4 => self.followers.push(self.follower()),
            5 => drop(self.followers.pop()),
            6 => sh(&self.area.path("more"), "mkdir -p x; : > x/y; rm -r x"),
            _ => {
                let list = self.daemon.ask(&["list", "-f", "json"]);
                assert!(list.contains("active") && !list.contains("failed"), "{list}");
            }
        }
    }

    fn add_or_remove(&mut self) {
        match self.added.pop() {
            Some(path) => _ = self.daemon.ask(&["remove", &path]),
            None => {
                let name = ["added", "later/to/come", "watched/d1-3"][self.rng.below(3)];
                let path = self.area.path(name).display().to_string();
                self.daemon.ask(&["add", &path]);
                self.added.push(path);
            }
        }
    }

    fn follower(&self) -> Fsmon {
        follower(&self.daemon.history)
    }
}

fn follower(history: &Path) -> Fsmon {
    let mut command = fsmon(["decode", "-f", "json", "--follow", "-t", "all"]);
    Fsmon::spawn_read(command.arg(history))
}

/// Whether the event is about what is in `dir`.
fn is_in(event: &Event, dir: &Path) -> bool {
    let is_below = |path: Option<PathBuf>| path.is_some_and(|path| path.starts_with(dir));
    is_below(event.path()) || is_below(event.old_path())
}

#[test]
fn it_records_everything_whatever_happens_to_it() {
    if !is_root() {
        return;
    }
    let seconds = std::env::var("FSMON_SOAK").map_or(20, |text| text.parse().expect("seconds"));
    let area = Area::new();
    let watched = area.watched();
    area.dir("more");
    area.dir("added");
    let mut rng = Rng::new(3, 0);
    let text = configuration(&area, &mut rng);
    let mut daemon = Daemon::new(&area, &text);
    daemon.start();
    let start = listing(&watched);
    let reader = follower(&daemon.history);
    let mut churns: Vec<_> = (1..=2).map(|number| churn(&watched, number)).collect();
    let end = Instant::now() + Duration::from_secs(seconds);
    let mut company =
        Company { area: &area, daemon: &mut daemon, rng, added: Vec::new(), followers: Vec::new() };
    while Instant::now() < end {
        company.step();
    }
    drop(company);
    std::fs::write(area.path("stop"), "").expect("written");
    for churn in &mut churns {
        assert!(churn.wait().expect("ended").success());
    }
    daemon.ask(&["sync"]);
    let status = daemon.status();
    assert_eq!(status["complete"], true, "{status}");
    let segments = status["history"]["segments"].as_u64().expect("a number");
    assert!(segments > 1, "{status}");
    daemon.stop();
    let decoded = daemon.decoded(&["-t", "all"]);
    assert!(decoded.iter().all(|event| !matches!(event.kind(), "LOSS" | "GAP")), "{decoded:?}");
    let read = reader.wait();
    assert!(read.status.success(), "{:?}", read.stderr);
    let read = read.events();
    assert_eq!(read.len(), decoded.len());
    let of_watched: Vec<_> = read.into_iter().filter(|event| is_in(event, &watched)).collect();
    assert_follows(start, &of_watched, &watched);
    println!("{} lines in {segments} segments in {seconds} s", of_watched.len());
}

//! Busy directories that nobody watches: the kernel is told to be silent of them, and what is watched
//! is as exact as ever.

use fsmon_harness::{
    Area, Fsmon, briefs, is_root_with, read_stats, record_and_replay, record_and_replay_with, sh,
    succeed,
};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

/// Files that are made, renamed and removed in each directory: four events each.
const FILES: u64 = 5000;
const CHURN: &str = "
import os, sys
for i in range(int(sys.argv[1])):
    open(f'f{i}', 'w').close(); os.rename(f'f{i}', f'g{i}'); os.remove(f'g{i}')";

fn churn(dir: &Path) {
    let args = ["-c", CHURN, &FILES.to_string()];
    succeed(Command::new("python3").args(args).current_dir(dir));
}

/// A file system with these directories: itself, and the watched one. `None` where this cannot be tested.
fn directories(names: &str) -> Option<(Area, PathBuf, PathBuf)> {
    if !is_root_with(&["python3"]) {
        return None;
    }
    let mut area = Area::new();
    let top = area.tmpfs("top", "size=64m");
    sh(&top, &format!("mkdir -p {names}"));
    let dir = top.join("watched");
    Some((area, top, dir))
}

/// What the kernel still tells of a muted one: renames, and changes of link counts.
const STILL_TOLD: u64 = 2 * FILES;

#[test]
fn what_is_watched_beside_them_is_exact() {
    let Some((area, _top, dir)) = directories("watched/target/debug watched/kept outside") else {
        return;
    };
    let stats = area.path("stats");
    let stats_arg = stats.to_str().expect("UTF-8");
    let args = ["--exclude", "target", "--stats", stats_arg];
    let events = record_and_replay(&dir, &args, || {
        for name in ["target", "target/debug", "../outside", "kept"] {
            churn(&dir.join(name));
        }
        sh(
            &dir,
            "touch ../outside/a target/b; mv ../outside/a target/b kept; mv kept/a ../outside",
        );
    });
    let lines = briefs(&events, &dir);
    let files = usize::try_from(FILES).expect("a few");
    for kind in ["CREATE", "RENAME", "DELETE"] {
        let of_kept = format!("{kind} kept/");
        let count = lines.iter().filter(|line| line.starts_with(&of_kept)).count();
        assert!((files..files + 3).contains(&count), "{count} {kind}");
    }
    // Of three muted directories some of the beginning as well.
    let from_kernel = read_stats(&stats)["kernel_events"].as_u64().expect("a number");
    assert!(from_kernel < 4 * FILES + 3 * STILL_TOLD * 3 / 2, "{from_kernel}");
}

/// Makes, renames and removes files in two directories as fast as it can, until `done` is there, and more than 20,000
/// times however slow the machine is.
const STORM: &str = "
import os, sys
dirs, count = ['outside', 'watched/target'], 0
while not os.path.exists('done') or count <= 20_000:
    for i in range(100):
        name = f'{dirs[i % 2]}/f{i}'
        open(name, 'w').close(); os.rename(name, name + 'r'); os.remove(name + 'r')
    count += 100
print(count)";

/// Files that are moved between a busy directory and a watched one, and within that, one by one.
const MOVES: &str = "
import ctypes, os, shutil, sys, time
libc = ctypes.CDLL(None)
def exchange(one, other):
    assert libc.renameat2(-100, one.encode(), -100, other.encode(), 2) == 0
def make(name):
    open(name, 'w').close()
def moves(i, busy):
    make(f'{busy}/in{i}'); os.rename(f'{busy}/in{i}', f'watched/kept/in{i}')
    make(f'watched/kept/out{i}'); os.rename(f'watched/kept/out{i}', f'{busy}/out{i}')
    make(f'watched/kept/a{i}'); os.rename(f'watched/kept/a{i}', f'watched/kept/b{i}')
    os.rename(f'watched/old{i}', f'{busy}/old{i}')
    make(f'{busy}/through{i}'); os.rename(f'{busy}/through{i}', f'watched/through{i}')
    os.rename(f'watched/through{i}', f'{busy}/gone{i}')
    os.rename(f'watched/dir{i}', f'{busy}/dir{i}'); os.rename(f'{busy}/dir{i}', f'watched/kept/dir{i}')
    make(f'{busy}/p{i}'); exchange(f'{busy}/p{i}', f'watched/full{i}')
    shutil.rmtree(f'{busy}/p{i}')
    make(f'{busy}/q{i}'); exchange(f'{busy}/q{i}', f'watched/b{i}'); os.remove(f'{busy}/q{i}')
    for name in 'xy':
        make(f'watched/{name}{i}')
    exchange(f'watched/x{i}', f'watched/y{i}')
    os.mkdir(f'watched/tmp{i}'); make(f'watched/tmp{i}/f'); os.rename(f'watched/tmp{i}', f'watched/pkg{i}')
    os.rename(f'watched/pkg{i}/f', f'watched/kept/f{i}'); os.rmdir(f'watched/pkg{i}')
    os.rename(f'watched/x{i}', f'watched/z{i}'); os.link(f'watched/z{i}', f'watched/x{i}')
    make(f'watched/m{i}'); os.rename(f'watched/m{i}', f'watched/n{i}')
    os.rename(f'watched/n{i}', f'{busy}/n{i}'); os.rename(f'{busy}/n{i}', f'watched/m{i}')
    make(f'watched/n{i}'); os.rename(f'watched/m{i}', f'{busy}/m{i}'); os.rename(f'watched/n{i}', f'watched/m{i}')
    os.remove(f'{busy}/m{i}')
    for name in [f'out{i}', f'old{i}', f'gone{i}']:
        os.remove(f'{busy}/{name}')
# Long enough that fsmon takes them for busy ones: no line says when.
time.sleep(2)
for i in range(int(sys.argv[1])):
    moves(i, ['outside', 'watched/target'][i % 2])
    time.sleep(0.005)
open('done', 'w').close()";

#[test]
fn what_is_moved_between_them_and_what_is_watched_is_told_though_their_renames_are_not() {
    const COUNT: usize = 200;
    let Some((area, top, dir)) = directories("watched/target watched/kept outside") else { return };
    let make = "mkdir dir$i full$i; touch old$i b$i dir$i/f full$i/f";
    sh(&dir, &format!("for i in $(seq 0 {}); do {make}; done", COUNT - 1));
    let stats = area.path("stats");
    let args = ["--exclude", "target", "--stats", stats.to_str().expect("UTF-8")];
    let mut rounds: u64 = 0;
    let events = record_and_replay(&dir, &args, || {
        let mut storm = Command::new("python3");
        let storm = storm.args(["-c", STORM]).current_dir(&top).stdout(Stdio::piped()).spawn();
        let count = COUNT.to_string();
        succeed(Command::new("python3").args(["-c", MOVES, &count]).current_dir(&top));
        let output = storm.and_then(Child::wait_with_output).expect("it ran");
        rounds = String::from_utf8_lossy(&output.stdout).trim_end().parse().expect("a number");
    });
    // Of each iteration nothing is told but one change of a link count, after the first ones.
    let from_kernel = read_stats(&stats)["kernel_events"].as_u64().expect("a number");
    assert!(rounds > 20_000 && from_kernel < rounds * 3 / 2, "{from_kernel} events of {rounds}");
    let lines = briefs(&events, &dir);
    for i in 0..COUNT {
        for line in [
            format!("RENAME ? -> kept/in{i}"),
            format!("CREATE kept/out{i}"),
            format!("RENAME kept/out{i} -> ?"),
            format!("RENAME kept/a{i} -> kept/b{i}"),
            format!("RENAME old{i} -> ?"),
            format!("RENAME ? -> through{i}"),
            format!("RENAME through{i} -> ?"),
            format!("RENAME dir{i}/ -> ?/"),
            format!("RENAME ?/ -> kept/dir{i}/"),
        ] {
            let own: Vec<_> = (0..lines.len()).filter(|&at| lines[at] == line).collect();
            assert_eq!(own.len(), 1, "{line}");
            let event = &events[own[0]];
            let is_exact = event.text("attribution").is_none();
            assert!(is_exact && event.text("cmd") == Some("python3"), "{event:?}");
        }
        // What is exchanged for something from there makes way first: it goes out, or aside if the event
        // that takes it there was not read yet.
        let at = |start: String| lines.iter().position(|line| line.starts_with(&start));
        let (gone, came) = (at(format!("RENAME full{i}/ -> ")), at(format!("RENAME ? -> full{i}")));
        assert!(gone.is_some() && gone < came, "full{i}: {gone:?}, {came:?}");
    }
}

/// The kernel tells nothing of a rename into one, so the RENAME may be missing; the CREATE is not.
#[test]
fn a_link_back_from_one_is_told_though_the_rename_may_not_be() {
    let Some((_area, top, dir)) = directories("watched outside") else { return };
    let running = Fsmon::watch(&dir, &["-t", "create,delete,rename"]);
    churn(&top.join("outside"));
    for i in 0..20 {
        sh(&dir, &format!(": > l{i}"));
        running.sync(&dir);
        sh(&dir, &format!("mv l{i} ../outside/l{i}; ln ../outside/l{i} l{i}"));
        running.sync(&dir);
    }
    let ended = running.stop();
    ended.assert_complete();
    let lines = briefs(&ended.events(), &dir);
    for i in 0..20 {
        let times = |line: String| lines.iter().filter(|one| **one == line).count();
        assert_eq!(times(format!("CREATE l{i}")), 2, "{lines:#?}");
        assert!(times(format!("RENAME l{i} -> ?")) <= 1, "{lines:#?}");
    }
}

#[test]
fn one_that_was_brought_in_stays_heard_when_renames_are_told_again() {
    let Some((_area, top, dir)) = directories("watched/target watched/kept outside") else {
        return;
    };
    let running = Fsmon::watch(&dir, &["--exclude", "target"]);
    let storm = |seconds: u32, dirs: &str| {
        let storm = STORM.replace("['outside', 'watched/target']", dirs);
        let script = format!("( sleep {seconds}; touch done ) & python3 -c \"$0\"; rm done");
        succeed(Command::new("sh").args(["-euc", &script, &storm]).current_dir(&top));
    };
    storm(2, "['outside', 'watched/target']");
    sh(&dir, "mv ../outside inside");
    running.sync(&dir);
    sh(&dir, "touch inside/a");
    // So many are told now that it is no longer worth it.
    storm(4, "['watched/kept'] * 2");
    sh(&dir, "touch inside/b; mv target seen");
    running.sync(&dir);
    sh(&dir, "touch seen/c; mv seen/c inside/c");
    let lines = briefs(&running.stop().events(), &dir);
    for line in ["CREATE inside/a", "CREATE inside/b", "CREATE seen/c", "RENAME seen/c -> inside/c"]
    {
        assert!(lines.iter().any(|known| known == line), "{line} is not told");
    }
    let of_kept = |kind: &str| {
        let line = format!("{kind} kept/");
        lines.iter().filter(|known| known.starts_with(&line)).count()
    };
    assert!(of_kept("CREATE") > 10_000);
    assert_eq!((of_kept("CREATE"), of_kept("CREATE")), (of_kept("RENAME"), of_kept("DELETE")));
}

#[test]
fn one_that_is_brought_in_is_heard_and_what_may_be_missing_is_said() {
    let Some((_area, _top, dir)) = directories("watched/target outside/deep") else { return };
    let running = Fsmon::watch(&dir, &["--exclude", "target"]);
    for name in ["target", "../outside", "../outside/deep"] {
        churn(&dir.join(name));
    }
    sh(&dir, "mv target debug; mv ../outside inside");
    running.sync(&dir);
    sh(&dir, "touch debug/a inside/b inside/deep/c");
    let ended = running.stop();
    let events = ended.events();
    let lines = briefs(&events, &dir);
    for line in ["CREATE debug/a", "CREATE inside/b", "CREATE inside/deep/c"] {
        assert!(lines.iter().any(|known| known == line), "{line} is not in {lines:#?}");
    }
    let losses: Vec<_> = events.iter().filter(|event| event.kind() == "LOSS").collect();
    assert_eq!(losses.len(), 3, "{losses:#?}");
    assert!(losses.iter().all(|loss| loss.text("reason") == Some("walk")), "{losses:#?}");
    assert!(ended.last_words().contains("NOT complete: 3 busy directories brought in"));
}

#[test]
fn one_that_was_only_filled_comes_in_without_a_loss() {
    let Some((_area, _top, dir)) = directories("watched/target outside") else { return };
    // Checks as well that nothing was lost.
    let events = record_and_replay_with(&dir, &["--exclude", "target"], |running| {
        for name in ["target/a", "../outside/b"] {
            sh(&dir, &format!("mkdir {name}; cd {name}; seq 5000 | split -l 1 -a 4; rm xaa*"));
        }
        sh(&dir, "mv target/a ../outside/b .");
        running.sync(&dir);
        sh(&dir, "touch a/1 b/1");
    });
    let lines = briefs(&events, &dir);
    assert!(lines.contains(&"CREATE a/1".into()) && lines.contains(&"CREATE b/1".into()));
    assert!(lines.len() > 4000, "{}", lines.len());
}

#[test]
fn one_that_becomes_the_way_to_a_root_is_heard() {
    let Some((_area, top, dir)) = directories("watched outside") else { return };
    let root = top.join("way/root");
    let mut command = fsmon_harness::fsmon(["-f", "json"]);
    let running = Fsmon::start(command.arg(&dir).arg(&root));
    churn(&top.join("outside"));
    sh(&top, "mv outside way");
    running.sync(&dir);
    sh(&top, "mkdir way/root");
    running.sync(&dir);
    sh(&top, "touch way/root/a");
    let ended = running.stop();
    ended.assert_complete();
    let lines = briefs(&ended.events(), &top);
    assert!(lines.contains(&"CREATE way/root/a".into()), "{lines:#?}");
}

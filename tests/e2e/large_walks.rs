//! A large tree moves in: it is read in steps, and nothing else waits for it, or is lost.

use fsmon_harness::{Area, Event, Fsmon, assert_follows, is_root_with, listing, program, sh};
use std::fs::{create_dir, create_dir_all, rename};
use std::path::{Path, PathBuf};
use std::process::{Child, Command};

/// A tmpfs with a watched directory and a tree of that many directories beside it.
fn area(dirs: usize) -> (Area, PathBuf, PathBuf) {
    let mut area = Area::new();
    let top = area.tmpfs("top", "size=2g,nr_inodes=2m");
    let (watched, tree) = (top.join("watched"), top.join("tree"));
    create_dir_all(watched.join("here")).expect("made");
    let makers: Vec<_> = (0..2)
        .map(|half| {
            let tree = tree.clone();
            std::thread::spawn(move || make_tree(&tree.join(format!("h{half}")), dirs / 2))
        })
        .collect();
    makers.into_iter().for_each(|maker| maker.join().expect("made"));
    (area, watched, tree)
}

fn make_tree(top: &Path, dirs: usize) {
    create_dir_all(top).expect("made");
    for upper in 0..dirs / 100 {
        let upper = top.join(format!("d{upper}"));
        create_dir(&upper).expect("made");
        (1..100).for_each(|lower| create_dir(upper.join(format!("e{lower}"))).expect("made"));
    }
}

fn start(dir: &Path, script: &str) -> Child {
    Command::new("/bin/sh").args(["-euc", script]).current_dir(dir).spawn().expect("started")
}

/// Files that come and go while it is read: elsewhere, deep in the tree, and in both.
const MEANWHILE: &str = "
mkdir here/moved
for i in $(seq 300); do
    : > here/f$i
    deep=tree/h$((i % 2))/d$((i * 7 % 200))/e$((i % 99 + 1))
    : > $deep/f; mv $deep/f here/g$i; mkdir $deep/dir; : > $deep/dir/f
done
mv tree/h0/d7 here/moved; mv tree/h1/d8/e9 tree/h0/d9; rm -r tree/h1/d150 tree/h0/d151";

#[test]
fn other_lines_come_amid_those_of_a_large_tree() {
    if !is_root_with(&[]) {
        return;
    }
    let (_area, watched, tree) = area(60_000);
    let before = listing(&watched);
    let running = Fsmon::watch(&watched, &[]);
    rename(&tree, watched.join("tree")).expect("moved");
    sh(&watched, MEANWHILE);
    let ended = running.stop();
    ended.assert_complete();
    let events = ended.events();
    assert_follows(before, &events, &watched);
    let is_in = |event: &Event, dir: &str| {
        event.path().is_some_and(|path| path.starts_with(watched.join(dir)))
    };
    let is_found = |event: &Event| event.flag("found") && is_in(event, "tree");
    let first = events.iter().position(is_found).expect("it was read");
    let last = events.iter().rposition(is_found).expect("it was read");
    let others = events[first..last].iter().filter(|event| is_in(event, "here")).count();
    assert!(others > 0, "{} lines, and none of what happened meanwhile", last - first);
}

/// Files whose names are those of who makes them.
const TRUE_FILES: &str = r#"for i in $(seq 300); do sh -c ': > "sh,$$,$PPID"'; done"#;
/// Processes that do nothing.
const FORKS: &str = "for i in $(seq 500); do (:); (:); (:); (:); (:); (:); (:); (:); done";

fn is_right(event: &Event) -> bool {
    let name = event.name();
    let mut truth = name.split(',');
    let number = |text: Option<&str>| text.and_then(|text| text.parse().ok());
    event.text("cmd") == truth.next()
        && event.number("pid") == number(truth.next())
        && event.number("ppid") == number(truth.next())
}

/// With little room for messages of processes, as without `CAP_IPC_LOCK`.
fn cramped(watched: &Path) -> Command {
    let script = "ulimit -l 64; exec setpriv --bounding-set=-ipc_lock --inh-caps=-ipc_lock \"$@\"";
    let mut command = Command::new("/bin/sh");
    command.args(["-c", script, "sh"]).arg(program());
    command.args(["-f", "json", "-t", "close_write"]).arg(watched);
    command
}

#[test]
fn who_is_exact_while_a_large_tree_is_read() {
    if !is_root_with(&["setpriv"]) {
        return;
    }
    let (_area, watched, tree) = area(300_000);
    let running = Fsmon::start(&mut cramped(&watched));
    let mut others: Vec<_> = (0..3).map(|_| start(&watched, FORKS)).collect();
    others.push(start(&watched.join("here"), TRUE_FILES));
    rename(&tree, watched.join("tree")).expect("moved");
    for mut other in others {
        assert!(other.wait().expect("a child").success());
    }
    let ended = running.stop();
    ended.assert_complete();
    let events = ended.events();
    assert_eq!(events.len(), 300);
    // Others of this user may use up what may be locked: then nobody says who it is so exactly.
    let has_bpf = ended.stderr.iter().any(|line| line.contains("names from BPF"));
    let is_wrong = |event: &&Event| {
        let is_sure = event.text("attribution").is_none();
        !is_right(event) && is_sure || has_bpf && !is_sure
    };
    let wrong: Vec<_> = events.iter().filter(is_wrong).collect();
    assert!(wrong.is_empty(), "{} of 300 wrong, first {:#?}", wrong.len(), wrong[0]);
}

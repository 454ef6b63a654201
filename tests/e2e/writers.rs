//! `fsmon who` with the daemon on real files, against the truth: processes write their pid into the files.

use crate::daemon::{Daemon, watch};
use fsmon_harness::{Area, Ended, is_root, sh};
use serde_json::Value;
use std::fs;
use std::path::{Path, PathBuf};

/// A daemon that watches a directory.
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

    fn ask(&self, name: &str, args: &[&str]) -> Ended {
        let (at, history) = (self.at(name), self.history());
        let fixed = ["who", "-f", "json", "--history", &history, &at];
        self.daemon.client(&[&fixed[..], args].concat())
    }

    /// The lines of an answer with this exit status.
    fn lines(&self, name: &str, args: &[&str], status: i32) -> Vec<Value> {
        let ended = self.ask(name, args);
        assert_eq!(ended.status.code(), Some(status), "{name}: {:?}", ended.stderr);
        let text = String::from_utf8(ended.stdout).expect("UTF-8");
        text.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect()
    }

    /// The file has the pid of who wrote it last; `who` must say the same.
    fn assert_truth(&self, name: &str, status: i32) {
        let text = fs::read_to_string(self.dir.join(name)).expect("readable");
        let truth: u64 = text.split_whitespace().last().expect("a pid").parse().expect("a pid");
        let lines = self.lines(name, &[], status);
        let wrote = lines.iter().find(|line| line["role"] == "wrote").expect("a writer");
        assert_eq!(wrote["pid"], truth, "{name}: {lines:?}");
    }
}

/// Ways of writing a file, each of which leaves the pid of the writer as its last word in `$f`.
const WAYS: &[(&str, &str)] = &[
    ("written", "sh -c 'echo $$ >$f'"),
    ("appended", "sh -c 'echo $$ >$f'; sh -c 'echo $$ >>$f'"),
    ("renamed", "sh -c 'echo $$ >$f.tmp'; mv $f.tmp $f"),
    ("renamed_twice", "sh -c 'echo $$ >$f.1'; mv $f.1 $f.2; mv $f.2 $f"),
    ("renamed_over", "sh -c 'echo $$ >$f'; sh -c 'echo $$ >$f.new'; mv $f.new $f"),
    ("swapped", "sh -c 'echo $$ >$f'; sh -c 'echo $$ >$f.b'; mv $f $f.t; mv $f.b $f; mv $f.t $f.b"),
    (
        "exchanged",
        "sh -c 'echo $$ >$f'; sh -c 'echo $$ >$f.b'; mv --exchange $f $f.b 2>/dev/null || :",
    ),
    ("in_a_renamed_dir", "mkdir $f.d; sh -c 'echo $$ >$f.d/x'; mv $f.d $f.e; mv $f.e/x $f"),
    ("inherited", "exec 3>$f; sh -c 'echo $$ >&3'; exec 3>&-"),
    ("by_a_child", "(sh -c 'echo $$') >$f"),
    ("linked", "sh -c 'echo $$ >$f.l'; ln $f.l $f; sh -c 'echo $$ >>$f.l'; rm $f.l"),
    ("link_first", "sh -c 'echo $$ >$f'; ln $f $f.l; sh -c 'echo $$ >>$f.l'"),
    ("chmodded", "sh -c 'echo $$ >$f'; chmod 600 $f; touch -h $f"),
    ("deleted_before", "sh -c 'echo $$ >$f'; rm $f; sh -c 'echo $$ >$f'"),
    ("truncated", "sh -c 'echo $$ >$f'; sh -c ': >$f; echo $$ >>$f'"),
];

#[test]
fn the_writer_of_a_file_is_named_whatever_its_names_were() {
    if !is_root() {
        return;
    }
    let case = Case::new();
    for (name, way) in WAYS {
        case.sh(&format!("export f={name}; {way}"));
    }
    // Tools that write elsewhere first, or not at all.
    case.sh("sh -c 'echo $$ >in_d' && mkdir d && mv in_d d/in_d && mv d e");
    case.assert_truth("e/in_d", 0);
    for (name, _) in WAYS {
        case.assert_truth(name, 0);
    }
}

#[test]
fn programs_that_replace_files_are_named() {
    if !is_root() {
        return;
    }
    let case = Case::new();
    let made = "for f in a b c; do echo one >$f; done; sed -i s/one/two/ a; install -m 600 a b; cp --reflink=auto a c";
    case.sh(made);
    case.sh("git init -q r && cd r && git config user.email a@b && git config user.name n && echo 1 >f && git add f && \
             git commit -qm 1 && echo 2 >f && git commit -qam 2 && git checkout -q HEAD~1");
    for (name, cmd) in [("a", "sed"), ("b", "install"), ("c", "cp"), ("r/f", "git")] {
        let lines = case.lines(name, &[], 0);
        let wrote = lines.iter().find(|line| line["role"] == "wrote").expect("a writer");
        assert_eq!(wrote["cmd"], cmd, "{name}: {lines:?}");
    }
    // The chain leads to init.
    let lines = case.lines("a", &[], 0);
    let chain = lines[0]["chain"].as_array().expect("a chain");
    assert_eq!(chain.last().expect("an ancestor")["pid"], 1, "{lines:?}");
    assert!(lines[0]["path_now"].is_null() && lines[0]["event_type"] == "RENAME", "{lines:?}");
}

#[test]
fn what_is_gone_has_who_removed_it_and_who_wrote_it() {
    if !is_root() {
        return;
    }
    let case = Case::new();
    case.sh(
        "cp /etc/hostname gone; rm gone; cp /etc/hostname away; mv away there; echo x >x; touch x",
    );
    let roles = |name: &str| -> Vec<(String, String)> {
        let lines = case.lines(name, &[], 0);
        let text = |line: &Value, key: &str| line[key].as_str().unwrap_or_default().to_owned();
        lines.iter().map(|line| (text(line, "role"), text(line, "cmd"))).collect()
    };
    let own = |list: &[(&str, &str)]| -> Vec<(String, String)> {
        list.iter().map(|(a, b)| ((*a).to_owned(), (*b).to_owned())).collect()
    };
    assert_eq!(roles("gone"), own(&[("deleted", "rm"), ("wrote", "cp")]));
    assert_eq!(roles("away"), own(&[("moved_away", "mv"), ("wrote", "cp")]));
    assert_eq!(roles("there"), own(&[("wrote", "cp")]));
    assert_eq!(roles("x"), own(&[("closed", "touch"), ("wrote", "sh")]));
    assert!(case.lines("never", &[], 3).is_empty());
    let all = case.lines("there", &["--all"], 0);
    assert_eq!(all[0]["path_now"], case.at("there").as_str(), "{all:?}");
}

#[test]
fn what_happened_in_a_gap_has_no_writer() {
    if !is_root() {
        return;
    }
    let mut case = Case::new();
    case.sh("for f in kept written replaced; do sh -c \"echo \\$\\$ >$f\"; done");
    case.daemon.ask(&["sync"]);
    case.daemon.kill();
    case.sh("sh -c 'echo $$ >written'; sh -c 'echo $$ >n'; mv n replaced");
    case.daemon.start();
    // It was not touched, but that is not certain: 4.
    case.assert_truth("kept", 4);
    for name in ["written", "replaced"] {
        let lines = case.lines(name, &[], 4);
        assert!(lines.iter().all(|line| line["role"] != "wrote"), "{name}: {lines:?}");
    }
    case.sh("sh -c 'echo $$ >written'; mv replaced moved");
    case.assert_truth("written", 0);
}

#[test]
fn an_index_changes_no_answer() {
    if !is_root() {
        return;
    }
    let mut case = Case::new();
    case.sh("i=0; while [ $i -lt 3000 ]; do echo $i >f$i; [ $((i % 3)) = 0 ] && mv f$i g$i; i=$((i + 1)); done");
    for (name, way) in WAYS {
        case.sh(&format!("export f={name}; {way}"));
    }
    case.daemon.stop();
    let names: Vec<&str> =
        WAYS.iter().map(|way| way.0).chain(["f1", "g3", "f3", "nothing"]).collect();
    let answers = || -> Vec<(Option<i32>, Vec<u8>)> {
        let ask = |name: &&str| case.ask(name, &["--all"]);
        names.iter().map(ask).map(|ended| (ended.status.code(), ended.stdout)).collect()
    };
    let history = PathBuf::from(case.history());
    remove_indexes(&history);
    let plain = answers();
    case.daemon.ask(&["index", &case.history()]);
    assert!(fs::read_dir(&history).expect("listed").flatten().any(|entry| is_index(&entry.path())));
    assert!(answers() == plain);
}

fn is_index(path: &Path) -> bool {
    path.extension().is_some_and(|extension| extension == "idx" || extension == "part")
}

fn remove_indexes(history: &Path) {
    for entry in fs::read_dir(history).expect("listed").flatten() {
        if is_index(&entry.path()) {
            fs::remove_file(entry.path()).expect("removed");
        }
    }
}

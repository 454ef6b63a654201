//! One run: a storm in a field that fsmon watches, and whether its lines are true.

use super::ground::Field;
use super::names;
use super::plan::{Mode, Plan};
use super::worker::{Job, entries, open_dir};
use fsmon_harness::{Ended, Event, Fsmon, Listing, is_marked_one_by_one, replay};
use serde_json::{Value, json};
use std::ffi::OsStr;
use std::fs::{self, File};
use std::io::Write;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

/// The environment variable that makes of this program a worker: what it is told, as JSON.
pub(crate) const WORKER: &str = "FSMON_STORM_WORKER";
/// Problems of one sort that are shown.
const SHOWN: usize = 5;

/// What a run left.
pub(crate) struct Outcome {
    pub(crate) problems: Vec<String>,
    pub(crate) events: usize,
    /// Lines whose path could be held against the name.
    pub(crate) checked: usize,
}

/// Does it. What may be asked for afterwards is written to `keep`.
pub(crate) fn run(seed: u64, plan: &Plan, field: &Field, keep: &Path) -> Outcome {
    let root = &field.roots[0];
    let args = ["-t", "create,delete,rename", "--backend", plan.backend];
    let mut running = Fsmon::watch(root, &[&args[..], &["--batch-window", plan.window]].concat());
    let start = listing(root);
    let workers: Vec<_> =
        (0..plan.workers).map(|index| start_worker(seed, index, plan, field, keep)).collect();
    let failed = release(workers);
    let alive = running.is_running();
    let ended = running.stop();
    fs::write(keep.join("lines.json"), &ended.stdout).expect("written");
    let mut problems = failed;
    if !alive {
        problems.push("fsmon ended by itself".into());
    }
    problems.extend(incomplete(&ended, root));
    let events = ended.events();
    let checked = match plan.mode {
        Mode::Free => 0,
        Mode::Own | Mode::Locked => check_names(root, &events, &mut problems),
    };
    check_replay(root, start, &events, &mut problems);
    Outcome { problems, events: events.len(), checked }
}

fn start_worker(seed: u64, index: usize, plan: &Plan, field: &Field, keep: &Path) -> Child {
    let own = std::env::current_exe().expect("this program");
    let mut command = match plan.unshared {
        true => {
            let mut command = Command::new("unshare");
            command.args(["--mount", "--pid", "--fork", "--"]).arg(own);
            command
        }
        false => Command::new(own),
    };
    let said = File::create(keep.join(format!("worker-{index}.log"))).expect("a log");
    let told = json!({
        "seed": seed,
        "index": index,
        "roots": field.roots,
        "outside": field.outside,
        "lock": field.lock,
        "log": keep.join(format!("ops-{index}.log")),
    });
    command
        .args(["--exact", "storm::worker", "--ignored", "--nocapture"])
        .env(WORKER, told.to_string());
    command.env("FSMON_OPS", &plan.asked);
    command.stdin(Stdio::piped()).stdout(said.try_clone().expect("a log")).stderr(said);
    command.spawn().expect("started")
}

/// What a worker was told.
pub(crate) fn told(text: &str) -> (Job, PathBuf) {
    let told: Value = serde_json::from_str(text).expect("JSON");
    let path = |value: &Value| PathBuf::from(value.as_str().expect("a path"));
    let job = Job {
        seed: told["seed"].as_u64().expect("a seed"),
        index: told["index"].as_u64().expect("a number") as usize,
        roots: told["roots"].as_array().expect("paths").iter().map(path).collect(),
        outside: path(&told["outside"]),
        lock: path(&told["lock"]),
    };
    (job, path(&told["log"]))
}

/// Lets them all go at once, and waits for them.
fn release(mut workers: Vec<Child>) -> Vec<String> {
    for worker in &mut workers {
        let mut stdin = worker.stdin.take().expect("asked for");
        let _ = stdin.write_all(b"go\n");
    }
    let ends = workers.iter_mut().map(|worker| worker.wait().expect("a child"));
    let failed = ends.filter(|status| !status.success());
    failed.map(|status| format!("a worker failed: {status}")).collect()
}

fn incomplete(ended: &Ended, root: &Path) -> Option<String> {
    let last = ended.last_words();
    // What is made before a directory has its mark is told as found, and said to be missing.
    let is_marks = |missing: &str| {
        missing.contains("made before") && !missing.contains(',') && is_marked_one_by_one(root)
    };
    let complete = ended.status.success()
        && match last.split_once("; NOT complete: ") {
            Some((_, missing)) => is_marks(missing),
            None => last.contains("complete"),
        };
    (!complete).then(|| format!("{}: {:?}", ended.status, ended.stderr))
}

/// What the processes did, line by line.
pub(crate) fn logs(keep: &Path, plan: &Plan) -> String {
    let log = |index| fs::read_to_string(keep.join(format!("ops-{index}.log")));
    (0..plan.workers).map(|index| log(index).unwrap_or_default()).collect()
}

/// Each name that was given tells the directory that it was given in, save where the line says that
/// it is not sure of that.
fn check_names(root: &Path, events: &[Event], problems: &mut Vec<String>) -> usize {
    let (mut checked, mut wrong) = (0, Vec::new());
    for (at, event) in events.iter().enumerate() {
        if !matches!(event.kind(), "CREATE" | "RENAME") || event.flag("found") {
            continue;
        }
        let Some(path) = event.path() else { continue };
        match names::path_says(&path, root) {
            Some(true) => checked += 1,
            Some(false) if event.flag("unsure") => {}
            Some(false) => wrong.push(format!("WRONG PATH line {}: {}", at + 1, event.brief(root))),
            None => {}
        }
    }
    shorten("wrong paths", &wrong, problems);
    checked
}

fn check_replay(root: &Path, start: Listing, events: &[Event], problems: &mut Vec<String>) {
    let (replayed, senseless) = replay(root, start, events);
    let senseless: Vec<_> =
        senseless.into_iter().map(|line| in_brief(&line, root, events)).collect();
    shorten("senseless lines", &senseless, problems);
    let real = listing(root);
    let only = |a: &Listing, b: &Listing, what: &str| -> Vec<_> {
        let differ = a.iter().filter(|(path, kind)| b.get(*path) != Some(kind));
        let show = |path: &Path| path.strip_prefix(root).unwrap_or(path).as_os_str().to_owned();
        differ.map(|(path, _)| format!("{what} {}", show(path).as_bytes().escape_ascii())).collect()
    };
    shorten("extra", &only(&replayed, &real, "EXTRA"), problems);
    shorten("missing", &only(&real, &replayed, "MISSING"), problems);
}

/// "line 7, why: {…}" with the brief form of the line.
fn in_brief(senseless: &str, root: &Path, events: &[Event]) -> String {
    let (what, _) = senseless.split_once(": {").unwrap_or((senseless, ""));
    let number = what.split([' ', ',']).nth(1).and_then(|number| number.parse::<usize>().ok());
    let event = number.and_then(|number| events.get(number - 1));
    format!("SENSELESS {what}: {}", event.map_or_else(String::new, |event| event.brief(root)))
}

fn shorten(what: &str, all: &[String], problems: &mut Vec<String>) {
    let count = all.len();
    problems.extend(all.iter().take(SHOWN).map(|one| squeezed(one)));
    if count > SHOWN {
        problems.push(format!("({count} {what} in all)"));
    }
}

/// Long runs of one character, as long names have them, made short.
fn squeezed(text: &str) -> String {
    let mut out = String::new();
    let mut run = 0;
    let text = text.replace("\\xe4", "\u{e4}");
    let chars: Vec<_> = text.chars().collect();
    for (at, one) in chars.iter().enumerate() {
        run = if at > 0 && chars[at - 1] == *one { run + 1 } else { 0 };
        match run {
            ..4 => out.push(*one),
            4 => out.push('…'),
            _ => {}
        }
    }
    out
}

/// What lies below a directory, also beyond PATH_MAX.
fn listing(root: &Path) -> Listing {
    let mut all = Listing::new();
    let fd = OwnedFd::from(File::open(root).expect("a directory"));
    list(fd.as_fd(), root, &mut all);
    all
}

fn list(at: BorrowedFd<'_>, path: &Path, all: &mut Listing) {
    for (name, is_dir) in entries(at).expect("read") {
        let path = path.join(OsStr::from_bytes(&name));
        if is_dir {
            let below = open_dir(at, &name).expect("opened");
            list(below.as_fd(), &path, all);
        }
        all.insert(path, is_dir);
    }
}

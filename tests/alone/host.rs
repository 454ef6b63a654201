//! Hosts that offer less: sysctls, missing privileges, namespaces. What is changed for the whole
//! host is put back.

use fsmon_harness::{
    Area, Event, Fsmon, Sysctl, Verdict, alone, fsmon, is_at_least, is_root, is_root_with, listing,
    parse, program, public_fsmon, replay, sh, wait_written,
};
use nix::sys::signal::Signal;
use serde_json::Value;
use std::fs;
use std::path::Path;
use std::process::{Command, Output};

/// How the rungs of the ladder are called in JSON and in the line that says ready.
const WHO: [(&str, &str); 5] = [
    ("bpf", "BPF"),
    ("tracepoint", "the exec tracepoint"),
    ("comm", "perf records"),
    ("connector", "the proc connector"),
    ("proc", "/proc at the time of the change"),
];

/// Runs `doctor --json` as `wrap` says and checks that table and object tell the same.
fn doctor(wrap: &[&str], program: &Path, dir: &Path) -> (Value, Output) {
    let run = |args: &[&str]| {
        let words = [wrap, &[program.to_str().expect("UTF-8"), "doctor"], args].concat();
        let mut command = Command::new(words[0]);
        command.args(&words[1..]).arg(dir).output().expect("started")
    };
    let output = run(&["--json"]);
    let object: Value = serde_json::from_slice(&output.stdout)
        .unwrap_or_else(|error| panic!("{error}: {output:?}"));
    let table = String::from_utf8(run(&[]).stdout).expect("UTF-8");
    for probe in object["probes"].as_array().expect("an array") {
        let name = probe["name"].as_str().expect("a name");
        let line = table.lines().find(|line| line.trim_start().starts_with(name));
        let line = line.unwrap_or_else(|| panic!("{name} is not in\n{table}"));
        let answer = if probe["works"] == true { " yes " } else { " no " };
        assert!(line.contains(answer), "{line}");
        assert!(!probe["detail"].as_str().expect("text").is_empty(), "{name} says nothing");
    }
    for loss in object["losses"].as_array().expect("an array") {
        assert!(table.contains(loss.as_str().expect("text")), "{loss}");
    }
    (object, output)
}

/// Watches as `wrap` says while two files are made by touch; gives the line that says ready, all
/// that was said, and the events.
fn watch(wrap: &[&str], program: &Path, dir: &Path) -> (String, Vec<String>, Vec<Event>) {
    let mut command = Command::new(wrap.first().copied().unwrap_or("env"));
    command.args(wrap.get(1..).unwrap_or_default()).arg(program);
    command.args(["-f", "json", "-t", "create", "--count", "2"]).arg(dir);
    let running = Fsmon::start(&mut command);
    sh(dir, "touch one; touch two");
    let ended = running.wait();
    assert!(ended.status.success(), "{:?}", ended.stderr);
    let ready = ended.stderr.iter().find(|line| line.starts_with("fsmon: ready"));
    let ready = ready.expect("it was ready").clone();
    sh(dir, "rm one two");
    let events = ended.events();
    (ready, ended.stderr, events)
}

/// What the doctor says is what a watch then does, and every name is right or in doubt.
fn assert_true(object: &Value, wrap: &[&str], program: &Path, dir: &Path) -> Vec<Event> {
    assert_eq!(object["can_watch"], true, "{object}");
    let (ready, said, events) = watch(wrap, program, dir);
    assert!(ready.contains(object["backend"].as_str().expect("text")), "{ready}: {object}");
    let (_, words) = WHO.iter().find(|(who, _)| object["who"] == *who).expect("a known rung");
    assert!(ready.contains(words), "{ready}: {object}");
    for loss in object["losses"].as_array().expect("an array") {
        let loss = loss.as_str().expect("text");
        assert!(said.iter().any(|line| line.contains(loss)), "{loss}: {said:?}");
    }
    assert_eq!(events.len(), 2);
    for event in &events {
        let is_right = event.text("cmd") == Some("touch");
        assert!(is_right || event.text("attribution").is_some(), "{event:?}");
    }
    events
}

fn probe<'a>(object: &'a Value, name: &str) -> &'a Value {
    let probes = object["probes"].as_array().expect("an array");
    probes.iter().find(|probe| probe["name"] == name).unwrap_or_else(|| panic!("{name}: {object}"))
}

#[test]
fn doctor_on_this_host() {
    if !is_root() {
        return;
    }
    let _alone = alone();
    let area = Area::new();
    let (object, output) = doctor(&["env"], &program(), &area.watched());
    assert!(output.status.success());
    let kernel = fs::read_to_string("/proc/sys/kernel/osrelease").expect("readable");
    assert_eq!(object["kernel"].as_str(), Some(kernel.trim()));
    let watched = area.watched();
    assert_eq!(object["roots"][0]["path"].as_str(), watched.to_str());
    assert_true(&object, &["env"], &program(), &watched);
}

/// What was found out by trying agrees with what each version of the kernel brought.
#[test]
fn doctor_knows_what_this_kernel_has() {
    if !is_root() {
        return;
    }
    let _alone = alone();
    let area = Area::new();
    let (object, _) = doctor(&["env"], &program(), &area.watched());
    let works = |name: &str| probe(&object, name)["works"] == true;
    for name in ["fanotify", "perf_tracepoint", "proc_connector", "open_exec"] {
        assert!(works(name), "{name}: {object}");
    }
    assert_eq!(works("io_uring"), is_at_least(6, 1), "{object}");
    assert_eq!(object["backend"], if is_at_least(6, 1) { "io_uring" } else { "poll" }, "{object}");
    let detail = probe(&object, "io_uring")["detail"].as_str().expect("text");
    assert_eq!(detail.contains("paced by the kernel"), is_at_least(6, 12), "{detail}");
}

#[test]
fn doctor_of_a_path_that_cannot_be_watched() {
    if !is_root() {
        return;
    }
    let _alone = alone();
    let area = Area::new();
    let file = area.path("file");
    std::fs::write(&file, "no directory").expect("written");
    let (object, output) = doctor(&["env"], &program(), &file);
    assert_eq!(output.status.code(), Some(1));
    assert_eq!(object["can_watch"], false);
    assert!(object["roots"][0]["error"].is_string(), "{object}");
    // One that is not there can come.
    let (object, output) = doctor(&["env"], &program(), &area.path("missing"));
    assert_eq!((output.status.code(), &object["can_watch"]), (Some(0), &true.into()));
}

#[test]
fn without_io_uring() {
    // Nothing forbids it before Linux 6.6.
    if !is_root() || !is_at_least(6, 6) {
        return;
    }
    let _alone = alone();
    let area = Area::new();
    let Some(_sysctl) = Sysctl::set("kernel.io_uring_disabled", "2") else { return };
    let (object, _) = doctor(&["env"], &program(), &area.watched());
    assert_eq!(object["backend"], "poll");
    let probe = probe(&object, "io_uring");
    assert_eq!(probe["works"], false);
    let detail = probe["detail"].as_str().expect("text");
    assert!(detail.contains("kernel.io_uring_disabled"), "{detail}");
    assert_true(&object, &["env"], &program(), &area.watched());
    let ended = Fsmon::run(fsmon(["--backend", "uring"]).arg(area.watched()));
    ended.assert_failed(1, &["io_uring"]);
    assert_eq!(ended.stderr.len(), 1, "{:?}", ended.stderr);
}

#[test]
fn without_perf() {
    if !is_root_with(&["strace"]) {
        return;
    }
    let _alone = alone();
    let area = Area::new();
    // What a container's seccomp profile does.
    let wrap = [
        "strace",
        "-fqqo/dev/null",
        // Nothing else: to decode what comes from a netlink socket strace has the kernel start
        // helpers, of which the socket then tells.
        "--trace=perf_event_open",
        "--inject=perf_event_open:error=EACCES",
    ];
    let (object, _) = doctor(&wrap, &program(), &area.watched());
    assert_eq!(object["who"], "connector", "{object}");
    assert!(object["losses"].as_array().is_some_and(|losses| !losses.is_empty()), "{object}");
    assert_true(&object, &wrap, &program(), &area.watched());
}

#[test]
fn unprivileged() {
    if !is_root_with(&["setpriv"]) {
        return;
    }
    let _alone = alone();
    let area = Area::new();
    let program = public_fsmon(&area);
    let wrap = [
        "setpriv",
        "--reuid=65534",
        "--regid=65534",
        "--clear-groups",
        "--inh-caps=-all",
        "--bounding-set=-all",
    ];
    let (object, output) = doctor(&wrap, &program, &area.watched());
    assert_eq!(output.status.code(), Some(1));
    assert_eq!(object["can_watch"], false);
    assert!(object.to_string().contains("CAP_SYS_ADMIN"), "{object}");
}

#[test]
fn in_a_pid_namespace() {
    if !is_root_with(&["unshare"]) {
        return;
    }
    let _alone = alone();
    let area = Area::new();
    let dir = area.watched();
    let wrap = ["unshare", "--pid", "--fork", "--mount-proc"];
    let (object, _) = doctor(&wrap, &program(), &dir);
    assert!(object["losses"].as_array().is_some_and(|losses| !losses.is_empty()), "{object}");
    // What strangers do has no pid there.
    for event in assert_true(&object, &wrap, &program(), &dir) {
        assert!(event.number("pid").is_none_or(|pid| pid != 0), "{event:?}");
    }
    // What is done inside is named, or said to be in doubt.
    let script = "\"$0\" -f json -t create --count 2 \"$1\" 2>\"$2\" & \
                  while ! grep -q 'fsmon: ready' \"$2\"; do sleep 0.01; done; \
                  cd \"$1\"; touch inside-1; : > inside-2; wait";
    let said = area.path("said");
    fs::write(&said, "").expect("written");
    let mut command = Command::new("unshare");
    command.args(&wrap[1..]).args(["sh", "-euc", script]).arg(program()).arg(&dir).arg(&said);
    let events = parse(&fsmon_harness::succeed(&mut command).stdout);
    let names: Vec<_> = events.iter().map(Event::name).collect();
    assert_eq!(names, ["inside-1", "inside-2"]);
    for (event, cmd) in events.iter().zip(["touch", "sh"]) {
        let is_right = event.text("cmd") == Some(cmd);
        assert!(is_right || event.text("attribution").is_some(), "{event:?}");
    }
}

/// The queue overflows again and again. What was told up to each loss, and from each listing made
/// after it, makes sense; in the end nothing is missing or extra.
#[test]
fn a_bounded_queue_that_overflows() {
    if !is_root() {
        return;
    }
    let _alone = alone();
    let area = Area::new();
    let (dir, out, stats) = (area.watched(), area.path("out"), area.path("stats"));
    sh(&dir, "mkdir -p 0/old/deep; echo x > 0/old/deep/f");
    let Some(sysctl) = Sysctl::set("fs.fanotify.max_queued_events", "300") else { return };
    let mut command = fsmon(["-f", "json", "-t", "create,delete,rename", "--bounded-queue", "-o"]);
    let running = Fsmon::start(command.arg(&out).arg("--stats").arg(&stats).arg(&dir));
    // The limit is taken when the queue is made.
    drop(sysctl);
    let mut listings = vec![listing(&dir)];
    for round in 1..=3 {
        let last = round - 1;
        // Little enough to find room.
        let work = "mkdir -p new/e; for i in 1 2 3; do : > new/e/$i; done; mv new/e e; rm -r new; \
                    mv old/deep/f e/g; rmdir old/deep; mv old e/old; rm e/1; : > told";
        sh(&dir.join(last.to_string()), work);
        wait_written(&out, "/told\"", round);
        running.pause();
        let too_much = format!(
            "cd {last}/e; for i in $(seq 1000); do : > $i-{round}; done; cd ../..; \
             mv {last} {round}; cd {round}; mv e f; mkdir -p old/deep; : > old/deep/f; rm -r f told"
        );
        sh(&dir, &too_much);
        running.signal(Signal::SIGCONT);
        wait_written(&out, "\"LOSS\"", round);
        listings.push(listing(&dir));
    }
    sh(&dir, "mkdir 3/old/n; mv 3/old/deep 3/old/n/m; : > 3/old/n/m/f2; rm 3/old/n/m/f; mv 3 4");
    let ended = running.stop();
    assert!(ended.status.success(), "{:?}", ended.stderr);
    assert!(ended.last_words().contains("NOT complete"), "{:?}", ended.stderr);
    let events = parse(&fs::read(&out).expect("read"));
    let lost: Vec<_> = events.iter().filter(|event| event.kind() == "LOSS").collect();
    assert!(lost.iter().all(|loss| loss.text("reason") == Some("queue_overflow")), "{lost:?}");
    let told: Vec<_> = events.split(|event| event.kind() == "LOSS").collect();
    assert_eq!(told.len(), listings.len());
    for (round, (start, lines)) in listings.iter().zip(&told).enumerate().take(3) {
        let (_, senseless) = replay(&dir, start.clone(), lines);
        assert!(senseless.is_empty(), "{senseless:#?}");
        // The loss stands where the first line is missing.
        let after = lines.iter().skip_while(|event| event.name() != "told").skip(1);
        let names: Vec<_> = after.map(Event::name).collect();
        let expected: Vec<_> = (1..=names.len()).map(|i| format!("{i}-{}", round + 1)).collect();
        assert!(names == expected && names.len() >= 100, "{names:?}");
    }
    let verdict = Verdict::new(&dir, listings[3].clone(), told[3], &listing(&dir));
    assert!(verdict.is_exact() && told[3].len() == 5, "{verdict}");
    let counters = fsmon_harness::read_stats(&stats);
    assert_eq!(counters["lost_queue_overflows"], 3);
    assert_eq!(counters["complete"], false);
}

#[test]
fn a_queue_without_bounds_does_not_overflow() {
    if !is_root() {
        return;
    }
    let _alone = alone();
    let area = Area::new();
    let Some(_sysctl) = Sysctl::set("fs.fanotify.max_queued_events", "100") else { return };
    let running = Fsmon::watch(&area.watched(), &["-t", "create"]);
    running.pause();
    sh(&area.watched(), "for i in $(seq 2000); do : > $i; done");
    running.signal(Signal::SIGCONT);
    let ended = running.stop();
    ended.assert_complete();
    assert_eq!(ended.events().len(), 2000);
}

//! Once it runs: no memory taken or given back, idle when nothing happens, bounded when nobody reads.

use fsmon_harness::{
    Area, Fsmon, alone, fsmon, is_root, is_root_with, repeats, sh, wait_last_written, wait_until,
};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use std::fs;
use std::io::Read;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

/// For how long one measurement lasts.
const SECONDS: u64 = 5;
/// MiB; what is asked of fsmon on a tree of 5,000 directories.
const MEMORY_MAX: u64 = 32;

/// Numbers in the lines of a file of /proc that begin so, added up.
fn number(path: &Path, key: &str) -> u64 {
    let text = fs::read_to_string(path).unwrap_or_default();
    let lines = text.lines().filter_map(|line| line.strip_prefix(key));
    lines.filter_map(|rest| rest.split_whitespace().next()?.parse::<u64>().ok()).sum()
}

/// How often the threads of a process went to sleep, all together. Each time one must wake up.
fn sleeps(pid: u32) -> u64 {
    let tasks = fs::read_dir(format!("/proc/{pid}/task")).expect("it runs").flatten();
    tasks.map(|task| number(&task.path().join("status"), "voluntary_ctxt_switches:")).sum()
}

/// CPU time of a process, in the kernel's ticks of 10 ms.
fn ticks(pid: u32) -> u64 {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).expect("it runs");
    let fields = stat.rsplit_once(')').expect("its name is in brackets").1;
    // utime and stime (proc(5)): fields 14 and 15.
    fields.split_whitespace().skip(11).take(2).map(|n| n.parse::<u64>().expect("a number")).sum()
}

fn peak_mib(pid: u32) -> u64 {
    number(Path::new(&format!("/proc/{pid}/status")), "VmHWM:") / 1024
}

#[test]
fn idle_it_wakes_up_once_a_second_at_most() {
    let _alone = alone();
    if !is_root() {
        return;
    }
    let mut area = Area::new();
    // Nobody else changes anything there, and so wakes it.
    let dir = area.tmpfs("quiet", "size=16m");
    for (format, backend) in [("json", "uring"), ("binary", "poll")] {
        let mut command = fsmon(["-f", format, "--backend", backend, "-o"]);
        let running = Fsmon::start(command.arg(area.path("out")).arg(&dir));
        sh(&dir, "echo x > f; rm f");
        // Processes that others start on this host wake it: one time without them is enough.
        let times: Vec<_> = (0..TIMES).map_while(|_| disturbed(running.pid())).collect();
        assert!(times.len() < TIMES, "{format}, {backend}: {times:?}");
        running.stop().assert_complete();
    }
}

/// Times to look at it.
const TIMES: usize = 6;

/// How often it slept and how many ticks of CPU it took in some seconds, if that was more than it may be.
fn disturbed(pid: u32) -> Option<(u64, u64)> {
    let before = (sleeps(pid), ticks(pid));
    // No event ends this: that nothing happens for a time is what is measured.
    std::thread::sleep(Duration::from_secs(SECONDS));
    let (slept, busy) = (sleeps(pid) - before.0, ticks(pid) - before.1);
    // One more where the time began just before one.
    (slept > SECONDS + 1 || busy > 1).then_some((slept, busy))
}

/// Directories, files and processes that come and go.
const BUSY: &str = "i=0; while [ $i -lt 300 ]; do mkdir -p d$i/sub; echo x > d$i/sub/f;
    mv d$i/sub/f d$i/g; mv d$i/sub d$i/other; rm -r d$i; i=$((i + 1)); done";

#[test]
fn no_memory_is_asked_of_the_kernel() {
    let _alone = alone();
    if !is_root_with(&["strace"]) {
        return;
    }
    let area = Area::new();
    let dir = area.watched();
    for format in ["human", "json", "csv", "binary"] {
        let (out, log) = (area.path("out"), area.path("strace"));
        let running = Fsmon::start(fsmon(["-f", format, "-o"]).arg(&out).arg(&dir));
        // Once something is written all threads have begun: each takes memory for itself.
        sh(&dir, "echo x > first; rm first");
        wait_until("the first output", || {
            fs::metadata(&out).is_ok_and(|metadata| metadata.len() > 0)
        });
        let mut tracer = Command::new("strace")
            .args(["-f", "-e", "trace=%memory,write", "-o"])
            .arg(&log)
            .args(["-p", &running.pid().to_string()])
            .stderr(Stdio::null())
            .spawn()
            .expect("strace");
        wait_traced(running.pid());
        sh(&dir, BUSY);
        sh(&dir, "echo x > the-last-one");
        wait_last_written(&out, "the-last-one");
        // strace lets go of it before it ends: what ending takes is no part of this.
        kill(Pid::from_raw(tracer.id().cast_signed()), Signal::SIGINT).expect("it runs");
        tracer.wait().expect("a child");
        running.stop().assert_complete();
        let text = fs::read_to_string(&log).expect("its log");
        let (written, memory): (Vec<_>, Vec<_>) =
            text.lines().partition(|line| line.contains("write("));
        assert!(written.len() > 2, "{format}: it was not traced: {text}");
        let calls = ["mmap(", "munmap(", "mremap(", "brk(", "madvise("];
        let memory: Vec<_> =
            memory.iter().filter(|line| calls.iter().any(|call| line.contains(call))).collect();
        assert!(memory.is_empty(), "{format}: {memory:#?}");
    }
}

/// Waits until all threads have a tracer.
fn wait_traced(pid: u32) {
    let tasks = || fs::read_dir(format!("/proc/{pid}/task")).expect("it runs").flatten();
    let is_traced = || tasks().all(|task| number(&task.path().join("status"), "TracerPid:") != 0);
    wait_until("each thread is traced", is_traced);
}

/// FSMON_TEST_PERCENT=3000 makes it a minute of churn and one of silence, with each format.
#[test]
fn memory_stays_small_while_nobody_reads() {
    let _alone = alone();
    if !is_root_with(&["python3"]) {
        return;
    }
    let area = Area::new();
    let dir = area.watched();
    sh(
        &dir,
        "for i in $(seq 50); do for j in $(seq 100); do echo $i/$j; done; done | xargs mkdir -p",
    );
    let churn = "
import os, sys
for i in range(int(sys.argv[1])):
    d = f'{1 + i % 50}/{1 + i // 50 % 100}'
    open(f'{d}/f{i}', 'w').close(); os.rename(f'{d}/f{i}', f'{d}/g{i}'); os.remove(f'{d}/g{i}')";
    let iterations = 30_000 * repeats(1);
    for format in ["json", "binary"] {
        let mut command = fsmon(["-f", format, "-t", "create,rename,delete"]);
        let (running, mut stdout) = Fsmon::start_unread(command.arg(&dir));
        let args = ["-c", churn, &iterations.to_string()];
        fsmon_harness::succeed(Command::new("python3").args(args).current_dir(&dir));
        // That nobody reads for a time is what is measured.
        std::thread::sleep(Duration::from_secs(2 * repeats(1) as u64));
        let stalled = peak_mib(running.pid());
        assert!(stalled <= MEMORY_MAX, "{format}: {stalled} MiB while nobody read");
        let reader = std::thread::spawn(move || {
            let mut all = Vec::new();
            stdout.read_to_end(&mut all).map(|_| all)
        });
        running.signal(Signal::SIGINT);
        let ended = running.wait();
        ended.assert_complete();
        let all = reader.join().expect("a thread").expect("read");
        if format == "json" {
            let lines = all.iter().filter(|byte| **byte == b'\n').count();
            assert_eq!(lines, 3 * iterations, "nothing is lost meanwhile");
        }
    }
}

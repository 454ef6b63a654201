//! What the kernel can refuse at the start: each call of set-up is made to fail with each errno. Then
//! fsmon ends with exit status 1 and one line, or falls back and says so, and never names a cause that
//! the errno does not have.

use fsmon_harness::{Area, Fsmon, is_root_with, program, repeats, skip};
use std::ffi::OsString;
use std::fs;
use std::path::Path;
use std::process::Command;
use std::thread;

/// What calls fail with, and the words by which the causes of each are named.
const ERRNOS: [(&str, &str, &[&str]); 6] = [
    ("EMFILE", "os error 24", &["RLIMIT_NOFILE", "max_user_groups"]),
    ("EPERM", "os error 1)", &["confines", "seccomp", "security module"]),
    ("ENOMEM", "os error 12", &["memory.max", "threads-max", "pids.max"]),
    ("ENOSYS", "os error 38", &["CONFIG_", "seccomp"]),
    ("ENOSPC", "os error 28", &["max_user_marks"]),
    ("ENFILE", "os error 23", &["file-max"]),
];

/// What every cause that there is goes by. All of these tests run as root with all capabilities.
const CAUSES: [&str; 24] = [
    "RLIMIT_NOFILE",
    "max_user_groups",
    "max_user_marks",
    "file-max",
    "RLIMIT_MEMLOCK",
    "memory.max",
    "RLIMIT_NPROC",
    "threads-max",
    "pids.max",
    "CAP_",
    "run fsmon as root",
    "io_uring_disabled",
    "perf_event_paranoid",
    "user namespace",
    "pid namespace",
    "lockdown",
    "seccomp",
    "security module",
    "confines",
    "CONFIG_",
    "needs Linux",
    "permissions",
    "mount it",
    "--include",
];

/// A call of set-up that fails.
struct Injection {
    /// As strace has it: names of calls with commas.
    calls: &'static str,
    /// Which of the thread's calls; `1+` is all of them.
    when: &'static str,
    /// Only calls that concern this file.
    path: Option<&'static str>,
    /// Arguments of fsmon.
    args: &'static [&'static str],
}

impl Injection {
    const fn new(
        calls: &'static str,
        when: &'static str,
        args: &'static [&'static str],
    ) -> Injection {
        Injection { calls, when, path: None, args }
    }

    const fn of_file(path: &'static str, args: &'static [&'static str]) -> Injection {
        Injection { calls: "open,openat", when: "1+", path: Some(path), args }
    }

    /// fsmon under strace, which lets the call fail.
    fn command(&self, errno: &str, dir: &Path) -> Command {
        let mut command = Command::new("strace");
        command.args(["-fqqo/dev/null", "--trace", self.calls]);
        let inject = format!("--inject={}:error={errno}:when={}", self.calls, self.when);
        command.arg(inject).args(self.path.iter().flat_map(|path| ["-P", path]));
        command.arg(program()).args(["-f", "json", "-t", "create"]).args(self.args).arg(dir);
        command
    }

    fn name(&self, errno: &str) -> String {
        format!("{} {} {} {errno}", self.calls, self.path.unwrap_or(""), self.when)
    }
}

/// As little as possible beside the call that is meant.
const LEAN: &[&str] = &["--who", "proc", "--backend", "poll"];
const PROC: &[&str] = &["--who", "proc"];
/// The second group is made to try BPF; without `--who` it is the one that is used.
const ALL: &[&str] = &[];

/// Without these there is nothing to watch with.
const NEEDED: &[Injection] = &[
    Injection::new("socketpair", "1", LEAN),
    Injection::new("clone,clone3", "1", LEAN),
    Injection::new("clone,clone3", "2", LEAN),
    Injection::new("clone,clone3", "3", LEAN),
    Injection::new("fanotify_init", "1", LEAN),
    Injection::new("fanotify_mark", "1+", LEAN),
    Injection::new("fstatfs", "1", LEAN),
    Injection::new("name_to_handle_at", "1", LEAN),
    Injection::new("name_to_handle_at", "2", LEAN),
    Injection::new("eventfd2", "4", LEAN),
    Injection::of_file("/proc", LEAN),
    Injection::new("io_uring_setup", "1", &["--who", "proc", "--backend", "uring"]),
];

/// For these there is another way. What the line that says ready has then.
const REPLACED: &[(Injection, &[&str])] = &[
    (Injection::new("io_uring_setup", "1", PROC), &["poll"]),
    (Injection::new("io_uring_register", "1", PROC), &["poll"]),
    (Injection::new("io_uring_enter", "1", PROC), &["poll"]),
    (Injection::new("eventfd2", "1", PROC), &["poll"]),
    (Injection::new("perf_event_open", "1", ALL), &["the exec tracepoint"]),
    (Injection::new("perf_event_open", "1+", ALL), &["the proc connector"]),
    (Injection::new("bpf", "1", ALL), &["the exec tracepoint"]),
    (Injection::new("bpf", "8+", ALL), &["the exec tracepoint"]),
    (Injection::of_file("/sys/kernel/btf/vmlinux", ALL), &["the exec tracepoint"]),
    (Injection::of_file("/sys/devices/system/cpu/online", ALL), &["the proc connector"]),
    (Injection::new("socket", "1", ALL), &["the exec tracepoint"]),
    (Injection::new("bind", "1", ALL), &["the exec tracepoint"]),
];

/// Whether strace can trace here, and let calls fail; says so aloud if not.
fn can_inject() -> bool {
    if !is_root_with(&["strace"]) {
        return false;
    }
    let tried = Command::new("strace")
        .args(["-fqqo/dev/null", "--inject=getcwd:error=EPERM:when=1", "true"])
        .status();
    let works = tried.is_ok_and(|status| status.success());
    if !works {
        skip("strace may not trace here");
    }
    works
}

/// Of the causes that a line names, those that are not of this errno.
fn foreign(line: &str, own: &[&str]) -> Vec<&'static str> {
    CAUSES.into_iter().filter(|word| line.contains(word) && !own.contains(word)).collect()
}

/// Each with each errno, half of them beside the other half; on a slow machine with the first errnos.
fn each<T: Sync>(all: &[T], run: impl Fn(&T, (&str, &str, &[&str])) + Sync) {
    thread::scope(|scope| {
        for half in all.chunks(all.len().div_ceil(2)) {
            let run = &run;
            scope.spawn(move || {
                for one in half {
                    ERRNOS[..repeats(ERRNOS.len())].iter().for_each(|errno| run(one, *errno));
                }
            });
        }
    });
}

#[test]
fn a_call_that_is_needed_fails_with_one_line_that_fits_the_errno() {
    if !can_inject() {
        return;
    }
    let area = Area::new();
    let dir = area.watched();
    each(NEEDED, |injection, (errno, words, own)| {
        let name = injection.name(errno);
        // The C library tries clone(2) after clone3(2) where that is ENOSYS, and makes EAGAIN of ENOMEM.
        let is_thread = injection.calls.starts_with("clone");
        if is_thread && errno == "ENOSYS" {
            return;
        }
        let ended = Fsmon::run(injection.command(errno, &dir).args(["--duration", "0.1"]));
        assert_eq!(ended.status.code(), Some(1), "{name}: {:#?}", ended.stderr);
        assert_eq!(ended.stderr.len(), 1, "{name}: one line: {:#?}", ended.stderr);
        let line = format!("{})", ended.last_words().trim_end_matches(')'));
        assert!(line.starts_with("fsmon: "), "{name}: {line}");
        assert!(line.contains(words) || is_thread, "{name}: {line}");
        assert_eq!(foreign(&line, own), [""; 0], "{name}: {line}");
        match (injection.calls, errno) {
            ("fanotify_init", "EMFILE") => assert!(!line.contains("RLIMIT"), "{line}"),
            (_, "EMFILE") => assert!(line.contains("RLIMIT_NOFILE") || is_thread, "{line}"),
            ("fanotify_mark", "ENOSPC") => assert!(line.contains("max_user_marks"), "{line}"),
            _ => {}
        }
    });
}

#[test]
fn a_call_that_can_be_replaced_is_and_the_loss_fits_the_errno() {
    if !can_inject() {
        return;
    }
    // What this host lacks anyway is no matter here.
    let area = Area::new();
    let usual = |args: &[&str]| {
        let mut command = fsmon_harness::fsmon(["--duration", "0.1"]);
        Fsmon::run(command.args(args).arg(area.watched())).stderr
    };
    let usual = [usual(ALL), usual(PROC)].concat();
    if !usual.iter().any(|line| line.contains("names from BPF")) {
        return skip("no BPF here, which is the highest rung to fall from");
    }
    each(REPLACED, |(injection, ready), (errno, words, own)| {
        let name = injection.name(errno);
        let area = Area::new();
        let dir = area.watched();
        let running = Fsmon::start(injection.command(errno, &dir).args(["--count", "1"]));
        fs::write(dir.join("made"), "").expect("written");
        let ended = running.wait();
        ended.assert_complete();
        let events = ended.events();
        assert_eq!(events.len(), 1, "{name}");
        assert_eq!(events[0].name(), "made", "{name}");
        let said = ended.stderr.iter().find(|line| line.starts_with("fsmon: ready"));
        let said = said.expect("it was ready");
        assert!(ready.iter().all(|word| said.contains(word)), "{name}: {said}");
        let losses = ended.stderr.iter().filter(|line| line.contains("os error"));
        let losses: Vec<_> = losses.filter(|line| !usual.contains(line)).collect();
        assert!(!losses.is_empty(), "{name}: {:#?}", ended.stderr);
        for loss in losses {
            assert!(loss.contains(words), "{name}: {loss}");
            assert_eq!(foreign(loss, own), [""; 0], "{name}: {loss}");
        }
    });
}

/// What a watch says under a limit.
fn under(limit: &str, dir: &Path) -> fsmon_harness::Ended {
    let mut command = Command::new("prlimit");
    Fsmon::run(command.arg(limit).arg(program()).args(["--duration", "0.1"]).arg(dir))
}

#[test]
fn few_descriptors_are_named() {
    if !is_root_with(&["prlimit"]) {
        return;
    }
    let area = Area::new();
    let mut refused = 0;
    for count in [4, 5, 6, 7, 8, 9, 10, 12, 14, 20, 30] {
        let limit = format!("--nofile={count}:{count}");
        let ended = under(&limit, &area.watched());
        let said = ended.stderr.join("\n");
        assert!(foreign(&said, &["RLIMIT_NOFILE"]).is_empty(), "{count}: {said}");
        match ended.status.code() {
            Some(0) => ended.assert_complete(),
            Some(1) => {
                assert_eq!(ended.stderr.len(), 1, "{count}: {said}");
                assert!(said.contains(&format!("RLIMIT_NOFILE is {count}")), "{count}: {said}");
                refused += 1;
            }
            _ => panic!("{count}: {}: {said}", ended.status),
        }
        let lower = said.contains("ready") && !said.contains("names from BPF");
        assert!(!lower || said.contains("RLIMIT_NOFILE"), "{count}: {said}");
    }
    assert!(refused > 0, "four descriptors are too few");
}

/// The hard limit is what counts.
#[test]
fn a_soft_limit_of_descriptors_is_raised() {
    if !is_root_with(&["prlimit"]) {
        return;
    }
    let area = Area::new();
    let ended = under("--nofile=6:1024", &area.watched());
    ended.assert_complete();
    let said = ended.stderr.join("\n");
    assert!(!said.contains("RLIMIT_NOFILE"), "{said}");
}

/// Perf rings and io_uring are charged to one limit, which CAP_IPC_LOCK lifts.
#[test]
fn little_locked_memory_gives_smaller_rings_and_poll() {
    if !is_root_with(&["prlimit", "setpriv"]) {
        return;
    }
    let area = Area::new();
    let (dir, public) = (area.watched(), fsmon_harness::public_fsmon(&area));
    fsmon_harness::sh(&area.path(""), "chmod 755 . watched");
    // A user of its own: what root has locked elsewhere does not count.
    let id = 100_000 + std::process::id() % 50_000;
    let caps = "+sys_admin,+dac_read_search,+sys_ptrace,+net_admin";
    let limited = |kib: u32| {
        let mut command = Command::new("setpriv");
        command.args([format!("--reuid={id}"), format!("--regid={id}"), "--clear-groups".into()]);
        command.args([format!("--inh-caps={caps}"), format!("--ambient-caps={caps}")]);
        command.args(["prlimit".into(), format!("--memlock={}", kib << 10)]).arg(&public);
        command
    };
    for kib in [0, 64, 1024] {
        let ended = Fsmon::run(limited(kib).args(["--duration", "0.1"]).arg(&dir));
        ended.assert_complete();
        let said = ended.stderr.join("\n");
        assert!(foreign(&said, &["RLIMIT_MEMLOCK", "CAP_"]).is_empty(), "{kib}: {said}");
        let poll = ended.stderr.iter().any(|line| line.contains("ready") && line.contains("poll"));
        assert!(!poll || said.contains("io_uring is not used"), "{kib}: {said}");
        if kib == 0 {
            assert!(poll && said.contains("RLIMIT_MEMLOCK is 0 KiB"), "{said}");
        }
        let doctor = limited(kib).arg("doctor").arg(&dir).output().expect("started");
        let doctor = String::from_utf8_lossy(&doctor.stdout).into_owned();
        for loss in ended.stderr.iter().filter(|line| line.contains("RLIMIT_MEMLOCK")) {
            let loss = loss.trim_start_matches("fsmon: ");
            assert!(doctor.contains(loss), "{kib}: the doctor says the same: {loss}\n{doctor}");
        }
    }
    let ended = Fsmon::run(limited(0).args(["--backend", "uring"]).arg(&dir));
    ended.assert_failed(1, &["io_uring", "RLIMIT_MEMLOCK", "--backend"]);
    assert_eq!(ended.stderr.len(), 1, "{:?}", ended.stderr);
}

#[test]
fn the_limit_of_processes_is_named() {
    if !is_root_with(&["prlimit", "setpriv"]) {
        return;
    }
    let area = Area::new();
    let public = fsmon_harness::public_fsmon(&area);
    fsmon_harness::sh(&area.path(""), "chmod 755 . watched");
    let mut command = Command::new("setpriv");
    command.args(["--reuid=65534", "--regid=65534", "--clear-groups", "--inh-caps=-all"]);
    let limited: Vec<OsString> = vec!["prlimit".into(), "--nproc=1".into(), public.into()];
    let ended = Fsmon::run(command.args(limited).arg(area.watched()));
    ended.assert_failed(1, &["cannot take signals", "RLIMIT_NPROC is 1", "ulimit -u"]);
}

/// A kernel that counted all bytes of the queue, not only the heads of events, would have promised
/// events that never come.
#[test]
fn an_idle_host_is_ready_whatever_fionread_counts() {
    if !can_inject() {
        return;
    }
    let area = Area::new();
    let dir = area.watched();
    let mut command = Command::new("strace");
    // 2^24 bytes less than one event, in the order of bytes of this host.
    command.args(["-fqqo/dev/null", "--trace=ioctl"]);
    let count: String =
        16_777_176u32.to_ne_bytes().iter().map(|byte| format!("{byte:02x}")).collect();
    command.arg(format!("--inject=ioctl:poke_exit=@arg3={count}")).arg(program());
    command.args(["-f", "json", "-t", "create", "--count", "1"]).arg(&dir);
    let running = Fsmon::start(&mut command);
    fs::write(dir.join("made"), "").expect("written");
    let ended = running.wait();
    ended.assert_complete();
    assert_eq!(ended.events().len(), 1, "what came after ready is told");
}

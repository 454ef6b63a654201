//! What watches while a workload runs.

pub(crate) mod command;
pub(crate) mod ending;
mod peers;

use crate::area::Area;
use crate::floor;
use crate::lines::{self, Dialect, Seen};
use crate::sys;
use crate::workload::Asks;
use serde_json::Value;
use std::fs;
use std::io::{self, BufRead, BufReader};
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::{Duration, Instant};

/// How long a monitor may take to get ready, and to have nothing left to do.
const PATIENCE: Duration = Duration::from_secs(60);
/// A monitor that used less CPU than this in each of several steps has nothing left to do: more
/// than an idle one that wakes every millisecond, far less than one that works. One step would
/// not do: where others keep the CPUs busy, it may not get one for that long.
const DRAINED_NS: u64 = 2_000_000;
const DRAIN_STEP: Duration = Duration::from_millis(20);
const DRAIN_STEPS: u32 = 3;

/// Output formats of fsmon.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Format {
    Json,
    Csv,
    Binary,
    Human,
}

/// A monitor, by its name on the command line and in the tables.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Monitor {
    /// Nothing watches.
    None,
    /// The floor.
    Floor,
    /// The same, which asks for MODIFY as well in every workload.
    FloorModify,
    /// fsmon; the backend's name.
    Fsmon(Format, &'static str),
    /// fsmon with words of the user's.
    With(Format, &'static str),
    /// The daemon, with this compression of its history. It records MODIFY in every workload.
    Daemon(&'static str),
    /// fatrace(8).
    Fatrace,
    /// inotifywait(1).
    Inotifywait,
    /// fsnotifywait(1).
    Fsnotifywait,
    /// auditd(8), with a rule for the tree.
    Auditd,
    /// bpftrace(8) on the same system calls.
    Bpftrace,
    /// fsmon 0.2.6.
    FsmonOld,
}

/// All of them, in the order of the tables.
pub(crate) const ALL: [Monitor; 19] = [
    Monitor::None,
    Monitor::Floor,
    Monitor::FloorModify,
    Monitor::Fsmon(Format::Binary, "uring"),
    Monitor::Fsmon(Format::Binary, "poll"),
    Monitor::Fsmon(Format::Json, "uring"),
    Monitor::Fsmon(Format::Json, "poll"),
    Monitor::Fsmon(Format::Csv, "uring"),
    Monitor::Fsmon(Format::Csv, "poll"),
    Monitor::Fsmon(Format::Human, "uring"),
    Monitor::Daemon("lz4"),
    Monitor::Daemon("zstd"),
    Monitor::Daemon("zstd-window"),
    Monitor::Fatrace,
    Monitor::Inotifywait,
    Monitor::Fsnotifywait,
    Monitor::Auditd,
    Monitor::Bpftrace,
    Monitor::FsmonOld,
];

/// fsmon's sources of process names (`fsmon --who`), best first.
pub(crate) const RUNGS: [&str; 5] = ["bpf", "tracepoint", "comm", "connector", "proc"];

/// Where the programs are; a monitor without one is left out.
#[derive(Default)]
pub(crate) struct Programs {
    pub(crate) fsmon: Option<PathBuf>,
    pub(crate) fatrace: Option<PathBuf>,
    pub(crate) inotifywait: Option<PathBuf>,
    pub(crate) fsnotifywait: Option<PathBuf>,
    pub(crate) auditd: Option<PathBuf>,
    pub(crate) bpftrace: Option<PathBuf>,
    pub(crate) fsmon_old: Option<PathBuf>,
}

impl Programs {
    /// fsmon, and nothing else.
    pub(crate) fn only(fsmon: PathBuf) -> Self {
        Programs { fsmon: Some(fsmon), ..Programs::default() }
    }

    /// That of a monitor; none and the floor have none of their own, and are always there.
    pub(crate) fn of(&self, monitor: Monitor) -> Option<&Path> {
        match monitor {
            Monitor::None | Monitor::Floor | Monitor::FloorModify => Some(Path::new("")),
            Monitor::Fsmon(..) | Monitor::With(..) | Monitor::Daemon(_) => self.fsmon.as_deref(),
            Monitor::Fatrace => self.fatrace.as_deref(),
            Monitor::Inotifywait => self.inotifywait.as_deref(),
            Monitor::Fsnotifywait => self.fsnotifywait.as_deref(),
            Monitor::Auditd => self.auditd.as_deref(),
            Monitor::Bpftrace => self.bpftrace.as_deref(),
            Monitor::FsmonOld => self.fsmon_old.as_deref(),
        }
    }
}

/// What a monitor cost and saw, from the moment it was ready until it had nothing left to do.
#[derive(Clone, Default)]
pub(crate) struct Watched {
    /// CPU time, ns.
    pub(crate) cpu_ns: u64,
    /// Peak resident memory over its life, KiB.
    pub(crate) rss_kib: u64,
    /// Events it read from the kernel, where it says so.
    pub(crate) kernel_events: Option<u64>,
    /// CPU time of fsmon's reader and formatter over their lives, ns.
    pub(crate) reader_formatter_ns: Option<(u64, u64)>,
    /// fsmon's own counters.
    pub(crate) stats: Value,
    /// Its output; `None` if it has none.
    pub(crate) seen: Option<Seen>,
}

impl Monitor {
    /// `floor`, `fsmon-json-uring` and the like.
    pub(crate) fn name(self) -> String {
        match self {
            Monitor::None => "none".into(),
            Monitor::Floor => "floor".into(),
            Monitor::FloorModify => "modify-floor".into(),
            Monitor::Fsmon(format, backend) => format!("fsmon-{}-{backend}", format.name()),
            Monitor::With(format, words) => format!("fsmon-{} {words}", format.name()),
            Monitor::Daemon(codec) => format!("fsmon-daemon-{codec}"),
            Monitor::Fatrace => "fatrace".into(),
            Monitor::Inotifywait => "inotifywait".into(),
            Monitor::Fsnotifywait => "fsnotifywait".into(),
            Monitor::Auditd => "auditd".into(),
            Monitor::Bpftrace => "bpftrace".into(),
            Monitor::FsmonOld => "fsmon-0.2.6".into(),
        }
    }
}

impl Format {
    /// The one of this name.
    pub(crate) fn named(name: &str) -> Option<Self> {
        let all = [Format::Json, Format::Csv, Format::Binary, Format::Human];
        all.into_iter().find(|format| format.name() == name)
    }

    pub(crate) fn name(self) -> &'static str {
        match self {
            Format::Json => "json",
            Format::Csv => "csv",
            Format::Binary => "binary",
            Format::Human => "human",
        }
    }
}

/// How a monitor is started, and what it does then.
pub(crate) struct Plan {
    pub(crate) command: Command,
    pub(crate) ready: Ready,
    /// What it writes and where; a directory stands for the files in it.
    pub(crate) output: Option<(Dialect, PathBuf)>,
    /// fsmon's counters at the end.
    pub(crate) stats: Option<PathBuf>,
    /// The program that makes JSON of the output, where that is binary, and what else it is to be told.
    pub(crate) decoder: Option<PathBuf>,
    pub(crate) decoder_args: Vec<&'static str>,
    /// The signal that ends it.
    pub(crate) stop: libc::c_int,
    /// What is to be done when it has ended.
    pub(crate) after: Option<Command>,
}

impl Plan {
    pub(crate) fn new(command: Command, ready: Ready, output: Option<(Dialect, PathBuf)>) -> Self {
        let stop = libc::SIGINT;
        let decoder_args = Vec::new();
        Plan { command, ready, output, stats: None, decoder: None, decoder_args, stop, after: None }
    }
}

/// What shows that a monitor is ready.
#[derive(Clone)]
pub(crate) enum Ready {
    /// A line of standard error that begins so.
    Line(&'static str),
    /// The marks of its descriptors.
    Marks,
    /// These words in a file of its own.
    InFile(PathBuf, &'static str),
    /// That many BPF programs among its descriptors.
    Programs(usize),
}

/// A monitor that is ready.
pub(crate) struct Running {
    child: Child,
    plan: Plan,
    errors: Receiver<String>,
    /// CPU time that it had used by then, ns.
    pub(crate) cpu_ready_ns: u64,
}

/// Starts a monitor and waits until it is ready; `None` for none.
pub(crate) fn start(
    monitor: Monitor,
    programs: &Programs,
    area: &Area,
    asks: Asks,
) -> Result<Option<Running>, String> {
    let plan = command::plan(monitor, programs, area, asks).map_err(|error| error.to_string())?;
    plan.map(|plan| launch(plan, Stdio::null())).transpose()
}

/// Starts a monitor whose lines can be read as they come; `None` for one that cannot do that.
pub(crate) fn start_live(
    monitor: Monitor,
    programs: &Programs,
    area: &Area,
) -> Result<Option<(Running, ChildStdout)>, String> {
    let Some(plan) = command::live(monitor, programs, area) else { return Ok(None) };
    launch_live(plan).map(Some)
}

/// Starts what is planned with a pipe for its lines, and waits until it is ready.
pub(crate) fn launch_live(plan: Plan) -> Result<(Running, ChildStdout), String> {
    let mut running = launch(plan, Stdio::piped())?;
    let stdout = running.child.stdout.take().expect("asked for");
    Ok((running, stdout))
}

/// Starts what is planned and waits until it is ready.
pub(crate) fn launch(mut plan: Plan, stdout: Stdio) -> Result<Running, String> {
    plan.command.stdin(Stdio::null()).stdout(stdout).stderr(Stdio::piped());
    let child = sys::for_this_run(&mut plan.command).spawn().map_err(|e| e.to_string())?;
    let mut running = Running { child, plan, errors: channel().1, cpu_ready_ns: 0 };
    running.errors = follow(&mut running.child);
    running.wait_ready()?;
    running.cpu_ready_ns = running.cpu_ns()?;
    Ok(running)
}

/// Sends the lines of standard error as they come.
fn follow(child: &mut Child) -> Receiver<String> {
    let (sender, receiver) = channel();
    let stderr = child.stderr.take().expect("asked for");
    std::thread::spawn(move || {
        for line in BufReader::new(stderr).lines().map_while(Result::ok) {
            if sender.send(line).is_err() {
                break;
            }
        }
    });
    receiver
}

impl Running {
    fn wait_ready(&mut self) -> Result<(), String> {
        match self.plan.ready.clone() {
            Ready::Line(words) => self.wait_line(words),
            Ready::Marks => self.wait_until("marked anything", has_marks),
            Ready::Programs(count) => {
                self.wait_until("loaded its programs", |pid| programs(pid) >= count)
            }
            Ready::InFile(path, words) => self.wait_until("was ready", |_| {
                fs::read_to_string(&path).is_ok_and(|text| text.contains(words))
            }),
        }
    }

    fn wait_line(&self, words: &str) -> Result<(), String> {
        let deadline = Instant::now() + PATIENCE;
        let mut said = Vec::new();
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            match self.errors.recv_timeout(left) {
                Ok(line) if line.starts_with(words) => return Ok(()),
                Ok(line) => said.push(line),
                Err(RecvTimeoutError::Timeout) => return Err("was not ready in time".into()),
                Err(RecvTimeoutError::Disconnected) => {
                    return Err(format!("ended before it was ready: {}", said.join("; ")));
                }
            }
        }
    }

    fn wait_until(&mut self, what: &str, is_so: impl Fn(u32) -> bool) -> Result<(), String> {
        let deadline = Instant::now() + PATIENCE;
        while Instant::now() < deadline && !self.has_ended() {
            if is_so(self.child.id()) {
                std::thread::sleep(Duration::from_millis(100));
                return Ok(());
            }
            std::thread::sleep(DRAIN_STEP);
        }
        Err(format!("never {what}: {}", self.said().join("; ")))
    }

    fn has_ended(&mut self) -> bool {
        !matches!(self.child.try_wait(), Ok(None))
    }

    fn said(&self) -> Vec<String> {
        self.errors.try_iter().collect()
    }

    /// Memory that it has resident now.
    pub(crate) fn resident_kib(&self) -> u64 {
        family(self.child.id()).into_iter().map(|pid| memory_kib(pid, "VmRSS:")).sum()
    }

    /// CPU time of the process and its children, ns.
    fn cpu_ns(&self) -> Result<u64, String> {
        let of = |pid| sys::process_cpu_ns(pid).map_err(|error| format!("ended early: {error}"));
        family(self.child.id()).into_iter().map(of).sum()
    }

    /// Lets it finish what it has to do, stops it and reads what it wrote.
    pub(crate) fn stop(mut self) -> Result<Watched, String> {
        let cpu_ns = self.drain()? - self.cpu_ready_ns;
        let family = family(self.child.id());
        let rss_kib = family.into_iter().map(|pid| memory_kib(pid, "VmHWM:")).sum();
        let status = ending::end(&mut self.child, self.plan.stop)?;
        let said = ending::last_words(&self.errors);
        let (code, signal) = (status.code(), status.signal());
        if code != Some(0) && signal != Some(self.plan.stop) && code != Some(130) {
            return Err(format!("ended with {code:?}, signal {signal:?}: {}", said.join("; ")));
        }
        let mut watched = Watched { cpu_ns, rss_kib, ..Watched::default() };
        self.read_results(&said, &mut watched)?;
        Ok(watched)
    }

    /// Waits until it uses no more CPU than an idle one; gives the CPU time, in ns, that it had
    /// used when that began.
    fn drain(&self) -> Result<u64, String> {
        let deadline = Instant::now() + PATIENCE;
        let (mut busy_until, mut now, mut quiet) = (0, self.cpu_ns()?, 0);
        while quiet < DRAIN_STEPS && Instant::now() < deadline {
            std::thread::sleep(DRAIN_STEP);
            let before = std::mem::replace(&mut now, self.cpu_ns()?);
            if quiet == 0 {
                busy_until = before;
            }
            quiet = if now - before < DRAINED_NS { quiet + 1 } else { 0 };
        }
        if quiet < DRAIN_STEPS {
            let at = ending::whereabouts(self.child.id());
            return Err(format!("gave up waiting until it had nothing left to do: {at}"));
        }
        Ok(busy_until)
    }

    fn read_results(&self, said: &[String], watched: &mut Watched) -> Result<(), String> {
        if let Some(counts) = said.iter().find_map(|line| floor::Counts::parse(line)) {
            watched.kernel_events = Some(counts.events);
        }
        if let Some(path) = &self.plan.stats {
            let text = fs::read_to_string(path).map_err(|e| format!("no counters: {e}"))?;
            watched.stats = serde_json::from_str(&text).map_err(|e| format!("counters: {e}"))?;
            let number = |key: &str| watched.stats[key].as_u64();
            watched.kernel_events = number("kernel_events");
            watched.reader_formatter_ns = number("reader_cpu_ns").zip(number("formatter_cpu_ns"));
        }
        if let Some((dialect, path)) = &self.plan.output {
            let path = match &self.plan.decoder {
                Some(program) => &decode(program, &self.plan.decoder_args, path)
                    .map_err(|e| format!("decode: {e}"))?,
                None => path,
            };
            let seen = lines::read(*dialect, path).map_err(|e| format!("no output: {e}"))?;
            watched.seen = Some(seen);
        }
        Ok(())
    }
}

impl Drop for Running {
    /// Ends what [`Running::stop`] did not.
    fn drop(&mut self) {
        ending::abandon(&mut self.child);
        if let Some(after) = &mut self.plan.after {
            let _ = after.status();
        }
    }
}

/// Makes JSON of a binary stream, beside it.
fn decode(program: &Path, args: &[&str], stream: &Path) -> io::Result<PathBuf> {
    let json = stream.with_extension("json");
    let mut command = Command::new(program);
    command.args(["decode", "--format", "json"]).args(args).arg(stream);
    command.stdout(fs::File::create(&json)?);
    let output = command.stderr(Stdio::piped()).spawn()?.wait_with_output()?;
    if output.status.success() {
        return Ok(json);
    }
    Err(io::Error::other(String::from_utf8_lossy(&output.stderr).trim().to_owned()))
}

/// Whether one of its descriptors shows an fanotify mark (proc(5), fdinfo).
fn has_marks(pid: u32) -> bool {
    let Ok(entries) = fs::read_dir(format!("/proc/{pid}/fdinfo")) else { return false };
    let texts = entries.flatten().filter_map(|entry| fs::read_to_string(entry.path()).ok());
    texts.into_iter().any(|text| {
        text.lines().any(|line| {
            let mark = line.strip_prefix("fanotify ");
            mark.is_some_and(|mark| !mark.starts_with("flags"))
        })
    })
}

/// BPF programs among the descriptors of a process.
fn programs(pid: u32) -> usize {
    let Ok(entries) = fs::read_dir(format!("/proc/{pid}/fd")) else { return 0 };
    let links = entries.flatten().filter_map(|entry| fs::read_link(entry.path()).ok());
    links.filter(|link| link.as_os_str() == "anon_inode:bpf-prog").count()
}

/// A process and its children: the daemon is two processes.
fn family(pid: u32) -> Vec<u32> {
    let children = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children"));
    let children = children.unwrap_or_else(|_| children_by_parent(pid));
    std::iter::once(pid)
        .chain(children.split_whitespace().filter_map(|pid| pid.parse().ok()))
        .collect()
}

/// The children of a process where the kernel has no list of them (`CONFIG_PROC_CHILDREN`).
fn children_by_parent(pid: u32) -> String {
    let Ok(entries) = fs::read_dir("/proc") else { return String::new() };
    let own = format!("PPid:\t{pid}");
    let is_child = |child: &String| {
        let status = fs::read_to_string(format!("/proc/{child}/status"));
        status.is_ok_and(|status| status.lines().any(|line| line == own))
    };
    let names = entries.flatten().filter_map(|entry| entry.file_name().into_string().ok());
    let pids = names.filter(|name| name.bytes().all(|byte| byte.is_ascii_digit()));
    pids.filter(is_child).collect::<Vec<_>>().join(" ")
}

/// The memory of a process from /proc: resident now, or its peak. The peak of wait4(2) includes the parent's
/// memory at the fork (`setmax_mm_hiwater_rss()` in fs/exec.c).
fn memory_kib(pid: u32, key: &str) -> u64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix(key));
    line.and_then(|rest| rest.split_whitespace().next()?.parse().ok()).unwrap_or(0)
}

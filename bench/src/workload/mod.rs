//! The workloads, and the changes that a monitor must have seen.
//!
//! Workers are this binary itself, run again with a first argument that begins with `@`.

pub(crate) mod build;
pub(crate) mod churn;
pub(crate) mod spawn;
pub(crate) mod untar;

use crate::area::Area;
use crate::monitor::ending;
use build::Build;
use churn::{Churn, Cycle, Shape};
use std::ffi::OsStr;
use std::io::{self, BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitCode, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::{Duration, Instant};

/// A workload by its name on the command line and in the tables.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Workload {
    /// Files made, renamed and removed by that many processes at a time.
    Churn(u64),
    /// Churn in a deep or in a wide tree.
    Shaped(Shape),
    /// Files written to, and nothing else.
    Modify,
    /// Short-lived processes in that many chains.
    Spawn(u64),
    /// A source tree unpacked and removed.
    Untar,
    /// Churn beside the watched directory, on its filesystem.
    Outside(Cycle),
    /// Churn in a subtree that is left out.
    Excluded(Cycle),
    /// A real build.
    Build(Build),
}

/// All of them, in the order of the tables.
pub(crate) const ALL: [Workload; 16] = [
    Workload::Churn(1),
    Workload::Churn(2),
    Workload::Churn(4),
    Workload::Shaped(Shape::Deep),
    Workload::Shaped(Shape::Wide),
    Workload::Modify,
    Workload::Spawn(1),
    Workload::Spawn(4),
    Workload::Spawn(16),
    Workload::Untar,
    Workload::Outside(Cycle::Renamed),
    Workload::Outside(Cycle::Plain),
    Workload::Excluded(Cycle::Renamed),
    Workload::Excluded(Cycle::Plain),
    Workload::Build(Build::Make),
    Workload::Build(Build::Cargo),
];

/// The subtree that is left out.
const SCRATCH: &str = "scratch";

/// Special requirements of a workload for the monitors.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
pub(crate) struct Asks {
    /// To report writes, too.
    pub(crate) modify: bool,
    /// To leave out a subtree of this name, if it can.
    pub(crate) exclude: Option<&'static str>,
}

/// How much is done.
#[derive(Clone, Copy)]
pub(crate) struct Size {
    /// Iterations of churn, by all workers together.
    pub(crate) churn: u64,
    /// Writes.
    pub(crate) modify: u64,
    /// Processes, by all chains together.
    pub(crate) spawn: u64,
    /// Files and directories in the tree.
    pub(crate) entries: usize,
}

impl Size {
    /// For figures that are to be kept.
    pub(crate) const FULL: Size =
        Size { churn: 40_000, modify: 400_000, spawn: 8_000, entries: 10_000 };
    /// To see that everything works.
    pub(crate) const QUICK: Size = Size { churn: 4_000, modify: 4_000, spawn: 480, entries: 1_000 };
}

/// Changes of each kind.
#[derive(Clone, Copy, Default, Debug, PartialEq, Eq)]
pub(crate) struct Counts {
    /// Entries made.
    pub(crate) creates: u64,
    /// Entries renamed.
    pub(crate) renames: u64,
    /// Entries removed.
    pub(crate) deletes: u64,
}

impl Counts {
    /// How many of these are missing from `seen`.
    pub(crate) fn missing_from(self, seen: Counts) -> u64 {
        self.creates.saturating_sub(seen.creates)
            + self.renames.saturating_sub(seen.renames)
            + self.deletes.saturating_sub(seen.deletes)
    }

    /// How many are missing from `seen` or too many in it.
    pub(crate) fn differ_from(self, seen: Counts) -> u64 {
        self.missing_from(seen) + seen.missing_from(self)
    }
}

/// The result of a workload.
pub(crate) struct Done {
    /// Time from the start to the end of the slowest worker, ns.
    pub(crate) elapsed_ns: u64,
    /// CPU time of the workload, where it is known, ns.
    pub(crate) cpu_ns: Option<u64>,
    /// What the figures per operation refer to.
    pub(crate) operations: u64,
    /// What happened below the watched directory.
    pub(crate) expected: Counts,
}

/// Whether it is known beforehand what a workload of this name changes, so that it shows when a
/// monitor leaves something out.
pub(crate) fn is_known(name: &str) -> bool {
    let workload = ALL.into_iter().find(|workload| workload.name() == name);
    !matches!(workload, None | Some(Workload::Build(_)))
}

impl Workload {
    /// `churn-1` and the like.
    pub(crate) fn name(self) -> String {
        let plain = |cycle| if cycle == Cycle::Plain { "-plain" } else { "" };
        match self {
            Workload::Churn(processes) => format!("churn-{processes}"),
            Workload::Shaped(shape) => format!("{shape:?}").to_lowercase(),
            Workload::Modify => "modify".into(),
            Workload::Spawn(chains) => format!("spawn-{chains}"),
            Workload::Untar => "untar".into(),
            Workload::Outside(cycle) => format!("outside{}", plain(cycle)),
            Workload::Excluded(cycle) => format!("excluded{}", plain(cycle)),
            Workload::Build(build) => format!("build-{build:?}").to_lowercase(),
        }
    }

    /// What one operation is, for the tables.
    pub(crate) fn operation(self) -> &'static str {
        match self {
            Workload::Outside(Cycle::Plain) | Workload::Excluded(Cycle::Plain) => {
                "create, write, close, unlink"
            }
            Workload::Churn(_)
            | Workload::Shaped(_)
            | Workload::Outside(_)
            | Workload::Excluded(_) => "create, write, close, rename, unlink",
            Workload::Modify => "a write to one of 64 files",
            Workload::Spawn(_) => "one short-lived process or two, and a file by each",
            Workload::Untar => "one file or directory made or removed",
            Workload::Build(_) => "the whole build",
        }
    }

    /// What it asks of the monitors.
    pub(crate) fn asks(self) -> Asks {
        Asks {
            modify: self == Workload::Modify,
            exclude: matches!(self, Workload::Excluded(_)).then_some(SCRATCH),
        }
    }

    /// The churn that it is, where, and whether it is watched.
    fn churn(self, area: &Area) -> Option<(Churn, PathBuf, bool)> {
        let watched = area.watched.clone();
        let of = |cycle| Churn { cycle, ..Churn::USUAL };
        Some(match self {
            Workload::Churn(_) => (Churn::USUAL, watched, true),
            Workload::Shaped(shape) => (Churn { shape, ..Churn::USUAL }, watched, true),
            Workload::Modify => (of(Cycle::Written), watched, true),
            Workload::Outside(cycle) => (of(cycle), area.outside.clone(), false),
            Workload::Excluded(cycle) => (of(cycle), watched.join(SCRATCH), false),
            Workload::Spawn(_) | Workload::Untar | Workload::Build(_) => return None,
        })
    }

    /// Makes what must be there before the monitor starts.
    pub(crate) fn prepare(self, area: &Area) -> io::Result<()> {
        if let Some((churn, root, _)) = self.churn(area) {
            return churn.prepare(&root);
        }
        match self {
            Workload::Spawn(_) => spawn::prepare(&area.watched, &area.programs),
            Workload::Build(build) => build.prepare(&area.watched, &area.out),
            _ => Ok(()),
        }
    }

    /// Does it.
    pub(crate) fn run(self, area: &Area, size: Size, packed: &untar::Packed) -> io::Result<Done> {
        if let Some((churn, root, is_watched)) = self.churn(area) {
            let processes = if let Workload::Churn(processes) = self { processes } else { 1 };
            let iterations = if self == Workload::Modify { size.modify } else { size.churn };
            let (spent, operations) = run_churn(churn, &root, processes, iterations)?;
            let expected = if is_watched { churn.counts(operations) } else { Counts::default() };
            return Ok(spent.done(operations, expected));
        }
        match self {
            Workload::Spawn(chains) => run_spawn(area, chains, size.spawn, Pids::Fresh),
            Workload::Build(build) => build.run(&area.watched),
            _ => untar::run(packed, &area.watched),
        }
    }
}

/// Which pids the short-lived processes get.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Pids {
    /// Those that the kernel gives.
    Fresh,
    /// One for all processes that a chain forks, time and again.
    Reused,
}

/// Chains of short-lived processes: so many at a time, that many processes together.
pub(crate) fn run_spawn(area: &Area, chains: u64, total: u64, pids: Pids) -> io::Result<Done> {
    let each = total / chains;
    let workers = (0..chains).map(|i| {
        let mut command = Command::new(area.programs.join(spawn::CHAIN));
        command.arg("@chain").args([&area.watched, &area.programs]);
        command.args([i.to_string(), each.to_string()]);
        if pids == Pids::Reused {
            command.arg("again");
        }
        command
    });
    let expected = Counts { creates: spawn::files(each) * chains, ..Counts::default() };
    Ok(run_workers(workers)?.done(each * chains, expected))
}

/// Makes and removes so many files, in directories of their own.
pub(crate) fn fill(root: &Path, files: u64) -> io::Result<()> {
    Churn::USUAL.prepare(root)?;
    run_churn(Churn::USUAL, root, 1, files).map(drop)
}

/// Churn by so many processes, that many iterations together: what it took, and how many they were.
pub(crate) fn run_churn(
    churn: Churn,
    root: &Path,
    processes: u64,
    total: u64,
) -> io::Result<(Spent, u64)> {
    let (each, own) = (total / processes, std::env::current_exe()?);
    let workers = (0..processes).map(|i| {
        let mut command = Command::new(&own);
        command.arg("@churn").arg(root).args([churn.name(), i.to_string(), each.to_string()]);
        command
    });
    Ok((run_workers(workers)?, each * processes))
}

/// How long the workers may take, together: far longer than on a slow and busy machine.
const PATIENCE: Duration = Duration::from_secs(300);

/// A worker and what it says. Dropping it ends it.
struct Worker {
    child: Child,
    lines: Receiver<String>,
}

impl Worker {
    fn start(command: &mut Command) -> io::Result<Self> {
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = crate::sys::for_this_run(command).spawn()?;
        let stdout = BufReader::new(child.stdout.take().expect("asked for"));
        let (sender, lines) = channel();
        std::thread::spawn(move || {
            stdout.lines().map_while(Result::ok).all(|line| sender.send(line).is_ok())
        });
        Ok(Worker { child, lines })
    }

    fn next_line(&mut self, deadline: Instant) -> io::Result<String> {
        match self.lines.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
            Ok(line) => Ok(line),
            Err(RecvTimeoutError::Timeout) => {
                let at = ending::whereabouts(self.child.id());
                Err(io::Error::other(format!("gave up waiting for a worker: {at}")))
            }
            Err(RecvTimeoutError::Disconnected) => {
                let status = ending::wait(&mut self.child, Duration::from_secs(1))?;
                Err(io::Error::other(format!("a worker ended early: {status:?}")))
            }
        }
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        ending::abandon(&mut self.child);
    }
}

/// What workers took.
#[derive(Clone, Copy, Default)]
pub(crate) struct Spent {
    /// Time of the slowest, ns.
    pub(crate) elapsed_ns: u64,
    /// CPU time of all of them and of the processes that they waited for, ns.
    pub(crate) cpu_ns: u64,
}

impl Spent {
    fn done(self, operations: u64, expected: Counts) -> Done {
        let cpu_ns = Some(self.cpu_ns);
        Done { elapsed_ns: self.elapsed_ns, cpu_ns, operations, expected }
    }
}

/// Starts all workers, lets them go together, and says what they took.
pub(crate) fn run_workers(commands: impl Iterator<Item = Command>) -> io::Result<Spent> {
    let deadline = Instant::now() + PATIENCE;
    let mut workers = Vec::new();
    for mut command in commands {
        workers.push(Worker::start(&mut command)?);
    }
    for worker in &mut workers {
        worker.next_line(deadline)?;
    }
    for worker in &mut workers {
        worker.child.stdin.take().expect("asked for").write_all(b"go\n")?;
    }
    let mut spent = Spent::default();
    for worker in &mut workers {
        let line = worker.next_line(deadline)?;
        let (elapsed, cpu) = line.split_once(' ').ok_or_else(|| io::Error::other("no times"))?;
        let number = |text: &str| text.parse::<u64>().map_err(io::Error::other);
        spent.elapsed_ns = spent.elapsed_ns.max(number(elapsed)?);
        spent.cpu_ns += number(cpu)?;
        ending::wait(&mut worker.child, Duration::from_secs(5))?;
    }
    Ok(spent)
}

/// The worker's side of [`run_workers`]: gets ready, waits for the word, works, says how long.
pub(crate) fn worker<W: FnOnce() -> io::Result<()>>(
    get_ready: impl FnOnce() -> io::Result<W>,
) -> ExitCode {
    let run = || {
        let work = get_ready()?;
        println!("ready");
        io::stdin().read_line(&mut String::new())?;
        let (start, cpu_ns) = (Instant::now(), crate::sys::family_cpu_ns());
        work()?;
        println!("{} {}", start.elapsed().as_nanos(), crate::sys::family_cpu_ns() - cpu_ns);
        io::Result::Ok(())
    };
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("worker: {error}");
            ExitCode::FAILURE
        }
    }
}

/// A number among a worker's arguments.
pub(crate) fn number(arg: &OsStr) -> io::Result<u64> {
    arg.to_str().and_then(|arg| arg.parse().ok()).ok_or_else(|| io::Error::other("not a number"))
}

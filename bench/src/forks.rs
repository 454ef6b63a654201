//! `fsmon-bench forks`: the cost of attribution. Forks, execs and waits for processes that do nothing, one after the
//! other. They change no file, so the whole cost of a monitor is its knowledge of processes.

use crate::area::Area;
use crate::args::Program;
use crate::monitor::{self, RUNGS, command};
use crate::results::keep::Keep;
use crate::results::{Figures, Measured, Verdict};
use crate::sys::{self, Fork};
use crate::table::{self, Spread, Table, not_run, show};
use crate::workload::{self, Spent};
use clap::Args;
use serde::{Deserialize, Serialize};
use std::ffi::OsString;
use std::fs::{self, File, Permissions};
use std::io::{self, BufWriter, Write};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, ExitCode, Stdio};
use std::time::Instant;

/// Measures what attribution costs: CPU per fork, exec and exit, without and with fsmon.
#[derive(Args)]
pub(crate) struct ForksArgs {
    /// How often each is run
    #[arg(long, value_name = "N", default_value_t = 15, value_parser = clap::value_parser!(u32).range(1..))]
    runs: u32,
    /// Processes in a run
    #[arg(long, value_name = "N", default_value_t = 2000, value_parser = clap::value_parser!(u64).range(1..))]
    processes: u64,
    #[command(flatten)]
    pub(crate) keep: Keep,
    #[command(flatten)]
    program: Program,
}

/// Processes before the measurement, to warm the machine up.
const WARM_UP: u64 = 500;

/// The cost of forks without a monitor, and beside fsmon with each source of names.
#[derive(Serialize, Deserialize)]
pub(crate) struct Forks {
    /// In a run.
    processes: u64,
    /// The first is beside nothing.
    rows: Vec<Row>,
}

/// All runs beside one monitor.
#[derive(Serialize, Deserialize)]
struct Row {
    name: String,
    /// The value of `--who`; `None` without a monitor.
    who: Option<String>,
    samples: Vec<Sample>,
    error: Option<String>,
}

/// One run, ns.
#[derive(Clone, Copy, Serialize, Deserialize)]
struct Sample {
    elapsed_ns: u64,
    /// CPU of the forking process and of its children. Includes the kernel's work to notify monitors.
    workload_cpu_ns: u64,
    /// CPU of fsmon.
    cpu_ns: u64,
    /// How long single processes took; results of before have none.
    #[serde(default)]
    each: Option<Each>,
}

/// How long single processes took, from the fork until the parent knows of the end, ns.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Each {
    /// Half of them took at most that.
    median_ns: u64,
    /// All but one in a thousand took at most that.
    p999_ns: u64,
    most_ns: u64,
}

impl Each {
    /// Of these, one a line; `None` without any.
    fn parse(text: &str) -> Option<Self> {
        let mut all = text.lines().map(|line| line.parse().ok()).collect::<Option<Vec<u64>>>()?;
        all.sort_unstable();
        let (most_ns, rank) =
            (*all.last()?, |per_mille: usize| (all.len() * per_mille).div_ceil(1000) - 1);
        Some(Each { median_ns: all[rank(500)], p999_ns: all[rank(999)], most_ns })
    }
}

/// Runs everything and prints the table.
pub(crate) fn measure(args: &ForksArgs) -> Result<Measured, String> {
    let fsmon = args.program.find()?;
    let area = Area::new().map_err(|e| format!("mounting a tmpfs: {e}; it must be run as root"))?;
    area.renew().and_then(|()| write_program(&area)).map_err(|error| error.to_string())?;
    let mut rows = rows();
    run(&area, None, &fsmon, WARM_UP)?;
    for round in 0..args.runs as usize {
        for i in 0..rows.len() {
            let i = (i + round) % rows.len();
            let row = &mut rows[i];
            if row.error.is_some() {
                continue;
            }
            eprintln!("forks beside {}, {} of {}", row.name, round + 1, args.runs);
            match run(&area, row.who.as_deref(), &fsmon, args.processes) {
                Ok(sample) => row.samples.push(sample),
                Err(error) => row.error = Some(error),
            }
        }
    }
    let verdict = Verdict::of(rows.iter().all(|row| row.error.is_none()));
    let forks = Forks { processes: args.processes, rows };
    let figures = Figures { forks: Some(forks), ..Figures::default() };
    table::print(&figures.tables());
    Ok(Measured { figures, verdict })
}

fn rows() -> Vec<Row> {
    let row = |name: String, who: Option<&str>| Row {
        name,
        who: who.map(str::to_owned),
        samples: vec![],
        error: None,
    };
    let rungs = RUNGS.map(|rung| row(format!("fsmon --who {rung}"), Some(rung)));
    [row("none".into(), None), row("fsmon".into(), Some("auto"))].into_iter().chain(rungs).collect()
}

fn run(area: &Area, who: Option<&str>, fsmon: &Path, processes: u64) -> Result<Sample, String> {
    let running = match who {
        Some(who) => {
            let plan = command::fsmon_lines(fsmon, who, "auto", area).map_err(|e| e.to_string())?;
            Some(monitor::launch(plan, Stdio::null())?)
        }
        None => None,
    };
    let done = run_worker(area, processes);
    let (spent, each) = done.map_err(|error| format!("the workload: {error}"))?;
    let cpu_ns = match running {
        Some(running) => running.stop()?.cpu_ns,
        None => 0,
    };
    Ok(Sample { elapsed_ns: spent.elapsed_ns, workload_cpu_ns: spent.cpu_ns, cpu_ns, each })
}

fn run_worker(area: &Area, processes: u64) -> io::Result<(Spent, Option<Each>)> {
    let mut command = Command::new(std::env::current_exe()?);
    let times = area.fresh("forks.ns")?;
    command.arg("@forks").arg(area.programs.join(PROGRAM)).arg(processes.to_string()).arg(&times);
    let spent = workload::run_workers(std::iter::once(command))?;
    Ok((spent, Each::parse(&fs::read_to_string(times)?)))
}

/// `@forks PROGRAM COUNT TIMES`: the process that forks. Writes to the file how long each process took, ns.
pub(crate) fn worker(args: &[OsString]) -> ExitCode {
    workload::worker(|| {
        let [program, count, times] = args else { return Err(io::Error::other("three arguments")) };
        let count = workload::number(count)?;
        let mut file = BufWriter::new(File::create(times)?);
        Ok(move || {
            for _ in 0..count {
                let begun = Instant::now();
                start(program)?;
                writeln!(file, "{}", begun.elapsed().as_nanos())?;
            }
            file.flush()
        })
    })
}

fn start(program: &OsString) -> io::Result<()> {
    match sys::fork()? {
        Fork::Parent(pid) if sys::wait(pid)? == Some(0) => Ok(()),
        Fork::Parent(_) => Err(io::Error::other("a process failed")),
        Fork::Child => {
            let _ = Command::new(program).exec();
            sys::exit_now(1)
        }
    }
}

const PROGRAM: &str = "nothing";

/// Makes the smallest program there can be: an ELF file of one segment that exits at once. What
/// any other does would be measured too.
fn write_program(area: &Area) -> io::Result<()> {
    let path = area.programs.join(PROGRAM);
    match smallest_program() {
        Some(program) => fs::write(&path, program)?,
        None => fs::copy("/bin/true", &path).map(drop)?,
    }
    fs::set_permissions(&path, Permissions::from_mode(0o755))
}

/// See elf(5). `None` for a processor whose instructions are not known here.
fn smallest_program() -> Option<Vec<u8>> {
    let (machine, code): (u16, &[u8]) = match std::env::consts::ARCH {
        // xor edi, edi; mov eax, 60; syscall
        "x86_64" => (62, &[0x31, 0xff, 0xb8, 60, 0, 0, 0, 0x0f, 0x05]),
        // mov x0, #0; mov x8, #93; svc #0
        "aarch64" => (183, &[0, 0, 0x80, 0xd2, 0xa8, 0x0b, 0x80, 0xd2, 1, 0, 0, 0xd4]),
        _ => return None,
    };
    const BASE: u64 = 0x40_0000;
    const HEADERS: u64 = 64 + 56;
    let len = HEADERS + code.len() as u64;
    let mut file = b"\x7fELF\x02\x01\x01\0\0\0\0\0\0\0\0\0".to_vec();
    let halves =
        |file: &mut Vec<u8>, all: &[u16]| all.iter().for_each(|n| file.extend(n.to_le_bytes()));
    let words =
        |file: &mut Vec<u8>, all: &[u64]| all.iter().for_each(|n| file.extend(n.to_le_bytes()));
    // Executable, machine, version 1.
    halves(&mut file, &[2, machine, 1, 0]);
    // Entry, program headers, no sections.
    words(&mut file, &[BASE + HEADERS, 64, 0]);
    // No flags; sizes of the headers; one program header.
    halves(&mut file, &[0, 0, 64, 56, 1, 0, 0, 0]);
    // PT_LOAD, readable and executable: the whole file.
    halves(&mut file, &[1, 0, 5, 0]);
    words(&mut file, &[0, BASE, BASE, len, len, 0x1_0000]);
    file.extend(code);
    Some(file)
}

impl Forks {
    /// The table of it.
    pub(crate) fn table(&self) -> Table {
        let head = [
            "monitor",
            "time",
            "half of them",
            "all but 1 in 1000",
            "the slowest",
            "workload's CPU",
            "monitor's CPU",
            "both",
            "more than none",
        ];
        let mut table = Table::new("forks", &head);
        let processes = self.processes;
        table.note =
            Some(format!("µs per process that is forked, execs and exits; {processes} a run."));
        for row in &self.rows {
            table.push(match &row.error {
                Some(error) => not_run(&row.name, error),
                None => self.cells(row),
            });
        }
        table
    }

    fn cells(&self, row: &Row) -> Vec<String> {
        let single = |figure: fn(&Each) -> u64| {
            let each = row.samples.iter().filter_map(|sample| sample.each.as_ref());
            Spread::of(each.map(|each| figure(each) as f64 / 1000.0))
        };
        let watches = row.who.is_some();
        let each = |ns: f64| ns / 1000.0 / self.processes as f64;
        let figures = |figure: fn(&Sample) -> u64| {
            Spread::of(row.samples.iter().map(|sample| each(figure(sample) as f64)))
        };
        let monitor = watches.then(|| figures(|sample| sample.cpu_ns)).flatten();
        let pairs = row.samples.iter().zip(self.rows.first().map_or(&[][..], |none| &none.samples));
        // What each run took more than the one of the same round beside nothing: what changes on
        // the machine from one round to the next is in both.
        let more = pairs.map(|(with, none)| each(with.both() as f64 - none.both() as f64));
        vec![
            row.name.clone(),
            show(figures(|sample| sample.elapsed_ns), 0, ""),
            show(single(|each| each.median_ns), 0, ""),
            show(single(|each| each.p999_ns), 0, ""),
            show(single(|each| each.most_ns), 0, ""),
            show(figures(|sample| sample.workload_cpu_ns), 1, ""),
            show(monitor, 1, ""),
            show(figures(Sample::both), 1, ""),
            show(Spread::of(more).filter(|_| watches), 1, ""),
        ]
    }
}

impl Sample {
    fn both(&self) -> u64 {
        self.workload_cpu_ns + self.cpu_ns
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_in_a_thousand_may_be_slower() {
        assert_eq!(Each::parse(""), None);
        assert_eq!(Each::parse("1\nx\n"), None);
        let one = Each { median_ns: 7, p999_ns: 7, most_ns: 7 };
        assert_eq!(Each::parse("7\n"), Some(one));
        let lines: String = (1..=2000).rev().map(|ns| format!("{ns}\n")).collect();
        let all = Each { median_ns: 1000, p999_ns: 1998, most_ns: 2000 };
        assert_eq!(Each::parse(&lines), Some(all));
    }
}

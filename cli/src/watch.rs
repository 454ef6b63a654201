//! `fsmon [PATH]...`: checks everything, starts the engine and the formatter thread, and waits
//! for what ends them.

use crate::args::{Compress, Format, WatchArgs};
use crate::binary::{self, Binary};
use crate::control::Control;
use crate::filter::{self, Filter, Source};
use crate::formatter::{Job, Outcome, spawn};
use crate::limits::{DIR_NAME_BYTES, NAMES_BYTES};
use crate::names::STRING_IDS;
use crate::segments::{self, Keep, Rotate, Segments};
use crate::sink::{Target, check_writable};
use crate::tell::{end_progress, progress, tell};
use crate::text::{Lines, csv, human, human::Human, json::Json};
use crate::wall::Wall;
use crate::{stats, summary};
use fsmon_engine::limits::{CMDLINES_BYTES, DIRS_DEAD_MAX, STRINGS_BYTES};
use fsmon_engine::plan::Plan;
use fsmon_engine::{Config, Error, Monitor};
use fsmon_format::kind;
use fsmon_format::mirror::Capacity;
use std::fs::File;
use std::io::{self, IsTerminal};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::thread::JoinHandle;

/// Watches until something ends it.
///
/// # Errors
/// Whatever keeps it from beginning, and what breaks the output or the engine.
pub(crate) fn run(args: &WatchArgs) -> Result<(), Error> {
    let stream_id = binary::stream_id()?;
    let target = target(args, stream_id)?;
    let is_terminal = target.is_terminal();
    if args.format == Format::Binary && is_terminal {
        return Err(Error::new(
            "a binary stream is nothing for a terminal; write it to a file with -o FILE, or pipe \
             it into fsmon decode -",
        ));
    }
    if let Some(path) = &args.stats {
        check_writable(path)?;
    }
    keep_pages_small();
    let capacity = capacity(args);
    let filter = Filter::new(&args.filter, kind::DEFAULT, Source::Live, capacity)?;
    let config = config(args, &filter)?;
    let control = Control::new()?;
    let (monitor, receiver) = fsmon_engine::start(config)?;
    let sink = target.open()?;
    if let Some(path) = &args.stats {
        File::create(path).map_err(|error| stats_error(path, error))?;
    }
    control.set_ready();
    let voice = control.voice();
    let (wall, count) = (Wall::of_this_host(), args.count);
    let job = Job { receiver, sink, filter, capacity, wall, count, voice };
    let formatter = start_formatter(job, args, is_terminal, monitor.plan(), stream_id)?;
    announce(monitor.plan(), monitor.counters().dirs);
    control.wait(args.duration, || monitor.stop());
    finish(monitor, formatter, args.stats.as_deref())
}

/// Where the output goes, and whether what was asked for goes together.
fn target(args: &WatchArgs, stream_id: [u8; 16]) -> Result<Target, Error> {
    if args.compress != Compress::None && args.format != Format::Binary {
        return Err(Error::new(
            "--compress is for -f binary; pipe other formats through a compressor",
        ));
    }
    let is_dir = args.output.as_os_str().as_bytes().ends_with(b"/");
    if !is_dir && args.output.is_dir() {
        let name = args.output.display();
        return Err(Error::new(format!(
            "{name} is a directory; write {name}/ for new files in it"
        )));
    }
    if !is_dir {
        if args.rotate.is_some() || args.keep.is_some() {
            return Err(Error::new(
                "--rotate and --keep are for files in a directory; write -o DIR/",
            ));
        }
        return Target::new(&args.output);
    }
    if let (Some(Rotate::Bytes(file)), Some(Keep::Bytes(all))) = (args.rotate, args.keep)
        && all < file
    {
        return Err(Error::new(
            "--keep is less than one file of --rotate; keep more, or rotate sooner",
        ));
    }
    let extension = match args.format {
        Format::Human => "txt",
        Format::Json => "json",
        Format::Csv => "csv",
        Format::Binary => segments::STREAM,
    };
    let [a, b, c, d, ..] = stream_id;
    let tag = [a, b, c, d];
    Target::segments(Segments::new(&args.output, extension, args.rotate, args.keep, tag))
}

/// Much room is reserved and little of it used: a huge page for each touched piece would take
/// some 60 MiB (seen where `transparent_hugepage` is `always`). Where it cannot be had, so be it.
fn keep_pages_small() {
    let _ = nix::sys::prctl::set_thp_disable(true);
}

/// The paths as given, or the current directory.
pub(crate) fn roots(paths: &[PathBuf]) -> Vec<PathBuf> {
    if paths.is_empty() { vec![PathBuf::from(".")] } else { paths.to_vec() }
}

fn capacity(args: &WatchArgs) -> Capacity {
    Capacity {
        dirs: args.engine.max_dirs + DIRS_DEAD_MAX,
        processes: args.engine.max_processes,
        strings: STRING_IDS,
        text: args.engine.max_dirs * DIR_NAME_BYTES
            + STRINGS_BYTES
            + NAMES_BYTES
            + if args.cmdline { CMDLINES_BYTES } else { 0 },
    }
}

fn config(args: &WatchArgs, filter: &Filter) -> Result<Config, Error> {
    let mut config = Config::new(existing(roots(&args.paths))?);
    config.types = filter.types();
    config.recursive = !args.no_recursive;
    config.skip_dir = filter::skip_dir(&args.filter)?;
    config.backend = args.engine.backend.into();
    config.cpu = args.engine.cpu;
    config.who = args.engine.who.into();
    config.cmdline = args.cmdline;
    config.batch_window = args.engine.batch_window;
    config.bounded_queue = args.engine.bounded_queue;
    config.dirs_max = args.engine.max_dirs;
    config.processes_max = args.engine.max_processes;
    if io::stderr().is_terminal() {
        config.progress = Some(Box::new(|dirs| progress(format_args!("{dirs} directories..."))));
    }
    Ok(config)
}

/// Files are refused before anything is begun; what does not exist may come to be.
fn existing(roots: Vec<PathBuf>) -> Result<Vec<PathBuf>, Error> {
    for root in &roots {
        let name = root.display();
        match root.metadata() {
            Ok(data) if data.is_dir() => {}
            Err(error)
                if matches!(
                    error.kind(),
                    io::ErrorKind::NotFound | io::ErrorKind::NotADirectory
                ) => {}
            Ok(_) => {
                return Err(Error::new(format!(
                    "{name} is not a directory; watch the one it is in, with --include for it"
                )));
            }
            Err(error) => {
                let what = format!("cannot watch {name}; name another directory");
                return Err(Error::os(what, error));
            }
        }
    }
    Ok(roots)
}

fn start_formatter(
    job: Job,
    args: &WatchArgs,
    is_terminal: bool,
    plan: &Plan,
    stream_id: [u8; 16],
) -> Result<JoinHandle<Outcome>, Error> {
    let (chain, cmdline) = (args.chain, args.cmdline);
    match args.format {
        Format::Human => {
            let human = Human::new(chain, human::wants_colours(is_terminal));
            spawn(job, Lines(human.with_cmdline(cmdline)))
        }
        Format::Json => spawn(job, Lines(Json::new(chain).with_cmdline(cmdline))),
        Format::Csv if is_terminal => {
            spawn(job, Lines(csv::Terminal::new(chain).with_cmdline(cmdline)))
        }
        Format::Csv => spawn(job, Lines(csv::Plain::new(chain).with_cmdline(cmdline))),
        Format::Binary => {
            let header = Binary::header(plan, job.filter.types(), job.wall, stream_id);
            let output = Binary::new(header, args.compress.into(), job.capacity)?;
            spawn(job, output)
        }
    }
}

/// First what is lost and what is good to know, then that it is ready.
fn announce(plan: &Plan, dirs: u64) {
    if io::stderr().is_terminal() {
        end_progress();
    }
    for line in plan.losses.iter().chain(&plan.notes) {
        tell(line);
    }
    tell(summary::ready(plan, dirs));
}

/// Tells what came of it. An error of the output explains one of the engine, so it goes first.
fn finish(
    monitor: Monitor,
    formatter: JoinHandle<Outcome>,
    stats: Option<&Path>,
) -> Result<(), Error> {
    let (formatted, written) =
        formatter.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
    let last = monitor.counters();
    let (counters, read) = match monitor.join() {
        Ok(counters) => (counters, Ok(())),
        Err(error) => (last, Err(error)),
    };
    if let Some(path) = stats {
        stats::write(path, &counters, &formatted).map_err(|error| stats_error(path, error))?;
    }
    tell(summary::end(&counters, &formatted));
    written.and(read)
}

fn stats_error(path: &Path, error: io::Error) -> Error {
    Error::os(format!("cannot write the counters to {}", path.display()), error)
}

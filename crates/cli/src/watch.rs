//! `fsmon [PATH]...`: checks the arguments, starts an engine and a formatter thread (or both for each filesystem),
//! and waits until something ends them.

use crate::args::WatchArgs;
use crate::control::{Control, INTERRUPTED};
use crate::formatter::{Job, Outcome, spawn};
use crate::header::{header, stream_id};
use crate::lines::LineOptions;
use crate::outputs::{self, StreamId};
use crate::parts::parts;
use crate::remedies;
use crate::skip::{Depth, skip_dir};
use crate::stats::Stats;
use crate::summary;
use crate::summary::Formatted;
use crate::target::{Target, check_writable};
use fsmon_engine::plan::Plan;
use fsmon_engine::privileges;
use fsmon_engine::{Config, Counters, Error, Monitor};
use fsmon_format::kind;
use fsmon_present::Format;
use fsmon_present::binary::Binary;
use fsmon_present::filter::{Criteria, Filter, Roots, Source};
use fsmon_present::message::{self, end_progress, progress};
use fsmon_present::names;
use fsmon_present::redact::Redactor;
use fsmon_present::text::Lines;
use fsmon_present::wall::Wall;
use std::io::{self, IsTerminal};
use std::path::PathBuf;
use std::process::ExitCode;
use std::thread::JoinHandle;

/// Watches until something ends it.
///
/// # Errors
/// The watch cannot begin; the output or the engine fails.
pub(crate) fn run(args: &WatchArgs) -> Result<ExitCode, Error> {
    let parts = parts(args)?;
    let streams = parts.iter().map(|_| stream_id()).collect::<Result<Vec<_>, _>>()?;
    let targets = outputs::targets(args, &streams)?;
    let is_terminal = targets.iter().any(Target::is_terminal);
    if let Some(path) = &args.stats {
        check_writable(path)?;
    }
    keep_pages_small();
    let engine_room = config(args, &parts, 0, kind::DEFAULT).capacity();
    let capacity = names::room(engine_room);
    let roots = Roots::of_paths(parts.iter().flatten());
    let (max_depth, size) = (args.max_depth, args.size);
    let criteria = Criteria { max_depth, size, ..(&args.filter).into() };
    let filter = || {
        let mut filter = Filter::new(&criteria, kind::DEFAULT, Source::Live, capacity)?;
        filter.set_roots(&roots)?;
        Ok(filter)
    };
    let mut redactors = Vec::new();
    for _ in &parts {
        redactors.push(Redactor::new(&args.redact)?);
    }
    let filters = parts.iter().map(|_| filter()).collect::<Result<Vec<_>, Error>>()?;
    let config = |reader| {
        let mut config = config(args, &parts, reader, filters[reader].types());
        let skip = || {
            let depth = max_depth.map(|levels| Depth::new(levels, &roots));
            skip_dir(&args.filter.exclude, depth, &roots)
        };
        config.skip_dir = skip()?;
        config.skip_mount = skip()?.map(|skip| skip.skips);
        Ok(config)
    };
    let configs = (0..parts.len()).map(config).collect::<Result<Vec<_>, Error>>()?;
    let control = Control::new()?;
    let engines = configs.into_iter().map(fsmon_engine::start).collect::<Result<Vec<_>, _>>()?;
    let stats = args.stats.as_deref().map(Stats::open).transpose()?;
    let sinks = outputs::open(targets, engines.len())?;
    control.set_ready();
    let wall = Wall::of_this_host();
    let mut running = Vec::new();
    let ends = sinks.into_iter().zip(filters).zip(redactors).zip(&streams);
    for ((monitor, receiver), (((sink, filter), redactor), stream)) in engines.into_iter().zip(ends)
    {
        let (handle, count) = (control.handle(), args.count);
        let job = Job { receiver, sink, filter, redactor, capacity, wall, count, handle };
        let formatter = start_formatter(job, args, is_terminal, monitor.plan(), *stream)?;
        running.push(Running { monitor, formatter });
    }
    if let Some(stats) = &stats {
        stats.empty()?;
    }
    // All that takes them is done, or is done by threads with what they need.
    privileges::keep(&[])?;
    announce(&running);
    control.wait(args.duration, || running.iter().for_each(|running| running.monitor.stop()));
    finish(running, stats.as_ref())?;
    Ok(if control.is_hurried() { ExitCode::from(INTERRUPTED) } else { ExitCode::SUCCESS })
}

/// A reader and its formatter.
struct Running {
    monitor: Monitor,
    formatter: JoinHandle<Outcome>,
}

/// Disables huge pages. fsmon reserves much memory and uses little: with huge pages it took about 60 MiB more (seen
/// with `transparent_hugepage` set to `always`). Ignores errors.
pub(crate) fn keep_pages_small() {
    let _ = nix::sys::prctl::set_thp_disable(true);
}

/// The configuration of one reader.
fn config(args: &WatchArgs, parts: &[Vec<PathBuf>], reader: usize, types: u32) -> Config {
    let mut config = Config::new(parts[reader].clone());
    let others = parts.iter().enumerate().filter(|(other, _)| *other != reader);
    config.elsewhere = others.flat_map(|(_, part)| part).cloned().collect();
    config.reader = reader;
    config.types = types;
    config.recursive = !args.no_recursive;
    config.follow_mounts = args.follow_mounts;
    config.hard_links = args.hard_links;
    config.notice = Some(Box::new(message::print));
    config.backend = args.engine.backend;
    config.cpu = args.engine.cpu;
    config.who = args.engine.who;
    config.cmdline = args.cmdline;
    config.batch_window = args.engine.batch_window;
    config.bounded_queue = args.engine.bounded_queue;
    config.dirs_max = args.engine.max_dirs;
    config.processes_max = args.engine.max_processes;
    if io::stderr().is_terminal() {
        config.progress = Some(Box::new(|dirs| progress(format_args!("{dirs} directories..."))));
    }
    config
}

fn start_formatter(
    job: Job,
    args: &WatchArgs,
    is_terminal: bool,
    plan: &Plan,
    stream: StreamId,
) -> Result<JoinHandle<Outcome>, Error> {
    let lines = LineOptions::from(args);
    match args.format {
        Format::Human => spawn(job, Lines(lines.human(is_terminal))),
        Format::Json => spawn(job, Lines(lines.json())),
        Format::Csv if is_terminal => spawn(job, Lines(lines.csv_of_terminal())),
        Format::Csv => spawn(job, Lines(lines.csv())),
        Format::Binary => {
            let header = header(plan, job.filter.types(), job.wall, stream);
            let output = Binary::new(header, args.compress.into(), job.capacity)?;
            spawn(job, output.keep_for_a_cut())
        }
    }
}

/// Prints losses and notes, each once, then the `ready` line.
fn announce(running: &[Running]) {
    if io::stderr().is_terminal() {
        end_progress();
    }
    let plans: Vec<_> = running.iter().map(|running| running.monitor.plan()).collect();
    let losses = plans.iter().flat_map(|plan| &plan.losses).map(remedies::degradation);
    let notes = plans.iter().flat_map(|plan| &plan.notes).map(ToString::to_string);
    let mut printed: Vec<String> = Vec::new();
    for line in losses.chain(notes) {
        if !printed.contains(&line) {
            message::print(&line);
            printed.push(line);
        }
    }
    let dirs = running.iter().map(|running| running.monitor.counters().dirs).sum();
    message::print(summary::ready(&plans, dirs));
}

/// Waits for the threads and prints the last line. Returns an error of the output before one of the engine, which
/// it may have caused.
fn finish(running: Vec<Running>, stats: Option<&Stats>) -> Result<(), Error> {
    let mut result = Ok(());
    let (mut counters, mut formatted) = (Counters::default(), Formatted::default());
    for Running { monitor, formatter } in running {
        let (own, written) =
            formatter.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        let last = monitor.counters();
        let (counted, read) = match monitor.join() {
            Ok(counters) => (counters, Ok(())),
            Err(error) => (last, Err(error)),
        };
        counters = counters.and(&counted);
        formatted = formatted.and(&own);
        formatted.failed += u64::from(read.is_err());
        result = result.and(written).and(read);
    }
    let stats = stats.map_or(Ok(()), |stats| stats.write(&counters, &formatted));
    message::print(summary::end(&counters, &formatted));
    result.and(stats)
}

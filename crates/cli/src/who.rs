//! `fsmon who`: who wrote a file, and before that.

use crate::args::client::Shape;
use crate::args::history::WhoArgs;
use crate::history::{self, Opened, recorded_path};
use crate::lines::LineOptions;
use crate::sink::{Pipe, Sink};
use crate::target::Target;
use fsmon_engine::{Error, ErrorKind, objects_of};
use fsmon_format::kind::{self, in_causal_order};
use fsmon_format::stream::BLOCK_CAPACITY;
use fsmon_present::TimeFormat;
use fsmon_present::filter::{Criteria, Filter, Source};
use fsmon_present::message::{self, counted, shown};
use fsmon_present::pipeline::Pipeline;
use fsmon_present::text::{LineFormat, Lines};
use fsmon_present::world::World;
use fsmon_store::history::KEY;
use fsmon_store::search::{
    Answer, Now, Question, Role, Search, Segments, Told, Trouble, TroubleKind, Unknown,
};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::process::ExitCode;

/// Nothing was found.
pub(crate) const NOTHING: u8 = 3;
/// Found, but something may be missing.
pub(crate) const UNCERTAIN: u8 = 4;

/// Answers for each path.
///
/// # Errors
/// The history cannot be read or is damaged, standard output cannot be written to.
pub(crate) fn run(args: &WhoArgs) -> Result<ExitCode, Error> {
    let paths: Vec<_> =
        args.paths.iter().map(|path| recorded_path(path)).collect::<Result<_, _>>()?;
    let opened = history::open(&args.history)?;
    let target = Target::new(Path::new("-"))?;
    let is_terminal = target.is_terminal();
    let mut printer = Printer { sink: target.open()?, is_terminal, args };
    let mut code = 0;
    let mut damage = 0;
    for path in &paths {
        let (mut search, segments, answer) = ask(args, &opened, path)?;
        if args.paths.len() > 1 && args.format == Shape::Human {
            printer.put(format!("{}\n", message::line(&shown(path))).into_bytes())?;
        }
        let status = printer.answer(&mut search, path, &answer)?;
        say(path, &answer, &segments, status);
        damage += search.damage().len() as u64;
        for (segment, place) in search.damage() {
            message::print(format_args!("{segment}: {place}"));
        }
        code = code.max(status);
    }
    if damage > 0 {
        let places = counted(damage, "place", "places");
        let line = format!("damaged in {places}; everything else was looked at");
        return Err(Error::new(ErrorKind::Damaged, line));
    }
    Ok(ExitCode::from(code))
}

/// Searches. Where the file is another than the recorded one, it may have changed just now: then once more.
fn ask(args: &WhoArgs, opened: &Opened, path: &Path) -> Result<(Search, Segments, Answer), Error> {
    let mut is_again = false;
    loop {
        let now = if args.until.is_some() { Now::default() } else { now(&opened.dir, path) };
        let (mut search, segments) = Search::open(&opened.dir)?;
        let answer = search.who(&Question {
            path: path.as_os_str().as_bytes(),
            since_ns: args.since.unwrap_or(0),
            until_ns: args.until,
            writers: if args.all { u64::MAX } else { args.limit },
            now,
        })?;
        let is_recorded = opened.flushed.is_some();
        let may_be_late = answer.unknown.is_some() || answer.told.is_empty();
        if is_again || !is_recorded || !may_be_late {
            return Ok((search, segments, answer));
        }
        history::open(&args.history)?;
        is_again = true;
    }
}

/// What the filesystem says of a path.
fn now(dir: &Path, path: &Path) -> Now {
    let data = match path.symlink_metadata() {
        Ok(data) => data,
        Err(error) => {
            let is_gone = ErrorKind::from(&error) == ErrorKind::NotFound;
            return Now { exists: is_gone.then_some(false), ..Now::default() };
        }
    };
    let ns = |seconds: i64, ns: i64| {
        let seconds = u64::try_from(seconds).unwrap_or(0);
        seconds.saturating_mul(1_000_000_000).saturating_add(ns.try_into().unwrap_or(0))
    };
    let key = std::fs::read(dir.join(KEY)).ok().and_then(|key| key.try_into().ok());
    Now {
        exists: Some(true),
        objects: key.map_or_else(Vec::new, |key| objects_of(path, &key)),
        changed_ns: Some((
            ns(data.mtime(), data.mtime_nsec()),
            ns(data.ctime(), data.ctime_nsec()),
        )),
        is_regular: Some(data.is_file()),
    }
}

struct Printer<'a> {
    sink: Sink,
    is_terminal: bool,
    args: &'a WhoArgs,
}

impl Printer<'_> {
    fn put(&mut self, mut bytes: Vec<u8>) -> Result<(), Error> {
        match self.sink.put(&mut bytes)? {
            Pipe::Open => Ok(()),
            // Nobody reads any more.
            Pipe::Closed => std::process::exit(0),
        }
    }

    /// Prints what is told. Returns the exit status.
    fn answer(&mut self, search: &mut Search, path: &Path, answer: &Answer) -> Result<u8, Error> {
        // Where no writer can be named, what else is known is, and nobody who may be taken for the writer.
        let is_told =
            |told: &&Told| answer.unknown.is_none() || self.args.all || told.role != Role::Wrote;
        let told: Vec<_> = answer.told.iter().filter(is_told).collect();
        for told in &told {
            let line = self.line(search, path, told)?;
            self.put(line)?;
        }
        Ok(match answer.writers() {
            _ if answer.unknown.is_some() => UNCERTAIN,
            0 => NOTHING,
            _ if !answer.troubles.is_empty() => UNCERTAIN,
            _ => 0,
        })
    }

    fn line(&self, search: &mut Search, path: &Path, told: &Told) -> Result<Vec<u8>, Error> {
        let time = self.args.time.or(Some(TimeFormat::Local));
        let lines = LineOptions::of_answer(time);
        match self.args.format {
            Shape::Json => {
                let line = render(search, told, lines.json())?;
                Ok(with_fields(line, path, told))
            }
            Shape::Human => {
                let line = render(search, told, lines.human(self.is_terminal))?;
                let word = format!("{:<10}  ", word(told.role));
                Ok([word.as_bytes(), &line].concat())
            }
        }
    }
}

/// The line of what is told, as `decode` prints it.
fn render<F: LineFormat>(search: &mut Search, told: &Told, format: F) -> Result<Vec<u8>, Error> {
    let filter = Filter::new(&Criteria::default(), kind::EVERY, Source::Recorded, BLOCK_CAPACITY)?;
    let world = World::recorded(BLOCK_CAPACITY);
    let mut pipeline = Pipeline::new(world, filter, Lines(format), None);
    let (mut before, mut out) = (Vec::new(), Vec::new());
    search.show(&told.hit, &mut |record, is_it| {
        pipeline.take(record, if is_it { &mut out } else { &mut before });
    })?;
    // A line for each type of a merged event: that of the type that is told.
    let at = in_causal_order(told.hit.mask).position(|kind| kind.bit == told.kind);
    let lines: Vec<_> = out.split_inclusive(|byte| *byte == b'\n').collect();
    Ok(at.and_then(|at| lines.get(at)).map_or(out.clone(), |line| line.to_vec()))
}

/// Adds what only an answer knows to a line of JSON.
fn with_fields(mut line: Vec<u8>, path: &Path, told: &Told) -> Vec<u8> {
    let role = match told.role {
        Role::Wrote => "wrote",
        Role::Closed => "closed",
        Role::Deleted => "deleted",
        Role::MovedAway => "moved_away",
        _ => "moved_here",
    };
    let Some(end) = line.iter().rposition(|byte| *byte == b'}') else { return line };
    line.truncate(end);
    line.extend_from_slice(format!(",\"role\":\"{role}\"").as_bytes());
    let is_other = told.hit.path.as_deref() != Some(path.as_os_str().as_bytes());
    if is_other {
        let path = serde_json::Value::from(path.to_string_lossy());
        line.extend_from_slice(format!(",\"path_now\":{path}").as_bytes());
    }
    line.extend_from_slice(b"}\n");
    line
}

fn word(role: Role) -> &'static str {
    match role {
        Role::Wrote => "wrote",
        Role::Closed => "closed",
        Role::Deleted => "deleted",
        Role::MovedAway => "moved away",
        _ => "moved here",
    }
}

/// Says on standard error what an answer is worth.
fn say(path: &Path, answer: &Answer, segments: &Segments, status: u8) {
    let path = shown(path);
    match &answer.unknown {
        Some(Unknown::Replaced) => message::print(format_args!(
            "{path}: the file that is there now is not the one that was recorded last; who put it there is not known"
        )),
        Some(Unknown::ChangedUnseen(at)) => message::print(format_args!(
            "{path}: it was changed at {}, when nothing was recorded; by whom is not known",
            when(*at)
        )),
        _ => {}
    }
    if status == NOTHING {
        let oldest = segments.oldest_ns().map_or_else(
            || "nothing is recorded yet".to_owned(),
            |oldest| format!("the oldest record is of {}", when(oldest)),
        );
        let what = if answer.told.is_empty() {
            "nothing about it is recorded"
        } else {
            "who wrote it is not recorded"
        };
        message::print(format_args!("{path}: {what}; {oldest}"));
        return;
    }
    for trouble in &answer.troubles {
        message::print(format_args!("{path}: {}", sentence(trouble)));
    }
}

/// What makes an answer uncertain, in a sentence.
fn sentence(trouble: &Trouble) -> String {
    let (from, to) = (when(trouble.wall_ns.0), when(trouble.wall_ns.1));
    match &trouble.kind {
        TroubleKind::Gap(cause) => format!(
            "nothing was recorded from {from} to {to} ({}); changes then are not known",
            cause.name()
        ),
        TroubleKind::Loss(reason, _) => {
            format!("changes until {to} may be missing (LOSS {})", reason.name())
        }
        TroubleKind::Unwatched(root) => {
            let root = String::from_utf8_lossy(root);
            format!("the watch of {} ended at {to}", message::line(&root))
        }
        _ => format!("something may be missing until {to}"),
    }
}

/// A wall time for people, in this zone.
fn when(wall_ns: u64) -> String {
    let at = jiff::Timestamp::from_nanosecond(wall_ns.into()).unwrap_or(jiff::Timestamp::MAX);
    at.to_zoned(jiff::tz::TimeZone::system()).strftime("%Y-%m-%d %H:%M:%S%.3f %Z").to_string()
}

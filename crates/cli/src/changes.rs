//! `fsmon changes`: what is different since a moment, net.

mod output;
mod rescan;

use crate::args::changes::ChangesArgs;
use crate::history;
use crate::limits::PAST_PIECES;
use crate::sink::{Pipe, Sink};
use crate::target::Target;
use fsmon_engine::{Error, ErrorKind};
use fsmon_present::filter::{PathGlobs, Purpose, Roots, real, rest_below};
use fsmon_present::message::{self, counted, shown};
use fsmon_present::text::human::wants_colours;
use fsmon_store::changes::{self, Asked, Line, Lines, Reading, Scan, Since, Span};
use output::Output;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Component, Path, PathBuf};
use std::process::ExitCode;

/// Nothing is different.
const NOTHING: u8 = 3;
/// What is printed may not be all.
const INCOMPLETE: u8 = 4;

/// Prints what is different.
///
/// # Errors
/// The history cannot be read, or is damaged; the output cannot be written to.
pub(crate) fn run(args: &ChangesArgs) -> Result<ExitCode, Error> {
    let target = Target::new(&args.output)?;
    let history::Opened { dir, flushed } = history::open(&args.history)?;
    if flushed.is_none() && args.until.is_none() && !history::is_recorded(&dir) {
        message::print(format_args!(
            "no daemon records into {}: the answer is as of the end of what is recorded",
            shown(&dir)
        ));
    }
    let span = Span { since: args.since.clone().unwrap_or(Since::Beginning), until_ns: args.until };
    let paths = args.paths.iter().map(|path| asked(path, &dir)).collect::<Result<Vec<_>, _>>()?;
    let asked = Asked { paths: paths.clone(), all: args.all };
    let Reading { changes, troubles, damage, roots } = changes::read(&dir, asked, &span)?;
    let globs = Globs::new(args, &roots)?;
    let mut past = Scan::new(&dir, &span, PAST_PIECES)?;
    let mut lines = changes.finish(&mut past);
    let is_terminal = target.is_terminal();
    let output = match args {
        ChangesArgs { null: true, .. } => Output::paths(),
        _ => Output::lines(args.format, wants_colours(is_terminal)),
    };
    let told = Printer { output, sink: target.open()?, globs, all: args.all }.print(&mut lines)?;
    for line in &damage {
        message::print(line);
    }
    if !damage.is_empty() {
        let places = counted(damage.len() as u64, "place", "places");
        return Err(Error::new(
            ErrorKind::Damaged,
            format!("the history is damaged in {places}; everything else was printed: rescan"),
        ));
    }
    if !troubles.is_empty() {
        message::print(rescan::line(&troubles, &paths, &roots));
        return Ok(ExitCode::from(INCOMPLETE));
    }
    Ok(if told { ExitCode::SUCCESS } else { ExitCode::from(NOTHING) })
}

/// A path as records have it: absolute, without `.` and `..`. Where what is recorded is not below the path as it was given,
/// symbolic links are followed.
fn asked(path: &Path, history: &Path) -> Result<Vec<u8>, Error> {
    let failed = |error| Error::os(format!("cannot make {} absolute", shown(path)), error);
    let given = lexical(&std::path::absolute(path).map_err(failed)?);
    let real = real(&given);
    if real != given {
        let roots = changes::roots(history)?;
        let is_below = |path: &Path| {
            roots.iter().any(|root| rest_below(path.as_os_str().as_bytes(), root).is_some())
        };
        if !is_below(&given) && is_below(&real) {
            return Ok(real.into_os_string().into_vec());
        }
    }
    Ok(given.into_os_string().into_vec())
}

/// Without `..`: what is left of `a/../b` is `b`.
fn lexical(path: &Path) -> PathBuf {
    let mut out = PathBuf::new();
    for part in path.components() {
        match part {
            Component::ParentDir => _ = out.pop(),
            part => out.push(part),
        }
    }
    out
}

/// The filters by path.
struct Globs {
    include: Option<PathGlobs>,
    exclude: Option<PathGlobs>,
    roots: Vec<Vec<u8>>,
}

impl Globs {
    fn new(args: &ChangesArgs, roots: &[Vec<u8>]) -> Result<Self, Error> {
        let mut known = Roots::default();
        known.add(roots, false);
        Ok(Globs {
            include: PathGlobs::new(Purpose::Include, &args.include, &known)?,
            exclude: PathGlobs::new(Purpose::Exclude, &args.exclude, &known)?,
            roots: roots.to_vec(),
        })
    }

    fn pass(&self, path: &[u8]) -> bool {
        let matches = |globs: &PathGlobs| self.matches(globs, path);
        self.include.as_ref().is_none_or(matches) && !self.exclude.as_ref().is_some_and(matches)
    }

    /// Whether a path, or a directory above it, matches.
    fn matches(&self, globs: &PathGlobs, path: &[u8]) -> bool {
        let below = self.roots.iter().filter_map(|root| Some((root, rest_below(path, root)?)));
        let Some((root, rest)) = below.min_by_key(|(_, rest)| rest.len()) else {
            return false;
        };
        let slashes = rest.iter().enumerate().filter(|(_, byte)| **byte == b'/');
        let ends = slashes.map(|(at, _)| at).chain([rest.len()]);
        ends.into_iter().any(|end| globs.matches(root, &rest[..end]))
    }
}

/// Prints lines.
struct Printer {
    output: Output,
    sink: Sink,
    globs: Globs,
    all: bool,
}

impl Printer {
    /// Returns whether there was a line.
    fn print(mut self, lines: &mut Lines) -> Result<bool, Error> {
        let mut told = false;
        let Printer { output, sink, globs, all } = &mut self;
        lines.each(|processes, line: &Line<'_>| {
            let is_shown = !line.is_temporary || *all || output.is_paths() && line.is_unsure;
            let passes = globs.pass(line.path) || line.old_path.is_some_and(|old| globs.pass(old));
            if !is_shown || !passes || output.is_closed {
                return Ok(());
            }
            told = true;
            output.append(processes, line);
            output.write(sink, false)
        })?;
        output.write(sink, true)?;
        Ok(told)
    }
}

impl Output {
    /// Writes what there is, if that is much or all.
    fn write(&mut self, sink: &mut Sink, is_all: bool) -> Result<(), Error> {
        if self.is_full() || is_all {
            self.is_closed |= sink.put(&mut self.buffer)? == Pipe::Closed;
        }
        Ok(())
    }
}

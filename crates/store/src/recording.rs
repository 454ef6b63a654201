//! Recorded streams: standard input, a file, or what a directory has of each stream one after the
//! other. They may still grow.

use crate::files::{StreamFile, header_of, is_written, list};
use crate::limits::{FOLLOW_PAUSE_MAX, FOLLOW_PAUSE_MIN, GIVEN_UP_AFTER};
use fsmon_format::error::{Error, ErrorKind};
use fsmon_format::number::to_usize;
use fsmon_format::stream::{self, Header, Mark, first_within};
use fsmon_present::filter::Roots;
use fsmon_present::message::shown_input;
use std::collections::{HashMap, VecDeque};
use std::convert::Infallible;
use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::ops::{Range, RangeInclusive};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// What is read at one time.
pub enum Source {
    /// Standard input.
    Standard(io::Stdin),
    /// A file or a pipe.
    File(File),
}

impl Read for Source {
    fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        match self {
            Source::Standard(stdin) => stdin.read(bytes),
            Source::File(file) => file.read(bytes),
        }
    }
}

impl Seek for Source {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        match self {
            Source::Standard(_) => Err(io::ErrorKind::NotSeekable.into()),
            Source::File(file) => file.seek(to),
        }
    }
}

/// What became of waiting.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wait {
    /// There may be more now.
    Over,
    /// Nothing more will come.
    InVain,
    /// More will come, and nobody asked for it.
    NotAsked,
}

/// The files of one stream, in order.
pub struct Recording {
    files: VecDeque<PathBuf>,
    /// Where other segments may come to be.
    dir: Option<PathBuf>,
    /// Of what is read now.
    name: String,
    is_regular: bool,
    /// Asks whether anybody writes to it.
    lock: Option<File>,
    follow: Option<Follow>,
    /// The wall times that are asked for, ns since 1970; `None`: all.
    wanted: Option<RangeInclusive<u64>>,
    /// Where the clocks are in the files that were looked at.
    marks: HashMap<PathBuf, Mark>,
}

/// A file that grows.
#[derive(Default)]
struct Follow {
    /// Somebody wrote to it; and nobody does so any more.
    was_written: bool,
    is_left: bool,
    /// How long nothing has come.
    quiet: Duration,
    pause: Duration,
}

/// The streams that are to be read, in the order in which they began; `-` is standard input. Files
/// without any of the times in `wanted` (ns since 1970) can be passed over. With them what was watched,
/// as far as it can be known before they are read.
///
/// # Errors
/// There is nothing to be read.
pub fn recordings(
    path: &Path,
    follow: bool,
    wanted: Option<RangeInclusive<u64>>,
) -> Result<(VecDeque<Recording>, Roots), Error> {
    let mut roots = Roots::default();
    if path.is_dir() {
        let found = list_some(path, follow)?;
        for header in found.iter().filter_map(|found| found.header.as_ref()) {
            roots.add(&header.roots, header.left_out > 0);
        }
        let streams = by_stream(found);
        let recording = |files: Vec<StreamFile>| {
            let files = files.into_iter().map(|found| found.path).collect();
            Recording::new(Some(path), files, follow, wanted.clone())
        };
        return Ok((streams.into_iter().map(recording).collect(), roots));
    }
    let parent = path.parent().filter(|dir| !dir.as_os_str().is_empty());
    let dir = (path != Path::new("-")).then(|| parent.unwrap_or(Path::new(".")));
    // A pipe gives what it has once.
    if let Some(header) = path.is_file().then(|| header_of(path)).flatten() {
        roots.add(&header.roots, header.left_out > 0);
    }
    Ok(([Recording::new(dir, [path.to_owned()].into(), follow, wanted)].into(), roots))
}

impl Recording {
    fn new(
        dir: Option<&Path>,
        files: VecDeque<PathBuf>,
        follow: bool,
        wanted: Option<RangeInclusive<u64>>,
    ) -> Self {
        Recording {
            name: files.front().map_or_else(String::new, |path| shown_input(path)),
            files,
            dir: dir.map(Path::to_owned),
            is_regular: false,
            lock: None,
            follow: follow.then(Follow::default),
            wanted,
            marks: HashMap::new(),
        }
    }

    /// Of what is read now, for messages.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Whether one can go to any place in it.
    pub fn is_regular(&self) -> bool {
        self.is_regular
    }

    /// Whether what is read now may still grow, so that it can end anywhere: nothing comes after it,
    /// and it is followed, or somebody writes to it.
    pub fn may_grow(&self) -> bool {
        let may_end = self.follow.is_some() || self.is_written();
        may_end && self.is_regular && self.files.is_empty()
    }

    fn is_written(&self) -> bool {
        self.lock.as_ref().is_some_and(is_written)
    }

    /// Passes over the next files as long as they have nothing of the times that are asked for; how many.
    /// Of the last one it is not known, as more may come.
    pub fn pass_over(&mut self) -> usize {
        let Some(wanted) = self.wanted.as_ref().filter(|_| self.files.len() > 1) else { return 0 };
        let (files, marks) = (&self.files, &mut self.marks);
        let of = |at: u64| &files[to_usize(at)];
        let mut mark = |at| {
            if let Some(known) = marks.get(of(at)) {
                return Ok::<_, Infallible>(Some(*known));
            }
            // What cannot be read is not passed over: it is told when it is opened.
            let mark = File::open(of(at)).ok().and_then(|file| Mark::of(file).ok().flatten());
            marks.extend(mark.map(|mark| (of(at).clone(), mark)));
            Ok(mark)
        };
        let grows = |pieces: &Range<u64>, from: &Mark, to: &Mark| {
            let bytes = of(pieces.start).metadata().map_or(0, |data| data.len());
            stream::grows(pieces, bytes, from, to)
        };
        let ends = (0, files.len() as u64 - 1);
        let Ok(first) = first_within(ends, wanted, &mut mark, &grows);
        let first = to_usize(first);
        self.files.drain(..first);
        first
    }

    /// Opens the next file; `None` where there is none.
    ///
    /// # Errors
    /// It cannot be opened.
    pub fn open_next(&mut self) -> Result<Option<Source>, Error> {
        let Some(path) = self.files.pop_front() else { return Ok(None) };
        self.name = shown_input(&path);
        if path == Path::new("-") {
            return Ok(Some(Source::Standard(io::stdin())));
        }
        let file = File::open(&path).map_err(|error| cannot_read(&self.name, error))?;
        self.is_regular = file.metadata().is_ok_and(|data| data.is_file());
        // Never a pipe: a second opening waits for a second writer.
        self.lock = self.is_regular.then(|| File::open(&path).ok()).flatten();
        self.follow = self.follow.take().map(|_| Follow::default());
        Ok(Some(Source::File(file)))
    }

    /// The file read now is at its end, and it says that the stream goes on: finds the file in which
    /// it does, and waits for it where that is asked for.
    ///
    /// # Errors
    /// It does not come to be.
    pub fn find_successor(&mut self, header: &Header) -> Result<(), Error> {
        let Some((follow, dir)) = self.follow.as_mut().zip(self.dir.as_ref()) else {
            return Ok(());
        };
        let began = Instant::now();
        while self.files.is_empty() {
            let mut found = list(dir)?;
            found.retain(|found| {
                let goes_on = |other: &Header| {
                    other.stream_id == header.stream_id && other.segment > header.segment
                };
                found.header.as_ref().is_some_and(goes_on)
            });
            self.files.extend(found.into_iter().map(|found| found.path));
            if self.files.is_empty() && began.elapsed() > GIVEN_UP_AFTER {
                return Err(Error::new(
                    ErrorKind::Damaged,
                    format!(
                        "the stream in {} continues in another file, and none has appeared: the fsmon that \
                         wrote it was killed",
                        self.name
                    ),
                ));
            }
            if self.files.is_empty() {
                follow.pause();
            }
        }
        Ok(())
    }

    /// Nothing more is in the file for now, behind so many bytes: waits a little where it is followed.
    ///
    /// # Errors
    /// It has become shorter.
    pub fn wait(&mut self, read: u64) -> Result<Wait, Error> {
        let len = self.lock.as_ref().and_then(|file| file.metadata().ok()).map(|file| file.len());
        if len.is_some_and(|len| len < read) {
            return Err(Error::new(
                ErrorKind::Busy,
                format!(
                    "{} was written anew while it was read; read it once more from its beginning",
                    self.name
                ),
            ));
        }
        Ok(self.wait_for_more())
    }

    fn wait_for_more(&mut self) -> Wait {
        let is_written = self.is_written();
        let Some(follow) = &mut self.follow else {
            return if is_written { Wait::NotAsked } else { Wait::InVain };
        };
        follow.was_written |= is_written;
        // Whoever wrote is gone. Where no fsmon did, something else may, such as a copy under way.
        if !is_written && (follow.was_written || follow.quiet > GIVEN_UP_AFTER) {
            // What was written last is read before that is the end.
            let was_left = std::mem::replace(&mut follow.is_left, true);
            return if was_left { Wait::InVain } else { Wait::Over };
        }
        follow.pause();
        Wait::Over
    }

    /// Something came.
    pub fn came(&mut self) {
        if let Some(follow) = &mut self.follow {
            (follow.pause, follow.quiet) = (FOLLOW_PAUSE_MIN, Duration::ZERO);
        }
    }
}

impl Follow {
    fn pause(&mut self) {
        std::thread::sleep(self.pause);
        self.quiet += self.pause;
        self.pause = (self.pause * 2).clamp(FOLLOW_PAUSE_MIN, FOLLOW_PAUSE_MAX);
    }
}

/// The files of a directory, and waits for some where there are none and it is followed.
fn list_some(dir: &Path, follow: bool) -> Result<Vec<StreamFile>, Error> {
    let mut pause = Follow::default();
    loop {
        let found = list(dir)?;
        if !found.is_empty() {
            return Ok(found);
        }
        if !follow {
            return Err(Error::new(
                ErrorKind::NotFound,
                format!(
                    "{} has no files of that kind in it; name one into which fsmon -f binary -o DIR/ \
                 wrote, or a file",
                    shown_input(dir)
                ),
            ));
        }
        pause.pause();
    }
}

/// What belongs to each stream. A file that cannot be read is by itself.
fn by_stream(found: Vec<StreamFile>) -> Vec<Vec<StreamFile>> {
    let stream = |found: &StreamFile| found.header.as_ref().map(|header| header.stream_id);
    let mut streams: Vec<Vec<StreamFile>> = Vec::new();
    for file in found {
        let own = stream(&file);
        match streams.iter_mut().find(|files| own.is_some() && stream(&files[0]) == own) {
            Some(files) => files.push(file),
            None => streams.push(vec![file]),
        }
    }
    streams
}

fn cannot_read(name: &str, error: io::Error) -> Error {
    Error::os(format!("cannot read {name}; name a file made by fsmon -f binary"), error)
}

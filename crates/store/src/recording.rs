//! Recorded streams: standard input, a file, or the files of each stream in a directory, one after the other.
//! They may still grow.

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

/// An open input.
pub enum Input {
    /// Standard input.
    Standard(io::Stdin),
    /// A file or a pipe.
    File(File),
}

impl Read for Input {
    fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        match self {
            Input::Standard(stdin) => stdin.read(bytes),
            Input::File(file) => file.read(bytes),
        }
    }
}

impl Seek for Input {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        match self {
            Input::Standard(_) => Err(io::ErrorKind::NotSeekable.into()),
            Input::File(file) => file.seek(to),
        }
    }
}

/// The result of waiting.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wait {
    /// There may be more now.
    Over,
    /// Nothing more will come.
    InVain,
    /// More will come, but the stream is not followed.
    NotFollowed,
}

/// The files of one stream, in order.
pub struct Recording {
    files: VecDeque<PathBuf>,
    /// The directory in which further segments may appear.
    dir: Option<PathBuf>,
    /// The name of the current file.
    name: String,
    is_regular: bool,
    /// The current file, opened to query its lock.
    lock: Option<File>,
    follow: Option<Follow>,
    /// The wanted wall times, ns since 1970; `None`: all.
    wanted: Option<RangeInclusive<u64>>,
    /// The marks of the files that were checked.
    marks: HashMap<PathBuf, Mark>,
    /// A file that begins later than all wanted times was kept.
    has_kept_late: bool,
}

/// The state of following a file that grows.
#[derive(Default)]
struct Follow {
    /// A process held its lock at some time.
    was_written: bool,
    /// No process writes to it any more; what was written last may still be unread.
    is_left: bool,
    /// For how long no bytes have come.
    quiet: Duration,
    pause: Duration,
}

/// The streams in `path`, in the order in which they began; `-` is standard input. Files without any of the
/// times in `wanted` (ns since 1970) may be skipped. Also returns the roots, as far as they can be known before
/// the streams are read.
///
/// # Errors
/// There is nothing to read.
pub fn recordings(
    path: &Path,
    follow: bool,
    wanted: Option<RangeInclusive<u64>>,
) -> Result<(VecDeque<Recording>, Roots), Error> {
    let mut roots = Roots::default();
    if path.is_dir() {
        let files = list_some(path, follow)?;
        for header in files.iter().filter_map(|file| file.header.as_ref()) {
            roots.add(&header.roots, header.left_out > 0);
        }
        let streams = by_stream(files);
        let recording = |files: Vec<StreamFile>| {
            let files = files.into_iter().map(|file| file.path).collect();
            Recording::new(Some(path), files, follow, wanted.clone())
        };
        return Ok((streams.into_iter().map(recording).collect(), roots));
    }
    let parent = path.parent().filter(|dir| !dir.as_os_str().is_empty());
    let dir = (path != Path::new("-")).then(|| parent.unwrap_or(Path::new(".")));
    // The bytes of a pipe can be read only once.
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
            has_kept_late: false,
        }
    }

    /// The name of the current file, for messages.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Whether the current file has no byte, not even a header: a full disk or a loss of power leaves such a file.
    pub fn is_empty(&self) -> bool {
        let data = self.lock.as_ref().and_then(|file| file.metadata().ok());
        data.is_some_and(|data| data.is_file() && data.len() == 0)
    }

    /// Whether the current file can seek.
    pub fn is_regular(&self) -> bool {
        self.is_regular
    }

    /// Whether the current file may still grow, so that it can end anywhere: it is the last one, and it is
    /// followed or being written.
    pub fn may_grow(&self) -> bool {
        let may_end = self.follow.is_some() || self.is_written();
        may_end && self.is_regular && self.files.is_empty()
    }

    fn is_written(&self) -> bool {
        self.lock.as_ref().is_some_and(is_written)
    }

    /// Skips the next files as long as they have no records of the wanted times. Returns how many. Never skips
    /// the last file, which may grow; nor the first one that begins later than all wanted times, if it may begin with a
    /// GAP record, which is about the time before.
    pub fn skip(&mut self) -> usize {
        let Some(wanted) = self.wanted.as_ref().filter(|_| self.files.len() > 1) else { return 0 };
        let (files, marks) = (&self.files, &mut self.marks);
        let file = |index: u64| &files[to_usize(index)];
        let mut mark = |index| {
            if let Some(known) = marks.get(file(index)) {
                return Ok::<_, Infallible>(Some(*known));
            }
            // A file that cannot be read is not skipped: opening it will report the error.
            let mark = File::open(file(index)).ok().and_then(|file| Mark::of(file).ok().flatten());
            marks.extend(mark.map(|mark| (file(index).clone(), mark)));
            Ok(mark)
        };
        let grows = |pieces: &Range<u64>, from: &Mark, to: &Mark| {
            let bytes = file(pieces.start).metadata().map_or(0, |data| data.len());
            stream::grows(pieces, bytes, from, to)
        };
        let is_late = mark(0).is_ok_and(|mark| mark.is_some_and(|m| m.wall_ns > *wanted.end()));
        if is_late && !self.has_kept_late {
            self.has_kept_late = true;
            if header_of(&files[0]).is_some_and(|header| header.minor > 0) {
                return 0;
            }
        }
        let ends = (0, files.len() as u64 - 1);
        let Ok(first) = first_within(ends, wanted, &mut mark, &grows);
        let first = to_usize(first);
        self.files.drain(..first);
        first
    }

    /// Opens the next file; `None` if there is none.
    ///
    /// # Errors
    /// It cannot be opened.
    pub fn open_next(&mut self) -> Result<Option<Input>, Error> {
        let Some(path) = self.files.pop_front() else { return Ok(None) };
        self.name = shown_input(&path);
        if path == Path::new("-") {
            return Ok(Some(Input::Standard(io::stdin())));
        }
        let file = File::open(&path).map_err(|error| cannot_read(&self.name, error))?;
        self.is_regular = file.metadata().is_ok_and(|data| data.is_file());
        // Never a pipe: opening it again would wait for another writer.
        self.lock = self.is_regular.then(|| File::open(&path).ok()).flatten();
        self.follow = self.follow.take().map(|_| Follow::default());
        Ok(Some(Input::File(file)))
    }

    /// The current file has ended but its stream has not: finds the next file of the stream, and waits for it if
    /// the stream is followed.
    ///
    /// # Errors
    /// The file does not appear.
    pub fn find_successor(&mut self, header: &Header) -> Result<(), Error> {
        let Some((follow, dir)) = self.follow.as_mut().zip(self.dir.as_ref()) else {
            return Ok(());
        };
        let began = Instant::now();
        while self.files.is_empty() {
            let mut files = list(dir)?;
            files.retain(|file| {
                let goes_on = |other: &Header| {
                    other.stream_id == header.stream_id && other.segment > header.segment
                };
                file.header.as_ref().is_some_and(goes_on)
            });
            self.files.extend(files.into_iter().map(|file| file.path));
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

    /// The file has no more than the `read` bytes for now: waits a little if it is followed.
    ///
    /// # Errors
    /// The file has become shorter.
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
            return if is_written { Wait::NotFollowed } else { Wait::InVain };
        };
        follow.was_written |= is_written;
        // The writer is gone. If no fsmon ever wrote, something else may, such as a copy in progress.
        if !is_written && (follow.was_written || follow.quiet > GIVEN_UP_AFTER) {
            // Read once more: the writer may have written just before it ended.
            let was_left = std::mem::replace(&mut follow.is_left, true);
            return if was_left { Wait::InVain } else { Wait::Over };
        }
        follow.pause();
        Wait::Over
    }

    /// New data has come: the next pause is short again.
    pub fn has_grown(&mut self) {
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

/// The files of a directory. If there are none: waits for one if the directory is followed, else an error.
fn list_some(dir: &Path, follow: bool) -> Result<Vec<StreamFile>, Error> {
    let mut pause = Follow::default();
    loop {
        let files = list(dir)?;
        if !files.is_empty() {
            return Ok(files);
        }
        if !follow {
            return Err(Error::new(
                ErrorKind::NotFound,
                format!(
                    "{} has no recorded stream, no file *.fsmon; name a directory that has one, or a file",
                    shown_input(dir)
                ),
            ));
        }
        pause.pause();
    }
}

/// The files of each stream. A file without a readable header stands for a stream of its own, behind all others: it is an
/// error, which ends the reading.
fn by_stream(all: Vec<StreamFile>) -> Vec<Vec<StreamFile>> {
    let stream = |file: &StreamFile| file.header.as_ref().map(|header| header.stream_id);
    let mut streams: Vec<Vec<StreamFile>> = Vec::new();
    for file in all {
        let own = stream(&file);
        match streams.iter_mut().find(|files| own.is_some() && stream(&files[0]) == own) {
            Some(files) => files.push(file),
            None => streams.push(vec![file]),
        }
    }
    streams.sort_by_key(|files| stream(&files[0]).is_none());
    streams
}

fn cannot_read(name: &str, error: io::Error) -> Error {
    Error::os(format!("cannot read {name}; name a recorded stream"), error)
}

#[cfg(test)]
mod tests {
    use super::*;
    use fsmon_format::mirror::{Capacity, Mirror};
    use fsmon_format::record::{Build, Event, Record};
    use fsmon_format::stream::Writer;
    use zerocopy::FromZeros;

    /// A stream of three files in a directory, each with one event, from one second to three.
    fn three_files(minor: u16) -> tempfile::TempDir {
        const CAPACITY: Capacity = Capacity { dirs: 1, processes: 1, strings: 1, text: 1 };
        let dir = tempfile::tempdir().expect("a directory");
        let mut header = Header { minor, ..Header::default() };
        let mut writer = Writer::new(Vec::new(), &header, CAPACITY).expect("in memory");
        writer = writer.count_clock_steps();
        for second in 1..=3u64 {
            let mut event = Event::new_zeroed();
            event.time_ns = (second * 1_000_000_000).into();
            let mut build = Build::default();
            let (record, _) = Record::split_first(build.event(event, b"", b"")).expect("a record");
            writer.push(&record, &Mirror::new(CAPACITY)).expect("in memory");
            writer.end_segment().expect("in memory");
            let file = dir.path().join(format!("{second}.fsmon"));
            std::fs::write(file, std::mem::take(writer.get_mut())).expect("written");
            writer.begin_segment(&mut header).expect("in memory");
        }
        dir
    }

    /// The files that are read for these times.
    fn read(dir: &Path, wanted: RangeInclusive<u64>) -> Vec<String> {
        let (mut streams, _) = recordings(dir, false, Some(wanted)).expect("files");
        let mut recording = streams.pop_front().expect("a stream");
        let mut names = Vec::new();
        loop {
            recording.skip();
            if recording.open_next().expect("a file").is_none() {
                return names;
            }
            let name = Path::new(recording.name()).file_stem().expect("a name");
            names.push(name.to_str().expect("UTF-8").to_owned());
        }
    }

    #[test]
    fn the_first_file_behind_the_wanted_times_is_read_where_it_may_begin_with_a_gap() {
        const SECOND: u64 = 1_000_000_000;
        let (old, new) = (three_files(0), three_files(1));
        for (wanted, of_old, of_new) in [
            (0..=1, &["3"][..], &["1", "3"][..]),
            (SECOND..=SECOND, &["1", "3"], &["1", "2", "3"]),
            (SECOND * 3 / 2..=SECOND * 3 / 2, &["1", "3"], &["1", "2", "3"]),
            (SECOND * 3..=SECOND * 4, &["2", "3"], &["2", "3"]),
        ] {
            assert_eq!(read(old.path(), wanted.clone()), of_old, "{wanted:?}");
            assert_eq!(read(new.path(), wanted.clone()), of_new, "{wanted:?}");
        }
    }
}

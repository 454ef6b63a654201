//! The open output: a file, a pipe or a terminal. It always ends at a whole line or block, and notices when a
//! file is truncated or removed.

use crate::limits::PIPE_RETRY;
use crate::target::cannot_make;
use fsmon_engine::Error;
use fsmon_present::message::shown;
use fsmon_store::segments::Segments;
use nix::fcntl::{FcntlArg, OFlag, fcntl};
use std::fs::File;
use std::io::{self, ErrorKind, Seek, SeekFrom, Write};
use std::os::fd::AsRawFd;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Whether the output still has a reader.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Pipe {
    /// Yes, as far as is known.
    Open,
    /// No, the pipe is closed: fsmon ends, without an error.
    Closed,
}

/// Who opened the file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum OpenedBy {
    /// By fsmon, for this output: it is emptied first.
    Fsmon,
    /// By others, who passed it on as standard output: its content stays.
    Others,
}

/// Returns how many bytes at the beginning of some output are whole lines or blocks.
pub(crate) type Whole = fn(&[u8]) -> usize;

/// The state that all sinks of one output share.
#[derive(Default)]
struct State {
    /// Its header was written.
    is_begun: bool,
    /// Length of a regular file; it is shorter only if somebody truncated it.
    len: u64,
}

/// The open output.
pub(crate) struct Sink {
    file: File,
    name: String,
    opened_by: OpenedBy,
    /// A regular file, not a pipe or a device.
    is_file: bool,
    /// The file was opened for appending.
    appends: bool,
    whole: Whole,
    written: u64,
    /// Bytes in the current file.
    in_file: u64,
    /// The sequence of files, for an output to a directory.
    segments: Option<Segments>,
    /// Locked by the formatter that writes, as several can share an output.
    state: Arc<Mutex<State>>,
}

impl Sink {
    pub(crate) fn new(mut file: File, name: String, opened_by: OpenedBy) -> Self {
        let data = file.metadata().ok().filter(|data| data.file_type().is_file());
        let flags = fcntl(&file, FcntlArg::F_GETFL).map_or(0, |flags| flags);
        let appends = OFlag::from_bits_retain(flags).contains(OFlag::O_APPEND);
        let len = match &data {
            Some(data) if appends => data.len(),
            Some(_) => file.stream_position().unwrap_or(0),
            None => 0,
        };
        Sink {
            file,
            name,
            opened_by,
            is_file: data.is_some(),
            appends,
            // Until `breaking_at` is called, any byte may be the last.
            whole: <[u8]>::len,
            written: 0,
            in_file: 0,
            segments: None,
            state: Arc::new(Mutex::new(State { is_begun: false, len })),
        }
    }

    /// Makes the first file of a sequence.
    ///
    /// # Errors
    /// It cannot be made.
    pub(crate) fn of_segments(mut segments: Segments) -> Result<Self, Error> {
        let (file, path) =
            segments.make_first().map_err(|error| cannot_make(&segments.dir, error))?;
        let sink = Sink::new(file, shown(&path), OpenedBy::Fsmon);
        Ok(Sink { segments: Some(segments), ..sink })
    }

    /// Makes the output end at a boundary that `whole` determines.
    pub(crate) fn breaking_at(self, whole: Whole) -> Self {
        Sink { whole, ..self }
    }

    /// Another sink of the same output, for another formatter. Each `put` is written as a whole.
    ///
    /// # Errors
    /// There are too many descriptors.
    pub(crate) fn share(&self) -> Result<Sink, Error> {
        let file = self.file.try_clone().map_err(|error| self.broken(error))?;
        let (name, state) = (self.name.clone(), self.state.clone());
        Ok(Sink { state, whole: self.whole, ..Sink::new(file, name, self.opened_by) })
    }

    /// Whether the output is a regular file, not a pipe or terminal whose reader waits.
    pub(crate) fn is_file(&self) -> bool {
        self.is_file
    }

    /// Whether the current file must end.
    pub(crate) fn is_due(&self) -> bool {
        self.segments.as_ref().is_some_and(|segments| segments.is_due(self.in_file))
    }

    /// Turns to the next file.
    ///
    /// # Errors
    /// It cannot be made.
    pub(crate) fn turn_over(&mut self) -> Result<(), Error> {
        let Some(segments) = &mut self.segments else { return Ok(()) };
        // From now on the file may be deleted.
        let _ = self.file.unlock();
        let made = segments.make_next().map_err(|error| cannot_make(&segments.dir, error))?;
        (self.file, self.name) = (made.0, shown(&made.1));
        self.in_file = 0;
        hold(&self.state).len = 0;
        Ok(())
    }

    /// Empties the file if fsmon opened it, writes the header, and removes it from `bytes`. Only clears `bytes` if
    /// another formatter did that already.
    ///
    /// # Errors
    /// Those of [`Sink::put`].
    pub(crate) fn begin(&mut self, bytes: &mut Vec<u8>) -> Result<Pipe, Error> {
        let state = self.state.clone();
        let mut state = hold(&state);
        if std::mem::replace(&mut state.is_begun, true) {
            bytes.clear();
            return Ok(Pipe::Open);
        }
        if self.is_file && self.opened_by == OpenedBy::Fsmon {
            self.file.set_len(0).map_err(|error| self.broken(error))?;
            state.len = 0;
        }
        self.write(bytes, &mut state)
    }

    /// Writes `bytes` and clears them. After an error, or when the pipe is closed, `bytes` keeps what was not
    /// written, from the beginning of a line or block on; the file ends before that.
    ///
    /// # Errors
    /// A full disk and the like.
    pub(crate) fn put(&mut self, bytes: &mut Vec<u8>) -> Result<Pipe, Error> {
        let state = self.state.clone();
        self.write(bytes, &mut hold(&state))
    }

    /// The same. If somebody truncated the file since the last write, `begin_again` first inserts a header into
    /// `bytes`. No other formatter can write in between.
    ///
    /// # Errors
    /// Those of [`Sink::put`].
    pub(crate) fn put_after_cut(
        &mut self,
        bytes: &mut Vec<u8>,
        begin_again: impl FnOnce(&str, Cut, &mut Vec<u8>),
    ) -> Result<Pipe, Error> {
        let state = self.state.clone();
        let mut state = hold(&state);
        if !bytes.is_empty()
            && let Some(cut) = self.was_cut(&mut state)
        {
            begin_again(&self.name, cut, bytes);
        }
        self.write(bytes, &mut state)
    }

    fn write(&mut self, bytes: &mut Vec<u8>, state: &mut State) -> Result<Pipe, Error> {
        let mut done = 0;
        let result = loop {
            if done == bytes.len() {
                break Ok(Pipe::Open);
            }
            match self.file.write(&bytes[done..]) {
                Ok(0) => break Err(ErrorKind::WriteZero.into()),
                Ok(count) => done += count,
                Err(error) => match error.kind() {
                    ErrorKind::Interrupted => {}
                    ErrorKind::WouldBlock => std::thread::sleep(PIPE_RETRY),
                    ErrorKind::BrokenPipe => break Ok(Pipe::Closed),
                    _ => break Err(error),
                },
            }
        };
        let whole = if done == bytes.len() { done } else { self.cut_back(bytes, done, state.len) };
        self.written += whole as u64;
        self.in_file += whole as u64;
        state.len += whole as u64;
        bytes.drain(..whole);
        result.map_err(|error| self.broken(error))
    }

    /// Only `done` bytes could be written. Removes the incomplete line at the end of a file, unless somebody else has
    /// written behind it. Returns how many bytes are whole.
    #[cold]
    fn cut_back(&self, bytes: &[u8], done: usize, before: u64) -> usize {
        let whole = (self.whole)(&bytes[..done]);
        let len = self.file.metadata().map_or(0, |data| data.len());
        if self.is_file && whole < done && len == before + done as u64 {
            // If that fails as well, nothing can be done.
            let _ = self.file.set_len(before + whole as u64);
        }
        whole
    }

    /// Whether somebody truncated the file since the last write, and where. Reports each truncation once.
    fn was_cut(&mut self, state: &mut State) -> Option<Cut> {
        if !self.is_file {
            return None;
        }
        let len = self.file.metadata().ok()?.len();
        let is_cut = len < state.len;
        if self.appends || is_cut {
            state.len = len;
        }
        is_cut.then(|| self.go_on_after_cut(len))
    }

    #[cold]
    fn go_on_after_cut(&mut self, len: u64) -> Cut {
        self.in_file = len;
        if !self.appends {
            // Otherwise the file would have NULs up to the old position.
            let _ = self.file.seek(SeekFrom::End(0));
        }
        let path = format!("/proc/self/fd/{}", self.file.as_raw_fd());
        let mut last = [b'\n'];
        if len > 0 {
            let _ = File::open(path).and_then(|file| file.read_exact_at(&mut last, len - 1));
        }
        if last == [b'\n'] { Cut::AtLine } else { Cut::InLine }
    }

    /// Checks that the file still has a name.
    ///
    /// # Errors
    /// The file was removed.
    pub(crate) fn check(&self) -> Result<(), Error> {
        let can_vanish = self.is_file && self.opened_by == OpenedBy::Fsmon;
        if can_vanish && self.file.metadata().is_ok_and(|data| data.nlink() == 0) {
            return Err(Error::new(
                fsmon_engine::ErrorKind::Io,
                format!(
                    "the output file {} was removed while it was written, and its content is lost; \
                 write to a directory that no program cleans up",
                    self.name
                ),
            ));
        }
        Ok(())
    }

    /// Bytes written.
    pub(crate) fn written(&self) -> u64 {
        self.written
    }

    #[cold]
    fn broken(&self, error: io::Error) -> Error {
        let remedy = match error.kind() {
            ErrorKind::StorageFull | ErrorKind::QuotaExceeded | ErrorKind::FileTooLarge => {
                "; make room or write elsewhere"
            }
            _ => "",
        };
        Error::os(format!("cannot write to {}{remedy}", self.name), error)
    }
}

/// Where somebody truncated a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Cut {
    /// At the beginning of the file or behind a line.
    AtLine,
    /// Within a line.
    InLine,
}

/// Locks the state, even if a formatter panicked while it held the lock: it has reported that, and the others
/// continue.
fn hold(state: &Mutex<State>) -> MutexGuard<'_, State> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::target::Target;
    use memchr::memrchr;
    use std::fs;
    use std::path::Path;

    fn lines(part: &[u8]) -> usize {
        memrchr(b'\n', part).map_or(0, |at| at + 1)
    }

    fn open(path: &Path) -> Sink {
        Target::new(path).expect("writable").open().expect("open").breaking_at(lines)
    }

    fn put(sink: &mut Sink, text: &str) -> Result<Pipe, Error> {
        sink.put(&mut text.as_bytes().to_vec())
    }

    fn was_cut(sink: &mut Sink) -> Option<Cut> {
        let state = sink.state.clone();
        sink.was_cut(&mut hold(&state))
    }

    #[test]
    fn a_file_that_exists_is_untouched_until_something_is_written() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("out");
        fs::write(&path, "old").expect("written");
        let mut sink = open(&path);
        assert_eq!(fs::read(&path).expect("read"), b"old");
        let mut first = b"new\n".to_vec();
        assert_eq!(sink.begin(&mut first).expect("written"), Pipe::Open);
        assert_eq!((first.len(), sink.written()), (0, 4));
        assert_eq!(fs::read(&path).expect("read"), b"new\n");
        sink.check().expect("still there");
    }

    #[test]
    fn of_two_sinks_one_writes_the_header() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("out");
        let mut one = open(&path);
        let mut two = one.share().expect("a descriptor");
        for sink in [&mut one, &mut two] {
            sink.begin(&mut b"head\n".to_vec()).expect("written");
            assert_eq!(was_cut(sink), None);
            put(sink, "line\n").expect("written");
        }
        assert_eq!(fs::read(&path).expect("read"), b"head\nline\nline\n");
        File::options().write(true).open(&path).and_then(|file| file.set_len(0)).expect("cut");
        assert_eq!((was_cut(&mut two), was_cut(&mut one)), (Some(Cut::AtLine), None));
    }

    #[test]
    fn no_other_sink_writes_before_the_header_of_a_cut_file() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("out");
        let mut one = open(&path);
        let two = one.share().expect("a descriptor");
        put(&mut one, "line\n").expect("written");
        File::options().write(true).open(&path).and_then(|file| file.set_len(0)).expect("cut");
        let mut bytes = b"line\n".to_vec();
        let begin_again = |name: &str, cut, bytes: &mut Vec<u8>| {
            assert!(two.state.try_lock().is_err(), "the other sink could write");
            assert_eq!((name, cut), (&*shown(&path), Cut::AtLine));
            bytes.splice(0..0, *b"head\n");
        };
        one.put_after_cut(&mut bytes, begin_again).expect("written");
        one.put_after_cut(&mut b"line\n".to_vec(), |_, _, _| panic!("it was reported"))
            .expect("written");
        assert_eq!(fs::read(&path).expect("read"), b"head\nline\nline\n");
    }

    #[test]
    fn a_vanished_file_is_noticed() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("out");
        let sink = open(&path);
        fs::remove_file(&path).expect("removed");
        assert!(sink.check().expect_err("gone").to_string().contains("was removed"));
    }

    #[test]
    fn a_full_disk_is_an_error_and_what_was_not_written_is_left() {
        let mut sink = open(Path::new("/dev/full"));
        let mut text = b"x\n".to_vec();
        let line = sink.put(&mut text).expect_err("full").to_string();
        assert!(line.contains("/dev/full") && line.contains("make room"), "{line}");
        assert_eq!(text, b"x\n");
        sink.check().expect("a device does not vanish");
    }

    #[test]
    fn a_file_that_somebody_cuts_is_continued_at_its_end() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("out");
        let cut = |len| File::options().write(true).open(&path).and_then(|file| file.set_len(len));
        for is_own in [true, false] {
            let mut sink = match is_own {
                true => open(&path),
                // As the shell opens it for > without >>.
                false => {
                    Sink::new(File::create(&path).expect("made"), "it".into(), OpenedBy::Others)
                }
            };
            sink.begin(&mut Vec::new()).expect("begun");
            put(&mut sink, "one\ntwo\n").expect("written");
            assert_eq!(was_cut(&mut sink), None);
            for (len, expected) in [(0, Cut::AtLine), (6, Cut::AtLine), (2, Cut::InLine)] {
                put(&mut sink, "more\n").expect("written");
                cut(len).expect("cut");
                assert_eq!((was_cut(&mut sink), was_cut(&mut sink)), (Some(expected), None));
                put(&mut sink, "three\n").expect("written");
                let text = fs::read(&path).expect("read");
                assert_eq!(text.len() as u64, len + 6);
                assert!(text.ends_with(b"three\n") && !text.contains(&0), "{text:?}");
            }
        }
    }
}

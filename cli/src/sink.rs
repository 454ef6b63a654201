//! Where the output goes: a file, a pipe, a terminal.

use crate::segments::{self, Segments};
use fsmon_engine::Error;
use nix::unistd::{AccessFlags, access};
use std::fs::{File, OpenOptions};
use std::io::{self, ErrorKind, IsTerminal, Write};
use std::os::fd::AsFd;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// For how long to wait before a full pipe that does not block is tried again.
const RETRY: Duration = Duration::from_millis(1);

/// Where the output is to go, checked as far as it can be without changing anything.
#[derive(Clone, Debug)]
pub(crate) enum Target {
    Standard,
    File(PathBuf),
    /// Files in a directory, one after the other.
    Segments(Segments),
}

impl Target {
    /// `-` is standard output.
    ///
    /// # Errors
    /// A file that could not be written to.
    pub(crate) fn new(path: &Path) -> Result<Self, Error> {
        if path == Path::new("-") {
            return Ok(Target::Standard);
        }
        check_writable(path)?;
        Ok(Target::File(path.to_owned()))
    }

    /// Files in a directory, which may be missing if the one that it is in is there.
    ///
    /// # Errors
    /// A directory in which no file could be made.
    pub(crate) fn segments(segments: Segments) -> Result<Self, Error> {
        let dir = &segments.dir;
        let probed = if dir.exists() { dir } else { parent(dir) };
        let may = AccessFlags::W_OK | AccessFlags::X_OK;
        match access(probed, may) {
            Ok(()) if probed.is_dir() => Ok(Target::Segments(segments)),
            Ok(()) => Err(cannot_make(dir, ErrorKind::NotADirectory.into())),
            Err(error) => Err(cannot_make(dir, error.into())),
        }
    }

    /// Whether lines are read by a person.
    pub(crate) fn is_terminal(&self) -> bool {
        match self {
            Target::Standard => io::stdout().is_terminal(),
            Target::File(path) => File::open(path).is_ok_and(|file| file.is_terminal()),
            Target::Segments(_) => false,
        }
    }

    /// Opens it; a file is made or truncated.
    ///
    /// # Errors
    /// Those of opening it; a file that another fsmon writes to.
    pub(crate) fn open(self) -> Result<Sink, Error> {
        let (file, path, segments) = match self {
            Target::Standard => {
                let name = PathBuf::from("standard output");
                let file = io::stdout().as_fd().try_clone_to_owned().map(File::from);
                (file.map_err(|error| cannot_open(&name.display().to_string(), error))?, name, None)
            }
            Target::File(path) => {
                let file = open_whole(&path);
                let name = path.display().to_string();
                return Ok(Sink::of(file.map_err(|error| cannot_open(&name, error))?, &path, true));
            }
            Target::Segments(mut segments) => {
                let made = segments.first().map_err(|error| cannot_make(&segments.dir, error))?;
                (made.0, made.1, Some(segments))
            }
        };
        let can_vanish = segments.is_some();
        Ok(Sink { segments, ..Sink::of(file, &path, can_vanish) })
    }
}

/// Opens a file and empties it, if nobody else writes to it.
fn open_whole(path: &Path) -> io::Result<File> {
    let file = OpenOptions::new().write(true).create(true).truncate(false).open(path)?;
    if file.metadata()?.is_file() {
        segments::lock(&file)?;
        file.set_len(0)?;
    }
    Ok(file)
}

/// Tells early that a file cannot be written to: opens one that exists as it is, and looks for
/// the directory of one that does not.
///
/// # Errors
/// What stands against it.
pub(crate) fn check_writable(path: &Path) -> Result<(), Error> {
    let name = path.display().to_string();
    match OpenOptions::new().write(true).open(path) {
        Ok(_) => Ok(()),
        Err(error) if error.kind() == ErrorKind::NotFound => {
            if parent(path).is_dir() {
                Ok(())
            } else {
                Err(cannot_open(&name, error))
            }
        }
        Err(error) => Err(cannot_open(&name, error)),
    }
}

fn parent(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    }
}

fn cannot_make(dir: &Path, error: io::Error) -> Error {
    let what = format!(
        "cannot write to {}; name a directory that you may write to, or a new one in such a one",
        dir.display()
    );
    Error::os(what, error)
}

fn cannot_open(name: &str, error: io::Error) -> Error {
    Error::os(format!("cannot write to {name}; name a file in a directory you may write to"), error)
}

/// Whether anyone still reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reader {
    /// As far as is known.
    There,
    /// The pipe is closed: there is no use in going on, and nothing wrong.
    Gone,
}

/// The open output.
pub(crate) struct Sink {
    file: File,
    name: String,
    is_file: bool,
    can_vanish: bool,
    written: u64,
    /// Bytes in the file at hand.
    in_file: u64,
    /// Where files follow each other.
    segments: Option<Segments>,
    /// Where several write to one file: held by who does, and whether its beginning was written.
    turn: Option<Arc<Mutex<bool>>>,
}

impl Sink {
    fn of(file: File, path: &Path, can_vanish: bool) -> Self {
        let is_file = file.metadata().is_ok_and(|data| data.file_type().is_file());
        let (can_vanish, name) = (can_vanish && is_file, path.display().to_string());
        Sink { file, name, is_file, can_vanish, written: 0, in_file: 0, segments: None, turn: None }
    }

    /// Another end of the same output, for another formatter. What is put into either comes out whole.
    ///
    /// # Errors
    /// No descriptor is left.
    pub(crate) fn share(&mut self) -> Result<Sink, Error> {
        let file = self.file.try_clone().map_err(|error| self.broken(error))?;
        let turn = Some(self.turn.get_or_insert_default().clone());
        let (name, is_file, can_vanish) = (self.name.clone(), self.is_file, self.can_vanish);
        Ok(Sink { file, name, is_file, can_vanish, written: 0, in_file: 0, segments: None, turn })
    }

    /// Whether it goes to a file on a disk, not to somebody who waits for it.
    pub(crate) fn is_file(&self) -> bool {
        self.is_file
    }

    /// Whether the file at hand is to end.
    pub(crate) fn is_due(&self) -> bool {
        self.segments.as_ref().is_some_and(|segments| segments.is_due(self.in_file))
    }

    /// Goes on in the next file.
    ///
    /// # Errors
    /// It cannot be made.
    pub(crate) fn turn_over(&mut self) -> Result<(), Error> {
        let Some(segments) = &mut self.segments else { return Ok(()) };
        // It is one of those that may be deleted.
        let _ = self.file.unlock();
        let made = segments.next().map_err(|error| cannot_make(&segments.dir, error))?;
        (self.file, self.name) = (made.0, made.1.display().to_string());
        self.in_file = 0;
        Ok(())
    }

    /// Writes all of it.
    ///
    /// # Errors
    /// A full disk and the like.
    fn write(&mut self, mut bytes: &[u8]) -> Result<Reader, Error> {
        while !bytes.is_empty() {
            match self.file.write(bytes) {
                Ok(0) => return Err(self.broken(ErrorKind::WriteZero.into())),
                Ok(count) => {
                    self.written += count as u64;
                    self.in_file += count as u64;
                    bytes = &bytes[count..];
                }
                Err(error) => match error.kind() {
                    ErrorKind::Interrupted => {}
                    ErrorKind::WouldBlock => std::thread::sleep(RETRY),
                    ErrorKind::BrokenPipe => return Ok(Reader::Gone),
                    _ => return Err(self.broken(error)),
                },
            }
        }
        Ok(Reader::There)
    }

    /// Writes what comes before everything else, unless another formatter did, and empties it.
    ///
    /// # Errors
    /// Those of [`Sink::write`].
    pub(crate) fn begin(&mut self, bytes: &mut Vec<u8>) -> Result<Reader, Error> {
        let turn = self.turn.clone();
        let mut is_begun = turn.as_deref().map(hold);
        if is_begun.as_mut().is_some_and(|is_begun| std::mem::replace(&mut **is_begun, true)) {
            bytes.clear();
        }
        let reader = self.write(bytes)?;
        bytes.clear();
        Ok(reader)
    }

    /// Writes all of it and empties it.
    ///
    /// # Errors
    /// Those of [`Sink::write`].
    pub(crate) fn put(&mut self, bytes: &mut Vec<u8>) -> Result<Reader, Error> {
        let turn = self.turn.clone();
        let _held = turn.as_deref().map(hold);
        let reader = self.write(bytes)?;
        bytes.clear();
        Ok(reader)
    }

    /// Looks whether what was written can still be found.
    ///
    /// # Errors
    /// The file was removed.
    pub(crate) fn check(&self) -> Result<(), Error> {
        if self.can_vanish && self.file.metadata().is_ok_and(|data| data.nlink() == 0) {
            return Err(Error::new(format!(
                "the output file {} was removed while it was written, and what was in it is lost; \
                 write to a place that nothing cleans up",
                self.name
            )));
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

/// Whoever failed while writing has told of it; the others go on.
fn hold(turn: &Mutex<bool>) -> MutexGuard<'_, bool> {
    turn.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_made_before_it_is_opened() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("out");
        let target = Target::new(&path).expect("writable");
        assert!(!path.exists());
        let mut sink = target.open().expect("open");
        assert_eq!(sink.write(b"line\n").expect("written"), Reader::There);
        sink.check().expect("still there");
        assert_eq!((sink.written(), std::fs::read(&path).expect("read")), (5, b"line\n".to_vec()));
    }

    #[test]
    fn a_file_that_exists_is_untouched_until_then() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("out");
        std::fs::write(&path, "old").expect("written");
        let target = Target::new(&path).expect("writable");
        assert_eq!(std::fs::read(&path).expect("read"), b"old");
        target.open().expect("open");
        assert_eq!(std::fs::read(&path).expect("read"), b"");
    }

    #[test]
    fn what_cannot_be_written_is_told_at_once() {
        let dir = tempfile::tempdir().expect("a directory");
        for path in [dir.path().to_owned(), dir.path().join("no/such/dir")] {
            let line = Target::new(&path).expect_err("refused").to_string();
            assert!(line.contains(&path.display().to_string()), "{line}");
        }
    }

    #[test]
    fn a_vanished_file_is_noticed() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("out");
        let sink = Target::new(&path).expect("writable").open().expect("open");
        std::fs::remove_file(&path).expect("removed");
        assert!(sink.check().expect_err("gone").to_string().contains("was removed"));
    }

    #[test]
    fn a_full_disk_is_an_error() {
        let mut sink = Target::new(Path::new("/dev/full")).expect("there").open().expect("open");
        let line = sink.write(b"x").expect_err("full").to_string();
        assert!(line.contains("/dev/full") && line.contains("make room"), "{line}");
        sink.check().expect("a device does not vanish");
    }
}

//! Where the output goes: a file, a pipe, a terminal.

use fsmon_engine::Error;
use std::fs::{File, OpenOptions};
use std::io::{self, ErrorKind, IsTerminal, Write};
use std::os::fd::AsFd;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// For how long to wait before a full pipe that does not block is tried again.
const RETRY: Duration = Duration::from_millis(1);

/// Where the output is to go, checked as far as it can be without changing anything.
#[derive(Clone, Debug)]
pub(crate) struct Target {
    /// `None` for standard output.
    path: Option<PathBuf>,
}

impl Target {
    /// `-` is standard output.
    ///
    /// # Errors
    /// A file that could not be written to.
    pub(crate) fn new(path: &Path) -> Result<Self, Error> {
        if path == Path::new("-") {
            return Ok(Target { path: None });
        }
        check_writable(path)?;
        Ok(Target { path: Some(path.to_owned()) })
    }

    /// Whether lines are read by a person.
    pub(crate) fn is_terminal(&self) -> bool {
        match &self.path {
            None => io::stdout().is_terminal(),
            Some(path) => File::open(path).is_ok_and(|file| file.is_terminal()),
        }
    }

    /// Opens it; a file is made or truncated.
    ///
    /// # Errors
    /// Those of opening it.
    pub(crate) fn open(&self) -> Result<Sink, Error> {
        let (file, name) = match &self.path {
            None => (
                io::stdout().as_fd().try_clone_to_owned().map(File::from),
                "standard output".into(),
            ),
            Some(path) => (File::create(path), path.display().to_string()),
        };
        let file = file.map_err(|error| cannot_open(&name, error))?;
        let is_regular = file.metadata().is_ok_and(|data| data.file_type().is_file());
        let can_vanish = self.path.is_some() && is_regular;
        Ok(Sink { file, name, can_vanish, written: 0 })
    }
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
            let parent = match path.parent() {
                Some(parent) if !parent.as_os_str().is_empty() => parent,
                _ => Path::new("."),
            };
            if parent.is_dir() { Ok(()) } else { Err(cannot_open(&name, error)) }
        }
        Err(error) => Err(cannot_open(&name, error)),
    }
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
    can_vanish: bool,
    written: u64,
}

impl Sink {
    /// Writes all of it.
    ///
    /// # Errors
    /// A full disk and the like.
    pub(crate) fn write(&mut self, mut bytes: &[u8]) -> Result<Reader, Error> {
        while !bytes.is_empty() {
            match self.file.write(bytes) {
                Ok(0) => return Err(self.broken(ErrorKind::WriteZero.into())),
                Ok(count) => {
                    self.written += count as u64;
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

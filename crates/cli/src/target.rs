//! The target of the output: checked early, opened once, and emptied last.

use crate::limits::READER_CHECK;
use crate::sink::{OpenedBy, Sink};
use fsmon_engine::{Call, Error, refused};
use fsmon_present::message::{self, shown};
use fsmon_store::segments::Segments;
use nix::errno::Errno;
use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::unistd::{AccessFlags, access};
use std::fs::{File, FileType, OpenOptions};
use std::io::{self, ErrorKind, IsTerminal};
use std::os::fd::AsFd;
use std::os::unix::fs::{FileTypeExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::thread;

/// Names of standard output. Opening these would empty a file and give it a second position; a socket could
/// not be opened at all.
const STANDARD: [&str; 4] = ["-", "/dev/stdout", "/dev/fd/1", "/proc/self/fd/1"];

/// The target of the output, checked as far as possible without changing anything.
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
    /// The file cannot be written to.
    pub(crate) fn new(path: &Path) -> Result<Self, Error> {
        if STANDARD.iter().any(|name| path == Path::new(name)) {
            return Ok(Target::Standard);
        }
        check_writable(path)?;
        Ok(Target::File(path.to_owned()))
    }

    /// Files in a directory, which may be missing if its parent exists.
    ///
    /// # Errors
    /// No file can be made in the directory.
    pub(crate) fn segments(segments: Segments) -> Result<Self, Error> {
        let dir = &segments.dir;
        // Without the slash at its end, by which a file would look like something that does not exist.
        let name = dir.components().as_path();
        let probed = if name.symlink_metadata().is_ok() { name } else { parent(name) };
        match may_make_files_in(probed) {
            Ok(()) => Ok(Target::Segments(segments)),
            Err(error) => Err(cannot_make(dir, error)),
        }
    }

    /// Whether the target is a terminal. Opens nothing that opening could change.
    pub(crate) fn is_terminal(&self) -> bool {
        match self {
            Target::Standard => io::stdout().is_terminal(),
            Target::File(path) => {
                let is_device = file_type(path).is_some_and(|kind| kind.is_char_device());
                let flags = (OFlag::O_NONBLOCK | OFlag::O_NOCTTY).bits();
                let mut options = OpenOptions::new();
                let options = options.write(true).custom_flags(flags);
                is_device && options.open(path).is_ok_and(|file| file.is_terminal())
            }
            Target::Segments(_) => false,
        }
    }

    /// Opens the target. Makes a missing file. The first write empties an existing one, so that it stays unchanged if
    /// anything fails before. Opens a named pipe once it has a reader.
    ///
    /// # Errors
    /// It cannot be opened, or another fsmon writes to it.
    pub(crate) fn open(self) -> Result<Sink, Error> {
        match self {
            Target::Standard => {
                let file = io::stdout().as_fd().try_clone_to_owned().map(File::from);
                let name = "standard output";
                let file = file.map_err(|error| cannot_open(name, error))?;
                Ok(Sink::new(file, name.to_owned(), OpenedBy::Others))
            }
            Target::File(path) => {
                let file = open_for_writing(&path)?;
                Ok(Sink::new(file, shown(&path), OpenedBy::Fsmon))
            }
            Target::Segments(segments) => Sink::of_segments(segments),
        }
    }
}

/// Opens a file for appending, without changing it, and locks it. Makes a missing file. Waits for the reader of a
/// named pipe.
///
/// # Errors
/// It cannot be opened, or another fsmon writes to it.
pub(crate) fn open_for_writing(path: &Path) -> Result<File, Error> {
    let failed = |error| cannot_open(&shown(path), error);
    if file_type(path).is_some_and(|kind| kind.is_fifo()) {
        return open_pipe(path).map_err(failed);
    }
    // Append, so that output continues at the new end of a file that somebody truncates.
    let file = OpenOptions::new().append(true).create(true).open(path).map_err(failed)?;
    if file.metadata().map_err(failed)?.is_file() {
        fsmon_store::lock(&file).map_err(failed)?;
    }
    Ok(file)
}

/// Opens a named pipe. Opens it only once, as its reader would see an end of file between two openings. Does not
/// wait in the kernel, where the handled signals could not end the wait.
fn open_pipe(path: &Path) -> io::Result<File> {
    let mut is_reported = false;
    loop {
        let mut options = OpenOptions::new();
        match options.write(true).custom_flags(OFlag::O_NONBLOCK.bits()).open(path) {
            Ok(file) => {
                // From now on writes wait for a slow reader.
                let flags = OFlag::from_bits_retain(fcntl(&file, FcntlArg::F_GETFL)?);
                fcntl(&file, FcntlArg::F_SETFL(flags - OFlag::O_NONBLOCK))?;
                return Ok(file);
            }
            // No reader: fifo(7).
            Err(error) if error.raw_os_error() == Some(nix::libc::ENXIO) => {
                if !std::mem::replace(&mut is_reported, true) {
                    let name = shown(path);
                    message::print(format_args!(
                        "{name} is a pipe that nobody reads; waiting for a reader"
                    ));
                }
                thread::sleep(READER_CHECK);
            }
            Err(error) => return Err(error),
        }
    }
}

/// Checks early that a file can be written to: opens an existing regular file without changing it, asks access(2)
/// about others, and checks the directory of a missing file.
///
/// # Errors
/// It cannot be written to.
pub(crate) fn check_writable(path: &Path) -> Result<(), Error> {
    let checked = match file_type(path) {
        None => match path.symlink_metadata() {
            // A dangling link: opening it will make the file, if possible.
            Ok(_) => Ok(()),
            Err(error) if error.kind() == ErrorKind::NotFound => may_make_files_in(parent(path)),
            Err(error) => Err(error),
        },
        Some(kind) if kind.is_block_device() => {
            Err(io::Error::other("it is a disk, and would be overwritten"))
        }
        Some(kind) if kind.is_socket() => Err(io::Error::other("it is a socket")),
        Some(kind) if kind.is_dir() => Err(ErrorKind::IsADirectory.into()),
        Some(kind) if kind.is_file() => OpenOptions::new().append(true).open(path).map(drop),
        // Opening it might wait, or change something.
        Some(_) => access(path, AccessFlags::W_OK).map_err(io::Error::from),
    };
    checked.map_err(|error| cannot_open(&shown(path), error))
}

fn file_type(path: &Path) -> Option<FileType> {
    path.metadata().ok().map(|data| data.file_type())
}

fn may_make_files_in(dir: &Path) -> io::Result<()> {
    if !dir.metadata()?.is_dir() {
        return Err(ErrorKind::NotADirectory.into());
    }
    Ok(access(dir, AccessFlags::W_OK | AccessFlags::X_OK)?)
}

fn parent(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    }
}

pub(crate) fn cannot_make(dir: &Path, error: io::Error) -> Error {
    let dir = shown(dir);
    Error::os(
        format!(
            "cannot write to {dir}; name a directory that you may write to, or a new one in it"
        ),
        error,
    )
}

fn cannot_open(name: &str, error: io::Error) -> Error {
    // The file is not the cause of these.
    let errno = error.raw_os_error().map(Errno::from_raw);
    if let Some(Errno::EMFILE | Errno::ENFILE | Errno::ENOMEM) = errno {
        return refused(format_args!("cannot write to {name}"), Call::Plain, error);
    }
    Error::os(format!("cannot write to {name}; name a file in a directory you may write to"), error)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cannot_be_written_is_refused_at_once() {
        let dir = tempfile::tempdir().expect("a directory");
        for path in [dir.path().to_owned(), dir.path().join("no/such/dir")] {
            let line = Target::new(&path).expect_err("refused").to_string();
            assert!(line.contains(&path.display().to_string()), "{line}");
        }
    }

    #[test]
    fn what_is_no_directory_is_refused_at_once() {
        let area = tempfile::tempdir().expect("a directory");
        std::fs::write(area.path().join("file"), "").expect("written");
        for name in ["file/", "file/new/", "no/such/"] {
            let path = area.path().join(name);
            let segments = Segments::new(&path, "json", None, None, [0; 4]);
            let line = Target::segments(segments).expect_err(name).to_string();
            assert!(line.contains(name) && !line.contains("exists"), "{line}");
        }
        let segments = Segments::new(&area.path().join("new/"), "json", None, None, [0; 4]);
        assert!(Target::segments(segments).is_ok());
    }

    #[test]
    fn nothing_is_made_before_it_is_opened() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("out");
        let target = Target::new(&path).expect("writable");
        assert!(!path.exists());
        target.open().expect("open");
        assert!(path.exists());
    }

    #[test]
    fn standard_output_by_any_of_its_names() {
        for name in STANDARD {
            assert!(matches!(Target::new(Path::new(name)), Ok(Target::Standard)), "{name}");
        }
    }
}

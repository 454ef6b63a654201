//! The files in a directory of streams, and the lock on a file that is being written.

use crate::limits::{LOCK_RETRY, LOCK_TRIES};
use fsmon_format::error::Error;
use fsmon_format::stream::Header;
use fsmon_present::Format;
use fsmon_present::message::shown;
use std::fs::{File, TryLockError};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// A file in a directory of streams.
pub struct StreamFile {
    /// Its path.
    pub path: PathBuf,
    /// Its file header; `None` if that cannot be read.
    pub header: Option<Header>,
}

/// The regular `*.fsmon` files of a directory in the order of their headers: streams by when they began, segments by
/// number. Files without a header come last, by name.
///
/// # Errors
/// The directory cannot be read.
pub fn list(dir: &Path) -> Result<Vec<StreamFile>, Error> {
    let failed = |error| {
        let line = format!("cannot read {}; name a directory with recorded streams", shown(dir));
        Error::os(line, error)
    };
    let mut files = Vec::new();
    for entry in dir.read_dir().map_err(failed)? {
        let path = entry.map_err(failed)?.path();
        // Opening a pipe would wait for its writer.
        if path.extension().is_some_and(|extension| extension == Format::Binary.extension())
            && path.is_file()
        {
            files.push(StreamFile { header: header_of(&path), path });
        }
    }
    files.sort_by(|one, other| one.path.cmp(&other.path));
    Header::sort(&mut files, |file| file.header.as_ref());
    Ok(files)
}

pub(crate) fn header_of(path: &Path) -> Option<Header> {
    Header::peek(File::open(path).ok()?).ok().flatten()
}

/// Takes the lock on a file that is going to be written. Does nothing on a filesystem without locks.
///
/// # Errors
/// Another program has it.
pub fn lock(file: &File) -> io::Result<()> {
    for _ in 0..LOCK_TRIES {
        match file.try_lock() {
            // `is_written` in another process holds the lock for an instant.
            Err(TryLockError::WouldBlock) => std::thread::sleep(LOCK_RETRY),
            Ok(()) | Err(TryLockError::Error(_)) => return Ok(()),
        }
    }
    Err(io::Error::new(io::ErrorKind::ResourceBusy, "another fsmon writes to it"))
}

/// Whether a process holds [`lock`], and so writes to the file.
pub fn is_written(file: &File) -> bool {
    match file.try_lock_shared() {
        Err(TryLockError::WouldBlock) => true,
        Ok(()) => file.unlock().is_err(),
        Err(TryLockError::Error(_)) => false,
    }
}

/// Makes a write beyond RLIMIT_FSIZE fail with EFBIG instead of killing the process: setrlimit(2).
pub fn survive_file_limit() {
    // If that fails, the limit kills fsmon like any program.
    let _ = signal_hook::flag::register(signal_hook::consts::SIGXFSZ, Arc::default());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_regular_files_are_streams_and_none_is_waited_for() {
        let dir = tempfile::tempdir().expect("a directory");
        let at = |name: &str| dir.path().join(name);
        for name in ["b.fsmon", "a.fsmon", "c.json"] {
            std::fs::write(at(name), b"no stream").expect("written");
        }
        std::fs::create_dir(at("d.fsmon")).expect("made");
        let made = std::process::Command::new("mkfifo").arg(at("e.fsmon")).status();
        assert!(made.expect("mkfifo").success());
        std::os::unix::fs::symlink("a.fsmon", at("f.fsmon")).expect("linked");
        let files = list(dir.path()).expect("listed");
        assert!(files.iter().all(|file| file.header.is_none()));
        let names: Vec<_> = files.iter().map(|file| file.path.clone()).collect();
        assert_eq!(names, ["a.fsmon", "b.fsmon", "f.fsmon"].map(at));
        assert!(list(&at("none")).is_err());
    }
}

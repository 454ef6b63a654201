//! The files of a history beside its segments, and what makes a change of a directory durable.

use crate::limits::{KEY_BYTES, LOCK_BYTES_MAX, LOCK_RETRY, LOCK_TRIES};
use crate::segments::is_ours;
use fsmon_format::error::{Error, ErrorKind};
use fsmon_present::Format;
use fsmon_present::message::shown;
use nix::fcntl::OFlag;
use std::ffi::OsStr;
use std::fs::{DirBuilder, File, OpenOptions, Permissions, TryLockError};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::Path;

/// The catalogue.
pub const CATALOGUE: &str = "catalogue";
/// The key of the hashes in `object`.
pub const KEY: &str = "key";
/// The lock that the recorder holds.
pub const LOCK: &str = "lock";
/// What is put behind a file's name while it is written.
const NEW: &str = ".new";

/// The mode of all files, whatever the umask.
const FILE_MODE: u32 = 0o640;
/// The mode of a directory that is made.
const DIR_MODE: u32 = 0o750;

/// Makes the directory if it is missing, durably.
pub(super) fn make(dir: &Path) -> io::Result<()> {
    let parent = dir.parent().filter(|parent| !parent.as_os_str().is_empty());
    let parent = parent.unwrap_or(Path::new("."));
    std::fs::create_dir_all(parent)?;
    match DirBuilder::new().mode(DIR_MODE).create(dir) {
        Ok(()) => {
            std::fs::set_permissions(dir, Permissions::from_mode(DIR_MODE))?;
            sync(parent)
        }
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists && dir.is_dir() => Ok(()),
        Err(error) => Err(error),
    }
}

/// Makes a file that does not exist.
pub(crate) fn create(path: &Path) -> io::Result<File> {
    let file = OpenOptions::new().write(true).create_new(true).mode(FILE_MODE).open(path)?;
    file.set_permissions(Permissions::from_mode(FILE_MODE))?;
    Ok(file)
}

/// Opens a file of the history to read it; never through a symbolic link, and without waiting for the writer of a pipe.
pub(crate) fn open(path: &Path) -> io::Result<File> {
    let flags = OFlag::O_NOFOLLOW | OFlag::O_NONBLOCK;
    let file = OpenOptions::new().read(true).custom_flags(flags.bits()).open(path)?;
    let is_file = file.metadata()?.is_file();
    is_file.then_some(file).ok_or_else(|| io::ErrorKind::InvalidInput.into())
}

/// Makes what was made, renamed and removed in the directory durable.
pub(super) fn sync(dir: &Path) -> io::Result<()> {
    File::open(dir)?.sync_all()
}

/// Replaces a file in the directory, durably: at each moment a reader, or the next start after a power failure, finds the
/// old one or the new one.
pub(crate) fn replace(dir: &Path, name: impl AsRef<OsStr>, bytes: &[u8]) -> io::Result<()> {
    let name = name.as_ref();
    let mut new = name.to_owned();
    new.push(NEW);
    let (path, new) = (dir.join(name), dir.join(new));
    match std::fs::remove_file(&new) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let written = create(&new).and_then(|mut file| {
        file.write_all(bytes)?;
        file.sync_all()
    });
    if let Err(error) = written {
        // The disk may be full: leaves nothing.
        let _ = std::fs::remove_file(&new);
        return Err(error);
    }
    std::fs::rename(&new, &path)?;
    sync(dir)
}

/// Takes the lock on the directory. It is held until the file is dropped, or the process ends.
pub(super) fn lock(dir: &Path) -> Result<File, Error> {
    let path = dir.join(LOCK);
    let failed = |error| Error::os(format!("cannot lock the history in {}", shown(dir)), error);
    let mut file = OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .mode(FILE_MODE)
        .custom_flags(OFlag::O_NOFOLLOW.bits())
        .open(&path)
        .map_err(failed)?;
    for _ in 0..LOCK_TRIES {
        match file.try_lock() {
            Ok(()) => {
                file.set_permissions(Permissions::from_mode(FILE_MODE)).map_err(failed)?;
                file.set_len(0).map_err(failed)?;
                // A full disk takes no number; the lock holds all the same.
                let _ = writeln!(file, "{}", std::process::id());
                return Ok(file);
            }
            Err(TryLockError::WouldBlock) => std::thread::sleep(LOCK_RETRY),
            Err(TryLockError::Error(error)) => return Err(failed(error)),
        }
    }
    let mut text = String::new();
    let _ = file.take(LOCK_BYTES_MAX).read_to_string(&mut text);
    let who = match text.trim().parse::<u32>() {
        Ok(pid) => format!("process {pid}"),
        Err(_) => "another process".to_owned(),
    };
    Err(Error::new(
        ErrorKind::Busy,
        format!("{who} records into {} already; stop it, or name another directory", shown(dir)),
    ))
}

/// The history's key: the one that is there, or a new one.
pub(super) fn key(dir: &Path) -> Result<[u8; KEY_BYTES], Error> {
    let path = dir.join(KEY);
    let failed = |error| Error::os(format!("cannot read {}", shown(&path)), error);
    match open(&path) {
        Ok(file) => {
            let mut bytes = Vec::new();
            file.take(KEY_BYTES as u64 + 1).read_to_end(&mut bytes).map_err(failed)?;
            bytes.try_into().map_err(|_| {
                Error::new(
                    ErrorKind::Damaged,
                    format!(
                        "{} is not a key of {KEY_BYTES} bytes; restore it from a backup, or remove it: then files \
                         recorded before have other objects than the same files have from now on",
                        shown(&path)
                    ),
                )
            })
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => make_key(dir),
        Err(error) => Err(failed(error)),
    }
}

fn make_key(dir: &Path) -> Result<[u8; KEY_BYTES], Error> {
    let failed = |error| Error::os(format!("cannot make a key in {}", shown(dir)), error);
    let mut key = [0; KEY_BYTES];
    File::open("/dev/urandom").and_then(|mut file| file.read_exact(&mut key)).map_err(failed)?;
    replace(dir, KEY, &key).map_err(failed)?;
    Ok(key)
}

/// The segments in the directory, by name, with their lengths in bytes. Symbolic links and what else has such a name are
/// left out.
pub(crate) fn segments(dir: &Path) -> io::Result<Vec<(String, u64)>> {
    let mut found = Vec::new();
    for entry in dir.read_dir()? {
        let entry = entry?;
        let Ok(name) = entry.file_name().into_string() else { continue };
        if !is_segment(&name) {
            continue;
        }
        match entry.metadata() {
            Ok(data) if data.is_file() => found.push((name, data.len())),
            Ok(_) => {}
            // It was deleted meanwhile.
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
    }
    found.sort();
    Ok(found)
}

/// Whether a file of this name in a history is a segment.
pub(crate) fn is_segment(name: &str) -> bool {
    is_ours(name, Format::Binary.extension())
}

/// The name of the index of a segment.
#[must_use]
pub fn index_name(segment: &str) -> String {
    let stem = segment.strip_suffix(Format::Binary.extension()).unwrap_or(segment);
    format!("{}.idx", stem.trim_end_matches('.'))
}

/// The name of what is indexed of a segment while it is written.
#[must_use]
pub fn part_name(segment: &str) -> String {
    format!("{}.part", index_name(segment))
}

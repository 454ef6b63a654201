//! The `[[watch]]` tables, and the file that they are written to.

use super::{Found, Notes};
use crate::config::state::{make, replace, tables};
use crate::limits::{FILE_BYTES, WATCHES_MAX};
use fsmon_format::error::{Error, ErrorKind};
use fsmon_present::message::{line, shown};
use std::io;
use std::path::Path;

/// The first line. docs/migrating.md is part of the documents that come with fsmon.
const HEADER: &str = "# Made by `fsmon import`: part of a configuration. docs/migrating.md says what is different from before.\n";

/// What to do with a file that is there already.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Existing {
    /// It stays, and nothing is written.
    Kept,
    /// It is replaced as a whole.
    Replaced,
}

/// Writes what was made to a file: 0640, less what the umask forbids.
///
/// # Errors
/// There is a file already that is to be kept (`Busy`), or writing failed.
pub fn write(path: &Path, text: &str, existing: Existing) -> Result<(), Error> {
    if existing == Existing::Replaced {
        return replace(path, text);
    }
    let name = shown(path);
    make(path, text).map_err(|error| match error.kind() {
        io::ErrorKind::AlreadyExists => {
            Error::new(ErrorKind::Busy, format!("{name} is there already, and stays as it is"))
        }
        _ => Error::os(format!("cannot write {name}"), error),
    })
}

/// The watches that a configuration has room for.
pub(super) fn that_fit(found: Vec<Found>, notes: &mut Notes) -> Vec<Found> {
    let mut left = FILE_BYTES.saturating_sub(HEADER.len() as u64);
    let mut kept = Vec::new();
    for one in found {
        let room = table(&one).ok().and_then(|text| left.checked_sub(text.len() as u64));
        match room {
            Some(room) if kept.len() < WATCHES_MAX => {
                left = room;
                kept.push(one);
            }
            _ => {
                let path = shown(&one.watch.path);
                let text = format!(
                    "{path}: left out: a configuration has at most {WATCHES_MAX} watches and {FILE_BYTES} bytes; \
                     watch a directory above several of them"
                );
                notes.add(&one.at, text);
            }
        }
    }
    kept
}

/// The tables of watches.
///
/// # Errors
/// A path is not UTF-8, which none from a file can be.
pub(super) fn text(found: &[Found]) -> Result<String, Error> {
    let mut text = String::from(HEADER);
    for one in found {
        text.push_str(&table(one)?);
    }
    Ok(text)
}

fn table(found: &Found) -> Result<String, Error> {
    let at = line(&found.at.to_string());
    Ok(format!("\n# {at}\n{}", tables(std::slice::from_ref(&found.watch))?))
}

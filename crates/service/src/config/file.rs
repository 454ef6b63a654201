//! Reading a file that decides what a privileged process does.

use super::document::too_large;
use crate::limits::FILE_BYTES;
use fsmon_format::error::{Error, ErrorKind};
use fsmon_present::message::shown;
use nix::libc::{ELOOP, O_NOCTTY, O_NOFOLLOW, O_NONBLOCK};
use nix::unistd::geteuid;
use std::fs::{Metadata, OpenOptions};
use std::io::{self, Read};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::Path;

/// The bit of a mode by which all may write.
const WRITABLE_FOR_ALL: u32 = 0o002;

/// Whether a file may be named by a symbolic link.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Links {
    Followed,
    /// The last name of the path must be the file itself.
    Refused,
}

/// Reads a text file of at most [`FILE_BYTES`] that belongs to root or to the user of this process.
///
/// # Errors
/// It cannot be read, is no regular file, is too large or no UTF-8, or somebody else could have written it.
pub(super) fn read(path: &Path) -> Result<String, Error> {
    let name = shown(path);
    let bytes = read_bytes(path, geteuid().as_raw(), Links::Followed)?;
    String::from_utf8(bytes).map_err(|error| {
        let at = error.utf8_error().valid_up_to();
        let line = error.as_bytes()[..at].iter().filter(|byte| **byte == b'\n').count() + 1;
        Error::invalid(format!("{name}:{line}: is not UTF-8, as TOML must be"))
    })
}

/// Reads a file of at most [`FILE_BYTES`] that belongs to root or to `owner`.
///
/// # Errors
/// It cannot be read, is no regular file, is too large, or somebody else could have written it.
pub(crate) fn read_bytes(path: &Path, owner: u32, links: Links) -> Result<Vec<u8>, Error> {
    let name = shown(path);
    let failed = |error: io::Error| match (links, error.raw_os_error()) {
        (Links::Refused, Some(ELOOP)) => Error::invalid(format!(
            "{name} is a symbolic link, which is not followed; name the file that it leads to"
        )),
        _ => Error::os(format!("cannot read {name}"), error),
    };
    let no_follow = if links == Links::Refused { O_NOFOLLOW } else { 0 };
    // Opening a pipe or a terminal by mistake neither waits nor makes it the terminal of this process.
    let mut options = OpenOptions::new();
    let options = options.read(true).custom_flags(O_NONBLOCK | O_NOCTTY | no_follow);
    let file = options.open(path).map_err(failed)?;
    check(&name, &file.metadata().map_err(failed)?, owner)?;
    let mut bytes = Vec::new();
    file.take(FILE_BYTES + 1).read_to_end(&mut bytes).map_err(failed)?;
    match bytes.len() as u64 {
        0..=FILE_BYTES => Ok(bytes),
        len => Err(too_large(&name, len)),
    }
}

/// Whether a file may be believed. Looks at the open file, so nobody can put another in its place meanwhile.
fn check(name: &str, data: &Metadata, believed: u32) -> Result<(), Error> {
    if !data.is_file() {
        return Err(Error::invalid(format!("{name} is no regular file; name the file itself")));
    }
    if data.len() > FILE_BYTES {
        return Err(too_large(name, data.len()));
    }
    let refused = |why: String| Err(Error::new(ErrorKind::Permission, format!("{name} {why}")));
    if data.mode() & WRITABLE_FOR_ALL != 0 {
        return refused(format!(
            "is writable for all; chmod o-w {name} once its content is as you want it"
        ));
    }
    let owner = data.uid();
    if owner != 0 && owner != believed {
        return refused(match believed {
            0 => format!("belongs to uid {owner}, who could change it; it must belong to root"),
            own => format!(
                "belongs to uid {owner}, who could change it; it must belong to root or to uid {own}"
            ),
        });
    }
    Ok(())
}

//! Reading a file that decides what a privileged process does.

use super::document::too_large;
use crate::limits::FILE_BYTES;
use fsmon_format::error::{Error, ErrorKind};
use fsmon_present::message::shown;
use nix::libc::{O_NOCTTY, O_NONBLOCK};
use nix::unistd::geteuid;
use std::fs::{Metadata, OpenOptions};
use std::io::Read;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::Path;

/// The bit of a mode by which all may write.
const WRITABLE_FOR_ALL: u32 = 0o002;

/// Reads a text file of at most [`FILE_BYTES`].
///
/// # Errors
/// It cannot be read, is no regular file, is too large or no UTF-8, or somebody else could have written it.
pub(super) fn read(path: &Path) -> Result<String, Error> {
    let name = shown(path);
    let failed = |error| Error::os(format!("cannot read {name}"), error);
    // Opening a pipe or a terminal by mistake neither waits nor makes it the terminal of this process.
    let mut options = OpenOptions::new();
    let options = options.read(true).custom_flags(O_NONBLOCK | O_NOCTTY);
    let file = options.open(path).map_err(failed)?;
    check(&name, &file.metadata().map_err(failed)?)?;
    let mut bytes = Vec::new();
    file.take(FILE_BYTES + 1).read_to_end(&mut bytes).map_err(failed)?;
    if bytes.len() as u64 > FILE_BYTES {
        return Err(too_large(&name, bytes.len() as u64));
    }
    String::from_utf8(bytes).map_err(|error| {
        let at = error.utf8_error().valid_up_to();
        let line = error.as_bytes()[..at].iter().filter(|byte| **byte == b'\n').count() + 1;
        Error::invalid(format!("{name}:{line}: is not UTF-8, as TOML must be"))
    })
}

/// Whether the daemon may believe a file. Looks at the open file, so nobody can put another in its place meanwhile.
fn check(name: &str, data: &Metadata) -> Result<(), Error> {
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
    let (owner, own) = (data.uid(), geteuid().as_raw());
    if owner != 0 && owner != own {
        return refused(format!(
            "belongs to uid {owner}, who could change it; it must belong to root or to uid {own}"
        ));
    }
    Ok(())
}

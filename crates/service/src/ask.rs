//! Paths on filesystems that may not answer.

use crate::limits::OPEN_PATIENCE;
use fsmon_format::error::{Error, ErrorKind};
use fsmon_present::message::shown;
use std::path::Path;
use std::thread;

/// Asks the filesystem at a path for anything, on a thread of its own: a FUSE daemon or a server that does not answer
/// must not keep all else waiting. That thread waits for as long as it takes.
///
/// # Errors
/// It does not answer in time.
pub(crate) fn must_answer(path: &Path) -> Result<(), Error> {
    let (answered, answer) = flume::bounded(1);
    let asked = path.to_owned();
    let ask = move || {
        // What is there does not matter yet.
        let _ = asked.canonicalize();
        let _ = answered.send(());
    };
    thread::Builder::new()
        .name("fsmon-ask".into())
        .spawn(ask)
        .map_err(|error| Error::os("cannot start a thread", error))?;
    answer.recv_timeout(OPEN_PATIENCE).map_err(|_| {
        let seconds = OPEN_PATIENCE.as_secs();
        Error::new(
            ErrorKind::Io,
            format!(
                "{} does not answer within {seconds} seconds; is its server there?",
                shown(path)
            ),
        )
    })
}

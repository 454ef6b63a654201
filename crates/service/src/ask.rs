//! Paths on filesystems that may not answer.

use crate::limits::OPEN_PATIENCE;
use fsmon_format::error::{Error, ErrorKind};
use fsmon_present::message::shown;
use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread;

/// Paths that a thread waits for.
static ASKED: Mutex<Option<HashSet<PathBuf>>> = Mutex::new(None);

fn asked() -> MutexGuard<'static, Option<HashSet<PathBuf>>> {
    ASKED.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Asks the filesystem at a path for anything, on a thread of its own: a FUSE daemon or a server that does not answer
/// must not keep all else waiting. That thread waits for as long as it takes; meanwhile nobody else asks for the path, so
/// there is one such thread for each.
///
/// # Errors
/// It is on a filesystem that may never answer; it does not answer in time, or has not answered yet since the last call.
pub(crate) fn must_answer(path: &Path) -> Result<(), Error> {
    if fsmon_engine::may_hang(path) {
        // A thread that waits for such a server can keep the process from ending.
        let line = format!(
            "{} is on a filesystem that may not answer (FUSE, a server), or behind one; the daemon does not watch these",
            shown(path)
        );
        return Err(Error::new(ErrorKind::Unsupported, line));
    }
    if !asked().get_or_insert_default().insert(path.to_owned()) {
        return Err(silent(path));
    }
    let (answered, answer) = flume::bounded(1);
    let own = path.to_owned();
    let ask = move || {
        // What is there does not matter yet. The kernel may have the name of a directory, and not its attributes.
        let _ = own.canonicalize().and_then(|real| real.metadata());
        asked().get_or_insert_default().remove(&own);
        let _ = answered.send(());
    };
    thread::Builder::new().name("fsmon-ask".into()).spawn(ask).map_err(|error| {
        asked().get_or_insert_default().remove(path);
        Error::os("cannot start a thread", error)
    })?;
    answer.recv_timeout(OPEN_PATIENCE).map_err(|_| silent(path))
}

fn silent(path: &Path) -> Error {
    let (path, seconds) = (shown(path), OPEN_PATIENCE.as_secs());
    let line = format!("{path} does not answer within {seconds} seconds; is its server there?");
    Error::new(ErrorKind::Io, line)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_that_answers_can_be_asked_again_and_one_that_is_silent_is_not() {
        for _ in 0..3 {
            must_answer(Path::new("/no/such/path")).expect("it answers that there is none");
        }
        let silent = Path::new("/silent");
        asked().get_or_insert_default().insert(silent.to_owned());
        let error = must_answer(silent).expect_err("still waited for");
        assert!(error.to_string().contains("/silent does not answer"), "{error}");
    }
}

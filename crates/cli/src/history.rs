//! Which history a command reads: the one that is named, or that of the daemon. The daemon is asked first to write out what
//! happened until now.

use crate::args::history::HistoryArgs;
use fsmon_engine::{Error, ErrorKind};
use fsmon_present::filter::real;
use fsmon_present::message::{self, shown};
use fsmon_service::control::client::Client;
use fsmon_service::control::protocol::Command;
use serde_json::Value;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// A history that can be read.
pub(crate) struct Opened {
    /// The directory of segments.
    pub(crate) dir: PathBuf,
    /// The cursor behind what happened before this was opened; `None` where no daemon wrote it out.
    #[allow(dead_code)] // until a command ends at it
    pub(crate) flushed: Option<String>,
}

/// Finds the history, and has its daemon flush it. Where a daemon records into it and does not flush, a line on standard
/// error says so: the answer is as of its last block, at most a second ago.
///
/// # Errors
/// There is no such directory, or this user may not read it.
pub(crate) fn open(args: &HistoryArgs) -> Result<Opened, Error> {
    let (dir, daemon) = match &args.history {
        Some(dir) => (dir.clone(), Client::connect(&args.socket)),
        None => of_daemon(&args.socket)?,
    };
    readable(&dir)?;
    let flushed = daemon.and_then(|mut daemon| flush(&mut daemon, &dir, args.history.is_some()));
    let flushed = match flushed {
        Ok(cursor) => cursor,
        Err(error) => {
            if is_recorded(&dir) {
                message::print(format_args!(
                    "{error}; the answer is as of what the daemon has written, which may be a second ago"
                ));
            }
            None
        }
    };
    Ok(Opened { dir, flushed })
}

/// The history of the daemon that answers at `socket`, or else the usual one.
fn of_daemon(socket: &Path) -> Result<(PathBuf, Result<Client, Error>), Error> {
    let default = || fsmon_service::Config::default().history.dir;
    let mut daemon = Client::connect(socket);
    let dir = match &mut daemon {
        Ok(client) => history_of(client)?.map_or_else(default, PathBuf::from),
        Err(_) => default(),
    };
    Ok((dir, daemon))
}

/// The directory that the daemon says it records into.
fn history_of(daemon: &mut Client) -> Result<Option<String>, Error> {
    let status = daemon.ask(&Command::Status)?;
    let dir = status.get("history").and_then(|history| history.get("dir"));
    Ok(dir.and_then(Value::as_str).map(str::to_owned))
}

/// Has the daemon write out what happened; `None` if it records elsewhere.
fn flush(daemon: &mut Client, dir: &Path, must_compare: bool) -> Result<Option<String>, Error> {
    if must_compare {
        let own = history_of(daemon)?;
        if !own.is_some_and(|own| is_same(Path::new(&own), dir)) {
            return Ok(None);
        }
    }
    let answer = daemon.ask(&Command::Flush)?;
    Ok(answer.get("cursor").and_then(Value::as_str).map(str::to_owned))
}

fn is_same(one: &Path, other: &Path) -> bool {
    let id = |path: &Path| path.metadata().ok().map(|data| (data.dev(), data.ino()));
    id(one).is_some_and(|one| Some(one) == id(other))
}

/// Whether a recorder holds the lock of the history.
pub(crate) fn is_recorded(dir: &Path) -> bool {
    let lock = std::fs::File::open(dir.join(fsmon_store::history::LOCK));
    lock.is_ok_and(|lock| fsmon_store::is_written(&lock))
}

/// A path as records have it: absolute, through no symbolic link above its last name. It need not exist.
///
/// # Errors
/// It has no last name, as `/` and `..` have none; or the current directory is not known.
pub(crate) fn recorded_path(path: &Path) -> Result<PathBuf, Error> {
    let whole = std::path::absolute(path)
        .map_err(|error| Error::os(format!("cannot make {} absolute", shown(path)), error))?;
    match (whole.parent(), whole.file_name()) {
        (Some(parent), Some(name)) => Ok(real(parent).join(name)),
        _ => Err(Error::invalid(format!("{} has no name; write the path of a file", shown(path)))),
    }
}

/// Refuses what is no directory that this user may read.
fn readable(dir: &Path) -> Result<(), Error> {
    let Err(error) = dir.read_dir() else { return Ok(()) };
    let error = Error::os(format!("cannot read the history {}", shown(dir)), error);
    let remedy = match error.kind() {
        ErrorKind::Permission => "; be root, or a member of the group that it belongs to",
        _ => "; start fsmon daemon, or name a directory of segments with --history DIR",
    };
    Err(error.and(remedy))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn args(history: &Path) -> HistoryArgs {
        HistoryArgs { history: Some(history.to_owned()), socket: history.join("no.sock") }
    }

    #[test]
    fn a_directory_needs_no_daemon() {
        let dir = tempfile::tempdir().expect("a directory");
        let opened = open(&args(dir.path())).expect("readable");
        assert_eq!((opened.dir, opened.flushed), (dir.path().to_owned(), None));
    }

    #[test]
    fn what_is_no_directory_is_refused_with_the_remedy() {
        let dir = tempfile::tempdir().expect("a directory");
        let file = dir.path().join("file");
        std::fs::write(&file, "").expect("written");
        for wrong in [dir.path().join("none"), file] {
            let line = open(&args(&wrong)).err().expect("refused").to_string();
            assert!(line.contains("--history DIR"), "{line}");
        }
    }
}

//! The client's end of the control socket.

use super::protocol::{Command, Fields, parse_answer};
use crate::limits::{ANSWER_BYTES, CONNECT_ANSWER};
use fsmon_format::error::{Error, ErrorKind};
use fsmon_present::message::shown;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};

/// A connection to a daemon.
pub struct Client {
    reader: BufReader<UnixStream>,
    path: PathBuf,
}

impl Client {
    /// Connects to the daemon at `path`.
    ///
    /// # Errors
    /// No daemon answers there ([`ErrorKind::NotFound`]), or this user may not connect
    /// ([`ErrorKind::Permission`]).
    pub fn connect(path: &Path) -> Result<Client, Error> {
        let stream = UnixStream::connect(path).map_err(|error| refused(path, error))?;
        // An `add` walks a large tree: the daemon bounds the time.
        stream.set_read_timeout(Some(CONNECT_ANSWER)).map_err(|error| refused(path, error))?;
        Ok(Client { reader: BufReader::new(stream), path: path.to_owned() })
    }

    /// Sends a command and waits for the answer.
    ///
    /// # Errors
    /// What the daemon answered, or that it does not answer.
    pub fn ask(&mut self, command: &Command) -> Result<Fields, Error> {
        let gone = |error: io::Error| {
            let what = format!("the daemon at {} does not answer", shown(&self.path));
            Error::os(what, error)
        };
        self.reader.get_ref().write_all(&command.line()).map_err(gone)?;
        let mut line = Vec::new();
        let mut bounded = self.reader.by_ref().take(ANSWER_BYTES);
        bounded.read_until(b'\n', &mut line).map_err(gone)?;
        if line.is_empty() {
            return Err(gone(io::ErrorKind::UnexpectedEof.into()));
        }
        parse_answer(&line)
    }
}

fn refused(path: &Path, error: io::Error) -> Error {
    let path = shown(path);
    match error.kind() {
        io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused => Error::new(
            ErrorKind::NotFound,
            format!(
                "no daemon answers at {path}; start it with fsmon daemon, or name another socket"
            ),
        ),
        io::ErrorKind::PermissionDenied => Error::new(
            ErrorKind::Permission,
            format!("may not connect to {path}; be root or a member of the daemon's control group"),
        ),
        _ => Error::os(format!("cannot connect to {path}"), error),
    }
}

//! What the two processes of the daemon say to each other, over a socket pair.
//!
//! ```text
//!  front: control socket, HTTP, configuration, signals          recorder: engine, history, retention
//!         no capabilities            ── Order, numbered ──►     the capabilities of each thread
//!                                    ◄── Fields or an error ──
//! ```
//!
//! A message is a length of four bytes (little endian) and that many bytes of JSON. The recorder takes only what is in
//! [`Order`]: whatever a client sent was parsed and checked by the front process.

use crate::config::{Config, Watch};
use crate::control::protocol::Fields;
use crate::limits::LINK_BYTES;
use fsmon_format::error::{Error, ErrorKind};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use std::io::{self, Read, Write};
use std::path::PathBuf;
use std::time::Duration;

/// What the recorder is to do.
#[derive(Debug, Deserialize, Serialize)]
pub(crate) enum Order {
    /// Begin to record. The first order, and no other comes before its answer.
    Begin {
        /// The file of the configuration, as messages show it.
        source: String,
        config: Box<Config>,
    },
    Status,
    List,
    Add {
        watch: Box<Watch>,
        runtime: bool,
    },
    Remove {
        path: PathBuf,
    },
    Flush,
    Sync,
    Rotate,
    /// Go over to another configuration.
    Reload {
        config: Box<Config>,
    },
    Clean {
        is_dry: bool,
        limits: Option<Limits>,
    },
    Metrics,
    /// Show that engine and recorder make progress. The answer is the summary.
    Progress,
    /// Record what happened until now, and end.
    Stop,
}

/// Limits in place of those of the configuration.
#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Eq, Serialize)]
pub(crate) struct Limits {
    pub(crate) size: Option<u64>,
    pub(crate) age: Option<Duration>,
}

/// An order with its number.
#[derive(Debug, Deserialize, Serialize)]
pub(crate) struct Asked {
    pub(crate) number: u64,
    pub(crate) order: Order,
}

/// The answer to the order with that number.
#[derive(Debug, Deserialize, Serialize)]
pub(crate) struct Answered {
    pub(crate) number: u64,
    pub(crate) result: Result<Fields, Failure>,
}

/// An error on its way.
#[derive(Debug, Deserialize, Serialize)]
pub(crate) struct Failure {
    kind: String,
    text: String,
}

impl From<&Error> for Failure {
    fn from(error: &Error) -> Self {
        Failure { kind: error.kind().name().to_owned(), text: error.to_string() }
    }
}

impl From<Failure> for Error {
    fn from(failure: Failure) -> Self {
        Error::new(failure.kind.parse().unwrap_or(ErrorKind::Internal), failure.text)
    }
}

/// Sends a message in one write.
///
/// # Errors
/// The other process is gone; InvalidData if the message is longer than [`LINK_BYTES`].
pub(crate) fn send(stream: &mut impl Write, message: &impl Serialize) -> io::Result<()> {
    let mut bytes = vec![0; size_of::<u32>()];
    serde_json::to_writer(&mut bytes, message)?;
    let len = u32::try_from(bytes.len() - size_of::<u32>()).ok().filter(|len| *len <= LINK_BYTES);
    let len = len.ok_or(io::ErrorKind::InvalidData)?;
    bytes[..size_of::<u32>()].copy_from_slice(&len.to_le_bytes());
    stream.write_all(&bytes)
}

/// Receives a message; `None` at the end.
///
/// # Errors
/// It breaks off, is longer than [`LINK_BYTES`], or is not understood.
pub(crate) fn receive<T: DeserializeOwned>(stream: &mut impl Read) -> io::Result<Option<T>> {
    let mut len = [0; size_of::<u32>()];
    match stream.read_exact(&mut len) {
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(None),
        read => read?,
    }
    let len = u32::from_le_bytes(len);
    if len > LINK_BYTES {
        return Err(io::ErrorKind::InvalidData.into());
    }
    // The memory grows with what really comes.
    let mut bytes = Vec::new();
    stream.by_ref().take(len.into()).read_to_end(&mut bytes)?;
    Ok(Some(serde_json::from_slice(&bytes)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_configuration_arrives_as_it_was_sent() {
        let text = "history = { dir = '/h', rotate = '1M', compress = 'lz4', keep = { free = '7%' } }\n\
                    metrics.listen = '127.0.0.1:1'\n\
                    engine = { cpu = 3, require = 'bpf', batch_window = '2ms' }\n\
                    [[watch]]\npath = '/a'\nexclude = ['*.tmp']\nsize = '>=1M'\nmax_depth = 2\n\
                    [[watch]]\npath = '/b'\nrecursive = false\ntypes = ['CREATE']\ncmdline = true";
        for text in [text, "", "engine.cpu = 'none'"] {
            let config = Config::from_toml(text, "f").expect("valid");
            let order = Order::Reload { config: Box::new(config.clone()) };
            let mut bytes = Vec::new();
            send(&mut bytes, &Asked { number: 7, order }).expect("sent");
            let asked: Asked = receive(&mut &bytes[..]).expect("read").expect("one");
            let Asked { number: 7, order: Order::Reload { config: arrived } } = asked else {
                panic!("another order")
            };
            assert_eq!(*arrived, config);
        }
    }

    #[test]
    fn what_is_no_message_is_refused() {
        assert!(receive::<Asked>(&mut &b""[..]).expect("the end").is_none());
        let huge = (LINK_BYTES + 1).to_le_bytes();
        for bytes in [&huge[..], b"\x02\0\0\0{", b"\x02\0\0\0{}", b"\xff\xff\xff\xff"] {
            assert!(receive::<Asked>(&mut &bytes[..]).is_err(), "{bytes:?}");
        }
        let error = Error::new(ErrorKind::Busy, "full");
        let back = Error::from(Failure::from(&error));
        assert_eq!((back.kind(), back.to_string()), (ErrorKind::Busy, "full".to_owned()));
    }
}

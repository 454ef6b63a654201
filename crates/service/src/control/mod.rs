//! Control of a running daemon: messages over a Unix socket.

/// The path of the control socket unless the configuration has another one.
pub const DEFAULT_SOCKET: &str = "/run/fsmon/control.sock";

pub mod client;
pub mod protocol;
pub(crate) mod rights;
pub(crate) mod server;

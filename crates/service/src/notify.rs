//! Messages to systemd: sd_notify(3). Without systemd there is nobody to send them to.

use nix::time::{ClockId, clock_gettime};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::time::Duration;

/// The socket of the service manager.
pub(crate) struct Notifier(Option<(UnixDatagram, SocketAddr)>);

impl Notifier {
    /// As `NOTIFY_SOCKET` says.
    pub(crate) fn of_environment() -> Self {
        let named = std::env::var("NOTIFY_SOCKET").unwrap_or_default();
        let address = match named.strip_prefix('@') {
            Some(name) => SocketAddr::from_abstract_name(name),
            None if named.starts_with('/') => SocketAddr::from_pathname(&named),
            None => return Notifier(None),
        };
        Notifier(
            address
                .ok()
                .zip(UnixDatagram::unbound().ok())
                .map(|(address, socket)| (socket, address)),
        )
    }

    fn send(&self, message: &str) {
        if let Some((socket, address)) = &self.0 {
            // The manager may be gone: the daemon works without it.
            let _ = socket.send_to_addr(message.as_bytes(), address);
        }
    }

    /// The daemon records from now on.
    pub(crate) fn ready(&self, status: &str) {
        self.send(&format!("READY=1\nSTATUS={}", one_line(status)));
    }

    /// One line for people.
    pub(crate) fn status(&self, status: &str) {
        self.send(&format!("STATUS={}", one_line(status)));
    }

    /// The configuration is read again; [`Notifier::ready`] ends that. systemd from 253 on wants to know when it began.
    pub(crate) fn reloading(&self) {
        let micros = clock_gettime(ClockId::CLOCK_MONOTONIC)
            .map_or(0, |now| Duration::from(now).as_micros());
        self.send(&format!("RELOADING=1\nMONOTONIC_USEC={micros}"));
    }

    /// The daemon ends.
    pub(crate) fn stopping(&self) {
        self.send("STOPPING=1");
    }

    /// The daemon makes progress.
    pub(crate) fn alive(&self) {
        self.send("WATCHDOG=1");
    }

    /// How often [`Notifier::alive`] must be called, at least; `None` if nobody watches.
    pub(crate) fn watchdog() -> Option<Duration> {
        let of_us =
            std::env::var("WATCHDOG_PID").map_or(true, |pid| pid.parse() == Ok(std::process::id()));
        let micros = std::env::var("WATCHDOG_USEC").ok()?.parse().ok()?;
        of_us.then(|| Duration::from_micros(micros))
    }
}

fn one_line(text: &str) -> String {
    text.replace(['\n', '\r'], " ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_reach_the_manager() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("notify");
        let manager = UnixDatagram::bind(&path).expect("bound");
        let address = SocketAddr::from_pathname(&path).expect("short");
        let notifier = Notifier(Some((UnixDatagram::unbound().expect("a socket"), address)));
        notifier.ready("recording\nREADY=0");
        notifier.reloading();
        let next = || {
            let mut message = [0; 256];
            let len = manager.recv(&mut message).expect("a message");
            String::from_utf8_lossy(&message[..len]).into_owned()
        };
        assert_eq!(next(), "READY=1\nSTATUS=recording READY=0");
        assert!(next().starts_with("RELOADING=1\nMONOTONIC_USEC="));
        drop(manager);
        notifier.stopping();
    }
}

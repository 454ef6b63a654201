//! The control socket: accepts clients, reads their messages, checks their rights, answers.
//!
//! Everything that a client can do is bounded: the length of a message, the time that it takes, and how many
//! clients there are, in all and of one user. A client that stalls is dropped, and nothing else waits for it: each
//! has a thread of its own.

use super::protocol::{Command, Fields, answer};
use super::rights::{Caller, Peer};
use crate::limits::{
    CLIENT_IDLE, CLIENT_MESSAGE, CLIENTS_MAX, CLIENTS_OF_USER_MAX, MESSAGE_BYTES, SOCKET_MODE,
};
use fsmon_format::error::{Error, ErrorKind};
use fsmon_present::message::{self, shown};
use nix::sys::socket::{getsockopt, sockopt::PeerCredentials};
use nix::unistd::{Gid, Uid};
use std::fs::{self, Permissions};
use std::io::{self, Read, Write};
use std::net::Shutdown;
use std::os::unix::fs::{FileTypeExt, PermissionsExt, chown};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

/// Carries out commands. It is called by many threads at a time.
pub(crate) trait Serve: Send + Sync {
    /// # Errors
    /// The command failed; the client gets the error's kind and text.
    fn serve(&self, command: Command) -> Result<Fields, Error>;
}

/// A bound socket. Dropping it removes the socket's file.
pub(crate) struct Server {
    path: PathBuf,
    listener: Arc<UnixListener>,
}

impl Server {
    /// Binds `path`. `group` may connect, too.
    ///
    /// # Errors
    /// Another daemon answers there, or the socket cannot be made.
    pub(crate) fn bind(path: &Path, group: Option<Gid>) -> Result<Server, Error> {
        let server = Server { listener: Arc::new(bind(path)?), path: path.to_owned() };
        // The umask may have taken bits away; nobody could connect before.
        chown(path, None, group.map(Gid::as_raw))
            .and_then(|()| fs::set_permissions(path, Permissions::from_mode(SOCKET_MODE)))
            .map_err(|error| cannot_make(path, error))?;
        Ok(server)
    }

    /// Answers from now on, on threads of its own, which have the rights of the calling thread. Members of `group` may
    /// ask for some things.
    ///
    /// # Errors
    /// The kernel gives no thread.
    pub(crate) fn serve(&self, group: Option<Gid>, serve: Arc<dyn Serve>) -> Result<(), Error> {
        let (listener, clients) = (self.listener.clone(), Arc::new(Clients::default()));
        let accept = move || accept(&listener, group, &serve, &clients);
        thread::Builder::new()
            .name("fsmon-clients".into())
            .spawn(accept)
            .map(drop)
            .map_err(|error| Error::os("cannot start the thread of the control socket", error))
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // It may be gone with its directory.
        let _ = fs::remove_file(&self.path);
    }
}

fn cannot_make(path: &Path, error: io::Error) -> Error {
    let what = format!("cannot make the socket {}; name another in [control]", shown(path));
    Error::os(what, error)
}

/// Binds the socket. One that is left from a daemon that was killed is replaced.
fn bind(path: &Path) -> Result<UnixListener, Error> {
    let no_socket = |error| cannot_make(path, error);
    if let Some(dir) = path.parent() {
        fs::create_dir_all(dir).map_err(no_socket)?;
    }
    match fs::symlink_metadata(path) {
        Ok(data) if data.file_type().is_socket() => {
            if UnixStream::connect(path).is_ok() {
                return Err(Error::new(
                    ErrorKind::Busy,
                    format!("another daemon answers at {}; stop it first", shown(path)),
                ));
            }
            fs::remove_file(path).map_err(no_socket)?;
        }
        Ok(_) => return Err(no_socket(io::ErrorKind::AlreadyExists.into())),
        Err(_) => {}
    }
    // Until its mode is set only this user may connect.
    let before = nix::sys::stat::umask(nix::sys::stat::Mode::from_bits_truncate(0o177));
    let bound = UnixListener::bind(path);
    nix::sys::stat::umask(before);
    bound.map_err(no_socket)
}

/// The connected clients. Where there is no room for one more, the one that has been silent for the longest time makes
/// room, so that clients that stall shut nobody out.
#[derive(Default)]
struct Clients(Mutex<Vec<Connected>>);

/// A connected client.
struct Connected {
    number: u64,
    uid: Uid,
    stream: Arc<UnixStream>,
    /// Since when it has sent no whole message; `None` while its message is carried out.
    silent: Option<Instant>,
}

/// A client that was admitted; dropping it makes room for another.
struct Admitted {
    clients: Arc<Clients>,
    number: u64,
    stream: Arc<UnixStream>,
}

impl Clients {
    fn all(&self) -> MutexGuard<'_, Vec<Connected>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// `None` if there is no room, as all messages of others are being carried out.
    fn admit(self: &Arc<Self>, uid: Uid, stream: UnixStream) -> Option<Admitted> {
        let mut all = self.all();
        let own = all.iter().filter(|client| client.uid == uid).count();
        // Root alone may have more: nobody else can take its room.
        if !uid.is_root() && own >= CLIENTS_OF_USER_MAX && !make_room(&mut all, Some(uid)) {
            return None;
        }
        if all.len() >= CLIENTS_MAX && !make_room(&mut all, None) {
            return None;
        }
        let number = all.iter().map(|client| client.number).max().unwrap_or_default() + 1;
        let stream = Arc::new(stream);
        let silent = Some(Instant::now());
        all.push(Connected { number, uid, stream: stream.clone(), silent });
        Some(Admitted { clients: self.clone(), number, stream })
    }
}

/// Ends the client, of this user or of any, that has been silent for the longest time. Returns whether there was one.
fn make_room(all: &mut Vec<Connected>, uid: Option<Uid>) -> bool {
    let silent = all
        .iter()
        .enumerate()
        .filter(|(_, client)| uid.is_none_or(|uid| client.uid == uid))
        .filter_map(|(at, client)| Some((client.silent?, at)));
    let Some((_, at)) = silent.min() else { return false };
    // Its thread sees the end of the connection.
    let _ = all.swap_remove(at).stream.shutdown(Shutdown::Both);
    true
}

impl Admitted {
    fn set_silent(&self, silent: Option<Instant>) {
        let mut all = self.clients.all();
        if let Some(client) = all.iter_mut().find(|client| client.number == self.number) {
            client.silent = silent;
        }
    }
}

impl Drop for Admitted {
    fn drop(&mut self) {
        self.clients.all().retain(|client| client.number != self.number);
    }
}

fn accept(
    listener: &UnixListener,
    group: Option<Gid>,
    serve: &Arc<dyn Serve>,
    clients: &Arc<Clients>,
) {
    loop {
        match listener.accept() {
            Ok((stream, _)) => admit(stream, group, serve, clients),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            // Out of descriptors, for example: clients that leave make room.
            Err(error) => {
                message::print(format_args!("cannot accept a client: {error}"));
                thread::sleep(Duration::from_secs(1));
            }
        }
    }
}

/// Starts the thread of a client, or drops the client.
fn admit(stream: UnixStream, group: Option<Gid>, serve: &Arc<dyn Serve>, clients: &Arc<Clients>) {
    let Ok(credentials) = getsockopt(&stream, PeerCredentials) else { return };
    let peer =
        Peer { uid: Uid::from_raw(credentials.uid()), gid: Gid::from_raw(credentials.gid()) };
    let refused = stream.try_clone();
    let Some(admitted) = clients.admit(peer.uid, stream) else {
        let busy = Error::new(ErrorKind::Busy, "too many clients; try again");
        if let Ok(stream) = refused {
            // It fits into the socket's buffer, or the client does not read.
            let _ =
                stream.set_nonblocking(true).and_then(|()| (&stream).write_all(&answer(Err(busy))));
        }
        return;
    };
    drop(refused);
    let serve = serve.clone();
    let client = move || {
        // Whatever goes wrong, the client is dropped.
        let _ = talk(&admitted, peer, group, &*serve);
    };
    // Without a thread the client is dropped.
    let _ = thread::Builder::new().name("fsmon-client".into()).spawn(client);
}

fn talk(client: &Admitted, peer: Peer, group: Option<Gid>, serve: &dyn Serve) -> io::Result<()> {
    let mut stream = &*client.stream;
    stream.set_write_timeout(Some(CLIENT_MESSAGE))?;
    let mut messages = Messages { stream, buffer: Vec::new() };
    loop {
        let result = match messages.next()? {
            Next::Message(line) => {
                client.set_silent(None);
                carry_out(&line, peer, group, serve)
            }
            Next::TooLong => {
                let text = format!("a message has at most {MESSAGE_BYTES} bytes");
                return stream.write_all(&answer(Err(Error::invalid(text))));
            }
            Next::End => return Ok(()),
        };
        stream.write_all(&answer(result))?;
        client.set_silent(Some(Instant::now()));
    }
}

fn carry_out(
    line: &[u8],
    peer: Peer,
    group: Option<Gid>,
    serve: &dyn Serve,
) -> Result<Fields, Error> {
    let command = Command::parse(line)?;
    Caller::of(peer, group).check(&command)?;
    serve.serve(command)
}

/// The messages of a client.
struct Messages<'a> {
    stream: &'a UnixStream,
    /// Bytes that were read and not returned.
    buffer: Vec<u8>,
}

/// The result of [`Messages::next`].
enum Next {
    /// Without its line break.
    Message(Vec<u8>),
    TooLong,
    /// The client has closed its end.
    End,
}

impl Messages<'_> {
    /// Waits for a message: until it begins for [`CLIENT_IDLE`], then for the rest of it for [`CLIENT_MESSAGE`].
    ///
    /// # Errors
    /// The client stalls, or is gone.
    fn next(&mut self) -> io::Result<Next> {
        let patience = if self.buffer.is_empty() { CLIENT_IDLE } else { CLIENT_MESSAGE };
        let mut deadline = Instant::now() + patience;
        loop {
            if let Some(end) = memchr::memchr(b'\n', &self.buffer) {
                let mut line: Vec<u8> = self.buffer.drain(..=end).collect();
                line.pop();
                return Ok(Next::Message(line));
            }
            if self.buffer.len() > MESSAGE_BYTES {
                return Ok(Next::TooLong);
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Err(io::ErrorKind::TimedOut.into());
            }
            self.stream.set_read_timeout(Some(left))?;
            let (mut part, mut stream) = ([0; 4096], self.stream);
            match stream.read(&mut part) {
                Ok(0) => return Ok(Next::End),
                Ok(len) => {
                    if self.buffer.is_empty() {
                        deadline = Instant::now() + CLIENT_MESSAGE;
                    }
                    self.buffer.extend_from_slice(&part[..len]);
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::control::client::Client;
    use std::io::{BufRead, BufReader};

    /// Answers `status`, and refuses everything else.
    struct Echo;

    impl Serve for Echo {
        fn serve(&self, command: Command) -> Result<Fields, Error> {
            match command {
                Command::Status => {
                    Ok([("state".to_owned(), "recording".into())].into_iter().collect())
                }
                _ => Err(Error::new(ErrorKind::NotFound, "no such thing")),
            }
        }
    }

    fn start() -> (tempfile::TempDir, PathBuf, Server) {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("run/control.sock");
        let server = Server::bind(&path, None).expect("bound");
        server.serve(None, Arc::new(Echo)).expect("a thread");
        (dir, path, server)
    }

    #[test]
    fn commands_are_answered_in_order_and_errors_keep_their_kind() {
        let (_dir, path, _server) = start();
        let mut client = Client::connect(&path).expect("connected");
        for _ in 0..3 {
            let fields = client.ask(&Command::Status).expect("answered");
            assert_eq!(fields["state"], "recording");
            let error = client.ask(&Command::Flush).expect_err("refused");
            assert_eq!(error.kind(), ErrorKind::NotFound);
        }
        let mode = fs::metadata(&path).expect("there").permissions().mode();
        assert_eq!(mode & 0o777, SOCKET_MODE);
    }

    #[test]
    fn a_message_that_is_too_long_ends_the_client_and_no_other() {
        let (_dir, path, _server) = start();
        let mut stream = UnixStream::connect(&path).expect("connected");
        // The server may close its end before everything is sent.
        let _ = stream.write_all(&vec![b'x'; 4 * MESSAGE_BYTES]);
        let mut line = String::new();
        BufReader::new(&stream).read_line(&mut line).expect("an answer");
        assert!(line.contains("at most"), "{line}");
        Client::connect(&path).and_then(|mut client| client.ask(&Command::Status)).expect("served");
    }

    #[test]
    fn hostile_bytes_get_an_answer_each() {
        let (_dir, path, _server) = start();
        let stream = UnixStream::connect(&path).expect("connected");
        let mut lines = BufReader::new(&stream).lines();
        for bytes in [&b"\xff\x00"[..], b"{}", b"[", b"{\"v\":1,\"cmd\":[]}", b""] {
            (&stream).write_all(bytes).and_then(|()| (&stream).write_all(b"\n")).expect("sent");
            let line = lines.next().expect("an answer").expect("text");
            assert!(line.contains("\"ok\":false"), "{line}");
        }
    }

    #[test]
    fn a_second_daemon_is_refused_and_a_socket_left_behind_is_replaced() {
        let (_dir, path, server) = start();
        let Err(error) = Server::bind(&path, None) else { panic!("two daemons") };
        assert_eq!(error.kind(), ErrorKind::Busy);
        drop(server);
        assert!(!path.exists());
        drop(UnixListener::bind(&path).expect("left behind"));
        Server::bind(&path, None).expect("replaced");
    }

    #[test]
    fn clients_that_are_silent_make_room_and_those_that_are_served_do_not() {
        let clients = Arc::new(Clients::default());
        let user = Uid::from_raw(1000);
        let connect = |uid| {
            let (near, far) = UnixStream::pair().expect("a pair");
            clients.admit(uid, near).map(|admitted| (admitted, far))
        };
        let mut admitted: Vec<_> =
            (0..CLIENTS_OF_USER_MAX).map(|_| connect(user).expect("room")).collect();
        // The first one is served; the second has been silent for the longest time.
        admitted[0].0.set_silent(None);
        admitted.push(connect(user).expect("room was made"));
        let ended = |far: &mut UnixStream| {
            far.set_nonblocking(true).expect("set");
            matches!(far.read(&mut [0; 1]), Ok(0))
        };
        let ends: Vec<_> = admitted.iter_mut().map(|(_, far)| ended(far)).collect();
        assert_eq!(ends.iter().position(|end| *end), Some(1));
        assert_eq!(ends.iter().filter(|end| **end).count(), 1);
        admitted.iter().for_each(|(client, _)| client.set_silent(None));
        assert!(connect(user).is_none());
        assert!(connect(Uid::from_raw(1001)).is_some());
        drop(admitted);
        assert!(clients.all().is_empty());
    }

    #[test]
    fn two_hundred_clients_that_stall_shut_nobody_out() {
        let (_dir, path, _server) = start();
        let stalled: Vec<_> =
            (0..200).map(|_| UnixStream::connect(&path).expect("connected")).collect();
        for stream in stalled.iter().step_by(2) {
            let mut stream = stream;
            // The server may have ended it.
            let _ = stream.write_all(b"{\"v\":1,");
        }
        Client::connect(&path).and_then(|mut client| client.ask(&Command::Status)).expect("served");
    }
}

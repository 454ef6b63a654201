//! `GET /metrics` over HTTP/1.1, if it is configured: for Prometheus. Nothing else is served, and nothing is read but the
//! head of a request. Each is bounded in length and time; a client that stalls is dropped, and nothing else waits for it.

use crate::config::Listen;
use crate::limits::{HTTP_CLIENTS_MAX, HTTP_HEAD_BYTES, HTTP_TIME};
use fsmon_format::error::Error;
use fsmon_present::message;
use std::io::{self, ErrorKind, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::FileTypeExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

/// Makes the text of metrics.
pub(crate) type Metrics = Arc<dyn Fn() -> String + Send + Sync>;

/// A bound address.
pub(crate) enum Listener {
    Tcp(TcpListener),
    Unix(UnixListener),
}

/// Binds the address.
///
/// # Errors
/// It cannot be had.
pub(crate) fn bind(listen: &Listen) -> Result<Listener, Error> {
    let failed = |what: String| move |error| Error::os(format!("cannot listen on {what}"), error);
    match listen {
        Listen::Tcp(address) => {
            let failed = failed(format!("{address}; see [metrics]"));
            TcpListener::bind(address).map(Listener::Tcp).map_err(failed)
        }
        Listen::Unix(path) => {
            let failed = failed(format!("{}; see [metrics]", message::shown(path)));
            bind_unix(path).map(Listener::Unix).map_err(failed)
        }
    }
}

/// Answers from now on, on threads of its own, which have the rights of the calling thread.
///
/// # Errors
/// The kernel gives no thread.
pub(crate) fn serve(listener: Listener, metrics: Metrics) -> Result<(), Error> {
    let builder = thread::Builder::new().name("fsmon-http".into());
    let started =
        match listener {
            Listener::Tcp(listener) => builder
                .spawn(move || accept(|| listener.accept().map(|(stream, _)| stream), &metrics)),
            Listener::Unix(listener) => builder
                .spawn(move || accept(|| listener.accept().map(|(stream, _)| stream), &metrics)),
        };
    started.map(drop).map_err(|error| Error::os("cannot start the thread of metrics", error))
}

/// A socket that a daemon left behind is replaced.
fn bind_unix(path: &Path) -> io::Result<UnixListener> {
    let is_left = path.symlink_metadata().is_ok_and(|data| data.file_type().is_socket());
    if is_left && UnixStream::connect(path).is_err() {
        std::fs::remove_file(path)?;
    }
    UnixListener::bind(path)
}

/// A connection of either kind.
trait Stream: Read + Write + Send + 'static {
    fn set_times(&self, read: Duration, write: Duration) -> io::Result<()>;
}

impl Stream for TcpStream {
    fn set_times(&self, read: Duration, write: Duration) -> io::Result<()> {
        self.set_read_timeout(Some(read))?;
        self.set_write_timeout(Some(write))
    }
}

impl Stream for UnixStream {
    fn set_times(&self, read: Duration, write: Duration) -> io::Result<()> {
        self.set_read_timeout(Some(read))?;
        self.set_write_timeout(Some(write))
    }
}

fn accept<S: Stream>(mut accept: impl FnMut() -> io::Result<S>, metrics: &Metrics) {
    let clients = Arc::new(AtomicUsize::new(0));
    loop {
        let stream = match accept() {
            Ok(stream) => stream,
            Err(error) if error.kind() == ErrorKind::Interrupted => continue,
            // Out of descriptors, for example: clients that leave make room.
            Err(_) => {
                thread::sleep(Duration::from_secs(1));
                continue;
            }
        };
        // Beyond the limit a client is dropped without an answer: it asks again.
        if clients.fetch_add(1, Ordering::Relaxed) >= HTTP_CLIENTS_MAX {
            clients.fetch_sub(1, Ordering::Relaxed);
            continue;
        }
        let (metrics, of_client) = (metrics.clone(), clients.clone());
        let talk = move || {
            // Whatever goes wrong, the client is dropped.
            let _ = answer(stream, &metrics);
            of_client.fetch_sub(1, Ordering::Relaxed);
        };
        if thread::Builder::new().name("fsmon-scrape".into()).spawn(talk).is_err() {
            clients.fetch_sub(1, Ordering::Relaxed);
        }
    }
}

fn answer<S: Stream>(mut stream: S, metrics: &Metrics) -> io::Result<()> {
    let response = match read_head(&mut stream)? {
        Some(head) => respond(&head, metrics),
        None => plain("431 Request Header Fields Too Large", "the request is too long\n"),
    };
    stream.write_all(response.as_bytes())?;
    stream.flush()
}

/// The head of a request, up to its empty line; `None` if it is too long.
fn read_head<S: Stream>(stream: &mut S) -> io::Result<Option<Vec<u8>>> {
    let deadline = Instant::now() + HTTP_TIME;
    let mut head = Vec::new();
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(ErrorKind::TimedOut.into());
        }
        stream.set_times(left, HTTP_TIME)?;
        let mut part = [0; 1024];
        match stream.read(&mut part) {
            Ok(0) => return Err(ErrorKind::UnexpectedEof.into()),
            Ok(len) => head.extend_from_slice(&part[..len]),
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
        if memchr::memmem::find(&head, b"\r\n\r\n").is_some() {
            return Ok(Some(head));
        }
        if head.len() > HTTP_HEAD_BYTES {
            return Ok(None);
        }
    }
}

/// The response to a request.
pub(crate) fn respond(head: &[u8], metrics: &Metrics) -> String {
    let mut headers = [httparse::EMPTY_HEADER; 64];
    let mut request = httparse::Request::new(&mut headers);
    if !matches!(request.parse(head), Ok(httparse::Status::Complete(_))) {
        return plain("400 Bad Request", "the request is not understood\n");
    }
    let path = request.path.unwrap_or_default();
    let path = path.split_once('?').map_or(path, |(path, _)| path);
    match (request.method, path) {
        (Some("GET"), "/metrics") => {
            response("200 OK", "text/plain; version=0.0.4; charset=utf-8", &metrics())
        }
        (Some("GET"), _) => plain("404 Not Found", "only /metrics is here\n"),
        _ => plain("405 Method Not Allowed", "only GET is possible\n"),
    }
}

fn plain(status: &str, text: &str) -> String {
    response(status, "text/plain; charset=utf-8", text)
}

fn response(status: &str, content_type: &str, body: &str) -> String {
    format!(
        "HTTP/1.1 {status}\r\nContent-Type: {content_type}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}",
        body.len()
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(path: &Path, request: &[u8]) -> String {
        let mut stream = UnixStream::connect(path).expect("connected");
        // The server may have answered before it has read all.
        let _ = stream.write_all(request);
        let mut response = String::new();
        let _ = stream.read_to_string(&mut response);
        response
    }

    #[test]
    fn metrics_are_served_and_nothing_else() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("metrics.sock");
        let metrics: Metrics = Arc::new(|| "fsmon_events_total 1\n".to_owned());
        let listener = bind(&Listen::Unix(path.clone())).expect("bound");
        serve(listener, metrics).expect("a thread");
        let ok = asked(&path, b"GET /metrics?x=1 HTTP/1.1\r\nHost: x\r\n\r\n");
        assert!(ok.starts_with("HTTP/1.1 200 OK\r\n"), "{ok}");
        assert!(
            ok.ends_with("Content-Length: 21\r\nConnection: close\r\n\r\nfsmon_events_total 1\n")
        );
        let long = format!("GET /{}", "a".repeat(4 * HTTP_HEAD_BYTES)).into_bytes();
        for (request, status) in [
            (&b"GET / HTTP/1.1\r\n\r\n"[..], "404"),
            (b"POST /metrics HTTP/1.1\r\nContent-Length: 9999999999\r\n\r\n", "405"),
            (b"\xff\x00\r\n\r\n", "400"),
            (&long, "431"),
        ] {
            let response = asked(&path, request);
            assert!(response.starts_with(&format!("HTTP/1.1 {status}")), "{response}");
        }
        // A client that stalls keeps nobody waiting.
        let _stalled = UnixStream::connect(&path).expect("connected");
        assert!(asked(&path, b"GET /metrics HTTP/1.1\r\n\r\n").contains("200 OK"));
    }
}

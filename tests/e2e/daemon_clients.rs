//! The daemon's sockets: who may send what, hostile messages, clients that stall, Prometheus.

use crate::daemon::{Daemon, of_files, watch};
use crate::storm::rng::Rng;
use fsmon_harness::{
    Area, assert_follows, is_installed, is_root, is_root_with, listing, repeats, sh, skip,
    wait_until,
};
use serde_json::Value;
use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// A group that Debian always has, and its number.
const GROUP: (&str, &str) = ("games", "60");
const NOBODY: &str = "65534";

/// Sends each line on a connection, and prints the answers.
const ASK: &str = r"
import socket, sys
s = socket.socket(socket.AF_UNIX)
try:
    s.connect(sys.argv[1])
except PermissionError:
    sys.exit('refused')
f = s.makefile('rw')
for line in sys.stdin:
    f.write(line)
    f.flush()
    print(f.readline(), end='')
";

fn ask(socket: &Path, rights: &[&str], lines: &str) -> Vec<Value> {
    let mut command = Command::new("setpriv");
    command.args(rights).args(["/usr/bin/python3", "-c", ASK]).arg(socket);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
    let mut child = command.spawn().expect("setpriv");
    child.stdin.take().expect("piped").write_all(lines.as_bytes()).expect("it reads");
    let output = child.wait_with_output().expect("it ends");
    let text = String::from_utf8(output.stdout).expect("UTF-8");
    text.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect()
}

#[test]
fn each_command_is_for_those_who_may() {
    if !is_root_with(&["setpriv", "python3"]) {
        return;
    }
    let area = Area::new();
    let mut daemon = Daemon::new(&area, &watch(&area.watched()));
    let text = fs::read_to_string(&daemon.config).expect("read");
    let (name, gid) = GROUP;
    fs::write(&daemon.config, text.replace("group = ''", &format!("group = '{name}'")))
        .expect("written");
    daemon.start();
    let more = area.dir("more").display().to_string();
    let commands = [
        (r#""cmd":"status""#.to_owned(), true),
        (r#""cmd":"list""#.to_owned(), true),
        (r#""cmd":"flush""#.to_owned(), true),
        (r#""cmd":"sync""#.to_owned(), true),
        (r#""cmd":"metrics""#.to_owned(), true),
        (format!(r#""cmd":"add","watch":{{"path":"{more}"}}"#), false),
        (format!(r#""cmd":"remove","path":"{more}""#), false),
        (r#""cmd":"rotate""#.to_owned(), false),
        (r#""cmd":"reload""#.to_owned(), false),
        (r#""cmd":"clean","dry_run":true"#.to_owned(), false),
    ];
    let lines: String =
        commands.iter().map(|(command, _)| format!("{{\"v\":1,{command}}}\n")).collect();
    let ask = |rights: &[&str]| ask(&daemon.socket, rights, &lines);
    let member = ask(&["--reuid", NOBODY, "--regid", gid, "--clear-groups"]);
    assert_eq!(member.len(), commands.len());
    for (answer, (command, is_for_members)) in member.iter().zip(&commands) {
        assert_eq!(answer["ok"], *is_for_members, "{command}: {answer}");
        let kind = if *is_for_members { Value::Null } else { "permission".into() };
        assert_eq!(answer["kind"], kind, "{command}");
    }
    let other = ask(&["--reuid", NOBODY, "--regid", NOBODY, "--clear-groups"]);
    assert!(other.is_empty(), "{other:?}");
    for (answer, (command, _)) in ask(&["--reuid", "0"]).iter().zip(&commands) {
        assert_eq!(answer["ok"], true, "{command}: {answer}");
    }
    daemon.stop();
}

/// Bytes that are no message, or nearly one.
fn hostile(rng: &mut Rng) -> Vec<u8> {
    const PARTS: [&[u8]; 12] = [
        b"{\"v\":1,\"cmd\":\"",
        b"status\"}",
        b"add\",\"watch\":{\"path\":\"/\"",
        b"}}}}}",
        b"[[[[[[[[",
        b"\xff\xfe\0",
        b"\"\\ud800\"",
        b"1e999",
        b"{\"v\":18446744073709551616}",
        b"\n",
        b",\"keep\":{\"age\":\"-1d\"}}",
        b"\x1b[2J",
    ];
    let mut bytes = Vec::new();
    for _ in 0..1 + rng.below(6) {
        match rng.below(3) {
            0 => bytes.extend((0..rng.below(300)).map(|_| rng.next().to_le_bytes()[0])),
            _ => bytes.extend_from_slice(PARTS[rng.below(PARTS.len())]),
        }
    }
    // A message that is carried out would make this another test.
    bytes.retain(|byte| *byte != b'\n');
    bytes.insert(0, b'~');
    bytes.push(b'\n');
    bytes
}

#[test]
fn hostile_messages_and_clients_that_stall_disturb_nobody() {
    if !is_root() {
        return;
    }
    let area = Area::new();
    let watched = area.watched();
    let metrics = area.path("metrics.sock");
    let text = format!("metrics.listen = 'unix:{}'\n{}", metrics.display(), watch(&watched));
    let mut daemon = Daemon::new(&area, &text);
    daemon.start();
    let connect = || UnixStream::connect(&daemon.socket).expect("connected");
    let mut rng = Rng::new(1, 0);
    let stalled: Vec<_> = (0..200)
        .map(|_| {
            let mut stream = connect();
            // Half a message; the daemon may have made room for another client already.
            let _ = stream.write_all(b"{\"v\":1,\"cmd\":");
            stream
        })
        .collect();
    let silent: Vec<_> = (0..50).filter_map(|_| UnixStream::connect(&metrics).ok()).collect();
    for _ in 0..100 {
        let stream = connect();
        stream.set_read_timeout(Some(Duration::from_secs(30))).expect("set");
        let mut lines = BufReader::new(stream.try_clone().expect("a clone")).lines();
        for _ in 0..repeats(100) {
            (&stream).write_all(&hostile(&mut rng)).expect("it reads");
            let line = lines.next().expect("an answer").expect("text");
            assert!(line.starts_with('{') && line.contains("\"ok\":false"), "{line}");
            assert!(!line.contains('\x1b'), "{line}");
        }
    }
    sh(&watched, ": > a");
    daemon.ask(&["sync"]);
    assert_eq!(
        daemon.decoded(&["-t", "create"]).iter().filter(|event| event.name() == "a").count(),
        1
    );
    let status = daemon.status();
    assert_eq!(
        (&status["state"], &status["complete"]),
        (&"recording".into(), &true.into()),
        "{status}"
    );
    drop((stalled, silent));
    let scraped = || {
        let Ok(mut stream) = UnixStream::connect(&metrics) else { return false };
        let mut response = String::new();
        let asked = stream.write_all(b"GET /metrics HTTP/1.1\r\n\r\n");
        asked.and_then(|()| stream.read_to_string(&mut response)).is_ok()
            && response.contains("fsmon_events_total{event=\"CREATE\"} 1")
    };
    wait_until("metrics are served", scraped);
    daemon.stop();
}

/// Asks for flushes on a connection until `is_over`, one after the other. Returns how many were answered.
fn flush_until(socket: &Path, is_over: &AtomicBool) -> u64 {
    let mut stream = UnixStream::connect(socket).expect("it listens");
    let mut answers = BufReader::new(stream.try_clone().expect("a descriptor"));
    let (mut count, mut answer) = (0, String::new());
    while !is_over.load(Ordering::Relaxed) {
        stream.write_all(b"{\"v\":1,\"cmd\":\"flush\"}\n").expect("it reads");
        answer.clear();
        answers.read_line(&mut answer).expect("it answers");
        assert!(answer.contains("\"ok\":true"), "{answer}");
        count += 1;
    }
    count
}

/// What a history takes.
struct Recorded {
    bytes: u64,
    blocks: u64,
}

/// What the history takes after files came and went, while this many clients ask for flushes; and the flushes.
fn recorded_beside(clients: usize, files: usize) -> (Recorded, u64) {
    let area = Area::new();
    let watched = area.watched();
    let mut daemon = Daemon::new(&area, &watch(&watched));
    daemon.start();
    let before = listing(&watched);
    let is_over = AtomicBool::new(false);
    let flushes = std::thread::scope(|scope| {
        let ask = || flush_until(&daemon.socket, &is_over);
        let asking: Vec<_> = (0..clients).map(|_| scope.spawn(ask)).collect();
        // Not in one batch: a flush shares what comes within 50 ms.
        for round in 0..20 {
            for file in 0..files / 20 {
                let (old, new) =
                    (watched.join(format!("f{file}")), watched.join(format!("g{round}-{file}")));
                fs::write(&old, "x").expect("written");
                fs::rename(&old, &new).expect("renamed");
                if file % 2 == 0 {
                    fs::remove_file(&new).expect("removed");
                }
            }
        }
        is_over.store(true, Ordering::Relaxed);
        asking.into_iter().map(|asking| asking.join().expect("it ends")).sum()
    });
    daemon.ask(&["sync"]);
    let bytes = daemon.status()["history"]["bytes"].as_u64().expect("a number");
    daemon.stop();
    assert_follows(before, &of_files(daemon.decoded(&[])), &watched);
    (Recorded { bytes, blocks: blocks_in(&daemon.history) }, flushes)
}

/// Blocks in a history (docs/format.md: one begins at a multiple of 64 bytes).
fn blocks_in(history: &Path) -> u64 {
    let segments =
        fs::read_dir(history).expect("a directory").map(|entry| entry.expect("one").path());
    let read = segments.map(|segment| fs::read(segment).expect("a file"));
    read.map(|bytes| bytes.chunks(64).filter(|slot| slot.starts_with(b"\xf5BK\x01")).count() as u64)
        .sum()
}

#[test]
fn clients_that_ask_for_flushes_all_the_time_cost_nearly_no_room() {
    if !is_root() {
        return;
    }
    let files = repeats(40_000);
    let (alone, _) = recorded_beside(0, files);
    let begun = Instant::now();
    let (beside, flushes) = recorded_beside(16, files);
    // Twenty flushes may end a block early, and then two a second.
    let early = 2 * begun.elapsed().as_secs() + 22;
    let (blocks, most) = (beside.blocks, alone.blocks + alone.blocks / 20 + early);
    assert!(blocks <= most, "{blocks} blocks beside {flushes} flushes, {} alone", alone.blocks);
    // A block costs some 540 bytes. Without any flush the size differs by some percent from run to run.
    let (bytes, most) = (beside.bytes, alone.bytes + alone.bytes / 10 + early * 700);
    assert!(bytes <= most, "{bytes} bytes beside {flushes} flushes, {} alone", alone.bytes);
    assert!(flushes > 100, "{flushes}");
}

/// A port that was free a moment ago.
fn free_port() -> u16 {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    listener.local_addr().expect("bound").port()
}

/// Ended with the test.
struct Server(Child);

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn get(port: u16, path: &str) -> Option<String> {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).ok()?;
    write!(stream, "GET {path} HTTP/1.0\r\nHost: localhost\r\n\r\n").ok()?;
    let mut response = String::new();
    stream.read_to_string(&mut response).ok()?;
    let (head, body) = response.split_once("\r\n\r\n")?;
    head.contains(" 200 ").then(|| body.to_owned())
}

#[test]
fn prometheus_takes_the_metrics() {
    if !is_root() {
        return;
    }
    if !is_installed("prometheus") || !is_installed("promtool") {
        return skip("prometheus is not installed");
    }
    let area = Area::new();
    let watched = area.watched();
    let (own, its) = (free_port(), free_port());
    let text = format!("metrics.listen = '127.0.0.1:{own}'\n{}", watch(&watched));
    let mut daemon = Daemon::new(&area, &text);
    daemon.start();
    sh(&watched, "touch a b c; rm a");
    daemon.ask(&["sync"]);
    let metrics = get(own, "/metrics").expect("served");
    fs::write(area.path("metrics.prom"), &metrics).expect("written");
    sh(&area.path(""), "promtool check metrics <metrics.prom");
    let scrape = format!(
        "global: {{scrape_interval: 1s}}\nscrape_configs:\n- job_name: fsmon\n  static_configs: \
         [{{targets: ['127.0.0.1:{own}']}}]\n"
    );
    fs::write(area.path("prometheus.yml"), scrape).expect("written");
    let mut prometheus = Command::new("prometheus");
    prometheus
        .arg(format!("--config.file={}", area.path("prometheus.yml").display()))
        .arg(format!("--storage.tsdb.path={}", area.path("tsdb").display()))
        .arg(format!("--web.listen-address=127.0.0.1:{its}"))
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    let _prometheus = Server(prometheus.spawn().expect("started"));
    let value = |query: &str| -> Option<String> {
        let answer: Value =
            serde_json::from_str(&get(its, &format!("/api/v1/query?query={query}"))?).ok()?;
        answer["data"]["result"][0]["value"][1].as_str().map(str::to_owned)
    };
    let deletes = "fsmon_events_total%7Bevent=%22DELETE%22%7D";
    wait_until("Prometheus has scraped", || value(deletes).as_deref() == Some("1"));
    assert_eq!(value("fsmon_build_info").as_deref(), Some("1"));
    assert_eq!(value("sum(fsmon_losses_total)").as_deref(), Some("0"));
    assert_eq!(value("fsmon_watches%7Bstate=%22active%22%7D").as_deref(), Some("1"));
    daemon.stop();
}

//! Every format tells the same; a binary stream decodes to what was shown live; colours and
//! terminals.

use fsmon_harness::{Area, Ended, Event, Fsmon, fsmon, is_root, parse, sh, succeed};
use nix::pty::openpty;
use std::fs::{self, File};
use std::io::Read;
use std::path::Path;
use std::process::Stdio;

/// Some of everything, odd names included.
const WORK: &str = "mkdir d; echo x > d/a; mv d/a 'd/b,\"c'; chmod 600 d/b*; mkdir -p e/f; \
                    mv d e/f/; rm -r e; touch \"$(printf 'l\\344tin')\" \"$(printf 'new\\nline')\"; \
                    ln -s x link; mv link lnk";

fn watch_as(format: &str, dir: &Path, args: &[&str]) -> Ended {
    let running = Fsmon::start(fsmon(["-f", format]).args(args).arg(dir));
    sh(dir, WORK);
    let ended = running.stop();
    ended.assert_complete();
    sh(dir, "rm -rf *");
    ended
}

fn decode(stream: &Path, args: &[&str]) -> Vec<u8> {
    succeed(fsmon(["decode"]).args(args).arg(stream)).stdout
}

/// What does not change from one run of the same work to the next.
fn essence(events: &[Event]) -> Vec<String> {
    let what = |event: &Event| {
        let (cmd, user) = (event.text("cmd").unwrap_or("?"), event.text("user").unwrap_or("?"));
        format!("{} by {cmd} of {user}", event.brief(Path::new("/")))
    };
    events.iter().map(what).collect()
}

#[test]
fn the_binary_stream_decodes_to_what_json_shows() {
    if !is_root() {
        return;
    }
    let area = Area::new();
    let (dir, stream) = (area.watched(), area.path("stream"));
    let json = watch_as("json", &dir, &["--chain"]).events();
    let binary = watch_as("binary", &dir, &["-o", stream.to_str().expect("UTF-8")]);
    assert!(binary.stdout.is_empty());
    let decoded = parse(&decode(&stream, &["-f", "json", "--chain"]));
    assert_eq!(essence(&decoded), essence(&json));
    let keys = |events: &[Event]| -> Vec<Vec<String>> {
        events.iter().map(|event| event.0.keys().cloned().collect()).collect()
    };
    assert_eq!(keys(&decoded), keys(&json), "the same fields");
}

#[test]
fn all_formats_of_one_stream_agree() {
    if !is_root() {
        return;
    }
    let area = Area::new();
    let (dir, stream) = (area.watched(), area.path("stream"));
    watch_as("binary", &dir, &["-o", stream.to_str().expect("UTF-8")]);
    let json = parse(&decode(&stream, &["-f", "json"]));
    let rows = csv(&decode(&stream, &["-f", "csv"]));
    assert_eq!(rows.len(), json.len() + 1, "a header and a row for each");
    for (row, event) in rows[1..].iter().zip(&json) {
        assert_eq!(row.len(), rows[0].len());
        for (column, field) in rows[0].iter().zip(row) {
            let expected = match event.0.get(column) {
                Some(serde_json::Value::String(text)) => text.clone(),
                Some(value) => value.to_string(),
                None => String::new(),
            };
            // Bytes that are no UTF-8 stay as they are in CSV; the exact bytes have their column.
            if event.0.contains_key(&format!("{column}_b64")) {
                continue;
            }
            assert_eq!(field, &expected, "{column} of {event:?}");
        }
    }
    let human = String::from_utf8(decode(&stream, &["-f", "human"])).expect("UTF-8");
    assert_eq!(human.lines().count(), json.len());
    for (line, event) in human.lines().zip(&json) {
        assert!(line.contains(event.kind()), "{line}: {event:?}");
        assert!(line.contains(event.text("cmd").expect("known")), "{line}: {event:?}");
    }
    assert_eq!(decode(&stream, &[]), human.as_bytes(), "human unless another is named");
}

#[test]
fn a_stream_is_decoded_from_a_pipe_and_filtered_there() {
    if !is_root() {
        return;
    }
    let area = Area::new();
    let (dir, stream) = (area.watched(), area.path("stream"));
    watch_as("binary", &dir, &["-o", stream.to_str().expect("UTF-8")]);
    let all = decode(&stream, &["-f", "json"]);
    let input = File::open(&stream).expect("opened");
    let piped = succeed(fsmon(["decode", "-f", "json", "-"]).stdin(input)).stdout;
    assert_eq!(piped, all);
    let some = parse(&decode(&stream, &["-f", "json", "-t", "delete", "--cmd", "rm"]));
    let expected: Vec<Event> =
        parse(&all).into_iter().filter(|event| event.kind() == "DELETE").collect();
    assert!(!some.is_empty());
    assert_eq!(some, expected);
}

#[test]
fn live_through_a_pipe_into_decode() {
    if !is_root() {
        return;
    }
    let area = Area::new();
    let dir = area.watched();
    let (running, stdout) = Fsmon::start_unread(fsmon(["-f", "binary"]).arg(&dir));
    let mut decoder = fsmon(["decode", "-f", "json", "-"]);
    let mut decoder = decoder.stdin(stdout).stdout(Stdio::piped()).spawn().expect("started");
    sh(&dir, WORK);
    // What happened is shown while the watch goes on, not only at its end.
    let mut first = [0; 1];
    let mut shown = decoder.stdout.take().expect("asked for");
    shown.read_exact(&mut first).expect("a first line");
    running.stop().assert_complete();
    let mut rest = first.to_vec();
    shown.read_to_end(&mut rest).expect("read");
    assert!(decoder.wait().expect("a child").success());
    assert!(parse(&rest).len() > 10);
}

#[test]
fn damage_is_told_and_the_rest_is_decoded() {
    if !is_root() {
        return;
    }
    let area = Area::new();
    let (dir, stream) = (area.watched(), area.path("stream"));
    watch_as("binary", &dir, &["-o", stream.to_str().expect("UTF-8")]);
    let bytes = fs::read(&stream).expect("read");
    let cut = area.path("cut");
    fs::write(&cut, &bytes[..bytes.len() - 100]).expect("written");
    let output = fsmon(["decode", "-f", "json"]).arg(&cut).output().expect("started");
    let whole = parse(&decode(&stream, &["-f", "json"]));
    let some = parse(&output.stdout);
    assert!(whole.starts_with(&some) && output.status.code() == Some(1));
    let foreign = area.path("foreign");
    fs::write(&foreign, "no stream at all, but long enough to be looked at").expect("written");
    let output = fsmon(["decode"]).arg(&foreign).output().expect("started");
    assert_eq!(output.status.code(), Some(1));
    assert_eq!(String::from_utf8_lossy(&output.stderr).lines().count(), 1);
}

#[test]
fn csv_has_a_header_even_without_events() {
    if !is_root() {
        return;
    }
    let area = Area::new();
    let running = Fsmon::start(fsmon(["-f", "csv"]).arg(area.watched()));
    let rows = csv(&running.stop().stdout);
    assert_eq!(rows.len(), 1);
    assert_eq!(rows[0][..4], ["time", "event_type", "path", "old_path"]);
}

#[test]
fn human_is_the_default() {
    if !is_root() {
        return;
    }
    let area = Area::new();
    let running = Fsmon::start(&mut fsmon([area.watched()]));
    sh(&area.watched(), "touch file");
    let text = String::from_utf8(running.stop().stdout).expect("UTF-8");
    let line = text.lines().find(|line| line.contains("CREATE")).expect("a line");
    for part in ["touch", "root", "file"] {
        assert!(line.contains(part), "{part}: {line}");
    }
    assert!(!text.contains('\x1b'), "no colours into a pipe");
}

/// Runs fsmon on a terminal and gives what it wrote there.
fn on_a_terminal(dir: &Path, args: &[&str], colours: bool) -> String {
    let pty = openpty(None, None).expect("a terminal");
    let mut command = fsmon(args.iter());
    command.arg(dir).args(["--count", "2"]);
    if !colours {
        command.env("NO_COLOR", "1");
    }
    let running = Fsmon::start_with(&mut command, pty.slave.into());
    drop(command);
    let mut terminal = File::from(pty.master);
    let reader = std::thread::spawn(move || {
        let mut shown = Vec::new();
        let mut buffer = [0; 4096];
        // The end of a terminal is an error (EIO), not an end of file.
        while let Ok(len @ 1..) = terminal.read(&mut buffer) {
            shown.extend_from_slice(&buffer[..len]);
        }
        String::from_utf8(shown).expect("UTF-8")
    });
    sh(dir, "touch \"$(printf 'ctl\\033[2J\\007')\"");
    running.wait().assert_complete();
    reader.join().expect("read")
}

#[test]
fn colours_on_a_terminal_unless_no_color() {
    if !is_root() {
        return;
    }
    let area = Area::new();
    let coloured = on_a_terminal(&area.watched(), &[], true);
    assert!(coloured.contains("\x1b["), "{coloured:?}");
    assert!(!coloured.contains("\x1b[2J") && !coloured.contains('\x07'), "{coloured:?}");
    sh(&area.watched(), "rm -f *");
    let plain = on_a_terminal(&area.watched(), &[], false);
    assert!(!plain.contains('\x1b') && plain.contains("CREATE"), "{plain:?}");
}

#[test]
fn json_and_csv_on_a_terminal_have_no_control_bytes() {
    if !is_root() {
        return;
    }
    let area = Area::new();
    for format in ["json", "csv"] {
        let shown = on_a_terminal(&area.watched(), &["-f", format], true);
        let odd = |c: char| c.is_control() && c != '\n' && c != '\r';
        assert!(!shown.contains(odd), "{shown:?}");
        sh(&area.watched(), "rm -f *");
    }
}

#[test]
fn a_binary_stream_is_refused_to_a_terminal() {
    if !is_root() {
        return;
    }
    let area = Area::new();
    let pty = openpty(None, None).expect("a terminal");
    let mut command = fsmon(["-f", "binary"]);
    let output = command.arg(area.watched()).stdout(pty.slave).stderr(Stdio::piped());
    let output = output.spawn().expect("started").wait_with_output().expect("ended");
    assert_eq!(output.status.code(), Some(1));
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(said.lines().count() == 1 && said.contains("-o"), "{said}");
}

#[test]
fn man_page_and_completions_of_the_same_definitions() {
    for what in ["man", "bash", "zsh", "fish"] {
        let text = succeed(&mut fsmon(["generate", what])).stdout;
        let text = String::from_utf8(text).expect("UTF-8").replace('\\', "");
        for option in ["exclude-cmd", "batch-window", "bounded-queue", "max-processes"] {
            assert!(text.contains(option), "{option} in {what}");
        }
    }
    let help = String::from_utf8(succeed(&mut fsmon(["--help"])).stdout).expect("UTF-8");
    assert!(help.contains("--no-recursive") && help.contains("FS_ERROR"));
    let version = String::from_utf8(succeed(&mut fsmon(["--version"])).stdout).expect("UTF-8");
    assert!(version.contains(env!("CARGO_PKG_VERSION")));
}

/// Rows of RFC 4180; what is not UTF-8 becomes lossy.
fn csv(bytes: &[u8]) -> Vec<Vec<String>> {
    let (mut rows, mut row, mut field, mut quoted) = (vec![], vec![], vec![], false);
    let mut bytes = bytes.iter().copied().peekable();
    while let Some(byte) = bytes.next() {
        match byte {
            b'"' if quoted && bytes.peek() == Some(&b'"') => field.extend(bytes.next()),
            b'"' => quoted = !quoted,
            b',' if !quoted => row.push(take(&mut field)),
            b'\r' if !quoted => {
                assert_eq!(bytes.next(), Some(b'\n'), "lines end with CR LF");
                row.push(take(&mut field));
                rows.push(std::mem::take(&mut row));
            }
            _ => field.push(byte),
        }
    }
    assert!(row.is_empty() && field.is_empty() && !quoted, "the last row is whole");
    rows
}

fn take(field: &mut Vec<u8>) -> String {
    String::from_utf8_lossy(&std::mem::take(field)).into_owned()
}

/// A check of this file's own reader.
#[test]
fn the_csv_reader_knows_quotes() {
    assert_eq!(csv(b"a,\"b\"\"\r\n,c\"\r\n,\r\n"), [["a", "b\"\r\n,c"], ["", ""]]);
}

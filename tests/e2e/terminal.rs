//! No byte of a name reaches a terminal as it is: in no line, and in no message of any command.

use fsmon_harness::{Area, Fsmon, copy_program, fsmon, is_root};
use std::ffi::{OsStr, OsString};
use std::fs::{self, File};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::process::{Command, Stdio};

/// Escape sequences, line breaks, C1, DEL, directions of writing, what has no width, line separators,
/// and a byte that is not UTF-8.
const EVIL: &[u8] =
    b"e\x1b[31mv\x1b]0;t\x07i\rl\n\x7f\xc2\x9b31m\xe2\x80\xae\xe2\x81\xa6\xe2\x80\x8b\xe2\x80\xa8\xef\xbb\xbf\xff";

fn evil() -> &'static OsStr {
    OsStr::from_bytes(EVIL)
}

/// What a terminal would obey, hide or turn around; and what is not UTF-8.
fn is_bad(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}')
        || matches!(c, '\u{feff}' | '\u{ad}')
}

/// Standard output and error have nothing but whole lines that every terminal shows as they are.
#[track_caller]
fn assert_plain(command: &mut Command) -> (Option<i32>, String) {
    let output = command.stdin(Stdio::null()).output().expect("started");
    let mut all = String::new();
    for bytes in [&output.stdout, &output.stderr] {
        let text = str::from_utf8(bytes).unwrap_or_else(|_| panic!("not UTF-8: {bytes:?}"));
        for line in text.split_inclusive('\n') {
            let line = line.strip_suffix('\n').unwrap_or_else(|| panic!("half a line: {line:?}"));
            assert!(!line.contains(is_bad), "{command:?}: {line:?}");
        }
        all.push_str(text);
    }
    (output.status.code(), all)
}

#[test]
fn messages_of_every_command() {
    let area = Area::new();
    let missing = area.path("no").join(evil());
    let directory = area.dir("d").join(evil());
    fs::create_dir(&directory).expect("made");
    let file = area.path("f");
    fs::write(&file, "no stream, and long enough to look like one ".repeat(200)).expect("written");
    let named = area.path("x").with_file_name(evil());
    fs::copy(&file, &named).expect("copied");
    let option = [b"--", EVIL].concat();
    let with = |args: &[&str], last: &[&OsStr]| {
        let mut command = fsmon(args);
        command.args(last);
        command
    };
    let (missing, directory, named) =
        (missing.as_os_str(), directory.as_os_str(), named.as_os_str());
    let watched = area.watched();
    let value = |option: &str, value: &OsStr| {
        let mut text = OsString::from(option);
        text.push(value);
        text
    };
    let mut commands = vec![
        with(&["-t"], &[evil(), watched.as_os_str()]),
        with(&["-f"], &[evil()]),
        with(&[], &[OsStr::from_bytes(&option)]),
        with(&[], &[OsStr::new("--chain=x"), evil()]),
        with(&["--user"], &[evil(), watched.as_os_str()]),
        with(&["--pid"], &[evil()]),
        with(&["--count"], &[evil()]),
        with(&["--duration"], &[evil()]),
        with(&["--rotate"], &[evil()]),
        with(&["--cpu"], &[evil()]),
        with(&[], &[&value("--include=[", evil()), watched.as_os_str()]),
        with(&[], &[named]),
        with(&["-o"], &[missing, watched.as_os_str()]),
        with(&["-o"], &[directory, watched.as_os_str()]),
        with(&["--stats"], &[missing, watched.as_os_str()]),
        with(&["decode"], &[missing]),
        with(&["decode"], &[directory]),
        with(&["decode"], &[named]),
        with(&["decode", "--salvage"], &[named]),
        with(&["decode", "--since"], &[evil(), named]),
        with(&["generate"], &[evil()]),
        with(&["doctor", "--json"], &[missing]),
        with(&["doctor"], &[missing]),
        with(&["doctor"], &[named]),
    ];
    for command in &mut commands {
        let (code, said) = assert_plain(command);
        assert_ne!(code, None, "{command:?}: {said}");
        assert!(!said.is_empty(), "{command:?}");
    }
}

#[test]
fn an_argument_is_shown_exactly_and_in_one_line() {
    let (code, said) = assert_plain(fsmon(["-f"]).arg("x\x1b[31m\ny"));
    assert_eq!(code, Some(2));
    assert!(said.contains("'x\\x1b[31m\\ny'"), "{said}");
    assert_eq!(said.lines().count(), 1, "{said}");
}

#[test]
fn messages_of_a_watch() {
    if !is_root() {
        return;
    }
    let area = Area::new();
    let dir = area.watched().join(evil());
    fs::create_dir(&dir).expect("made");
    let missing = area.path("later").join(evil());
    let out = area.path("x").with_file_name(evil());
    let mut command = fsmon(["-f", "json", "--duration", "100ms", "-o"]);
    let (code, said) = assert_plain(command.arg(&out).args([dir.as_path(), &missing]));
    assert_eq!(code, Some(0), "{said}");
    assert!(said.contains("ready: watching") && said.contains("does not exist yet"), "{said}");
    assert!(said.contains("e\\x1b[31mv"), "{said}");
}

#[test]
fn human_lines_have_the_names_of_files_and_processes_escaped() {
    if !is_root() {
        return;
    }
    let area = Area::new();
    let (out, dir) = (area.path("out"), area.watched());
    let running =
        Fsmon::start(fsmon(["-f", "human", "--chain", "--cmdline", "-o"]).arg(&out).arg(&dir));
    File::create(dir.join(evil())).expect("made");
    fs::rename(dir.join(evil()), dir.join(OsStr::from_bytes(b"x\x1b\xc2\x85y"))).expect("renamed");
    // A process and its argument by such a name.
    let program = area.path("p\x1b[2J\u{202e}");
    copy_program(Path::new("/bin/sh"), &program);
    let status = Command::new(&program)
        .args(["-c", ": > by-it", "a\x1b[1m\u{200b}b"])
        .current_dir(&dir)
        .status();
    assert!(status.expect("started").success());
    running.stop().assert_complete();
    let text = read(&out);
    assert!(text.contains("p\\x1b[2J\\u{202e}["), "{text}");
    assert!(text.lines().all(|line| !line.contains(is_bad)), "{text:?}");
    assert!(
        text.contains("/e\\x1b[31mv\\x1b]0;t\\x07i\\rl\\n\\x7f\\u{009b}31m\\u{202e}"),
        "{text}"
    );
}

fn read(path: &Path) -> String {
    String::from_utf8(fs::read(path).expect("read")).expect("UTF-8")
}

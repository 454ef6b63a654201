//! The Python package beside the program: written from the specification alone, it must print the
//! same of a stream. FSMON_PYTHON names an interpreter that has the packages of
//! python/tests/requirements.txt; without them it reads all but zstd.

use fsmon_harness::{Area, Fsmon, fsmon, is_installed, is_root, repeats, sh, skip, succeed};
use std::ffi::{OsStr, OsString};
use std::fs::{self, File};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::process::Command;

fn folder(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("python").join(name)
}

/// Python with the package, leaving nothing in the sources; `None`, said aloud, where there is none.
pub(crate) fn python() -> Option<Command> {
    let told = std::env::var_os("FSMON_PYTHON");
    if told.is_none() && !is_installed("python3") {
        skip("python3 is not installed");
        return None;
    }
    let mut command = Command::new(told.unwrap_or_else(|| "python3".into()));
    command.arg("-B").env("PYTHONPATH", folder("src"));
    Some(command)
}

/// Names that text has trouble with.
fn odd_names() -> Vec<OsString> {
    let mut names: Vec<Vec<u8>> = vec![
        b"new\nline\ttab\"quote\\back".to_vec(),
        b"\x1b[31mred\x07\x7f\x01\x1f".to_vec(),
        "ümläut-日本-🦀 c1-\u{9b} bidi-\u{202e} bom-\u{feff} tag-\u{e0041}".into(),
        b"latin1-\xe4\xf6".to_vec(),
        b"cut-\xf0\x9f\xa6 surrogate-\xed\xa0\x80 long-\xc0\xaf".to_vec(),
        vec![b'n'; 255],
        vec![0xe4; 255],
    ];
    names.extend([23, 24, 25, 64].map(|len| vec![b'x'; len]));
    names.iter().map(|name| OsStr::from_bytes(name).to_owned()).collect()
}

/// Some of everything: odd names, renames within, out and in, directories renamed, short-lived
/// processes one below the other.
fn work(dir: &Path, outside: &Path) {
    for name in odd_names() {
        File::create(dir.join(&name)).expect("made");
        fs::rename(dir.join(&name), dir.join("other")).expect("renamed");
        fs::create_dir(dir.join(&name)).expect("made");
        fs::rename(dir.join("other"), dir.join(&name).join("file")).expect("renamed");
        fs::rename(dir.join(&name), outside.join(&name)).expect("moved out");
        fs::rename(outside.join(&name), dir.join(&name)).expect("moved in");
        fs::hard_link(dir.join(&name).join("file"), outside.join(&name)).expect("linked");
        fs::write(outside.join(&name), "through the other name").expect("written");
    }
    let many = repeats(150);
    let inner = "echo x > f$0; mv f$0 g$0; chmod 600 g$0";
    sh(dir, &format!("for i in $(seq {many}); do sh -c 'sh -c \"{inner}\"; rm g$0' $i; done"));
}

/// How a stream is stored: the name of its file or directory, and the arguments.
const WAYS: [(&str, &[&str]); 5] = [
    ("plain", &[]),
    ("lz4", &["--compress", "lz4"]),
    ("segments/", &["--rotate", "20K"]),
    ("zstd", &["--compress", "zstd"]),
    ("zstd-window", &["--compress", "zstd-window"]),
];

/// In every way at once.
fn record(area: &Area) {
    let dir = area.watched();
    let start = |(name, args): (&str, &[&str])| {
        let mut command = fsmon(["-f", "binary", "-t", "all", "--cmdline", "--hard-links", "-o"]);
        Fsmon::start(command.arg(area.path(name)).args(args).arg(&dir))
    };
    let all: Vec<_> = WAYS.into_iter().map(start).collect();
    work(&dir, &area.dir("outside"));
    all.into_iter().for_each(|running| running.stop().assert_complete());
}

fn lines(bytes: &[u8]) -> Vec<String> {
    bytes.split(|byte| *byte == b'\n').map(|line| String::from_utf8_lossy(line).into()).collect()
}

#[test]
fn the_package_prints_what_decode_prints() {
    if python().is_none() || !is_root() {
        return;
    }
    let area = Area::new();
    record(&area);
    let ways = if std::env::var_os("FSMON_PYTHON").is_some() { 4 } else { 3 };
    let how = [&[][..], &["--chain", "--cmdline"]];
    for ((name, _), args) in WAYS[..ways].iter().flat_map(|way| how.map(|args| (way, args))) {
        let stream = area.path(name);
        let expected = succeed(fsmon(["decode", "-f", "json"]).args(args).arg(&stream)).stdout;
        assert!(expected.len() > 10_000, "there is something to compare");
        let mut python = python().expect("it was there");
        let shown = succeed(python.args(["-m", "fsmon"]).args(args).arg(&stream)).stdout;
        assert_eq!(lines(&shown), lines(&expected), "{name}");
        assert!(shown == expected, "byte for byte");
    }
}

#[test]
fn the_package_prints_the_same_of_a_history() {
    let stream =
        Path::new(env!("CARGO_MANIFEST_DIR")).join("crates/format/tests/golden/v1-history.fsmon");
    let Some(mut python) = python() else { return };
    let args = ["--notes", "--chain"];
    let expected = succeed(fsmon(["decode", "-f", "json"]).args(args).arg(&stream)).stdout;
    let shown = succeed(python.args(["-m", "fsmon"]).args(args).arg(&stream)).stdout;
    assert_eq!(lines(&shown), lines(&expected));
}

#[test]
fn the_packages_own_tests() {
    let Some(mut python) = python() else { return };
    succeed(python.args(["-m", "unittest", "discover", "-s"]).arg(folder("tests")));
}

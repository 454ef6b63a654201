//! An output file that somebody cuts while it is written, as logrotate's `copytruncate` does: it goes on
//! at its new end, without NULs, and each part can be read.

use fsmon_harness::{Area, Fsmon, fsmon, is_root, parse, sh, succeed, wait_until};
use std::fs::{self, File};
use std::path::{Path, PathBuf};

/// How the file is given to fsmon.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum By {
    Option,
    /// `>>`
    Appending,
    /// `>`
    Writing,
}

/// `format` may have more arguments.
fn start(format: &str, by: By, out: &Path, dir: &Path) -> Fsmon {
    let mut command = fsmon(["-t", "create", "-f"]);
    command.args(format.split(' '));
    match by {
        By::Option => Fsmon::start(command.arg("-o").arg(out).arg(dir)),
        By::Appending => {
            let file = File::options().append(true).create(true).open(out).expect("opened");
            Fsmon::start_with(command.arg(dir), file.into())
        }
        By::Writing => Fsmon::start_with(command.arg(dir), File::create(out).expect("made").into()),
    }
}

/// Makes files and waits until the last of them stands in the output.
fn make(dir: &Path, name: &str, out: &Path, format: &str) {
    sh(dir, &format!("for i in $(seq 100); do : > {name}$i; done"));
    let last = format!("{name}100");
    wait_until("the output is written", || text(out, format).contains(&last));
}

fn text(out: &Path, format: &str) -> String {
    let bytes = match format.split(' ').next() {
        Some("binary") => {
            fsmon(["decode", "-f", "json"]).arg(out).output().expect("started").stdout
        }
        _ => fs::read(out).expect("read"),
    };
    String::from_utf8(bytes).expect("UTF-8")
}

/// What `copytruncate` does; gives the copy.
fn copy_and_cut(out: &Path, len: u64) -> PathBuf {
    let copy = out.with_extension("1");
    fs::copy(out, &copy).expect("copied");
    File::options().write(true).open(out).and_then(|file| file.set_len(len)).expect("cut");
    copy
}

fn created(json: &str) -> Vec<String> {
    parse(json.as_bytes()).iter().map(fsmon_harness::Event::name).collect()
}

fn names(of: &str) -> Vec<String> {
    (1..=100).map(|i| format!("{of}{i}")).collect()
}

#[test]
fn lines_go_on_at_the_new_end() {
    if !is_root() {
        return;
    }
    for by in [By::Option, By::Appending, By::Writing] {
        for format in ["json", "csv", "human"] {
            let area = Area::new();
            let (dir, out) = (area.watched(), area.path("out"));
            let running = start(format, by, &out, &dir);
            make(&dir, "a", &out, format);
            let copy = copy_and_cut(&out, 0);
            make(&dir, "b", &out, format);
            let ended = running.stop();
            ended.assert_complete();
            let said = ended.stderr.iter().filter(|line| line.contains("was cut while")).count();
            assert_eq!(said, 1, "{:?}", ended.stderr);
            for (file, name) in [(&copy, "a"), (&out, "b")] {
                let text = text(file, format);
                assert!(!text.contains('\0') && text.ends_with('\n'), "{format} {by:?}: {text:?}");
                let lines = text.lines().count();
                match format {
                    "json" => assert_eq!(created(&text), names(name)),
                    "csv" => assert!(lines == 101 && text.starts_with("time,"), "{by:?}: {text}"),
                    _ => assert_eq!(lines, 100, "{by:?}: {text}"),
                }
            }
        }
    }
}

#[test]
fn a_line_that_was_cut_in_two_does_not_spoil_the_next() {
    if !is_root() {
        return;
    }
    let area = Area::new();
    let (dir, out) = (area.watched(), area.path("out"));
    let running = start("json", By::Option, &out, &dir);
    make(&dir, "a", &out, "json");
    copy_and_cut(&out, 10);
    make(&dir, "b", &out, "json");
    running.stop().assert_complete();
    let text = text(&out, "json");
    let (half, rest) = text.split_once('\n').expect("a line break");
    assert_eq!((half.len(), created(rest)), (10, names("b")));
}

#[test]
fn a_binary_stream_begins_again_and_says_what_is_missing() {
    if !is_root() {
        return;
    }
    let ways = [By::Option, By::Appending, By::Writing].map(|by| ("binary", by));
    // Its blocks go on from some that are cut away.
    let window = ("binary --compress zstd-window", By::Option);
    for (format, by) in ways.into_iter().chain([window]) {
        let area = Area::new();
        let (dir, out) = (area.watched(), area.path("out"));
        let running = start(format, by, &out, &dir);
        make(&dir, "a", &out, "binary");
        let first = copy_and_cut(&out, 0);
        make(&dir, "b", &out, "binary");
        // And once more.
        let second = out.with_extension("2");
        fs::copy(&out, &second).expect("copied");
        File::options().write(true).open(&out).and_then(|file| file.set_len(0)).expect("cut");
        make(&dir, "c", &out, "binary");
        running.stop().assert_complete();
        let decoded = succeed(fsmon(["decode", "-f", "json"]).arg(&out));
        let said = String::from_utf8_lossy(&decoded.stderr).into_owned();
        assert_eq!(created(&String::from_utf8_lossy(&decoded.stdout)), names("c"));
        assert!(said.contains("200 events before it are in other files, or lost"), "{said}");
        assert_eq!(created(&text(&first, "binary")), names("a"), "{by:?}");
        assert_eq!(created(&text(&second, "binary")), names("b"), "{by:?}");
        // One behind the other they are the whole stream, of which only the ends of files are missing.
        let whole = area.path("whole");
        let parts = [first, second, out].map(|path| fs::read(path).expect("read"));
        fs::write(&whole, parts.concat()).expect("written");
        let all =
            fsmon(["decode", "--salvage", "-f", "json"]).arg(&whole).output().expect("started");
        let expected: Vec<_> = ["a", "b", "c"].into_iter().flat_map(names).collect();
        assert_eq!(created(&String::from_utf8_lossy(&all.stdout)), expected);
    }
}

//! Everything that can be wrong at the start: one clear line with the remedy, nothing half done.

use fsmon_harness::{Area, Fsmon, fsmon, is_root, is_root_with, public_fsmon};
use std::process::Command;

/// It must fail with that code and one line that has all these words.
#[track_caller]
fn refused(command: &mut Command, code: i32, words: &[&str]) {
    let ended = Fsmon::run(command);
    assert_eq!(ended.stderr.len(), 1, "one line: {:#?}", ended.stderr);
    ended.assert_failed(code, words);
    assert!(ended.stdout.is_empty(), "{}", String::from_utf8_lossy(&ended.stdout));
}

#[test]
fn wrong_usage() {
    refused(&mut fsmon(["--formt", "json"]), 2, &["--format"]);
    refused(&mut fsmon(["-f", "xml"]), 2, &["xml", "json"]);
    refused(&mut fsmon(["--count", "0"]), 2, &["--count"]);
    refused(&mut fsmon(["--count", "many"]), 2, &["many"]);
    refused(&mut fsmon(["--duration", "soon"]), 2, &["soon", "10s"]);
    refused(&mut fsmon(["--batch-window", "10"]), 2, &["10ms"]);
    refused(&mut fsmon(["--cpu", "fast"]), 2, &["fast", "auto"]);
    refused(&mut fsmon(["--backend", "epoll"]), 2, &["epoll", "poll"]);
    refused(&mut fsmon(["--max-dirs", "0"]), 2, &["--max-dirs"]);
    refused(&mut fsmon(["--max-processes", "-5"]), 2, &[]);
    refused(&mut fsmon(["--pid", "me"]), 2, &["me"]);
    refused(&mut fsmon(["decode"]), 2, &["FILE"]);
    refused(&mut fsmon(["--time", "swatch"]), 2, &["swatch", "rfc3339"]);
}

#[test]
fn words_that_are_no_paths() {
    refused(&mut fsmon(["nosuchword"]), 2, &["nosuchword", "./nosuchword", "--wait"]);
    refused(&mut fsmon(["-f", "json", "decdoe", "x"]), 2, &["did you mean decode?"]);
    refused(fsmon(["nosuchword"]).arg(Area::new().watched()), 2, &["nosuchword"]);
    refused(&mut fsmon(["-"]), 2, &["./-"]);
}

#[test]
fn moments_that_are_none() {
    for option in ["--since", "--until"] {
        for moment in ["", "soon", "25:00", "2026-13-01", "1900-01-01", "@", "123456789"] {
            refused(&mut fsmon(["decode", option, moment, "x"]), 2, &[option, "write "]);
        }
        let mut command = fsmon(["decode", option, "12:00", "x"]);
        refused(command.env("TZ", "Nowhere/Bad"), 2, &[option, "Nowhere/Bad"]);
    }
    let range =
        ["decode", "--since", "2030-01-01T00:00:00Z", "--until", "2020-01-01T00:00:00Z", "x"];
    refused(&mut fsmon(range), 2, &["2030-01-01T00:00:00Z", "later", "2020-01-01T00:00:00Z"]);
}

#[test]
fn unknown_types_users_and_processes() {
    let area = Area::new();
    let dir = area.watched();
    refused(fsmon(["-t", "CREAT"]).arg(&dir), 1, &["CREAT", "CREATE", "DELETE"]);
    refused(fsmon(["--user", "no-such-user-here"]).arg(&dir), 1, &["no-such-user-here"]);
    refused(fsmon(["--pid", "4194303"]).arg(&dir), 1, &["4194303"]);
}

#[test]
fn bad_globs() {
    let area = Area::new();
    for option in ["--include", "--exclude", "--cmd", "--exclude-cmd"] {
        refused(fsmon([option, "a[b"]).arg(area.watched()), 1, &[option, "a[b"]);
        for pattern in ["", "!a", "a,b", "a\\"] {
            refused(fsmon([option, pattern]).arg(area.watched()), 1, &[option, "bad glob"]);
        }
    }
    for option in ["--include", "--exclude"] {
        for pattern in ["../a", "a/../b", "/", "./", "~/a", "/usr/bin/env"] {
            refused(fsmon([option, pattern]).arg(area.watched()), 1, &[option, pattern]);
        }
    }
    refused(fsmon(["--exclude"]).arg(area.watched()).arg(area.watched()), 1, &["--exclude"]);
    for option in ["--cmd", "--exclude-cmd"] {
        refused(fsmon([option, "/usr/bin/env"]).arg(area.watched()), 1, &[option, "'env'"]);
    }
    for user in ["", "!root", "root,bin"] {
        refused(fsmon(["--user", user]).arg(area.watched()), 1, &["--user"]);
    }
}

#[test]
fn paths_that_cannot_be_watched() {
    let area = Area::new();
    std::fs::write(area.path("file"), "x").expect("written");
    refused(&mut fsmon([area.path("file")]), 1, &["file", "not a directory"]);
    refused(fsmon([area.path("file/missing")]).arg(area.watched()), 1, &["file/missing"]);
    refused(&mut fsmon(["/proc/self/no"]), 1, &["/proc/self/no"]);
}

#[test]
fn outputs_that_cannot_be_written() {
    let area = Area::new();
    let (dir, missing) = (area.watched(), area.path("no/such/dir/out"));
    refused(fsmon(["-o"]).arg(&missing).arg(&dir), 1, &["no/such/dir/out"]);
    refused(fsmon(["-o"]).arg(&dir).arg(&dir), 1, &["watched"]);
    refused(fsmon(["--stats"]).arg(&missing).arg(&dir), 1, &["no/such/dir/out"]);
}

#[test]
fn an_error_leaves_the_old_output_as_it_was() {
    let area = Area::new();
    let out = area.path("out");
    std::fs::write(&out, "precious").expect("written");
    refused(fsmon(["-t", "nonsense", "-o"]).arg(&out).arg(area.watched()), 1, &["nonsense"]);
    refused(fsmon(["-o"]).arg(&out).arg(area.path("out/missing")), 1, &["out/missing"]);
    assert_eq!(std::fs::read(&out).expect("read"), b"precious");
}

#[test]
fn a_cpu_that_does_not_exist() {
    if !is_root() {
        return;
    }
    let area = Area::new();
    refused(fsmon(["--cpu", "4000"]).arg(area.watched()), 1, &["4000"]);
}

#[test]
fn without_the_capability() {
    if !is_root_with(&["setpriv"]) {
        return;
    }
    let area = Area::new();
    let program = public_fsmon(&area);
    let out = area.path("out");
    std::fs::write(&out, "precious").expect("written");
    fsmon_harness::sh(&area.path(""), "chmod 666 out; chmod 755 . watched");
    let mut command = Command::new("setpriv");
    command.args(["--reuid=65534", "--regid=65534", "--clear-groups", "--inh-caps=-all"]);
    command.args(["--bounding-set=-all", "--no-new-privs"]).arg(program);
    refused(command.arg("-o").arg(&out).arg(area.watched()), 1, &["CAP_SYS_ADMIN"]);
    assert_eq!(std::fs::read(&out).expect("read"), b"precious", "nothing half done");
}

#[test]
fn decode_of_what_is_no_stream() {
    let area = Area::new();
    refused(fsmon(["decode"]).arg(area.path("missing")), 1, &["missing"]);
    refused(fsmon(["decode"]).arg(area.watched()), 1, &["watched"]);
    std::fs::write(area.path("text"), "text, and nothing else ".repeat(1000)).expect("written");
    refused(fsmon(["decode"]).arg(area.path("text")), 1, &["text"]);
    std::fs::write(area.path("empty"), "").expect("written");
    refused(fsmon(["decode"]).arg(area.path("empty")), 1, &["empty"]);
}

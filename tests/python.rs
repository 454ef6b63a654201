//! The Python package, written from docs/format.md alone, reads what fsmon writes as `fsmon decode`
//! does. FSMON_PYTHON names an interpreter that has the packages of python/tests/requirements.txt;
//! without them it reads all but zstd.

mod harness;

use harness::{Area, Event, Fsmon, fsmon, is_root, parse, sh, skip, succeed};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// Names of every kind, short-lived processes, renames in, out and of directories.
const WORK: &str = r#"
for i in $(seq 40); do
    mkdir -p "d$i/sub"
    for j in 1 2 3; do echo x > "d$i/sub/a name $j"; sh -c ': > "$0"' "d$i/$j.o"; done
    mv "d$i/1.o" "d$i/sub/moved"; mv "d$i" "e$i"; mv "e$i/2.o" ../aside; mv ../aside "e$i/back"
    touch "$(printf 'not\377utf8 %d' "$i")" "$(printf 'new\nline\033[1m %d' "$i")"
    touch "$(printf '%0255d' "$i")"
    rm "e$i/3.o"
done
"#;

fn package() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("python")
}

/// None where there is no Python.
fn python() -> Option<Command> {
    let told = std::env::var_os("FSMON_PYTHON").unwrap_or_else(|| "python3".into());
    let found = Command::new(&told).arg("--version").stdout(Stdio::null()).status();
    if !found.is_ok_and(|status| status.success()) {
        skip("no python3 here");
        return None;
    }
    let mut command = Command::new(told);
    command.arg("-B").env("PYTHONPATH", package().join("src"));
    Some(command)
}

fn read_by_python(source: &Path) -> Option<Vec<Event>> {
    let mut python = python()?;
    let output = succeed(python.args(["-m", "fsmon", "--chain", "--cmdline"]).arg(source));
    Some(parse(&output.stdout))
}

#[test]
fn its_own_tests() {
    if let Some(mut python) = python() {
        succeed(python.arg(package().join("tests/test_streams.py")));
    }
}

#[test]
fn it_reads_what_decode_reads() {
    if !is_root() {
        return;
    }
    let area = Area::new();
    let dir = area.watched();
    let ways: [(&str, &[&str]); 3] =
        [("plain", &[]), ("lz4", &["--compress", "lz4"]), ("segments/", &["--rotate", "20K"])];
    let all: Vec<_> = ways
        .iter()
        .map(|(name, args)| {
            let mut command = fsmon(["-f", "binary", "--cmdline", "-t", "all"]);
            Fsmon::start(command.args(*args).arg("-o").arg(area.path(name)).arg(&dir))
        })
        .collect();
    sh(&dir, WORK);
    all.into_iter().for_each(|running| running.stop().assert_complete());
    for (name, _) in ways {
        let stream = area.path(name);
        let mut decode = fsmon(["decode", "-f", "json", "--chain", "--cmdline"]);
        let wanted = parse(&succeed(decode.arg(&stream)).stdout);
        let Some(found) = read_by_python(&stream) else { return };
        let differ = found.iter().zip(&wanted).find(|(found, wanted)| found != wanted);
        assert!(differ.is_none(), "{name}: {differ:#?}");
        assert!(found.len() == wanted.len() && found.len() > 2000, "{name}: {}", found.len());
    }
}

#[test]
fn it_reads_a_live_pipe() {
    if !is_root() {
        return;
    }
    let area = Area::new();
    let dir = area.watched();
    let Some(mut python) = python() else { return };
    let (running, stdout) = Fsmon::start_unread(fsmon(["-f", "binary", "-t", "create"]).arg(&dir));
    let reader = python.args(["-m", "fsmon", "-"]).stdin(stdout).stdout(Stdio::piped());
    let reader = reader.spawn().expect("started");
    sh(&dir, "for i in $(seq 300); do : > $i; done");
    running.stop().assert_complete();
    let output = reader.wait_with_output().expect("a child");
    assert!(output.status.success() && parse(&output.stdout).len() == 300);
}

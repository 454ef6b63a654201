//! What is converted says what `fsmon decode` says, to the programs that it is made for.

use fsmon_harness::{Area, Fsmon, fsmon, is_root_with, sh, skip, succeed};
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::LazyLock;

/// A small project: sources, a library, a program that is run, names that are no text, renames.
const BUILD: &str = r#"
mkdir src
for i in 1 2 3 4 5 6 7 8 9 10 11 12; do
  echo "int f$i(int x) { return x + $i; }" > src/f$i.c
done
echo 'int f1(int); int main(void) { return f1(-1); }' > src/main.c
cat > Makefile <<'END'
OBJECTS = $(patsubst src/%.c,obj/%.o,$(wildcard src/f*.c))
prog: obj/main.o libf.a
	cc -o $@ $^
libf.a: $(OBJECTS)
	ar rcs $@ $^
obj/%.o: src/%.c
	@mkdir -p obj
	cc -O1 -g -c -o $@ $<
END
make -s -j2
./prog
name=$(printf 'no text \377')
cp src/main.c "$name"
mv "$name" "$(printf 'still none \376')"
sh -c 'echo "it'"'"'s $0" > quoted' "a b"
mv obj objects
touch -d 2020-01-01 objects/main.o
chmod 600 src/f1.c
rm -r objects
"#;

/// What a build did, recorded once for all tests.
struct Capture {
    stream: PathBuf,
    lines: PathBuf,
}

static CAPTURE: LazyLock<Option<Capture>> = LazyLock::new(|| {
    if !is_root_with(&["make", "cc", "ar"]) {
        return None;
    }
    let dir = Path::new(env!("CARGO_TARGET_TMPDIR")).join("capture");
    let _ = fs::remove_dir_all(&dir);
    let watched = dir.join("watched");
    fs::create_dir_all(&watched).expect("a directory");
    let stream = dir.join("build.fsmon");
    let mut command = fsmon(["-f", "binary", "-t", "all", "--cmdline", "-o"]);
    let running = Fsmon::start(command.arg(&stream).arg(&watched));
    sh(&watched, BUILD);
    running.stop().assert_complete();
    let lines = decoded(&stream, &dir.join("lines.json"));
    Some(Capture { stream, lines })
});

fn decoded(stream: &Path, to: &Path) -> PathBuf {
    let mut command = fsmon(["decode", "-f", "json", "--cmdline", "--chain"]);
    fs::write(to, succeed(command.arg(stream)).stdout).expect("written");
    to.to_owned()
}

/// A command line of the converter.
fn convert(args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_fsmon-convert"));
    command.args(args);
    command
}

/// A stream that is kept with the format, and what its lines are.
fn golden(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../format/tests/golden").join(name)
}

/// The Python of `tools.sh`; says aloud where it is not there.
fn python() -> Option<PathBuf> {
    let target = Path::new(env!("CARGO_TARGET_TMPDIR")).parent().expect("that of the build");
    let told = std::env::var_os("FSMON_CONVERT_VENV").map(PathBuf::from);
    let own = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../target/convert-venv");
    let places = [told, Some(own), Some(target.join("convert-venv"))];
    let python = places.into_iter().flatten().map(|dir| dir.join("bin/python"));
    let found = python.into_iter().find(|python| python.exists());
    if found.is_none() {
        skip("no DuckDB and Perfetto to read with; run crates/convert/tests/tools.sh");
    }
    found
}

/// Lets a script hold what was made against the lines.
#[track_caller]
fn check(script: &str, made: &Path, lines: &Path) {
    let Some(python) = python() else { return };
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/checks").join(script);
    let mut command = Command::new(python);
    let told = succeed(command.arg("-B").arg(script).arg(made).arg(lines)).stdout;
    eprintln!("{}", String::from_utf8_lossy(&told));
}

/// It failed and said so in lines of its own, the last with all these words.
#[track_caller]
fn assert_failed(output: &Output, code: i32, words: &[&str]) {
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(code), "{said}");
    assert!(said.lines().all(|line| line.starts_with("fsmon: ")), "{said}");
    let last = said.lines().last().unwrap_or_default();
    for word in words {
        assert!(last.contains(word), "{word} is not in: {last}");
    }
}

/// Converts into a new file of the area.
#[track_caller]
fn made(area: &Area, name: &str, args: &[&str], input: &Path) -> PathBuf {
    let path = area.path(name);
    succeed(convert(args).arg("-o").arg(&path).arg(input));
    path
}

#[test]
fn duckdb_and_pandas_find_in_a_build_what_its_lines_say() {
    let (area, Some(capture)) = (Area::new(), CAPTURE.as_ref()) else { return };
    let file = made(&area, "build.parquet", &["--to", "parquet"], &capture.stream);
    check("parquet.py", &file, &capture.lines);
    let by = ["--to", "parquet", "--partition", "day,host"];
    let dir = made(&area, "partitioned", &by, &capture.stream);
    check("parquet.py", &dir, &capture.lines);
    // Once more: the same files, so no row is there twice.
    made(&area, "partitioned", &by, &capture.stream);
    check("parquet.py", &dir, &capture.lines);
}

#[test]
fn perfetto_finds_each_process_of_a_build_below_its_parent() {
    let (area, Some(capture)) = (Area::new(), CAPTURE.as_ref()) else { return };
    let trace = made(&area, "build.pftrace", &["--to", "perfetto"], &capture.stream);
    check("perfetto_trace.py", &trace, &capture.lines);
    // What comes by a pipe is read twice all the same.
    let stream = fs::File::open(&capture.stream).expect("recorded");
    let piped = succeed(convert(&["--to", "perfetto", "-"]).stdin(stream)).stdout;
    assert!(piped == fs::read(&trace).expect("made"));
}

#[test]
fn losses_doubts_and_names_that_are_no_text_are_kept() {
    let area = Area::new();
    for name in [
        "v1-all.fsmon",
        "v1-small.fsmon",
        "v1-exe.fsmon",
        "v1-zstd.fsmon",
        "v1-zstd-window.fsmon",
        "v1-lz4.fsmon",
        "v1-history.fsmon",
    ] {
        let (stream, lines) = (golden(name), area.path("lines"));
        let text = made(&area, "lines.json", &["--to", "json"], &stream);
        fs::copy(text, &lines).expect("copied");
        let file = made(&area, "file.parquet", &["--to", "parquet"], &stream);
        check("parquet.py", &file, &lines);
        let dir = made(&area, name, &["--to", "parquet", "--partition", "host"], &stream);
        let part = fs::read_dir(dir.join("host=builder")).expect("a partition").count();
        assert_eq!(part, 1);
        let trace = made(&area, "file.pftrace", &["--to", "perfetto"], &stream);
        check("perfetto_trace.py", &trace, &lines);
    }
}

#[test]
fn lines_are_those_of_decode() {
    let (area, Some(capture)) = (Area::new(), CAPTURE.as_ref()) else { return };
    for format in ["json", "csv"] {
        let file = made(&area, format, &["--to", format], &capture.stream);
        let mut decode = fsmon(["decode", "--cmdline", "-f", format]);
        let wanted = succeed(decode.arg(&capture.stream)).stdout;
        assert!(fs::read(file).expect("made") == wanted, "{format}");
    }
}

#[test]
fn segments_are_read_in_the_order_of_their_headers() {
    let area = Area::new();
    let dir = area.dir("segments");
    // By name, the second comes first; and what is no segment is left alone.
    fs::copy(golden("v1-segment-1.fsmon"), dir.join("a.fsmon")).expect("copied");
    fs::copy(golden("v1-segment-0.fsmon"), dir.join("b.fsmon")).expect("copied");
    fs::write(dir.join("notes.txt"), "no stream").expect("written");
    let joined: Vec<_> =
        [0, 1].map(|n| fs::read(golden(&format!("v1-segment-{n}.fsmon"))).expect("kept")).concat();
    fs::write(area.path("joined.fsmon"), joined).expect("written");
    for format in ["json", "csv", "perfetto"] {
        let args = ["--to", format];
        let one = made(&area, "one", &args, &area.path("joined.fsmon"));
        let many = made(&area, "many", &args, &dir);
        assert!(fs::read(one).expect("made") == fs::read(many).expect("made"), "{format}");
    }
    let lines = made(&area, "lines", &["--to", "json"], &dir);
    let table = made(&area, "table.parquet", &["--to", "parquet"], &dir);
    check("parquet.py", &table, &lines);
    // A segment that is missing is damage.
    let args = ["--to", "json", "-o", "/dev/null"];
    succeed(convert(&args).arg(golden("v1-segment-1.fsmon")));
}

#[test]
fn damage_is_told_and_all_else_converted() {
    let area = Area::new();
    let mut stream = fs::read(golden("v1-all.fsmon")).expect("kept");
    // In the first of two blocks, which has 11 events.
    stream[5000] ^= 1;
    let damaged = area.path("damaged.fsmon");
    fs::write(&damaged, stream).expect("written");
    for format in ["parquet", "perfetto", "json", "csv"] {
        let file = area.path(format);
        let output = convert(&["--to", format, "-o"]).arg(&file).arg(&damaged).output();
        let output = output.expect("started");
        assert_failed(&output, 1, &["damaged in 1 place", "everything else was converted"]);
        assert!(String::from_utf8_lossy(&output.stderr).contains("11 events are missing"));
        assert!(fs::metadata(file).expect("made").len() > 0);
    }
    let Some(python) = python() else { return };
    let query = "import duckdb, sys; print(duckdb.sql(f\"select event_type, reason, lost from \
                 read_parquet('{sys.argv[1]}') where reason = 'damaged_file'\").fetchall())";
    let told = succeed(Command::new(python).args(["-c", query]).arg(area.path("parquet"))).stdout;
    assert_eq!(String::from_utf8_lossy(&told).trim(), "[('LOSS', 'damaged_file', 11)]");
}

#[test]
fn what_is_still_being_written_is_converted_as_far_as_it_is() {
    let area = Area::new();
    let stream = fs::read(golden("v1-all.fsmon")).expect("kept");
    let part = area.path("part.fsmon");
    fs::write(&part, &stream[..stream.len() - 100]).expect("written");
    let written = fs::File::open(&part).expect("there");
    for format in ["parquet", "perfetto", "json", "csv"] {
        let (now, later) = (area.path(&format!("{format}1")), area.path(&format!("{format}2")));
        // As fsmon does.
        written.lock().expect("locked");
        let output = succeed(convert(&["--to", format, "-o"]).arg(&now).arg(&part));
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(said.contains("still being written") && said.lines().count() == 1, "{said}");
        written.unlock().expect("unlocked");
        let output = convert(&["--to", format, "-o"]).arg(&later).arg(&part).output();
        assert_failed(&output.expect("started"), 1, &["damaged in 1 place", "converted"]);
        if format == "json" {
            let (now, later) = (fs::read(now).expect("made"), fs::read(later).expect("made"));
            assert!(!now.is_empty() && later.starts_with(&now));
        }
    }
}

#[test]
fn what_cannot_be_done_is_told_in_a_line_with_the_remedy() {
    let area = Area::new();
    let (empty, text) = (area.dir("empty"), area.path("text"));
    fs::write(&text, "no stream").expect("written");
    let (empty, text) = (empty.display().to_string(), text.display().to_string());
    let small = golden("v1-small.fsmon").display().to_string();
    let out = area.path("out").display().to_string();
    let nowhere = area.path("nowhere/out").display().to_string();
    let cases: [(i32, &[&str], &[&str]); 11] = [
        (2, &["--to", "xml", &small], &["parquet, perfetto, csv, json"]),
        (2, &["--to", "csv"], &["<INPUT>", "--help"]),
        (2, &[&small], &["--to"]),
        (1, &["--to", "csv", "/none"], &["cannot read /none", "fsmon -f binary"]),
        (1, &["--to", "csv", "-o", &out, &text], &["not an fsmon stream", "fsmon -f binary"]),
        (1, &["--to", "parquet", "-o", &out, &text], &["not an fsmon stream"]),
        (1, &["--to", "perfetto", "-o", &out, &text], &["not an fsmon stream"]),
        (1, &["--to", "csv", &empty], &["no *.fsmon files"]),
        (1, &["--to", "csv", "--partition", "day", &small], &["--to parquet"]),
        (1, &["--to", "parquet", "--partition", "day", &small], &["-o DIR"]),
        (1, &["--to", "parquet", "-o", &nowhere, &small], &["cannot make", "-o"]),
    ];
    for (code, args, words) in cases {
        assert_failed(&convert(args).output().expect("started"), code, words);
    }
    let same = convert(&["--to", "json", "-o", &text, &text]).output().expect("started");
    assert_failed(&same, 1, &["input", "another"]);
    // Nothing half done is left.
    let left: Vec<_> = fs::read_dir(area.path(".")).expect("listed").flatten().collect();
    let names: Vec<_> = left.iter().map(fs::DirEntry::file_name).collect();
    assert!(!names.iter().any(|name| name.as_bytes().starts_with(b".fsmon")), "{names:?}");
    assert!(!area.path("out").exists());
}

#[test]
fn whoever_reads_enough_ends_it_in_order() {
    let small = golden("v1-small.fsmon").display().to_string();
    let convert = env!("CARGO_BIN_EXE_fsmon-convert");
    let script = format!(
        "{convert} --to parquet {small} | true; test ${{PIPESTATUS[0]}} = 0 || exit 9
        exec {convert} --to csv {small} 2>&1 >/dev/full"
    );
    let output = Command::new("bash").args(["-c", &script]).output();
    let output = output.expect("started");
    assert_eq!(output.status.code(), Some(1));
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(said.starts_with("fsmon: cannot write standard output"), "{said}");
}

#[test]
fn a_pipe_is_opened_and_read_once() {
    let area = Area::new();
    let (pipe, stream) = (area.path("pipe"), golden("v1-all.fsmon"));
    nix::unistd::mkfifo(&pipe, nix::sys::stat::Mode::from_bits_truncate(0o600)).expect("made");
    for to in ["json", "perfetto", "parquet"] {
        let (direct, piped) = (area.path("direct"), area.path("piped"));
        succeed(convert(&["--to", to, "-o"]).arg(&direct).arg(&stream));
        let mut child =
            convert(&["--to", to, "-o"]).arg(&piped).arg(&pipe).spawn().expect("started");
        fs::write(&pipe, fs::read(&stream).expect("read")).expect("it reads");
        assert!(child.wait().expect("a child").success(), "{to}");
        assert!(fs::read(&direct).expect("read") == fs::read(&piped).expect("read"), "{to}");
    }
}

#[test]
fn where_there_is_no_room_lines_end_whole() {
    if !fsmon_harness::is_installed("prlimit") {
        return skip("no prlimit");
    }
    let area = Area::new();
    for to in ["json", "csv"] {
        let out = area.path("out");
        let mut command = Command::new("prlimit");
        command.arg("--fsize=1501").arg(env!("CARGO_BIN_EXE_fsmon-convert"));
        command.args(["--to", to]).arg(golden("v1-all.fsmon"));
        let file = fs::File::create(&out).expect("made");
        let output = command.stdout(file).output().expect("started");
        assert_failed(&output, 1, &["standard output", "File too large"]);
        let text = fs::read(&out).expect("read");
        assert!(
            text.len() > 500 && text.ends_with(b"\n"),
            "{to}: {}",
            String::from_utf8_lossy(&text)
        );
    }
}

#[test]
fn no_name_in_a_message_reaches_the_terminal_as_it_is() {
    let evil = std::ffi::OsStr::from_bytes(b"/no/e\x1b[31m\r\n\xc2\x9b\xe2\x80\xae\xff");
    for args in [&["--to", "json"][..], &["--to"], &["--to", "json", "-o", "/no/where", "-"], &[]] {
        let output = convert(args).arg(evil).output().expect("started");
        let said = String::from_utf8(output.stderr).expect("UTF-8");
        assert!(!output.status.success() && said.lines().count() == 1, "{args:?}: {said:?}");
        let is_bad = |c: char| c.is_control() || c == '\u{202e}';
        assert!(!said.trim_end_matches('\n').contains(is_bad), "{args:?}: {said:?}");
    }
}

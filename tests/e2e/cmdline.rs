//! `--cmdline`: with BPF the exact words of every process that is started; without it, and of what ran
//! before, the exact words or none. Never those of another.

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use fsmon_harness::{
    Area, Event, Fsmon, fsmon, has_bpf, is_root, parse, record, sh, succeed, wait_until,
};
use serde_json::Value;
use std::ffi::{OsStr, OsString};
use std::io::Write;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// As much of a command line as is told, in bytes.
const BYTES_MAX: usize = 4096;

/// Makes the file that its first word names, and one more at each line that it is sent.
const WAITS: &str = r#": > "$0"; while read -r more; do : > "$more"; done"#;

/// Whether each exec is told with its words here, when fsmon may choose how.
fn is_told() -> bool {
    has_bpf("not every process has its words")
}

/// Of what is started while fsmon runs.
fn from_exec(is_told: bool) -> &'static str {
    if is_told { "exec" } else { "proc" }
}

/// The words as they are, a NUL between them; `None` where they are not known.
fn words(event: &Event) -> Option<Vec<u8>> {
    let array = event.0.get("cmdline")?.as_array().expect("an array");
    assert!(matches!(event.text("cmdline_from"), Some("proc" | "exec")), "marked as what it is");
    let lossy: Vec<_> = array.iter().map(|word| word.as_str().expect("text")).collect();
    let lossy = lossy.join("\0");
    let Some(encoded) = event.text("cmdline_b64") else { return Some(lossy.into_bytes()) };
    let bytes = BASE64_STANDARD.decode(encoded).expect("base64");
    assert!(std::str::from_utf8(&bytes).is_err(), "only where it is not UTF-8");
    let parts = bytes.split(|byte| *byte == 0).map(String::from_utf8_lossy);
    assert_eq!(parts.collect::<Vec<_>>().join("\0"), lossy);
    Some(bytes)
}

/// Starts a shell that waits, with these words after its script.
fn waiting(dir: &Path, words: &[OsString]) -> Child {
    Command::new("/bin/sh")
        .args(["-c", WAITS])
        .args(words)
        .current_dir(dir)
        .stdin(Stdio::piped())
        .spawn()
        .expect("started")
}

/// Has it make another file, and waits until it is there.
fn make(child: &mut Child, dir: &Path, file: &str) {
    let stdin = child.stdin.as_mut().expect("asked for");
    writeln!(stdin, "{file}").expect("written");
    until_there(&dir.join(file));
}

fn until_there(path: &Path) {
    wait_until("it made its file", || path.exists());
}

fn end(mut child: Child) {
    drop(child.stdin.take());
    assert!(child.wait().expect("a child").success());
}

fn joined(words: &[OsString]) -> Vec<u8> {
    let first = [OsStr::new("/bin/sh"), OsStr::new("-c"), OsStr::new(WAITS)];
    let all = first.into_iter().chain(words.iter().map(OsString::as_os_str));
    all.map(OsStrExt::as_bytes).collect::<Vec<_>>().join(&0)
}

#[test]
fn the_exact_words_of_what_ran_before_and_what_is_started() {
    if !is_root() {
        return;
    }
    let area = Area::new();
    let dir = area.watched();
    let odd = ["two words", "", "l\u{e4}tin", "q\"'\\", "new\nline\t\x1b[31m", "", ""];
    let mut before: Vec<OsString> = vec!["before".into()];
    before.extend(odd.map(Into::into));
    let mut after: Vec<OsString> = vec!["after".into(), OsString::from_vec(b"\xff\xfe".to_vec())];
    after.extend(odd.map(Into::into));
    let mut old = waiting(&dir, &before);
    until_there(&dir.join("before"));
    let mut new = None;
    let events = record(&dir, &["--cmdline", "-t", "create"], || {
        make(&mut old, &dir, "b");
        let new = new.insert(waiting(&dir, &after));
        until_there(&dir.join("after"));
        make(new, &dir, "a");
    });
    end(old);
    new.into_iter().for_each(end);
    let names: Vec<_> = events.iter().map(Event::name).collect();
    assert_eq!(names, ["b", "after", "a"]);
    assert_eq!(words(&events[0]), Some(joined(&before)));
    assert_eq!(words(&events[1]), Some(joined(&after)));
    assert_eq!(words(&events[2]), Some(joined(&after)));
    let from: Vec<_> = events.iter().filter_map(|event| event.text("cmdline_from")).collect();
    let new = from_exec(is_told());
    assert_eq!(from, ["proc", new, new]);
}

#[test]
fn of_a_long_one_the_beginning_is_told_and_that_it_goes_on() {
    if !is_root() {
        return;
    }
    let area = Area::new();
    let dir = area.watched();
    let head = joined(&["whole".into(), "".into()]).len();
    let word = |bytes: usize| OsString::from("x".repeat(bytes));
    let many: Vec<OsString> = (0..10_000).map(|i| format!("word{i:06}").into()).collect();
    let cases = [
        vec!["whole".into(), word(BYTES_MAX - head)],
        vec!["longr".into(), word(BYTES_MAX - head + 1)],
        vec!["one12".into(), word(100_000)],
        [vec!["many1".into()], many].concat(),
    ];
    let mut children = Vec::new();
    let events = record(&dir, &["--cmdline", "-t", "create"], || {
        for words in &cases {
            children.push(waiting(&dir, words));
            until_there(&dir.join(&words[0]));
        }
    });
    children.into_iter().for_each(end);
    for (at, case) in cases.iter().enumerate() {
        let event = events.iter().find(|event| *event.name() == *case[0]).expect("made");
        let mut expected = joined(case);
        assert_eq!(event.flag("cmdline_cut"), at > 0, "{at}");
        expected.truncate(BYTES_MAX);
        assert_eq!(words(event), Some(expected), "{at}");
    }
}

/// The last word of each process is the file that it makes. The shell that runs this makes files
/// too, as do its children and theirs, with and without an exec.
const CHAIN: &str = r#"
for i in $(seq 150); do
    touch "touch,$1,$i"
    sh -c ': > "$0"' "once,$1,$i"
    sh -c ': > "$0"; exec sh -c ": > \"\$0\"" "$0,twice"' "first,$1,$i"
    sh -c '( : > "$0" ); true' "child,$1,$i"
    cp /dev/null "copy,$1,$i"
done
: > "$0"
"#;
const ROUNDS: usize = 150;
const FILES_A_ROUND: usize = 6;

/// Its words or none; and that they are read disturbs nothing else.
fn is_right(event: &Event) -> bool {
    let (words, name) = (words(event), event.name());
    let cmd = match name.split(',').next() {
        Some("touch") => "touch",
        Some("copy") => "cp",
        _ => "sh",
    };
    words.is_none_or(|words| words.rsplit(|byte| *byte == 0).next() == Some(name.as_bytes()))
        && event.text("cmd") == Some(cmd)
        && event.text("attribution").is_none()
}

/// One test at a time runs chains: one takes processors away, and then the events of others are not sure of
/// their process.
static ALONE: Mutex<()> = Mutex::new(());

fn alone() -> MutexGuard<'static, ()> {
    ALONE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What happened, `count` chains side by side; each event is checked.
fn chains(count: usize, args: &[&str], check: fn(&Event) -> bool) -> Vec<Event> {
    // A filesystem of its own: what other tests do must not fill the queue.
    let mut area = Area::new();
    let dir = area.tmpfs("own", "size=64m");
    let events = record(&dir, &[&["--cmdline", "-t", "create,close_write"], args].concat(), || {
        let chain = |i: usize| {
            let (script, own, number) = (CHAIN, format!("chain{i}"), i.to_string());
            let mut shell = Command::new("/bin/sh");
            shell.args(["-euc", script, &own, &number, &own]).current_dir(&dir);
            shell.spawn().expect("started")
        };
        let all: Vec<_> = (0..count).map(chain).collect();
        for mut chain in all {
            assert!(chain.wait().expect("a child").success());
        }
    });
    let made = || events.iter().filter(|event| event.kind() == "CREATE");
    assert_eq!(made().count(), count * (ROUNDS * FILES_A_ROUND + 1));
    // A program waits for a reader that is held up amid a read, but for no more than 40 ms (`PATIENCE` in
    // cold/bpf/look.rs): a virtual machine's processor can be away for longer. Then an event says that it is
    // not sure. None is wrong, and such ones are rare.
    let is_unsure = |event: &&Event| event.text("attribution") == Some("ambiguous");
    let odd = || events.iter().filter(|event| !check(event));
    assert!(odd().filter(is_unsure).count() * 1000 <= events.len(), "many are ambiguous");
    let wrong: Vec<_> = odd().filter(|event| !is_unsure(event)).collect();
    assert!(wrong.is_empty(), "{} of {} wrong, first {:#?}", wrong.len(), events.len(), wrong[0]);
    // Processes lacked it until now if at all; what outlives its first change has it.
    let own = || made().filter(|event| event.name().starts_with("chain"));
    assert!(own().count() == count && own().all(|event| words(event).is_some()));
    events
}

/// Its words whole: those that CHAIN gives to who makes a file of that name.
fn expected(name: &str) -> Vec<u8> {
    let at = name.strip_suffix(",twice").unwrap_or(name);
    let script = |script: &str, name: &str| ["sh", "-c", script, name].join("\0");
    let kind = name.split(',').next().unwrap_or_default();
    let number = kind.strip_prefix("chain");
    let words = match kind {
        _ if name != at => script(r#": > "$0""#, name),
        "touch" => ["touch", name].join("\0"),
        "copy" => ["cp", "/dev/null", name].join("\0"),
        "once" => script(r#": > "$0""#, name),
        "first" => script(r#": > "$0"; exec sh -c ": > \"\$0\"" "$0,twice""#, name),
        "child" => script(r#"( : > "$0" ); true"#, name),
        _ => ["/bin/sh", "-euc", CHAIN, name, number.expect("a chain"), name].join("\0"),
    };
    words.into_bytes()
}

fn has_its_own(events: &[Event]) {
    let has = |event: &&Event| {
        words(event) == Some(expected(&event.name())) && event.text("cmdline_from") == Some("exec")
    };
    // `chains` has seen that the unsure ones are rare: they have the words before or after.
    let is_sure = |event: &&Event| event.text("attribution") != Some("ambiguous");
    let without: Vec<_> = events.iter().filter(is_sure).filter(|event| !has(event)).collect();
    let count = without.len();
    assert!(without.is_empty(), "{count} of {}, first {:#?}", events.len(), without[0]);
}

#[test]
fn with_bpf_every_process_has_its_own_however_short_it_lives() {
    if !is_root() || !is_told() {
        return;
    }
    let _alone = alone();
    has_its_own(&chains(1, &[], is_right));
    has_its_own(&chains(4, &["--backend", "poll"], is_right));
    has_its_own(&chains(4, &["--backend", "uring"], is_right));
    has_its_own(&chains(8, &["--batch-window", "200ms"], is_right));
}

/// Takes a processor away for milliseconds at a time, as the host of a virtual machine does: above
/// every thread of fsmon's.
const TAKES_AWAY: &str = r#"
import random, time
while True:
    until = time.monotonic() + random.uniform(0.001, 0.008)
    while time.monotonic() < until: pass
    time.sleep(random.uniform(0, 0.06))
"#;

struct TakesAway(Child);

impl TakesAway {
    fn of(cpu: usize) -> Self {
        let mut command = Command::new("chrt");
        command.args(["-f", "50", "taskset", "-c", &cpu.to_string(), "python3", "-c", TAKES_AWAY]);
        TakesAway(command.spawn().expect("chrt of util-linux"))
    }
}

impl Drop for TakesAway {
    fn drop(&mut self) {
        let ended = self.0.try_wait().expect("a child");
        self.0.kill().and_then(|()| self.0.wait()).expect("killed");
        assert!(
            ended.is_none() || std::thread::panicking(),
            "chrt, taskset and python3: {ended:?}"
        );
    }
}

/// The reader is held up in the midst of reads: who changes meanwhile waits for it.
#[test]
fn with_bpf_every_process_has_its_own_though_processors_are_taken_away() {
    if !is_root() || !is_told() {
        return;
    }
    let _alone = alone();
    let _taken: Vec<_> = (0..2).map(TakesAway::of).collect();
    has_its_own(&chains(4, &[], is_right));
}

/// The words lie on two pages or more, and there are as many as an exec takes.
#[test]
fn with_bpf_the_words_are_whole_wherever_they_lie() {
    if !is_root() || !is_told() {
        return;
    }
    let area = Area::new();
    let dir = area.watched();
    let script = r#": > "$0""#;
    let name = |len: usize| format!("{len:06}");
    let lens: Vec<usize> = (1..4200).step_by(13).chain([100_000, 130_000]).collect();
    let events = record(&dir, &["--cmdline", "-t", "create"], || {
        for &len in &lens {
            let mut shell = Command::new("/bin/sh");
            shell.args(["-c", script, &name(len), &"x".repeat(len)]).current_dir(&dir);
            succeed(shell.env("ROOM", "y".repeat(len % 977)));
        }
    });
    assert_eq!(events.len(), lens.len());
    for (event, &len) in events.iter().zip(&lens) {
        let mut expected = ["/bin/sh", "-c", script, &name(len), &"x".repeat(len)].join("\0");
        assert_eq!(event.flag("cmdline_cut"), expected.len() > BYTES_MAX);
        expected.truncate(BYTES_MAX);
        assert!(words(event) == Some(expected.into_bytes()), "{len}");
        assert_eq!(event.text("cmdline_from"), Some("exec"));
    }
}

#[test]
fn short_lived_processes_have_their_own_or_none() {
    if is_root() {
        let _alone = alone();
        chains(1, &["--who", "tracepoint"], is_right);
        chains(4, &["--backend", "poll", "--who", "tracepoint"], is_right);
        chains(4, &["--backend", "uring", "--who", "comm"], is_right);
    }
}

#[test]
fn what_could_be_anothers_is_left_out() {
    if !is_root() {
        return;
    }
    for who in ["connector", "proc"] {
        let area = Area::new();
        let dir = area.watched();
        let running = Fsmon::watch(&dir, &["--cmdline", "--who", who]);
        let child = waiting(&dir, &["name".into()]);
        until_there(&dir.join("name"));
        let ended = running.stop();
        end(child);
        let events = ended.events();
        assert!(!events.is_empty() && events.iter().all(|event| words(event).is_none()));
        let said = "command lines are left out";
        assert!(ended.stderr.iter().any(|line| line.contains(said)), "{:#?}", ended.stderr);
    }
}

fn watch_as(format: &str, dir: &Path, args: &[&str]) -> Vec<u8> {
    let running = Fsmon::start(fsmon(["-f", format, "-t", "create"]).args(args).arg(dir));
    let mut child = waiting(dir, &["name".into(), "it's".into(), "".into()]);
    until_there(&dir.join("name"));
    make(&mut child, dir, "more");
    let ended = running.stop();
    ended.assert_complete();
    end(child);
    sh(dir, "rm -f *");
    ended.stdout
}

#[test]
fn every_format_tells_it_when_asked_and_only_then() {
    if !is_root() {
        return;
    }
    let area = Area::new();
    let (dir, stream) = (area.watched(), area.path("stream"));
    let expected = joined(&["name".into(), "it's".into(), "".into()]);
    let asked = parse(&watch_as("json", &dir, &["--cmdline"]));
    assert!(asked.len() == 2 && asked.iter().all(|event| words(event) == Some(expected.clone())));
    let not_asked = parse(&watch_as("json", &dir, &[]));
    assert!(not_asked.iter().all(|event| !event.0.keys().any(|key| key.starts_with("cmdline"))));

    let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("UTF-8");
    let human = text(watch_as("human", &dir, &["--cmdline"]));
    assert!(human.lines().all(|line| line.ends_with(r#"done' name 'it\'s' '')"#)), "{human}");
    let told = is_told();
    let before = if told { "" } else { "/proc: " };
    let start = format!("/name  ({before}/bin/sh -c ': > \"$0\"; while");
    assert!(human.contains(&start), "{human}");

    let csv = text(watch_as("csv", &dir, &[]));
    assert!(
        csv.lines()
            .next()
            .expect("a header")
            .ends_with(",exec_b64,object,via,via_b64,from,stream,events,note"),
        "{csv}"
    );
    let csv = text(watch_as("csv", &dir, &["--cmdline"]));
    let mut lines = csv.lines();
    let header = lines.next().expect("a header");
    assert!(header.ends_with(
        ",via_b64,from,stream,events,note,cmdline,cmdline_from,cmdline_cut,cmdline_b64"
    ));
    let end = format!(r#",""name"",""it's"",""""]",{},,"#, from_exec(told));
    assert!(lines.all(|line| line.ends_with(&end)), "{csv}");

    let to_stream = ["--cmdline", "-o", stream.to_str().expect("UTF-8")];
    watch_as("binary", &dir, &to_stream);
    let decode = |args: &[&str]| {
        parse(&succeed(fsmon(["decode", "-f", "json"]).args(args).arg(&stream)).stdout)
    };
    let keys = |events: &[Event]| -> Vec<Vec<String>> {
        events.iter().map(|event| event.0.keys().cloned().collect()).collect()
    };
    let decoded = decode(&["--cmdline"]);
    assert!(decoded.iter().all(|event| words(event) == Some(expected.clone())));
    assert_eq!(keys(&decoded), keys(&asked));
    assert!(decode(&[]).iter().all(|event| event.0.get("cmdline").is_none_or(Value::is_null)));
}

/// In lines, and in what is recorded.
#[test]
fn secrets_are_hidden_before_anything_is_shown() {
    if !is_root() {
        return;
    }
    let area = Area::new();
    let (dir, stream) = (area.watched(), area.path("recorded.fsmon"));
    let words_of =
        ["f", "--password=hunter2", "--token", "hunter2", "-phunter2", "A_TOKEN=hunter2", "-v"];
    let expected = "f\0--password=…\0--token\0…\0…\0A_TOKEN=…\0-v";
    let script = "sh -c 'rm \"$0\"' f --password hunter2 && API_KEY='hunter2' true";
    for format in ["json", "binary"] {
        let mut command =
            fsmon(["-f", format, "--cmdline", "--redact", "-p?*", "-t", "create,delete"]);
        let running = Fsmon::start(command.arg("-o").arg(&stream).arg(&dir));
        let made =
            Command::new("sh").args(["-c", ": > \"$0\""]).args(words_of).current_dir(&dir).status();
        assert!(made.is_ok_and(|status| status.success()));
        sh(&dir, script);
        running.stop();
        let recorded = std::fs::read(&stream).expect("written");
        assert!(!recorded.windows(7).any(|part| part == b"hunter2"), "{format}");
        let events = match format {
            "json" => parse(&recorded),
            _ => Fsmon::run(fsmon(["decode", "-f", "json", "--cmdline"]).arg(&stream)).events(),
        };
        let found: Vec<_> = events.iter().filter(|event| event.kind() == "CREATE").collect();
        assert_eq!(found.len(), 1, "{events:?}");
        for event in found {
            let words = String::from_utf8(words(event).expect("known")).expect("UTF-8");
            assert!(words.ends_with(expected), "{words:?}");
        }
        std::fs::remove_file(&stream).expect("there");
    }
    let ended = Fsmon::run(fsmon(["--redact", "x"]).arg(&dir));
    ended.assert_failed(2, &["--cmdline"]);
}

//! Binary streams in files: compressed, in segments, growing, cut off, damaged, searched by time.

use fsmon_harness::{Area, Event, Fsmon, fsmon, is_root, is_root_with, parse, sh, succeed};
use nix::sys::signal::Signal;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output};

/// Short-lived processes, names of every kind, renames of directories, in and out.
const WORK: &str = r#"
for i in $(seq 60); do
    mkdir -p "d$i/sub"
    for j in 1 2 3 4 5; do echo x > "d$i/sub/file with a name $j"; sh -c ': > "$0"' "d$i/$j.o"; done
    mv "d$i/1.o" "d$i/sub/moved"; mv "d$i" "e$i"; mv "e$i/2.o" ../aside; mv ../aside "e$i/back"
    touch "$(printf 'not\377utf8 %d' "$i")" "$(printf 'new\nline %d' "$i")"
    rm "e$i/3.o"
done
"#;

fn record_into(args: &[&str], output: &Path, dir: &Path) -> Fsmon {
    Fsmon::start(fsmon(["-f", "binary"]).args(args).arg("-o").arg(output).arg(dir))
}

fn decoded(stream: &Path, args: &[&str]) -> Output {
    fsmon(["decode", "-f", "json"]).args(args).arg(stream).output().expect("started")
}

/// Waits until a recording that is being written has so many events of these types.
fn wait_recorded(stream: &Path, types: &str, count: usize) {
    fsmon_harness::wait_until(&format!("{count} events are recorded"), || {
        parse(&decoded(stream, &["-t", types]).stdout).len() >= count
    });
}

fn lines(stream: &Path, args: &[&str]) -> Vec<Event> {
    parse(&succeed(fsmon(["decode", "-f", "json"]).args(args).arg(stream)).stdout)
}

/// What is said on standard error.
fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// All but when: two that watch read at moments of their own.
fn essence(events: &[Event]) -> Vec<Event> {
    let mut events = events.to_vec();
    events.iter_mut().for_each(|event| drop(event.0.remove("time")));
    events
}

fn files(dir: &Path) -> Vec<PathBuf> {
    let mut files: Vec<_> =
        fs::read_dir(dir).expect("a directory").map(|entry| entry.expect("read").path()).collect();
    files.sort();
    files
}

#[test]
fn every_way_to_store_a_stream_tells_what_json_tells() {
    if !is_root() {
        return;
    }
    let area = Area::new();
    let dir = area.watched();
    let ways: [&[&str]; 7] = [
        &[],
        &["--compress", "lz4"],
        &["--compress", "zstd"],
        &["--rotate", "20K"],
        &["--compress", "lz4", "--rotate", "20K"],
        &["--compress", "zstd-window"],
        &["--compress", "zstd-window", "--rotate", "20K"],
    ];
    let output = |way: usize| match ways[way].contains(&"--rotate") {
        true => area.path(&format!("segments{way}/")),
        false => area.path(&format!("stream{way}")),
    };
    let live = Fsmon::watch(&dir, &[]);
    let others: Vec<_> =
        (0..ways.len()).map(|way| record_into(ways[way], &output(way), &dir)).collect();
    sh(&dir, WORK);
    let live = live.stop();
    live.assert_complete();
    let wanted = essence(&live.events());
    assert!(wanted.len() > 1500);
    for (way, running) in others.into_iter().enumerate() {
        running.stop().assert_complete();
        let found = essence(&lines(&output(way), &[]));
        let differ = wanted.iter().zip(&found).find(|(wanted, found)| wanted != found);
        assert!(differ.is_none() && wanted.len() == found.len(), "{:?}: {differ:#?}", ways[way]);
    }
    assert!(files(&output(3)).len() > 5, "{:?}", files(&output(3)));
    let size = |way: usize| fs::metadata(output(way)).expect("there").len();
    let sizes = [0, 1, 2, 5].map(size);
    assert!(sizes[1] < sizes[0] / 2 && sizes.is_sorted_by(|a, b| a > b), "{sizes:?}");
}

#[test]
fn text_can_be_rotated_too() {
    if !is_root() {
        return;
    }
    let area = Area::new();
    let (dir, out) = (area.watched(), area.path("out/"));
    for (format, extension) in [("json", "json"), ("csv", "csv")] {
        let mut command = fsmon(["-f", format, "--rotate", "1K", "-t", "create"]);
        let running = Fsmon::start(command.arg("-o").arg(&out).arg(&dir));
        for round in 0..30 {
            sh(&dir, &format!("touch a{round} b{round}"));
            // It is cut where something was written out: each round by itself.
            fsmon_harness::wait_until("the round is written", || {
                let own = |path: &PathBuf| path.extension().is_some_and(|e| e == extension);
                let texts = files(&out).into_iter().filter(own).map(fs::read_to_string);
                let created = |text: String| text.matches("CREATE").count();
                texts.map_while(Result::ok).map(created).sum::<usize>() == 2 * (round + 1)
            });
        }
        running.stop().assert_complete();
        sh(&dir, "rm *");
        let files = files(&out);
        let mine = files.iter().filter(|path| path.extension().is_some_and(|e| e == extension));
        let texts: Vec<_> = mine.map(|path| fs::read_to_string(path).expect("UTF-8")).collect();
        // The last one may have nothing to tell.
        let is_whole = |text: &String| text.is_empty() || text.ends_with('\n');
        assert!(texts.len() > 2 && texts.iter().all(is_whole), "{texts:#?}");
        let created = |text: &String| text.matches("CREATE").count();
        assert_eq!(texts.iter().map(created).sum::<usize>(), 60);
        let heads = texts.iter().filter(|text| text.starts_with("time,")).count();
        assert_eq!(heads, if format == "csv" { texts.len() } else { 0 });
    }
}

#[test]
fn of_all_segments_the_newest_are_kept_and_what_is_missing_is_known() {
    if !is_root() {
        return;
    }
    let area = Area::new();
    let (dir, out) = (area.watched(), area.dir("out/"));
    fs::write(out.join("notes.fsmon.bak"), "mine").expect("written");
    let running = record_into(&["--rotate", "10K", "--keep", "3"], &out, &dir);
    sh(&dir, WORK);
    running.stop().assert_complete();
    let kept = files(&out);
    assert_eq!(kept.len(), 4, "{kept:?}");
    // What is left is the end of it, whole; one taken out of the middle is missed.
    let all = lines(&out, &[]);
    assert_eq!(all.last().map(Event::kind), Some("DELETE"));
    // A loss of power or a full disk can leave such a file, whatever the clock said. Everything else is printed.
    for time in ["20200101T000000Z", "20990101T000000Z"] {
        let empty = out.join(format!("{time}-00000000-000000.fsmon"));
        fs::write(&empty, "").expect("written");
        let told = decoded(&out, &[]);
        assert_eq!(told.status.code(), Some(1));
        assert!(said(&told).contains("fsmon is empty"), "{}", said(&told));
        assert_eq!(parse(&told.stdout).len(), all.len());
        fs::remove_file(&empty).expect("there");
    }
    fs::remove_file(&kept[1]).expect("removed");
    let strict = decoded(&out, &[]);
    assert_eq!(strict.status.code(), Some(1));
    assert!(said(&strict).contains("blocks are missing"), "{}", said(&strict));
    let salvaged = decoded(&out, &["--salvage"]);
    let left = parse(&salvaged.stdout);
    assert_eq!(salvaged.status.code(), Some(1));
    let missing = all.len() - left.len();
    assert!(missing > 0 && said(&salvaged).contains("missing"), "{}", said(&salvaged));
}

#[test]
fn a_file_is_written_by_one() {
    if !is_root() {
        return;
    }
    let area = Area::new();
    let (dir, out) = (area.watched(), area.path("out"));
    for format in ["binary", "json"] {
        let first = Fsmon::start(fsmon(["-f", format, "-o"]).arg(&out).arg(&dir));
        sh(&dir, "touch a");
        let second = Fsmon::run(fsmon(["-f", format, "-o"]).arg(&out).arg(&dir));
        second.assert_failed(1, &["another fsmon writes to it"]);
        sh(&dir, "rm a");
        first.stop().assert_complete();
        let text = if format == "json" { fs::read(&out) } else { Ok(decoded(&out, &[]).stdout) };
        assert!(parse(&text.expect("read")).len() >= 2);
    }
}

#[test]
fn arguments_that_do_not_go_together() {
    if !is_root() {
        return;
    }
    let area = Area::new();
    let (dir, out) = (area.watched(), area.path("out"));
    let out = out.to_str().expect("UTF-8");
    let in_dir = format!("{out}/");
    let cases: [(&[&str], &str); 6] = [
        (&["-f", "json", "--compress", "lz4"], "-f binary"),
        (&["-f", "binary", "-o", out, "--rotate", "1M"], "-o DIR/"),
        (&["-f", "binary", "-o", out, "--keep", "3"], "-o DIR/"),
        (&["-f", "binary", "-o", &in_dir, "--rotate", "10M", "--keep", "1M"], "keep more"),
        (&["-f", "binary", "-o", &in_dir, "--rotate", "10"], "100M"),
        (&["-f", "binary", "-o", "/proc/nothing/here/"], "directory"),
    ];
    for (args, remedy) in cases {
        let ended = Fsmon::run(fsmon(args).arg(&dir));
        assert!(ended.stderr.len() == 1 && ended.stderr[0].contains(remedy), "{:?}", ended.stderr);
        assert!(!ended.status.success() && !Path::new(out).exists());
    }
}

#[test]
fn a_follower_of_a_file_that_was_left_long_ago_says_so() {
    if !is_root() {
        return;
    }
    let area = Area::new();
    let (dir, stream) = (area.watched(), area.path("stream"));
    let running = record_into(&[], &stream, &dir);
    sh(&dir, "touch a");
    wait_recorded(&stream, "all", 3);
    running.signal(Signal::SIGKILL);
    running.wait();
    let output = follow(&stream).join().expect("no panic");
    assert_eq!((output.status.code(), parse(&output.stdout).len()), (Some(1), 3));
    assert!(said(&output).contains("cut off"), "{}", said(&output));
}

/// A decoder that follows, and what it gave in the end.
fn follow(stream: &Path) -> std::thread::JoinHandle<Output> {
    let stream = stream.to_owned();
    std::thread::spawn(move || decoded(&stream, &["--follow"]))
}

#[test]
fn a_follower_goes_from_segment_to_segment_and_ends_with_the_stream() {
    if !is_root() {
        return;
    }
    let area = Area::new();
    let (dir, out) = (area.watched(), area.path("out/"));
    let running = record_into(&["--rotate", "20K", "--compress", "lz4"], &out, &dir);
    let of_dir = follow(&out);
    let of_file = follow(&files(&out)[0]);
    sh(&dir, WORK);
    running.stop().assert_complete();
    let whole = succeed(fsmon(["decode", "-f", "json"]).arg(&out)).stdout;
    assert!(files(&out).len() > 3);
    for follower in [of_dir, of_file] {
        let output = follower.join().expect("no panic");
        assert!(output.status.success() && output.stderr.is_empty(), "{}", said(&output));
        assert!(output.stdout == whole, "{} bytes of {}", output.stdout.len(), whole.len());
    }
}

#[test]
fn what_was_cut_off_before_does_not_end_a_follower_that_salvages() {
    if !is_root() {
        return;
    }
    let area = Area::new();
    let (dir, out) = (area.watched(), area.path("out/"));
    let killed = record_into(&[], &out, &dir);
    sh(&dir, "touch a");
    wait_recorded(&out, "create", 1);
    killed.signal(Signal::SIGKILL);
    killed.wait();
    let running = record_into(&["--rotate", "20K"], &out, &dir);
    let mut command = fsmon(["decode", "-f", "json", "--follow", "--salvage", "-t", "create"]);
    let follower = Fsmon::spawn_read(command.arg(&out));
    sh(&dir, "touch b");
    follower.wait_until("both", |events| events.len() == 2);
    sh(&dir, "touch c");
    running.stop().assert_complete();
    let ended = follower.wait();
    let names: Vec<_> = ended.events().iter().map(Event::name).collect();
    assert_eq!(names, ["a", "b", "c"]);
    assert_eq!((ended.status.code(), ended.stderr.len()), (Some(1), 2));
}

#[test]
fn what_is_still_being_written_is_read_as_far_as_it_is() {
    if !is_root() {
        return;
    }
    let area = Area::new();
    let dir = area.watched();
    for out in [area.path("stream"), area.path("segments/")] {
        let running = record_into(&[], &out, &dir);
        sh(&dir, "touch a");
        wait_recorded(&out, "create", 1);
        let output = decoded(&out, &["-t", "create"]);
        assert_eq!(parse(&output.stdout).len(), 1);
        assert!(output.status.success() && said(&output).contains("still being written"));
        running.signal(Signal::SIGKILL);
        running.wait();
        let output = decoded(&out, &["-t", "create"]);
        assert_eq!((parse(&output.stdout).len(), output.status.code()), (1, Some(1)));
        assert!(said(&output).contains("cut off"), "{}", said(&output));
        sh(&dir, "rm a");
    }
}

#[test]
fn a_growing_file_is_followed_whoever_writes_it() {
    if !is_root() {
        return;
    }
    let area = Area::new();
    let (dir, stream, copy) = (area.watched(), area.path("stream"), area.path("copy"));
    let running = record_into(&[], &stream, &dir);
    sh(&dir, "for i in $(seq 2000); do : > $i; done; rm -f *");
    running.stop().assert_complete();
    let bytes = fs::read(&stream).expect("read");
    fs::write(&copy, b"").expect("written");
    let follower = follow(&copy);
    let mut file = fs::OpenOptions::new().append(true).open(&copy).expect("opened");
    for piece in bytes.chunks(10_007) {
        std::io::Write::write_all(&mut file, piece).expect("written");
        // So that the follower sees it grow: in how many steps is left to chance.
        std::thread::sleep(std::time::Duration::from_millis(5));
    }
    let output = follower.join().expect("no panic");
    assert!(output.status.success(), "{}", said(&output));
    assert!(output.stdout == decoded(&stream, &[]).stdout);
}

#[test]
fn a_followed_file_that_is_written_anew_is_no_longer_followed() {
    if !is_root() {
        return;
    }
    let area = Area::new();
    let (dir, stream) = (area.watched(), area.path("stream"));
    let running = record_into(&[], &stream, &dir);
    sh(&dir, "touch a");
    wait_recorded(&stream, "all", 3);
    running.signal(Signal::SIGKILL);
    running.wait();
    // Somebody, such as a copy under way, writes to it.
    let writer = fs::OpenOptions::new().write(true).open(&stream).expect("there");
    writer.lock().expect("locked");
    let mut command = fsmon(["decode", "-f", "json", "--follow"]);
    let follower = Fsmon::spawn_read(command.arg(&stream));
    follower.wait_until("what was written", |events| events.len() == 3);
    writer.set_len(100).expect("cut");
    let ended = follower.wait();
    assert_eq!((ended.status.code(), ended.events().len()), (Some(1), 3));
    assert!(ended.last_words().contains("written anew"), "{:?}", ended.stderr);
}

/// Files named by numbers in order. In a process of its own: what a thread here has open would be
/// open in every program that is started at that moment.
const STORM: &str = r#"
import itertools, os, sys
for number in map(str, itertools.count()):
    os.close(os.open(number, os.O_CREAT | os.O_WRONLY))
    os.unlink(number)
"#;

struct Storm(Child);

impl Storm {
    fn over(dir: &Path) -> Self {
        let mut command = Command::new("python3");
        Storm(command.args(["-c", STORM]).current_dir(dir).spawn().expect("python3"))
    }
}

impl Drop for Storm {
    fn drop(&mut self) {
        self.0.kill().and_then(|()| self.0.wait()).expect("it went on until now");
    }
}

/// Whether these are the events of the storm from some moment to another, none missing. Of the file
/// that was open when the watch began some are: whether a file is watched the kernel looks up when it
/// is opened (seen on 6.18).
fn assert_unbroken(events: &[Event]) {
    let told: Vec<_> = events.iter().map(|event| (event.kind(), event.name())).collect();
    let created = |(_, (kind, _)): &(usize, &(&str, _))| *kind == "CREATE";
    let Some((begun, (_, first))) = told.iter().enumerate().filter(created).nth(1) else { return };
    let first: u64 = first.parse().expect("a number");
    let expected = (first..).flat_map(|number| {
        ["CREATE", "CLOSE_WRITE", "DELETE"].map(|kind| (kind, number.to_string()))
    });
    let unlike = told[begun..].iter().zip(expected).position(|(told, expected)| *told != expected);
    let around = |at: usize| &told[at.saturating_sub(8)..(begun + at + 8).min(told.len())];
    assert!(begun <= 5 && unlike.is_none(), "{begun}, {unlike:?}: {:?}", unlike.map(around));
}

/// Killed amid a storm, so many times (FSMON_KILLS; 12): what the follower told is what was true up to some
/// moment, and it says where the stream ends.
#[test]
fn a_killed_writer_leaves_a_prefix_and_its_follower_says_so() {
    if !is_root() {
        return;
    }
    let area = Area::new();
    let (dir, mut told) = (area.watched(), 0);
    let _storm = Storm::over(&dir);
    let kills = std::env::var("FSMON_KILLS").map_or(12, |text| text.parse().expect("a number"));
    for round in 0..kills {
        let stream = area.path("stream");
        let args: [&[&str]; 2] = [&[], &["--compress", "lz4"]];
        let running = record_into(args[round % 2], &stream, &dir);
        let follower = follow(&stream);
        // At another moment in each round.
        std::thread::sleep(std::time::Duration::from_millis(20 + 13 * (round as u64 % 12)));
        running.signal(Signal::SIGKILL);
        running.wait();
        let output = follower.join().expect("no panic");
        let (events, words) = (parse(&output.stdout), said(&output));
        assert_unbroken(&events);
        told += events.len();
        assert_eq!(output.status.code(), Some(1));
        // Where nothing was written yet it is no stream at all.
        let is_told = words.contains("byte ") && words.contains("cut off");
        let is_told = is_told || words.contains("not an fsmon stream") && events.is_empty();
        assert!(is_told && words.lines().count() == 1, "{words}");
        // What is on disk says the same once more.
        let salvaged = decoded(&stream, &["--salvage"]);
        assert!(salvaged.stdout == output.stdout, "round {round}");
        fs::remove_file(&stream).expect("removed");
    }
    assert!(told > 10 * kills, "{told}");
}

#[test]
fn a_full_disk_leaves_what_decodes() {
    if !is_root_with(&["mount"]) {
        return;
    }
    let mut area = Area::new();
    let small = area.tmpfs("small", "size=512k");
    let dir = area.watched();
    for args in
        [&[][..], &["--compress", "zstd"], &["--compress", "zstd-window"], &["--rotate", "100K"]]
    {
        let out = if args.contains(&"--rotate") { small.join("out/") } else { small.join("out") };
        let running = record_into(args, &out, &dir);
        let storm = Storm::over(&dir);
        let ended = running.wait();
        drop(storm);
        sh(&dir, "rm -f *");
        ended.assert_failed(1, &["small", "No space left", "make room"]);
        let prefix = decoded(&out, &[]);
        let events = parse(&prefix.stdout);
        assert!(events.len() > 1000 && prefix.status.code() == Some(1), "{}", said(&prefix));
        assert_unbroken(&events);
        sh(&small, "rm -r *");
    }
}

#[test]
fn a_part_of_the_time_is_found() {
    if !is_root() {
        return;
    }
    let area = Area::new();
    let (dir, stream, segments) = (area.watched(), area.path("stream"), area.path("segments/"));
    let one = record_into(&[], &stream, &dir);
    let many = record_into(&["--rotate", "60K"], &segments, &dir);
    // Each pause is longer than what may be lost by a clock that is set back, so that blocks are passed over.
    for round in 0..4 {
        sh(&dir, &format!("for i in $(seq 4000); do : > {round}-$i; done; sleep 1.5; rm -f *"));
    }
    one.stop().assert_complete();
    many.stop().assert_complete();
    for recording in [&stream, &segments] {
        let all = lines(recording, &[]);
        let time = |at: usize| all[at].text("time").expect("each has one").to_owned();
        for (from, to) in [(0, 10), (all.len() / 3, all.len() / 2), (all.len() - 5, all.len() - 1)]
        {
            let (since, until) = (time(from), time(to));
            let within = |event: &&Event| {
                let time = event.text("time").expect("each has one");
                *since <= *time && *time <= *until
            };
            let wanted: Vec<_> = all.iter().filter(within).cloned().collect();
            let found = lines(recording, &["--since", &since, "--until", &until]);
            assert!(found == wanted && !found.is_empty(), "{} of {}", found.len(), wanted.len());
        }
        assert!(lines(recording, &["--until", "2020-01-01"]).is_empty());
        assert!(lines(recording, &["--since", "1ms", "-t", "create"]).is_empty());
        assert_eq!(lines(recording, &["--since", "1h"]).len(), all.len());
    }
}

#[test]
fn damage_ends_it_or_is_passed_over() {
    if !is_root() {
        return;
    }
    let area = Area::new();
    let (dir, stream) = (area.watched(), area.path("stream"));
    let running = record_into(&[], &stream, &dir);
    // Each round is in blocks of its own.
    for round in 1..=6 {
        sh(&dir, "for i in $(seq 300); do : > $i; done; rm -f *");
        wait_recorded(&stream, "delete", 300 * round);
    }
    running.stop().assert_complete();
    let (bytes, all) = (fs::read(&stream).expect("read"), lines(&stream, &[]));
    let broken = area.path("broken");
    let last = bytes.windows(4).rposition(|window| window == b"\xf5BK\x01").expect("a block");
    let cases: [(&str, Vec<u8>); 4] = [
        ("does not match its checksum", {
            let mut bytes = bytes.clone();
            let middle = bytes.len() / 2;
            bytes[middle] ^= 1;
            bytes
        }),
        ("cut off", bytes[..bytes.len() - 100].to_vec()),
        ("never written", [&bytes[..last], &[0; 10_000]].concat()),
        ("after the end", [&bytes[..], b"more"].concat()),
    ];
    for (fault, bytes) in cases {
        fs::write(&broken, &bytes).expect("written");
        let strict = decoded(&broken, &[]);
        let before = parse(&strict.stdout);
        let words = said(&strict);
        assert_eq!(strict.status.code(), Some(1), "{fault}");
        assert!(words.lines().count() == 1 && words.contains("byte "), "{words}");
        assert!(words.contains(fault) && words.contains("--salvage"), "{words}");
        assert!(all.starts_with(&before), "{fault}");
        let salvaged = decoded(&broken, &["--salvage"]);
        let rest = parse(&salvaged.stdout);
        assert!(rest.len() >= before.len() && rest.len() <= all.len());
        assert!(rest.iter().all(|event| all.contains(event)), "{fault}");
        assert!(said(&salvaged).contains("missing") && salvaged.status.code() == Some(1));
    }
}

/// Streams of every version that was ever written, and their lines.
#[test]
fn golden_streams_have_their_lines() {
    let golden = Path::new(env!("CARGO_MANIFEST_DIR")).join("crates/format/tests/golden");
    let streams = files(&golden);
    let streams = streams.iter().filter(|path| path.as_os_str().as_bytes().ends_with(b".fsmon"));
    let mut count = 0;
    for stream in streams {
        let found = succeed(fsmon(["decode", "-f", "json", "--chain", "--cmdline"]).arg(stream));
        let kept = stream.with_extension("json");
        if !kept.exists() {
            fs::write(&kept, &found.stdout).expect("written");
            panic!("{} was missing and is written now: look at it and keep it", kept.display());
        }
        assert_eq!(
            String::from_utf8_lossy(&found.stdout),
            fs::read_to_string(&kept).expect("read"),
            "{}",
            stream.display()
        );
        count += 1;
    }
    assert!(count >= 6);
}

/// A stream of a history: three gaps, from 23:50 to midnight, and what was recorded in the first moments after.
fn history() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("crates/format/tests/golden/v1-history.fsmon")
}

fn types(events: &[Event]) -> Vec<&str> {
    events.iter().filter_map(|event| event.text("event_type")).collect()
}

/// The reader of format 1.0 that FSMON_OLD names, such as one built from commit de58c44.
#[test]
fn an_old_reader_prints_the_same_events_of_a_history() {
    let (all, gaps) = (lines(&history(), &["--notes"]), ["GAP", "NOTE"]);
    let (recorder, events): (Vec<_>, Vec<_>) =
        all.into_iter().partition(|line| gaps.contains(&types(std::slice::from_ref(line))[0]));
    assert_eq!((recorder.len(), events.len()), (10, 5));
    let Some(old) = std::env::var_os("FSMON_OLD") else { return };
    let shown = succeed(Command::new(old).args(["decode", "-f", "json"]).arg(history())).stdout;
    assert_eq!(parse(&shown), events);
}

#[test]
fn notes_are_printed_on_request() {
    let notes = |args: &[&str]| {
        types(&lines(&history(), args)).into_iter().filter(|name| *name == "NOTE").count()
    };
    assert_eq!((notes(&[]), notes(&["--notes"]), notes(&["--notes", "-t", "delete"])), (0, 7, 7));
    assert_eq!(notes(&["--notes", "--until", "2025-12-31T23:59:59Z"]), 0);
}

/// Also where the search by time finds nothing else: in a file, and in a directory.
#[test]
fn a_gap_is_found_by_every_time_that_it_covers() {
    let area = Area::new();
    let dir = area.dir("history");
    fs::copy(history(), dir.join("a.fsmon")).expect("copied");
    for input in [history(), dir] {
        let shown = |args: &[&str]| types(&lines(&input, args)).join(" ");
        for args in [
            ["--since", "2025-12-31T23:55:00Z", "--until", "2025-12-31T23:56:00Z"],
            ["--since", "2025-12-31T23:00:00Z", "--until", "2025-12-31T23:50:00.2Z"],
        ] {
            assert_eq!(shown(&args), "GAP GAP GAP", "{args:?}");
        }
        assert_eq!(shown(&["--until", "2025-12-31T23:50:00Z"]), "");
        assert_eq!(shown(&["--since", "2026-01-01T00:00:01Z"]), "");
        let all = "GAP CREATE CLOSE_WRITE DELETE GAP GAP CREATE LOSS";
        assert_eq!(shown(&["--until", "2026-01-01T00:00:01Z"]), all);
        let all = "GAP GAP GAP CREATE LOSS";
        assert_eq!(shown(&["-t", "create", "--include", "after.o"]), all);
    }
}

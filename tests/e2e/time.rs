//! Wall time: a clock that is set while fsmon runs, searches by time, and how lines say when.
//!
//! The clock is set for fsmon alone, by a library that is loaded before the C library.

use fsmon_harness::{
    Area, Event, Fsmon, fsmon, is_root_with, parse, program, skip, succeed, wait_until,
    wait_written,
};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// `CLOCK_REALTIME` is ahead by as many seconds as the file says that `CLOCK_AHEAD` names.
const LIBRARY: &str = r#"
#define _GNU_SOURCE
#include <fcntl.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>
int clock_gettime(clockid_t clock, struct timespec *now) {
    long failed = syscall(SYS_clock_gettime, clock, now);
    if (failed || clock != CLOCK_REALTIME) return failed;
    char text[32] = {0};
    int fd = syscall(SYS_openat, AT_FDCWD, getenv("CLOCK_AHEAD"), O_RDONLY);
    if (fd < 0) return 0;
    syscall(SYS_read, fd, text, sizeof text - 1);
    syscall(SYS_close, fd);
    now->tv_sec += atol(text);
    return 0;
}
"#;

/// A clock of fsmon's own.
struct Clock {
    library: PathBuf,
    ahead: PathBuf,
}

impl Clock {
    fn new(area: &Area) -> Self {
        let (source, library) = (area.path("clock.c"), area.path("clock.so"));
        fs::write(&source, LIBRARY).expect("written");
        let mut cc = Command::new("cc");
        succeed(cc.args(["-shared", "-fPIC", "-O1", "-o"]).arg(&library).arg(source));
        let clock = Clock { library, ahead: area.path("ahead") };
        clock.set(0);
        clock
    }

    /// So many seconds ahead of that of this host, at once.
    fn set(&self, seconds: i64) {
        let new = self.ahead.with_extension("new");
        fs::write(&new, seconds.to_string()).expect("written");
        fs::rename(new, &self.ahead).expect("renamed");
    }

    /// A fsmon that goes by it.
    fn fsmon(&self, args: &[&str]) -> Command {
        let mut command = fsmon(args);
        command.env("LD_PRELOAD", &self.library).env("CLOCK_AHEAD", &self.ahead);
        command
    }
}

/// Makes so many files, one after the other.
fn make(dir: &Path, prefix: &str, count: usize) {
    for number in 0..count {
        fs::write(dir.join(format!("{prefix}-{number}")), "").expect("made");
    }
}

fn decode(args: &[&str], recording: &Path) -> String {
    let output = succeed(fsmon(["decode"]).args(args).arg(recording));
    String::from_utf8(output.stdout).expect("UTF-8")
}

fn decoded(args: &[&str], recording: &Path) -> Vec<Event> {
    parse(decode(&[&["-f", "json"], args].concat(), recording).as_bytes())
}

fn time(event: &Event) -> &str {
    event.text("time").expect("each has one")
}

/// Seconds since 1970.
fn seconds(moment: &str) -> i64 {
    let date = succeed(Command::new("date").args(["-u", "+%s", "-d", moment])).stdout;
    String::from_utf8_lossy(&date).trim().parse().expect("a number")
}

#[test]
fn the_first_event_after_a_step_has_the_new_time() {
    if !is_root_with(&["cc"]) {
        return;
    }
    let area = Area::new();
    let (dir, out, clock) = (area.watched(), area.path("out"), Clock::new(&area));
    let mut command = clock.fsmon(&["-f", "json", "-t", "create", "-o"]);
    let running = Fsmon::start(command.arg(&out).arg(&dir));
    let steps = [0, -3600, 7200, 7260, 0];
    for (number, ahead) in steps.into_iter().enumerate() {
        clock.set(ahead);
        make(&dir, &number.to_string(), 1);
        wait_written(&out, &format!("/{number}-0\""), 1);
    }
    running.stop().assert_complete();
    let events = parse(&fs::read(&out).expect("written"));
    let first = seconds(time(&events[0]));
    for (event, ahead) in events.iter().zip(steps) {
        // This test may itself take a while.
        let off = seconds(time(event)) - first - ahead;
        assert!((0..30).contains(&off), "{} {ahead}: {off}", event.name());
    }
    assert_eq!(events.len(), steps.len());
}

#[test]
fn what_was_written_while_the_clock_was_elsewhere_is_found() {
    if !is_root_with(&["cc"]) {
        return;
    }
    let area = Area::new();
    let (dir, clock) = (area.watched(), Clock::new(&area));
    let (one, many) = (area.path("one"), area.path("many/"));
    let start = |args: &[&str], to: &Path| {
        let mut command = clock.fsmon(&["-f", "binary", "-t", "create", "-o"]);
        Fsmon::start(command.arg(to).args(args).arg(&dir))
    };
    let running = [start(&[], &one), start(&["--rotate", "60K"], &many)];
    // Away and back within one file as well.
    let parts = [
        ("a", 0, 1500),
        ("b", -3600, 1500),
        ("c", 7200, 1500),
        ("d", 0, 30),
        ("e", -86_400, 5),
        ("f", 0, 1500),
    ];
    let mut made = 0;
    for (prefix, ahead, count) in parts {
        clock.set(ahead);
        make(&dir, prefix, count);
        made += count;
        // All of them are read before the clock is set again.
        for recording in [&one, &many] {
            wait_until("they come", || decoded(&[], recording).len() >= made);
        }
    }
    running.into_iter().for_each(|running| running.stop().assert_complete());
    assert!(fs::read_dir(&many).expect("made").count() > 4);
    for recording in [&one, &many] {
        let all = decoded(&[], recording);
        assert_eq!(all.len(), parts.iter().map(|part| part.2).sum::<usize>());
        for (prefix, _, count) in parts {
            let of_part = |event: &&Event| event.name().starts_with(prefix);
            let mut times: Vec<_> = all.iter().filter(of_part).map(time).collect();
            assert_eq!(times.len(), count);
            times.sort_unstable();
            let (since, until) = (times[0], times[count - 1]);
            for (since, until) in
                [(Some(since), Some(until)), (Some(since), None), (None, Some(until))]
            {
                let mut args = Vec::new();
                since.iter().for_each(|since| args.extend(["--since", since]));
                until.iter().for_each(|until| args.extend(["--until", until]));
                let is_within = |event: &&Event| {
                    since.is_none_or(|since| since <= time(event))
                        && until.is_none_or(|until| time(event) <= until)
                };
                let wanted: Vec<_> = all.iter().filter(is_within).cloned().collect();
                let found = decoded(&args, recording);
                assert!(found == wanted, "{prefix}: {} of {}", found.len(), wanted.len());
                args.push("--follow");
                assert_eq!(decoded(&args, recording).len(), wanted.len(), "{prefix}: followed");
            }
        }
    }
}

#[test]
fn what_fsmon_and_date_print_is_a_moment() {
    if !is_root_with(&["date"]) {
        return;
    }
    let area = Area::new();
    let (dir, out) = (area.watched(), area.path("out"));
    let mut command = fsmon(["-f", "binary", "-t", "create", "-o"]);
    let running = Fsmon::start(command.arg(&out).arg(&dir));
    make(&dir, "a", 3);
    running.stop().assert_complete();
    let all = decoded(&[], &out);
    let last = time(&all[2]);
    let at_last = all.iter().filter(|event| time(event) == last).count();
    assert_eq!(decoded(&["--since", last, "--until", last], &out).len(), at_last);
    for format in [None, Some("rfc3339"), Some("local"), Some("utc")] {
        let mut args: Vec<_> = format.iter().flat_map(|format| ["--time", format]).collect();
        let text = decode(&args, &out);
        let line = text.lines().last().expect("three");
        let moment = line.split(' ').next().expect("a time");
        args.extend(["--since", moment, "--until", moment]);
        assert_eq!(decode(&args, &out).lines().last(), Some(line), "{format:?}");
    }
    for format in
        ["+%s", "+@%s", "+%F %T", "+%FT%T%z", "-Is", "--iso-8601=ns", "-R", "+%F %T.%N %z"]
    {
        let date = succeed(Command::new("date").args(["-d", "-1 hour", format])).stdout;
        let date = String::from_utf8(date).expect("UTF-8");
        assert_eq!(decoded(&["--since", date.trim()], &out).len(), 3, "{format}");
        assert_eq!(decoded(&["--until", date.trim()], &out).len(), 0, "{format}");
    }
}

/// Whether this host knows what New York's clocks do; says so aloud if not.
fn has_zones() -> bool {
    let is_there = Path::new("/usr/share/zoneinfo/America/New_York").exists();
    if !is_there {
        skip("no time zones are installed");
    }
    is_there
}

/// Records one file a moment, `ahead` seconds from now.
fn recorded(area: &Area, clock: &Clock, moments: &[i64]) -> PathBuf {
    let (dir, out) = (area.watched(), area.path("moments"));
    let mut command = clock.fsmon(&["-f", "binary", "-t", "create", "-o"]);
    clock.set(moments[0]);
    let running = Fsmon::start(command.arg(&out).arg(&dir));
    for (number, ahead) in moments.iter().enumerate() {
        clock.set(*ahead);
        make(&dir, &number.to_string(), 1);
        // It is read before the clock is set again.
        wait_until("it comes", || decoded(&[], &out).len() > number);
    }
    running.stop().assert_complete();
    out
}

/// Seconds from now to a moment.
fn until(moment: &str) -> i64 {
    seconds(moment) - seconds("now")
}

#[test]
fn lines_say_when_the_day_or_the_offset_changes() {
    if !is_root_with(&["cc"]) || !has_zones() {
        return;
    }
    let area = Area::new();
    let clock = Clock::new(&area);
    let moments = [
        "2026-10-31T16:00:00Z",
        "2026-11-01T05:30:00Z",
        "2026-11-01T06:30:00Z",
        "2026-11-02T05:30:00Z",
    ];
    let out = recorded(&area, &clock, &moments.map(until));
    // Of lines that tell an event the beginning.
    let lines = |args: &[&str], columns: usize| {
        let mut command = fsmon(["decode"]);
        command.args(args).arg(&out).env("TZ", "America/New_York");
        let text = String::from_utf8(succeed(&mut command).stdout).expect("UTF-8");
        let begin = |line: &str| match line.starts_with("--") {
            true => line.to_owned(),
            false => line[..columns].to_owned(),
        };
        text.lines().map(begin).collect::<Vec<_>>()
    };
    let shown = lines(&[], 5);
    assert!(shown[0].starts_with("-- 2026-10-31 "), "{shown:#?}");
    assert_eq!(
        shown[1..],
        [
            "12:00",
            "-- 2026-11-01 --",
            "01:30",
            "-- 2026-11-01 UTC-05:00 --",
            "01:30",
            "-- 2026-11-02 --",
            "00:30"
        ]
    );
    assert_eq!(lines(&["--time", "local"], 16)[1], "2026-11-01T01:30");
    assert_eq!(lines(&["--time", "utc"], 16)[1], "2026-11-01T05:30");
    assert_eq!(lines(&["--time", "rfc3339"], 16)[2], "2026-11-01T06:30");
    assert_eq!(lines(&["--time", "delta"], 12).len(), moments.len());
}

#[test]
fn the_hour_that_comes_twice_is_searched_whole() {
    if !is_root_with(&["cc"]) || !has_zones() {
        return;
    }
    let area = Area::new();
    let clock = Clock::new(&area);
    let moments = ["2026-11-01T05:30:00Z", "2026-11-01T06:30:00Z"].map(until);
    let out = recorded(&area, &clock, &moments);
    let found = |args: &[&str]| {
        let mut command = fsmon(["decode", "-f", "json"]);
        let output = succeed(command.args(args).arg(&out).env("TZ", "America/New_York"));
        parse(&output.stdout).iter().map(Event::name).collect::<Vec<_>>()
    };
    assert_eq!(found(&["--since", "2026-11-01 01:00"]), ["0-0", "1-0"]);
    assert_eq!(found(&["--until", "2026-11-01 01:45"]), ["0-0", "1-0"]);
    assert_eq!(found(&["--since", "2026-11-01 01:45"]), ["1-0"]);
    let mut command = Command::new(program());
    command.args(["decode", "--since", "2026-03-08 02:30"]).arg(&out).env("TZ", "America/New_York");
    Fsmon::run(&mut command).assert_failed(2, &["2026-03-08 01:59:59", "2026-03-08 03:00:00"]);
}

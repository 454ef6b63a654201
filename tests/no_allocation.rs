//! Once it runs, no thread of fsmon allocates: a million events in each format, new directories and
//! processes included. The whole program under a counting allocator, in a process of its own, and
//! without the test runner.

#[path = "../engine/tests/counting/mod.rs"]
mod counting;

use fsmon_harness::{
    Area, is_at_least, is_root, own_mount_namespace, read_stats, wait_last_written, wait_until,
};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use std::fs::{self, File};
use std::io::{BufRead, BufReader, Lines, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStderr, Command, ExitCode, Stdio};

/// Set for the process that is fsmon.
const COUNTED: &str = "FSMON_COUNTED";
/// Files that are made, written, renamed and removed: four lines or more each.
const FILES: usize = 250_000;

fn main() -> ExitCode {
    if std::env::var_os(COUNTED).is_some() {
        std::thread::spawn(tell_when_asked);
        return fsmon_cli::main();
    }
    if is_root() {
        // The thread that follows mounts allocates when any come or go.
        own_mount_namespace().expect("root");
        for args in [
            "human",
            "json --chain --cmdline",
            "csv --hard-links",
            "binary",
            "binary --compress zstd-window",
        ] {
            nothing_is_allocated(args, Ground::Tmpfs);
        }
        nothing_is_allocated("json", Ground::Overlay);
    }
    ExitCode::SUCCESS
}

/// For each byte on standard input one line on standard error. Allocates nothing itself.
fn tell_when_asked() {
    while let Ok(1) = nix::unistd::read(std::io::stdin(), &mut [0]) {
        let _ = writeln!(std::io::stderr(), "allocations {}", counting::allocations());
    }
}

struct Counted {
    child: Child,
    said: Lines<BufReader<ChildStderr>>,
}

impl Counted {
    fn start(args: &str, out: &Path, stats: &Path, dir: &Path) -> Self {
        let mut child = Command::new(std::env::current_exe().expect("this program"))
            .env(COUNTED, "1")
            .arg("-f")
            .args(args.split(' '))
            .arg("-o")
            .args([out, Path::new("--stats"), stats, dir])
            .stdin(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("started");
        let said = BufReader::new(child.stderr.take().expect("asked for")).lines();
        let mut counted = Counted { child, said };
        counted.line("fsmon: ready");
        counted
    }

    /// What follows on the next line that begins so.
    fn line(&mut self, words: &str) -> String {
        let mut lines = self.said.by_ref().map_while(Result::ok);
        let line = lines.find_map(|line| line.strip_prefix(words).map(str::to_owned));
        line.unwrap_or_else(|| panic!("never said {words}"))
    }

    fn allocations(&mut self) -> u64 {
        self.child.stdin.as_ref().expect("asked for").write_all(b"?").expect("it runs");
        self.line("allocations ").parse().expect("a number")
    }
}

/// What the work is done on.
#[derive(Clone, Copy)]
enum Ground {
    Tmpfs,
    /// On a tmpfs, over a directory that has something in it: directories that are new are heard by the upper
    /// layer, others by marks.
    Overlay,
}

impl Ground {
    /// `None`, said aloud, where there is none.
    fn dir(self, area: &mut Area) -> Option<PathBuf> {
        let tmpfs = area.tmpfs("fs", "size=64m");
        match self {
            Ground::Tmpfs => Some(tmpfs),
            Ground::Overlay if !is_at_least(6, 5) => None,
            Ground::Overlay => {
                let lower = area.dir("lower");
                fs::create_dir_all(lower.join("a")).expect("made");
                area.overlay("merged", &lower, &tmpfs, "redirect_dir=off")
            }
        }
    }
}

fn nothing_is_allocated(args: &str, ground: Ground) {
    let mut area = Area::new();
    let (out, stats) = (area.path("out"), area.path("stats"));
    let Some(dir) = ground.dir(&mut area) else { return };
    let mut counted = Counted::start(args, &out, &stats, &dir);
    // The name of a user is asked of the C library once, and that allocates.
    File::create(dir.join("first")).expect("made");
    wait_written(args, &out, "first");
    // The main thread goes to sleep after it said that it is ready.
    let stat = format!("/proc/{}/stat", counted.child.id());
    // proc(5): pid (comm) state.
    wait_until("the main thread sleeps", || {
        let stat = fs::read_to_string(&stat).expect("it runs");
        stat.rsplit_once(") ").is_some_and(|(_, rest)| rest.starts_with('S'))
    });
    let before = counted.allocations();
    work(&dir);
    File::create(dir.join("the-last-one")).expect("made");
    wait_written(args, &out, "the-last-one");
    let allocations = counted.allocations() - before;
    kill(Pid::from_raw(counted.child.id().cast_signed()), Signal::SIGINT).expect("it runs");
    counted.line("fsmon: ");
    assert!(counted.child.wait().expect("a child").success());
    let events = read_stats(&stats)["events"].as_u64().expect("a number");
    assert!(events >= 1_000_000, "{args}: only {events} events");
    assert_eq!(allocations, 0, "{args}: in {events} events");
    println!("nothing was allocated in {events} events, {args}");
}

/// Waits until the output tells of this file.
fn wait_written(args: &str, out: &Path, name: &str) {
    if !args.contains("--compress") {
        return wait_last_written(out, name);
    }
    wait_until(&format!("{name} is written"), || {
        let mut command = Command::new(std::env::current_exe().expect("this program"));
        let command = command.env(COUNTED, "1").args(["decode", "-f", "csv", "--include"]);
        let told = command.arg(format!("**/{name}")).arg(out).stdin(Stdio::null()).output();
        told.is_ok_and(|told| String::from_utf8_lossy(&told.stdout).contains(name))
    });
}

/// Two at a time, in directories that come and go, and a process now and then.
fn work(dir: &Path) {
    std::thread::scope(|scope| {
        for name in ["a", "b"] {
            scope.spawn(move || (0..FILES / 2).for_each(|i| file(&dir.join(name), i)));
        }
    });
}

fn file(top: &Path, i: usize) {
    let dir = top.join((i / 100).to_string());
    if i.is_multiple_of(100) {
        fs::create_dir_all(&dir).expect("made");
    }
    let (made, moved) = (dir.join(format!("{i}.tmp")), dir.join(i.to_string()));
    File::create(&made).expect("made").write_all(b"x").expect("written");
    fs::rename(&made, &moved).expect("renamed");
    fs::remove_file(&moved).expect("removed");
    if i % 100 == 99 {
        let touched = Command::new("/bin/sh").args(["-c", ": > x"]).current_dir(&dir).status();
        assert!(touched.is_ok_and(|status| status.success()));
        fs::remove_dir_all(&dir).expect("removed");
    }
}

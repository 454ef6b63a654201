//! What every end-to-end test needs: a directory, a fsmon that watches it, its lines, and the replay oracle that judges
//! them. [`oracle`] and [`situations`] know nothing of fsmon: the engine's simulator uses them, too.

mod alone;
mod event;
mod kernel;
mod lines;
mod mounts;
pub mod oracle;
mod replay;
mod running;
pub mod situations;
mod sources;
mod steps;
mod tree;

pub use alone::{Alone, Sysctl, alone};

pub use event::{Event, briefs, parse, parse_whole};
pub use kernel::{backends, has_bpf, is_at_least};
pub use mounts::{
    assert_unwatched, is_marked_one_by_one, is_mounted_below, lines_with_losses,
    own_mount_namespace, own_mounts, says_one_by_one, settled_lines, wait_mounted, wait_said_of,
    wait_unmounted,
};
pub use replay::{Listing, Verdict, assert_follows, listing, replay};
pub use running::{Ended, Fsmon, PATIENCE, read_stats};
pub use sources::{archive_of, cargo_home};
pub use steps::{named, record_in_steps, watch_in_steps, whole};
pub use tree::Area;

use std::ffi::OsStr;
use std::fs::File;
use std::io::{Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

/// The program under test: what FSMON names, or the one built with the tests.
pub fn program() -> PathBuf {
    std::env::var_os("FSMON").map_or_else(built_program, PathBuf::from)
}

/// Tests are in `deps`, examples in `examples`; programs are beside these directories.
fn built_program() -> PathBuf {
    let own = std::env::current_exe().unwrap_or_default();
    own.ancestors().nth(2).unwrap_or(&own).join("fsmon")
}

/// The bench of this workspace, built first as the tests were.
pub fn bench() -> PathBuf {
    build(&["--package", "fsmon-bench"]).join("fsmon-bench")
}

/// An example of this package, likewise.
pub fn example(name: &str) -> PathBuf {
    build(&["--package", "fsmon", "--example", name]).join("examples").join(name)
}

/// Builds as the tests were built, and gives the directory.
fn build(what: &[&str]) -> PathBuf {
    let program = built_program();
    let dir = program.parent().expect("it is in a directory");
    let mut command = Command::new(env!("CARGO"));
    command.args(["build", "--quiet", "--target-dir"]);
    command.arg(dir.parent().expect("that of a profile")).args(what);
    if dir.ends_with("release") {
        command.arg("--release");
    }
    succeed(command.current_dir(env!("CARGO_MANIFEST_DIR")));
    dir.into()
}

/// A command line of fsmon.
pub fn fsmon<A: AsRef<OsStr>>(args: impl IntoIterator<Item = A>) -> Command {
    let mut command = Command::new(program());
    command.args(args).env_remove("NO_COLOR");
    command
}

/// A fsmon where every user may run it: the build directory may be closed to others.
pub fn public_fsmon(area: &Area) -> PathBuf {
    let path = area.path("public-fsmon");
    copy_program(&program(), &path);
    path
}

/// Copies a program that is then run. A process of its own does it: what this one has open for writing is open as well
/// in a process that another test starts at that moment, and cannot be run until that runs its program (ETXTBSY).
pub fn copy_program(from: &Path, to: &Path) {
    succeed(Command::new("cp").args([from, to]));
}

/// Watches `dir` in JSON while `action` runs, and gives the events. What was said on standard
/// error must be that the record is complete.
pub fn record(dir: &Path, args: &[&str], action: impl FnOnce()) -> Vec<Event> {
    record_with(dir, args, |_| action())
}

/// The same; `action` can wait for lines.
pub fn record_with(dir: &Path, args: &[&str], action: impl FnOnce(&Fsmon)) -> Vec<Event> {
    let running = Fsmon::watch(dir, args);
    action(&running);
    let ended = running.stop();
    ended.assert_complete();
    ended.events()
}

/// The same with the types that a listing follows from, brief and relative to `dir`.
pub fn changes(dir: &Path, action: impl FnOnce()) -> Vec<String> {
    briefs(&record(dir, &["-t", "create,delete,rename"], action), dir)
}

/// Watches `dir` while `action` runs; the listing at the end must follow from the one at the
/// start and the lines.
pub fn record_and_replay(dir: &Path, args: &[&str], action: impl FnOnce()) -> Vec<Event> {
    record_and_replay_with(dir, args, |_| action())
}

/// The same; `action` can wait for lines.
pub fn record_and_replay_with(
    dir: &Path,
    args: &[&str],
    action: impl FnOnce(&Fsmon),
) -> Vec<Event> {
    let running = Fsmon::watch(dir, args);
    let start = listing(dir);
    action(&running);
    let ended = running.stop();
    ended.assert_complete_in(dir);
    let events = ended.events();
    replay::assert_follows(start, &events, dir);
    events
}

/// How often a workload that only repeats itself is to be done: `usual`, or as much of it as
/// FSMON_TEST_PERCENT says, for an emulated machine that is slow.
pub fn repeats(usual: usize) -> usize {
    let percent = std::env::var("FSMON_TEST_PERCENT");
    let percent = percent.map_or(100, |text| text.parse().expect("FSMON_TEST_PERCENT: a number"));
    (usual * percent / 100).max(1)
}

/// `umount` for scripts: fsmon opens a filesystem when it is mounted, and EBUSY is the answer for that moment.
const UMOUNT: &str = "umount() { n=0; until command umount \"$@\"; do \
                      n=$((n+1)); [ $n -lt 500 ] || return 32; sleep 0.01; done }; ";

/// Runs a shell script in `dir`; it must succeed.
pub fn sh(dir: &Path, script: &str) {
    let script =
        if script.contains("umount") { format!("{UMOUNT}{script}") } else { script.into() };
    succeed(Command::new("/bin/sh").args(["-euc", &script]).current_dir(dir));
}

/// Runs a command; it must succeed.
pub fn succeed(command: &mut Command) -> Output {
    let output = command.output().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command:?}: {}: {said}", output.status);
    output
}

/// Whether a program is there.
pub fn is_installed(program: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).any(|dir| dir.join(program).is_file())
}

/// Says aloud that a test cannot run here; where all must run, that is a failure.
pub fn skip(why: &str) {
    let test = std::thread::current().name().unwrap_or("test").to_owned();
    // Not println: the test runner would keep it to itself.
    let _ = writeln!(std::io::stderr(), "SKIP {test}: {why}");
    let must_run = std::env::var("CI").is_ok_and(|value| value == "true");
    assert!(!must_run, "{test} was skipped although CI=true: {why}");
}

/// Whether this is root; says so aloud if not.
pub fn is_root() -> bool {
    let is_root = nix::unistd::geteuid().is_root();
    if !is_root {
        skip("watching needs root");
    }
    is_root
}

/// Whether this is root and all these programs are there; says so aloud if not.
pub fn is_root_with(programs: &[&str]) -> bool {
    let missing: Vec<_> = programs.iter().filter(|program| !is_installed(program)).collect();
    if !missing.is_empty() {
        skip(&format!("not installed: {missing:?}"));
    }
    missing.is_empty() && is_root()
}

/// Waits until words stand so many times in what was written to a file.
#[track_caller]
pub fn wait_written(file: &Path, words: &str, times: usize) {
    wait_until(&format!("{words} stands {times} times in {}", file.display()), || {
        std::fs::read_to_string(file).is_ok_and(|text| text.matches(words).count() >= times)
    });
}

/// Waits until a name stands near the end of an output, which may be a binary stream that is not compressed.
#[track_caller]
pub fn wait_last_written(file: &Path, name: &str) {
    const NEAR: u64 = 64 << 10;
    wait_until(&format!("{name} is written to {}", file.display()), || {
        let Ok(mut opened) = File::open(file) else { return false };
        let len = opened.metadata().map_or(0, |metadata| metadata.len());
        let mut end = Vec::new();
        let read = opened.seek(SeekFrom::Start(len.saturating_sub(NEAR)));
        let read = read.and_then(|_| opened.read_to_end(&mut end));
        read.is_ok() && end.windows(name.len()).any(|part| part == name.as_bytes())
    });
}

/// Waits until something is so.
#[track_caller]
pub fn wait_until(what: &str, mut is_so: impl FnMut() -> bool) {
    let deadline = std::time::Instant::now() + PATIENCE;
    while !is_so() {
        assert!(std::time::Instant::now() < deadline, "never: {what}");
        std::thread::sleep(std::time::Duration::from_millis(10));
    }
}

//! `exe` is the file that runs, as the process itself reads it in /proc/self/exe; `exec` is what was
//! given to exec.
//!
//! Each process here is a shell that writes what its own /proc/PID/exe says into the file that it
//! makes, so each CREATE has its answer beside it.

use fsmon_harness::{
    Area, Event, Fsmon, copy_program, fsmon, has_bpf, is_root_with, own_mounts, parse, record,
    succeed, wait_until,
};
use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// The shell's own words: its first argument is the file that it makes.
const TELL: &str = r#"exec >"$1"; readlink -n /proc/$$/exe"#;
/// The shell that is copied to where it is to run from.
const SHELL: &str = "/bin/sh";
/// In Linux, of a path that a program can be given.
const PATH_MAX: usize = 4096;
/// The longest path that is told whole, in bytes: there is room for ` (deleted)` behind it.
const WHOLE_MAX: usize = PATH_MAX - 10;

/// Whether exe is told with the exec here; where not, that is said.
fn is_told() -> bool {
    is_root_with(&["readlink", "mount", "unshare", "chroot"])
        && has_bpf("exe is not told with the exec")
}

/// The CREATE of that name.
#[track_caller]
fn made<'a>(events: &'a [Event], name: &str) -> &'a Event {
    let is_it = |event: &&Event| event.kind() == "CREATE" && event.name() == name;
    events.iter().find(is_it).unwrap_or_else(|| panic!("no {name}"))
}

/// Every CREATE has the exe that its file says; gives how many there are.
#[track_caller]
fn assert_as_written(events: &[Event]) -> usize {
    let made = events.iter().filter(|event| event.kind() == "CREATE" && !event.flag("is_dir"));
    let mut count = 0;
    for event in made {
        let written = fs::read(event.path().expect("a path")).expect("what it wrote");
        let told = event.bytes("exe").unwrap_or_default();
        let (told, written) = (String::from_utf8_lossy(&told), String::from_utf8_lossy(&written));
        assert_eq!(told, written, "{event:?}");
        for flag in ["exe_late", "exe_unsure", "exe_cut"] {
            assert!(!event.flag(flag), "{event:?}");
        }
        assert_eq!(event.text("exe_root"), None, "{event:?}");
        count += 1;
    }
    count
}

/// A copy of the shell at that place. A process of its own makes it: what another test starts meanwhile would
/// have it open for writing for a moment, and then it cannot be run (ETXTBSY).
fn shell_at(path: &Path) -> PathBuf {
    fs::create_dir_all(path.parent().expect("a directory")).expect("made");
    succeed(Command::new("cp").arg(SHELL).arg(path));
    path.to_path_buf()
}

/// A command that writes into `file` what runs.
fn tell(program: impl AsRef<OsStr>, file: &Path) -> Command {
    let mut command = Command::new(program);
    command.args(["-c", TELL, "sh"]).arg(file);
    command
}

#[test]
fn thousands_of_processes_by_many_ways_are_each_known_under_load() {
    let mut area = Area::new();
    if !is_told() {
        return;
    }
    let (dir, tools) = (area.watched(), area.dir("tools"));
    let deep = (0..40).fold(tools.join("deep"), |path, level| path.join(format!("l{level}")));
    let mut programs = vec![
        shell_at(&tools.join("plain")),
        shell_at(&deep.join("tool")),
        shell_at(&tools.join("n".repeat(255)).join("m".repeat(255))),
        shell_at(&tools.join(OsStr::from_bytes(b"not \xff UTF-8\x1b[31m")).join("a\nb")),
        shell_at(&tools.join("ends (deleted)")),
    ];
    for (link, to) in [("link", "plain"), ("way", "deep")] {
        std::os::unix::fs::symlink(tools.join(to), tools.join(link)).expect("a link");
    }
    programs.extend([tools.join("link"), tools.join("way/l0/../l0/../../plain")]);
    let tools = tools.to_str().expect("UTF-8").to_owned();
    let bound = area.mount("bound", &["--bind", &tools]);
    let inner = area.mount("bound/deep/l0/l1", &["--bind", &tools]);
    let own = area.path("bound-file");
    fs::write(&own, "").expect("a file");
    programs.extend([bound.join("plain"), inner.join("link"), inner.join("plain")]);
    let tmpfs = area.tmpfs("tmpfs", "mode=755");
    programs.push(shell_at(&tmpfs.join("sub/tool")));
    let scratch = area.tmpfs("scratch", "mode=755");
    if let Some(overlay) = area.overlay("overlay", Path::new(&tools), &scratch, "index=off") {
        programs.extend([overlay.join("plain"), shell_at(&overlay.join("upper/tool"))]);
    }
    let of_file = ["--bind", &format!("{tools}/plain"), own.to_str().expect("UTF-8")];
    succeed(Command::new("mount").args(of_file));
    programs.push(own.clone());

    let rounds = fsmon_harness::repeats(50);
    let events = record(&dir, &["-t", "create"], || {
        std::thread::scope(|scope| {
            for worker in 0..4 {
                let (programs, dir) = (&programs, &dir);
                scope.spawn(move || {
                    for round in 0..rounds {
                        for (number, program) in programs.iter().enumerate() {
                            let file = dir.join(format!("{worker}-{round}-{number}"));
                            succeed(&mut tell(program, &file));
                        }
                    }
                });
            }
        });
    });
    succeed(Command::new("umount").arg(&own));
    assert_eq!(assert_as_written(&events), 4 * rounds * programs.len());
    let link = programs.iter().position(|path| path.ends_with("tools/link")).expect("there");
    let event = made(&events, &format!("0-0-{link}"));
    assert_eq!(event.text("exec"), programs[link].to_str());
}

#[test]
fn a_file_without_a_place_is_known_by_what_it_was() {
    let area = Area::new();
    if !is_told() || !is_root_with(&["python3"]) {
        return;
    }
    let (dir, bin) = (area.watched(), area.dir("bin"));
    shell_at(&bin.join("tool"));
    let script = r#"
import ctypes, os, sys
how, file, tell, bin = sys.argv[1:]
args = ["sh", "-c", tell, "sh", file]
if how == "memfd":
    fd = os.memfd_create("a name")
    os.write(fd, open("/bin/sh", "rb").read())
    os.execve(fd, args, {"PATH": "/usr/bin"})
if how == "deleted":
    fd = os.open(bin + "/tool", os.O_RDONLY)
    os.unlink(bin + "/tool")
    os.execve(fd, args, {"PATH": "/usr/bin"})
if how == "dirfd":
    fd = os.open(bin, os.O_RDONLY)
    os.set_inheritable(fd, True)
    argv = (ctypes.c_char_p * 6)(*[arg.encode() for arg in args], None)
    env = (ctypes.c_char_p * 2)(b"PATH=/usr/bin", None)
    ctypes.CDLL(None).syscall(322, fd, b"tool", argv, env, 0)
"#;
    let events = record(&dir, &["-t", "create"], || {
        for how in ["memfd", "dirfd", "deleted"] {
            let mut python = Command::new("python3");
            python.args(["-c", script, how]).arg(dir.join(how)).arg(TELL).arg(&bin);
            let _ = python.output().expect("python3");
        }
    });
    let tool = bin.join("tool").display().to_string();
    let is = |name: &str| made(&events, name).text("exe").map(str::to_owned);
    assert_eq!(is("memfd").as_deref(), Some("memfd:a name"));
    assert_eq!(is("deleted"), Some(format!("{tool} (deleted)")));
    let written = fs::read_to_string(dir.join("deleted")).expect("written");
    assert_eq!(is("deleted"), Some(written));
    if cfg!(target_arch = "x86_64") {
        assert_eq!(is("dirfd"), Some(tool));
        let exec = made(&events, "dirfd").text("exec").map(str::to_owned);
        assert!(exec.is_some_and(|exec| exec.ends_with("/tool")), "{events:?}");
    }
}

#[test]
fn relative_words_scripts_and_children_say_which_file_runs() {
    let area = Area::new();
    if !is_told() {
        return;
    }
    let (dir, bin) = (area.watched(), area.dir("bin"));
    let tool = shell_at(&bin.join("tool"));
    let script = bin.join("script");
    let text = area.path("text");
    fs::write(&text, format!("#!{}\n{TELL}\n", tool.display())).expect("written");
    fs::set_permissions(&text, std::os::unix::fs::PermissionsExt::from_mode(0o755)).expect("x");
    copy_program(&text, &script);
    let events = record(&dir, &["-t", "create"], || {
        succeed(tell("./tool", &dir.join("relative")).current_dir(&bin));
        succeed(Command::new("./script").arg(dir.join("script")).current_dir(&bin));
        // Its child runs nothing else.
        let forks = format!("({TELL}) & wait");
        succeed(Command::new(&tool).args(["-c", &forks, "sh"]).arg(dir.join("child")));
    });
    assert_eq!(assert_as_written(&events), 3);
    let exec = |name| made(&events, name).text("exec");
    assert_eq!((exec("relative"), exec("script")), (Some("./tool"), Some("./script")));
    assert_eq!(made(&events, "script").text("exe"), tool.to_str());
    assert_eq!((exec("child"), made(&events, "child").text("exe")), (tool.to_str(), tool.to_str()));
}

#[test]
fn in_a_changed_root_the_path_is_ours_and_in_another_namespace_its_own() {
    if !is_told() {
        return;
    }
    let Some(mut area) = own_mounts() else { return };
    let dir = area.watched();
    let root = area.mount("root", &["--rbind", "/"]);
    let bin = area.dir("bin");
    shell_at(&bin.join("tool"));
    let other = r#"mount -t tmpfs none "$0" && cp /bin/sh "$0/tool" && readlink -n /proc/self/ns/mnt >"$2" &&
        "$0/tool" -c "$1" sh "$3"; mkdir "$0/root" && mount --rbind / "$0/root" &&
        exec chroot "$0/root" /bin/sh -c "$1" sh "$4""#;
    let events = record(&dir, &["-t", "create"], || {
        let mut inside = Command::new("chroot");
        inside.arg(&root).args([SHELL, "-c", TELL, "sh"]).arg(dir.join("chroot"));
        succeed(&mut inside);
        let mut unshared = Command::new("unshare");
        unshared.args(["--mount", "sh", "-c", other]).arg(&bin).arg(TELL);
        let files = ["namespace", "unshared", "both"].map(|name| dir.join(name));
        succeed(unshared.args(files));
    });
    let read = |name: &str| fs::read_to_string(dir.join(name)).expect("written");
    let event = made(&events, "chroot");
    assert_eq!(event.text("exe"), Some(&*format!("{}{}", root.display(), read("chroot"))));
    assert_eq!(event.text("exe_root"), None);
    for name in ["unshared", "both"] {
        let event = made(&events, name);
        assert_eq!(event.text("exe"), Some(&*read(name)), "{name}");
        assert_eq!(event.text("exe_root"), Some(&*read("namespace")), "{name}");
    }
    assert_eq!(read("unshared"), bin.join("tool").display().to_string());
    assert!(read("both").starts_with("/usr/bin/") || read("both").starts_with("/bin/"));
}

/// Goes down from `base` until the path of a file `tool` in there has `len` bytes, and copies the
/// shell there. Every step is relative, as no path may be so long. Gives how the path ends.
fn shell_far_down(base: &Path, len: usize) -> (Vec<String>, String) {
    let mut left = len - base.as_os_str().len() - "/tool".len();
    let mut steps = Vec::new();
    while left > 0 {
        let step = if left > 300 { 200 } else { left.min(250) };
        steps.push("d".repeat(step - 1));
        left -= step;
    }
    let path = format!("{}/{}/tool", base.display(), steps.join("/"));
    assert_eq!(path.len(), len);
    (steps, path)
}

#[test]
fn the_longest_paths_are_whole_and_longer_ones_say_that_they_are_cut() {
    let area = Area::new();
    if !is_told() {
        return;
    }
    let dir = area.watched();
    let lens = [WHOLE_MAX - 1, WHOLE_MAX, WHOLE_MAX + 1, PATH_MAX - 1, PATH_MAX + 700];
    let mut paths = Vec::new();
    let events = record(&dir, &["-t", "create"], || {
        for len in lens {
            let (steps, path) = shell_far_down(&area.dir(&len.to_string()), len);
            let go = r#"cd "$0"; f=$1; t=$2; shift 2; for d; do mkdir -p "$d"; cd -P "$d"; done
                cp /bin/sh tool; exec ./tool -c "$t" sh "$f""#;
            let mut command = Command::new("sh");
            command.args(["-c", go]).arg(area.path(&len.to_string()));
            command.arg(dir.join(format!("at-{len}"))).arg(TELL).args(steps);
            // Of the longest readlink has nothing to say.
            let _ = command.output().expect("sh");
            paths.push(path);
        }
    });
    for (len, path) in lens.into_iter().zip(paths) {
        let event = made(&events, &format!("at-{len}"));
        let exe = event.text("exe").expect("it is told");
        assert_eq!(event.flag("exe_cut"), len > WHOLE_MAX, "{len}");
        if len > WHOLE_MAX {
            assert!(path.ends_with(&format!("/{exe}")) && exe.len() > 3000, "{len}: {exe}");
        } else {
            assert_eq!(exe, path, "{len}");
            assert_eq!(fs::read_to_string(dir.join(format!("at-{len}"))).expect("written"), path);
        }
    }
}

/// Levels between the two directories that are renamed: the walk from one to the other takes long.
const LEVELS: usize = 200;
/// How long all stays as it is between renames: longer than a walk.
const REST: Duration = Duration::from_micros(200);

#[test]
fn a_path_under_renames_is_one_that_was_or_says_unsure() {
    let area = Area::new();
    if !is_told() {
        return;
    }
    let (dir, tools) = (area.watched(), area.dir("tools"));
    let deep = "d/".repeat(LEVELS);
    let at = |above: &str, below: &str| tools.join(format!("{above}/mid/{deep}{below}"));
    fs::create_dir(tools.join("b")).expect("made");
    shell_at(&at("a", "one").join("tool"));
    let lower = |above, from, to| fs::rename(at(above, from), at(above, to)).expect("renamed");
    let upper = |from: &str, to: &str| {
        fs::rename(tools.join(from).join("mid"), tools.join(to).join("mid")).expect("renamed");
    };
    // The way from a/one to b/two and back, by b/one: never a/two.
    let valid = [("a", "one"), ("b", "one"), ("b", "two")]
        .map(|(above, below)| at(above, below).join("tool").display().to_string());
    let rest = || {
        let start = Instant::now();
        while start.elapsed() < REST {
            std::hint::spin_loop();
        }
    };
    let (over, count) = (AtomicBool::new(false), fsmon_harness::repeats(1000));
    let events = record(&dir, &["-t", "create"], || {
        // By its descriptor the program can be run wherever it is.
        let program = fs::File::open(at("a", "one").join("tool")).expect("opened");
        let program = format!("/proc/{}/fd/{}", std::process::id(), program_fd(&program));
        std::thread::scope(|scope| {
            scope.spawn(|| {
                while !over.load(Ordering::Relaxed) {
                    upper("a", "b");
                    lower("b", "one", "two");
                    rest();
                    lower("b", "two", "one");
                    upper("b", "a");
                    rest();
                }
            });
            for number in 0..count {
                let file = dir.join(format!("file-{number}"));
                succeed(Command::new(&program).args(["-c", ": >\"$0\""]).arg(file));
            }
            over.store(true, Ordering::Relaxed);
        });
    });
    let told: Vec<_> = events.iter().filter(|event| event.kind() == "CREATE").collect();
    assert_eq!(told.len(), count);
    let (mut sure, mut wrong) = (0, Vec::new());
    for event in told.iter().filter(|event| !event.flag("exe_unsure")) {
        let exe = event.text("exe").expect("it is told");
        sure += 1;
        if !valid.iter().any(|path| path == exe) {
            wrong.push(exe);
        }
    }
    assert!(wrong.is_empty(), "{} of {sure} were never there: {wrong:?}", wrong.len());
    assert!(sure > count / 2, "{sure} of {count}");
}

fn program_fd(file: &fs::File) -> i32 {
    std::os::fd::AsRawFd::as_raw_fd(file)
}

#[test]
fn a_stream_and_csv_say_the_same() {
    let area = Area::new();
    if !is_told() {
        return;
    }
    let (dir, bin, stream) = (area.watched(), area.dir("bin"), area.path("stream"));
    shell_at(&bin.join("tool"));
    let to = ["-f", "binary", "-t", "create", "-o", stream.to_str().expect("UTF-8")];
    let running = Fsmon::start(fsmon(to).arg(&dir));
    succeed(tell("./tool", &dir.join("file")).current_dir(&bin));
    running.stop().assert_complete();
    let decode = |format: &str| succeed(fsmon(["decode", "-f", format]).arg(&stream)).stdout;
    let events = parse(&decode("json"));
    assert_eq!(assert_as_written(&events), 1);
    let csv = String::from_utf8(decode("csv")).expect("UTF-8");
    let mut lines = csv.lines().map(|line| line.split(',').collect::<Vec<_>>());
    let (header, line) = (lines.next().expect("a header"), lines.next().expect("a line"));
    let column = |name: &str| {
        let at = header.iter().position(|column| *column == name);
        at.and_then(|at| line.get(at)).copied()
    };
    for field in ["exe", "exec"] {
        assert_eq!(column(field), events[0].text(field), "{csv}");
    }
}

#[test]
fn without_bpf_it_is_read_late_and_exec_is_what_was_given() {
    let area = Area::new();
    if !is_root_with(&["readlink"]) {
        return;
    }
    let (dir, bin) = (area.watched(), area.dir("bin"));
    let tool = shell_at(&bin.join("tool"));
    for who in ["tracepoint", "comm", "connector", "proc"] {
        let running = Fsmon::watch(&dir, &["-t", "create", "--who", who]);
        // It lives until its file was told.
        let mut child = tell("./tool", &dir.join(who)).current_dir(&bin).spawn().expect("runs");
        child.wait().expect("waited");
        let lives = r#": >"$0"; read -r _"#;
        let mut child = Command::new("./tool")
            .args(["-c", lives])
            .arg(dir.join(format!("{who}-lives")))
            .current_dir(&bin)
            .stdin(std::process::Stdio::piped())
            .spawn()
            .expect("runs");
        let file = dir.join(format!("{who}-lives"));
        wait_until("it made its file", || file.exists());
        let ended = running.stop();
        drop(child.stdin.take());
        child.wait().expect("waited");
        let events = ended.events();
        let event = made(&events, &format!("{who}-lives"));
        assert_eq!(event.text("exe"), tool.to_str(), "{who}: {event:?}");
        assert!(event.flag("exe_late"), "{who}: {event:?}");
        let exec = (who == "tracepoint").then_some("./tool");
        assert_eq!(event.text("exec"), exec, "{who}: {event:?}");
        let short = made(&events, who);
        assert!(short.text("exe").is_none() || short.flag("exe_late"), "{who}: {short:?}");
    }
}

#[test]
fn what_ran_before_is_read_at_the_start() {
    let area = Area::new();
    if !is_root_with(&["readlink"]) {
        return;
    }
    let (dir, bin) = (area.watched(), area.dir("bin"));
    let tool = shell_at(&bin.join("tool"));
    let mut child = Command::new("./tool")
        .args(["-c", r#"read -r _; : >"$0""#])
        .arg(dir.join("file"))
        .current_dir(&bin)
        .stdin(std::process::Stdio::piped())
        .spawn()
        .expect("runs");
    // It runs the tool once /proc says so.
    let link = format!("/proc/{}/exe", child.id());
    wait_until("it runs the tool", || fs::read_link(&link).is_ok_and(|exe| exe == tool));
    fs::rename(&tool, bin.join("moved")).expect("moved");
    fs::remove_file(bin.join("moved")).expect("removed");
    let events = record(&dir, &["-t", "create"], || {
        drop(child.stdin.take());
        child.wait().expect("waited");
    });
    let event = made(&events, "file");
    let moved = format!("{} (deleted)", bin.join("moved").display());
    assert_eq!((event.text("exe"), event.text("exec")), (Some(&*moved), None), "{event:?}");
    assert!(!event.flag("exe_late"), "{event:?}");
}

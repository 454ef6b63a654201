//! The table against the real kernel: thousands of short processes write what they are into the
//! names of the files that they make, and every one must have been known.

use super::*;
use crate::config;
use crate::sys::test_group::{Group, split};
use std::collections::HashMap;
use std::fs;
use std::os::fd::AsFd;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// perl that writes who it is: `comm~pid~ppid~uid~tag`.
const ME: &str = r#"sub me { my $tag = shift; open(my $c, "<", "/proc/$$/comm"); my $n = <$c>;
chomp $n; $n =~ s/[^\w.-]/_/g; open(my $f, ">", "$ENV{D}/$n~$$~" . getppid() . "~$>~$tag"); print $f 1;
close $f; }"#;

/// The same in sh, without another process.
const ME_SH: &str = r#"me() { read -r n </proc/$$/comm; while read -r k a e r; do case $k in
PPid:) p=$a;; Uid:) u=$e; break;; esac; done </proc/$$/status; echo 1 >"$D/$n~$$~$p~$u~$1"; }"#;

fn write(path: &Path, text: &str, mode: u32) {
    fs::write(path, text).expect("write a script");
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).expect("chmod");
}

/// Programs of many kinds in `tools`, and a driver that runs them `count` times.
fn set_up(tools: &Path, count: usize) {
    let perl = fs::read("/usr/bin/perl").expect("perl");
    let suid = tools.join("suidperl");
    fs::write(&suid, perl).expect("copy perl");
    std::os::unix::fs::chown(&suid, Some(1234), Some(1234)).expect("chown");
    fs::set_permissions(&suid, fs::Permissions::from_mode(0o6755)).expect("chmod");
    let at = tools.display();
    let script = |name: &str, text: &str| write(&tools.join(name), text, 0o755);
    script("plain.pl", &format!("#!/usr/bin/perl\n{ME}\nme('plain'); me('again');\n"));
    script("plain.sh", &format!("#!/bin/sh\n{ME_SH}\nme script\n"));
    script("twice.sh", &format!("#!/bin/sh\n{ME_SH}\nme first\nexec {at}/plain.sh\n"));
    script("thrice.sh", &format!("#!/bin/sh\n{ME_SH}\nme one\nexec {at}/twice.sh\n"));
    script(
        "same.sh",
        &format!("#!/bin/sh\n{ME_SH}\nme same\nexec /bin/sh -c 'exec {at}/plain.pl'\n"),
    );
    script("rename.pl", &format!("#!/usr/bin/perl\n{ME}\nme('old'); $0 = 'renamed'; me('new');\n"));
    script("setuid.pl", &format!("#!/usr/bin/perl\n{ME}\n$) = 77; $> = 1000; me('uid');\n"));
    script(
        "forks.pl",
        &format!(
            "#!/usr/bin/perl\n{ME}\nfor (1..3) {{ if (!fork) {{ me('fork'); exit }} }} 1 while wait > 0;\n"
        ),
    );
    script(
        "fail.sh",
        &format!(
            "#!/bin/sh\n{ME_SH}\n{at}/bad.elf 2>/dev/null; me failed; PATH={at}/d1:{at}/d2 exec tool\n"
        ),
    );
    script(
        "fails.pl",
        &format!(
            "#!/usr/bin/perl\n{ME}\nme('a'); no warnings; exec('{at}/bad.elf'); me('b'); exec('{at}/plain.pl');\n"
        ),
    );
    // CLONE_PARENT and SIGCHLD: the child is its grandparent's.
    #[cfg(target_arch = "x86_64")]
    script(
        "sibling.pl",
        &format!(
            "#!/usr/bin/perl\n{ME}\nif (!syscall(56, 0x8000 | 17, 0, 0, 0, 0)) {{ me('sibling'); exit }} me('elder');\n"
        ),
    );
    #[cfg(not(target_arch = "x86_64"))]
    script("sibling.pl", "#!/usr/bin/perl\n");
    script("bad.elf", "\x7fELF nothing of the sort");
    for dir in ["d1", "d2"] {
        fs::create_dir(tools.join(dir)).expect("mkdir");
    }
    script("d2/tool", &format!("#!/bin/sh\n{ME_SH}\nme tool\n"));
    script(
        "suid.sh",
        &format!(
            "#!/bin/sh\n{ME_SH}\nme before\nexec {at}/suidperl -U -e '{}'\n",
            "do \"$ENV{T}/me.pl\"; me(q(suid));"
        ),
    );
    script("me.pl", &format!("{ME}\n1;\n"));
    let all = "plain.pl plain.sh twice.sh thrice.sh same.sh rename.pl setuid.pl forks.pl fail.sh suid.sh fails.pl sibling.pl";
    script(
        "driver.sh",
        &format!(
            "#!/bin/sh\ni=0\nwhile [ $i -lt {count} ]; do for t in {all}; do {at}/$t; done; i=$((i+1)); done; sleep 0.3\n"
        ),
    );
}

#[derive(Default)]
struct Score {
    right: u64,
    ambiguous: HashMap<String, u64>,
    wrong: Vec<String>,
    late: u64,
}

impl Score {
    fn judge(&mut self, who: &Processes, name: &str, pid: u32, made: bool, found: Answer) {
        let truth: Vec<&str> = name.split('~').collect();
        let [comm, is_pid, ppid, uid, tag] = truth[..] else { return };
        let proc = who.describe(found.image);
        let end = proc.comm.iter().position(|&byte| byte == 0).unwrap_or(16);
        let said = format!(
            "{}~{}~{}~{}~{tag}",
            String::from_utf8_lossy(&proc.comm[..end])
                .replace(|c: char| !c.is_ascii_alphanumeric() && !"_.-".contains(c), "_"),
            proc.pid,
            proc.ppid,
            proc.uid
        );
        let _ = (comm, is_pid, ppid, uid);
        match found.attribution {
            Attribution::Exact if said == name && proc.pid == pid => self.right += 1,
            Attribution::Ambiguous => {
                let closed = if made { "" } else { " closed" };
                *self.ambiguous.entry(format!("{tag}{closed}")).or_default() += 1;
            }
            Attribution::Late if said == name => self.late += 1,
            sure => self.wrong.push(format!("{name}: {said} {sure:?}")),
        }
    }
}

fn reader(
    group: &Group,
    who: &mut Processes,
    stop: &AtomicBool,
    pause: impl Fn(u64) -> Duration,
    dump: bool,
) -> Score {
    // As the reader is.
    crate::sys::thread::hurry();
    let mut score = Score::default();
    let mut buffer = vec![0; 16 << 10];
    let mut after_ns = clock::monotonic_ns();
    let mut rounds = 0;
    let mut cpu = 0;
    let (mut gauge, mut reads, mut index) = (who.gauge(), 0, 0);
    loop {
        let stopping = stop.load(Ordering::Relaxed);
        std::thread::sleep(pause(rounds));
        rounds += 1;
        loop {
            let before = clock::monotonic_ns();
            gauge.enter();
            let bytes = group.read(&mut buffer);
            reads += u32::from(!bytes.is_empty());
            gauge.leave(reads);
            if !bytes.is_empty() {
                who.note_read(reads - 1, gauge.last(), count(bytes));
            }
            let mut interval = Interval { after_ns, until_ns: clock::monotonic_ns(), index };
            let start = clock::thread_cpu_ns();
            who.drain(clock::monotonic_ns());
            let mut rest = bytes;
            while let Some((event, next)) = split(rest) {
                rest = next;
                let found = if event.mask & libc::FAN_OPEN_EXEC != 0 {
                    who.open_exec(event.pid, interval, event.name)
                } else {
                    who.resolve(event.pid, interval)
                };
                if dump {
                    let proc = who.describe(found.image);
                    eprintln!(
                        "{:6} {:#x} {} {} {}",
                        event.pid,
                        event.mask,
                        String::from_utf8_lossy(event.name),
                        String::from_utf8_lossy(&proc.comm).trim_end_matches('\0'),
                        proc.uid
                    );
                }
                let changes = event.mask & (libc::FAN_CREATE | libc::FAN_CLOSE_WRITE);
                let parts = match found.later {
                    0 => [(changes as u32, found)].into_iter().collect(),
                    _ => who.parts(found, event.pid, interval, event.mask as u32),
                };
                for (types, found) in parts.iter().filter(|(types, _)| types & changes as u32 != 0)
                {
                    let made = types & libc::FAN_CREATE as u32 != 0;
                    score.judge(who, &String::from_utf8_lossy(event.name), event.pid, made, *found);
                }
                interval.index += 1;
            }
            index = interval.index;
            cpu += clock::thread_cpu_ns() - start;
            if bytes.is_empty() {
                after_ns = before;
                who.retire(after_ns);
                break;
            }
        }
        if stopping {
            eprintln!("rounds {rounds}, cpu {} us", cpu / 1000);
            return score;
        }
    }
}

fn count(mut bytes: &[u8]) -> u32 {
    let mut count = 0;
    while let Some((_, next)) = split(bytes) {
        (bytes, count) = (next, count + 1);
    }
    count
}

/// With BPF nobody asks for openings of programs, so no marks for them.
fn watched(dir: &Path, openings: bool) -> Option<Group> {
    let group = match Group::new() {
        Ok(group) => group,
        Err(error) => {
            eprintln!("SKIP: no fanotify here: {error}");
            return None;
        }
    };
    let changes = libc::FAN_CREATE | libc::FAN_CLOSE_WRITE | libc::FAN_EVENT_ON_CHILD;
    group.mark(0, changes, dir).expect("mark the directory");
    if openings {
        let programs = group.mark(libc::FAN_MARK_FILESYSTEM, libc::FAN_OPEN_EXEC, Path::new("/"));
        programs.expect("mark the programs");
    }
    Some(group)
}

fn run(
    rung: config::Who,
    chains: usize,
    count: usize,
    openings: OpenExec,
    pause: impl Fn(u64) -> Duration + Send,
) -> Option<(Score, Processes)> {
    let dir = tempfile::tempdir().expect("a directory");
    fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o777)).expect("chmod");
    let (tools, made) = (dir.path().join("t"), dir.path().join("d"));
    fs::create_dir(&tools).expect("mkdir");
    fs::create_dir(&made).expect("mkdir");
    fs::set_permissions(&made, fs::Permissions::from_mode(0o777)).expect("chmod");
    set_up(&tools, count);
    let group = watched(&made, rung != config::Who::Auto)?;
    let mut who = match crate::cold::who::open(rung, 1 << 16, group.as_fd(), false) {
        Ok((who, _)) => who,
        Err(error) => {
            eprintln!("SKIP: {error}");
            return None;
        }
    };
    if rung == config::Who::Auto && who.rung() != Rung::Bpf {
        eprintln!("SKIP: no BPF here");
        return None;
    }
    who.set_openings(openings);
    let stop = AtomicBool::new(false);
    let dump = std::env::var_os("DUMP").is_some();
    let begun = Instant::now();
    let score = std::thread::scope(|scope| {
        let reader = scope.spawn(|| reader(&group, &mut who, &stop, pause, dump));
        let drivers: Vec<_> = (0..chains)
            .map(|_| {
                let mut driver = Command::new(tools.join("driver.sh"));
                driver.env("D", &made).env("T", &tools).spawn().expect("spawn")
            })
            .collect();
        for mut driver in drivers {
            driver.wait().expect("wait");
        }
        stop.store(true, Ordering::Relaxed);
        reader.join().expect("reader")
    });
    eprintln!(
        "{rung:?}, {chains} chains: {} right, {} late, ambiguous {:?}, {} wrong, {:?}, {:?}",
        score.right,
        score.late,
        score.ambiguous,
        score.wrong.len(),
        who.counters(),
        begun.elapsed()
    );
    for line in score.wrong.iter().take(20) {
        eprintln!("  {line}");
    }
    Some((score, who))
}

fn rounds(default: usize) -> usize {
    std::env::var("N").map_or(default, |n| n.parse().expect("N"))
}

/// With BPF nothing is ambiguous, unless the host stopped the reader in the middle of a read. Without, what leaves no trace among file events is: changes of
/// user and name without an exec (`old`, `new`, `uid`); an exec of the very interpreter that the
/// script before it had opened, as equal events merge (`same`). And of files that were made before an
/// exec the closing, where it was merged into the making; but never the making.
fn only_changes_are_ambiguous(score: &Score, who: &Processes) -> bool {
    let bpf = who.rung() == Rung::Bpf;
    if bpf && who.gauge().was_stopped() {
        eprintln!("the reader was stopped in the middle of a read");
        return true;
    }
    let closing = ["first", "one", "before", "failed", "a"].map(|tag| format!("{tag} closed"));
    score.ambiguous.keys().all(|tag| {
        let change = ["old", "new", "uid", "same"].contains(&tag.trim_end_matches(" closed"));
        !bpf && (change || closing.contains(tag))
    })
}

#[test]
fn everyone_is_known() {
    let pause = |_| Duration::from_millis(1);
    for rung in [config::Who::Auto, config::Who::Tracepoint] {
        let Some((score, who)) = run(rung, 4, rounds(5), OpenExec::All, pause) else {
            return;
        };
        assert!(score.wrong.is_empty() && score.late == 0 && score.right > 0);
        assert!(only_changes_are_ambiguous(&score, &who));
    }
}

#[test]
fn everyone_is_known_after_a_stall() {
    let pause = |_| Duration::from_millis(300);
    for rung in [config::Who::Auto, config::Who::Tracepoint] {
        let Some((score, who)) = run(rung, 4, rounds(5), OpenExec::All, pause) else {
            return;
        };
        assert!(score.wrong.is_empty() && score.late == 0 && score.right > 0);
        assert!(only_changes_are_ambiguous(&score, &who));
    }
}

/// More chains than cores, a consumer that stalls now and then, and room for few processes.
#[test]
fn everyone_is_known_in_a_crowd() {
    let pause = |round| Duration::from_millis(if round % 64 == 63 { 500 } else { 1 });
    let found = run(config::Who::Auto, 16, rounds(5).div_ceil(3), OpenExec::All, pause);
    let Some((score, who)) = found else { return };
    assert!(score.wrong.is_empty() && score.late == 0 && score.right > 0);
    assert!(only_changes_are_ambiguous(&score, &who));
}

/// Threads are their process, named by the thread that leads; vfork makes a process like fork.
#[test]
fn threads_and_vfork() {
    let dir = tempfile::tempdir().expect("a directory");
    let Some(group) = watched(dir.path(), true) else { return };
    let source = config::Who::Tracepoint;
    let Ok((mut who, _)) = crate::cold::who::open(source, 1 << 12, group.as_fd(), false) else {
        return eprintln!("SKIP: no source of processes here");
    };
    who.set_openings(OpenExec::All);
    let after_ns = clock::monotonic_ns();
    let threads: Vec<_> = (0..8)
        .map(|n| {
            let file = dir.path().join(format!("thread{n}"));
            let thread = std::thread::Builder::new().name(format!("other{n}"));
            thread.spawn(move || fs::write(file, "x").expect("write")).expect("spawn")
        })
        .collect();
    threads.into_iter().for_each(|thread| thread.join().expect("join"));
    // std spawns by posix_spawn, which is vfork and exec.
    let child =
        Command::new("/bin/sh").arg("-c").arg("echo >vforked").current_dir(dir.path()).spawn();
    let mut child = child.expect("sh");
    child.wait().expect("wait");
    let own = fs::read_to_string(format!("/proc/{}/comm", std::process::id())).expect("comm");
    let mut buffer = vec![0; 1 << 16];
    let mut rest = group.read(&mut buffer);
    let interval = Interval { after_ns, until_ns: clock::monotonic_ns(), index: 0 };
    who.drain(clock::monotonic_ns());
    let mut seen = 0;
    while let Some((event, next)) = split(rest) {
        rest = next;
        if event.mask & libc::FAN_OPEN_EXEC != 0 {
            who.open_exec(event.pid, interval, event.name);
            continue;
        }
        let Answer { image, attribution: sure, .. } = who.resolve(event.pid, interval);
        let proc = who.describe(image);
        let thread = event.name.starts_with(b"thread");
        let (pid, comm) =
            if thread { (std::process::id(), own.trim_end()) } else { (child.id(), "sh") };
        assert_eq!((proc.pid.get(), sure), (pid, Attribution::Exact));
        assert_eq!(&proc.comm[..comm.len()], comm.as_bytes());
        assert!(thread || proc.ppid == std::process::id());
        seen += 1;
    }
    assert!(seen >= 9);
}

/// The test drops messages on purpose, so that the table does not get them. After the loss is known, the table is
/// correct again.
#[test]
fn after_a_loss_the_table_is_true_again() {
    let group = Group::new();
    let Some((mut who, _)) = group.as_ref().ok().and_then(|group| {
        crate::cold::who::open(config::Who::Auto, 1 << 12, group.as_fd(), false).ok()
    }) else {
        return eprintln!("SKIP: no source of processes here");
    };
    let mut child = Command::new("sleep").arg("100").spawn().expect("sleep");
    std::thread::sleep(Duration::from_millis(20));
    // Drops all messages about the child.
    let Processes { sources, inbox, table, .. } = &mut who;
    sources.read(&mut table.strings, &mut table.args, inbox);
    inbox.messages.clear();
    assert!(who.table.pids.get(child.id()).is_none());
    who.feed_connector_loss();
    who.drain(clock::monotonic_ns());
    let loss = who.take_loss().expect("a loss");
    assert!(loss.count.is_none() && loss.first_ns < loss.last_ns && who.take_loss().is_none());
    let interval = |after_ns| Interval { after_ns, until_ns: clock::monotonic_ns(), index: 0 };
    let before = who.resolve(child.id(), interval(loss.first_ns));
    assert_eq!(before.attribution, Attribution::Late);
    let Answer { image, attribution: sure, .. } = who.resolve(child.id(), interval(loss.last_ns));
    let proc = who.describe(image);
    assert_eq!((&proc.comm[..6], sure), (&b"sleep\0"[..], Attribution::Exact));
    assert_eq!(proc.ppid, std::process::id());
    child.kill().expect("kill");
    child.wait().expect("wait");
}

#[test]
fn without_openings_nothing_is_guessed() {
    let pause = |_| Duration::from_millis(20);
    let rung = config::Who::Tracepoint;
    let Some((score, _)) = run(rung, 2, rounds(5), OpenExec::None, pause) else {
        return;
    };
    assert!(score.wrong.is_empty() && score.late == 0);
}

#[test]
fn lower_rungs_say_what_they_are() {
    for rung in [config::Who::Comm, config::Who::Connector, config::Who::Proc] {
        let pause = |_| Duration::from_millis(1);
        let Some((score, who)) = run(rung, 4, rounds(5), OpenExec::All, pause) else { return };
        assert!(score.right + score.late > 0 && crate::cold::who::probe(rung).0.who == rung);
        assert!(who.rung() != Rung::Comm || score.wrong.is_empty());
    }
}

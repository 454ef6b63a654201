//! `--per-filesystem`: several readers in one fsmon, each with a queue, a ring and a formatter of its
//! own, into one output.

use fsmon_harness::{
    Area, Event, Fsmon, Listing, assert_follows, fsmon, is_root, is_root_with, parse, read_stats,
    sh, succeed, wait_until,
};
use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Short-lived processes that name themselves, and directories that move while they do.
const WORK: &str = r#"
for i in $(seq 150); do
    mkdir -p "d$i/sub"
    for j in 1 2 3; do sh -c 'echo x > "$0.$$"' "d$i/sub/f$j"; done
    mv "d$i" "e$i"; echo y > "e$i/y"; mv "e$i/sub" "e$i/up"
    [ $((i % 3)) = 0 ] && rm -r "e$i"
done; true
"#;
const FILES: usize = 150 * 3;

/// Two filesystems, a directory of each, and one more directory of the first.
fn roots(area: &mut Area) -> [PathBuf; 3] {
    let [one, two] = ["one", "two"].map(|name| area.tmpfs(name, "size=64m"));
    let roots = [one.join("a"), two.join("b"), one.join("c")];
    roots.iter().for_each(|root| fs::create_dir(root).expect("made"));
    roots
}

/// The same work in each of them at the same time.
fn work_in(roots: &[PathBuf]) {
    std::thread::scope(|scope| {
        for root in roots {
            scope.spawn(|| sh(root, WORK));
        }
    });
}

fn threads(running: &Fsmon, name: &str) -> usize {
    let tasks = fs::read_dir(format!("/proc/{}/task", running.pid())).expect("it runs");
    let names = tasks.map(|task| fs::read_to_string(task.expect("read").path().join("comm")));
    names.filter(|comm| comm.as_ref().is_ok_and(|comm| comm.trim_end() == name)).count()
}

/// A reader and a formatter for each of so many filesystems. A thread has its name once it runs,
/// which on a busy machine may be after fsmon said that it is ready.
fn assert_readers(running: &Fsmon, count: usize) {
    let seen = || (threads(running, "fsmon-reader"), threads(running, "fsmon-format"));
    wait_until(&format!("{count} readers and formatters"), || seen() == (count, count));
}

/// Every event is in its place and by who says so.
fn assert_exact(roots: &[PathBuf], events: &[Event]) {
    for root in roots {
        let own = |event: &&Event| {
            [event.path(), event.old_path()].iter().flatten().any(|path| path.starts_with(root))
        };
        let own: Vec<_> = events.iter().filter(own).cloned().collect();
        assert_follows(Listing::new(), &own, root);
        let made: Vec<_> = own
            .iter()
            .filter(|event| event.kind() == "CREATE" && event.name().starts_with('f'))
            .collect();
        assert_eq!(made.len(), FILES, "{}", root.display());
        for event in made {
            let pid = event.name().rsplit('.').next().and_then(|pid| pid.parse().ok());
            assert!(event.number("pid") == pid && event.text("cmd") == Some("sh"), "{event:?}");
        }
    }
}

#[test]
fn each_filesystem_has_its_reader_and_every_line_is_there() {
    if !is_root_with(&["mount"]) {
        return;
    }
    let mut area = Area::new();
    let (roots, out, stats) = (roots(&mut area), area.path("out"), area.path("stats"));
    let start = |format: &str| {
        let mut command = fsmon(["--per-filesystem", "-t", "create,delete,rename", "-f", format]);
        command.arg("--stats").arg(&stats).args(&roots);
        command
    };

    // A pipe that nobody reads for a while: both wait amid a long write.
    let (running, mut stdout) = Fsmon::start_unread(&mut start("json"));
    assert_readers(&running, 2);
    work_in(&roots);
    let reading = std::thread::spawn(move || {
        let mut text = Vec::new();
        stdout.read_to_end(&mut text).map(|_| text)
    });
    running.stop().assert_complete();
    let text = reading.join().expect("no panic").expect("read");
    let events = parse(&text);
    assert_exact(&roots, &events);
    let told = |key| read_stats(&stats)[key].as_u64();
    assert_eq!(told("bytes_out"), Some(text.len() as u64));
    assert_eq!(told("events"), Some(events.len() as u64));

    let running = Fsmon::start(start("csv").arg("-o").arg(&out));
    roots.iter().for_each(|root| sh(root, "rm -r ./*"));
    running.stop().assert_complete();
    let text = fs::read_to_string(&out).expect("UTF-8");
    let lines: Vec<_> = text.lines().collect();
    let headers = lines.iter().filter(|line| line.starts_with("time,")).count();
    assert!(lines[0].starts_with("time,") && headers == 1, "{}", lines[0]);
    assert_eq!(told("events"), Some(lines.len() as u64 - 1));
}

#[test]
fn each_writes_a_stream_of_its_own_and_a_follower_has_all() {
    if !is_root_with(&["mount"]) {
        return;
    }
    let mut area = Area::new();
    let (roots, out) = (roots(&mut area), area.path("out/"));
    let mut command = fsmon(["--per-filesystem", "-f", "binary", "-t", "create,delete,rename"]);
    let running = Fsmon::start(command.args(["--rotate", "40K", "-o"]).arg(&out).args(&roots));
    let decode = |args: &[&str], out: &Path| {
        let mut command: Command = fsmon(["decode", "-f", "json"]);
        parse(&succeed(command.args(args).arg(out)).stdout)
    };
    let followed = std::thread::scope(|scope| {
        let follower = scope.spawn(|| decode(&["--follow"], &out));
        work_in(&roots);
        // What is there of both while they are written to.
        assert!(!decode(&[], &out).is_empty());
        running.stop().assert_complete();
        follower.join().expect("no panic")
    });
    assert!(fs::read_dir(&out).expect("made").count() > 4);
    let mut all = decode(&[], &out);
    assert_exact(&roots, &all);
    assert_exact(&roots, &followed);
    assert_eq!(all.len(), followed.len());
    // The stream that began first goes on for longer than the other began before that moment.
    let time = |event: &Event| event.text("time").expect("told").to_owned();
    all.sort_by_key(time);
    let since = time(&all[all.len() / 2]);
    let later = all.iter().filter(|event| time(event) >= since).count();
    assert_eq!(decode(&["--since", &since], &out).len(), later);
}

#[test]
fn when_one_ends_all_do() {
    if !is_root_with(&["mount"]) {
        return;
    }
    let mut area = Area::new();
    let roots = roots(&mut area);
    let mut command = fsmon(["--per-filesystem", "-f", "json"]);
    let (mut running, stdout) = Fsmon::start_unread(command.args(&roots));
    drop(stdout);
    while running.is_running() {
        // Only one of the two finds out that nobody reads.
        sh(&roots[0], "touch f; rm f");
    }
    assert_eq!(running.wait().status.code(), Some(0));
}

#[test]
fn what_does_not_go_together_is_refused() {
    if !is_root() {
        return;
    }
    let mut area = Area::new();
    let (roots, out) = (roots(&mut area), area.path("out"));
    let mut command = fsmon(["--per-filesystem", "-f", "binary", "-o"]);
    Fsmon::run(command.arg(&out).args(&roots)).assert_failed(1, &["-o DIR/"]);
    Fsmon::run(fsmon(["--per-filesystem", "--count", "1"]).args(&roots))
        .assert_failed(2, &["--per-filesystem", "--count"]);
    assert!(!out.exists());
    // What is mounted below a root and has a reader itself is not missing.
    let below = area.tmpfs("one/a/below", "size=1m");
    let running = Fsmon::start(fsmon(["--per-filesystem"]).args([&roots[0], &below]));
    let ended = running.stop();
    assert!(!ended.stderr.iter().any(|line| line.contains("not watched")), "{:#?}", ended.stderr);
    sh(&area.path(""), "umount one/a/below");
    // One filesystem has one reader, whatever was asked for.
    let mut command = fsmon(["--per-filesystem", "-f", "binary", "-o"]);
    let running = Fsmon::start(command.arg(&out).args([&roots[0], &roots[2]]));
    assert_readers(&running, 1);
    running.stop().assert_complete();
}

//! Names of more than 255 bytes, which vfat, exfat, ntfs3 and FUSE have: fanotify reports none of them. What is missing for
//! that is said, nothing is reported under another name, and fsmon goes on.

use fsmon_harness::{
    Area, Ended, Event, Fsmon, briefs, fsmon, is_at_least, is_root_with, listing, parse,
    read_stats, skip,
};
use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;

const TYPES: [&str; 4] = ["-f", "json", "-t", "create,delete,rename,close_write"];

/// 401 bytes, in 201 characters.
fn long(first: &str) -> String {
    format!("{first}{}", "ä".repeat(200))
}

/// Where names can be so long: each a mount, by its name.
fn mounts(area: &mut Area) -> Vec<(&'static str, PathBuf)> {
    let mut mounts = Vec::new();
    let from = area.dir("from");
    let iconv = "modules=iconv,from_code=ISO-8859-1,to_code=UTF-8";
    let fuse = area.mount_by("fuse", |dir| {
        let mounted = Command::new("bindfs").args(["-o", iconv]).args([&from, dir]).status();
        mounted.is_ok_and(|status| status.success())
    });
    match fuse.filter(|_| is_at_least(6, 8)) {
        Some(dir) => mounts.push(("fuse", dir)),
        None => skip("FUSE cannot be watched before Linux 6.8, and needs bindfs with iconv"),
    }
    let image = area.path("image");
    let made = Command::new("mkfs.vfat").arg("-C").arg(&image).arg("65536").output();
    let options = ["-o", "loop,utf8=1", image.to_str().expect("UTF-8")];
    match made.ok().and_then(|_| area.try_mount("vfat", &options)) {
        Some(dir) => mounts.push(("vfat", dir)),
        None => not_in_this_kernel("vfat"),
    }
    mounts
}

/// Said aloud, and no failure anywhere: no test can bring a filesystem into a kernel.
fn not_in_this_kernel(fs: &str) {
    let test = std::thread::current().name().unwrap_or("test").to_owned();
    // Not println: the test runner would keep it to itself.
    let _ = writeln!(std::io::stderr(), "SKIP {test}: {fs} is not in this kernel");
}

/// Runs `action` in the directory, and gives what there is of it.
fn watch(area: &Area, dir: &Path, action: impl FnOnce()) -> (Ended, serde_json::Value) {
    let stats = area.path("stats");
    let running = Fsmon::start(fsmon(TYPES).arg("--stats").arg(&stats).arg(dir));
    action();
    let ended = running.stop();
    assert!(ended.status.success(), "{ended:#?}");
    (ended, read_stats(&stats))
}

/// The lines that are no loss, in brief; the others are of long names.
fn lines(ended: &Ended, events: Vec<Event>, dir: &Path) -> Vec<String> {
    let (losses, lines): (Vec<_>, Vec<_>) =
        events.into_iter().partition(|event| event.kind() == "LOSS");
    assert!(losses.iter().all(|loss| loss.text("reason") == Some("name_too_long")), "{losses:#?}");
    let missing = ended.last_words().contains("NOT complete: ");
    assert_eq!(missing, !losses.is_empty(), "{}", ended.last_words());
    briefs(&lines, dir)
}

#[test]
fn changes_of_long_names_are_counted() {
    if !is_root_with(&["mount"]) {
        return;
    }
    let mut area = Area::new();
    for (name, dir) in mounts(&mut area) {
        fs::create_dir(dir.join(long("old"))).expect("made");
        let (ended, stats) = watch(&area, &dir, || {
            fs::write(dir.join("before"), "x").expect("written");
            fs::write(dir.join(long("a")), "x").expect("written");
            fs::write(dir.join(long("old")).join("in"), "x").expect("written");
            fs::remove_file(dir.join(long("a"))).expect("removed");
            fs::create_dir(dir.join(long("d"))).expect("made");
            fs::write(dir.join("after"), "x").expect("written");
        });
        let inside = format!("{}/in", long("old"));
        let of = |path: &str| [format!("CREATE {path}"), format!("CLOSE_WRITE {path}")];
        let expected = ["before", &inside, "after"].map(of).concat();
        assert_eq!(lines(&ended, ended.events(), &dir), expected, "{name}");
        assert_eq!((&stats["complete"], &stats["reads_refused"]), (&false.into(), &().into()));
        let count = stats["names_too_long"].as_u64();
        assert!(count.is_some_and(|count| (2..=4).contains(&count)), "{name}: {stats}");
    }
}

/// The kernel refuses the whole read, with whatever waited before it.
#[test]
fn a_rename_of_a_long_name_loses_what_waits_with_it() {
    if !is_root_with(&["mount"]) {
        return;
    }
    let mut area = Area::new();
    for backend in ["uring", "poll"] {
        for (name, dir) in mounts(&mut area) {
            let (stats, out) = (area.path("stats"), area.path("out"));
            // Before the start: writes in a new directory are lost until it has its mark, where each has its own.
            fs::create_dir(dir.join("d")).expect("made");
            let mut command = fsmon(TYPES);
            command.args(["--backend", backend, "--stats"]).arg(&stats).arg("-o").arg(&out);
            command.arg(&dir);
            let running = Fsmon::start(&mut command);
            File::create(dir.join("n")).expect("made");
            fs::rename(dir.join("n"), dir.join(long("n"))).expect("renamed");
            fs::rename(dir.join(long("n")), dir.join("m")).expect("renamed");
            fsmon_harness::wait_until("the queue was read", || {
                fs::write(dir.join("d/f"), "x").expect("written");
                fs::remove_file(dir.join("d/f")).expect("removed");
                fs::read_to_string(&out).is_ok_and(|text| text.contains("/d/f\""))
            });
            let ended = running.stop();
            let events = parse(&fs::read(&out).expect("written"));
            let lines = lines(&ended, events, &dir);
            assert!(lines.contains(&"DELETE d/f".into()), "{name} {backend}: {lines:#?}");
            assert!(!lines.iter().any(|line| line.contains("ä")), "{name} {backend}: {lines:#?}");
            let stats = read_stats(&stats);
            assert!(stats["reads_refused"].as_u64() >= Some(1), "{name} {backend}: {stats}");
            fs::remove_file(dir.join("m")).expect("removed");
            fs::remove_dir(dir.join("d")).expect("removed");
            fs::remove_file(&out).expect("removed");
            area.unmount(&dir);
        }
    }
}

/// Such a directory is known from the walk at the start; its removal has no name, and nothing is left of it.
#[test]
fn a_long_name_that_a_walk_meets_is_never_cut() {
    if !is_root_with(&["mount"]) {
        return;
    }
    let mut area = Area::new();
    for (name, dir) in mounts(&mut area) {
        let (watched, outside) = (dir.join("watched"), dir.join("outside"));
        for path in [&watched, &outside.join(long("sub"))] {
            fs::create_dir_all(path).expect("made");
        }
        File::create(outside.join(long("file"))).expect("made");
        File::create(outside.join("file")).expect("made");
        let (ended, stats) = watch(&area, &watched, || {
            fs::rename(&outside, watched.join("in")).expect("renamed");
        });
        assert_eq!(
            lines(&ended, ended.events(), &watched),
            ["RENAME ?/ -> in/", "CREATE in/file (found)"],
            "{name}"
        );
        assert_eq!(stats["names_too_long"], 2, "{name}: {stats}");
        assert_eq!(listing(&watched).len(), 4);
    }
}

//! The replay oracle itself: it takes what is right and finds what is not.

use fsmon_harness::{Area, Event, Listing, Verdict, listing, parse, record_and_replay, replay, sh};
use std::path::{Path, PathBuf};
use std::process::Command;

fn events(lines: &[&str]) -> Vec<Event> {
    parse(lines.iter().map(|line| format!("{{{line}}}\n")).collect::<String>().as_bytes())
}

fn tree(paths: &[(&str, bool)]) -> Listing {
    paths.iter().map(|(path, is_dir)| (PathBuf::from(path), *is_dir)).collect()
}

/// `/a` and `/b` are files, `/d` has a file, `/e` is empty.
fn small() -> Listing {
    tree(&[("/a", false), ("/b", false), ("/d", true), ("/d/f", false), ("/e", true)])
}

/// What there is in the end, and what made no sense.
fn run(start: Listing, lines: &[&str]) -> (Listing, Vec<String>) {
    replay(Path::new("/"), start, &events(lines))
}

/// The lines make sense and lead there.
#[track_caller]
fn assert_leads(start: Listing, lines: &[&str], end: &[(&str, bool)]) {
    assert_eq!(run(start, lines), (tree(end), vec![]));
}

#[test]
fn a_directory_moves_with_all_that_is_in_it() {
    let start = tree(&[("/d", true), ("/d/e", true), ("/d/e/f", false), ("/dd", false)]);
    let lines = [r#""event_type":"RENAME","path":"/x","old_path":"/d","is_dir":true"#];
    assert_leads(start, &lines, &[("/x", true), ("/x/e", true), ("/x/e/f", false), ("/dd", false)]);
}

#[test]
fn a_rename_over_something_replaces_it() {
    let start = tree(&[("/a", false), ("/b", false), ("/d", true), ("/d/f", false), ("/e", true)]);
    let lines = [
        r#""event_type":"RENAME","path":"/b","old_path":"/a""#,
        r#""event_type":"RENAME","path":"/e","old_path":"/d","is_dir":true"#,
    ];
    assert_leads(start, &lines, &[("/b", false), ("/e", true), ("/e/f", false)]);
}

#[test]
fn in_and_out_of_the_watched_paths() {
    let lines = [
        r#""event_type":"RENAME","old_path":"/d","is_dir":true"#,
        r#""event_type":"RENAME","path":"/n","is_dir":true"#,
        r#""event_type":"CREATE","path":"/n/f","found":true"#,
    ];
    let start = tree(&[("/d", true), ("/d/f", false)]);
    assert_leads(start, &lines, &[("/n", true), ("/n/f", false)]);
}

#[test]
fn two_that_change_places() {
    let lines = [
        r#""event_type":"RENAME","path":"/x","old_path":"/d","exchange":true,"is_dir":true"#,
        r#""event_type":"RENAME","path":"/d","old_path":"/a","exchange":true"#,
        r#""event_type":"RENAME","path":"/a","old_path":"/x","exchange":true,"is_dir":true"#,
    ];
    let start = tree(&[("/a", false), ("/d", true), ("/d/f", false)]);
    assert_leads(start.clone(), &lines, &[("/a", true), ("/a/f", false), ("/d", false)]);
    let (_, senseless) = run(start, &lines[1..]);
    assert_eq!(senseless.len(), 2, "a file in the place of a directory: {senseless:?}");
}

#[test]
fn what_came_in_is_told_before_it_goes() {
    let lines = [
        r#""event_type":"RENAME","path":"/n","is_dir":true"#,
        r#""event_type":"RENAME","path":"/m","old_path":"/n","is_dir":true"#,
        r#""event_type":"CREATE","path":"/m/f","found":true"#,
        r#""event_type":"DELETE","path":"/m/f""#,
    ];
    assert_leads(tree(&[]), &lines, &[("/m", true)]);
    let (end, senseless) = run(tree(&[]), &[lines[0], lines[1], lines[3]]);
    assert_eq!((end, senseless.len()), (tree(&[("/m", true)]), 1), "{senseless:?}");
    let (_, senseless) = run(tree(&[]), &[lines[0], lines[1], lines[2], lines[2]]);
    assert_eq!(senseless.len(), 1, "told twice: {senseless:?}");
}

#[test]
fn a_directory_goes_after_what_was_in_it() {
    let lines = [
        r#""event_type":"CREATE","path":"/d/t","is_dir":true"#,
        r#""event_type":"DELETE","path":"/d/t","is_dir":true"#,
        r#""event_type":"CREATE","path":"/d/t/f""#,
        r#""event_type":"RENAME","path":"/d/g","old_path":"/d/t/f""#,
    ];
    let start = || tree(&[("/d", true)]);
    let (_, senseless) = run(start(), &lines);
    assert_eq!(senseless.len(), 2, "{senseless:?}");
    assert_leads(
        start(),
        &[lines[0], lines[2], lines[3], lines[1]],
        &[("/d", true), ("/d/g", false)],
    );
}

/// One for each way in which a line can make no sense.
const SENSELESS: [(&str, &str); 19] = [
    ("there already", r#""event_type":"CREATE","path":"/a""#),
    ("there already", r#""event_type":"CREATE","path":"/a","is_dir":true,"found":true"#),
    ("directory is not there", r#""event_type":"CREATE","path":"/missing/f""#),
    ("no directory", r#""event_type":"CREATE","path":"/a/f""#),
    ("not one path", r#""event_type":"CREATE","path":"/n","old_path":"/a""#),
    ("not there", r#""event_type":"DELETE","path":"/missing""#),
    ("not there", r#""event_type":"DELETE","path":"/missing/f""#),
    ("another kind", r#""event_type":"DELETE","path":"/a","is_dir":true"#),
    ("another kind", r#""event_type":"DELETE","path":"/e""#),
    ("not empty", r#""event_type":"DELETE","path":"/d","is_dir":true"#),
    ("not there", r#""event_type":"RENAME","path":"/n","old_path":"/missing""#),
    ("not there", r#""event_type":"RENAME","old_path":"/missing""#),
    ("another kind", r#""event_type":"RENAME","path":"/n","old_path":"/d""#),
    ("directory is not there", r#""event_type":"RENAME","path":"/missing/n","old_path":"/a""#),
    (
        "directory is not there",
        r#""event_type":"RENAME","path":"/e/n","old_path":"/e","is_dir":true"#,
    ),
    ("replaces is of another", r#""event_type":"RENAME","path":"/e","old_path":"/a""#),
    ("replaces is not empty", r#""event_type":"RENAME","path":"/d","old_path":"/e","is_dir":true"#),
    ("same path", r#""event_type":"RENAME","path":"/a","old_path":"/a""#),
    ("missing", r#""event_type":"LOSS","reason":"queue_overflow""#),
];

#[test]
fn lines_that_make_no_sense_are_found() {
    for (why, line) in SENSELESS {
        let (_, senseless) = run(small(), &[line]);
        assert!(senseless.len() == 1 && senseless[0].contains(why), "{line}: {senseless:?}");
    }
}

#[test]
fn a_line_from_elsewhere_makes_no_sense() {
    let lines = [r#""event_type":"CREATE","path":"/x/a""#, r#""event_type":"CREATE","path":"/w""#];
    let (_, senseless) = replay(Path::new("/w"), tree(&[]), &events(&lines));
    assert!(senseless[0].contains("elsewhere") && senseless[1].contains("itself"), "{senseless:?}");
}

/// A real recording, and what remains of it when something is done to it.
#[test]
fn a_recording_that_is_tampered_with_is_found_out() {
    if !fsmon_harness::is_root() {
        return;
    }
    let area = Area::new();
    let dir = area.watched();
    sh(&dir, "mkdir gone; echo x > gone/f; echo x > old");
    let start = listing(&dir);
    let script = "mkdir -p a/b; echo x > a/b/f; mv a c; echo x > c/g; rm c/b/f; mv old c/b/new; \
                  rm -r gone; mkdir e; mv e ../out; mkdir ../out/g; mv ../out in";
    let events = record_and_replay(&dir, &["-t", "create,delete,rename"], || sh(&dir, script));
    let end = listing(&dir);
    let verdict = |events: &[Event]| Verdict::new(&dir, start.clone(), events, &end);
    assert!(verdict(&events).is_exact());
    for at in 0..events.len() {
        let mut fewer = events.clone();
        let left_out = fewer.remove(at);
        assert!(!verdict(&fewer).is_exact(), "without {left_out:?}");
        // What comes in can replace what came in; what a walk found may be told twice as yet.
        let came_in = left_out.kind() == "RENAME" && left_out.old_path().is_none();
        if !came_in && !left_out.flag("found") {
            let mut more = events.clone();
            more.insert(at, left_out.clone());
            assert!(!verdict(&more).is_exact(), "twice {left_out:?}");
        }
    }
    let mut backwards = events;
    backwards.reverse();
    assert!(!verdict(&backwards).is_exact());
}

#[test]
fn a_verdict_says_how_many_and_which() {
    let lines = [
        r#""event_type":"DELETE","path":"/d/f""#,
        r#""event_type":"DELETE","path":"/d/f""#,
        r#""event_type":"CREATE","path":"/e/extra""#,
    ];
    let end = tree(&[("/a", false), ("/b", true), ("/d", true), ("/e", true), ("/new", false)]);
    let verdict = Verdict::new(Path::new("/"), small(), &events(&lines), &end).to_string();
    let expected = "3 lines, 5 entries: 2 missing, 2 extra, 1 senseless; \
                    missing [\"/b\", \"/new\"], extra [\"/b\", \"/e/extra\"]\n  line 2, it is not there";
    assert!(verdict.starts_with(expected), "{verdict}");
}

/// Quick enough for real work: each line costs what its path is deep, however much is there.
#[test]
fn a_hundred_thousand_lines() {
    let dirs = (0..1000).map(|dir| (PathBuf::from(format!("/top/{dir}")), true));
    let files = (0..100_000).map(|i| (PathBuf::from(format!("/top/{}/{i}", i % 1000)), false));
    let start: Listing =
        [(PathBuf::from("/top"), true)].into_iter().chain(dirs).chain(files).collect();
    let moves = (0..20_000).map(|i| {
        let (path, old) = if i % 2 == 0 { ("/moved", "/top") } else { ("/top", "/moved") };
        format!(
            "\"event_type\":\"RENAME\",\"path\":\"{path}\",\"old_path\":\"{old}\",\"is_dir\":true"
        )
    });
    let deletions = (0..100_000)
        .map(|i| format!("\"event_type\":\"DELETE\",\"path\":\"/top/{}/{i}\"", i % 1000));
    let lines: Vec<_> = moves.chain(deletions).collect();
    let (end, senseless) = run(start, &lines.iter().map(String::as_str).collect::<Vec<_>>());
    assert_eq!((end.len(), senseless), (1001, vec![]));
}

/// What `cargo run --example replay` says of a command, and its exit code.
#[test]
fn any_command_can_be_run_under_it() {
    if !fsmon_harness::is_root() {
        return;
    }
    let replay = fsmon_harness::example("replay");
    let run = |args: &[&str]| {
        let output = std::process::Command::new(&replay).args(args).output().expect("started");
        (output.status.code(), String::from_utf8(output.stdout).expect("UTF-8"))
    };
    let script = "mkdir d; touch d/f; mv d e";
    let exact = "3 lines, 2 entries: 0 missing, 0 extra, 0 senseless\n";
    assert_eq!(run(&["--", "sh", "-c", script]), (Some(0), exact.into()));
    let area = Area::new();
    let (dir, kept) = (area.watched(), area.path("kept"));
    let (dir, kept) = (dir.to_str().expect("UTF-8"), kept.to_str().expect("UTF-8"));
    let partly = ["--dir", dir, "--keep", kept, "--fsmon-arg", "--exclude", "--fsmon-arg", "b"];
    let script = format!("cd {dir}; touch a b; rm a b; touch a b");
    let (code, said) = run(&[&partly[..], &["--", "sh", "-c", &script]].concat());
    assert_eq!(code, Some(1), "{said}");
    assert!(said.starts_with("3 lines, 2 entries: 1 missing, 0 extra, 0 senseless"), "{said}");
    assert!(std::fs::read_to_string(kept).expect("written").contains("\"DELETE\""));
    assert_eq!(run(&["true"]).0, Some(0));
    assert_eq!(run(&["--unknown", "true"]).0, Some(2));
    assert_eq!(run(&[]).0, Some(2));
}

#[test]
fn a_listing_has_files_links_and_directories() {
    let area = Area::new();
    sh(&area.watched(), "mkdir d; touch d/f; ln -s d link");
    let of = |name: &str| area.watched().join(name);
    let expected = Listing::from([(of("d"), true), (of("d/f"), false), (of("link"), false)]);
    assert_eq!(listing(&area.watched()), expected);
}

#[test]
fn exact_bytes_come_before_lossy_text() {
    let lines = ["\"event_type\":\"CREATE\",\"path\":\"/\u{fffd}\",\"path_b64\":\"L+Q=\""];
    let path = events(&lines)[0].path().expect("a path");
    assert_eq!(std::os::unix::ffi::OsStrExt::as_bytes(path.as_os_str()), b"/\xe4");
}

#[test]
fn an_area_unmounts_what_is_mounted_in_it_before_it_is_deleted() {
    let Some(area) = fsmon_harness::own_mounts() else { return };
    let other = area.dir("other");
    sh(&other, "touch precious");
    let inner = Area::new();
    let base = inner.path("");
    let path = inner.dir("mount");
    fsmon_harness::succeed(Command::new("mount").arg("--bind").args([&other, &path]));
    drop(inner);
    assert_eq!(listing(&other).into_keys().collect::<Vec<_>>(), [other.join("precious")]);
    assert!(!base.exists(), "{} stays", base.display());
}

#[test]
fn a_late_mark_is_an_excuse_only_where_directories_have_marks() {
    let Some(mut area) = fsmon_harness::own_mounts() else { return };
    let late = events(&[r#""event_type":"LOSS","reason":"unmarked""#]);
    let doubts = |dir: &Path| replay(dir, Listing::new(), &late).1.len();
    assert_eq!(doubts(&area.tmpfs("tmpfs", "size=1m")), 1);
    if !fsmon_harness::is_at_least(6, 5) {
        return fsmon_harness::skip("overlayfs cannot be watched before Linux 6.5");
    }
    let (lower, scratch) = (area.dir("lower"), area.tmpfs("scratch", "size=1m"));
    // Its upper layer is not heard.
    if let Some(overlay) = area.overlay("overlay", &lower, &scratch, "redirect_dir=on") {
        assert_eq!(doubts(&overlay), 0);
    }
}

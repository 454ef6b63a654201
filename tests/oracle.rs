//! The replay oracle itself: it takes what is right and finds what is not.

mod harness;

use harness::{Area, Event, Listing, listing, parse, replay, sh};
use std::path::PathBuf;

fn events(lines: &[&str]) -> Vec<Event> {
    parse(lines.iter().map(|line| format!("{{{line}}}\n")).collect::<String>().as_bytes())
}

fn tree(paths: &[(&str, bool)]) -> Listing {
    paths.iter().map(|(path, is_dir)| (PathBuf::from(path), *is_dir)).collect()
}

#[test]
fn a_directory_moves_with_all_that_is_in_it() {
    let start = tree(&[("/d", true), ("/d/e", true), ("/d/e/f", false), ("/dd", false)]);
    let lines = [r#""event_type":"RENAME","path":"/x","old_path":"/d","is_dir":true"#];
    let (end, doubts) = replay(start, &events(&lines));
    assert_eq!(end, tree(&[("/x", true), ("/x/e", true), ("/x/e/f", false), ("/dd", false)]));
    assert!(doubts.is_empty(), "{doubts:?}");
}

#[test]
fn a_rename_over_a_file_replaces_it() {
    let start = tree(&[("/a", false), ("/b", false)]);
    let lines = [r#""event_type":"RENAME","path":"/b","old_path":"/a""#];
    let (end, doubts) = replay(start, &events(&lines));
    assert_eq!((end, doubts.len()), (tree(&[("/b", false)]), 0));
}

#[test]
fn in_and_out_of_the_watched_paths() {
    let start = tree(&[("/d", true), ("/d/f", false)]);
    let lines = [
        r#""event_type":"RENAME","old_path":"/d","is_dir":true"#,
        r#""event_type":"RENAME","path":"/n","is_dir":true"#,
        r#""event_type":"CREATE","path":"/n/f","found":true"#,
    ];
    let (end, doubts) = replay(start, &events(&lines));
    assert_eq!((end, doubts.len()), (tree(&[("/n", true), ("/n/f", false)]), 0));
}

#[test]
fn what_came_in_and_was_gone_before_the_walk_ends_unseen() {
    let lines = [
        r#""event_type":"RENAME","path":"/n","is_dir":true"#,
        r#""event_type":"RENAME","path":"/m","old_path":"/n","is_dir":true"#,
        r#""event_type":"DELETE","path":"/m/f""#,
        r#""event_type":"DELETE","path":"/n/f""#,
    ];
    let (end, doubts) = replay(tree(&[]), &events(&lines));
    assert_eq!((end, doubts.len()), (tree(&[("/m", true)]), 1), "only /n/f: {doubts:?}");
}

#[test]
fn lines_that_make_no_sense_are_found() {
    let start = tree(&[("/a", false), ("/d", true), ("/d/f", false)]);
    for line in [
        r#""event_type":"CREATE","path":"/a""#,
        r#""event_type":"DELETE","path":"/missing""#,
        r#""event_type":"DELETE","path":"/a","is_dir":true"#,
        r#""event_type":"DELETE","path":"/d","is_dir":true"#,
        r#""event_type":"RENAME","path":"/b","old_path":"/missing""#,
        r#""event_type":"LOSS","reason":"queue_overflow""#,
    ] {
        let (_, doubts) = replay(start.clone(), &events(&[line]));
        assert_eq!(doubts.len(), 1, "{line}");
    }
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

//! File names are bytes: any of them, of any length, and never a terminal's affair.

use fsmon_harness::{Area, Fsmon, briefs, is_root, record, record_and_replay};
use std::ffi::{OsStr, OsString};
use std::fs::{self, File};
use std::os::unix::ffi::{OsStrExt, OsStringExt};

fn touch_all(dir: &std::path::Path, names: &[OsString]) {
    for name in names {
        File::create(dir.join(name)).expect("made");
    }
}

fn odd_names() -> Vec<OsString> {
    let mut names: Vec<Vec<u8>> = vec![
        b"with space".to_vec(),
        b"new\nline".to_vec(),
        b"tab\tquote\"back\\slash'".to_vec(),
        b"comma,semi;colon".to_vec(),
        b"\x1b[31mred\x1b[0m\x07".to_vec(),
        b"del\x7f\x01\x1f".to_vec(),
        "ümläut-日本-🦀".into(),
        "\u{202e}right-to-left".into(),
        "c1-\u{9b}31m".into(),
        b"latin1-\xe4\xf6".to_vec(),
        b"\xff\xfe".to_vec(),
        b"cut-\xf0\x9f\xa6".to_vec(),
        b"-rf".to_vec(),
        b"=cmd".to_vec(),
    ];
    names.extend([1usize, 23, 24, 25, 62, 63, 64, 65, 254, 255].map(|len| vec![b'n'; len]));
    names.push(vec![0xe4; 255]);
    names.into_iter().map(OsString::from_vec).collect()
}

#[test]
fn every_name_comes_back_exactly() {
    if !is_root() {
        return;
    }
    let area = Area::new();
    let (watched, names) = (area.watched(), odd_names());
    let events = record(&watched, &["-t", "create"], || touch_all(&watched, &names));
    let seen: Vec<_> = events.iter().map(|event| event.path().expect("a path")).collect();
    let made: Vec<_> = names.iter().map(|name| watched.join(name)).collect();
    assert_eq!(seen, made);
}

#[test]
fn renames_between_the_longest_names() {
    if !is_root() {
        return;
    }
    let area = Area::new();
    let watched = area.watched();
    let long = |byte: u8| watched.join(OsStr::from_bytes(&[byte; 255]));
    // Never back to a name that it had: the kernel may merge two events of a file under one name.
    let (a, b, c) = (long(b'a'), long(0xe4), long(b'c'));
    record_and_replay(&watched, &["-t", "create,delete,rename"], || {
        File::create(&a).expect("made");
        fs::rename(&a, &b).expect("renamed");
        fs::rename(&b, &c).expect("renamed");
        fs::remove_file(&c).expect("removed");
    });
}

#[test]
fn directories_with_odd_names() {
    if !is_root() {
        return;
    }
    let area = Area::new();
    let watched = area.watched();
    record_and_replay(&watched, &["-t", "create,delete,rename"], || {
        for name in odd_names() {
            let dir = watched.join(&name);
            fs::create_dir(&dir).expect("made");
            File::create(dir.join("file")).expect("made");
            fs::rename(&dir, watched.join("moved")).expect("renamed");
            fs::remove_dir_all(watched.join("moved")).expect("removed");
        }
    });
}

#[test]
fn paths_longer_than_one_call_can_name() {
    if !is_root() {
        return;
    }
    let area = Area::new();
    let watched = area.watched();
    // 24 × 201 bytes: beyond PATH_MAX, reached step by step.
    let script = "n=$(printf 'd%.0s' $(seq 200)); for i in $(seq 24); do mkdir $n; cd -P $n; done; echo x > f";
    let events = record(&watched, &["-t", "create"], || fsmon_harness::sh(&watched, script));
    let file = events.last().expect("at least one").path().expect("a path");
    assert_eq!(file.as_os_str().len(), watched.as_os_str().len() + 24 * 201 + 2);
    fsmon_harness::sh(&watched, "rm -rf d*");
}

#[test]
fn no_control_byte_of_a_name_reaches_a_reader_of_lines() {
    if !is_root() {
        return;
    }
    let area = Area::new();
    let watched = area.watched();
    let mut command = fsmon_harness::fsmon(["-t", "create"]);
    let running = Fsmon::start(command.arg(&watched));
    touch_all(&watched, &odd_names());
    let ended = running.stop();
    ended.assert_complete();
    let control = |byte: &u8| *byte < b' ' && *byte != b'\n' || *byte == 0x7f;
    assert!(!ended.stdout.iter().any(control), "{}", String::from_utf8_lossy(&ended.stdout));
    let text = String::from_utf8(ended.stdout).expect("lines for people are UTF-8");
    assert!(!text.chars().any(|c| c.is_control() && c != '\n'), "C1 controls: {text}");
    assert_eq!(text.lines().count(), odd_names().len(), "one line an event");
}

#[test]
fn a_watched_directory_with_an_odd_name() {
    if !is_root() {
        return;
    }
    let area = Area::new();
    let dir = area.path("").join(OsStr::from_bytes(b"odd \xe4\n\"dir"));
    fs::create_dir(&dir).expect("made");
    let events = record(&dir, &["-t", "create"], || {
        File::create(dir.join("file")).expect("made");
    });
    assert_eq!(briefs(&events, &dir), ["CREATE file"]);
}

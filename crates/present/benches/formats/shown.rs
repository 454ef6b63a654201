//! Compares output with records: reads the output back by the simplest means and checks that each line says
//! what its record says.

use crate::plain::Reported;
use crate::records::reported;
use fsmon_format::kind;
use fsmon_format::record::Slot;
use fsmon_format::stream::{Item, Reader};
use fsmon_present::Format;
use serde_json::Value;

/// One line.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Shown {
    kind: String,
    path: String,
    old: String,
    is_dir: bool,
    pid: String,
    comm: String,
}

fn expected(slots: &[Slot]) -> Vec<Shown> {
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    let lines = reported(slots).into_iter().flat_map(|reported| {
        kind::in_causal_order(reported.mask).map(move |kind| Shown {
            kind: kind.name.to_owned(),
            path: text(reported.path.clone()),
            old: text(reported.old.clone()),
            is_dir: reported.mask & kind::ONDIR != 0,
            pid: reported.pid.to_string(),
            comm: text(reported.comm.clone()),
        })
    });
    lines.collect()
}

/// Compares output with records. Returns the number of lines.
pub(crate) fn check(format: Format, begin: &[u8], out: &[u8], slots: &[Slot]) -> u64 {
    let expected = expected(slots);
    match format {
        Format::Human => assert_eq!(people(out), expected),
        Format::Json => assert_eq!(text(out).lines().map(object).collect::<Vec<_>>(), expected),
        Format::Csv => {
            assert!(begin.starts_with(b"time,event_type,path,old_path,is_dir,pid,ppid,cmd,"));
            assert_eq!(text(out).split_terminator("\r\n").map(row).collect::<Vec<_>>(), expected);
        }
        Format::Binary => assert_eq!(stream(&[begin, out].concat()), reported(slots)),
    }
    expected.len() as u64
}

fn text(out: &[u8]) -> &str {
    std::str::from_utf8(out).unwrap()
}

fn object(line: &str) -> Shown {
    let line: Value = serde_json::from_str(line).unwrap();
    let field = |name: &str| line[name].as_str().unwrap_or_default().to_owned();
    assert_eq!((field("user"), field("cgroup")), ("builder".into(), "/job".into()));
    Shown {
        kind: field("event_type"),
        path: field("path"),
        old: field("old_path"),
        is_dir: line["is_dir"] == true,
        pid: line["pid"].to_string(),
        comm: field("cmd"),
    }
}

/// No field of the recording has a comma or a quote in it.
fn row(line: &str) -> Shown {
    let fields: Vec<_> = line.split(',').map(|field| field.trim_matches('"').to_owned()).collect();
    assert_eq!((fields.len(), &fields[11][..], &fields[12][..]), (38, "builder", "/job"));
    Shown {
        kind: fields[1].clone(),
        path: fields[2].clone(),
        old: fields[3].clone(),
        is_dir: fields[4] == "true",
        pid: fields[5].clone(),
        comm: fields[7].clone(),
    }
}

/// Lines for people: time, type, process, user, and one path or two. A line between them may give the date.
fn people(out: &[u8]) -> Vec<Shown> {
    let events = text(out).lines().filter(|line| !line.starts_with("--"));
    let lines = events.map(|line| {
        let words: Vec<_> = line.split_whitespace().collect();
        let (comm, pid) = words[2].strip_suffix(']').unwrap().split_once('[').unwrap();
        assert_eq!(words[3], "builder");
        let (old, path) = match words[4..] {
            [path] => ("", path),
            [old, "->", path] => (old, path),
            _ => panic!("{line}"),
        };
        let plain = |path: &str| path.trim_end_matches('/').to_owned();
        Shown {
            kind: words[1].to_owned(),
            path: plain(path),
            old: plain(old),
            is_dir: path.ends_with('/'),
            pid: pid.to_owned(),
            comm: comm.to_owned(),
        }
    });
    lines.collect()
}

/// In each block all that is needed is defined.
fn stream(bytes: &[u8]) -> Vec<Reported> {
    // There is no end yet.
    let (mut reader, mut read) = (Reader::new(bytes).follow(true), Vec::new());
    while let Some(item) = reader.next().unwrap() {
        match item {
            Item::Block(block) => read.extend(reported(block.slots())),
            Item::Pending => break,
            _ => {}
        }
    }
    read
}

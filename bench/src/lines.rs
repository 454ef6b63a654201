//! Parses the output of monitors: one claim for each change in a line.

use crate::workload::Counts;
use crate::workload::spawn::oracle::Tally;
use serde_json::Value;
use std::fmt;
use std::fs::{self, File};
use std::io::{self, BufRead, BufReader};
use std::path::Path;

/// One change, as a monitor reports it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Claim {
    pub(crate) kind: String,
    pub(crate) path: String,
    pub(crate) cmd: Option<String>,
    pub(crate) pid: Option<u32>,
    pub(crate) ppid: Option<u32>,
    pub(crate) uid: Option<u32>,
    pub(crate) gid: Option<u32>,
    pub(crate) attribution: Option<String>,
    /// Whether parent, user and group must be there.
    pub(crate) is_fsmon: bool,
}

impl fmt::Display for Claim {
    /// `CREATE …/0-1,exec,compile,12,3,0,0 by compile[12] of 3, 0:0`
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let number = |n: Option<u32>| n.map_or_else(|| "?".into(), |n| n.to_string());
        let (cmd, flag) = (self.cmd.as_deref(), self.attribution.as_deref());
        write!(f, "{} {} by {}[{}]", self.kind, self.path, cmd.unwrap_or("?"), number(self.pid))?;
        let (ppid, uid, gid) = (number(self.ppid), number(self.uid), number(self.gid));
        write!(f, " of {ppid}, {uid}:{gid}")?;
        flag.map_or(Ok(()), |flag| write!(f, ", {flag}"))
    }
}

/// The contents of a run's output.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Seen {
    /// Changes reported.
    pub(crate) counts: Counts,
    /// Which processes were named.
    pub(crate) tally: Tally,
    /// Lines that report a loss.
    pub(crate) losses: u64,
    /// Lines that could not be parsed.
    pub(crate) unreadable: u64,
}

/// The formats of lines.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Dialect {
    /// fsmon's JSON.
    Json,
    /// JSON of fsmon 0.2.6: without parent and uid.
    OldJson,
    /// fsmon's CSV.
    Csv,
    /// fsmon's lines for people: only the types are counted.
    Human,
    /// `comm(pid): letters path`
    Fatrace,
    /// `EVENT,EVENT|path`
    Inotifywait,
    /// `EVENT|comm|pid|path`
    Bpftrace,
    /// The audit log.
    Audit,
}

/// Reads a whole output: a file, or all files of a directory.
pub(crate) fn read(dialect: Dialect, path: &Path) -> io::Result<Seen> {
    let mut seen = Seen::default();
    if path.is_dir() {
        for entry in fs::read_dir(path)? {
            read_file(dialect, &entry?.path(), &mut seen)?;
        }
    } else {
        read_file(dialect, path, &mut seen)?;
    }
    Ok(seen)
}

fn read_file(dialect: Dialect, path: &Path, seen: &mut Seen) -> io::Result<()> {
    if dialect == Dialect::Csv {
        read_csv(&fs::read(path)?, seen);
        return Ok(());
    }
    for line in BufReader::with_capacity(1 << 20, File::open(path)?).split(b'\n') {
        let line = line?;
        let line = String::from_utf8_lossy(&line);
        match dialect {
            Dialect::Json | Dialect::OldJson => json(&line, dialect, seen),
            Dialect::Human => human(&line, seen),
            Dialect::Fatrace => fatrace(&line, seen),
            Dialect::Inotifywait => inotifywait(&line, seen),
            Dialect::Bpftrace => seen.count(line.split('|').next().unwrap_or_default()),
            Dialect::Audit => audit(&line, seen),
            Dialect::Csv => unreachable!("read as a whole"),
        }
    }
    Ok(())
}

impl Seen {
    fn add(&mut self, claim: &Claim) {
        self.count(&claim.kind);
        self.tally.add(claim);
    }

    fn count(&mut self, kind: &str) {
        match kind {
            "CREATE" => self.counts.creates += 1,
            "RENAME" | "MOVED_TO" => self.counts.renames += 1,
            "DELETE" => self.counts.deletes += 1,
            "LOSS" => self.losses += 1,
            _ => {}
        }
    }
}

fn json(line: &str, dialect: Dialect, seen: &mut Seen) {
    let Ok(Value::Object(object)) = serde_json::from_str(line) else {
        seen.unreadable += 1;
        return;
    };
    let text = |key: &str| Some(object.get(key)?.as_str()?.to_owned());
    let number = |key: &str| u32::try_from(object.get(key)?.as_u64()?).ok();
    seen.add(&Claim {
        kind: text("event_type").unwrap_or_default(),
        path: text("path").unwrap_or_default(),
        cmd: text("cmd"),
        pid: number("pid"),
        ppid: number("ppid"),
        uid: number("uid"),
        gid: number("gid"),
        attribution: text("attribution"),
        is_fsmon: dialect == Dialect::Json,
    });
}

fn read_csv(bytes: &[u8], seen: &mut Seen) {
    let mut rows = Csv(bytes);
    let header = rows.next().unwrap_or_default();
    for row in rows {
        if row.len() != header.len() {
            seen.unreadable += 1;
            continue;
        }
        let text = |key: &str| {
            let at = header.iter().position(|name| name == key)?;
            Some(&row[at]).filter(|text| !text.is_empty())
        };
        let number = |key: &str| text(key)?.parse().ok();
        seen.add(&Claim {
            kind: text("event_type").cloned().unwrap_or_default(),
            path: text("path").cloned().unwrap_or_default(),
            cmd: text("cmd").cloned(),
            pid: number("pid"),
            ppid: number("ppid"),
            uid: number("uid"),
            gid: number("gid"),
            attribution: text("attribution").cloned(),
            is_fsmon: true,
        });
    }
}

/// Rows of RFC 4180.
struct Csv<'a>(&'a [u8]);

impl Iterator for Csv<'_> {
    type Item = Vec<String>;

    fn next(&mut self) -> Option<Vec<String>> {
        if self.0.is_empty() {
            return None;
        }
        let (mut row, mut field, mut quoted, mut at) = (Vec::new(), Vec::new(), false, 0);
        while let Some(&byte) = self.0.get(at) {
            at += 1;
            match byte {
                b'"' if quoted && self.0.get(at) == Some(&b'"') => {
                    field.push(b'"');
                    at += 1;
                }
                b'"' => quoted = !quoted,
                b',' if !quoted => row.push(std::mem::take(&mut field)),
                b'\r' if !quoted && self.0.get(at) == Some(&b'\n') => {}
                b'\n' if !quoted => break,
                _ => field.push(byte),
            }
        }
        row.push(field);
        self.0 = &self.0[at..];
        Some(row.into_iter().map(|field| String::from_utf8_lossy(&field).into_owned()).collect())
    }
}

/// The type is the first word that is one.
fn human(line: &str, seen: &mut Seen) {
    let kinds = ["CREATE", "RENAME", "DELETE", "LOSS"];
    if let Some(kind) = line.split_whitespace().find(|word| kinds.contains(word)) {
        seen.count(kind);
    }
}

fn fatrace(line: &str, seen: &mut Seen) {
    let Some((process, rest)) = line.split_once("): ") else { return };
    let (Some((cmd, pid)), Some((letters, path))) =
        (process.rsplit_once('('), rest.split_once(' '))
    else {
        seen.unreadable += 1;
        return;
    };
    for letter in letters.chars() {
        let kind = match letter {
            '+' => "CREATE",
            'D' => "DELETE",
            '>' => "MOVED_TO",
            'W' => "CLOSE_WRITE",
            _ => continue,
        };
        seen.add(&Claim {
            kind: kind.into(),
            path: path.trim_start().into(),
            cmd: Some(cmd.into()),
            pid: pid.parse().ok(),
            ..Claim::default()
        });
    }
}

/// The audit log. It reports a rename as a name that disappears and one that appears.
fn audit(line: &str, seen: &mut Seen) {
    let renames = [" syscall=82 ", " syscall=264 ", " syscall=316 "];
    let counts = &mut seen.counts;
    if line.starts_with("type=SYSCALL ") && renames.iter().any(|call| line.contains(call)) {
        counts.renames += 1;
    } else if line.contains(" nametype=CREATE ") {
        counts.creates += 1;
    } else if line.contains(" nametype=DELETE ") {
        counts.deletes += 1;
    }
}

fn inotifywait(line: &str, seen: &mut Seen) {
    let Some((kinds, path)) = line.split_once('|') else { return };
    for kind in kinds.split(',') {
        seen.add(&Claim { kind: kind.into(), path: path.into(), ..Claim::default() });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counts(creates: u64, renames: u64, deletes: u64) -> Counts {
        Counts { creates, renames, deletes }
    }

    #[test]
    fn json_lines() {
        let mut seen = Seen::default();
        json(r#"{"event_type":"CREATE","path":"/a,b"}"#, Dialect::Json, &mut seen);
        json(r#"{"event_type":"LOSS","reason":"queue_overflow"}"#, Dialect::Json, &mut seen);
        json("{", Dialect::Json, &mut seen);
        assert_eq!((seen.counts, seen.losses, seen.unreadable), (counts(1, 0, 0), 1, 1));
    }

    #[test]
    fn csv_with_quotes_and_line_ends_inside() {
        let mut seen = Seen::default();
        let text = b"event_type,path,pid\r\nRENAME,\"/a\"\"\n,b\",7\r\nDELETE,/x,\r\nshort\r\n";
        read_csv(text, &mut seen);
        assert_eq!((seen.counts, seen.unreadable), (counts(0, 1, 1), 1));
    }

    #[test]
    fn lines_of_the_peers() {
        let mut seen = Seen::default();
        fatrace("cc1 (x)(12): +   /w/0-1,exec,cc1 (x),12,3,0,0", &mut seen);
        assert_eq!((seen.counts, seen.tally.wrong), (counts(1, 0, 0), 0));
        inotifywait("MOVED_TO,ISDIR|/w/a", &mut seen);
        human("12:00:00 DELETE /w/CREATE rm(1)", &mut seen);
        assert_eq!(seen.counts, counts(1, 1, 1));
        seen.count("CREATE|touch|12|d/a".split('|').next().expect("there is one"));
        audit("type=SYSCALL msg=audit(1.2:3): arch=c000003e syscall=82 success=yes", &mut seen);
        audit("type=PATH msg=audit(1.2:3): item=2 nametype=DELETE cap_fp=0", &mut seen);
        assert_eq!(seen.counts, counts(2, 2, 2));
    }
}

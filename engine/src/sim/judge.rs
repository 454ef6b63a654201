//! Checks the lines of a run: their result against the model filesystem at the end, and each line against the
//! operations of the processes.

use super::history::{Op, WATCHED};
use super::world::Truth;
use fsmon_format::kind;
use fsmon_format::mirror::{Capacity, Mirror};
use fsmon_format::record::{Attribution, Body, Records, Slot};
use fsmon_harness::oracle::{Line, Listing, Replay};
use std::collections::BTreeMap;
use std::fmt::{Display, Formatter};
use std::path::{Path, PathBuf};

/// A line as a user sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct ReportedLine {
    pub(super) kind: &'static str,
    pub(super) path: Option<String>,
    pub(super) old: Option<String>,
    pub(super) is_dir: bool,
    /// 0 if no process is named.
    pub(super) pid: u32,
    pub(super) sure: Attribution,
    /// `found`, `exchange`, `unsure`.
    pub(super) flags: [bool; 3],
}

impl ReportedLine {
    /// Whether its order is not certain: the kernel may have merged a CREATE and a DELETE of one file and name, so
    /// `ln b a; rm a` and `rm a; ln b a` leave the same event.
    fn has_unsure_order(&self) -> bool {
        let [_, _, unsure] = self.flags;
        unsure && !self.is_dir && matches!(self.kind, "CREATE" | "DELETE")
    }

    fn is_flagged(&self) -> bool {
        self.sure != Attribution::Exact || self.flags.contains(&true)
    }
}

impl Display for ReportedLine {
    fn fmt(&self, f: &mut Formatter<'_>) -> std::fmt::Result {
        let ReportedLine { kind, path, old, is_dir, pid, sure, flags } = self;
        let path = path.as_deref().unwrap_or("?");
        let slash = if *is_dir { "/" } else { "" };
        match old {
            Some(old) => write!(f, "{kind} {old} -> {path}{slash}")?,
            None => write!(f, "{kind} {path}{slash}")?,
        }
        write!(f, " by {}", pid & 0xff)?;
        if *sure != Attribution::Exact {
            write!(f, " {sure:?}")?;
        }
        let named = ["found", "exchange", "unsure"].into_iter().zip(flags);
        named.filter(|(_, is)| **is).try_for_each(|(name, _)| write!(f, " {name}"))
    }
}

/// Reads records, and keeps their lines.
pub(super) struct Lines {
    mirror: Mirror,
    pub(super) reported: Vec<ReportedLine>,
    /// Number of LOSS records.
    pub(super) losses: usize,
    /// Number of EVENT and LOSS records.
    pub(super) said: usize,
}

impl Lines {
    pub(super) fn new() -> Self {
        let capacity = Capacity { dirs: 512, processes: 64, strings: 64, text: 1 << 16 };
        Lines { mirror: Mirror::new(capacity), reported: Vec::new(), losses: 0, said: 0 }
    }

    pub(super) fn take(&mut self, batch: &[Slot]) {
        for record in Records(batch) {
            let body = record.body();
            self.mirror.define(&body);
            match body {
                Body::Event(event) => {
                    self.said += 1;
                    let path = |dir: u32, name: &[u8]| self.path(dir, name);
                    let head = event.head;
                    let new = path(head.dir.get(), event.name);
                    let old = path(head.dir2.get(), event.name2);
                    let pid = self.mirror.proc(head.proc.get()).map_or(0, |proc| proc.pid.get());
                    for kind in kind::in_causal_order(head.mask.get()) {
                        self.reported.push(ReportedLine {
                            kind: kind.name,
                            path: new.clone(),
                            old: old.clone(),
                            is_dir: event.is_dir(),
                            pid,
                            sure: event.attribution(),
                            flags: [event.found(), event.exchange(), event.unsure()],
                        });
                    }
                }
                Body::Loss(_) => {
                    self.said += 1;
                    self.losses += 1;
                }
                _ => {}
            }
        }
    }

    fn path(&self, dir: u32, name: &[u8]) -> Option<String> {
        if dir == 0 {
            return None;
        }
        let mut path = Vec::new();
        assert!(self.mirror.append_dir_path(dir, &mut path), "directory {dir} is defined");
        if !name.is_empty() {
            path.push(b'/');
            path.extend_from_slice(name);
        }
        Some(String::from_utf8(path).expect("the model's names"))
    }
}

/// What is wrong with the lines of a run. A number is the index of the line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Fault {
    /// A line contradicts those before it, for example a CREATE of a path that exists already.
    Senseless(usize, &'static str),
    /// This path exists at the end, but not in the result of the lines.
    Missing(String),
    /// This path exists in the result of the lines, but not at the end.
    Extra(String),
    /// A line that is neither `ambiguous` nor `unsure` names a process, but another process did this.
    Who(usize),
    /// A line that is neither `ambiguous` nor `unsure` reports what no process did.
    Where(usize),
    /// fsmon still reported something, or was not idle, long after the last event.
    Endless,
}

fn listing(all: &BTreeMap<String, bool>) -> Listing {
    all.iter().map(|(path, is_dir)| (PathBuf::from(path), *is_dir)).collect()
}

/// All faults of the lines, but of missing and of extra paths only the first each.
pub(super) fn judge(
    start: &BTreeMap<String, bool>,
    end: &BTreeMap<String, bool>,
    reported: &[ReportedLine],
    truth: &[Truth],
) -> Vec<Fault> {
    let mut faults = Vec::new();
    let mut replay = Replay::new(Path::new(WATCHED), listing(start));
    for (at, line) in reported.iter().enumerate() {
        let of_root = [&line.path, &line.old].into_iter().flatten().any(|path| path == WATCHED);
        if of_root {
            // The root itself came or went, and its contents with it.
            apply_root(&mut replay, line);
        } else if let Err(why) = replay.apply(&line.as_line())
            && !line.has_unsure_order()
        {
            faults.push(Fault::Senseless(at, why));
        }
        faults.extend(check(at, line, truth));
    }
    let (replayed, end) = (replay.listing(), listing(end));
    let only = |one: &Listing, other: &Listing| {
        let differs = |(path, kind): &(&PathBuf, &bool)| other.get(*path) != Some(*kind);
        one.iter().find(differs).map(|(path, _)| path.display().to_string())
    };
    faults.extend(only(&end, &replayed).map(Fault::Missing));
    faults.extend(only(&replayed, &end).map(Fault::Extra));
    faults
}

impl ReportedLine {
    fn as_line(&self) -> Line<'_> {
        Line {
            kind: self.kind,
            path: self.path.as_deref().map(Path::new),
            old_path: self.old.as_deref().map(Path::new),
            is_dir: self.is_dir,
        }
    }
}

/// Empties the replay when the root goes or comes: fsmon reports the contents of a root that comes.
fn apply_root(replay: &mut Replay<'_>, line: &ReportedLine) {
    let goes = line.old.as_deref() == Some(WATCHED) || line.kind == "DELETE";
    if goes || line.kind == "CREATE" || line.kind == "RENAME" {
        *replay = Replay::new(Path::new(WATCHED), Listing::new());
    }
}

/// Checks a line that names a process against the operations of that process.
fn check(at: usize, line: &ReportedLine, truth: &[Truth]) -> Option<Fault> {
    let [found, exchange, unsure] = line.flags;
    // The model names a file without a name `#NUMBER`. No line may have that name.
    if [&line.path, &line.old].into_iter().flatten().any(|path| path.contains("/#")) {
        return Some(Fault::Where(at));
    }
    if line.pid == 0 || !matches!(line.kind, "CREATE" | "DELETE" | "RENAME") {
        return None;
    }
    let of_pid = || truth.iter().filter(|done| done.pid == line.pid);
    // Whether the process made a path exist: it created the path, or renamed or linked something to the path or to a
    // directory above it.
    let brought =
        |path: &str| of_pid().any(|done| done.op.gives().any(|to| is_at_or_below(path, to)));
    // Whether the process removed a path, or replaced it by something else.
    let took = |path: &str| {
        let takes = |done: &Truth| done.op.takes().any(|from| is_at_or_below(path, from));
        of_pid().any(takes) || brought(path)
    };
    if line.sure == Attribution::Ambiguous || unsure {
        return None;
    }
    if found || exchange || line.sure == Attribution::Late {
        let is_one = match (line.kind, &line.path, &line.old) {
            ("DELETE", Some(path), _) | ("RENAME", None, Some(path)) => took(path),
            (_, Some(path), _) => brought(path),
            (_, None, _) => true,
        };
        return (!is_one && !is_parked(line)).then_some(Fault::Who(at));
    }
    // A process that removes or renames a directory above the root removes the root.
    let is_of_root = [&line.path, &line.old].into_iter().flatten().any(|path| path == WATCHED);
    if is_of_root && took(WATCHED) || of_pid().any(|done| done.op.is(line)) {
        return None;
    }
    let by_another = truth.iter().any(|done| done.op.is(line));
    Some(if by_another { Fault::Who(at) } else { Fault::Where(at) })
}

/// Whether a path has a name that fsmon made up: it reports an exchange as renames through a name `.exchange-HASH`.
fn is_parked(line: &ReportedLine) -> bool {
    [&line.path, &line.old].into_iter().flatten().any(|path| path.contains("/.exchange-"))
}

fn is_at_or_below(path: &str, top: &str) -> bool {
    path.strip_prefix(top).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

impl Op {
    /// The paths at which it puts a file or directory.
    fn gives(&self) -> impl Iterator<Item = &str> {
        let (one, other) = match self {
            Op::Create(path)
            | Op::Symlink(path)
            | Op::Mkdir(path)
            | Op::Open(_, path)
            | Op::LinkSlot(_, path)
            | Op::Snapshot(path, _)
            | Op::Twin(path, _)
            | Op::Link(_, path)
            | Op::Rename(_, path) => (Some(path), None),
            Op::Exchange(a, b) => (Some(a), Some(b)),
            Op::Remove(_) | Op::Tmpfile(..) | Op::Close(_) | Op::Chmod(_) => (None, None),
        };
        one.into_iter().chain(other).map(String::as_str)
    }

    /// The paths from which it takes a file or directory.
    fn takes(&self) -> impl Iterator<Item = &str> {
        let (one, other) = match self {
            Op::Remove(path) | Op::Rename(path, _) => (Some(path), None),
            Op::Exchange(a, b) => (Some(a), Some(b)),
            _ => (None, None),
        };
        one.into_iter().chain(other).map(String::as_str)
    }

    /// Whether the line reports exactly this operation.
    fn is(&self, line: &ReportedLine) -> bool {
        let inside = |path: &str| is_at_or_below(path, WATCHED).then(|| path.to_owned());
        let renamed = |old: &str, new: &str| {
            line.kind == "RENAME" && line.path == inside(new) && line.old == inside(old)
        };
        match self {
            Op::Create(path)
            | Op::Symlink(path)
            | Op::Mkdir(path)
            | Op::Open(_, path)
            | Op::LinkSlot(_, path)
            | Op::Snapshot(path, _)
            | Op::Twin(path, _)
            | Op::Link(_, path) => line.kind == "CREATE" && line.path.as_ref() == Some(path),
            Op::Remove(path) => line.kind == "DELETE" && line.path.as_ref() == Some(path),
            Op::Rename(old, new) => renamed(old, new),
            Op::Exchange(a, b) => renamed(a, b) || renamed(b, a),
            Op::Tmpfile(..) | Op::Close(_) | Op::Chmod(_) => false,
        }
    }
}

/// The number of lines that are flagged.
pub(super) fn flagged(reported: &[ReportedLine]) -> usize {
    reported.iter().filter(|line| line.is_flagged()).count()
}

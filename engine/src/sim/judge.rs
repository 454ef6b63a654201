//! What the lines of a run are worth: against the end that the model came to, and against what its
//! processes really did.

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
    /// 0: nobody is named.
    pub(super) pid: u32,
    pub(super) sure: Attribution,
    /// `found`, `exchange`, `unsure`.
    pub(super) flags: [bool; 3],
}

impl ReportedLine {
    /// Whether it may have come before a removal that the kernel merged it with.
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

/// Takes records, and keeps the lines that they are.
pub(super) struct Lines {
    mirror: Mirror,
    pub(super) reported: Vec<ReportedLine>,
    /// Losses told of.
    pub(super) losses: usize,
    /// Records that are no definition and no statistics.
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

/// What is wrong with a run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Fault {
    /// A line made no sense when it came.
    Senseless(usize, &'static str),
    /// There in the end, and not by the lines; or the other way round.
    Missing(String),
    Extra(String),
    /// A line that claims to be certain names a process that did not do that.
    Who(usize),
    /// A line that claims to be certain tells of what nobody did there.
    Where(usize),
    /// Something was still printed long after the last event.
    Endless,
}

fn listing(all: &BTreeMap<String, bool>) -> Listing {
    all.iter().map(|(path, is_dir)| (PathBuf::from(path), *is_dir)).collect()
}

/// The first fault of each sort.
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
            // The root itself came or went; what is below it follows.
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

/// A root that went has nothing in it; when it comes, its contents are reported.
fn apply_root(replay: &mut Replay<'_>, line: &ReportedLine) {
    let goes = line.old.as_deref() == Some(WATCHED) || line.kind == "DELETE";
    if goes || line.kind == "CREATE" || line.kind == "RENAME" {
        *replay = Replay::new(Path::new(WATCHED), Listing::new());
    }
}

/// Whether a line that names a process is true of what that process did.
fn check(at: usize, line: &ReportedLine, truth: &[Truth]) -> Option<Fault> {
    let [found, exchange, unsure] = line.flags;
    // No file ever had such a name.
    if [&line.path, &line.old].into_iter().flatten().any(|path| path.contains("/#")) {
        return Some(Fault::Where(at));
    }
    if line.pid == 0 || !matches!(line.kind, "CREATE" | "DELETE" | "RENAME") {
        return None;
    }
    let of_pid = || truth.iter().filter(|done| done.pid == line.pid);
    // Who made a path be there: by making it, or by bringing it or a directory above it. Who took it away.
    let brought =
        |path: &str| of_pid().any(|done| done.op.gives().any(|to| is_at_or_below(path, to)));
    let took = |path: &str| {
        let takes = |done: &Truth| done.op.takes().any(|from| is_at_or_below(path, from));
        // Where another replaced it.
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
    // Of the root itself, what is done to a directory above it counts.
    let is_of_root = [&line.path, &line.old].into_iter().flatten().any(|path| path == WATCHED);
    if is_of_root && took(WATCHED) || of_pid().any(|done| done.op.is(line)) {
        return None;
    }
    let by_another = truth.iter().any(|done| done.op.is(line));
    Some(if by_another { Fault::Who(at) } else { Fault::Where(at) })
}

/// A name of fsmon's own takes part.
fn is_parked(line: &ReportedLine) -> bool {
    [&line.path, &line.old].into_iter().flatten().any(|path| path.contains("/.exchange-"))
}

fn is_at_or_below(path: &str, top: &str) -> bool {
    path.strip_prefix(top).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

impl Op {
    /// The names that it gives.
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

    /// The names that it takes.
    fn takes(&self) -> impl Iterator<Item = &str> {
        let (one, other) = match self {
            Op::Remove(path) | Op::Rename(path, _) => (Some(path), None),
            Op::Exchange(a, b) => (Some(a), Some(b)),
            _ => (None, None),
        };
        one.into_iter().chain(other).map(String::as_str)
    }

    /// Whether that is what a line says.
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

/// How many of them say that they are less than certain.
pub(super) fn flagged(reported: &[ReportedLine]) -> usize {
    reported.iter().filter(|line| line.is_flagged()).count()
}

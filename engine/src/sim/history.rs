//! Histories: what processes do, and when the reader takes its turns. [`make`] makes a history from a seed. A history
//! is a plain list of steps, so `shrink` can remove steps from one that fails.

use super::files::{Files, Notice, Reuse};
use super::rng::Rng;

/// One thing that a process does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Op {
    /// open(2) with `O_CREAT`, then close(2).
    Create(String),
    Symlink(String),
    Mkdir(String),
    /// unlink(2) or rmdir(2).
    Remove(String),
    Rename(String, String),
    Exchange(String, String),
    Link(String, String),
    /// open(2) for writing; the slot keeps the file open.
    Open(u8, String),
    /// open(2) with `O_TMPFILE`.
    Tmpfile(u8, String),
    /// linkat(2) of the open file in a slot.
    LinkSlot(u8, String),
    Close(u8),
    Chmod(String),
    /// mkdir(2) of the first path; the directory gets the handle of the second.
    Twin(String, String),
    /// A btrfs snapshot, with this number of nested subvolumes.
    Snapshot(String, u8),
}

impl Op {
    /// Performs the operation; `None` if the kernel would refuse it.
    pub(super) fn apply(&self, files: &mut Files) -> Option<Vec<Notice>> {
        match self {
            Op::Create(path) => files.create(path),
            Op::Symlink(path) => files.symlink(path),
            Op::Mkdir(path) => files.mkdir(path),
            Op::Remove(path) => files.remove(path),
            Op::Rename(old, new) => files.rename(old, new),
            Op::Exchange(a, b) => files.exchange(a, b),
            Op::Link(old, new) => files.link(old, new),
            Op::Open(slot, path) => files.open(*slot, path),
            Op::Tmpfile(slot, dir) => files.tmpfile(*slot, dir),
            Op::LinkSlot(slot, path) => files.link_slot(*slot, path),
            Op::Close(slot) => files.close(*slot),
            Op::Chmod(path) => files.chmod(path),
            Op::Twin(path, of) => files.twin(path, of),
            Op::Snapshot(path, stubs) => files.snapshot(path, usize::from(*stubs)),
        }
    }
}

/// An operation, and the process that performs it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Act {
    pub(super) pid: u32,
    pub(super) op: Op,
}

/// One step of a history.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Step {
    Act(Act),
    /// A turn of the reader: it takes the events that wait, `events` in each buffer (0: all in one buffer), and
    /// resolves them. Meanwhile the next `beside` acts happen, one at each look at the disk. If `is_split`, their
    /// events are queued some looks after the change.
    Turn {
        events: u8,
        beside: u8,
        is_split: bool,
    },
}

/// The kind of operations in a history.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Mix {
    /// Files and directories are created, removed and renamed: inside the watched directory, into it and out of it.
    Plain,
    /// Hard links, inside the watched directory and outside.
    Links,
    /// `RENAME_EXCHANGE` of two names.
    Exchanges,
    /// As plain, with a mark on each directory, as on overlayfs.
    Inodes,
    /// As plain, but most operations are outside the watched directory. `conform` mutes directories there. In the
    /// simulator a history is too short for fsmon to find a directory busy.
    Muted,
    /// The queue has a limit and overflows.
    Overflow,
    /// The watched directory, or one above it, is renamed, removed and created again.
    Roots,
    /// Files are created without a name (`O_TMPFILE`). Some get one later.
    Nameless,
    /// As plain, but the filesystem uses handles again at once (generation 0).
    Reuse,
    /// Twins: a new directory gets the handle of an existing one.
    Twins,
    /// btrfs snapshots whose directories share a handle are created and removed.
    Snapshots,
    /// As plain, but a walk in progress reads one directory in each turn, so events come in between.
    Walks,
}

/// A whole history.
#[derive(Clone, Debug)]
pub(super) struct History {
    pub(super) mix: Mix,
    pub(super) steps: Vec<Step>,
}

/// The watched directory, and a directory outside of it.
pub(super) const WATCHED: &str = "/r/w";
pub(super) const OUTSIDE: &str = "/o";
/// The processes of all histories. The kernel assigns no pid as high as these (`PID_MAX_LIMIT`).
pub(super) const PIDS: [u32; 3] = [(1 << 22) + 1, (1 << 22) + 2, (1 << 22) + 3];

const NAMES: [&str; 5] = ["a", "b", "c", "d", "e"];
/// Limits the number of steps: a history has from 2 to `STEPS` + 1, and one more if a turn is before the last act.
const STEPS: usize = 40;

impl Mix {
    pub(super) fn reuse(self) -> Reuse {
        if self == Mix::Reuse { Reuse::Soon } else { Reuse::Never }
    }

    pub(super) fn marks_each(self) -> bool {
        matches!(self, Mix::Inodes | Mix::Twins)
    }

    /// The most events that the queue can hold; 0: no limit.
    pub(super) fn queue_limit(self) -> usize {
        if self == Mix::Overflow { 6 } else { 0 }
    }

    /// Whether a walk reads one directory in a step. Otherwise the first step reads all, as trees are small here.
    pub(super) fn walks_in_steps(self) -> bool {
        self == Mix::Walks || std::env::var_os("FSMON_SIM_STEPS").is_some()
    }

    /// Whether fsmon may correct its tree without lines for it, because it reports a loss instead: then the lines do
    /// not report every change.
    pub(super) fn may_lose(self) -> bool {
        matches!(self, Mix::Overflow | Mix::Twins)
    }
}

/// The operations that make what exists at the start.
pub(super) fn first(mix: Mix) -> Vec<Op> {
    let dirs = ["/r", "/r/w", "/o", "/r/w/d", "/r/w/d/e", "/r/w/e", "/o/d", "/o/d/e"];
    let files = ["/r/w/a", "/r/w/b", "/r/w/d/a", "/r/w/d/e/b", "/o/a", "/o/d/b", "/o/d/e/a"];
    let mut all: Vec<_> = dirs.iter().map(|path| Op::Mkdir((*path).into())).collect();
    all.extend(files.iter().map(|path| Op::Symlink((*path).into())));
    if mix == Mix::Links {
        all.push(Op::Link("/r/w/a".into(), "/r/w/c".into()));
        all.push(Op::Link("/r/w/b".into(), "/o/b".into()));
    }
    all
}

/// Makes a history from a seed. It applies each operation to a filesystem of its own as it goes, so that most
/// operations of the history succeed.
pub(super) fn make(mix: Mix, seed: u64) -> History {
    let mut rng = Rng::new(seed ^ (mix as u64) << 56);
    let mut files = Files::new(mix.reuse());
    for op in first(mix) {
        op.apply(&mut files);
    }
    let count = 2 + rng.below(STEPS);
    // With few processes and few turns the kernel merges many events. With more processes and turns there are more
    // orders of events.
    let (pids, turns) = (1 + rng.below(PIDS.len()), 3 + rng.below(40));
    let mut steps = Vec::new();
    while steps.len() < count {
        if rng.chance(turns) {
            let events = if rng.chance(60) { 0 } else { 16 + rng.below(16) as u8 };
            let beside = if rng.chance(40) { 1 + rng.below(6) as u8 } else { 0 };
            steps.push(Step::Turn { events, beside, is_split: rng.chance(30) });
        }
        let pid = PIDS[rng.below(pids)];
        let op = choose(mix, &files, &mut rng);
        let tries = op.apply(&mut files).is_some() || rng.chance(5);
        if tries {
            steps.push(Step::Act(Act { pid, op }));
        }
    }
    History { mix, steps }
}

/// All paths below `top`, or only those of directories.
fn paths(files: &Files, top: &str, dirs: bool) -> Vec<String> {
    let all = files.listing(top).into_iter();
    all.filter(|(_, is_dir)| *is_dir || !dirs).map(|(path, _)| path).collect()
}

struct Choice<'a> {
    files: &'a Files,
    rng: &'a mut Rng,
    outside: usize,
}

impl Choice<'_> {
    fn top(&mut self) -> &'static str {
        if self.rng.chance(self.outside) { OUTSIDE } else { WATCHED }
    }

    /// An existing path, or a new one if the directory is empty.
    fn there(&mut self) -> String {
        let top = self.top();
        let all = paths(self.files, top, false);
        self.rng.pick(&all).cloned().unwrap_or_else(|| format!("{top}/a"))
    }

    fn dir(&mut self) -> String {
        let top = self.top();
        let mut all = paths(self.files, top, true);
        all.push(top.into());
        self.rng.pick(&all).cloned().unwrap_or_else(|| top.into())
    }

    fn new_path(&mut self) -> String {
        format!("{}/{}", self.dir(), NAMES[self.rng.below(NAMES.len())])
    }

    fn slot(&mut self) -> u8 {
        self.rng.below(2) as u8
    }
}

fn choose(mix: Mix, files: &Files, rng: &mut Rng) -> Op {
    let outside = match mix {
        Mix::Muted => 60,
        Mix::Walks => 40,
        _ => 25,
    };
    let special = rng.below(100);
    let mut of = Choice { files, rng, outside };
    match mix {
        Mix::Links if special < 35 => return Op::Link(of.there(), of.new_path()),
        Mix::Exchanges if special < 35 => return Op::Exchange(of.there(), of.there()),
        Mix::Nameless if special < 60 => {
            return match special % 5 {
                0 | 1 => Op::Tmpfile(of.slot(), of.dir()),
                2 => Op::LinkSlot(of.slot(), of.new_path()),
                _ => Op::Close(of.slot()),
            };
        }
        Mix::Twins if special < 10 => {
            let (path, like) = (of.new_path(), of.dir());
            if like != WATCHED && like != OUTSIDE {
                return Op::Twin(path, like);
            }
        }
        Mix::Snapshots if special < 20 => {
            return Op::Snapshot(of.new_path(), 1 + (special % 3) as u8);
        }
        Mix::Roots if special < 30 => {
            let places = ["/r", "/r/w", "/r2", "/w2", "/o/w"];
            let (a, b) = (of.rng.below(places.len()), of.rng.below(places.len()));
            return match special % 6 {
                0 => Op::Mkdir(places[a].into()),
                1 => Op::Remove(places[a].into()),
                2 if a != b => Op::Exchange(places[a].into(), places[b].into()),
                _ => Op::Rename(places[a].into(), places[b].into()),
            };
        }
        _ => {}
    }
    match of.rng.below(100) {
        0..15 => Op::Create(of.new_path()),
        15..22 => Op::Symlink(of.new_path()),
        22..37 => Op::Mkdir(of.new_path()),
        37..55 => Op::Remove(of.there()),
        55..88 => Op::Rename(of.there(), of.new_path()),
        88..92 => Op::Open(of.slot(), of.new_path()),
        92..97 => Op::Close(of.slot()),
        _ => Op::Chmod(of.there()),
    }
}

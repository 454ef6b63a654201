//! What a seed stands for.

use super::rng::Rng;

/// Who may do what where: how the truth about paths is had.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Mode {
    /// Each process has a subtree of its own, and so knows every path.
    Own,
    /// All work in one tree; a lock keeps directories in their places while a path counts.
    Locked,
    /// All work in one tree, and nobody waits: names may lie, only the replay tells.
    Free,
}

/// What a process can do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Op {
    Mkdir,
    Rmdir,
    Create,
    Write,
    Unlink,
    Chmod,
    /// A file renamed, often over another.
    Rename,
    RenameDir,
    /// A file renamed back and forth between two names.
    ToFro,
    ToFroDir,
    /// A file made and removed by the same name again and again.
    Remake,
    Symlink,
    Link,
    /// A link made and removed by the same name again and again.
    Relink,
    Exchange,
    Noreplace,
    Tmpfile,
    /// Out of the watched root, or back in.
    Out,
    /// With all that is below.
    Remove,
    /// `mkdir -p` where another process waits for it.
    Chain,
    /// Below a path longer than PATH_MAX.
    Deep,
}

/// By name, and how often in all of them at most.
const OPS: [(&str, Op, usize); 21] = [
    ("mkdir", Op::Mkdir, 16),
    ("rmdir", Op::Rmdir, 8),
    ("create", Op::Create, 32),
    ("write", Op::Write, 8),
    ("unlink", Op::Unlink, 16),
    ("chmod", Op::Chmod, 4),
    ("rename", Op::Rename, 16),
    ("rename_dir", Op::RenameDir, 16),
    ("to_fro", Op::ToFro, 4),
    ("to_fro_dir", Op::ToFroDir, 4),
    ("remake", Op::Remake, 4),
    ("symlink", Op::Symlink, 4),
    ("link", Op::Link, 4),
    ("relink", Op::Relink, 4),
    ("exchange", Op::Exchange, 4),
    ("noreplace", Op::Noreplace, 4),
    ("tmpfile", Op::Tmpfile, 4),
    ("out", Op::Out, 4),
    ("remove", Op::Remove, 4),
    ("chain", Op::Chain, 4),
    ("deep", Op::Deep, 1),
];

impl Op {
    pub(crate) fn name(self) -> &'static str {
        OPS[self as usize].0
    }

    /// Whether it may change the path of a directory that others work in.
    pub(crate) fn moves_dirs(self) -> bool {
        matches!(self, Op::RenameDir | Op::ToFroDir | Op::Exchange | Op::Out)
    }
}

/// A run.
#[derive(Clone, Debug)]
pub(crate) struct Plan {
    pub(crate) mode: Mode,
    pub(crate) workers: usize,
    /// Steps of each process.
    pub(crate) steps: usize,
    pub(crate) backend: &'static str,
    pub(crate) window: &'static str,
    /// Whether processes pause now and then.
    pub(crate) pauses: bool,
    /// Entries at the start, about.
    pub(crate) entries: usize,
    /// Whether the processes live in namespaces of their own.
    pub(crate) unshared: bool,
    /// What FSMON_OPS says, or would say.
    pub(crate) asked: String,
    /// Up to which sum of weights an operation is taken.
    ops: Vec<(usize, Op)>,
}

impl Plan {
    /// The plan of a seed, with what the environment says instead: FSMON_OPS (names to take, or
    /// with a minus each to leave out; else `left_out`), FSMON_MODE, FSMON_WORKERS, FSMON_STEPS, FSMON_BACKEND,
    /// FSMON_WINDOW.
    pub(crate) fn of(seed: u64, backends: &[&'static str], left_out: &str) -> Self {
        let asked = std::env::var("FSMON_OPS").unwrap_or_else(|_| left_out.into());
        let mut rng = Rng::new(seed, u64::MAX);
        let modes = [Mode::Own, Mode::Own, Mode::Locked, Mode::Locked, Mode::Free];
        let windows = ["1us", "1ms", "1ms", "20ms", "200ms"];
        let one_of = |rng: &mut Rng, all: &[&'static str]| *rng.pick(all).expect("some");
        let mut plan = Plan {
            mode: *rng.pick(&modes).expect("some"),
            workers: 1 + rng.below(4),
            steps: 50 << rng.below(6),
            backend: one_of(&mut rng, backends),
            window: one_of(&mut rng, &windows),
            pauses: rng.chance(1, 4),
            entries: 1 << rng.below(9),
            unshared: rng.chance(1, 8),
            asked: String::new(),
            ops: Vec::new(),
        };
        let (mut weights, mut sum) = ([0; OPS.len()], 0);
        for (weight, (name, op, most)) in weights.iter_mut().zip(OPS) {
            // Few kinds in one run find other things than all kinds in every run.
            let drawn = if rng.chance(1, 3) { 0 } else { (most * (1 + rng.below(4))).div_ceil(4) };
            let least = if matches!(op, Op::Mkdir | Op::Create) { most / 2 } else { 0 };
            *weight = if is_wanted(&asked, name) { drawn.max(least) } else { 0 };
            if is_asked_for(&asked, name) {
                *weight = (*weight).max(most.max(1));
            }
        }
        for (weight, (_, op, _)) in weights.iter().zip(OPS) {
            sum += weight;
            plan.ops.push((sum, op));
        }
        if plan.does(Op::Out) && matches!(plan.window, "20ms" | "200ms") {
            // A directory that comes in is read when its event is: later than what happens in it
            // meanwhile, by the window.
            plan.window = "1ms";
        }
        plan.asked = asked;
        assert!(sum > 0, "FSMON_OPS leaves nothing to do");
        plan.override_by_environment();
        plan
    }

    fn override_by_environment(&mut self) {
        let number = |name: &str| std::env::var(name).ok().map(|text| text.parse().expect(name));
        let text = |name: &str| std::env::var(name).ok().map(|text| &*text.leak());
        match text("FSMON_MODE") {
            Some("own") => self.mode = Mode::Own,
            Some("locked") => self.mode = Mode::Locked,
            Some("free") => self.mode = Mode::Free,
            Some(other) => panic!("FSMON_MODE: own, locked or free, not {other}"),
            None => {}
        }
        self.workers = number("FSMON_WORKERS").unwrap_or(self.workers);
        self.steps = number("FSMON_STEPS").unwrap_or(self.steps);
        self.backend = text("FSMON_BACKEND").unwrap_or(self.backend);
        self.window = text("FSMON_WINDOW").unwrap_or(self.window);
    }

    fn does(&self, wanted: Op) -> bool {
        let mut below = 0;
        self.ops.iter().any(|&(up_to, op)| {
            let weight = up_to - std::mem::replace(&mut below, up_to);
            op == wanted && weight > 0
        })
    }

    /// What to do next.
    pub(crate) fn pick(&self, rng: &mut Rng) -> Op {
        let sum = self.ops.last().map_or(0, |(sum, _)| *sum);
        let drawn = rng.below(sum);
        let found = self.ops.iter().find(|(up_to, _)| drawn < *up_to);
        found.expect("below the sum").1
    }
}

/// What is left out unless FSMON_OPS says otherwise: not every line of it is exact as yet.
pub(crate) const LEFT_OUT: &str = "-exchange";
/// The same where each directory has a mark of its own.
pub(crate) const LEFT_OUT_MARKED: &str = "-exchange,-out";

/// Whether an operation is to be taken at all.
fn is_wanted(asked: &str, name: &str) -> bool {
    let (mut without, with): (Vec<_>, Vec<_>) =
        asked.split(',').filter(|one| !one.is_empty()).partition(|one| one.starts_with('-'));
    for one in &mut without {
        *one = &one[1..];
    }
    for one in without.iter().chain(&with) {
        assert!(OPS.iter().any(|(known, ..)| known == one), "FSMON_OPS: there is no {one}");
    }
    !without.contains(&name) && (with.is_empty() || with.contains(&name))
}

/// Whether it is to be taken whatever the seed says.
fn is_asked_for(asked: &str, name: &str) -> bool {
    asked.split(',').any(|one| one == name)
}

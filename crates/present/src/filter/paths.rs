//! The filter on paths. The verdict on each directory is cached by its id. So an event costs one lookup and,
//! if that does not decide, one match of the event's own path.

use super::PathGlobs;
use super::regexes::Regexes;
use crate::world::Change;
use fsmon_format::kind;
use fsmon_format::mirror::{Capacity, DEPTH_MAX, Mirror};
use fsmon_format::record::EventRef;

/// The verdict on everything in a directory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Verdict {
    /// The directory, or one above it, matches `include`; or `include` is empty.
    included: bool,
    /// The directory, or one above it, matches `exclude`.
    excluded: bool,
}

impl Verdict {
    fn passes(self) -> bool {
        self.included && !self.excluded
    }
}

/// The globs, and the verdicts on directories.
pub struct PathFilter {
    include: Option<PathGlobs>,
    exclude: Option<PathGlobs>,
    regexes: Option<Regexes>,
    /// The directory that globs are relative to: nothing outside of it passes. `None`: each watched root.
    base: Option<Box<[u8]>>,
    /// By directory id: the epoch, and two bits of verdict.
    verdicts: Vec<u32>,
    /// A renamed directory raises it, which invalidates the verdicts on all directories below. Never 0.
    epoch: u32,
    path: Vec<u8>,
    /// The root above `path`, if the globs need it.
    root: Vec<u8>,
    /// Directories on the way up to one whose verdict is known.
    pending: Vec<u32>,
}

const INCLUDED: u32 = 1;
const EXCLUDED: u32 = 2;
const EPOCH_SHIFT: u32 = 2;

impl PathFilter {
    /// `None` if there is neither a glob nor a regular expression.
    pub fn new(
        include: Option<PathGlobs>,
        exclude: Option<PathGlobs>,
        regexes: Option<Regexes>,
        capacity: Capacity,
    ) -> Option<Self> {
        let is_any = include.is_some() || exclude.is_some() || regexes.is_some();
        is_any.then(|| PathFilter {
            include,
            exclude,
            regexes,
            base: None,
            verdicts: vec![0; capacity.dirs + 1],
            epoch: 1,
            path: Vec::with_capacity(1 << 13),
            root: Vec::with_capacity(1 << 13),
            pending: Vec::with_capacity(1 << 10),
        })
    }

    /// Makes globs relative to the directory `base`, an absolute path without symbolic links.
    pub fn set_base(&mut self, base: &[u8]) {
        self.base = Some(base.into());
        self.raise_epoch();
    }

    pub fn changed(&mut self, change: Change) {
        match change {
            Change::Dir(id) => {
                if let Some(verdict) = self.verdicts.get_mut(id as usize) {
                    *verdict = 0;
                }
            }
            Change::Renamed(_) | Change::Everything => self.raise_epoch(),
            Change::Nothing | Change::Proc(_) | Change::Str(_) => {}
        }
    }

    fn raise_epoch(&mut self) {
        self.epoch += 1;
        if self.epoch >> (u32::BITS - EPOCH_SHIFT) != 0 {
            self.verdicts.fill(0);
            self.epoch = 1;
        }
    }

    /// Those of `types` that pass. A RENAME passes if either of its paths does, MOVED_FROM if the old path
    /// does.
    pub fn wanted(&mut self, mirror: &Mirror, event: &EventRef<'_>, types: u32) -> u32 {
        let of_old = types & (kind::RENAME | kind::MOVED_FROM);
        let (dir, dir2) = (event.head.dir.get(), event.head.dir2.get());
        let new = (dir != 0 || dir2 == 0) && self.passes(mirror, dir, event.name);
        let old = of_old != 0 && dir2 != 0 && self.passes(mirror, dir2, event.name2);
        let mut wanted = 0;
        if new {
            wanted |= types & !kind::MOVED_FROM;
        }
        if old {
            wanted |= of_old;
        }
        wanted
    }

    /// An unknown path passes unless one has to be included.
    fn passes(&mut self, mirror: &Mirror, dir: u32, name: &[u8]) -> bool {
        let has_globs = self.include.is_some() || self.exclude.is_some();
        (!has_globs || self.globs_pass(mirror, dir, name)) && self.regexes_pass(mirror, dir, name)
    }

    /// These depend on the whole path, so nothing is known from the directory alone.
    fn regexes_pass(&mut self, mirror: &Mirror, dir: u32, name: &[u8]) -> bool {
        let Some(regexes) = &self.regexes else { return true };
        self.path.clear();
        if dir == 0 || !mirror.append_dir_path(dir, &mut self.path) {
            return !regexes.must_include();
        }
        if !name.is_empty() {
            if self.path.last() != Some(&b'/') {
                self.path.push(b'/');
            }
            self.path.extend_from_slice(name);
        }
        regexes.pass(&self.path)
    }

    /// A path outside of `base` does not pass.
    fn globs_pass(&mut self, mirror: &Mirror, dir: u32, name: &[u8]) -> bool {
        let Some(verdict) = self.verdict(mirror, dir) else {
            let is_outside = self.base.is_some() && mirror.dir(dir).is_some();
            return self.include.is_none() && !is_outside;
        };
        if verdict.excluded || name.is_empty() {
            return verdict.passes();
        }
        if self.exclude.is_none() && verdict.included {
            return true;
        }
        if self.need_path() {
            if !self.set_path(mirror, dir) {
                return self.include.is_none();
            }
            if !self.path.is_empty() {
                self.path.push(b'/');
            }
        } else {
            self.path.clear();
        }
        self.path.extend_from_slice(name);
        self.refine(verdict, &self.path).passes()
    }

    /// The verdict on `path` below `self.root`, given the verdict on its directory.
    fn refine(&self, dir: Verdict, path: &[u8]) -> Verdict {
        let matches = |globs: &Option<PathGlobs>| {
            globs.as_ref().is_some_and(|globs| globs.matches(&self.root, path))
        };
        Verdict {
            included: dir.included || matches(&self.include),
            excluded: dir.excluded || matches(&self.exclude),
        }
    }

    fn need_path(&self) -> bool {
        [&self.include, &self.exclude].into_iter().flatten().any(PathGlobs::need_path)
    }

    #[inline]
    fn verdict(&mut self, mirror: &Mirror, dir: u32) -> Option<Verdict> {
        match self.kept(dir) {
            Some(verdict) => Some(verdict),
            None => self.decide(mirror, dir),
        }
    }

    #[inline]
    fn kept(&self, dir: u32) -> Option<Verdict> {
        let kept = *self.verdicts.get(dir as usize)?;
        (kept >> EPOCH_SHIFT == self.epoch)
            .then_some(Verdict { included: kept & INCLUDED != 0, excluded: kept & EXCLUDED != 0 })
    }

    fn keep(&mut self, dir: u32, verdict: Verdict) {
        let bits = u32::from(verdict.included) * INCLUDED + u32::from(verdict.excluded) * EXCLUDED;
        if let Some(kept) = self.verdicts.get_mut(dir as usize) {
            *kept = self.epoch << EPOCH_SHIFT | bits;
        }
    }

    /// `None` if the chain of parents is broken, or if the directory is outside of `base`.
    #[cold]
    fn decide(&mut self, mirror: &Mirror, dir: u32) -> Option<Verdict> {
        let above = self.climb(mirror, dir)?;
        match (above, &self.base) {
            (Some(verdict), _) => self.descend(mirror, verdict),
            (None, None) => self.descend(mirror, self.of_top()),
            (None, Some(_)) => self.decide_below_base(mirror, dir),
        }
    }

    /// The verdict on a root, or on `base`.
    fn of_top(&self) -> Verdict {
        Verdict { included: self.include.is_none(), excluded: false }
    }

    /// Puts into `pending` the directories from `dir` up to a root, or up to one below a directory whose verdict is known.
    /// Returns that verdict, which is never one on a directory outside of `base`. `None` if the chain of parents is broken.
    fn climb(&mut self, mirror: &Mirror, dir: u32) -> Option<Option<Verdict>> {
        self.pending.clear();
        let mut at = dir;
        while self.pending.len() < DEPTH_MAX {
            self.pending.push(at);
            at = mirror.dir(at)?.parent;
            let known = if at == 0 { None } else { self.kept(at) };
            if at == 0 || known.is_some() {
                return Some(known);
            }
        }
        None
    }

    /// Decides about each directory in `pending`, the uppermost first, given the verdict on the one above it.
    fn descend(&mut self, mirror: &Mirror, above: Verdict) -> Option<Verdict> {
        let mut verdict = above;
        while let Some(next) = self.pending.pop() {
            let entry = mirror.dir(next)?;
            if entry.parent != 0 {
                if self.need_path() {
                    self.set_path(mirror, next).then_some(())?;
                } else {
                    self.path.clear();
                    self.path.extend_from_slice(mirror.dir_name(entry));
                }
                verdict = self.refine(verdict, &self.path);
            }
            self.keep(next, verdict);
        }
        Some(verdict)
    }

    /// The verdict on a directory from those on each directory between it and `base`.
    fn decide_below_base(&mut self, mirror: &Mirror, dir: u32) -> Option<Verdict> {
        self.set_path(mirror, dir).then_some(())?;
        let mut verdict = self.of_top();
        let ends = memchr::memchr_iter(b'/', &self.path).chain([self.path.len()]);
        for end in ends.filter(|end| *end > 0) {
            verdict = self.refine(verdict, &self.path[..end]);
        }
        self.keep(dir, verdict);
        Some(verdict)
    }

    /// Sets `path` to the path of `dir` below what globs are relative to, and `root` to the path of that.
    fn set_path(&mut self, mirror: &Mirror, dir: u32) -> bool {
        match &self.base {
            None => below_root(mirror, dir, &mut self.root, &mut self.path),
            Some(base) => {
                self.root.clear();
                self.root.extend_from_slice(base);
                below_base(mirror, dir, base, &mut self.path)
            }
        }
    }
}

/// Sets `path` to the path of `dir` below the directory `base`. Returns false if it is not known, or not below.
fn below_base(mirror: &Mirror, dir: u32, base: &[u8], path: &mut Vec<u8>) -> bool {
    path.clear();
    if !mirror.append_dir_path(dir, path) {
        return false;
    }
    let Some(below) = rest_below(path, base).map(<[u8]>::len) else { return false };
    path.drain(..path.len() - below);
    true
}

/// What is left of `path` below the directory `base`, without a slash before it; empty for `base` itself. `None` if
/// it is not below. Both are absolute.
pub fn rest_below<'a>(path: &'a [u8], base: &[u8]) -> Option<&'a [u8]> {
    let base = if base == b"/" { &[] } else { base };
    match path.strip_prefix(base)? {
        [] => Some(&[]),
        [b'/', rest @ ..] => Some(rest),
        _ => None,
    }
}

/// Sets `path` to the path of `dir` below its root, and `top` to the path of the root. Returns false if these
/// are not known.
fn below_root(mirror: &Mirror, dir: u32, top: &mut Vec<u8>, path: &mut Vec<u8>) -> bool {
    path.clear();
    if !mirror.append_dir_path(dir, path) {
        return false;
    }
    let mut at = dir;
    while let Some(entry) = mirror.dir(at) {
        if entry.parent == 0 {
            let root = mirror.dir_name(entry);
            top.clear();
            top.extend_from_slice(root);
            let slash = usize::from(path.get(root.len()) == Some(&b'/'));
            path.drain(..root.len() + slash);
            return true;
        }
        at = entry.parent;
    }
    false
}

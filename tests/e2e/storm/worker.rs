//! A process that works in the tree: where it is, and the system calls, each with its line in the
//! log.

use super::names;
use super::plan::{Mode, Op, Plan};
use super::rng::Rng;
use nix::dir::{Dir, Type};
use nix::fcntl::{
    AtFlags, Flock, FlockArg, OFlag, OpenHow, RenameFlags, ResolveFlag, openat, openat2, renameat2,
};
use nix::sys::stat::{Mode as Bits, mkdirat};
use nix::unistd::{UnlinkatFlags, linkat, symlinkat, unlinkat};
use std::fmt::Write;
use std::fs::File;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::time::Duration;

/// Bytes of a path that one openat2(2) gets: below PATH_MAX.
const PIECE_MAX: usize = 4000;

/// A directory, and its path below the root when it was opened.
#[derive(Clone)]
pub(crate) struct Place {
    pub(crate) path: Vec<u8>,
    pub(crate) fd: Rc<OwnedFd>,
}

impl Place {
    /// The path of an entry.
    pub(crate) fn join(&self, name: &[u8]) -> Vec<u8> {
        let mut path = self.path.clone();
        if !path.is_empty() {
            path.push(b'/');
        }
        path.extend_from_slice(name);
        path
    }

    pub(crate) fn at(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

/// What a process is told.
#[derive(Clone, Debug)]
pub(crate) struct Job {
    pub(crate) seed: u64,
    /// Which of the processes it is.
    pub(crate) index: usize,
    /// The ways to the root; the first is the watched one.
    pub(crate) roots: Vec<PathBuf>,
    /// A directory on the same filesystem that is not watched.
    pub(crate) outside: PathBuf,
    /// A file to lock.
    pub(crate) lock: PathBuf,
}

pub(crate) struct Worker {
    pub(crate) rng: Rng,
    pub(crate) plan: Plan,
    pub(crate) index: usize,
    pub(crate) outside: Place,
    /// Names in `outside` that it put there, and how many it ever did.
    pub(crate) away: Vec<(Vec<u8>, bool)>,
    pub(crate) away_count: usize,
    /// The number of its last link: no other process has that.
    pub(crate) links: usize,
    /// Where it may work: the root, or its own directory.
    pub(crate) home: Vec<u8>,
    roots: Vec<Rc<OwnedFd>>,
    /// The directory of the last step.
    pub(crate) here: Option<Place>,
    lock: Option<File>,
    log: String,
    /// How often each operation was done with success.
    pub(crate) done: Vec<(Op, usize)>,
}

impl Worker {
    pub(crate) fn new(job: &Job, plan: Plan) -> Self {
        let open = |path: &Path| Rc::new(OwnedFd::from(File::open(path).expect("a directory")));
        let home = match plan.mode {
            Mode::Own => home(job.index),
            Mode::Locked | Mode::Free => Vec::new(),
        };
        Worker {
            rng: Rng::new(job.seed, job.index as u64),
            plan,
            index: job.index,
            outside: Place { path: b"OUTSIDE".to_vec(), fd: open(&job.outside) },
            away: Vec::new(),
            away_count: 0,
            links: job.index * 1_000_000,
            home,
            roots: job.roots.iter().map(|root| open(root)).collect(),
            here: None,
            lock: Some(File::open(&job.lock).expect("a file to lock")),
            log: String::new(),
            done: Vec::new(),
        }
    }

    /// Does all steps, and gives the log.
    pub(crate) fn work(mut self) -> (String, Vec<(Op, usize)>) {
        for step in 0..self.plan.steps {
            let op = self.plan.pick(&mut self.rng);
            let _ = writeln!(self.log, "# {step} {}", op.name());
            let result = self.locked(op, |this| this.act(op));
            match result {
                Ok(()) => self.count(op),
                Err(errno) => {
                    self.here = None;
                    let _ = writeln!(self.log, "# {step} ended: {errno}");
                }
            }
            if self.plan.pauses && self.rng.chance(1, 40) {
                std::thread::sleep(Duration::from_micros(self.rng.below(5000) as u64));
            }
        }
        (self.log, self.done)
    }

    fn count(&mut self, op: Op) {
        match self.done.iter_mut().find(|(known, _)| *known == op) {
            Some((_, count)) => *count += 1,
            None => self.done.push((op, 1)),
        }
    }

    /// Does something during which paths stay as they are, where the plan says so.
    pub(crate) fn locked<T>(&mut self, op: Op, action: impl FnOnce(&mut Self) -> T) -> T {
        if self.plan.mode != Mode::Locked {
            return action(self);
        }
        let how = if op.moves_dirs() { FlockArg::LockExclusive } else { FlockArg::LockShared };
        let file = self.lock.take().expect("not locked twice");
        let guard = Flock::lock(file, how).expect("locked");
        // What was known of paths before counts no more.
        if let Some(here) = self.here.take() {
            self.here = self.open(&here.path).ok();
        }
        let result = action(self);
        self.lock = Some(guard.unlock().expect("unlocked"));
        result
    }

    /// Opens a directory by its path below the root, through no symbolic link.
    pub(crate) fn open(&mut self, path: &[u8]) -> nix::Result<Place> {
        let root = self.rng.below(self.roots.len());
        let mut fd = Rc::clone(&self.roots[root]);
        let mut rest = path;
        while !rest.is_empty() {
            let end = match rest.len() {
                ..=PIECE_MAX => rest.len(),
                _ => rest[..PIECE_MAX].iter().rposition(|byte| *byte == b'/').expect("a slash"),
            };
            fd = Rc::new(open_dir(fd.as_fd(), &rest[..end])?);
            rest = rest.get(end + 1..).unwrap_or_default();
        }
        Ok(Place { path: path.to_vec(), fd })
    }

    /// A directory to work in: mostly that of the last step, else one somewhere below home.
    pub(crate) fn place(&mut self) -> nix::Result<Place> {
        if let Some(here) = &self.here
            && self.rng.chance(3, 4)
        {
            return Ok(here.clone());
        }
        let mut place = self.open(&self.home.clone())?;
        while self.rng.chance(4, 5) {
            let dirs: Vec<_> =
                entries(place.at())?.into_iter().filter(|(_, is_dir)| *is_dir).collect();
            let Some((name, _)) = self.rng.pick(&dirs) else { break };
            let fd = Rc::new(open_dir(place.at(), name)?);
            place = Place { path: place.join(name), fd };
        }
        self.here = Some(place.clone());
        Ok(place)
    }

    /// An entry of a directory: one that is a directory, or one that is not.
    pub(crate) fn entry(&mut self, place: &Place, is_dir: bool) -> nix::Result<Vec<u8>> {
        let free = self.plan.mode != Mode::Locked;
        let fits = |(name, kind): &(Vec<u8>, bool)| {
            *kind == is_dir && (free || names::is_for_dir(name) == is_dir)
        };
        let all: Vec<_> = entries(place.at())?.into_iter().filter(fits).collect();
        self.rng.pick(&all).map(|(name, _)| name.clone()).ok_or(nix::errno::Errno::ENOENT)
    }

    /// Any entry whose name tells the truth, for what leaves a name where it is.
    pub(crate) fn true_entry(&mut self, place: &Place) -> nix::Result<Vec<u8>> {
        let all = entries(place.at())?.into_iter().map(|(name, _)| name);
        let all: Vec<_> = all.filter(|name| names::says(name, &place.path) == Some(true)).collect();
        self.rng.pick(&all).cloned().ok_or(nix::errno::Errno::ENOENT)
    }

    fn say<T>(&mut self, what: std::fmt::Arguments<'_>, result: &nix::Result<T>) {
        let error = result.as_ref().err().map_or_else(String::new, |errno| format!(" = {errno:?}"));
        let _ = writeln!(self.log, "{what}{error}");
    }

    pub(crate) fn mkdir(&mut self, place: &Place, name: &[u8]) -> nix::Result<()> {
        let result = mkdirat(place.at(), name, Bits::from_bits_truncate(0o755));
        self.say(format_args!("mkdir {}", show(place, name)), &result);
        result
    }

    pub(crate) fn rmdir(&mut self, place: &Place, name: &[u8]) -> nix::Result<()> {
        let result = unlinkat(place.at(), name, UnlinkatFlags::RemoveDir);
        self.say(format_args!("rmdir {}", show(place, name)), &result);
        result
    }

    pub(crate) fn create(&mut self, place: &Place, name: &[u8]) -> nix::Result<File> {
        let flags = OFlag::O_CREAT | OFlag::O_WRONLY | OFlag::O_NOFOLLOW | OFlag::O_NONBLOCK;
        let result = openat(place.at(), name, flags | OFlag::O_CLOEXEC, Bits::S_IRWXU);
        self.say(format_args!("create {}", show(place, name)), &result);
        result.map(File::from)
    }

    pub(crate) fn unlink(&mut self, place: &Place, name: &[u8]) -> nix::Result<()> {
        let result = unlinkat(place.at(), name, UnlinkatFlags::NoRemoveDir);
        self.say(format_args!("unlink {}", show(place, name)), &result);
        result
    }

    pub(crate) fn rename(
        &mut self,
        (from, old): (&Place, &[u8]),
        (to, new): (&Place, &[u8]),
        flags: RenameFlags,
    ) -> nix::Result<()> {
        let result = renameat2(from.at(), old, to.at(), new, flags);
        let how = match flags {
            RenameFlags::RENAME_EXCHANGE => "exchange",
            RenameFlags::RENAME_NOREPLACE => "rename new",
            _ => "rename",
        };
        self.say(format_args!("{how} {} -> {}", show(from, old), show(to, new)), &result);
        result
    }

    pub(crate) fn symlink(&mut self, target: &[u8], place: &Place, name: &[u8]) -> nix::Result<()> {
        let result = symlinkat(target, place.at(), name);
        self.say(format_args!("symlink {}", show(place, name)), &result);
        result
    }

    pub(crate) fn link(
        &mut self,
        (from, old): (&Place, &[u8]),
        (to, new): (&Place, &[u8]),
    ) -> nix::Result<()> {
        let result = linkat(from.at(), old, to.at(), new, AtFlags::empty());
        self.say(format_args!("link {} -> {}", show(from, old), show(to, new)), &result);
        result
    }

    /// Gives a name to a file that has none as yet.
    pub(crate) fn link_unnamed(
        &mut self,
        file: &File,
        place: &Place,
        name: &[u8],
    ) -> nix::Result<()> {
        let number = std::os::fd::AsRawFd::as_raw_fd(file);
        let own = format!("/proc/self/fd/{number}");
        let flags = AtFlags::AT_SYMLINK_FOLLOW;
        let result = linkat(nix::fcntl::AT_FDCWD, own.as_str(), place.at(), name, flags);
        self.say(format_args!("link (unnamed) -> {}", show(place, name)), &result);
        result
    }
}

/// The directory of a process that has one of its own.
pub(crate) fn home(index: usize) -> Vec<u8> {
    format!("home-{index}").into_bytes()
}

fn show(place: &Place, name: &[u8]) -> String {
    place.join(name).escape_ascii().to_string()
}

/// Opens a directory, through no symbolic link and not above where it starts.
pub(crate) fn open_dir(at: BorrowedFd<'_>, path: &[u8]) -> nix::Result<OwnedFd> {
    let how = OpenHow::new()
        .flags(OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC)
        .resolve(ResolveFlag::RESOLVE_NO_SYMLINKS | ResolveFlag::RESOLVE_BENEATH);
    // What another process renames meanwhile makes the kernel unsure of "beneath".
    loop {
        match openat2(at, path, how) {
            Err(nix::errno::Errno::EAGAIN) => {}
            other => return other,
        }
    }
}

/// What is in a directory, by name, and whether it is a directory.
pub(crate) fn entries(at: BorrowedFd<'_>) -> nix::Result<Vec<(Vec<u8>, bool)>> {
    let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
    let mut dir = Dir::openat(at, ".", flags, Bits::empty())?;
    let mut all = Vec::new();
    for entry in dir.iter() {
        let entry = entry?;
        let name = entry.file_name().to_bytes();
        if name != b"." && name != b".." {
            let kind = entry.file_type().expect("every filesystem here tells the type");
            all.push((name.to_vec(), kind == Type::Directory));
        }
    }
    all.sort();
    Ok(all)
}

//! Follows what is mounted while fsmon runs.
//!
//! A thread waits for mountinfo to change (poll(2) says POLLPRI and POLLERR then, `mounts_poll()` in
//! fs/proc_namespace.c), reads it, and compares what concerns the roots with what was there before. It
//! runs at ordinary priority and asks no filesystem anything, so it never waits for one that hangs.
//!
//! What is mounted and unmounted again between two looks is not seen: a look comes within a millisecond
//! of the change on a host that is not overloaded.

use super::below::{Below, Kind, Span, below};
use super::mounts::{self, Mount};
use crate::config::{Notice, Skips};
use crate::hot::mounts::{Change, Happened};
use crate::hot::reader::Control;
use crate::sys::fd::{drain, eventfd, signal};
use crate::sys::poll::wait_for_change;
use std::collections::HashSet;
use std::ffi::OsString;
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;

/// Lines about one look: more would hide other lines. Each change is in the record all the same.
const LINES_MAX: usize = 16;

/// A root, and whether its path leads to the directory that is watched.
struct Root {
    span: Span,
    is_covered: bool,
    /// Whether there was nothing at its path when the watch began.
    was_missing: bool,
}

/// What the thread is asked.
pub(crate) enum Ask {
    /// The path of the root of that number leads elsewhere now: to this one, without symbolic links.
    Follow(usize, Box<[u8]>),
    /// Look for the last time, and end.
    Stop,
}

/// Asks the thread.
#[derive(Clone)]
pub(crate) struct Asker {
    asks: flume::Sender<Ask>,
    attention: Arc<OwnedFd>,
}

impl Asker {
    pub(crate) fn ask(&self, ask: Ask) {
        // The thread ends only when it was told to, or cannot go on, which was said.
        let _ = self.asks.send(ask);
        signal(self.attention.as_fd());
    }
}

/// What concerns the roots, as of the last look.
struct View {
    roots: Vec<Root>,
    /// Roots of other readers.
    elsewhere: Vec<PathBuf>,
    skips: Option<Skips>,
    /// Whether mounts below the roots matter.
    recursive: bool,
    below: Vec<Below>,
    /// Where filesystems are mounted that may not answer. One that a root is on was named.
    slow: Vec<PathBuf>,
}

/// Something changed.
#[derive(Debug, PartialEq, Eq)]
struct News {
    /// What the reader is told; `None` where no change is missing in the record because of it.
    change: Option<Change>,
    line: String,
}

impl News {
    fn new(point: &Path, happened: Happened, line: String) -> News {
        let point = point.as_os_str().as_bytes().into();
        News { change: Some(Change { point, happened, root: None }), line }
    }

    fn of_root(self, root: usize) -> News {
        News { change: self.change.map(|change| Change { root: Some(root), ..change }), ..self }
    }
}

impl View {
    fn find(&mut self, reachable: &[Mount]) -> Vec<Below> {
        if !self.recursive {
            return Vec::new();
        }
        let spans: Vec<_> = self.roots.iter().map(|root| root.span.clone()).collect();
        below(reachable, &spans, &self.elsewhere, &mut self.skips)
    }

    /// Where filesystems are mounted that may not answer, if that has changed.
    fn find_slow(&mut self, reachable: &[Mount]) -> Option<Box<[Box<[u8]>]>> {
        let is_named = |mount: &Mount| self.roots.iter().any(|root| root.span.is_on(mount));
        let slow = reachable.iter().filter(|mount| mount.may_hang() && !is_named(mount));
        let slow: Vec<_> = slow.map(|mount| mount.point.clone()).collect();
        if slow == self.slow {
            return None;
        }
        self.slow = slow;
        Some(self.slow.iter().map(|point| point.as_os_str().as_bytes().into()).collect())
    }

    /// Takes in what is mounted now; what changed since the last look.
    fn look(&mut self, reachable: &[Mount], ids: &HashSet<u32>) -> Vec<News> {
        let looks = self.roots.iter_mut().enumerate();
        let of_roots = looks.filter_map(|(at, root)| Some(root.look(reachable, ids)?.of_root(at)));
        let mut news: Vec<_> = of_roots.collect();
        let (before, mut now) = (std::mem::take(&mut self.below), self.find(reachable));
        // What is below a covered root is another directory's affair: it is as it was.
        let is_hidden = |point: &Path| {
            self.roots.iter().any(|root| root.is_covered && point.starts_with(&root.span.path))
        };
        now.retain(|mount| !is_hidden(&mount.point));
        now.extend(before.iter().filter(|mount| is_hidden(&mount.point)).cloned());
        let is_in = |all: &[Below], mount: &Below| {
            all.iter().any(|other| other.id == mount.id && other.point == mount.point)
        };
        for gone in before.iter().filter(|mount| mount.is_unwatched() && !is_in(&now, mount)) {
            let is_still_hidden =
                |other: &Below| other.is_unwatched() && gone.point.starts_with(&other.point);
            if !now.iter().any(is_still_hidden) {
                let line = format!("{} was unmounted: watched as before", gone.point.display());
                news.push(News::new(&gone.point, Happened::Unmounted, line));
            }
        }
        news.extend(now.iter().filter(|mount| !is_in(&before, mount)).filter_map(mounted));
        self.below = now;
        news
    }
}

impl Root {
    /// Whether what the root's path leads to has changed. `ids` are those of all mounts.
    fn look(&mut self, reachable: &[Mount], ids: &HashSet<u32>) -> Option<News> {
        let (path, shown) = (self.span.path.clone(), self.span.path.display().to_string());
        let now = Span::new(reachable, &path);
        let is_home = now.as_ref().is_some_and(|now| now.is_same_place(&self.span));
        if is_home && let Some(now) = now {
            // Perhaps by another mount.
            self.span = now;
            let line = format!("{shown} leads to where it did before: watched as before");
            return std::mem::take(&mut self.is_covered)
                .then(|| News::new(&path, Happened::Unmounted, line));
        }
        if !ids.contains(&self.span.mount)
            && let Some(now) = now
        {
            (self.span, self.is_covered) = (now, false);
            let line = format!(
                "the filesystem of {shown} was unmounted: what is at that path now is watched instead"
            );
            return Some(News::new(&path, Happened::Gone, line));
        }
        if std::mem::replace(&mut self.is_covered, true) {
            return None;
        }
        let mount = mounts::of(reachable, &path);
        let (fs_type, point) = mount
            .map_or(("nothing", Path::new("/")), |mount| (&mount.fs_type, mount.point.as_path()));
        let what = format!("{fs_type} was mounted on {}", point.display());
        let line = match self.was_missing {
            true => format!(
                "{what}: {shown} is looked for there if there was nothing at that path; else it is \
                 hidden, and changes there are not watched"
            ),
            false => format!(
                "{what}: {shown} is hidden, and changes there are not watched; start fsmon again to \
                 watch them"
            ),
        };
        Some(News::new(&path, Happened::Mounted, line))
    }
}

/// What is said of a new mount; nothing where it is a directory mounted on itself.
fn mounted(mount: &Below) -> Option<News> {
    let (point, fs_type) = (mount.point.display(), &mount.fs_type);
    let remedy = "changes there are not watched; name it as a path to watch it as well";
    let line = match &mount.kind {
        Kind::Other => format!("{fs_type} was mounted on {point}: {remedy}"),
        Kind::Outside => {
            format!("a directory from elsewhere was mounted on {point}: {remedy}")
        }
        Kind::Inside(path) if *path == mount.point => return None,
        Kind::Inside(path) => {
            let change = None;
            let path = path.display();
            let line = format!("{path} was mounted on {point}: its changes have the path {path}");
            return Some(News { change, line });
        }
    };
    Some(News::new(&mount.point, Happened::Mounted, line))
}

/// What the thread works with.
pub(crate) struct MountWatch {
    file: File,
    view: View,
    asked: flume::Receiver<Ask>,
    asker: Asker,
}

/// Where news go.
pub(crate) struct Ears {
    pub(crate) reader: flume::Sender<Control>,
    /// Wakes the reader.
    pub(crate) wake: Arc<OwnedFd>,
    pub(crate) notice: Option<Notice>,
}

impl MountWatch {
    /// For roots at `paths`, absolute and without symbolic links, each with whether there is nothing as
    /// yet. `skips` says of a directory below a
    /// root whether it is left out; `recursive`, whether what is below the roots matters; `elsewhere`
    /// are roots of other readers.
    ///
    /// # Errors
    /// Those of opening /proc/self/mountinfo.
    pub(crate) fn new(
        paths: &[(PathBuf, bool)],
        elsewhere: Vec<PathBuf>,
        skips: Option<Skips>,
        recursive: bool,
    ) -> io::Result<Self> {
        let (asks, asked) = flume::unbounded();
        let asker = Asker { asks, attention: Arc::new(eventfd()?) };
        // What changes after this makes the file ready.
        let file = File::open("/proc/self/mountinfo")?;
        let reachable = mounts::reachable();
        let root = |(path, was_missing): &(PathBuf, bool)| {
            let span = Span::new(&reachable, path).ok_or(io::ErrorKind::NotFound)?;
            Ok(Root { span, is_covered: false, was_missing: *was_missing })
        };
        let roots = paths.iter().map(root).collect::<io::Result<_>>()?;
        let (below, slow) = (Vec::new(), Vec::new());
        let mut view = View { roots, elsewhere, skips, recursive, below, slow };
        view.below = view.find(&reachable);
        Ok(MountWatch { file, view, asked, asker })
    }

    /// For who is to ask the thread.
    pub(crate) fn asker(&self) -> Asker {
        self.asker.clone()
    }

    /// The roots, and what is mounted below them.
    pub(crate) fn found(&self) -> (Vec<Span>, &[Below]) {
        (self.view.roots.iter().map(|root| root.span.clone()).collect(), &self.view.below)
    }

    /// Starts the thread. The reader is told of what is there already.
    ///
    /// # Errors
    /// No thread or no eventfd is to be had.
    pub(crate) fn start(mut self, mut ears: Ears) -> io::Result<Follower> {
        ears.tell_slow(self.view.find_slow(&mounts::reachable()));
        let unwatched = self.view.below.iter().filter(|mount| mount.is_unwatched());
        ears.tell(unwatched.filter_map(mounted).map(|news| News { line: String::new(), ..news }));
        let asker = self.asker();
        let builder = std::thread::Builder::new().name("fsmon-mounts".into());
        let thread = builder.spawn(move || self.run(&mut ears))?;
        Ok(Follower { asker, thread: Mutex::new(Some(thread)) })
    }

    fn run(mut self, ears: &mut Ears) {
        loop {
            if let Err(error) = wait_for_change(self.file.as_fd(), self.asker.attention.as_fd()) {
                return ears.say(format!("mounts are no longer followed: {error}"));
            }
            // Before what was asked is looked at: what is asked after that makes it readable again.
            drain(self.asker.attention.as_fd());
            let (reachable, ids) = mounts::reachable_and_ids();
            let mut is_over = false;
            for ask in self.asked.drain() {
                match ask {
                    Ask::Follow(at, path) => {
                        let path = PathBuf::from(OsString::from_vec(path.into()));
                        let root = self.view.roots.get_mut(at).zip(Span::new(&reachable, &path));
                        if let Some((root, span)) = root {
                            (root.span, root.is_covered) = (span, false);
                        }
                    }
                    Ask::Stop => is_over = true,
                }
            }
            ears.tell_slow(self.view.find_slow(&reachable));
            ears.tell(self.view.look(&reachable, &ids).into_iter());
            if is_over {
                return;
            }
        }
    }
}

impl Ears {
    fn tell_slow(&mut self, points: Option<Box<[Box<[u8]>]>>) {
        if let Some(points) = points {
            // The reader is gone only when all is over.
            let _ = self.reader.send(Control::Slow(points));
            signal(self.wake.as_fd());
        }
    }

    fn tell(&mut self, news: impl Iterator<Item = News>) {
        let (mut lines, mut any) = (0, false);
        for News { change, line } in news {
            if let Some(change) = change {
                // The reader is gone only when all is over.
                let _ = self.reader.send(Control::Mount(change));
                any = true;
            }
            lines += usize::from(!line.is_empty());
            if !line.is_empty() && lines <= LINES_MAX {
                self.say(line);
            }
        }
        if lines > LINES_MAX {
            self.say(format!("... and {} more changes of mounts", lines - LINES_MAX));
        }
        if any {
            signal(self.wake.as_fd());
        }
    }

    fn say(&mut self, line: String) {
        if let Some(notice) = &mut self.notice {
            notice(line);
        }
    }
}

/// The running thread.
pub(crate) struct Follower {
    asker: Asker,
    thread: Mutex<Option<JoinHandle<()>>>,
}

impl Follower {
    /// Has the thread look for the last time, and waits for its end: some milliseconds at most, as it
    /// reads nothing but mountinfo.
    pub(crate) fn stop(&self) {
        let thread = self.thread.lock().ok().and_then(|mut thread| thread.take());
        if let Some(thread) = thread {
            self.asker.ask(Ask::Stop);
            // It has no result; that it panicked was said on standard error.
            let _ = thread.join();
        }
    }
}

impl Drop for Follower {
    fn drop(&mut self) {
        self.stop();
    }
}

#[cfg(test)]
#[path = "mount_watch_test.rs"]
mod tests;

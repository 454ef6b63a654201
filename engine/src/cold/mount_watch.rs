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
use crate::sys::fd::{eventfd, signal};
use crate::sys::poll::wait_for_change;
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;

/// Lines about one look: more would hide other lines. Each change is in the record all the same.
const LINES_MAX: usize = 16;

/// A root, and whether its path leads to the directory that is watched.
struct Root {
    span: Span,
    is_covered: bool,
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
        News { change: Some(Change { point, happened }), line }
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

    /// Takes in what is mounted now; what changed since the last look.
    fn look(&mut self, reachable: &[Mount]) -> Vec<News> {
        let mut news: Vec<_> =
            self.roots.iter_mut().filter_map(|root| root.look(reachable)).collect();
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
    /// Whether what the root's path leads to has changed.
    fn look(&mut self, reachable: &[Mount]) -> Option<News> {
        let path = &self.span.path;
        let now = Span::new(reachable, path);
        let is_covered = now.as_ref().is_none_or(|now| !now.is_same_place(&self.span));
        if is_covered == self.is_covered {
            return None;
        }
        self.is_covered = is_covered;
        let shown = path.display();
        if !is_covered {
            let line = format!("{shown} is what it was when the watch began: watched as before");
            return Some(News::new(path, Happened::Unmounted, line));
        }
        let what = mounts::of(reachable, path).map_or_else(
            || "nothing".to_owned(),
            |mount| format!("{} ({})", mount.fs_type, mount.point.display()),
        );
        let line = format!(
            "{shown} is on another mount now, {what}: changes there are not watched; start fsmon \
             again to watch it"
        );
        Some(News::new(path, Happened::Mounted, line))
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
}

/// Where news go.
pub(crate) struct Ears {
    pub(crate) reader: flume::Sender<Control>,
    /// Wakes the reader.
    pub(crate) wake: Arc<OwnedFd>,
    pub(crate) notice: Option<Notice>,
}

impl MountWatch {
    /// For roots at `paths`, absolute and without symbolic links. `skips` says of a directory below a
    /// root whether it is left out; `recursive`, whether what is below the roots matters; `elsewhere`
    /// are roots of other readers.
    ///
    /// # Errors
    /// Those of opening /proc/self/mountinfo.
    pub(crate) fn new(
        paths: &[PathBuf],
        elsewhere: Vec<PathBuf>,
        skips: Option<Skips>,
        recursive: bool,
    ) -> io::Result<Self> {
        // What changes after this makes the file ready.
        let file = File::open("/proc/self/mountinfo")?;
        let reachable = mounts::reachable();
        let spans = paths.iter().filter_map(|path| Span::new(&reachable, path));
        let roots = spans.map(|span| Root { span, is_covered: false }).collect();
        let mut view = View { roots, elsewhere, skips, recursive, below: Vec::new() };
        view.below = view.find(&reachable);
        Ok(MountWatch { file, view })
    }

    /// The roots, and what is mounted below them.
    pub(crate) fn found(&self) -> (Vec<Span>, &[Below]) {
        (self.view.roots.iter().map(|root| root.span.clone()).collect(), &self.view.below)
    }

    /// Starts the thread. The reader is told of what is there already.
    ///
    /// # Errors
    /// No thread or no eventfd is to be had.
    pub(crate) fn start(self, mut ears: Ears) -> io::Result<Follower> {
        let unwatched = self.view.below.iter().filter(|mount| mount.is_unwatched());
        ears.tell(unwatched.filter_map(mounted).map(|news| News { line: String::new(), ..news }));
        let stop = Arc::new(eventfd()?);
        let stopped = Arc::clone(&stop);
        let builder = std::thread::Builder::new().name("fsmon-mounts".into());
        let thread = builder.spawn(move || self.run(&stopped, &mut ears))?;
        Ok(Follower { stop, thread: Mutex::new(Some(thread)) })
    }

    fn run(mut self, stop: &OwnedFd, ears: &mut Ears) {
        loop {
            let is_over = match wait_for_change(self.file.as_fd(), stop.as_fd()) {
                Ok(is_over) => is_over,
                Err(error) => {
                    ears.say(format!("mounts are no longer followed: {error}"));
                    return;
                }
            };
            ears.tell(self.view.look(&mounts::reachable()).into_iter());
            if is_over {
                return;
            }
        }
    }
}

impl Ears {
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
    stop: Arc<OwnedFd>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

impl Follower {
    /// Has the thread look for the last time, and waits for its end: some milliseconds at most, as it
    /// reads nothing but mountinfo.
    pub(crate) fn stop(&self) {
        let thread = self.thread.lock().ok().and_then(|mut thread| thread.take());
        if let Some(thread) = thread {
            signal(self.stop.as_fd());
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

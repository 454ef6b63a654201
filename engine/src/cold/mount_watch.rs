//! Follows mounts while fsmon runs.
//!
//! A thread waits for mountinfo to change (poll(2) then reports POLLPRI and POLLERR, `mounts_poll()` in
//! fs/proc_namespace.c), reads it, and compares what concerns the roots with the previous state. It runs at
//! ordinary priority and asks no filesystem anything, except one that is to be followed and is neither FUSE nor a
//! network filesystem: so it never waits for one that hangs.
//!
//! A mount that goes again between two looks is not seen: a look comes within a millisecond of the change on a host
//! that is not overloaded.

use super::below::{Below, Kind, Places, Span, below};
use super::mounts::{self, Mount, Points};
use crate::config::{Notice, Skips};
use crate::hot::reader::Control;
use crate::hot::r#where::mounts::{self as mounts_hot, Change, Happened};
use crate::limits::start::MOUNT_LINES_MAX;
use crate::limits::walks::{FILESYSTEMS_MAX, ROOTS_MAX};
use crate::privileges::{self, Task};
use crate::sys::fd::{drain, eventfd, signal};
use crate::sys::poll::wait_for_change;
use std::borrow::Borrow;
use std::collections::HashSet;
use std::ffi::{CString, OsString};
use std::fs::File;
use std::hash::Hash;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;

/// A root, and whether its path leads to the directory that is watched.
struct WatchedRoot {
    span: Span,
    /// Absolute, as the user named it; empty if the root is a followed mount.
    named: PathBuf,
    is_covered: bool,
    /// Whether there may have been no directory at its path when something was mounted over it.
    may_be_missing: bool,
    /// The mount, if the root is a followed one.
    followed: Followed,
}

/// Whether a root is a followed mount, which the user has not named.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Followed {
    No,
    Yes,
    /// It is gone; its number is free.
    Gone,
}

/// A root, as it was when the watch began.
pub(crate) struct Named {
    /// Absolute, without symbolic links.
    pub(crate) path: PathBuf,
    /// Absolute, as the user named it.
    pub(crate) named: PathBuf,
    /// Whether there is nothing at it yet.
    pub(crate) is_missing: bool,
    /// The id of its filesystem.
    pub(crate) fsid: u64,
    /// Whether it is a followed mount below a root that the user named.
    pub(crate) is_followed: bool,
}

/// What to do about mounts below the roots.
pub(crate) enum BelowRoots {
    /// Nothing: directories below the roots are not watched.
    Ignore,
    /// They are reported.
    Report,
    /// They are watched as roots of their own, if possible.
    Follow(Trial),
}

/// Requests to the thread.
pub(crate) enum Ask {
    /// The path of the root with that number leads to this one now, without symbolic links.
    Follow(usize, Box<[u8]>),
    /// A root is about to be added by command.
    Add(Box<Named>, Number),
    /// Which root was named like this?
    Find(PathBuf, Number),
    /// It is removed by command: its number is free.
    Remove(usize),
    /// Look for the last time, and end.
    Stop,
}

/// Gets the number of a root, or an errno.
pub(crate) type Number = flume::Sender<Result<usize, i32>>;

/// Sends requests to the thread.
#[derive(Clone)]
pub(crate) struct Asker {
    asks: flume::Sender<Ask>,
    attention: Arc<OwnedFd>,
}

impl Asker {
    pub(crate) fn ask(&self, ask: Ask) {
        // The thread has ended: it was asked to, or has reported an error.
        let _ = self.asks.send(ask);
        signal(self.attention.as_fd());
    }
}

/// Checks whether a mount on a directory can be watched: the id of its filesystem, if so.
pub(crate) type Trial = Box<dyn FnMut(&Path) -> Option<u64> + Send>;

/// What concerns the roots, as of the last look.
struct View {
    roots: Vec<WatchedRoot>,
    /// Roots of other readers.
    elsewhere: Vec<PathBuf>,
    skips: Option<Skips>,
    handling: BelowRoots,
    /// The filesystems of roots, including roots that are gone.
    filesystems: HashSet<u64>,
    below: Vec<Below>,
    /// Mount points of filesystems that may not answer. If a root is on one, the user named it.
    slow: Vec<PathBuf>,
}

/// A change.
struct News {
    /// What the reader is sent; `None` if no change is missing in the record because of it.
    control: Option<Control>,
    line: String,
}

impl News {
    fn new(point: &Path, happened: Happened, line: String) -> News {
        let point = point.as_os_str().as_bytes().into();
        News { control: Some(Control::Mount(Change { point, happened, root: None })), line }
    }

    fn of_root(root: usize, path: &Path, happened: Happened, line: String) -> News {
        let point = path.as_os_str().as_bytes().into();
        News { control: Some(Control::Mount(Change { point, happened, root: Some(root) })), line }
    }
}

impl View {
    fn spans(&self) -> Vec<Span> {
        let there = self.roots.iter().filter(|root| root.followed != Followed::Gone);
        there.map(|root| root.span.clone()).collect()
    }

    /// Mount points on roots, or on directories above them.
    fn covered(&self) -> HashSet<PathBuf> {
        let is_there = |root: &&WatchedRoot| root.followed != Followed::Gone;
        let covered = self.roots.iter().filter(|root| root.is_covered).filter(is_there);
        covered.map(|root| root.span.path.clone()).collect()
    }

    /// Makes roots of new mounts that can be followed. `before` has the previous mounts: those that could not be
    /// followed are as they were.
    fn follow(
        &mut self,
        reachable: &[Mount],
        points: &Points<'_>,
        before: &[Below],
        news: &mut Vec<News>,
    ) {
        let (found, known, covered) = (self.find(reachable), marks(before), self.covered());
        let mut places = Places::of(&self.spans());
        let came = found.iter().filter(|mount| {
            mount.can_be_followed_later()
                && !known.contains(&mark(mount))
                && !is_below(&mount.point, &covered)
        });
        for mount in came {
            let Some(span) = Span::new(points, &mount.point) else { continue };
            // Another mount of a filesystem that has just become a root.
            if places.have(&span) || !self.can_watch(&mount.point) {
                continue;
            }
            let Ok(point) = CString::new(mount.point.as_os_str().as_bytes()) else { continue };
            places.put(&span);
            let at = self.add(WatchedRoot {
                span,
                named: PathBuf::new(),
                is_covered: false,
                may_be_missing: false,
                followed: Followed::Yes,
            });
            let (fs_type, shown) = (&mount.fs_type, mount.point.display());
            let line = format!("{fs_type} was mounted on {shown}: watched from now on");
            let followed = Box::new(mounts_hot::Followed::new(at, point));
            news.push(News { control: Some(Control::Follow(followed)), line });
        }
    }

    /// Adds a root. Returns its number.
    fn add(&mut self, root: WatchedRoot) -> usize {
        // The reader takes commands later than mounts. So a number that a named root gave up goes to a named root, and
        // one that a followed mount gave up goes to a mount.
        let is_free = |known: &WatchedRoot| {
            known.followed == Followed::Gone
                && known.named.as_os_str().is_empty() == root.named.as_os_str().is_empty()
        };
        match self.roots.iter().position(is_free) {
            Some(free) => {
                self.roots[free] = root;
                free
            }
            None => {
                self.roots.push(root);
                self.roots.len() - 1
            }
        }
    }

    /// Makes a root by command. Returns its number, or an errno.
    fn add_named(&mut self, root: Named, points: &Points<'_>) -> Result<usize, i32> {
        if self.find_named(&root.named).is_some() {
            return Err(libc::EEXIST);
        }
        let has_room =
            self.filesystems.len() < FILESYSTEMS_MAX || self.filesystems.contains(&root.fsid);
        if self.roots.len() >= ROOTS_MAX || !has_room {
            return Err(libc::ENOSPC);
        }
        let span = Span::new(points, &root.path).ok_or(libc::ENOENT)?;
        self.filesystems.insert(root.fsid);
        Ok(self.add(WatchedRoot {
            span,
            named: root.named,
            is_covered: false,
            may_be_missing: root.is_missing,
            followed: Followed::No,
        }))
    }

    fn find_named(&self, named: &Path) -> Option<usize> {
        let is_it = |root: &WatchedRoot| root.followed == Followed::No && root.named == named;
        self.roots.iter().position(is_it)
    }

    /// Whether the mount can be watched, and there is room for its filesystem.
    fn can_watch(&mut self, point: &Path) -> bool {
        let BelowRoots::Follow(trial) = &mut self.handling else { return false };
        let Some(fsid) = trial(point) else { return false };
        let has_room = self.filesystems.len() < FILESYSTEMS_MAX || self.filesystems.contains(&fsid);
        if has_room {
            self.filesystems.insert(fsid);
        }
        has_room
    }

    fn find(&mut self, reachable: &[Mount]) -> Vec<Below> {
        if matches!(self.handling, BelowRoots::Ignore) {
            return Vec::new();
        }
        let spans = self.spans();
        below(reachable, &spans, &self.elsewhere, &mut self.skips)
    }

    /// Mount points of filesystems that may not answer, if they have changed.
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

    /// Takes in the current mounts. Returns what changed since the last look.
    fn look(&mut self, reachable: &[Mount], ids: &HashSet<u32>) -> Vec<News> {
        let points = Points::of(reachable);
        let looks = self.roots.iter_mut().enumerate();
        let mut news: Vec<_> = looks.filter_map(|(at, root)| root.look(at, &points, ids)).collect();
        let before = std::mem::take(&mut self.below);
        if matches!(self.handling, BelowRoots::Follow(_)) {
            self.follow(reachable, &points, &before, &mut news);
        }
        let (mut now, covered) = (self.find(reachable), self.covered());
        // Mounts below a covered root belong to another directory: the root is unchanged.
        now.retain(|mount| !is_below(&mount.point, &covered));
        now.extend(before.iter().filter(|mount| is_below(&mount.point, &covered)).cloned());
        news.extend(changes(&before, &now));
        self.below = now;
        news
    }
}

/// Whether a path is one of those, or below one.
fn is_below<T: Borrow<Path> + Eq + Hash>(path: &Path, those: &HashSet<T>) -> bool {
    path.ancestors().any(|dir| those.contains(dir))
}

/// The reported mounts below the roots, from one look to the next.
fn changes(before: &[Below], now: &[Below]) -> Vec<News> {
    let (were, are) = (marks(before), marks(now));
    let unwatched = now.iter().filter(|mount| mount.is_unwatched());
    let hiding: HashSet<&Path> = unwatched.map(|mount| mount.point.as_path()).collect();
    let gone = before.iter().filter(|mount| {
        mount.is_unwatched() && !are.contains(&mark(mount)) && !is_below(&mount.point, &hiding)
    });
    let went = gone.map(|mount| unmounted(mount, are.contains(&(mount.id, &mount.point, false))));
    let came = now.iter().filter(|mount| !were.contains(&mark(mount)));
    went.chain(came.filter_map(mounted)).collect()
}

/// How a mount is recognised at the next look: a rename can move it into the watched paths, or out of them.
type Mark<'a> = (u32, &'a Path, bool);

fn mark(mount: &Below) -> Mark<'_> {
    (mount.id, &mount.point, mount.is_unwatched())
}

fn marks(mounts: &[Below]) -> HashSet<Mark<'_>> {
    mounts.iter().map(mark).collect()
}

impl WatchedRoot {
    /// Whether the path of the root leads to another mount than before. `ids` are the ids of all mounts.
    fn look(&mut self, at: usize, points: &Points<'_>, ids: &HashSet<u32>) -> Option<News> {
        if self.followed == Followed::Gone {
            return None;
        }
        let (path, shown) = (self.span.path.clone(), self.span.path.display().to_string());
        let now = Span::new(points, &path);
        let is_same_place = now.as_ref().is_some_and(|now| now.is_same_place(&self.span));
        let is_same_mount = now.as_ref().is_some_and(|now| now.is_same_mount(&self.span));
        if (is_same_place || is_same_mount)
            && let Some(now) = now
        {
            // Perhaps through another mount.
            self.span = now;
            let line = match std::mem::take(&mut self.is_covered) {
                true => format!("{shown} leads to where it did before: watched as before"),
                false if is_same_place => return None,
                // The mounted directory was renamed, or another mount got the id of the previous one. The reader
                // knows the directory and finds out.
                false => String::new(),
            };
            return Some(News::of_root(at, &path, Happened::Unmounted, line));
        }
        if self.followed == Followed::Yes && !self.is_still_there(points, ids) {
            self.followed = Followed::Gone;
            let line = format!("{shown} was unmounted");
            return Some(News { control: Some(Control::Unfollow(at)), line });
        }
        if !ids.contains(&self.span.mount)
            && let Some(now) = now
        {
            (self.span, self.is_covered) = (now, false);
            // Perhaps: only the reader knows.
            self.may_be_missing = true;
            let line = format!(
                "the filesystem of {shown} was unmounted: what is at that path now is watched instead"
            );
            return Some(News::of_root(at, &path, Happened::Gone, line));
        }
        if std::mem::replace(&mut self.is_covered, true) {
            return None;
        }
        let mount = points.mount_of(&path);
        let (fs_type, point) = mount
            .map_or(("nothing", Path::new("/")), |mount| (&mount.fs_type, mount.point.as_path()));
        let what = format!("{fs_type} was mounted on {}", point.display());
        let line = match self.may_be_missing {
            true => format!(
                "{what}: {shown} is looked for there if there was nothing at that path; else it is \
                 hidden, and changes there are not watched"
            ),
            false => format!(
                "{what}: {shown} is hidden, and changes there are not watched; start fsmon again to \
                 watch them"
            ),
        };
        Some(News::of_root(at, &path, Happened::Mounted, line))
    }

    /// Whether the followed mount is where it was, possibly hidden by another.
    fn is_still_there(&self, points: &Points<'_>, ids: &HashSet<u32>) -> bool {
        let found = points.mount_with_id(self.span.mount);
        ids.contains(&self.span.mount) && found.is_none_or(|mount| mount.point == self.span.path)
    }
}

/// The message for a mount that is no longer below a watched path: it was unmounted, or a rename moved it.
fn unmounted(mount: &Below, is_there: bool) -> News {
    let shown = mount.point.display();
    let line = match is_there {
        true => format!("what is mounted on {shown} came below a watched path: watched"),
        false => format!("{shown} was unmounted: watched as before"),
    };
    News::new(&mount.point, Happened::Unmounted, line)
}

/// The message for a new mount; `None` for a directory that is mounted on itself.
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
            let control = None;
            let path = path.display();
            let line = format!("{path} was mounted on {point}: its changes have the path {path}");
            return Some(News { control, line });
        }
    };
    Some(News::new(&mount.point, Happened::Mounted, line))
}

/// The state of the thread.
pub(crate) struct MountWatch {
    file: File,
    view: View,
    asked: flume::Receiver<Ask>,
    asker: Asker,
}

/// Where changes are sent.
pub(crate) struct Ears {
    pub(crate) reader: flume::Sender<Control>,
    /// Wakes the reader.
    pub(crate) wake: Arc<OwnedFd>,
    pub(crate) notice: Option<Notice>,
}

impl MountWatch {
    /// `elsewhere` are roots of other readers; `skips` says whether a directory below a root is excluded.
    ///
    /// # Errors
    /// Those of eventfd(2), and of opening /proc/self/mountinfo; NotFound where that lists nothing.
    pub(crate) fn new(
        named: &[Named],
        elsewhere: Vec<PathBuf>,
        skips: Option<Skips>,
        handling: BelowRoots,
    ) -> io::Result<Self> {
        let (asks, asked) = flume::unbounded();
        let asker = Asker { asks, attention: Arc::new(eventfd()?) };
        // Changes after this make the file ready.
        let file = File::open("/proc/self/mountinfo")?;
        let reachable = mounts::reachable();
        let points = Points::of(&reachable);
        let root = |named: &Named| {
            let span = Span::new(&points, &named.path).ok_or(io::ErrorKind::NotFound)?;
            let followed = if named.is_followed { Followed::Yes } else { Followed::No };
            let (name, may_be_missing) = (named.named.clone(), named.is_missing);
            Ok(WatchedRoot { span, named: name, is_covered: false, may_be_missing, followed })
        };
        let roots = named.iter().map(root).collect::<io::Result<_>>()?;
        let filesystems = named.iter().map(|named| named.fsid).collect();
        let (below, slow) = (Vec::new(), Vec::new());
        let mut view = View { roots, elsewhere, skips, handling, filesystems, below, slow };
        view.below = view.find(&reachable);
        Ok(MountWatch { file, view, asked, asker })
    }

    /// A handle for requests to the thread.
    pub(crate) fn asker(&self) -> Asker {
        self.asker.clone()
    }

    /// The roots, and what is mounted below them.
    pub(crate) fn found(&self) -> (Vec<Span>, &[Below]) {
        (self.view.spans(), &self.view.below)
    }

    /// Starts the thread. Sends the reader what is mounted already.
    ///
    /// # Errors
    /// No thread or no eventfd is available.
    pub(crate) fn start(mut self, mut ears: Ears) -> io::Result<Follower> {
        ears.send_slow(self.view.find_slow(&mounts::reachable()));
        let unwatched = self.view.below.iter().filter(|mount| mount.is_unwatched());
        ears.send(unwatched.filter_map(mounted).map(|news| News { line: String::new(), ..news }));
        let asker = self.asker();
        let builder = std::thread::Builder::new().name("fsmon-mounts".into());
        let tasks: &[Task] = match self.view.handling {
            BelowRoots::Follow(_) => &[Task::Read, Task::Mark],
            BelowRoots::Ignore | BelowRoots::Report => &[],
        };
        let run = move || {
            // With more than it needs it works as well.
            let _ = privileges::keep(tasks);
            self.run(&mut ears);
        };
        let thread = builder.spawn(run)?;
        Ok(Follower { asker, thread: Mutex::new(Some(thread)) })
    }

    fn run(mut self, ears: &mut Ears) {
        loop {
            if let Err(error) = wait_for_change(self.file.as_fd(), self.asker.attention.as_fd()) {
                return ears.say(format!("mounts are no longer followed: {error}"));
            }
            // Read before the requests: a later request makes it readable again.
            drain(self.asker.attention.as_fd());
            let (reachable, ids) = match mounts::of_file(&self.file) {
                Ok(all) => mounts::reachable_and_ids(all),
                Err(error) => return ears.say(format!("mounts are no longer followed: {error}")),
            };
            let mut is_over = false;
            for ask in self.asked.drain() {
                match ask {
                    Ask::Follow(at, path) => {
                        let path = PathBuf::from(OsString::from_vec(path.into()));
                        let span = Span::new(&Points::of(&reachable), &path);
                        let root = self.view.roots.get_mut(at).zip(span);
                        if let Some((root, span)) = root {
                            (root.span, root.is_covered) = (span, false);
                        }
                    }
                    Ask::Add(named, number) => {
                        // There is room for one, and the receiver is waiting.
                        let _ = number.send(self.view.add_named(*named, &Points::of(&reachable)));
                    }
                    Ask::Find(named, number) => {
                        let _ = number.send(self.view.find_named(&named).ok_or(libc::ENOENT));
                    }
                    Ask::Remove(at) => {
                        if let Some(root) = self.view.roots.get_mut(at) {
                            root.followed = Followed::Gone;
                        }
                    }
                    Ask::Stop => is_over = true,
                }
            }
            ears.send_slow(self.view.find_slow(&reachable));
            ears.send(self.view.look(&reachable, &ids).into_iter());
            if is_over {
                return;
            }
        }
    }
}

impl Ears {
    fn send_slow(&mut self, points: Option<Box<[Box<[u8]>]>>) {
        if let Some(points) = points {
            // The reader is gone only at the very end.
            let _ = self.reader.send(Control::Slow(points));
            signal(self.wake.as_fd());
        }
    }

    /// Sends to the reader first, then to the user.
    fn send(&mut self, news: impl Iterator<Item = News>) {
        let (mut lines, mut any) = (Vec::new(), false);
        for News { control, line } in news {
            if let Some(control) = control {
                // The reader is gone only at the very end.
                let _ = self.reader.send(control);
                any = true;
            }
            lines.extend(Some(line).filter(|line| !line.is_empty()));
        }
        if any {
            signal(self.wake.as_fd());
        }
        let more = lines.len().saturating_sub(MOUNT_LINES_MAX);
        lines.into_iter().take(MOUNT_LINES_MAX).for_each(|line| self.say(line));
        if more > 0 {
            self.say(format!("... and {more} more changes of mounts"));
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
    /// Asks for the number of a root; `None` if the thread has ended.
    pub(crate) fn number(&self, ask: impl FnOnce(Number) -> Ask) -> Option<Result<usize, i32>> {
        let (number, numbered) = flume::bounded(1);
        self.asker.ask(ask(number));
        numbered.recv().ok()
    }

    /// The root with that number is removed.
    pub(crate) fn remove(&self, at: usize) {
        self.asker.ask(Ask::Remove(at));
    }

    /// Makes the thread look for the last time, and waits for its end: it reads mountinfo, and opens mounts to be
    /// followed, which are on this host.
    pub(crate) fn stop(&self) {
        let thread = self.thread.lock().ok().and_then(|mut thread| thread.take());
        if let Some(thread) = thread {
            self.asker.ask(Ask::Stop);
            // It has no result; a panic was reported on standard error.
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

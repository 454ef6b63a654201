//! What takes `CAP_SYS_ADMIN` while the reader runs: marks on filesystems, mounts of its own for walks, and the attributes
//! `trusted.*` of overlays (xattr(7): without the capability they seem not to be there).
//!
//! The reader has no such capability. It asks the thread `fsmon-admin`, which does nothing else, and waits for the answer.
//! These calls are rare: a root comes or goes, other types, renames outside that are muted, a copy in an overlay that is
//! renamed. They ask only filesystems that the reader asks as well. Nothing is allocated.

use super::fanotify::Group;
use super::handle::Handle;
use super::mount;
use super::overlay::{self, Origin};
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

/// What is to be done. Descriptors are duplicates.
enum Request {
    Mark(u64, OwnedFd),
    Unmark(u64, OwnedFd),
    RemoveMarks,
    OpenWithoutMounts(OwnedFd),
    /// The key of a copy in the upper layer of an overlay.
    HandleOfCopy(OwnedFd, Handle, Origin),
}

/// What a request comes to.
enum Outcome {
    Done,
    Opened(OwnedFd),
    Handle(Handle),
}

type Answer = io::Result<Outcome>;

/// Whose turn it is.
enum Turn {
    /// Nothing is asked.
    Idle,
    Asked(Request),
    Answered(Answer),
    /// One of the two is gone.
    Over,
}

struct Counter {
    turn: Mutex<Turn>,
    changed: Condvar,
}

/// The reader's side.
pub(crate) struct Admin(Arc<Counter>);

/// The side of the thread that answers.
pub(crate) struct Desk {
    counter: Arc<Counter>,
    group: Group,
}

/// Both sides, for the marks of `group`. A thread must run [`Desk::serve`].
///
/// # Errors
/// EMFILE.
pub(crate) fn admin(group: &Group) -> io::Result<(Admin, Desk)> {
    let counter = Arc::new(Counter { turn: Mutex::new(Turn::Idle), changed: Condvar::new() });
    Ok((Admin(counter.clone()), Desk { counter, group: group.try_clone()? }))
}

impl Counter {
    fn turn(&self) -> MutexGuard<'_, Turn> {
        self.turn.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn set(&self, turn: Turn) {
        *self.turn() = turn;
        self.changed.notify_one();
    }

    /// Waits for a turn that `is_own`, and takes it.
    fn wait(&self, is_own: impl Fn(&Turn) -> bool) -> Turn {
        let mut turn = self.turn();
        while !is_own(&turn) && !matches!(*turn, Turn::Over) {
            turn = self.changed.wait(turn).unwrap_or_else(PoisonError::into_inner);
        }
        match *turn {
            Turn::Over => Turn::Over,
            _ => std::mem::replace(&mut *turn, Turn::Idle),
        }
    }
}

impl Admin {
    /// [`Group::mark_filesystem`].
    pub(crate) fn mark(&self, mask: u64, dir: BorrowedFd<'_>) -> io::Result<()> {
        self.ask(Request::Mark(mask, dir.try_clone_to_owned()?)).map(drop)
    }

    /// [`Group::unmark_filesystem`].
    pub(crate) fn unmark(&self, mask: u64, dir: BorrowedFd<'_>) -> io::Result<()> {
        self.ask(Request::Unmark(mask, dir.try_clone_to_owned()?)).map(drop)
    }

    /// [`Group::remove_marks`].
    pub(crate) fn remove_marks(&self) -> io::Result<()> {
        self.ask(Request::RemoveMarks).map(drop)
    }

    /// [`mount::open_without_mounts`].
    pub(crate) fn open_without_mounts(&self, dir: BorrowedFd<'_>) -> io::Result<OwnedFd> {
        match self.ask(Request::OpenWithoutMounts(dir.try_clone_to_owned()?))? {
            Outcome::Opened(fd) => Ok(fd),
            _ => Err(io::ErrorKind::BrokenPipe.into()),
        }
    }

    /// [`overlay::handle_of_copy`].
    pub(crate) fn handle_of_copy(
        &self,
        beside: BorrowedFd<'_>,
        upper: &[u8],
        origin: Origin,
    ) -> io::Result<Handle> {
        let upper = Handle::of(upper).ok_or(io::ErrorKind::InvalidInput)?;
        match self.ask(Request::HandleOfCopy(beside.try_clone_to_owned()?, upper, origin))? {
            Outcome::Handle(handle) => Ok(handle),
            _ => Err(io::ErrorKind::BrokenPipe.into()),
        }
    }

    /// # Errors
    /// That of the call; BrokenPipe if the thread has ended.
    fn ask(&self, request: Request) -> Answer {
        let mut turn = self.0.turn();
        if matches!(*turn, Turn::Over) {
            return Err(io::ErrorKind::BrokenPipe.into());
        }
        *turn = Turn::Asked(request);
        drop(turn);
        self.0.changed.notify_one();
        match self.0.wait(|turn| matches!(turn, Turn::Answered(_))) {
            Turn::Answered(answer) => answer,
            _ => Err(io::ErrorKind::BrokenPipe.into()),
        }
    }
}

impl Drop for Admin {
    fn drop(&mut self) {
        self.0.set(Turn::Over);
    }
}

impl Desk {
    /// Answers requests until the reader is gone.
    pub(crate) fn serve(self) {
        while let Turn::Asked(request) = self.counter.wait(|turn| matches!(turn, Turn::Asked(_))) {
            let answer = self.obey(&request);
            let mut turn = self.counter.turn();
            if !matches!(*turn, Turn::Over) {
                *turn = Turn::Answered(answer);
            }
            drop(turn);
            self.counter.changed.notify_one();
        }
    }

    fn obey(&self, request: &Request) -> Answer {
        match request {
            Request::Mark(mask, dir) => self.group.mark_filesystem(*mask, dir.as_fd(), c".")?,
            Request::Unmark(mask, dir) => self.group.unmark_filesystem(*mask, dir.as_fd())?,
            Request::RemoveMarks => self.group.remove_marks()?,
            Request::OpenWithoutMounts(dir) => {
                return mount::open_without_mounts(dir.as_fd()).map(Outcome::Opened);
            }
            Request::HandleOfCopy(beside, upper, origin) => {
                let handle = overlay::handle_of_copy(beside.as_fd(), upper.key(), *origin);
                return handle.map(Outcome::Handle);
            }
        }
        Ok(Outcome::Done)
    }
}

impl Drop for Desk {
    fn drop(&mut self) {
        self.counter.set(Turn::Over);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs::File;
    use std::thread;

    #[test]
    fn each_request_gets_its_answer_and_the_end_of_a_side_is_seen() {
        let dir = File::open("/").expect("there");
        // A pipe takes no marks: each fails.
        let (pipe, _) = std::io::pipe().expect("a pipe");
        let (admin, desk) = admin(&OwnedFd::from(pipe).into()).expect("made");
        let desk = thread::spawn(|| desk.serve());
        for _ in 0..100 {
            let error = admin.mark(1, dir.as_fd()).expect_err("a pipe is no group");
            assert_eq!(error.raw_os_error(), Some(libc::EINVAL));
            let error = admin.unmark(1, dir.as_fd()).expect_err("a pipe is no group");
            assert_eq!(error.raw_os_error(), Some(libc::EINVAL));
        }
        drop(admin);
        desk.join().expect("it ended");
        let (pipe, _) = std::io::pipe().expect("a pipe");
        let (admin, desk) = super::admin(&OwnedFd::from(pipe).into()).expect("made");
        drop(desk);
        let error = admin.remove_marks().expect_err("nobody answers");
        assert_eq!(error.kind(), io::ErrorKind::BrokenPipe);
    }
}

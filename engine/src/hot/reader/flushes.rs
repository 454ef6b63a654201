//! Flushes: when everything that happened before a moment is in the ring.
//!
//! The queue itself says so. For a flush fsmon changes a file of its own, in memory and without a name, of which the
//! same fanotify group asks for changes. The event of that change comes behind the events of all that happened
//! before, however long the queue is and however fast it grows. Each flush that is under way has its own file: the
//! kernel merges an event into an earlier one of the same object, and so would move the second of two flushes to the
//! place of the first. A file is used again once its event was read.
//!
//! If the kernel takes no mark on such a file (beside a mark on a filesystem whose id is not its own: EXDEV), or loses
//! the event in an overflow, a flush ends when the queue was seen empty after it began.

use crate::hot::event::{Event, Key};
use crate::hot::reader::root_commands::RootCommand;
use crate::limits::reader::FLUSH_PATIENCE_NS;
pub(crate) use crate::limits::reader::FLUSHES_MAX;
use crate::sys::clock;
use crate::sys::fanotify::Group;
use crate::sys::fd::{change_mode, memory_file};
use crate::sys::handle::{Handle, Handles, filesystem};
use fsmon_format::kind;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::sync::{Mutex, OnceLock, PoisonError};

/// A file in memory with a mark, and what events call it.
struct Marker {
    file: OwnedFd,
    fsid: u64,
    handle: Handle,
}

impl Marker {
    fn new(group: &Group, file: OwnedFd) -> io::Result<Self> {
        group.mark_object(u64::from(kind::ATTRIB), file.as_fd())?;
        let (fsid, _) = filesystem(file.as_fd())?;
        let (handle, _) = Handles::probe(file.as_fd())?.of_fd(file.as_fd())?;
        Ok(Marker { file, fsid, handle })
    }

    fn is(&self, key: Key<'_>) -> bool {
        (self.fsid, self.handle.key()) == (key.fsid, key.handle)
    }
}

/// Room for one flush under way. The caller writes all but `seen_ns` before it sets the bit in [`Flushes::under_way`],
/// and `sent_ns` once more.
#[derive(Default)]
struct Room {
    /// Made by the first flush here; `None` if the kernel takes no mark.
    marker: OnceLock<Option<Marker>>,
    token: AtomicU64,
    /// What is done at this place in the queue. The reader never waits for the lock: the caller holds it before the
    /// bit is set.
    command: Mutex<Option<Box<RootCommand>>>,
    /// Whether there is, or was, such a command: then its own answer ends the flush.
    carries: AtomicBool,
    /// When the flush began.
    asked_ns: AtomicU64,
    /// A time by which its event was in the queue, if there was one; `u64::MAX` until that is known.
    sent_ns: AtomicU64,
    /// When the reader had resolved everything before it; 0: not yet. The reader alone writes it.
    seen_ns: AtomicU64,
}

/// A flush that is to be answered, or a command that is to be done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Flushed {
    at: usize,
    pub(crate) token: u64,
    pub(crate) asked_ns: u64,
}

/// All flushes under way: written by the thread that asks, read by the reader.
#[derive(Default)]
pub(crate) struct Flushes {
    rooms: [Room; FLUSHES_MAX],
    /// A bit for each room in use.
    under_way: AtomicU32,
    /// Held by threads that ask, never by the reader.
    asking: Mutex<()>,
}

/// What the reader knows when it looks after flushes.
#[derive(Clone, Copy)]
pub(crate) struct Progress {
    /// Everything that happened before this is resolved.
    pub(crate) after_ns: u64,
    pub(crate) now_ns: u64,
    /// Whether nothing is held back.
    pub(crate) is_idle: bool,
}

impl Flushes {
    /// Begins a flush, which carries `command` if there is one. Returns whether the reader has to be woken.
    ///
    /// # Errors
    /// `ResourceBusy` if [`FLUSHES_MAX`] are under way; those of memfd_create(2) and fchmod(2).
    pub(crate) fn ask(
        &self,
        group: &Group,
        token: u64,
        command: Option<Box<RootCommand>>,
    ) -> io::Result<bool> {
        let _asking = self.asking.lock().unwrap_or_else(PoisonError::into_inner);
        let used = self.under_way.load(Ordering::Acquire);
        let at = used.trailing_ones() as usize;
        let room = self.rooms.get(at).ok_or(io::ErrorKind::ResourceBusy)?;
        let marker = match room.marker.get() {
            Some(marker) => marker,
            None => {
                let made = Marker::new(group, memory_file(c"fsmon-flush")?).ok();
                room.marker.get_or_init(|| made)
            }
        };
        room.carries.store(command.is_some(), Ordering::Relaxed);
        *room.command.lock().unwrap_or_else(PoisonError::into_inner) = command;
        let asked_ns = clock::monotonic_ns();
        room.token.store(token, Ordering::Relaxed);
        room.asked_ns.store(asked_ns, Ordering::Relaxed);
        room.seen_ns.store(0, Ordering::Relaxed);
        let sent_ns = if marker.is_some() { u64::MAX } else { asked_ns };
        room.sent_ns.store(sent_ns, Ordering::Relaxed);
        self.under_way.fetch_or(1 << at, Ordering::Release);
        let Some(marker) = marker else { return Ok(true) };
        if let Err(error) = change_mode(marker.file.as_fd()) {
            self.under_way.fetch_and(!(1 << at), Ordering::Release);
            return Err(error);
        }
        room.sent_ns.store(clock::monotonic_ns(), Ordering::Relaxed);
        Ok(false)
    }

    /// Whether any is under way.
    #[inline]
    pub(crate) fn any(&self) -> bool {
        self.under_way.load(Ordering::Relaxed) != 0
    }

    /// The flush whose event this is, if it is one; it then has everything before it, at `now_ns`.
    #[cold]
    pub(crate) fn take(&self, event: &Event<'_>, now_ns: u64) -> Option<Flushed> {
        let key = event.object.filter(|_| event.location.is_none())?;
        let is_it = |at: &usize| {
            let marker = self.rooms[*at].marker.get().and_then(Option::as_ref);
            self.is_under_way(*at) && marker.is_some_and(|marker| marker.is(key))
        };
        let at = (0..FLUSHES_MAX).find(is_it)?;
        self.rooms[at].seen_ns.store(now_ns.max(1), Ordering::Relaxed);
        Some(self.flushed(at))
    }

    /// Whether a flush carries a command, or did.
    pub(crate) fn carries(&self, flushed: Flushed) -> bool {
        self.rooms[flushed.at].carries.load(Ordering::Relaxed)
    }

    /// What a flush carries: given once.
    #[cold]
    pub(crate) fn command(&self, flushed: Flushed) -> Option<Box<RootCommand>> {
        self.rooms[flushed.at].command.try_lock().ok()?.take()
    }

    /// The next one that can be answered. It stays under way until [`Flushes::end`].
    #[cold]
    pub(crate) fn next(&self, progress: Progress) -> Option<Flushed> {
        let Progress { after_ns, now_ns, is_idle } = progress;
        let is_over = |at: &usize| {
            let room = &self.rooms[*at];
            if !self.is_under_way(*at) {
                return false;
            }
            if room.seen_ns.load(Ordering::Relaxed) == 0 {
                if after_ns <= room.sent_ns.load(Ordering::Relaxed) {
                    return false;
                }
                room.seen_ns.store(now_ns.max(1), Ordering::Relaxed);
            }
            if room.carries.load(Ordering::Relaxed) {
                // One whose event did not come is done now.
                return room.command.try_lock().is_ok_and(|command| command.is_some());
            }
            let seen_ns = room.seen_ns.load(Ordering::Relaxed);
            is_idle || now_ns >= seen_ns.saturating_add(FLUSH_PATIENCE_NS)
        };
        (0..FLUSHES_MAX).find(is_over).map(|at| self.flushed(at))
    }

    /// Any that is under way: for when the reader ends.
    pub(crate) fn last(&self) -> Option<Flushed> {
        (0..FLUSHES_MAX).find(|at| self.is_under_way(*at)).map(|at| self.flushed(at))
    }

    /// It is answered.
    pub(crate) fn end(&self, flushed: Flushed) {
        self.under_way.fetch_and(!(1 << flushed.at), Ordering::Release);
    }

    fn flushed(&self, at: usize) -> Flushed {
        let room = &self.rooms[at];
        let token = room.token.load(Ordering::Relaxed);
        Flushed { at, token, asked_ns: room.asked_ns.load(Ordering::Relaxed) }
    }

    fn is_under_way(&self, at: usize) -> bool {
        self.under_way.load(Ordering::Acquire) >> at & 1 != 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hot::event::Events;
    use crate::sys::fd::{eventfd, is_readable, read};
    use std::os::fd::AsRawFd;

    const IDLE: Progress = Progress { after_ns: 0, now_ns: 1, is_idle: true };

    fn tokens(flushes: &Flushes, progress: Progress) -> Vec<u64> {
        let next = || flushes.next(progress).inspect(|flushed| flushes.end(*flushed));
        std::iter::from_fn(next).map(|flushed| flushed.token).collect()
    }

    /// Hands the events in the queue to the flushes; how many were theirs.
    fn take(flushes: &Flushes, group: &Group) -> usize {
        let mut buffer = [0; 4096];
        if !is_readable(group.as_fd().as_raw_fd()) {
            return 0;
        }
        let len = read(group.as_fd(), &mut buffer).expect("events");
        Events(&buffer[..len]).filter(|event| flushes.take(event, 1).is_some()).count()
    }

    #[test]
    fn each_has_its_own_place_in_the_queue_and_files_are_used_again() {
        let Ok(group) = Group::new(true) else {
            return eprintln!("SKIP: no fanotify group is to be had");
        };
        let flushes = Flushes::default();
        for round in 0..3 {
            for token in 0..FLUSHES_MAX as u64 {
                assert!(!flushes.ask(&group, token, None).expect("room"));
            }
            let full = flushes.ask(&group, 99, None).expect_err("no room");
            assert_eq!(full.kind(), io::ErrorKind::ResourceBusy, "round {round}");
            assert!(tokens(&flushes, IDLE).is_empty(), "before its event was read");
            assert_eq!(take(&flushes, &group), FLUSHES_MAX);
            let answered = tokens(&flushes, IDLE);
            assert_eq!(answered, (0..FLUSHES_MAX as u64).collect::<Vec<_>>());
            assert!(!flushes.any());
        }
    }

    #[test]
    fn what_is_held_back_is_waited_for_but_not_for_long() {
        let Ok(group) = Group::new(true) else {
            return eprintln!("SKIP: no fanotify group is to be had");
        };
        let flushes = Flushes::default();
        flushes.ask(&group, 5, None).expect("room");
        assert_eq!(take(&flushes, &group), 1);
        let busy = Progress { now_ns: FLUSH_PATIENCE_NS, is_idle: false, ..IDLE };
        assert!(tokens(&flushes, busy).is_empty());
        assert_eq!(tokens(&flushes, Progress { now_ns: FLUSH_PATIENCE_NS + 1, ..busy }), [5]);
    }

    #[test]
    fn without_a_mark_or_after_an_overflow_an_empty_queue_is_as_good() {
        let flushes = Flushes::default();
        // It takes no marks.
        let group = Group::from(eventfd().expect("an eventfd"));
        assert!(flushes.ask(&group, 7, None).expect("room"), "the reader has to be woken");
        let asked_ns = flushes.last().expect("one").asked_ns;
        assert!(tokens(&flushes, Progress { after_ns: asked_ns, ..IDLE }).is_empty());
        assert_eq!(tokens(&flushes, Progress { after_ns: asked_ns + 1, ..IDLE }), [7]);
        let Ok(group) = Group::new(true) else {
            return eprintln!("SKIP: no fanotify group is to be had");
        };
        let flushes = Flushes::default();
        flushes.ask(&group, 8, None).expect("room");
        let lost = Progress { after_ns: clock::monotonic_ns() + 1, ..IDLE };
        assert_eq!(tokens(&flushes, lost), [8]);
    }
}

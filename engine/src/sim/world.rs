//! The model of everything outside the reader: filesystem, queue, clock, and the processes that go on while the reader
//! looks at the disk.

use super::files::{Files, Inode, Notice, Reuse};
use super::history::{Act, Op};
use super::queue::Queue;
use crate::hot::r#where::disk::Disk;
use crate::sys::handle::{Handle, Handles};
use crate::sys::overlay::Origin;
use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::ffi::CStr;
use std::io;
use std::rc::Rc;

/// Nanoseconds that a look at the disk takes.
const LOOK_NS: u64 = 10_000;
/// `DT_DIR` and `DT_REG` of linux/fs_types.h.
const DT_DIR: u8 = 4;
const DT_REG: u8 = 8;

/// An operation that a process performed, for the judge.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Truth {
    pub(super) pid: u32,
    pub(super) op: Op,
}

/// Everything outside the reader.
pub(super) struct World {
    pub(super) files: Files,
    pub(super) queue: Queue,
    pub(super) now_ns: u64,
    /// Operations that happen next, one at each look at the disk.
    pub(super) pending: VecDeque<Act>,
    /// Notifications of operations that were performed, and whose events are not queued yet: the kernel changes the
    /// filesystem just before it queues the event.
    held: Vec<(u32, Notice)>,
    /// Whether events of changes are queued some looks later.
    pub(super) is_split: bool,
    pub(super) done: Vec<Truth>,
    looks: u64,
}

impl World {
    pub(super) fn new(reuse: Reuse) -> Self {
        World {
            files: Files::new(reuse),
            queue: Queue::default(),
            now_ns: 1_000_000_000,
            pending: VecDeque::new(),
            held: Vec::new(),
            is_split: false,
            done: Vec::new(),
            looks: 0,
        }
    }

    /// Performs an operation. Returns false if the kernel would refuse it.
    pub(super) fn act(&mut self, act: &Act) -> bool {
        self.flush();
        self.begin(act)
    }

    fn begin(&mut self, act: &Act) -> bool {
        let Some(notices) = act.op.apply(&mut self.files) else { return false };
        self.done.push(Truth { pid: act.pid, op: act.op.clone() });
        // The kernel holds the lock of a directory until the event is queued, so events of one directory are queued in
        // the order of the changes.
        let is_locked = |dir: &Inode| notices.iter().any(|one| one.dirs().contains(dir));
        let waits =
            |(pid, held): &(u32, Notice)| *pid == act.pid || held.dirs().iter().any(is_locked);
        if self.held.iter().any(waits) {
            self.flush();
        }
        self.held.extend(notices.into_iter().map(|notice| (act.pid, notice)));
        if !self.is_split {
            self.flush();
        }
        true
    }

    /// Queues all events that are held. It takes one of each process in turn, so that the order differs from that of
    /// the changes.
    pub(super) fn flush(&mut self) {
        while let Some((first, _)) = self.held.first() {
            let (mut last, mut at) = (*first, 0);
            let mut taken = false;
            while at < self.held.len() {
                if !taken || self.held[at].0 != last {
                    let (pid, notice) = self.held.remove(at);
                    self.queue.notify(&self.files, pid, &notice);
                    (last, taken) = (pid, true);
                } else {
                    at += 1;
                }
            }
        }
    }

    /// Called at each look of the reader: time passes, and another process performs its next operation.
    fn look(&mut self) {
        self.now_ns += LOOK_NS;
        if !self.is_split || self.pending.is_empty() || self.looks.is_multiple_of(3) {
            self.flush();
        }
        self.looks += 1;
        if let Some(act) = self.pending.pop_front() {
            self.begin(&act);
        }
    }

    /// Called after a turn of the reader: performs the operations that are left.
    pub(super) fn catch_up(&mut self) {
        self.flush();
        while let Some(act) = self.pending.pop_front() {
            self.act(&act);
        }
    }
}

/// The world, as the [`Disk`] of the reader.
#[derive(Clone)]
pub(super) struct Model(pub(super) Rc<RefCell<World>>);

/// An open directory.
pub(super) struct Open {
    inode: Inode,
    is_read: Cell<bool>,
}

impl Open {
    fn new(inode: Inode) -> Self {
        Open { inode, is_read: Cell::new(false) }
    }
}

fn missing() -> io::Error {
    io::Error::from_raw_os_error(libc::ENOENT)
}

fn text(bytes: &[u8]) -> io::Result<&str> {
    std::str::from_utf8(bytes).map_err(|_| missing())
}

impl Model {
    fn look<T>(&self, f: impl FnOnce(&mut World) -> T) -> T {
        let mut world = self.0.borrow_mut();
        world.look();
        f(&mut world)
    }

    fn open(&self, from: Inode, path: &[u8]) -> io::Result<Open> {
        let path = text(path)?;
        self.look(|world| {
            let found = world.files.below(from, path).ok_or_else(missing)?;
            match world.files.is_dir(found) {
                true => Ok(Open::new(found)),
                false => Err(io::Error::from_raw_os_error(libc::ENOTDIR)),
            }
        })
    }
}

impl Disk for Model {
    type Dir = Open;

    fn open_absolute(&self, path: &CStr) -> io::Result<Open> {
        self.open(super::files::TOP, path.to_bytes())
    }

    fn open_following(&self, path: &CStr) -> io::Result<Open> {
        self.open_absolute(path)
    }

    fn read_link<'a>(&self, _: &Open, _: &CStr, _: &'a mut [u8]) -> io::Result<&'a [u8]> {
        // In the model a symbolic link is an entry without a target.
        Err(io::Error::from_raw_os_error(libc::EINVAL))
    }

    fn open_step(&self, dir: &Open, name: &CStr) -> io::Result<Open> {
        self.open(dir.inode, name.to_bytes())
    }

    fn open_above(&self, dir: &Open) -> io::Result<Open> {
        self.look(|world| world.files.above(dir.inode).map(Open::new).ok_or_else(missing))
    }

    fn open_path(&self, dir: &Open, path: &[u8]) -> io::Result<Open> {
        self.open(dir.inode, path)
    }

    fn open_without_mounts(&self, dir: &Open) -> io::Result<Open> {
        Ok(Open::new(dir.inode))
    }

    fn open_handle(&self, _: &Open, handle: &[u8]) -> io::Result<Open> {
        let stale = || io::Error::from_raw_os_error(libc::ESTALE);
        self.look(|world| world.files.by_handle(handle).map(Open::new).ok_or_else(stale))
    }

    fn open_cached(&self, _: &CStr) -> io::Result<Open> {
        Err(io::ErrorKind::Unsupported.into())
    }

    /// There is no overlay here.
    fn handle_of_copy(&self, _: &Open, _: &[u8], _: Origin) -> io::Result<Handle> {
        Err(io::ErrorKind::Unsupported.into())
    }

    /// Used only for names of files, which the model does not have.
    fn path_of<'a>(&self, _: &Open, _: &'a mut [u8]) -> io::Result<&'a [u8]> {
        Err(io::ErrorKind::Unsupported.into())
    }

    fn has_name(&self, dir: &Open) -> bool {
        self.look(|world| world.files.has_name(dir.inode))
    }

    fn filesystem(&self, _: &Open) -> io::Result<u64> {
        Ok(super::queue::FSID)
    }

    /// Another number, so that what takes one for the other is seen.
    fn identity(&self, _: &Open, fsid: u64) -> u64 {
        fsid + 1
    }

    fn probe_handles(&self, _: &Open) -> io::Result<Handles> {
        Ok(Handles::modern())
    }

    fn handle_of(&self, dir: &Open, _: Handles) -> io::Result<(Handle, i32)> {
        Ok((of_model(self.0.borrow().files.handle(dir.inode)), 1))
    }

    fn handle_of_entry(&self, dir: &Open, name: &CStr, _: Handles) -> io::Result<(Handle, i32)> {
        let name = text(name.to_bytes())?;
        self.look(|world| {
            let child = world.files.child(dir.inode, name).ok_or_else(missing)?;
            Ok((of_model(world.files.handle(child)), 1))
        })
    }

    fn read_dir(&self, dir: &Open, buffer: &mut [u8]) -> io::Result<usize> {
        if dir.is_read.replace(true) {
            return Ok(0);
        }
        self.look(|world| {
            let mut out = Vec::new();
            for (name, inode) in world.files.entries(dir.inode) {
                let len = (19 + name.len() + 1).next_multiple_of(8);
                let end = out.len() + len;
                out.extend([1; 16]);
                out.extend((len as u16).to_ne_bytes());
                out.push(if world.files.is_dir(inode) { DT_DIR } else { DT_REG });
                out.extend(name.as_bytes());
                out.resize(end, 0);
            }
            buffer[..out.len()].copy_from_slice(&out);
            Ok(out.len())
        })
    }

    fn is_dir(&self, dir: &Open, name: &CStr) -> bool {
        self.look(|world| {
            let child =
                text(name.to_bytes()).ok().and_then(|name| world.files.child(dir.inode, name));
            child.is_some_and(|child| world.files.is_dir(child))
        })
    }

    fn mark_filesystem(&self, mask: u64, _: &Open) -> io::Result<()> {
        self.look(|world| world.queue.mark_filesystem(mask));
        Ok(())
    }

    fn unmark_filesystem(&self, mask: u64, _: &Open) -> io::Result<()> {
        self.look(|world| world.queue.unmark_filesystem(mask));
        Ok(())
    }

    fn mark_dir(&self, mask: u64, dir: &Open) -> io::Result<()> {
        let mask = mask | crate::sys::fanotify::flag::EVENT_ON_CHILD;
        self.look(|world| world.queue.mark_dir(mask, dir.inode));
        Ok(())
    }

    fn mark_step(&self, mask: u64, dir: &Open) -> io::Result<()> {
        self.look(|world| world.queue.mark_dir(mask, dir.inode));
        Ok(())
    }

    fn mute(&self, mask: u64, dir: &Open) -> io::Result<()> {
        self.look(|world| world.queue.ignore(mask, dir.inode));
        Ok(())
    }

    fn unmute(&self, mask: u64, dir: &Open) -> bool {
        self.look(|world| world.queue.heed(mask, dir.inode))
    }

    fn remove_marks(&self) -> io::Result<()> {
        Ok(())
    }

    fn is_queue_empty(&self) -> bool {
        self.0.borrow().queue.is_empty()
    }

    fn now_ns(&self) -> u64 {
        self.0.borrow().now_ns
    }
}

fn of_model(handle: &[u8]) -> Handle {
    Handle::of(handle).expect("the model's are short")
}

//! The images: what a process was between two changes of its identity.
//!
//! Ids are dense from 1 and used again, the latest freed first, so that little memory is touched.
//! An image lives as long as something refers to it: the cache of pids or a queue of what is yet
//! to go (one reference together), the image after it, images forked from it, the caller.

use super::args;
use super::message::COMM;
use crate::limits::who::{ANCESTRY_MAX, CHANGES_LINKED_MAX};
use fsmon_format::record::proc_flag;
use zerocopy::FromZeros;

/// How an image came to be.
pub mod birth {
    /// By fork: another process than the one before it under this pid.
    pub const FORK: u8 = 1;
    /// By exec, for which the kernel opens an executable.
    pub const EXEC: u8 = 2;
    /// By a change of name, user or group.
    pub const CHANGE: u8 = 3;
    /// Read from /proc at the start or after a loss.
    pub const SCAN: u8 = 4;
    /// Read from /proc as a last resort.
    pub const LATE: u8 = 5;
}

/// What of an image's command line may be told.
pub mod cmdline {
    /// What is known.
    pub const KNOWN: u8 = 0;
    /// It stands in the definition that was sent.
    pub const REPORTED: u8 = 1;
    /// None: an event of this image may be that of another.
    pub const WITHHELD: u8 = 2;
}

/// An image.
#[derive(Clone, Copy, Debug, Default, FromZeros)]
#[repr(C)]
pub struct Image {
    /// When the process was forked; 0 before the watch began.
    pub start_ns: u64,
    /// Valid from then on.
    pub from_ns: u64,
    /// Valid until then; 0 while it is the latest of its pid.
    pub until_ns: u64,
    /// Time of the name.
    pub comm_ns: u64,
    /// Time of the user.
    pub uid_ns: u64,
    /// Time of the group.
    pub gid_ns: u64,
    /// Time of exe and cgroup.
    pub exec_ns: u64,
    /// When it got into the queue it is in.
    pub queued_ns: u64,
    /// When the process was started by /proc/PID/stat, in clock ticks since boot; 0 not read.
    pub start_ticks: u64,
    /// With BPF: how many file events had been queued when it came to be, at least; 0 before the
    /// watch began.
    pub position: u64,
    /// And at most.
    pub position_most: u64,
    /// Kernel id of the cgroup; 0 unknown.
    pub cgroup_id: u64,
    /// Process (tgid).
    pub pid: u32,
    /// Its parent at the fork; 0 unknown.
    pub ppid: u32,
    /// The parent's image at the fork; 0 unknown.
    pub parent: u32,
    /// The image before it of the same process; 0 none.
    pub prev: u32,
    /// The image before it under the same pid, another process's perhaps, and its serial.
    pub before: u32,
    /// See `before`.
    pub before_serial: u32,
    /// Effective user.
    pub uid: u32,
    /// Effective group.
    pub gid: u32,
    /// The kernel's name.
    pub comm: [u8; COMM],
    /// Id of the path of the file that runs.
    pub exe: u32,
    /// Number of the mount namespace that the path holds in; 0 for ours.
    pub exe_root: u32,
    /// Id of the name given to exec.
    pub exec: u32,
    /// With BPF: the command line, see [`super::args`].
    pub args: u32,
    /// [`proc_flag`]: COMM, CRED and those of EXE_ALL.
    pub flags: u16,
    /// [`birth`]
    pub birth: u8,
    /// How many `prev` links lie behind it.
    pub depth: u8,
    /// What it says was read after the fact: attribution is late.
    pub late: u8,
    /// Users and groups are to be read at the first use: no source tells of changes.
    pub unsure: u8,
    /// /proc was asked for what is missing.
    pub asked: u8,
    /// /proc was asked for exe.
    pub exe_asked: u8,
    /// In use.
    pub live: u8,
    /// Its definition was sent.
    pub defined: u8,
    /// In a queue.
    pub queued: u8,
    /// FORK: its parent is not who called fork (`CLONE_PARENT`), of whom all else is inherited.
    pub adopted: u8,
    /// [`cmdline`]
    pub cmdline: u8,
    /// Ancestors behind it, [`ANCESTRY_MAX`] at the most.
    pub ancestry: u16,
    /// Raised each time the place is freed.
    pub serial: u32,
    /// Next in a queue, or next free.
    pub link: u32,
    /// With BPF: how many of those were still in the queue then.
    pub pending: u32,
    /// With BPF: what was seen of the process's own among those: the first, and how many.
    pub witnesses: (u32, u32),
    /// References to it.
    pub refs: u32,
}

impl Image {
    /// Whether name and user are known.
    #[must_use]
    pub fn is_complete(&self) -> bool {
        let all = proc_flag::COMM | proc_flag::CRED;
        self.flags & all == all && self.unsure == 0
    }

    /// Whether a record would say the same of both.
    #[must_use]
    pub fn says_the_same(&self, other: &Image) -> bool {
        (self.pid, self.ppid, self.uid, self.gid) == (other.pid, other.ppid, other.uid, other.gid)
            && self.file_as_told() == other.file_as_told()
            && (self.comm, self.cgroup_id, self.start_ns)
                == (other.comm, other.cgroup_id, other.start_ns)
            && self.args == other.args
            && (args::is_known(self.args) || self.exec_ns == other.exec_ns)
    }

    /// What was told of the file that runs, and the flags. What was read from /proc after the exec is
    /// left out: it is read of some images, when they are defined, and not of others that are the
    /// same.
    fn file_as_told(&self) -> (u32, u32, u32, u16) {
        match self.flags & proc_flag::EXE_LATE {
            0 => (self.exe, self.exe_root, self.exec, self.flags),
            _ => (0, 0, self.exec, self.flags & !proc_flag::EXE_ALL),
        }
    }

    /// Id of the name by which its file is known: that given to exec, else its path.
    #[must_use]
    pub fn file_name(&self) -> u32 {
        if self.exec == 0 { self.exe } else { self.exec }
    }

    /// Takes over from another image which file runs. The caller counts the references.
    pub fn set_file(&mut self, from: &Image) {
        (self.exe, self.exe_root, self.exec) = (from.exe, from.exe_root, from.exec);
        self.flags = self.flags & !proc_flag::EXE_ALL | from.flags & proc_flag::EXE_ALL;
    }

    /// An event of this image may be that of another, which differs in nothing that is told but the
    /// command line: from now on none is told.
    pub fn withhold_cmdline(&mut self) {
        if self.cmdline == cmdline::REPORTED {
            self.defined = 0;
        }
        self.cmdline = cmdline::WITHHELD;
    }

    /// What a forked process takes over; the caller fills in the rest.
    #[must_use]
    pub fn forked(&self, time_ns: u64) -> Image {
        Image {
            start_ns: time_ns,
            from_ns: time_ns,
            comm_ns: time_ns,
            uid_ns: time_ns,
            gid_ns: time_ns,
            exec_ns: time_ns,
            cgroup_id: self.cgroup_id,
            uid: self.uid,
            gid: self.gid,
            comm: self.comm,
            exe: self.exe,
            exe_root: self.exe_root,
            exec: self.exec,
            args: self.args,
            flags: self.flags,
            late: self.late,
            unsure: self.unsure,
            birth: birth::FORK,
            ..Image::default()
        }
    }
}

/// The slab.
pub struct Images {
    images: Vec<Image>,
    free: u32,
    used: u32,
    len: usize,
}

impl Images {
    /// Reserves room for `max` images; pages are taken as they are used.
    #[must_use]
    pub fn with_capacity(max: usize) -> Self {
        let images = Image::new_vec_zeroed(max + 1).expect("room is bounded by PROCESSES_MAX");
        Images { images, free: 0, used: 0, len: 0 }
    }

    /// Images in use.
    #[must_use]
    pub(crate) fn len(&self) -> usize {
        self.len
    }

    /// Whether there is room for no other.
    #[must_use]
    pub fn is_full(&self) -> bool {
        self.len + 1 >= self.images.len()
    }

    /// The image of that id. 0 is an image of which nothing is known.
    #[inline]
    #[must_use]
    pub fn get(&self, id: u32) -> &Image {
        &self.images[id as usize]
    }

    /// The same, to change.
    #[inline]
    pub fn get_mut(&mut self, id: u32) -> &mut Image {
        debug_assert!(id != 0);
        &mut self.images[id as usize]
    }

    /// The image of that id and serial number, if it is still that one.
    #[must_use]
    pub fn get_if(&self, id: u32, serial: u32) -> Option<&Image> {
        let image = &self.images[id as usize];
        (id != 0 && image.live != 0 && image.serial == serial).then_some(image)
    }

    /// Takes `image` in with one reference, and one more to each image that it names. `None` when
    /// full.
    pub fn add(&mut self, mut image: Image) -> Option<u32> {
        let id = if self.free != 0 {
            let id = self.free;
            self.free = self.images[id as usize].link;
            id
        } else if (self.used as usize) + 1 < self.images.len() {
            self.used += 1;
            self.used
        } else {
            return None;
        };
        let serial = self.images[id as usize].serial;
        if image.prev != 0 {
            let depth = self.get(image.prev).depth;
            if depth >= CHANGES_LINKED_MAX {
                image.prev = 0;
            }
            image.depth = if image.prev == 0 { 0 } else { depth + 1 };
        }
        if image.parent != 0 {
            let ancestry = self.get(image.parent).ancestry;
            if ancestry >= ANCESTRY_MAX {
                image.parent = 0;
            }
            image.ancestry = if image.parent == 0 { 0 } else { ancestry + 1 };
        }
        if image.birth != birth::CHANGE {
            image.cmdline = cmdline::KNOWN;
        }
        self.retain(image.prev);
        self.retain(image.parent);
        self.images[id as usize] =
            Image { serial, live: 1, refs: 1, defined: 0, queued: 0, link: 0, ..image };
        self.len += 1;
        Some(id)
    }

    /// One reference more.
    pub fn retain(&mut self, id: u32) {
        if id != 0 {
            self.images[id as usize].refs += 1;
        }
    }

    /// One reference less. Images that nothing refers to any more are freed, ancestors too;
    /// `freed` gets each.
    pub fn release(&mut self, id: u32, mut freed: impl FnMut(&Image)) {
        // Two ways lead on from each image. Only one can be walked without a stack, so freed
        // images wait in a chain through `link`, which nothing else uses by then.
        let mut waiting = 0;
        self.release_one(id, &mut waiting);
        while waiting != 0 {
            let this = waiting;
            let image = self.images[this as usize];
            waiting = image.link;
            freed(&image);
            self.images[this as usize] =
                Image { serial: image.serial.wrapping_add(1), link: self.free, ..Image::default() };
            self.free = this;
            self.len -= 1;
            self.release_one(image.prev, &mut waiting);
            self.release_one(image.parent, &mut waiting);
        }
    }

    fn release_one(&mut self, id: u32, waiting: &mut u32) {
        if id == 0 {
            return;
        }
        let image = &mut self.images[id as usize];
        debug_assert!(image.live != 0 && image.refs > 0);
        image.refs = image.refs.saturating_sub(1);
        if image.refs == 0 && image.live != 0 {
            image.live = 0;
            image.link = *waiting;
            *waiting = id;
        }
    }
}

/// Images in the order in which they are to go, linked through [`Image::link`].
#[derive(Default)]
pub struct ImageQueue {
    first: u32,
    last: u32,
    len: usize,
}

impl ImageQueue {
    /// The one that waits longest; 0 when there is none.
    #[inline]
    #[must_use]
    pub fn first(&self) -> u32 {
        self.first
    }

    /// Whether none waits.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.first == 0
    }

    /// At the end, with the time from which it waits. It must be in no queue.
    pub fn push(&mut self, images: &mut Images, id: u32, now_ns: u64) {
        let image = images.get_mut(id);
        debug_assert!(image.queued == 0);
        (image.queued, image.queued_ns, image.link) = (1, now_ns, 0);
        match self.last {
            0 => self.first = id,
            last => images.get_mut(last).link = id,
        }
        self.last = id;
        self.len += 1;
    }

    /// Takes the first out.
    pub fn pop(&mut self, images: &mut Images) -> u32 {
        let id = self.first;
        if id != 0 {
            let image = images.get_mut(id);
            image.queued = 0;
            self.first = image.link;
            image.link = 0;
            if self.first == 0 {
                self.last = 0;
            }
            self.len -= 1;
        }
        id
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn child(parent: u32) -> Image {
        Image { pid: 1, parent, ..Image::default() }
    }

    #[test]
    fn the_ancestry_stays_while_a_descendant_does() {
        let mut images = Images::with_capacity(4);
        let init = images.add(child(0)).expect("room");
        let shell = images.add(child(init)).expect("room");
        let tool = images.add(Image { exe: 7, prev: shell, ..child(shell) }).expect("room");
        let mut freed = Vec::new();
        images.release(init, |image| freed.push(image.exe));
        images.release(shell, |image| freed.push(image.exe));
        assert_eq!((images.len(), freed.len()), (3, 0));
        let serial = images.get(tool).serial;
        images.release(tool, |image| freed.push(image.exe));
        assert_eq!((images.len(), freed), (0, vec![7, 0, 0]));
        assert!(images.get_if(tool, serial).is_none());
        assert_eq!(images.add(child(0)), Some(init), "the latest freed comes first");
    }

    #[test]
    fn what_is_read_late_of_one_image_makes_it_no_other() {
        let told = Image { exe: 3, exec: 4, ..child(0) };
        let none = Image { exe: 0, ..told };
        let late =
            Image { exe: 5, exe_root: 9, flags: proc_flag::EXE_READ | proc_flag::EXE_LATE, ..told };
        assert!(late.says_the_same(&none) && none.says_the_same(&late));
        assert!(!told.says_the_same(&none) && !told.says_the_same(&late));
        assert!(!none.says_the_same(&Image { exec: 7, ..none }));
        assert!(!told.says_the_same(&Image { exe_root: 9, ..told }));
        assert!(!told.says_the_same(&Image { flags: proc_flag::EXE_CUT, ..told }));
    }

    #[test]
    fn it_fills_up_and_empties() {
        let mut images = Images::with_capacity(3);
        let mut queue = ImageQueue::default();
        for time in 1..=3 {
            let id = images.add(child(0)).expect("room");
            queue.push(&mut images, id, time);
        }
        assert!(images.is_full() && images.add(child(0)).is_none());
        let order: Vec<_> =
            std::iter::from_fn(|| Some(queue.pop(&mut images)).filter(|&id| id != 0)).collect();
        assert_eq!(order, [1, 2, 3]);
        assert!(queue.is_empty());
    }

    #[test]
    fn a_long_row_of_changes_is_cut() {
        let mut images = Images::with_capacity(64);
        let mut last = images.add(child(0)).expect("room");
        for _ in 0..40 {
            let next = images.add(Image { prev: last, ..child(0) }).expect("room");
            images.release(last, |_| ());
            last = next;
        }
        assert!(images.len() <= 1 + CHANGES_LINKED_MAX as usize);
    }
}

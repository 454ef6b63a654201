//! The images: what a process was between two changes of its identity.
//!
//! Ids are dense from 1. A freed id is used again, the most recent first, so that few cache lines are touched. An
//! image lives as long as something refers to it: the table of pids or one of the queues for removal (one reference
//! together), the next image, images forked from it, or the caller.

use super::args;
use super::message::COMM;
use crate::limits::who::{ANCESTRY_MAX, CHANGES_LINKED_MAX};
use fsmon_format::record::proc_flag;
use zerocopy::FromZeros;

/// How an image came to be.
pub mod birth {
    /// By fork: another process than that of the image before it under this pid.
    pub const FORK: u8 = 1;
    /// By exec, for which the kernel opens an executable.
    pub const EXEC: u8 = 2;
    /// By a change of name, user or group.
    pub const CHANGE: u8 = 3;
    /// Read from /proc at the start or after a loss.
    pub const SCAN: u8 = 4;
    /// Read from /proc because no source had announced the process.
    pub const LATE: u8 = 5;
}

/// What may be reported of the command line of an image.
pub mod cmdline {
    /// The command line, as far as it is known.
    pub const KNOWN: u8 = 0;
    /// It is in the definition that was sent.
    pub const REPORTED: u8 = 1;
    /// No command line: events attributed to this image may belong to another image that differs only in its
    /// command line.
    pub const WITHHELD: u8 = 2;
}

/// An image.
#[derive(Clone, Copy, Debug, Default, FromZeros)]
#[repr(C)]
pub struct Image {
    /// When the process was forked; 0 if before the watch began.
    pub start_ns: u64,
    /// Start of validity.
    pub from_ns: u64,
    /// End of validity; 0 while it is the latest image of its pid.
    pub until_ns: u64,
    /// When `comm` was last set.
    pub comm_ns: u64,
    /// When `uid` was last set.
    pub uid_ns: u64,
    /// When `gid` was last set.
    pub gid_ns: u64,
    /// When `exe` and `cgroup_id` were last set.
    pub exec_ns: u64,
    /// When it was put into its queue.
    pub queued_ns: u64,
    /// Start of the process by /proc/PID/stat, in clock ticks since boot; 0 if not read.
    pub start_ticks: u64,
    /// With BPF: the least number of file events queued when the image began, which is its position in the event
    /// queue; 0 before the watch began.
    pub position: u64,
    /// With BPF: the largest number.
    pub position_most: u64,
    /// Kernel id of the cgroup; 0 unknown.
    pub cgroup_id: u64,
    /// Process (tgid).
    pub pid: u32,
    /// Its parent at the fork; 0 unknown.
    pub ppid: u32,
    /// The parent's image at the fork; 0 unknown.
    pub parent: u32,
    /// The image before it, of the same process; 0 none.
    pub prev: u32,
    /// The image before it under the same pid, perhaps of another process.
    pub before: u32,
    /// Serial number of `before`.
    pub before_serial: u32,
    /// Effective user.
    pub uid: u32,
    /// Effective group.
    pub gid: u32,
    /// The name by which the kernel knows the process.
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
    /// Number of `prev` links behind it.
    pub depth: u8,
    /// Its values were read after the fact: attribution is late.
    pub late: u8,
    /// User and group must be read at the first use: no source reports changes.
    pub unsure: u8,
    /// /proc was read for missing values.
    pub asked: u8,
    /// /proc was read for `exe`.
    pub exe_asked: u8,
    /// In use.
    pub live: u8,
    /// Its definition was sent.
    pub defined: u8,
    /// In a queue.
    pub queued: u8,
    /// Born by fork, and its parent is not the process that called fork (`CLONE_PARENT`), from which it inherited
    /// everything else.
    pub adopted: u8,
    /// [`cmdline`]
    pub cmdline: u8,
    /// Number of ancestors behind it, [`ANCESTRY_MAX`] at most.
    pub ancestry: u16,
    /// Incremented each time the slot is freed.
    pub serial: u32,
    /// Next in a queue, or next free.
    pub link: u32,
    /// With BPF: how many of the events before `position` were still in the queue.
    pub pending: u32,
    /// With BPF: the witnesses among those events: index of the first, and their number.
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

    /// Whether the records of both images would be equal.
    #[must_use]
    pub fn says_the_same(&self, other: &Image) -> bool {
        (self.pid, self.ppid, self.uid, self.gid) == (other.pid, other.ppid, other.uid, other.gid)
            && self.reported_file() == other.reported_file()
            && (self.comm, self.cgroup_id, self.start_ns)
                == (other.comm, other.cgroup_id, other.start_ns)
            && self.args == other.args
            && (args::is_known(self.args) || self.exec_ns == other.exec_ns)
    }

    /// What was reported of the file that runs, and the flags. Values that were read from /proc after the exec are
    /// left out: fsmon reads them only of images that it defines, so equal images can differ in them.
    fn reported_file(&self) -> (u32, u32, u32, u16) {
        match self.flags & proc_flag::EXE_LATE {
            0 => (self.exe, self.exe_root, self.exec, self.flags),
            _ => (0, 0, self.exec, self.flags & !proc_flag::EXE_ALL),
        }
    }

    /// Id of the name of the file: the name given to exec, or else its path.
    #[must_use]
    pub fn file_name(&self) -> u32 {
        if self.exec == 0 { self.exe } else { self.exec }
    }

    /// Copies from another image which file runs. The caller counts the references.
    pub fn set_file(&mut self, from: &Image) {
        (self.exe, self.exe_root, self.exec) = (from.exe, from.exe_root, from.exec);
        self.flags = self.flags & !proc_flag::EXE_ALL | from.flags & proc_flag::EXE_ALL;
    }

    /// Events of this image may belong to another image that differs only in the command line: from now on no
    /// command line is reported.
    pub fn withhold_cmdline(&mut self) {
        if self.cmdline == cmdline::REPORTED {
            self.defined = 0;
        }
        self.cmdline = cmdline::WITHHELD;
    }

    /// What a forked process inherits; the caller fills in the rest.
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

/// The images.
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

    /// Whether it is full.
    #[must_use]
    pub fn is_full(&self) -> bool {
        self.len + 1 >= self.images.len()
    }

    /// The image with that id. Image 0 has no values.
    #[inline]
    #[must_use]
    pub fn get(&self, id: u32) -> &Image {
        &self.images[id as usize]
    }

    /// The same, mutable.
    #[inline]
    pub fn get_mut(&mut self, id: u32) -> &mut Image {
        debug_assert!(id != 0);
        &mut self.images[id as usize]
    }

    /// The image with that id and serial number, if it has not been replaced.
    #[must_use]
    pub fn get_if(&self, id: u32, serial: u32) -> Option<&Image> {
        let image = &self.images[id as usize];
        (id != 0 && image.live != 0 && image.serial == serial).then_some(image)
    }

    /// Adds `image` with one reference, and adds one reference to each image that it names. `None` if full.
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

    /// Adds a reference.
    pub fn retain(&mut self, id: u32) {
        if id != 0 {
            self.images[id as usize].refs += 1;
        }
    }

    /// Removes a reference. Images without references are freed, ancestors included; `freed` gets each.
    pub fn release(&mut self, id: u32, mut freed: impl FnMut(&Image)) {
        // Each image leads to two others, so the walk would need a stack. Instead, freed images are chained through
        // `link`, which is unused by then.
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

/// Images in the order of their removal, linked through [`Image::link`].
#[derive(Default)]
pub struct ImageQueue {
    first: u32,
    last: u32,
    len: usize,
}

impl ImageQueue {
    /// The image that has waited longest; 0 if the queue is empty.
    #[inline]
    #[must_use]
    pub fn first(&self) -> u32 {
        self.first
    }

    /// Whether it is empty.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.first == 0
    }

    /// Adds an image at the end, with the time from which it waits. The image must be in no queue.
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

    /// Removes the first image.
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
    fn values_that_are_read_late_from_proc_do_not_make_images_differ() {
        let known = Image { exe: 3, exec: 4, ..child(0) };
        let none = Image { exe: 0, ..known };
        let late = Image {
            exe: 5,
            exe_root: 9,
            flags: proc_flag::EXE_READ | proc_flag::EXE_LATE,
            ..known
        };
        assert!(late.says_the_same(&none) && none.says_the_same(&late));
        assert!(!known.says_the_same(&none) && !known.says_the_same(&late));
        assert!(!none.says_the_same(&Image { exec: 7, ..none }));
        assert!(!known.says_the_same(&Image { exe_root: 9, ..known }));
        assert!(!known.says_the_same(&Image { flags: proc_flag::EXE_CUT, ..known }));
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

//! Fills the table from /proc: at the start, after a loss, and for a single process that no source has announced.

use super::Rung;
use super::args;
use super::images::{Image, birth};
use super::message::COMM;
use super::pids::Entry;
use super::procfs::{self, Seen};
use super::table::Table;
use crate::limits::who::{EXE_BYTES, PROC_ENTRIES_BYTES, SAME_START_TICKS};
use crate::sys::{clock, procdir};
use fsmon_format::record::proc_flag;

/// A clock tick of /proc/PID/stat: `USER_HZ` is 100 on every platform Rust knows.
const TICK_NS: u64 = 10_000_000;
/// A forked process and a process in /proc are the same if their start times differ by no more than this.
const SAME_START_NS: u64 = SAME_START_TICKS * TICK_NS;
/// Both sources, or /proc, have reported the fork: a later fork with this pid is another process.
const FORK_KNOWN: u8 = 3;

impl Table {
    /// Reads all of /proc. `first`: at the start, when nothing was known; what is read is then taken as true since
    /// ever.
    ///
    /// # Errors
    /// /proc cannot be read.
    pub fn scan(&mut self, first: bool) -> std::io::Result<()> {
        let mut buffer = [0; PROC_ENTRIES_BYTES];
        procdir::each_process(&mut buffer, |pid| self.look_at(pid, first))?;
        self.link_parents();
        if !first {
            self.end_the_missing();
        }
        Ok(())
    }

    /// Reads one process and takes over what differs from what is known.
    fn look_at(&mut self, pid: u32, first: bool) {
        let now = clock::monotonic_ns();
        let Some(seen) = procfs::read(pid, &self.cgroups) else { return };
        let old = self.latest(pid);
        let known = self.pids.get(pid).is_some_and(|entry| entry.exit_ns == 0);
        let same = known && is_same_process(&old, &seen);
        let users = seen.users.unwrap_or((old.uid, old.gid));
        // The loss may include an exec of the same program: its arguments are not known.
        let sure = !args::has_text(old.args);
        if same && sure && (old.comm, old.uid, old.gid) == (seen.comm, users.0, users.1) {
            return;
        }
        let mut image = image_of(pid, &seen, now);
        image.birth = birth::SCAN;
        image.from_ns = if first { 0 } else { now };
        self.read_file(&mut image, !first);
        if same {
            (image.prev, image.parent, image.ppid) = (1, old.parent, old.ppid);
            image.start_ns = old.start_ns;
        }
        self.put(image, now);
        self.strings.release(image.exe);
    }

    /// Sets which file the process of an image runs, by /proc; its path then has one reference. `late`: the process
    /// may have begun to run it later.
    fn read_file(&mut self, image: &mut Image, late: bool) {
        let mut link = [0; EXE_BYTES];
        image.exe_asked = 1;
        if let Some(exe) = procfs::read_exe(image.pid, &mut link) {
            image.exe = self.strings.intern(exe);
            let namespace = procfs::read_mount_namespace(image.pid);
            image.exe_root = if namespace == self.own_namespace { 0 } else { namespace };
            image.flags |= proc_flag::EXE_READ | if late { proc_flag::EXE_LATE } else { 0 };
        }
    }

    /// Reads which file the process of an image runs, if no source reported it (rungs below BPF). If this returns
    /// true, the caller must read all sources and then call [`Table::confirm_file`].
    pub(super) fn read_file_late(&mut self, id: u32) -> bool {
        let mut image = *self.images.get(id);
        if image.exe != 0 || image.exe_asked != 0 || !self.runs(id) {
            return false;
        }
        self.read_file(&mut image, true);
        let kept = self.images.get_mut(id);
        kept.exe_asked = 1;
        kept.set_file(&image);
        image.exe != 0
    }

    /// The result belongs to another image if this one has ended by now.
    pub(super) fn confirm_file(&mut self, id: u32) {
        if !self.runs(id) {
            let image = self.images.get_mut(id);
            self.strings.release(image.exe);
            (image.exe, image.exe_root) = (0, 0);
            image.flags &= !proc_flag::EXE_ALL;
        }
    }

    /// Whether an image is the current one of its process, by all messages so far.
    fn runs(&self, id: u32) -> bool {
        let pid = self.images.get(id).pid;
        let entry = self.pids.get(pid);
        entry.is_some_and(|entry| pid != 0 && entry.image == id && entry.exit_ns == 0)
    }

    fn put(&mut self, image: Image, now: u64) -> u32 {
        let Some(entry) = self.replace(image, now) else { return 0 };
        let id = entry.image;
        *entry = Entry { pid: entry.pid, image: id, forked_by: FORK_KNOWN, ..Entry::default() };
        self.set_since(image.pid);
        id
    }

    /// Gives every image that was read from /proc the image of its parent. The parent must be older, so that a pid
    /// that was used again while fsmon read makes no cycle.
    fn link_parents(&mut self) {
        let mut at = 0;
        while let Some((&entry, next)) = self.pids.next_from(at) {
            at = next;
            let image = *self.images.get(entry.image);
            let above = self.pids.get(image.ppid).map_or(0, |entry| entry.image);
            let older = self.images.get(above);
            let age = |image: &Image| (image.start_ticks, image.pid);
            if image.parent == 0
                && image.birth == birth::SCAN
                && above != 0
                && older.start_ticks != 0
                && age(older) < age(&image)
            {
                self.images.retain(above);
                self.images.get_mut(entry.image).parent = above;
            }
        }
    }

    /// A process that is no longer there has ended.
    fn end_the_missing(&mut self) {
        let now = clock::monotonic_ns();
        let mut at = 0;
        while let Some((&entry, next)) = self.pids.next_from(at) {
            at = next;
            if entry.exit_ns != 0 || procdir::exists(entry.pid) {
                continue;
            }
            if let Some(entry) = self.pids.get_mut(entry.pid) {
                entry.exit_ns = now;
            }
            if self.images.get(entry.image).queued == 0 {
                self.exited.push(&mut self.images, entry.image, now);
            }
        }
    }

    /// Reads a process that no source has announced, or whose latest image lacks a value, or every process where
    /// there is no other source. Returns its image, or 0 if it is gone.
    #[cold]
    pub(super) fn read_late(&mut self, pid: u32) -> u32 {
        self.counters.late_reads += 1;
        let now = clock::monotonic_ns();
        let old_id = self.pids.get(pid).map_or(0, |entry| entry.image);
        let old = *self.images.get(old_id);
        let Some(seen) = procfs::read(pid, &self.cgroups) else {
            if old_id != 0 {
                self.images.get_mut(old_id).asked = 1;
            }
            return old_id;
        };
        let same_process = old_id != 0 && is_same_process(&old, &seen);
        if same_process && self.rung != Rung::Proc {
            self.complete(old_id, &seen);
            self.set_since(pid);
            return old_id;
        }
        let users = seen.users.unwrap_or_default();
        if same_process && (old.comm, old.uid, old.gid) == (seen.comm, users.0, users.1) {
            return old_id;
        }
        let mut image = image_of(pid, &seen, now);
        (image.birth, image.late) = (birth::LATE, 1);
        image.parent = self.pids.get(seen.ppid).map_or(0, |entry| entry.image);
        if image.parent == old_id || self.images.get(image.parent).start_ticks > seen.start_ticks {
            image.parent = 0;
        }
        image.prev = u32::from(same_process);
        if old_id == 0 {
            // No known image comes before it.
            image.from_ns = 0;
        }
        self.read_file(&mut image, true);
        let id = self.put(image, now);
        self.strings.release(image.exe);
        if id != 0 && self.rung == Rung::Proc {
            // No source will report its end, so fsmon checks from time to time whether it still exists.
            self.lingering.push(&mut self.images, id, now);
        }
        id
    }

    /// Fills in missing values.
    fn complete(&mut self, id: u32, seen: &Seen) {
        let image = self.images.get_mut(id);
        (image.asked, image.defined, image.late) = (1, 0, 1);
        if image.flags & proc_flag::COMM == 0 {
            image.comm = seen.comm;
            image.flags |= proc_flag::COMM;
        }
        if let Some((uid, gid)) = seen.users
            && (image.flags & proc_flag::CRED == 0 || image.unsure != 0)
        {
            (image.uid, image.gid, image.unsure) = (uid, gid, 0);
            image.flags |= proc_flag::CRED;
        }
        if image.ppid == 0 {
            image.ppid = seen.ppid;
        }
        if image.cgroup_id == 0 {
            image.cgroup_id = seen.cgroup_id;
        }
    }

    /// Reads the name after an exec that only the connector reported.
    #[cold]
    pub(super) fn read_comm(&mut self, pid: u32) {
        let id = self.pids.get(pid).map_or(0, |entry| entry.image);
        if id == 0 {
            return;
        }
        let name = procfs::read_comm(pid);
        let image = self.images.get_mut(id);
        image.late = 1;
        match name {
            Some(name) => image.comm = name,
            None => {
                image.comm = [0; COMM];
                image.flags &= !proc_flag::COMM;
            }
        }
    }
}

fn image_of(pid: u32, seen: &Seen, now: u64) -> Image {
    let cred = if seen.users.is_some() { proc_flag::CRED } else { 0 };
    let (uid, gid) = seen.users.unwrap_or_default();
    Image {
        pid,
        ppid: seen.ppid,
        comm: seen.comm,
        uid,
        gid,
        cgroup_id: seen.cgroup_id,
        start_ticks: seen.start_ticks,
        from_ns: now,
        comm_ns: now,
        uid_ns: now,
        gid_ns: now,
        exec_ns: now,
        flags: proc_flag::COMM | cred,
        ..Image::default()
    }
}

/// Whether a known image and what /proc shows are of one process, by its start.
fn is_same_process(old: &Image, seen: &Seen) -> bool {
    if old.live == 0 {
        return false;
    }
    if old.start_ticks != 0 {
        return old.start_ticks == seen.start_ticks;
    }
    if old.start_ns == 0 {
        return true;
    }
    let offset = clock::boottime_ns().saturating_sub(clock::monotonic_ns());
    let start = old.start_ns.saturating_add(offset);
    seen.start_ticks.saturating_mul(TICK_NS).abs_diff(start) <= SAME_START_NS
}

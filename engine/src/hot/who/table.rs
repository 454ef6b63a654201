//! What is known of every process. Messages are applied in the order of their times.
//!
//! Every change makes a new image; an older message never overwrites a newer value. Between the first and the last
//! message of an exec the new image is incomplete: the process is in the kernel then and cannot change a file.

use super::args::Args;
use super::images::{Image, ImageQueue, Images, birth};
use super::message::{COMM, Kind, Message, Source};
use super::pids::{Entry, IN_EXEC, OPENED_OVER, Pids};
use super::procfs;
use super::strings::Strings;
use super::{OpenExec, Rung};
use fsmon_format::record::proc_flag;

/// Counters since the start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TableCounters {
    /// Images that were evicted for room while an event might still have needed them.
    pub evicted: u64,
    /// Images that were refused for lack of room.
    pub refused: u64,
    /// Processes that were read from /proc because no source had announced them.
    pub late_reads: u64,
}

/// The table.
pub struct Table {
    pub(super) pids: Pids,
    pub(super) images: Images,
    pub(super) strings: Strings,
    pub(super) args: Args,
    /// Images that another image of the same pid has replaced.
    pub(super) superseded: ImageQueue,
    /// Latest images of processes that have exited.
    pub(super) exited: ImageQueue,
    /// Those that still existed when fsmon looked: zombies, or processes whose other threads still run.
    pub(super) lingering: ImageQueue,
    /// Those that no longer exist.
    pub(super) gone: ImageQueue,
    pub(super) rung: Rung,
    /// Whether a source reports changes of user and group.
    pub(super) hears_credentials: bool,
    pub(super) open_exec: OpenExec,
    /// Every event to come happened after this.
    pub(super) floor_ns: u64,
    /// When the queue of file events was last seen empty.
    pub(super) empty_ns: u64,
    /// Attribution of events before this is not certain, because messages were lost.
    pub(super) unsure_before_ns: u64,
    pub(super) cgroups: procfs::Cgroups,
    /// The cgroup in which we run; 0 unknown.
    pub(super) own_cgroup: u64,
    /// Number of our mount namespace; 0 unknown.
    pub(super) own_namespace: u32,
    pub(super) counters: TableCounters,
}

impl Table {
    /// Reserves room for `max` images.
    #[must_use]
    pub fn new(max: usize, rung: Rung, hears_credentials: bool, open_exec: OpenExec) -> Self {
        Table {
            pids: Pids::with_capacity(max),
            images: Images::with_capacity(max),
            strings: Strings::with_capacity(
                crate::limits::STRINGS_MAX,
                crate::limits::STRINGS_BYTES,
            ),
            args: Args::default(),
            superseded: ImageQueue::default(),
            exited: ImageQueue::default(),
            lingering: ImageQueue::default(),
            gone: ImageQueue::default(),
            rung,
            hears_credentials,
            open_exec,
            floor_ns: 0,
            empty_ns: 0,
            unsure_before_ns: 0,
            cgroups: procfs::Cgroups::default(),
            own_cgroup: 0,
            own_namespace: procfs::read_mount_namespace(std::process::id()),
            counters: TableCounters::default(),
        }
    }

    /// Sets where control groups are found by path.
    pub fn set_cgroups(&mut self, cgroups: procfs::Cgroups) {
        self.cgroups = cgroups;
        let own = procfs::read(std::process::id(), &self.cgroups);
        self.own_cgroup = own.map_or(0, |seen| seen.cgroup_id);
    }

    /// Applies one message, and uses up the one reference that each of its strings has.
    pub fn apply(&mut self, message: &Message) {
        match message.kind {
            Kind::Fork => self.fork(message),
            Kind::CommExec => self.exec_begins(message),
            Kind::Comm => self.rename(message),
            Kind::Uid | Kind::Gid => self.credential(message),
            Kind::Exec => self.exec_done(message),
            Kind::Exit => self.exit(message),
            // Only BPF reports it.
            Kind::Cgroup => {}
        }
        self.release_strings(message);
    }

    /// Uses up the references of a message to its strings.
    pub(super) fn release_strings(&mut self, message: &Message) {
        self.strings.release(message.exe);
        self.strings.release(message.exec);
        self.args.release(message.args);
    }

    /// The image that `pid` had at a time; 0 when none is known.
    #[must_use]
    pub fn image_at(&self, pid: u32, time_ns: u64) -> u32 {
        let Some(entry) = self.pids.get(pid) else { return 0 };
        let mut id = entry.image;
        loop {
            let image = self.images.get(id);
            if image.from_ns <= time_ns {
                return id;
            }
            match self.images.get_if(image.before, image.before_serial) {
                Some(_) => id = image.before,
                None => return id,
            }
        }
    }

    fn fork(&mut self, message: &Message) {
        let time = message.time_ns;
        if let Some(&entry) = self.pids.get(message.pid) {
            let image = self.images.get(entry.image);
            let latest = image.start_ns.max(image.exec_ns);
            if entry.exit_ns == 0 || time <= entry.exit_ns {
                if entry.forked_by & message.source.bit() == 0 {
                    return self.second_word(entry, message);
                }
                // It is about an older process, or reports the same fork again; otherwise the exit was lost.
                if time <= latest {
                    return;
                }
            }
        }
        let parent = self.image_at(message.parent, time);
        let mut image = self.images.get(parent).forked(time);
        (image.pid, image.ppid, image.parent) = (message.pid, message.parent, parent);
        image.late |= u8::from(message.by_thread);
        let (forked_by, empty_ns) = (message.source.bit(), self.empty_ns);
        if let Some(entry) = self.replace(image, time) {
            entry.forked_by = forked_by;
            entry.exit_ns = 0;
            entry.set(IN_EXEC, false);
            // Events of the previous process may still be in the queue and need its openings.
            if entry.opened_until_ns > empty_ns {
                entry.set(OPENED_OVER, entry.opened_len != 0);
            } else {
                (entry.at, entry.opened_len, entry.opened_done, entry.flags) = (0, 0, 0, 0);
            }
            self.set_since(message.pid);
        }
    }

    /// The second source reports the same fork, or a fork is reported after later messages of its process: missing
    /// values are filled in, none is undone.
    fn second_word(&mut self, entry: Entry, message: &Message) {
        let other = self.image_at(message.parent, message.time_ns);
        let from = *self.images.get(other);
        let old = *self.images.get(entry.image);
        let mut image = old;
        // They differ under `CLONE_PARENT`: perf reports the caller of fork, from which everything is inherited;
        // the connector reports the parent.
        image.adopted |= u8::from(image.ppid != 0 && image.ppid != message.parent);
        let is_parent = image.ppid == 0 || message.source == Source::Connector;
        if is_parent && image.ppid != message.parent {
            (image.ppid, image.parent) = (message.parent, other);
            self.images.retain(other);
            self.drop_reference(old.parent);
        }
        if image.start_ns == 0 || image.start_ns > message.time_ns {
            image.start_ns = message.time_ns;
        }
        image.late |= u8::from(message.by_thread);
        let caller = message.source == Source::Perf || entry.forked_by == 0;
        let unchanged = |time: u64| time == old.start_ns;
        if caller && message.parent != old.ppid && other != 0 {
            inherit(&mut image, &from, message.time_ns, unchanged);
            self.strings.retain(image.exe);
            self.strings.retain(image.exec);
            self.strings.release(old.exe);
            self.strings.release(old.exec);
        }
        if !image.says_the_same(&old) || image.parent != old.parent {
            image.defined = 0;
        }
        // References may have changed meanwhile; the stored count is the valid one.
        image.refs = self.images.get(entry.image).refs;
        *self.images.get_mut(entry.image) = image;
        if let Some(entry) = self.pids.get_mut(message.pid) {
            entry.forked_by |= message.source.bit();
        }
        self.set_since(message.pid);
    }

    /// exec has given the process its new name: from now on its image is the new one.
    fn exec_begins(&mut self, message: &Message) {
        let old = self.latest(message.pid);
        if message.time_ns < old.comm_ns {
            return;
        }
        let mut image = self.successor(&old, message, birth::EXEC);
        image.comm = message.comm;
        image.comm_ns = message.time_ns;
        image.exec_ns = message.time_ns;
        image.set_file(&Image::default());
        image.exe_asked = 0;
        image.flags |= proc_flag::COMM;
        image.unsure = u8::from(!self.hears_credentials);
        image.late = 0;
        if let Some(entry) = self.replace(image, message.time_ns) {
            entry.set(IN_EXEC, true);
            // The leader may have exited before: exec made another thread the leader.
            entry.exit_ns = 0;
            self.set_since(message.pid);
        }
    }

    /// exec is done.
    fn exec_done(&mut self, message: &Message) {
        let time = message.time_ns;
        let in_exec = self.pids.get(message.pid).is_some_and(|entry| entry.is(IN_EXEC));
        let old = self.latest(message.pid);
        if time < old.exec_ns {
            return;
        }
        if !in_exec {
            // The first message was lost, or there is none: perf gives the name, the connector does not.
            let mut begin = Message { kind: Kind::CommExec, ..*message };
            begin.comm = self.comm_at_exec(message);
            self.exec_begins(&begin);
            if begin.comm == [0; COMM] {
                self.read_comm(message.pid);
            }
        }
        let Some(entry) = self.pids.get_mut(message.pid) else { return };
        entry.set(IN_EXEC, false);
        let id = entry.image;
        let image = self.images.get_mut(id);
        let exec_before = image.exec;
        image.exec_ns = time;
        if message.exec != 0 {
            image.exec = message.exec;
            self.strings.retain(message.exec);
            self.strings.release(exec_before);
        }
        let image = self.images.get_mut(id);
        if message.cgroup_id != 0 {
            image.cgroup_id = message.cgroup_id;
        }
        image.defined = 0;
        self.set_since(message.pid);
    }

    /// The kernel's rule: the part after the last slash of the name given to exec, shortened.
    fn comm_at_exec(&self, message: &Message) -> [u8; COMM] {
        super::message::comm(last_part(self.strings.get(message.exec)))
    }

    fn rename(&mut self, message: &Message) {
        let old = self.latest(message.pid);
        if message.time_ns < old.comm_ns {
            return;
        }
        let known = old.flags & proc_flag::COMM != 0;
        let change = |image: &mut Image| {
            image.comm = message.comm;
            image.comm_ns = message.time_ns;
            image.flags |= proc_flag::COMM;
        };
        self.change(message, &old, known && old.comm == message.comm, change);
    }

    fn credential(&mut self, message: &Message) {
        let old = self.latest(message.pid);
        let user = message.kind == Kind::Uid;
        let (value, time) = if user { (old.uid, old.uid_ns) } else { (old.gid, old.gid_ns) };
        if message.time_ns < time {
            return;
        }
        let known = old.flags & proc_flag::CRED != 0;
        let change = |image: &mut Image| {
            let (value, time) = match user {
                true => (&mut image.uid, &mut image.uid_ns),
                false => (&mut image.gid, &mut image.gid_ns),
            };
            (*value, *time) = (message.value, message.time_ns);
        };
        self.change(message, &old, known && value == message.value, change);
    }

    /// Makes a new image. Changes the latest image instead if no reported value differs, during an exec, or if a
    /// newer value is already known.
    fn change(&mut self, message: &Message, old: &Image, same: bool, f: impl Fn(&mut Image)) {
        let time = message.time_ns;
        let entry = self.pids.get(message.pid).copied().unwrap_or_default();
        let in_place = same || entry.is(IN_EXEC) || time < old.from_ns;
        if in_place && entry.image != 0 {
            let image = self.images.get_mut(entry.image);
            f(image);
            image.defined &= u8::from(same);
            return;
        }
        let mut image = self.successor(old, message, birth::CHANGE);
        f(&mut image);
        self.replace(image, time);
        self.set_since(message.pid);
    }

    pub(super) fn exit(&mut self, message: &Message) {
        let Some(entry) = self.pids.get_mut(message.pid) else { return };
        let id = entry.image;
        let image = self.images.get(id);
        if message.time_ns < image.start_ns.max(image.exec_ns) || entry.exit_ns != 0 {
            return;
        }
        entry.exit_ns = message.time_ns;
        if image.queued == 0 {
            self.exited.push(&mut self.images, id, message.time_ns);
        }
    }

    /// The latest image of `pid`, or an image without values.
    pub(super) fn latest(&self, pid: u32) -> Image {
        let id = self.pids.get(pid).map_or(0, |entry| entry.image);
        *self.images.get(id)
    }

    pub(super) fn successor(&self, old: &Image, message: &Message, birth: u8) -> Image {
        let prev = self.pids.get(message.pid).map_or(0, |entry| entry.image);
        Image { pid: message.pid, from_ns: message.time_ns, until_ns: 0, birth, prev, ..*old }
    }

    /// Makes `image` the latest of its pid from `time_ns` on. `None` when there is no room.
    pub(super) fn replace(&mut self, mut image: Image, time_ns: u64) -> Option<&mut Entry> {
        let pid = image.pid;
        self.make_room();
        // Making room may have freed the images that it refers to.
        let old = self.pids.get(pid).map_or(0, |entry| entry.image);
        (image.before, image.before_serial) = (old, self.images.get(old).serial);
        if image.prev != 0 {
            image.prev = old;
        }
        if image.parent != 0 && self.images.get(image.parent).live == 0 {
            image.parent = 0;
        }
        let Some(id) = self.images.add(image) else {
            self.counters.refused += 1;
            return None;
        };
        self.strings.retain(image.exe);
        self.strings.retain(image.exec);
        self.args.retain(image.args);
        let entry = Entry { image: id, ..self.pids.get(pid).copied().unwrap_or_default() };
        if !self.pids.insert(Entry { pid, ..entry }) {
            self.counters.refused += 1;
            self.drop_reference(id);
            return None;
        }
        if old != 0 {
            let before = self.images.get_mut(old);
            before.until_ns = time_ns.max(1);
            if before.queued == 0 {
                self.superseded.push(&mut self.images, old, time_ns);
            }
        }
        self.pids.get_mut(pid)
    }

    /// From when on an event needs no search.
    pub(super) fn set_since(&mut self, pid: u32) {
        let Some(entry) = self.pids.get_mut(pid) else { return };
        let image = self.images.get(entry.image);
        let plain = image.is_complete() && image.late == 0 && entry.opened_pending().is_empty();
        entry.since = match self.rung {
            _ if !plain => u64::MAX,
            Rung::Proc => u64::MAX,
            Rung::Bpf => image.position_most,
            _ => image.from_ns,
        };
    }

    /// Removes a reference to an image, and those that it frees to strings.
    pub(super) fn drop_reference(&mut self, id: u32) {
        let (strings, args) = (&mut self.strings, &mut self.args);
        self.images.release(id, |image| {
            strings.release(image.exe);
            strings.release(image.exec);
            args.release(image.args);
        });
    }
}

/// The part after the last slash.
pub(super) fn last_part(path: &[u8]) -> &[u8] {
    memchr::memrchr(b'/', path).map_or(path, |slash| &path[slash + 1..])
}

/// Copies from `from` what `image` has not changed itself.
fn inherit(image: &mut Image, from: &Image, time_ns: u64, unchanged: impl Fn(u64) -> bool) {
    if image.flags & proc_flag::COMM == 0 || unchanged(image.comm_ns) {
        (image.comm, image.comm_ns) = (from.comm, time_ns);
        image.flags |= from.flags & proc_flag::COMM;
    }
    let uid_is_old = image.flags & proc_flag::CRED == 0 && image.uid_ns == 0;
    if uid_is_old || unchanged(image.uid_ns) {
        (image.uid, image.uid_ns) = (from.uid, time_ns);
    }
    let gid_is_old = image.flags & proc_flag::CRED == 0 && image.gid_ns == 0;
    if gid_is_old || unchanged(image.gid_ns) {
        (image.gid, image.gid_ns) = (from.gid, time_ns);
    }
    image.flags |= from.flags & proc_flag::CRED;
    if image.exec_ns == 0 || unchanged(image.exec_ns) {
        image.set_file(from);
        image.exec_ns = time_ns;
    }
    if image.cgroup_id == 0 || unchanged(image.exec_ns) {
        image.cgroup_id = from.cgroup_id;
    }
    image.late |= from.late;
}

#[cfg(test)]
#[path = "table_test.rs"]
mod tests;

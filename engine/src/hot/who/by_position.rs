//! The process table with BPF: messages carry the whole identity and their position in the queue of file events, so
//! attribution is a comparison.

use super::images::{Image, birth};
use super::message::{Kind, Message};
use super::pids::{Entry, IN_EXEC};
use super::table::Table;
use super::witnesses::Witnesses;
use super::{Answer, Interval};
use crate::limits::who::CHANGES_LOOKED_AT;
use arrayvec::ArrayVec;
use fsmon_format::kind;
use fsmon_format::record::{Attribution, proc_flag};

/// Types of one event with their image, oldest first.
pub type Parts = ArrayVec<(u32, Answer), { CHANGES_LOOKED_AT + 2 }>;

impl Table {
    /// Applies one message, like [`Table::apply`]. `position` is the least and the largest number of file events
    /// that had been queued when the message was sent.
    pub(super) fn apply_by_position(&mut self, message: &Message, position: (u64, u64)) {
        let old = self.latest(message.pid);
        // What /proc showed after a loss is newer than the message. Apart from that, a message of a change by
        // another process can come late; it reports something else than the messages before it.
        let is_read = !matches!(old.birth, birth::EXEC | birth::CHANGE);
        if message.time_ns < old.from_ns && (is_read || message.kind == Kind::Fork) {
            return self.release_strings(message);
        }
        match message.kind {
            Kind::Fork => self.fork_by_position(message, position),
            Kind::Exit => self.exit(message),
            Kind::CommExec => self.exec_begins_by_position(message.pid),
            Kind::Exec => self.exec_by_position(message, position, &old),
            _ => self.change_by_position(message, position, &old),
        }
        self.release_strings(message);
    }

    fn fork_by_position(&mut self, message: &Message, position: (u64, u64)) {
        // `exe` is inherited from the caller of fork, which is not the parent under `CLONE_PARENT`.
        let caller = *self.images.get(self.image_at(message.caller, message.time_ns));
        let parent = self.image_at(message.parent, message.time_ns);
        let adopted = u8::from(message.caller != message.parent);
        let forked = Image { parent, adopted, ..caller.forked(message.time_ns) };
        let image = identity(message, position, forked);
        if let Some(entry) = self.replace(image, message.time_ns) {
            let image = entry.image;
            *entry = Entry { pid: message.pid, image, ..Entry::default() };
            self.set_since(message.pid);
        }
    }

    /// From now on /proc shows values of the next image.
    fn exec_begins_by_position(&mut self, pid: u32) {
        if let Some(entry) = self.pids.get_mut(pid) {
            entry.set(IN_EXEC, true);
        }
    }

    fn exec_by_position(&mut self, message: &Message, position: (u64, u64), old: &Image) {
        let mut image = identity(message, position, self.successor(old, message, birth::EXEC));
        if old.cgroup_id != 0 {
            image.cgroup_id = old.cgroup_id;
        }
        (image.exec_ns, image.exec) = (message.time_ns, message.exec);
        (image.exe, image.exe_root, image.exe_asked) = (message.exe, message.exe_root, 0);
        image.args = message.args;
        image.flags = image.flags & !proc_flag::EXE_ALL | message.exe_flags;
        if let Some(entry) = self.replace(image, message.time_ns) {
            entry.exit_ns = 0;
            entry.set(IN_EXEC, false);
            self.set_since(message.pid);
        }
    }

    /// Another name, user, group or control group. Only this value is taken over: the others may be changing at the
    /// same time, and have their own messages.
    fn change_by_position(&mut self, message: &Message, mut position: (u64, u64), old: &Image) {
        if message.is_by_another() {
            // The process continued meanwhile, and a change that it made itself may already be applied.
            position.1 = position.1.max(old.position_most);
        }
        let mut image = identity(message, position, self.successor(old, message, birth::CHANGE));
        if old.is_complete() {
            if message.kind != Kind::Comm {
                image.comm = old.comm;
            }
            if message.kind != Kind::Uid {
                (image.uid, image.gid) = (old.uid, old.gid);
            }
            if message.kind != Kind::Cgroup && old.cgroup_id != 0 {
                image.cgroup_id = old.cgroup_id;
            }
        }
        if image.says_the_same(old) && old.late == 0 {
            return;
        }
        self.replace(image, message.time_ns);
        self.set_since(message.pid);
    }

    /// See [`Table::resolve`]: the latest image that began before the event was queued.
    #[cold]
    pub(super) fn resolve_by_position(&mut self, pid: u32, interval: Interval) -> Answer {
        let Some(entry) = self.pids.get(pid).copied().filter(|_| pid != 0) else {
            return if pid == 0 { Answer::default() } else { self.answer_late(pid) };
        };
        let index = interval.index;
        let mut id = entry.image;
        // The latest image that the event may belong to, and the latest that began while the event was queued.
        let (mut perhaps, mut later) = (0, 0);
        let mut differ = false;
        while self.images.get(id).position_most > index {
            let image = *self.images.get(id);
            let Some(before) = self.images.get_if(image.before, image.before_serial) else {
                if image.birth == birth::FORK {
                    // No process had this pid before.
                    break;
                }
                // The image before it was evicted, or was never known.
                return Answer::new(id, Attribution::Ambiguous);
            };
            let same = image.says_the_same(before);
            if image.position <= index {
                perhaps = if perhaps == 0 { id } else { perhaps };
                differ |= !same;
            } else if image.position.saturating_sub(image.pending.into()) <= index && !same {
                // The event was still in the queue, so the kernel may have merged more into it.
                later = if later == 0 { id } else { later };
            }
            if image.birth == birth::FORK {
                // The next image was of another process with the same pid. The kernel merges only events of one
                // process.
                later = 0;
            }
            id = image.before;
        }
        if perhaps != 0 && differ {
            return Answer::new(perhaps, Attribution::Ambiguous);
        }
        let attribution = self.attribution(id, interval.after_ns);
        Answer { image: id, attribution, later }
    }

    /// See [`super::Processes::parts`].
    #[cold]
    pub(super) fn parts(
        &mut self,
        pid: u32,
        interval: Interval,
        types: u32,
        witnesses: &Witnesses,
    ) -> Parts {
        let mut parts = Parts::new();
        let mut left = types;
        let (mut id, newest, changes, whole) = self.changes(pid, interval.index);
        for &change in changes.iter().rev() {
            let (image, before) = (*self.images.get(change), *self.images.get(id));
            if image.says_the_same(&before) {
                continue;
            }
            let back = image.position.wrapping_sub(interval.index + 1);
            let known = witnesses.of(image.witnesses, back).map(|seen| left & seen);
            // The entry must exist before anything else can happen to it, so CREATE comes first.
            let first = known.unwrap_or(left & kind::CREATE);
            if first != 0 {
                let attribution = self.attribution(id, interval.after_ns);
                parts.push((first, Answer::new(id, attribution)));
                left &= !first;
            }
            id = change;
            if known.is_none() {
                parts.push((left, Answer::new(newest, Attribution::Ambiguous)));
                return parts;
            }
        }
        let last = match whole {
            true => Answer::new(id, self.attribution(id, interval.after_ns)),
            false => Answer::new(newest, Attribution::Ambiguous),
        };
        parts.push((left, last));
        parts
    }

    /// The image that was in force when an event was queued; the newest image of the same process; the images
    /// between them that began while the event was queued, newest first; and whether these are complete. If not,
    /// the oldest are missing.
    fn changes(&self, pid: u32, index: u64) -> (u32, u32, ArrayVec<u32, CHANGES_LOOKED_AT>, bool) {
        let mut id = self.pids.get(pid).map_or(0, |entry| entry.image);
        let mut newest = id;
        let (mut changes, mut whole) = (ArrayVec::new(), true);
        while self.images.get(id).position > index {
            let image = self.images.get(id);
            if self.images.get_if(image.before, image.before_serial).is_none() {
                break;
            }
            let queued = image.position.saturating_sub(image.pending.into()) <= index;
            if queued && changes.is_full() {
                changes.remove(0);
                whole = false;
            }
            if queued {
                changes.push(id);
            }
            if image.birth == birth::FORK {
                (newest, whole) = (image.before, true);
                changes.clear();
            }
            id = image.before;
        }
        (id, newest, changes, whole)
    }
}

/// The values that every message carries.
fn identity(message: &Message, position: (u64, u64), image: Image) -> Image {
    Image {
        pid: message.pid,
        ppid: if image.ppid == 0 { message.parent } else { image.ppid },
        comm: message.comm,
        uid: message.value,
        gid: message.gid,
        cgroup_id: message.cgroup_id,
        position: position.0,
        position_most: position.1,
        pending: message.progress.length,
        witnesses: message.witnesses,
        flags: image.flags | proc_flag::COMM | proc_flag::CRED,
        late: 0,
        unsure: 0,
        ..image
    }
}

/// Divides an event without witnesses: CREATE comes first, as the entry must exist before anything else can happen
/// to it. The rest is ambiguous.
pub(super) fn two_parts(answer: Answer, types: u32) -> Parts {
    let later = Answer::new(answer.later, Attribution::Ambiguous);
    let parts = [(types & kind::CREATE, answer), (types & !kind::CREATE, later)];
    parts.into_iter().filter(|(types, _)| *types != 0).collect()
}

#[cfg(test)]
#[path = "by_position_test.rs"]
mod tests;

#[cfg(test)]
#[path = "by_position_model_test.rs"]
mod model_tests;

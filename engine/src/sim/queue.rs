//! A model of fanotify: marks, the queue, and which events the kernel merges while they wait in it.
//!
//! It follows fs/notify/fanotify/fanotify.c (`fanotify_should_merge()`, `fanotify_alloc_event()`,
//! `fanotify_group_event_mask()`) and fs/notify/fsnotify.c of Linux 6.18, for a group with
//! `FAN_REPORT_DFID_NAME_TARGET`. One thing is left out: the kernel compares a new event with at most 128 events of one
//! of 128 buckets.

use super::files::{Files, Inode, Notice};
use crate::sys::fanotify::flag::{EVENT_ON_CHILD, Q_OVERFLOW};
use fsmon_format::kind;
use std::collections::{BTreeMap, VecDeque};

/// The id (fsid) of the model's filesystem.
pub(super) const FSID: u64 = 7;

/// A location: the handle of a directory, and a name in it.
type Spot = (Vec<u8>, String);

/// An event that waits in the queue.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Queued {
    pub(super) mask: u64,
    pub(super) pid: u32,
    /// The location; for a RENAME the new one.
    pub(super) location: Option<Spot>,
    /// The old location of a RENAME.
    pub(super) old: Option<Spot>,
    /// The handle of the object itself.
    pub(super) object: Option<Vec<u8>>,
}

impl Queued {
    /// Whether the kernel merges `new` into this event: `fanotify_should_merge()`.
    fn takes(&self, new: &Queued) -> bool {
        let differs = |bits: u32| (self.mask ^ new.mask) & u64::from(bits) != 0;
        !(differs(kind::ONDIR) || differs(kind::RENAME))
            && (self.pid, &self.location, &self.old, &self.object)
                == (new.pid, &new.location, &new.old, &new.object)
    }
}

/// The mark of one directory: which types it reports, and which it ignores.
#[derive(Clone, Copy, Default)]
struct DirMark {
    mask: u64,
    ignored: u64,
}

/// A fanotify group, on the model's only filesystem.
#[derive(Clone, Default)]
pub(super) struct Queue {
    filesystem: u64,
    dirs: BTreeMap<Inode, DirMark>,
    queued: VecDeque<Queued>,
    /// The most events that can wait; 0: no limit.
    pub(super) limit: usize,
    overflowed: bool,
}

impl Queue {
    pub(super) fn mark_filesystem(&mut self, mask: u64) {
        self.filesystem |= mask;
    }

    pub(super) fn unmark_filesystem(&mut self, mask: u64) {
        self.filesystem &= !mask;
    }

    pub(super) fn mark_dir(&mut self, mask: u64, dir: Inode) {
        self.dirs.entry(dir).or_default().mask |= mask;
    }

    pub(super) fn ignore(&mut self, mask: u64, dir: Inode) {
        self.dirs.entry(dir).or_default().ignored |= mask;
    }

    /// Ignores these types no longer. Returns whether any type was ignored before.
    pub(super) fn heed(&mut self, mask: u64, dir: Inode) -> bool {
        let Some(mark) = self.dirs.get_mut(&dir) else { return false };
        let was = mark.ignored != 0;
        mark.ignored &= !mask;
        was
    }

    pub(super) fn is_empty(&self) -> bool {
        self.queued.is_empty()
    }

    /// Whether the mark of a directory ignores a type, of the directory and of its entries.
    fn ignores(&self, kind: u32, is_dir: bool, dir: Inode) -> bool {
        let mark = self.dirs.get(&dir).copied().unwrap_or_default();
        let bits = u64::from(kind | if is_dir { kind::ONDIR } else { 0 });
        mark.ignored & bits == bits
    }

    /// Whether a mark reports a type of a directory or of an entry in it: `.0` the mark of the filesystem, `.1` the
    /// mark of the directory.
    fn reporters(&self, kind: u32, is_dir: bool, dir: Inode, on_child: bool) -> (bool, bool) {
        let mark = self.dirs.get(&dir).copied().unwrap_or_default();
        let bit = u64::from(kind);
        let is_for = |mask: u64| mask & bit != 0 && (!is_dir || mask & u64::from(kind::ONDIR) != 0);
        if self.ignores(kind, is_dir, dir) {
            return (false, false);
        }
        let by_dir = is_for(mark.mask) && (!on_child || mark.mask & EVENT_ON_CHILD != 0);
        (is_for(self.filesystem), by_dir)
    }

    /// Queues the event of a notification, if a mark reports it.
    pub(super) fn notify(&mut self, files: &Files, pid: u32, notice: &Notice) {
        let spot = |dir: Inode, name: &str| Some((files.handle(dir).to_vec(), name.to_owned()));
        let ondir = |is_dir: bool| u64::from(if is_dir { kind::ONDIR } else { 0 });
        let event = match notice {
            Notice::Entry { kind, dir, name, child } | Notice::File { kind, dir, name, child } => {
                let is_dir = files.is_dir(*child);
                let on_child = matches!(notice, Notice::File { .. });
                let (by_fs, by_dir) = self.reporters(*kind, is_dir, *dir, on_child);
                let object = Some(files.handle(*child).to_vec());
                let mask = u64::from(*kind) | ondir(is_dir);
                let location = spot(*dir, name);
                (by_fs || by_dir).then_some(Queued { mask, pid, location, old: None, object })
            }
            Notice::Dir { kind, dir, parent } => {
                let (by_fs, by_dir) = self.reporters(*kind, true, *dir, false);
                // A mark on the parent reports its entries as well.
                let by_parent = parent.is_some_and(|dir| self.reporters(*kind, true, dir, true).1);
                let by_dir = by_dir || by_parent;
                let is_ignored = parent.is_some_and(|dir| self.ignores(*kind, true, dir));
                let (by_fs, by_dir) = (by_fs && !is_ignored, by_dir && !is_ignored);
                let mask = u64::from(*kind) | ondir(true);
                let location = spot(*dir, ".");
                (by_fs || by_dir).then_some(Queued { mask, pid, location, old: None, object: None })
            }
            Notice::Links { file } => {
                let (mask, object) = (u64::from(kind::ATTRIB), Some(files.handle(*file).to_vec()));
                let (location, old) = (None, None);
                (self.filesystem & mask != 0).then_some(Queued { mask, pid, location, old, object })
            }
            Notice::Rename { old, new, child } => {
                let is_dir = files.is_dir(*child);
                let (fs_old, by_old) = self.reporters(kind::RENAME, is_dir, old.0, false);
                let (fs_new, by_new) = self.reporters(kind::RENAME, is_dir, new.0, false);
                let is_ignored =
                    [old.0, new.0].iter().any(|dir| self.ignores(kind::RENAME, is_dir, *dir));
                let by_fs = fs_old && fs_new && !is_ignored;
                let (by_old, by_new) = (by_old && !is_ignored, by_new && !is_ignored);
                let mask = u64::from(kind::RENAME) | ondir(is_dir);
                let object = Some(files.handle(*child).to_vec());
                let location = (by_fs || by_new).then(|| spot(new.0, &new.1)).flatten();
                let old = (by_fs || by_old).then(|| spot(old.0, &old.1)).flatten();
                let is_queued = location.is_some() || old.is_some();
                is_queued.then_some(Queued { mask, pid, location, old, object })
            }
        };
        if let Some(event) = event {
            self.add(event);
        }
    }

    /// Merges an event into one that waits, or queues it: `fsnotify_insert_event()`.
    fn add(&mut self, event: Queued) {
        if self.limit != 0 && self.queued.len() >= self.limit {
            if !self.overflowed {
                self.overflowed = true;
                let (mask, none) = (Q_OVERFLOW, None);
                let old = None;
                self.queued.push_back(Queued { mask, pid: 0, location: none, old, object: None });
            }
            return;
        }
        match self.queued.iter_mut().rev().find(|old| old.takes(&event)) {
            Some(old) => old.mask |= event.mask,
            None => self.queued.push_back(event),
        }
    }

    /// Takes `count` events from the queue, or all if there are fewer.
    pub(super) fn take(&mut self, count: usize) -> Vec<Queued> {
        let taken: Vec<_> = self.queued.drain(..count.min(self.queued.len())).collect();
        self.overflowed &= !taken.iter().any(|event| event.mask & Q_OVERFLOW != 0);
        taken
    }
}

/// Appends the bytes that read(2) returns for an event: fanotify(7).
pub(super) fn lay(event: &Queued, out: &mut Vec<u8>) {
    let is_rename = event.mask & u64::from(kind::RENAME) != 0;
    let start = out.len();
    out.extend([0; 4]);
    out.extend([3, 0]);
    out.extend(24u16.to_ne_bytes());
    out.extend(event.mask.to_ne_bytes());
    out.extend((-1i32).to_ne_bytes());
    out.extend(event.pid.to_ne_bytes());
    // `FAN_EVENT_INFO_TYPE_*`.
    let locations = [(&event.old, 10), (&event.location, if is_rename { 12 } else { 2 })];
    for (location, info) in locations {
        if let Some((dir, name)) = location {
            lay_info(info, dir, Some(name), out);
        }
    }
    if let Some(object) = &event.object {
        lay_info(1, object, None, out);
    }
    let len = (out.len() - start) as u32;
    out[start..start + 4].copy_from_slice(&len.to_ne_bytes());
}

fn lay_info(info: u8, handle: &[u8], name: Option<&str>, out: &mut Vec<u8>) {
    let start = out.len();
    out.extend([info, 0, 0, 0]);
    out.extend(FSID.to_ne_bytes());
    out.extend((handle.len() as u32 - 4).to_ne_bytes());
    out.extend(handle);
    if let Some(name) = name {
        out.extend(name.as_bytes());
        out.push(0);
    }
    out.resize((out.len() - start).next_multiple_of(4) + start, 0);
    let len = (out.len() - start) as u16;
    out[start + 2..start + 4].copy_from_slice(&len.to_ne_bytes());
}

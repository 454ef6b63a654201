//! Offsets of the members of kernel structures that the programs read.

use super::btf::{Btf, Member};
use std::io;

/// Bytes that are copied at once, of the queue and of an event in it.
pub(super) const SNAPSHOT_BYTES: i16 = 64;

/// Where members lie in the running kernel.
pub(super) struct KernelLayout {
    pub(super) pid: i16,
    pub(super) tgid: i16,
    pub(super) comm: i16,
    pub(super) parent: i16,
    pub(super) cred: i16,
    pub(super) signal: i16,
    /// `None` in kernels that no longer clear it; a change during exec is then reported twice.
    pub(super) in_exec: Option<Member>,
    /// From the task to the id of its control group: pointers, then the id. `None` without control groups.
    pub(super) cgroup: Option<[i16; 4]>,
    pub(super) euid: i16,
    pub(super) egid: i16,
    pub(super) live: i16,
    pub(super) filename: i16,
    /// From the task to its memory, and there to the beginning and end of the arguments given to exec.
    pub(super) mm: i16,
    pub(super) arg_start: i16,
    pub(super) arg_end: i16,
    /// From the signals to the pid of the process.
    pub(super) tgid_pid: i16,
    /// Of a fanotify group: lock, list and length of its queue.
    pub(super) queue: QueueOffsets,
    /// Of an event in it.
    pub(super) event: EventOffsets,
    /// From the executable file to its path; `None` if the kernel's layout is unknown.
    pub(super) files: Option<Files>,
    /// From the task to an open file, and to the object behind it.
    pub(super) open_files: i16,
    pub(super) fdt: i16,
    pub(super) fds: i16,
    pub(super) private_data: i16,
}

/// Offsets in `struct fsnotify_group`. The lock comes first, and the others are close to it.
pub(super) struct QueueOffsets {
    pub(super) lock: i16,
    pub(super) list: i16,
    pub(super) length: i16,
}

impl QueueOffsets {
    /// Where a snapshot of it begins: aligned, as loads from the stack must be.
    pub(super) fn start(&self) -> i16 {
        self.lock & !7
    }

    /// Offset of a member in the snapshot at a slot of the stack.
    pub(super) fn within(&self, slot: i16, member: i16) -> i16 {
        slot + member - self.start()
    }
}

/// Offsets in `struct fanotify_event`, which begins with its list entry.
pub(super) struct EventOffsets {
    pub(super) mask: i16,
    pub(super) pid: i16,
}

/// Offsets that lead to the path of a file, in structures of fs/mount.h and
/// linux/{dcache,fs,fs_struct,mm_types,mount,ns_common,path}.h.
#[derive(Clone, Copy)]
pub(super) struct Files {
    /// From the memory to the executable file.
    pub(super) exe_file: i16,
    /// From the task to `struct fs_struct`, and from there to its root.
    pub(super) fs: i16,
    pub(super) fs_root: i16,
    /// From an open file to its `struct path`: mount, then dentry.
    pub(super) f_path: i16,
    pub(super) dentry: Dentry,
    /// From `struct vfsmount` to the mounted dentry.
    pub(super) mnt_root: i16,
    /// From `struct mount` to the `struct vfsmount` in it.
    pub(super) vfsmount: i16,
    pub(super) mnt_parent: i16,
    pub(super) mnt_mountpoint: i16,
    pub(super) mnt_ns: i16,
    /// From a mount namespace to its number in /proc/PID/ns/mnt.
    pub(super) inum: i16,
}

/// Offsets in `struct dentry`.
#[derive(Clone, Copy)]
pub(super) struct Dentry {
    pub(super) seq: i16,
    pub(super) parent: i16,
    pub(super) name: i16,
    pub(super) name_len: i16,
    /// Zero once the name was removed from its directory.
    pub(super) hashed: i16,
}

/// Bytes of a dentry that are copied at once: they include all members that are read.
pub(super) const DENTRY_BYTES: i16 = 64;

impl Files {
    fn of(btf: &Btf<'_>) -> io::Result<Self> {
        let at = |structure, name| btf.member(structure, name).map(|member| member.offset);
        let path = at("path", "dentry")? - at("path", "mnt")?;
        let is_known = path == 8 && at("path", "mnt")? == 0;
        let name = at("dentry", "d_name")?;
        let files = Files {
            exe_file: at("mm_struct", "exe_file")?,
            fs: at("task_struct", "fs")?,
            fs_root: at("fs_struct", "root")?,
            f_path: at("file", "f_path")?,
            dentry: Dentry {
                seq: at("dentry", "d_seq")?,
                parent: at("dentry", "d_parent")?,
                name: name + at("qstr", "name")?,
                name_len: name + at("qstr", "len")?,
                // `struct hlist_bl_node`: next, then pprev.
                hashed: at("dentry", "d_hash")? + 8,
            },
            mnt_root: at("vfsmount", "mnt_root")?,
            vfsmount: at("mount", "mnt")?,
            mnt_parent: at("mount", "mnt_parent")?,
            mnt_mountpoint: at("mount", "mnt_mountpoint")?,
            mnt_ns: at("mount", "mnt_ns")?,
            inum: at("mnt_namespace", "ns")? + at("ns_common", "inum")?,
        };
        is_known.then_some(files).ok_or_else(|| io::Error::other("a path is laid out otherwise"))
    }

    /// Whether all members of a dentry that are read are in the copied bytes.
    fn fits(&self) -> bool {
        let Dentry { seq, parent, name, name_len, hashed } = self.dentry;
        [seq, parent, name, name_len, hashed].iter().all(|at| (0..=DENTRY_BYTES - 8).contains(at))
    }
}

/// `struct list_head`: next, then prev.
pub(super) const PREVIOUS: i16 = 8;
/// Offset of the process's pid in the array of a task's signals (`PIDTYPE_TGID`).
const TGID: i16 = 8;

impl KernelLayout {
    /// # Errors
    /// NotFound: the kernel lacks a member that all programs need. Other: the layout of its queue is unknown.
    pub(super) fn of(btf: &Btf<'_>) -> io::Result<Self> {
        let at = |structure, name| btf.member(structure, name).map(|member| member.offset);
        let cgroup = || -> io::Result<[i16; 4]> {
            Ok([
                at("task_struct", "cgroups")?,
                at("css_set", "dfl_cgrp")?,
                at("cgroup", "kn")?,
                at("kernfs_node", "id")?,
            ])
        };
        let layout = KernelLayout {
            pid: at("task_struct", "pid")?,
            tgid: at("task_struct", "tgid")?,
            comm: at("task_struct", "comm")?,
            parent: at("task_struct", "real_parent")?,
            cred: at("task_struct", "cred")?,
            signal: at("task_struct", "signal")?,
            in_exec: btf.member("task_struct", "in_execve").ok(),
            cgroup: cgroup().ok(),
            euid: at("cred", "euid")?,
            egid: at("cred", "egid")?,
            live: at("signal_struct", "live")?,
            filename: at("linux_binprm", "filename")?,
            mm: at("task_struct", "mm")?,
            arg_start: at("mm_struct", "arg_start")?,
            arg_end: at("mm_struct", "arg_end")?,
            tgid_pid: at("signal_struct", "pids")? + TGID,
            queue: QueueOffsets {
                lock: at("fsnotify_group", "notification_lock")?,
                list: at("fsnotify_group", "notification_list")?,
                length: at("fsnotify_group", "q_len")?,
            },
            event: EventOffsets {
                mask: at("fanotify_event", "mask")?,
                pid: at("fanotify_event", "pid")?,
            },
            files: Files::of(btf).ok().filter(Files::fits),
            open_files: at("task_struct", "files")?,
            fdt: at("files_struct", "fdt")?,
            fds: at("fdtable", "fd")?,
            private_data: at("file", "private_data")?,
        };
        if layout.fits() {
            Ok(layout)
        } else {
            Err(io::Error::other("the queue is not laid out as is known"))
        }
    }

    /// Whether all members of the queue and of an event that are read are in the copied bytes.
    fn fits(&self) -> bool {
        let QueueOffsets { lock, list, length } = self.queue;
        let queue = lock..=self.queue.start() + SNAPSHOT_BYTES - 16;
        let event = 0..=SNAPSHOT_BYTES - 8;
        [list, length].iter().all(|at| queue.contains(at))
            && [self.event.mask, self.event.pid].iter().all(|at| event.contains(at))
    }
}

//! What /proc says of a process: after the fact, so only at the start, after a loss, and as a
//! last resort. Reads go into buffers on the stack.

use super::message::{COMM, comm};
use crate::limits::who::{CGROUP_MOUNT_BYTES, PROC_TEXT_BYTES};
use crate::sys::procdir::{self, Path};

/// A process as /proc shows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Seen {
    /// Its name.
    pub comm: [u8; COMM],
    /// Its parent now.
    pub ppid: u32,
    /// When it was started, in clock ticks since boot.
    pub start_ticks: u64,
    /// Effective user and group, where they could be read.
    pub users: Option<(u32, u32)>,
    /// The cgroup's id; 0 unknown.
    pub cgroup_id: u64,
}

/// Reads `pid`; `None` when it is gone.
#[must_use]
pub fn read(pid: u32, cgroups: &Cgroups) -> Option<Seen> {
    let mut buffer = [0; PROC_TEXT_BYTES];
    let stat = procdir::read(&Path::of_process(pid, "stat"), &mut buffer).ok()?;
    let mut seen = parse_stat(stat)?;
    if let Ok(status) = procdir::read(&Path::of_process(pid, "status"), &mut buffer) {
        seen.users = parse_status(status);
    }
    if let Ok(text) = procdir::read(&Path::of_process(pid, "cgroup"), &mut buffer) {
        seen.cgroup_id = parse_cgroup(text).map_or(0, |path| cgroups.id(path));
    }
    Some(seen)
}

/// Only the name of `pid`.
#[must_use]
pub fn read_comm(pid: u32) -> Option<[u8; COMM]> {
    let mut buffer = [0; 64];
    let text = procdir::read(&Path::of_process(pid, "comm"), &mut buffer).ok()?;
    Some(comm(text.strip_suffix(b"\n").unwrap_or(text)))
}

/// The path of the file that `pid` executes, as it is now; none for a kernel thread. One that was
/// removed ends in ` (deleted)`. A memfd is `memfd:NAME`.
pub fn read_exe(pid: u32, buffer: &mut [u8]) -> Option<&[u8]> {
    let path = procdir::read_link(&Path::of_process(pid, "exe"), buffer).ok()?;
    let name = path.strip_prefix(b"/").filter(|name| name.starts_with(b"memfd:"));
    Some(name.and_then(|name| name.strip_suffix(b" (deleted)")).unwrap_or(path))
}

/// Number of the mount namespace of `pid`; 0 unknown.
#[must_use]
pub fn read_mount_namespace(pid: u32) -> u32 {
    let inode = procdir::inode(&Path::of_process(pid, "ns/mnt"));
    inode.ok().and_then(|inode| u32::try_from(inode).ok()).unwrap_or(0)
}

/// `PID (COMM) STATE PPID …`: the name may hold anything, parentheses and spaces too, so it ends
/// at the last one. The start time is the 22nd field (proc_pid_stat(5)).
#[must_use]
pub fn parse_stat(stat: &[u8]) -> Option<Seen> {
    let open = memchr::memchr(b'(', stat)?;
    let close = memchr::memrchr(b')', stat)?;
    let name = stat.get(open + 1..close)?;
    let mut fields = stat.get(close + 1..)?.split(|&byte| byte == b' ').skip(2);
    let ppid = u32::try_from(decimal(fields.next()?)?).ok()?;
    let start_ticks = decimal(fields.nth(17)?)?;
    Some(Seen { comm: comm(name), ppid, start_ticks, users: None, cgroup_id: 0 })
}

/// The second numbers of the lines `Uid:` and `Gid:`: the effective ones (proc_pid_status(5)).
#[must_use]
pub fn parse_status(status: &[u8]) -> Option<(u32, u32)> {
    let effective = |label: &[u8]| {
        let line = status.split(|&byte| byte == b'\n').find_map(|line| line.strip_prefix(label))?;
        let mut ids = line.split(|&byte| byte == b'\t').filter(|id| !id.is_empty());
        u32::try_from(decimal(ids.nth(1)?)?).ok()
    };
    Some((effective(b"Uid:")?, effective(b"Gid:")?))
}

/// The path in the line `0::PATH`: that of the version 2 hierarchy (cgroups(7)).
#[must_use]
pub fn parse_cgroup(text: &[u8]) -> Option<&[u8]> {
    text.split(|&byte| byte == b'\n').find_map(|line| line.strip_prefix(b"0::"))
}

fn decimal(digits: &[u8]) -> Option<u64> {
    if digits.is_empty() {
        return None;
    }
    digits.iter().try_fold(0u64, |value, byte| {
        let digit = byte.wrapping_sub(b'0');
        if digit > 9 {
            return None;
        }
        value.checked_mul(10)?.checked_add(u64::from(digit))
    })
}

/// Where the version 2 hierarchy is mounted. A cgroup's id is the inode number of its directory.
///
/// Ids are not kept: a unit that is started again has another cgroup, with another id, under the
/// same path. A look takes a microsecond or two, the other reads of /proc ten times as long.
pub struct Cgroups {
    mount: [u8; CGROUP_MOUNT_BYTES],
    mount_len: usize,
}

impl Default for Cgroups {
    fn default() -> Self {
        Cgroups { mount: [0; CGROUP_MOUNT_BYTES], mount_len: 0 }
    }
}

impl Cgroups {
    /// With this mount point; without any when it is too long.
    #[must_use]
    pub fn at(mount: &[u8]) -> Self {
        let mut cgroups = Cgroups::default();
        if mount.len() <= CGROUP_MOUNT_BYTES {
            cgroups.mount[..mount.len()].copy_from_slice(mount);
            cgroups.mount_len = mount.len();
        }
        cgroups
    }

    /// The id of the cgroup that has this path now; 0 where there is none.
    fn id(&self, path: &[u8]) -> u64 {
        if self.mount_len == 0 {
            return 0;
        }
        let mount = &self.mount[..self.mount_len];
        Path::join(&[mount, path]).and_then(|path| procdir::inode(&path).ok()).unwrap_or(0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_name_may_hold_anything() {
        let stat = b"42 (a) R 1 (b\n) S 7 42 42 0 -1 4194560 1 2 3 4 5 6 7 8 20 0 1 0 9876 10 11";
        let seen = parse_stat(stat).expect("a stat");
        assert_eq!((seen.ppid, seen.start_ticks), (7, 9876));
        assert_eq!(&seen.comm, b"a) R 1 (b\n\0\0\0\0\0\0");
    }

    #[test]
    fn the_effective_ids_are_taken() {
        let status = b"Name:\tx\nUmask:\t0022\nUid:\t1\t2\t3\t4\nGid:\t5\t6\t7\t8\n";
        assert_eq!(parse_status(status), Some((2, 6)));
        assert_eq!(parse_status(b"Uid:\t1\t2\n"), None);
        assert_eq!(parse_cgroup(b"2:cpu:/x\n0::/a/b\n"), Some(&b"/a/b"[..]));
    }

    #[test]
    fn we_are_as_we_know() {
        let seen = read(std::process::id(), &Cgroups::default()).expect("we live");
        assert!(seen.users.is_some() && seen.start_ticks > 0);
        assert!(read(0x3fff_ffff, &Cgroups::default()).is_none());
    }

    #[test]
    fn a_cgroup_that_is_made_again_has_its_own_id() {
        use std::os::unix::ffi::OsStrExt;
        use std::os::unix::fs::MetadataExt;
        let dir = tempfile::tempdir().expect("a directory");
        let (unit, old) = (dir.path().join("unit"), dir.path().join("old"));
        let id = |path: &std::path::Path| std::fs::metadata(path).expect("there").ino();
        let cgroups = Cgroups::at(dir.path().as_os_str().as_bytes());
        std::fs::create_dir(&unit).expect("made");
        let first = cgroups.id(b"/unit");
        assert_eq!(first, id(&unit));
        // It stays under another name, so that its number is not given out again.
        std::fs::rename(&unit, &old).expect("renamed");
        assert_eq!(cgroups.id(b"/unit"), 0);
        std::fs::create_dir(&unit).expect("made");
        assert_eq!((cgroups.id(b"/unit"), cgroups.id(b"/old")), (id(&unit), first));
        assert_ne!(cgroups.id(b"/unit"), first);
    }

    proptest! {
        #[test]
        fn anything_may_come(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = (parse_stat(&bytes), parse_status(&bytes), parse_cgroup(&bytes));
        }
    }
}

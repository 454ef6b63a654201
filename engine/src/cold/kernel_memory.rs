//! Where the kernel says how much memory it uses itself, for the length of the queue of file events
//! (`hot/reader/queue.rs`).

use super::mounts;
use crate::hot::reader::queue::KernelMemory;
use std::fs::{self, File};
use std::path::{Path, PathBuf};

/// The best place on this host; `None` if there is none.
///
/// The events in the queue are slab objects, which the kernel cannot free, charged to the control group of the process
/// that made the queue (`GFP_KERNEL_ACCOUNT` in fs/notify/fanotify/fanotify.c). So the slab of our control group says
/// it best, and not `memory.current`, which has the pages of the history that we write as well. Only version 2 of
/// control groups has that number. The number of the whole host moves with what others do; in seconds that is little
/// beside a queue that matters.
pub(crate) fn open() -> Option<KernelMemory> {
    of_own_group().or_else(of_the_host)
}

fn of_own_group() -> Option<KernelMemory> {
    let groups = fs::read_to_string("/proc/self/cgroup").ok()?;
    let file = File::open(stat_file(&mounts::cgroup2()?, &groups)?).ok()?;
    KernelMemory::new(file, "slab_unreclaimable ", 1)
}

fn of_the_host() -> Option<KernelMemory> {
    KernelMemory::new(File::open("/proc/meminfo").ok()?, "SUnreclaim:", 1 << 10)
}

/// The file of our group below the mount of control groups, version 2. `groups`: /proc/self/cgroup (cgroups(7)).
fn stat_file(mount: &Path, groups: &str) -> Option<PathBuf> {
    let group = groups.lines().find_map(|line| line.strip_prefix("0::/"))?;
    Some(mount.join(group).join("memory.stat"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn our_group_is_found_among_those_of_both_versions() {
        let at = |groups| stat_file(Path::new("/cg"), groups);
        let both = "4:memory:/x\n0::/system.slice/fsmon.service\n";
        assert_eq!(at(both), Some("/cg/system.slice/fsmon.service/memory.stat".into()));
        assert_eq!(at("0::/\n"), Some("/cg/memory.stat".into()));
        assert_eq!(at("4:memory:/x\n"), None);
    }

    #[test]
    fn every_host_says_it_somewhere() {
        assert!(open().is_some());
    }
}

//! Other mount namespaces: a mount that is the root of one belongs to a container.

use super::mounts;
use crate::limits::start::CONTAINER_PROCESSES_MAX;
use std::collections::HashSet;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

/// The roots of other mount namespaces, found when they are first needed.
#[derive(Default)]
pub(crate) struct Containers(Option<HashSet<String>>);

impl Containers {
    /// Whether the filesystem with that device number is the root of another mount namespace, by the mountinfo of a
    /// process in it.
    pub(crate) fn have_root(&mut self, device: &str) -> bool {
        self.0.get_or_insert_with(find).contains(device)
    }
}

/// The device numbers of the mounts on `/` in each other mount namespace.
fn find() -> HashSet<String> {
    let namespace = |process: &Path| fs::metadata(process.join("ns/mnt")).map(|data| data.ino());
    let (mut seen, mut found) = (HashSet::new(), HashSet::new());
    seen.extend(namespace(Path::new("/proc/self")));
    let processes =
        fs::read_dir("/proc").into_iter().flatten().flatten().take(CONTAINER_PROCESSES_MAX);
    for process in processes.map(|entry| entry.path()) {
        // An entry that is not a process has none, and a process may just have ended.
        if namespace(&process).is_ok_and(|id| seen.insert(id)) {
            let mounts = mounts::of_process(&process);
            let root = mounts.into_iter().find(|mount| mount.point == Path::new("/"));
            found.extend(root.map(|root| root.device));
        }
    }
    // A namespace that was copied from this one has the same root.
    for own in mounts::all().into_iter().filter(|mount| mount.point == Path::new("/")) {
        found.remove(&own.device);
    }
    found
}

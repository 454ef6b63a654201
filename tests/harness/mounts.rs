//! What is mounted, and a mount namespace of a test's own, whose mounts go with it.

use super::{Area, Ended, Event, Fsmon, briefs, fsmon, is_root_with, skip, succeed};
use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, unshare};
use std::path::{Path, PathBuf};

/// An area, in a mount namespace of this thread and its children; `None`, said aloud, where that cannot be
/// had.
pub fn own_mounts() -> Option<Area> {
    if !is_root_with(&["mount", "umount", "unshare"]) {
        return None;
    }
    if let Err(error) = own_mount_namespace() {
        skip(&format!("there is no mount namespace: {error}"));
        return None;
    }
    Some(Area::new())
}

/// Gives this thread, and the threads and processes that it starts from now on, a mount namespace of its own: it sees no
/// mount that others make, and nobody sees its own.
///
/// # Errors
/// It is not root.
pub fn own_mount_namespace() -> nix::Result<()> {
    unshare(CloneFlags::CLONE_NEWNS)?;
    let none = None::<&str>;
    mount(none, "/", none, MsFlags::MS_REC | MsFlags::MS_PRIVATE, none)
}

/// What is mounted below a directory, as this thread sees it, in the order in which it was mounted.
pub(crate) fn mounts_below(dir: &Path) -> Vec<PathBuf> {
    let mounts = std::fs::read_to_string("/proc/thread-self/mountinfo").unwrap_or_default();
    let points = mounts.lines().filter_map(|line| line.split(' ').nth(4)).map(PathBuf::from);
    points.filter(|point| point.starts_with(dir)).collect()
}

/// Whether anything is mounted below a directory, as this thread sees it; so it is where that is not known.
pub fn is_mounted_below(dir: &Path) -> bool {
    let Ok(mounts) = std::fs::read_to_string("/proc/thread-self/mountinfo") else { return true };
    let points = mounts.lines().filter_map(|line| line.split(' ').nth(4));
    points.map(Path::new).any(|point| point.starts_with(dir))
}

/// Whether fsmon marks each directory by itself there, as on overlayfs, and not the whole filesystem: what is
/// made in a new one before it has its mark is told as found, and that more may be missing is said.
pub fn is_marked_one_by_one(dir: &Path) -> bool {
    says_one_by_one(&succeed(fsmon(["doctor", "--json"]).arg(dir)).stdout)
}

/// Whether `fsmon doctor --json` said so.
pub fn says_one_by_one(said: &[u8]) -> bool {
    let plan: serde_json::Value = serde_json::from_slice(said).expect("JSON");
    plan["roots"][0]["mark"] == "inode"
}

/// The lines, relative to `base`, losses with their path.
pub fn lines_with_losses(events: &[Event], base: &Path) -> Vec<String> {
    let named = |(line, event): (String, &Event)| match event.path() {
        Some(path) if event.kind() == "LOSS" => {
            format!("{line} {}", path.strip_prefix(base).unwrap_or(&path).display())
        }
        _ => line,
    };
    briefs(events, base).into_iter().zip(events).map(named).collect()
}

/// Waits until fsmon has said that.
pub fn wait_said_of(running: &mut Fsmon, what: &str, path: &Path, then: &str) {
    running.wait_said(&format!("fsmon: {what}{}{then}", path.display()));
}

/// Waits until fsmon has said that a filesystem was mounted there.
pub fn wait_mounted(running: &mut Fsmon, fs_type: &str, path: &Path) {
    wait_said_of(running, &format!("{fs_type} was mounted on "), path, ": ");
}

/// Waits until fsmon has said that it was unmounted.
pub fn wait_unmounted(running: &mut Fsmon, path: &Path) {
    wait_said_of(running, "", path, " was unmounted");
}

/// The last words name so many mounts that were not watched; none is complete.
#[track_caller]
pub fn assert_unwatched(ended: &Ended, count: usize) {
    let word = if count == 1 { "mount" } else { "mounts" };
    let expected = match count {
        0 => "; complete".to_owned(),
        _ => format!("; NOT complete: {count} {word} not watched"),
    };
    assert!(ended.status.success(), "{:#?}", ended.stderr);
    assert!(ended.last_words().ends_with(&expected), "{:#?}", ended.stderr);
}

/// The lines, whether what they tell of was seen happening or found; those that come twice once.
pub fn settled_lines(events: &[Event], base: &Path) -> Vec<String> {
    let mut all: Vec<_> = lines_with_losses(events, base)
        .into_iter()
        .map(|line| line.replace(" (found)", ""))
        .collect();
    all.dedup();
    all
}

//! Mounts below the roots: which of them hide changes, and which do not.
//!
//! Changes on other filesystems are not seen: the marks are on the filesystems of the roots. If a directory of a
//! root's own filesystem is mounted below the root (`mount --bind`), its changes are reported by the mark, with the
//! path of the directory itself. So it matters whether that directory is below a root. In the mount namespace of a
//! service it usually is: systemd mounts `/usr` on `/usr` to make it read-only.

use super::containers::Containers;
use super::mounts::{Mount, Points, Slow};
use crate::config::Skips;
use std::collections::HashMap;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

/// A root, and its path in its filesystem.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Span {
    /// The root's path.
    pub(crate) path: PathBuf,
    /// The id of the mount that it is on.
    pub(crate) mount: u32,
    /// Where that is mounted.
    point: PathBuf,
    device: String,
    /// As mountinfo has it: another path after a directory above the mounted one was renamed.
    dir: PathBuf,
}

impl Span {
    /// `None` if mountinfo has no mount for the path.
    pub(crate) fn new(mounts: &Points<'_>, path: &Path) -> Option<Span> {
        let mount = mounts.mount_of(path)?;
        Some(Span {
            path: path.to_owned(),
            mount: mount.id,
            point: mount.point.clone(),
            device: mount.device.clone(),
            dir: mount.place_of(path),
        })
    }

    /// Whether it is on that filesystem.
    pub(crate) fn is_on(&self, mount: &Mount) -> bool {
        self.device == mount.device
    }

    /// Whether both are the same directory, through whatever mount.
    pub(crate) fn is_same_place(&self, other: &Span) -> bool {
        self.device == other.device && self.dir == other.dir
    }

    /// Whether both are on the same mount point with the same mount id. They may still be different directories:
    /// the id of a mount that is gone is given to the next one.
    pub(crate) fn is_same_mount(&self, other: &Span) -> bool {
        self.device == other.device && self.mount == other.mount && self.point == other.point
    }
}

/// Roots by filesystem and directory, with the path of each.
#[derive(Default)]
pub(crate) struct Places(HashMap<String, HashMap<PathBuf, PathBuf>>);

impl Places {
    pub(crate) fn of<'a>(roots: impl IntoIterator<Item = &'a Span>) -> Self {
        let mut places = Places::default();
        roots.into_iter().for_each(|root| places.put(root));
        places
    }

    pub(crate) fn put(&mut self, root: &Span) {
        let dirs = self.0.entry(root.device.clone()).or_default();
        dirs.entry(root.dir.clone()).or_insert_with(|| root.path.clone());
    }

    /// Whether it is one of the roots or below one, through whatever mount.
    pub(crate) fn have(&self, span: &Span) -> bool {
        self.path_of(&span.device, &span.dir).is_some()
    }

    /// The path of a directory below its nearest root.
    fn path_of(&self, device: &str, dir: &Path) -> Option<PathBuf> {
        let dirs = self.0.get(device)?;
        let (above, path) = dir.ancestors().find_map(|above| Some((above, dirs.get(above)?)))?;
        let below = dir.strip_prefix(above).ok()?;
        Some(if below.as_os_str().is_empty() { path.clone() } else { path.join(below) })
    }
}

/// A mount below a root.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Below {
    pub(crate) id: u32,
    pub(crate) point: PathBuf,
    /// The path of the innermost root that it is below.
    pub(crate) root: PathBuf,
    pub(crate) fs_type: String,
    pub(crate) kind: Kind,
    device: String,
    /// Whether looking at its contents, or walking to it from the root, may take any time.
    may_hang: bool,
}

/// What a mount below a root means for the record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Another filesystem: its changes are not seen.
    Other,
    /// A directory of the root's filesystem that is not below a root: its changes are not seen.
    Outside,
    /// A directory that is below a root, at this path: its changes have that path.
    Inside(PathBuf),
}

impl Below {
    /// Whether its changes are missing in the record.
    pub(crate) fn is_unwatched(&self) -> bool {
        matches!(self.kind, Kind::Other | Kind::Outside)
    }

    /// Whether it is watched, if mounts are followed and it is there at the start.
    pub(crate) fn can_be_followed(&self, containers: &mut Containers) -> bool {
        let is_container = self.is_overlay() && containers.have_root(&self.device);
        self.is_unwatched() && !self.may_hang && !is_container
    }

    /// The same for a mount that comes later. An overlay may be the root of a container that is being made: there
    /// is no process in it yet that would show it.
    pub(crate) fn can_be_followed_later(&self) -> bool {
        self.is_unwatched() && !self.may_hang && !self.is_overlay()
    }

    fn is_overlay(&self) -> bool {
        self.fs_type == "overlay"
    }
}

/// The mounts below `roots`, in the order of their paths. Left out are roots (also those of other readers:
/// `elsewhere`), mounts without files of their own, and mounts in directories that `skips` excludes.
///
/// `mounts` are the reachable ones.
pub(crate) fn below(
    mounts: &[Mount],
    roots: &[Span],
    elsewhere: &[PathBuf],
    skips: &mut Option<Skips>,
) -> Vec<Below> {
    let by_path: HashMap<&Path, &Span> =
        roots.iter().map(|root| (root.path.as_path(), root)).collect();
    let (places, slow) = (Places::of(roots), Slow::of(mounts));
    let mut found = Vec::new();
    for mount in mounts.iter().filter(|mount| mount.has_files()) {
        let root = mount.point.ancestors().find_map(|dir| by_path.get(dir));
        let Some(root) = root.filter(|root| root.path != mount.point) else { continue };
        let is_elsewhere =
            |other: &PathBuf| other.starts_with(&root.path) && mount.point.starts_with(other);
        let is_skipped = |skips| is_left_out(skips, &root.path, &mount.point);
        if elsewhere.iter().any(is_elsewhere) || skips.as_mut().is_some_and(is_skipped) {
            continue;
        }
        let own = mount.device == root.device;
        let kind = match places.path_of(&mount.device, &mount.dir) {
            Some(path) => Kind::Inside(path),
            None if own => Kind::Outside,
            None => Kind::Other,
        };
        found.push(Below {
            id: mount.id,
            point: mount.point.clone(),
            root: root.path.clone(),
            fs_type: mount.fs_type.clone(),
            kind,
            device: mount.device.clone(),
            may_hang: slow.is_between(&root.path, &mount.point),
        });
    }
    found.sort_by(|a, b| a.point.cmp(&b.point));
    found
}

/// Whether a directory below a root is excluded, or one between the two.
pub(crate) fn is_left_out(skips: &mut Skips, root: &Path, path: &Path) -> bool {
    let Ok(below) = path.strip_prefix(root) else { return false };
    let root = root.as_os_str().as_bytes();
    let mut dirs = below.ancestors().map(|dir| dir.as_os_str().as_bytes());
    dirs.any(|dir| !dir.is_empty() && skips.skips(root, dir))
}

#[cfg(test)]
mod tests {
    use super::super::mounts::tests::mount;
    use super::*;

    fn bind(id: u32, fs_type: &str, dir: &str, point: &str) -> Mount {
        Mount { dir: dir.into(), ..mount(id, 1, fs_type, point) }
    }

    fn kinds(mounts: &[Mount], roots: &[&str], skips: Option<Skips>) -> Vec<(String, Kind)> {
        let points = Points::of(mounts);
        let spans: Vec<_> =
            roots.iter().filter_map(|path| Span::new(&points, Path::new(path))).collect();
        let found = below(mounts, &spans, &["/srv/elsewhere".into()], &mut { skips });
        found.into_iter().map(|below| (below.point.display().to_string(), below.kind)).collect()
    }

    #[test]
    fn what_hides_changes_and_what_does_not() {
        let mounts = [
            mount(1, 0, "ext4", "/"),
            mount(2, 1, "tmpfs", "/srv/tmp"),
            mount(3, 1, "proc", "/srv/proc"),
            mount(4, 1, "tmpfs", "/srv/elsewhere"),
            mount(5, 1, "xfs", "/home"),
            bind(6, "ext4", "/srv/usr", "/srv/usr"),
            bind(7, "ext4", "/srv/a/b", "/srv/bound"),
            bind(8, "ext4", "/var/x", "/srv/var"),
            bind(9, "ext4", "/srv", "/srv/again"),
        ];
        let inside = |path: &str| Kind::Inside(path.into());
        let expected = [
            ("/srv/again", inside("/srv")),
            ("/srv/bound", inside("/srv/a/b")),
            ("/srv/tmp", Kind::Other),
            ("/srv/usr", inside("/srv/usr")),
            ("/srv/var", Kind::Outside),
        ];
        let expected = expected.map(|(path, kind)| (path.to_owned(), kind));
        assert_eq!(kinds(&mounts, &["/srv"], None), expected);
        let named = kinds(&mounts, &["/srv", "/srv/tmp", "/srv/var"], None);
        assert!(named.iter().all(|(_, kind)| matches!(kind, Kind::Inside(_))), "{named:?}");
        // With the whole filesystem below a root every directory of it is.
        let whole = kinds(&mounts, &["/"], None);
        assert!(whole.contains(&("/srv/var".into(), inside("/var/x"))), "{whole:?}");
        assert!(whole.contains(&("/home".into(), Kind::Other)), "{whole:?}");
    }

    #[test]
    fn what_is_left_out_is_not_missing() {
        let mounts = [
            mount(1, 0, "ext4", "/"),
            mount(2, 1, "tmpfs", "/srv/cache/a"),
            mount(3, 1, "tmpfs", "/srv/b"),
        ];
        let skips: Skips = Box::new(|path: &[u8]| path == b"cache");
        assert_eq!(kinds(&mounts, &["/srv"], Some(skips)), [("/srv/b".into(), Kind::Other)]);
    }
}

//! Directories for tests, gone afterwards.

use std::fs;
use std::path::PathBuf;
use std::process::Command;
use tempfile::TempDir;

/// A temporary directory with a directory to be watched in it, and the mounts made below it.
pub(crate) struct Area {
    mounts: Vec<PathBuf>,
    base: PathBuf,
    _dir: TempDir,
}

impl Area {
    /// On the filesystem of temporary files.
    pub(crate) fn new() -> Self {
        let dir = TempDir::with_prefix("fsmon-test-").expect("a directory");
        // Others, the setuid tests' users among them, must be able to get in.
        let open = std::os::unix::fs::PermissionsExt::from_mode(0o755);
        fs::set_permissions(dir.path(), open).expect("opened");
        let base = dir.path().canonicalize().expect("an absolute path");
        fs::create_dir(base.join("watched")).expect("a directory");
        Area { mounts: vec![], base, _dir: dir }
    }

    /// The directory to be watched.
    pub(crate) fn watched(&self) -> PathBuf {
        self.base.join("watched")
    }

    /// A path beside it.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.base.join(name)
    }

    /// A new directory beside it.
    pub(crate) fn dir(&self, name: &str) -> PathBuf {
        let path = self.path(name);
        fs::create_dir_all(&path).expect("a directory");
        path
    }

    /// Mounts something on a new directory beside it; unmounted at the end.
    pub(crate) fn mount(&mut self, name: &str, args: &[&str]) -> PathBuf {
        self.try_mount(name, args).unwrap_or_else(|| panic!("cannot mount {args:?}"))
    }

    /// The same, where this may be impossible.
    pub(crate) fn try_mount(&mut self, name: &str, args: &[&str]) -> Option<PathBuf> {
        let path = self.dir(name);
        let output = Command::new("mount").args(args).arg(&path).output().expect("mount is there");
        output.status.success().then(|| {
            self.mounts.push(path.clone());
            path
        })
    }

    /// The same, by a program of its own.
    pub(crate) fn mount_by(
        &mut self,
        name: &str,
        mount: impl FnOnce(&PathBuf) -> bool,
    ) -> Option<PathBuf> {
        let path = self.dir(name);
        mount(&path).then(|| {
            self.mounts.push(path.clone());
            path
        })
    }

    /// A tmpfs with these options.
    pub(crate) fn tmpfs(&mut self, name: &str, options: &str) -> PathBuf {
        self.mount(name, &["-t", "tmpfs", "-o", options, "tmpfs"])
    }
}

impl Drop for Area {
    fn drop(&mut self) {
        for mount in self.mounts.iter().rev() {
            let _ = Command::new("umount").arg("--lazy").arg(mount).status();
        }
    }
}

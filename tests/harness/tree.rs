//! Directories for tests, gone afterwards.

use super::mounts::{is_mounted_below, mounts_below};
use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use tempfile::TempDir;

/// A temporary directory with a directory to be watched in it, and the mounts made below it.
pub struct Area {
    mounts: Vec<PathBuf>,
    base: PathBuf,
    dir: TempDir,
}

impl Default for Area {
    fn default() -> Self {
        Area::new()
    }
}

impl Area {
    /// On the filesystem of temporary files.
    pub fn new() -> Self {
        let dir = TempDir::with_prefix("fsmon-test-").expect("a directory");
        // Others, the setuid tests' users among them, must be able to get in.
        let open = std::os::unix::fs::PermissionsExt::from_mode(0o755);
        fs::set_permissions(dir.path(), open).expect("opened");
        let base = dir.path().canonicalize().expect("an absolute path");
        fs::create_dir(base.join("watched")).expect("a directory");
        Area { mounts: vec![], base, dir }
    }

    /// The directory to be watched.
    pub fn watched(&self) -> PathBuf {
        self.base.join("watched")
    }

    /// A path beside it.
    pub fn path(&self, name: &str) -> PathBuf {
        self.base.join(name)
    }

    /// A new directory beside it.
    pub fn dir(&self, name: &str) -> PathBuf {
        let path = self.path(name);
        fs::create_dir_all(&path).expect("a directory");
        path
    }

    /// Mounts something on a new directory beside it; unmounted at the end.
    pub fn mount(&mut self, name: &str, args: &[&str]) -> PathBuf {
        self.try_mount(name, args).unwrap_or_else(|| panic!("cannot mount {args:?}"))
    }

    /// The same, where this may be impossible.
    pub fn try_mount(&mut self, name: &str, args: &[&str]) -> Option<PathBuf> {
        let path = self.dir(name);
        let output = Command::new("mount").args(args).arg(&path).output().expect("mount is there");
        output.status.success().then(|| {
            self.mounts.push(path.clone());
            path
        })
    }

    /// The same, by a program of its own.
    pub fn mount_by(
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

    /// An ext4, xfs or btrfs in a file of its own; `None`, said aloud, where there is none.
    pub fn image(&mut self, fs: &str) -> Option<PathBuf> {
        let mkfs = match fs {
            "ext4" => "mkfs.ext4 -q -F",
            "xfs" => "mkfs.xfs -q",
            "btrfs" => "mkfs.btrfs -q",
            other => panic!("how is {other} made?"),
        };
        let made = format!("truncate -s 400M {fs} && {mkfs} {fs}");
        let made =
            Command::new("/bin/sh").args(["-c", &made]).current_dir(&self.base).output().ok()?;
        let image = self.path(fs);
        let options = ["-o", "loop", image.to_str().expect("UTF-8")];
        let mounted = match made.status.success() {
            true => self.try_mount(&format!("{fs}-mount"), &options),
            false => None,
        };
        if mounted.is_none() {
            super::skip(&format!("{fs} cannot be made and mounted"));
        }
        mounted
    }

    /// An overlayfs over `lower`, its own layers made in `scratch`; `None`, said aloud, where it
    /// cannot be mounted.
    pub fn overlay(
        &mut self,
        name: &str,
        lower: &Path,
        scratch: &Path,
        options: &str,
    ) -> Option<PathBuf> {
        for layer in ["upper", "work"] {
            fs::create_dir_all(scratch.join(layer)).expect("a directory");
        }
        let (lower, scratch) = (lower.display(), scratch.display());
        let options =
            format!("lowerdir={lower},upperdir={scratch}/upper,workdir={scratch}/work,{options}");
        let mounted = self.try_mount(name, &["-t", "overlay", "-o", &options, "overlay"]);
        if mounted.is_none() {
            super::skip("overlay cannot be mounted");
        }
        mounted
    }

    /// Unmounts what was mounted there, if anything was.
    pub fn unmount(&mut self, path: &Path) {
        if let Some(at) = self.mounts.iter().position(|mount| mount == path) {
            let mount = self.mounts.remove(at);
            let status = Command::new("umount").arg("--lazy").arg(&mount).status();
            assert!(status.is_ok_and(|status| status.success()), "{mount:?} stays mounted");
        }
    }

    /// A tmpfs with these options.
    pub fn tmpfs(&mut self, name: &str, options: &str) -> PathBuf {
        self.mount(name, &["-t", "tmpfs", "-o", options, "tmpfs"])
    }
}

impl Drop for Area {
    fn drop(&mut self) {
        // What the test mounted by itself below it goes with the rest.
        let below = mounts_below(&self.base);
        for mount in self.mounts.iter().chain(&below).rev() {
            let _ = Command::new("umount").arg("--lazy").arg(mount).stderr(Stdio::null()).status();
        }
        // What is mounted there still may be all of this host: nothing of it is to be deleted.
        if is_mounted_below(&self.base) {
            self.dir.disable_cleanup(true);
            let _ = writeln!(io::stderr(), "{} stays: it has mounts", self.base.display());
        }
    }
}

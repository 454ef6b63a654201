//! The filesystems of a run: two tmpfs, which vanish with the process.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

/// The directories of a run. The watched directory has a filesystem of its own, so that what
/// others do on this machine is no part of the figures.
pub(crate) struct Area {
    /// The filesystem's root.
    pub(crate) mount: PathBuf,
    /// Watched.
    pub(crate) watched: PathBuf,
    /// On the same filesystem, not watched.
    pub(crate) outside: PathBuf,
    /// Outputs of the monitors, on another filesystem.
    pub(crate) out: PathBuf,
    /// Programs that the workloads start, there too.
    pub(crate) programs: PathBuf,
    base: PathBuf,
}

impl Area {
    /// Mounts both. Call it before any thread is started.
    pub(crate) fn new() -> io::Result<Self> {
        crate::sys::own_mounts()?;
        let base = std::env::temp_dir().join(format!("fsmon-bench-{}", std::process::id()));
        let (mount, out) = (base.join("fs"), base.join("out"));
        for dir in [&mount, &out] {
            fs::create_dir_all(dir)?;
            crate::sys::mount_tmpfs(dir)?;
        }
        let area = Area {
            watched: mount.join("watched"),
            outside: mount.join("outside"),
            programs: out.join("programs"),
            mount,
            out,
            base,
        };
        fs::create_dir(&area.programs)?;
        Ok(area)
    }

    /// Empties what is measured and makes it new.
    pub(crate) fn renew(&self) -> io::Result<()> {
        for dir in [&self.watched, &self.outside] {
            if dir.exists() {
                fs::remove_dir_all(dir)?;
            }
            fs::create_dir(dir)?;
        }
        Ok(())
    }

    /// A file for a monitor's output that does not exist yet.
    pub(crate) fn fresh(&self, name: &str) -> io::Result<PathBuf> {
        let path = self.out.join(name);
        match fs::remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(path),
        }
    }
}

impl Drop for Area {
    /// The mounts go with the process; the empty directories below them would stay.
    fn drop(&mut self) {
        for dir in [&self.mount, &self.out] {
            let _ = crate::sys::unmount(dir);
            let _ = fs::remove_dir(dir);
        }
        let _ = fs::remove_dir(Path::new(&self.base));
    }
}

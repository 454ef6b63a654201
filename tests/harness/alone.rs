//! Tests that change something for the whole host, or need it quiet: one at a time, and what was changed is put back.

use super::skip;
use nix::fcntl::{Flock, FlockArg};
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());

/// No other test that is alone runs while this is held, neither here nor in another run of the tests on this host.
/// Otherwise one test would put back what the other had set.
pub struct Alone {
    _here: MutexGuard<'static, ()>,
    _anywhere: Flock<File>,
}

/// Waits until no other test that is alone runs.
pub fn alone() -> Alone {
    // A test that failed has put back what it changed, too.
    let here = ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner);
    let path = std::env::temp_dir().join("fsmon-host-tests.lock");
    let file = File::create(path).expect("temporary files can be made");
    let anywhere = Flock::lock(file, FlockArg::LockExclusive).expect("locked");
    Alone { _here: here, _anywhere: anywhere }
}

/// A sysctl that has another value until this is dropped.
pub struct Sysctl {
    path: PathBuf,
    before: String,
}

impl Sysctl {
    /// Sets it, such as `kernel.io_uring_disabled`; `None`, said aloud, where it cannot be set.
    pub fn set(name: &str, value: &str) -> Option<Self> {
        let path = Path::new("/proc/sys").join(name.replace('.', "/"));
        let Ok(before) = fs::read_to_string(&path) else {
            skip(&format!("this kernel has no {name}"));
            return None;
        };
        let sysctl = Sysctl { path, before };
        if fs::write(&sysctl.path, value).is_err() {
            skip(&format!("{name} cannot be set here"));
            return None;
        }
        Some(sysctl)
    }
}

impl Drop for Sysctl {
    fn drop(&mut self) {
        fs::write(&self.path, &self.before).expect("put back");
    }
}

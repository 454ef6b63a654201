//! What the tests on the real kernel share.

#![allow(dead_code, reason = "each test uses a part")]

use fsmon_engine::{Config, Monitor, Receiver, start};
use fsmon_format::mirror::{Capacity, Mirror};
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

/// Room for all that an engine with the default limits defines.
pub const CAPACITY: Capacity =
    Capacity { dirs: 1 << 21, processes: 1 << 19, strings: 1 << 17, text: 64 << 20 };

/// Starts the engine on `dir`; `None`, and why, where that is not possible.
pub fn watch(dir: &Path, change: impl FnOnce(&mut Config)) -> Option<(Monitor, Receiver)> {
    let mut config = Config::new(vec![dir.to_owned()]);
    change(&mut config);
    match start(config) {
        Ok(started) => Some(started),
        Err(error) if std::env::var_os("CI").is_none() => {
            println!("SKIP: {error}");
            None
        }
        Err(error) => panic!("{error}"),
    }
}

/// The path of a name in a directory; `None` without a directory.
pub fn path(mirror: &Mirror, dir: u32, name: &[u8]) -> Option<PathBuf> {
    let mut path = Vec::new();
    (dir != 0).then(|| assert!(mirror.append_dir_path(dir, &mut path)))?;
    if !name.is_empty() {
        path.push(b'/');
        path.extend(name);
    }
    Some(PathBuf::from(OsStr::from_bytes(&path)))
}

//! Real files to work with: what a machine has that can build this.

use super::{Area, skip, succeed};
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Bigger ones would only be copied for longer.
const LEN_MAX: u64 = 32 << 10;

/// Where cargo keeps what it fetched.
pub fn cargo_home() -> PathBuf {
    let home = std::env::var_os("CARGO_HOME").map(PathBuf::from);
    home.unwrap_or_else(|| Path::new(&std::env::var_os("HOME").unwrap_or_default()).join(".cargo"))
}

/// An archive of so many small real files; where there are none, that is said aloud.
pub fn archive_of(area: &Area, count: usize) -> Option<PathBuf> {
    let places = [cargo_home().join("registry/src"), "/usr/include".into(), "/usr/lib".into()];
    let found = places.into_iter().find_map(|base| {
        let mut names = Vec::new();
        collect(&base, Path::new(""), count, &mut names);
        (names.len() == count).then_some((base, names))
    });
    let Some((base, names)) = found else {
        skip(&format!("no {count} real files here"));
        return None;
    };
    let (list, archive) = (area.path("list"), area.path("archive.tar"));
    let names: Vec<_> = names.iter().map(|name| name.as_os_str().as_bytes()).collect();
    fs::write(&list, names.join(&0)).expect("written");
    let mut tar = Command::new("tar");
    tar.arg("cf").arg(&archive).arg("--null").arg("-T").arg(&list).current_dir(base);
    succeed(&mut tar);
    Some(archive)
}

/// Names of small files below `dir` of `base`, until there are enough.
fn collect(base: &Path, dir: &Path, count: usize, names: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(base.join(dir)).into_iter().flatten().flatten() {
        if names.len() == count {
            return;
        }
        let (Ok(kind), path) = (entry.file_type(), dir.join(entry.file_name())) else { continue };
        if kind.is_dir() {
            collect(base, &path, count, names);
        } else if kind.is_file() && entry.metadata().is_ok_and(|file| file.len() <= LEN_MAX) {
            names.push(path);
        }
    }
}

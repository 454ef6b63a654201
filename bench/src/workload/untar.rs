//! A real source tree, unpacked by tar and removed by rm.

use super::{Counts, Done};
use fsmon_format::number::to_ns;
use std::ffi::OsStr;
use std::fs;
use std::io::{self, Write};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Instant;

/// A tree in a tar file, and how many entries it has.
pub(crate) struct Packed {
    tar: PathBuf,
    /// Files and directories, the tree's root left out.
    pub(crate) entries: u64,
}

/// Trees that are on many machines, best first.
pub(crate) fn default_tree() -> Option<PathBuf> {
    let home = std::env::var_os("CARGO_HOME").map(PathBuf::from);
    let home = home.or_else(|| Some(Path::new(&std::env::var_os("HOME")?).join(".cargo")));
    let pythons = fs::read_dir("/usr/lib").ok()?.flatten().map(|entry| entry.path());
    let pythons = pythons.filter(|path| path.join("asyncio").is_dir());
    home.map(|home| home.join("registry/src")).into_iter().chain(pythons).find(|path| path.is_dir())
}

/// Packs the first `entries_max` files and directories of `tree`. Links are left out: tar makes
/// some of them twice, and then the number of events is not known from the tree.
pub(crate) fn pack(tree: &Path, tar: PathBuf, entries_max: usize) -> io::Result<Packed> {
    let mut names = Vec::new();
    list(tree, Path::new(""), entries_max, &mut names)?;
    let mut child = Command::new("tar")
        .args(["--create", "--no-recursion", "--null", "--file"])
        .arg(&tar)
        .arg("--directory")
        .arg(tree)
        .arg("--files-from=-")
        .stdin(Stdio::piped())
        .spawn()?;
    let mut input = Vec::new();
    for name in &names {
        input.extend_from_slice(name.as_os_str().as_bytes());
        input.push(0);
    }
    child.stdin.take().expect("asked for").write_all(&input)?;
    succeeded("tar", child.wait()?)?;
    Ok(Packed { tar, entries: names.len() as u64 })
}

fn list(tree: &Path, below: &Path, max: usize, names: &mut Vec<PathBuf>) -> io::Result<()> {
    let mut entries = fs::read_dir(tree.join(below))?.collect::<io::Result<Vec<_>>>()?;
    entries.sort_by_key(fs::DirEntry::file_name);
    for entry in entries {
        let (kind, name) = (entry.file_type()?, below.join(entry.file_name()));
        if names.len() >= max || !(kind.is_dir() || kind.is_file()) {
            continue;
        }
        names.push(name.clone());
        if kind.is_dir() {
            list(tree, &name, max, names)?;
        }
    }
    Ok(())
}

fn succeeded(what: &str, status: std::process::ExitStatus) -> io::Result<()> {
    if status.success() { Ok(()) } else { Err(io::Error::other(format!("{what}: {status}"))) }
}

/// Unpacks into a new directory of `root` and removes it again.
pub(crate) fn run(packed: &Packed, root: &Path) -> io::Result<Done> {
    let tree = root.join("tree");
    let (start, cpu_ns) = (Instant::now(), crate::sys::family_cpu_ns());
    fs::create_dir(&tree)?;
    let args = [OsStr::new("--extract"), OsStr::new("--file"), packed.tar.as_os_str()];
    let tar = Command::new("tar").args(args).arg("--directory").arg(&tree).status()?;
    succeeded("tar", tar)?;
    succeeded("rm", Command::new("rm").arg("-rf").arg(&tree).status()?)?;
    let elapsed_ns = to_ns(start.elapsed());
    let cpu_ns = Some(crate::sys::family_cpu_ns() - cpu_ns);
    let entries = packed.entries + 1;
    let expected = Counts { creates: entries, renames: 0, deletes: entries };
    Ok(Done { elapsed_ns, cpu_ns, operations: 2 * entries, expected })
}

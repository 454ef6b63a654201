//! What is read from the host's pseudo filesystems once, at the start.

use crate::hot::who::perf_record::Layout;
use crate::sys::detached;
use std::ffi::CStr;
use std::fs;
use std::io::{self, Read};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;

/// The tracepoint of exec: its number and where its fields lie.
///
/// # Errors
/// tracefs is not there, may not be read, or says something that we cannot use.
pub fn exec_tracepoint() -> io::Result<(u64, Layout)> {
    let id = tracefs(c"events/sched/sched_process_exec/id")?;
    let format = tracefs(c"events/sched/sched_process_exec/format")?;
    let bad = || io::Error::new(io::ErrorKind::InvalidData, "its format is not one we know");
    let id = id.trim().parse().map_err(|_| bad())?;
    let filename = filename_offset(&format).ok_or_else(bad)?;
    Ok((id, Layout { filename, cgroup: true }))
}

/// The offset in the line `field:__data_loc char[] filename; offset:8; size:4; signed:0;`.
fn filename_offset(format: &str) -> Option<usize> {
    let line = format.lines().find(|line| line.contains("__data_loc char[] filename;"))?;
    let offset = line.split(';').find_map(|part| part.trim().strip_prefix("offset:"))?;
    offset.parse().ok()
}

/// Whether we are in the pid namespace that the kernel began with: its inode number is fixed
/// (`PROC_PID_INIT_INO` in linux/proc_ns.h). `None` where /proc does not say.
pub(crate) fn in_initial_pid_namespace() -> Option<bool> {
    is_namespace("/proc/self/ns/pid", 0xeffffffc)
}

/// The same of the user namespace (`PROC_USER_INIT_INO`).
pub(crate) fn in_initial_user_namespace() -> Option<bool> {
    is_namespace("/proc/self/ns/user", 0xeffffffd)
}

fn is_namespace(path: &str, inode: u64) -> Option<bool> {
    fs::metadata(path).ok().map(|found| found.ino() == inode)
}

/// Reads a file of tracefs, from where it is mounted or else from a mount of our own that no one
/// else sees.
fn tracefs(path: &CStr) -> io::Result<String> {
    let name = std::ffi::OsStr::from_bytes(path.to_bytes());
    for mount in ["/sys/kernel/tracing", "/sys/kernel/debug/tracing"] {
        if let Ok(text) = fs::read_to_string(std::path::Path::new(mount).join(name)) {
            return Ok(text);
        }
    }
    let mut text = String::new();
    detached::open_below(&detached::mount(c"tracefs")?, path)?.read_to_string(&mut text)?;
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_offset_is_read_from_the_format() {
        let format = "\tfield:int common_pid;\toffset:4;\tsize:4;\n\
                      \tfield:__data_loc char[] filename;\toffset:8;\tsize:4;\tsigned:0;\n";
        assert_eq!(filename_offset(format), Some(8));
        assert_eq!(filename_offset("field:pid_t pid;\toffset:12;"), None);
    }

    #[test]
    fn a_mount_of_our_own_gives_the_same() {
        match detached::mount(c"tracefs") {
            Err(error) => eprintln!("SKIP: no detached mount of tracefs here: {error}"),
            Ok(mount) => {
                let mut id = String::new();
                let path = c"events/sched/sched_process_exec/id";
                let file = detached::open_below(&mount, path);
                file.expect("open").read_to_string(&mut id).expect("read");
                assert_eq!(id.trim().parse().ok(), exec_tracepoint().ok().map(|found| found.0));
            }
        }
    }
}

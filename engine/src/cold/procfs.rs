//! What the host's pseudo filesystems tell once, at the start.

use crate::hot::who::perf_record::Layout;
use crate::sys::detached;
use std::ffi::CStr;
use std::fs;
use std::io::{self, Read};
use std::os::unix::ffi::OsStrExt;

/// Where the version 2 cgroup hierarchy is mounted: anywhere, on hosts with both versions.
#[must_use]
pub fn cgroup2_mount() -> Option<Vec<u8>> {
    let text = fs::read("/proc/self/mountinfo").ok()?;
    text.split(|&byte| byte == b'\n').find_map(cgroup2_of)
}

/// `ID PARENT MAJOR:MINOR ROOT MOUNTPOINT OPTIONS … - TYPE SOURCE OPTIONS` (proc_pid_mountinfo(5)).
fn cgroup2_of(line: &[u8]) -> Option<Vec<u8>> {
    let mut fields = line.split(|&byte| byte == b' ');
    let (root, mount) = (fields.nth(3)?, fields.next()?);
    let kind = fields.skip_while(|field| field != b"-").nth(1)?;
    // Where only a part of the hierarchy is mounted, paths from /proc do not begin there.
    (kind == b"cgroup2" && root == b"/").then(|| unescape(mount))
}

/// Blanks and backslashes are written as `\` and three octal digits.
fn unescape(mut text: &[u8]) -> Vec<u8> {
    let mut plain = Vec::with_capacity(text.len());
    while let Some((&first, rest)) = text.split_first() {
        let digits = rest.first_chunk().filter(|_| first == b'\\');
        match digits.and_then(octal) {
            Some(byte) => {
                plain.push(byte);
                text = &rest[3..];
            }
            None => {
                plain.push(first);
                text = rest;
            }
        }
    }
    plain
}

fn octal(digits: &[u8; 3]) -> Option<u8> {
    digits.iter().try_fold(0u8, |value, byte| {
        let digit = byte.wrapping_sub(b'0');
        if digit > 7 { None } else { value.checked_mul(8)?.checked_add(digit) }
    })
}

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
    fn the_hierarchy_may_be_mounted_anywhere() {
        let line = b"41 31 0:38 / /sys/fs/cgroup/a\\040b rw,relatime shared:9 - cgroup2 cgroup2 rw";
        assert_eq!(cgroup2_of(line), Some(b"/sys/fs/cgroup/a b".to_vec()));
        assert_eq!(cgroup2_of(b"41 31 0:38 /x /y rw - cgroup2 cgroup2 rw"), None);
        assert_eq!(cgroup2_of(b"41 31 0:38 / /y rw - cgroup cgroup rw"), None);
        assert_eq!(unescape(b"a\\134b\\9"), b"a\\b\\9");
    }

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

//! Reads /proc without allocation, into buffers of the caller.

use crate::limits::sys::PATH_MAX;
use crate::sys::dirents::{self, Entries};
use std::ffi::CStr;
use std::io;
use std::io::Write;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

/// A path on the stack that ends in NUL.
pub struct Path {
    bytes: [u8; PATH_MAX],
    len: usize,
}

impl Path {
    /// The concatenation of the parts; `None` if it is too long or contains a NUL.
    #[must_use]
    pub fn join(parts: &[&[u8]]) -> Option<Path> {
        let mut path = Path { bytes: [0; PATH_MAX], len: 0 };
        for part in parts {
            let end = path.len.checked_add(part.len())?;
            if end >= PATH_MAX || part.contains(&0) {
                return None;
            }
            path.bytes[path.len..end].copy_from_slice(part);
            path.len = end;
        }
        Some(path)
    }

    /// `/proc/PID/NAME`
    #[must_use]
    pub fn of_process(pid: u32, name: &str) -> Path {
        let mut path = Path { bytes: [0; PATH_MAX], len: 0 };
        let mut room = &mut path.bytes[..64];
        let _ = write!(room, "/proc/{pid}/{name}");
        path.len = 64 - room.len();
        path.bytes[63] = 0;
        path
    }

    /// `/proc/self/fd/FD`
    #[must_use]
    pub fn of_fd(fd: BorrowedFd<'_>) -> Path {
        let mut path = Path { bytes: [0; PATH_MAX], len: 0 };
        let mut room = &mut path.bytes[..64];
        let _ = write!(room, "/proc/self/fd/{}", fd.as_raw_fd());
        path.len = 64 - room.len();
        path
    }

    fn as_c_str(&self) -> &CStr {
        CStr::from_bytes_until_nul(&self.bytes).unwrap_or_default()
    }
}

fn open(path: &CStr, flags: libc::c_int) -> io::Result<OwnedFd> {
    // SAFETY: the path is NUL-terminated and outlives the call.
    let fd = unsafe { libc::open(path.as_ptr(), flags | libc::O_CLOEXEC) };
    if fd < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the kernel has just returned this descriptor, so nothing else owns it.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// Reads a file, at most the length of `buffer`.
///
/// # Errors
/// ENOENT or ESRCH if the process is gone.
pub fn read<'a>(path: &Path, buffer: &'a mut [u8]) -> io::Result<&'a [u8]> {
    let fd = open(path.as_c_str(), libc::O_RDONLY | libc::O_NONBLOCK)?;
    // SAFETY: the buffer is valid for writes of its length.
    let count = unsafe { libc::read(fd.as_raw_fd(), buffer.as_mut_ptr().cast(), buffer.len()) };
    let count = usize::try_from(count).map_err(|_| io::Error::last_os_error())?;
    Ok(&buffer[..count.min(buffer.len())])
}

/// The target of a symbolic link.
///
/// # Errors
/// ENOENT or ESRCH if the process is gone, or has no such link (kernel threads have no `exe`).
pub fn read_link<'a>(path: &Path, buffer: &'a mut [u8]) -> io::Result<&'a [u8]> {
    // SAFETY: the path is NUL-terminated; the buffer is valid for writes of its length.
    let count = unsafe {
        libc::readlink(path.as_c_str().as_ptr(), buffer.as_mut_ptr().cast(), buffer.len())
    };
    let count = usize::try_from(count).map_err(|_| io::Error::last_os_error())?;
    Ok(&buffer[..count.min(buffer.len())])
}

/// Reads an extended attribute of the file at `path` into `buffer`. Returns its length.
///
/// # Errors
/// ENODATA if the file does not have the attribute, ERANGE if the buffer is too short.
pub fn attribute(path: &Path, name: &CStr, buffer: &mut [u8]) -> io::Result<usize> {
    let (path, room) = (path.as_c_str().as_ptr(), buffer.as_mut_ptr().cast());
    // SAFETY: path and name are NUL-terminated; the buffer is valid for writes of its length.
    let len = unsafe { libc::getxattr(path, name.as_ptr(), room, buffer.len()) };
    let len = usize::try_from(len).map_err(|_| io::Error::last_os_error())?;
    Ok(len.min(buffer.len()))
}

/// The inode number of the file at `path`.
///
/// # Errors
/// Those of stat(2).
pub fn inode(path: &Path) -> io::Result<u64> {
    let mut stat = MaybeUninit::<libc::stat>::uninit();
    // SAFETY: the path is NUL-terminated; the kernel writes one stat into the room for one.
    if unsafe { libc::stat(path.as_c_str().as_ptr(), stat.as_mut_ptr()) } < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: stat(2) succeeded, so it filled the whole struct.
    Ok(unsafe { stat.assume_init() }.st_ino)
}

/// The path to which `path` leads after all symbolic links. It opens the file with `O_PATH`, which queues no event.
///
/// # Errors
/// Those of open(2).
pub fn resolve<'a>(path: &Path, buffer: &'a mut [u8]) -> io::Result<&'a [u8]> {
    let fd = open(path.as_c_str(), libc::O_PATH)?;
    let mut link = Path { bytes: [0; PATH_MAX], len: 0 };
    let mut room = &mut link.bytes[..63];
    let _ = write!(room, "/proc/self/fd/{}", fd.as_raw_fd());
    read_link(&link, buffer)
}

/// Whether a process with this pid exists; zombies exist.
#[must_use]
pub fn exists(pid: u32) -> bool {
    // SAFETY: signal 0 sends nothing.
    if unsafe { libc::kill(pid.cast_signed(), 0) } == 0 {
        return true;
    }
    io::Error::last_os_error().raw_os_error() != Some(libc::ESRCH)
}

/// Calls `each` with every pid in /proc, in the order of the directory. `buffer` is for directory entries and should
/// have a few KiB.
///
/// # Errors
/// /proc does not exist or cannot be read.
pub fn each_process(buffer: &mut [u8], mut each: impl FnMut(u32)) -> io::Result<()> {
    let dir = open(c"/proc", libc::O_RDONLY | libc::O_DIRECTORY)?;
    loop {
        let len = dirents::read(dir.as_fd(), buffer)?;
        if len == 0 {
            return Ok(());
        }
        Entries(&buffer[..len]).filter_map(|entry| number(entry.name)).for_each(&mut each);
    }
}

/// The value of a decimal number; `None` if the name is not one.
fn number(name: &CStr) -> Option<u32> {
    let digits = Some(name.to_bytes()).filter(|digits| !digits.is_empty())?;
    digits.iter().try_fold(0u32, |value, byte| {
        let digit = byte.wrapping_sub(b'0');
        if digit > 9 {
            return None;
        }
        value.checked_mul(10)?.checked_add(u32::from(digit))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_process_is_in_proc() {
        let me = std::process::id();
        let mut seen = false;
        each_process(&mut [0; 4096], |pid| seen |= pid == me).expect("/proc");
        assert!(seen && exists(me));
        let mut buffer = [0; 512];
        let stat = read(&Path::of_process(me, "stat"), &mut buffer).expect("our own stat");
        assert!(stat.starts_with(me.to_string().as_bytes()));
        assert!(!exists(0x3fff_ffff));
    }

    #[test]
    fn numbers_are_strict() {
        assert_eq!(number(c"42"), Some(42));
        for bad in [c"", c"4a", c"4294967296", c"-1"] {
            assert_eq!(number(bad), None);
        }
    }
}

//! The entries of a directory: getdents64(2).

use std::ffi::CStr;
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};

/// Where `d_reclen`, `d_type` and `d_name` are in a `struct linux_dirent64` (getdents64(2)).
const RECLEN: std::ops::Range<usize> = 16..18;
const TYPE: usize = 18;
const NAME: usize = 19;

/// Fills `buffer` with entries; the number of bytes, 0 at the end.
///
/// # Errors
/// Those of getdents64(2): ENOENT where the directory was removed, ENOTDIR.
pub(crate) fn read(fd: BorrowedFd<'_>, buffer: &mut [u8]) -> io::Result<usize> {
    // SAFETY: pointer and length of one live slice, which the kernel fills.
    let count = unsafe {
        libc::syscall(libc::SYS_getdents64, fd.as_raw_fd(), buffer.as_mut_ptr(), buffer.len())
    };
    usize::try_from(count).map_err(|_| io::Error::last_os_error())
}

/// An entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Entry<'a> {
    /// `d_type`: DT_DIR and the like; DT_UNKNOWN where the filesystem does not say.
    pub(crate) kind: u8,
    pub(crate) name: &'a CStr,
}

/// What [`read`] wrote, entry by entry. Ends at bytes that are no entry.
pub(crate) struct Entries<'a>(pub(crate) &'a [u8]);

impl<'a> Iterator for Entries<'a> {
    type Item = Entry<'a>;

    #[inline]
    fn next(&mut self) -> Option<Entry<'a>> {
        let len = usize::from(u16::from_ne_bytes(self.0.get(RECLEN)?.try_into().ok()?));
        let (this, rest) = self.0.split_at_checked(len.max(NAME + 1))?;
        self.0 = rest;
        Some(Entry { kind: this[TYPE], name: CStr::from_bytes_until_nul(&this[NAME..]).ok()? })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::fd::AsFd;

    fn entry(reclen: u16, kind: u8, name: &[u8]) -> Vec<u8> {
        let mut bytes = vec![0; 16];
        bytes.extend_from_slice(&reclen.to_ne_bytes());
        bytes.push(kind);
        bytes.extend_from_slice(name);
        bytes.resize(bytes.len().max(usize::from(reclen)), 0);
        bytes
    }

    #[test]
    fn what_the_kernel_writes_and_what_it_does_not() {
        let dir = tempfile::tempdir().expect("a directory");
        std::fs::create_dir(dir.path().join("sub")).expect("made");
        std::fs::write(dir.path().join("file"), b"").expect("written");
        let open = std::fs::File::open(dir.path()).expect("opened");
        let mut buffer = [0; 4096];
        let len = read(open.as_fd(), &mut buffer).expect("read");
        let mut names: Vec<_> =
            Entries(&buffer[..len]).map(|entry| entry.name.to_owned()).collect();
        names.sort();
        assert_eq!(names, [c".", c"..", c"file", c"sub"].map(ToOwned::to_owned));
        assert_eq!(read(open.as_fd(), &mut buffer).expect("read"), 0);

        let two = [entry(24, libc::DT_DIR, b"a\0"), entry(24, libc::DT_REG, b"b\0")].concat();
        assert_eq!(Entries(&two).count(), 2);
        // Cut, longer than there is, of no length, without an end of the name.
        assert_eq!(Entries(&two[..40]).count(), 1);
        assert_eq!(Entries(&entry(24, 0, b"a\0")[..23]).count(), 0);
        assert_eq!(Entries(&entry(0, 0, b"a\0")).count(), 0);
        assert_eq!(Entries(&entry(24, 0, b"aaaaa")).count(), 0);
        assert_eq!(Entries(&[0; 7]).count(), 0);
    }
}

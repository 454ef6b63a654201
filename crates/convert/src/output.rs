//! Where the output goes: a file that appears once it is whole, or standard output.

use crate::error::{Error, Result};
use fsmon_present::message::shown;
use std::fs::{File, OpenOptions, Permissions};
use std::io::{self, IsTerminal, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use tempfile::NamedTempFile;

/// A file being written.
pub(crate) enum Out {
    /// Standard output, and what is no regular file: written as it comes.
    Plain(Plain),
    /// A file beside the one that it will be.
    Temporary(NamedTempFile, PathBuf),
}

/// What is written as it comes.
pub(crate) struct Plain {
    file: File,
    name: String,
    /// Of a regular file: how long it is if nobody else writes to it.
    len: u64,
}

impl Plain {
    fn new(file: File, name: String) -> Self {
        let len = file.metadata().map_or(0, |data| data.len());
        Plain { file, name, len }
    }
}

impl Out {
    /// What is open for writing, and its name.
    #[cfg(test)]
    pub(crate) fn of(file: File, name: String) -> Self {
        Out::Plain(Plain::new(file, name))
    }

    /// `-` is standard output.
    ///
    /// # Errors
    /// A terminal that would get `binary` output; a file that cannot be made.
    pub(crate) fn new(path: &Path, binary: bool) -> Result<Self> {
        if path == Path::new("-") {
            return standard(binary);
        }
        if path.is_dir() {
            return Err(Error::new(format!("{} is a directory; name a file", shown(path))));
        }
        if path.exists() && !path.is_file() {
            let file = OpenOptions::new().write(true).open(path);
            let file = file.map_err(|error| Error::writing(&shown(path), &error))?;
            return Ok(Out::Plain(Plain::new(file, shown(path))));
        }
        // What a link leads to is replaced, not the link.
        Out::temporary(&path.canonicalize().unwrap_or_else(|_| path.to_owned()))
    }

    /// A regular file.
    ///
    /// # Errors
    /// It cannot be made.
    pub(crate) fn temporary(path: &Path) -> Result<Self> {
        let beside = match path.parent() {
            Some(dir) if !dir.as_os_str().is_empty() => dir,
            _ => Path::new("."),
        };
        let mut file = tempfile::Builder::new();
        // What the umask leaves of it, as for any new file.
        let open = Permissions::from_mode(0o666);
        file.prefix(".fsmon-convert-").suffix(".tmp").permissions(open);
        let failed = |error| {
            let line = format!("cannot make a file in {}: {error}", shown(beside));
            Error::new(format!("{line}; name one that is there and writable with -o"))
        };
        Ok(Out::Temporary(file.tempfile_in(beside).map_err(failed)?, path.to_owned()))
    }

    /// What it is or will be called.
    pub(crate) fn name(&self) -> String {
        match self {
            Out::Plain(plain) => plain.name.clone(),
            Out::Temporary(_, path) => shown(path),
        }
    }

    /// Takes so many bytes away from the end of a file that standard output is, if nobody else has written
    /// to it; a temporary one vanishes as a whole.
    pub(crate) fn cut_back(&self, bytes: usize) {
        let Out::Plain(Plain { file, len, .. }) = self else { return };
        if file.metadata().is_ok_and(|data| data.is_file() && data.len() == *len) {
            // Where that fails as well, nothing is left to be tried.
            let _ = file.set_len(len - bytes as u64);
        }
    }

    /// It is whole: now it appears.
    ///
    /// # Errors
    /// It cannot be given its name.
    pub(crate) fn finish(mut self) -> Result<()> {
        let name = self.name();
        self.flush().map_err(|error| Error::writing(&name, &error))?;
        match self {
            Out::Plain(..) => Ok(()),
            Out::Temporary(file, path) => {
                file.persist(path).map_err(|error| Error::writing(&name, &error.error))?;
                Ok(())
            }
        }
    }
}

fn standard(binary: bool) -> Result<Out> {
    if binary && io::stdout().is_terminal() {
        return Err(Error::new("this is no text for a terminal; name a file with -o FILE"));
    }
    let file = std::os::fd::AsFd::as_fd(&io::stdout()).try_clone_to_owned();
    let name = "standard output".to_owned();
    let file = file.map_err(|error| Error::writing(&name, &error))?;
    Ok(Out::Plain(Plain::new(file.into(), name)))
}

impl Write for Out {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Out::Plain(plain) => {
                let count = plain.file.write(bytes)?;
                plain.len += count as u64;
                Ok(count)
            }
            Out::Temporary(file, _) => file.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match self {
            Out::Plain(plain) => plain.file.flush(),
            Out::Temporary(file, _) => file.flush(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_another_has_written_is_not_cut_off() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("out");
        for (other, left) in [("", "before\nline\n"), ("other\n", "before\nline\nhalother\n")] {
            std::fs::write(&path, "before\n").expect("written");
            let file = || File::options().append(true).open(&path).expect("opened");
            let mut out = Out::Plain(Plain::new(file(), "it".into()));
            out.write_all(b"line\nhal").expect("written");
            file().write_all(other.as_bytes()).expect("written");
            out.cut_back("hal".len());
            assert_eq!(std::fs::read_to_string(&path).expect("read"), left);
        }
    }
}

//! The output: a file that appears once it is whole, or standard output.

use crate::error::{Error, Result};
use fsmon_present::message::shown;
use std::fs::{File, OpenOptions, Permissions};
use std::io::{self, IsTerminal, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use tempfile::NamedTempFile;

/// A file being written.
pub(crate) enum Out {
    /// Standard output, or an existing file that is not regular: written directly.
    Plain(Plain),
    /// A temporary file, and the path that it gets once it is whole.
    Temporary(NamedTempFile, PathBuf),
}

/// An output that is written directly.
pub(crate) struct Plain {
    file: File,
    name: String,
    /// Length of a regular file, unless somebody else writes to it.
    len: u64,
}

impl Plain {
    fn new(file: File, name: String) -> Self {
        let len = file.metadata().map_or(0, |data| data.len());
        Plain { file, name, len }
    }
}

impl Out {
    /// An open file, and its name.
    #[cfg(test)]
    pub(crate) fn of(file: File, name: String) -> Self {
        Out::Plain(Plain::new(file, name))
    }

    /// `-` is standard output.
    ///
    /// # Errors
    /// The output is `binary` and goes to a terminal; the file cannot be made.
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
        // Replaces the target of a link, not the link.
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
        // Restricted by the umask, as for any new file.
        let open = Permissions::from_mode(0o666);
        file.prefix(".fsmon-convert-").suffix(".tmp").permissions(open);
        let failed = |error| {
            let line = format!("cannot make a file in {}: {error}", shown(beside));
            Error::new(format!("{line}; name a file in an existing, writable directory with -o"))
        };
        Ok(Out::Temporary(file.tempfile_in(beside).map_err(failed)?, path.to_owned()))
    }

    /// The final name.
    pub(crate) fn name(&self) -> String {
        match self {
            Out::Plain(plain) => plain.name.clone(),
            Out::Temporary(_, path) => shown(path),
        }
    }

    /// Removes `bytes` bytes from the end of standard output if that is a file and nobody else has written to it.
    /// (A temporary file is removed as a whole.)
    pub(crate) fn cut_back(&self, bytes: usize) {
        let Out::Plain(Plain { file, len, .. }) = self else { return };
        if file.metadata().is_ok_and(|data| data.is_file() && data.len() == *len) {
            // If that fails as well, nothing can be done.
            let _ = file.set_len(len - bytes as u64);
        }
    }

    /// The output is whole: gives the temporary file its name.
    ///
    /// # Errors
    /// It cannot be renamed.
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
        return Err(Error::new("a terminal cannot show this format; name a file with -o FILE"));
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

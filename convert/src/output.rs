//! Where the output goes: a file that appears once it is whole, or standard output.

use crate::error::{Error, Result};
use fsmon_cli::tell::shown;
use std::fs::{File, OpenOptions, Permissions};
use std::io::{self, IsTerminal, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use tempfile::NamedTempFile;

/// A file being written.
pub(crate) enum Out {
    /// Standard output, and what is no regular file: written as it comes.
    Plain(File, String),
    /// A file beside the one that it will be.
    Temporary(NamedTempFile, PathBuf),
}

impl Out {
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
            return Ok(Out::Plain(file, shown(path)));
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
            Out::Plain(_, name) => name.clone(),
            Out::Temporary(_, path) => shown(path),
        }
    }

    /// Takes so many bytes away from the end of a file that standard output is; a temporary one vanishes as
    /// a whole.
    pub(crate) fn cut_back(&self, bytes: usize) {
        let Out::Plain(file, _) = self else { return };
        let data = file.metadata().ok().filter(std::fs::Metadata::is_file);
        if let Some(left) = data.and_then(|data| data.len().checked_sub(bytes as u64)) {
            // Where that fails as well, nothing is left to be tried.
            let _ = file.set_len(left);
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
    Ok(Out::Plain(file.map_err(|error| Error::writing(&name, &error))?.into(), name))
}

impl Write for Out {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Out::Plain(file, _) => file.write(bytes),
            Out::Temporary(file, _) => file.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match self {
            Out::Plain(file, _) => file.flush(),
            Out::Temporary(file, _) => file.flush(),
        }
    }
}

//! The input files, in order.

use crate::error::{Error, Result};
use fsmon_format::stream::Header;
use fsmon_present::message::{shown, shown_input};
use fsmon_store::{is_written, list};
use std::cell::Cell;
use std::fs::{self, File};
use std::io::{self, Read, Seek};
use std::path::{Path, PathBuf};

/// A stream file.
pub(crate) struct Input {
    pub(crate) path: PathBuf,
    /// Its header; `None` if it cannot be read, which is reported when the file is converted.
    header: Option<Header>,
    /// A pipe, opened once: opening it again would lose its content, and wait for another writer.
    pipe: Cell<Option<File>>,
    /// The length of a file that is still being written: a second reading must see the same bytes.
    growing: Option<u64>,
}

impl Input {
    /// For messages.
    pub(crate) fn name(&self) -> String {
        shown_input(&self.path)
    }

    /// Opens it, from its beginning.
    pub(crate) fn open(&self) -> Result<Box<dyn Read>> {
        if is_standard(&self.path) {
            return Ok(Box::new(io::stdin()));
        }
        if let Some(pipe) = self.pipe.take() {
            return Ok(Box::new(pipe));
        }
        let file = open(&self.path)?;
        Ok(match self.growing {
            Some(len) => Box::new(file.take(len)),
            None => Box::new(file),
        })
    }

    /// Whether it is still being written, and so may end anywhere.
    pub(crate) fn is_growing(&self) -> bool {
        self.growing.is_some()
    }

    /// `header`: if it was read already.
    fn new(path: PathBuf, header: Option<Header>) -> Result<Self> {
        let of_pipe =
            |path, pipe| Input { path, header: None, pipe: Cell::new(pipe), growing: None };
        if is_standard(&path) {
            return Ok(of_pipe(path, None));
        }
        let file = open(&path)?;
        let Some(len) = file.metadata().ok().filter(fs::Metadata::is_file).map(|file| file.len())
        else {
            return Ok(of_pipe(path, Some(file)));
        };
        let growing = is_written(&file).then_some(len);
        let header = header.or_else(|| Header::peek(file).unwrap_or_default());
        Ok(Input { path, header, pipe: Cell::default(), growing })
    }
}

/// The files that the arguments stand for, in the order of their headers: streams by their
/// beginning, segments by their number. Files without a header come last, in the order of the arguments.
///
/// # Errors
/// A file cannot be opened; a directory has no streams.
pub(crate) fn inputs(args: &[PathBuf]) -> Result<Vec<Input>> {
    let mut all = Vec::new();
    for arg in args {
        if !is_standard(arg) && arg.is_dir() {
            all.extend(segments(arg)?);
        } else {
            all.push(Input::new(arg.clone(), None)?);
        }
    }
    Header::sort(&mut all, |input| input.header.as_ref());
    Ok(all)
}

/// Copies standard input and pipes to files, so that they can be read twice. Dropping the result removes the
/// files.
///
/// # Errors
/// An input cannot be read, or a copy not written.
pub(crate) fn spool(inputs: &mut [Input]) -> Result<Vec<tempfile::NamedTempFile>> {
    let mut copies = Vec::new();
    for input in inputs {
        let pipe = input.pipe.take();
        if pipe.is_none() && !is_standard(&input.path) {
            continue;
        }
        let name = input.name();
        let failed = |error: io::Error| Error::new(format!("cannot copy {name}: {error}"));
        let mut source: Box<dyn Read> = match pipe {
            Some(pipe) => Box::new(pipe),
            None => Box::new(io::stdin()),
        };
        let mut file = tempfile::NamedTempFile::new().map_err(failed)?;
        io::copy(&mut source, file.as_file_mut()).map_err(failed)?;
        file.as_file_mut().rewind().map_err(failed)?;
        input.path = file.path().to_owned();
        copies.push(file);
    }
    Ok(copies)
}

fn is_standard(path: &Path) -> bool {
    path == Path::new("-")
}

fn segments(dir: &Path) -> Result<Vec<Input>> {
    let files = list(dir)?;
    if files.is_empty() {
        let line = "has no *.fsmon files; name the directory that fsmon -f binary -o DIR/ wrote to";
        return Err(Error::new(format!("{} {line}", shown(dir))));
    }
    files.into_iter().map(|file| Input::new(file.path, file.header)).collect()
}

fn open(path: &Path) -> Result<File> {
    let failed = |error: io::Error| {
        let name = shown_input(path);
        Error::new(format!("cannot read {name}: {error}; name a file made by fsmon -f binary"))
    };
    File::open(path).map_err(failed)
}

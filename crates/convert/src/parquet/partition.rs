//! The file for each row: one for all, or one for each day and host.

use super::part::{Part, hex};
use crate::args::Key;
use crate::error::{Error, Result};
use crate::limits::FILES_OPEN_MAX;
use crate::output::Out;
use fsmon_format::stream::Header;
use fsmon_present::message::shown;
use jiff::{SignedDuration, Timestamp};
use std::collections::HashSet;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

const DAY_NS: u64 = 86_400_000_000_000;
/// The directory name that query engines read as a missing value.
const NULL: &str = "__HIVE_DEFAULT_PARTITION__";

/// The open files, and those that are whole.
pub(super) struct Parts {
    base: PathBuf,
    by: Vec<Key>,
    /// The last one is in use.
    open: Vec<Part>,
    /// Whole files, which get their names together.
    whole: Vec<Out>,
    names: HashSet<PathBuf>,
    header: Arc<Header>,
    /// The day of the part in use; `None` if the next row must look for its part.
    day: Option<u64>,
    serial: u64,
}

impl Parts {
    /// `base` is a file; with keys to partition by, a directory.
    ///
    /// # Errors
    /// `base` cannot be written to.
    pub(super) fn new(base: &Path, by: &[Key]) -> Result<Self> {
        let mut parts = Parts {
            base: base.to_owned(),
            by: by.to_vec(),
            open: Vec::new(),
            whole: Vec::new(),
            names: HashSet::new(),
            header: Arc::default(),
            day: None,
            serial: 0,
        };
        if by.is_empty() {
            // Now, so that errors show early.
            parts.open.push(Part::new(Out::new(base, true)?, PathBuf::new(), 0, true)?);
        } else if base == Path::new("-") {
            return Err(Error::new("--partition writes many files; name a directory with -o DIR"));
        } else if base.exists() && !base.is_dir() {
            let base = shown(base);
            return Err(Error::new(format!("{base} is a file; name a directory with -o DIR")));
        }
        Ok(parts)
    }

    /// Rows of this stream follow.
    pub(super) fn header(&mut self, header: Arc<Header>) {
        self.header = header;
        self.day = None;
    }

    /// The part for a row of that time (ns since 1970). `event` is the number of its event, or of the next one.
    ///
    /// # Errors
    /// Those of writing.
    pub(super) fn at(&mut self, time_ns: u64, event: u64) -> Result<&mut Part> {
        let day = time_ns / DAY_NS;
        if self.day != Some(day) || self.open.is_empty() {
            self.turn_to(day, event)?;
        }
        self.open.last_mut().ok_or_else(|| Error::new("no file is open"))
    }

    /// Writes the rest; then gives all files their names.
    ///
    /// # Errors
    /// Those of writing.
    pub(super) fn finish(mut self) -> Result<()> {
        for part in self.open.drain(..) {
            self.whole.push(part.close()?);
        }
        self.whole.into_iter().try_for_each(Out::finish)
    }

    fn turn_to(&mut self, day: u64, event: u64) -> Result<()> {
        let dir = self.dir(day);
        match self.open.iter().position(|part| part.dir == dir) {
            Some(index) => self.open[index..].rotate_left(1),
            None => self.begin(dir, event)?,
        }
        if let Some(part) = self.open.last_mut() {
            part.stream(&self.header);
        }
        self.day = Some(day);
        Ok(())
    }

    fn begin(&mut self, dir: PathBuf, event: u64) -> Result<()> {
        if self.open.len() == FILES_OPEN_MAX {
            let part = self.open.remove(0);
            self.whole.push(part.close()?);
        }
        let whole = self.base.join(&dir);
        std::fs::create_dir_all(&whole).map_err(|error| {
            let line = format!("cannot make the directory {}: {error}", shown(&whole));
            Error::new(format!("{line}; name one that is writable with -o"))
        })?;
        self.serial += 1;
        let out = Out::temporary(&self.name(&whole, event))?;
        self.open.push(Part::new(out, dir, self.serial, !self.by.contains(&Key::Host))?);
        Ok(())
    }

    /// A name from the stream and the first event: converting the same streams again replaces the files, so that no
    /// row exists twice.
    fn name(&mut self, dir: &Path, event: u64) -> PathBuf {
        let stem = format!("part-{}-{event:012}", hex(&self.header.stream_tag()));
        let name = |again: u64| match again {
            0 => dir.join(format!("{stem}.parquet")),
            again => dir.join(format!("{stem}-{again}.parquet")),
        };
        let free = (0..).map(name).find(|path| self.names.insert(path.clone()));
        free.unwrap_or_else(|| dir.join(stem))
    }

    fn dir(&self, day: u64) -> PathBuf {
        let part = |key: &Key| match key {
            Key::Day => format!("day={}", date(day)),
            Key::Host => format!("host={}", escaped(&self.header.host)),
        };
        self.by.iter().map(part).collect()
    }
}

fn date(day: u64) -> String {
    let seconds = i64::try_from(day * (DAY_NS / 1_000_000_000)).unwrap_or(i64::MAX);
    let time = Timestamp::UNIX_EPOCH.checked_add(SignedDuration::from_secs(seconds));
    time.unwrap_or(Timestamp::MAX).strftime("%Y-%m-%d").to_string()
}

/// A value as part of a path, as Hive writes it.
fn escaped(value: &[u8]) -> String {
    if value.is_empty() {
        return NULL.to_owned();
    }
    value.iter().fold(String::new(), |mut text, byte| {
        if byte.is_ascii_alphanumeric() || b"-_.".contains(byte) {
            text.push(char::from(*byte));
        } else {
            // Writing to a string does not fail.
            let _ = write!(text, "%{byte:02X}");
        }
        text
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn days_and_hosts_as_directories() {
        assert_eq!(date(0), "1970-01-01");
        assert_eq!(date(20_780), "2026-11-23");
        assert_eq!(escaped(b"build7.example-1"), "build7.example-1");
        assert_eq!(escaped(b"a/b=\xff"), "a%2Fb%3D%FF");
        assert_eq!(escaped(b""), NULL);
    }
}

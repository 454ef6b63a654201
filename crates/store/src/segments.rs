//! Files in a directory, one after the other: when one ends, its name, and which are deleted. docs/format.md,
//! Segments.

use crate::files::{is_written, lock};
use fsmon_present::duration;
use fsmon_present::message::{self, shown};
use fsmon_present::size::bytes;
use jiff::Timestamp;
use std::fs::{File, OpenOptions};
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime};

/// When a file ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rotate {
    /// When it has this many bytes.
    Bytes(u64),
    /// When it is this old.
    Age(Duration),
}

/// The limit of all files together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Keep {
    /// Bytes of all files together.
    Bytes(u64),
    /// Time since the last change.
    Age(Duration),
    /// Number of files.
    Files(usize),
}

/// The sequence of files in a directory.
#[derive(Clone, Debug)]
pub struct Segments {
    /// The directory.
    pub dir: PathBuf,
    /// Without the dot.
    pub extension: &'static str,
    /// When a file ends; `None`: never.
    pub rotate: Option<Rotate>,
    /// What is kept; `None`: everything.
    pub keep: Option<Keep>,
    /// The stream's tag, part of the names: two streams in one directory never use the same name.
    tag: [u8; 4],
    /// The number of the current file.
    number: u32,
    began: Instant,
}

impl Segments {
    /// Files of the stream with `tag` in `dir`, whose names end with a dot and `extension`.
    pub fn new(
        dir: &Path,
        extension: &'static str,
        rotate: Option<Rotate>,
        keep: Option<Keep>,
        tag: [u8; 4],
    ) -> Self {
        let began = Instant::now();
        Segments { dir: dir.to_owned(), extension, rotate, keep, tag, number: 0, began }
    }

    /// Makes the first file, and the directory if it is missing.
    ///
    /// # Errors
    /// One of them cannot be made.
    pub fn make_first(&mut self) -> io::Result<(File, PathBuf)> {
        std::fs::create_dir_all(&self.dir)?;
        self.make()
    }

    /// Makes the next file, and deletes files beyond the limit.
    ///
    /// # Errors
    /// It cannot be made.
    pub fn make_next(&mut self) -> io::Result<(File, PathBuf)> {
        self.number += 1;
        self.make()
    }

    fn make(&mut self) -> io::Result<(File, PathBuf)> {
        let name = name(Timestamp::now(), self.tag, self.number, self.extension);
        let path = self.dir.join(name);
        let file = OpenOptions::new().append(true).create_new(true).open(&path)?;
        lock(&file)?;
        self.began = Instant::now();
        if let Err(error) = self.prune(&path) {
            message::print(format_args!(
                "cannot delete old files in {}: {error}",
                shown(&self.dir)
            ));
        }
        Ok((file, path))
    }

    /// Whether the current file, which has `bytes` bytes, must end.
    pub fn is_due(&self, bytes: u64) -> bool {
        match self.rotate {
            Some(Rotate::Bytes(most)) => bytes >= most,
            Some(Rotate::Age(most)) => self.began.elapsed() >= most,
            None => false,
        }
    }

    /// Deletes the oldest files beyond the limit, except those that are still being written.
    fn prune(&self, own: &Path) -> io::Result<()> {
        let Some(keep) = self.keep else { return Ok(()) };
        let mut old = closed_files(&self.dir, self.extension, own)?;
        old.sort();
        let mut bytes: u64 = old.iter().map(|file| file.bytes).sum();
        let mut left = old.len();
        for file in &old {
            let is_too_much = match keep {
                // Reserves space for the current file.
                Keep::Bytes(most) => bytes + self.bytes_reserved() > most,
                Keep::Files(most) => left + 1 > most,
                Keep::Age(most) => file.changed.elapsed().is_ok_and(|age| age > most),
            };
            if is_too_much && !File::open(&file.path).is_ok_and(|file| is_written(&file)) {
                std::fs::remove_file(&file.path)?;
                bytes -= file.bytes;
                left -= 1;
            }
        }
        Ok(())
    }

    /// The size that the current file may reach.
    fn bytes_reserved(&self) -> u64 {
        match self.rotate {
            Some(Rotate::Bytes(most)) => most,
            _ => 0,
        }
    }
}

/// `20260131T235959Z-01020304-000000.fsmon`
pub(crate) fn name(began: Timestamp, tag: [u8; 4], number: u32, extension: &str) -> String {
    let began = began.strftime("%Y%m%dT%H%M%SZ");
    format!("{began}-{:08x}-{number:06}.{extension}", u32::from_be_bytes(tag))
}

/// Whether a file name has the form of [`name`].
pub(crate) fn is_ours(name: &str, extension: &str) -> bool {
    let Some(stem) = name.strip_suffix(extension).and_then(|stem| stem.strip_suffix('.')) else {
        return false;
    };
    let parts: Vec<_> = stem.split('-').collect();
    let [began, tag, number] = parts[..] else { return false };
    let is_digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    let is_time = began.len() == 16 && began.ends_with('Z') && began.as_bytes()[8] == b'T';
    is_time
        && is_digits(&began[..8])
        && is_digits(&began[9..15])
        && tag.len() == 8
        && tag.bytes().all(|byte| byte.is_ascii_hexdigit())
        && number.len() >= 6
        && is_digits(number)
}

/// An earlier file; ordered by age.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct Old {
    changed: SystemTime,
    path: PathBuf,
    bytes: u64,
}

fn closed_files(dir: &Path, extension: &str, own: &Path) -> io::Result<Vec<Old>> {
    let mut old = Vec::new();
    for entry in dir.read_dir()? {
        let entry = entry?;
        let path = entry.path();
        if path == own || !entry.file_name().to_str().is_some_and(|name| is_ours(name, extension)) {
            continue;
        }
        let data = entry.metadata()?;
        if data.is_file() {
            old.push(Old { changed: data.modified()?, path, bytes: data.len() });
        }
    }
    Ok(old)
}

/// Parses when to begin another segment: at a size or an age.
///
/// # Errors
/// It is neither. The error says what to write instead.
pub fn parse_rotate(text: &str) -> Result<Rotate, String> {
    if let Some(bytes) = bytes(text) {
        return Ok(Rotate::Bytes(bytes));
    }
    let age = duration::parse(text).ok().filter(|_| text.parse::<f64>().is_err());
    age.map(Rotate::Age).ok_or_else(|| "write a size like 100M or a time like 1h".to_owned())
}

/// Parses how much to keep: a size, an age or a number of files.
///
/// # Errors
/// It is none of these. The error says what to write instead.
pub fn parse_keep(text: &str) -> Result<Keep, String> {
    match (text.parse(), parse_rotate(text)) {
        (Ok(files), _) if files > 0 => Ok(Keep::Files(files)),
        (_, Ok(Rotate::Bytes(bytes))) => Ok(Keep::Bytes(bytes)),
        (_, Ok(Rotate::Age(age))) => Ok(Keep::Age(age)),
        _ => Err("write a size like 10G, a time like 7d or a number of files".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_times_and_numbers_are_told_apart() {
        let (mib, hour) = (1 << 20, Duration::from_secs(3600));
        for text in ["10M", "10MB", "10MiB"] {
            assert_eq!(parse_rotate(text), Ok(Rotate::Bytes(10 * mib)), "{text}");
        }
        assert_eq!(parse_rotate("10m"), Ok(Rotate::Age(Duration::from_secs(600))));
        assert_eq!(parse_keep("2T"), Ok(Keep::Bytes(2 << 40)));
        assert_eq!(parse_keep("7d"), Ok(Keep::Age(7 * 24 * hour)));
        assert_eq!(parse_keep("5"), Ok(Keep::Files(5)));
        for text in ["", "0", "0M", "M", "-1", "10X", "1.5G", "18446744073709551615K", "big"] {
            assert!(parse_rotate(text).is_err() && parse_keep(text).is_err(), "{text}");
        }
        assert!(parse_rotate("10").is_err());
    }

    #[test]
    fn names_are_known_again_and_others_are_not() {
        let moment = Timestamp::from_second(1_767_225_600).expect("a time");
        let name = name(moment, [1, 2, 3, 0xfe], 7, "fsmon");
        assert_eq!(name, "20260101T000000Z-010203fe-000007.fsmon");
        assert!(is_ours(&name, "fsmon") && !is_ours(&name, "json"));
        for other in [
            "",
            ".fsmon",
            "a-b-c.fsmon",
            "20260101T000000Z-010203fe.fsmon",
            "20260101T000000Z-010203fe-07.fsmon",
            "2026010\u{e4}000000Z-010203fe-000007.fsmon",
            "20260101T/../..Z-010203fe-000007.fsmon",
            "20260101T000000Z-010203fe-000007.fsmon.gz",
        ] {
            assert!(!is_ours(other, "fsmon"), "{other}");
        }
    }

    fn kept(keep: Keep, rotate: Option<Rotate>) -> Vec<u64> {
        let dir = tempfile::tempdir().expect("a directory");
        std::fs::write(dir.path().join("notes.fsmon"), "mine").expect("written");
        let mut segments = Segments::new(dir.path(), "fsmon", rotate, Some(keep), [7; 4]);
        let (mut file, _) = segments.make_first().expect("made");
        for number in 0..5 {
            file.set_len(1000 + number).expect("written");
            let age = Duration::from_secs(3600 * (5 - number));
            file.set_modified(SystemTime::now() - age).expect("its own");
            file.unlock().expect("held");
            (file, _) = segments.make_next().expect("made");
        }
        let other = std::fs::metadata(dir.path().join("notes.fsmon"));
        assert_eq!(other.expect("untouched").len(), 4);
        let mut left = closed_files(dir.path(), "fsmon", Path::new("")).expect("listed");
        left.sort_by(|a, b| a.path.cmp(&b.path));
        left.iter().map(|file| file.bytes).collect()
    }

    #[test]
    fn the_oldest_go_and_what_is_not_ours_stays() {
        assert_eq!(kept(Keep::Files(3), None), [1003, 1004, 0]);
        assert_eq!(kept(Keep::Files(1), None), [0]);
        assert_eq!(kept(Keep::Bytes(2500), None), [1003, 1004, 0]);
        assert_eq!(kept(Keep::Bytes(2500), Some(Rotate::Bytes(1000))), [1004, 0]);
        let hours = |hours: u64| Keep::Age(Duration::from_secs(3600 * hours));
        assert_eq!(kept(hours(3), None), [1003, 1004, 0]);
        assert_eq!(kept(hours(6), None).len(), 6);
    }

    #[test]
    fn what_another_writes_is_not_deleted() {
        let dir = tempfile::tempdir().expect("a directory");
        let mut other = Segments::new(dir.path(), "fsmon", None, None, [1; 4]);
        let (held, path) = other.make_first().expect("made");
        let mut own = Segments::new(dir.path(), "fsmon", None, Some(Keep::Files(1)), [2; 4]);
        own.make_first().expect("made");
        assert!(path.exists());
        drop(held);
        own.make_next().expect("made");
        assert!(!path.exists());
    }
}

//! Makes the indexes of closed segments.

use super::build::Builder;
use super::read::Index;
use crate::history::{KEY, header_of, index_name, is_segment, make_file, open_file, part_name};
use fsmon_format::error::{Error, ErrorKind};
use fsmon_format::stream::{Fault, Item, Reader};
use fsmon_present::message::shown;
use std::io::{self, Read, Seek, SeekFrom};
use std::path::Path;

/// What became of a segment without an index.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Made {
    /// It has one now.
    Indexed {
        /// Bytes of the index.
        bytes: u64,
        /// EVENT records of the segment.
        events: u64,
    },
    /// It is damaged, and gets none: each answer shall say so.
    Damaged,
    /// It is gone.
    Gone,
}

/// The segments among `files` that have no index of their own.
#[must_use]
pub fn missing(dir: &Path, files: &[String]) -> Vec<String> {
    let lacks = |file: &&String| {
        let known = open_file(&dir.join(file)).ok().and_then(|mut source| {
            let bytes = source.metadata().ok()?.len();
            Some((header_of(&mut source).ok()??.1, bytes))
        });
        known.is_some_and(|known| Index::open(dir, file, known).is_none())
    };
    files.iter().filter(lacks).cloned().collect()
}

/// The seed of the hashes in a history: made of its key, so that one hash of a name does for all its segments.
#[must_use]
pub fn seed(dir: &Path) -> u64 {
    let mut key = Vec::new();
    let read = open_file(&dir.join(KEY)).and_then(|file| file.take(32).read_to_end(&mut key));
    // A directory without a key can have any seed.
    if read.is_err() {
        key.clear();
    }
    super::hash::State::new(0).with(&key).with(b"index").finish()
}

/// Reads a segment from end to end, and writes its index. `pause` is called for each block: it can wait, or end the work by
/// returning false.
///
/// # Errors
/// The segment cannot be read, or the index not written; nothing is left of it then.
pub fn make(
    dir: &Path,
    segment: &str,
    seed: u64,
    mut pause: impl FnMut() -> bool,
) -> Result<Made, Error> {
    let path = dir.join(segment);
    let failed = |error| Error::os(format!("cannot read {}", shown(&path)), error);
    let mut source = match open_file(&path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Made::Gone),
        opened => opened.map_err(failed)?,
    };
    let Some((_, crc)) = header_of(&mut source).map_err(failed)? else { return Ok(Made::Damaged) };
    source.seek(SeekFrom::Start(0)).map_err(failed)?;
    let bytes = source.metadata().map_err(failed)?.len();
    let mut reader = Reader::new(source.take(bytes)).salvage(true);
    let mut builder = Builder::new(dir, seed);
    let mut events = 0;
    while let Some(item) = reader.next()? {
        match item {
            Item::Block(block) => {
                events += u64::from(block.events());
                builder
                    .take(&block, |_| Ok(()))
                    .map_err(|error| cannot_write(dir, segment, error))?;
                if !pause() {
                    return Err(Error::new(ErrorKind::Busy, "broken off"));
                }
            }
            // The last recorder was killed: what there is, is whole.
            Item::Gap(gap) if matches!(gap.damage.fault, Fault::Cut | Fault::NoEnd) => {}
            Item::Gap(_) => return Ok(Made::Damaged),
            Item::Header(_) | Item::Pending => {}
        }
    }
    let bytes = write(dir, segment, (crc, bytes), builder)?;
    Ok(Made::Indexed { bytes, events })
}

/// Writes an index under another name, and renames it. Returns its length.
pub(super) fn write(
    dir: &Path,
    segment: &str,
    of: (u32, u64),
    builder: Builder,
) -> Result<u64, Error> {
    let failed = |error| cannot_write(dir, segment, error);
    let name = index_name(segment);
    let new = dir.join(format!("{name}.new"));
    match std::fs::remove_file(&new) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(failed(error)),
        _ => {}
    }
    let file = make_file(&new).map_err(failed)?;
    let written = builder.finish(of, &file).and_then(|()| {
        // It need not be durable: its checksums show what is left after a loss of power.
        std::fs::rename(&new, dir.join(&name))?;
        Ok(file.metadata()?.len())
    });
    if written.is_err() {
        let _ = std::fs::remove_file(&new);
    }
    // Its segment may have been deleted meanwhile, and the index before this one was there.
    if !dir.join(segment).exists() {
        let _ = std::fs::remove_file(dir.join(&name));
    }
    let _ = std::fs::remove_file(dir.join(part_name(segment)));
    written.map_err(failed)
}

pub(super) fn cannot_write(dir: &Path, segment: &str, error: io::Error) -> Error {
    Error::os(format!("cannot write the index of {}", shown(&dir.join(segment))), error)
}

/// Removes what a recorder left behind that was killed: indexes that were not finished, and parts.
pub fn sweep(dir: &Path) {
    let Ok(entries) = dir.read_dir() else { return };
    for entry in entries.flatten() {
        let name = entry.file_name();
        let is_left = |name: &str| {
            [".idx.part", ".idx.new"].iter().any(|end| {
                let stem = name.strip_suffix(end);
                stem.is_some_and(|stem| is_segment(&format!("{stem}.fsmon")))
            })
        };
        if name.to_str().is_some_and(is_left) {
            // What cannot be removed is not believed either.
            let _ = std::fs::remove_file(entry.path());
        }
    }
}

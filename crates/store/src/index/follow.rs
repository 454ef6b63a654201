//! Indexes a segment while it is written.

use super::build::{Builder, Finished};
use super::make::{Made, cannot_write, write};
use super::part;
use crate::history::{header_of, make_file, open_file, part_name};
use fsmon_format::error::{Error, ErrorKind};
use fsmon_format::stream::{Item, Reader};
use fsmon_present::message::shown;
use std::fs::File;
use std::io::{self, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

/// Reads a segment as it grows, writes each finished cell into its part, and its index once it is closed.
pub struct Follower {
    dir: PathBuf,
    segment: String,
    crc: u32,
    reader: Reader<File>,
    builder: Builder,
    part: File,
    events: u64,
}

/// How far a follower is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Progress {
    /// It has read all that there is, and more may come.
    Pending,
    /// The segment was closed, and this became of it.
    Done(Made),
}

impl Follower {
    /// Begins with a segment; `None` if it has no sound header, or is gone.
    ///
    /// # Errors
    /// The part cannot be made.
    pub fn new(dir: &Path, segment: &str, seed: u64) -> Result<Option<Self>, Error> {
        let failed = |error| cannot_write(dir, segment, error);
        let Ok(mut source) = open_file(&dir.join(segment)) else { return Ok(None) };
        let Some((_, crc)) = header_of(&mut source).ok().flatten() else { return Ok(None) };
        source.seek(SeekFrom::Start(0)).map_err(failed)?;
        let path = dir.join(part_name(segment));
        match std::fs::remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(failed(error)),
            _ => {}
        }
        Ok(Some(Follower {
            dir: dir.to_owned(),
            segment: segment.to_owned(),
            crc,
            reader: Reader::new(source).salvage(true).follow(true),
            builder: Builder::new(dir, seed),
            part: make_file(&path).map_err(failed)?,
            events: 0,
        }))
    }

    /// The segment.
    #[must_use]
    pub fn segment(&self) -> &str {
        &self.segment
    }

    /// Reads on to the end of what there is. `pause` is called for each block: it can wait, or end the work by returning
    /// false.
    ///
    /// # Errors
    /// The segment cannot be read, or its part or index not written.
    pub fn go_on(&mut self, mut pause: impl FnMut() -> bool) -> Result<Progress, Error> {
        let failed = |error| cannot_write(&self.dir, &self.segment, error);
        loop {
            match self.reader.next()? {
                Some(Item::Header(_)) => {}
                Some(Item::Pending) => return Ok(Progress::Pending),
                Some(Item::Gap(_)) => return Ok(self.give_up()),
                Some(Item::Block(block)) => {
                    self.events += u64::from(block.events());
                    let (crc, seed, part) = (self.crc, self.builder.seed, &mut self.part);
                    let finished =
                        |cell: &Finished<'_>| part.write_all(&part::encode(cell, crc, seed));
                    self.builder.take(&block, finished).map_err(failed)?;
                    if !pause() {
                        return Err(Error::new(ErrorKind::Busy, "broken off"));
                    }
                }
                None => return self.finish(),
            }
        }
    }

    /// Damage: no answer shall pass it over.
    fn give_up(&self) -> Progress {
        let _ = std::fs::remove_file(self.dir.join(part_name(&self.segment)));
        Progress::Done(Made::Damaged)
    }

    fn finish(&mut self) -> Result<Progress, Error> {
        let path = self.dir.join(&self.segment);
        let bytes = match path.metadata() {
            Ok(data) => data.len(),
            Err(_) => return Ok(Progress::Done(Made::Gone)),
        };
        if bytes != self.reader.offset() {
            let message = format!("{} has grown behind its end", shown(&path));
            return Err(Error::new(ErrorKind::Damaged, message));
        }
        let builder = std::mem::replace(&mut self.builder, Builder::new(&self.dir, 0));
        let bytes = write(&self.dir, &self.segment, (self.crc, bytes), builder)?;
        Ok(Progress::Done(Made::Indexed { bytes, events: self.events }))
    }
}
